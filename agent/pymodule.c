/* SPDX-License-Identifier: Apache-2.0 */
#include "pymodule.h"

#include <stddef.h>
#include <stdint.h>

#include "api.h"
#include "server.h"

/* PyModuleDef and its slots: part of the stable ABI, but for the object's head, which is longer where there is no GIL. */
struct module_def {
	void *init;
	Py_ssize_t index;
	void *copy;
	const char *name, *doc;
	Py_ssize_t size;
	struct gcs_method_def *methods;
	struct slot {
		int id;
		void *value;
	} *slots;
	void *traverse, *clear, *free;
};

struct head {
	Py_ssize_t refcount;
	void *type;
};

struct head_free_threaded {
	uintptr_t thread;
	uint16_t flags;
	uint8_t mutex, gc_bits;
	uint32_t refcount;
	Py_ssize_t shared_refcount;
	void *type;
};

#define SLOT_EXEC 2         /* Py_mod_exec */
#define SLOT_INTERPRETERS 3 /* Py_mod_multiple_interpreters, from 3.12 on */
#define SLOT_GIL 4          /* Py_mod_gil, from 3.13 on */
#define OWN_GIL_SUPPORTED ((void *)2)
#define GIL_NOT_USED ((void *)1)

static PyObject *socket_path(PyObject *self, PyObject *arg)
{
	(void)self;
	(void)arg;
	return py.PyUnicode_FromString(gcs_server_path());
}

static int on_exec(PyObject *module)
{
	return py.PyModule_AddStringConstant(module, "__version__", GCS_VERSION);
}

static struct gcs_method_def methods[] = {
	{"socket_path", (void *)socket_path, GCS_METH_NOARGS,
	 "socket_path() -> str\n\nThe agent's socket in this process, or '' while there is none."},
	{NULL, NULL, 0, NULL},
};

/* Filled as far as this CPython knows the slots: it refuses others. */
static struct slot slots[4] = {{SLOT_EXEC, (void *)on_exec}};

#define DEFINITION                                                                                 \
	{                                                                                          \
		.name = "gcscope",                                                                 \
		.doc = "The gcscope agent in this process. Present only where libgcscope.so was preloaded.", \
		.methods = methods, .slots = slots,                                                \
	}

static struct {
	struct head head;
	struct module_def definition;
} with_gil = {{.refcount = 1}, DEFINITION};

static struct {
	struct head_free_threaded head;
	struct module_def definition;
} free_threaded = {{.refcount = UINT32_MAX /* immortal */}, DEFINITION};

static PyObject *init(void)
{
	return py.PyModuleDef_Init(py.free_threaded ? (void *)&free_threaded : (void *)&with_gil);
}

void gcs_pymodule_register(void)
{
	if (py.minor >= 12)
		slots[1] = (struct slot){SLOT_INTERPRETERS, OWN_GIL_SUPPORTED};
	if (py.minor >= 13)
		slots[2] = (struct slot){SLOT_GIL, GIL_NOT_USED};
	py.PyImport_AppendInittab("gcscope", init);
}
