/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds arbitrary lines to the request parser. Beyond what the sanitizers see: a refusal names a reason; what
 * is accepted has names of the allowed characters, distinct keys, values within the line, and parses to the
 * same again when it is written out anew.
 *
 * The line lies at the very end of a heap block, so that ASan catches the first byte beyond it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "request.h"

#include "fuzz.h"

static void check_name(const char *name)
{
	CHECK(*name);
	CHECK(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name));
}

static void check_getters(const struct gcs_request *r)
{
	static const char *const known[] = {"limit", "sort", "type", NULL};
	const char *unknown = gcs_request_unknown_key(r, known);
	unsigned long n = 12345;
	size_t i;

	for (i = 0; i < r->npairs; i++) {
		int found = gcs_request_uint(r, r->pair[i].key, 3, 1000, &n);

		CHECK(gcs_request_get(r, r->pair[i].key) == r->pair[i].value);
		CHECK(found ? n == 12345 : n >= 3 && n <= 1000);
		n = 12345;
		CHECK(gcs_request_topics(r->pair[i].value) < 32);
	}
	CHECK(!gcs_request_get(r, ""));
	if (unknown)
		CHECK(gcs_request_get(r, unknown) && strcmp(unknown, "limit"));
}

/* The same request, every byte of the values escaped. */
static void check_round_trip(const struct gcs_request *r)
{
	static char text[4 * 65536];
	struct gcs_request again;
	const char *why, *p;
	size_t i;
	char *out = text + sprintf(text, "%s", r->verb);

	for (i = 0; i < r->npairs; i++) {
		out += sprintf(out, " %s=", r->pair[i].key);
		for (p = r->pair[i].value; *p; p++)
			out += sprintf(out, "%%%02x", (unsigned char)*p);
	}
	CHECK(gcs_request_parse(&again, text, (size_t)(out - text), &why) == 0);
	CHECK(!strcmp(again.verb, r->verb) && again.npairs == r->npairs);
	for (i = 0; i < r->npairs; i++)
		CHECK(!strcmp(again.pair[i].key, r->pair[i].key) &&
		      !strcmp(again.pair[i].value, r->pair[i].value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *why = NULL;
	struct gcs_request r;
	char *line;
	size_t i, j;

	if (size > 65536)
		return 0;
	line = malloc(size + 1);
	CHECK(line);
	memcpy(line, data, size);
	line[size] = '#';
	if (gcs_request_parse(&r, line, size, &why)) {
		CHECK(why && *why);
		free(line);
		return 0;
	}
	CHECK(!memmem(data, size, "%00", 3)); /* '%' always begins an escape */
	check_name(r.verb);
	CHECK(r.npairs <= GCS_REQUEST_PAIRS);
	for (i = 0; i < r.npairs; i++) {
		check_name(r.pair[i].key);
		for (j = 0; j < i; j++)
			CHECK(strcmp(r.pair[i].key, r.pair[j].key));
		CHECK(r.pair[i].value > line && r.pair[i].value + strlen(r.pair[i].value) <= line + size);
	}
	check_getters(&r);
	check_round_trip(&r);
	/* The input as a list of topics, too. */
	memcpy(line, data, size);
	line[size] = '\0';
	CHECK(gcs_request_topics(line) < 32);
	free(line);
	return 0;
}
