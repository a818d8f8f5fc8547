/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The views of `gcscope watch`: types, suspects, cycles, the history of a type, help. They only
 * draw.
 */
#include "watch-screen.h"

#ifdef HAVE_NCURSES

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cycles.h"
#include "fields.h"
#include "text.h"
#include "xalloc.h"

#define AXIS 9 /* columns left of a graph */

/* Which columns there is room for; the type has the rest. */
struct layout {
	bool bytes, growth, trend;
};

static struct layout layout_for(int cols)
{
	return (struct layout){.bytes = cols >= 50, .growth = cols >= 34, .trend = cols >= 70};
}

static enum gcs_watch_style style_of(const char *confidence)
{
	static const enum gcs_watch_style style[] = {GCS_STYLE_PLAIN, GCS_STYLE_CYAN,
						     GCS_STYLE_YELLOW, GCS_STYLE_RED};

	return style[gcs_confidence_rank(confidence)];
}

/* Shown instead of a table that has no rows. */
static void put_message(const struct gcs_screen *s, const struct gcs_watch *w,
			enum gcs_watch_kind kind, int y, const char *otherwise)
{
	char *why = gcs_screen_safe(s, w->message[kind][0] ? w->message[kind] : otherwise);

	gcs_screen_put(s, y, 0, s->cols, GCS_STYLE_DIM, why);
	free(why);
}

typedef void put_row(const struct gcs_screen *s, const struct gcs_watch *w, int y,
		     const json_t *row, bool selected);

/* The table's rows, as many as fit, scrolled to the cursor. */
static void put_rows(const struct gcs_screen *s, struct gcs_watch *w, int y, int rows, put_row *put)
{
	const json_t *all = gcs_watch_rows(w);

	if (rows <= 0)
		return;
	gcs_watch_scroll(w, (size_t)rows);
	for (int i = 0; i < rows; i++) {
		size_t r = w->top + (size_t)i;
		const json_t *row = json_array_get(all, r);

		if (!row)
			return;
		if (r == w->cursor)
			gcs_screen_printf(s, y + i, 0, GCS_STYLE_BAR, "%*s", s->cols, "");
		put(s, w, y + i, row, r == w->cursor);
	}
}

static void types_head(const struct gcs_screen *s, const struct gcs_watch *w, int y)
{
	struct layout l = layout_for(s->cols);
	int x = 0;

	gcs_screen_printf(s, y, x, GCS_STYLE_BOLD, "%9s%s", "COUNT",
			  w->sort == GCS_SORT_COUNT ? "*" : "");
	x += 10;
	if (l.bytes) {
		gcs_screen_printf(s, y, x, GCS_STYLE_BOLD, "%10s%s", "BYTES",
				  w->sort == GCS_SORT_BYTES ? "*" : "");
		x += 11;
	}
	if (l.growth) {
		gcs_screen_printf(s, y, x, GCS_STYLE_BOLD, "%9s%s", "GROWTH",
				  w->sort == GCS_SORT_GROWTH ? "*" : "");
		x += 10;
	}
	if (l.trend) {
		gcs_screen_put(s, y, x + 1, s->cols, GCS_STYLE_BOLD, "TREND");
		x += GCS_WATCH_TREND + 1;
	}
	gcs_screen_put(s, y, x + 1, s->cols, GCS_STYLE_BOLD, "TYPE");
}

/* Newest at the right, so that rows stay comparable while they fill. */
static void put_trend(const struct gcs_screen *s, const struct gcs_watch *w, int y, int x,
		      enum gcs_watch_style style, const char *type)
{
	char line[GCS_SPARK_SIZE(GCS_WATCH_TREND)];
	double v[GCS_WATCH_TREND], lo, hi;
	size_t n = gcs_watch_trend(w, type, v);

	if (!gcs_spark_range(v, n, &lo, &hi))
		return;
	gcs_spark_row(line, v, n, lo, hi, 0, 1, s->ascii);
	gcs_screen_put(s, y, x + GCS_WATCH_TREND - (int)n, s->cols, style, line);
}

