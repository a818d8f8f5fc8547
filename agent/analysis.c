/* SPDX-License-Identifier: Apache-2.0 */
#include "analysis.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "disabled.h"
#include "edges.h"
#include "gcscope/protocol.h"
#include "graph.h"
#include "layout.h"
#include "sizes.h"

#define SLOT_CLEAR 51 /* for PyType_GetSlot() */
#define SLOT_DEL 53
#define SLOT_TRAVERSE 71

#define TYPES_MAX 512    /* distinct types of one collection's garbage; of more, the rest is not told apart */
#define PATH_MAX_STEPS 12 /* of the cycle that is shown */
#define TRIES 8
#define SIGNATURES 1024  /* known components, by signature */
#define LARGE 200        /* members above which a component with classes in it is shown as one line */

/* A type of this garbage. */
struct kind {
	const PyObject *type;
	struct gcs_type_shape shape;
	uint64_t hash; /* of its name */
	uint32_t rank; /* built-in types last, then by name */
	bool finalizer;
	char name[GCS_NAME_MAX + 1];
};

struct pile {
	uint32_t n;
	PyObject **object;
	uint32_t *slot;   /* hash table of indexes + 1 */
	uint32_t mask;
	uint16_t *kind;   /* of each object */
	uint32_t *part_of; /* the vertex that shows this object; itself mostly */
	uint32_t *dict, *closure; /* the parts of a vertex, GCS_NONE */
	uint32_t *rank;
	uint64_t *held;   /* bytes, with the parts and what only it holds and no collector tracks */
	uint32_t *first, *to;
	struct kind *kinds;
	uint32_t nkinds;
	bool ranked;
	struct gcs_scratch *scratch;
};

/* Signature -> fingerprint, for the life of the process; a wrong hit merges two cycles that look alike. */
static struct {
	uint64_t signature, fingerprint;
} known[SIGNATURES];

bool gcs_analysis_probe_gil(void)
{
	PyObject *t = gcs_some_heap_type_gil();
	bool ok = t && gcs_load_ptr(t, GCS_SLOT_TRAVERSE) == py.PyType_GetSlot(t, SLOT_TRAVERSE) &&
		  gcs_load_ptr(t, GCS_SLOT_CLEAR) == py.PyType_GetSlot(t, SLOT_CLEAR) &&
		  gcs_load_ptr(t, GCS_SLOT_DEL) == py.PyType_GetSlot(t, SLOT_DEL);

	if (t)
		py.Py_DecRef(t);
	if (py.PyErr_Occurred())
		py.PyErr_Clear();
	if (!ok)
		gcs_disable("cycles", "the slots of a type do not verify");
	else
		gcs_edges_probe_gil();
	return ok;
}

/* ---- the pile ---- */

static uint32_t hash_of(const void *p)
{
	return (uint32_t)(((uintptr_t)p >> 4) * 0x9E3779B97F4A7C15ull >> 32);
}

static uint32_t find(const struct pile *p, const void *object)
{
	uint32_t i = hash_of(object) & p->mask;

	while (p->slot[i]) {
		if (p->object[p->slot[i] - 1] == object)
			return p->slot[i] - 1;
		i = (i + 1) & p->mask;
	}
	return GCS_NONE;
}

static void *take(struct pile *p, size_t n)
{
	return gcs_scratch_alloc(p->scratch, n);
}

/* Room for n objects; edges take what is left. */
static bool make_room(struct pile *p, uint32_t n)
{
	uint32_t capacity = 64;

	while (capacity < 2 * n)
		capacity *= 2;
	p->n = n;
	p->mask = capacity - 1;
	p->object = take(p, n * sizeof(*p->object));
	p->slot = take(p, capacity * sizeof(*p->slot));
	p->kind = take(p, n * sizeof(*p->kind));
	p->part_of = take(p, n * sizeof(*p->part_of));
	p->dict = take(p, n * sizeof(*p->dict));
	p->closure = take(p, n * sizeof(*p->closure));
	p->rank = take(p, n * sizeof(*p->rank));
	p->held = take(p, n * sizeof(*p->held));
	p->first = take(p, (n + 1) * sizeof(*p->first));
	p->kinds = take(p, TYPES_MAX * sizeof(*p->kinds));
	if (!p->kinds)
		return false;
	memset(p->slot, 0, capacity * sizeof(*p->slot));
	return true;
}

