/* SPDX-License-Identifier: Apache-2.0 */
#include "answers.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "disabled.h"
#include "events.h"
#include "gcscope/protocol.h"
#include "mem.h"
#include "request.h"
#include "runtime.h"
#include "server.h"
#include "tracker.h"

#define GROWTH_POINTS 24 /* of a history, for the growth that a census shows */
#define HISTORY_POINTS 4096

/* ---- beginnings and ends ---- */

void gcs_answer_open(struct gcs_json *j, struct gcs_buf *out, const char *schema)
{
	gcs_json_init(j, out);
	gcs_json_head(j, schema);
}

void gcs_answer_close(struct gcs_json *j)
{
	gcs_json_object_end(j);
	gcs_buf_str(j->out, "\n");
}

void gcs_answer_error(struct gcs_buf *out, const char *code, const char *message)
{
	struct gcs_json j;

	gcs_answer_open(&j, out, GCS_SCHEMA("error"));
	gcs_json_object(&j, "error");
	gcs_json_str(&j, "code", code);
	gcs_json_str(&j, "message", message);
	gcs_json_object_end(&j);
	gcs_answer_close(&j);
}

void gcs_answer_no_memory(struct gcs_buf *out)
{
	gcs_answer_error(out, GCS_ERR_NO_MEMORY, "no memory for the answer: GCSCOPE_MEMORY is used up");
}

void gcs_answer_hello(struct gcs_buf *out)
{
	struct gcs_json j;

	gcs_answer_open(&j, out, GCS_SCHEMA("hello"));
	gcs_json_u64(&j, "protocol", GCS_PROTOCOL_VERSION);
	gcs_json_str(&j, "version", GCS_VERSION);
	gcs_json_str(&j, "python", py.version);
	gcs_answer_close(&j);
}

/* ---- types ---- */

struct type_row {
	int32_t id;
	uint64_t count, bytes;
	double growth;
};

/* Objects per second over the newest points; 0 when the type stands still or is new. */
static double recent_growth(int32_t id)
{
	struct gcs_point p[GROWTH_POINTS];
	size_t n;

	if (!gcs_series_moved(gcs_rt->series, id, GROWTH_POINTS))
		return 0;
	n = gcs_series_read(gcs_rt->series, id, 0, p, GROWTH_POINTS);
	if (n < 2 || p[n - 1].t_ns <= p[0].t_ns)
		return 0;
	return ((double)p[n - 1].count - (double)p[0].count) / gcs_seconds(p[n - 1].t_ns - p[0].t_ns);
}

static bool row_before(const struct type_row *a, const struct type_row *b, enum gcs_sort sort)
{
	if (sort == GCS_SORT_BYTES && a->bytes != b->bytes)
		return a->bytes > b->bytes;
	if (sort == GCS_SORT_GROWTH && a->growth != b->growth)
		return a->growth > b->growth;
	return a->count != b->count ? a->count > b->count : a->id < b->id;
}

static void sift(struct type_row *row, size_t i, size_t n, enum gcs_sort sort)
{
	for (size_t child; (child = 2 * i + 1) < n; i = child) {
		struct type_row t;

		if (child + 1 < n && row_before(&row[child], &row[child + 1], sort))
			child++;
		if (!row_before(&row[i], &row[child], sort))
			return;
		t = row[i];
		row[i] = row[child];
		row[child] = t;
	}
}

/* Heapsort, since qsort() may allocate from the target's heap. */
static void sort_rows(struct type_row *row, size_t n, enum gcs_sort sort)
{
	for (size_t i = n / 2; i-- > 0;)
		sift(row, i, n, sort);
	for (size_t end = n; end-- > 1;) {
		struct type_row t = row[0];

		row[0] = row[end];
		row[end] = t;
		sift(row, 0, end, sort);
	}
}

static size_t collect_rows(struct type_row *row, size_t max, enum gcs_sort sort)
{
	struct gcs_type_now now;
	size_t n = 0;

	for (int32_t id = 0; id < (int32_t)gcs_series_types(gcs_rt->series) && n < max; id++) {
		gcs_series_now(gcs_rt->series, id, &now);
		if (now.count)
			row[n++] = (struct type_row){id, now.count, now.bytes,
						     sort == GCS_SORT_GROWTH ? recent_growth(id) : 0};
	}
	sort_rows(row, n, sort);
	return n;
}

void gcs_answer_types(struct gcs_json *j, enum gcs_sort sort, size_t limit)
{
	size_t max = gcs_series_types(gcs_rt->series), n;
	struct type_row *row = gcs_mem_alloc(max * sizeof(*row) + 1);
	struct gcs_type_now now;

	gcs_json_array(j, "types");
	if (!row)
		j->out->failed = true;
	n = row ? collect_rows(row, max, sort) : 0;
	for (size_t i = 0; i < n && (!limit || i < limit); i++) {
		gcs_series_now(gcs_rt->series, row[i].id, &now);
		gcs_json_object(j, NULL);
		gcs_json_str(j, "type", now.name);
		gcs_json_u64(j, "count", now.count);
		gcs_json_u64(j, "bytes", now.bytes);
		gcs_json_double(j, "growth_per_s", recent_growth(row[i].id));
		gcs_json_object_end(j);
	}
	gcs_json_array_end(j);
	gcs_mem_free(row);
}