static void types_row(const struct gcs_screen *s, const struct gcs_watch *w, int y,
		      const json_t *row, bool selected)
{
	struct layout l = layout_for(s->cols);
	enum gcs_watch_style style = selected ? GCS_STYLE_BAR : GCS_STYLE_PLAIN;
	double growth = gcs_fields_num(row, "growth_per_s");
	char *type = gcs_screen_safe(s, gcs_fields_str(row, "type")), n[GCS_UNIT_MAX];
	int x = 10;

	gcs_screen_printf(s, y, 0, style, "%9s", gcs_unit_int(n, gcs_fields_num(row, "count")));
	if (l.bytes) {
		gcs_screen_printf(s, y, x, style, "%10s",
				  gcs_unit_bytes(n, gcs_fields_num(row, "bytes"), " "));
		x += 11;
	}
	if (l.growth) {
		gcs_screen_printf(s, y, x, selected || !(growth > 0) ? style : GCS_STYLE_YELLOW,
				  "%9s", gcs_unit_rate(n, growth));
		x += 10;
	}
	if (l.trend) {
		put_trend(s, w, y, x + 1, style, gcs_fields_str(row, "type"));
		x += GCS_WATCH_TREND + 1;
	}
	gcs_screen_put(s, y, x + 1, s->cols, style, type);
	free(type);
}

/* The selected type's whole history in one line. */
static void put_history_line(const struct gcs_screen *s, const struct gcs_watch *w, int y)
{
	size_t n, columns = s->cols > 80 ? 60 : s->cols > 40 ? (size_t)s->cols - 30 : 0;
	struct gcs_spark_point *p = gcs_watch_history(w, &n);
	char line[GCS_SPARK_SIZE(60)], span[GCS_UNIT_MAX];
	double v[60], lo, hi;

	if (n > 1 && columns) {
		gcs_spark_resample(p, n, v, columns);
		if (gcs_spark_range(v, columns, &lo, &hi)) {
			gcs_spark_row(line, v, columns, lo, hi, 0, 1, s->ascii);
			gcs_screen_put(s, y, 0, s->cols, GCS_STYLE_CYAN, line);
			gcs_screen_printf(s, y, (int)columns + 2, GCS_STYLE_DIM,
					  "last %s: %.0f to %.0f",
					  gcs_unit_span(span, p[0].ago_s - p[n - 1].ago_s), lo, hi);
		}
	}
	free(p);
}

void gcs_view_types(const struct gcs_screen *s, struct gcs_watch *w, int y, int height)
{
	bool history = height >= 8;
	int rows = height - 1 - history;

	types_head(s, w, y);
	put_rows(s, w, y + 1, rows, types_row);
	if (!gcs_watch_nrows(w))
		put_message(s, w, GCS_WATCH_CENSUS, y + 1, "waiting for the first census");
	else if (history)
		put_history_line(s, w, y + height - 1);
}

static void suspect_row(const struct gcs_screen *s, const struct gcs_watch *w, int y,
			const json_t *row, bool selected)
{
	const char *confidence = gcs_fields_str(row, "confidence");
	enum gcs_watch_style style = selected ? GCS_STYLE_BAR : GCS_STYLE_PLAIN;
	char *type = gcs_screen_safe(s, gcs_fields_str(row, "type")),
	     *grade = gcs_screen_safe(s, confidence);
	char count[GCS_UNIT_MAX], rate[GCS_UNIT_MAX], bytes[GCS_UNIT_MAX], brate[GCS_UNIT_MAX];

	(void)w;
	gcs_screen_put(s, y, 0, 9, selected ? style : style_of(confidence), grade);
	gcs_screen_printf(s, y, 10, style, "%8s %9s",
			  gcs_unit_int(count, gcs_fields_num(row, "count")),
			  gcs_unit_rate(rate, gcs_fields_num(row, "growth_per_s")));
	if (s->cols >= 70)
		gcs_screen_printf(s, y, 28, style, " %9s %12s",
				  gcs_unit_bytes(bytes, gcs_fields_num(row, "bytes"), " "),
				  gcs_unit_byte_rate(brate, gcs_fields_num(row, "bytes_per_s"), " "));
	gcs_screen_put(s, y, s->cols >= 70 ? 53 : 30, s->cols, style, type);
	free(type);
	free(grade);
}

