/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against the two ways in which a leak finder is useless: it misses what grows, or it cries over what
 * fills up, comes back down or has ended. Each pattern is simulated many times, with other sizes, phases,
 * intervals and noise, and judged after each census from the moment on at which its nature can be known.
 *
 * A pattern allows a share of wrong moments, in thousandths: none where the pattern is deterministic; a few
 * where chance makes it look, for a moment, like its opposite (a random walk that walks straight up).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "series.h"
#include "suspect.h"

#define S 1000000000ll
#define MAX_POINTS 10000

/* A pattern fills at, count (and bytes where it wants) and says from which census on it is to be judged. */
static int n, settled;
static double at[MAX_POINTS]; /* time of each census, in intervals */
static double count[MAX_POINTS], bytes[MAX_POINTS];
static int64_t full[MAX_POINTS]; /* full collections, in intervals times 1000 */
static size_t nfull;

static struct gcs_point point[MAX_POINTS];
static int64_t full_ns[MAX_POINTS];
static uint64_t seed;

static double rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (double)(seed * 0x2545F4914F6CDD1Dull >> 11) / 9007199254740992.0;
}

static double between(double low, double high)
{
	return low + (high - low) * rnd();
}

static int whole(int low, int high)
{
	return low + (int)(rnd() * (high - low + 1));
}

static double lesser(double a, double b)
{
	return a < b ? a : b;
}

static double fraction(double x)
{
	return x - (double)(int64_t)x;
}

/* No libm here either: a wave between -1 and 1, of period 1. */
static double wave(double x)
{
	double u = fraction(x) * 2 - 1; /* -1..1: parabolas are near enough to a sine */

	return 4 * u * (1 - (u < 0 ? -u : u));
}

/* e^-x by squaring */
static double decay(double x)
{
	double e = 1 - x / 1024;
	int i;

	if (x > 100)
		return 0;
	for (i = 0; i < 10; i++)
		e *= e;
	return e;
}

/* 10, 100, ... of all magnitudes */
static double magnitude(int decades)
{
	double m = between(10, 100);

	for (decades = whole(1, decades); decades > 1; decades--)
		m *= 10;
	return m;
}

/* Censuses do not come at exact moments. */
static void censuses(int how_many)
{
	double jitter = between(0, 0.08), first = rnd();
	int i;

	n = how_many;
	for (i = 0; i < n; i++)
		at[i] = first + i + (i ? between(-jitter, jitter) : 0);
	nfull = 0;
	memset(bytes, 0, sizeof(bytes));
}

/* ---- Leaks ---- */

static void steady(void)
{
	double k = whole(1, 50), base = whole(0, 1000);
	int i;

	censuses(60);
	settled = 17;
	for (i = 0; i < n; i++)
		count[i] = base + k * at[i];
}

static void after_startup(void)
{
	double k = whole(1, 50), base = between(500, 20000);
	int i, start = whole(1, 4);

	censuses(60);
	settled = 26;
	for (i = 0; i < n; i++)
		count[i] = i < start ? base * i / start : base + k * (at[i] - start);
}

/* What start-up needed for a moment is higher than the leak will be for hours. */
static void after_a_burst(void)
{
	double base = between(500, 5000), extra = between(0.3, 2) * base, k = whole(1, 10);
	int i, burst = 2 + whole(2, 6);

	censuses(200);
	settled = 150;
	for (i = 0; i < n; i++)
		count[i] = i < 2 ? base * i : i < burst ? base + extra : base + k * (at[i] - burst);
}

static void with_noise(void)
{
	double k = whole(2, 50), noise = between(0, 5) * k;
	int i;

	censuses(80);
	settled = 75;
	for (i = 0; i < n; i++)
		count[i] = 500 + k * at[i] + between(-noise, noise);
}

static void every_third_census(void)
{
	double phase = between(0, 3);
	int i;

	censuses(60);
	settled = 40;
	for (i = 0; i < n; i++)
		count[i] = 50 + (int)((at[i] + phase) / 3);
}

/* One object every third census among ten thousand that come and go. */
static void slow_in_a_crowd(void)
{
	int i;

	censuses(1400);
	settled = 800;
	for (i = 0; i < n; i++)
		count[i] = 10000 + between(-50, 50) + at[i] / 3;
}

