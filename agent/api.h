/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of CPython's C API that the agent calls, found with dlsym() at run time so that one binary
 * serves every version, static or shared. No Python.h: an object is an opaque address, and whatever
 * depends on a struct's layout stands in layout.c and frame.c.
 *
 * The list is an X-macro: name, return type, arguments. `need` entries exist in every CPython from 3.8
 * on and the agent does nothing when one is missing; `want` entries are NULL where a version lacks them.
 */
#ifndef GCS_API_H
#define GCS_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct gcs_object PyObject;
typedef ssize_t Py_ssize_t;

struct gcs_method_def {
	const char *name;
	void *function;
	int flags;
	const char *doc;
};

struct gcs_allocator { /* PyMemAllocatorEx */
	void *context, *malloc, *calloc, *realloc, *free;
};

#define GCS_RAW_DOMAIN 0

#define GCS_METH_NOARGS 0x0004
#define GCS_METH_O 0x0008
#define GCS_METH_FASTCALL 0x0080
#define GCS_FILE_INPUT 257
#define GCS_EVAL_INPUT 258

/* Py_DecRef() takes NULL, too. */
#define GCS_API_NEED(X)                                                                            \
	X(Py_IsInitialized, int, (void))                                                           \
	X(Py_GetVersion, const char *, (void))                                                     \
	X(Py_AddPendingCall, int, (int (*)(void *), void *))                                       \
	X(Py_IncRef, void, (PyObject *))                                                           \
	X(Py_DecRef, void, (PyObject *))                                                           \
	X(Py_CompileString, PyObject *, (const char *, const char *, int))                         \
	X(PyEval_EvalCode, PyObject *, (PyObject *, PyObject *, PyObject *))                       \
	X(PyEval_GetBuiltins, PyObject *, (void))                                                  \
	X(PyEval_SaveThread, void *, (void))                                                       \
	X(PyEval_RestoreThread, void, (void *))                                                    \
	X(PyGILState_Ensure, int, (void))                                                          \
	X(PyGILState_Release, void, (int))                                                         \
	X(PyMem_GetAllocator, void, (int, struct gcs_allocator *))                                 \
	X(PyThreadState_Get, void *, (void))                                                       \
	X(PyImport_GetModuleDict, PyObject *, (void))                                              \
	X(PyImport_AppendInittab, int, (const char *, PyObject *(*)(void)))                        \
	X(PyModuleDef_Init, PyObject *, (void *))                                                  \
	X(PyModule_AddStringConstant, int, (PyObject *, const char *, const char *))               \
	X(PyObject_GetAttrString, PyObject *, (PyObject *, const char *))                          \
	X(PyObject_Call, PyObject *, (PyObject *, PyObject *, PyObject *))                         \
	X(PyObject_CallObject, PyObject *, (PyObject *, PyObject *))                               \
	X(PyObject_CallFunctionObjArgs, PyObject *, (PyObject *, ...))                             \
	X(PyCFunction_NewEx, PyObject *, (struct gcs_method_def *, PyObject *, PyObject *))        \
	X(PyDict_New, PyObject *, (void))                                                          \
	X(PyDict_GetItemString, PyObject *, (PyObject *, const char *))                            \
	X(PyDict_Next, int, (PyObject *, Py_ssize_t *, PyObject **, PyObject **))                  \
	X(PyDict_GetItemWithError, PyObject *, (PyObject *, PyObject *))                           \
	X(PyDict_SetItemString, int, (PyObject *, const char *, PyObject *))                       \
	X(PyDict_DelItem, int, (PyObject *, PyObject *))                                           \
	X(PyDict_DelItemString, int, (PyObject *, const char *))                                   \
	X(PyList_New, PyObject *, (Py_ssize_t))                                                    \
	X(PyList_Size, Py_ssize_t, (PyObject *))                                                   \
	X(PyList_GetItem, PyObject *, (PyObject *, Py_ssize_t))                                    \
	X(PyList_Insert, int, (PyObject *, Py_ssize_t, PyObject *))                                \
	X(PyList_Append, int, (PyObject *, PyObject *))                                            \
	X(PySet_New, PyObject *, (PyObject *))                                                     \
	X(PySet_Add, int, (PyObject *, PyObject *))                                                \
	X(PyTuple_New, PyObject *, (Py_ssize_t))                                                   \
	X(PyTuple_GetItem, PyObject *, (PyObject *, Py_ssize_t))                                   \
	X(PyTuple_SetItem, int, (PyObject *, Py_ssize_t, PyObject *))                              \
	X(PyLong_FromLong, PyObject *, (long))                                                     \
	X(PyLong_AsLong, long, (PyObject *))                                                       \
	X(PyLong_AsLongAndOverflow, long, (PyObject *, int *))                                     \
	X(PyUnicode_FromString, PyObject *, (const char *))                                        \
	X(PyUnicode_InternFromString, PyObject *, (const char *))                                  \
	X(PyUnicode_ReadChar, uint32_t, (PyObject *, Py_ssize_t))                                  \
	X(PyUnicode_GetLength, Py_ssize_t, (PyObject *))                                           \
	X(PyCell_New, PyObject *, (PyObject *))                                                    \
	X(PyWeakref_NewRef, PyObject *, (PyObject *, PyObject *))                                  \
	X(PyObject_GC_UnTrack, void, (void *))                                                     \
	X(PyObject_SetAttrString, int, (PyObject *, const char *, PyObject *))                     \
	X(PyType_GetSlot, void *, (PyObject *, int))                                               \
	X(PyType_GetFlags, unsigned long, (PyObject *))                                            \
	X(PyErr_Clear, void, (void))                                                               \
	X(PyErr_Fetch, void, (PyObject **, PyObject **, PyObject **))                              \
	X(PyErr_Restore, void, (PyObject *, PyObject *, PyObject *))                               \
	X(PyEval_GetFrame, PyObject *, (void))                                                     \
	X(PyFrame_GetLineNumber, int, (PyObject *))                                                \
	X(PyCode_Addr2Line, int, (PyObject *, int))

