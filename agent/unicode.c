/* SPDX-License-Identifier: Apache-2.0 */
#include "unicode.h"

#include <string.h>

#include "layout.h"
#include "utf8.h"

/* Up to 3.11 a string may have a form whose characters are counted, and kept, when first asked for. */
Py_ssize_t gcs_unicode_length_gil(PyObject *str)
{
	Py_ssize_t n = py.PyUnicode_GetLength(str);

	if (n >= 0)
		return n;
	py.PyErr_Clear();
	return 0;
}

size_t gcs_unicode_begin_gil(PyObject *str, char *out, size_t size)
{
	Py_ssize_t n = gcs_unicode_length_gil(str);
	char one[GCS_UTF8_MAX];
	size_t used = 0, length;

	for (Py_ssize_t i = 0; i < n; i++, used += length) {
		length = gcs_utf8_encode(py.PyUnicode_ReadChar(str, i), one);
		if (used + length >= size)
			break;
		memcpy(out + used, one, length);
	}
	out[used] = '\0';
	return used;
}

size_t gcs_unicode_end_gil(PyObject *str, char *out, size_t size)
{
	char one[GCS_UTF8_MAX];
	size_t start = size - 1, length;

	out[start] = '\0';
	for (Py_ssize_t i = gcs_unicode_length_gil(str); i > 0; i--) {
		length = gcs_utf8_encode(py.PyUnicode_ReadChar(str, i - 1), one);
		if (length > start)
			break;
		start -= length;
		memcpy(out + start, one, length);
	}
	memmove(out, out + start, size - start);
	return size - 1 - start;
}

bool gcs_unicode_is_gil(PyObject *o, const char *text)
{
	Py_ssize_t n = (Py_ssize_t)strlen(text);

	if (gcs_type_of(o) != py.PyUnicode_Type || gcs_unicode_length_gil(o) != n)
		return false;
	for (Py_ssize_t i = 0; i < n; i++)
		if (py.PyUnicode_ReadChar(o, i) != (unsigned char)text[i])
			return false;
	return true;
}
