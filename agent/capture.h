/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capturing what a collection found, without a trace.
 *
 * In the callback's start phase gc.DEBUG_SAVEALL is switched on; so the collector, having run finalizers and
 * weakref callbacks as always, appends what it would now clear to gc.garbage instead. In the stop phase,
 * before any other callback, it is analysed (analysis.c), taken out of gc.garbage again, the flag restored, and
 * each object cleared in the very order and manner of CPython's delete_garbage(). Nothing lives one collection
 * longer; gc.get_stats() and the callback's info are the collector's own.
 *
 * What remains to be seen: gc.get_debug() from a start callback, a finalizer or a weakref callback of that
 * very collection tells the flag.
 *
 * Not captured: a collection while the application has debug flags set, or stands before us in
 * gc.callbacks; and, unless GCSCOPE_CYCLES=all, one that the budget has no room for. Objects with a legacy tp_del,
 * and what they hold, stay where CPython puts them.
 *
 * Context: inside the gc callback, with the GIL, on the application's thread. No allocation but in
 * gc.garbage (by CPython) and in a scratch region that exists already.
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
	uint64_t refused;    /* the application uses debug flags, or stands before us */
	uint64_t objects;    /* found by captured collections */
	uint64_t unanalysed; /* of these, beyond the room for analysis */
	uint64_t acyclic;    /* of these, in no cycle and held by none */
	uint64_t legacy;     /* left to CPython: uncollectable, or held by such */
};

/* At attach, after the layouts. What does not verify turns cycles off. */
void gcs_capture_probe_gil(PyObject *gc, PyObject *callbacks, PyObject *garbage, PyObject *callback);
/* For this process: table and scratch, in the agent's memory. 0 or -ENOMEM. */
int gcs_capture_begin(void);

void gcs_capture_start_gil(void);
/* `where`: the line on which the collection began, or "". Numbers as the callback's info has them. */
void gcs_capture_stop_gil(int generation, uint64_t collected, uint64_t uncollectable, const char *where);

/* With the GIL. */
const struct gcs_cycletable *gcs_capture_table(void);
const struct gcs_capture_stats *gcs_capture_stats(void);

#endif
