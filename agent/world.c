/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "gil.h"
#include "hook.h"
#include "layout.h"
#include "sizes.h"

#define VERIFY_MAX 50000 /* a heap with more objects is not compared at attach */
#define VERIFY_TRIES 5   /* other threads may be busy meanwhile */

static PyObject *get_freeze_count;

/* ---- counting ---- */

struct walk {
	struct gcs_types *types;
	struct gcs_world_count *out;
	bool even_then, begun, collecting;
};

/* With the world stopped. */
static int count(PyObject *object, void *arg)
{
	struct walk *w = arg;
	PyObject *type = gcs_type_of(object);
	struct gcs_type_entry *e = gcs_types_hit_hot(w->types, type);

	if (!w->begun) {
		w->begun = true;
		w->collecting = !w->even_then && gcs_hook_collecting();
	}
	if (w->collecting)
		return 0;
	w->out->objects++;
	if (!e && !(e = gcs_types_meet_stopped(w->types, type))) {
		w->out->unnamed++;
		return 1;
	}
	e->count++;
	e->extra += gcs_size_items_hot(gcs_sized(object), &e->shape);
	if (e->shape.kind != GCS_SIZE_PLAIN)
		e->extra += gcs_size_rest_hot(gcs_sized(object), e->shape.kind);
	return 1;
}

static uint64_t count_frozen(void)
{
	PyObject *r = py.PyObject_CallObject(get_freeze_count, NULL);
	long n = r ? py.PyLong_AsLong(r) : 0;

	py.Py_DecRef(r);
	py.PyErr_Clear();
	return n > 0 ? (uint64_t)n : 0;
}

bool gcs_world_count_gil(struct gcs_types *types, struct gcs_series *names, bool even_then,
			 struct gcs_world_count *out)
{
	struct walk w = {.types = types, .out = out, .even_then = even_then};
	int64_t began = gcs_now_ns();

	memset(out, 0, sizeof(*out));
	py.PyUnstable_GC_VisitObjects(count, &w);
	if (!w.collecting)
		out->frozen = count_frozen();
	out->pause_ns = (uint64_t)(gcs_now_ns() - began);
	gcs_gil_stopped_world(out->pause_ns);
	gcs_types_settle_gil(types, names);
	return !w.collecting;
}

/* ---- attach ---- */

struct trial {
	const PyObject *known;
	long objects, seen;
	bool sane;
};

static int try_object(PyObject *object, void *arg)
{
	struct trial *t = arg;

	if (object == t->known) {
		t->seen++;
		t->sane = gcs_type_of(object) == py.PyList_Type;
	}
	return ++t->objects < VERIFY_MAX;
}

static long api_length(PyObject *gc)
{
	PyObject *get_objects = py.PyObject_GetAttrString(gc, "get_objects");
	PyObject *list = get_objects ? py.PyObject_CallObject(get_objects, NULL) : NULL;
	long n = list ? (long)py.PyList_Size(list) : -1;

	py.Py_DecRef(list);
	py.Py_DecRef(get_objects);
	py.PyErr_Clear();
	return n;
}

/* Is a fresh list met once, and are there as many objects as the gc module says? */
static bool visits_agree(PyObject *gc)
{
	struct trial t = {.known = py.PyList_New(0)};

	if (!t.known)
		return false;
	py.PyUnstable_GC_VisitObjects(try_object, &t);
	py.Py_DecRef((PyObject *)(uintptr_t)t.known);
	if (t.objects == VERIFY_MAX)
		return t.seen <= 1;
	return t.seen == 1 && t.sane && labs(t.objects - api_length(gc)) <= 4;
}

const char *gcs_world_probe_gil(PyObject *gc)
{
	bool agree = false;

	if (!gcs_layout.types)
		return "the types do not verify";
	if (!gcs_layout.collecting)
		return "the flag that says that a collection is under way was not found";
	if (!py.PyUnstable_GC_VisitObjects || !py.PyType_GetQualName || !py.PyCriticalSection_Begin ||
	    !py.PyCriticalSection_End)
		return "the C API has no way to visit the objects of this build";
	get_freeze_count = py.PyObject_GetAttrString(gc, "get_freeze_count");
	if (!get_freeze_count) {
		py.PyErr_Clear();
		return "there is no gc.get_freeze_count()";
	}
	for (int i = 0; i < VERIFY_TRIES && !agree; i++)
		agree = visits_agree(gc);
	return agree ? NULL : "what is visited is not what gc.get_objects() gives";
}
