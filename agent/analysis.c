/* SPDX-License-Identifier: Apache-2.0 */
#include "analysis.h"

#include <stdio.h>
#include <string.h>

#include "advice.h"
#include "clock.h"
#include "edges.h"
#include "graph.h"
#include "pile.h"
#include "sizes.h"

#define PATH_MAX_STEPS 12 /* of the cycle that is shown */
#define TRIES 8
#define CLOCK_EVERY 8     /* components between looks at the clock */
#define SIGNATURES 1024   /* known components, by signature */
#define SMALL 16          /* members up to which a signature has the names of attributes */
#define WIDE 256          /* entries of a dict above which the key that leads on is not searched for a signature */
#define LARGE 200         /* members above which a component with classes in it is shown as one line */

/* Signature -> row, for the life of the process; a wrong hit merges two cycles that look alike. */
static struct {
	uint64_t signature, fingerprint;
	uint32_t row; /* holds while it is still that fingerprint's */
} known[SIGNATURES];

struct analysis {
	struct gcs_pile pile;
	struct gcs_graph graph;
	struct gcs_components components;
	struct gcs_cycletable *table;
	const char *where;
	struct gcs_analysed *out;
};

/* ---- naming ---- */

/* One step of a cycle: a vertex, and how it leads to the next. */
struct link {
	uint32_t vertex;
	const char *type;
	char via[GCS_VIA_MAX];
	char name[64]; /* of a function, a class and the like */
};

/* Is it a key that is data rather than a name: a number, an identifier with a number in it? */
static bool is_data(const char *via)
{
	return via[0] == '[' && via[strcspn(via, "0123456789")];
}

/*
 * How vertex a leads to vertex b, looking into a's parts too. A dict's keys that are data differ from one cycle to the
 * next of the same kind: they are "[...]".
 */
static void name_edge(struct gcs_pile *p, uint32_t a, uint32_t b, char *out, size_t size)
{
	gcs_edge_name_gil(p->object[a], p->object[b], out, size);
	if (out[0] == '?' && p->dict[b] != GCS_NONE)
		gcs_edge_name_gil(p->object[a], p->object[p->dict[b]], out, size);
	if (gcs_pile_kind(p, a)->step == GCS_STEP_DICT && is_data(out))
		snprintf(out, size, "[...]");
}

static int compare(const struct link *a, const struct link *b)
{
	int by_type = strcmp(a->type, b->type);

	return by_type ? by_type : strcmp(a->via, b->via);
}

/*
 * Where to begin: with a type of the lowest rank, as the path does; of several such places with the one from which
 * types and edges read lowest. So a cycle reads the same from wherever in it the path began.
 */
static uint32_t beginning(const struct link *link, uint32_t n)
{
	uint32_t best = 0;

	for (uint32_t start = 1; start < n; start++) {
		int order = strcmp(link[start].type, link[0].type);

		for (uint32_t i = 0; !order && i < n; i++)
			order = compare(&link[(start + i) % n], &link[(best + i) % n]);
		if (order < 0 && !strcmp(link[start].type, link[0].type))
			best = start;
	}
	return best;
}

