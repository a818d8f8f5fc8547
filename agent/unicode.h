/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of the target's strings, read character by character: PyUnicode_AsUTF8() would keep a copy in the string,
 * which sys.getsizeof() shows, and raise an exception where there is no UTF-8. With the GIL; nothing is allocated,
 * nothing is raised, no Python code runs.
 */
#ifndef GCS_UNICODE_H
#define GCS_UNICODE_H

#include <stdbool.h>
#include <stddef.h>

#include "api.h"

/* In characters; 0 when there is no memory to count them. */
Py_ssize_t gcs_unicode_length_gil(PyObject *str);
/*
 * Its beginning or its end as UTF-8, of whole characters, as many as there is room for; a lone surrogate as "\udc80".
 * The number of bytes, which a NUL follows. A beginning that was cut has filled `out` but for GCS_UTF8_MAX - 1 bytes.
 */
size_t gcs_unicode_begin_gil(PyObject *str, char *out, size_t size);
size_t gcs_unicode_end_gil(PyObject *str, char *out, size_t size);
/* Is it an exact str of this text, which is ASCII? */
bool gcs_unicode_is_gil(PyObject *o, const char *text);

#endif