/* ---- census ---- */

void gcs_answer_census(struct gcs_client *c)
{
	const struct gcs_census_result *r = &gcs_rt->census;
	struct gcs_json j;

	gcs_answer_open(&j, &c->out, GCS_SCHEMA("census"));
	gcs_json_u64(&j, "objects", r->objects);
	gcs_json_u64(&j, "bytes", r->bytes);
	gcs_json_u64(&j, "frozen", r->frozen);
	gcs_json_bool(&j, "exact", r->exact);
	gcs_json_double(&j, "taken_s_ago", gcs_seconds(gcs_now_ns() - r->taken_ns));
	gcs_json_u64(&j, "unnamed", r->unnamed);
	gcs_json_u64(&j, "dropped_types", gcs_series_dropped(gcs_rt->series));
	gcs_answer_types(&j, (enum gcs_sort)c->sort, c->limit);
	gcs_answer_close(&j);
}

const char *gcs_answer_off(const char *wanted)
{
	static char why[200];
	const char *feature, *reason;

	for (size_t i = 0; i < gcs_disabled_count(); i++) {
		gcs_disabled_get(i, &feature, &reason);
		if (!strcmp(feature, wanted)) {
			snprintf(why, sizeof(why), "%s is off: %s", wanted, reason);
			return why;
		}
	}
	return NULL;
}

static const char *do_census(struct gcs_client *c, const struct gcs_request *r)
{
	const char *sort = gcs_request_get(r, "sort");
	unsigned long cached = 0;

	c->limit = 0;
	if (gcs_request_uint(r, "limit", 0, 1000000, &c->limit))
		return "limit is a number from 0 to 1000000";
	if (gcs_request_uint(r, "cached", 0, 1, &cached))
		return "cached is 0 or 1";
	if (sort && strcmp(sort, "count") && strcmp(sort, "bytes") && strcmp(sort, "growth"))
		return "sort is count, bytes or growth";
	c->sort = !sort || sort[0] == 'c' ? GCS_SORT_COUNT : sort[0] == 'b' ? GCS_SORT_BYTES : GCS_SORT_GROWTH;
	if (gcs_answer_off("census")) {
		gcs_answer_error(&c->out, GCS_ERR_UNAVAILABLE, gcs_answer_off("census"));
	} else if (cached && gcs_rt->census.taken_ns) {
		gcs_answer_census(c);
	} else {
		c->wait = GCS_WAIT_CENSUS;
		c->asked_ns = gcs_now_ns();
	}
	return NULL;
}

static const char *do_history(struct gcs_client *c, const struct gcs_request *r)
{
	const char *type = gcs_request_get(r, "type");
	int32_t id = type ? gcs_series_find(gcs_rt->series, type) : -1;
	unsigned long limit = 0;
	struct gcs_point *p;
	struct gcs_json j;
	size_t n;

	if (!type)
		return "history needs type=NAME";
	if (gcs_request_uint(r, "limit", 0, 1000000, &limit))
		return "limit is a number from 0 to 1000000";
	if (!limit || limit > HISTORY_POINTS)
		limit = HISTORY_POINTS;
	if (id < 0) {
		gcs_answer_error(&c->out, GCS_ERR_NOT_FOUND, "no census has met a type of that name");
		return NULL;
	}
	p = gcs_mem_alloc(limit * sizeof(*p));
	if (!p) {
		gcs_answer_no_memory(&c->out);
		return NULL;
	}
	n = gcs_series_read(gcs_rt->series, id, 0, p, limit);
	gcs_answer_open(&j, &c->out, GCS_SCHEMA("history"));
	gcs_json_str(&j, "type", type);
	gcs_json_array(&j, "points");
	for (size_t i = 0; i < n; i++) {
		gcs_json_array(&j, NULL);
		gcs_json_double(&j, NULL, gcs_seconds(gcs_now_ns() - p[i].t_ns));
		gcs_json_u64(&j, NULL, p[i].count);
		gcs_json_u64(&j, NULL, p[i].bytes);
		gcs_json_array_end(&j);
	}
	gcs_json_array_end(&j);
	gcs_answer_close(&j);
	gcs_mem_free(p);
	return NULL;
}

/* ---- suspects ---- */

static const char *do_suspects(struct gcs_client *c, const struct gcs_request *r)
{
	const struct gcs_suspect *x;
	size_t n = gcs_tracker_list(gcs_rt->tracker, &x);
	unsigned long limit = 0;
	struct gcs_json j;

	if (gcs_request_uint(r, "limit", 0, 1000000, &limit))
		return "limit is a number from 0 to 1000000";
	if (gcs_answer_off("census")) {
		gcs_answer_error(&c->out, GCS_ERR_UNAVAILABLE, gcs_answer_off("census"));
		return NULL;
	}
	gcs_answer_open(&j, &c->out, GCS_SCHEMA("suspects"));
	gcs_json_u64(&j, "samples", gcs_rt->censuses);
	gcs_json_array(&j, "suspects");
	for (size_t i = 0; i < n && (!limit || i < limit); i++) {
		gcs_json_object(&j, NULL);
		gcs_suspect_write(&j, gcs_rt->series, &x[i]);
		gcs_json_object_end(&j);
	}
	gcs_json_array_end(&j);
	gcs_answer_close(&j);
	return NULL;
}

