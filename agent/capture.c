/* SPDX-License-Identifier: Apache-2.0 */
#include "capture.h"

#include <errno.h>
#include <string.h>

#include "analysis.h"
#include "budget.h"
#include "clock.h"
#include "decoy.h"
#include "disabled.h"
#include "edges.h"
#include "frame.h"
#include "layout.h"
#include "mem.h"
#include "pile.h"
#include "runtime.h"
#include "scratch.h"

#define DEBUG_STATS 1
#define DEBUG_SAVEALL 32

/*
 * GCSCOPE_CYCLES=on: what an object's analysis takes at first, before it is known; a pause grows by this part, or
 * by LEAST_NS; and in a sample of less than SAMPLE an object stands for so many passed over at most.
 */
#define OBJECT_NS 300
#define PAUSE_SHARE 8
#define LEAST_NS 1000000
#define STANDS_FOR 50
#define SAMPLE 500
#define COUNT 16 /* of so many times the objects that are analysed, it is at least known how many there are */
#define ENOUGH_NS 20000 /* of the budget, to begin at all */
#define MISSES_MAX 3 /* collections that do not show what they found, in a row: then it is given up */

static const int *debug_flags;
static bool able;

static struct gcs_cycletable *table;
static struct gcs_scratch scratch;
static struct gcs_capture_stats stats;
static struct gcs_budget budget;
static double object_ns;
static uint64_t passed_over[GCS_GENERATIONS]; /* objects that the next analysis counts for */
static unsigned misses;

/* The collection under way. */
static struct {
	bool on;
	int generation;
	int64_t start_ns, analysis_ns;
	uint64_t found; /* objects, at least */
	struct gcs_analysed seen;
} now;

/* ---- attach ---- */

static long get_debug(PyObject *get)
{
	PyObject *r = py.PyObject_CallObject(get, NULL);
	long v = r ? py.PyLong_AsLong(r) : -1;

	py.Py_DecRef(r);
	py.PyErr_Clear();
	return v;
}

static void set_debug(PyObject *set, long flags)
{
	PyObject *v = py.PyLong_FromLong(flags);
	PyObject *r = v ? py.PyObject_CallFunctionObjArgs(set, v, NULL) : NULL;

	py.Py_DecRef(r);
	py.Py_DecRef(v);
	py.PyErr_Clear();
}

/* `debug` stands just before the generations: the int there that follows gc.set_debug(). */
static const int *find_debug_flags(PyObject *get, PyObject *set)
{
	long before = get_debug(get);
	const int *found = NULL;

	for (int back = 1; !found && back <= 4; back++) {
		const volatile int *p = (const volatile int *)gcs_layout.generation - back;

		if (*p != before)
			continue;
		set_debug(set, before ^ DEBUG_SAVEALL);
		if (*p == (before ^ DEBUG_SAVEALL))
			found = (const int *)p;
		set_debug(set, before);
		if (found && *p != before)
			found = NULL;
	}
	return found;
}

static void found(struct gcs_gc_head *garbage, struct gcs_gc_head *legacy);

static void probe(PyObject *get, PyObject *set)
{
	if (gcs_config.cycles == GCS_CYCLES_OFF)
		gcs_disable("cycles", "GCSCOPE_CYCLES=off");
	else if (!gcs_layout.lists)
		gcs_disable("cycles", "the collector's lists cannot be walked here");
	else if (gcs_layout.incremental)
		gcs_disable("cycles", "the incremental collector of 3.14.0 to 3.14.4 is not supported");
	else if (!get || !set || !(debug_flags = find_debug_flags(get, set)))
		gcs_disable("cycles", "the collector's debug flags were not found");
	else if (!gcs_layout.slots)
		gcs_disable("cycles", "the slots of a type do not verify");
	else if (!gcs_decoy_make_gil(found))
		gcs_disable("cycles", "no memory");
	else
		able = true;
}

void gcs_capture_probe_gil(PyObject *gc)
{
	PyObject *get = py.PyObject_GetAttrString(gc, "get_debug");
	PyObject *set = py.PyObject_GetAttrString(gc, "set_debug");

	probe(get, set);
	py.Py_DecRef(get);
	py.Py_DecRef(set);
	if (able)
		gcs_edges_probe_gil();
	py.PyErr_Clear();
}

