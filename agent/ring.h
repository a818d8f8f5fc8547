/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a collection from the gc callback to the agent's thread: a ring of fixed-size events, one
 * producer (whoever holds the GIL), one consumer (the agent's thread), no lock, no allocation, no system
 * call. A full ring loses the newest event and counts it: the callback never waits.
 */
#ifndef GCS_RING_H
#define GCS_RING_H

#include <stdbool.h>
#include <stdint.h>

#define GCS_RING_SLOTS 512 /* a power of two */
#define GCS_AT_MAX 120     /* bytes of "file:line"; a longer file keeps its end */

struct gcs_gc_event {
	int64_t realtime_ns;
	int64_t start_ns; /* monotonic */
	uint64_t pause_ns;
	uint64_t collected;
	uint64_t uncollectable;
	int32_t generation;
	int32_t thread; /* native id, 0 when not known */
	char at[GCS_AT_MAX]; /* "" when not known */
};

struct gcs_ring {
	uint32_t head; /* next to write: the producer's */
	uint32_t tail; /* next to read: the consumer's */
	uint64_t lost; /* the producer's */
	struct gcs_gc_event slot[GCS_RING_SLOTS];
};

/* The slot to fill, or NULL (counted as lost). The event exists once gcs_ring_commit_hot() was called. */
struct gcs_gc_event *gcs_ring_reserve_hot(struct gcs_ring *r);
void gcs_ring_commit_hot(struct gcs_ring *r);
bool gcs_ring_pop(struct gcs_ring *r, struct gcs_gc_event *out);
uint64_t gcs_ring_lost(const struct gcs_ring *r);

#endif
