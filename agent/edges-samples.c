/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects made at attach to learn layouts from: a function with a closure, generators in every state, a
 * traceback, an exception. None is in a cycle: all are gone when the probe is over, and the collector finds
 * nothing. Attributes whose reading an audit hook of the application would see (__code__, __defaults__,
 * gi_frame, f_code, ...) are not read but recognised by what stands there.
 */
#include "edges-parts.h"

#include "peek.h"

#define MAKER "lambda cell: lambda a, b=cell, *, k=cell: (yield (a, cell))"
#define FAILER "lambda x: (lambda y, z: y / z)(x, 0)"

static PyObject *evaluate(const char *source)
{
	PyObject *code = py.Py_CompileString(source, "<gcscope>", GCS_EVAL_INPUT);
	PyObject *globals = py.PyDict_New(), *result = NULL;

	if (code && globals && !py.PyDict_SetItemString(globals, "__builtins__", py.PyEval_GetBuiltins()))
		result = py.PyEval_EvalCode(code, globals, globals);
	py.Py_DecRef(code);
	py.Py_DecRef(globals);
	return result;
}

static PyObject *call(PyObject *callable, PyObject *arg)
{
	return callable ? py.PyObject_CallFunctionObjArgs(callable, arg, NULL) : NULL;
}

/* Calls a method without arguments; whatever it raises is forgotten. */
static void do_method(PyObject *o, const char *name)
{
	PyObject *method = py.PyObject_GetAttrString(o, name);

	py.Py_DecRef(method ? py.PyObject_CallObject(method, NULL) : NULL);
	py.Py_DecRef(method);
	py.PyErr_Clear();
}

/* close() would do in most versions, but leaves the frame as it is in 3.13.0. */
static void run_to_end(PyObject *generator)
{
	do_method(generator, "__next__");
	do_method(generator, "__next__");
}

static PyObject *failure(PyObject *arg)
{
	PyObject *failer = evaluate(FAILER), *error[3] = {NULL, NULL, NULL};

	py.Py_DecRef(call(failer, arg));
	py.PyErr_Fetch(&error[0], &error[1], &error[2]);
	py.Py_DecRef(failer);
	py.Py_DecRef(error[0]);
	py.Py_DecRef(error[1]);
	return error[2];
}

bool gcs_samples_make_gil(struct gcs_samples *s)
{
	PyObject *maker = evaluate(MAKER);

	s->a = py.PyList_New(0);
	s->cell = py.PyList_New(0);
	s->function = s->a && s->cell ? call(maker, s->cell) : NULL;
	py.Py_DecRef(maker);
	if (!s->function)
		return false;
	s->created = call(s->function, s->a);
	s->suspended = call(s->function, s->a);
	s->ended = call(s->function, s->a);
	s->ended_too = call(s->function, s->a);
	s->traceback = failure(s->a);
	if (!s->created || !s->suspended || !s->ended || !s->ended_too || !s->traceback)
		return false;
	do_method(s->suspended, "__next__");
	run_to_end(s->ended);
	run_to_end(s->ended_too);
	return true;
}

void gcs_samples_drop_gil(struct gcs_samples *s)
{
	py.Py_DecRef(s->traceback);
	py.Py_DecRef(s->ended_too);
	py.Py_DecRef(s->ended);
	py.Py_DecRef(s->suspended);
	py.Py_DecRef(s->created);
	py.Py_DecRef(s->function);
	py.Py_DecRef(s->cell);
	py.Py_DecRef(s->a);
}

uint16_t gcs_find_word(PyObject *o, PyObject *type, bool (*is)(PyObject *, const struct gcs_samples *),
		       const struct gcs_samples *s)
{
	Py_ssize_t size = gcs_type_basicsize(gcs_type_of(o));
	uintptr_t word, its_type;

	for (Py_ssize_t offset = GCS_OB_TYPE + 8; offset + 8 <= size; offset += 8) {
		word = (uintptr_t)gcs_load_ptr(o, (uint16_t)offset);
		if (word >= 0x10000 && !(word & 7) && gcs_peek(word + GCS_OB_TYPE, &its_type) &&
		    its_type == (uintptr_t)type && (!is || is((PyObject *)word, s)))
			return (uint16_t)offset;
	}
	return 0;
}

static bool is_defaults(PyObject *tuple, const struct gcs_samples *s)
{
	return gcs_length(tuple) == 1 && gcs_tuple_items(tuple)[0] == s->cell;
}

static bool is_kwdefaults(PyObject *dict, const struct gcs_samples *s)
{
	return py.PyDict_GetItemString(dict, "k") == s->cell;
}

/* Also sets it. */
static void learn_settable(PyObject *function, const char *attribute, PyObject *value)
{
	if (value && !py.PyObject_SetAttrString(function, attribute, value))
		gcs_attrs_learn_gil(py.PyFunction_Type, function, attribute);
	else
		py.PyErr_Clear();
}

bool gcs_samples_function_gil(struct gcs_samples *s)
{
	PyObject *annotations = py.PyDict_New(), *callable = py.PyObject_GetAttrString(s->a, "append");
	uint16_t code = gcs_find_word(s->function, py.PyCode_Type, NULL, s);

	if (code)
		s->code = gcs_load_ptr(s->function, code);
	gcs_attrs_note(py.PyFunction_Type, "__code__", code);
	gcs_attrs_note(py.PyFunction_Type, "__defaults__",
		       gcs_find_word(s->function, py.PyTuple_Type, is_defaults, s));
	gcs_attrs_note(py.PyFunction_Type, "__kwdefaults__",
		       gcs_find_word(s->function, py.PyDict_Type, is_kwdefaults, s));
	gcs_attrs_learn_gil(py.PyFunction_Type, s->function, "__qualname__");
	learn_settable(s->function, "__annotations__", annotations);
	if (py.minor >= 14) /* before, it would be but an attribute in its dict */
		learn_settable(s->function, "__annotate__", callable);
	gcs_attrs_learn_gil(py.PyGen_Type, s->created, "__qualname__");
	py.Py_DecRef(annotations);
	py.Py_DecRef(callable);
	return s->code != NULL;
}

void gcs_samples_exception_gil(const struct gcs_samples *s)
{
	PyObject *builtins = py.PyEval_GetBuiltins();
	PyObject *type = builtins ? py.PyDict_GetItemString(builtins, "ValueError") : NULL;
	PyObject *base = builtins ? py.PyDict_GetItemString(builtins, "BaseException") : NULL;
	PyObject *e = call(type, s->a), *cause = call(type, s->a), *context = call(type, s->a);

	if (base && e && cause && context && !py.PyObject_SetAttrString(e, "__traceback__", s->traceback) &&
	    !py.PyObject_SetAttrString(e, "__cause__", cause) &&
	    !py.PyObject_SetAttrString(e, "__context__", context)) {
		gcs_attrs_learn_gil(base, e, "__traceback__");
		gcs_attrs_learn_gil(base, e, "__cause__");
		gcs_attrs_learn_gil(base, e, "__context__");
		gcs_attrs_learn_gil(base, e, "args");
	}
	py.Py_DecRef(e);
	py.Py_DecRef(cause);
	py.Py_DecRef(context);
}
