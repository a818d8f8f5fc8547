/* SPDX-License-Identifier: Apache-2.0 */
#include "pile.h"

#include <string.h>

#include "clock.h"
#include "cycletable.h"
#include "edges.h"
#include "graph.h"
#include "sizes.h"

#define KINDS_MAX 512 /* distinct types of one window, the last for all that there are more */
#define KIND_SLOTS 1024

/* Scratch for each object of a window: the arrays here and in graph.c, and three edges. */
#define BYTES_EACH 112
#define BYTES_FIXED (KINDS_MAX * sizeof(struct gcs_kind) + KIND_SLOTS * sizeof(uint16_t) + 4096)
#define SIZE_MIN 64
#define SIZE_FIRST 4096 /* most piles are smaller; and of larger ones not all that the scratch has is touched */
#define SIZE_TIMED 1024 /* where the time may be up: what a window has told by then is kept */
#define EDGES_SHARE 3 /* edges get this part of what the arrays leave */
#define CLOCK_EVERY 2048 /* references between looks at the clock */

/* In place of a number. Links are no numbers: they are larger. */
#define NUMBER_MAX 0x3ffffff0u
#define DONE 0x3ffffffeu    /* decided in an earlier window, or given up */

static struct gcs_gc_head *head_of(const PyObject *o)
{
	return (struct gcs_gc_head *)o - 1;
}

static void set_number(struct gcs_gc_head *g, uintptr_t number)
{
	g->prev = number << 2 | (g->prev & ~GCS_LINK_MASK);
}

/* ---- types ---- */

/* Of no type's shape: a word that is a table's address in one is text in the next. */
static uint16_t other_kind(struct gcs_pile *p)
{
	static const char name[] = "(other)";
	struct gcs_kind *k = &p->kinds[KINDS_MAX - 1];

	if (p->nkinds < KINDS_MAX) {
		p->nkinds = KINDS_MAX;
		*k = (struct gcs_kind){.named = true, .hash = gcs_cycle_fingerprint(name), .step = GCS_STEP_OTHER};
		memcpy(k->name, name, sizeof(name));
	}
	return KINDS_MAX - 1;
}

static uint16_t kind_of(struct gcs_pile *p, PyObject *type)
{
	uint32_t i = (uint32_t)(((uintptr_t)type >> 4) * 0x9E3779B97F4A7C15ull >> 54);
	struct gcs_kind *k;

	for (; p->kind_slot[i]; i = (i + 1) % KIND_SLOTS)
		if (p->kinds[p->kind_slot[i] - 1].type == type)
			return (uint16_t)(p->kind_slot[i] - 1);
	if (p->nkinds >= KINDS_MAX - 1)
		return other_kind(p);
	k = &p->kinds[p->nkinds++];
	p->kind_slot[i] = (uint16_t)p->nkinds;
	k->type = type;
	k->named = false;
	gcs_type_shape_gil(type, &k->shape);
	return (uint16_t)(p->nkinds - 1);
}

const struct gcs_kind *gcs_pile_kind(struct gcs_pile *p, uint32_t v)
{
	struct gcs_kind *k = &p->kinds[p->kind[v]];

	if (k->named)
		return k;
	k->named = true;
	gcs_type_name_gil(k->type, k->name, sizeof(k->name));
	k->hash = gcs_cycle_fingerprint(k->name);
	k->step = gcs_step_kind_gil(p->object[v]);
	return k;
}

static bool stands_before(const struct gcs_kind *a, const struct gcs_kind *b)
{
	bool builtin_a = !strchr(a->name, '.'), builtin_b = !strchr(b->name, '.');

	return builtin_a != builtin_b ? builtin_b : strcmp(a->name, b->name) < 0;
}

/* Shell's sort: libc's takes memory of its own. */
static void sort(struct gcs_kind *kinds, uint16_t *order, uint32_t n)
{
	for (uint32_t gap = n / 2; gap; gap /= 2)
		for (uint32_t i = gap, j; i < n; i++) {
			uint16_t moved = order[i];

			for (j = i; j >= gap && stands_before(&kinds[moved], &kinds[order[j - gap]]); j -= gap)
				order[j] = order[j - gap];
			order[j] = moved;
		}
}

