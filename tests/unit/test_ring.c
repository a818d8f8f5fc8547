/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: an event that is torn, doubled, out of order, or lost without being counted, when the
 * callback and the agent's thread are at it at once; a count that breaks when it wraps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "ring.h"

#define EVENTS 300000

static struct gcs_ring ring;

static int clear(void **state)
{
	(void)state;
	memset(&ring, 0, sizeof(ring));
	return 0;
}

static bool push(uint64_t n)
{
	struct gcs_gc_event *e = gcs_ring_reserve_hot(&ring);

	if (!e)
		return false;
	memset(e, 0, sizeof(*e));
	e->collected = n;
	e->pause_ns = ~n;
	memset(e->at, (char)('a' + n % 26), sizeof(e->at) - 1);
	gcs_ring_commit_hot(&ring);
	return true;
}

static void fills_and_empties(void **state)
{
	struct gcs_gc_event e;
	uint64_t i;

	(void)state;
	assert_false(gcs_ring_pop(&ring, &e));
	for (i = 0; i < GCS_RING_SLOTS; i++)
		assert_true(push(i));
	assert_false(push(1000));
	assert_false(push(1001));
	assert_int_equal(gcs_ring_lost(&ring), 2);
	for (i = 0; i < GCS_RING_SLOTS; i++) {
		assert_true(gcs_ring_pop(&ring, &e));
		assert_int_equal(e.collected, i);
	}
	assert_false(gcs_ring_pop(&ring, &e));
	assert_true(push(5));
}

static void reserved_is_not_there_yet(void **state)
{
	struct gcs_gc_event e;

	(void)state;
	assert_non_null(gcs_ring_reserve_hot(&ring));
	assert_false(gcs_ring_pop(&ring, &e));
	gcs_ring_commit_hot(&ring);
	assert_true(gcs_ring_pop(&ring, &e));
}

static void wraps(void **state)
{
	struct gcs_gc_event e;
	uint64_t i;

	(void)state;
	ring.head = ring.tail = UINT32_MAX - 100;
	for (i = 0; i < 1000; i++) {
		assert_true(push(i));
		if (i >= 300) {
			assert_true(gcs_ring_pop(&ring, &e));
			assert_int_equal(e.collected, i - 300);
		}
	}
	assert_int_equal(ring.head - ring.tail, 300);
}

static void *produce(void *arg)
{
	uint64_t i;

	(void)arg;
	for (i = 0; i < EVENTS; i++)
		push(i);
	return NULL;
}

static void two_threads(void **state)
{
	struct gcs_gc_event e;
	uint64_t got = 0, next = 0;
	pthread_t producer;
	bool over = false;
	int i;

	(void)state;
	assert_int_equal(pthread_create(&producer, NULL, produce, NULL), 0);
	while (!over) {
		over = got + gcs_ring_lost(&ring) == EVENTS;
		while (gcs_ring_pop(&ring, &e)) {
			assert_true(e.collected >= next);
			next = e.collected + 1;
			assert_int_equal(e.pause_ns, ~e.collected);
			for (i = 0; i < GCS_AT_MAX - 1; i++)
				if (e.at[i] != (char)('a' + e.collected % 26))
					fail_msg("torn event");
			got++;
		}
	}
	pthread_join(producer, NULL);
	assert_int_equal(got + gcs_ring_lost(&ring), EVENTS);
	assert_true(got > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(fills_and_empties, clear),
		cmocka_unit_test_setup(reserved_is_not_there_yet, clear),
		cmocka_unit_test_setup(wraps, clear),
		cmocka_unit_test_setup(two_threads, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
