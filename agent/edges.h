/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How one object refers to another, in Python's words, read from layouts: no Python code runs, no object is
 * made, nothing is written. With the GIL, also inside the gc callback, on objects that are garbage but whole.
 *
 * The layouts used are verified at attach (gcs_edges_probe_gil) on objects made for that; what does not
 * verify yields "?" for its edges, never a guess.
 */
#ifndef GCS_EDGES_H
#define GCS_EDGES_H

#include <stdbool.h>
#include <stddef.h>

#include "api.h"
#include "steps.h"

#define GCS_VIA_MAX 80

/* At attach, after gcs_layout_probe_gil(). */
void gcs_edges_probe_gil(void);

/*
 * Writes how `from` refers to `to`: ".attr" (instance dict, inline values, slots, and what builtins have:
 * ".__self__", ".__func__", ".gi_frame", ".tb_frame", ".tb_next", ".f_back", ".__cause__", ".__context__",
 * ".__traceback__", ".args", ".func", ".keywords", ".__dict__", ".__mro__", ".__bases__", ".__class__",
 * ".__globals__", ".__defaults__", ".__callback__", ".cell_contents", a Future's "._exception", ...);
 * "['key']" (a str key, escaped and cut), "[3]" (list, tuple, int key), "[...]" (other keys, items of a
 * deque); "closure x" (from a function to its cell; to the tuple of cells it is ".__closure__"), "local x"
 * (of a frame, also from a generator or coroutine to what its frame holds), "on stack" (a frame's temporary),
 * "function" (of a frame), "a key" (to a dict's key), "in set", "in cache" (functools.lru_cache). "?" else.
 */
void gcs_edge_name_gil(PyObject *from, PyObject *to, char *out, size_t size);

/*
 * The dict that is obj's own __dict__ (a class's too), when it is an object of its own; NULL when there is
 * none. Used to show Foo -> dict -> Bar as Foo.attr -> Bar, alike in every version.
 */
PyObject *gcs_instance_dict_gil(PyObject *obj);
/* A function's tuple of closure cells; NULL. Shown as part of the function. */
PyObject *gcs_closure_tuple_gil(PyObject *obj);

enum gcs_step_kind gcs_step_kind_gil(PyObject *obj);
/* A function's, frame's, generator's or class's qualified name into out; false when it has none. */
bool gcs_object_name_gil(PyObject *obj, char *out, size_t size);
/* Has the object a finalizer: tp_finalize (hence __del__ too), or tp_del? Generators and coroutines are not meant. */
bool gcs_has_finalizer_gil(PyObject *obj);

#endif
