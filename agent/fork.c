/* SPDX-License-Identifier: Apache-2.0 */
#include "fork.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "api.h"
#include "attach.h"
#include "builtin.h"
#include "callable.h"
#include "capture.h"
#include "census.h"
#include "clock.h"
#include "disabled.h"
#include "gil.h"
#include "hand.h"
#include "hook.h"
#include "mem.h"
#include "pending.h"
#include "runtime.h"
#include "server.h"
#include "thread.h"
#include "visit.h"

#define RETRY_NS 1000000000ll

static unsigned epoch;
static bool attached, over;
static bool child_pending; /* a forked child that has no agent yet */
static int depth;        /* forks under way, several when threads fork at once; atomic */
static bool changing;    /* somebody is ending or starting the thread; atomic: who sets it may do so */
static bool restart_due; /* atomic, as everything here: a free-threaded build has no GIL to order threads */
static int64_t restart_ns; /* ... but not before: there was none to be had */
static bool due; /* atomic; before attach: ended for a fork, and not begun again since */

unsigned gcs_fork_epoch(void)
{
	return epoch;
}

/* ---- forks that Python does not know of, and those that come before we are attached ---- */

static bool begin_change(void)
{
	return !__atomic_exchange_n(&changing, true, __ATOMIC_ACQ_REL);
}

static void end_change(void)
{
	__atomic_store_n(&changing, false, __ATOMIC_RELEASE);
}

static bool is_due(void)
{
	return __atomic_load_n(&due, __ATOMIC_SEQ_CST);
}

static void set_due(bool is)
{
	__atomic_store_n(&due, is, __ATOMIC_SEQ_CST);
}

/* Still waiting for a CPython, for the interpreter, or for the GIL. */
static bool is_early(void)
{
	return !gcs_attach_begun() && !gcs_attach_failed();
}

/* While somebody else is changing it: who ends it for a fork comes here after that. */
static int start_again(void *unused)
{
	struct gcs_visit visit = gcs_visit_begin();

	(void)unused;
	if (begin_change()) {
		if (is_due() && !over && (gcs_thread_running() || !gcs_thread_start()))
			set_due(false);
		end_change();
	}
	gcs_visit_end(visit);
	return 0;
}

static struct gcs_pending again_call = {.call = start_again};

static void begin_in_child(bool anew);

/*
 * A fork past all handlers (the bare system call, _Fork()): its child has our memory wiped, and takes itself for the
 * parent still. Wherever we come first there; without a system call.
 */
void gcs_fork_meet_bare(void)
{
	if (!gcs_mem_wiped() || (!gcs_rt && !gcs_thread_running()))
		return;
	begin_in_child(false);
}

/*
 * Before attach there are no hooks to end the thread that waits for the interpreter, which 3.12 and later
 * would count: it is ended here, if it holds nothing, and cannot wait for the GIL or the loader while held off. Threads
 * of C may fork at once: only one ends it, and the others have it in their parent, or not, as it comes.
 */
static void on_prepare(void)
{
	struct gcs_visit visit = gcs_visit_begin();

	gcs_fork_meet_bare();
	gcs_gil_hold_off(1);
	if (!gcs_gil_inside() && is_early() && begin_change()) {
		if (gcs_thread_running()) {
			set_due(true);
			gcs_thread_stop(true);
		}
		end_change();
	}
	gcs_visit_end(visit);
}

static void on_parent(void)
{
	struct gcs_visit visit;

	gcs_gil_allow();
	if (!is_due() || gcs_gil_held_off())
		return; /* the last of several forks begins it again */
	visit = gcs_visit_begin();
	/*
	 * From 3.12 on (0: no CPython yet) Python counts the threads after this: the pending call comes when
	 * os.fork() has returned. It never comes where the main thread runs no Python any more (uWSGI's master):
	 * children begin all the same.
	 */
	if (py.minor < 12 || !py.Py_IsInitialized() || gcs_pending_add(&again_call))
		start_again(NULL);
	gcs_visit_end(visit);
}

static void begin_in_child(bool anew)
{
	struct gcs_visit visit = gcs_visit_begin();

	epoch++;
	depth = 0;
	changing = restart_due = due = false;
	gcs_gil_forget();
	gcs_thread_forget();
	gcs_thread_watch_end();
	gcs_collect_forget();
	gcs_server_forget();
	gcs_hook_share(NULL);
	gcs_capture_forget();
	gcs_census_forget();
	gcs_rt = NULL;
	child_pending = attached && !over;
	/* Still waiting for a CPython: nobody else would begin anew. A fork empties the agent's memory. */
	if (anew && !gcs_mem_reset())
		gcs_thread_start();
	gcs_visit_end(visit);
}

static void on_child(void)
{
	begin_in_child(is_early() && (gcs_thread_running() || is_due()));
}

