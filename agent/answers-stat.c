/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers about the process and the agent as a whole: `info` is a line of a list, `stat` all that is counted.
 * Agent's thread; stat takes the GIL for a moment, for what only the interpreter can tell.
 */
#include "answers.h"
#include "clock.h"
#include "disabled.h"
#include "gcscope/protocol.h"
#include "gil.h"
#include "hook.h"
#include "interpreters.h"
#include "layout.h"
#include "logfile.h"
#include "loop.h"
#include "mem.h"
#include "process.h"
#include "runtime.h"
#include "server.h"
#include "tracker.h"

#define CHEAP_BLOCKS (48u << 20) /* anonymous memory up to which sys.getallocatedblocks() is quick enough */

const char *gcs_answer_info(struct gcs_client *c, const struct gcs_request *r)
{
	struct gcs_process process;
	char command[1024];
	struct gcs_json j;

	(void)r;
	gcs_process_read(&process);
	gcs_process_command(command, sizeof(command));
	gcs_answer_open(&j, &c->out, GCS_SCHEMA("info"));
	gcs_json_i64(&j, "ppid", process.ppid);
	gcs_json_str(&j, "python", py.version);
	gcs_json_double(&j, "uptime_s", gcs_seconds(gcs_now_ns() - gcs_rt->attached_ns));
	gcs_json_u64(&j, "rss_bytes", process.rss_bytes);
	gcs_json_u64(&j, "objects", gcs_rt->census.objects);
	gcs_json_u64(&j, "suspects", gcs_tracker_count(gcs_rt->tracker));
	gcs_json_str(&j, "command", command);
	gcs_answer_close(&j);
	return NULL;
}

static void write_hist(struct gcs_json *j, const char *key, const struct gcs_hist *h)
{
	gcs_json_object(j, key);
	gcs_json_u64(j, "sum", __atomic_load_n(&h->sum, __ATOMIC_RELAXED));
	gcs_json_u64(j, "p50", gcs_hist_quantile(h, 0.50));
	gcs_json_u64(j, "p90", gcs_hist_quantile(h, 0.90));
	gcs_json_u64(j, "p99", gcs_hist_quantile(h, 0.99));
	gcs_json_u64(j, "max", __atomic_load_n(&h->max, __ATOMIC_RELAXED));
	gcs_json_object_end(j);
}

/* The ints that gc.get_threshold() and gc.get_count() read: one word each, so never torn. */
static void write_counters(struct gcs_json *j, const char *key, bool thresholds)
{
	gcs_json_array(j, key);
	for (int g = 0; gcs_layout.counters && g < GCS_GENERATIONS; g++) {
		const struct gcs_generation *gen = &gcs_layout.generation[g];

		gcs_json_i64(j, NULL,
			     __atomic_load_n(thresholds ? &gen->threshold : &gen->count, __ATOMIC_RELAXED));
	}
	gcs_json_array_end(j);
}

static void write_gc(struct gcs_json *j)
{
	struct gcs_hook_counts n;

	gcs_json_object(j, "gc");
	gcs_json_bool(j, "enabled", gcs_rt->gc_enabled);
	write_counters(j, "thresholds", true);
	write_counters(j, "counts", false);
	gcs_json_u64(j, "frozen", gcs_rt->census.frozen);
	gcs_json_i64(j, "garbage", gcs_rt->garbage);
	gcs_json_array(j, "generations");
	for (int g = 0; g < GCS_GENERATIONS; g++) {
		gcs_hook_counts(g, &n);
		gcs_json_object(j, NULL);
		gcs_json_u64(j, "collections", n.collections);
		gcs_json_u64(j, "collected", n.collected);
		gcs_json_u64(j, "uncollectable", n.uncollectable);
		write_hist(j, "pause_ns", &gcs_rt->hook->pause[g]);
		gcs_json_object_end(j);
	}
	gcs_json_array_end(j);
	gcs_json_object_end(j);
}

static void write_process(struct gcs_json *j, const struct gcs_process *p, long blocks)
{
	gcs_json_object(j, "process");
	gcs_json_u64(j, "rss_bytes", p->rss_bytes);
	gcs_json_u64(j, "rss_anon_bytes", p->rss_anon_bytes);
	gcs_json_u64(j, "rss_file_bytes", p->rss_file_bytes);
	gcs_json_u64(j, "rss_shmem_bytes", p->rss_shmem_bytes);
	gcs_json_u64(j, "threads", p->threads);
	if (blocks >= 0)
		gcs_json_i64(j, "python_blocks", blocks);
	else
		gcs_json_null(j, "python_blocks");
	gcs_json_object_end(j);
}

