/* SPDX-License-Identifier: Apache-2.0 */
#include "layout.h"

#include <stdio.h>
#include <string.h>

#include "builtin.h"
#include "disabled.h"
#include "gcscope/protocol.h"
#include "gcstate.h"
#include "sizes.h"
#include "unicode.h"
#include "utf8.h"

#define CLASS_KEYS_MAX 256 /* of a class that are looked at */
#define TEXT_SIZE (GCS_NAME_MAX + 1 + GCS_UTF8_MAX)

struct gcs_layout gcs_layout;

static PyObject *name_module;

static PyObject *call1(PyObject *callable, PyObject *arg)
{
	return py.PyObject_CallFunctionObjArgs(callable, arg, NULL);
}

/* An int attribute or result as a long, dropping the reference; -1 on any failure. */
static long take_long(PyObject *o)
{
	long v = -1;

	if (o) {
		v = py.PyLong_AsLong(o);
		py.Py_DecRef(o);
	}
	py.PyErr_Clear();
	return v;
}

static long attr_long(PyObject *o, const char *name)
{
	return take_long(py.PyObject_GetAttrString(o, name));
}

static uint64_t hash_text(const char *s)
{
	uint64_t h = 14695981039346656037ull;

	for (size_t i = 0; i < GCS_NAME_MAX && s[i]; i++)
		h = (h ^ (unsigned char)s[i]) * 1099511628211ull;
	return h;
}

/* ---- types ---- */

static bool type_fields_agree(PyObject *type, const char *name)
{
	const char *tp_name = gcs_load_ptr(type, gcs_layout.tp_name);
	PyObject *mro = py.PyObject_GetAttrString(type, "__mro__");
	bool same_mro = mro == gcs_load_ptr(type, gcs_layout.tp_mro);

	py.Py_DecRef(mro);
	return !strcmp(tp_name, name) && same_mro &&
	       (long)(intptr_t)gcs_load_ptr(type, gcs_layout.tp_basicsize) ==
		       attr_long(type, "__basicsize__") &&
	       (long)(intptr_t)gcs_load_ptr(type, gcs_layout.tp_itemsize) ==
		       attr_long(type, "__itemsize__") &&
	       gcs_type_flags(type) == py.PyType_GetFlags(type);
}

/* A class written in Python that every interpreter has from its first moment. */
PyObject *gcs_some_heap_type_gil(void)
{
	PyObject *modules = py.PyImport_GetModuleDict();
	PyObject *bootstrap = modules ? py.PyDict_GetItemString(modules, "_frozen_importlib") : NULL;
	PyObject *spec = bootstrap ? py.PyObject_GetAttrString(bootstrap, "ModuleSpec") : NULL;

	if (!spec)
		py.PyErr_Clear();
	return spec;
}

/*
 * ht_name, ht_slots, ht_qualname stand in this order behind a size that grew over the versions: look
 * for the two objects that __name__ and __qualname__ return, two words apart.
 */
static uint16_t find_qualname(PyObject *heap_type, long type_size)
{
	PyObject *name = py.PyObject_GetAttrString(heap_type, "__name__");
	PyObject *qualname = py.PyObject_GetAttrString(heap_type, "__qualname__");
	uint16_t found = 0;

	for (long off = gcs_layout.tp_mro + 8; name && qualname && off + 24 <= type_size; off += 8)
		if (gcs_load_ptr(heap_type, off) == name &&
		    gcs_load_ptr(heap_type, off + 16) == qualname) {
			found = off + 16;
			break;
		}
	py.Py_DecRef(name);
	py.Py_DecRef(qualname);
	py.PyErr_Clear();
	return found;
}

/*
 * The object that a class's dict has for "__module__", or NULL. Not looked up: a dict that holds a key of another
 * class, equal by hash, would call its __eq__. A class body puts the key first, type() last.
 */
static PyObject *module_of(const void *dict)
{
	PyObject *key, *value;
	Py_ssize_t place = 0;

	for (int i = 0; i < CLASS_KEYS_MAX && py.PyDict_Next((PyObject *)dict, &place, &key, &value); i++)
		if (key == name_module || gcs_unicode_is_gil(key, "__module__"))
			return value;
	return NULL;
}

static bool heap_type_agrees(PyObject *heap_type)
{
	PyObject *dict = gcs_load_ptr(heap_type, gcs_layout.tp_dict);
	PyObject *module = py.PyObject_GetAttrString(heap_type, "__module__");
	bool ok = dict && gcs_type_of(dict) == py.PyDict_Type && module && module_of(dict) == module;

	py.Py_DecRef(module);
	py.PyErr_Clear();
	return ok;
}

