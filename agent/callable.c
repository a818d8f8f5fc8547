/* SPDX-License-Identifier: Apache-2.0 */
#include "callable.h"

#include <stddef.h>
#include <stdint.h>

#include "layout.h"

#define FLAG_VECTORCALL (1ul << 11)
#define OFFSET_ARGUMENT ((size_t)1 << 63) /* in the number of arguments */

typedef PyObject *(*vectorcall)(PyObject *callable, PyObject *const *args, size_t n, PyObject *names);
typedef PyObject *(*method)(PyObject *self, PyObject *const *args, Py_ssize_t n);

/* The first member of a built-in function. */
static void **def_of(PyObject *callable)
{
	return (void **)((char *)callable + gcs_layout.ob_type + sizeof(void *));
}

static PyObject *call_directly(PyObject *callable, PyObject *const *args, size_t n, PyObject *names)
{
	const struct gcs_method_def *def = *def_of(callable);
	method f;

	(void)names;
	*(void **)&f = def->function;
	return f(NULL, args, (Py_ssize_t)(n & ~OFFSET_ARGUMENT));
}

/* Where such an object has the pointer by which it is called; NULL: not known. */
static void **call_of(PyObject *callable)
{
	PyObject *type = gcs_type_of(callable);
	uintptr_t offset = (uintptr_t)gcs_type_word(type, GCS_TP_VECTORCALL_OFFSET);

	if (!(gcs_type_flags(type) & FLAG_VECTORCALL) || offset % sizeof(void *) ||
	    offset + sizeof(void *) > (uintptr_t)gcs_type_basicsize(type))
		return NULL;
	return (void **)((char *)callable + offset);
}

static PyObject *nothing(PyObject *self, PyObject *arg)
{
	(void)self;
	(void)arg;
	return NULL;
}

static struct gcs_method_def other_def = {"gcscope_none", (void *)nothing, GCS_METH_NOARGS, NULL};

/* It is the pointer when it depends on the kind of the function, and on nothing else. */
static bool verifies(PyObject *callable, struct gcs_method_def *def)
{
	PyObject *same = py.PyCFunction_NewEx(def, NULL, NULL), *other = py.PyCFunction_NewEx(&other_def, NULL, NULL);
	void **call = call_of(callable);
	bool ok = same && other && call && *call && *call == *call_of(same) && *call != *call_of(other) &&
		  *def_of(callable) == def && *def_of(other) == &other_def;

	py.Py_DecRef(same);
	py.Py_DecRef(other);
	py.PyErr_Clear();
	return ok;
}

PyObject *gcs_callable_new_gil(struct gcs_method_def *def)
{
	PyObject *f = py.PyCFunction_NewEx(def, NULL, NULL);

	if (f && py.minor <= 9 && gcs_layout.types && verifies(f, def))
		*call_of(f) = (void *)call_directly;
	return f;
}
