/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: a cursor that jumps to another type, or out of the table, when rows change
 * places, come or go; a sparkline that counts the same census twice, or that is drawn past its
 * line; a history asked for of what is no type; a rate over another time than was measured; totals
 * that look exact and are not; answers of odd shape.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cycles.h"
#include "spark.h"
#include "watch-model.h"

#define SECOND 1000000000ll

static void answer(struct gcs_watch *w, enum gcs_watch_kind kind, const char *json, int64_t now)
{
	json_t *a = json_loads(json, 0, NULL);

	assert_non_null(a);
	gcs_watch_answer(w, kind, a, now);
}

static void cursor_stays_on_its_type(void **state)
{
	struct gcs_watch w;

	(void)state;
	gcs_watch_init(&w, GCS_SORT_COUNT);
	gcs_watch_move(&w, 1);
	assert_int_equal(w.cursor, 0);
	answer(&w, GCS_WATCH_CENSUS,
	       "{\"types\":[{\"type\":\"a\"},{\"type\":\"b\"},{\"type\":\"c\"}]}", SECOND);
	assert_string_equal(w.selected, "a");
	gcs_watch_move(&w, 1);
	assert_string_equal(w.selected, "b");
	answer(&w, GCS_WATCH_CENSUS,
	       "{\"types\":[{\"type\":\"c\"},{\"type\":\"a\"},{\"type\":\"b\"}]}", 2 * SECOND);
	assert_int_equal(w.cursor, 2);
	answer(&w, GCS_WATCH_CENSUS, "{\"types\":[{\"type\":\"c\"},{\"type\":\"a\"}]}", 3 * SECOND);
	assert_int_equal(w.cursor, 1);
	assert_string_equal(w.selected, "a");
	gcs_watch_move(&w, 1000);
	assert_int_equal(w.cursor, 1);
	gcs_watch_move(&w, -1000);
	assert_int_equal(w.cursor, 0);
	answer(&w, GCS_WATCH_CENSUS, "{\"types\":[]}", 4 * SECOND);
	gcs_watch_move(&w, 1);
	assert_int_equal(gcs_watch_nrows(&w), 0);
	gcs_watch_fini(&w);
}

static void cursor_starts_at_the_top(void **state)
{
	struct gcs_watch w;

	(void)state;
	gcs_watch_init(&w, GCS_SORT_COUNT);
	answer(&w, GCS_WATCH_CENSUS, "{\"types\":[{\"type\":\"a\"},{\"type\":\"b\"}]}", SECOND);
	answer(&w, GCS_WATCH_CENSUS, "{\"types\":[{\"type\":\"b\"},{\"type\":\"a\"}]}", 2 * SECOND);
	assert_int_equal(w.cursor, 0);
	assert_string_equal(w.selected, "b");
	gcs_watch_move(&w, 1);
	gcs_watch_sort(&w, GCS_SORT_BYTES);
	answer(&w, GCS_WATCH_CENSUS, "{\"types\":[{\"type\":\"c\"},{\"type\":\"a\"}]}", 3 * SECOND);
	assert_string_equal(w.selected, "c");
	gcs_watch_fini(&w);
}

static void scrolls_to_the_cursor(void **state)
{
	struct gcs_watch w;

	(void)state;
	gcs_watch_init(&w, GCS_SORT_COUNT);
	answer(&w, GCS_WATCH_CENSUS,
	       "{\"types\":[{\"type\":\"a\"},{\"type\":\"b\"},{\"type\":\"c\"},{\"type\":\"d\"},{\"type\":\"e\"}]}",
	       SECOND);
	gcs_watch_move(&w, 4);
	gcs_watch_scroll(&w, 2);
	assert_int_equal(w.top, 3);
	gcs_watch_move(&w, -3);
	gcs_watch_scroll(&w, 2);
	assert_int_equal(w.top, 1);
	gcs_watch_scroll(&w, 100);
	assert_int_equal(w.top, 0);
	gcs_watch_scroll(&w, 0);
	gcs_watch_fini(&w);
}

static void census(struct gcs_watch *w, double count, double ago, int64_t now)
{
	gcs_watch_answer(w, GCS_WATCH_CENSUS,
			 json_pack("{s:f, s:[{s:s, s:f}]}", "taken_s_ago", ago, "types", "type",
				   "a", "count", count),
			 now);
}