void gcs_fork_watch(void)
{
	pthread_atfork(on_prepare, on_parent, on_child);
	gcs_thread_watch_end();
}

/* While the state is ours to change. */
static void start_or_try_later(void)
{
	if (!gcs_thread_start())
		return;
	__atomic_store_n(&restart_ns, gcs_now_ns() + RETRY_NS, __ATOMIC_RELAXED);
	__atomic_store_n(&restart_due, true, __ATOMIC_RELEASE);
}

static void begin_child_gil(void)
{
	struct gcs_visit visit;

	if (!child_pending || !__atomic_exchange_n(&child_pending, false, __ATOMIC_ACQ_REL))
		return;
	visit = gcs_visit_begin();
	if (!gcs_mem_reset() && !gcs_rt_begin_gil())
		start_or_try_later();
	gcs_visit_end(visit);
}

/* ---- os.register_at_fork ---- */

static PyObject *none(void)
{
	py.Py_IncRef(py._Py_NoneStruct);
	return py._Py_NoneStruct;
}

/*
 * Ends the thread, or waits until another thread has ended it. The GIL is let go of only where somebody needs
 * it to end: the application's other threads should not get further before a fork than they would without us
 * (to the end of the interpreter, say: from 3.12 on the child could then start no thread). At the end of the interpreter
 * it is let go of: a thread that waits for it has then asked for it again when Python begins to go down. Had it asked
 * before and exited since, the main thread would wait for it for ever (gh-96387: 3.9, and 3.10 up to 3.10.7).
 */
static void stop_thread_gil(bool at_end)
{
	struct gcs_visit visit = gcs_visit_begin();
	struct timespec pause = {0, 200000};
	void *ts = NULL;

	if (!begin_change()) {
		ts = py.PyEval_SaveThread();
		while (!begin_change())
			nanosleep(&pause, NULL);
	}
	if (gcs_thread_running() || gcs_hand_there()) {
		gcs_gil_hold_off(1);
		if (!ts && (at_end || gcs_hand_busy() || gcs_gil_inside()))
			ts = py.PyEval_SaveThread();
		gcs_thread_stop(!at_end);
		gcs_gil_allow();
	}
	end_change();
	if (ts)
		py.PyEval_RestoreThread(ts);
	gcs_visit_end(visit);
}

static PyObject *before_fork(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
	(void)self;
	(void)args;
	(void)n;
	gcs_fork_meet_bare();
	__atomic_add_fetch(&depth, 1, __ATOMIC_SEQ_CST);
	if (!over)
		stop_thread_gil(false);
	return none();
}

/*
 * While somebody else is changing it nothing is lost: a fork that ends the thread says afterwards that it is due
 * again, and one that begins in this moment on a free-threaded build is like one that Python does not announce.
 */
static int restart_gil(void *unused)
{
	struct gcs_visit visit;

	(void)unused;
	gcs_fork_meet_bare();
	if (!__atomic_load_n(&restart_due, __ATOMIC_ACQUIRE) || !begin_change())
		return 0;
	visit = gcs_visit_begin();
	__atomic_store_n(&restart_due, false, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&depth, __ATOMIC_SEQ_CST) && !over && !gcs_thread_running() && gcs_rt)
		start_or_try_later();
	end_change();
	gcs_visit_end(visit);
	return 0;
}

static struct gcs_pending restart_call = {.call = restart_gil};

/*
 * 3.12.1 counts the threads before these hooks, 3.13.0 after them: from 3.12 on the thread comes back
 * when os.fork() has returned, by a pending call, or, with a main thread that is blocked in C, at
 * the next collection.
 */
static PyObject *after_in_parent(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
	struct gcs_visit visit = gcs_visit_begin();

	(void)self;
	(void)args;
	(void)n;
	if (__atomic_load_n(&depth, __ATOMIC_SEQ_CST) > 0)
		__atomic_sub_fetch(&depth, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&restart_due, true, __ATOMIC_RELEASE);
	if (py.minor < 12)
		restart_gil(NULL);
	else
		gcs_pending_add(&restart_call);
	gcs_visit_end(visit);
	return none();
}

static PyObject *after_in_child(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
	(void)self;
	(void)args;
	(void)n;
	begin_child_gil();
	return none();
}

/* Where we were attached without the main thread it has not begun that. */
static void start_hand_gil(void)
{
	struct gcs_visit visit = gcs_visit_begin();

	if (begin_change()) {
		__atomic_store_n(&restart_ns, gcs_now_ns() + RETRY_NS, __ATOMIC_RELAXED);
		if (!__atomic_load_n(&depth, __ATOMIC_SEQ_CST) && !over && gcs_thread_running())
			gcs_hand_start();
		end_change();
	}
	gcs_visit_end(visit);
}

