/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: a name from a target that reaches the terminal as control sequence, that reorders
 * or hides text, that breaks a line or a table; escapes cut in half at the end of a buffer; units
 * that read 1024.0.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "utf8.h"

static void check(const char *in, size_t len, unsigned flags, const char *want)
{
	char out[256];
	size_t n = gcs_escape_text(out, sizeof(out), in, len, flags);

	assert_string_equal(out, want);
	assert_int_equal(n, strlen(want));
}

#define CHECK(in, flags, want) check(in, sizeof(in) - 1, flags, want)

static void escapes_controls(void **state)
{
	(void)state;
	CHECK("plain module.Class", 0, "plain module.Class");
	CHECK("a\nb\rc\td", 0, "a\\nb\\rc\\td");
	CHECK("\x1b[31m", 0, "\\x1b[31m");
	CHECK("\0\x7f\x01", 0, "\\x00\\x7f\\x01");
	CHECK("\xc2\x9b"
	      "2J",
	      0, "\\u009b2J");
	CHECK("back\\slash", 0, "back\\\\slash");
	CHECK("back\\slash", GCS_ESCAPE_NOT_BACKSLASH, "back\\slash");
	CHECK("", 0, "");
}

static void escapes_what_hides_or_reorders(void **state)
{
	(void)state;
	CHECK("a\u202eb", 0, "a\\u202eb");
	CHECK("a\u2066b\u2069", 0, "a\\u2066b\\u2069");
	CHECK("a\u200bb\ufeff", 0, "a\\u200bb\\ufeff");
	CHECK("\u2028\u2029\u061c\u00ad", 0, "\\u2028\\u2029\\u061c\\u00ad");
	CHECK("\U000e0041", 0, "\\U000e0041");
}

static void keeps_letters(void **state)
{
	(void)state;
	CHECK("Größe.漢字.Ἑλλάς.\U0001f40d", 0, "Größe.漢字.Ἑλλάς.\U0001f40d");
	CHECK("Gr\u00f6\u00dfe \U0001f40d", GCS_ESCAPE_NOT_ASCII, "Gr\\u00f6\\u00dfe \\U0001f40d");
	CHECK("a b", GCS_ESCAPE_SPACE, "a\\x20b");
}

static void escapes_what_is_not_utf8(void **state)
{
	(void)state;
	CHECK("\xff\xfe", 0, "\\xff\\xfe");
	CHECK("\xc0\xaf", 0, "\\xc0\\xaf");                   /* overlong */
	CHECK("\xed\xa0\x80", 0, "\\xed\\xa0\\x80");          /* surrogate */
	CHECK("\xf4\x90\x80\x80", 0, "\\xf4\\x90\\x80\\x80"); /* beyond Unicode */
	CHECK("\xe2\x82", 0, "\\xe2\\x82");                   /* cut */
	CHECK("\x9b", 0, "\\x9b");                            /* a bare C1 */
	CHECK("\xe2\x82\xffz", GCS_ESCAPE_REPLACE, "\ufffd\ufffdz"); /* as JSON has it */
	CHECK("\xff", GCS_ESCAPE_REPLACE | GCS_ESCAPE_NOT_ASCII, "\\ufffd");
}

/*
 * Every size of buffer: a prefix of whole characters and escapes, the length of the whole, no
 * overrun.
 */
static void cuts_between_characters(void **state)
{
	static const char in[] = "ab\x1b\u202eü漢\U0001f40d\xff!";
	static const char *const piece[] = {"a",  "b",          "\\x1b", "\\u202e", "ü",
					    "漢", "\U0001f40d", "\\xff", "!"};
	char whole[128];
	size_t total = gcs_escape_text(whole, sizeof(whole), in, sizeof(in) - 1, 0);

	(void)state;
	for (size_t size = 0; size <= total + 1; size++) {
		char *out = malloc(size ? size : 1); /* exact, for ASan */
		size_t at = 0;

		assert_int_equal(gcs_escape_text(out, size, in, sizeof(in) - 1, 0), total);
		for (size_t i = 0; size && i < sizeof(piece) / sizeof(piece[0]) && at < strlen(out);
		     i++)
			at += strlen(piece[i]);
		if (size) {
			assert_int_equal(at, strlen(out));
			assert_memory_equal(out, whole, at);
		}
		free(out);
	}
}

