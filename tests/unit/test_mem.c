/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: an allocator that hands out overlapping or unaligned memory, loses space to fragments
 * however long it runs, goes over its limit, or trusts the contents of a mapping that a fork has wiped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define GCS_FAULT_INJECTION
#include "mem.h"

#define MIB ((size_t)1 << 20)

static uint64_t seed = 88172645463325252ull;

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 32) % n;
}

static int setup(void **state)
{
	(void)state;
	return gcs_mem_init(8 * MIB);
}

static int teardown(void **state)
{
	(void)state;
	gcs_mem_fail_after(-1);
	gcs_mem_fini();
	return 0;
}

static void bounds(void **state)
{
	(void)state;
	assert_int_equal(gcs_mem_limit(), 0);
	assert_null(gcs_mem_alloc(1));
	assert_int_equal(gcs_mem_init(MIB - 1), -EINVAL);
	assert_int_equal(gcs_mem_init(MIB + 5), 0);
	assert_int_equal(gcs_mem_init(MIB), -EBUSY);
	assert_int_equal(gcs_mem_limit(), MIB);
	assert_null(gcs_mem_alloc(MIB));
	assert_null(gcs_mem_alloc(SIZE_MAX));
	assert_null(gcs_mem_alloc(SIZE_MAX - 8));
	assert_null(gcs_mem_calloc(SIZE_MAX / 2, 3));
	assert_null(gcs_mem_realloc(NULL, SIZE_MAX - 20));
	assert_non_null(gcs_mem_alloc(MIB - 16384));
	assert_true(gcs_mem_peak() <= MIB);
	gcs_mem_fini();
	gcs_mem_fini();
}

static void empty_and_strange(void **state)
{
	int local;
	char *p = gcs_mem_alloc(0);

	(void)state;
	assert_non_null(p);
	gcs_mem_free(p);
	gcs_mem_free(NULL);
	gcs_mem_free(&local); /* not ours: ignored */
	assert_int_equal(gcs_mem_used(), 0);
}

/* A large mapping costs nothing until it is used, and calloc of fresh pages does not touch them. */
static long resident_kb(void)
{
	long pages = 0, skip;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &skip, &pages), 2);
	fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void lazy_pages(void **state)
{
	long before;

	(void)state;
	gcs_mem_fini();
	before = resident_kb();
	assert_int_equal(gcs_mem_init(512 * MIB), 0);
	assert_non_null(gcs_mem_alloc(100 * MIB));
	assert_non_null(gcs_mem_calloc(100, MIB));
	/* ASan's shadow of it is resident: an eighth. */
	assert_true(resident_kb() - before < 100 * 1024);
}

static void calloc_is_zero(void **state)
{
	char *p = gcs_mem_alloc(3 * MIB);
	size_t i;

	(void)state;
	memset(p, 0xa5, 3 * MIB);
	gcs_mem_free(p);
	p = gcs_mem_calloc(5, MIB); /* partly used before, partly fresh */
	assert_non_null(p);
	for (i = 0; i < 5 * MIB; i++)
		assert_int_equal(p[i], 0);
}

static void realloc_keeps(void **state)
{
	char *p = gcs_mem_alloc(100), *wall, *q;
	int i;

	(void)state;
	for (i = 0; i < 100; i++)
		p[i] = (char)i;
	wall = gcs_mem_alloc(16);
	p = gcs_mem_realloc(p, 5000); /* cannot grow in place */
	assert_non_null(p);
	for (i = 0; i < 100; i++)
		assert_int_equal(p[i], i);
	q = gcs_mem_realloc(p, 40);
	assert_ptr_equal(q, p);
	for (i = 0; i < 40; i++)
		assert_int_equal(q[i], i);
	assert_null(gcs_mem_realloc(q, 100 * MIB));
	for (i = 0; i < 40; i++)
		assert_int_equal(q[i], i);
	gcs_mem_free(q);
	gcs_mem_free(wall);
	assert_int_equal(gcs_mem_used(), 0);
}

/* The last block grows where it is: a buffer that doubles needs no copy. */
static void realloc_in_place(void **state)
{
	char *p = gcs_mem_alloc(1000);
	size_t size;

	(void)state;
	for (size = 2000; size < 6 * MIB; size *= 2)
		assert_ptr_equal(gcs_mem_realloc(p, size), p);
}

#define SLOTS 400

struct slot {
	unsigned char *p;
	size_t size;
	unsigned char mark;
};

static void check(const struct slot *s)
{
	size_t i;

	for (i = 0; i < s->size; i++)
		if (s->p[i] != s->mark)
			fail_msg("byte %zu of %zu is overwritten", i, s->size);
}

static void renew(struct slot *s)
{
	size_t size = rnd(100) ? rnd(600) : rnd(200000);
	unsigned char *p;

	if (s->p)
		check(s);
	if (s->p && rnd(2)) {
		p = gcs_mem_realloc(s->p, size);
		if (!p)
			return;
		s->size = size < s->size ? size : s->size;
		s->p = p;
		check(s); /* what was there was kept */
	} else {
		gcs_mem_free(s->p);
		p = rnd(2) ? gcs_mem_alloc(size) : gcs_mem_calloc(1, size);
	}
	s->p = p;
	s->size = p ? size : 0;
	assert_int_equal((uintptr_t)p % 16, 0);
	s->mark = (unsigned char)rnd(256);
	if (p)
		memset(p, s->mark, size);
}

