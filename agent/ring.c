/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See ring.h. head and tail count for ever and wrap at 2^32, which the power of two makes harmless. The
 * producer publishes a slot by storing head with release, the consumer gives it back by storing tail with
 * release; each reads the other's with acquire. Producers are serialised by the GIL, which is the barrier
 * between one and the next.
 */
#include "ring.h"

#include <stddef.h>

_Static_assert((GCS_RING_SLOTS & (GCS_RING_SLOTS - 1)) == 0, "the index is masked");

struct gcs_gc_event *gcs_ring_reserve_hot(struct gcs_ring *r)
{
	uint32_t head = __atomic_load_n(&r->head, __ATOMIC_RELAXED);

	if (head - __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE) >= GCS_RING_SLOTS) {
		__atomic_store_n(&r->lost, __atomic_load_n(&r->lost, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
		return NULL;
	}
	return &r->slot[head & (GCS_RING_SLOTS - 1)];
}

void gcs_ring_commit_hot(struct gcs_ring *r)
{
	__atomic_store_n(&r->head, __atomic_load_n(&r->head, __ATOMIC_RELAXED) + 1, __ATOMIC_RELEASE);
}

bool gcs_ring_pop(struct gcs_ring *r, struct gcs_gc_event *out)
{
	uint32_t tail = __atomic_load_n(&r->tail, __ATOMIC_RELAXED);

	if (tail == __atomic_load_n(&r->head, __ATOMIC_ACQUIRE))
		return false;
	*out = r->slot[tail & (GCS_RING_SLOTS - 1)];
	__atomic_store_n(&r->tail, tail + 1, __ATOMIC_RELEASE);
	return true;
}

uint64_t gcs_ring_lost(const struct gcs_ring *r)
{
	return __atomic_load_n(&r->lost, __ATOMIC_RELAXED);
}
