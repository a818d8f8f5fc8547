/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: output that a strict parser refuses (bytes that are not UTF-8, raw control characters, a
 * decimal comma from the host's locale, nan), a second line, commas in the wrong place, wrong dates.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "json.h"
#include "mem.h"

static struct gcs_buf b;
static struct gcs_json j;

static int setup(void **state)
{
	(void)state;
	if (gcs_mem_init(1 << 20))
		return -1;
	gcs_buf_init(&b);
	gcs_json_init(&j, &b);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gcs_mem_fini();
	return 0;
}

static void expect(const char *want)
{
	assert_false(b.failed);
	assert_string_equal(b.data, want);
	gcs_buf_clear(&b);
	gcs_json_init(&j, &b);
}

static void nesting(void **state)
{
	(void)state;
	gcs_json_object(&j, NULL);
	gcs_json_str(&j, "a", "x");
	gcs_json_array(&j, "b");
	gcs_json_array_end(&j);
	gcs_json_array(&j, "c");
	gcs_json_u64(&j, NULL, 1);
	gcs_json_object(&j, NULL);
	gcs_json_object_end(&j);
	gcs_json_object(&j, NULL);
	gcs_json_bool(&j, "t", true);
	gcs_json_bool(&j, "f", false);
	gcs_json_object_end(&j);
	gcs_json_null(&j, NULL);
	gcs_json_array_end(&j);
	gcs_json_str(&j, "n", NULL);
	gcs_json_object_end(&j);
	expect("{\"a\":\"x\",\"b\":[],\"c\":[1,{},{\"t\":true,\"f\":false},null],\"n\":null}");
}

static void integers(void **state)
{
	(void)state;
	gcs_json_array(&j, NULL);
	gcs_json_u64(&j, NULL, 0);
	gcs_json_u64(&j, NULL, UINT64_MAX);
	gcs_json_i64(&j, NULL, INT64_MIN);
	gcs_json_i64(&j, NULL, -1);
	gcs_json_i64(&j, NULL, INT64_MAX);
	gcs_json_array_end(&j);
	expect("[0,18446744073709551615,-9223372036854775808,-1,9223372036854775807]");
}

static void check_string(const char *in, const char *want)
{
	gcs_json_str(&j, NULL, in);
	expect(want);
}

static void strings(void **state)
{
	(void)state;
	check_string("", "\"\"");
	check_string("a\"b\\c/d", "\"a\\\"b\\\\c/d\"");
	check_string("\b\f\n\r\t\x01\x1f\x7f", "\"\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\"");
	check_string("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d",
		     "\"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d\"");
	check_string("\xc2\x85\xc2\x9b\xe2\x80\xa8\xe2\x80\xa9\xc2\xa0",
		     "\"\\u0085\\u009b\\u2028\\u2029\xc2\xa0\"");
}

#define BAD "\xef\xbf\xbd"

/* As bytes.decode("utf-8", "replace") does. */
static void broken_utf8(void **state)
{
	(void)state;
	check_string("\xff", "\"" BAD "\"");
	check_string("a\x80z", "\"a" BAD "z\"");
	check_string("\xc3", "\"" BAD "\"");
	check_string("\xc3(", "\"" BAD "(\"");
	check_string("\xe2\x82", "\"" BAD "\"");
	check_string("\xe2\x82(", "\"" BAD "(\"");
	check_string("\xf0\x9f\x90", "\"" BAD "\"");
	check_string("\xf0\x9f\x90\"", "\"" BAD "\\\"\"");
	check_string("\xc0\xaf", "\"" BAD BAD "\"");                 /* overlong */
	check_string("\xe0\x80\xaf", "\"" BAD BAD BAD "\"");         /* overlong */
	check_string("\xed\xa0\x80", "\"" BAD BAD BAD "\"");         /* surrogate */
	check_string("\xf4\x90\x80\x80", "\"" BAD BAD BAD BAD "\""); /* above U+10FFFF */
	check_string(BAD, "\"" BAD "\"");
	gcs_json_object(&j, NULL);
	gcs_json_u64(&j, "k\n\xff", 1);
	gcs_json_object_end(&j);
	expect("{\"k\\n" BAD "\":1}");
}

static void check_double(double in, const char *want)
{
	gcs_json_double(&j, NULL, in);
	expect(want);
}

static void doubles(void **state)
{
	(void)state;
	check_double(0, "0.0");
	check_double(1, "1.0");
	check_double(-1.5, "-1.5");
	check_double(0.1, "0.1");
	check_double(9.8, "9.8");
	check_double(548.8, "548.8");
	check_double(1.0 / 3, "0.333333");
	check_double(0.05, "0.05");
	check_double(0.00123456789, "0.001234568");
	check_double(0.9999999, "1.0");
	check_double(99.99999951, "100.0");
	check_double(1234567890.25, "1234567890.25");
	check_double(3.5e-7, "3.5e-7");
	check_double(9.99999999e-5, "1.0e-4");
	check_double(2e15, "2.0e+15");
	check_double(1.7976931348623157e308, "1.797693e+308");
	check_double(NAN, "null");
	check_double(INFINITY, "null");
	check_double(-INFINITY, "null");
}

/* Every double reads back as what it was, within the six decimals. */
static void doubles_read_back(void **state)
{
	uint64_t seed = 42;
	int i;

	(void)state;
	for (i = 0; i < 20000; i++) {
		double v, got, off;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		v = (double)(seed >> 11) * (i % 2 ? 1e-3 : 1e-20) * (i % 3 ? 1 : 1e-9);
		gcs_json_double(&j, NULL, v);
		got = strtod(b.data, NULL);
		off = got > v ? got - v : v - got;
		if (off > v * 6e-6 && off > 6e-7)
			fail_msg("%.17g became %s", v, b.data);
		gcs_buf_clear(&b);
		gcs_json_init(&j, &b);
	}
}

static void no_locale(void **state)
{
	(void)state;
	/* Where one with a decimal comma is installed this bites; the C locale passes anyway. */
	if (!setlocale(LC_ALL, "de_DE.UTF-8"))
		setlocale(LC_ALL, "fr_FR.UTF-8");
	check_double(1.5, "1.5");
	gcs_json_u64(&j, NULL, 1234567);
	expect("1234567");
	setlocale(LC_ALL, "C");
}

static void check_time(int64_t ns, const char *want)
{
	char text[32];

	gcs_format_time(text, ns);
	assert_string_equal(text, want);
}

static void times(void **state)
{
	(void)state;
	check_time(0, "1970-01-01T00:00:00.000Z");
	check_time(1456704000ll * 1000000000 - 1, "2016-02-28T23:59:59.999Z");
	check_time(1456704000ll * 1000000000 + 999999, "2016-02-29T00:00:00.000Z");
	check_time(4107542400ll * 1000000000, "2100-03-01T00:00:00.000Z");
	check_time(-1, "1969-12-31T23:59:59.999Z");
	check_time(INT64_MAX, "2262-04-11T23:47:16.854Z");
	check_time(INT64_MIN, "1677-09-21T00:12:43.145Z");
	gcs_json_time(&j, NULL, 1000000);
	expect("\"1970-01-01T00:00:00.001Z\"");
}

/* Against libc, day by day over four centuries. */
static void times_as_libc(void **state)
{
	char want[32], got[32];
	time_t t;
	struct tm tm;

	(void)state;
	for (t = -9000000000ll; t < 9000000000ll; t += 86399) {
		gmtime_r(&t, &tm);
		strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
		gcs_format_time(got, t * 1000000000ll);
		assert_string_equal(got, want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nesting, setup, teardown),
		cmocka_unit_test_setup_teardown(integers, setup, teardown),
		cmocka_unit_test_setup_teardown(strings, setup, teardown),
		cmocka_unit_test_setup_teardown(broken_utf8, setup, teardown),
		cmocka_unit_test_setup_teardown(doubles, setup, teardown),
		cmocka_unit_test_setup_teardown(doubles_read_back, setup, teardown),
		cmocka_unit_test_setup_teardown(no_locale, setup, teardown),
		cmocka_unit_test_setup_teardown(times, setup, teardown),
		cmocka_unit_test(times_as_libc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
