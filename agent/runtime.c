/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "attach.h"
#include "capture.h"
#include "events.h"
#include "gil.h"
#include "mem.h"
#include "server.h"
#include "tracker.h"

struct gcs_runtime *gcs_rt;
struct gcs_config gcs_config;

int gcs_rt_begin_gil(void)
{
	struct gcs_runtime *rt = gcs_mem_calloc(1, sizeof(*rt));

	if (!rt)
		return -ENOMEM;
	rt->hook = gcs_mem_calloc(1, sizeof(*rt->hook));
	/* A third for history; a quarter is the capture's; the rest is types, clients and answers. */
	rt->series = gcs_series_new(gcs_mem_limit() / 3);
	rt->tracker = gcs_tracker_new();
	if (!rt->hook || !rt->series || !rt->tracker || gcs_census_init(rt->series) ||
	    gcs_capture_begin())
		return -ENOMEM;
	gcs_events_begin();
	rt->attached_ns = gcs_now_ns();
	rt->pid = getpid();
	gcs_gil_init(gcs_config.budget_percent);
	gcs_hook_take_held();
	gcs_hook_share(rt->hook);
	gcs_rt = rt;
	return 0;
}

void gcs_rt_look_gil(void)
{
	bool enabled = gcs_attach_gc_enabled_gil();

	gcs_rt->garbage = gcs_hook_garbage_gil();
	gcs_hook_repair_gil();
	if (gcs_rt->looked && enabled != gcs_rt->gc_enabled)
		gcs_event_gc_switched(enabled);
	gcs_rt->gc_enabled = enabled;
	gcs_rt->looked = true;
}

void gcs_rt_census_done(void)
{
	uint64_t frozen = gcs_rt->census.frozen;

	gcs_census_take(&gcs_rt->census);
	gcs_rt->censuses++;
	if (gcs_rt->census.pause_ns > gcs_rt->max_pause_ns)
		gcs_rt->max_pause_ns = gcs_rt->census.pause_ns;
	if (gcs_rt->census.frozen != frozen)
		gcs_event_frozen(gcs_rt->census.frozen);
	gcs_event_census(&gcs_rt->census);
	gcs_tracker_update(gcs_rt->tracker, gcs_rt->series, gcs_rt->full_ns, gcs_rt->nfull);
}

static void remember_full(int64_t at_ns)
{
	if (gcs_rt->nfull == GCS_FULL_TIMES)
		memmove(gcs_rt->full_ns, gcs_rt->full_ns + 1,
			sizeof(gcs_rt->full_ns[0]) * --gcs_rt->nfull);
	gcs_rt->full_ns[gcs_rt->nfull++] = at_ns;
}

void gcs_rt_drain_collections(void)
{
	uint64_t lost = gcs_ring_lost(&gcs_rt->hook->ring);
	struct gcs_gc_event e;

	if (lost != gcs_rt->ring_lost)
		gcs_server_lost(GCS_TOPIC_GC, lost - gcs_rt->ring_lost);
	gcs_rt->ring_lost = lost;

	while (gcs_ring_pop(&gcs_rt->hook->ring, &e)) {
		/* Free-threaded builds have no generations: each collection is of all objects. */
		if (e.generation == GCS_GENERATIONS - 1 || py.free_threaded)
			remember_full(e.start_ns);
		gcs_rt->uncollectable += e.uncollectable;
		gcs_event_collection(&e);
	}
	gcs_event_cycles();
}