static uint16_t kind_of(struct pile *p, PyObject *type)
{
	struct kind *k;

	for (uint32_t i = p->nkinds; i-- > 0;)
		if (p->kinds[i].type == type)
			return (uint16_t)i;
	if (p->nkinds == TYPES_MAX)
		return TYPES_MAX - 1;
	k = &p->kinds[p->nkinds];
	k->type = type;
	gcs_type_shape_gil(type, &k->shape);
	gcs_type_name_gil(type, k->name, sizeof(k->name));
	k->hash = gcs_cycle_fingerprint(k->name);
	return (uint16_t)p->nkinds++;
}

/* Only for a cycle that is not known yet. */
static void rank_vertices(struct pile *p)
{
	if (p->ranked)
		return;
	p->ranked = true;
	for (uint32_t i = 0; i < p->nkinds; i++) {
		struct kind *a = &p->kinds[i];

		a->rank = 0;
		for (uint32_t j = 0; j < p->nkinds; j++) {
			struct kind *b = &p->kinds[j];
			bool builtin_a = !strchr(a->name, '.'), builtin_b = !strchr(b->name, '.');

			if (builtin_b != builtin_a ? builtin_a : strcmp(b->name, a->name) < 0)
				a->rank++;
		}
	}
	for (uint32_t i = 0; i < p->n; i++)
		p->rank[i] = p->kinds[p->kind[i]].rank;
}

static uint64_t size_of(const struct pile *p, uint32_t i)
{
	const struct gcs_type_shape *s = &p->kinds[p->kind[i]].shape;

	return s->basic + gcs_size_items_hot(p->object[i], s) + gcs_size_rest_hot(p->object[i], s->kind);
}

static void fill(struct pile *p, PyObject *list, Py_ssize_t first)
{
	for (uint32_t i = 0; i < p->n; i++) {
		PyObject *o = py.PyList_GetItem(list, first + i);
		uint32_t k = hash_of(o) & p->mask;

		while (p->slot[k])
			k = (k + 1) & p->mask;
		p->slot[k] = i + 1;
		p->object[i] = o;
		p->kind[i] = kind_of(p, gcs_type_of(o));
		p->part_of[i] = i;
		p->dict[i] = p->closure[i] = GCS_NONE;
		p->held[i] = size_of(p, i);
	}
}

static uint32_t adopt(struct pile *p, uint32_t whole, PyObject *part)
{
	uint32_t i = part ? find(p, part) : GCS_NONE;

	if (i == GCS_NONE || i == whole || p->part_of[i] != i)
		return GCS_NONE;
	p->part_of[i] = whole;
	return i;
}

static void join_parts(struct pile *p)
{
	for (uint32_t i = 0; i < p->n; i++) {
		p->dict[i] = adopt(p, i, gcs_instance_dict_gil(p->object[i]));
		p->closure[i] = adopt(p, i, gcs_closure_tuple_gil(p->object[i]));
	}
}

/* ---- edges ---- */

struct visit {
	struct pile *pile;
	uint32_t from, object; /* the vertex, and the object of it that is traversed */
	uint32_t n, max;
	uint32_t *to;
};

/* What no collector tracks and only this reference holds: a buffer, a string. */
static void add_untracked(struct visit *v, PyObject *target)
{
	PyObject *type = gcs_type_of(target);
	struct gcs_type_shape shape;

	if (*(const int64_t *)target != 1 || (py.PyType_GetFlags(type) & (1ul << 14)))
		return;
	gcs_type_shape_gil(type, &shape);
	v->pile->held[v->from] += shape.basic + gcs_size_items_hot(target, &shape) +
				  gcs_size_rest_hot(target, shape.kind);
	if (type == py.PyByteArray_Type) /* ob_alloc follows ob_size */
		v->pile->held[v->from] += (uint64_t)gcs_load_i64(target, GCS_OB_SIZE + 8);
}