/* After any history, when all is freed, all is one piece again. */
static void long_life(void **state)
{
	static struct slot slot[SLOTS];
	size_t first = gcs_mem_peak();
	int i;

	(void)state;
	for (i = 0; i < 60000; i++)
		renew(&slot[rnd(SLOTS)]);
	assert_true(gcs_mem_used() <= gcs_mem_peak() && gcs_mem_peak() <= gcs_mem_limit());
	for (i = 0; i < SLOTS; i++) {
		check(&slot[i]);
		gcs_mem_free(slot[i].p);
	}
	assert_int_equal(gcs_mem_used(), 0);
	assert_non_null(gcs_mem_alloc(gcs_mem_limit() - first - 64));
}

/* Alternate blocks freed leave holes; filling them must not need fresh memory. */
static void holes_are_reused(void **state)
{
	void *p[1000];
	size_t peak;
	int i;

	(void)state;
	for (i = 0; i < 1000; i++)
		p[i] = gcs_mem_alloc(1000);
	peak = gcs_mem_peak();
	for (i = 0; i < 1000; i += 2)
		gcs_mem_free(p[i]);
	for (i = 0; i < 1000; i += 2)
		assert_non_null(p[i] = gcs_mem_alloc(1000));
	assert_int_equal(gcs_mem_peak(), peak);
	/* Neighbours join: two holes of 1000 make one of 2000. */
	for (i = 0; i < 1000; i++)
		if (i % 4 < 2)
			gcs_mem_free(p[i]);
	for (i = 0; i < 250; i++)
		assert_non_null(gcs_mem_alloc(2000));
	assert_int_equal(gcs_mem_peak(), peak);
}

static void limit_holds(void **state)
{
	size_t n = 0;
	char *p;

	(void)state;
	while ((p = gcs_mem_alloc(10000))) {
		memset(p, 1, 10000);
		n++;
	}
	assert_in_range(n, 8 * MIB / 10100, 8 * MIB / 10000);
	assert_true(gcs_mem_peak() <= gcs_mem_limit());
}

static void injected(void **state)
{
	void *p;

	(void)state;
	gcs_mem_fail_after(2);
	assert_non_null(gcs_mem_alloc(10));
	assert_non_null(p = gcs_mem_alloc(10));
	assert_null(gcs_mem_alloc(10));
	assert_null(gcs_mem_realloc(p, 1000));
	assert_null(gcs_mem_calloc(1, 1));
	gcs_mem_fail_after(-1);
	assert_non_null(gcs_mem_alloc(10));
}

static int in_child(void *old)
{
	char *p;

	if (!gcs_mem_wiped())
		return 1;
	if (gcs_mem_alloc(10) || gcs_mem_realloc(old, 20) || gcs_mem_used() || gcs_mem_peak())
		return 2;
	gcs_mem_free(old);
	if (gcs_mem_reset() || gcs_mem_wiped() || gcs_mem_limit() != 8 * MIB)
		return 3;
	p = gcs_mem_alloc(7 * MIB);
	if (!p)
		return 4;
	memset(p, 1, 7 * MIB);
	return 0;
}

static void fork_wipes(void **state)
{
	char *p = gcs_mem_alloc(100000);
	int status;
	pid_t pid;

	(void)state;
	memset(p, 7, 100000);
	pid = fork();
	if (pid == 0)
		_exit(in_child(p));
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_false(gcs_mem_wiped());
	assert_int_equal(p[99999], 7);
}

static void reset_frees_all(void **state)
{
	char *p = gcs_mem_alloc(7 * MIB);

	(void)state;
	memset(p, 7, 7 * MIB);
	assert_int_equal(gcs_mem_reset(), 0);
	assert_int_equal(gcs_mem_used(), 0);
	p = gcs_mem_calloc(7, MIB);
	assert_non_null(p);
	assert_int_equal(p[5 * MIB], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounds),
		cmocka_unit_test_setup_teardown(empty_and_strange, setup, teardown),
		cmocka_unit_test_setup_teardown(lazy_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(calloc_is_zero, setup, teardown),
		cmocka_unit_test_setup_teardown(realloc_keeps, setup, teardown),
		cmocka_unit_test_setup_teardown(realloc_in_place, setup, teardown),
		cmocka_unit_test_setup_teardown(long_life, setup, teardown),
		cmocka_unit_test_setup_teardown(holes_are_reused, setup, teardown),
		cmocka_unit_test_setup_teardown(limit_holds, setup, teardown),
		cmocka_unit_test_setup_teardown(injected, setup, teardown),
		cmocka_unit_test_setup_teardown(fork_wipes, setup, teardown),
		cmocka_unit_test_setup_teardown(reset_frees_all, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
