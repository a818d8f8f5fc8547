/* SPDX-License-Identifier: Apache-2.0 */
#include "census.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "disabled.h"
#include "hook.h"
#include "mem.h"
#include "sizes.h"

#define HARD_LIMIT_NS 700000   /* a slice ends here wherever it is */
#define SOFT_HIGH_NS 400000    /* above: fewer steps in the next slice */
#define SOFT_LOW_NS 120000     /* below: more steps in the next census */
#define IN_CALLBACK_NS 500000  /* the most that a census inside a collection may be expected to take */
#define CLOCK_EVERY 256        /* steps between looks at the clock */
#define STEPS_MIN 512u
#define STEPS_MAX 65536u
#define STEPS_FIRST 2048u      /* two chains at 166 ns a step: 0.7 ms in the worst heap measured */
#define BOUNDARY_SEARCH 1024   /* steps to look for a good place for a bookmark */
#define RESTARTS_MAX 3

enum state { IDLE, RUNNING, READY };

/* Bookmarks live in the target's heap and in its lists: static, so that a forked child can find them. */
static struct {
	struct gcs_gc_head *head;
	bool linked;
} mark[2];

static struct gcs_census {
	enum state state; /* released with READY */
	struct gcs_series *series;
	struct gcs_types types;
	struct gcs_census_result result;
	int list;       /* the one being walked */
	bool in_list;   /* the bookmarks say where; else at the list's ends */
	uint32_t steps; /* of a slice, each of the two chains */
	bool slow;      /* a slice of this census took over SOFT_HIGH_NS */
	bool fast;      /* none took over SOFT_LOW_NS */
	uint64_t full_collections, collections; /* when it began */
	int64_t began_ns;
	int64_t welcome_ns;
	uint64_t expected_ns;
} census = {.welcome_ns = INT64_MAX, .steps = STEPS_FIRST};

struct cursor {
	struct gcs_gc_head *front, *back;
};

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

/* ---- bookmarks ---- */

int gcs_census_prepare_gil(void)
{
	for (int i = 0; i < 2; i++) {
		PyObject *list = py.PyList_New(0);

		if (!list) {
			py.PyErr_Clear();
			gcs_disable("census", "no memory for a bookmark");
			return -1;
		}
		py.PyObject_GC_UnTrack(list);
		mark[i].head = (struct gcs_gc_head *)list - 1;
	}
	return 0;
}

static inline bool is_head(const struct gcs_gc_head *g)
{
	return (uintptr_t)g - gcs_layout.heads_lo < gcs_layout.heads_size;
}

/* Replaces the address in a link, leaving its flag bits. */
static void set_link(uintptr_t *link, const struct gcs_gc_head *to)
{
	*link = (*link & ~GCS_LINK_MASK) | (uintptr_t)to;
}

static void mark_unlink(int i)
{
	struct gcs_gc_head *m = mark[i].head, *next, *prev;

	if (!mark[i].linked)
		return;
	next = gcs_gc_next(m);
	prev = gcs_gc_prev(m);
	set_link(&prev->next, next);
	set_link(&next->prev, prev);
	m->next = m->prev = 0;
	mark[i].linked = false;
}

/* Links bookmark i between prev and next, which are neighbours. */
static void mark_link(int i, struct gcs_gc_head *prev, struct gcs_gc_head *next)
{
	struct gcs_gc_head *m = mark[i].head;

	/* The old-space bit (3.14.0 to 3.14.4) is that of its new list; no other flag fits a fresh object. */
	m->next = ((is_head(next) ? prev : next)->next & 1) | (uintptr_t)next;
	m->prev = (uintptr_t)prev;
	set_link(&prev->next, m);
	set_link(&next->prev, m);
	mark[i].linked = true;
}

static inline bool is_end(const struct gcs_gc_head *g)
{
	return is_head(g) || g == mark[0].head || g == mark[1].head;
}

/* One object in 256: a place where a bookmark may stand, the same in every census. */
static inline bool is_boundary(const struct gcs_gc_head *g)
{
	return ((uintptr_t)g >> 4) * 0x9E3779B97F4A7C15ull >> 56 == 0;
}

/* ---- walking ---- */

static struct gcs_type_entry *see_type(PyObject *type, bool may_add)
{
	return gcs_types_see_gil(&census.types, type, census.series, may_add);
}

