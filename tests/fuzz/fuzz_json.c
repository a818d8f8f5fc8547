/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives the JSON writer with arbitrary strings, numbers and nesting, and reads the result with a strict
 * checker of its own: one line, valid UTF-8, no raw control character, grammar as in RFC 8259.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEPTH 60

#define CHECK(condition)                                                                            \
	do {                                                                                        \
		if (!(condition)) {                                                                 \
			fprintf(stderr, "%s:%d: %s in %s\n", __FILE__, __LINE__, #condition, text); \
			abort();                                                                    \
		}                                                                                   \
	} while (0)

static const char *text = "", *p; /* what is checked, and how far */

static void check_utf8(void)
{
	const unsigned char *u = (const unsigned char *)text;
	uint32_t code;
	int more;

	while (*u) {
		CHECK(*u >= 0x20 && *u != 0x7f);
		more = *u < 0x80 ? 0 : *u >= 0xf0 ? 3 : *u >= 0xe0 ? 2 : 1;
		CHECK(*u < 0x80 || (*u >= 0xc2 && *u <= 0xf4));
		code = more ? *u & (0x3f >> more) : *u;
		for (u++; more; more--, u++) {
			CHECK((*u & 0xc0) == 0x80);
			code = code << 6 | (*u & 0x3f);
			CHECK(more > 1 || code >= 0x80);
		}
		CHECK(code <= 0x10ffff && (code < 0xd800 || code > 0xdfff));
		CHECK(code < 0x80 || code > 0x9f);
		CHECK(code != 0x2028 && code != 0x2029);
	}
}

static void string(void)
{
	CHECK(*p == '"');
	for (p++; *p != '"'; p++) {
		CHECK(*p);
		if (*p != '\\')
			continue;
		p++;
		CHECK(*p && strchr("\"\\bfnrtu", *p));
		if (*p == 'u') {
			CHECK(strspn(p + 1, "0123456789abcdef") >= 4);
			p += 4;
		}
	}
	p++;
}

static void number(void)
{
	size_t n;

	p += *p == '-';
	n = strspn(p, "0123456789");
	CHECK(n > 0 && (*p != '0' || n == 1));
	p += n;
	if (*p == '.') {
		n = strspn(++p, "0123456789");
		CHECK(n > 0);
		p += n;
	}
	if (*p == 'e') {
		p++;
		p += *p == '-' || *p == '+';
		n = strspn(p, "0123456789");
		CHECK(n > 0);
		p += n;
	}
}

static void scalar(void)
{
	static const char *const words[] = {"true", "false", "null"};
	int i;

	if (*p == '"') {
		string();
		return;
	}
	for (i = 0; i < 3; i++) {
		if (!strncmp(p, words[i], strlen(words[i]))) {
			p += strlen(words[i]);
			return;
		}
	}
	number();
}

/* One value, however deep, with a stack of brackets. */
static void check_grammar(void)
{
	char stack[DEPTH + 2];
	int depth = 0;
	bool first = true;

	p = text;
	for (;;) {
		/* At a value, or at the end of an empty group. */
		if (depth && first && *p == (stack[depth - 1] == '{' ? '}' : ']')) {
			p++;
			depth--;
		} else {
			if (depth && stack[depth - 1] == '{') {
				string();
				CHECK(*p++ == ':');
			}
			if (*p == '{' || *p == '[') {
				CHECK(depth <= DEPTH);
				stack[depth++] = *p++;
				first = true;
				continue;
			}
			scalar();
		}
		while (depth && *p != ',') {
			CHECK(*p == (stack[depth - 1] == '{' ? '}' : ']'));
			p++;
			depth--;
		}
		if (!depth)
			break;
		p++;
		first = false;
	}
	CHECK(!*p);
}

struct input {
	const uint8_t *data;
	size_t size;
};

static unsigned next(struct input *in)
{
	if (!in->size)
		return 0;
	in->size--;
	return *in->data++;
}

static uint64_t next_u64(struct input *in)
{
	uint64_t v = 0;
	int i;

	for (i = 0; i < 8; i++)
		v = v << 8 | next(in);
	return v;
}

/* Up to 255 bytes, cut at the first NUL. */
static const char *next_string(struct input *in, char out[256])
{
	size_t n = next(in);

	n = n < in->size ? n : in->size;
	memcpy(out, in->data, n);
	out[n] = '\0';
	in->data += n;
	in->size -= n;
	return out;
}

static void write_value(struct gcs_json *j, struct input *in, const char *key, unsigned kind)
{
	char value[256];
	uint64_t bits;
	double d;

	switch (kind) {
	case 0:
		gcs_json_u64(j, key, next_u64(in));
		break;
	case 1:
		gcs_json_i64(j, key, (int64_t)next_u64(in));
		break;
	case 2:
		bits = next_u64(in);
		memcpy(&d, &bits, sizeof(d));
		gcs_json_double(j, key, d);
		break;
	case 3:
		gcs_json_bool(j, key, next(in) & 1);
		break;
	case 4:
		gcs_json_null(j, key);
		break;
	case 5:
		gcs_json_time(j, key, (int64_t)next_u64(in));
		break;
	default:
		gcs_json_str(j, key, next_string(in, value));
	}
}

static void write_all(struct gcs_json *j, struct input *in)
{
	bool object[DEPTH + 1];
	char name[256];
	const char *key;
	unsigned kind;
	int depth = 1;

	gcs_json_object(j, NULL);
	object[0] = true;
	while (in->size) {
		kind = next(in) % 16;
		if (kind == 15) {
			if (depth == 1)
				continue;
			depth--;
			if (object[depth])
				gcs_json_object_end(j);
			else
				gcs_json_array_end(j);
			continue;
		}
		key = object[depth - 1] ? next_string(in, name) : NULL;
		if (kind >= 13 && depth < DEPTH) {
			object[depth++] = kind == 13;
			if (kind == 13)
				gcs_json_object(j, key);
			else
				gcs_json_array(j, key);
			continue;
		}
		write_value(j, in, key, kind);
	}
	while (depth-- > 0) {
		if (object[depth])
			gcs_json_object_end(j);
		else
			gcs_json_array_end(j);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct gcs_json j;
	struct gcs_buf b;

	if (size > 65536)
		return 0;
	if (!gcs_mem_limit() && gcs_mem_init(16 << 20))
		abort();
	gcs_buf_init(&b);
	gcs_json_init(&j, &b);
	write_all(&j, &in);
	text = b.data;
	CHECK(!b.failed && strlen(b.data) == b.len);
	check_utf8();
	check_grammar();
	text = "";
	gcs_buf_fini(&b);
	CHECK(gcs_mem_used() == 0);
	return 0;
}
