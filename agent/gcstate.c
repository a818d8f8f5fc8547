/* SPDX-License-Identifier: Apache-2.0 */
#include "gcstate.h"

#include <stdlib.h>
#include <string.h>

#include "layout.h"
#include "peek.h"

#define INTERPRETER_SIZE 65536 /* how far into the interpreter's state the collector's is looked for */
#define GENERATIONS_BEFORE 48 /* words: how far before its flag the collector's generations are looked for */

/* Length of a list of at most max objects, checking that each link is answered; -1 when one is not. */
static long list_length(const struct gcs_gc_head *head, long max)
{
	const struct gcs_gc_head *g = gcs_gc_next(head), *before = head;
	long n = 0;

	while (g != head) {
		if (!g || gcs_gc_is_head(g) || gcs_gc_prev(g) != before)
			return -1;
		if (n++ == max)
			return max;
		before = g;
		g = gcs_gc_next(g);
	}
	return n;
}

/* The three numbers of gc.get_threshold() or gc.get_count(). */
static bool read_three(PyObject *gc, const char *function, long out[GCS_GENERATIONS])
{
	PyObject *f = py.PyObject_GetAttrString(gc, function);
	PyObject *t = f ? py.PyObject_CallObject(f, NULL) : NULL;

	for (int i = 0; t && i < GCS_GENERATIONS; i++)
		out[i] = py.PyLong_AsLong(py.PyTuple_GetItem(t, i));
	py.Py_DecRef(t);
	py.Py_DecRef(f);
	py.PyErr_Clear();
	return t != NULL;
}

static bool thresholds_agree(PyObject *gc)
{
	long t[GCS_GENERATIONS];
	bool ok = read_three(gc, "get_threshold", t);

	for (int i = 0; ok && i < GCS_GENERATIONS; i++)
		ok = t[i] == gcs_layout.generation[i].threshold;
	return ok;
}

static long api_length(PyObject *get_objects, long generation)
{
	PyObject *which = py.PyLong_FromLong(generation);
	PyObject *r = py.PyObject_CallFunctionObjArgs(get_objects, which, NULL);
	long n = r ? (long)py.PyList_Size(r) : -1;

	py.Py_DecRef(which);
	py.Py_DecRef(r);
	py.PyErr_Clear();
	return n;
}

/* Above this many objects the old generation is checked link by link for its first part only. */
#define VERIFY_MAX 50000

static bool close_to(long a, long b)
{
	return a >= 0 && b >= 0 && labs(a - b) <= 4; /* what the call itself makes */
}

static bool lengths_agree(PyObject *gc)
{
	PyObject *get_objects = py.PyObject_GetAttrString(gc, "get_objects");
	long young = list_length(gcs_layout.list[0], VERIFY_MAX);
	long older = list_length(gcs_layout.list[1], VERIFY_MAX);
	long oldest = list_length(gcs_layout.list[2], VERIFY_MAX);
	bool ok = get_objects && young >= 0 && older >= 0 && oldest >= 0 &&
		  list_length(gcs_layout.list[3], VERIFY_MAX) >= 0;

	if (ok && young < VERIFY_MAX)
		ok = close_to(young, api_length(get_objects, 0));
	/* The two halves of the old space change places in the incremental collector: compare sums. */
	if (ok && older + oldest < VERIFY_MAX)
		ok = close_to(older + oldest,
			      api_length(get_objects, 1) + api_length(get_objects, 2));
	py.Py_DecRef(get_objects);
	return ok;
}

/* Does what stands at this address look like the head of a list: do both its links lead back? */
static bool looks_like_head(uintptr_t head)
{
	uintptr_t next, prev, back, forth;

	return gcs_peek(head, &next) && gcs_peek(head + 8, &prev) &&
	       gcs_peek((next & GCS_LINK_MASK) + 8, &back) && gcs_peek(prev & GCS_LINK_MASK, &forth) &&
	       (back & GCS_LINK_MASK) == head && (forth & GCS_LINK_MASK) == head;
}

