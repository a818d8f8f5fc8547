/* SPDX-License-Identifier: Apache-2.0 */
#include "census.h"

#include <errno.h>
#include <string.h>

#include "clock.h"
#include "hook.h"
#include "peek.h"
#include "sizes.h"
#include "world.h"

#define HARD_LIMIT_NS 500000   /* a slice ends here wherever it is */
#define SLICE_NS 300000        /* CPU time that a slice is meant to take */
#define IN_CALLBACK_NS 500000  /* the most that a census inside a collection may be expected to take */
#define IN_CALLBACK_TYPES 16384 /* the largest table that it may have to clear */
#define CLOCK_EVERY 128        /* steps between looks at the clock */
#define STEPS_A_TYPE 32        /* what a type's first object takes away from that: it costs as much as hundreds */
#define STEPS_MIN 512u
#define STEPS_MAX 65536u
#define STEPS_FIRST 1024u
#define RESTARTS_MAX 3         /* because of full collections; then the census stands as inexact */
#define PATIENCE_NS 500000000  /* without lists: how long the end of collections is waited for */
#define LOSSES_MAX 8           /* because the trail was lost; then it is given up */
#define PENDING 16
#define AHEAD 2 /* objects: how far ahead memory is asked for */
#define TRAIL 64

enum state { IDLE, RUNNING, INSIDE, READY };
enum phase { TO_CLEAR, TO_BEGIN, BEGUN };

/* An object as it was when it was passed. */
struct footprint {
	const struct gcs_gc_head *head;
	const PyObject *type;
};

/* Where a chain stands: [0] is the object to go on with, the others lie behind it, the nearest first. */
struct trail {
	struct footprint at[TRAIL];
	int n;
	bool from_head; /* behind the last one is the list's head */
};

static struct gcs_census {
	enum state state; /* released with READY */
	struct gcs_series *series;
	struct gcs_types types;
	struct gcs_census_result result;
	enum phase phase; /* TO_BEGIN: the types are cleared; with the next slice, from the beginning */
	int list;       /* the one being walked */
	bool in_list;   /* the trails say where; else at the list's ends */
	struct trail front, back;
	uint32_t steps; /* of a slice, each of the two chains */
	bool calibrated; /* a census has told how long a slice should be */
	uint32_t losses;
	uint64_t walked; /* objects so far */
	uint64_t full_collections, collections; /* when it began */
	int64_t began_ns;
	int64_t wanted_ns; /* without lists: the first try */
	int64_t welcome_ns;
	uint64_t expected_ns;
} census = {.welcome_ns = INT64_MAX, .steps = STEPS_FIRST};

struct cursor {
	struct gcs_gc_head *front, *back;
};

/* ---- trails ---- */

static struct gcs_gc_head *step(const struct gcs_gc_head *g, bool forward)
{
	return forward ? gcs_gc_next(g) : gcs_gc_prev(g);
}

/* Notes g and what lies behind it, seen in the chain's direction. All of it was read a moment ago. */
static void lay_trail(struct trail *t, const struct gcs_gc_head *g, bool forward)
{
	t->n = 0;
	while (t->n < TRAIL && !gcs_gc_is_head(g)) {
		t->at[t->n++] = (struct footprint){g, gcs_type_of(g + 1)};
		g = step(g, !forward);
	}
	t->from_head = gcs_gc_is_head(g);
}

static bool on_trail(const struct trail *t, const struct gcs_gc_head *g, int from)
{
	for (int i = from; i < t->n; i++)
		if (t->at[i].head == g)
			return true;
	return false;
}

/* The two links, the reference count and the type, if this is still the object that left the footprint. */
static bool still_there(const struct footprint *f, uintptr_t links[2])
{
	uintptr_t w[8];
	int refcnt = 2, type = 2 + GCS_OB_TYPE / 8;

	if (!gcs_peek_words((uintptr_t)f->head, w, type + 1) || w[type] != (uintptr_t)f->type)
		return false;
	if (!(uint32_t)w[refcnt])
		return false; /* from 3.12 on the count is the lower half */
	links[0] = w[0] & GCS_LINK_MASK;
	links[1] = w[1] & GCS_LINK_MASK;
	return true;
}

