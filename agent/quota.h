/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that several parts of one thing take together, and the most that it may be: blocks of
 * mem.h, each counted with what mem.c adds to it. Whoever releases a block says its size again. The
 * agent's thread.
 */
#ifndef GCS_QUOTA_H
#define GCS_QUOTA_H

#include <stddef.h>

#include "mem.h"

#define GCS_QUOTA_OVERHEAD 16 /* bytes that mem.c adds to a block */

struct gcs_quota {
	size_t max;
	size_t bytes; /* taken */
};

/* Zeroed; NULL when it would be more than the quota allows, or there is no memory. */
static inline void *gcs_quota_take(struct gcs_quota *q, size_t size)
{
	void *p;

	if (q->bytes + size + GCS_QUOTA_OVERHEAD > q->max)
		return NULL;
	p = gcs_mem_calloc(1, size);
	if (p)
		q->bytes += size + GCS_QUOTA_OVERHEAD;
	return p;
}

static inline void gcs_quota_release(struct gcs_quota *q, void *p, size_t size)
{
	if (!p)
		return;
	gcs_mem_free(p);
	q->bytes -= size + GCS_QUOTA_OVERHEAD;
}

#endif