static int on_visit(PyObject *target, void *arg)
{
	struct visit *v = arg;
	struct pile *p = v->pile;
	uint32_t i, vertex;

	if (!target)
		return 0;
	i = find(p, target);
	if (i == GCS_NONE) {
		add_untracked(v, target);
		return 0;
	}
	if (target == gcs_type_of(p->object[v->object]))
		return 0;
	vertex = p->part_of[i];
	if (vertex == v->from && i != vertex)
		return 0; /* to a part of its own */
	if (v->n < v->max)
		v->to[v->n++] = vertex;
	return 0;
}

static void traverse(struct visit *v, uint32_t object)
{
	int (*tp_traverse)(PyObject *, int (*)(PyObject *, void *), void *);
	PyObject *o = v->pile->object[object];

	*(void **)&tp_traverse = gcs_slot_of(o, GCS_SLOT_TRAVERSE);
	v->object = object;
	if (tp_traverse)
		tp_traverse(o, on_visit, v);
}

/* Half of what is left may hold edges; the other half is for the graph's algorithms. False: not enough. */
static bool find_edges(struct pile *p)
{
	struct visit v = {.pile = p};

	v.max = (uint32_t)((p->scratch->size - p->scratch->used) / 2 / sizeof(*v.to));
	v.to = take(p, v.max * sizeof(*v.to));
	for (uint32_t i = 0; i < p->n; i++) {
		p->first[i] = v.n;
		if (p->part_of[i] != i)
			continue;
		v.from = i;
		traverse(&v, i);
		if (p->dict[i] != GCS_NONE) {
			p->held[i] += p->held[p->dict[i]];
			traverse(&v, p->dict[i]);
		}
		if (p->closure[i] != GCS_NONE) {
			p->held[i] += p->held[p->closure[i]];
			traverse(&v, p->closure[i]);
		}
	}
	p->first[p->n] = v.n;
	p->to = v.to;
	return v.n < v.max;
}

/* ---- naming ---- */

/* How vertex a leads to vertex b, looking into a's parts too. */
static void name_edge(const struct pile *p, uint32_t a, uint32_t b, char *out, size_t size)
{
	gcs_edge_name_gil(p->object[a], p->object[b], out, size);
	if (out[0] == '?' && p->dict[b] != GCS_NONE)
		gcs_edge_name_gil(p->object[a], p->object[p->dict[b]], out, size);
}

static const char *short_name(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot ? dot + 1 : name;
}

static size_t put(char *out, size_t size, size_t at, const char *s)
{
	size_t n = strlen(s);

	if (at >= size - 1)
		return at;
	if (n > size - 1 - at)
		n = size - 1 - at;
	memcpy(out + at, s, n);
	out[at + n] = '\0';
	return at + n;
}

static const char *type_name(const struct pile *p, uint32_t v)
{
	return p->kinds[p->kind[v]].name;
}

/*
 * "Foo._filter -> AddLF._callback -> method.__self__ -> Foo", and the same with whole type names, which is
 * what the fingerprint is made of.
 */
