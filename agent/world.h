/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The census of a free-threaded build: the world is stopped, every object counted by its type, the world
 * runs again.
 *
 * Such a build has no lists to keep a place in. What the collector sees are the blocks of the allocator's heaps,
 * one heap per thread, and PyUnstable_GC_VisitObjects() visits them as gc.get_objects() does: it stops every
 * thread of the interpreter meanwhile, and takes no reference. So a census is one pause, of 5 to 10 ns an object on a
 * compact heap (a collection there takes several times as long); it is measured, told, and charged to the budget,
 * which stretches the interval as much as it takes. Slices below 1 ms, as on builds with a GIL, cannot be had.
 *
 * While the world is stopped a thread may stand in the middle of anything but the allocator, with a lock held:
 * nothing of CPython's is called there that could allocate, wait, or run code.
 *
 * A collection lets the world run between its halves, with what it found unreachable still there: a census waits
 * for its end. Counting in the middle is as safe, since gc.get_objects() may be called there too, but not exact.
 *
 * Frozen objects (gc.freeze) are not visited: they are counted by gc.get_freeze_count(), a second pause.
 */
#ifndef GCS_WORLD_H
#define GCS_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "series.h"
#include "types.h"

struct gcs_world_count {
	uint64_t objects;  /* frozen ones not among them */
	uint64_t unnamed;  /* of these, whose type found no room in memory */
	uint64_t frozen;
	uint64_t pause_ns; /* from the request to stop until the world ran again, both times together */
};

/* At attach: is what is visited what gc.get_objects() gives? Else the reason why there is no census. */
const char *gcs_world_probe_gil(PyObject *gc);
/*
 * Counts into `types`, a census having begun there. False: a collection is under way, nothing was counted (unless
 * even_then).
 */
bool gcs_world_count_gil(struct gcs_types *types, struct gcs_series *names, bool even_then,
			 struct gcs_world_count *out);

#endif
