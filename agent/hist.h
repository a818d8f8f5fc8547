/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log-linear histogram of nanoseconds: 32 sub-buckets to an octave, so that a quantile is within
 * 1.6% of the true value (3% promised). One writer, any number of readers: fields are written and
 * read with relaxed atomics; a reader may miss the newest sample, never sees garbage.
 */
#ifndef GCS_HIST_H
#define GCS_HIST_H

#include <stdint.h>

#define GCS_HIST_SUB_BITS 5
#define GCS_HIST_OCTAVES 40 /* to 2^45 ns, about ten hours; more counts as the last bucket */
#define GCS_HIST_BUCKETS ((GCS_HIST_OCTAVES + 1) << GCS_HIST_SUB_BITS)

struct gcs_hist {
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint32_t bucket[GCS_HIST_BUCKETS];
};

void gcs_hist_add_hot(struct gcs_hist *h, uint64_t value);
/* The value below which a fraction q (0..1) of the samples lie; 0 when empty, never above max. */
uint64_t gcs_hist_quantile(const struct gcs_hist *h, double q);

#endif