static uint64_t name_cycle(const struct pile *p, const uint32_t *path, uint32_t n, struct gcs_cycle *row)
{
	char via[PATH_MAX_STEPS][GCS_VIA_MAX], names[PATH_MAX_STEPS][64], whole[4096];
	struct gcs_step step[PATH_MAX_STEPS];
	struct gcs_advice advice;
	size_t at = 0, all = 0;

	whole[0] = row->text[0] = '\0';
	for (uint32_t i = 0; i < n; i++) {
		uint32_t a = path[i], b = path[(i + 1) % n];

		name_edge(p, a, b, via[i], sizeof(via[i]));
		step[i] = (struct gcs_step){.kind = gcs_step_kind_gil(p->object[a]),
					    .type = type_name(p, a),
					    .via = via[i],
					    .name = gcs_object_name_gil(p->object[a], names[i], sizeof(names[i]))
							    ? names[i]
							    : NULL};
		at = put(row->text, sizeof(row->text), at, short_name(step[i].type));
		at = put(row->text, sizeof(row->text), at, via[i][0] == '.' || via[i][0] == '[' ? "" : " ");
		at = put(row->text, sizeof(row->text), at, via[i]);
		at = put(row->text, sizeof(row->text), at, " -> ");
		all = put(whole, sizeof(whole), all, step[i].type);
		all = put(whole, sizeof(whole), all, via[i]);
		all = put(whole, sizeof(whole), all, ">");
		gcs_cycle_add_type(row, step[i].type);
	}
	put(row->text, sizeof(row->text), at, short_name(step[0].type));
	gcs_advice_find(step, n, &advice);
	row->advice_kind = advice.kind;
	if (advice.kind)
		snprintf(row->advice, sizeof(row->advice), "%s", advice.text);
	return gcs_cycle_fingerprint(whole);
}

/* ---- components ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9E3779B97F4A7C15ull;
	return h ^ h >> 31;
}

/* What two components must share to be taken for the same cycle: independent of the order of members. */
static uint64_t signature(const struct pile *p, const struct gcs_components *c, uint32_t k)
{
	uint64_t sum = 0;

	for (uint32_t m = c->first[k]; m < c->first[k + 1]; m++) {
		uint32_t v = c->member[m];
		uint64_t h = p->kinds[p->kind[v]].hash;

		for (uint32_t e = p->first[v], place = 0; e < p->first[v + 1]; e++, place++)
			if (c->of[p->to[e]] == k)
				h += mix(p->kinds[p->kind[p->to[e]]].hash, place + 1);
		sum += mix(1, h);
	}
	return mix(sum, c->first[k + 1] - c->first[k]) | 1;
}

static bool all_types_of(const struct pile *p, const struct gcs_components *c, uint32_t k, struct gcs_cycle *row)
{
	bool classes = false;

	for (uint32_t m = c->first[k]; m < c->first[k + 1]; m++) {
		uint32_t v = c->member[m];

		gcs_cycle_add_type(row, type_name(p, v));
		row->finalizer |= gcs_has_finalizer_gil(p->object[v]);
		classes |= gcs_step_kind_gil(p->object[v]) == GCS_STEP_CLASS;
	}
	/* The parts of a vertex are members too, though they are not shown. */
	for (uint32_t m = c->first[k]; m < c->first[k + 1]; m++) {
		uint32_t v = c->member[m];

		if (p->closure[v] != GCS_NONE)
			gcs_cycle_add_type(row, type_name(p, p->closure[v]));
		if (p->dict[v] != GCS_NONE)
			gcs_cycle_add_type(row, type_name(p, p->dict[v]));
	}
	return classes;
}

/* A component that has not been met before: finds its name, and the row of that name. */
static struct gcs_cycle *name_component(struct pile *p, const struct gcs_graph *g, const struct gcs_components *c,
					uint32_t k, const char *where, struct gcs_cycletable *table)
{
	uint32_t path[PATH_MAX_STEPS], size = c->first[k + 1] - c->first[k], n;
	struct gcs_cycle fresh = {.size = size}, *row;
	uint64_t fingerprint;
	bool classes;

	rank_vertices(p);
	n = gcs_graph_cycle(g, c, k, p->rank, TRIES, path, PATH_MAX_STEPS, p->scratch);
	if (n) {
		fingerprint = name_cycle(p, path, n, &fresh);
		classes = all_types_of(p, c, k, &fresh);
	} else {
		classes = all_types_of(p, c, k, &fresh);
		snprintf(fresh.text, sizeof(fresh.text), "a cycle through more than %d objects, %.200s among them",
			 PATH_MAX_STEPS, short_name(fresh.types));
		fingerprint = gcs_cycle_fingerprint(fresh.text);
	}
	if (classes && size > LARGE) {
		snprintf(fresh.text, sizeof(fresh.text), "classes and functions torn down together (a module, or "
							 "classes made at run time)");
		fresh.advice_kind = NULL;
		fingerprint = gcs_cycle_fingerprint(fresh.text);
	}
	row = gcs_cycletable_find(table, fingerprint);
	if (row)
		return row;
	row = gcs_cycletable_add(table, fingerprint);
	fresh.fingerprint = fingerprint;
	fresh.first_seen_ns = gcs_realtime_ns();
	snprintf(fresh.created_at, sizeof(fresh.created_at), "%s", where);
	*row = fresh;
	return row;
}

