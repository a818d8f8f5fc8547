/* SPDX-License-Identifier: Apache-2.0 */
#include "escape.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "utf8.h"

#define ONE_MAX 20 /* bytes that one character, or what is not one, may become; NUL included */

/*
 * Characters that show nothing, or change how others show: C0, C1, soft hyphen, fillers, zero-width
 * and bidirectional controls, line separators, variation selectors, byte order mark, tags.
 */
static const struct gcs_utf8_range hidden[] = {
	{0x0000, 0x001f}, {0x007f, 0x009f}, {0x00ad, 0x00ad},   {0x034f, 0x034f},   {0x061c, 0x061c},
	{0x115f, 0x1160}, {0x17b4, 0x17b5}, {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},
	{0x2060, 0x206f}, {0x3164, 0x3164}, {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},
	{0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
};

/* n bytes that are no character. */
static size_t escape_bad(char buf[ONE_MAX], const char *s, size_t n, unsigned flags)
{
	size_t w = 0;

	if (flags & GCS_ESCAPE_REPLACE && !(flags & GCS_ESCAPE_NOT_ASCII))
		return (size_t)snprintf(buf, ONE_MAX, "%s", GCS_UTF8_REPLACEMENT);
	if (flags & GCS_ESCAPE_REPLACE)
		return (size_t)snprintf(buf, ONE_MAX, "\\ufffd");
	for (size_t i = 0; i < n; i++)
		w += (size_t)snprintf(buf + w, ONE_MAX - w, "\\x%02x", (unsigned char)s[i]);
	return w;
}

/* The character c, of n bytes at s: its escape, or itself. */
static size_t escape_one(char buf[ONE_MAX], const char *s, size_t n, uint32_t c, unsigned flags)
{
	if (c == GCS_UTF8_BAD)
		return escape_bad(buf, s, n, flags);
	if (c == '\n' || c == '\r' || c == '\t')
		return (size_t)snprintf(buf, ONE_MAX, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
	if (c == '\\' && !(flags & GCS_ESCAPE_NOT_BACKSLASH))
		return (size_t)snprintf(buf, ONE_MAX, "\\\\");
	if (c < 0x20 || c == 0x7f || (c == ' ' && (flags & GCS_ESCAPE_SPACE)))
		return (size_t)snprintf(buf, ONE_MAX, "\\x%02x", (unsigned)c);
	if (gcs_utf8_in(c, hidden, sizeof(hidden) / sizeof(hidden[0])) ||
	    (c >= 0x80 && (flags & GCS_ESCAPE_NOT_ASCII)))
		return (size_t)snprintf(buf, ONE_MAX, c > 0xffff ? "\\U%08x" : "\\u%04x", (unsigned)c);
	memcpy(buf, s, n);
	return n;
}

size_t gcs_escape_text(char *out, size_t size, const char *s, size_t len, unsigned flags)
{
	size_t total = 0, kept = 0;
	bool full = size == 0;

	for (size_t i = 0; i < len;) {
		char buf[ONE_MAX];
		uint32_t c;
		size_t n = gcs_utf8_decode(s + i, len - i, &c);
		size_t w = escape_one(buf, s + i, n, c, flags);

		if (!full && kept + w < size) {
			memcpy(out + kept, buf, w);
			kept += w;
		} else {
			full = true;
		}
		total += w;
		i += n;
	}
	if (size)
		out[kept] = '\0';
	return total;
}
