/* SPDX-License-Identifier: Apache-2.0 */
#include "watch-model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fields.h"
#include "xalloc.h"

/* Two censuses are at least this far apart; less is the jitter of taken_s_ago. */
#define SAME_CENSUS_NS 5000000ll

void gcs_watch_init(struct gcs_watch *w, enum gcs_sort sort)
{
	*w = (struct gcs_watch){
		.sort = sort, .trend = json_object(), .past = json_object(), .census_ns = INT64_MIN};
}

void gcs_watch_fini(struct gcs_watch *w)
{
	for (int i = 0; i < GCS_WATCH_KINDS; i++)
		json_decref(w->answer[i]);
	json_decref(w->trend);
	json_decref(w->past);
	json_decref(w->from.count);
	json_decref(w->next.count);
	free(w->selected);
}

enum gcs_watch_view gcs_watch_table(const struct gcs_watch *w)
{
	return w->view < GCS_VIEW_HISTORY ? w->view : w->back;
}

const json_t *gcs_watch_rows(const struct gcs_watch *w)
{
	switch (gcs_watch_table(w)) {
	case GCS_VIEW_SUSPECTS:
		return json_object_get(w->answer[GCS_WATCH_SUSPECTS], "suspects");
	case GCS_VIEW_CYCLES:
		return json_object_get(w->answer[GCS_WATCH_CYCLES], "cycles");
	default:
		return json_object_get(w->answer[GCS_WATCH_CENSUS], "types");
	}
}

size_t gcs_watch_nrows(const struct gcs_watch *w)
{
	return json_array_size(gcs_watch_rows(w));
}

/* What a row is selected by. */
static const char *row_key(const struct gcs_watch *w, size_t i)
{
	const char *key = gcs_watch_table(w) == GCS_VIEW_CYCLES ? "fingerprint" : "type";

	return gcs_fields_str(json_array_get(gcs_watch_rows(w), i), key);
}

const char *gcs_watch_type(const struct gcs_watch *w)
{
	return gcs_watch_table(w) == GCS_VIEW_CYCLES ? NULL : w->selected;
}

static void select_row(struct gcs_watch *w, size_t i)
{
	const char *key = row_key(w, i);

	w->cursor = i;
	free(w->selected);
	w->selected = key ? xstrdup(key) : NULL;
}

/*
 * Puts the cursor on the selected row again; when it is gone, what took its place is selected.
 * Until somebody has moved the cursor it is on the first row, whatever that is.
 */
static void find_selected(struct gcs_watch *w)
{
	size_t n = gcs_watch_nrows(w);

	for (size_t i = 0; w->selected && w->moved && i < n; i++) {
		const char *key = row_key(w, i);

		if (key && !strcmp(key, w->selected)) {
			w->cursor = i;
			return;
		}
	}
	if (n)
		select_row(w, !w->moved ? 0 : w->cursor < n ? w->cursor : n - 1);
}

static void add_trend(json_t *trend, const json_t *row)
{
	const char *type = gcs_fields_str(row, "type");
	double count = gcs_fields_num(row, "count");
	json_t *a;

	if (!type || !isfinite(count))
		return;
	a = json_object_get(trend, type);
	if (!a)
		json_object_set_new(trend, type, a = json_array());
	json_array_append_new(a, json_real(count));
	if (json_array_size(a) > GCS_WATCH_TREND)
		json_array_remove(a, 0);
}

/*
 * The agent answers with its last census as often as it is asked: only a new one counts. What has
 * left the answer is forgotten, so that a long watch of many types does not grow.
 */
