/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes, read in place. Three ways, in the order in which they are tried:
 *
 * - The instance dict. tp_dictoffset says where it is, or, from 3.11 on, a flag of the type ("managed"): then
 *   the dict is the third word before the object (3.12: or, its low bit set, the values alone). While nobody
 *   has asked for __dict__ there are only values, in the order of the keys that the class has cached: at the
 *   fourth word before the object (3.11), or inline behind the object (3.13+).
 * - Members: each type's PyMemberDef table gives names and places; __slots__ are such members too.
 * - Learned words: attributes that C code computes (exception.__cause__, traceback.tb_next, ...): at attach
 *   each is looked for in an object made for that.
 *
 * gcs_attrs_probe_gil() tries all of them on objects of its own.
 */
#include "edges.h"

#include <string.h>

#include "disabled.h"
#include "edges-parts.h"
#include "peek.h"

/* PyMemberDef */
struct member {
	const char *name;
	int type;
	Py_ssize_t offset;
	int flags;
	const char *doc;
};

#define MEMBER_OBJECT 6 /* Py_T_OBJECT, Py_T_OBJECT_EX */
#define MEMBER_OBJECT_EX 16

/* Of PyDictKeysObject, 3.11+, where the keys are those of a class. */
#define KEYS_LOG2_INDEX_BYTES 9
#define KEYS_KIND 10
#define KEYS_SPLIT 2
#define KEYS_NENTRIES 24
#define KEYS_INDICES 32
#define KEYS_ENTRY 16 /* key, and a value that is not used */
#define SHARED_KEYS_MAX 30

#define LEARNED_MAX 32

static struct {
	bool members, dictoffset, managed;
	struct {
		PyObject *type;
		const char *attribute;
		uint16_t offset;
	} learned[LEARNED_MAX];
	size_t nlearned;
} at;

/* ---- instance dicts ---- */

struct values {
	PyObject *const *value;
	const char *keys;
	Py_ssize_t n;
};

/* Where the class of an object keeps the keys that its instances share: behind ht_qualname. */
static const char *shared_keys(PyObject *type)
{
	return gcs_load_ptr(type, (uint16_t)(gcs_layout.ht_qualname + 8));
}

static PyObject *shared_key(const char *keys, Py_ssize_t i)
{
	size_t entries = KEYS_INDICES + ((size_t)1 << (uint8_t)keys[KEYS_LOG2_INDEX_BYTES]);

	return *(PyObject *const *)(keys + entries + (size_t)i * KEYS_ENTRY);
}

static uintptr_t word_before(PyObject *obj, int words)
{
	return ((const uintptr_t *)obj)[-words];
}

static PyObject *managed_dict(PyObject *obj)
{
	uintptr_t word = word_before(obj, 3);

	return word & 1 ? NULL : (PyObject *)word;
}

/* The values that an instance without a dict of its own has, or shares with it. */
static bool find_values(PyObject *obj, PyObject *type, struct values *out)
{
	unsigned long flags = gcs_type_flags(type);
	const uint8_t *inl;
	uintptr_t word;

	*out = (struct values){.keys = shared_keys(type)};
	if (!out->keys)
		return false;
	out->n = (Py_ssize_t)(intptr_t)gcs_load_ptr(out->keys, KEYS_NENTRIES);
	if (py.minor == 11) {
		out->value = (PyObject *const *)word_before(obj, 4);
	} else if (py.minor == 12) {
		word = word_before(obj, 3);
		out->value = word & 1 ? (PyObject *const *)(word + 1) : NULL;
	} else if (flags & GCS_TPFLAG_INLINE_VALUES) {
		inl = (const uint8_t *)obj + gcs_type_basicsize(type); /* capacity, size, embedded, valid */
		out->value = inl[3] ? (PyObject *const *)(inl + 8) : NULL;
		if (out->n > inl[0])
			out->n = inl[0];
	}
	if (out->n > SHARED_KEYS_MAX)
		out->n = SHARED_KEYS_MAX;
	return out->value != NULL;
}

static bool is_managed(PyObject *type)
{
	return py.minor >= 11 && (gcs_type_flags(type) & GCS_TPFLAG_MANAGED_DICT);
}

/* From 3.12 on another word stands where an int had its length. */
static bool has_length(PyObject *type)
{
	return gcs_layout.tp_itemsize && (py.minor < 12 || !(gcs_type_flags(type) & GCS_TPFLAG_LONG));
}

