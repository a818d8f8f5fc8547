/* SPDX-License-Identifier: Apache-2.0 */
#include "fork.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "api.h"
#include "attach.h"
#include "census.h"
#include "disabled.h"
#include "gil.h"
#include "hook.h"
#include "mem.h"
#include "runtime.h"
#include "thread.h"

bool gcs_fork_pending;

static unsigned epoch;
static bool attached, over;
static int depth;     /* forks under way, several when threads fork at once; with the GIL */
static bool stopping; /* the first of them is ending the thread */

unsigned gcs_fork_epoch(void)
{
	return epoch;
}

/* ---- forks that Python does not know of ---- */

static void on_prepare(void)
{
	gcs_gil_hold_off();
}

static void on_parent(void)
{
	gcs_gil_allow();
}

static void on_child(void)
{
	epoch++;
	gcs_gil_forget();
	gcs_thread_forget();
	gcs_collect_forget();
	gcs_rt = NULL;
	gcs_fork_pending = attached && !over;
}

void gcs_fork_watch(void)
{
	pthread_atfork(on_prepare, on_parent, on_child);
}

void gcs_fork_begin_child_gil(void)
{
	gcs_fork_pending = false;
	gcs_census_abort_gil();
	gcs_hook_share(NULL);
	if (gcs_mem_reset() || gcs_rt_begin_gil())
		return;
	gcs_thread_start();
}

/* ---- os.register_at_fork ---- */

static PyObject *none(void)
{
	py.Py_IncRef(py._Py_NoneStruct);
	return py._Py_NoneStruct;
}

static PyObject *before_fork(PyObject *self, PyObject *arg)
{
	struct timespec pause = {0, 200000};
	void *ts;

	(void)self;
	(void)arg;
	depth++;
	if (over || (!gcs_thread_running() && !stopping))
		return none();
	ts = py.PyEval_SaveThread();
	if (depth == 1) {
		stopping = true;
		gcs_thread_stop(true);
		stopping = false;
	}
	while (__atomic_load_n(&stopping, __ATOMIC_ACQUIRE))
		nanosleep(&pause, NULL);
	py.PyEval_RestoreThread(ts);
	return none();
}

static PyObject *after_in_parent(PyObject *self, PyObject *arg)
{
	(void)self;
	(void)arg;
	if (depth > 0)
		depth--;
	if (depth == 0 && !over && !gcs_thread_running() && gcs_rt)
		gcs_thread_start();
	return none();
}

static PyObject *after_in_child(PyObject *self, PyObject *arg)
{
	(void)self;
	(void)arg;
	depth = 0;
	stopping = false;
	if (gcs_fork_pending)
		gcs_fork_begin_child_gil();
	return none();
}

/* Python is going down: from here on nobody may ask for the GIL. */
static PyObject *at_exit(PyObject *self, PyObject *arg)
{
	void *ts;

	(void)self;
	(void)arg;
	over = true;
	gcs_fork_pending = false;
	ts = py.PyEval_SaveThread();
	gcs_thread_stop(false);
	py.PyEval_RestoreThread(ts);
	gcs_hook_quiesce();
	return none();
}

static struct gcs_method_def hooks[] = {
	{"before", (void *)before_fork, GCS_METH_NOARGS, NULL},
	{"after_in_parent", (void *)after_in_parent, GCS_METH_NOARGS, NULL},
	{"after_in_child", (void *)after_in_child, GCS_METH_NOARGS, NULL},
	{"gcscope_at_exit", (void *)at_exit, GCS_METH_NOARGS, NULL},
};

static int register_fork_hooks(void)
{
	PyObject *posix = py.PyImport_ImportModule("posix");
	PyObject *reg = posix ? py.PyObject_GetAttrString(posix, "register_at_fork") : NULL;
	PyObject *none_args = py.PyTuple_New(0), *hooks_by_name = py.PyDict_New(), *r = NULL;

	for (int i = 0; i < 3 && hooks_by_name; i++) {
		PyObject *f = py.PyCFunction_NewEx(&hooks[i], NULL, NULL);

		if (f) {
			py.PyDict_SetItemString(hooks_by_name, hooks[i].name, f);
			py.Py_DecRef(f);
		}
	}
	if (reg && none_args && hooks_by_name)
		r = py.PyObject_Call(reg, none_args, hooks_by_name);
	if (py.PyErr_Occurred())
		py.PyErr_Clear();
	PyObject *const drop[] = {posix, reg, none_args, hooks_by_name, r};
	for (size_t i = 0; i < sizeof(drop) / sizeof(drop[0]); i++)
		if (drop[i])
			py.Py_DecRef(drop[i]);
	return r ? 0 : -1;
}

/*
 * Registered first, run last. The module leaves sys.modules again when we were the ones to import it,
 * except before 3.10, where the table of callbacks belongs to the module object.
 */
static int register_at_exit(void)
{
	PyObject *modules = py.PyImport_GetModuleDict();
	bool had = py.PyDict_GetItemString(modules, "atexit") != NULL;
	PyObject *atexit = py.PyImport_ImportModule("atexit");
	PyObject *reg = atexit ? py.PyObject_GetAttrString(atexit, "register") : NULL;
	PyObject *f = py.PyCFunction_NewEx(&hooks[3], NULL, NULL), *r = NULL;

	if (reg && f)
		r = py.PyObject_CallFunctionObjArgs(reg, f, NULL);
	if (!had && atexit && py.minor >= 10)
		py.PyDict_DelItemString(modules, "atexit");
	if (py.PyErr_Occurred())
		py.PyErr_Clear();
	PyObject *const drop[] = {atexit, reg, f, r};
	for (size_t i = 0; i < sizeof(drop) / sizeof(drop[0]); i++)
		if (drop[i])
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
		gcs_disable("fork", "no os.register_at_fork hooks: forked children have no agent");
		return 0;
	}
	attached = true;
	return 0;
}
