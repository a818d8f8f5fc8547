/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: a history that differs from what was put in, at either resolution, in gaps, around the
 * edges of slots and windows, or after something was dropped; more memory than max_bytes; the wrong types
 * dropped.
 *
 * A plain copy of everything (struct model) says what each reading must be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GCS_FAULT_INJECTION
#include "mem.h"
#include "series.h"

#define S 1000000000ll
#define SLOT (300 * S)
#define MAX_CENSUSES 9000
#define MAX_POINTS 5000

struct model {
	size_t n;
	int64_t t[MAX_CENSUSES];
	uint32_t count[MAX_CENSUSES], bytes[MAX_CENSUSES];
};

static struct gcs_point got[MAX_POINTS], want[MAX_POINTS];
static uint64_t seed;

static unsigned rnd(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

static int setup(void **state)
{
	(void)state;
	seed = 12345;
	return gcs_mem_init(64 << 20);
}

static int teardown(void **state)
{
	(void)state;
	gcs_mem_fail_after(-1);
	gcs_mem_fini();
	return 0;
}

/* What the header promises, the slow way. */
static size_t expected(const struct model *m)
{
	size_t first = m->n > GCS_SERIES_FULL ? m->n - GCS_SERIES_FULL : 0, i, end, k = 0, j;
	int64_t now = m->t[m->n - 1];

	while (m->t[first] < now - GCS_SERIES_HOUR_NS)
		first++;
	for (i = 0; i < first; i = end) {
		struct gcs_point p = {0, UINT64_MAX, UINT64_MAX};

		for (end = i; end < m->n && m->t[end] / SLOT == m->t[i] / SLOT; end++) {
			p.t_ns = m->t[end];
			p.count = m->count[end] < p.count ? m->count[end] : p.count;
			p.bytes = m->bytes[end] < p.bytes ? m->bytes[end] : p.bytes;
		}
		if (p.t_ns < m->t[first] && p.t_ns >= now - GCS_SERIES_DAY_NS)
			want[k++] = p;
	}
	for (j = first; j < m->n; j++)
		want[k++] = (struct gcs_point){m->t[j], m->count[j], m->bytes[j]};
	return k;
}

/* got must be the newest n of want. */
static void compare(size_t n, size_t nwant)
{
	size_t i;

	assert_true(n <= nwant);
	for (i = 0; i < n; i++) {
		const struct gcs_point *w = &want[nwant - n + i];

		if (got[i].t_ns != w->t_ns || got[i].count != w->count || got[i].bytes != w->bytes)
			fail_msg("point %zu of %zu: %lld %llu %llu, not %lld %llu %llu", i, n,
				 (long long)got[i].t_ns, (unsigned long long)got[i].count,
				 (unsigned long long)got[i].bytes, (long long)w->t_ns,
				 (unsigned long long)w->count, (unsigned long long)w->bytes);
	}
}

static void check(const struct gcs_series *s, int32_t id, const struct model *m)
{
	size_t nwant = expected(m), n, max;
	int64_t from;

	n = gcs_series_read(s, id, INT64_MIN, got, MAX_POINTS);
	assert_int_equal(n, nwant);
	compare(n, nwant);
	max = rnd((unsigned)nwant) + 1;
	n = gcs_series_read(s, id, INT64_MIN, got, max);
	assert_int_equal(n, max < nwant ? max : nwant);
	compare(n, nwant);
	from = want[rnd((unsigned)nwant)].t_ns;
	n = gcs_series_read(s, id, from, got, MAX_POINTS);
	compare(n, nwant);
	assert_int_equal(got[0].t_ns, from);
	assert_int_equal(gcs_series_read(s, id, m->t[m->n - 1] + 1, got, MAX_POINTS), 0);
}

static void names(void **state)
{
	struct gcs_series *s = gcs_series_new(8 << 20);
	struct gcs_type_now now;
	char name[300], longest[5000];
	int32_t i;

	(void)state;
	assert_int_equal(gcs_series_find(s, "a"), -1);
	for (i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "module%d.Class", i);
		assert_int_equal(gcs_series_intern(s, name), i);
		assert_int_equal(gcs_series_intern(s, name), i);
	}
	memset(longest, 'x', sizeof(longest));
	longest[4999] = '\0';
	assert_int_equal(gcs_series_intern(s, longest), 5000);
	assert_int_equal(gcs_series_intern(s, ""), 5001);
	for (i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "module%d.Class", i);
		assert_int_equal(gcs_series_find(s, name), i);
		gcs_series_now(s, i, &now);
		assert_string_equal(now.name, name);
	}
	gcs_series_now(s, 5000, &now);
	assert_string_equal(now.name, longest);
	assert_int_equal(gcs_series_types(s), 5002);
	gcs_series_now(s, 5002, &now);
	assert_string_equal(now.name, "");
	gcs_series_now(s, -1, &now);
	assert_int_equal(gcs_series_read(s, -1, 0, got, 10), 0);
	assert_false(gcs_series_moved(s, 7000, 10));
	gcs_series_free(s);
	assert_int_equal(gcs_mem_used(), 0);
}

