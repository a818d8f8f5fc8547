/* SPDX-License-Identifier: Apache-2.0 */
#include "unicode.h"

#include <string.h>

#include "layout.h"

/* Up to 3.11 a string may have a form that takes memory to count. */
static Py_ssize_t length_of(PyObject *str)
{
	Py_ssize_t n = py.PyUnicode_GetLength(str);

	if (n >= 0)
		return n;
	py.PyErr_Clear();
	return 0;
}

bool gcs_unicode_is_gil(PyObject *o, const char *text)
{
	Py_ssize_t n = (Py_ssize_t)strlen(text);

	if (gcs_type_of(o) != py.PyUnicode_Type || length_of(o) != n)
		return false;
	for (Py_ssize_t i = 0; i < n; i++)
		if (py.PyUnicode_ReadChar(o, i) != (unsigned char)text[i])
			return false;
	return true;
}