/* Are the trail's objects i and i + 1 still alive, and neighbours? */
static bool pair_holds(const struct trail *t, int i, bool forward)
{
	uintptr_t near[2], far[2];
	int to = forward ? 0 : 1; /* the link in the chain's direction */

	return still_there(&t->at[i], near) && still_there(&t->at[i + 1], far) &&
	       far[to] == (uintptr_t)t->at[i].head && near[!to] == (uintptr_t)t->at[i + 1].head;
}

/* The object to go on with, or a head at the list's end; NULL: the trail is lost. */
static struct gcs_gc_head *follow(const struct trail *t, bool forward)
{
	const struct gcs_gc_head *g = NULL;

	for (int i = 0; !g && i + 1 < t->n; i++)
		if (pair_holds(t, i, forward))
			g = t->at[i].head;
	if (!g && t->from_head)
		g = step(gcs_layout.list[census.list], forward); /* a short way from the list's own end */
	while (g && !gcs_gc_is_head(g) && on_trail(t, g, 1))
		g = step(g, forward);
	return (struct gcs_gc_head *)g;
}

/* ---- walking ---- */

/*
 * Objects whose size takes a look at another block of memory (a dict's table): asked for when met,
 * measured PENDING objects later, when it has come. Empty between slices.
 */
static struct {
	const void *object[PENDING];
	struct gcs_type_entry *entry[PENDING];
	unsigned n;
} pending;

static void measure(unsigned i)
{
	struct gcs_type_entry *e = pending.entry[i];

	e->extra += gcs_size_rest_hot(pending.object[i], e->shape.kind);
}

static inline void measure_later(const void *object, struct gcs_type_entry *e)
{
	unsigned i = pending.n % PENDING;

	if (pending.n++ >= PENDING)
		measure(i);
	if (e->shape.kind == GCS_SIZE_DICT)
		__builtin_prefetch((const void *)(intptr_t)gcs_load_i64(object, GCS_DICT_KEYS));
	pending.object[i] = object;
	pending.entry[i] = e;
}

static void measure_pending(void)
{
	for (unsigned i = 0; i < pending.n && i < PENDING; i++)
		measure(i);
	pending.n = 0;
}

/*
 * A type's first object in this census. The table may move: nothing may be pending. NULL: no memory, or
 * a type that may not be added now.
 */
static __attribute__((noinline)) struct gcs_type_entry *see_type(PyObject *type, bool may_add)
{
	struct gcs_type_entry *e;

	measure_pending();
	e = gcs_types_see_gil(&census.types, type, census.series, may_add);
	if (!e)
		census.result.unnamed++;
	return e;
}

/*
 * way: 1 on the chain from the front, -1 on that from the back. What an allocator gave out next to this object for
 * the next ones of its type is asked for before the list leads there: in a heap that is not in the caches a census
 * takes a quarter less time.
 */
static inline __attribute__((always_inline)) bool
count(const struct gcs_gc_head *g, bool may_add, int way, uint32_t *steps)
{
	const void *object = g + 1;
	PyObject *type = gcs_load_ptr(object, GCS_OB_TYPE);
	struct gcs_type_entry *e = gcs_types_hit_hot(&census.types, type);

	if (__builtin_expect(!e, 0)) {
		*steps = *steps > STEPS_A_TYPE ? *steps - STEPS_A_TYPE : 1;
		if (!(e = see_type(type, may_add)))
			return may_add;
	}
	e->count++;
	e->extra += gcs_size_items_hot(object, &e->shape);
	__builtin_prefetch((const char *)g + (ptrdiff_t)way * AHEAD * e->shape.basic);
	if (e->shape.kind != GCS_SIZE_PLAIN)
		measure_later(object, e);
	return true;
}

