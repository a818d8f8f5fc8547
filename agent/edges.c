/* SPDX-License-Identifier: Apache-2.0 */
#include "edges.h"

#include <string.h>

#include "disabled.h"
#include "edges-parts.h"

#define LIST_ITEMS (GCS_OB_TYPE + 16)

/* Of FutureObj, which TaskObj begins with. */
#define FUTURE_LOOP 16
#define FUTURE_CALLBACK 24
#define FUTURE_CALLBACKS 40
#define FUTURE_EXCEPTION 48

static struct {
	bool on, finalizers;
	void *class_dealloc; /* of every class written in Python */
	uint16_t closure;    /* in a function */
	uint16_t method_func;
	uint16_t function_name, generator_name;
} at;

/* ---- what an object is ---- */

/* A class written in Python: these share one tp_dealloc. */
static bool is_written_in_python(PyObject *type)
{
	return (gcs_type_flags(type) & GCS_TPFLAG_HEAPTYPE) &&
	       gcs_type_word(type, GCS_TP_DEALLOC) == at.class_dealloc;
}

static bool is_python_future(PyObject *type)
{
	static const char *const known[] = {"asyncio.futures.Future", "asyncio.tasks.Task",
					    "concurrent.futures._base.Future"};
	const char *name = gcs_load_ptr(type, gcs_layout.tp_name);
	char full[64];

	if (strcmp(name, "Future") && strcmp(name, "Task"))
		return false;
	gcs_type_name_gil(type, full, sizeof(full));
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(full, known[i]))
			return true;
	return false;
}

/* Or derived from it. A class written in Python may have any name. */
static bool is_a_c_type(PyObject *type, const char *name)
{
	while (type && (is_written_in_python(type) || strcmp(gcs_load_ptr(type, gcs_layout.tp_name), name)))
		type = gcs_type_word(type, GCS_TP_BASE);
	return type != NULL;
}

static bool is_c_future(PyObject *type)
{
	return gcs_type_basicsize(type) >= FUTURE_EXCEPTION + 8 &&
	       (is_a_c_type(type, "_asyncio.Future") || is_a_c_type(type, "_asyncio.Task"));
}

static bool is_future(PyObject *type)
{
	if (is_c_future(type))
		return true;
	for (; type; type = gcs_type_word(type, GCS_TP_BASE))
		if (is_python_future(type))
			return true;
	return false;
}

static enum gcs_step_kind kind_by_exact_type(PyObject *type)
{
	const struct {
		PyObject *type;
		enum gcs_step_kind kind;
	} known[] = {
		{py.PyMethod_Type, GCS_STEP_METHOD},       {py.PyFunction_Type, GCS_STEP_FUNCTION},
		{py.PyCell_Type, GCS_STEP_CELL},           {py.PyFrame_Type, GCS_STEP_FRAME},
		{py.PyTraceBack_Type, GCS_STEP_TRACEBACK}, {py.PyGen_Type, GCS_STEP_GENERATOR},
		{py.PyCoro_Type, GCS_STEP_GENERATOR},      {py.PyAsyncGen_Type, GCS_STEP_GENERATOR},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].type == type)
			return known[i].kind;
	return GCS_STEP_OTHER;
}

static enum gcs_step_kind kind_by_base(PyObject *type, unsigned long flags)
{
	if (is_future(type))
		return GCS_STEP_FUTURE;
	if (is_a_c_type(type, "functools.partial"))
		return GCS_STEP_PARTIAL;
	if (is_written_in_python(type))
		return GCS_STEP_INSTANCE;
	if (flags & GCS_TPFLAG_DICT)
		return GCS_STEP_DICT;
	if (flags & GCS_TPFLAG_LIST)
		return GCS_STEP_LIST;
	if (flags & GCS_TPFLAG_TUPLE)
		return GCS_STEP_TUPLE;
	if (gcs_is_set_type(type))
		return GCS_STEP_SET;
	return GCS_STEP_OTHER;
}

enum gcs_step_kind gcs_step_kind_gil(PyObject *obj)
{
	PyObject *type = gcs_type_of(obj);
	unsigned long flags;
	enum gcs_step_kind kind;

	if (!at.on)
		return GCS_STEP_OTHER;
	flags = gcs_type_flags(type);
	if (flags & GCS_TPFLAG_TYPE)
		return GCS_STEP_CLASS;
	if (flags & GCS_TPFLAG_EXCEPTION)
		return GCS_STEP_EXCEPTION;
	kind = kind_by_exact_type(type);
	return kind == GCS_STEP_OTHER ? kind_by_base(type, flags) : kind;
}

