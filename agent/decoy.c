/* SPDX-License-Identifier: Apache-2.0 */
#include "decoy.h"

#include <string.h>

#define NEAR 4096 /* both lists' heads are variables of one function of the collector */
#define AROUND 1024 /* objects that a start callback may have brought between a decoy and the head of its list */

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
	NEW = 39,
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

/*
 * Two plain objects, the witness with a tp_del. Their types are written by hand, so that no list of subclasses knows
 * them; as copies of `object` they are good for whatever a program may do with what gc.get_objects() gave it, but
 * that there will be no more of them. Nothing frees them: neither has a tp_clear.
 */
struct decoy {
	struct gcs_gc_head head;
	Py_ssize_t refcount; /* each has the other's reference */
	void *type;
};

#define SPARE 16 /* words: later versions have more, all zero in types like these */
static uintptr_t witness_type[TYPE_WORDS + SPARE], mark_type[TYPE_WORDS + SPARE];
static struct decoy witness __attribute__((aligned(16))), mark __attribute__((aligned(16)));

static gcs_decoy_found *found;
static bool shown, set;

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

static void unlink_head(const struct gcs_gc_head *g)
{
	set_link(&gcs_gc_prev(g)->next, gcs_gc_next(g));
	set_link(&gcs_gc_next(g)->prev, gcs_gc_prev(g));
}

static void take_out(void)
{
	set = false;
	unlink_head(&witness.head);
	unlink_head(&mark.head);
	witness.head = mark.head = (struct gcs_gc_head){0, 0};
}

static bool near(const struct gcs_gc_head *a, const struct gcs_gc_head *b)
{
	return (uintptr_t)a - (uintptr_t)b + NEAR < 2 * NEAR;
}

/* ---- the two ---- */

/*
 * The collector asks the list of objects with a legacy finalizer, whose head this is, what they refer to: the
 * witness has left those that it counts references of, where links are no links, and the mark has not.
 */
static bool is_the_moment(const void *head)
{
	const struct gcs_gc_head *g = &witness.head;

	if (!set || witness.head.prev & GCS_COLLECTING || !(mark.head.prev & GCS_COLLECTING))
		return false;
	for (int i = 0; i < AROUND && g != head; i++)
		g = gcs_gc_prev(g);
	return g == head;
}

static struct gcs_gc_head *find_garbage(const struct gcs_gc_head *legacy)
{
	struct gcs_gc_head *g = gcs_gc_prev(&mark.head);

	for (int i = 0; i < AROUND && !near(g, legacy); i++)
		g = gcs_gc_prev(g);
	return near(g, legacy) ? g : NULL;
}

/* In time for neither of them to be counted, printed or kept, whatever is found. */
static void show(struct gcs_gc_head *legacy)
{
	struct gcs_gc_head *garbage = find_garbage(legacy), links = witness.head;

	take_out();
	witness.head = links; /* from which the collector goes on */
	shown = garbage != NULL;
	if (shown)
		found(garbage, legacy);
}

/*
 * Called by the collector to count references (its argument is then the object), by gc.get_referrers() (a tuple),
 * and in the moment that matters with a list's head.
 */
static int traverse(PyObject *self, int (*visit)(PyObject *, void *), void *arg)
{
	if (self == (PyObject *)&witness.refcount && is_the_moment(arg)) {
		show(arg);
		return 0;
	}
	return visit((PyObject *)(self == (PyObject *)&witness.refcount ? &mark.refcount : &witness.refcount), arg);
}

static void del(PyObject *self)
{
	(void)self; /* never called: nothing frees the witness */
}

static void make(struct decoy *d, uintptr_t *t, const char *name, PyObject *dict)
{
	memcpy(t, py.PyBaseObject_Type, TYPE_WORDS * sizeof(*t));
	if (py.minor < 12)
		t[REFCOUNT] = 1u << 30; /* later it is immortal, as the original */
	t[NAME] = (uintptr_t)name;
	t[BASICSIZE] = sizeof(*d) - sizeof(d->head);
	t[FLAGS] &= ~(uintptr_t)(STATIC_BUILTIN | BASETYPE | GCS_TPFLAG_VALID_VERSION_TAG);
	t[FLAGS] |= GCS_TPFLAG_HAVE_GC;
	t[TRAVERSE] = (uintptr_t)traverse;
	t[BASE] = (uintptr_t)py.PyBaseObject_Type;
	t[DICT] = (uintptr_t)dict;
	t[NEW] = t[CLEAR] = t[CACHE] = t[SUBCLASSES] = t[WEAKLIST] = t[DEL] = t[VERSION_TAG] = t[FINALIZE] = 0;
	d->refcount = 1;
	d->type = t;
}

bool gcs_decoy_make_gil(gcs_decoy_found *call)
{
	/* Without one from 3.12 on, where the dictionaries of built-in types are the interpreter's, dir() of it raises. */
	PyObject *dict = py.PyDict_New();

	if (!dict) {
		py.PyErr_Clear();
		return false;
	}
	py.PyObject_GC_UnTrack(dict);
	make(&witness, witness_type, "gcscope.witness", dict);
	make(&mark, mark_type, "gcscope.mark", dict);
	witness_type[DEL] = (uintptr_t)del;
	found = call;
	return true;
}

/* ---- a collection ---- */

void gcs_decoy_set_gil(int generation)
{
	struct gcs_gc_head *list = gcs_layout.list[generation];

	if (set)
		take_out(); /* the last collection had no stop for us */
	shown = false;
	set = true;
	insert_behind(&mark.head, list);
	insert_behind(&witness.head, list);
}

enum gcs_decoy_end gcs_decoy_withdraw_gil(void)
{
	if (set)
		take_out();
	witness.head = (struct gcs_gc_head){0, 0};
	if (shown)
		return GCS_DECOY_SHOWN;
	return witness.refcount == 1 && mark.refcount == 1 ? GCS_DECOY_MISSED : GCS_DECOY_KEPT;
}