static void now_and_moved(void **state)
{
	struct gcs_series *s = gcs_series_new(1 << 20);
	struct gcs_type_now now;
	int32_t a = gcs_series_intern(s, "a"), b = gcs_series_intern(s, "b");

	(void)state;
	gcs_series_put(s, a, 5, 5); /* outside a census: nothing */
	gcs_series_end(s);
	assert_int_equal(gcs_series_censuses(s), 0);
	gcs_series_begin(s, 10 * S);
	gcs_series_put(s, a, 3, 30);
	gcs_series_put(s, a, 4, 40);
	gcs_series_end(s);
	gcs_series_begin(s, 11 * S);
	gcs_series_put(s, a, 100, 100);
	gcs_series_begin(s, 12 * S); /* the one before was given up */
	gcs_series_put(s, a, 7, 70);
	gcs_series_put(s, b, 1, 1);
	gcs_series_end(s);
	assert_int_equal(gcs_series_censuses(s), 2);
	gcs_series_now(s, a, &now);
	assert_int_equal(now.count, 7);
	assert_int_equal(now.bytes, 70);
	assert_int_equal(now.max_count, 7);
	assert_int_equal(now.first_ns, 10 * S);
	gcs_series_now(s, b, &now);
	assert_int_equal(now.first_ns, 12 * S);
	assert_false(gcs_series_moved(s, a, 10));
	assert_true(gcs_series_moved(s, b, 1));
	gcs_series_begin(s, 13 * S);
	gcs_series_put(s, b, 1, 1);
	gcs_series_end(s);
	gcs_series_now(s, a, &now);
	assert_int_equal(now.count, 0);
	assert_int_equal(now.max_count, 7);
	assert_true(gcs_series_moved(s, a, 1));
	assert_false(gcs_series_moved(s, b, 1));
	assert_true(gcs_series_moved(s, b, 2));
	/* Three points each; b was not there at first. */
	assert_int_equal(gcs_series_read(s, b, 0, got, 10), 3);
	assert_int_equal(got[0].count, 0);
	assert_int_equal(got[2].count, 1);
	assert_int_equal(gcs_series_read(s, a, 0, got, 2), 2);
	assert_int_equal(got[0].count, 7);
	assert_int_equal(got[1].count, 0);
	gcs_series_free(s);
	assert_int_equal(gcs_mem_used(), 0);
}

enum habit { EVERY, SELDOM, ONCE, NEVER, LATE, HUGE_STEPS, GONE, HABITS };

static uint32_t next_value(enum habit habit, uint32_t old, size_t census)
{
	switch (habit) {
	case EVERY:
		return 1000 + rnd(100);
	case SELDOM:
		return rnd(50) ? old : rnd(1000);
	case ONCE:
		return census < 77 ? 5 : 6;
	case NEVER:
		return 42;
	case LATE:
		return census < 500 ? 0 : (uint32_t)census;
	case HUGE_STEPS:
		return rnd(20) ? old : rnd(2) ? 0 : UINT32_MAX;
	case GONE:
	default:
		return census < 300 ? rnd(10) : 0;
	}
}

/* One type of each habit, over many censuses at an interval; compared now and then. */
static void follow(int64_t interval, size_t censuses)
{
	static struct model m[HABITS];
	struct gcs_series *s = gcs_series_new(16 << 20);
	char name[2] = "a";
	int64_t t = 123 * S;
	size_t i, h;

	memset(m, 0, sizeof(m));
	for (h = 0; h < HABITS; h++, name[0]++)
		assert_int_equal(gcs_series_intern(s, name), h);
	for (i = 0; i < censuses; i++) {
		t += interval / 2 + rnd((unsigned)(interval / 1000)) * 1000ll;
		if (rnd(1000) == 0)
			t += 2000 * S; /* stopped for a while */
		gcs_series_begin(s, t);
		for (h = 0; h < HABITS; h++) {
			struct model *k = &m[h];

			k->t[i] = t;
			k->count[i] = next_value((enum habit)h, i ? k->count[i - 1] : 0, i);
			k->bytes[i] = k->count[i] / 2 + (rnd(500) == 0);
			if (h == NEVER || h == LATE)
				k->bytes[i] = k->count[i];
			k->n++;
			if (k->count[i] || k->bytes[i] || rnd(2))
				gcs_series_put(s, (int32_t)h, k->count[i], k->bytes[i]);
		}
		gcs_series_end(s);
		if (i < 10 || rnd(400) == 0 || i == censuses - 1)
			for (h = 0; h < HABITS; h++)
				check(s, (int32_t)h, &m[h]);
	}
	assert_int_equal(gcs_series_dropped(s), 0);
	gcs_series_free(s);
	assert_int_equal(gcs_mem_used(), 0);
}