/* A negative offset counts from the end of an object of variable length, rounded up to a word. */
static PyObject *dict_at_offset(PyObject *obj, PyObject *type)
{
	Py_ssize_t offset = (Py_ssize_t)(intptr_t)gcs_type_word(type, GCS_TP_DICTOFFSET), items;

	if (offset < 0 && has_length(type)) {
		items = gcs_length(obj);
		offset += (gcs_type_basicsize(type) +
			   (items < 0 ? -items : items) *
				   (Py_ssize_t)(intptr_t)gcs_load_ptr(type, gcs_layout.tp_itemsize) +
			   7) &
			  ~(Py_ssize_t)7;
	}
	if (offset <= GCS_OB_TYPE || (offset & 7))
		return NULL;
	return *(PyObject *const *)((const char *)obj + offset);
}

PyObject *gcs_instance_dict_gil(PyObject *obj)
{
	PyObject *type = gcs_type_of(obj), *dict = NULL;

	if (gcs_type_flags(type) & GCS_TPFLAG_TYPE)
		dict = gcs_load_ptr(obj, gcs_layout.tp_dict);
	else if (is_managed(type))
		dict = at.managed ? managed_dict(obj) : NULL;
	else if (at.dictoffset)
		dict = dict_at_offset(obj, type);
	return dict && gcs_object_is(dict, GCS_TPFLAG_DICT) ? dict : NULL;
}

PyObject *gcs_dict_key_of(PyObject *dict, PyObject *to, bool *is_key)
{
	PyObject *key, *value;
	Py_ssize_t place = 0;

	*is_key = false;
	for (int i = 0; i < GCS_EDGE_ITEMS_MAX && py.PyDict_Next(dict, &place, &key, &value); i++) {
		if (value == to)
			return key;
		if (key == to)
			*is_key = true;
	}
	return NULL;
}

static PyObject *instance_key(PyObject *from, PyObject *to)
{
	PyObject *dict = gcs_instance_dict_gil(from);
	PyObject *type = gcs_type_of(from);
	struct values v;
	bool unused;

	if (at.managed && is_managed(type) && find_values(from, type, &v))
		for (Py_ssize_t i = 0; i < v.n; i++)
			if (v.value[i] == to)
				return shared_key(v.keys, i);
	return dict ? gcs_dict_key_of(dict, to, &unused) : NULL;
}

/* ---- members ---- */

static bool is_reference(const struct member *m, PyObject *type)
{
	return (m->type == MEMBER_OBJECT || m->type == MEMBER_OBJECT_EX) && m->offset > GCS_OB_TYPE &&
	       m->offset + 8 <= gcs_type_basicsize(type);
}

static const char *member_name(PyObject *type, PyObject *from, PyObject *to)
{
	const struct member *m = gcs_type_word(type, GCS_TP_MEMBERS);

	for (; m && m->name; m++)
		if (is_reference(m, type) && gcs_load_ptr(from, (uint16_t)m->offset) == to)
			return m->name;
	return NULL;
}

uint16_t gcs_member_offset(PyObject *type, const char *name)
{
	const struct member *m = at.members ? gcs_type_word(type, GCS_TP_MEMBERS) : NULL;

	for (; m && m->name; m++)
		if (!strcmp(m->name, name))
			return (uint16_t)m->offset;
	return 0;
}

static const char *learned_name(PyObject *type, PyObject *from, PyObject *to)
{
	for (size_t i = 0; i < at.nlearned; i++)
		if (at.learned[i].type == type && gcs_load_ptr(from, at.learned[i].offset) == to)
			return at.learned[i].attribute;
	return NULL;
}

static const char *fixed_name(PyObject *from, PyObject *to)
{
	const char *name = NULL;

	for (PyObject *t = gcs_type_of(from); t && !name; t = gcs_type_word(t, GCS_TP_BASE)) {
		name = member_name(t, from, to);
		if (!name)
			name = learned_name(t, from, to);
	}
	return name;
}

static const char *class_part(PyObject *type, PyObject *to)
{
	if (gcs_load_ptr(type, gcs_layout.tp_mro) == to)
		return "__mro__";
	if (gcs_type_word(type, GCS_TP_BASES) == to)
		return "__bases__";
	if (gcs_type_word(type, GCS_TP_BASE) == to)
		return "__base__";
	return NULL;
}

