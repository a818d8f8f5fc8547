/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: a request that is malformed and accepted, or well formed and refused; a value that decodes
 * wrongly; numbers that overflow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "request.h"

static char line[GCS_REQUEST_MAX + 1];
static struct gcs_request r;
static const char *why;

static int parse_bytes(const char *text, size_t len)
{
	memcpy(line, text, len);
	line[len] = 'X'; /* whatever lies there must not matter */
	why = NULL;
	return gcs_request_parse(&r, line, len, &why);
}

static int parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

static void refused(const char *text, size_t len)
{
	assert_int_equal(parse_bytes(text, len), -1);
	assert_non_null(why);
	assert_true(*why && strlen(why) < 100);
}

#define REFUSED(text) refused(text, sizeof(text) - 1)

static void well_formed(void **state)
{
	(void)state;
	assert_int_equal(parse("census"), 0);
	assert_string_equal(r.verb, "census");
	assert_int_equal(r.npairs, 0);
	assert_int_equal(parse(" \tcensus  limit=5\tsort=count \r"), 0);
	assert_string_equal(r.verb, "census");
	assert_int_equal(r.npairs, 2);
	assert_string_equal(gcs_request_get(&r, "limit"), "5");
	assert_string_equal(gcs_request_get(&r, "sort"), "count");
	assert_null(gcs_request_get(&r, "lim"));
	assert_int_equal(parse("a k= l==x"), 0);
	assert_string_equal(gcs_request_get(&r, "k"), "");
	assert_string_equal(gcs_request_get(&r, "l"), "=x");
}

static void decoding(void **state)
{
	(void)state;
	assert_int_equal(parse("history type=a%20b%25%0a%C3%a9\xc3\xa9 x=%41"), 0);
	assert_string_equal(gcs_request_get(&r, "type"), "a b%\n\xc3\xa9\xc3\xa9");
	assert_string_equal(gcs_request_get(&r, "x"), "A");
}

static void malformed(void **state)
{
	(void)state;
	REFUSED("");
	REFUSED("   ");
	REFUSED("\r");
	REFUSED("Census");
	REFUSED("cen-sus");
	REFUSED("census limit");
	REFUSED("census =5");
	REFUSED("census Limit=5");
	REFUSED("census limit=5 limit=6");
	REFUSED("census a=%");
	REFUSED("census a=%4");
	REFUSED("census a=%4 b=1");
	REFUSED("census a=%zz");
	REFUSED("census a=%00");
	REFUSED("census a=\x01");
	REFUSED("census a=\x7f");
	REFUSED("census a=x\ry");
	REFUSED("census\0");
	REFUSED("census a=\0b");
	REFUSED("\xff\xfe");
	REFUSED("GET / HTTP/1.1");
}

static void number_of_pairs(void **state)
{
	char text[400] = "verb";
	int i;

	(void)state;
	for (i = 0; i < GCS_REQUEST_PAIRS; i++)
		sprintf(text + strlen(text), " k%d=%d", i, i);
	assert_int_equal(parse(text), 0);
	assert_int_equal(r.npairs, GCS_REQUEST_PAIRS);
	assert_string_equal(gcs_request_get(&r, "k15"), "15");
	strcat(text, " z=1");
	assert_int_equal(parse(text), -1);
}

static int number(const char *text, unsigned long min, unsigned long max, unsigned long *out)
{
	char request[100];

	snprintf(request, sizeof(request), "v n=%s", text);
	assert_int_equal(parse(request), 0);
	return gcs_request_uint(&r, "n", min, max, out);
}

static void numbers(void **state)
{
	unsigned long n = 77;

	(void)state;
	assert_int_equal(parse("v"), 0);
	assert_int_equal(gcs_request_uint(&r, "n", 0, 5, &n), 0);
	assert_int_equal(n, 77);
	assert_int_equal(number("0", 0, 2, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(number("18446744073709551615", 0, ULONG_MAX, &n), 0);
	assert_true(n == ULONG_MAX);
	n = 77;
	assert_int_equal(number("18446744073709551616", 0, ULONG_MAX, &n), -1);
	assert_int_equal(number("99999999999999999999999", 0, ULONG_MAX, &n), -1);
	assert_int_equal(number("3", 0, 2, &n), -1);
	assert_int_equal(number("3", 4, 9, &n), -1);
	assert_int_equal(number("", 0, 2, &n), -1);
	assert_int_equal(number("-1", 0, 2, &n), -1);
	assert_int_equal(number("+1", 0, 2, &n), -1);
	assert_int_equal(number("1x", 0, 2, &n), -1);
	assert_int_equal(number("0x1", 0, 2, &n), -1);
	assert_int_equal(number("1%20", 0, 2, &n), -1);
	assert_int_equal(n, 77);
}

static void unknown_keys(void **state)
{
	static const char *const known[] = {"limit", "sort", NULL};
	static const char *const none[] = {NULL};

	(void)state;
	assert_int_equal(parse("census sort=x limit=1"), 0);
	assert_null(gcs_request_unknown_key(&r, known));
	assert_string_equal(gcs_request_unknown_key(&r, none), "sort");
	assert_int_equal(parse("census limit=1 limi=2"), 0);
	assert_string_equal(gcs_request_unknown_key(&r, known), "limi");
}

static void topics(void **state)
{
	(void)state;
	assert_int_equal(gcs_request_topics("gc"), GCS_TOPIC_GC);
	assert_int_equal(gcs_request_topics("gc,census,suspects,log,cycles"), 31);
	assert_int_equal(gcs_request_topics("log,log"), GCS_TOPIC_LOG);
	assert_int_equal(gcs_request_topics(""), 0);
	assert_int_equal(gcs_request_topics("gc,"), 0);
	assert_int_equal(gcs_request_topics(",gc"), 0);
	assert_int_equal(gcs_request_topics("gc,,log"), 0);
	assert_int_equal(gcs_request_topics("gcs"), 0);
	assert_int_equal(gcs_request_topics("g"), 0);
	assert_int_equal(gcs_request_topics("gc census"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(well_formed),     cmocka_unit_test(decoding), cmocka_unit_test(malformed),
		cmocka_unit_test(number_of_pairs), cmocka_unit_test(numbers),  cmocka_unit_test(unknown_keys),
		cmocka_unit_test(topics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