static void as_the_model(void **state)
{
	(void)state;
	follow(S / 4, 5000);
	follow(10 * S, 8900);
	follow(400 * S, 700);
	follow(5000 * S, 60);
}

/* The promise: a day of a large service in well under 8 MB. */
static void memory_of_a_day(void **state)
{
	struct gcs_series *s = gcs_series_new(8 << 20);
	static uint32_t count[3000];
	char name[64];
	int64_t t = 0;
	int i, n;

	(void)state;
	for (i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "application.package.module%d.SomeClass%d", i / 20, i);
		assert_int_equal(gcs_series_intern(s, name), i);
		count[i] = rnd(10000);
	}
	for (n = 0; n < 8640; n++) {
		t += 10 * S;
		for (i = 0; i < 300; i++)
			count[i < 200 ? i : (int)rnd(3000)] += rnd(200) - 100u;
		gcs_series_begin(s, t);
		for (i = 0; i < 3000; i++)
			gcs_series_put(s, i, count[i] & 0xffffff, (count[i] & 0xffffff) * 64ull);
		gcs_series_end(s);
	}
	print_message("a day of 3000 types, 300 moving: %zu KiB\n", gcs_series_bytes(s) / 1024);
	assert_int_equal(gcs_series_dropped(s), 0);
	assert_true(gcs_series_bytes(s) < 6u << 20);
	assert_true(gcs_series_bytes(s) <= gcs_mem_used() + 64);
	assert_true(gcs_mem_used() <= gcs_series_bytes(s) * 101 / 100);
	gcs_series_free(s);
}

/*
 * A bound that is far too small: it is kept at every moment, and whatever can still be read is true. Types
 * that moved once go before those that move always.
 */
static void pressure(size_t max, int types, int busy, int censuses, bool expect_drops)
{
	struct gcs_series *s = gcs_series_new(max);
	static struct model m;
	static uint32_t count[5000];
	char name[64];
	int i, n, have = 0;
	size_t kept;

	memset(&m, 0, sizeof(m));
	memset(count, 0, sizeof(count));
	assert_non_null(s);
	for (i = 0; i < types; i++) {
		snprintf(name, sizeof(name), "type%d", i);
		if (gcs_series_intern(s, name) != i)
			break;
		have = i + 1;
	}
	assert_true(gcs_series_bytes(s) <= max);
	for (n = 0; n < censuses; n++) {
		for (i = 0; i < have; i++)
			count[i] += i < busy ? rnd(1000) : (uint32_t)(n == 50 + i % 100);
		gcs_series_begin(s, (n + 1) * S);
		for (i = 0; i < have; i++)
			gcs_series_put(s, i, count[i], count[i]);
		gcs_series_end(s);
		assert_true(gcs_series_bytes(s) <= max);
		m.t[n] = (n + 1) * S;
		m.count[n] = m.bytes[n] = count[0];
		m.n++;
	}
	kept = gcs_series_read(s, 0, INT64_MIN, got, MAX_POINTS);
	assert_true(kept >= 1);
	for (i = 0; i < (int)kept; i++) {
		const struct gcs_point *p = &got[kept - 1 - (size_t)i];

		if (p->t_ns % S || p->t_ns / S > n)
			fail_msg("no census was at %lld", (long long)p->t_ns);
		if (i < 60 && p->count != m.count[p->t_ns / S - 1])
			fail_msg("%d censuses ago: %llu", i, (unsigned long long)p->count);
	}
	if (expect_drops) {
		assert_true(gcs_series_dropped(s) > 0);
		/* The busy ones keep theirs longest. */
		assert_true(kept >= gcs_series_read(s, busy, INT64_MIN, got, MAX_POINTS));
	}
	gcs_series_free(s);
	assert_int_equal(gcs_mem_used(), 0);
}

