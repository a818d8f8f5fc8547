/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The budget: how much wall time the agent may hold the GIL, all its work together. A bucket of
 * nanoseconds that fills at `percent` of wall time and that each hold empties. Background work waits
 * until the bucket is not negative; what cannot wait (the gc callback) overdraws it, and so does, so far, what
 * somebody waits for (a user's request): background work pays that back. The bucket holds at most 10 s of filling, so that an idle hour does not
 * buy a long burst. Pure arithmetic; the caller brings the clock.
 */
#ifndef GCS_BUDGET_H
#define GCS_BUDGET_H

#include <stdint.h>

struct gcs_budget {
	double percent;
	int64_t credit_ns;
	int64_t last_ns;
};

void gcs_budget_init(struct gcs_budget *b, double percent, int64_t now_ns); /* starts with 1 s of filling */
void gcs_budget_spend(struct gcs_budget *b, int64_t now_ns, int64_t held_ns);
/* Spends as much of it as there is; returns that. */
int64_t gcs_budget_take(struct gcs_budget *b, int64_t now_ns, int64_t wanted_ns);
/* Nanoseconds that may be held now; negative: overdrawn. */
int64_t gcs_budget_credit(struct gcs_budget *b, int64_t now_ns);
/*
 * Nanoseconds until a hold may begin, 0 when it may now: one that may use what flows in during so many seconds to come
 * (0 for background work).
 */
int64_t gcs_budget_wait(struct gcs_budget *b, int64_t now_ns, int ahead_s);

#endif
