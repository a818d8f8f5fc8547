/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

struct range {
	uint32_t first;
	uint32_t last;
};

/*
 * Characters that show nothing, or change how others show: C0, C1, soft hyphen, fillers, zero-width
 * and bidirectional controls, line separators, variation selectors, byte order mark, tags.
 */
static const struct range hidden[] = {
	{0x0000, 0x001f}, {0x007f, 0x009f},   {0x00ad, 0x00ad},   {0x034f, 0x034f},
	{0x061c, 0x061c}, {0x115f, 0x1160},   {0x17b4, 0x17b5},   {0x180b, 0x180f},
	{0x200b, 0x200f}, {0x2028, 0x202e},   {0x2060, 0x206f},   {0x3164, 0x3164},
	{0xfe00, 0xfe0f}, {0xfeff, 0xfeff},   {0xffa0, 0xffa0},   {0xfff0, 0xfffb},
	{0xfffe, 0xffff}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
};

/* Marks that stand on the character before them. */
static const struct range combining[] = {
	{0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x0610, 0x061a}, {0x064b, 0x065f},
	{0x0670, 0x0670}, {0x06d6, 0x06dc}, {0x06df, 0x06e4}, {0x0900, 0x0902}, {0x093c, 0x093c},
	{0x0941, 0x0948}, {0x094d, 0x094d}, {0x0e31, 0x0e31}, {0x0e34, 0x0e3a}, {0x0e47, 0x0e4e},
	{0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x20d0, 0x20ff}, {0x302a, 0x302d}, {0x3099, 0x309a},
	{0xfe20, 0xfe2f},
};

