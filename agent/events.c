/* SPDX-License-Identifier: Apache-2.0 */
#include "events.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "answers.h"
#include "capture.h"
#include "census.h"
#include "disabled.h"
#include "gcscope/protocol.h"
#include "gil.h"
#include "hook.h"
#include "logfile.h"
#include "logtext.h"
#include "mem.h"
#include "ring.h"
#include "runtime.h"
#include "server.h"
#include "tracker.h"
#include "uncollectable.h"

#define CYCLES_NS 1000000000ll /* between two events about the same cycle */
#define CENSUS_TYPES 10 /* in an event */

#define TEXT_MAX 8192 /* of a log line: a name, or a complaint about the settings, all of it escaped */

static struct gcs_buf line; /* reused from event to event */
static int64_t event_ns;    /* realtime: the JSON and the text of an event tell one time */
static struct {
	int64_t ns;       /* when cycles were last told of */
	uint64_t objects; /* found up to then */
} told;

void gcs_events_begin(void)
{
	memset(&told, 0, sizeof(told)); /* a forked child has found nothing yet */
	gcs_buf_init(&line);
}

static void head_at(struct gcs_json *j, const char *schema, int64_t realtime_ns)
{
	gcs_json_object(j, NULL);
	gcs_json_str(j, "schema", schema);
	gcs_json_i64(j, "pid", getpid());
	gcs_json_time(j, "time", realtime_ns);
}

void gcs_json_head(struct gcs_json *j, const char *schema)
{
	head_at(j, schema, gcs_realtime_ns());
}

static void begin(struct gcs_json *j, const char *schema, const char *event)
{
	event_ns = gcs_realtime_ns();
	gcs_buf_clear(&line);
	gcs_json_init(j, &line);
	head_at(j, schema, event_ns);
	gcs_json_str(j, "event", event);
}

static void finish(struct gcs_json *j)
{
	gcs_json_object_end(j);
	gcs_buf_str(&line, "\n");
}

static void publish(struct gcs_json *j, unsigned topic)
{
	finish(j);
	gcs_server_publish(topic, line.failed ? NULL : line.data, line.len);
}

/* ---- the log: the same event goes to who subscribed to it and, in the form that is set, to GCSCOPE_LOG ---- */

static bool log_wanted(void)
{
	return gcs_log_wanted() || gcs_server_wants(GCS_TOPIC_LOG);
}

static void begin_log(struct gcs_json *j, const char *event)
{
	begin(j, GCS_SCHEMA("log"), event);
}

static void write_text(const struct gcs_logtext *e)
{
	static char text[TEXT_MAX]; /* the thread's stack is small */
	char head[64], when[32];
	size_t n = gcs_logtext_format(text, sizeof(text), e);

	gcs_format_time(when, event_ns);
	gcs_logtext_whole_seconds(when);
	snprintf(head, sizeof(head), "%s %d ", when, (int)getpid());
	gcs_log_write(head, text, n < sizeof(text) ? n : strlen(text));
}

/* The event that `line` holds, and e says again. */
static void write_log(const struct gcs_logtext *e)
{
	if (!gcs_log_wanted())
		return;
	if (gcs_config.log_format == GCS_LOG_TEXT)
		write_text(e);
	else if (line.failed)
		gcs_log_lose();
	else
		gcs_log_write("", line.data, line.len - 1);
}

static void publish_log(struct gcs_json *j, const struct gcs_logtext *e)
{
	publish(j, GCS_TOPIC_LOG);
	write_log(e);
}

static void log_settings(void)
{
	const struct gcs_logtext e = {.event = "settings", .message = gcs_config.complaint};
	struct gcs_json j;

	begin_log(&j, e.event);
	gcs_json_str(&j, "message", e.message);
	finish(&j);
	write_log(&e);
}