static void probe_types(PyObject *list)
{
	struct gcs_layout *l = &gcs_layout;
	PyObject *heap_type;
	uint16_t base;

	if (gcs_load_ptr(list, GCS_OB_TYPE) == py.PyList_Type)
		l->ob_type = GCS_OB_TYPE;
	else if (gcs_load_ptr(list, GCS_OB_TYPE_FREE_THREADED) == py.PyList_Type)
		l->ob_type = GCS_OB_TYPE_FREE_THREADED;
	else {
		gcs_disable("types", "the type of an object stands at no known place");
		return;
	}
	base = l->ob_type + 16; /* PyVarObject */
	l->tp_name = base;
	l->tp_basicsize = base + 8;
	l->tp_itemsize = base + 16;
	l->tp_flags = base + 144;
	l->tp_dict = base + 240;
	l->tp_mro = base + 320;
	l->tp_version_tag = base + 360;
	if (!type_fields_agree(py.PyList_Type, "list") || !type_fields_agree(py.PyDict_Type, "dict") ||
	    !type_fields_agree(py.PyTuple_Type, "tuple")) {
		gcs_disable("types", "the fields of a type do not verify");
		return;
	}
	heap_type = gcs_some_heap_type_gil();
	if (!heap_type || !heap_type_agrees(heap_type)) {
		gcs_disable("types", "the dict of a class does not verify");
		return;
	}
	l->ht_qualname = find_qualname(heap_type, attr_long(py.PyType_Type, "__basicsize__"));
	py.Py_DecRef(heap_type);
	if (!l->ht_qualname) {
		gcs_disable("types", "the qualified name of a class was not found");
		return;
	}
	l->types = true;
}

static uint64_t mix(uint64_t h, const void *p)
{
	h = (h ^ (uintptr_t)p) * 0x9E3779B97F4A7C15ull;
	return h ^ h >> 29;
}

static uint64_t full_identity(PyObject *type, unsigned long flags)
{
	const struct gcs_layout *l = &gcs_layout;
	uint64_t h = mix(hash_text(gcs_load_ptr(type, l->tp_name)), gcs_load_ptr(type, l->tp_name));
	const void *dict = gcs_load_ptr(type, l->tp_dict);

	h = mix(h, gcs_load_ptr(type, l->tp_mro));
	if (!(flags & GCS_TPFLAG_HEAPTYPE))
		return h;
	h = mix(h, gcs_load_ptr(type, l->ht_qualname));
	h = mix(h, dict);
	return mix(h, dict ? module_of(dict) : NULL);
}

/*
 * A valid version tag has been given to this type alone, and goes when anything in it is assigned to: with
 * the name's address it is identity enough, at a tenth of the price.
 */
uint64_t gcs_type_identity_gil(PyObject *type)
{
	const struct gcs_layout *l = &gcs_layout;
	unsigned long flags = gcs_type_flags(type);
	uint32_t tag = *(const uint32_t *)((const char *)type + l->tp_version_tag);

	if ((flags & GCS_TPFLAG_VALID_VERSION_TAG) && tag)
		return mix(tag, gcs_load_ptr(type, l->tp_name));
	return full_identity(type, flags);
}

/* From 3.13 on any tag but 0 is valid. It outlives the qualified name (3.14). */
uint64_t gcs_type_identity_stopped(PyObject *type)
{
	const struct gcs_layout *l = &gcs_layout;
	uint32_t tag = *(const uint32_t *)((const char *)type + l->tp_version_tag);

	if (!tag)
		return 0;
	if (gcs_type_flags(type) & GCS_TPFLAG_HEAPTYPE)
		return mix(mix(tag, gcs_load_ptr(type, l->tp_name)), gcs_load_ptr(type, l->ht_qualname));
	return mix(tag, gcs_load_ptr(type, l->tp_name));
}

/* An exact str into out, or NULL. When it is cut, a name with it in is too long. */
static const char *text_of(PyObject *o, char out[TEXT_SIZE])
{
	if (!o || gcs_type_of(o) != py.PyUnicode_Type)
		return NULL;
	gcs_unicode_begin_gil(o, out, TEXT_SIZE);
	return out;
}

/* Cuts at a character's border and says so with "...". */
static void copy_name(char *out, size_t size, const char *module, const char *name)
{
	size_t n;

	if (size > GCS_NAME_MAX + 1)
		size = GCS_NAME_MAX + 1;
	/* Not further than that: a name may have megabytes. */
	n = (size_t)snprintf(out, size, "%.*s%s%.*s", (int)size, module ? module : "", module ? "." : "", (int)size,
			     name);
	if (n < size)
		return;
	n = size - 4;
	while (n > 0 && ((unsigned char)out[n] & 0xC0) == 0x80)
		n--;
	memcpy(out + n, "...", 4);
}