bool gcs_attr_name_gil(PyObject *from, PyObject *to, char *out, size_t size)
{
	const char *name = NULL;
	PyObject *key;

	if (!at.members)
		return false;
	if (gcs_type_of(from) == to)
		name = "__class__";
	else if (gcs_instance_dict_gil(from) == to)
		name = "__dict__";
	else if (gcs_object_is(from, GCS_TPFLAG_TYPE))
		name = class_part(from, to);
	if (!name && (key = instance_key(from, to))) {
		gcs_text_attr_gil(key, out, size);
		return true;
	}
	if (!name)
		name = fixed_name(from, to);
	if (name)
		gcs_text_plain(".", name, out, size);
	return name != NULL;
}

/* ---- learning ---- */

void gcs_attrs_note(PyObject *type, const char *attribute, uint16_t offset)
{
	if (!offset || at.nlearned == LEARNED_MAX)
		return;
	at.learned[at.nlearned].type = type;
	at.learned[at.nlearned].attribute = attribute;
	at.learned[at.nlearned++].offset = offset;
}

void gcs_attrs_learn_gil(PyObject *type, PyObject *sample, const char *attribute)
{
	Py_ssize_t size = gcs_type_basicsize(type), found = 0;
	PyObject *value;
	int times = 0;

	if (!sample || gcs_member_offset(type, attribute))
		return; /* a member is found without */
	value = py.PyObject_GetAttrString(sample, attribute);
	if (!value) {
		py.PyErr_Clear();
		return;
	}
	for (Py_ssize_t offset = GCS_OB_TYPE + 8; offset + 8 <= size; offset += 8)
		if (gcs_load_ptr(sample, (uint16_t)offset) == value) {
			found = offset;
			times++;
		}
	py.Py_DecRef(value);
	if (times == 1)
		gcs_attrs_note(type, attribute, (uint16_t)found);
}

uint16_t gcs_attrs_learned(PyObject *type, const char *attribute)
{
	for (size_t i = 0; i < at.nlearned; i++)
		if (at.learned[i].type == type && !strcmp(at.learned[i].attribute, attribute))
			return at.learned[i].offset;
	return 0;
}

/* ---- the probe ---- */

static bool peek_text_is(uintptr_t address, const char *text)
{
	uintptr_t word;

	return gcs_peek(address, &word) && !strncmp((const char *)&word, text, sizeof(word));
}

/* The members of a bound method are the same in every version. */
static bool members_agree(void)
{
	uintptr_t table = (uintptr_t)gcs_type_word(py.PyMethod_Type, GCS_TP_MEMBERS);
	uintptr_t m[10];

	return table && gcs_peek_words(table, m, 10) && peek_text_is(m[0], "__func__") && m[2] == 16 &&
	       peek_text_is(m[5], "__self__") && m[7] == 24 && (int)m[1] == MEMBER_OBJECT;
}

static bool attribute_is(PyObject *o, const char *attribute, const void *expected)
{
	PyObject *value = py.PyObject_GetAttrString(o, attribute);
	bool same = value && value == expected;

	py.Py_DecRef(value);
	py.PyErr_Clear();
	return same;
}

static bool bases_agree(PyObject *type)
{
	return attribute_is(type, "__base__", gcs_type_word(type, GCS_TP_BASE)) &&
	       attribute_is(type, "__bases__", gcs_type_word(type, GCS_TP_BASES));
}

/* Types and functions of the C API whose instances have a dict at a fixed place. */
static bool dictoffset_agrees(void)
{
	PyObject *modules = py.PyImport_GetModuleDict();
	PyObject *module = modules ? py.PyDict_GetItemString(modules, "sys") : NULL;

	return module && gcs_type_of(module) == py.PyModule_Type &&
	       (uintptr_t)gcs_type_word(py.PyModule_Type, GCS_TP_DICTOFFSET) == GCS_OB_TYPE + 8 &&
	       attribute_is(module, "__dict__", gcs_load_ptr(module, GCS_OB_TYPE + 8));
}

