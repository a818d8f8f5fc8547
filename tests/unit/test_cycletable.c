/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: totals that are lost when rows are merged, a row of many objects that gives way to one of
 * few, a fingerprint that differs between hosts, a list of types that runs over its end or splits a name, rows
 * shown in an order that changes by itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cycletable.h"

static struct gcs_cycletable *table;

static int set_up(void **state)
{
	(void)state;
	table = malloc(sizeof(*table));
	if (!table)
		return -1;
	memset(table, 0xa5, sizeof(*table));
	gcs_cycletable_init(table);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(table);
	return 0;
}

static struct gcs_cycle *row(uint64_t fingerprint, uint64_t objects)
{
	struct gcs_cycle *c = gcs_cycletable_add(table, fingerprint);

	c->count = 1;
	c->objects = objects;
	c->bytes = objects * 100;
	c->first_seen_ns = c->last_seen_ns = 1000 + (int64_t)fingerprint;
	return c;
}

static void test_find(void **state)
{
	uint64_t i;

	(void)state;
	assert_null(gcs_cycletable_find(table, 0));
	for (i = 0; i < GCS_CYCLES_MAX; i++)
		row(i * i, i + 1);
	for (i = 0; i < GCS_CYCLES_MAX; i++) {
		struct gcs_cycle *c = gcs_cycletable_find(table, i * i);

		assert_non_null(c);
		assert_int_equal(c->fingerprint, i * i);
		assert_int_equal(c->objects, i + 1);
	}
	assert_null(gcs_cycletable_find(table, 2));
}

static void test_new_row_is_clean(void **state)
{
	struct gcs_cycle *c, clean = {.fingerprint = GCS_CYCLES_MAX};
	uint64_t i;

	(void)state;
	for (i = 0; i < GCS_CYCLES_MAX; i++)
		memset((char *)row(i, 5) + sizeof(i), 1, sizeof(*c) - sizeof(i));
	c = gcs_cycletable_add(table, GCS_CYCLES_MAX);
	assert_memory_equal(c, &clean, sizeof(clean));
}

static void test_fewest_objects_give_way(void **state)
{
	uint64_t i;

	(void)state;
	for (i = 0; i < GCS_CYCLES_MAX; i++)
		row(i, i == 70 ? 3 : i == 80 ? 2 : 1000);
	gcs_cycletable_find(table, 80)->finalizer = true;

	row(5000, 1);
	assert_null(gcs_cycletable_find(table, 80));
	assert_non_null(gcs_cycletable_find(table, 70));
	assert_int_equal(table->merged, 1);
	assert_int_equal(table->others.objects, 2);
	assert_true(table->others.finalizer);
	assert_int_equal(table->others.first_seen_ns, 1080);

	row(5001, 900);
	assert_null(gcs_cycletable_find(table, 5000));
	row(5002, 900);
	assert_null(gcs_cycletable_find(table, 70));
	row(5003, 901);
	assert_null(gcs_cycletable_find(table, 5001)); /* of equals, the one not seen for longest */
	assert_non_null(gcs_cycletable_find(table, 5002));
	assert_int_equal(table->others.first_seen_ns, 1070);
	assert_int_equal(table->others.last_seen_ns, 6001);
	assert_int_equal(table->n, GCS_CYCLES_MAX);
	assert_string_equal(table->others.text, "");
}

/* What is counted reaches the rows when it is settled, each for as many as it stands for; and no row's is lost. */
static void test_settle(void **state)
{
	struct gcs_cycle *a, *b;
	uint64_t i;

	(void)state;
	a = row(1, 10);
	b = row(2, 20);
	gcs_cycletable_count(table, a, 3, 100);
	gcs_cycletable_count(table, a, 4, 200);
	assert_int_equal(a->objects, 10);
	gcs_cycletable_settle(table, 2.5, 77);
	assert_true(a->count == 1 + 5 && a->objects == 10 + 17.5 && a->bytes == 1000 + 750);
	assert_int_equal(a->seen, 2);
	assert_int_equal(a->last_seen_ns, 77);
	assert_true(b->count == 1 && b->seen == 0 && b->last_seen_ns == 1002);
	gcs_cycletable_settle(table, 9, 99);
	assert_true(a->count == 6 && a->last_seen_ns == 77);

	for (i = 3; i <= GCS_CYCLES_MAX; i++)
		row(i, 1000);
	gcs_cycletable_count(table, a, 5, 0);
	row(1000, 1000); /* gives a's row, or b's, to a newcomer */
	assert_null(gcs_cycletable_find(table, 2));
	gcs_cycletable_settle(table, 1, 0);
	assert_true(a->objects == 32.5 && table->others.objects == 20);
	assert_int_equal(a->seen, 3);
}

static void test_changed(void **state)
{
	struct gcs_cycle *a = row(1, 10), to[GCS_CYCLES_MAX];

	(void)state;
	row(2, 10);
	assert_int_equal(gcs_cycletable_changed(table, to), 0);
	gcs_cycletable_count(table, a, 1, 1);
	gcs_cycletable_settle(table, 1, 5);
	assert_int_equal(gcs_cycletable_changed(table, to), 1);
	assert_int_equal(to[0].fingerprint, 1);
	assert_int_equal(to[0].told, 0);
	assert_int_equal(gcs_cycletable_changed(table, to), 0);
	gcs_cycletable_count(table, a, 1, 1);
	gcs_cycletable_settle(table, 1, 6);
	assert_int_equal(gcs_cycletable_changed(table, to), 1);
	assert_int_equal(to[0].told, 1);
}