/* A new reference. The dict is locked, as whoever assigns to the class locks it. */
static PyObject *module_free_threaded(PyObject *dict)
{
	uintptr_t section[4] = {0};
	PyObject *module;

	if (!dict)
		return NULL;
	py.PyCriticalSection_Begin(section, dict);
	module = module_of(dict);
	py.Py_IncRef(module);
	py.PyCriticalSection_End(section);
	return module;
}

/*
 * The names of a class, or NULL: borrowed, since a census writes to no reference count, but for a free-threaded
 * build (true), where other threads may be assigning to them.
 */
static bool names_of(PyObject *type, PyObject **module, PyObject **qualname)
{
	PyObject *dict = gcs_load_ptr(type, gcs_layout.tp_dict);

	if (!py.free_threaded) {
		*module = dict ? module_of(dict) : NULL;
		*qualname = gcs_load_ptr(type, gcs_layout.ht_qualname);
		return false;
	}
	*module = module_free_threaded(dict);
	*qualname = py.PyType_GetQualName(type);
	return true;
}

void gcs_type_name_gil(PyObject *type, char *out, size_t size)
{
	const struct gcs_layout *l = &gcs_layout;
	const char *tp_name = gcs_load_ptr(type, l->tp_name);
	PyObject *error[3], *module_object, *qualname_object;
	char module_text[TEXT_SIZE], qualname_text[TEXT_SIZE];
	const char *module, *qualname;
	bool owned;

	if (!(gcs_type_flags(type) & GCS_TPFLAG_HEAPTYPE)) {
		if (!strncmp(tp_name, "builtins.", 9))
			tp_name += 9;
		copy_name(out, size, NULL, tp_name);
		return;
	}
	/* The C API must not meet, nor lose, an exception that is under way in this thread. */
	py.PyErr_Fetch(&error[0], &error[1], &error[2]);
	owned = names_of(type, &module_object, &qualname_object);
	module = text_of(module_object, module_text);
	qualname = text_of(qualname_object, qualname_text);
	if (module && !strcmp(module, "builtins"))
		module = NULL;
	copy_name(out, size, module, qualname ? qualname : tp_name);
	if (owned) {
		py.Py_DecRef(module_object);
		py.Py_DecRef(qualname_object);
	}
	py.PyErr_Restore(error[0], error[1], error[2]);
}

/* ---- sizes ---- */

/* From 3.11 on these have an item size, but another member where a var object has its length. */
static bool has_no_length(PyObject *type)
{
	const char *name = gcs_load_ptr(type, gcs_layout.tp_name);

	return py.minor >= 11 && (!strcmp(name, "generator") || !strcmp(name, "coroutine") ||
				  !strcmp(name, "async_generator") || !strcmp(name, "frame"));
}

void gcs_type_shape_gil(PyObject *type, struct gcs_type_shape *out)
{
	const struct gcs_layout *l = &gcs_layout;
	unsigned long flags = gcs_type_flags(type);
	uint32_t item = (uint32_t)(uintptr_t)gcs_load_ptr(type, l->tp_itemsize);

	*out = (struct gcs_type_shape){.basic = (uint32_t)(uintptr_t)gcs_load_ptr(type, l->tp_basicsize)};
	if ((flags & GCS_TPFLAG_HAVE_GC) && !py.free_threaded)
		out->basic += sizeof(struct gcs_gc_head);
	if (flags & (GCS_TPFLAG_MANAGED_WEAKREF | GCS_TPFLAG_MANAGED_DICT))
		out->basic += 16;
	if (flags & GCS_TPFLAG_LONG) {
		out->kind = GCS_SIZE_INT;
	} else if (flags & GCS_TPFLAG_LIST) {
		out->item = l->size_list ? 8 : 0;
		out->offset = GCS_LIST_ALLOCATED;
	} else if (flags & GCS_TPFLAG_DICT) {
		out->kind = l->size_dict ? GCS_SIZE_DICT : GCS_SIZE_PLAIN;
	} else if (type == py.PySet_Type || type == py.PyFrozenSet_Type) {
		out->kind = l->size_set ? GCS_SIZE_SET : GCS_SIZE_PLAIN;
	} else if (item && !has_no_length(type)) {
		out->item = item;
		out->offset = GCS_OB_SIZE;
	}
}

static bool size_agrees(PyObject *getsizeof, PyObject *o)
{
	struct gcs_type_shape shape;

	gcs_type_shape_gil(gcs_type_of(o), &shape);
	return (long)(shape.basic + gcs_size_items_hot(gcs_sized(o), &shape) +
		      gcs_size_rest_hot(gcs_sized(o), shape.kind)) == take_long(call1(getsizeof, o));
}

