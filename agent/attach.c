/* SPDX-License-Identifier: Apache-2.0 */
#include "attach.h"

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "api.h"
#include "builtin.h"
#include "census.h"
#include "disabled.h"
#include "fork.h"
#include "frame.h"
#include "gcstate.h"
#include "gil.h"
#include "hand.h"
#include "hook.h"
#include "interpreters.h"
#include "layout.h"
#include "pending.h"
#include "runtime.h"
#include "thread.h"
#include "unicode.h"
#include "visit.h"
#include "world.h"

#define POLL_FAST_NS 500000         /* while the interpreter may be starting */
#define POLL_SLOW_NS 20000000       /* a CPython that is not used for now */
#define FAST_FOR_NS 2000000000ll
#define PARK_NS 50000000ll          /* the main thread stands still so long for us to begin */
#define ATTACH_NS 3000000000ll      /* ... and so long for us to end */
#define PARK_POLL_NS 100000
#define BLOCKED_NS 700000000ll     /* a main thread that runs no bytecode for so long is blocked */
#define MISSED_FOR_NS 5000000000ll /* a collection that other threads' ones come before is tried again so long */
#define COLLECT_FOR_NS 500000000ll /* a main thread that does not get to it meanwhile is blocked */

enum attach_state { NOT_YET, ATTACHED, FAILED };

static enum attach_state state; /* atomic; changed with the GIL */
static bool loaded;
static bool begun; /* with the GIL */
static enum parking { NOBODY, PARKED, BEGUN, AWAY } parking; /* atomic: where the main thread is */
static uint64_t attach_ns;
static PyObject *gc_isenabled, *gc_collect, *sys_blocks;

bool gcs_attached(void)
{
	return __atomic_load_n(&state, __ATOMIC_ACQUIRE) == ATTACHED;
}

bool gcs_attach_failed(void)
{
	return __atomic_load_n(&state, __ATOMIC_ACQUIRE) == FAILED;
}