static void rank_kinds(struct gcs_pile *p)
{
	uint16_t order[KINDS_MAX];
	uint32_t n = 0;

	for (uint32_t i = 0; i < p->nkinds; i++)
		if (p->kinds[i].named)
			order[n++] = (uint16_t)i;
	sort(p->kinds, order, n);
	for (uint32_t i = 0; i < n; i++) {
		bool new_name = i && stands_before(&p->kinds[order[i - 1]], &p->kinds[order[i]]);

		p->kinds[order[i]].rank = i && !new_name ? p->kinds[order[i - 1]].rank : i;
	}
}

void gcs_pile_rank(struct gcs_pile *p)
{
	if (p->ranked)
		return;
	p->ranked = true;
	for (uint32_t v = 0; v < p->n; v++)
		gcs_pile_kind(p, v);
	rank_kinds(p);
	for (uint32_t v = 0; v < p->n; v++)
		p->rank[v] = p->kinds[p->kind[v]].rank;
}

static uint64_t size_of(const struct gcs_pile *p, const PyObject *o, uint16_t kind)
{
	const struct gcs_type_shape *s = &p->kinds[kind].shape;

	return s->basic + gcs_size_items_hot(o, s) + gcs_size_rest_hot(o, s->kind);
}

/* ---- a window ---- */

static void *take(struct gcs_pile *p, size_t n)
{
	return gcs_scratch_alloc(p->scratch, n);
}

bool gcs_pile_begin(struct gcs_pile *p, struct gcs_gc_head *list, uint64_t limit, int64_t until_cpu_ns,
		    struct gcs_scratch *scratch)
{
	size_t left = scratch->size - scratch->used, room = left > BYTES_FIXED ? (left - BYTES_FIXED) / BYTES_EACH : 0;

	if (room > limit)
		room = limit; /* arrays of the size needed touch the less memory */
	memset(p, 0, sizeof(*p));
	p->scratch = scratch;
	p->list = list;
	p->next = p->end = gcs_gc_next(list);
	p->limit = limit;
	p->until_cpu_ns = until_cpu_ns;
	p->room = room < NUMBER_MAX ? (uint32_t)room : NUMBER_MAX;
	p->size = until_cpu_ns == INT64_MAX ? SIZE_FIRST : SIZE_TIMED;
	if (p->size > p->room)
		p->size = p->room;
	p->object = take(p, p->room * sizeof(*p->object));
	p->kind = take(p, p->room * sizeof(*p->kind));
	p->part_of = take(p, p->room * sizeof(*p->part_of));
	p->dict = take(p, p->room * sizeof(*p->dict));
	p->closure = take(p, p->room * sizeof(*p->closure));
	p->rank = take(p, p->room * sizeof(*p->rank));
	p->held = take(p, p->room * sizeof(*p->held));
	p->open = take(p, p->room);
	p->first = take(p, (p->room + 1) * sizeof(*p->first));
	p->kinds = take(p, KINDS_MAX * sizeof(*p->kinds));
	p->kind_slot = take(p, KIND_SLOTS * sizeof(*p->kind_slot));
	p->mark = scratch->used;
	return p->room && p->kind_slot;
}

/* What is not freed is not taken. */
static void skip_legacy(struct gcs_pile *p)
{
	while (p->next != p->list && !(p->next->prev & GCS_COLLECTING))
		p->next = gcs_gc_next(p->next);
}

