/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: quantiles that are off by more than the 3% promised, at any magnitude; that exceed the
 * maximum; an index out of the array.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "hist.h"

static struct gcs_hist h;
static uint64_t seed = 0x2545F4914F6CDD1Dull;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static int clear(void **state)
{
	(void)state;
	memset(&h, 0, sizeof(h));
	return 0;
}

static void empty(void **state)
{
	(void)state;
	assert_int_equal(gcs_hist_quantile(&h, 0.5), 0);
}

static void one_value(void **state)
{
	uint64_t v;

	(void)state;
	for (v = 1; v < 1ull << 44; v = v * 5 / 4 + 1) {
		clear(NULL);
		gcs_hist_add_hot(&h, v);
		assert_int_equal(h.count, 1);
		assert_int_equal(h.sum, v);
		assert_int_equal(h.max, v);
		assert_in_range(gcs_hist_quantile(&h, 0.5), v - v / 60, v);
		assert_int_equal(gcs_hist_quantile(&h, 1), v);
	}
}

static void extremes(void **state)
{
	(void)state;
	gcs_hist_add_hot(&h, 0);
	assert_int_equal(gcs_hist_quantile(&h, 0), 0);
	gcs_hist_add_hot(&h, UINT64_MAX);
	gcs_hist_add_hot(&h, 1ull << 60);
	assert_int_equal(h.max, UINT64_MAX);
	assert_int_equal(gcs_hist_quantile(&h, 0.99), UINT64_MAX);
	assert_int_equal(gcs_hist_quantile(&h, 0.3), 0);
	assert_int_equal(gcs_hist_quantile(&h, -1), 0);
	assert_int_equal(gcs_hist_quantile(&h, 7), UINT64_MAX);
	assert_int_equal(gcs_hist_quantile(&h, 0.0 / h.bucket[1]), UINT64_MAX); /* NaN */
	h.bucket[5] = UINT32_MAX;                                               /* does not wrap */
	gcs_hist_add_hot(&h, 5);
	assert_int_equal(h.bucket[5], UINT32_MAX);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Against the true quantiles of samples that spread over nine decades. */
static void within_three_percent(void **state)
{
	static const double q[] = {0.01, 0.25, 0.5, 0.9, 0.99, 0.999};
	static uint64_t sample[20000];
	const size_t n = sizeof(sample) / sizeof(sample[0]);
	size_t i, rank;
	double got, want;

	(void)state;
	for (i = 0; i < n; i++) {
		sample[i] = (rnd() >> 30) >> (rnd() % 30);
		gcs_hist_add_hot(&h, sample[i]);
	}
	qsort(sample, n, sizeof(sample[0]), by_value);
	for (i = 0; i < sizeof(q) / sizeof(q[0]); i++) {
		rank = (size_t)(q[i] * (double)n);
		got = (double)gcs_hist_quantile(&h, q[i]);
		want = (double)sample[rank ? rank - 1 : 0];
		if (got < want * 0.984 || got > want * 1.016)
			fail_msg("quantile %g is %g, not %g", q[i], got, want);
	}
	assert_int_equal(gcs_hist_quantile(&h, 1), sample[n - 1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(empty, clear),
		cmocka_unit_test_setup(one_value, clear),
		cmocka_unit_test_setup(extremes, clear),
		cmocka_unit_test_setup(within_three_percent, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
