/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions of ours that Python calls: in gc.callbacks, at a fork, at the end.
 *
 * Up to 3.9 a built-in function looks first at how deep its caller stands. At the recursion limit ours would fail
 * there, and use up the one RecursionError that the application was about to catch: it ends with "Cannot recover from
 * stack overflow" (3.8). There the function is called past that look, by the pointer of its own that each such object has.
 */
#ifndef GCS_CALLABLE_H
#define GCS_CALLABLE_H

#include "api.h"

/* With the GIL, after gcs_layout_probe_gil(). The method is METH_FASTCALL and knows no keywords. A new reference or NULL. */
PyObject *gcs_callable_new_gil(struct gcs_method_def *def);

#endif
