/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See request.h. One pass over the line, which becomes NUL-ended strings in place: decoding %XX only ever
 * shortens. Each byte is looked at once and nothing outside line[0..len] is touched.
 */
#include "request.h"

#include <string.h>

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Ends at the first byte that no name may hold; NULL when that is the very first. */
static char *skip_name(char *p)
{
	char *start = p;

	while (is_name_char(*p))
		p++;
	return p == start ? NULL : p;
}

/* Decodes the value at p in place. The end of its text, or NULL with *why. */
static char *decode_value(char *p, const char **why)
{
	char *out = p;
	int high, low;

	while (*p && !is_space(*p)) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f) {
			*why = "control character in a value: write it as %XX";
			return NULL;
		}
		if (*p != '%') {
			*out++ = *p++;
			continue;
		}
		high = hex_digit(p[1]);
		low = high < 0 ? -1 : hex_digit(p[2]);
		if (low < 0 || !(high | low)) {
			*why = low < 0 ? "% is not followed by two hex digits" : "%00 in a value";
			return NULL;
		}
		*out++ = (char)(high << 4 | low);
		p += 3;
	}
	/* When nothing was decoded this byte is the separator itself: the caller must look at it first. */
	if (out != p)
		*out = '\0';
	return p;
}

/* One pair at p; the end of its text, or NULL with *why. */
static char *parse_pair(struct gcs_request *r, char *p, const char **why)
{
	char *key = p, *value;

	p = skip_name(p);
	if (!p || *p != '=') {
		*why = "expected key=value, keys of a-z, 0-9 and _";
		return NULL;
	}
	*p = '\0';
	value = p + 1;
	if (gcs_request_get(r, key)) {
		*why = "a key is given twice";
		return NULL;
	}
	if (r->npairs == GCS_REQUEST_PAIRS) {
		*why = "too many keys";
		return NULL;
	}
	p = decode_value(value, why);
	if (!p)
		return NULL;
	r->pair[r->npairs].key = key;
	r->pair[r->npairs].value = value;
	r->npairs++;
	return p;
}

/* Ends the text before p and goes on to what follows the white space there. */
static char *next_word(char *p)
{
	char *end = p;

	while (is_space(*p))
		p++;
	*end = '\0';
	return p;
}

int gcs_request_parse(struct gcs_request *r, char *line, size_t len, const char **why)
{
	char *p = line;

	memset(r, 0, sizeof(*r));
	if (len && line[len - 1] == '\r')
		len--;
	line[len] = '\0';
	if (memchr(line, '\0', len)) {
		*why = "NUL byte in the line";
		return -1;
	}
	while (is_space(*p))
		p++;
	r->verb = p;
	p = skip_name(p);
	if (!p || (*p && !is_space(*p))) {
		*why = *line ? "expected a verb of a-z, 0-9 and _" : "empty line";
		return -1;
	}
	for (p = next_word(p); *p; p = next_word(p)) {
		p = parse_pair(r, p, why);
		if (!p)
			return -1;
	}
	return 0;
}

const char *gcs_request_get(const struct gcs_request *r, const char *key)
{
	size_t i;

	for (i = 0; i < r->npairs; i++)
		if (!strcmp(r->pair[i].key, key))
			return r->pair[i].value;
	return NULL;
}

int gcs_request_uint(const struct gcs_request *r, const char *key, unsigned long min, unsigned long max,
		     unsigned long *out)
{
	const char *s = gcs_request_get(r, key);
	unsigned long value = 0;

	if (!s)
		return 0;
	if (!*s)
		return -1;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (unsigned long)(*s - '0'), &value))
			return -1;
	}
	if (value < min || value > max)
		return -1;
	*out = value;
	return 0;
}

const char *gcs_request_unknown_key(const struct gcs_request *r, const char *const *known)
{
	const char *const *k;
	size_t i;

	for (i = 0; i < r->npairs; i++) {
		for (k = known; *k; k++)
			if (!strcmp(r->pair[i].key, *k))
				break;
		if (!*k)
			return r->pair[i].key;
	}
	return NULL;
}

static unsigned topic_bit(const char *name, size_t len)
{
	static const struct {
		const char name[12];
		unsigned bit;
	} topics[] = {
		{"gc", GCS_TOPIC_GC},   {"census", GCS_TOPIC_CENSUS}, {"suspects", GCS_TOPIC_SUSPECTS},
		{"log", GCS_TOPIC_LOG}, {"cycles", GCS_TOPIC_CYCLES},
	};
	size_t i;

	for (i = 0; i < sizeof(topics) / sizeof(topics[0]); i++)
		if (strlen(topics[i].name) == len && !memcmp(topics[i].name, name, len))
			return topics[i].bit;
	return 0;
}

unsigned gcs_request_topics(const char *list)
{
	unsigned bits = 0, bit;
	size_t len;

	for (;;) {
		len = strcspn(list, ",");
		bit = topic_bit(list, len);
		if (!bit)
			return 0;
		bits |= bit;
		if (!list[len])
			return bits;
		list += len + 1;
	}
}