static void bounded(void **state)
{
	(void)state;
	pressure(1 << 20, 3000, 10, 2000, true);
	pressure(1 << 20, 1000, 1000, 600, false);
	pressure(400 << 10, 500, 100, 1500, false);
	pressure(200 << 10, 5000, 5, 300, false); /* not even the types fit */
	assert_null(gcs_series_new(1000));
}

static void move_all(struct gcs_series *s, int64_t t)
{
	gcs_series_begin(s, t * S);
	for (int32_t i = 0; i < (int32_t)gcs_series_types(s); i++)
		gcs_series_put(s, i, (uint64_t)(t * (i + 1) % 1009), (uint64_t)t * 1000);
	gcs_series_end(s);
}

/* New names until there are so many, or no room. */
static void fill_with_names(struct gcs_series *s, size_t types)
{
	char name[32];

	do
		snprintf(name, sizeof(name), "type%zu", gcs_series_types(s));
	while (gcs_series_types(s) < types && gcs_series_intern(s, name) >= 0);
}

/* A name is asked for with the GIL held: nothing is dropped for it then. And types leave room for histories. */
static void names_wait_for_room(void **state)
{
	const size_t max = 1 << 20;
	struct gcs_series *s = gcs_series_new(max);
	size_t dropped, types, rounds = 0;
	int64_t t = 1;

	(void)state;
	assert_non_null(s);
	fill_with_names(s, 1000);
	while (gcs_series_dropped(s) < 100)
		move_all(s, t++);
	do {
		types = gcs_series_types(s);
		dropped = gcs_series_dropped(s);
		fill_with_names(s, SIZE_MAX);
		assert_true(gcs_series_is_crowded(s));
		assert_int_equal(gcs_series_intern(s, "one more"), -1);
		assert_int_equal(gcs_series_dropped(s), dropped);
		gcs_series_make_room(s);
		assert_true(gcs_series_bytes(s) <= max);
		rounds++;
	} while (!gcs_series_is_crowded(s));
	assert_true(rounds > 1 && types > 1500);
	dropped = gcs_series_dropped(s);
	gcs_series_make_room(s); /* it would be in vain */
	assert_int_equal(gcs_series_dropped(s), dropped);
	for (int i = 0; i < 100; i++) {
		gcs_series_begin(s, t++ * S);
		gcs_series_put(s, 0, 5000 + (uint64_t)i, 100);
		gcs_series_end(s);
	}
	assert_true(gcs_series_read(s, 0, 0, got, MAX_POINTS) >= 100);
	gcs_series_free(s);
	assert_int_equal(gcs_mem_used(), 0);
}

/* Memory is used up, though not the series' own share of it: histories make room all the same. */
static void room_where_others_have_the_rest(void **state)
{
	struct gcs_series *s;
	int64_t t = 1;

	(void)state;
	gcs_mem_fini();
	assert_int_equal(gcs_mem_init(1 << 20), 0);
	s = gcs_series_new(2 << 20);
	assert_non_null(s);
	fill_with_names(s, 400);
	while (gcs_series_dropped(s) < 50)
		move_all(s, t++);
	for (int i = 0; i < 20; i++) {
		gcs_series_make_room(s);
		assert_false(gcs_series_is_crowded(s));
		fill_with_names(s, gcs_series_types(s) + 100);
	}
	assert_true(gcs_series_types(s) > 1500);
	gcs_series_free(s);
	assert_int_equal(gcs_mem_used(), 0);
}

/* When all types move all the time, none loses its history: all become shorter. */
static void all_are_busy(void **state)
{
	struct gcs_series *s = gcs_series_new(2 << 20);
	uint64_t c = 0;
	char name[32];
	int i, t;

	(void)state;
	for (i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "type%d", i);
		assert_int_equal(gcs_series_intern(s, name), i);
	}
	for (t = 1; t <= 1500; t++) {
		gcs_series_begin(s, t * S);
		c += rnd(1000);
		for (i = 0; i < 1000; i++)
			gcs_series_put(s, i, c + (uint64_t)(t * i % 313), c);
		gcs_series_end(s);
		assert_true(gcs_series_bytes(s) <= 2 << 20);
	}
	assert_int_equal(gcs_series_dropped(s), 0);
	for (i = 0; i < 1000; i++) {
		size_t n = gcs_series_read(s, i, INT64_MIN, got, MAX_POINTS);

		assert_in_range(n, 120, 1000);
		assert_int_equal(got[n - 1].t_ns, 1500 * S);
		assert_int_equal(got[n - 1].count, c + (uint64_t)(1500 * i % 313));
	}
	gcs_series_free(s);
}

