/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gcs_testext: types as C extensions write them, well and badly, for the tests of the capture of cycles.
 *
 * Each behaviour is there twice, since extensions have both: as a static type (Legacy, as Cython's are by
 * default) and as a heap type of a spec (HeapLegacy). An object holds any other by .ref and tells what happens to it,
 * by tell(name, event), in tp_clear, tp_finalize and when it dies; so the order of these can be seen.
 *
 *   Correct      tp_traverse, tp_clear
 *   NoClear      tp_traverse alone: a cycle of only these stays for ever
 *   Blind        does not visit .ref: what it holds is never garbage while it lives
 *   NoGC         is not even tracked
 *   Raiser       tp_clear sets an error
 *   Finalizer    tp_finalize
 *   Resurrector  tp_finalize puts the object into the list `saved`
 *   Legacy       a tp_del: uncollectable in a cycle
 *
 * Compiled by the tests with each CPython's own headers, 3.8 and later.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

struct thing {
	PyObject_HEAD
	PyObject *ref, *tell, *name, *weakrefs;
};

static PyObject *saved; /* what Resurrectors brought back */

/* Keeps an error that is set, as a destructor must. */
static void tell(struct thing *self, const char *event)
{
	PyObject *type, *value, *traceback, *to = self->tell, *name = self->name, *r;

	if (!to)
		return;
	PyErr_Fetch(&type, &value, &traceback);
	Py_INCREF(to);
	Py_INCREF(name);
	r = PyObject_CallFunction(to, "Os", name, event);
	if (r)
		Py_DECREF(r);
	else
		PyErr_WriteUnraisable(to);
	Py_DECREF(to);
	Py_DECREF(name);
	PyErr_Restore(type, value, traceback);
}

/* ---- the slots ---- */

static PyObject *thing_new(PyTypeObject *type, PyObject *args, PyObject *keys)
{
	static char *names[] = {"name", "tell", "ref", NULL};
	PyObject *name, *to = NULL, *ref = NULL;
	struct thing *self;

	if (!PyArg_ParseTupleAndKeywords(args, keys, "O|OO", names, &name, &to, &ref))
		return NULL;
	self = (struct thing *)type->tp_alloc(type, 0);
	if (!self)
		return NULL;
	Py_INCREF(name);
	Py_XINCREF(to);
	Py_XINCREF(ref);
	self->name = name;
	self->tell = to;
	self->ref = ref;
	return (PyObject *)self;
}

static void release(struct thing *self)
{
	tell(self, "dead");
	if (self->weakrefs)
		PyObject_ClearWeakRefs((PyObject *)self);
	Py_CLEAR(self->ref);
	Py_CLEAR(self->tell);
	Py_CLEAR(self->name);
	Py_TYPE(self)->tp_free((PyObject *)self);
}

static void thing_dealloc(PyObject *o)
{
	if (Py_TYPE(o)->tp_finalize && PyObject_CallFinalizerFromDealloc(o) < 0)
		return;
	if (PyObject_IS_GC(o))
		PyObject_GC_UnTrack(o);
	release((struct thing *)o);
}

static void heap_dealloc(PyObject *o)
{
	PyTypeObject *type = Py_TYPE(o);

	if (type->tp_finalize && PyObject_CallFinalizerFromDealloc(o) < 0)
		return;
	if (PyObject_IS_GC(o))
		PyObject_GC_UnTrack(o);
	release((struct thing *)o);
	Py_DECREF(type);
}

static int blind_traverse(PyObject *o, visitproc visit, void *arg)
{
	Py_VISIT(((struct thing *)o)->tell);
	Py_VISIT(((struct thing *)o)->name);
	return 0;
}

static int thing_traverse(PyObject *o, visitproc visit, void *arg)
{
	Py_VISIT(((struct thing *)o)->ref);
	return blind_traverse(o, visit, arg);
}

/* From 3.9 on an instance of a heap type visits its type. */
static int heap_blind_traverse(PyObject *o, visitproc visit, void *arg)
{
#if PY_VERSION_HEX >= 0x03090000
	Py_VISIT(Py_TYPE(o));
#endif
	return blind_traverse(o, visit, arg);
}

static int heap_traverse(PyObject *o, visitproc visit, void *arg)
{
	Py_VISIT(((struct thing *)o)->ref);
	return heap_blind_traverse(o, visit, arg);
}

static int thing_clear(PyObject *o)
{
	tell((struct thing *)o, "clear");
	Py_CLEAR(((struct thing *)o)->ref);
	return 0;
}

static int raiser_clear(PyObject *o)
{
	thing_clear(o);
	PyErr_SetString(PyExc_ValueError, "from tp_clear");
	return -1;
}

static void finalizer_finalize(PyObject *o)
{
	tell((struct thing *)o, "finalize");
}

static void resurrector_finalize(PyObject *o)
{
	tell((struct thing *)o, "finalize");
	if (PyList_Append(saved, o))
		PyErr_WriteUnraisable(o);
}