/* Whatever is merged, rows and others add up to what went in. */
static void test_totals_stay_true(void **state)
{
	uint64_t seed = 1, i, met = 0, added = 0, objects = 0, count = 0, bytes = 0;

	(void)state;
	for (i = 0; i < 50000; i++) {
		uint64_t fingerprint, n;
		struct gcs_cycle *c;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		fingerprint = seed >> 54;
		n = 1 + (seed >> 20) % 50;
		c = gcs_cycletable_find(table, fingerprint);
		met += c != NULL;
		if (!c) {
			c = gcs_cycletable_add(table, fingerprint);
			added++;
		}
		c->count++;
		c->objects += n;
		c->bytes += 7 * n;
		objects += n;
	}
	assert_true(met > 1000);
	assert_int_equal(table->merged, added - table->n);
	for (i = 0; i < table->n; i++) {
		count += table->cycle[i].count;
		objects -= table->cycle[i].objects;
		bytes += table->cycle[i].bytes;
	}
	assert_int_equal(count + table->others.count, 50000);
	assert_int_equal(objects, table->others.objects);
	bytes += table->others.bytes;
	for (i = 0; i < table->n; i++)
		bytes -= 7 * table->cycle[i].objects;
	assert_int_equal(bytes, 7 * table->others.objects);
}

/* The published vectors of 64-bit FNV-1a; signed and unsigned char must agree. */
static void test_fingerprint(void **state)
{
	(void)state;
	assert_int_equal(gcs_cycle_fingerprint(""), 0xcbf29ce484222325u);
	assert_int_equal(gcs_cycle_fingerprint("a"), 0xaf63dc4c8601ec8cu);
	assert_int_equal(gcs_cycle_fingerprint("foobar"), 0x85944171f73967e8u);
	assert_int_equal(gcs_cycle_fingerprint("\xc3\xa9"), 0x0ac21707b7181e01u);
}

static void test_types(void **state)
{
	static const char expected[] = "app.Foo\0app.Fo\0list";
	struct gcs_cycle *c = gcs_cycletable_add(table, 1);

	(void)state;
	gcs_cycle_add_type(c, "app.Foo");
	gcs_cycle_add_type(c, "app.Fo"); /* the beginning of another is another */
	gcs_cycle_add_type(c, "app.Foo");
	gcs_cycle_add_type(c, "list");
	gcs_cycle_add_type(c, "");
	gcs_cycle_add_type(c, "Foo"); /* and so is its end */
	gcs_cycle_add_type(c, "list");
	assert_int_equal(c->types_len, sizeof(expected) + 4);
	assert_memory_equal(c->types, expected, sizeof(expected));
	assert_string_equal(c->types + sizeof(expected), "Foo");
}

static void test_types_full(void **state)
{
	struct gcs_cycle *c = gcs_cycletable_add(table, 1);
	char name[GCS_CYCLE_TYPES + 8];
	int i;

	(void)state;
	for (i = 0; i < 100; i++) {
		memset(name, 'a' + i % 26, 20);
		name[20] = (char)('A' + i / 26);
		name[21] = '\0';
		gcs_cycle_add_type(c, name);
	}
	assert_int_equal(c->types_len, GCS_CYCLE_TYPES / 22 * 22);
	memset(name, 'z', sizeof(name));
	name[GCS_CYCLE_TYPES % 22] = '\0';
	gcs_cycle_add_type(c, name); /* too long by its NUL */
	assert_int_equal(c->types_len, GCS_CYCLE_TYPES / 22 * 22);
	name[GCS_CYCLE_TYPES % 22 - 1] = '\0';
	gcs_cycle_add_type(c, name);
	assert_int_equal(c->types_len, GCS_CYCLE_TYPES);
	assert_int_equal(c->text[0] | c->created_at[0] | c->advice[0], 0);
	gcs_cycle_add_type(c, "x");
	assert_int_equal(c->types_len, GCS_CYCLE_TYPES);
}

static void test_order(void **state)
{
	uint32_t order[GCS_CYCLES_MAX + 1], i;
	uint64_t seed = 7;
	bool seen[GCS_CYCLES_MAX] = {false};

	(void)state;
	for (i = 0; i < GCS_CYCLES_MAX; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		row(i, seed >> 60)->bytes = seed >> 20 & 3;
	}
	order[GCS_CYCLES_MAX] = 12345;
	gcs_cycletable_order(table, order);
	assert_int_equal(order[GCS_CYCLES_MAX], 12345);
	for (i = 0; i < GCS_CYCLES_MAX; i++) {
		const struct gcs_cycle *a, *b;

		assert_false(seen[order[i]]);
		seen[order[i]] = true;
		if (i == 0)
			continue;
		a = &table->cycle[order[i - 1]];
		b = &table->cycle[order[i]];
		assert_true(a->objects >= b->objects);
		if (a->objects == b->objects) {
			assert_true(a->bytes >= b->bytes);
			if (a->bytes == b->bytes)
				assert_true(a->fingerprint < b->fingerprint);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_find, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_new_row_is_clean, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fewest_objects_give_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_settle, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_changed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_totals_stay_true, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fingerprint, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_types, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_types_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
