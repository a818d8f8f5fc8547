/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is this type leaking? A judgement of one type's history: pure arithmetic, no Python, no clock.
 *
 * The mental model: garbage, caches and batches make a count go up and down; a leak raises the floor
 * under all that. So a history is cut into blocks, each block gives its minimum, and a suspect is a type
 * whose block minima keep rising to the end and now stand above every count there was before the rise.
 * A bounded cache stops rising; a saw-tooth comes back down, or has been as high before.
 */
#ifndef GCS_SUSPECT_H
#define GCS_SUSPECT_H

#include <stddef.h>
#include <stdint.h>

#include "series.h"

enum gcs_confidence { GCS_NO_SUSPECT, GCS_WATCH, GCS_LIKELY, GCS_CONFIRMED };

#define GCS_SUSPECT_MIN 8 /* censuses below which nothing is said */

struct gcs_verdict {
	enum gcs_confidence confidence;
	double growth_per_s; /* of the count, over the rise */
	double bytes_per_s;
	size_t samples;      /* points of the rise */
	double span_s;
	uint64_t min_first;  /* minimum of the first and of the last block */
	uint64_t min_last;
	unsigned rising;     /* blocks that rose above their predecessor, plus one */
	unsigned blocks;
	unsigned full_collections; /* within the rise */
	int survived;        /* a full collection in the second half of the rise did not end it */
	int by_bytes;        /* the count stands still but the bytes rise: one growing container */
};

/*
 * Judge n points, oldest first. full_ns: the times of the last full collections, ascending.
 * watch: at least 8 censuses of rise. likely: at least 16, and the rise goes on in the newest quarter, or pauses
 * no longer than before; and where full collections are seen to free the type, one in the second half of the
 * rise did not. confirmed: at least 30, and a full collection in the second half did not end the rise.
 * By bytes never more than likely.
 */
void gcs_suspect_judge(const struct gcs_point *p, size_t n, const int64_t *full_ns, size_t nfull,
		       struct gcs_verdict *out);
const char *gcs_confidence_name(enum gcs_confidence c); /* "watch", "likely", "confirmed" */
/* 16 hex digits that are the same on every host for the same type name. */
void gcs_suspect_fingerprint(const char *type, char out[17]);

#endif