bool gcs_has_finalizer_gil(PyObject *obj)
{
	PyObject *type = gcs_type_of(obj);

	if (gcs_step_kind_gil(obj) == GCS_STEP_GENERATOR)
		return false; /* each has one, which does nothing unless it waits within a try or with */
	return at.finalizers && (gcs_type_word(type, GCS_TP_FINALIZE) || gcs_type_word(type, GCS_TP_DEL));
}

/* ---- names of objects ---- */

static bool write_name(PyObject *name, char *out, size_t size)
{
	if (!name || gcs_type_of(name) != py.PyUnicode_Type)
		return false;
	gcs_text_str_gil("", name, "", out, size);
	return true;
}

static PyObject *word_at(PyObject *obj, uint16_t offset)
{
	return offset ? gcs_load_ptr(obj, offset) : NULL;
}

static PyObject *name_of_class(PyObject *type)
{
	return gcs_type_flags(type) & GCS_TPFLAG_HEAPTYPE ? gcs_load_ptr(type, gcs_layout.ht_qualname) : NULL;
}

bool gcs_object_name_gil(PyObject *obj, char *out, size_t size)
{
	PyObject *code;

	out[0] = '\0';
	if (gcs_step_kind_gil(obj) == GCS_STEP_METHOD && !(obj = word_at(obj, at.method_func)))
		return false;
	switch (gcs_step_kind_gil(obj)) {
	case GCS_STEP_FUNCTION:
		return write_name(word_at(obj, at.function_name), out, size);
	case GCS_STEP_GENERATOR:
		return write_name(word_at(obj, at.generator_name), out, size);
	case GCS_STEP_CLASS:
		return write_name(name_of_class(obj), out, size);
	case GCS_STEP_FRAME:
		code = gcs_code_of(obj);
		return code && write_name(gcs_code_name(code), out, size);
	default:
		return false;
	}
}

/* ---- edges ---- */

PyObject *gcs_closure_tuple_gil(PyObject *obj)
{
	PyObject *closure = NULL;

	if (at.on && gcs_type_of(obj) == py.PyFunction_Type)
		closure = word_at(obj, at.closure);
	return closure && gcs_object_is(closure, GCS_TPFLAG_TUPLE) ? closure : NULL;
}

static bool item_name(PyObject *const *items, Py_ssize_t n, PyObject *to, char *out, size_t size)
{
	for (Py_ssize_t i = 0; i < n && i < GCS_EDGE_ITEMS_MAX; i++)
		if (items[i] == to) {
			gcs_text_index(i, out, size);
			return true;
		}
	return false;
}

static bool dict_item_name(PyObject *dict, PyObject *to, char *out, size_t size)
{
	bool is_key;
	PyObject *key = gcs_dict_key_of(dict, to, &is_key);

	if (key)
		gcs_text_key_gil(key, out, size);
	else if (is_key)
		gcs_text_plain("a key", "", out, size);
	return key || is_key;
}

/* A set and a deque have, besides their attributes, only items: what they refer to is one. */
static bool container_edge(PyObject *from, PyObject *to, char *out, size_t size)
{
	PyObject *type = gcs_type_of(from);
	unsigned long flags = gcs_type_flags(type);

	if (flags & GCS_TPFLAG_TUPLE)
		return item_name(gcs_tuple_items(from), gcs_length(from), to, out, size);
	if (flags & GCS_TPFLAG_LIST)
		return item_name(gcs_load_ptr(from, LIST_ITEMS), gcs_length(from), to, out, size);
	if ((flags & GCS_TPFLAG_DICT) || is_a_c_type(type, "frozendict"))
		return dict_item_name(from, to, out, size);
	if (gcs_is_set_type(type))
		gcs_text_plain("in set", "", out, size);
	else if (is_a_c_type(type, "collections.deque"))
		gcs_text_plain("[...]", "", out, size);
	else
		return false;
	return true;
}

/*
 * Of the Future and Task that are written in C, whose module is loaded later, if ever, so that nothing can be
 * tried at attach. Their first members have been the same from 3.8 on; of those further on it is told by what
 * they are: a Task refers to one coroutine, its own, and to one future, which it awaits.
 */