static void trend_has_each_census_once(void **state)
{
	double v[GCS_WATCH_TREND];
	struct gcs_watch w;

	(void)state;
	gcs_watch_init(&w, GCS_SORT_COUNT);
	census(&w, 1, 0.5, 10 * SECOND);
	census(&w, 1, 1.5, 11 * SECOND); /* the same one, asked for again */
	assert_int_equal(gcs_watch_trend(&w, "a", v), 1);
	census(&w, 2, 0.5, 12 * SECOND);
	assert_int_equal(gcs_watch_trend(&w, "a", v), 2);
	assert_true(v[0] == 1 && v[1] == 2);
	for (int i = 0; i < 100; i++)
		census(&w, i, 0, (20 + i) * SECOND);
	assert_int_equal(gcs_watch_trend(&w, "a", v), GCS_WATCH_TREND);
	assert_true(v[GCS_WATCH_TREND - 1] == 99);
	answer(&w, GCS_WATCH_CENSUS, "{\"types\":[{\"type\":\"b\",\"count\":1}]}", 200 * SECOND);
	assert_int_equal(gcs_watch_trend(&w, "a", v), 0);
	assert_int_equal(gcs_watch_trend(&w, NULL, v), 0);
	gcs_watch_fini(&w);
}

/* Points as the agent has them: a census each half second, the last one `ago` before now. */
static void past(struct gcs_watch *w, const char *type, int from, int to, double ago, int64_t now)
{
	json_t *points = json_array();

	for (int i = from; i <= to; i++)
		json_array_append_new(points, json_pack("[f, i, i]", ago + (to - i) * 0.5, i, 0));
	gcs_watch_answer(w, GCS_WATCH_PAST, json_pack("{s:s, s:o}", "type", type, "points", points),
			 now);
}

static void trend_begins_with_the_past(void **state)
{
	double v[GCS_WATCH_TREND];
	struct gcs_watch w;

	(void)state;
	gcs_watch_init(&w, GCS_SORT_COUNT);
	assert_null(gcs_watch_wants_past(&w));
	census(&w, 7, 0.1, 10 * SECOND);
	assert_null(gcs_watch_wants_past(&w)); /* nothing is shown yet */
	gcs_watch_scroll(&w, 5);
	assert_string_equal(gcs_watch_wants_past(&w), "a");
	assert_null(gcs_watch_wants_past(&w));
	past(&w, "a", 3, 8, 0.1, 10 * SECOND + SECOND / 2); /* one census later than what is shown */
	assert_int_equal(gcs_watch_trend(&w, "a", v), 5);
	assert_true(v[0] == 3 && v[4] == 7);
	census(&w, 8, 0.1, 10 * SECOND + SECOND / 2);
	assert_int_equal(gcs_watch_trend(&w, "a", v), 6);
	assert_true(v[5] == 8);
	assert_null(gcs_watch_wants_past(&w)); /* a new census is no reason to ask again */
	past(&w, "a", -100, 8, 0.2, 10 * SECOND + SECOND / 2);
	assert_int_equal(gcs_watch_trend(&w, "a", v), GCS_WATCH_TREND);
	assert_true(v[GCS_WATCH_TREND - 1] == 8);
	past(&w, "gone", 1, 5, 0, 11 * SECOND);
	assert_int_equal(gcs_watch_trend(&w, "gone", v), 0);
	answer(&w, GCS_WATCH_PAST, "{\"type\":\"a\",\"points\":[5,[],[\"x\",1],[1]]}", 11 * SECOND);
	assert_int_equal(gcs_watch_trend(&w, "a", v), GCS_WATCH_TREND);
	gcs_watch_show(&w, GCS_VIEW_SUSPECTS);
	assert_null(gcs_watch_wants_past(&w));
	gcs_watch_fini(&w);
}

static void views_have_their_rows(void **state)
{
	struct gcs_watch w;

	(void)state;
	gcs_watch_init(&w, GCS_SORT_COUNT);
	answer(&w, GCS_WATCH_CENSUS, "{\"types\":[{\"type\":\"a\"},{\"type\":\"b\"}]}", SECOND);
	answer(&w, GCS_WATCH_SUSPECTS, "{\"suspects\":[{\"type\":\"s\"}]}", SECOND);
	gcs_watch_show(&w, GCS_VIEW_SUSPECTS);
	assert_int_equal(gcs_watch_nrows(&w), 1);
	assert_string_equal(w.selected, "s");
	gcs_watch_show(&w, GCS_VIEW_HISTORY);
	assert_int_equal(gcs_watch_nrows(&w), 1);
	gcs_watch_show(&w, GCS_VIEW_HELP);
	assert_int_equal(w.back, GCS_VIEW_SUSPECTS);
	gcs_watch_show(&w, w.back);
	gcs_watch_show(&w, GCS_VIEW_TYPES);
	assert_int_equal(gcs_watch_nrows(&w), 2);
	gcs_watch_fini(&w);
}

