/* SPDX-License-Identifier: Apache-2.0 */
#include "utf8.h"

/* The bytes that a lead byte announces, 0 when it is none; the second must lie in low..high. */
static size_t lead(unsigned char b, unsigned char *low, unsigned char *high)
{
	*low = 0x80;
	*high = 0xbf;
	if (b < 0x80)
		return 1;
	if (b < 0xc2 || b > 0xf4)
		return 0;
	if (b == 0xe0)
		*low = 0xa0; /* overlong */
	else if (b == 0xed)
		*high = 0x9f; /* surrogates */
	else if (b == 0xf0)
		*low = 0x90; /* overlong */
	else if (b == 0xf4)
		*high = 0x8f; /* above U+10FFFF */
	return b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
}

size_t gcs_utf8_decode(const char *text, size_t len, uint32_t *code)
{
	const unsigned char *s = (const unsigned char *)text;
	unsigned char low, high;
	size_t n = lead(s[0], &low, &high);
	uint32_t c;

	*code = GCS_UTF8_BAD;
	if (!n)
		return 1;
	c = n == 1 ? s[0] : s[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if (i == len || s[i] < low || s[i] > high)
			return i;
		c = c << 6 | (s[i] & 0x3f);
		low = 0x80;
		high = 0xbf;
	}
	*code = c;
	return n;
}

static size_t escape(uint32_t c, char *out)
{
	static const char digit[] = "0123456789abcdef";

	out[0] = '\\';
	out[1] = 'u';
	for (int i = 0; i < 4; i++)
		out[2 + i] = digit[c >> (12 - 4 * i) & 0xf];
	return 6;
}

size_t gcs_utf8_encode(uint32_t c, char out[GCS_UTF8_MAX])
{
	static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	if ((c >= 0xd800 && c < 0xe000) || c > 0x10ffff)
		return escape(c, out);
	for (size_t i = n - 1; i > 0; i--) {
		out[i] = (char)(0x80 | (c & 0x3f));
		c >>= 6;
	}
	out[0] = (char)(first[n] | c);
	return n;
}

bool gcs_utf8_in(uint32_t c, const struct gcs_utf8_range *r, size_t n)
{
	for (size_t i = 0; i < n && c >= r[i].first; i++)
		if (c <= r[i].last)
			return true;
	return false;
}