static const char *future_part(PyObject *from, PyObject *to)
{
	enum gcs_step_kind kind = gcs_step_kind_gil(to);

	if (gcs_load_ptr(from, FUTURE_LOOP) == to)
		return "._loop";
	if (gcs_load_ptr(from, FUTURE_CALLBACK) == to || gcs_load_ptr(from, FUTURE_CALLBACKS) == to)
		return "._callbacks";
	if (kind == GCS_STEP_EXCEPTION && gcs_load_ptr(from, FUTURE_EXCEPTION) == to)
		return "._exception";
	if (kind == GCS_STEP_GENERATOR && is_a_c_type(gcs_type_of(from), "_asyncio.Task"))
		return "._coro";
	if (kind == GCS_STEP_FUTURE && is_a_c_type(gcs_type_of(from), "_asyncio.Task"))
		return "._fut_waiter";
	return NULL;
}

static bool known_edge(PyObject *from, PyObject *to, char *out, size_t size)
{
	const char *name = is_c_future(gcs_type_of(from)) ? future_part(from, to) : NULL;

	if (!name && !gcs_object_is(to, GCS_TPFLAG_TYPE) &&
	    is_a_c_type(gcs_type_of(from), "functools._lru_cache_wrapper"))
		name = "in cache";
	if (name)
		gcs_text_plain(name, "", out, size);
	return name != NULL;
}

void gcs_edge_name_gil(PyObject *from, PyObject *to, char *out, size_t size)
{
	if (!at.on || (!gcs_attr_name_gil(from, to, out, size) && !gcs_frame_edge_gil(from, to, out, size) &&
		       !container_edge(from, to, out, size) && !known_edge(from, to, out, size)))
		gcs_text_plain("?", "", out, size);
}

/* ---- the probe ---- */

/* All generators have a finalizer, the same; a dict has none; nothing built in has a legacy one. */
static bool finalizers_agree(void)
{
	void *finalize = gcs_type_word(py.PyGen_Type, GCS_TP_FINALIZE);

	return finalize && gcs_type_word(py.PyCoro_Type, GCS_TP_FINALIZE) == finalize &&
	       gcs_type_word(py.PyAsyncGen_Type, GCS_TP_FINALIZE) == finalize &&
	       !gcs_type_word(py.PyDict_Type, GCS_TP_FINALIZE) &&
	       !gcs_type_word(py.PyDict_Type, GCS_TP_DEL) && !gcs_type_word(py.PyGen_Type, GCS_TP_DEL);
}

static bool containers_agree(void)
{
	PyObject *list = py.PyList_New(0), *tuple = py.PyTuple_New(1), *item = py.PyList_New(0);
	bool ok = list && tuple && item && !py.PyList_Append(list, py._Py_NoneStruct) &&
		  !py.PyList_Append(list, item);

	if (ok) {
		py.Py_IncRef(item);
		ok = !py.PyTuple_SetItem(tuple, 0, item) && gcs_length(list) == 2 && gcs_length(tuple) == 1 &&
		     gcs_tuple_items(tuple)[0] == item &&
		     ((PyObject **)gcs_load_ptr(list, LIST_ITEMS))[1] == item;
	}
	py.Py_DecRef(list);
	py.Py_DecRef(tuple);
	py.Py_DecRef(item);
	return ok;
}

static void *dealloc_of_classes(void)
{
	PyObject *type = gcs_some_heap_type_gil();
	void *dealloc = type ? gcs_type_word(type, GCS_TP_DEALLOC) : NULL;

	py.Py_DecRef(type);
	return dealloc;
}

void gcs_edges_probe_gil(void)
{
	if (!gcs_layout.types || py.free_threaded || gcs_layout.ob_type != GCS_OB_TYPE) {
		gcs_disable("edge_names", "the layout of this build is not known");
		return;
	}
	if (!containers_agree()) {
		gcs_disable("edge_names", "the items of a list or tuple do not verify");
		return;
	}
	gcs_attrs_probe_gil();
	gcs_frames_probe_gil();
	at.class_dealloc = dealloc_of_classes();
	at.finalizers = finalizers_agree();
	if (!at.finalizers)
		gcs_disable("finalizers", "the finalizers of a type do not verify");
	at.closure = gcs_member_offset(py.PyFunction_Type, "__closure__");
	at.method_func = gcs_member_offset(py.PyMethod_Type, "__func__");
	at.function_name = gcs_attrs_learned(py.PyFunction_Type, "__qualname__");
	at.generator_name = gcs_attrs_learned(py.PyGen_Type, "__qualname__");
	at.on = at.class_dealloc != NULL;
}