int gcs_capture_begin(void)
{
	memset(&stats, 0, sizeof(stats));
	now.found = 0;
	memset(&now.seen, 0, sizeof(now.seen)); /* a finalizer may have forked: the collection goes on in the child */
	memset(passed_over, 0, sizeof(passed_over));
	table = NULL;
	if (!able)
		return 0;
	scratch.size = gcs_mem_limit() / 4;
	scratch.base = gcs_mem_alloc(scratch.size);
	table = gcs_mem_alloc(sizeof(*table));
	if (!scratch.base || !table) {
		table = NULL; /* in a forked child the hook is there already, and would capture without the scratch */
		return -ENOMEM;
	}
	gcs_cycletable_init(table);
	gcs_budget_init(&budget, gcs_config.budget_percent / 2, gcs_now_ns());
	object_ns = OBJECT_NS;
	return 0;
}

void gcs_capture_forget(void)
{
	table = NULL;
}

/* ---- what a collection found ---- */

/* Objects with a legacy finalizer are not freed, nor what they refer to: while this looks, they are no garbage. */
struct hidden {
	struct gcs_gc_head **head;
	uint32_t n, max;
};

static int hide(PyObject *o, void *arg)
{
	struct hidden *h = arg;
	struct gcs_gc_head *g = (struct gcs_gc_head *)o - 1;

	if (!gcs_is_garbage(o))
		return 0;
	if (h->n < h->max) {
		g->prev &= ~(uintptr_t)GCS_COLLECTING;
		h->head[h->n] = g;
	}
	h->n++;
	return 0;
}

static void hide_referents(PyObject *o, struct hidden *h)
{
	int (*traverse)(PyObject *, int (*)(PyObject *, void *), void *);

	*(void **)&traverse = gcs_type_word(gcs_type_of(o), GCS_TP_TRAVERSE);
	if (traverse)
		traverse(o, hide, h);
}

/* False: there are too many. */
static bool hide_legacy(struct gcs_gc_head *legacy, struct hidden *h)
{
	h->n = 0;
	h->max = (uint32_t)(scratch.size / 4 / sizeof(struct gcs_gc_head *));
	h->head = (struct gcs_gc_head **)scratch.base;
	for (struct gcs_gc_head *g = gcs_gc_next(legacy); g != legacy; g = gcs_gc_next(g))
		hide_referents((PyObject *)(g + 1), h);
	for (uint32_t i = 0; i < h->n && i < h->max; i++)
		hide_referents((PyObject *)(h->head[i] + 1), h);
	scratch.used = h->n * sizeof(*h->head);
	return h->n <= h->max;
}

static void show_again(struct hidden *h)
{
	for (uint32_t i = 0; i < h->n && i < h->max; i++)
		h->head[i]->prev |= GCS_COLLECTING;
}

/* How long this pause may grow by the analysis. */
static int64_t allowance(int64_t at)
{
	int64_t most = (at - now.start_ns) / PAUSE_SHARE, credit = gcs_budget_credit(&budget, at);

	if (most < LEAST_NS)
		most = LEAST_NS;
	return credit < most ? credit : most;
}

/* As many as are expected to take most of that; with wider objects the time is up before. */
static uint64_t limit(int64_t ns)
{
	if (gcs_config.cycles == GCS_CYCLES_ALL)
		return UINT64_MAX;
	return ns > 0 ? (uint64_t)((double)ns * .75 / object_ns) + 1 : 1;
}

/* At once where the time was up too soon. */
static void learn(double ns)
{
	object_ns += now.seen.lost && ns > object_ns ? ns - object_ns : (ns - object_ns) / 8;
}

/* Of the list, at most this many. */
static uint64_t count_up_to(struct gcs_gc_head *list, uint64_t most)
{
	uint64_t n = 0;

	for (struct gcs_gc_head *g = gcs_gc_next(list); g != list && n < most; g = gcs_gc_next(g))
		n += g->prev & GCS_COLLECTING ? 1 : 0;
	return n;
}