/* May the keys that a class has cached be read as we read them? */
static bool keys_plausible(PyObject *type)
{
	uintptr_t keys = (uintptr_t)shared_keys(type), head[4] = {0}, entry, word;
	const uint8_t *bytes = (const uint8_t *)head;

	if (!keys || !gcs_peek_words(keys, head, 4) || bytes[KEYS_KIND] != KEYS_SPLIT ||
	    bytes[KEYS_LOG2_INDEX_BYTES] > 8 || head[3] > SHARED_KEYS_MAX)
		return false;
	entry = keys + KEYS_INDICES + ((uintptr_t)1 << bytes[KEYS_LOG2_INDEX_BYTES]);
	for (uintptr_t i = 0; i < head[3]; i++)
		if (!gcs_peek(entry + i * KEYS_ENTRY, &word) || !gcs_peek(word + GCS_OB_TYPE, &word) ||
		    word != (uintptr_t)py.PyUnicode_Type)
			return false;
	return true;
}

static bool values_plausible(PyObject *obj, PyObject *type)
{
	uintptr_t words[SHARED_KEYS_MAX];
	struct values v;

	return find_values(obj, type, &v) && gcs_peek_words((uintptr_t)v.value, words, (int)v.n);
}

static bool named(PyObject *from, PyObject *to, const char *expected)
{
	PyObject *key = instance_key(from, to);
	char text[32];

	if (!key)
		return false;
	gcs_text_attr_gil(key, text, sizeof(text));
	return !strcmp(text, expected);
}

/* With two attributes, with its dict asked for, then with other values in it; no new key for the class. */
static bool managed_agrees(PyObject *type, PyObject *obj)
{
	PyObject *a = py.PyList_New(0), *b = py.PyList_New(0), *dict = NULL;
	bool ok = a && b && !py.PyObject_SetAttrString(obj, "name", a) &&
		  !py.PyObject_SetAttrString(obj, "loader", b);

	ok = ok &&
	     (py.minor < 11 || (is_managed(type) && keys_plausible(type) && values_plausible(obj, type)));
	at.managed = ok;
	ok = ok && !gcs_instance_dict_gil(obj) == (py.minor >= 11) && named(obj, a, ".name") &&
	     named(obj, b, ".loader");
	if (ok)
		dict = py.PyObject_GetAttrString(obj, "__dict__");
	ok = ok && dict && gcs_instance_dict_gil(obj) == dict && named(obj, a, ".name") &&
	     !py.PyObject_SetAttrString(obj, "loader", a) && !py.PyObject_SetAttrString(obj, "origin", b) &&
	     named(obj, b, ".origin");
	py.Py_DecRef(dict);
	py.Py_DecRef(a);
	py.Py_DecRef(b);
	return ok;
}

/* An instance of a class written in Python, made without running any of it: object.__new__(ModuleSpec). */
static PyObject *plain_instance(PyObject *type)
{
	PyObject *new = py.PyObject_GetAttrString(py.PyBaseObject_Type, "__new__");
	PyObject *obj = new ? py.PyObject_CallFunctionObjArgs(new, type, NULL) : NULL;

	py.Py_DecRef(new);
	return obj;
}

static void learn_from_samples(PyObject *type)
{
	PyObject *list = py.PyList_New(0), *weakref, *bound, *cell;

	bound = list ? py.PyObject_GetAttrString(list, "append") : NULL;
	weakref = bound ? py.PyWeakref_NewRef(type, bound) : NULL;
	cell = list ? py.PyCell_New(list) : NULL;
	gcs_attrs_learn_gil(py._PyWeakref_RefType, weakref, "__callback__");
	gcs_attrs_learn_gil(py.PyCFunction_Type, bound, "__self__");
	gcs_attrs_learn_gil(py.PyCell_Type, cell, "cell_contents");
	py.Py_DecRef(cell);
	py.Py_DecRef(weakref);
	py.Py_DecRef(bound);
	py.Py_DecRef(list);
}

void gcs_attrs_probe_gil(void)
{
	PyObject *type = gcs_some_heap_type_gil(), *obj = NULL;

	at.members = type && members_agree() && bases_agree(type);
	at.dictoffset = at.members && dictoffset_agrees();
	if (at.members) {
		learn_from_samples(type);
		obj = plain_instance(type);
	}
	at.managed = obj && managed_agrees(type, obj);
	if (!at.members)
		gcs_disable("edge_names", "the members of a type do not verify");
	else if (!at.managed || !at.dictoffset)
		gcs_disable("attribute_names", "the attributes of an instance do not verify");
	py.Py_DecRef(obj);
	py.Py_DecRef(type);
	py.PyErr_Clear();
}
