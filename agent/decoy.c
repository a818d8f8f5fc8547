/* SPDX-License-Identifier: Apache-2.0 */
#include "decoy.h"

#include <string.h>

#define NEAR 4096 /* both lists' heads are variables of one function of the collector */

/* PyTypeObject, builds with a GIL: words from its beginning. Those used are verified (layout.c). */
enum {
	REFCOUNT = 0,
	NAME = 3,
	BASICSIZE = 4,
	FLAGS = 21,
	TRAVERSE = 23,
	CLEAR = 24,
	BASE = 32,
	DICT = 33,
	CACHE = 44,
	SUBCLASSES = 45,
	WEAKLIST = 46,
	DEL = 47,
	VERSION_TAG = 48,
	FINALIZE = 49,
	TYPE_WORDS = 51 /* what every version has */
};

#define STATIC_BUILTIN (1u << 1)
#define BASETYPE (1u << 10)
#define VALID_VERSION_TAG (1u << 19)

/*
 * A plain object with a tp_del. Its type is written by hand, so that no list of subclasses knows it; as a copy of
 * `object` it is good for whatever a program may do with what gc.get_objects() gave it.
 */
static uintptr_t witness_type[TYPE_WORDS + 16]; /* later versions have more, all zero in a type like this */
static struct {
	struct gcs_gc_head head;
	Py_ssize_t refcount;
	void *type;
} witness __attribute__((aligned(16)));

static struct gcs_gc_head *mark; /* a list that holds itself */
static gcs_decoy_found *found;
static bool shown;

/* ---- lists ---- */

static void set_link(uintptr_t *link, const struct gcs_gc_head *to)
{
	*link = (*link & ~GCS_LINK_MASK) | (uintptr_t)to;
}

static void insert_behind(struct gcs_gc_head *g, struct gcs_gc_head *before)
{
	struct gcs_gc_head *after = gcs_gc_next(before);

	g->next = (uintptr_t)after;
	g->prev = (uintptr_t)before;
	set_link(&before->next, g);
	set_link(&after->prev, g);
}

/* Its own links stay: the collector may go on from them. */
static void unlink_head(const struct gcs_gc_head *g)
{
	set_link(&gcs_gc_prev(g)->next, gcs_gc_next(g));
	set_link(&gcs_gc_next(g)->prev, gcs_gc_prev(g));
}

static void untrack(struct gcs_gc_head *g)
{
	g->next = g->prev = 0;
}

/* ---- the witness ---- */

static bool near(const struct gcs_gc_head *a, const struct gcs_gc_head *b)
{
	return (uintptr_t)a - (uintptr_t)b + NEAR < 2 * NEAR;
}

static void show(struct gcs_gc_head *legacy)
{
	struct gcs_gc_head *garbage = gcs_gc_prev(mark);

	if (!near(garbage, legacy) || gcs_gc_next(garbage) != mark || !(mark->prev & GCS_COLLECTING))
		return;
	unlink_head(&witness.head);
	unlink_head(mark);
	untrack(mark);
	shown = true;
	found(garbage, legacy);
}

/*
 * Called by the collector to count references (its argument is then the object), by gc.get_referrers() (a tuple),
 * and in the moment that matters with the list whose first the witness is.
 */
static int traverse(PyObject *self, int (*visit)(PyObject *, void *), void *arg)
{
	if (!shown && mark->next && arg == gcs_gc_prev(&witness.head) && gcs_gc_next(arg) == &witness.head) {
		show(arg);
		return 0;
	}
	return visit(self, arg);
}

static void del(PyObject *self)
{
	(void)self; /* never called: nothing frees the witness */
}

/* Without one from 3.12 on, where the dictionaries of built-in types are the interpreter's, dir() of it raises. */
static bool make_witness(void)
{
	uintptr_t *t = witness_type;
	PyObject *dict = py.PyDict_New();

	if (!dict)
		return false;
	py.PyObject_GC_UnTrack(dict);
	memcpy(t, py.PyBaseObject_Type, TYPE_WORDS * sizeof(*t));
	if (py.minor < 12)
		t[REFCOUNT] = 1u << 30; /* later it is immortal, as the original */
	t[NAME] = (uintptr_t) "gcscope.witness";
	t[BASICSIZE] = sizeof(witness) - sizeof(witness.head);
	t[FLAGS] = (t[FLAGS] & ~(uintptr_t)(STATIC_BUILTIN | BASETYPE | VALID_VERSION_TAG)) | GCS_HAVE_GC;
	t[TRAVERSE] = (uintptr_t)traverse;
	t[BASE] = (uintptr_t)py.PyBaseObject_Type;
	t[DICT] = (uintptr_t)dict;
	t[DEL] = (uintptr_t)del;
	t[CLEAR] = t[CACHE] = t[SUBCLASSES] = t[WEAKLIST] = t[VERSION_TAG] = t[FINALIZE] = 0;
	witness.refcount = 1; /* its own */
	witness.type = t;
	return true;
}

bool gcs_decoy_make_gil(gcs_decoy_found *call)
{
	PyObject *list = py.PyList_New(0);

	if (!list || py.PyList_Append(list, list) || !make_witness()) {
		py.PyErr_Clear();
		return false;
	}
	py.PyObject_GC_UnTrack(list);
	py.Py_DecRef(list); /* the one left is its own */
	mark = (struct gcs_gc_head *)list - 1;
	found = call;
	return true;
}

/* ---- a collection ---- */

void gcs_decoy_set_gil(int generation)
{
	struct gcs_gc_head *list = gcs_layout.list[generation];

	if (mark->next)
		gcs_decoy_withdraw_gil(); /* the last collection had no stop for us */
	shown = false;
	insert_behind(mark, list);
	insert_behind(&witness.head, list);
}

bool gcs_decoy_withdraw_gil(void)
{
	if (!shown) {
		unlink_head(&witness.head);
		unlink_head(mark);
		untrack(mark);
	}
	untrack(&witness.head);
	return shown;
}