static void beneath_teeth(void)
{
	double period = between(2, 30), height = between(50, 5000), phase = rnd();
	double k = height / period * between(0.02, 0.1); /* far less than the tooth climbs in a census */
	int i;

	censuses(400);
	settled = 395;
	for (i = 0; i < n; i++)
		count[i] = 100 + height * fraction(at[i] / period + phase) + k * at[i];
}

static void beneath_few_teeth(void)
{
	double phase = between(0, 10);
	int i;

	censuses(64);
	settled = 60;
	for (i = 0; i < n; i++)
		count[i] = 20 * (int)(10 * fraction((at[i] + phase) / 10)) + 4 * (int)at[i];
}

static void after_a_flat_hour(void)
{
	int i, flat = whole(100, 360), noise = whole(0, 5);
	double k = whole(1, 20);

	censuses(flat + 60);
	settled = flat + 45;
	for (i = 0; i < n; i++)
		count[i] = 500 + whole(-noise, noise) + (i > flat ? k * (i - flat) : 0);
}

/* Traffic comes and goes; nothing that it leaves behind is freed. */
static void in_bursts(void)
{
	int i, on = whole(3, 10), k = whole(2, 30);

	censuses(100);
	settled = on * 5 > 40 ? on * 5 : 40;
	count[0] = 50;
	for (i = 1; i < n; i++)
		count[i] = count[i - 1] + (i / on % 2 ? 0 : k);
}

static void load_ended(void)
{
	double k = whole(1, 50);
	int i;

	censuses(40 + whole(1, 6));
	settled = 40;
	for (i = 0; i < n; i++)
		count[i] = 300 + k * at[i < 40 ? i : 39];
}

/* A day of 720 censuses: the leak follows the traffic, and lives beneath what the traffic itself needs. */
static void daily(void)
{
	double phase = rnd();
	int i;

	censuses(1440);
	settled = 700;
	for (i = 0; i < n; i++)
		count[i] = 2000 + 2 * at[i] + 100 * wave(at[i] / 720 + phase) + between(-10, 10);
}

static void daily_rate(void)
{
	double sum = 100, phase = rnd();
	int i;

	censuses(720);
	settled = 200;
	for (i = 0; i < n; i++)
		count[i] = sum += 3 * (1.3 + wave(at[i] / 720 + phase));
}

/* A list over-allocates by an eighth. */
static double list_bytes(double length)
{
	double room = 1000;

	while (room < length)
		room += room / 8 + 6;
	return room * 8;
}

static void one_long_list(void)
{
	double k = whole(1000, 5000);
	int i;

	censuses(50);
	settled = 25;
	for (i = 0; i < n; i++) {
		count[i] = 20;
		bytes[i] = 20 * 56 + list_bytes(i * k);
	}
}

/* ---- Not leaks ---- */

static void lru_cache(void)
{
	double k = whole(1, 100);
	int i;

	censuses(whole(42, 44));
	settled = 33;
	for (i = 0; i < n; i++)
		count[i] = 20 + k * lesser(at[i], 27);
}

static void lru_of_any_size(void)
{
	int i, fill = whole(10, 100);
	double k = whole(1, 100);

	censuses(fill * 4);
	settled = fill + fill / 4 + 2;
	for (i = 0; i < n; i++)
		count[i] = 20 + k * lesser(at[i], fill);
}

/* Random keys: the fuller, the slower. */
static void cache_that_saturates(void)
{
	double tau = between(5, 60), size = 50 + magnitude(3);
	int i;

	censuses((int)(tau * 12));
	settled = (int)(3.5 * tau) + 5;
	for (i = 0; i < n; i++)
		count[i] = 20 + size * (1 - decay(at[i] / tau));
}

static void saw_tooth(void)
{
	double period = between(2, 60), height = magnitude(3), phase = rnd();
	int i;

	censuses((int)(period * between(3, 12)) + 20);
	settled = (int)((2 - phase) * period) + 4;
	for (i = 0; i < n; i++)
		count[i] = 100 + height * fraction(at[i] / period + phase);
}