/* East Asian wide and full-width characters, and emoji. */
static const struct range wide[] = {
	{0x1100, 0x115f},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23ec},
	{0x25fd, 0x25fe},   {0x2614, 0x2615},   {0x2e80, 0x303e},   {0x3041, 0x33ff},
	{0x3400, 0x4dbf},   {0x4e00, 0xa4cf},   {0xa960, 0xa97f},   {0xac00, 0xd7a3},
	{0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},
	{0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool in_ranges(uint32_t c, const struct range *r, size_t n)
{
	for (size_t i = 0; i < n && c >= r[i].first; i++)
		if (c <= r[i].last)
			return true;
	return false;
}

/* The bytes that a UTF-8 lead byte announces, and its own bits; 0 when it is none. */
static size_t lead(unsigned char b, uint32_t *bits)
{
	if (b < 0x80)
		return *bits = b, 1;
	if (b >= 0xc2 && b <= 0xdf)
		return *bits = b & 0x1f, 2;
	if (b >= 0xe0 && b <= 0xef)
		return *bits = b & 0x0f, 3;
	if (b >= 0xf0 && b <= 0xf4)
		return *bits = b & 0x07, 4;
	return 0;
}

/*
 * Decodes one character of s[0..len). Returns its bytes; 0 when it is not UTF-8. len is at least 1.
 */
static size_t decode(const char *s, size_t len, uint32_t *out)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t c;
	size_t n = lead((unsigned char)s[0], &c);

	if (!n || n > len)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | ((unsigned char)s[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*out = c;
	return n;
}

/*
 * Writes the escape of the character c at s (n bytes; 0: one byte that is not UTF-8), or copies it.
 */
static int escape_one(char buf[16], const char *s, size_t n, uint32_t c, unsigned flags)
{
	if (n == 0)
		return snprintf(buf, 16, "\\x%02x", (unsigned char)*s);
	if (c == '\n' || c == '\r' || c == '\t')
		return snprintf(buf, 16, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
	if (c == '\\' && !(flags & GCS_TEXT_BACKSLASH))
		return snprintf(buf, 16, "\\\\");
	if (c < 0x20 || c == 0x7f || (c == ' ' && (flags & GCS_TEXT_WORD)))
		return snprintf(buf, 16, "\\x%02x", (unsigned)c);
	if (in_ranges(c, hidden, COUNT(hidden)) || (c >= 0x80 && (flags & GCS_TEXT_ASCII)))
		return snprintf(buf, 16, c > 0xffff ? "\\U%08x" : "\\u%04x", (unsigned)c);
	memcpy(buf, s, n);
	return (int)n;
}

size_t gcs_text_escape(char *out, size_t size, const char *s, size_t len, unsigned flags)
{
	size_t total = 0, kept = 0;
	bool full = size == 0;

	for (size_t i = 0; i < len;) {
		char buf[16];
		uint32_t c = 0;
		size_t n = decode(s + i, len - i, &c);
		size_t w = (size_t)escape_one(buf, s + i, n, c, flags);

		if (!full && kept + w < size) {
			memcpy(out + kept, buf, w);
			kept += w;
		} else {
			full = true;
		}
		total += w;
		i += n ? n : 1;
	}
	if (size)
		out[kept] = '\0';
	return total;
}

char *gcs_text_safe(const char *s, unsigned flags)
{
	size_t len, n;
	char *out;

	if (!s)
		return xstrdup("-");
	len = strlen(s);
	n = gcs_text_escape(NULL, 0, s, len, flags);
	out = xmalloc(n + 1);
	gcs_text_escape(out, n + 1, s, len, flags);
	return out;
}

char *gcs_text_utf8(const char *s, size_t len)
{
	char *out = xmalloc(len * 3 + 1);
	size_t w = 0;

	for (size_t i = 0; i < len;) {
		uint32_t c;
		size_t n = decode(s + i, len - i, &c);

		memcpy(out + w, n ? s + i : "\xef\xbf\xbd", n ? n : 3);
		w += n ? n : 3;
		i += n ? n : 1;
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
	if (in_ranges(c, combining, COUNT(combining)))
		return 0;
	return in_ranges(c, wide, COUNT(wide)) ? 2 : 1;
}

/* Steps over one character at *s; returns its columns. */
static size_t step(const char **s)
{
	uint32_t c;
	size_t n = decode(*s, strnlen(*s, 4), &c);

	*s += n ? n : 1;
	return n ? char_width(c) : 1;
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

/* One decimal below 100, none above: three digits say enough. */
static char *scaled(char *out, double v, const char *sep, const char *unit)
{
	snprintf(out, GCS_UNIT_MAX, fabs(v) < 99.95 ? "%.1f%s%s" : "%.0f%s%s", v, sep, unit);
	return out;
}

static char *dash(char *out)
{
	return strcpy(out, "-");
}

char *gcs_text_int(char *out, double n)
{
	if (!isfinite(n))
		return dash(out);
	snprintf(out, GCS_UNIT_MAX, "%.0f", fabs(n) < 1e20 ? n : copysign(1e20, n));
	return out;
}

char *gcs_text_plain(char *out, double n, int digits)
{
	if (!isfinite(n))
		return dash(out);
	snprintf(out, GCS_UNIT_MAX, "%.*g", digits, n);
	return out;
}

char *gcs_text_count(char *out, double n)
{
	static const char *const unit[] = {"", "k", "M", "G", "T", "P"};
	size_t u = 0;

	if (!isfinite(n))
		return dash(out);
	if (fabs(n) < 999.5) {
		snprintf(out, GCS_UNIT_MAX, "%.0f", n);
		return out;
	}
	for (; fabs(n) >= 999.5 && u + 1 < COUNT(unit); u++)
		n /= 1000;
	return scaled(out, n, "", unit[u]);
}

char *gcs_text_bytes(char *out, double n, const char *sep)
{
	static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	size_t u = 0;

	if (!isfinite(n))
		return dash(out);
	for (; fabs(n) >= 1023.5 && u + 1 < COUNT(unit); u++)
		n /= 1024;
	if (u == 0) {
		snprintf(out, GCS_UNIT_MAX, "%.0f%sB", n, sep);
		return out;
	}
	return scaled(out, n, sep, unit[u]);
}

char *gcs_text_ns(char *out, double ns, const char *sep)
{
	static const char *const unit[] = {"ns", "us", "ms", "s"};
	size_t u = 0;

	if (!isfinite(ns))
		return dash(out);
	if (ns >= 120e9)
		return gcs_text_span(out, ns / 1e9);
	for (; fabs(ns) >= 999.5 && u + 1 < COUNT(unit); u++)
		ns /= 1000;
	if (u == 0) {
		snprintf(out, GCS_UNIT_MAX, "%.0f%sns", ns, sep);
		return out;
	}
	return scaled(out, ns, sep, unit[u]);
}

char *gcs_text_span(char *out, double seconds)
{
	unsigned long long s;

	if (!isfinite(seconds) || seconds < 0 || seconds > 1e15)
		return dash(out);
	s = (unsigned long long)seconds;
	if (s < 60)
		snprintf(out, GCS_UNIT_MAX, "%llus", s);
	else if (s < 3600)
		snprintf(out, GCS_UNIT_MAX, "%llum%02llus", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, GCS_UNIT_MAX, "%lluh%02llum", s / 3600, s % 3600 / 60);
	else
		snprintf(out, GCS_UNIT_MAX, "%llud%02lluh", s / 86400, s % 86400 / 3600);
	return out;
}

char *gcs_text_rate(char *out, double per_s)
{
	char n[GCS_UNIT_MAX];

	if (!isfinite(per_s))
		return dash(out);
	if (per_s == 0)
		return strcpy(out, "0/s");
	if (fabs(per_s) >= 99.95)
		gcs_text_count(n, fabs(per_s));
	else
		snprintf(n, sizeof(n), fabs(per_s) >= 0.1 ? "%.1f" : "%.2g", fabs(per_s));
	snprintf(out, GCS_UNIT_MAX, "%s%.20s/s", per_s < 0 ? "-" : "+", n);
	return out;
}

char *gcs_text_byte_rate(char *out, double per_s)
{
	char n[GCS_UNIT_MAX];

	if (!isfinite(per_s))
		return dash(out);
	if (per_s == 0)
		return strcpy(out, "0/s");
	gcs_text_bytes(n, fabs(per_s), " ");
	snprintf(out, GCS_UNIT_MAX, "%s%.20s/s", per_s < 0 ? "-" : "+", n);
	return out;
}