void gcs_fork_late_start_gil(void)
{
	bool due_again = __atomic_load_n(&restart_due, __ATOMIC_ACQUIRE);

	begin_child_gil();
	if (!due_again && (gcs_hand_there() || !gcs_attached()))
		return;
	if (gcs_now_ns() < __atomic_load_n(&restart_ns, __ATOMIC_RELAXED))
		return;
	if (due_again)
		restart_gil(NULL);
	else
		start_hand_gil();
}

/* ---- calls for a process of one thread ---- */

/* Our thread is there, and no other stands in the way as well. */
static bool is_in_the_way(void)
{
	return !over && !gcs_attach_failed() && !__atomic_load_n(&depth, __ATOMIC_SEQ_CST) &&
	       gcs_thread_is_ours() && !gcs_thread_has_company();
}

bool gcs_fork_step_aside(void)
{
	bool aside;

	gcs_fork_meet_bare();
	if (!is_in_the_way() || !begin_change())
		return false;
	gcs_gil_hold_off(GCS_GIL_PATIENCE);
	/* Asked again: until begin_change() somebody else may have changed it. */
	aside = is_in_the_way() && !gcs_gil_inside() && !(gcs_hand_busy() && gcs_gil_is_callers());
	if (aside)
		gcs_thread_stop(true);
	gcs_gil_allow();
	if (aside)
		return true;
	end_change();
	if (is_due())
		start_again(NULL); /* a fork has left that to us */
	return false;
}

/* None can be had when children go to another PID namespace from now on. */
void gcs_fork_step_back(void)
{
	start_or_try_later();
	set_due(!gcs_thread_running() && !gcs_attached());
	end_change();
}

/* Python is going down: from here on nobody may ask for the GIL. */
static PyObject *at_exit(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
	(void)self;
	(void)args;
	(void)n;
	gcs_fork_meet_bare();
	over = true;
	child_pending = false;
	__atomic_store_n(&restart_due, false, __ATOMIC_RELEASE);
	stop_thread_gil(true);
	gcs_server_remove_name(); /* when a fork was the last thing that happened */
	gcs_hook_quiesce();
	return none();
}

static struct gcs_method_def hooks[] = {
	{"before", (void *)before_fork, GCS_METH_FASTCALL, NULL},
	{"after_in_parent", (void *)after_in_parent, GCS_METH_FASTCALL, NULL},
	{"after_in_child", (void *)after_in_child, GCS_METH_FASTCALL, NULL},
	{"gcscope_at_exit", (void *)at_exit, GCS_METH_FASTCALL, NULL},
};

static int register_fork_hooks(void)
{
	PyObject *posix = gcs_builtin_module_gil("posix", false);
	PyObject *reg = posix ? py.PyObject_GetAttrString(posix, "register_at_fork") : NULL;
	PyObject *none_args = py.PyTuple_New(0), *hooks_by_name = py.PyDict_New(), *r = NULL;

	bool all = reg && none_args && hooks_by_name;

	for (int i = 0; i < 3 && all; i++) {
		PyObject *f = gcs_callable_new_gil(&hooks[i]);

		all = f && !py.PyDict_SetItemString(hooks_by_name, hooks[i].name, f);
		py.Py_DecRef(f);
	}
	if (all)
		r = py.PyObject_Call(reg, none_args, hooks_by_name);
	py.PyErr_Clear();
	PyObject *const drop[] = {posix, reg, none_args, hooks_by_name, r};
	for (size_t i = 0; i < sizeof(drop) / sizeof(drop[0]); i++)
		py.Py_DecRef(drop[i]);
	return r ? 0 : -1;
}

/* Registered first, run last. Before 3.10 the table of callbacks belongs to the module object, which must stay. */
static int register_at_exit(void)
{
	PyObject *atexit = gcs_builtin_module_gil("atexit", py.minor < 10);
	PyObject *reg = atexit ? py.PyObject_GetAttrString(atexit, "register") : NULL;
	PyObject *f = gcs_callable_new_gil(&hooks[3]), *r = NULL;

	if (reg && f)
		r = py.PyObject_CallFunctionObjArgs(reg, f, NULL);
	py.PyErr_Clear();
	PyObject *const drop[] = {atexit, reg, f, r};
	for (size_t i = 0; i < sizeof(drop) / sizeof(drop[0]); i++)
		py.Py_DecRef(drop[i]);
	return r ? 0 : -1;
}

int gcs_fork_install_gil(void)
{
	if (register_at_exit()) {
		gcs_disable("agent", "no atexit hook: the end of the interpreter would not be seen");
		return -1;
	}
	if (register_fork_hooks()) {
		gcs_disable("agent", "no os.register_at_fork hooks: forks would not be seen");
		return -1;
	}
	attached = true;
	return 0;
}