void gcs_attach_give_up(void)
{
	enum attach_state none = NOT_YET;

	__atomic_compare_exchange_n(&state, &none, FAILED, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

bool gcs_attach_begun(void)
{
	return begun;
}

static PyObject *function(PyObject *module, const char *name)
{
	PyObject *f = module ? py.PyObject_GetAttrString(module, name) : NULL;

	py.PyErr_Clear();
	return f;
}

static bool keep_functions(PyObject *gc)
{
	PyObject *sys = gcs_builtin_module_gil("sys", false), *total = function(sys, "gettotalrefcount");

	py.debug = total != NULL;
	gc_isenabled = function(gc, "isenabled");
	gc_collect = function(gc, "collect");
	sys_blocks = function(sys, "getallocatedblocks");
	py.Py_DecRef(total);
	py.Py_DecRef(sys);
	return gc_isenabled && gc_collect;
}

static void probe_census_gil(PyObject *gc)
{
	const char *why = NULL;

	if (py.free_threaded)
		why = gcs_world_probe_gil(gc);
	else if (!gcs_layout.lists)
		why = "the collector's lists cannot be walked here";
	if (why)
		gcs_disable("census", "%s", why);
}

/* What other threads can take apart while we look at it. */
static void leave_to_threads(void)
{
	if (!gcs_layout.types)
		gcs_disable("garbage", "the types do not verify");
	if (!py.free_threaded)
		return;
	if (gcs_config.cycles != GCS_CYCLES_OFF)
		gcs_disable("cycles", "what a collection finds here is a list of its own, which only "
				      "gc.DEBUG_SAVEALL shows, to the threads that run then as well");
	gcs_disable("garbage", "other threads may empty gc.garbage while it is read; stat has its length");
	gcs_disable("frozen_types", "what gc.freeze() took away cannot be visited here: it is counted, not by type");
}

static enum attach_state attach_gil(PyObject *gc)
{
	const char *why;

	if (!gcs_layout_probe_gil(gc))
		return NOT_YET;
	gcs_frame_probe_gil();
	probe_census_gil(gc);
	leave_to_threads();
	why = gcs_interpreters_probe();
	if (why)
		gcs_disable("interpreters", "%s", why);
	if (gcs_hook_install_gil(gc)) {
		gcs_disable("agent", "gc.callbacks cannot be extended");
		return FAILED;
	}
	if (gcs_rt_begin_gil()) {
		gcs_disable("agent", "no memory at attach");
		gcs_hook_quiesce();
		return FAILED;
	}
	if (gcs_fork_install_gil()) {
		gcs_hook_quiesce(); /* the callback stays in gc.callbacks, and does nothing */
		return FAILED;
	}
	return ATTACHED;
}

static void call(PyObject *f)
{
	PyObject *r = f ? py.PyObject_CallObject(f, NULL) : NULL;

	py.Py_DecRef(r);
	py.PyErr_Clear();
}

/* What attaching allocates must not begin a collection here: finalizers belong to the application's threads. */
static enum attach_state attach_quietly_gil(void)
{
	PyObject *gc = gcs_builtin_module_gil("gc", false), *enable, *disable;
	enum attach_state result;
	bool was_enabled;

	begun = true;
	if (!gc || !keep_functions(gc)) {
		gcs_disable("agent", "the gc module has not the functions that it should have");
		return FAILED;
	}
	enable = function(gc, "enable");
	disable = function(gc, "disable");
	was_enabled = gcs_attach_gc_enabled_gil();
	if (was_enabled)
		call(disable);
	result = attach_gil(gc);
	begun = result != NOT_YET;
	if (was_enabled)
		call(enable);
	PyObject *const drop[] = {gc, enable, disable};
	for (size_t i = 0; i < sizeof(drop) / sizeof(drop[0]); i++)
		py.Py_DecRef(drop[i]);
	return result;
}

int gcs_attach_load(void *handle)
{
	const char *missing;

	if (gcs_api_load(handle, &missing) || py.major != 3 || py.minor < 8)
		return -1; /* too old, or something that only looks like a CPython */
	loaded = true;
	return 0;
}

static bool wait_for_python(void)
{
	bool found, usable;
	void *handle;

	while (!loaded) {
		if (gcs_thread_should_stop())
			return false;
		if (gcs_gil_enter_loader()) { /* else a fork is under way */
			found = gcs_api_find(&handle);
			usable = found && !gcs_attach_load(handle);
			gcs_gil_leave_loader();
			if (found)
				return usable;
		}
		gcs_thread_sleep(POLL_SLOW_NS);
	}
	return true;
}

static bool wait_for_interpreter(void)
{
	int64_t began = gcs_now_ns();

	while (!py.Py_IsInitialized()) {
		if (gcs_thread_should_stop())
			return false;
		gcs_thread_sleep(gcs_now_ns() - began < FAST_FOR_NS ? POLL_FAST_NS : POLL_SLOW_NS);
	}
	return true;
}

static enum attach_state state_now(void)
{
	return __atomic_load_n(&state, __ATOMIC_ACQUIRE);
}

static enum parking parking_now(void)
{
	return __atomic_load_n(&parking, __ATOMIC_ACQUIRE);
}

static void set_parking(enum parking p)
{
	__atomic_store_n(&parking, p, __ATOMIC_RELEASE);
}

static bool parking_becomes(enum parking from, enum parking to)
{
	return __atomic_compare_exchange_n(&parking, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/*
 * Pending call: the main thread stands still, without the GIL, while we attach. When our thread does not
 * get to begin (a busy machine), it goes on, and is asked again; once begun, it is waited for.
 */
static int park_main(void *unused)
{
	struct timespec pause = {0, 100000};
	int64_t began = gcs_now_ns();
	struct gcs_visit visit;
	void *ts;

	(void)unused;
	if (state_now() != NOT_YET || !gcs_thread_running()) {
		gcs_fork_late_start_gil(); /* we did not wait for it */
		return 0;
	}
	visit = gcs_visit_begin();
	ts = py.PyEval_SaveThread();
	set_parking(PARKED);
	while (parking_now() == PARKED && (gcs_now_ns() - began < PARK_NS || !parking_becomes(PARKED, AWAY)))
		nanosleep(&pause, NULL);
	while (parking_now() == BEGUN && gcs_now_ns() - began < ATTACH_NS)
		nanosleep(&pause, NULL);
	set_parking(AWAY);
	if (gcs_attached())
		gcs_hand_start();
	py.PyEval_RestoreThread(ts);
	gcs_visit_end(visit);
	return 0;
}

static struct gcs_pending parking_call = {.call = park_main};

/* True: it is parked for us, or blocked for so long that it will hardly end the interpreter now. */
static bool wait_for_main(void)
{
	int64_t until = gcs_now_ns() + BLOCKED_NS;
	bool asked = false;

	while (!parking_becomes(PARKED, BEGUN)) {
		if (gcs_thread_should_stop() || gcs_api_finalizing())
			return false;
		if (gcs_now_ns() > until)
			return true;
		if (!asked || (py.minor > 8 && parking_becomes(AWAY, NOBODY)))
			asked = !gcs_pending_add(&parking_call);
		gcs_thread_sleep(PARK_POLL_NS);
	}
	return true;
}

void gcs_attach_let_go(void)
{
	parking_becomes(BEGUN, NOBODY);
}

bool gcs_attach_wait(void)
{
	if (state_now() != NOT_YET)
		return gcs_attached(); /* this process is a forked child of an attached one */
	if (!wait_for_python() || !wait_for_interpreter())
		return false;
	while (state_now() == NOT_YET) {
		if (!wait_for_main())
			return false;
		if (!gcs_gcstate_find_immortalize()) {
			gcs_disable("agent", "a second thread would make classes immortal in this build (gh-117783)");
			__atomic_store_n(&state, FAILED, __ATOMIC_RELEASE);
			return false;
		}
		gcs_gil_note_allocator(); /* not while Python starts: up to 3.12 it swaps them */
		if (gcs_gil_take()) { /* else a fork is under way */
			__atomic_store_n(&state, attach_quietly_gil(), __ATOMIC_RELEASE);
			gcs_gil_drop();
			attach_ns = gcs_gil.last_ns;
			gcs_gil_init(gcs_config.budget_percent); /* now for what is done again and again */
		}
		if (state_now() == NOT_YET)
			gcs_attach_let_go();
	}
	return gcs_attached();
}

uint64_t gcs_attach_ns(void)
{
	return attach_ns;
}

bool gcs_attach_gc_enabled_gil(void)
{
	PyObject *r = py.PyObject_CallObject(gc_isenabled, NULL);
	bool on = r && py.PyLong_AsLong(r) == 1;

	py.Py_DecRef(r);
	return on;
}

/*
 * New interpreters stand before the main one: with that at the head there are no others, and none can come while
 * we hold its GIL.
 */
static bool is_only_interpreter_gil(void)
{
	return py.PyInterpreterState_Head && py.PyInterpreterState_Main &&
	       py.PyInterpreterState_Head() == py.PyInterpreterState_Main();
}

/*
 * From 3.12 on this reads the arenas of every interpreter, those that have a GIL of their own included, which give
 * them back meanwhile: it is not asked when there are others. Nor in a free-threaded build, where it stops the world,
 * and where other threads may make interpreters all the same.
 */
long gcs_attach_blocks_gil(void)
{
	bool quiet = !py.free_threaded && is_only_interpreter_gil();
	PyObject *r = sys_blocks && quiet ? py.PyObject_CallObject(sys_blocks, NULL) : NULL;
	long n = r ? py.PyLong_AsLong(r) : -1;

	py.Py_DecRef(r);
	py.PyErr_Clear();
	return n;
}

/* ---- collections on demand ---- */

/* MISSED: another thread was collecting, and gc.collect() did nothing. */
enum collect_state { COLLECT_IDLE, COLLECT_ASKED, COLLECT_RUNNING, COLLECT_MISSED, COLLECT_DONE };

static struct {
	enum collect_state state; /* atomic: whoever moves ASKED to RUNNING does it */
	struct gcs_collect_result result;
	int64_t asked_ns;
} demand;

static void set_demand(enum collect_state s)
{
	__atomic_store_n(&demand.state, s, __ATOMIC_RELEASE);
}

/* With the GIL, on the main thread or the hand. */
static int collect_once(void *unused)
{
	enum collect_state asked = COLLECT_ASKED;
	unsigned run_before = gcs_hook_run_here();
	struct gcs_hook_last last;
	PyObject *generation, *r;
	bool ran;

	(void)unused;
	gcs_fork_meet_bare(); /* the parent's demand */
	if (!__atomic_compare_exchange_n(&demand.state, &asked, COLLECT_RUNNING, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return 0;
	generation = py.PyLong_FromLong(demand.result.generation);
	r = generation ? py.PyObject_CallFunctionObjArgs(gc_collect, generation, NULL) : NULL;
	demand.result.collected = r ? py.PyLong_AsLong(r) : 0;
	ran = gcs_hook_run_here() != run_before;
	gcs_hook_last(demand.result.generation, &last);
	demand.result.uncollectable = ran ? last.uncollectable : 0;
	demand.result.pause_ns = last.pause_ns;
	py.Py_DecRef(r);
	py.Py_DecRef(generation);
	py.PyErr_Clear();
	set_demand(ran || !gcs_hook_present_gil() ? COLLECT_DONE : COLLECT_MISSED);
	return 0;
}

static enum collect_state demand_state(void)
{
	return __atomic_load_n(&demand.state, __ATOMIC_ACQUIRE);
}

bool gcs_collect_pending(void)
{
	return demand_state() != COLLECT_IDLE;
}

void gcs_collect_forget(void)
{
	set_demand(COLLECT_IDLE);
}

static struct gcs_pending collect_call = {.call = collect_once};

static void ask(void)
{
	bool held;

	demand.asked_ns = gcs_now_ns();
	set_demand(COLLECT_ASKED);
	held = gcs_gil_take(); /* without it, 3.9 to 3.11 take the queue of whichever interpreter runs */
	if (gcs_pending_add(&collect_call))
		demand.asked_ns -= COLLECT_FOR_NS; /* as if the main thread were blocked */
	if (held)
		gcs_gil_drop();
}

bool gcs_collect_start(int generation)
{
	if (gcs_collect_pending())
		return false;
	demand.result = (struct gcs_collect_result){.generation = generation, .begun_ns = gcs_now_ns()};
	ask();
	return true;
}

static bool is_dummy_thread(PyObject *thread)
{
	PyObject *type = py.PyObject_GetAttrString(thread, "__class__");
	PyObject *name = type ? py.PyObject_GetAttrString(type, "__name__") : NULL;
	bool is = name && gcs_unicode_is_gil(name, "_DummyThread");

	py.Py_DecRef(name);
	py.Py_DecRef(type);
	return is;
}

/*
 * A finalizer that asks for threading.current_thread(), as logging does, leaves an entry for this thread, which
 * before 3.13 stays for good.
 */
static void leave_no_dummy_thread(void)
{
	PyObject *threading = py.PyDict_GetItemString(py.PyImport_GetModuleDict(), "threading");
	PyObject *active = function(threading, "_active");
	PyObject *key = py.PyLong_FromLong((long)pthread_self());
	PyObject *thread = active && key ? py.PyDict_GetItemWithError(active, key) : NULL;

	if (thread && is_dummy_thread(thread))
		py.PyDict_DelItem(active, key);
	py.Py_DecRef(key);
	py.Py_DecRef(active);
	py.PyErr_Clear();
}

static void collect_with_gil(void)
{
	int gil = gcs_gil_ensure();

	collect_once(NULL);
	leave_no_dummy_thread();
	py.PyGILState_Release(gil);
}

/* Another thread's collection that began after this one was asked for is as good. */
static bool others_did_it(void)
{
	struct gcs_hook_last last;

	for (int g = py.free_threaded ? 0 : demand.result.generation; g < GCS_GENERATIONS; g++) {
		gcs_hook_last(g, &last);
		if (last.start_ns <= demand.result.begun_ns)
			continue;
		demand.result.collected = (long)(last.collected + last.uncollectable);
		demand.result.uncollectable = last.uncollectable;
		demand.result.pause_ns = last.pause_ns;
		set_demand(COLLECT_DONE);
		return true;
	}
	return false;
}

static void refuse(const char *why)
{
	demand.result.refused = why;
	set_demand(COLLECT_DONE);
}

/* The main thread is blocked in C. Not on this thread: finalizers may close descriptors (hand.h). */
static void give_to_the_hand(void)
{
	enum collect_state asked = COLLECT_ASKED;

	if (gcs_gil_paused() || gcs_api_finalizing())
		return;
	if (gcs_hand_there()) {
		gcs_hand_do(collect_with_gil); /* not during a fork: asked again after it */
	} else if (__atomic_compare_exchange_n(&demand.state, &asked, COLLECT_RUNNING, false, __ATOMIC_ACQ_REL,
					       __ATOMIC_ACQUIRE)) {
		refuse("the main thread is in C code and does not get to it now: try again");
	}
}

bool gcs_collect_poll(struct gcs_collect_result *out)
{
	/* Also again: a fork may end the hand before it has begun. */
	if (demand_state() == COLLECT_ASKED && gcs_now_ns() - COLLECT_FOR_NS > demand.asked_ns && !gcs_hand_busy())
		give_to_the_hand();
	if (demand_state() == COLLECT_MISSED && !others_did_it()) {
		if (gcs_now_ns() - MISSED_FOR_NS < demand.result.begun_ns)
			ask();
		else
			refuse("other threads collect all the time: try again");
	}
	if (demand_state() != COLLECT_DONE)
		return false;
	*out = demand.result;
	set_demand(COLLECT_IDLE);
	return true;
}