/* Only its presence counts: the collector asks whether the slot is filled. */
static void legacy_del(PyObject *o)
{
	(void)o;
}

static PyMemberDef members[] = {
	{"ref", T_OBJECT, offsetof(struct thing, ref), 0, NULL},
	{"name", T_OBJECT, offsetof(struct thing, name), READONLY, NULL},
	{NULL, 0, 0, 0, NULL},
};

/* ---- the types ---- */

struct behaviour {
	const char *name, *heap_name;
	traverseproc traverse, heap_traverse; /* NULL: not tracked */
	inquiry clear;
	destructor finalize, del;
};

#define NAMES(x) "gcs_testext." x, "gcs_testext.Heap" x

static const struct behaviour behaviours[] = {
	{NAMES("Correct"), thing_traverse, heap_traverse, thing_clear, NULL, NULL},
	{NAMES("NoClear"), thing_traverse, heap_traverse, NULL, NULL, NULL},
	{NAMES("Blind"), blind_traverse, heap_blind_traverse, thing_clear, NULL, NULL},
	{NAMES("NoGC"), NULL, NULL, NULL, NULL, NULL},
	{NAMES("Raiser"), thing_traverse, heap_traverse, raiser_clear, NULL, NULL},
	{NAMES("Finalizer"), thing_traverse, heap_traverse, thing_clear, finalizer_finalize, NULL},
	{NAMES("Resurrector"), thing_traverse, heap_traverse, thing_clear, resurrector_finalize, NULL},
	{NAMES("Legacy"), thing_traverse, heap_traverse, thing_clear, NULL, legacy_del},
};

#define COUNT (sizeof(behaviours) / sizeof(behaviours[0]))

static PyTypeObject static_types[COUNT];

static unsigned long flags_of(const struct behaviour *b)
{
	return Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | (b->traverse ? Py_TPFLAGS_HAVE_GC : 0);
}

static PyObject *static_type(const struct behaviour *b, PyTypeObject *t)
{
	static const PyTypeObject blank = {PyVarObject_HEAD_INIT(NULL, 0).tp_name = NULL};

	*t = blank;
	t->tp_name = b->name;
	t->tp_basicsize = sizeof(struct thing);
	t->tp_flags = flags_of(b);
	t->tp_new = thing_new;
	t->tp_dealloc = thing_dealloc;
	t->tp_traverse = b->traverse;
	t->tp_clear = b->clear;
	t->tp_finalize = b->finalize;
	t->tp_del = b->del;
	t->tp_members = members;
	t->tp_weaklistoffset = offsetof(struct thing, weakrefs);
	if (PyType_Ready(t))
		return NULL;
	Py_INCREF(t);
	return (PyObject *)t;
}

static PyObject *heap_type(const struct behaviour *b)
{
	PyType_Slot slots[9] = {
		{Py_tp_new, thing_new}, {Py_tp_dealloc, heap_dealloc}, {Py_tp_members, members}};
	PyType_Spec spec = {b->heap_name, sizeof(struct thing), 0, (unsigned int)flags_of(b), slots};
	PyObject *type;
	int n = 3;

	if (b->traverse)
		slots[n++] = (PyType_Slot){Py_tp_traverse, b->heap_traverse};
	if (b->clear)
		slots[n++] = (PyType_Slot){Py_tp_clear, b->clear};
	if (b->finalize)
		slots[n++] = (PyType_Slot){Py_tp_finalize, b->finalize};
	if (b->del)
		slots[n++] = (PyType_Slot){Py_tp_del, b->del};
	type = PyType_FromSpec(&spec);
	if (type) /* 3.8 knows no __weaklistoffset__ among members */
		((PyTypeObject *)type)->tp_weaklistoffset = offsetof(struct thing, weakrefs);
	return type;
}

/* Takes the reference to value. */
static int add(PyObject *module, const char *name, PyObject *value)
{
	int error = value ? PyObject_SetAttrString(module, name, value) : -1;

	Py_XDECREF(value);
	return error;
}

static struct PyModuleDef definition = {
	.m_base = PyModuleDef_HEAD_INIT, .m_name = "gcs_testext", .m_size = -1};

PyMODINIT_FUNC PyInit_gcs_testext(void);

PyMODINIT_FUNC PyInit_gcs_testext(void)
{
	PyObject *module = PyModule_Create(&definition);

	saved = PyList_New(0);
	if (!module || !saved)
		return NULL;
	Py_INCREF(saved);
	if (add(module, "saved", saved))
		return NULL;
	for (size_t i = 0; i < COUNT; i++) {
		const struct behaviour *b = &behaviours[i];

		if (add(module, strrchr(b->name, '.') + 1, static_type(b, &static_types[i])) ||
		    add(module, strrchr(b->heap_name, '.') + 1, heap_type(b)))
			return NULL;
	}
	return module;
}