static void log_disabled(const char *feature, const char *reason)
{
	const struct gcs_logtext e = {.event = "disabled", .feature = feature, .reason = reason};
	struct gcs_json j;

	begin_log(&j, e.event);
	gcs_json_str(&j, "feature", feature);
	gcs_json_str(&j, "reason", reason);
	finish(&j);
	write_log(&e);
}

void gcs_events_introduce(void)
{
	static bool introduced;
	const char *feature, *reason;

	if (!gcs_log_wanted() || introduced)
		return;
	introduced = true;
	if (gcs_config.complaint[0])
		log_settings();
	for (size_t i = 0; i < gcs_disabled_count(); i++) {
		gcs_disabled_get(i, &feature, &reason);
		if (!strcmp(feature, "cycles") && gcs_config.cycles == GCS_CYCLES_OFF)
			continue; /* nobody asked for them */
		log_disabled(feature, reason);
	}
}

/* ---- collections ---- */

static void write_at(struct gcs_json *j, const char *at)
{
	gcs_json_str(j, "at", at[0] ? at : NULL);
}

static void log_uncollectable(const struct gcs_gc_event *c, const char *type, uint64_t count)
{
	const struct gcs_logtext e = {.event = "uncollectable",
				      .type = type,
				      .generation = c->generation,
				      .count = (double)count,
				      .total = (double)gcs_rt->uncollectable,
				      .at = c->at};
	struct gcs_json j;

	begin_log(&j, e.event);
	gcs_json_str(&j, "type", type);
	gcs_json_i64(&j, "generation", c->generation);
	gcs_json_u64(&j, "count", count);
	gcs_json_u64(&j, "total", gcs_rt->uncollectable);
	write_at(&j, c->at);
	publish_log(&j, &e);
}

/* A line for each type; when none was noted, one for all. */
static void log_all_uncollectable(const struct gcs_gc_event *c)
{
	struct gcs_uncollectable u;
	bool any = false;

	for (; gcs_uncollectable_pop(&gcs_rt->hook->uncollectable, c->start_ns, &u); any = true)
		if (log_wanted())
			log_uncollectable(c, u.type, u.count);
	if (!any && log_wanted())
		log_uncollectable(c, NULL, c->uncollectable);
}

static void log_pause(const struct gcs_gc_event *c)
{
	const struct gcs_logtext e = {
		.event = "pause", .generation = c->generation, .pause_ns = (double)c->pause_ns, .at = c->at};
	struct gcs_json j;

	begin_log(&j, e.event);
	gcs_json_i64(&j, "generation", c->generation);
	gcs_json_u64(&j, "pause_ns", c->pause_ns);
	write_at(&j, c->at);
	publish_log(&j, &e);
}

void gcs_event_collection(const struct gcs_gc_event *e)
{
	struct gcs_json j;

	if (gcs_server_wants(GCS_TOPIC_GC)) {
		begin(&j, GCS_SCHEMA("events"), "gc");
		gcs_json_i64(&j, "generation", e->generation);
		gcs_json_u64(&j, "pause_ns", e->pause_ns);
		gcs_json_u64(&j, "collected", e->collected);
		gcs_json_u64(&j, "uncollectable", e->uncollectable);
		gcs_json_i64(&j, "thread", e->thread);
		write_at(&j, e->at);
		gcs_json_time(&j, "at_time", e->realtime_ns);
		publish(&j, GCS_TOPIC_GC);
	}
	if (e->uncollectable)
		log_all_uncollectable(e); /* or takes them out of their ring */
	if (!log_wanted())
		return;
	if (e->pause_ns > GCS_LONG_PAUSE_NS)
		log_pause(e);
}

void gcs_event_census(const struct gcs_census_result *r)
{
	struct gcs_json j;

	if (!gcs_server_wants(GCS_TOPIC_CENSUS))
		return;
	begin(&j, GCS_SCHEMA("events"), "census");
	gcs_json_u64(&j, "objects", r->objects);
	gcs_json_u64(&j, "bytes", r->bytes);
	gcs_json_u64(&j, "held_ns", r->held_ns);
	gcs_json_bool(&j, "exact", r->exact);
	gcs_answer_types(&j, GCS_SORT_COUNT, CENSUS_TYPES);
	publish(&j, GCS_TOPIC_CENSUS);
}

