/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "hook.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "callable.h"
#include "capture.h"
#include "census.h"
#include "clock.h"
#include "fork.h"
#include "frame.h"
#include "gil.h"
#include "hand.h"
#include "pending.h"
#include "server.h"
#include "unicode.h"

#define RELAXED __ATOMIC_RELAXED

static PyObject *callback, *callbacks, *garbage, *get_stats;
static PyObject *key_generation, *key_collected, *key_uncollectable;

static struct gcs_hook_shared *shared; /* atomic: without a GIL it ends while others collect */
static struct gcs_hook_counts counts[GCS_GENERATIONS];
static struct gcs_hook_last last[GCS_GENERATIONS];
static uint64_t held_ns, lost_callbacks;
static bool quiesced;
static bool resync_due; /* the agent's thread */

/* The collection under way; written and read with the GIL. */
static struct {
	bool on;
	int generation;
	int64_t start_ns;
	Py_ssize_t garbage; /* length of gc.garbage */
} current;

static void add_hot(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, __atomic_load_n(counter, RELAXED) + n, RELAXED);
}

/* gettid() once per thread and process. */
static int32_t thread_id_hot(void)
{
	static __thread int32_t tid __attribute__((tls_model("initial-exec")));
	static __thread unsigned epoch __attribute__((tls_model("initial-exec")));

	if (!tid || epoch != gcs_fork_epoch()) {
		tid = (int32_t)syscall(SYS_gettid);
		epoch = gcs_fork_epoch();
	}
	return tid;
}

static __thread unsigned run_here __attribute__((tls_model("initial-exec")));

unsigned gcs_hook_run_here(void)
{
	return run_here;
}

static uint64_t info_number(PyObject *info, PyObject *key)
{
	PyObject *v = py.PyDict_GetItemWithError(info, key);
	long n = v ? py.PyLong_AsLong(v) : -1;

	if (n < 0)
		py.PyErr_Clear(); /* another callback has put something else there */
	return n > 0 ? (uint64_t)n : 0;
}

static void on_start(PyObject *info)
{
	uint64_t generation = info_number(info, key_generation);

	current.generation = generation < GCS_GENERATIONS ? (int)generation : GCS_GENERATIONS - 1;
	current.garbage = py.PyList_Size(garbage);
	current.on = true;
	gcs_capture_start_gil(current.generation);
}

static void on_stop(PyObject *info, int64_t now)
{
	int g = current.generation;
	uint64_t collected = info_number(info, key_collected);
	uint64_t uncollectable = info_number(info, key_uncollectable);
	int64_t analysis = gcs_capture_stop_gil(collected, uncollectable);
	uint64_t pause = (uint64_t)(now - current.start_ns - analysis);
	struct gcs_hook_shared *to = __atomic_load_n(&shared, __ATOMIC_ACQUIRE);
	struct gcs_gc_event *e;

	add_hot(&held_ns, (uint64_t)analysis);
	run_here++;
	add_hot(&counts[g].collections, 1);
	add_hot(&counts[g].collected, collected);
	add_hot(&counts[g].uncollectable, uncollectable);
	__atomic_store_n(&last[g].pause_ns, pause, RELAXED);
	__atomic_store_n(&last[g].collected, collected, RELAXED);
	__atomic_store_n(&last[g].uncollectable, uncollectable, RELAXED);
	__atomic_store_n(&last[g].start_ns, current.start_ns, __ATOMIC_RELEASE);
	if (!to)
		return;
	gcs_hist_add_hot(&to->pause[g], pause);
	if (uncollectable && gcs_layout.lists)
		gcs_uncollectable_note_gil(&to->uncollectable, garbage, current.garbage, current.start_ns);
	e = gcs_ring_reserve_hot(&to->ring);
	if (!e)
		return;
	e->start_ns = current.start_ns;
	e->pause_ns = pause;
	e->realtime_ns = gcs_realtime_ns();
	e->collected = collected;
	e->uncollectable = uncollectable;
	e->generation = g;
	e->thread = thread_id_hot();
	e->at[0] = '\0';
	if (uncollectable || pause > GCS_LONG_PAUSE_NS || gcs_server_wants(GCS_TOPIC_GC))
		gcs_frame_here_hot(e->at, sizeof(e->at));
	gcs_ring_commit_hot(&to->ring);
}

/*
 * gc.callbacks: called with ("start" | "stop", {"generation": .., "collected": .., "uncollectable": ..}).
 */
static PyObject *on_gc(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
	int64_t begin, end;

	(void)self;
	if (quiesced || n != 2 || gcs_type_of(args[1]) != py.PyDict_Type)
		goto out;
	begin = gcs_now_ns();
	gcs_fork_meet_bare();
	if (gcs_unicode_is_gil(args[0], "start")) {
		gcs_fork_late_start_gil();
		on_start(args[1]);
		end = current.start_ns = gcs_now_ns();
	} else if (current.on) {
		on_stop(args[1], begin);
		current.on = false;
		if (current.generation == GCS_GENERATIONS - 1)
			gcs_census_after_collection_gil();
		end = gcs_now_ns();
	} else {
		goto out; /* installed in the middle of a collection */
	}
	add_hot(&held_ns, (uint64_t)(end - begin));
out:
	py.Py_IncRef(py._Py_NoneStruct);
	return py._Py_NoneStruct;
}

