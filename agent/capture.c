/* SPDX-License-Identifier: Apache-2.0 */
#include "capture.h"

#include <errno.h>
#include <string.h>

#include "analysis.h"
#include "budget.h"
#include "clock.h"
#include "disabled.h"
#include "layout.h"
#include "mem.h"
#include "runtime.h"
#include "scratch.h"

#define DEBUG_SAVEALL 32

static PyObject *callbacks, *garbage, *callback;
static int *debug_flags;
static bool able;

static struct gcs_cycletable *table;
static struct gcs_scratch scratch;
static struct gcs_capture_stats stats;
static struct gcs_budget budget;

static struct {
	bool on;
	Py_ssize_t before; /* length of gc.garbage */
} now;

/* ---- attach ---- */

static long call_long(PyObject *f)
{
	PyObject *r = py.PyObject_CallObject(f, NULL);
	long v = r ? py.PyLong_AsLong(r) : -1;

	if (r)
		py.Py_DecRef(r);
	if (py.PyErr_Occurred())
		py.PyErr_Clear();
	return v;
}

static void set_debug(PyObject *f, long flags)
{
	PyObject *v = py.PyLong_FromLong(flags);
	PyObject *r = v ? py.PyObject_CallFunctionObjArgs(f, v, NULL) : NULL;

	if (r)
		py.Py_DecRef(r);
	if (v)
		py.Py_DecRef(v);
	if (py.PyErr_Occurred())
		py.PyErr_Clear();
}

/* `debug` stands just before the generations: the int there that follows gc.set_debug(). */
static int *find_debug_flags(PyObject *get, PyObject *set)
{
	long before = call_long(get);
	int *found = NULL;

	for (int back = 1; !found && back <= 4; back++) {
		int *p = (int *)gcs_layout.generation - back;

		if (*p != before)
			continue;
		set_debug(set, before ^ DEBUG_SAVEALL);
		if (*p == (before ^ DEBUG_SAVEALL))
			found = p;
		set_debug(set, before);
		if (found && *found != before)
			found = NULL;
	}
	return found;
}

void gcs_capture_probe_gil(PyObject *gc, PyObject *callback_list, PyObject *garbage_list, PyObject *our_callback)
{
	PyObject *get = py.PyObject_GetAttrString(gc, "get_debug");
	PyObject *set = py.PyObject_GetAttrString(gc, "set_debug");

	callbacks = callback_list;
	garbage = garbage_list;
	callback = our_callback;
	if (gcs_config.cycles == GCS_CYCLES_OFF)
		gcs_disable("cycles", "GCSCOPE_CYCLES=off");
	else if (!gcs_layout.lists)
		gcs_disable("cycles", "the collector's lists cannot be walked here");
	else if (gcs_layout.incremental)
		gcs_disable("cycles", "the incremental collector of 3.14.0 to 3.14.4 is not supported");
	else if (!get || !set || !(debug_flags = find_debug_flags(get, set)))
		gcs_disable("cycles", "the collector's debug flags were not found");
	else
		able = gcs_analysis_probe_gil();
	if (get)
		py.Py_DecRef(get);
	if (set)
		py.Py_DecRef(set);
	if (py.PyErr_Occurred())
		py.PyErr_Clear();
}

int gcs_capture_begin(void)
{
	memset(&stats, 0, sizeof(stats));
	memset(&now, 0, sizeof(now));
	table = NULL;
	if (!able)
		return 0;
	scratch.size = gcs_mem_limit() / 4;
	scratch.base = gcs_mem_alloc(scratch.size);
	table = gcs_mem_alloc(sizeof(*table));
	if (!scratch.base || !table)
		return -ENOMEM;
	gcs_cycletable_init(table);
	gcs_budget_init(&budget, gcs_config.budget_percent / 2, gcs_now_ns());
	return 0;
}

/* ---- a collection begins ---- */

static bool in_budget(void)
{
	return gcs_config.cycles == GCS_CYCLES_ALL || !gcs_budget_wait(&budget, gcs_now_ns());
}

void gcs_capture_start_gil(void)
{
	now.on = false;
	if (!table)
		return;
	if (*debug_flags || py.PyList_Size(callbacks) < 1 || py.PyList_GetItem(callbacks, 0) != callback) {
		stats.refused++;
	} else if (!in_budget()) {
		stats.skipped++;
	} else {
		now.on = true;
		now.before = py.PyList_Size(garbage);
		*debug_flags |= DEBUG_SAVEALL;
	}
}

/* ---- a collection ends ---- */

