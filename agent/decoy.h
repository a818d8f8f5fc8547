/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a collection shows what it found: two objects of the agent's own that it finds too.
 *
 * Before a collection they are put first into the list that it is about to look at; they refer to each other
 * alone, so both are unreachable. One, the witness, has a legacy finalizer (tp_del): the collector moves it to
 * the list of such, and then, before it calls any weakref callback or finalizer, asks each of that list what it
 * refers to (tp_traverse). This is when the other one, the mark, still stands in the list of all that was found. Both
 * leave their lists within that call. So the collector counts, prints and frees exactly what it would have without
 * them, and never sees them again.
 *
 * Until then another start callback, or a thread that runs while one sleeps, may get hold of them by gc.get_objects(),
 * keep one, or reorder the lists by gc.freeze(). Whoever keeps one keeps both, since each refers to the other: they are
 * then reachable, survive that collection as any object would, and leave in the stop phase. Nothing can free them.
 *
 * What remains to be seen: gc.get_objects() from another start callback of that very collection tells them. They
 * are not set while gc.DEBUG_STATS is on, which prints lengths of lists.
 *
 * Context: with the GIL, on the thread that collects.
 */
#ifndef GCS_DECOY_H
#define GCS_DECOY_H

#include <stdbool.h>

#include "layout.h"

/*
 * Heads of two lists of the collector: all that it found unreachable, and (mostly empty) those of them with a
 * legacy finalizer, which it does not free, nor what they refer to. Links are valid; those of the first list carry
 * GCS_COLLECTING. Called in the middle of the collection: nothing may be called that allocates, fails or
 * runs Python code.
 */
typedef void gcs_decoy_found(struct gcs_gc_head *garbage, struct gcs_gc_head *legacy);

/* At attach, builds whose lists were verified. False: cannot be. */
bool gcs_decoy_make_gil(gcs_decoy_found *found);

/* In the start phase of a collection of that generation. */
void gcs_decoy_set_gil(int generation);
/* In its stop phase. KEPT: somebody has a reference to one of them; MISSED: the collector did not show what it found. */
enum gcs_decoy_end { GCS_DECOY_SHOWN, GCS_DECOY_KEPT, GCS_DECOY_MISSED };
enum gcs_decoy_end gcs_decoy_withdraw_gil(void);

#endif
