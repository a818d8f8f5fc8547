/* SPDX-License-Identifier: Apache-2.0 */
#include "pymodule.h"

#include <stddef.h>

#include "api.h"
#include "server.h"

/* PyModuleDef and its slots: part of the stable ABI of GIL builds. */
struct module_def {
	Py_ssize_t refcount;
	void *type;
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

#define SLOT_EXEC 2 /* Py_mod_exec */

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

static struct slot slots[] = {{SLOT_EXEC, (void *)on_exec}, {0, NULL}};

static struct module_def definition = {
	.refcount = 1,
	.name = "gcscope",
	.doc = "The gcscope agent in this process. Present only where libgcscope.so was preloaded.",
	.methods = methods,
	.slots = slots,
};

static PyObject *init(void)
{
	return py.PyModuleDef_Init(&definition);
}

void gcs_pymodule_register(void)
{
	if (!py.free_threaded)
		py.PyImport_AppendInittab("gcscope", init);
}