/* The newest tracked object is the young list's last: its next link leads to the list's head. */
static struct gcs_generation *find_young(void)
{
	PyObject *list = py.PyList_New(0);
	struct gcs_gc_head *g;
	uintptr_t young, last;

	if (!list)
		return NULL;
	g = (struct gcs_gc_head *)list - 1;
	young = g->next & GCS_LINK_MASK;
	if (!looks_like_head(young) || !gcs_peek(young + 8, &last) || (last & GCS_LINK_MASK) != (uintptr_t)g)
		young = 0;
	py.Py_DecRef(list);
	return (struct gcs_generation *)young;
}

/*
 * The permanent generation stands behind the others, with a pointer to the young one between them or not
 * (3.14.0 to 3.14.4), and with padding or not: the next thing there that is a list's head.
 */
static struct gcs_gc_head *find_permanent(const struct gcs_generation *young)
{
	uintptr_t end = (uintptr_t)&young[GCS_GENERATIONS];

	for (uintptr_t p = end; p <= end + 32; p += 4)
		if (looks_like_head(p))
			return (struct gcs_gc_head *)p;
	return NULL;
}

/* Where two words stand side by side between from and from + size; 0: nowhere. */
static uintptr_t find_words(uintptr_t from, size_t size, uintptr_t first, uintptr_t second)
{
	enum { WORDS = 64 };
	uintptr_t w[WORDS], pair[2] = {first, second};
	const size_t step = sizeof(w) - sizeof(pair);

	for (uintptr_t p = from; p < from + size && gcs_peek_words(p, w, WORDS); p += step)
		for (size_t i = 0; i <= step; i += 4)
			if (!memcmp((char *)w + i, pair, sizeof(pair)))
				return p + i;
	return 0;
}

/*
 * What _PyRuntime begins with from 3.13 on: _Py_DebugOffsets, words of which these are the same in all versions, and
 * others have their place by version. Within a minor version it does not change.
 */
enum { OFFSETS_COOKIE, OFFSETS_VERSION, OFFSETS_FREE_THREADED, OFFSETS_MAX = 128 };

static const struct {
	int minor, gc, gc_size, gc_collecting; /* where in the interpreter; of that its size, and where in it */
} offsets_of[] = {{13, 10, 71, 72}, {15, 11, 94, 95}};

/* Where the main interpreter's `collecting` and the end of the collector's state are by what CPython says. */
static bool read_offsets(uintptr_t *collecting, uintptr_t *end)
{
	uintptr_t w[OFFSETS_MAX], gc;
	size_t i = 0, n = sizeof(offsets_of) / sizeof(offsets_of[0]);

	while (i < n && offsets_of[i].minor != py.minor)
		i++;
	if (i == n || !py._PyRuntime || !py.PyInterpreterState_Main ||
	    !gcs_peek_words((uintptr_t)py._PyRuntime, w, OFFSETS_MAX) || memcmp(&w[OFFSETS_COOKIE], "xdebugpy", 8) ||
	    w[OFFSETS_FREE_THREADED] != (py.free_threaded ? 1 : 0))
		return false;
	gc = (uintptr_t)py.PyInterpreterState_Main() + w[offsets_of[i].gc];
	*collecting = gc + w[offsets_of[i].gc_collecting];
	*end = gc + w[offsets_of[i].gc_size];
	return true;
}

/*
 * Behind the permanent generation and the statistics stand `int collecting; PyObject *garbage, *callbacks;`: the
 * two lists are known. From 3.15 on a pointer, null but in a collection, stands between (gh-91048), and CPython
 * must say so.
 */
static const int *find_collecting(PyObject *gc, uintptr_t from, size_t size)
{
	PyObject *garbage = py.PyObject_GetAttrString(gc, "garbage");
	PyObject *callbacks = py.PyObject_GetAttrString(gc, "callbacks");
	const int *found = NULL;
	uintptr_t pair = 0, collecting, end;

	if (garbage && callbacks)
		pair = find_words(from, size, (uintptr_t)garbage, (uintptr_t)callbacks);
	if (pair && py.minor < 15)
		found = (const int *)(pair - 8);
	else if (pair && read_offsets(&collecting, &end) && collecting == pair - 16 && pair + 16 <= end)
		found = (const int *)collecting;
	py.Py_DecRef(garbage);
	py.Py_DecRef(callbacks);
	py.PyErr_Clear();
	return found && (*found == 0 || *found == 1) ? found : NULL;
}

