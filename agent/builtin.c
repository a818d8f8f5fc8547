/* SPDX-License-Identifier: Apache-2.0 */
#include "builtin.h"

#include <stddef.h>

/* object.method(arg), arg may be NULL; consumes nothing. NULL on any failure. */
static PyObject *call_method(PyObject *object, const char *method, PyObject *arg)
{
	PyObject *f = object ? py.PyObject_GetAttrString(object, method) : NULL;
	PyObject *r = f ? py.PyObject_CallFunctionObjArgs(f, arg, NULL) : NULL;

	py.Py_DecRef(f);
	py.PyErr_Clear();
	return r;
}

/* What importlib does for `import name` of a built-in module, without its locks and without sys.modules. */
static PyObject *make(PyObject *bootstrap, const char *name)
{
	PyObject *importer = py.PyObject_GetAttrString(bootstrap, "BuiltinImporter");
	PyObject *text = py.PyUnicode_FromString(name);
	PyObject *spec = text ? call_method(importer, "find_spec", text) : NULL;
	PyObject *module = spec && spec != py._Py_NoneStruct ? call_method(bootstrap, "module_from_spec", spec) : NULL;
	PyObject *done = module ? call_method(importer, "exec_module", module) : NULL;

	if (module && !done) {
		py.Py_DecRef(module);
		module = NULL;
	}
	py.Py_DecRef(done);
	py.Py_DecRef(spec);
	py.Py_DecRef(text);
	py.Py_DecRef(importer);
	py.PyErr_Clear();
	return module;
}

PyObject *gcs_builtin_module_gil(const char *name, bool keep)
{
	PyObject *modules = py.PyImport_GetModuleDict();
	PyObject *module = py.PyDict_GetItemString(modules, name);
	PyObject *bootstrap = py.PyDict_GetItemString(modules, "_frozen_importlib");

	if (module) {
		py.Py_IncRef(module);
		return module;
	}
	module = bootstrap ? make(bootstrap, name) : NULL;
	if (module)
		py.Py_IncRef(module); /* for good: a module that is let go is cyclic garbage */
	if (module && keep)
		py.PyDict_SetItemString(modules, name, module);
	else if (py.PyDict_GetItemString(modules, name))
		py.PyDict_DelItemString(modules, name); /* some put themselves there */
	py.PyErr_Clear();
	return module;
}
