/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of the target's strings, read character by character: PyUnicode_AsUTF8() would keep a copy in the string,
 * which sys.getsizeof() shows, and raise an exception where there is no UTF-8. With the GIL; nothing is allocated,
 * nothing is raised, no Python code runs.
 */
#ifndef GCS_UNICODE_H
#define GCS_UNICODE_H

#include <stdbool.h>

#include "api.h"

/* Is it an exact str of this text, which is ASCII? */
bool gcs_unicode_is_gil(PyObject *o, const char *text);

#endif