static struct gcs_cycle *row_of(struct pile *p, const struct gcs_graph *g, const struct gcs_components *c,
				uint32_t k, const char *where, struct gcs_cycletable *table)
{
	uint64_t s = signature(p, c, k);
	struct gcs_cycle *row = NULL;
	size_t i = s % SIGNATURES;

	if (known[i].signature == s)
		row = gcs_cycletable_find(table, known[i].fingerprint);
	if (!row) {
		row = name_component(p, g, c, k, where, table);
		known[i].signature = s;
		known[i].fingerprint = row->fingerprint;
	}
	return row;
}

/* Totals of each component first, then its row: a new row may push another one out of the table. */
static void count_components(struct pile *p, const struct gcs_graph *g, const struct gcs_components *c,
			     const uint32_t *owner, const char *where, struct gcs_cycletable *table,
			     struct gcs_capture_stats *stats)
{
	struct total {
		uint64_t objects, bytes;
	} *total = take(p, (c->count + 1) * sizeof(*total));
	int64_t now = gcs_realtime_ns();

	if (!total) {
		stats->unanalysed += p->n;
		return;
	}
	memset(total, 0, (c->count + 1) * sizeof(*total));
	for (uint32_t v = 0; v < p->n; v++) {
		uint32_t k = owner[p->part_of[v]];

		k = k == GCS_NONE ? c->count : k;
		total[k].objects++;
		if (p->part_of[v] == v)
			total[k].bytes += p->held[v];
	}
	stats->acyclic += total[c->count].objects;
	for (uint32_t k = 0; k < c->count; k++) {
		struct gcs_cycle *row = row_of(p, g, c, k, where, table);

		row->count++;
		row->objects += total[k].objects;
		row->bytes += total[k].bytes;
		row->last_seen_ns = now;
	}
}

/* Objects that the scratch has room for: arrays, three edges each, and the algorithms' own. */
static uint32_t room_for(const struct gcs_scratch *s)
{
	size_t each = 160, fixed = TYPES_MAX * sizeof(struct kind) + 4096;

	return s->size > fixed ? (uint32_t)((s->size - fixed) / each) : 0;
}

void gcs_analyse_gil(PyObject *list, Py_ssize_t first, Py_ssize_t n, const char *where,
		     struct gcs_cycletable *table, struct gcs_scratch *scratch, struct gcs_capture_stats *stats)
{
	struct pile p = {.scratch = scratch};
	struct gcs_components c;
	struct gcs_graph g;
	uint32_t *owner;

	if (n > (Py_ssize_t)room_for(scratch)) {
		stats->unanalysed += (uint64_t)n - room_for(scratch);
		n = room_for(scratch);
	}
	scratch->used = 0;
	if (!n || !make_room(&p, (uint32_t)n)) {
		stats->unanalysed += (uint64_t)n;
		return;
	}
	fill(&p, list, first);
	join_parts(&p);
	if (!find_edges(&p))
		goto no_room;
	g = (struct gcs_graph){p.n, p.first, p.to};
	owner = take(&p, p.n * sizeof(*owner));
	if (!owner || gcs_graph_components(&g, &c, scratch) || gcs_graph_owners(&g, &c, owner, scratch))
		goto no_room;
	count_components(&p, &g, &c, owner, where, table, stats);
	return;
no_room:
	stats->unanalysed += p.n;
}