static void no_suspects(const struct gcs_screen *s, const struct gcs_watch *w, int y)
{
	const json_t *a = w->answer[GCS_WATCH_SUSPECTS];

	char n[GCS_UNIT_MAX];

	if (a)
		gcs_screen_printf(s, y, 0, GCS_STYLE_DIM, "no suspects after %s censuses",
				  gcs_unit_int(n, gcs_fields_num(a, "samples")));
	else
		put_message(s, w, GCS_WATCH_SUSPECTS, y, "");
}

int gcs_view_suspects_brief(const struct gcs_screen *s, const struct gcs_watch *w, int y,
			    int height)
{
	const json_t *rows = json_object_get(w->answer[GCS_WATCH_SUSPECTS], "suspects");
	int n = (int)json_array_size(rows);

	if (n == 0) {
		no_suspects(s, w, y);
		return 1;
	}
	if (height == 1) {
		suspect_row(s, w, y, json_array_get(rows, 0), false);
		return 1;
	}
	gcs_screen_printf(s, y, 0, GCS_STYLE_BOLD, "%d suspect%s", n, n == 1 ? "" : "s");
	n = n < height ? n : height;
	for (int i = 0; i < n; i++)
		suspect_row(s, w, y + 1 + i, json_array_get(rows, (size_t)i), false);
	return n + 1;
}

static void put_evidence(const struct gcs_screen *s, const json_t *row, int y)
{
	char *since = gcs_screen_safe(s, gcs_fields_str(row, "first_seen"));
	char *advice = gcs_screen_safe(s, gcs_fields_str(row, "advice"));
	char n[6][GCS_UNIT_MAX], span[GCS_UNIT_MAX];

	gcs_screen_printf(s, y, 0, GCS_STYLE_DIM,
			  "since %s, %s censuses in %s, %s full collections", since,
			  gcs_unit_int(n[0], gcs_fields_num(row, "evidence.samples")),
			  gcs_unit_span(span, gcs_fields_num(row, "evidence.span_s")),
			  gcs_unit_int(n[1], gcs_fields_num(row, "evidence.full_collections")));
	gcs_screen_printf(s, y + 1, 0, GCS_STYLE_DIM,
			  "least per part %s -> %s, %s of %s parts rising%s%s",
			  gcs_unit_int(n[2], gcs_fields_num(row, "evidence.min_first")),
			  gcs_unit_int(n[3], gcs_fields_num(row, "evidence.min_last")),
			  gcs_unit_int(n[4], gcs_fields_num(row, "evidence.rising")),
			  gcs_unit_int(n[5], gcs_fields_num(row, "evidence.blocks")),
			  gcs_fields_str(row, "advice") ? "; " : "",
			  gcs_fields_str(row, "advice") ? advice : "");
	free(since);
	free(advice);
}

void gcs_view_suspects(const struct gcs_screen *s, struct gcs_watch *w, int y, int height)
{
	int rows = height - 3;

	gcs_screen_put(s, y, 0, s->cols, GCS_STYLE_BOLD, "SUSPECTS");
	if (!gcs_watch_nrows(w)) {
		no_suspects(s, w, y + 1);
		return;
	}
	if (rows <= 0)
		return;
	put_rows(s, w, y + 1, rows, suspect_row);
	put_evidence(s, json_array_get(gcs_watch_rows(w), w->cursor), y + height - 2);
}

/* ---- cycles ---- */

/* What only a wide screen has: OBJECTS and RATE. */
static bool wide(const struct gcs_screen *s)
{
	return s->cols >= 70;
}

static void cycle_line(const struct gcs_screen *s, int y, enum gcs_watch_style style,
		       const char *count, const char *objects, const char *bytes, const char *rate,
		       const char *text)
{
	if (wide(s))
		gcs_screen_printf(s, y, 0, style, "%9s %9s %11s %9s", count, objects, bytes, rate);
	else
		gcs_screen_printf(s, y, 0, style, "%9s %11s", count, bytes);
	gcs_screen_put(s, y, wide(s) ? 43 : 23, s->cols, style, text);
}