/* A period that is nearly a whole number of censuses: the troughs seem to rise, for long. */
static void saw_tooth_in_step(void)
{
	double period = whole(2, 40) + between(-0.1, 0.1), height = magnitude(3);
	int i;

	censuses(600);
	settled = (int)(2 * period) + 4;
	for (i = 0; i < n; i++)
		count[i] = 100 + height * fraction(i / period);
}

static void four_teeth(void)
{
	double height = magnitude(3);
	int i;

	censuses(40);
	settled = 14;
	for (i = 0; i < n; i++)
		count[i] = 100 + height * fraction(at[i] / 10);
}

static void uneven_teeth(void)
{
	double period = between(8, 60), size = magnitude(3), height = size, x = 0;
	bool by_height = rnd() < 0.5;
	double end = 1;
	int i;

	censuses((int)(period * 12));
	settled = (int)(1.1 * period) + 5;
	for (i = 0; i < n; i++, x += 1 / period) {
		if (x >= end) {
			x = 0;
			height = by_height ? size * between(0.9, 1.1) : size;
			end = by_height ? 1 : between(0.9, 1.1);
		}
		count[i] = 100 + height * x;
	}
}

static void ttl_cache(void)
{
	double k = whole(1, 100), noise = between(0, 0.3) * k;
	int i;

	censuses(60);
	settled = 18;
	for (i = 0; i < n; i++)
		count[i] = 20 + k * lesser(at[i], 10) + between(-noise, noise);
}

static void thread_pool(void)
{
	int i, size = whole(10, 60);

	censuses(rnd() < 0.5 ? 42 : 400);
	settled = 24;
	for (i = 0; i < n; i++)
		count[i] = i < 12 ? 8 + size * i / 12 : 8 + size + whole(-2, 2);
}

static void cancelled_timers(void)
{
	int i, age = 0, period = whole(4, 6), k = whole(1, 200);

	censuses(whole(40, 300));
	settled = 12;
	for (i = 0; i < n; i++) {
		count[i] = 10 + k * age++;
		if (age >= period) {
			age = 0;
			period = whole(4, 6);
		}
	}
}

static void warm_up(void)
{
	double size = between(100, 50000), left = 1;
	int i, busy = whole(2, 12);

	censuses(whole(42, 200));
	settled = busy * 2 + 6;
	for (i = 0; i < n; i++) {
		count[i] = size * (1 - left) + whole(0, 3);
		left *= i < busy ? 0.4 : 1;
	}
}

static void bounded_walk(void)
{
	double limit = between(20, 200), step = between(0.02, 0.1) * limit, x = between(0, limit);
	bool low = false, high = false;
	int i;

	censuses(400);
	settled = n;
	for (i = 0; i < n; i++) {
		count[i] = 100 + x;
		x += whole(-1, 1) * (step > 1 ? step : 1);
		low |= x < 0;
		high |= x > limit;
		x = x < 0 ? 0 : lesser(x, limit);
		if (low && high && settled == n)
			settled = i + 8; /* now it has been everywhere */
	}
}

static void short_walk(void)
{
	double x = between(50, 150);
	int i, step = whole(1, 5);

	censuses(42);
	settled = 41;
	for (i = 0; i < n; i++) {
		count[i] = 100 + x;
		x += whole(-step, step);
	}
}

static void noise_only(void)
{
	double noise = magnitude(2), x = 0, memory = rnd() < 0.5 ? 0 : between(0, 0.9);
	int i;

	censuses(500);
	settled = 20;
	for (i = 0; i < n; i++) {
		x = memory * x + between(-noise, noise);
		count[i] = 5000 + x;
	}
}

static void steps(void)
{
	int i, k, first[2], slope[2];
	double height[2];

	censuses(whole(40, 100));
	settled = 10;
	for (k = 0; k < 2; k++) {
		first[k] = whole(2, n - 2);
		slope[k] = whole(1, 2);
		height[k] = rnd() < 0.3 ? 0 : between(10, 5000);
	}
	for (i = 0; i < n; i++)
		for (count[i] = 100, k = 0; k < 2; k++)
			if (i > first[k])
				count[i] += height[k] * lesser(1, (double)(i - first[k]) / slope[k]);
}

