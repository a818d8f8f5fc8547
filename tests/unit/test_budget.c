/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: background work that takes more of the GIL than its percentage over a long run, or that
 * starves; a burst after an idle hour; debts that are forgotten; rounding that eats the filling when many
 * small holds are booked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "budget.h"

#define S 1000000000ll
#define MS 1000000ll

static void begins_with_a_second(void **state)
{
	struct gcs_budget b;

	(void)state;
	gcs_budget_init(&b, 1, 5 * S);
	assert_int_equal(gcs_budget_wait(&b, 5 * S, 0), 0);
	gcs_budget_spend(&b, 5 * S, 10 * MS); /* 1% of 1 s: just used up */
	assert_int_equal(gcs_budget_wait(&b, 5 * S, 0), 0);
	gcs_budget_spend(&b, 5 * S, 1 * MS);
	assert_in_range(gcs_budget_wait(&b, 5 * S, 0), 100 * MS, 100 * MS + 1000);
	assert_int_equal(gcs_budget_wait(&b, 5 * S + 100 * MS + 1000, 0), 0);
}

static void debts_are_paid(void **state)
{
	struct gcs_budget b;

	(void)state;
	gcs_budget_init(&b, 1, 0);
	gcs_budget_spend(&b, 0, 1 * S); /* a user's request */
	assert_in_range(gcs_budget_wait(&b, 0, 0), 99 * S, 99 * S + 1000);
	assert_in_range(gcs_budget_wait(&b, 50 * S, 0), 49 * S, 49 * S + 100000);
	assert_int_equal(gcs_budget_wait(&b, 99 * S + 100000, 0), 0);
}

static void some_may_go_ahead(void **state)
{
	struct gcs_budget b;

	(void)state;
	gcs_budget_init(&b, 1, 0);
	gcs_budget_spend(&b, 0, 1 * S);
	assert_int_equal(gcs_budget_wait(&b, 0, 100), 0);
	assert_in_range(gcs_budget_wait(&b, 0, 90), 9 * S, 9 * S + 1000);
	assert_in_range(gcs_budget_wait(&b, 0, 0), 99 * S, 99 * S + 1000);
}

static void idleness_is_capped(void **state)
{
	struct gcs_budget b;
	int64_t now = 3600 * S, held = 0;

	(void)state;
	gcs_budget_init(&b, 1, 0);
	while (!gcs_budget_wait(&b, now, 0)) {
		gcs_budget_spend(&b, now, MS);
		held += MS;
	}
	assert_in_range(held, 100 * MS, 102 * MS); /* 1% of 10 s */
}

/* Holds of up to 1 ms whenever allowed, for ten minutes. */
static void share_of(double percent)
{
	struct gcs_budget b;
	int64_t now = 0, held = 0, wait;

	gcs_budget_init(&b, percent, 0);
	while (now < 600 * S) {
		wait = gcs_budget_wait(&b, now, 0);
		if (wait) {
			now += wait;
			continue;
		}
		now += MS;
		held += MS;
		gcs_budget_spend(&b, now, MS);
	}
	assert_true((double)held <= (double)now * percent / 100 * 1.01 + 10 * MS);
	assert_true((double)held >= (double)now * percent / 100 * 0.98);
}

static void share_is_kept(void **state)
{
	(void)state;
	share_of(0.1);
	share_of(1);
	share_of(7.5);
	share_of(100);
}

/* A callback every 3 us that holds 10 ns: a third of 1%. The filling must not be rounded away. */
static void small_holds(void **state)
{
	struct gcs_budget b;
	int64_t now;

	(void)state;
	gcs_budget_init(&b, 1, 0);
	for (now = 0; now < 2 * S; now += 3000)
		gcs_budget_spend(&b, now, 10);
	assert_int_equal(gcs_budget_wait(&b, now, 0), 0);
	/* 1.5 ns every 199 ns, where each filling of 1.99 ns would lose half of itself. */
	gcs_budget_init(&b, 1, 0);
	gcs_budget_spend(&b, 0, 10 * MS);
	for (now = 0; now < S / 10; now += 398) {
		gcs_budget_spend(&b, now, 1);
		gcs_budget_spend(&b, now + 199, 2);
	}
	assert_int_equal(gcs_budget_wait(&b, now, 0), 0);
	/* 30 ns every 3 us is exactly 1%, 33 ns is too much: the second of credit lasts 10 s. */
	gcs_budget_init(&b, 1, 0);
	for (now = 0; now < 20 * S; now += 3000)
		gcs_budget_spend(&b, now, 33);
	assert_true(gcs_budget_wait(&b, now, 0) > 500 * MS);
}

static void credit(void **state)
{
	struct gcs_budget b;

	(void)state;
	gcs_budget_init(&b, 1, 0);
	assert_int_equal(gcs_budget_credit(&b, 0), 10 * MS);
	gcs_budget_spend(&b, 0, 30 * MS);
	assert_int_equal(gcs_budget_credit(&b, 0), -20 * MS);
	assert_int_equal(gcs_budget_credit(&b, 3 * S), 10 * MS);
	assert_int_equal(gcs_budget_credit(&b, 3600 * S), 100 * MS);
}

/* What cannot wait takes what there is, however much it would need: no debt. */
static void taking(void **state)
{
	struct gcs_budget b;

	(void)state;
	gcs_budget_init(&b, 1, 0);
	assert_int_equal(gcs_budget_take(&b, 0, 4 * MS), 4 * MS);
	assert_int_equal(gcs_budget_take(&b, 0, 50 * MS), 6 * MS);
	assert_int_equal(gcs_budget_take(&b, 0, 50 * MS), 0);
	assert_int_equal(gcs_budget_take(&b, 0, -50 * MS), 0);
	assert_int_equal(gcs_budget_credit(&b, 0), 0);
	assert_int_equal(gcs_budget_take(&b, S, 50 * MS), 10 * MS);
	gcs_budget_spend(&b, S, 20 * MS);
	assert_int_equal(gcs_budget_take(&b, S, 1), 0);
	assert_int_equal(gcs_budget_credit(&b, S), -20 * MS);
}

static void strange_clocks(void **state)
{
	struct gcs_budget b;

	(void)state;
	gcs_budget_init(&b, 1, 100 * S);
	gcs_budget_spend(&b, 50 * S, 20 * MS); /* back in time */
	assert_true(gcs_budget_wait(&b, 40 * S, 0) > 0);
	gcs_budget_spend(&b, 100 * S, -5);
	gcs_budget_spend(&b, 100 * S, INT64_MAX);
	assert_true(gcs_budget_wait(&b, 100 * S, 0) > 1000 * S);
	assert_int_equal(gcs_budget_wait(&b, INT64_MAX, 0), 0);
	gcs_budget_init(&b, 0.000001, 0);
	gcs_budget_spend(&b, 0, INT64_MAX);
	assert_true(gcs_budget_wait(&b, 0, 0) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(begins_with_a_second), cmocka_unit_test(debts_are_paid),
		cmocka_unit_test(some_may_go_ahead),
		cmocka_unit_test(idleness_is_capped),   cmocka_unit_test(share_is_kept),
		cmocka_unit_test(small_holds),          cmocka_unit_test(strange_clocks),
		cmocka_unit_test(credit),               cmocka_unit_test(taking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