static void cycle_row(const struct gcs_screen *s, const struct gcs_watch *w, int y,
		      const json_t *row, bool selected)
{
	const char *mark = gcs_cycles_mark(w->answer[GCS_WATCH_CYCLES]);
	char n[GCS_UNIT_MAX], rate[GCS_UNIT_MAX];
	char *text = gcs_screen_safe(s, gcs_fields_str(row, "text"));
	char *count = xasprintf("%s%s", mark, gcs_unit_int(n, gcs_fields_num(row, "count")));
	char *objects = xasprintf("%s%s", mark, gcs_unit_int(n, gcs_fields_num(row, "objects")));
	char *bytes = xasprintf("%s%s", mark, gcs_unit_bytes(n, gcs_fields_num(row, "bytes"), " "));

	cycle_line(s, y, selected ? GCS_STYLE_BAR : GCS_STYLE_PLAIN, count, objects, bytes,
		   gcs_unit_rate(rate, gcs_watch_rate(w, row)), text);
	free(text);
	free(count);
	free(objects);
	free(bytes);
}

/*
 * Text from line y on, broken at spaces where there are any, cut before line `end`; NULL: none.
 * Takes the text over. Returns the line after it.
 */
static int put_wrapped(const struct gcs_screen *s, int y, int end, enum gcs_watch_style style,
		       char *text)
{
	for (char *p = text; p && *p && y < end; y++) {
		size_t fits = gcs_text_fit(p, (size_t)s->cols), n = fits;
		char after;

		while (p[n] && n && p[n] != ' ')
			n--;
		n = n ? n : fits;
		after = p[n];
		p[n] = '\0';
		gcs_screen_put(s, y, 0, s->cols, style, p);
		p[n] = after;
		p += n + strspn(p + n, " ");
	}
	free(text);
	return y;
}

/* "remedy: ...", from a member that may be null; NULL then. */
static char *labelled(const struct gcs_screen *s, const char *label, const json_t *row,
		      const char *path)
{
	const char *text = gcs_fields_str(row, path);
	char *safe = text ? gcs_screen_safe(s, text) : NULL;
	char *line = safe ? xasprintf("%s%s", label, safe) : NULL;

	free(safe);
	return line;
}

/* The selected cycle, whole, as far as there is room for it. */
static void put_cycle(const struct gcs_screen *s, const json_t *row, int y, int end)
{
	if (end - y >= 5)
		y = put_wrapped(s, y, y + 2, GCS_STYLE_BOLD, labelled(s, "", row, "text"));
	y = put_wrapped(s, y, end - 1, GCS_STYLE_PLAIN,
			labelled(s, GCS_CYCLES_REMEDY, row, "advice.text"));
	put_wrapped(s, y, end, GCS_STYLE_DIM, labelled(s, GCS_CYCLES_AT, row, "collected_at"));
}

void gcs_view_cycles(const struct gcs_screen *s, struct gcs_watch *w, int y, int height)
{
	const json_t *a = w->answer[GCS_WATCH_CYCLES];
	int detail = height >= 14 ? 6 : height >= 7 ? 3 : 0;

	cycle_line(s, y, GCS_STYLE_BOLD, "COUNT", "OBJECTS", "BYTES", "RATE", "CYCLE");
	if (!a) {
		put_message(s, w, GCS_WATCH_CYCLES, y + 1, "waiting for the agent");
		return;
	}
	if (gcs_watch_nrows(w))
		put_rows(s, w, y + 1, height - 1 - detail, cycle_row);
	else
		gcs_screen_put(s, y + 1, 0, s->cols, GCS_STYLE_DIM, GCS_CYCLES_NONE);
	if (!detail)
		return;
	y += height;
	put_cycle(s, json_array_get(gcs_watch_rows(w), w->cursor), y - detail, y - 1);
	put_wrapped(s, y - 1, y, GCS_STYLE_DIM, gcs_cycles_summary(a));
}

