/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: a setting that is misread, a bad one that is not named exactly once or that changes more
 * than itself, a decimal point that depends on the locale, a complaint that carries control characters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "config.h"

static const char *names[10], *values[10];
static struct gcs_config c;

static const char *get(const char *name)
{
	size_t i;

	for (i = 0; i < 10 && names[i]; i++)
		if (!strcmp(names[i], name))
			return values[i];
	return NULL;
}

static void read_one(const char *name, const char *value)
{
	memset(names, 0, sizeof(names));
	names[0] = name;
	values[0] = value;
	memset(&c, 0xa5, sizeof(c));
	gcs_config_read(&c, get);
}

static int occurrences(const char *text, const char *what)
{
	int n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

static void is_default(void)
{
	assert_false(c.disable);
	assert_false(c.wait);
	assert_int_equal(c.interval_ns, 10000000000ll);
	assert_string_equal(c.log, "");
	assert_int_equal(c.log_format, GCS_LOG_TEXT);
	assert_int_equal(c.cycles, GCS_CYCLES_ON);
	assert_true(c.budget_percent == 1.0);
	assert_int_equal(c.sites_bytes, GCS_SITES_OFF);
	assert_int_equal(c.memory_bytes, 16 << 20);
}

static void good(const char *name, const char *value)
{
	read_one(name, value);
	assert_string_equal(c.complaint, "");
}

static void bad(const char *name, const char *value)
{
	read_one(name, value);
	is_default();
	assert_int_equal(occurrences(c.complaint, name), 1);
	assert_true(strlen(c.complaint) < sizeof(c.complaint));
}

static void defaults(void **state)
{
	(void)state;
	good("OTHER", "x");
	is_default();
	good("GCSCOPE_INTERVAL", "");
	is_default();
	good("GCSCOPE_INTERVAL", "  ");
	is_default();
}

static void switches(void **state)
{
	(void)state;
	good("GCSCOPE_DISABLE", "1");
	assert_true(c.disable);
	good("GCSCOPE_DISABLE", "0");
	assert_false(c.disable);
	good("GCSCOPE_WAIT", " 1\n");
	assert_true(c.wait);
	bad("GCSCOPE_DISABLE", "yes");
	bad("GCSCOPE_WAIT", "2");
}

static void interval(void **state)
{
	(void)state;
	good("GCSCOPE_INTERVAL", "0.25");
	assert_int_equal(c.interval_ns, 250000000);
	good("GCSCOPE_INTERVAL", " .5 ");
	assert_int_equal(c.interval_ns, 500000000);
	good("GCSCOPE_INTERVAL", "0.01");
	assert_int_equal(c.interval_ns, 10000000);
	good("GCSCOPE_INTERVAL", "86400");
	assert_int_equal(c.interval_ns, 86400000000000ll);
	good("GCSCOPE_INTERVAL", "3.");
	assert_int_equal(c.interval_ns, 3000000000ll);
	bad("GCSCOPE_INTERVAL", "0");
	bad("GCSCOPE_INTERVAL", "0.0099");
	bad("GCSCOPE_INTERVAL", "86401");
	bad("GCSCOPE_INTERVAL", "-1");
	bad("GCSCOPE_INTERVAL", "0,5");
	bad("GCSCOPE_INTERVAL", "1e3");
	bad("GCSCOPE_INTERVAL", "nan");
	bad("GCSCOPE_INTERVAL", "inf");
	bad("GCSCOPE_INTERVAL", ".");
	bad("GCSCOPE_INTERVAL", "1.2.3");
	bad("GCSCOPE_INTERVAL", "10s");
	bad("GCSCOPE_INTERVAL",
	    "99999999999999999999999999999999999999999999999999999999999999999999999999999999"
	    "99999999999999999999999999999999999999999999999999999999999999999999999999999999");
}

static void log_settings(void **state)
{
	static char path[5000];

	(void)state;
	good("GCSCOPE_LOG", "/var/log/a b.log");
	assert_string_equal(c.log, "/var/log/a b.log");
	memset(path, 'a', 4095);
	good("GCSCOPE_LOG", path);
	assert_string_equal(c.log, path);
	path[4095] = 'a';
	bad("GCSCOPE_LOG", path);
	good("GCSCOPE_LOG_FORMAT", "json");
	assert_int_equal(c.log_format, GCS_LOG_JSON);
	good("GCSCOPE_LOG_FORMAT", "text");
	bad("GCSCOPE_LOG_FORMAT", "xml");
}

static void cycles_and_budget(void **state)
{
	(void)state;
	good("GCSCOPE_CYCLES", "off");
	assert_int_equal(c.cycles, GCS_CYCLES_OFF);
	good("GCSCOPE_CYCLES", "all");
	assert_int_equal(c.cycles, GCS_CYCLES_ALL);
	bad("GCSCOPE_CYCLES", "ON");
	good("GCSCOPE_BUDGET", "0.5");
	assert_true(c.budget_percent == 0.5);
	good("GCSCOPE_BUDGET", "100");
	bad("GCSCOPE_BUDGET", "0");
	bad("GCSCOPE_BUDGET", "0.0");
	bad("GCSCOPE_BUDGET", "100.01");
	bad("GCSCOPE_BUDGET", "1%");
}

static void sizes(void **state)
{
	(void)state;
	good("GCSCOPE_SITES", "512K");
	assert_int_equal(c.sites_bytes, 512 << 10);
	good("GCSCOPE_SITES", "auto");
	assert_true(c.sites_bytes == GCS_SITES_AUTO);
	good("GCSCOPE_SITES", "off");
	bad("GCSCOPE_SITES", "1023");
	bad("GCSCOPE_SITES", "18446744073709551615");
	good("GCSCOPE_MEMORY", "4M");
	assert_int_equal(c.memory_bytes, 4 << 20);
	good("GCSCOPE_MEMORY", "1g");
	assert_int_equal(c.memory_bytes, 1 << 30);
	bad("GCSCOPE_MEMORY", "3M");
	bad("GCSCOPE_MEMORY", "2G");
	bad("GCSCOPE_MEMORY", "lots");
}

static void parse_size(void **state)
{
	uint64_t n = 5;

	(void)state;
	assert_int_equal(gcs_config_parse_size("1048576", &n), 0);
	assert_int_equal(n, 1048576);
	assert_int_equal(gcs_config_parse_size("16M", &n), 0);
	assert_int_equal(n, 16 << 20);
	assert_int_equal(gcs_config_parse_size("18446744073709551615", &n), 0);
	assert_true(n == UINT64_MAX);
	n = 5;
	assert_int_equal(gcs_config_parse_size("18446744073709551616", &n), -1);
	assert_int_equal(gcs_config_parse_size("18014398509481984K", &n), -1);
	assert_int_equal(gcs_config_parse_size("", &n), -1);
	assert_int_equal(gcs_config_parse_size("K", &n), -1);
	assert_int_equal(gcs_config_parse_size("1KB", &n), -1);
	assert_int_equal(gcs_config_parse_size("1 K", &n), -1);
	assert_int_equal(gcs_config_parse_size("-1", &n), -1);
	assert_int_equal(gcs_config_parse_size("1.5M", &n), -1);
	assert_int_equal(n, 5);
}

/* A value as long and as hostile as can be is cut and escaped, and the others are still named. */
static void complaints(void **state)
{
	static char hostile[3000];
	const char *p;
	size_t i;

	(void)state;
	memset(hostile, '\x1b', sizeof(hostile) - 1);
	for (i = 0; i < 7; i++)
		values[i] = hostile;
	names[0] = "GCSCOPE_INTERVAL";
	names[1] = "GCSCOPE_LOG_FORMAT";
	names[2] = "GCSCOPE_CYCLES";
	names[3] = "GCSCOPE_BUDGET";
	names[4] = "GCSCOPE_SITES";
	names[5] = "GCSCOPE_MEMORY";
	names[6] = "GCSCOPE_DISABLE";
	gcs_config_read(&c, get);
	for (i = 0; i < 7; i++)
		assert_int_equal(occurrences(c.complaint, names[i]), 1);
	for (p = c.complaint; *p; p++)
		assert_in_range(*p, 0x20, 0x7e);

	read_one("GCSCOPE_BUDGET", "many\n");
	assert_non_null(strstr(c.complaint, "GCSCOPE_BUDGET='many'"));
	read_one("GCSCOPE_BUDGET", "a\nb'c");
	assert_non_null(strstr(c.complaint, "='a\\x0ab\\x27c'"));
	assert_int_equal(occurrences(c.complaint, "a\\x0ab"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),          cmocka_unit_test(switches),
		cmocka_unit_test(interval),          cmocka_unit_test(log_settings),
		cmocka_unit_test(cycles_and_budget), cmocka_unit_test(sizes),
		cmocka_unit_test(parse_size),        cmocka_unit_test(complaints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