static void fill(struct gcs_pile *p)
{
	for (p->n = p->carried, skip_legacy(p); p->n < p->size && p->next != p->list && p->taken < p->limit;
	     skip_legacy(p)) {
		p->object[p->n++] = (PyObject *)(p->next + 1);
		p->taken++;
		p->next = gcs_gc_next(p->next);
	}
	p->complete = p->next == p->list;
	p->last = p->complete || p->taken == p->limit;
	if (p->taken > p->numbered) {
		p->numbered = p->taken;
		p->end = p->next;
	}
	p->ranked = p->any_open = false;
	p->nkinds = 0;
	memset(p->kind_slot, 0, KIND_SLOTS * sizeof(*p->kind_slot));
	for (uint32_t i = 0; i < p->n; i++) {
		PyObject *o = p->object[i];

		set_number(head_of(o), i);
		p->kind[i] = kind_of(p, gcs_type_of(o));
		p->part_of[i] = i;
		p->dict[i] = p->closure[i] = GCS_NONE;
		p->held[i] = size_of(p, o, p->kind[i]);
		p->open[i] = 0;
	}
}

/* Has it a head? As CPython's own test: type objects that are not made at run time have none. */
bool gcs_is_garbage(PyObject *o)
{
	PyObject *type = gcs_type_of(o);
	int (*is_gc)(PyObject *);

	if (!(gcs_type_flags(type) & GCS_TPFLAG_HAVE_GC))
		return false;
	*(void **)&is_gc = gcs_type_word(gcs_type_of(o), GCS_TP_IS_GC);
	if (is_gc && !is_gc(o))
		return false;
	return head_of(o)->prev & GCS_COLLECTING;
}

/* The number of an object of this window; DONE; or GCS_NONE, not seen yet. Of garbage only. */
static uint32_t number_of(const struct gcs_pile *p, const PyObject *o)
{
	uintptr_t number = head_of(o)->prev >> 2;

	if (number < p->n && p->object[number] == o)
		return (uint32_t)number;
	return number == DONE ? DONE : GCS_NONE;
}

static uint32_t adopt(struct gcs_pile *p, uint32_t whole, PyObject *part)
{
	uint32_t i = part && gcs_is_garbage(part) ? number_of(p, part) : GCS_NONE;

	if (i >= p->n || i == whole || p->part_of[i] != i)
		return GCS_NONE;
	p->part_of[i] = whole;
	return i;
}

static void join_parts(struct gcs_pile *p)
{
	for (uint32_t i = 0; i < p->n; i++) {
		p->dict[i] = adopt(p, i, gcs_instance_dict_gil(p->object[i]));
		p->closure[i] = adopt(p, i, gcs_closure_tuple_gil(p->object[i]));
	}
}

/* ---- edges ---- */

struct visit {
	struct gcs_pile *pile;
	uint32_t from;            /* the vertex */
	const PyObject *own_type; /* of the object of it that is traversed */
	uint32_t begin, n, max;
	uint32_t seen; /* references */
	bool crowded;
	uint32_t *to;
};

/* What no collector tracks and only this reference holds: a buffer, a string. */
static void add_untracked(struct visit *v, PyObject *target)
{
	PyObject *type;

	if (*(const int64_t *)target != 1)
		return;
	type = gcs_type_of(target);
	if (gcs_type_flags(type) & GCS_TPFLAG_HAVE_GC)
		return;
	v->pile->held[v->from] += size_of(v->pile, target, kind_of(v->pile, type));
	if (type == py.PyByteArray_Type) /* ob_alloc follows ob_size */
		v->pile->held[v->from] += (uint64_t)gcs_load_i64(target, GCS_OB_SIZE + 8);
}

static void add_edge(struct visit *v, uint32_t vertex)
{
	if (v->n > v->begin && v->to[v->n - 1] == vertex)
		return; /* a list of a million times the same */
	if (v->n < v->max)
		v->to[v->n++] = vertex;
	else
		v->crowded = true;
}

bool gcs_pile_is_late(struct gcs_pile *p)
{
	if (!p->late && p->until_cpu_ns != INT64_MAX)
		p->late = gcs_thread_cpu_ns() > p->until_cpu_ns;
	return p->late;
}