static void note_census(struct gcs_watch *w, const json_t *census, int64_t now_ns)
{
	double ago = gcs_fields_num(census, "taken_s_ago");
	int64_t taken = now_ns - (ago > 0 && ago < 1e9 ? (int64_t)(ago * 1e9) : 0);
	const json_t *types = json_object_get(census, "types");
	json_t *keep, *past;

	if (w->census_ns != INT64_MIN && taken - w->census_ns < SAME_CENSUS_NS)
		return;
	w->census_ns = taken;
	keep = json_object();
	past = json_object();
	for (size_t i = 0; i < json_array_size(types); i++) {
		const char *type = gcs_fields_str(json_array_get(types, i), "type");

		if (type && json_object_get(w->trend, type))
			json_object_set(keep, type, json_object_get(w->trend, type));
		if (type && json_object_get(w->past, type))
			json_object_set(past, type, json_object_get(w->past, type));
		add_trend(keep, json_array_get(types, i));
	}
	json_decref(w->trend);
	json_decref(w->past);
	w->trend = keep;
	w->past = past;
}

/*
 * The counts up to the census that is on the screen, in place of those that were seen. A newer one
 * comes with its own census.
 */
static void note_past(struct gcs_watch *w, const json_t *history, int64_t now_ns)
{
	const json_t *points = json_object_get(history, "points");
	const char *type = gcs_fields_str(history, "type");
	size_t n = json_array_size(points);
	json_t *counts;

	if (!type || !json_object_get(w->trend, type))
		return;
	counts = json_array();
	for (size_t i = n > GCS_WATCH_TREND ? n - GCS_WATCH_TREND : 0; i < n; i++) {
		const json_t *ago = json_array_get(json_array_get(points, i), 0);
		const json_t *count = json_array_get(json_array_get(points, i), 1);

		if (json_is_number(ago) && json_is_number(count) &&
		    (double)(now_ns - w->census_ns) - json_number_value(ago) * 1e9 < SAME_CENSUS_NS)
			json_array_append_new(counts, json_real(json_number_value(count)));
	}
	if (json_array_size(counts) > json_array_size(json_object_get(w->trend, type)))
		json_object_set(w->trend, type, counts);
	json_decref(counts);
}

/*
 * Rates begin half to all of GCS_WATCH_RATE_S ago: collections come in bursts, and from one answer
 * to the next most counts would stand still.
 */
static void note_cycles(struct gcs_watch *w, const json_t *cycles, int64_t now_ns)
{
	const json_t *rows = json_object_get(cycles, "cycles");
	json_t *count;

	w->cycles_ns = now_ns;
	if (w->next.count && (double)(now_ns - w->next.ns) < GCS_WATCH_RATE_S * 1e9 / 2)
		return;
	count = json_object();
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);
		const char *fingerprint = gcs_fields_str(row, "fingerprint");

		if (fingerprint && isfinite(gcs_fields_num(row, "count")))
			json_object_set(count, fingerprint, json_object_get(row, "count"));
	}
	json_decref(w->from.count);
	w->from = w->next;
	w->next = (struct gcs_watch_counts){count, now_ns};
}

double gcs_watch_rate(const struct gcs_watch *w, const json_t *cycle)
{
	const struct gcs_watch_counts *from = w->from.count ? &w->from : &w->next;
	const char *fingerprint = gcs_fields_str(cycle, "fingerprint");
	const json_t *before = fingerprint ? json_object_get(from->count, fingerprint) : NULL;

	if (!before || w->cycles_ns <= from->ns)
		return NAN;
	return (gcs_fields_num(cycle, "count") - json_number_value(before)) /
	       ((double)(w->cycles_ns - from->ns) / 1e9);
}

static void note_rss(struct gcs_watch *w, double rss)
{
	if (w->nrss == GCS_WATCH_RSS)
		memmove(w->rss, w->rss + 1, --w->nrss * sizeof(w->rss[0]));
	w->rss[w->nrss++] = rss;
}

