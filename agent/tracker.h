/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The suspects of this process: which types are suspect now, since when, and what changed. suspect.c
 * judges one history; this keeps the judgements from census to census and tells the world of changes.
 * Agent's thread.
 */
#ifndef GCS_TRACKER_H
#define GCS_TRACKER_H

#include <stddef.h>
#include <stdint.h>

#include "json.h"
#include "series.h"
#include "suspect.h"
#include "trial.h"

struct gcs_suspect {
	int32_t id; /* in the series */
	struct gcs_verdict verdict;
	struct gcs_trial trial;   /* the newest round's */
	size_t tried_at;          /* censuses so far; 0: there was none */
	int64_t first_seen_ns; /* realtime */
	enum gcs_confidence told; /* what the world was last told */
	bool logged;              /* ever as likely or confirmed */
};

struct gcs_tracker;

struct gcs_tracker *gcs_tracker_new(void); /* NULL: no memory */
/* After each census. */
void gcs_tracker_update(struct gcs_tracker *t, struct gcs_series *s, const int64_t *full_ns, size_t nfull);
/* The suspects, most pressing first. Valid until the next update. */
size_t gcs_tracker_list(const struct gcs_tracker *t, const struct gcs_suspect **out);
/* Suspects that are likely or confirmed. */
size_t gcs_tracker_count(const struct gcs_tracker *t);
/* Writes a suspect's row: the keys of the contract, into the object that is open in j. */
void gcs_suspect_write(struct gcs_json *j, const struct gcs_series *s, const struct gcs_suspect *x);

#endif
