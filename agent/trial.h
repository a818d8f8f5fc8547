/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does what there is of a type only wait for a full collection? Cyclic garbage that was in use when the young
 * collections came is in the oldest generation, where it grows like a leak until all is collected.
 *
 * Told by trial deletion of some thousand neighbours there: what was made together is there together. The references
 * among them are counted. What has more references than these is held from outside, and so is what it leads to; the
 * rest is garbage. All that is not looked at counts as outside, so what is called garbage surely is; of the rest more
 * may be.
 *
 * A dict or set with a large table is left out: traversing it passes over its empty slots without a call, and cannot
 * be ended.
 *
 * There are several trials to a round, each in a hold of its own: the objects that came last are often still in use.
 *
 * Calls tp_traverse as gc.get_referents() does; writes nothing, allocates nothing. GIL builds only. Agent's thread.
 */
#ifndef GCS_TRIAL_H
#define GCS_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

#define GCS_TRIALS 4 /* to a round */

struct gcs_trial {
	uint32_t seen, garbage; /* objects of a type */
};

bool gcs_trial_possible(void);
/* Number `i` of a round. Well below a millisecond. False: not now, a collection is under way. */
bool gcs_trial_gil(uint32_t i);
/* Adds what it found of the type with this id in the series. */
void gcs_trial_add(int32_t id, struct gcs_trial *to);

#endif