void gcs_watch_answer(struct gcs_watch *w, enum gcs_watch_kind kind, json_t *answer, int64_t now_ns)
{
	if (kind == GCS_WATCH_PAST) {
		note_past(w, answer, now_ns);
		json_decref(answer);
		return;
	}
	json_decref(w->answer[kind]);
	w->answer[kind] = answer;
	w->message[kind][0] = '\0';
	if (kind == GCS_WATCH_STAT)
		note_rss(w, gcs_fields_num(answer, "process.rss_bytes"));
	if (kind == GCS_WATCH_CENSUS)
		note_census(w, answer, now_ns);
	if (kind == GCS_WATCH_CYCLES)
		note_cycles(w, answer, now_ns);
	if (kind == GCS_WATCH_CENSUS || kind == GCS_WATCH_SUSPECTS || kind == GCS_WATCH_CYCLES)
		find_selected(w);
}

void gcs_watch_failed(struct gcs_watch *w, enum gcs_watch_kind kind, const char *message)
{
	json_decref(w->answer[kind]);
	w->answer[kind] = NULL;
	snprintf(w->message[kind], sizeof(w->message[kind]), "%s", message ? message : "error");
}

void gcs_watch_move(struct gcs_watch *w, long rows)
{
	size_t n = gcs_watch_nrows(w);
	long to = (long)w->cursor + rows;

	if (!n)
		return;
	w->moved = true;
	select_row(w, to < 0 ? 0 : (size_t)to >= n ? n - 1 : (size_t)to);
}

void gcs_watch_sort(struct gcs_watch *w, enum gcs_sort sort)
{
	w->sort = sort;
	w->moved = false;
	w->top = 0;
}

void gcs_watch_scroll(struct gcs_watch *w, size_t height)
{
	size_t n = gcs_watch_nrows(w);

	w->height = height;
	if (!height)
		return;
	if (w->cursor < w->top)
		w->top = w->cursor;
	if (w->cursor >= w->top + height)
		w->top = w->cursor - height + 1;
	if (w->top + height > n)
		w->top = n > height ? n - height : 0;
}

void gcs_watch_show(struct gcs_watch *w, enum gcs_watch_view view)
{
	bool types = gcs_watch_table(w) != GCS_VIEW_CYCLES;

	w->back = gcs_watch_table(w);
	w->view = view;
	w->top = 0;
	if (types != (gcs_watch_table(w) != GCS_VIEW_CYCLES))
		w->moved = false; /* what was chosen is not among these */
	find_selected(w);
}

size_t gcs_watch_trend(const struct gcs_watch *w, const char *type, double *out)
{
	const json_t *a = type ? json_object_get(w->trend, type) : NULL;
	size_t n = json_array_size(a);

	for (size_t i = 0; i < n; i++)
		out[i] = json_number_value(json_array_get(a, i));
	return n;
}

const char *gcs_watch_wants_past(struct gcs_watch *w)
{
	for (size_t i = w->top; w->view == GCS_VIEW_TYPES && i < w->top + w->height; i++) {
		const char *type = row_key(w, i);

		if (type && !json_object_get(w->past, type)) {
			json_object_set_new(w->past, type, json_true());
			return type;
		}
	}
	return NULL;
}

struct gcs_spark_point *gcs_watch_history(const struct gcs_watch *w, size_t *n)
{
	const json_t *h = w->answer[GCS_WATCH_HISTORY], *points = json_object_get(h, "points");
	const char *type = gcs_fields_str(h, "type");
	struct gcs_spark_point *p;

	*n = 0;
	if (!type || !w->selected || strcmp(type, w->selected))
		return NULL;
	p = xcalloc(json_array_size(points), sizeof(*p));
	for (size_t i = 0; i < json_array_size(points); i++) {
		const json_t *ago = json_array_get(json_array_get(points, i), 0);
		const json_t *count = json_array_get(json_array_get(points, i), 1);

		if (!json_is_number(ago) || !json_is_number(count))
			continue;
		p[*n].ago_s = json_number_value(ago);
		p[(*n)++].value = json_number_value(count);
	}
	return p;
}
