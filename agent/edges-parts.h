/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of edges share: edges.c (what refers how, by kind of object), edges-attrs.c (attributes:
 * instance dicts, inline values, members), edges-frames.c (frames, generators, closures), edges-samples.c
 * (what layouts are learned from), edges-text.c (how it is written). All of it with the GIL; none allocates,
 * writes to an object, or runs Python code after gcs_edges_probe_gil().
 */
#ifndef GCS_EDGES_PARTS_H
#define GCS_EDGES_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api.h"
#include "layout.h"

/* Items looked at in one container; a member further back has no name of its own. */
#define GCS_EDGE_ITEMS_MAX 100000

/* The length of a list or tuple, and a tuple's items: where its basic size ends, which 3.14 made longer. */
static inline Py_ssize_t gcs_length(PyObject *o)
{
	return (Py_ssize_t)(intptr_t)gcs_load_ptr(o, GCS_OB_TYPE + 8);
}

static inline PyObject *const *gcs_tuple_items(PyObject *o)
{
	return (PyObject *const *)((const char *)o + gcs_type_basicsize(py.PyTuple_Type));
}

/* ---- edges-text.c ---- */

void gcs_text_plain(const char *before, const char *text, char *out, size_t size);
/* An exact str between two pieces, escaped as in a literal, its end cut when there is no room. */
void gcs_text_str_gil(const char *before, PyObject *str, const char *after, char *out, size_t size);
void gcs_text_attr_gil(PyObject *key, char *out, size_t size); /* ".name" */
void gcs_text_key_gil(PyObject *key, char *out, size_t size);  /* "['key']", "[3]", "[...]" */
void gcs_text_index(Py_ssize_t i, char *out, size_t size);     /* "[3]" */

/* ---- edges-attrs.c ---- */

void gcs_attrs_probe_gil(void);
/* An attribute of `from`, of any kind, that is `to`. */
bool gcs_attr_name_gil(PyObject *from, PyObject *to, char *out, size_t size);
/* Where in its instances a type, not its bases, keeps a member (PyMemberDef); 0. */
uint16_t gcs_member_offset(PyObject *type, const char *name);
/*
 * Learns at which place in an object of `type` the attribute stands that `sample` has, by looking for it.
 * Nothing is learned when it is not there, or at two places, or is a member anyway.
 */
void gcs_attrs_learn_gil(PyObject *type, PyObject *sample, const char *attribute);
/* The same, where the caller has found it; 0 is no place. */
void gcs_attrs_note(PyObject *type, const char *attribute, uint16_t offset);
/* The place of a learned attribute; 0. */
uint16_t gcs_attrs_learned(PyObject *type, const char *attribute);
/* The key of a dict's first value that is `to`; NULL. */
PyObject *gcs_dict_key_of(PyObject *dict, PyObject *to, bool *is_key);

/* ---- edges-samples.c ---- */

struct gcs_samples {
	PyObject *a, *cell; /* local a, and what the closure's cell holds */
	PyObject *function; /* of three locals and a free variable, that makes a generator */
	PyObject *code;     /* its code; borrowed */
	PyObject *created, *suspended, *ended, *ended_too; /* generators */
	PyObject *traceback;                               /* of two levels */
};

/* Everything is dropped by gcs_samples_drop_gil(), also when not all could be made. */
bool gcs_samples_make_gil(struct gcs_samples *s);
void gcs_samples_drop_gil(struct gcs_samples *s);
/* Learns the attributes of functions (afterwards s->code is known; false: it is not) and of exceptions. */
bool gcs_samples_function_gil(struct gcs_samples *s);
void gcs_samples_exception_gil(const struct gcs_samples *s);
/*
 * The word of an object that leads to an object of a type, of which `is` holds (if given); 0 when there is
 * none. Foreign words are read with care: not each of them is a pointer.
 */
uint16_t gcs_find_word(PyObject *o, PyObject *type, bool (*is)(PyObject *, const struct gcs_samples *),
		       const struct gcs_samples *s);

/* ---- edges-frames.c ---- */

void gcs_frames_probe_gil(void);
/* A local of a frame or generator, or what else a frame holds; a function's closure cell. */
bool gcs_frame_edge_gil(PyObject *from, PyObject *to, char *out, size_t size);
/* The code object of a function, frame or generator; NULL. */
PyObject *gcs_code_of(PyObject *obj);
/* The name of a code object, qualified from 3.11 on; NULL. */
PyObject *gcs_code_name(PyObject *code);

#endif
