/* SPDX-License-Identifier: Apache-2.0 */
/* gcscope stat: gc state and pauses, process memory, what the agent itself costs. */
#include <math.h>
#include <stdlib.h>

#include "client.h"
#include "cmd.h"
#include "fields.h"
#include "stream.h"
#include "table.h"
#include "text.h"

#define UNITS 8

static json_t *ask(const struct gcs_options *o, struct gcs_client *c)
{
	return gcs_client_ask(c, o->timeout_s, "stat", "stat");
}

/* A value in its unit, in one of a few buffers that take turns, so that a line can show several. */
static char *slot(void)
{
	static char buf[UNITS][GCS_UNIT_MAX];
	static unsigned next;

	return buf[next++ % UNITS];
}

static const char *integer(const json_t *a, const char *path)
{
	return gcs_unit_int(slot(), gcs_fields_num(a, path));
}

static const char *bytes(const json_t *a, const char *path)
{
	return gcs_unit_bytes(slot(), gcs_fields_num(a, path), " ");
}

static const char *ns(const json_t *a, const char *path)
{
	return gcs_unit_ns(slot(), gcs_fields_num(a, path), " ");
}

/* A setting, as it was given: 10, 0.25. */
static const char *plain(const json_t *a, const char *path)
{
	return gcs_text_plain(slot(), gcs_fields_num(a, path), 6);
}

static const char *span(const json_t *a, const char *path)
{
	return gcs_unit_span(slot(), gcs_fields_num(a, path));
}

static void head(struct gcs_out *out, const char *title)
{
	gcs_out_printf(out, "%s%-8s%s ", gcs_out_on(out, "1"), title, gcs_out_off(out));
}

static void print_python(struct gcs_out *out, const json_t *a)
{
	char *version = gcs_text_safe(gcs_fields_str(a, "python.version"), GCS_ESCAPE_NOT_BACKSLASH);

	head(out, "python");
	gcs_out_printf(out, "%s%s%s, PID %s", version,
		       gcs_fields_true(a, "python.free_threaded") ? ", free-threaded" : "",
		       gcs_fields_true(a, "python.debug") ? ", debug build" : "",
		       integer(a, "pid"));
	if (gcs_fields_num(a, "python.interpreters") > 1)
		gcs_out_printf(out, ", %s interpreters, of which the main one is measured",
			       integer(a, "python.interpreters"));
	gcs_out_printf(out, "\n");
	free(version);
}

static void print_process(struct gcs_out *out, const json_t *a)
{
	head(out, "process");
	gcs_out_printf(out, "RSS %s (anonymous %s, files %s, shared %s), %s threads",
		       bytes(a, "process.rss_bytes"), bytes(a, "process.rss_anon_bytes"),
		       bytes(a, "process.rss_file_bytes"), bytes(a, "process.rss_shmem_bytes"),
		       integer(a, "process.threads"));
	if (isfinite(gcs_fields_num(a, "process.python_blocks")))
		gcs_out_printf(out, ", %s pymalloc blocks", integer(a, "process.python_blocks"));
	gcs_out_printf(out, "\n");
}

static const char *share(const json_t *a, const char *array, size_t i)
{
	const json_t *v = json_array_get(gcs_fields_at(a, array), i);

	return gcs_unit_int(slot(), json_is_number(v) ? json_number_value(v) : NAN);
}

static void print_generations(struct gcs_out *out, const json_t *a)
{
	static const struct gcs_column col[] = {
		{"        GEN", true, false}, {"THRESHOLD", true, false},
		{"COUNT", true, false},       {"COLLECTIONS", true, false},
		{"COLLECTED", true, false},   {"UNCOLLECTABLE", true, false},
		{"PAUSE P50", true, false},   {"P90", true, false},
		{"P99", true, false},         {"MAX", true, false},
		{"SUM", true, false},
	};
	const json_t *gens = gcs_fields_at(a, "gc.generations");
	struct gcs_table t;

	gcs_table_init(&t, col, sizeof(col) / sizeof(col[0]));
	for (size_t i = 0; i < json_array_size(gens); i++) {
		const json_t *g = json_array_get(gens, i);

		gcs_table_add(&t, gcs_unit_int(slot(), (double)i));
		gcs_table_add(&t, share(a, "gc.thresholds", i));
		gcs_table_add(&t, share(a, "gc.counts", i));
		gcs_table_add(&t, integer(g, "collections"));
		gcs_table_add(&t, integer(g, "collected"));
		gcs_table_add(&t, integer(g, "uncollectable"));
		gcs_table_add(&t, ns(g, "pause_ns.p50"));
		gcs_table_add(&t, ns(g, "pause_ns.p90"));
		gcs_table_add(&t, ns(g, "pause_ns.p99"));
		gcs_table_add(&t, ns(g, "pause_ns.max"));
		gcs_table_add(&t, ns(g, "pause_ns.sum"));
	}
	gcs_table_print(&t, out);
	gcs_table_fini(&t);
}