static void piles(bool seen)
{
	int i, age = 0, period = whole(20, 40), k = whole(1, 100);

	censuses(300);
	settled = 0;
	for (i = 0; i < n; i++) {
		count[i] = 50 + k * age++;
		if (age < period)
			continue;
		if (seen)
			full[nfull++] = i * 1000 + 500;
		settled = settled ? settled : i + 4;
		age = 0;
		period = whole(20, 40);
	}
}

static void cyclic_garbage(void)
{
	piles(false);
}

static void cyclic_garbage_and_collections(void)
{
	piles(true);
}

static void busy_days(void)
{
	double height = between(20, 3000), phase = rnd();
	int i;

	censuses(2160);
	settled = 1100;
	for (i = 0; i < n; i++)
		count[i] = 5000 + height * (wave(at[i] / 720 + phase) + between(-0.02, 0.02));
}

static void on_and_off(void)
{
	int i, on = whole(2, 40), off = whole(2, 40), height = whole(10, 1000);

	censuses(400);
	settled = 10;
	for (i = 0; i < n; i++)
		count[i] = 100 + (i % (on + off) < on ? height : 0);
}

/* The dictionary of a cache that fills and stops: its bytes double a few times. */
static void dictionary_that_fills(void)
{
	double k = whole(30, 5000), room = 5;
	int i;

	censuses(whole(42, 44));
	settled = 41;
	for (i = 0; i < n; i++) {
		while (room < lesser(at[i], 27) * k)
			room *= 2;
		count[i] = 200 + whole(-1, 1);
		bytes[i] = count[i] * 232 + room * 50;
	}
}

static void list_that_fills(void)
{
	double k = whole(1000, 5000);
	int i;

	censuses(whole(42, 44));
	settled = 41;
	for (i = 0; i < n; i++) {
		count[i] = 20;
		bytes[i] = 20 * 56 + list_bytes(lesser(at[i], 27) * k);
	}
}

static void batch_list(void)
{
	double period = between(8, 40), height = between(1000, 100000);
	int i;

	censuses(200);
	settled = (int)(2 * period) + 4;
	for (i = 0; i < n; i++) {
		count[i] = 20;
		bytes[i] = 20 * 56 + list_bytes(height * fraction(at[i] / period));
	}
}

/* ---- The judging ---- */

static void to_points(int64_t interval)
{
	size_t k;
	int i;

	for (i = 0; i < n; i++) {
		point[i].t_ns = 7 * S + (int64_t)(at[i] * (double)interval);
		point[i].count = (uint64_t)count[i];
		point[i].bytes = bytes[i] > 0 ? (uint64_t)bytes[i] : point[i].count * 64;
	}
	for (k = 0; k < nfull; k++)
		full_ns[k] = 7 * S + full[k] * (interval / 1000) + (int64_t)(at[0] * (double)interval);
}

/* Over many runs: how often, of a thousand judgements, it was likely or confirmed. */
static double believed(void (*pattern)(void), int runs)
{
	long asked = 0, yes = 0;
	struct gcs_verdict v;
	size_t known;
	int run, i;

	for (run = 1; run <= runs; run++) {
		seed = (uint64_t)run * 0x9E3779B97F4A7C15ull;
		pattern();
		to_points(run % 2 ? S / 4 : 10 * S);
		for (i = settled; i<n; i += n> 300 && i + 7 < n ? 7 : 1) {
			for (known = 0; known < nfull && full_ns[known] <= point[i].t_ns; known++)
				;
			gcs_suspect_judge(point, (size_t)i + 1, full_ns, known, &v);
			asked++;
			yes += v.confidence >= GCS_LIKELY;
		}
	}
	assert_true(asked > 0);
	return 1000.0 * (double)yes / (double)asked;
}

