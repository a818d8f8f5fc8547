/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's own memory: one private mapping of GCSCOPE_MEMORY bytes, handed out in blocks.
 *
 * Nothing of the agent is in the host's heap, so the host's allocator (whatever it is), its fork
 * handlers and its statistics never meet us, and the limit holds by construction: when the mapping is
 * used up gcs_mem_alloc() returns NULL, and every caller copes. Pages are touched only when used.
 *
 * The mapping is MADV_WIPEONFORK: a forked child finds it zeroed, gcs_mem_wiped() true, and begins
 * anew with gcs_mem_reset(), having copied no page.
 *
 * Context: one thread at a time, the agent's, or whoever runs while that thread does not exist.
 * No locks. Never called from a gc callback.
 */
#ifndef GCS_MEM_H
#define GCS_MEM_H

#include <stdbool.h>
#include <stddef.h>

int gcs_mem_init(size_t limit); /* 0 or -errno; at least 1 MiB */
void gcs_mem_fini(void);        /* unmaps (tests) */
bool gcs_mem_wiped(void);       /* a fork emptied the mapping */
int gcs_mem_reset(void);        /* everything free again, for a forked child */

void *gcs_mem_alloc(size_t size);  /* 16-byte aligned; NULL when the limit is reached */
void *gcs_mem_calloc(size_t n, size_t size);
void *gcs_mem_realloc(void *p, size_t size); /* p is kept when this fails */
void gcs_mem_free(void *p);

size_t gcs_mem_used(void);  /* bytes in blocks handed out */
size_t gcs_mem_peak(void);  /* most bytes of the mapping ever touched */
size_t gcs_mem_limit(void);

#ifdef GCS_FAULT_INJECTION
/* Tests: let the next `after` allocations succeed, then fail all until called with -1. */
void gcs_mem_fail_after(long after);
#endif

#endif
