/* SPDX-License-Identifier: Apache-2.0 */
/* How references are written. */
#include "edges-parts.h"

#include <stdio.h>
#include <string.h>

#include "edges.h"
#include "unicode.h"
#include "utf8.h"

#define PIECE_SIZE (GCS_UTF8_MAX + 1)

void gcs_text_plain(const char *before, const char *text, char *out, size_t size)
{
	size_t n = (size_t)snprintf(out, size, "%s%s", before, text);

	if (n < size || size < 4)
		return;
	n = size - 4;
	while (n > 0 && ((unsigned char)out[n] & 0xC0) == 0x80)
		n--;
	memcpy(out + n, "...", 4);
}

static int piece_of(uint32_t c, char *p)
{
	if (c == '\'' || c == '\\') {
		p[0] = '\\';
		p[1] = (char)c;
		return 2;
	}
	if (c < 0x20 || (c >= 0x7F && c < 0xA0))
		return snprintf(p, PIECE_SIZE, "\\x%02x", c);
	return (int)gcs_utf8_encode(c, p);
}

void gcs_text_str_gil(const char *before, PyObject *str, const char *after, char *out, size_t size)
{
	size_t fixed = strlen(before) + strlen(after) + 4; /* "..." and the end */
	Py_ssize_t n = gcs_unicode_length_gil(str);
	char piece[PIECE_SIZE], *p, *end;
	int length;

	if (size < fixed) {
		gcs_text_plain("?", "", out, size);
		return;
	}
	p = stpcpy(out, before);
	end = p + (size - fixed);
	for (Py_ssize_t i = 0; i < n; i++) {
		length = piece_of(py.PyUnicode_ReadChar(str, i), piece);
		if (p + length > end) {
			p = stpcpy(p, "...");
			break;
		}
		memcpy(p, piece, (size_t)length);
		p += length;
	}
	strcpy(p, after);
}

/* As far as it is shown. */
static bool is_identifier(PyObject *str)
{
	Py_ssize_t n = gcs_unicode_length_gil(str);

	for (Py_ssize_t i = 0; i < n && i < GCS_VIA_MAX; i++) {
		uint32_t c = py.PyUnicode_ReadChar(str, i);

		if (!(c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (i > 0 && c >= '0' && c <= '9') || (c >= 0xA0 && !(c >= 0xD800 && c < 0xE000))))
			return false;
	}
	return n > 0;
}

void gcs_text_attr_gil(PyObject *key, char *out, size_t size)
{
	if (gcs_type_of(key) != py.PyUnicode_Type)
		gcs_text_plain(".__dict__[...]", "", out, size);
	else if (is_identifier(key))
		gcs_text_str_gil(".", key, "", out, size);
	else
		gcs_text_str_gil(".__dict__['", key, "']", out, size);
}

void gcs_text_index(Py_ssize_t i, char *out, size_t size)
{
	snprintf(out, size, "[%zd]", i);
}

void gcs_text_key_gil(PyObject *key, char *out, size_t size)
{
	int overflow = 0;
	long n;

	if (gcs_type_of(key) == py.PyUnicode_Type) {
		gcs_text_str_gil("['", key, "']", out, size);
		return;
	}
	if (gcs_type_of(key) == py.PyLong_Type) {
		n = py.PyLong_AsLongAndOverflow(key, &overflow);
		if (!overflow) {
			gcs_text_index(n, out, size);
			return;
		}
	}
	gcs_text_plain("[...]", "", out, size);
}