/* Tries a container at several fillings; `add` puts the int i into it. */
static bool container_agrees(PyObject *getsizeof, PyObject *o, void (*add)(PyObject *, long))
{
	bool ok = o != NULL;

	for (long i = 0; ok && i <= 300; i++) {
		if (i == 0 || i == 3 || i == 9 || i == 300)
			ok = size_agrees(getsizeof, o);
		add(o, i);
	}
	py.Py_DecRef(o);
	return ok;
}

static void add_to_list(PyObject *list, long i)
{
	PyObject *v = py.PyLong_FromLong(i);

	if (!v || py.PyList_Append(list, v))
		py.PyErr_Clear(); /* then the sizes differ */
	py.Py_DecRef(v);
}

static void add_to_set(PyObject *set, long i)
{
	PyObject *v = py.PyLong_FromLong(i);

	if (!v || py.PySet_Add(set, v))
		py.PyErr_Clear();
	py.Py_DecRef(v);
}

static void add_to_dict(PyObject *dict, long i)
{
	PyObject *v = py.PyLong_FromLong(i);
	char key[16];

	snprintf(key, sizeof(key), "k%ld", i);
	if (!v || py.PyDict_SetItemString(dict, key, v))
		py.PyErr_Clear();
	py.Py_DecRef(v);
}

/* Each formula is switched on, tried, and off again when sys.getsizeof() disagrees. */
static void probe_sizes(void)
{
	struct gcs_layout *l = &gcs_layout;
	PyObject *sys = gcs_builtin_module_gil("sys", false);
	PyObject *getsizeof = sys ? py.PyObject_GetAttrString(sys, "getsizeof") : NULL;

	if (!getsizeof) {
		py.PyErr_Clear();
		gcs_disable("container_sizes", "there is no sys.getsizeof to verify them with");
		return;
	}
	l->size_list = l->size_dict = l->size_set = true;
	l->size_list = container_agrees(getsizeof, py.PyList_New(0), add_to_list);
	l->size_dict = container_agrees(getsizeof, py.PyDict_New(), add_to_dict);
	l->size_set = container_agrees(getsizeof, py.PySet_New(NULL), add_to_set);
	if (!l->size_list || !l->size_dict || !l->size_set)
		gcs_disable("container_sizes", "the buffers of %s%s%sdo not verify",
			    l->size_list ? "" : "list ", l->size_dict ? "" : "dict ",
			    l->size_set ? "" : "set ");
	py.Py_DecRef(getsizeof);
	py.Py_DecRef(sys);
}

/* ---- the whole ---- */

/* Of PyType_GetSlot(). */
enum { SLOT_BASE = 48, SLOT_CLEAR = 51, SLOT_DEL = 53, SLOT_IS_GC = 61, SLOT_TRAVERSE = 71 };

static bool slots_hold(void)
{
	PyObject *t = gcs_some_heap_type_gil();
	bool ok = t && gcs_type_word(t, GCS_TP_TRAVERSE) == py.PyType_GetSlot(t, SLOT_TRAVERSE) &&
		  gcs_type_word(t, GCS_TP_BASE) == py.PyType_GetSlot(t, SLOT_BASE) &&
		  gcs_type_word(t, GCS_TP_CLEAR) == py.PyType_GetSlot(t, SLOT_CLEAR) &&
		  gcs_type_word(t, GCS_TP_IS_GC) == py.PyType_GetSlot(t, SLOT_IS_GC) &&
		  gcs_type_word(t, GCS_TP_DEL) == py.PyType_GetSlot(t, SLOT_DEL);

	py.Py_DecRef(t);
	return ok;
}

bool gcs_layout_probe_gil(PyObject *gc)
{
	PyObject *list = py.PyList_New(0);
	const char *why = NULL;
	bool busy = false;

	name_module = py.PyUnicode_InternFromString("__module__");
	if (!list || !name_module) {
		py.PyErr_Clear();
		gcs_disable("types", "no memory at attach");
		return true;
	}
	probe_types(list);
	py.Py_DecRef(list);
	if (py.free_threaded)
		why = "a free-threaded build has none: the world is stopped for a whole census";
	else if (!gcs_layout.types || gcs_layout.ob_type != GCS_OB_TYPE)
		why = "the types do not verify";
	else
		why = gcs_gcstate_probe_lists_gil(gc, &busy);
	if (busy)
		return false;
	if (why)
		gcs_disable("gc_lists", "%s", why);
	gcs_layout.slots = gcs_layout.lists && slots_hold();
	why = py.free_threaded && gcs_layout.types ? gcs_gcstate_probe_counters_gil(gc) : NULL;
	if (why)
		gcs_disable("gc_counters", "%s", why);
	if (gcs_layout.lists || gcs_layout.counters)
		probe_sizes();
	return true;
}