#define GCS_API_WANT(X)                                                                            \
	X(PyGILState_GetThisThreadState, void *, (void))                                           \
	X(_PyThreadState_UncheckedGet, void *, (void))                                             \
	X(PyThreadState_GetUnchecked, void *, (void))                                              \
	X(_Py_IsFinalizing, int, (void))                                                           \
	X(Py_IsFinalizing, int, (void))                                                            \
	X(PyInterpreterState_Main, void *, (void))                                                 \
	X(PyInterpreterState_Head, void *, (void))                                                 \
	X(PyInterpreterState_Next, void *, (void *))                                               \
	X(PyUnstable_GC_VisitObjects, void, (int (*)(PyObject *, void *), void *))                 \
	X(PyUnstable_InterpreterFrame_GetLine, int, (const void *))                                \
	X(PyType_GetQualName, PyObject *, (PyObject *))                                            \
	X(PyCriticalSection_Begin, void, (void *, PyObject *))                                     \
	X(PyCriticalSection_End, void, (void *))

#define GCS_API_DATA(X)                                                                            \
	X(PyType_Type)                                                                             \
	X(PyList_Type)                                                                             \
	X(PyDict_Type)                                                                             \
	X(PyTuple_Type)                                                                            \
	X(PySet_Type)                                                                              \
	X(PyFrozenSet_Type)                                                                        \
	X(PyByteArray_Type)                                                                        \
	X(PyUnicode_Type)                                                                          \
	X(PyCode_Type)                                                                             \
	X(PyCFunction_Type)                                                                        \
	X(PyBaseObject_Type)                                                                       \
	X(PyLong_Type)                                                                             \
	X(PyModule_Type)                                                                           \
	X(PyFunction_Type)                                                                         \
	X(PyMethod_Type)                                                                           \
	X(PyCell_Type)                                                                             \
	X(PyFrame_Type)                                                                            \
	X(PyTraceBack_Type)                                                                        \
	X(PyGen_Type)                                                                              \
	X(PyCoro_Type)                                                                             \
	X(PyAsyncGen_Type)                                                                         \
	X(_PyWeakref_RefType)                                                                      \
	X(_Py_NoneStruct)

struct gcs_api {
	const void *_PyRuntime; /* NULL where it is not exported */
#define X(name, type, args) type(*name) args;
	GCS_API_NEED(X)
	GCS_API_WANT(X)
#undef X
#define X(name) PyObject *name;
	GCS_API_DATA(X)
#undef X
	int major, minor, micro; /* of Py_GetVersion() */
	char version[32];        /* "3.11.2", "3.15.0a1" */
	bool free_threaded;
	bool debug; /* set at attach */
};

extern struct gcs_api py;

/* True when the process began with a CPython (loaded, not necessarily initialised). Two look-ups. */
bool gcs_api_present(void);
/* Looks for one that was loaded since, be its symbols global or not. True: *handle is for dlsym(). */
bool gcs_api_find(void **handle);
/* Fills `py`. 0, or -1 with *missing naming the first symbol that a CPython from 3.8 on would have. */
int gcs_api_load(void *handle, const char **missing);
/* The interpreter is being torn down: never ask for the GIL again. */
bool gcs_api_finalizing(void);

#endif