static inline bool count(const struct gcs_gc_head *g, bool may_add)
{
	const void *object = g + 1;
	PyObject *type = gcs_type_of(object);
	struct gcs_type_entry *e = gcs_types_hit_hot(&census.types, type);

	if (__builtin_expect(!e, 0)) {
		e = see_type(type, may_add);
		if (!e) {
			census.result.unnamed++;
			return may_add;
		}
	}
	e->count++;
	if (e->shape.kind != GCS_SIZE_FIXED)
		e->extra += gcs_object_extra_hot(object, &e->shape);
	return true;
}

enum walk { WALK_ON, WALK_THROUGH, WALK_UNKNOWN_TYPE };

/* Both chains by up to n steps. Front and back never pass each other. */
static enum walk walk(struct cursor *k, uint32_t n, bool may_add)
{
	struct gcs_gc_head *f = k->front, *b = k->back;

	for (; n; n--) {
		if (is_end(f) || is_end(b))
			return WALK_THROUGH;
		if (!count(f, may_add))
			return WALK_UNKNOWN_TYPE;
		if (f == b)
			return WALK_THROUGH;
		f = gcs_gc_next(f);
		if (!count(b, may_add))
			return WALK_UNKNOWN_TYPE;
		if (f == b)
			return WALK_THROUGH;
		b = gcs_gc_prev(b);
	}
	k->front = f;
	k->back = b;
	return WALK_ON;
}

/* One chain alone, to the next good place for its bookmark. */
static enum walk walk_to_boundary(struct cursor *k, bool front)
{
	for (int n = 0; n < BOUNDARY_SEARCH; n++) {
		struct gcs_gc_head *g = front ? k->front : k->back;

		if (is_end(g))
			return WALK_THROUGH;
		if (is_boundary(g))
			return WALK_ON;
		count(g, true);
		if (k->front == k->back)
			return WALK_THROUGH;
		if (front)
			k->front = gcs_gc_next(g);
		else
			k->back = gcs_gc_prev(g);
	}
	return WALK_ON;
}

static struct cursor whole_list(int list)
{
	const struct gcs_gc_head *head = gcs_layout.list[list];

	return (struct cursor){gcs_gc_next(head), gcs_gc_prev(head)};
}

/* Where the bookmarks say; takes them out. */
static struct cursor resume(void)
{
	struct cursor k = {gcs_gc_next(mark[0].head), gcs_gc_prev(mark[1].head)};

	/* Everything between them is gone: each is the other's neighbour. */
	if (k.front == mark[1].head)
		k.front = k.back = gcs_layout.list[0];
	mark_unlink(0);
	mark_unlink(1);
	return k;
}

static void suspend(const struct cursor *k)
{
	mark_link(0, gcs_gc_prev(k->front), k->front);
	mark_link(1, k->back, gcs_gc_next(k->back));
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
	gcs_types_begin(&census.types);
	census.result.frozen = census.result.unnamed = 0;
	census.list = 0;
	census.in_list = false;
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
	census.slow = false;
	census.fast = true;
	census.began_ns = now_ns();
	begin();
}

