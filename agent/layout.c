/* SPDX-License-Identifier: Apache-2.0 */
#include "layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "builtin.h"
#include "disabled.h"
#include "gcscope/protocol.h"
#include "peek.h"
#include "sizes.h"

/* Py_TPFLAGS_*: part of the stable ABI, except the two of the pre-header (3.11+, unused before). */
#define TPFLAG_PREHEADER ((1ul << 3) | (1ul << 4))
#define TPFLAG_HEAPTYPE (1ul << 9)
#define TPFLAG_VALID_VERSION_TAG (1ul << 19)
#define TPFLAG_LONG_SUBCLASS (1ul << 24)
#define TPFLAG_LIST_SUBCLASS (1ul << 25)
#define TPFLAG_DICT_SUBCLASS (1ul << 29)
#define TPFLAG_TYPE_SUBCLASS (1ul << 31)

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
	       (unsigned long)(uintptr_t)gcs_load_ptr(type, gcs_layout.tp_flags) ==
		       py.PyType_GetFlags(type);
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

static bool heap_type_agrees(PyObject *heap_type)
{
	PyObject *dict = gcs_load_ptr(heap_type, gcs_layout.tp_dict);
	PyObject *module = py.PyObject_GetAttrString(heap_type, "__module__");
	bool ok = dict && gcs_type_of(dict) == py.PyDict_Type && module &&
		  py.PyDict_GetItemWithError(dict, name_module) == module;

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

/* The object that a class's dict has for "__module__", or NULL. Keys are strings: no Python code runs. */
static PyObject *module_of(const void *dict)
{
	PyObject *module = py.PyDict_GetItemWithError((PyObject *)dict, name_module);

	if (!module && py.PyErr_Occurred())
		py.PyErr_Clear();
	return module;
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
	if (!(flags & TPFLAG_HEAPTYPE))
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
	unsigned long flags = (uintptr_t)gcs_load_ptr(type, l->tp_flags);
	uint32_t tag = *(const uint32_t *)((const char *)type + l->tp_version_tag);

	if ((flags & TPFLAG_VALID_VERSION_TAG) && tag)
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
	if ((uintptr_t)gcs_load_ptr(type, l->tp_flags) & TPFLAG_HEAPTYPE)
		return mix(mix(tag, gcs_load_ptr(type, l->tp_name)), gcs_load_ptr(type, l->ht_qualname));
	return mix(tag, gcs_load_ptr(type, l->tp_name));
}

/* The UTF-8 of an exact str, or NULL. */
static const char *text_of(PyObject *o)
{
	const char *s = NULL;

	if (o && gcs_type_of(o) == py.PyUnicode_Type)
		s = py.PyUnicode_AsUTF8AndSize(o, NULL);
	py.PyErr_Clear(); /* lone surrogates */
	return s;
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

/*
 * The names of a class, or NULL: borrowed, since a census writes to no reference count, but for a free-threaded
 * build (true), where other threads may be assigning to them. What the C API gives there calls no metaclass.
 */
static bool names_of(PyObject *type, PyObject **module, PyObject **qualname)
{
	const void *dict = gcs_load_ptr(type, gcs_layout.tp_dict);

	if (!py.free_threaded) {
		*module = dict ? module_of(dict) : NULL;
		*qualname = gcs_load_ptr(type, gcs_layout.ht_qualname);
		return false;
	}
	*module = py.PyType_GetModuleName(type);
	*qualname = py.PyType_GetQualName(type);
	py.PyErr_Clear();
	return true;
}

void gcs_type_name_gil(PyObject *type, char *out, size_t size)
{
	const struct gcs_layout *l = &gcs_layout;
	const char *tp_name = gcs_load_ptr(type, l->tp_name);
	PyObject *error[3], *module_object, *qualname_object;
	const char *module, *qualname;
	bool owned;

	if (!((uintptr_t)gcs_load_ptr(type, l->tp_flags) & TPFLAG_HEAPTYPE)) {
		if (!strncmp(tp_name, "builtins.", 9))
			tp_name += 9;
		copy_name(out, size, NULL, tp_name);
		return;
	}
	/* The C API must not meet, nor lose, an exception that is under way in this thread. */
	py.PyErr_Fetch(&error[0], &error[1], &error[2]);
	owned = names_of(type, &module_object, &qualname_object);
	module = text_of(module_object);
	qualname = text_of(qualname_object);
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
	unsigned long flags = (uintptr_t)gcs_load_ptr(type, l->tp_flags);
	uint32_t item = (uint32_t)(uintptr_t)gcs_load_ptr(type, l->tp_itemsize);

	*out = (struct gcs_type_shape){.basic = (uint32_t)(uintptr_t)gcs_load_ptr(type, l->tp_basicsize)};
	if ((flags & GCS_HAVE_GC) && !py.free_threaded)
		out->basic += sizeof(struct gcs_gc_head);
	if (flags & TPFLAG_PREHEADER)
		out->basic += 16;
	if (flags & TPFLAG_LONG_SUBCLASS) {
		out->kind = GCS_SIZE_INT;
	} else if (flags & TPFLAG_LIST_SUBCLASS) {
		out->item = l->size_list ? 8 : 0;
		out->offset = GCS_LIST_ALLOCATED;
	} else if (flags & TPFLAG_DICT_SUBCLASS) {
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

/* ---- lists ---- */

#define INTERPRETER_SIZE 65536 /* how far into the interpreter's state the collector's is looked for */
#define GENERATIONS_BEFORE 48 /* words: how far before its flag the collector's generations are looked for */

static bool is_head(const struct gcs_gc_head *g)
{
	return (uintptr_t)g - gcs_layout.heads_lo < gcs_layout.heads_size;
}

/* Length of a list of at most max objects, checking that each link is answered; -1 when one is not. */
static long list_length(const struct gcs_gc_head *head, long max)
{
	const struct gcs_gc_head *g = gcs_gc_next(head), *before = head;
	long n = 0;

	while (g != head) {
		if (!g || is_head(g) || gcs_gc_prev(g) != before)
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
	PyObject *r = call1(get_objects, which);
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
 * Behind the permanent generation and the statistics stand `int collecting; PyObject *garbage, *callbacks;`: the
 * two lists are known.
 */
static const int *find_collecting(PyObject *gc, uintptr_t from, size_t size)
{
	PyObject *garbage = py.PyObject_GetAttrString(gc, "garbage");
	PyObject *callbacks = py.PyObject_GetAttrString(gc, "callbacks");
	const int *found = NULL;
	uintptr_t p = 0;

	if (garbage && callbacks)
		p = find_words(from, size, (uintptr_t)garbage, (uintptr_t)callbacks);
	if (p)
		found = (const int *)(p - 8);
	py.Py_DecRef(garbage);
	py.Py_DecRef(callbacks);
	py.PyErr_Clear();
	return found && (*found == 0 || *found == 1) ? found : NULL;
}

static const char *probe_lists(PyObject *gc, bool *busy)
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
 * Free-threaded builds: the collector's state stands in the interpreter's, the generations with their
 * thresholds and counts before the flag and the two lists.
 */
static const char *probe_counters(PyObject *gc)
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

/* Words of _Py_DebugOffsets, which _PyRuntime begins with, as 3.13 has them. */
enum { OFFSETS_COOKIE, OFFSETS_VERSION, OFFSETS_FREE_THREADED, OFFSETS_GC = 10, OFFSETS_GC_SIZE = 71, OFFSETS_WORDS = 73 };

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
bool gcs_layout_note_immortalize(void)
{
	const uintptr_t tail = 8 + 2 * 8 + 2 * 8;
	uintptr_t offsets[OFFSETS_WORDS], collecting, word;

	if (!py.free_threaded || py.minor != 13)
		return true;
	if (!py._PyRuntime || !py.PyInterpreterState_Main ||
	    !gcs_peek_words((uintptr_t)py._PyRuntime, offsets, OFFSETS_WORDS) ||
	    memcmp(&offsets[OFFSETS_COOKIE], "xdebugpy", 8) || offsets[OFFSETS_FREE_THREADED] != 1 ||
	    offsets[OFFSETS_GC_SIZE] != offsets[OFFSETS_GC_SIZE + 1] + tail + 8)
		return false;
	collecting = (uintptr_t)py.PyInterpreterState_Main() + offsets[OFFSETS_GC] + offsets[OFFSETS_GC_SIZE + 1];
	if (!is_list_at(collecting + 8) || !is_list_at(collecting + 16) || !gcs_peek(collecting + tail, &word) ||
	    (int)word > 1)
		return false;
	gcs_layout.immortalize = (int *)(collecting + tail);
	return true;
}

/* Of PyType_GetSlot(). */
enum { SLOT_CLEAR = 51, SLOT_DEL = 53, SLOT_IS_GC = 61, SLOT_TRAVERSE = 71 };

static bool slots_hold(void)
{
	PyObject *t = gcs_some_heap_type_gil();
	bool ok = t && gcs_load_ptr(t, GCS_SLOT_TRAVERSE) == py.PyType_GetSlot(t, SLOT_TRAVERSE) &&
		  gcs_load_ptr(t, GCS_SLOT_CLEAR) == py.PyType_GetSlot(t, SLOT_CLEAR) &&
		  gcs_load_ptr(t, GCS_SLOT_IS_GC) == py.PyType_GetSlot(t, SLOT_IS_GC) &&
		  gcs_load_ptr(t, GCS_SLOT_DEL) == py.PyType_GetSlot(t, SLOT_DEL);

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
		why = probe_lists(gc, &busy);
	if (busy)
		return false;
	if (why)
		gcs_disable("gc_lists", "%s", why);
	gcs_layout.slots = gcs_layout.lists && slots_hold();
	why = py.free_threaded && gcs_layout.types ? probe_counters(gc) : NULL;
	if (why)
		gcs_disable("gc_counters", "%s", why);
	if (gcs_layout.lists || gcs_layout.counters)
		probe_sizes();
	return true;
}