static void cycles(struct gcs_watch *w, const char *fingerprint, double count, int64_t now)
{
	gcs_watch_answer(w, GCS_WATCH_CYCLES,
			 json_pack("{s:[{s:s, s:i}, {s:s, s:f}]}", "cycles", "fingerprint", "other", "count", 5,
				   "fingerprint", fingerprint, "count", count),
			 now);
}

static void cycles_are_no_types(void **state)
{
	struct gcs_watch w;

	(void)state;
	gcs_watch_init(&w, GCS_SORT_COUNT);
	answer(&w, GCS_WATCH_CENSUS, "{\"types\":[{\"type\":\"a\"},{\"type\":\"b\"},{\"type\":\"c\"}]}", SECOND);
	gcs_watch_move(&w, 2);
	assert_string_equal(gcs_watch_type(&w), "c");
	gcs_watch_show(&w, GCS_VIEW_CYCLES);
	assert_int_equal(gcs_watch_nrows(&w), 0);
	assert_null(gcs_watch_type(&w));
	cycles(&w, "f", 1, SECOND);
	assert_int_equal(w.cursor, 0); /* and not where it stood among the types */
	gcs_watch_move(&w, 1);
	assert_string_equal(w.selected, "f");
	answer(&w, GCS_WATCH_CENSUS, "{\"types\":[{\"type\":\"a\"}]}", 2 * SECOND);
	assert_string_equal(w.selected, "f");
	answer(&w, GCS_WATCH_CYCLES, "{\"cycles\":[{\"fingerprint\":\"f\"},{\"fingerprint\":\"other\"}]}", 2 * SECOND);
	assert_int_equal(w.cursor, 0);
	gcs_watch_show(&w, GCS_VIEW_HELP);
	assert_null(gcs_watch_type(&w));
	assert_int_equal(gcs_watch_table(&w), GCS_VIEW_CYCLES);
	assert_int_equal(gcs_watch_nrows(&w), 2);
	gcs_watch_show(&w, w.back);
	assert_string_equal(w.selected, "f");
	gcs_watch_failed(&w, GCS_WATCH_CYCLES, "off");
	assert_int_equal(gcs_watch_nrows(&w), 0);
	assert_string_equal(w.message[GCS_WATCH_CYCLES], "off");
	gcs_watch_show(&w, GCS_VIEW_TYPES);
	assert_string_equal(gcs_watch_type(&w), "a");
	gcs_watch_fini(&w);
}

/* Of the row "f" in the latest answer. */
static double rate(const struct gcs_watch *w)
{
	return gcs_watch_rate(w, json_array_get(json_object_get(w->answer[GCS_WATCH_CYCLES], "cycles"), 1));
}

static void rates_of_cycles(void **state)
{
	struct gcs_watch w;
	json_t *row = json_pack("{s:s}", "fingerprint", "f");

	(void)state;
	gcs_watch_init(&w, GCS_SORT_COUNT);
	assert_true(isnan(gcs_watch_rate(&w, row)));
	cycles(&w, "f", 100, 10 * SECOND);
	assert_true(isnan(rate(&w))); /* no time has passed */
	cycles(&w, "f", 130, 12 * SECOND);
	assert_true(rate(&w) == 15);
	/* Ten a second: over each of the following, half of the window to all of it. */
	for (int i = 0; i <= 40; i++) {
		cycles(&w, "f", 130 + i * 10, (12 + i) * SECOND);
		assert_true(i < 13 || fabs(rate(&w) - 10) < 1e-9);
	}
	for (int i = 0; i <= GCS_WATCH_RATE_S; i++)
		cycles(&w, "f", 530, (53 + i) * SECOND);
	assert_true(rate(&w) == 0); /* what was long ago is forgotten */
	cycles(&w, "new", 9, 70 * SECOND);
	assert_true(isnan(rate(&w)) && isnan(gcs_watch_rate(&w, row)));
	answer(&w, GCS_WATCH_CYCLES,
	       "{\"cycles\":[{\"fingerprint\":5,\"count\":1},{\"fingerprint\":\"f\",\"count\":\"x\"},7,null]}", 80 * SECOND);
	assert_true(isnan(rate(&w)));
	answer(&w, GCS_WATCH_CYCLES, "{\"cycles\":{\"f\":1}}", 90 * SECOND);
	assert_int_equal(gcs_watch_nrows(&w), 0);
	json_decref(row);
	gcs_watch_fini(&w);
}

static void summary(const char *json, const char *mark, const char *want)
{
	json_t *a = json_loads(json, 0, NULL);
	char *s = gcs_cycles_summary(a);

	assert_string_equal(gcs_cycles_mark(a), mark);
	assert_string_equal(s, want);
	free(s);
	json_decref(a);
}

