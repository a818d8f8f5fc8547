/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "loop.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "answers.h"
#include "attach.h"
#include "clock.h"
#include "disabled.h"
#include "events.h"
#include "gil.h"
#include "logfile.h"
#include "peek.h"
#include "runtime.h"
#include "server.h"
#include "thread.h"

#define TURN_MAX_NS 500000000ll       /* look round at least twice a second */
#define UNHEARD_NS 20000000           /* ... and more often where nothing can wake us */
#define SWEEP_NS 30000000000ll        /* between looks for dead sockets */
#define CHILD_DELAY_NS 20000000       /* most children that only exec are gone by then */
#define BUSY_RETRY_NS 2000000         /* a collection or a fork is under way */
#define ASKED_PAUSE_NS 200000         /* between slices that a client waits for */
#define ASKED_AHEAD_S 300             /* of the budget's filling, that those may use */
#define COLLECT_POLL_NS 2000000
#define STREAM_NS 10000000            /* between looks at the ring while somebody wants each collection */

static struct {
	uint64_t cpu_ns;       /* of earlier threads of this process */
	pid_t pid;             /* whose that is */
	int64_t next_census_ns;
	int64_t next_slice_ns;
	int64_t next_sweep_ns;
} loop;

uint64_t gcs_loop_cpu_ns(void)
{
	return loop.cpu_ns + (uint64_t)gcs_thread_cpu_ns();
}

static int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* ---- census ---- */

static bool someone_waits(enum gcs_wait what)
{
	size_t i = 0;

	return gcs_server_waiting(what, &i) != NULL;
}

/* Those who asked before the census began have their answer. */
static void answer_waiting(void)
{
	int64_t began = gcs_rt->census.taken_ns - (int64_t)gcs_rt->census.wall_ns;
	struct gcs_client *c;
	size_t i = 0;

	while ((c = gcs_server_waiting(GCS_WAIT_CENSUS, &i)))
		if (c->asked_ns <= began) {
			gcs_answer_census(c);
			gcs_server_answered(c);
		}
}

static void census_finished(int64_t now)
{
	gcs_rt_census_done();
	answer_waiting();
	loop.next_census_ns += gcs_config.interval_ns;
	if (loop.next_census_ns < now)
		loop.next_census_ns = now + gcs_config.interval_ns;
	gcs_census_welcome(loop.next_census_ns - gcs_config.interval_ns / 2, gcs_rt->census.held_ns);
}

/* One slice if the time has come; when to be back. */
static int64_t census_turn(int64_t now)
{
	bool asked = someone_waits(GCS_WAIT_CENSUS);
	int64_t wait;

	if (gcs_is_disabled("census"))
		return now + TURN_MAX_NS;
	if (gcs_census_ready())
		census_finished(now);
	if (!gcs_census_running()) {
		if (!asked && now < loop.next_census_ns)
			return loop.next_census_ns;
		if (!gcs_census_start())
			return now + BUSY_RETRY_NS; /* a collection's callback is counting */
		gcs_census_welcome(INT64_MAX, 0);
		loop.next_slice_ns = now;
	}
	wait = gcs_budget_wait(&gcs_gil.budget, now, asked ? ASKED_AHEAD_S : 0);
	if (now < loop.next_slice_ns || wait > 0)
		return now + wait > loop.next_slice_ns ? now + wait : loop.next_slice_ns;
	gcs_census_prepare();
	if (!gcs_gil_take())
		return now + TURN_MAX_NS / 10;
	gcs_rt_look_gil();
	switch (gcs_census_slice_gil()) {
	case GCS_CENSUS_BUSY:
		gcs_gil_drop();
		loop.next_slice_ns = gcs_now_ns() + BUSY_RETRY_NS;
		return loop.next_slice_ns;
	case GCS_CENSUS_FAILED:
		gcs_gil_drop();
		loop.next_census_ns = gcs_now_ns() + gcs_config.interval_ns;
		gcs_rt->censuses_given_up++;
		break;
	case GCS_CENSUS_MORE:
	case GCS_CENSUS_DONE:
		gcs_gil_drop();
		gcs_census_held(gcs_gil.last_ns, gcs_gil.last_cpu_ns);
		break;
	}
	if (gcs_census_ready())
		census_finished(gcs_now_ns());
	loop.next_slice_ns = gcs_now_ns() + ASKED_PAUSE_NS;
	return loop.next_slice_ns;
}

/* ---- collections that a client asked for ---- */

