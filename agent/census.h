/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The census: how many objects of each type the collector's lists hold.
 *
 * The lists are walked in place, PyGC_Head by PyGC_Head, from both ends at once (two chains of cache
 * misses overlap where one would wait). Nothing is written: no reference count, no link. So the pages that
 * a prefork server shares stay shared, and the application, whatever it asks the gc module, sees nothing.
 *
 * A heap too large for one short hold of the GIL is walked in slices. Between two of them the application
 * runs and may free what the walk stood on, so a slice ends by noting a trail: the object to go on with and
 * the last ones behind it. The next slice goes on from the newest pair of the trail that is still
 * linked to each other both ways, with the same types and a reference count (a freed object has none); what is
 * read for that is read with gcs_peek_words(), since the memory may be gone. When the whole trail is dead the
 * census begins again.
 *
 * Collections go on between slices. A young one moves survivors to an older list: some are met twice or
 * missed. A full one reorders everything: the census begins again, up to 3 times, then stands as inexact.
 * Just after a full collection of a small heap the whole census is taken inside the callback: exact.
 *
 * Free-threaded builds have no lists: there a census is one slice, with the world stopped (world.h).
 *
 * States: idle -> running (slices, agent's thread) or inside (a collection's callback) -> ready (counts complete) ->
 * idle (taken). Ready belongs to the agent's thread until taken. The lists, and nothing else, need the GIL.
 */
#ifndef GCS_CENSUS_H
#define GCS_CENSUS_H

#include <stdbool.h>
#include <stdint.h>

#include "series.h"
#include "types.h"

struct gcs_census_result {
	int64_t taken_ns;      /* monotonic; 0: there was none yet */
	uint64_t objects, bytes;
	uint64_t frozen;       /* objects in the permanent generation, part of objects where there are lists */
	uint64_t unnamed;      /* objects whose type found no room in memory */
	uint64_t held_ns;      /* wall and CPU time with the GIL held */
	uint64_t cpu_ns;
	uint64_t wall_ns;      /* from the first slice to the last */
	uint64_t pause_ns;     /* free-threaded builds: how long the world was stopped */
	uint32_t slices;
	uint32_t restarts;
	bool exact;
};

enum gcs_census_step {
	GCS_CENSUS_MORE,
	GCS_CENSUS_DONE,
	GCS_CENSUS_BUSY,  /* a collection is under way: ask again later */
	GCS_CENSUS_FAILED /* the heap changes too fast to keep a place in it; idle again */
};

/* For this process, in the agent's memory; names go to `series`. 0 or -ENOMEM. */
int gcs_census_init(struct gcs_series *series);

/* In a forked child: its tables are gone, and there may be no memory for others. */
void gcs_census_forget(void);

bool gcs_census_running(void);
bool gcs_census_ready(void);
/* Begins one; false when one is running or ready. The agent's thread, as what follows but for the callback's. */
bool gcs_census_start(void);
/* Before each slice, without the GIL: whatever does not need it. */
void gcs_census_prepare(void);
/*
 * One slice, with the GIL, of the agent's thread: well below a millisecond. The caller adds the held time
 * with gcs_census_held().
 */
enum gcs_census_step gcs_census_slice_gil(void);
void gcs_census_held(uint64_t wall_ns, uint64_t cpu_ns);

/* The id in the series of a type that the last census met; negative: none. With the GIL. */
int32_t gcs_census_id_gil(const PyObject *type);

/* When ready: moves the counts into the series (one begin..end) and tells the totals. */
void gcs_census_take(struct gcs_census_result *out);

/* When the callback may take the next census on its own (monotonic; INT64_MAX: never). */
void gcs_census_welcome(int64_t from_ns, uint64_t expected_ns);
/* In the stop phase of a full collection. */
void gcs_census_after_collection_gil(void);

#endif