static const struct {
	const char *name;
	void (*pattern)(void);
	double wrong; /* allowed, in thousandths */
} leaks[] =
	{
		{"steady", steady, 0},
		{"after start-up", after_startup, 0},
		{"after a burst", after_a_burst, 0},
		{"with noise", with_noise, 0},
		{"every third census", every_third_census, 0},
		{"slow in a crowd", slow_in_a_crowd, 0},
		{"beneath teeth", beneath_teeth, 30},
		{"beneath few teeth", beneath_few_teeth, 20},
		{"after a flat hour", after_a_flat_hour, 5},
		{"in bursts", in_bursts, 0},
		{"load ended", load_ended, 0},
		{"daily", daily, 60},
		{"daily rate", daily_rate, 250}, /* in the evening it slows down like a cache that is full */
		{"one long list", one_long_list, 0},
},
  others[] = {
	  {"lru cache", lru_cache, 0},
	  {"lru of any size", lru_of_any_size, 0},
	  {"cache that saturates", cache_that_saturates, 0.5},
	  {"saw-tooth", saw_tooth, 0},
	  {"saw-tooth in step", saw_tooth_in_step, 0},
	  {"four teeth", four_teeth, 0},
	  {"uneven teeth", uneven_teeth, 0},
	  {"ttl cache", ttl_cache, 0},
	  {"thread pool", thread_pool, 1},
	  {"cancelled timers", cancelled_timers, 0},
	  {"warm-up", warm_up, 0},
	  {"bounded walk", bounded_walk, 10},
	  {"short walk", short_walk, 20},
	  {"noise only", noise_only, 0.5},
	  {"steps", steps, 0},
	  {"cyclic garbage", cyclic_garbage, 0},
	  {"cyclic garbage and collections", cyclic_garbage_and_collections, 0},
	  {"busy days", busy_days, 0},
	  {"on and off", on_and_off, 0},
	  {"dictionary that fills", dictionary_that_fills, 0},
	  {"list that fills", list_that_fills, 0},
	  {"batch list", batch_list, 0},
};

static void leaks_are_found(void **state)
{
	bool ok = true;
	double rate;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(leaks) / sizeof(leaks[0]); i++) {
		rate = believed(leaks[i].pattern, 100);
		if (1000 - rate > leaks[i].wrong) {
			print_error("%s: found in only %.2f of 1000 judgements\n", leaks[i].name, rate);
			ok = false;
		}
	}
	assert_true(ok);
}

static void others_are_not(void **state)
{
	bool ok = true;
	double rate;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		rate = believed(others[i].pattern, 100);
		if (rate > others[i].wrong) {
			print_error("%s: a leak in %.2f of 1000 judgements\n", others[i].name, rate);
			ok = false;
		}
	}
	assert_true(ok);
}

static struct gcs_verdict judge(int points, const int64_t *fulls, size_t number)
{
	struct gcs_verdict v;

	gcs_suspect_judge(point, (size_t)points, fulls, number, &v);
	return v;
}

/* Three objects of 50 bytes a census, four censuses a second. */
static void grow(int points)
{
	int i;

	for (i = 0; i < points; i++)
		point[i] = (struct gcs_point){5 * S + i * S / 4, 100 + 3 * (uint64_t)i,
					      50 * (100 + 3 * (uint64_t)i)};
}

static void levels(void **state)
{
	int64_t fulls[2];
	int i;

	(void)state;
	grow(60);
	for (i = 0; i <= 60; i++) {
		enum gcs_confidence c = judge(i, NULL, 0).confidence;

		assert_int_equal(c, i < 8 ? GCS_NO_SUSPECT : i < 16 ? GCS_WATCH : GCS_LIKELY);
	}
	/* A full collection makes it certain, if within the second half and early enough to be seen. */
	fulls[0] = point[10].t_ns + 1;
	fulls[1] = point[35].t_ns + 1;
	assert_int_equal(judge(40, fulls, 1).confidence, GCS_LIKELY);
	assert_int_equal(judge(40, fulls, 2).confidence, GCS_CONFIRMED);
	assert_int_equal(judge(36, fulls, 2).confidence, GCS_LIKELY);
	assert_int_equal(judge(25, fulls, 1).confidence, GCS_LIKELY);
}

static void evidence(void **state)
{
	int64_t fulls[] = {1 * S, 6 * S, 12 * S, 14 * S, 99 * S};
	struct gcs_verdict v;

	(void)state;
	grow(40);
	v = judge(40, fulls, 5);
	assert_int_equal(v.confidence, GCS_CONFIRMED);
	assert_true(v.growth_per_s > 11.99 && v.growth_per_s < 12.01);
	assert_true(v.bytes_per_s > 599 && v.bytes_per_s < 601);
	assert_int_equal(v.samples, 40);
	assert_true(v.span_s > 9.74 && v.span_s < 9.76);
	assert_int_equal(v.min_first, 100);
	assert_in_range(v.min_last, 200, 217);
	assert_int_equal(v.rising, 8);
	assert_int_equal(v.blocks, 8);
	assert_int_equal(v.full_collections, 3);
	assert_false(v.by_bytes);
}