bool gcs_census_start(void)
{
	enum state idle = IDLE;

	if (!__atomic_compare_exchange_n(&census.state, &idle, RUNNING, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return false;
	census.in_list = false;
	census.list = -1; /* the first slice, which has the GIL, begins */
	return true;
}

static uint64_t counted(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i <= census.types.mask; i++)
		if (census.types.entry[i].type && census.types.entry[i].epoch == census.types.epoch)
			n += census.types.entry[i].count;
	return n;
}

/* The next list; false when there is none. The permanent generation is what the last one adds. */
static bool next_list(void)
{
	census.list++;
	if (census.list == GCS_LISTS - 1)
		census.result.frozen = counted();
	return census.list < GCS_LISTS;
}

static void finish(void)
{
	census.result.frozen = counted() - census.result.frozen;
	census.result.taken_ns = now_ns();
	census.result.wall_ns = (uint64_t)(census.result.taken_ns - census.began_ns);
	census.result.exact = census.result.slices <= 1 || collections_now() == census.collections;
	if (census.slow || (census.fast && census.steps < STEPS_MAX))
		census.steps = census.slow ? census.steps : census.steps * 2;
	set_state(READY);
}

/* A full collection has reordered the lists. */
static void restart_if_reordered(void)
{
	if (gcs_hook_full_collections() == census.full_collections)
		return;
	if (census.result.restarts == RESTARTS_MAX) {
		census.full_collections = gcs_hook_full_collections();
		return;
	}
	census.result.restarts++;
	mark_unlink(0);
	mark_unlink(1);
	begin();
}

static void adapt(int64_t took_ns)
{
	if (took_ns > SOFT_HIGH_NS && census.steps > STEPS_MIN) {
		census.steps /= 2;
		census.slow = true;
	}
	if (took_ns > SOFT_LOW_NS)
		census.fast = false;
}

enum gcs_census_step gcs_census_slice_gil(void)
{
	int64_t began = now_ns(), hard = began + HARD_LIMIT_NS;
	uint32_t left = census.steps;
	enum walk w = WALK_ON;
	struct cursor k;

	if (get_state() != RUNNING)
		return GCS_CENSUS_DONE; /* taken inside a collection meanwhile */
	if (gcs_hook_collecting())
		return GCS_CENSUS_BUSY;
	if (census.list < 0)
		start();
	restart_if_reordered();
	census.result.slices++;
	k = census.in_list ? resume() : whole_list(census.list);
	census.in_list = false;
	while (w == WALK_ON && left && now_ns() < hard) {
		w = walk(&k, CLOCK_EVERY, true);
		left -= left < CLOCK_EVERY ? left : CLOCK_EVERY;
		if (w == WALK_THROUGH && next_list()) {
			k = whole_list(census.list);
			w = WALK_ON;
		}
	}
	if (w == WALK_ON && now_ns() < hard)
		w = walk_to_boundary(&k, true);
	if (w == WALK_ON && now_ns() < hard)
		w = walk_to_boundary(&k, false);
	if (w == WALK_ON && !is_end(k.front) && !is_end(k.back))
		suspend(&k);
	else if (census.list < GCS_LISTS)
		next_list();
	adapt(now_ns() - began);
	if (census.list < GCS_LISTS)
		return GCS_CENSUS_MORE;
	finish();
	return GCS_CENSUS_DONE;
}

void gcs_census_held(uint64_t wall_ns, uint64_t cpu_ns)
{
	census.result.held_ns += wall_ns;
	census.result.cpu_ns += cpu_ns;
}

void gcs_census_abort_gil(void)
{
	mark_unlink(0);
	mark_unlink(1);
	if (get_state() == RUNNING)
		set_state(IDLE);
}

static int64_t realtime_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

void gcs_census_take(struct gcs_census_result *out)
{
	struct gcs_census_result *r = &census.result;

	r->objects = r->unnamed;
	r->bytes = 0;
	r->realtime_ns = realtime_ns();
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
	}
	gcs_series_end(census.series);
	*out = *r;
	set_state(IDLE);
}

void gcs_census_welcome(int64_t from_ns, uint64_t expected_ns)
{
	__atomic_store_n(&census.expected_ns, expected_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&census.welcome_ns, from_ns, __ATOMIC_RELAXED);
}

/* The whole heap in one go, if it turns out as small as expected and holds no type that is new. */
static bool take_at_once(void)
{
	int64_t hard = now_ns() + HARD_LIMIT_NS;

	start();
	do {
		struct cursor k = whole_list(census.list);
		enum walk w;

		while ((w = walk(&k, CLOCK_EVERY, false)) == WALK_ON)
			if (now_ns() > hard)
				return false;
		if (w == WALK_UNKNOWN_TYPE)
			return false;
	} while (next_list());
	census.result.slices = 1;
	return true;
}

void gcs_census_after_collection_gil(void)
{
	enum state idle = IDLE;
	int64_t began;

	if (__atomic_load_n(&census.expected_ns, __ATOMIC_RELAXED) > IN_CALLBACK_NS)
		return;
	began = now_ns();
	if (began < __atomic_load_n(&census.welcome_ns, __ATOMIC_RELAXED) ||
	    !__atomic_compare_exchange_n(&census.state, &idle, RUNNING, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return;
	__atomic_store_n(&census.welcome_ns, INT64_MAX, __ATOMIC_RELAXED);
	if (!take_at_once()) {
		set_state(IDLE);
		return;
	}
	census.result.held_ns = census.result.cpu_ns = (uint64_t)(now_ns() - began);
	finish();
}