static void safe_and_utf8(void **state)
{
	char *s = gcs_text_safe(NULL, 0);

	(void)state;
	assert_string_equal(s, "-");
	free(s);
	s = gcs_text_safe("x\x1b", 0);
	assert_string_equal(s, "x\\x1b");
	free(s);
	s = gcs_text_utf8("a\xff"
			  "b\u00e9\xed\xa0\x80",
			  8);
	assert_string_equal(s, "a\ufffd"
			       "b\u00e9\ufffd\ufffd\ufffd");
	free(s);
}

static void shorten(const char *in, const char *want)
{
	char *s = strdup(in); /* exact, for ASan */

	gcs_text_basenames(s);
	assert_string_equal(s, want);
	free(s);
}

static void shortens_commands(void **state)
{
	(void)state;
	shorten("/usr/bin/python3 /srv/app.py --log=/var/log/x", "python3 app.py --log=/var/log/x");
	shorten("python3  -m  http.server", "python3  -m  http.server");
	shorten("/srv/run/ / //", "run/ / /");
	shorten("", "");
	shorten(" ", " ");
}

static void measures_columns(void **state)
{
	(void)state;
	assert_int_equal(gcs_text_width("abc"), 3);
	assert_int_equal(gcs_text_width("Größe"), 5);
	assert_int_equal(gcs_text_width("漢字"), 4);
	assert_int_equal(gcs_text_width("e\u0301"), 1);
	assert_int_equal(gcs_text_width("\U0001f40d"), 2);
	assert_int_equal(gcs_text_width(""), 0);
	assert_int_equal(gcs_text_fit("漢字", 3), 3);
	assert_int_equal(gcs_text_fit("漢字", 1), 0);
	assert_int_equal(gcs_text_fit("e\u0301x", 1), 3);
	assert_int_equal(gcs_text_fit("abc", 10), 3);
}

static void unit(char *got, const char *want)
{
	assert_string_equal(got, want);
}

static void writes_units(void **state)
{
	char s[GCS_UNIT_MAX];

	(void)state;
	unit(gcs_unit_bytes(s, 0, " "), "0 B");
	unit(gcs_unit_bytes(s, 1023, " "), "1023 B");
	unit(gcs_unit_bytes(s, 1024, " "), "1.0 KiB");
	unit(gcs_unit_bytes(s, 50400 * 1.024, ""), "50.4KiB");
	unit(gcs_unit_bytes(s, 1.2 * 1048576, " "), "1.2 MiB");
	unit(gcs_unit_bytes(s, 1048575, " "), "1.0 MiB");
	unit(gcs_unit_bytes(s, 99.97 * 1024, " "), "100 KiB");
	unit(gcs_unit_bytes(s, 1e30, ""), "888178419700125PiB");
	unit(gcs_unit_bytes(s, NAN, " "), "-");
	unit(gcs_unit_count(s, 900), "900");
	unit(gcs_unit_count(s, 3100), "3.1k");
	unit(gcs_unit_count(s, 999.7), "1.0k");
	unit(gcs_unit_count(s, 999999), "1.0M");
	unit(gcs_unit_count(s, 1234567), "1.2M");
	unit(gcs_unit_int(s, 1234567), "1234567");
	unit(gcs_unit_int(s, INFINITY), "-");
	unit(gcs_text_plain(s, 0.25, 6), "0.25");
	unit(gcs_text_plain(s, 10, 6), "10");
	unit(gcs_text_plain(s, 0.012345, 2), "0.012");
	unit(gcs_text_plain(s, NAN, 2), "-");
	unit(gcs_unit_int(s, 1e300), "1000000000000000000");
	unit(gcs_unit_int(s, -1e300), "-1000000000000000000");
	unit(gcs_unit_int(s, 9007199254740991.0), "9007199254740991");
	unit(gcs_unit_int(s, 4503599627370497.0), "4503599627370497");
	unit(gcs_unit_int(s, -0.4), "0");
	unit(gcs_unit_int(s, 2.5), "3");
	unit(gcs_unit_bytes(s, -2.5 * 1024, ""), "-2.5KiB");
	unit(gcs_unit_count(s, 999.5), "1.0k");
	unit(gcs_unit_count(s, 99949), "99.9k");
	unit(gcs_unit_count(s, 99951), "100k");
}