static void evidence_by_bytes(void **state)
{
	struct gcs_verdict v;
	int64_t fulls[1];
	int i;

	(void)state;
	grow(60);
	for (i = 0; i < 60; i++)
		point[i].count = 7;
	fulls[0] = point[50].t_ns;
	v = judge(60, fulls, 1);
	assert_int_equal(v.confidence, GCS_LIKELY); /* bytes alone are never certain */
	assert_true(v.by_bytes);
	assert_true(v.growth_per_s == 0);
	assert_true(v.bytes_per_s > 599 && v.bytes_per_s < 601);
	/* Too little to speak of. */
	for (i = 0; i < 60; i++)
		point[i].bytes = 1000 + 100 * (uint64_t)i;
	assert_int_equal(judge(60, NULL, 0).confidence, GCS_NO_SUSPECT);
}

static void too_little(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 60; i++)
		point[i] = (struct gcs_point){i * S, 10 + (uint64_t)(i / 9), 1000};
	assert_int_equal(judge(60, NULL, 0).confidence, GCS_NO_SUSPECT);
	for (i = 0; i < 60; i++)
		point[i] = (struct gcs_point){5 * S, (uint64_t)i, 0}; /* no time passes */
	assert_int_equal(judge(60, NULL, 0).confidence, GCS_NO_SUSPECT);
	for (i = 0; i < 60; i++)
		point[i] = (struct gcs_point){i * S, 0, 0};
	assert_int_equal(judge(60, NULL, 0).confidence, GCS_NO_SUSPECT);
}

/* Two steps that took a few censuses each, the second a moment ago. */
static void two_slow_steps(void **state)
{
	static const int height[] = {1026, 2052, 3078};
	int i, first = 16, second = 31;

	(void)state;
	for (i = 0; i < 45; i++) {
		point[i] = (struct gcs_point){i * S / 4, 100, 6400};
		if (i >= first)
			point[i].count += (uint64_t)height[lesser(i - first, 2) > 1 ? 2 : i - first];
		if (i >= second)
			point[i].count += (uint64_t)height[lesser(i - second, 2) > 1 ? 2 : i - second];
		point[i].bytes = point[i].count * 64;
	}
	for (i = 8; i <= 45; i++)
		assert_true(judge(i, NULL, 0).confidence < GCS_LIKELY);
}

/* Nothing in the input may upset it. */
static void arbitrary_input(void **state)
{
	struct gcs_verdict v;
	int run, i, size;

	(void)state;
	seed = 99;
	for (run = 0; run < 3000; run++) {
		int64_t t = whole(0, 1) ? 0 : INT64_MAX / 2;

		size = whole(0, 100);
		for (i = 0; i < size; i++) {
			t += whole(0, 3) ? whole(0, 5) : (int64_t)(rnd() * 1e15);
			point[i] = (struct gcs_point){
				t, whole(0, 2) ? (uint64_t)whole(0, 1000) : UINT64_MAX >> whole(0, 63),
				UINT64_MAX >> whole(0, 63)};
			full_ns[i] = t + whole(-3, 3);
		}
		gcs_suspect_judge(point, (size_t)size, full_ns, (size_t)size, &v);
		assert_in_range(v.confidence, GCS_NO_SUSPECT, GCS_CONFIRMED);
		assert_true(v.samples <= (size_t)size);
		assert_true(v.rising <= v.blocks);
	}
}

/* ---- A day, through the series: minute-long histories behind, the last hour in full ---- */

static size_t history(const struct gcs_series *s)
{
	return gcs_series_read(s, 0, INT64_MIN, point, MAX_POINTS);
}

