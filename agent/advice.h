/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to break a cycle: the known shapes, each with its remedy, short and with the names filled in. Pure:
 * works on the steps as they are shown. No advice is better than a wrong one.
 */
#ifndef GCS_ADVICE_H
#define GCS_ADVICE_H

#include <stddef.h>

#include "steps.h"

struct gcs_advice {
	const char *kind; /* a short stable word, e.g. "bound_method"; NULL: no advice */
	char text[240];
};

/* The remedy for a class that is made again and again; so it holds only for a cycle that was met more than once. */
extern const char gcs_advice_class_per_call[];

/* Steps of a cycle in order; the last one's via leads to the first. */
void gcs_advice_find(const struct gcs_step *step, size_t n, struct gcs_advice *out);

#endif
