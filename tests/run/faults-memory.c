/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests, linked into an agent that is else the built one, object by object: its own allocator asks faults.c,
 * where that is preloaded, whether it has memory left. The linker's --wrap puts this between the callers and mem.c.
 */
#include <stddef.h>

#include "mem.h"

__attribute__((weak)) int gcs_fault_memory(void);

void *__real_gcs_mem_alloc(size_t size);
void *__real_gcs_mem_calloc(size_t n, size_t size);
void *__real_gcs_mem_realloc(void *p, size_t size);
void *__wrap_gcs_mem_alloc(size_t size);
void *__wrap_gcs_mem_calloc(size_t n, size_t size);
void *__wrap_gcs_mem_realloc(void *p, size_t size);

static int fails(void)
{
	return gcs_fault_memory && gcs_fault_memory();
}

void *__wrap_gcs_mem_alloc(size_t size)
{
	return fails() ? NULL : __real_gcs_mem_alloc(size);
}

void *__wrap_gcs_mem_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_gcs_mem_calloc(n, size);
}

void *__wrap_gcs_mem_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_gcs_mem_realloc(p, size);
}