/* The share of judgements in the hours from..to, in thousandths, that believed in a leak. */
static double believed_of_a_day(double (*pattern)(double hours), double from, double to)
{
	struct gcs_series *s;
	struct gcs_verdict v;
	long asked = 0, yes = 0;
	double hours, c;
	int i;

	assert_int_equal(gcs_mem_init(4 << 20), 0);
	s = gcs_series_new(1 << 20);
	assert_int_equal(gcs_series_intern(s, "x"), 0);
	seed = 4711;
	for (i = 0; i < to * 360; i++) {
		hours = i / 360.0;
		c = pattern(hours);
		gcs_series_begin(s, (i + 1) * 10 * S);
		gcs_series_put(s, 0, (uint64_t)c, (uint64_t)c * 64);
		gcs_series_end(s);
		if (hours < from || i % 20)
			continue;
		gcs_suspect_judge(point, history(s), NULL, 0, &v);
		asked++;
		yes += v.confidence >= GCS_LIKELY;
	}
	gcs_series_free(s);
	gcs_mem_fini();
	return 1000.0 * (double)yes / (double)asked;
}

static double day_steady(double hours)
{
	return 1000 + 100 * hours;
}

static double day_steady_in_noise(double hours)
{
	return 5000 + between(-40, 40) + 60 * hours;
}

static double day_late(double hours)
{
	return 3000 + between(-5, 5) + (hours > 20 ? 500 * (hours - 20) : 0);
}

static double day_with_traffic(double hours)
{
	return 3000 + 200 * hours + 400 * wave(hours / 24) + between(-20, 20);
}

static double day_minute_teeth(double hours)
{
	return 200 + 3000 * fraction(hours * 60 / 7.3);
}

static double day_minute_teeth_leak(double hours)
{
	return 200 + 3000 * fraction(hours * 60 / 7.3) + 150 * hours;
}

static double day_hourly_batch(double hours)
{
	return 200 + 5000 * lesser(fraction(hours) * 3, 1) * (fraction(hours) < 0.8);
}

static double day_cache(double hours)
{
	return 200 + 500 * lesser(hours, 6) + between(-2, 2);
}

static double day_saturating(double hours)
{
	return 200 + 10000 * (1 - decay(hours / 1.5));
}

static double day_noise(double hours)
{
	return 8000 + between(-300, 300) + 300 * wave(hours / 3.1);
}

static void days(void **state)
{
	(void)state;
	assert_true(believed_of_a_day(day_steady, 0.2, 27) == 1000);
	assert_true(believed_of_a_day(day_steady_in_noise, 4, 27) > 990);
	assert_true(believed_of_a_day(day_late, 20.2, 27) > 990);
	assert_true(believed_of_a_day(day_with_traffic, 8, 27) > 900);
	assert_true(believed_of_a_day(day_minute_teeth_leak, 12, 27) > 980);
	assert_true(believed_of_a_day(day_minute_teeth, 0.3, 27) == 0);
	assert_true(believed_of_a_day(day_hourly_batch, 1.1, 27) == 0);
	assert_true(believed_of_a_day(day_cache, 8, 27) == 0);
	assert_true(believed_of_a_day(day_saturating, 8, 27) == 0);
	assert_true(believed_of_a_day(day_noise, 4, 27) < 2);
}

static void names(void **state)
{
	char a[17], b[17];

	(void)state;
	assert_string_equal(gcs_confidence_name(GCS_WATCH), "watch");
	assert_string_equal(gcs_confidence_name(GCS_LIKELY), "likely");
	assert_string_equal(gcs_confidence_name(GCS_CONFIRMED), "confirmed");
	gcs_suspect_fingerprint("", a);
	assert_string_equal(a, "cbf29ce484222325");
	gcs_suspect_fingerprint("foobar", a); /* the published FNV-1a test value */
	assert_string_equal(a, "85944171f73967e8");
	gcs_suspect_fingerprint("app.Session", a);
	gcs_suspect_fingerprint("app.Sessions", b);
	assert_string_not_equal(a, b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaks_are_found),
		cmocka_unit_test(others_are_not),
		cmocka_unit_test(levels),
		cmocka_unit_test(evidence),
		cmocka_unit_test(evidence_by_bytes),
		cmocka_unit_test(too_little),
		cmocka_unit_test(two_slow_steps),
		cmocka_unit_test(arbitrary_input),
		cmocka_unit_test(days),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
