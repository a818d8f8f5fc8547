/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locals by name. Up to 3.10 a frame is an object that ends with its locals: the arguments and other locals,
 * the cells, the free variables, whose names are three tuples of the code object; a generator refers to its
 * frame. From 3.11 on an interpreter frame is no object. It holds its code and, further on, the same locals
 * (3.14: with tags in the low bits), named by one tuple of the code object. It lies in the generator itself,
 * at its end, so that the locals begin at tp_basicsize, or in a frame object that took it over, or on the
 * stack. In a generator that has ended it is stale: one byte of the generator says so.
 *
 * The places are learned from the samples of edges-samples.c.
 */
#include "edges-parts.h"

#include <string.h>

#include "disabled.h"
#include "peek.h"
#include "unicode.h"

#define SAMPLE_NAMES 4 /* a, b, k, cell */
#define CODE_IN_FRAME_311 32

static struct {
	bool on;
	/* up to 3.10 */
	uint16_t varnames, cellvars, freevars; /* in a code object */
	uint16_t locals;                       /* in a frame object */
	uint16_t frame_code;
	/* 3.11+ */
	uint16_t names;          /* in a code object: all of them */
	uint16_t generator_code; /* in a generator: its frame's code */
	uint16_t frame_locals;   /* from a frame's code to its locals */
	uint16_t code_in_frame;  /* in an interpreter frame: its code */
	uint16_t in_frame;       /* in a frame object: where its frame is; 0 */
	uint16_t state;          /* in a generator: the byte that says cleared */
	char cleared;
	/* always */
	uint16_t code_name, code_stacksize, function_code, generator_frame;
} at;

static PyObject *untag(const void *p)
{
	return (PyObject *)((uintptr_t)p & ~(uintptr_t)7);
}

static bool has_objects(void)
{
	return py.minor <= 10;
}

static bool is_generator(PyObject *type)
{
	return type == py.PyGen_Type || type == py.PyCoro_Type || type == py.PyAsyncGen_Type;
}

static bool is_tuple(PyObject *o)
{
	return o && gcs_type_of(o) == py.PyTuple_Type;
}

/* ---- names ---- */

static PyObject *name_in(PyObject *code, uint16_t tuple, Py_ssize_t *i)
{
	PyObject *names = gcs_load_ptr(code, tuple);

	if (!is_tuple(names))
		return NULL;
	if (*i < gcs_length(names))
		return gcs_tuple_items(names)[*i];
	*i -= gcs_length(names);
	return NULL;
}

/* The name of local i, in the order in which they stand in a frame. */
static PyObject *local_name(PyObject *code, Py_ssize_t i)
{
	PyObject *name;

	if (!has_objects())
		return name_in(code, at.names, &i);
	name = name_in(code, at.varnames, &i);
	if (!name)
		name = name_in(code, at.cellvars, &i);
	return name ? name : name_in(code, at.freevars, &i);
}

static Py_ssize_t length_at(PyObject *code, uint16_t offset)
{
	PyObject *names = gcs_load_ptr(code, offset);

	return is_tuple(names) ? gcs_length(names) : 0;
}

static Py_ssize_t local_count(PyObject *code)
{
	if (!has_objects())
		return length_at(code, at.names);
	return length_at(code, at.varnames) + length_at(code, at.cellvars) + length_at(code, at.freevars);
}

PyObject *gcs_code_name(PyObject *code)
{
	return at.code_name ? gcs_load_ptr(code, at.code_name) : NULL;
}

/* ---- where frames are ---- */

/* The word of an interpreter frame that is its code; NULL. */
static const char *frame_of(PyObject *obj)
{
	PyObject *type = gcs_type_of(obj);
	const char *frame;

	if (is_generator(type))
		return ((const char *)obj)[at.state] == at.cleared ? NULL
								   : (const char *)obj + at.generator_code;
	if (type != py.PyFrame_Type || !at.in_frame)
		return NULL;
	frame = gcs_load_ptr(obj, at.in_frame);
	return frame ? frame + at.code_in_frame : NULL;
}

