/* SPDX-License-Identifier: Apache-2.0 */
#include "events.h"

#include <string.h>
#include <unistd.h>

#include "answers.h"
#include "census.h"
#include "gcscope/protocol.h"
#include "gil.h"
#include "logfile.h"
#include "ring.h"
#include "runtime.h"
#include "server.h"
#include "tracker.h"

#define LONG_PAUSE_NS 100000000u
#define CENSUS_TYPES 10 /* in an event */

static struct gcs_buf line; /* reused from event to event */

void gcs_events_begin(void)
{
	gcs_buf_init(&line);
}

void gcs_json_head(struct gcs_json *j, const char *schema)
{
	gcs_json_object(j, NULL);
	gcs_json_str(j, "schema", schema);
	gcs_json_i64(j, "pid", getpid());
	gcs_json_time(j, "time", gcs_realtime_ns());
}

static void begin(struct gcs_json *j, const char *schema, const char *event)
{
	gcs_buf_clear(&line);
	gcs_json_init(j, &line);
	gcs_json_head(j, schema);
	gcs_json_str(j, "event", event);
}

static void publish(struct gcs_json *j, unsigned topic)
{
	gcs_json_object_end(j);
	gcs_buf_str(&line, "\n");
	if (!line.failed)
		gcs_server_publish(topic, line.data, line.len);
}

/* A log line goes to the subscribers of `log` and, in the form it is set to, to the log file. */
static bool log_wanted(void)
{
	return gcs_log_wanted() || gcs_server_wants(GCS_TOPIC_LOG);
}

static void begin_log(struct gcs_json *j, const char *event)
{
	begin(j, GCS_SCHEMA("log"), event);
}

static void publish_log(struct gcs_json *j)
{
	publish(j, GCS_TOPIC_LOG);
	if (!line.failed && gcs_config.log_format == GCS_LOG_JSON)
		gcs_log_write(line.data, line.len);
}

static bool log_is_text(void)
{
	return gcs_log_wanted() && gcs_config.log_format == GCS_LOG_TEXT;
}

/* ---- collections ---- */

static void write_at(struct gcs_json *j, const char *at)
{
	gcs_json_str(j, "at", at[0] ? at : NULL);
}

static void log_collection(const struct gcs_gc_event *e)
{
	struct gcs_json j;

	if (e->uncollectable) {
		begin_log(&j, "uncollectable");
		gcs_json_i64(&j, "generation", e->generation);
		gcs_json_u64(&j, "count", e->uncollectable);
		gcs_json_u64(&j, "total", gcs_rt->uncollectable);
		publish_log(&j);
		if (log_is_text())
			gcs_log_printf("uncollectable %llu in generation %d (total %llu)",
				       (unsigned long long)e->uncollectable, (int)e->generation,
				       (unsigned long long)gcs_rt->uncollectable);
	}
	if (e->pause_ns > LONG_PAUSE_NS) {
		begin_log(&j, "pause");
		gcs_json_i64(&j, "generation", e->generation);
		gcs_json_u64(&j, "pause_ns", e->pause_ns);
		write_at(&j, e->at);
		publish_log(&j);
		if (log_is_text())
			gcs_log_printf("pause %llu ms in generation %d%s%s",
				       (unsigned long long)(e->pause_ns / 1000000), (int)e->generation,
				       e->at[0] ? " at " : "", e->at);
	}
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
	if (log_wanted())
		log_collection(e);
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
	struct gcs_json j;
	const char *event = enabled ? "gc_enabled" : "gc_disabled";

	if (!log_wanted())
		return;
	begin_log(&j, event);
	publish_log(&j);
	if (log_is_text())
		gcs_log_printf("%s", event);
}

void gcs_event_frozen(uint64_t count)
{
	struct gcs_json j;

	if (!log_wanted())
		return;
	begin_log(&j, "frozen");
	gcs_json_u64(&j, "count", count);
	publish_log(&j);
	if (log_is_text())
		gcs_log_printf("frozen %llu objects in the permanent generation",
			       (unsigned long long)count);
}

/* ---- suspects ---- */

static void log_suspect_text(const struct gcs_series *s, const struct gcs_suspect *x, bool withdrawn)
{
	struct gcs_type_now now;

	gcs_series_now(s, x->id, &now);
	if (withdrawn)
		gcs_log_printf("withdrawn %s count=%llu: stopped growing", now.name,
			       (unsigned long long)now.count);
	else
		gcs_log_printf("suspect %s %s count=%llu %+.1f/s bytes=%.1fKiB %+.1fKiB/s (%zu censuses, "
			       "%u full collections)%s",
			       gcs_confidence_name(x->verdict.confidence), now.name,
			       (unsigned long long)now.count, x->verdict.growth_per_s,
			       (double)now.bytes / 1024, x->verdict.bytes_per_s / 1024,
			       x->verdict.samples, x->verdict.full_collections, x->logged ? "" : " new");
}

static void log_suspect(const struct gcs_series *s, const struct gcs_suspect *x)
{
	bool loud = x->verdict.confidence >= GCS_LIKELY;
	bool withdrawn = x->verdict.confidence == GCS_NO_SUSPECT && x->logged;
	struct gcs_json j;

	if (!log_wanted() || (!loud && !withdrawn))
		return;
	begin_log(&j, withdrawn ? "withdrawn" : "suspect");
	gcs_suspect_write(&j, s, x);
	gcs_json_bool(&j, "new", !x->logged);
	publish_log(&j);
	if (log_is_text())
		log_suspect_text(s, x, withdrawn);
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