static void writes_times_and_rates(void **state)
{
	char s[GCS_UNIT_MAX];

	(void)state;
	unit(gcs_unit_ns(s, 0, " "), "0 ns");
	unit(gcs_unit_ns(s, 340e6, " "), "340 ms");
	unit(gcs_unit_ns(s, 3.44e6, " "), "3.4 ms");
	unit(gcs_unit_ns(s, 999.9e3, " "), "1.0 ms");
	unit(gcs_unit_ns(s, 12.3e9, ""), "12.3s");
	unit(gcs_unit_ns(s, 200e9, " "), "3m20s");
	unit(gcs_unit_span(s, 59.9), "59s");
	unit(gcs_unit_span(s, 192), "3m12s");
	unit(gcs_unit_span(s, 7260), "2h01m");
	unit(gcs_unit_span(s, 90000), "1d01h");
	unit(gcs_unit_span(s, -1), "-");
	unit(gcs_unit_rate(s, 9.84), "+9.8/s");
	unit(gcs_unit_rate(s, -1.25), "-1.3/s");
	unit(gcs_unit_rate(s, 0.0123), "+0.012/s");
	unit(gcs_unit_rate(s, 0.1), "+0.1/s");
	unit(gcs_unit_rate(s, 0.0999), "+0.1/s");
	unit(gcs_unit_rate(s, 0.05), "+0.05/s");
	unit(gcs_unit_rate(s, -0.0000117), "-0.000012/s");
	unit(gcs_unit_rate(s, 1e-12), "0/s");
	unit(gcs_unit_rate(s, 0), "0/s");
	unit(gcs_unit_rate(s, 1e300), "+1000000000000000000P/s");
	unit(gcs_unit_rate(s, 12345), "+12.3k/s");
	unit(gcs_unit_rate(s, NAN), "-");
	unit(gcs_unit_byte_rate(s, 1.5 * 1048576, " "), "+1.5 MiB/s");
	unit(gcs_unit_byte_rate(s, -10, " "), "-10 B/s");
	unit(gcs_unit_byte_rate(s, 547.6, ""), "+548B/s");
	unit(gcs_unit_byte_rate(s, 0.3, ""), "0/s");
	unit(gcs_unit_byte_rate(s, INFINITY, ""), "-");
}

/* What is written is read again; what is no character is written as Python would escape it. */
static void encodes_every_character(void **state)
{
	char out[GCS_UTF8_MAX];
	uint32_t back;

	(void)state;
	for (uint32_t c = 0; c < 0x110000; c++) {
		size_t n = gcs_utf8_encode(c, out);

		if (c >= 0xd800 && c < 0xe000) {
			assert_int_equal(n, 6);
			assert_memory_equal(out, "\\ud", 3);
			assert_int_equal(strtoul((char[]){out[2], out[3], out[4], out[5], 0}, NULL, 16), c);
			continue;
		}
		assert_int_equal(gcs_utf8_decode(out, n, &back), n);
		assert_int_equal(back, c);
	}
	assert_int_equal(gcs_utf8_encode(0x110000, out), 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(escapes_controls),
		cmocka_unit_test(escapes_what_hides_or_reorders),
		cmocka_unit_test(keeps_letters),
		cmocka_unit_test(escapes_what_is_not_utf8),
		cmocka_unit_test(cuts_between_characters),
		cmocka_unit_test(safe_and_utf8),
		cmocka_unit_test(encodes_every_character),
		cmocka_unit_test(shortens_commands),
		cmocka_unit_test(measures_columns),
		cmocka_unit_test(writes_units),
		cmocka_unit_test(writes_times_and_rates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