enum walk { WALK_ON, WALK_THROUGH, WALK_UNKNOWN_TYPE };

/*
 * Both chains by up to n steps. Between two calls neither of the cursor's objects is counted, and front stands before
 * back. Or seems to: an object of a trail that was freed and made anew at the same address, with its neighbour, stands
 * at the list's end, and a collection moves objects to other lists. The chains need not meet then, but end at a head.
 */
static inline __attribute__((always_inline)) enum walk
walk_chains(struct cursor *k, uint32_t n, bool may_add)
{
	struct gcs_gc_head *f = k->front, *b = k->back;

	if (gcs_gc_is_head(f) || gcs_gc_is_head(b))
		return WALK_THROUGH;
	for (; f != b && n; n--) {
		struct gcs_gc_head *next = gcs_gc_next(f), *prev = gcs_gc_prev(b);

		__builtin_prefetch(next + 1);
		__builtin_prefetch(prev + 1);
		if (!count(f, may_add, 1, &n) || !count(b, may_add, -1, &n))
			return WALK_UNKNOWN_TYPE;
		census.walked += 2;
		if (next == b || gcs_gc_is_head(next) || gcs_gc_is_head(prev))
			return WALK_THROUGH;
		f = next;
		b = prev;
	}
	if (f == b) {
		census.walked++;
		return count(f, may_add, 1, &n) ? WALK_THROUGH : WALK_UNKNOWN_TYPE;
	}
	k->front = f;
	k->back = b;
	return WALK_ON;
}

static struct cursor whole_list(int list)
{
	const struct gcs_gc_head *head = gcs_layout.list[list];

	return (struct cursor){gcs_gc_next(head), gcs_gc_prev(head)};
}

/* Where the trails lead. False: lost. */
static bool resume(struct cursor *k)
{
	k->front = follow(&census.front, true);
	k->back = follow(&census.back, false);
	if (!k->front || !k->back)
		return false;
	/* Nothing is left between the chains: each stands on what the other has passed. */
	if (on_trail(&census.back, k->front, 1) || on_trail(&census.front, k->back, 1))
		k->front = gcs_layout.list[census.list];
	return true;
}

static void suspend(const struct cursor *k)
{
	lay_trail(&census.front, k->front, true);
	lay_trail(&census.back, k->back, false);
	census.in_list = true;
}

/* ---- the life of a census ---- */

static uint64_t collections_now(void)
{
	struct gcs_hook_counts c;
	uint64_t n = 0;

	for (int g = 0; g < GCS_GENERATIONS; g++) {
		gcs_hook_counts(g, &c);
		n += c.collections;
	}
	return n;
}

static void begin(void)
{
	census.result.frozen = census.result.unnamed = census.walked = 0;
	census.list = 0;
	census.in_list = false;
	census.phase = BEGUN;
	if (!census.result.slices)
		census.began_ns = gcs_now_ns();
	census.full_collections = gcs_hook_full_collections();
	census.collections = collections_now();
}

static void set_state(enum state s)
{
	__atomic_store_n(&census.state, s, __ATOMIC_RELEASE);
}

static enum state get_state(void)
{
	return __atomic_load_n(&census.state, __ATOMIC_ACQUIRE);
}

int gcs_census_init(struct gcs_series *series)
{
	memset(&census.result, 0, sizeof(census.result));
	census.series = series;
	census.welcome_ns = INT64_MAX;
	set_state(IDLE);
	return gcs_types_init(&census.types);
}

void gcs_census_forget(void)
{
	gcs_census_welcome(INT64_MAX, 0);
}

bool gcs_census_running(void)
{
	return get_state() == RUNNING;
}

bool gcs_census_ready(void)
{
	return get_state() == READY;
}

static void start(void)
{
	memset(&census.result, 0, sizeof(census.result));
	census.losses = 0;
	census.wanted_ns = 0;
}