/* Static as all that is large here: the stack is the application's. One collection is under way at a time. */
static void rotate(struct link *link, uint32_t n)
{
	static struct link turned[PATH_MAX_STEPS];
	uint32_t begin = beginning(link, n);

	for (uint32_t i = 0; begin && i < n; i++)
		turned[i] = link[(begin + i) % n];
	if (begin)
		memcpy(link, turned, n * sizeof(*link));
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

static void find_advice(struct gcs_pile *p, const struct link *link, uint32_t n, struct gcs_cycle *row)
{
	struct gcs_step step[PATH_MAX_STEPS];
	struct gcs_advice advice;

	for (uint32_t i = 0; i < n; i++)
		step[i] = (struct gcs_step){.kind = gcs_pile_kind(p, link[i].vertex)->step,
					    .type = link[i].type,
					    .via = link[i].via,
					    .name = link[i].name[0] ? link[i].name : NULL};
	gcs_advice_find(step, n, &advice);
	row->advice_kind = advice.kind;
	if (advice.kind)
		snprintf(row->advice, sizeof(row->advice), "%s", advice.text);
}

/*
 * "Foo._filter -> AddLF._callback -> method.__self__ -> Foo", and the same with whole type names, which is
 * what the fingerprint is made of.
 */
static uint64_t name_cycle(struct gcs_pile *p, const uint32_t *path, uint32_t n, struct gcs_cycle *row)
{
	static struct link link[PATH_MAX_STEPS];
	static char whole[4096];
	size_t at = 0, all = 0;

	for (uint32_t i = 0; i < n; i++) {
		link[i].vertex = path[i];
		link[i].type = gcs_pile_kind(p, path[i])->name;
		name_edge(p, path[i], path[(i + 1) % n], link[i].via, sizeof(link[i].via));
		if (!gcs_object_name_gil(p->object[path[i]], link[i].name, sizeof(link[i].name)))
			link[i].name[0] = '\0';
	}
	rotate(link, n);
	for (uint32_t i = 0; i < n; i++) {
		const char *via = link[i].via;

		at = put(row->text, sizeof(row->text), at, short_name(link[i].type));
		at = put(row->text, sizeof(row->text), at, via[0] == '.' || via[0] == '[' ? "" : " ");
		at = put(row->text, sizeof(row->text), at, via);
		at = put(row->text, sizeof(row->text), at, " -> ");
		all = put(whole, sizeof(whole), all, link[i].type);
		all = put(whole, sizeof(whole), all, via);
		all = put(whole, sizeof(whole), all, ">");
		gcs_cycle_add_type(row, link[i].type);
	}
	put(row->text, sizeof(row->text), at, short_name(link[0].type));
	find_advice(p, link, n, row);
	return gcs_cycle_fingerprint(whole);
}

/* ---- components ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9E3779B97F4A7C15ull;
	return h ^ h >> 31;
}

/* What tells two objects of one type apart that stand alike: the code of functions and frames, a class's name. */
static uint64_t own_hash(const struct gcs_pile *p, const struct gcs_kind *kind, uint32_t v)
{
	static const unsigned with_name = 1u << GCS_STEP_CLASS | 1u << GCS_STEP_FUNCTION | 1u << GCS_STEP_FRAME |
					  1u << GCS_STEP_GENERATOR;
	char name[GCS_NAME_MAX + 1];

	if (!(with_name & 1u << kind->step) || !gcs_object_name_gil(p->object[v], name, sizeof(name)))
		return kind->hash;
	return mix(kind->hash, gcs_cycle_fingerprint(name));
}

static bool is_wide(const PyObject *dict)
{
	return gcs_load_i64(dict, GCS_DICT_USED) > WIDE;
}

/* And two edges between alike objects: their names, where these are quickly found and not the place says all. */
static uint64_t edge_hash(struct gcs_pile *p, const struct gcs_kind *kind, uint32_t from, uint32_t to,
			  uint32_t place)
{
	char via[GCS_VIA_MAX];

	if (kind->step != GCS_STEP_INSTANCE && (kind->step != GCS_STEP_DICT || is_wide(p->object[from])))
		return place;
	name_edge(p, from, to, via, sizeof(via));
	return gcs_cycle_fingerprint(via);
}

/*
 * What two components must share to be taken for the same cycle: independent of the order of members. In large ones
 * the names of edges are left out.
 */
static uint64_t signature(struct analysis *a, uint32_t k)
{
	const struct gcs_components *c = &a->components;
	const struct gcs_graph *g = &a->graph;
	struct gcs_pile *p = &a->pile;
	uint32_t size = c->first[k + 1] - c->first[k];
	uint64_t sum = 0;

	for (uint32_t m = c->first[k]; m < c->first[k + 1]; m++) {
		uint32_t v = c->member[m];
		const struct gcs_kind *kind = gcs_pile_kind(p, v);
		uint64_t h = own_hash(p, kind, v);

		for (uint32_t e = g->first[v], place = 1; e < g->first[v + 1]; e++, place++) {
			uint32_t w = g->to[e];

			if (c->of[w] == k)
				h += mix(gcs_pile_kind(p, w)->hash,
					 size > SMALL ? place : edge_hash(p, kind, v, w, place));
		}
		sum += mix(1, h);
	}
	return mix(sum, size) | 1;
}

/* Every type of it, and whether a finalizer is among them; true when classes are. */
static bool add_types(struct analysis *a, uint32_t k, struct gcs_cycle *row)
{
	const struct gcs_components *c = &a->components;
	struct gcs_pile *p = &a->pile;
	bool classes = false;

	for (uint32_t m = c->first[k]; m < c->first[k + 1]; m++) {
		uint32_t v = c->member[m];

		gcs_cycle_add_type(row, gcs_pile_kind(p, v)->name);
		row->finalizer |= gcs_has_finalizer_gil(p->object[v]);
		classes |= gcs_pile_kind(p, v)->step == GCS_STEP_CLASS;
	}
	/* The parts of a vertex are members too, though they are not shown. */
	for (uint32_t m = c->first[k]; m < c->first[k + 1]; m++) {
		uint32_t v = c->member[m];

		if (p->closure[v] != GCS_NONE)
			gcs_cycle_add_type(row, gcs_pile_kind(p, p->closure[v])->name);
		if (p->dict[v] != GCS_NONE)
			gcs_cycle_add_type(row, gcs_pile_kind(p, p->dict[v])->name);
	}
	return classes;
}

/* Is the cycle that was found one of those that each class has: by its __mro__, its descriptors, its methods' cells? */
static bool is_inside_class(struct gcs_pile *p, const uint32_t *path, uint32_t n)
{
	static const unsigned inside = 1u << GCS_STEP_OTHER | 1u << GCS_STEP_CLASS | 1u << GCS_STEP_DICT |
				       1u << GCS_STEP_TUPLE | 1u << GCS_STEP_FUNCTION | 1u << GCS_STEP_CELL;
	unsigned kinds = 0;

	for (uint32_t i = 0; i < n; i++)
		kinds |= 1u << gcs_pile_kind(p, path[i])->step;
	return (kinds & 1u << GCS_STEP_CLASS) && !(kinds & ~inside);
}

/* A class that goes is one row, by its name, whichever of its cycles was found. */
static uint64_t name_class(struct analysis *a, uint32_t k, struct gcs_cycle *row)
{
	char name[GCS_NAME_MAX + 1], lowest[GCS_NAME_MAX + 1] = "", more[32] = "";
	uint32_t classes = 0;

	for (uint32_t m = a->components.first[k]; m < a->components.first[k + 1]; m++) {
		uint32_t v = a->components.member[m];

		if (gcs_pile_kind(&a->pile, v)->step != GCS_STEP_CLASS)
			continue;
		gcs_type_name_gil(a->pile.object[v], name, sizeof(name));
		if (!classes++ || strcmp(name, lowest) < 0)
			memcpy(lowest, name, sizeof(name));
	}
	if (classes > 1)
		snprintf(more, sizeof(more), " and %u more", classes - 1);
	snprintf(row->text, sizeof(row->text), "class %s%s, torn down", lowest, more);
	if (!strncmp(lowest, "unittest.mock.", 14))
		row->advice_kind = NULL; /* they make a class for each object, by design */
	return gcs_cycle_fingerprint(row->text);
}

static uint64_t describe(struct analysis *a, uint32_t k, struct gcs_cycle *row)
{
	uint32_t path[PATH_MAX_STEPS], n;
	uint64_t fingerprint = 0;

	gcs_pile_rank(&a->pile);
	n = gcs_graph_cycle(&a->graph, &a->components, k, a->pile.rank, TRIES, path, PATH_MAX_STEPS,
			    a->pile.scratch);
	if (n)
		fingerprint = name_cycle(&a->pile, path, n, row);
	if (add_types(a, k, row) && row->size > LARGE) {
		snprintf(row->text, sizeof(row->text), "classes and functions torn down together (a module, or "
						       "classes made at run time)");
		row->advice_kind = NULL;
		return gcs_cycle_fingerprint(row->text);
	}
	if (n && is_inside_class(&a->pile, path, n))
		return name_class(a, k, row);
	if (!n) {
		snprintf(row->text, sizeof(row->text), "a cycle through more than %d objects, %.200s among them",
			 PATH_MAX_STEPS, short_name(row->types));
		fingerprint = gcs_cycle_fingerprint(row->text);
	}
	return fingerprint;
}

/* A component that has not been met before: finds its name, and the row of that name. */
static struct gcs_cycle *name_component(struct analysis *a, uint32_t k)
{
	static struct gcs_cycle fresh;
	struct gcs_cycle *row;
	uint64_t fingerprint;

	memset(&fresh, 0, sizeof(fresh));
	fresh.size = a->components.first[k + 1] - a->components.first[k];
	fingerprint = describe(a, k, &fresh);
	row = gcs_cycletable_find(a->table, fingerprint);
	if (row)
		return row;
	row = gcs_cycletable_add(a->table, fingerprint);
	fresh.fingerprint = fingerprint;
	fresh.first_seen_ns = gcs_realtime_ns();
	snprintf(fresh.created_at, sizeof(fresh.created_at), "%s", a->where);
	*row = fresh;
	return row;
}

static struct gcs_cycle *row_of(struct analysis *a, uint32_t k)
{
	uint64_t s = signature(a, k);
	size_t i = s % SIGNATURES;
	struct gcs_cycle *row = NULL;

	if (known[i].signature == s) {
		row = &a->table->cycle[known[i].row];
		if (row->fingerprint != known[i].fingerprint)
			row = gcs_cycletable_find(a->table, known[i].fingerprint);
	}
	if (!row)
		row = name_component(a, k);
	known[i].signature = s;
	known[i].fingerprint = row->fingerprint;
	known[i].row = (uint32_t)(row - a->table->cycle);
	return row;
}

/* ---- totals ---- */

struct total {
	uint64_t objects, bytes;
};

/* Was all seen that component k leads to? One member tells for all. */
static bool is_whole(const struct analysis *a, uint32_t k)
{
	return !a->pile.open[a->components.member[a->components.first[k]]];
}

/*
 * Sums up what each component holds. What leads to objects not seen yet, or belongs to no component, is undecided.
 * Where there is no waiting for them, the components count as they are.
 */
static uint32_t sum_up(struct analysis *a, const uint32_t *owner, bool wait, struct total *total, uint8_t *undecided)
{
	struct gcs_pile *p = &a->pile;
	uint32_t n = 0;

	memset(total, 0, a->components.count * sizeof(*total));
	memset(undecided, 0, p->n);
	for (uint32_t v = 0; v < p->n; v++) {
		uint32_t whole = p->part_of[v], k = owner[whole];

		if (k == GCS_NONE || (wait && !is_whole(a, k))) {
			undecided[whole] = 1;
			n++;
			continue;
		}
		total[k].objects++;
		if (whole == v)
			total[k].bytes += p->held[v];
	}
	return n;
}

/* Names take their time: when that is up, the rest is not counted. */
static void count(struct analysis *a, bool wait, const struct total *total)
{
	for (uint32_t k = 0; k < a->components.count; k++) {
		if (!is_whole(a, k) && wait)
			continue;
		if (a->pile.late || (k % CLOCK_EVERY == 0 && gcs_pile_is_late(&a->pile))) {
			a->pile.lost += total[k].objects;
			continue;
		}
		if (!is_whole(a, k))
			a->out->partial += total[k].objects;
		gcs_cycletable_count(a->table, row_of(a, k), total[k].objects, total[k].bytes);
	}
}

static void analyse_window(struct analysis *a)
{
	struct gcs_pile *p = &a->pile;
	struct gcs_scratch *s = p->scratch;
	uint8_t *undecided = gcs_scratch_alloc(s, p->n);
	uint32_t *owner = gcs_scratch_alloc(s, p->n * sizeof(*owner));
	struct total *total = NULL;
	uint32_t n;
	bool wait;

	a->graph = (struct gcs_graph){p->n, p->first, p->to};
	if (undecided && owner &&
	    !gcs_graph_components(&a->graph, &a->components, p->any_open ? p->open : NULL, s) &&
	    !gcs_graph_owners(&a->graph, &a->components, owner, s))
		total = gcs_scratch_alloc(s, (a->components.count + 1) * sizeof(*total));
	if (!total) {
		gcs_pile_carry(p, NULL);
		return;
	}
	n = sum_up(a, owner, !p->last, total, undecided);
	wait = !p->last && n <= p->room / 2;
	if (!p->last && !wait)
		n = sum_up(a, owner, false, total, undecided);
	count(a, wait, total);
	if (p->complete) {
		a->out->acyclic += n;
		memset(undecided, 0, p->n);
	}
	gcs_pile_carry(p, undecided);
}

void gcs_analyse_gil(struct gcs_gc_head *list, uint64_t limit, int64_t until_cpu_ns, const char *where,
		     struct gcs_cycletable *table, struct gcs_scratch *scratch, struct gcs_analysed *out)
{
	struct analysis a = {.table = table, .where = where, .out = out};

	memset(out, 0, sizeof(*out));
	if (!gcs_pile_begin(&a.pile, list, limit, until_cpu_ns, scratch))
		return;
	while (gcs_pile_next(&a.pile))
		analyse_window(&a);
	gcs_pile_end(&a.pile);
	out->objects = a.pile.taken;
	out->complete = a.pile.complete;
	out->lost = a.pile.lost;
}