static struct gcs_gc_head *head_of(PyObject *o)
{
	return (struct gcs_gc_head *)o - 1;
}

static void set_link(uintptr_t *link, const struct gcs_gc_head *to)
{
	*link = (*link & ~GCS_LINK_MASK) | (uintptr_t)to;
}

static void unlink_head(struct gcs_gc_head *g)
{
	set_link(&gcs_gc_prev(g)->next, gcs_gc_next(g));
	set_link(&gcs_gc_next(g)->prev, gcs_gc_prev(g));
}

static void append_head(struct gcs_gc_head *g, struct gcs_gc_head *list)
{
	struct gcs_gc_head *last = gcs_gc_prev(list);

	set_link(&g->prev, last);
	set_link(&g->next, list);
	set_link(&last->next, g);
	set_link(&list->prev, g);
}

/*
 * What delete_garbage() does: clear the first object of the list; when it is still the first afterwards, it
 * may die later, with the others, and goes to the older generation.
 */
static void clear_all(struct gcs_gc_head *list, struct gcs_gc_head *old)
{
	while (gcs_gc_next(list) != list) {
		struct gcs_gc_head *g = gcs_gc_next(list);
		PyObject *o = (PyObject *)(g + 1);
		int (*clear)(PyObject *);

		*(void **)&clear = gcs_slot_of(o, GCS_SLOT_CLEAR);
		if (clear) {
			py.Py_IncRef(o);
			clear(o);
			if (py.PyErr_Occurred())
				py.PyErr_WriteUnraisable(gcs_type_of(o));
			py.Py_DecRef(o);
		}
		if (gcs_gc_next(list) == g) {
			unlink_head(g);
			append_head(g, old);
		}
	}
}

/* Of the objects from `first` on, those that CPython would not have put into gc.garbage leave it. */
static void drop_not_legacy(Py_ssize_t first)
{
	for (Py_ssize_t i = py.PyList_Size(garbage); i-- > first;)
		if (!gcs_slot_of(py.PyList_GetItem(garbage, i), GCS_SLOT_DEL))
			py.PyList_SetSlice(garbage, i, i + 1, NULL);
}

/* Moves the tracked ones of n objects of gc.garbage to a list of their own, in their order. */
static void gather(Py_ssize_t first, Py_ssize_t n, struct gcs_gc_head *list)
{
	list->next = list->prev = (uintptr_t)list;
	for (Py_ssize_t i = first; i < first + n; i++) {
		struct gcs_gc_head *g = head_of(py.PyList_GetItem(garbage, i));

		if (!g->next)
			continue;
		unlink_head(g);
		append_head(g, list);
	}
}

/*
 * How many of gc.garbage's last entries the collector has just put there. 3.8 counts what finalizers then
 * brought back to life too; everywhere a finalizer may have emptied the list or added to it.
 */
static Py_ssize_t saved(uint64_t collected, uint64_t uncollectable)
{
	Py_ssize_t grown = py.PyList_Size(garbage) - now.before;
	Py_ssize_t found = (Py_ssize_t)(collected + uncollectable);

	return grown < 0 ? 0 : found > grown ? grown : found;
}

void gcs_capture_stop_gil(int generation, uint64_t collected, uint64_t uncollectable, const char *where)
{
	struct gcs_gc_head *old = gcs_layout.list[generation < 2 ? generation + 1 : 2];
	int64_t began;
	Py_ssize_t n, first, legacy = (Py_ssize_t)uncollectable;
	struct gcs_gc_head list;

	if (!now.on)
		return;
	now.on = false;
	if (*debug_flags != DEBUG_SAVEALL) {
		stats.refused++; /* a finalizer has set flags of its own: they hold */
		return;
	}
	*debug_flags = 0;
	stats.captured++;
	n = saved(collected, uncollectable);
	if (!n)
		return;
	began = gcs_now_ns();
	first = py.PyList_Size(garbage) - n;
	stats.legacy += (uint64_t)legacy;
	n = n > legacy ? n - legacy : 0;
	drop_not_legacy(first + n);
	stats.objects += (uint64_t)n;
	gcs_analyse_gil(garbage, first, n, where, table, &scratch, &stats);
	gather(first, n, &list);
	py.PyList_SetSlice(garbage, first, first + n, NULL);
	gcs_budget_spend(&budget, gcs_now_ns(), gcs_now_ns() - began);
	clear_all(&list, old);
}

const struct gcs_cycletable *gcs_capture_table(void)
{
	return table;
}

const struct gcs_capture_stats *gcs_capture_stats(void)
{
	return &stats;
}