static void estimates_are_marked(void **state)
{
	(void)state;
	summary("{\"captured\":9,\"collections\":9,\"objects\":70,\"skipped\":0,\"refused\":0,\"unanalysed\":0,"
		"\"estimate\":false}",
		"", "9 of 9 collections captured, 70 objects of cyclic garbage in them");
	summary("{\"captured\":9,\"collections\":14,\"objects\":70,\"skipped\":3,\"refused\":2,\"unanalysed\":6,"
		"\"estimate\":true}",
		"~",
		"9 of 14 collections captured, 70 objects of cyclic garbage in them; "
		"5 collections and 6 objects passed over: totals with ~ are estimates");
	summary("{\"captured\":\"\\u001b\",\"estimate\":1}", "",
		"- of - collections captured, - objects of cyclic garbage in them");
}

static void odd_answers(void **state)
{
	struct gcs_watch w;
	size_t n;

	(void)state;
	gcs_watch_init(&w, GCS_SORT_COUNT);
	assert_null(gcs_watch_history(&w, &n));
	answer(&w, GCS_WATCH_CENSUS, "{\"types\":{\"a\":1}}", SECOND);
	answer(&w, GCS_WATCH_CENSUS,
	       "{\"types\":[1,null,{\"type\":5},{\"count\":\"x\"}],\"taken_s_ago\":\"y\"}",
	       2 * SECOND);
	assert_int_equal(gcs_watch_nrows(&w), 4);
	gcs_watch_move(&w, 1);
	assert_null(w.selected);
	answer(&w, GCS_WATCH_CENSUS, "{\"types\":[{\"type\":\"a\"}]}", 3 * SECOND);
	answer(&w, GCS_WATCH_HISTORY,
	       "{\"type\":\"a\",\"points\":[[2,1,0],5,[],[\"x\",1],[1,7,0]]}", 3 * SECOND);
	struct gcs_spark_point *p = gcs_watch_history(&w, &n);
	assert_int_equal(n, 2);
	assert_true(p[1].value == 7);
	free(p);
	gcs_watch_failed(&w, GCS_WATCH_HISTORY, "no such type");
	assert_null(gcs_watch_history(&w, &n));
	assert_string_equal(w.message[GCS_WATCH_HISTORY], "no such type");
	gcs_watch_fini(&w);
}

static void resamples_by_time(void **state)
{
	static const struct gcs_spark_point p[] = {{10, 1}, {9, 2}, {2, 3}, {0, 4}};
	double v[5];

	(void)state;
	assert_true(gcs_spark_resample(p, 4, v, 5) == 2);
	assert_true(v[0] == 2 && v[1] == 2 && v[2] == 2 && v[3] == 3 && v[4] == 4);
	gcs_spark_resample(p, 1, v, 5);
	assert_true(v[4] == 1);
	gcs_spark_resample(p, 0, v, 5);
	assert_true(isnan(v[4]));
	gcs_spark_resample(p, 4, v, 0);
}

static void draws_levels(void **state)
{
	static const double v[] = {0, 7, NAN, 3.5};
	char *line = malloc(GCS_SPARK_SIZE(4)); /* exact, for ASan */
	double lo, hi;

	(void)state;
	assert_true(gcs_spark_range(v, 4, &lo, &hi));
	assert_true(lo == 0 && hi == 7);
	gcs_spark_row(line, v, 4, lo, hi, 0, 1, false);
	assert_string_equal(line, "\u2581\u2588 \u2585");
	gcs_spark_row(line, v, 4, lo, hi, 0, 2, true);
	assert_string_equal(line, " # _");
	gcs_spark_row(line, v, 4, lo, hi, 1, 2, false);
	assert_string_equal(line, "\u2581\u2588 \u2588");
	gcs_spark_row(line, (const double[]){-1e308, 1e308}, 2, -1e308, 1e308, 0, 1, true);
	gcs_spark_row(line, v, 1, 5, 5, 0, 1, false);
	assert_string_equal(line, "\u2581");
	assert_false(gcs_spark_range(v + 2, 1, &lo, &hi));
	free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cursor_stays_on_its_type),
		cmocka_unit_test(cursor_starts_at_the_top),
		cmocka_unit_test(scrolls_to_the_cursor),
		cmocka_unit_test(trend_has_each_census_once),
		cmocka_unit_test(trend_begins_with_the_past),
		cmocka_unit_test(views_have_their_rows),
		cmocka_unit_test(cycles_are_no_types),
		cmocka_unit_test(rates_of_cycles),
		cmocka_unit_test(estimates_are_marked),
		cmocka_unit_test(odd_answers),
		cmocka_unit_test(resamples_by_time),
		cmocka_unit_test(draws_levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