bool gcs_census_start(void)
{
	enum state idle = IDLE;

	if (!__atomic_compare_exchange_n(&census.state, &idle, RUNNING, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return false;
	start();
	census.phase = TO_CLEAR;
	return true;
}

void gcs_census_prepare(void)
{
	gcs_series_make_room(census.series);
	if (census.phase == TO_CLEAR) {
		gcs_types_begin(&census.types, true);
		census.phase = TO_BEGIN;
	}
	gcs_types_make_room(&census.types);
}

/* The next list; false when there is none. The permanent generation is what the last one adds. */
static bool next_list(void)
{
	census.list++;
	if (census.list == GCS_LISTS - 1)
		census.result.frozen = census.walked;
	return census.list < GCS_LISTS;
}

static void finish(uint64_t frozen, bool exact)
{
	census.result.frozen = frozen;
	census.result.exact = exact;
	census.result.taken_ns = gcs_now_ns();
	census.result.wall_ns = (uint64_t)(census.result.taken_ns - census.began_ns);
	set_state(READY);
}

/* A full collection has reordered the lists. */
static bool is_reordered(void)
{
	if (gcs_hook_full_collections() == census.full_collections)
		return false;
	if (census.result.restarts < RESTARTS_MAX)
		return true;
	census.full_collections = gcs_hook_full_collections();
	return false;
}

/* The place to go on from. False: lost. */
static bool find_place(struct cursor *k)
{
	if (!census.in_list)
		*k = whole_list(census.list);
	else if (!resume(k))
		return false;
	census.in_list = false;
	return true;
}

static enum gcs_census_step restart(void)
{
	census.result.restarts++;
	census.phase = TO_CLEAR;
	return GCS_CENSUS_MORE;
}

static enum gcs_census_step give_up(void)
{
	set_state(IDLE);
	return GCS_CENSUS_FAILED;
}

/*
 * Free-threaded builds: all of it. A program that collects all the time is counted in the middle of that in the end,
 * with what waits to be freed.
 */
static enum gcs_census_step stop_the_world_gil(void)
{
	bool collecting = gcs_hook_collecting();
	struct gcs_world_count n;

	if (!census.wanted_ns)
		census.wanted_ns = gcs_now_ns();
	if (collecting && gcs_now_ns() - census.wanted_ns < PATIENCE_NS)
		return GCS_CENSUS_BUSY;
	begin();
	census.phase = TO_CLEAR; /* should this be in vain */
	if (!gcs_world_count_gil(&census.types, census.series, collecting, &n))
		return GCS_CENSUS_BUSY;
	census.result.slices = 1;
	census.result.unnamed = n.unnamed;
	census.result.pause_ns = n.pause_ns;
	finish(n.frozen, !collecting);
	return GCS_CENSUS_DONE;
}

enum gcs_census_step gcs_census_slice_gil(void)
{
	int64_t hard = gcs_now_ns() + HARD_LIMIT_NS;
	uint64_t end;
	enum walk w = WALK_ON;
	struct cursor k;

	if (!gcs_layout.lists)
		return stop_the_world_gil();
	if (gcs_hook_collecting())
		return GCS_CENSUS_BUSY;
	if (census.phase == TO_BEGIN)
		begin();
	if (is_reordered())
		return restart();
	census.result.slices++;
	if (!find_place(&k))
		return ++census.losses > LOSSES_MAX ? give_up() : restart();
	end = census.walked + 2 * census.steps;
	while (w == WALK_ON && census.walked < end && gcs_now_ns() < hard) {
		w = walk_chains(&k, CLOCK_EVERY, true);
		if (w == WALK_THROUGH && next_list()) {
			k = whole_list(census.list);
			w = WALK_ON;
		}
	}
	measure_pending();
	if (w == WALK_ON && !gcs_gc_is_head(k.front) && !gcs_gc_is_head(k.back))
		suspend(&k);
	else if (census.list < GCS_LISTS)
		next_list();
	if (census.list < GCS_LISTS)
		return GCS_CENSUS_MORE;
	finish(census.walked - census.result.frozen,
	       census.result.slices <= 1 || collections_now() == census.collections);
	return GCS_CENSUS_DONE;
}

/* A slice's length is a power of two, with some inertia. The very first census finds it as it goes. */
static void adapt_steps(void)
{
	uint64_t wanted;

	if (census.result.slices < 2 || !census.result.cpu_ns)
		return;
	wanted = census.walked / 2 * SLICE_NS / census.result.cpu_ns;
	while (census.steps < STEPS_MAX && wanted > census.steps * 5 / 2)
		census.steps *= 2;
	while (census.steps > STEPS_MIN && wanted < census.steps * 9 / 10)
		census.steps /= 2;
}

void gcs_census_held(uint64_t wall_ns, uint64_t cpu_ns)
{
	bool over = get_state() == READY;

	census.result.held_ns += wall_ns;
	census.result.cpu_ns += cpu_ns;
	if (over || !census.calibrated)
		adapt_steps();
	census.calibrated |= over;
}

void gcs_census_take(struct gcs_census_result *out)
{
	struct gcs_census_result *r = &census.result;

	r->objects = r->unnamed;
	r->bytes = 0;
	gcs_series_begin(census.series, r->taken_ns);
	for (uint32_t i = 0; i <= census.types.mask; i++) {
		const struct gcs_type_entry *e = &census.types.entry[i];
		uint64_t bytes;

		if (!e->type || e->epoch != census.types.epoch || !e->count)
			continue;
		bytes = e->count * e->shape.basic + e->extra;
		r->objects += e->count;
		r->bytes += bytes;
		if (e->id >= 0)
			gcs_series_put(census.series, e->id, e->count, bytes);
		else
			r->unnamed += e->count;
	}
	gcs_series_end(census.series);
	*out = *r;
	set_state(IDLE);
}

int32_t gcs_census_id_gil(const PyObject *type)
{
	const struct gcs_type_entry *e = gcs_types_hit_hot(&census.types, type);

	return e ? e->id : GCS_TYPE_UNNAMED;
}

void gcs_census_welcome(int64_t from_ns, uint64_t expected_ns)
{
	__atomic_store_n(&census.expected_ns, expected_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&census.welcome_ns, from_ns, __ATOMIC_RELAXED);
}

/* The whole heap in one go, if it turns out as small as expected and holds no type that is new. */
static bool take_at_once(void)
{
	int64_t hard = gcs_now_ns() + HARD_LIMIT_NS;

	start();
	gcs_types_begin(&census.types, false);
	begin();
	do {
		struct cursor k = whole_list(census.list);
		enum walk w;

		while ((w = walk_chains(&k, CLOCK_EVERY, false)) == WALK_ON)
			if (gcs_now_ns() > hard)
				break;
		measure_pending();
		if (w != WALK_THROUGH)
			return false;
	} while (next_list());
	census.result.slices = 1;
	return true;
}

void gcs_census_after_collection_gil(void)
{
	enum state idle = IDLE;
	int64_t began;

	if (!gcs_layout.lists || __atomic_load_n(&census.expected_ns, __ATOMIC_RELAXED) > IN_CALLBACK_NS)
		return;
	began = gcs_now_ns();
	if (began < __atomic_load_n(&census.welcome_ns, __ATOMIC_RELAXED) ||
	    !__atomic_compare_exchange_n(&census.state, &idle, INSIDE, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return;
	__atomic_store_n(&census.welcome_ns, INT64_MAX, __ATOMIC_RELAXED);
	if (census.types.mask > IN_CALLBACK_TYPES || !take_at_once()) {
		set_state(IDLE);
		return;
	}
	census.result.held_ns = census.result.cpu_ns = (uint64_t)(gcs_now_ns() - began);
	finish(census.walked - census.result.frozen, true);
}