static PyObject *checked_code(const void *code)
{
	PyObject *o = untag(code);

	return o && gcs_type_of(o) == py.PyCode_Type ? o : NULL;
}

PyObject *gcs_code_of(PyObject *obj)
{
	PyObject *type = gcs_type_of(obj);
	const char *frame;

	if (type == py.PyFunction_Type)
		return at.function_code ? gcs_load_ptr(obj, at.function_code) : NULL;
	if (!at.on)
		return NULL;
	if (has_objects()) {
		if (is_generator(type))
			obj = at.generator_frame ? gcs_load_ptr(obj, at.generator_frame) : NULL;
		return obj && gcs_type_of(obj) == py.PyFrame_Type ? gcs_load_ptr(obj, at.frame_code) : NULL;
	}
	frame = frame_of(obj);
	return frame ? checked_code(gcs_load_ptr(frame, 0)) : NULL;
}

/* ---- edges ---- */

static bool slot_edge(PyObject *code, PyObject *const *slot, PyObject *to, char *out, size_t size)
{
	Py_ssize_t n = local_count(code), end = n;
	PyObject *name;

	if (at.code_stacksize)
		end += *(const int *)((const char *)code + at.code_stacksize);
	for (Py_ssize_t i = 0; i < end; i++) {
		if (untag(slot[i]) != to)
			continue;
		name = i < n ? local_name(code, i) : NULL;
		if (name && gcs_type_of(name) == py.PyUnicode_Type)
			gcs_text_str_gil("local ", name, "", out, size);
		else
			gcs_text_plain("on stack", "", out, size);
		return true;
	}
	return false;
}

/* What an interpreter frame has besides: its function, a dict of locals (class bodies), its frame object. */
static const char *special_edge(const char *frame, PyObject *to)
{
	const char *const *word = (const char *const *)(frame - at.code_in_frame);
	const char *const *end = (const char *const *)(frame + at.frame_locals);

	for (; word < end; word++) {
		if (untag(*word) != to)
			continue;
		if (gcs_type_of(to) == py.PyFunction_Type)
			return "function";
		if (gcs_type_of(to) == py.PyFrame_Type)
			return ".gi_frame";
		if (gcs_object_is(to, GCS_TPFLAG_DICT))
			return ".f_locals";
	}
	return NULL;
}

static bool interpreter_frame_edge(PyObject *from, PyObject *to, char *out, size_t size)
{
	const char *frame = frame_of(from), *special;
	PyObject *code = frame ? checked_code(gcs_load_ptr(frame, 0)) : NULL;

	if (!code)
		return false;
	if (slot_edge(code, (PyObject *const *)(frame + at.frame_locals), to, out, size))
		return true;
	special = special_edge(frame, to);
	if (special)
		gcs_text_plain(special, "", out, size);
	return special != NULL;
}

static bool frame_object_edge(PyObject *from, PyObject *to, char *out, size_t size)
{
	PyObject *type = gcs_type_of(from);

	if (type == py.PyFrame_Type)
		return slot_edge(gcs_load_ptr(from, at.frame_code),
				 (PyObject *const *)((const char *)from + at.locals), to, out, size);
	if (!at.generator_frame || gcs_load_ptr(from, at.generator_frame) != to)
		return false;
	gcs_text_plain(type == py.PyGen_Type    ? ".gi_frame"
		       : type == py.PyCoro_Type ? ".cr_frame"
						: ".ag_frame",
		       "", out, size);
	return true;
}

