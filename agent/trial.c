/* SPDX-License-Identifier: Apache-2.0 */
#include "trial.h"

#include <string.h>

#include "census.h"
#include "clock.h"
#include "hook.h"
#include "layout.h"
#include "sizes.h"

#define OLDEST (GCS_GENERATIONS - 1)
#define MEMBERS_MAX 4096
#define SLOTS 8192       /* a power of two, twice that */
#define FANOUT_MAX 512   /* references of one object that are followed; those beyond count as from outside */
#define TABLE_MAX 4096   /* slots of a dict or set that is looked at: traversing it passes over empty ones unseen */
#define CLOCK_EVERY 64   /* objects */
#define FOLLOWED_MAX 512 /* references, between two looks at the clock */
#define STRIDE 4096        /* objects from one trial's to the next one's */
#define GOING_NS 200000    /* of CPU time for going there, for taking members and for counting their references: */
#define TAKING_NS 100000   /* those that are not reached by then are none */
#define COUNTING_NS 150000
#define HOLDING_NS 250000  /* then nothing is told: what is not held yet may still be */
#define NO_MEMBER UINT32_MAX

static struct {
	PyObject *member[MEMBERS_MAX];
	int32_t id[MEMBERS_MAX];     /* of its type, in the series */
	uint32_t inner[MEMBERS_MAX]; /* references from members */
	uint32_t held[MEMBERS_MAX];  /* members held from outside, in the order in which that was found */
	bool is_held[MEMBERS_MAX];
	uint16_t slot[SLOTS];        /* by address: member + 1 */
	uint32_t n, nheld, fanout, followed;
} t;

static uint32_t refcount(const PyObject *o)
{
	return *(const uint32_t *)o; /* from 3.12 on the count is the lower half; immortal ones have a large one */
}

static uint32_t slot_of(const PyObject *o)
{
	uint32_t i = (uint32_t)(((uintptr_t)o >> 4) * 0x9E3779B97F4A7C15ull >> 32) % SLOTS;

	while (t.slot[i] && t.member[t.slot[i] - 1] != o)
		i = (i + 1) % SLOTS;
	return i;
}

static uint32_t find(const PyObject *o)
{
	uint32_t i = t.slot[slot_of(o)] - 1u;

	return i < t.n ? i : NO_MEMBER;
}

static bool is_over(uint32_t steps, int64_t until)
{
	return steps % CLOCK_EVERY == 0 && gcs_thread_cpu_ns() > until;
}

/* The n-th object from the newest, or one not as old. */
static const struct gcs_gc_head *go_back(uint32_t n, int64_t until)
{
	const struct gcs_gc_head *head = gcs_layout.list[OLDEST], *g = gcs_gc_prev(head);

	for (uint32_t i = 0; i < n && gcs_gc_prev(g) != head && !is_over(i, until); i++)
		g = gcs_gc_prev(g);
	return g;
}

static bool has_large_table(const PyObject *o)
{
	PyObject *type = gcs_type_of(o);

	if (gcs_type_flags(type) & GCS_TPFLAG_DICT)
		return gcs_dict_slots_hot(o) > TABLE_MAX;
	return gcs_is_set_type(type) && gcs_set_slots_hot(o) > TABLE_MAX;
}

static void add_member(PyObject *o)
{
	t.member[t.n] = o;
	t.id[t.n] = gcs_census_id_gil(gcs_type_of(o));
	t.inner[t.n] = 0;
	t.is_held[t.n] = false;
	t.slot[slot_of(o)] = (uint16_t)(t.n + 1);
	t.n++;
}

static void take_members(const struct gcs_gc_head *g, int64_t until)
{
	const struct gcs_gc_head *head = gcs_layout.list[OLDEST];
	uint32_t met = 0;

	memset(t.slot, 0, sizeof(t.slot));
	for (t.n = 0; t.n < MEMBERS_MAX && g != head && !is_over(met++, until); g = gcs_gc_prev(g)) {
		PyObject *o = (PyObject *)(g + 1);

		__builtin_prefetch(gcs_gc_prev(g));
		if (!has_large_table(o))
			add_member(o);
	}
}

/* One more reference of an object, and the member that it leads to, or NO_MEMBER. False: there are too many. */
static bool follow(const PyObject *o, uint32_t *member)
{
	if (t.fanout == FANOUT_MAX)
		return false; /* each time: there are tp_traverse that go on */
	t.fanout++;
	*member = o ? find(o) : NO_MEMBER;
	return true;
}

static int count(PyObject *o, void *unused)
{
	uint32_t i;

	(void)unused;
	if (!follow(o, &i))
		return 1;
	if (i != NO_MEMBER)
		t.inner[i]++;
	return 0;
}

static void hold(uint32_t i)
{
	if (t.is_held[i])
		return;
	t.is_held[i] = true;
	t.held[t.nheld++] = i;
}

static int hold_too(PyObject *o, void *unused)
{
	uint32_t i;

	(void)unused;
	if (!follow(o, &i))
		return 1;
	if (i != NO_MEMBER)
		hold(i);
	return 0;
}

/* The same references of an object each time: nothing changes meanwhile. */
static void traverse(uint32_t i, int (*visit)(PyObject *, void *))
{
	int (*tp_traverse)(PyObject *, int (*)(PyObject *, void *), void *);

	*(void **)&tp_traverse = gcs_type_word(gcs_type_of(t.member[i]), GCS_TP_TRAVERSE);
	t.fanout = 0;
	if (tp_traverse)
		tp_traverse(t.member[i], visit, NULL);
	t.followed += t.fanout;
}

/* After `done` objects, some of which may have many references. */
static bool is_traversed_too_long(uint32_t done, int64_t until)
{
	if (t.followed < FOLLOWED_MAX)
		return is_over(done, until);
	t.followed = 0;
	return is_over(0, until);
}

/* False: there was no time for all. */
static bool hold_all(int64_t until)
{
	t.nheld = t.followed = 0;
	for (uint32_t i = 0; i < t.n; i++)
		if (refcount(t.member[i]) > t.inner[i])
			hold(i);
	for (uint32_t k = 0; k < t.nheld; k++) {
		if (is_traversed_too_long(k, until))
			return false;
		traverse(t.held[k], hold_too);
	}
	return true;
}

bool gcs_trial_possible(void)
{
	return gcs_layout.lists && gcs_layout.slots && gcs_layout.size_dict && gcs_layout.size_set &&
	       !gcs_layout.incremental;
}

bool gcs_trial_gil(uint32_t i)
{
	const struct gcs_gc_head *g;
	uint32_t counted;
	int64_t until;

	if (gcs_hook_collecting())
		return false;
	g = go_back(i * STRIDE, gcs_thread_cpu_ns() + GOING_NS);
	take_members(g, gcs_thread_cpu_ns() + TAKING_NS);
	until = gcs_thread_cpu_ns() + COUNTING_NS;
	t.followed = 0;
	for (counted = 0; counted < t.n && !is_traversed_too_long(counted, until); counted++)
		traverse(counted, count);
	t.n = counted; /* no references from the others: what these hold is held from outside */
	if (!hold_all(gcs_thread_cpu_ns() + HOLDING_NS))
		t.n = 0;
	return true;
}

void gcs_trial_add(int32_t id, struct gcs_trial *to)
{
	for (uint32_t i = 0; i < t.n; i++) {
		to->seen += t.id[i] == id;
		to->garbage += t.id[i] == id && !t.is_held[i];
	}
}
