/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for the analysis of one collection's garbage: a bump allocator over a region that exists already, so
 * that the gc callback, on whatever thread it runs, allocates nothing. Emptied before each use.
 */
#ifndef GCS_SCRATCH_H
#define GCS_SCRATCH_H

#include <stddef.h>

struct gcs_scratch {
	char *base;
	size_t size;
	size_t used;
};

/* 16-byte aligned, not cleared; NULL when the region is used up. */
static inline void *gcs_scratch_alloc(struct gcs_scratch *s, size_t n)
{
	size_t at = (s->used + 15) & ~(size_t)15;

	if (at > s->size || n > s->size - at)
		return NULL;
	s->used = at + n;
	return s->base + at;
}

#endif
