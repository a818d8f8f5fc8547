/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"
#include "xalloc.h"

/* Marks that stand on the character before them. */
static const struct gcs_utf8_range combining[] = {
	{0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x0610, 0x061a}, {0x064b, 0x065f},
	{0x0670, 0x0670}, {0x06d6, 0x06dc}, {0x06df, 0x06e4}, {0x0900, 0x0902}, {0x093c, 0x093c},
	{0x0941, 0x0948}, {0x094d, 0x094d}, {0x0e31, 0x0e31}, {0x0e34, 0x0e3a}, {0x0e47, 0x0e4e},
	{0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x20d0, 0x20ff}, {0x302a, 0x302d}, {0x3099, 0x309a},
	{0xfe20, 0xfe2f},
};

/* East Asian wide and full-width characters, and emoji. */
static const struct gcs_utf8_range wide[] = {
	{0x1100, 0x115f},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23ec},
	{0x25fd, 0x25fe},   {0x2614, 0x2615},   {0x2e80, 0x303e},   {0x3041, 0x33ff},
	{0x3400, 0x4dbf},   {0x4e00, 0xa4cf},   {0xa960, 0xa97f},   {0xac00, 0xd7a3},
	{0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},
	{0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

char *gcs_text_safe(const char *s, unsigned flags)
{
	size_t len, n;
	char *out;

	if (!s)
		return xstrdup("-");
	len = strlen(s);
	n = gcs_escape_text(NULL, 0, s, len, flags);
	out = xmalloc(n + 1);
	gcs_escape_text(out, n + 1, s, len, flags);
	return out;
}

char *gcs_text_utf8(const char *s, size_t len)
{
	char *out = xmalloc(len * 3 + 1);
	size_t w = 0;

	for (size_t i = 0; i < len;) {
		uint32_t c;
		size_t n = gcs_utf8_decode(s + i, len - i, &c);
		size_t m = c == GCS_UTF8_BAD ? strlen(GCS_UTF8_REPLACEMENT) : n;

		memcpy(out + w, c == GCS_UTF8_BAD ? GCS_UTF8_REPLACEMENT : s + i, m);
		w += m;
		i += n;
	}
	out[w] = '\0';
	return out;
}

void gcs_text_basenames(char *command)
{
	char *out = command;

	for (char *word = command; *word;) {
		size_t n = strcspn(word, " ");
		char *from = word;

		for (char *p = word; *word == '/' && p + 1 < word + n; p++)
			if (*p == '/')
				from = p + 1;
		memmove(out, from, (size_t)(word + n - from));
		out += word + n - from;
		word += n;
		while (*word == ' ')
			*out++ = *word++;
	}
	*out = '\0';
}

static size_t char_width(uint32_t c)
{
	if (c < 0x300)
		return 1;
	if (gcs_utf8_in(c, combining, COUNT(combining)))
		return 0;
	return gcs_utf8_in(c, wide, COUNT(wide)) ? 2 : 1;
}

/* Steps over one character at *s; returns its columns. */
static size_t step(const char **s)
{
	uint32_t c;

	*s += gcs_utf8_decode(*s, strnlen(*s, 4), &c);
	return c == GCS_UTF8_BAD ? 1 : char_width(c);
}

size_t gcs_text_width(const char *s)
{
	size_t columns = 0;

	while (*s)
		columns += step(&s);
	return columns;
}

size_t gcs_text_fit(const char *s, size_t columns)
{
	const char *p = s, *fits = s;
	size_t used = 0;

	while (*p) {
		used += step(&p);
		if (used > columns)
			break;
		fits = p;
	}
	return (size_t)(fits - s);
}

char *gcs_text_plain(char *out, double n, int digits)
{
	if (!isfinite(n))
		return strcpy(out, "-");
	snprintf(out, GCS_UNIT_MAX, "%.*g", digits, n);
	return out;
}