void gcs_event_gc_switched(bool enabled)
{
	const struct gcs_logtext e = {.event = enabled ? "gc_enabled" : "gc_disabled"};
	struct gcs_json j;

	if (!log_wanted())
		return;
	begin_log(&j, e.event);
	publish_log(&j, &e);
}

void gcs_event_frozen(uint64_t count)
{
	const struct gcs_logtext e = {.event = "frozen", .count = (double)count};
	struct gcs_json j;

	if (!log_wanted())
		return;
	begin_log(&j, e.event);
	gcs_json_u64(&j, "count", count);
	publish_log(&j, &e);
}

/* ---- cycles ---- */

static void tell_cycle(const struct gcs_cycle *c, bool estimate)
{
	struct gcs_json j;

	begin(&j, GCS_SCHEMA("events"), "cycle");
	gcs_answer_cycle(&j, c);
	gcs_json_bool(&j, "estimate", estimate);
	gcs_json_bool(&j, "new", !c->told);
	publish(&j, GCS_TOPIC_CYCLES);
}

void gcs_event_cycles(void)
{
	struct gcs_cycletable *t = gcs_capture_table();
	struct gcs_cycle *changed;
	struct gcs_capture_stats stats;
	uint32_t n;

	if (!gcs_server_wants(GCS_TOPIC_CYCLES) || !t || gcs_now_ns() - told.ns < CYCLES_NS ||
	    gcs_capture_objects() == told.objects)
		return;
	told.ns = gcs_now_ns();
	changed = gcs_mem_alloc(GCS_CYCLES_MAX * sizeof(*changed));
	if (!changed || !gcs_gil_take()) {
		gcs_mem_free(changed);
		return;
	}
	n = gcs_cycletable_changed(t, changed);
	stats = *gcs_capture_stats();
	gcs_gil_drop();
	told.objects = stats.objects;
	for (uint32_t i = 0; i < n; i++)
		tell_cycle(&changed[i], gcs_capture_is_estimate(&stats));
	gcs_mem_free(changed);
}

/* ---- suspects ---- */

static void log_suspect(const struct gcs_series *s, const struct gcs_suspect *x)
{
	const struct gcs_verdict *v = &x->verdict;
	bool withdrawn = v->confidence == GCS_NO_SUSPECT && x->logged;
	struct gcs_type_now now;
	struct gcs_logtext e;
	struct gcs_json j;

	if (!log_wanted() || (v->confidence < GCS_LIKELY && !withdrawn))
		return;
	gcs_series_now(s, x->id, &now);
	e = (struct gcs_logtext){.event = withdrawn ? "withdrawn" : "suspect",
				 .confidence = gcs_confidence_name(withdrawn ? x->told : v->confidence),
				 .type = now.name,
				 .count = (double)now.count,
				 .growth_per_s = v->growth_per_s,
				 .bytes = (double)now.bytes,
				 .bytes_per_s = v->bytes_per_s,
				 .samples = (double)v->samples,
				 .full_collections = v->full_collections,
				 .is_new = !x->logged};
	begin_log(&j, e.event);
	gcs_suspect_write(&j, s, x);
	gcs_json_bool(&j, "new", !x->logged);
	publish_log(&j, &e);
}

void gcs_event_suspect(const struct gcs_series *s, const struct gcs_suspect *x)
{
	struct gcs_json j;

	if (x->verdict.confidence != x->told && gcs_server_wants(GCS_TOPIC_SUSPECTS)) {
		begin(&j, GCS_SCHEMA("events"),
		      x->verdict.confidence == GCS_NO_SUSPECT ? "withdrawn" : "suspect");
		gcs_suspect_write(&j, s, x);
		publish(&j, GCS_TOPIC_SUSPECTS);
	}
	log_suspect(s, x);
}