static void print_gc(struct gcs_out *out, const json_t *a)
{
	const json_t *enabled = gcs_fields_at(a, "gc.enabled");
	bool off = json_is_false(enabled);

	head(out, "gc");
	gcs_out_printf(out, "%s%s%s, %s objects frozen, %s in gc.garbage\n",
		       gcs_out_on(out, off ? "31" : ""),
		       off                     ? "disabled"
		       : json_is_true(enabled) ? "enabled"
					       : "-",
		       off ? gcs_out_off(out) : "", integer(a, "gc.frozen"),
		       integer(a, "gc.garbage"));
	print_generations(out, a);
}

/* Nanoseconds of something as a part of the agent's lifetime, in percent. */
static const char *percent(const json_t *a, const char *path)
{
	double up = gcs_fields_num(a, "agent.uptime_s");

	return gcs_text_plain(slot(), up > 0 ? gcs_fields_num(a, path) / up / 1e7 : NAN, 2);
}

static void print_agent(struct gcs_out *out, const json_t *a)
{
	head(out, "agent");
	gcs_out_printf(out, "up %s, CPU %s (%s%%), ", span(a, "agent.uptime_s"),
		       ns(a, "agent.cpu_ns"), percent(a, "agent.cpu_ns"));
	gcs_out_printf(out, "GIL held %s (%s%% of the time, budget %s%%)\n",
		       ns(a, "agent.gil_held_ns"), percent(a, "agent.gil_held_ns"),
		       plain(a, "agent.budget_percent"));
	head(out, "");
	gcs_out_printf(out, "longest hold %s (CPU %s), p50 %s, p99 %s\n",
		       ns(a, "agent.max_gil_hold_ns"), ns(a, "agent.max_gil_hold_cpu_ns"),
		       ns(a, "agent.gil_hold_ns.p50"), ns(a, "agent.gil_hold_ns.p99"));
	head(out, "");
	gcs_out_printf(out, "memory %s of %s, clients %s, ", bytes(a, "agent.memory_bytes"),
		       bytes(a, "agent.memory_limit_bytes"), integer(a, "agent.clients"));
	gcs_out_printf(out, "lost: events %s, collections %s\n", integer(a, "agent.dropped_events"),
		       integer(a, "agent.callback_lost"));
}

static void print_census(struct gcs_out *out, const json_t *a)
{
	head(out, "census");
	gcs_out_printf(out, "%s taken, one every %s s; ", integer(a, "agent.census.count"),
		       plain(a, "agent.interval_s"));
	gcs_out_printf(out, "the last: %s objects in %s slices, GIL held %s, CPU %s%s\n",
		       integer(a, "agent.census.objects"), integer(a, "agent.census.slices"),
		       ns(a, "agent.census.held_ns"), ns(a, "agent.census.cpu_ns"),
		       gcs_fields_true(a, "agent.census.exact") ? ", exact" : "");
	if (gcs_fields_num(a, "agent.census.pause_ns") > 0) {
		head(out, "");
		gcs_out_printf(out, "all threads stopped meanwhile: %s, at most %s so far\n",
			       ns(a, "agent.census.pause_ns"), ns(a, "agent.census.max_pause_ns"));
	}
	head(out, "history");
	gcs_out_printf(out, "%s of %s types, %s dropped for want of memory\n",
		       bytes(a, "agent.history.bytes"), integer(a, "agent.history.types"),
		       integer(a, "agent.history.dropped_types"));
}

static void print_disabled(struct gcs_out *out, const json_t *a)
{
	const json_t *off = gcs_fields_at(a, "agent.disabled");

	for (size_t i = 0; i < json_array_size(off); i++) {
		const json_t *d = json_array_get(off, i);
		char *feature = gcs_text_safe(gcs_fields_str(d, "feature"), GCS_ESCAPE_NOT_BACKSLASH);
		char *reason = gcs_text_safe(gcs_fields_str(d, "reason"), GCS_ESCAPE_NOT_BACKSLASH);

		head(out, i ? "" : "off");
		gcs_out_printf(out, "%s: %s\n", feature, reason);
		free(feature);
		free(reason);
	}
}

static void print_complaint(struct gcs_out *out, const json_t *a)
{
	char *complaint =
		gcs_text_safe(gcs_fields_str(a, "agent.settings_complaint"), GCS_ESCAPE_NOT_BACKSLASH);

	if (gcs_fields_str(a, "agent.settings_complaint")) {
		head(out, "settings");
		gcs_out_printf(out, "%s%s%s\n", gcs_out_on(out, "33"), complaint, gcs_out_off(out));
	}
	free(complaint);
}

static void show(struct gcs_out *out, const json_t *a)
{
	print_python(out, a);
	print_process(out, a);
	print_gc(out, a);
	print_agent(out, a);
	print_census(out, a);
	print_disabled(out, a);
	print_complaint(out, a);
}

static int cmd_stat(struct gcs_options *o)
{
	static const struct gcs_report report = {.ask = ask, .show = show};

	return gcs_stream_report(o, &report);
}

const struct cmd_entry cmd_entry_stat = {
	.name = "stat",
	.usage = "[OPTIONS] [TARGET]",
	.summary = "Shows gc state and pauses, the process's memory, and the agent's own cost.",
	.impact = "low: counters that the agent keeps anyway",
	.timeout_s = 10,
	.exec = cmd_stat,
};