/* A function's cells are its free variables, the last of its code's names. */
static bool closure_edge(PyObject *function, PyObject *to, char *out, size_t size)
{
	PyObject *code = gcs_code_of(function), *name = NULL, *cells;
	uint16_t closure = gcs_member_offset(py.PyFunction_Type, "__closure__");

	cells = closure ? gcs_load_ptr(function, closure) : NULL;
	if (!code || !is_tuple(cells))
		return false;
	for (Py_ssize_t i = 0, n = gcs_length(cells); i < n && !name; i++)
		if (gcs_tuple_items(cells)[i] == to)
			name = local_name(code, local_count(code) - n + i);
	if (!name || gcs_type_of(name) != py.PyUnicode_Type)
		return false;
	gcs_text_str_gil("closure ", name, "", out, size);
	return true;
}

bool gcs_frame_edge_gil(PyObject *from, PyObject *to, char *out, size_t size)
{
	PyObject *type = gcs_type_of(from);

	if (!at.on)
		return false;
	if (type == py.PyFunction_Type)
		return closure_edge(from, to, out, size);
	if (type != py.PyFrame_Type && !is_generator(type))
		return false;
	if (has_objects())
		return frame_object_edge(from, to, out, size);
	return interpreter_frame_edge(from, to, out, size);
}

/* ---- the probe ---- */

static bool is_names(PyObject *tuple, const struct gcs_samples *s)
{
	PyObject *const *items = gcs_tuple_items(tuple);

	(void)s;
	return gcs_length(tuple) == SAMPLE_NAMES && gcs_unicode_is_gil(items[0], "a") &&
	       gcs_unicode_is_gil(items[1], "b") && gcs_unicode_is_gil(items[2], "k") &&
	       gcs_unicode_is_gil(items[3], "cell");
}

/* Its code is the last word before the locals that leads to it (3.11 has it twice). */
static uint16_t find_generator_code(const struct gcs_samples *s)
{
	for (Py_ssize_t offset = gcs_type_basicsize(py.PyGen_Type) - 8; offset > GCS_OB_TYPE; offset -= 8)
		if (untag(gcs_load_ptr(s->created, (uint16_t)offset)) == s->code)
			return (uint16_t)offset;
	return 0;
}

/*
 * The state is the last of four bytes that stand eight before the frame (the other three are set for
 * coroutines and asynchronous generators only): that of generators that ended is the same, and is not the one
 * of those that did not.
 */
static bool find_state(const struct gcs_samples *s)
{
	char ended;

	at.state = (uint16_t)(at.generator_code - at.code_in_frame - 5);
	ended = ((const char *)s->ended)[at.state];
	at.cleared = ended;
	return ((const char *)s->ended_too)[at.state] == ended &&
	       ((const char *)s->created)[at.state] != ended &&
	       ((const char *)s->suspended)[at.state] != ended;
}

static bool locals_agree(const struct gcs_samples *s, PyObject *generator)
{
	PyObject *const *slot =
		(PyObject *const *)((const char *)generator + gcs_type_basicsize(py.PyGen_Type));
	PyObject *cell = untag(slot[SAMPLE_NAMES - 1]);

	return untag(slot[0]) == s->a && cell && gcs_type_of(cell) == py.PyCell_Type &&
	       gcs_load_ptr(cell, GCS_OB_TYPE + 8) == s->cell;
}

static const char *learn_interpreter_frames(const struct gcs_samples *s)
{
	Py_ssize_t size = gcs_type_basicsize(py.PyGen_Type);

	if (gcs_type_basicsize(py.PyCoro_Type) != size || gcs_type_basicsize(py.PyAsyncGen_Type) != size)
		return "generators and coroutines differ";
	at.names = gcs_find_word(s->code, py.PyTuple_Type, is_names, s);
	at.generator_code = find_generator_code(s);
	at.frame_locals = (uint16_t)(size - at.generator_code);
	if (!at.names || !at.generator_code)
		return "the code of a generator was not found";
	if (!locals_agree(s, s->created) || !locals_agree(s, s->suspended))
		return "the locals of a generator do not verify";
	return NULL;
}