/* A single type, moving across many slots, with room for next to nothing: its own history is all there is. */
static void alone(size_t max)
{
	struct gcs_series *s = gcs_series_new(max);
	static struct model m;
	size_t got_n, i, k;

	memset(&m, 0, sizeof(m));
	if (!s)
		return;
	if (gcs_series_intern(s, "x") == 0) {
		for (i = 0; i < 600; i++) {
			m.t[i] = (int64_t)(i + 1) * 97 * S;
			m.count[i] = m.bytes[i] = i % 7 < 3 && i ? m.count[i - 1] : rnd(100000);
			m.n++;
			gcs_series_begin(s, m.t[i]);
			gcs_series_put(s, 0, m.count[i], m.bytes[i]);
			gcs_series_end(s);
			assert_true(gcs_series_bytes(s) <= max);
			/* Short of the slot in which the history may just have been taken up again. */
			got_n = gcs_series_read(s, 0, INT64_MIN, got, MAX_POINTS);
			assert_true(got_n >= 1);
			got_n = gcs_series_read(s, 0, INT64_MIN, got, got_n > 37 ? got_n - 1 : got_n);
			k = expected(&m);
			compare(got_n, k);
		}
	}
	gcs_series_free(s);
	assert_int_equal(gcs_mem_used(), 0);
}

static void alone_in_any_room(void **state)
{
	size_t max;

	(void)state;
	for (max = 80 << 10; max < 160 << 10; max += 72)
		alone(max);
}

/* A history that was dropped is taken up again, with nothing invented before. */
static void taken_up_again(void **state)
{
	struct gcs_series *s = gcs_series_new(300 << 10);
	char name[32];
	int32_t i;
	size_t n, k;
	int t;

	(void)state;
	for (i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		gcs_series_intern(s, name);
	}
	for (t = 1; t <= 1000; t++) {
		gcs_series_begin(s, t * S);
		/* Type 0 moves at first, then rests, and is the first to go when the others need room. */
		gcs_series_put(s, 0, t < 200 ? (uint64_t)t : 200, 0);
		for (i = 1; i < 300; i++)
			gcs_series_put(s, i, (uint64_t)(t * i % 997), (uint64_t)t * 1000);
		gcs_series_end(s);
	}
	assert_true(gcs_series_dropped(s) > 0);
	n = gcs_series_read(s, 0, INT64_MIN, got, MAX_POINTS);
	assert_in_range(n, 1, 999);
	for (k = 0; k < n; k++)
		assert_int_equal(got[k].count, 200);
	gcs_series_free(s);
}

/* Whatever allocation fails, nothing crashes or leaks and the latest counts are right. */
static void out_of_memory(void **state)
{
	struct gcs_type_now now;
	char name[32];
	int32_t i;
	long fail;
	int t;

	(void)state;
	for (fail = 0; fail < 400; fail += fail < 40 ? 1 : 23) {
		struct gcs_series *s;

		gcs_mem_fail_after(fail);
		s = gcs_series_new(4 << 20);
		if (!s)
			continue;
		for (i = 0; i < 600; i++) {
			snprintf(name, sizeof(name), "type%d", i);
			if (gcs_series_intern(s, name) < 0)
				break;
		}
		for (t = 1; t < 200; t++) {
			gcs_series_begin(s, t * 7 * S);
			for (i = 0; i < (int32_t)gcs_series_types(s); i++)
				gcs_series_put(s, i, (uint64_t)t * 100, (uint64_t)t * 5000);
			gcs_series_end(s);
		}
		for (i = 0; i < (int32_t)gcs_series_types(s); i++) {
			gcs_series_now(s, i, &now);
			assert_int_equal(now.count, 19900);
			assert_in_range(gcs_series_read(s, i, 0, got, MAX_POINTS), 1, 199);
		}
		gcs_series_free(s);
		assert_int_equal(gcs_mem_used(), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names, setup, teardown),
		cmocka_unit_test_setup_teardown(now_and_moved, setup, teardown),
		cmocka_unit_test_setup_teardown(as_the_model, setup, teardown),
		cmocka_unit_test_setup_teardown(memory_of_a_day, setup, teardown),
		cmocka_unit_test_setup_teardown(bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(all_are_busy, setup, teardown),
		cmocka_unit_test_setup_teardown(alone_in_any_room, setup, teardown),
		cmocka_unit_test_setup_teardown(names_wait_for_room, setup, teardown),
		cmocka_unit_test_setup_teardown(room_where_others_have_the_rest, setup, teardown),
		cmocka_unit_test_setup_teardown(taken_up_again, setup, teardown),
		cmocka_unit_test_setup_teardown(out_of_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