static int64_t collect_turn(int64_t now)
{
	struct gcs_collect_result r;
	struct gcs_client *c;
	size_t i = 0;

	if (gcs_collect_pending() && gcs_collect_poll(&r)) {
		while ((c = gcs_server_waiting(GCS_WAIT_COLLECT, &i)))
			if ((int)c->generation == r.generation && c->asked_ns <= r.begun_ns) {
				gcs_answer_collect(c, &r);
				gcs_server_answered(c);
			}
	}
	i = 0;
	if (!gcs_collect_pending() && (c = gcs_server_waiting(GCS_WAIT_COLLECT, &i)))
		gcs_collect_start((int)c->generation);
	return gcs_collect_pending() ? now + COLLECT_POLL_NS : now + TURN_MAX_NS;
}

/* ---- turns ---- */

static void wait_for_something(int64_t until)
{
	struct pollfd p[GCS_CLIENTS_MAX + 2];
	int64_t ns = until - gcs_now_ns();
	struct timespec ts;
	size_t n;

	if (ns < 0)
		ns = 0;
	if (gcs_thread_wake_fd() < 0)
		ns = min64(ns, UNHEARD_NS);
	ts = (struct timespec){ns / 1000000000, ns % 1000000000};
	n = gcs_server_poll(p);
	p[n] = (struct pollfd){.fd = gcs_thread_wake_fd(), .events = POLLIN};
	if (ppoll(p, n + 1, &ts, NULL) < 0 && errno != EINTR)
		gcs_thread_sleep(ns); /* more of them than the application's RLIMIT_NOFILE has become */
	if (p[n].revents)
		gcs_thread_woken();
	if (!gcs_thread_should_stop())
		gcs_server_serve(p, n);
}

static void turn(void)
{
	int64_t now = gcs_now_ns(), until = now + TURN_MAX_NS;

	gcs_gil_charge(gcs_hook_take_held());
	gcs_rt_drain_collections();
	until = min64(until, census_turn(now));
	until = min64(until, collect_turn(now));
	if (gcs_server_postponed())
		until = min64(until, now + BUSY_RETRY_NS);
	if (gcs_server_wants(GCS_TOPIC_GC))
		until = min64(until, now + STREAM_NS); /* before the ring is full */
	if (now >= loop.next_sweep_ns) {
		gcs_server_sweep();
		loop.next_sweep_ns = now + SWEEP_NS;
	}
	wait_for_something(until);
}

/* The sockets of the thread before us. */
static bool adopt_server(void)
{
	if (!gcs_thread_ncarried)
		return false;
	if (!gcs_server_adopt(gcs_thread_carried, gcs_thread_ncarried))
		return true;
	for (int i = 0; i < gcs_thread_ncarried; i++)
		close(gcs_thread_carried[i]);
	return false;
}

static void open_server(void)
{
	int rc;

	gcs_server_forget();
	rc = gcs_server_open();
	loop.next_sweep_ns = 0; /* once the program goes on: there may be thousands */
	if (rc)
		gcs_disable("socket", "the socket cannot be made: %s", strerrordesc_np(-rc));
}

static void begin(void)
{
	int64_t now = gcs_now_ns();

	gcs_events_introduce();
	if (loop.pid != getpid()) {
		loop.cpu_ns = 0;
		loop.next_census_ns = now + min64(gcs_config.interval_ns, 1000000000);
	}
	loop.pid = getpid();
}

/* A fork is coming (our sockets travel, a census under way goes on afterwards) or the end. */
static void end(void)
{
	if (gcs_thread_keeps())
		gcs_thread_ncarried = gcs_server_descriptors(gcs_thread_carried);
	else
		gcs_server_close();
	gcs_log_close();
	gcs_peek_close();
	loop.cpu_ns += (uint64_t)gcs_thread_cpu_ns();
}

void gcs_loop_run(void)
{
	bool child = gcs_attached() && loop.pid != getpid();

	gcs_peek_open();
	if (!gcs_attach_wait()) {
		gcs_peek_close();
		gcs_attach_let_go();
		if (gcs_attach_failed()) {
			gcs_events_introduce(); /* there is no socket: the log alone can tell why */
			gcs_log_close();
		}
		return;
	}
	if (!adopt_server()) {
		if (child)
			gcs_thread_sleep(CHILD_DELAY_NS);
		if (!gcs_thread_should_stop())
			open_server();
	}
	gcs_attach_let_go();
	begin();
	while (!gcs_thread_should_stop() && !gcs_thread_is_last())
		turn();
	end();
}