/* ---- collect ---- */

void gcs_answer_collect(struct gcs_client *c, const struct gcs_collect_result *r)
{
	struct gcs_json j;

	if (r->refused) {
		gcs_answer_error(&c->out, GCS_ERR_UNAVAILABLE, r->refused);
		return;
	}
	gcs_answer_open(&j, &c->out, GCS_SCHEMA("collect"));
	gcs_json_i64(&j, "generation", r->generation);
	gcs_json_i64(&j, "collected", r->collected - (long)r->uncollectable);
	gcs_json_u64(&j, "uncollectable", r->uncollectable);
	gcs_json_u64(&j, "pause_ns", r->pause_ns);
	gcs_answer_close(&j);
}

static const char *do_collect(struct gcs_client *c, const struct gcs_request *r)
{
	c->generation = GCS_GENERATIONS - 1;
	if (gcs_request_uint(r, "generation", 0, GCS_GENERATIONS - 1, &c->generation))
		return "generation is 0, 1 or 2";
	c->wait = GCS_WAIT_COLLECT;
	c->asked_ns = gcs_now_ns();
	return NULL;
}

/* ---- subscriptions ---- */

static void answer_topics(struct gcs_client *c)
{
	static const char *const names[] = {"gc", "census", "suspects", "log", "cycles"};
	struct gcs_json j;

	gcs_answer_open(&j, &c->out, GCS_SCHEMA("subscribed"));
	gcs_json_array(&j, "topics");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (c->topics & 1u << i)
			gcs_json_str(&j, NULL, names[i]);
	gcs_json_array_end(&j);
	gcs_answer_close(&j);
}

static const char *do_subscribe(struct gcs_client *c, const struct gcs_request *r)
{
	const char *list = gcs_request_get(r, "topics");
	unsigned topics = list ? gcs_request_topics(list) : 0;

	if (!topics)
		return "topics is a comma list of gc, census, suspects, log, cycles";
	c->topics |= topics;
	answer_topics(c);
	return NULL;
}

static const char *do_unsubscribe(struct gcs_client *c, const struct gcs_request *r)
{
	const char *list = gcs_request_get(r, "topics");
	unsigned topics = list ? gcs_request_topics(list) : ~0u;

	if (!topics)
		return "topics is a comma list of gc, census, suspects, log, cycles";
	c->topics &= ~topics;
	answer_topics(c);
	return NULL;
}

/* ---- dispatch ---- */

#define KEYS_MAX 4

static const struct verb {
	const char *name;
	const char *keys[KEYS_MAX];
	/* Appends the answer or makes the client wait; a complaint about the request otherwise. */
	const char *(*answer)(struct gcs_client *c, const struct gcs_request *r);
} verbs[] = {
	{GCS_VERB_INFO, {NULL}, gcs_answer_info},
	{GCS_VERB_STAT, {NULL}, gcs_answer_stat},
	{GCS_VERB_CENSUS, {"limit", "sort", "cached", NULL}, do_census},
	{GCS_VERB_SUSPECTS, {"limit", NULL}, do_suspects},
	{GCS_VERB_COLLECT, {"generation", NULL}, do_collect},
	{GCS_VERB_CYCLES, {"limit", NULL}, gcs_answer_cycles},
	{GCS_VERB_GARBAGE, {"limit", NULL}, gcs_answer_garbage},
	{GCS_VERB_HISTORY, {"type", "limit", NULL}, do_history},
	{GCS_VERB_SUBSCRIBE, {"topics", NULL}, do_subscribe},
	{GCS_VERB_UNSUBSCRIBE, {"topics", NULL}, do_unsubscribe},
};

const char gcs_answer_later[] = "later";

bool gcs_answer(struct gcs_client *c, char *line, size_t len)
{
	struct gcs_request r;
	const char *why = NULL;

	while (len && (line[len - 1] == '\r' || line[len - 1] == ' '))
		len--;
	if (!len)
		return true; /* an empty line asks nothing */
	if (gcs_request_parse(&r, line, len, &why)) {
		gcs_answer_error(&c->out, GCS_ERR_BAD_REQUEST, why);
		return true;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verbs[i].name, r.verb))
			continue;
		if (gcs_request_unknown_key(&r, verbs[i].keys))
			why = "a key that this verb does not have";
		else
			why = verbs[i].answer(c, &r);
		if (why == gcs_answer_later)
			return false;
		if (why)
			gcs_answer_error(&c->out, GCS_ERR_BAD_REQUEST, why);
		return true;
	}
	gcs_answer_error(&c->out, GCS_ERR_UNKNOWN_VERB, "there is no such verb; doc/PROTOCOL.md lists them");
	return true;
}