const char *gcs_gcstate_probe_lists_gil(PyObject *gc, bool *busy)
{
	struct gcs_layout *l = &gcs_layout;
	struct gcs_generation *young = find_young();

	if (!young)
		return "a fresh object does not lead to the young generation";
	l->generation = young;
	for (int i = 0; i < GCS_GENERATIONS; i++) {
		l->list[i] = &young[i].head;
		if (!looks_like_head((uintptr_t)l->list[i]))
			return "the older generations do not verify";
	}
	if (!thresholds_agree(gc))
		return "the thresholds do not verify";
	l->list[GCS_LISTS - 1] = find_permanent(young);
	if (!l->list[GCS_LISTS - 1])
		return "the permanent generation was not found";
	l->incremental = (py.minor == 14 && py.micro < 5) || (py.minor >= 14 && strpbrk(py.version, "ab"));
	l->collecting = find_collecting(gc, (uintptr_t)l->list[GCS_LISTS - 1], 1024);
	if (!l->collecting)
		return "the flag that says that a collection is under way was not found";
	*busy = *l->collecting;
	if (*busy)
		return NULL;
	l->heads_lo = (uintptr_t)young;
	l->heads_size = (uintptr_t)(l->list[GCS_LISTS - 1] + 1) - l->heads_lo;
	if (!lengths_agree(gc))
		return "the lengths of the lists do not verify";
	l->lists = l->counters = true;
	return NULL;
}

/*
 * The collector's state stands in the interpreter's, the generations with their thresholds and counts before the
 * flag and the two lists.
 */
const char *gcs_gcstate_probe_counters_gil(PyObject *gc)
{
	struct gcs_layout *l = &gcs_layout;
	struct gcs_generation *g, *found = NULL;
	long t[GCS_GENERATIONS], n[GCS_GENERATIONS];
	int matches = 0;

	if (py.PyInterpreterState_Main)
		l->collecting = find_collecting(gc, (uintptr_t)py.PyInterpreterState_Main(), INTERPRETER_SIZE);
	if (!l->collecting)
		return "the collector's state was not found";
	if (!read_three(gc, "get_threshold", t) || !read_three(gc, "get_count", n))
		return "the gc module does not tell its thresholds";
	for (int back = 1; back <= GENERATIONS_BEFORE; back++) {
		g = (struct gcs_generation *)((uintptr_t)l->collecting - 8 * (uintptr_t)back);
		if (g[0].threshold == t[0] && g[1].threshold == t[1] && g[2].threshold == t[2] &&
		    g[1].count == n[1] && g[2].count == n[2]) {
			found = g;
			matches++;
		}
	}
	if (matches != 1)
		return "the thresholds do not verify";
	l->generation = found;
	l->counters = true;
	return NULL;
}

static bool is_list_at(uintptr_t place)
{
	uintptr_t list, type;

	return gcs_peek(place, &list) && gcs_peek(list + GCS_OB_TYPE_FREE_THREADED, &type) &&
	       type == (uintptr_t)py.PyList_Type;
}

/*
 * The collector's state ends with { int collecting; PyObject *garbage, *callbacks; Py_ssize_t total, pending; int
 * immortalize; }: the size must be right, and the two be lists.
 */
bool gcs_gcstate_find_immortalize(void)
{
	const uintptr_t tail = 8 + 2 * 8 + 2 * 8;
	uintptr_t collecting, end, word;

	if (!py.free_threaded || py.minor != 13)
		return true;
	if (!read_offsets(&collecting, &end) || end != collecting + tail + 8)
		return false;
	if (!is_list_at(collecting + 8) || !is_list_at(collecting + 16) || !gcs_peek(collecting + tail, &word) ||
	    (int)word > 1)
		return false;
	gcs_layout.immortalize = (int *)(collecting + tail);
	return true;
}
