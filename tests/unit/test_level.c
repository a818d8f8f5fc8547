/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: a point that the encoding changes or that is longer than a chunk has room for,
 * however far it lies from the one before it (a series in a test never gets to 2^64); a level that
 * is not as it was when there was no memory for a point.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "level.h"
#include "mem.h"

#define POINTS 2000

static struct gcs_level_value want[POINTS];
static uint64_t seed;

static uint64_t rnd(void)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return seed >> 33 ^ seed << 31;
}

/* Values near 0, near 2^63, near 2^64 and of any size between, in any order. */
static uint64_t any_value(void)
{
	uint64_t v = rnd() >> rnd() % 64;

	return rnd() % 2 ? v : (rnd() % 2 ? UINT64_MAX : (uint64_t)1 << 63) - v;
}

static int setup(void **state)
{
	size_t i;

	(void)state;
	seed = 4711;
	want[0] = (struct gcs_level_value){3, 7, 70};
	for (i = 1; i < POINTS; i++)
		want[i] = (struct gcs_level_value){want[i - 1].time + 1 + (uint32_t)(rnd() >> 44),
						   any_value(), any_value()};
	want[POINTS - 1].time = UINT32_MAX;
	return gcs_mem_init(4 << 20);
}

static int teardown(void **state)
{
	(void)state;
	gcs_mem_fini();
	return 0;
}

static void assert_same(const struct gcs_level_value *v, const struct gcs_level_value *w)
{
	assert_int_equal(v->time, w->time);
	assert_true(v->count == w->count && v->bytes == w->bytes);
}

/* Points from..to are there, and just before each the one that stood till then. */
static void check(const struct gcs_level *l, size_t from, size_t to)
{
	struct gcs_level_cursor c;
	struct gcs_level_value v;
	size_t i;

	gcs_level_cursor_init(&c, l);
	for (i = from; i < to; i++) {
		if (i > from) {
			v = gcs_level_cursor_at(&c, want[i].time - 1);
			assert_same(&v, &want[i - 1]);
		}
		v = gcs_level_cursor_at(&c, want[i].time);
		assert_same(&v, &want[i]);
	}
	assert_false(c.more);
}

static void any_value_after_any_other(void **state)
{
	struct gcs_quota quota = {1 << 20, 0};
	struct gcs_level l = {0};
	struct gcs_level_cursor c;
	struct gcs_level_value v;
	size_t i;

	(void)state;
	gcs_level_start(&l, want[0].time, want[0].count, want[0].bytes);
	for (i = 1; i < POINTS; i++)
		assert_true(gcs_level_add(&l, &quota, &want[i]));
	check(&l, 0, POINTS);
	gcs_level_cursor_init(&c, &l);
	v = gcs_level_cursor_at(&c, want[0].time - 1);
	assert_same(&v, &(struct gcs_level_value){want[0].time - 1, 0, 0});
	for (i = 0; i < POINTS; i += 37) {
		gcs_level_forget(&l, &quota, want[i].time);
		check(&l, i, POINTS);
	}
	gcs_level_forget(&l, &quota, UINT32_MAX);
	assert_false(gcs_level_has_points(&l));
	assert_same(&l.base, &want[POINTS - 1]);
	assert_int_equal(quota.bytes, 0);
	assert_int_equal(gcs_mem_used(), 0);
}

static void no_memory_changes_nothing(void **state)
{
	struct gcs_quota quota = {0, 0};
	struct gcs_level l = {0};
	size_t i, refused = 0;

	(void)state;
	gcs_level_start(&l, want[0].time, want[0].count, want[0].bytes);
	for (i = 1; i < POINTS; i++) {
		quota.max = quota.bytes;
		if (!gcs_level_add(&l, &quota, &want[i])) {
			refused++;
			check(&l, 0, i);
			quota.max = SIZE_MAX;
			assert_true(gcs_level_add(&l, &quota, &want[i]));
		}
	}
	assert_in_range(refused, POINTS / 32, POINTS / 2);
	check(&l, 0, POINTS);
	gcs_level_clear(&l, &quota);
	assert_int_equal(quota.bytes, 0);
	assert_int_equal(gcs_mem_used(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(any_value_after_any_other, setup, teardown),
		cmocka_unit_test_setup_teardown(no_memory_changes_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