static void write_census_cost(struct gcs_json *j)
{
	const struct gcs_census_result *r = &gcs_rt->census;

	gcs_json_object(j, "census");
	gcs_json_u64(j, "count", gcs_rt->censuses);
	gcs_json_u64(j, "objects", r->objects);
	gcs_json_u64(j, "held_ns", r->held_ns);
	gcs_json_u64(j, "cpu_ns", r->cpu_ns);
	gcs_json_u64(j, "wall_ns", r->wall_ns);
	gcs_json_u64(j, "pause_ns", r->pause_ns);
	gcs_json_u64(j, "max_pause_ns", gcs_rt->max_pause_ns);
	gcs_json_u64(j, "slices", r->slices);
	gcs_json_u64(j, "restarts", r->restarts);
	gcs_json_u64(j, "given_up", gcs_rt->censuses_given_up);
	gcs_json_bool(j, "exact", r->exact);
	gcs_json_object_end(j);
}

static void write_disabled(struct gcs_json *j)
{
	const char *feature, *reason;

	gcs_json_array(j, "disabled");
	for (size_t i = 0; i < gcs_disabled_count(); i++) {
		gcs_disabled_get(i, &feature, &reason);
		gcs_json_object(j, NULL);
		gcs_json_str(j, "feature", feature);
		gcs_json_str(j, "reason", reason);
		gcs_json_object_end(j);
	}
	gcs_json_array_end(j);
}

static void write_agent(struct gcs_json *j)
{
	gcs_json_object(j, "agent");
	gcs_json_str(j, "version", GCS_VERSION);
	gcs_json_double(j, "uptime_s", gcs_seconds(gcs_now_ns() - gcs_rt->attached_ns));
	gcs_json_u64(j, "cpu_ns", gcs_loop_cpu_ns());
	gcs_json_u64(j, "attach_ns", gcs_attach_ns());
	gcs_json_u64(j, "gil_held_ns", gcs_gil.held_ns);
	gcs_json_u64(j, "max_gil_hold_ns", gcs_gil.hold.max);
	gcs_json_u64(j, "max_gil_hold_cpu_ns", gcs_gil.max_cpu_ns);
	write_hist(j, "gil_hold_ns", &gcs_gil.hold);
	gcs_json_double(j, "budget_percent", gcs_config.budget_percent);
	gcs_json_double(j, "interval_s", gcs_seconds(gcs_config.interval_ns));
	gcs_json_u64(j, "memory_bytes", gcs_mem_peak());
	gcs_json_u64(j, "memory_limit_bytes", gcs_mem_limit());
	gcs_json_u64(j, "dropped_events", gcs_server_dropped() + gcs_ring_lost(&gcs_rt->hook->ring));
	gcs_json_u64(j, "lost_log_lines", gcs_log_lost());
	gcs_json_u64(j, "clients", gcs_server_clients());
	write_census_cost(j);
	gcs_json_u64(j, "callback_lost", gcs_hook_lost());
	gcs_json_object(j, "history");
	gcs_json_u64(j, "bytes", gcs_series_bytes(gcs_rt->series));
	gcs_json_u64(j, "types", gcs_series_types(gcs_rt->series));
	gcs_json_u64(j, "dropped_types", gcs_series_dropped(gcs_rt->series));
	gcs_json_object_end(j);
	gcs_json_str(j, "paused",
		     gcs_gil_paused() ? "tracemalloc is on: this CPython's would crash (cpython#128679)" : NULL);
	gcs_json_str(j, "settings_complaint", gcs_config.complaint[0] ? gcs_config.complaint : NULL);
	write_disabled(j);
	gcs_json_object_end(j);
}

const char *gcs_answer_stat(struct gcs_client *c, const struct gcs_request *r)
{
	struct gcs_process process;
	struct gcs_json j;
	long blocks = -1;
	unsigned interpreters = gcs_interpreters_count();

	(void)r;
	gcs_process_read(&process);
	if (gcs_gil_take()) {
		gcs_rt_look_gil();
		if (process.rss_anon_bytes <= CHEAP_BLOCKS)
			blocks = gcs_attach_blocks_gil();
		gcs_gil_drop();
	}
	gcs_answer_open(&j, &c->out, GCS_SCHEMA("stat"));
	gcs_json_object(&j, "python");
	gcs_json_str(&j, "version", py.version);
	gcs_json_bool(&j, "free_threaded", py.free_threaded);
	gcs_json_bool(&j, "debug", py.debug);
	if (interpreters)
		gcs_json_u64(&j, "interpreters", interpreters);
	else
		gcs_json_null(&j, "interpreters");
	gcs_json_object_end(&j);
	write_gc(&j);
	write_process(&j, &process, blocks);
	write_agent(&j);
	gcs_answer_close(&j);
	return NULL;
}