static int on_visit(PyObject *target, void *arg)
{
	struct visit *v = arg;
	struct gcs_pile *p = v->pile;
	uint32_t i, vertex;

	if (++v->seen % CLOCK_EVERY == 0 && gcs_pile_is_late(p))
		return 1; /* one object may refer to millions */
	if (!target || target == v->own_type)
		return 0;
	if (!gcs_is_garbage(target)) {
		add_untracked(v, target);
		return 0;
	}
	i = number_of(p, target);
	if (i == GCS_NONE)
		p->open[v->from] = p->any_open = true;
	if (i >= p->n)
		return 0;
	vertex = p->part_of[i];
	if (vertex != v->from || i == vertex) /* not to a part of its own */
		add_edge(v, vertex);
	return 0;
}

static void traverse(struct visit *v, uint32_t object)
{
	int (*tp_traverse)(PyObject *, int (*)(PyObject *, void *), void *);
	PyObject *o = v->pile->object[object];

	*(void **)&tp_traverse = gcs_type_word(gcs_type_of(o), GCS_TP_TRAVERSE);
	v->own_type = gcs_type_of(o);
	if (tp_traverse)
		tp_traverse(o, on_visit, v);
}

static void traverse_part(struct visit *v, uint32_t part)
{
	if (part == GCS_NONE)
		return;
	v->pile->held[v->from] += v->pile->held[part];
	traverse(v, part);
}

/* False: no room for all, or no time. */
static bool find_edges(struct gcs_pile *p)
{
	struct visit v = {.pile = p};

	p->scratch->used = p->mark;
	v.max = (uint32_t)((p->scratch->size - p->mark) / EDGES_SHARE / sizeof(*v.to));
	p->to = v.to = take(p, v.max * sizeof(*v.to));
	for (uint32_t i = 0; i < p->n && !p->late; i++) {
		p->first[i] = v.begin = v.n;
		if (p->part_of[i] != i)
			continue;
		v.from = i;
		traverse(&v, i);
		traverse_part(&v, p->dict[i]);
		traverse_part(&v, p->closure[i]);
	}
	p->first[p->n] = v.n;
	return !v.crowded && !p->late;
}

/* Decided they will not be: of those objects, the first n. */
static void give_up(struct gcs_pile *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		set_number(head_of(p->object[i]), DONE);
	p->lost += n;
	p->carried = 0;
}

/* More edges than there is room for: once more with half as many objects. */
static void shrink(struct gcs_pile *p)
{
	if (p->n == p->carried || p->size < SIZE_MIN) {
		give_up(p, p->n);
		return;
	}
	p->room = p->size = p->size / 2;
	p->next = head_of(p->object[p->carried]);
	p->taken -= p->n - p->carried;
	p->last = false;
	if (p->carried > p->size / 2)
		give_up(p, p->carried);
}

bool gcs_pile_next(struct gcs_pile *p)
{
	while (!p->last && !gcs_pile_is_late(p)) {
		fill(p);
		join_parts(p);
		if (find_edges(p))
			return p->n;
		if (p->late)
			p->carried = p->n;
		else
			shrink(p);
	}
	if (p->late)
		give_up(p, p->carried);
	return false;
}

void gcs_pile_carry(struct gcs_pile *p, const uint8_t *undecided)
{
	if (!undecided) {
		give_up(p, p->n);
		return;
	}
	p->carried = 0;
	for (uint32_t i = 0; i < p->n; i++) {
		if (undecided[p->part_of[i]])
			p->object[p->carried++] = p->object[i];
		else
			set_number(head_of(p->object[i]), DONE);
	}
	while (p->carried > p->size / 2 && p->size < p->room)
		p->size = p->size < p->room / 2 ? 2 * p->size : p->room;
	if (p->last || p->carried > p->size / 2)
		give_up(p, p->carried);
}

void gcs_pile_end(struct gcs_pile *p)
{
	struct gcs_gc_head *before = p->list, *g;

	for (g = gcs_gc_next(p->list);; before = g, g = gcs_gc_next(g)) {
		g->prev = (uintptr_t)before | (g->prev & ~GCS_LINK_MASK);
		if (g == p->end)
			break;
	}
}