/* ---- the history of a type ---- */

static void graph_axis(const struct gcs_screen *s, int y, int rows, double lo, double hi)
{
	char n[GCS_UNIT_MAX];

	for (int r = 0; r < rows; r++)
		gcs_screen_put(s, y + r, AXIS - 1, 1, GCS_STYLE_DIM, "|");
	gcs_screen_printf(s, y, 0, GCS_STYLE_DIM, "%7s", gcs_unit_count(n, hi));
	if (rows > 4)
		gcs_screen_printf(s, y + rows / 2, 0, GCS_STYLE_DIM, "%7s",
				  gcs_unit_count(n, (lo + hi) / 2));
	if (rows > 1)
		gcs_screen_printf(s, y + rows - 1, 0, GCS_STYLE_DIM, "%7s", gcs_unit_count(n, lo));
}

static void graph_time(const struct gcs_screen *s, int y, double oldest, double newest)
{
	char from[GCS_UNIT_MAX], to[GCS_UNIT_MAX], end[GCS_UNIT_MAX + 8];

	gcs_unit_span(from, oldest);
	gcs_unit_span(to, newest > 0 ? newest : 0);
	snprintf(end, sizeof(end), "%s ago", to);
	gcs_screen_printf(s, y, AXIS, GCS_STYLE_DIM, "%s ago", from);
	gcs_screen_put(s, y, s->cols - (int)strlen(end), s->cols, GCS_STYLE_DIM, end);
}

static void graph(const struct gcs_screen *s, const struct gcs_spark_point *p, size_t n, int y,
		  int height)
{
	size_t columns = (size_t)(s->cols - AXIS), rows = (size_t)(height - 1);
	double *v = xcalloc(columns, sizeof(*v)), lo = 0, hi = 0;
	char *line = xmalloc(GCS_SPARK_SIZE(columns));

	gcs_spark_resample(p, n, v, columns);
	if (gcs_spark_range(v, columns, &lo, &hi)) {
		for (size_t r = 0; r < rows; r++) {
			gcs_spark_row(line, v, columns, lo, hi, r, rows, s->ascii);
			gcs_screen_put(s, y + (int)r, AXIS, s->cols, GCS_STYLE_CYAN, line);
		}
		graph_axis(s, y, (int)rows, lo, hi);
		graph_time(s, y + height - 1, p[0].ago_s, p[n - 1].ago_s);
	}
	free(line);
	free(v);
}

void gcs_view_history(const struct gcs_screen *s, const struct gcs_watch *w, int y, int height)
{
	char *type = gcs_screen_safe(s, w->selected);
	size_t n;
	struct gcs_spark_point *p = gcs_watch_history(w, &n);

	gcs_screen_printf(s, y, 0, GCS_STYLE_BOLD, "COUNT of %s", type);
	if (n && height > 2)
		graph(s, p, n, y + 1, height - 1);
	else if (!n)
		put_message(s, w, GCS_WATCH_HISTORY, y + 1, "no history yet");
	free(type);
	free(p);
}

void gcs_view_help(const struct gcs_screen *s, int y, int height)
{
	static const char *const text[] = {
		"arrows PgUp PgDn Home End  select",
		"c g b    sort: count, growth, bytes",
		"Enter    history of a type, and back",
		"s        suspects, and back",
		"y        cycles that were collected, and back",
		"p        hold the numbers still",
		"r space  take a new census now",
		"q        quit",
		"",
		"GROWTH is objects per second over the last censuses, TREND the count at each.",
		"P50, P99, MAX: how long collections held up the program; FREED: their catch.",
		"RATE: how many of a cycle were found per second lately; ~ marks estimates.",
		"every: the time between censuses. GIL: the agent's share, against its budget.",
	};

	for (int i = 0; i < height && i < (int)(sizeof(text) / sizeof(text[0])); i++)
		gcs_screen_put(s, y + i, 0, s->cols, GCS_STYLE_PLAIN, text[i]);
}

#endif
