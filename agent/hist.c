/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See hist.h. Values below 32 have a bucket each; above, the octave [2^k, 2^(k+1)) is cut into 32 equal
 * parts, so the middle of a part is at most 1/64 = 1.6% away from any value in it.
 */
#include "hist.h"

#include <stdbool.h>

#define SUBS (1u << GCS_HIST_SUB_BITS)
#define TOP (GCS_HIST_BUCKETS - 1)

static unsigned index_of(uint64_t value)
{
	unsigned shift, index;

	if (value < SUBS)
		return (unsigned)value;
	shift = 63 - (unsigned)__builtin_clzll(value) - GCS_HIST_SUB_BITS;
	index = ((shift + 1) << GCS_HIST_SUB_BITS) + ((unsigned)(value >> shift) & (SUBS - 1));
	return index < TOP ? index : TOP;
}

static uint64_t middle_of(unsigned index)
{
	unsigned shift;

	if (index < SUBS)
		return index;
	shift = (index >> GCS_HIST_SUB_BITS) - 1;
	return ((uint64_t)(SUBS + (index & (SUBS - 1))) << shift) + ((1ull << shift) >> 1);
}

/* There is one writer: a plain load and store is enough, and cheaper than a locked add. */
static void add(uint64_t *field, uint64_t value)
{
	__atomic_store_n(field, __atomic_load_n(field, __ATOMIC_RELAXED) + value, __ATOMIC_RELAXED);
}

void gcs_hist_add_hot(struct gcs_hist *h, uint64_t value)
{
	uint32_t *bucket = &h->bucket[index_of(value)];
	uint32_t n = __atomic_load_n(bucket, __ATOMIC_RELAXED);

	if (n != UINT32_MAX)
		__atomic_store_n(bucket, n + 1, __ATOMIC_RELAXED);
	add(&h->sum, value);
	if (value > __atomic_load_n(&h->max, __ATOMIC_RELAXED))
		__atomic_store_n(&h->max, value, __ATOMIC_RELAXED);
	add(&h->count, 1);
}

uint64_t gcs_hist_quantile(const struct gcs_hist *h, double q)
{
	uint64_t count = __atomic_load_n(&h->count, __ATOMIC_RELAXED);
	uint64_t max = __atomic_load_n(&h->max, __ATOMIC_RELAXED);
	uint64_t rank, seen = 0;
	unsigned i;

	if (!count)
		return 0;
	if (!(q < 1.0))
		return max;
	if (!(q > 0.0))
		q = 0.0;
	rank = (uint64_t)(q * (double)count);
	if ((double)rank < q * (double)count || !rank)
		rank++;
	for (i = 0; i < TOP; i++) {
		seen += __atomic_load_n(&h->bucket[i], __ATOMIC_RELAXED);
		if (seen >= rank)
			return middle_of(i) < max ? middle_of(i) : max;
	}
	return max; /* the last bucket has no upper bound */
}
