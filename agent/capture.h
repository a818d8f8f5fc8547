/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which cycles the collector had to free. When a collection has found what is unreachable, and before it calls any
 * weakref callback or finalizer, it is made to show that (decoy.h), and what it shows is analysed (analysis.h).
 * All else is the collector's own doing, in its own order: nothing lives longer, gc.garbage, gc.get_debug() and
 * gc.get_stats() are as ever. What finalizers then take apart or bring back to life has been seen too.
 *
 * Objects with a legacy tp_del, and what they hold, are not freed and not counted here.
 *
 * With GCSCOPE_CYCLES=on a collection is passed over when the budget is used up, and of a large one only a part is
 * analysed; what is passed over is counted, and the next that is analysed counts for it.
 */
#ifndef GCS_CAPTURE_H
#define GCS_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "api.h"
#include "cycletable.h"

struct gcs_capture_stats { /* written with the GIL */
	uint64_t captured;   /* collections */
	uint64_t skipped;    /* for want of budget */
	uint64_t refused;    /* while gc.DEBUG_STATS is on, which prints lengths of lists */
	uint64_t objects;    /* found by captured collections */
	uint64_t unanalysed; /* of these, beyond budget or room */
	uint64_t partial;    /* of these, counted without having seen all that they lead to */
	uint64_t acyclic;    /* of these, in no cycle and held by none */
	uint64_t finalized;  /* of these, freed or brought back by finalizers and callbacks, not by the collector */
	uint64_t legacy;     /* uncollectable, or held by such */
	uint64_t analysis_ns, max_analysis_ns;
};

/* At attach, after the layouts. What does not verify turns cycles off. */
void gcs_capture_probe_gil(PyObject *gc);
/* For this process: table and scratch, in the agent's memory. 0 or -ENOMEM. */
int gcs_capture_begin(void);

/* In a forked child, until that: there is no table. */
void gcs_capture_forget(void);

void gcs_capture_start_gil(int generation);
/* Numbers as the callback's info has them. Returns the nanoseconds that the analysis took of the pause. */
int64_t gcs_capture_stop_gil(uint64_t collected, uint64_t uncollectable);

/* Was anything passed over, so that the table's totals are estimates? */
bool gcs_capture_is_estimate(const struct gcs_capture_stats *s);
/* With the GIL; NULL while there is none. */
struct gcs_cycletable *gcs_capture_table(void);
const struct gcs_capture_stats *gcs_capture_stats(void);
/* Of these the objects, without the GIL: has anything been found? */
uint64_t gcs_capture_objects(void);

#endif