static const char *learn_frame_objects(const struct gcs_samples *s)
{
	PyObject *frame;

	at.varnames = gcs_member_offset(py.PyCode_Type, "co_varnames");
	at.cellvars = gcs_member_offset(py.PyCode_Type, "co_cellvars");
	at.freevars = gcs_member_offset(py.PyCode_Type, "co_freevars");
	at.frame_code = gcs_member_offset(py.PyFrame_Type, "f_code");
	at.locals = (uint16_t)(gcs_type_basicsize(py.PyFrame_Type) - 8);
	at.generator_frame = gcs_find_word(s->suspended, py.PyFrame_Type, NULL, s);
	if (!at.varnames || !at.cellvars || !at.freevars || !at.frame_code || !at.generator_frame)
		return "the members of a frame were not found";
	frame = gcs_load_ptr(s->suspended, at.generator_frame);
	if (!frame || gcs_load_ptr(frame, at.frame_code) != s->code || gcs_load_ptr(frame, at.locals) != s->a)
		return "the locals of a frame do not verify";
	return NULL;
}

static bool is_code(uintptr_t word)
{
	uintptr_t type;

	return word && gcs_peek((uintptr_t)untag((void *)word) + GCS_OB_TYPE, &type) &&
	       type == (uintptr_t)py.PyCode_Type;
}

/* Where a frame object leads to the frame that it stands for: there are its code and its local y. */
static bool find_in_frame(PyObject *frame, PyObject *local)
{
	uintptr_t word, found;

	for (at.code_in_frame = 0; at.code_in_frame <= CODE_IN_FRAME_311;
	     at.code_in_frame += CODE_IN_FRAME_311)
		for (Py_ssize_t o = GCS_OB_TYPE + 8; o + 8 <= gcs_type_basicsize(py.PyFrame_Type); o += 8) {
			word = (uintptr_t)gcs_load_ptr(frame, (uint16_t)o) + at.code_in_frame;
			if (!gcs_peek(word, &found) || !is_code(found) ||
			    !gcs_peek(word + at.frame_locals, &found) || untag((void *)found) != local)
				continue;
			at.in_frame = (uint16_t)o;
			return true;
		}
	at.code_in_frame = 0;
	return false;
}

static bool learn_traceback(const struct gcs_samples *s)
{
	uint16_t in_traceback = gcs_member_offset(py.PyTraceBack_Type, "tb_frame");
	PyObject *next = py.PyObject_GetAttrString(s->traceback, "tb_next"), *frame = NULL;
	bool ok;

	if (next && in_traceback && gcs_type_of(next) == py.PyTraceBack_Type)
		frame = gcs_load_ptr(next, in_traceback);
	ok = frame && gcs_type_of(frame) == py.PyFrame_Type;
	if (ok) {
		gcs_attrs_learn_gil(py.PyTraceBack_Type, s->traceback, "tb_next");
		gcs_attrs_learn_gil(py.PyFrame_Type, frame, "f_back");
		ok = has_objects() || find_in_frame(frame, s->a);
	}
	py.Py_DecRef(next);
	return ok;
}

void gcs_frames_probe_gil(void)
{
	struct gcs_samples s = {.a = NULL};
	const char *why = "no samples could be made";

	at.code_name = gcs_member_offset(py.PyCode_Type, "co_qualname");
	if (!at.code_name)
		at.code_name = gcs_member_offset(py.PyCode_Type, "co_name");
	at.code_stacksize = gcs_member_offset(py.PyCode_Type, "co_stacksize");
	if (gcs_samples_make_gil(&s) && gcs_samples_function_gil(&s)) {
		at.function_code = gcs_attrs_learned(py.PyFunction_Type, "__code__");
		gcs_samples_exception_gil(&s);
		why = has_objects() ? learn_frame_objects(&s) : learn_interpreter_frames(&s);
		if (!learn_traceback(&s) && !why)
			why = "the frame of a frame object was not found";
		if (!why && !has_objects() && !find_state(&s))
			why = "the state of a generator was not found";
	}
	at.on = !why;
	if (why)
		gcs_disable("local_names", "%s", why);
	gcs_samples_drop_gil(&s);
	py.PyErr_Clear();
}
