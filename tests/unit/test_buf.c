/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: a buffer that loses bytes when it grows, writes on after a failed allocation, or cannot be
 * used again after one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#define GCS_FAULT_INJECTION
#include "buf.h"
#include "mem.h"

static int setup(void **state)
{
	(void)state;
	return gcs_mem_init(1 << 20);
}

static int teardown(void **state)
{
	(void)state;
	gcs_mem_fail_after(-1);
	gcs_mem_fini();
	return 0;
}

static void appends(void **state)
{
	struct gcs_buf b;
	char text[1000];
	int i;

	(void)state;
	gcs_buf_init(&b);
	assert_null(b.data);
	gcs_buf_add(&b, "abc", 3);
	gcs_buf_str(&b, "def");
	gcs_buf_str(&b, "");
	assert_string_equal(b.data, "abcdef");
	assert_int_equal(b.len, 6);
	for (i = 0; i < 100; i++) {
		memset(text, 'a' + i % 26, sizeof(text));
		gcs_buf_add(&b, text, sizeof(text));
	}
	assert_int_equal(b.len, 6 + 100 * sizeof(text));
	for (i = 0; i < 100; i++) {
		memset(text, 'a' + i % 26, sizeof(text));
		assert_memory_equal(b.data + 6 + (size_t)i * sizeof(text), text, sizeof(text));
	}
	gcs_buf_fini(&b);
	assert_int_equal(gcs_mem_used(), 0);
}

/* What is added meets the end of the space in every possible way. */
static void at_the_edge(void **state)
{
	struct gcs_buf b;
	char text[260];
	size_t fill, n;

	(void)state;
	memset(text, 'x', sizeof(text));
	for (fill = 200; fill < 260; fill++) {
		for (n = 0; n < 70; n += 7) {
			gcs_buf_init(&b);
			gcs_buf_add(&b, text, fill);
			gcs_buf_add(&b, text, n);
			gcs_buf_str(&b, "!");
			assert_int_equal(b.len, fill + n + 1);
			assert_int_equal(strlen(b.data), b.len);
			assert_int_equal(b.data[fill - 1], 'x');
			gcs_buf_fini(&b);
		}
	}
}

static void failure_sticks(void **state)
{
	static const char large[1000];
	struct gcs_buf b;

	(void)state;
	gcs_buf_init(&b);
	gcs_mem_fail_after(0);
	gcs_buf_str(&b, "1");
	assert_true(b.failed);
	gcs_buf_fini(&b);
	gcs_mem_fail_after(1);
	gcs_buf_str(&b, "kept");
	gcs_buf_add(&b, large, sizeof(large));
	assert_true(b.failed);
	gcs_mem_fail_after(-1);
	gcs_buf_str(&b, "more");
	assert_string_equal(b.data, "kept");
	gcs_buf_clear(&b);
	assert_false(b.failed);
	gcs_buf_str(&b, "again");
	assert_string_equal(b.data, "again");
	gcs_buf_fini(&b);
}

/* Near the limit doubling fails where the exact size would do. */
static void uses_what_there_is(void **state)
{
	struct gcs_buf b;
	size_t i;

	(void)state;
	gcs_buf_init(&b);
	for (i = 0; i < 1000000; i++)
		gcs_buf_add(&b, "x", 1);
	assert_false(b.failed);
	assert_int_equal(b.len, 1000000);
	gcs_buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(appends, setup, teardown),
		cmocka_unit_test_setup_teardown(at_the_edge, setup, teardown),
		cmocka_unit_test_setup_teardown(failure_sticks, setup, teardown),
		cmocka_unit_test_setup_teardown(uses_what_there_is, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