static struct gcs_method_def callback_def = {
	"gcscope_callback", (void *)on_gc, GCS_METH_FASTCALL,
	"gcscope: counts collections. Called by the garbage collector."};

/* So that counts + what gc.get_stats() had before us = gc.get_stats(). */
static void read_baseline(void)
{
	static const char *const names[] = {"collections", "collected", "uncollectable"};
	PyObject *list = py.PyObject_CallObject(get_stats, NULL);

	for (int g = 0; list && g < GCS_GENERATIONS && g < py.PyList_Size(list); g++) {
		PyObject *d = py.PyList_GetItem(list, g);
		uint64_t *to[] = {&counts[g].collections, &counts[g].collected,
				  &counts[g].uncollectable};

		for (int i = 0; i < 3; i++) {
			PyObject *v = py.PyDict_GetItemString(d, names[i]);

			if (v)
				__atomic_store_n(to[i], (uint64_t)py.PyLong_AsLong(v), RELAXED);
		}
	}
	py.Py_DecRef(list);
	py.PyErr_Clear();
}

/*
 * First, so that a pause is measured whole. But CPython goes through them by index: inserted while they are being
 * called, ours would have another's called a second time.
 */
static int put_in(void)
{
	bool quiet = gcs_layout.lists && !gcs_hook_collecting();

	return quiet ? py.PyList_Insert(callbacks, 0, callback) : py.PyList_Append(callbacks, callback);
}

int gcs_hook_install_gil(PyObject *gc)
{
	callbacks = py.PyObject_GetAttrString(gc, "callbacks");
	garbage = py.PyObject_GetAttrString(gc, "garbage");
	get_stats = py.PyObject_GetAttrString(gc, "get_stats");
	key_generation = py.PyUnicode_InternFromString("generation");
	key_collected = py.PyUnicode_InternFromString("collected");
	key_uncollectable = py.PyUnicode_InternFromString("uncollectable");
	callback = gcs_callable_new_gil(&callback_def);
	if (!callbacks || !garbage || !get_stats || !key_generation || !key_collected ||
	    !key_uncollectable || !callback) {
		py.PyErr_Clear();
		return -1;
	}
	read_baseline();
	gcs_capture_probe_gil(gc);
	if (put_in()) {
		py.PyErr_Clear();
		return -1;
	}
	return 0;
}

void gcs_hook_share(struct gcs_hook_shared *to)
{
	__atomic_store_n(&shared, to, __ATOMIC_RELEASE);
}

void gcs_hook_quiesce(void)
{
	quiesced = true;
	gcs_hook_share(NULL);
}

void gcs_hook_counts(int g, struct gcs_hook_counts *out)
{
	out->collections = __atomic_load_n(&counts[g].collections, RELAXED);
	out->collected = __atomic_load_n(&counts[g].collected, RELAXED);
	out->uncollectable = __atomic_load_n(&counts[g].uncollectable, RELAXED);
}

bool gcs_hook_collecting(void)
{
	const int *collecting = gcs_layout.collecting;

	return current.on || (collecting && __atomic_load_n(collecting, RELAXED));
}

uint64_t gcs_hook_full_collections(void)
{
	return __atomic_load_n(&counts[GCS_GENERATIONS - 1].collections, RELAXED);
}

uint64_t gcs_hook_take_held(void)
{
	static uint64_t taken; /* the agent's thread */
	uint64_t now = __atomic_load_n(&held_ns, RELAXED), delta = now - taken;

	taken = now;
	return delta;
}

void gcs_hook_last(int g, struct gcs_hook_last *out)
{
	out->start_ns = __atomic_load_n(&last[g].start_ns, __ATOMIC_ACQUIRE);
	out->pause_ns = __atomic_load_n(&last[g].pause_ns, RELAXED);
	out->collected = __atomic_load_n(&last[g].collected, RELAXED);
	out->uncollectable = __atomic_load_n(&last[g].uncollectable, RELAXED);
}

PyObject *gcs_hook_garbage_list(void)
{
	return garbage;
}

Py_ssize_t gcs_hook_garbage_gil(void)
{
	return py.PyList_Size(garbage);
}

bool gcs_hook_present_gil(void)
{
	Py_ssize_t n = py.PyList_Size(callbacks);

	for (Py_ssize_t i = 0; i < n; i++)
		if (py.PyList_GetItem(callbacks, i) == callback)
			return true;
	return false;
}

static int resync(void *unused)
{
	(void)unused;
	if (!quiesced && !current.on)
		read_baseline();
	return 0;
}

static struct gcs_pending resync_call = {.call = resync};

static void resync_with_gil(void)
{
	int gil = gcs_gil_ensure();

	resync(NULL);
	py.PyGILState_Release(gil);
}

/* Not on the agent's thread, since it allocates. False: nobody is there for it now. */
static bool have_it_resynced(void)
{
	return !gcs_pending_add(&resync_call) ||
	       (gcs_hand_there() && !gcs_hand_busy() && gcs_hand_do(resync_with_gil));
}

void gcs_hook_repair_gil(void)
{
	if (quiesced)
		return;
	if (!gcs_hook_present_gil()) {
		current.on = false; /* its stop is not ours to see */
		if (put_in()) {
			py.PyErr_Clear();
			return;
		}
		lost_callbacks++;
		resync_due = true;
	}
	if (resync_due)
		resync_due = !have_it_resynced();
}

uint64_t gcs_hook_lost(void)
{
	return lost_callbacks;
}