static void found(struct gcs_gc_head *garbage, struct gcs_gc_head *legacy)
{
	int64_t begin = gcs_now_ns(), ns = allowance(begin);
	int64_t until = gcs_config.cycles == GCS_CYCLES_ALL ? INT64_MAX : gcs_thread_cpu_ns() + ns;
	uint64_t most = limit(ns);
	struct hidden hidden;
	char where[GCS_AT_MAX];

	if (!table || gcs_gc_next(garbage) == garbage) {
		now.seen.complete = true;
		return;
	}
	gcs_frame_here_hot(where, sizeof(where));
	if (hide_legacy(legacy, &hidden)) {
		now.found = count_up_to(garbage, most < UINT64_MAX / COUNT ? COUNT * most : UINT64_MAX);
		gcs_analyse_gil(garbage, now.found < most ? now.found : most, until, where, table,
				&scratch, &now.seen);
	}
	show_again(&hidden);
	now.analysis_ns = gcs_now_ns() - begin;
	if (now.seen.objects)
		learn((double)now.analysis_ns / (double)now.seen.objects);
}

/* ---- a collection ---- */

static bool in_budget(void)
{
	return gcs_config.cycles == GCS_CYCLES_ALL || gcs_budget_credit(&budget, gcs_now_ns()) >= ENOUGH_NS;
}

void gcs_capture_start_gil(int generation)
{
	memset(&now, 0, sizeof(now));
	if (!table)
		return;
	if (*debug_flags & DEBUG_STATS) {
		stats.refused++;
	} else if (!in_budget()) {
		stats.skipped++;
	} else {
		now.on = true;
		now.start_ns = gcs_now_ns();
		gcs_decoy_set_gil(generation);
	}
	now.generation = generation;
}

/*
 * For how many each object that was counted stands: for those passed over, too. But a small sample does not stand for
 * a multitude.
 */
static double weigh(uint64_t counted)
{
	uint64_t *passed = &passed_over[now.generation];
	uint64_t most = counted < SAMPLE ? counted * STANDS_FOR : UINT64_MAX;
	uint64_t extra = *passed < most ? *passed : most;

	if (gcs_config.cycles == GCS_CYCLES_ALL)
		return 1; /* nothing is passed over but for want of room: what is counted is exact */
	*passed -= extra;
	return counted ? 1 + (double)extra / (double)counted : 1;
}

static void give_up_after(enum gcs_decoy_end end)
{
	if (end == GCS_DECOY_KEPT)
		return;
	misses = end == GCS_DECOY_SHOWN ? 0 : misses + 1;
	if (misses < MISSES_MAX)
		return;
	table = NULL;
	gcs_disable("cycles", "the collector does not show what it found");
}

int64_t gcs_capture_stop_gil(uint64_t collected, uint64_t uncollectable)
{
	/*
	 * `collected` has weak references that died of their callbacks, too, and not what finalizers took apart: it
	 * counts only where not all was seen.
	 */
	uint64_t all = collected > now.found ? collected : now.found;
	uint64_t beyond = !now.seen.complete && all > now.seen.objects ? all - now.seen.objects : 0;
	uint64_t unanalysed = now.seen.lost + beyond, found_now = now.seen.objects + beyond;

	if (now.on)
		give_up_after(gcs_decoy_withdraw_gil());
	if (!table)
		return 0;
	stats.legacy += uncollectable;
	if (!now.on) {
		passed_over[now.generation] += collected;
		return 0;
	}
	now.on = false;
	passed_over[now.generation] += unanalysed;
	gcs_cycletable_settle(table, weigh(now.seen.objects - now.seen.lost), gcs_realtime_ns());
	stats.captured++;
	__atomic_store_n(&stats.objects, stats.objects + found_now, __ATOMIC_RELAXED); /* gcs_capture_objects() reads it */
	stats.unanalysed += unanalysed;
	stats.partial += now.seen.partial;
	stats.acyclic += now.seen.acyclic;
	stats.finalized += found_now > collected ? found_now - collected : 0;
	stats.analysis_ns += (uint64_t)now.analysis_ns;
	if (stats.max_analysis_ns < (uint64_t)now.analysis_ns)
		stats.max_analysis_ns = (uint64_t)now.analysis_ns;
	gcs_budget_spend(&budget, gcs_now_ns(), now.analysis_ns);
	return now.analysis_ns;
}

bool gcs_capture_is_estimate(const struct gcs_capture_stats *s)
{
	return s->skipped + s->refused + s->unanalysed + s->partial > 0;
}

struct gcs_cycletable *gcs_capture_table(void)
{
	return table;
}

const struct gcs_capture_stats *gcs_capture_stats(void)
{
	return &stats;
}

uint64_t gcs_capture_objects(void)
{
	return __atomic_load_n(&stats.objects, __ATOMIC_RELAXED);
}
