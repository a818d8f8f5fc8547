/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: components, owners or cycles that are not those of the definition (random graphs, each
 * checked against an exhaustive search); a cycle that depends on the order of vertices and edges; a walk that
 * recurses, or whose time grows with the square (a million vertices in every long shape); memory written
 * beyond the scratch, or scratch not given back. The deadline is an alarm, which ends the program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "graph.h"

#define SMALL 9
#define MANY 1000000u
#define FAR 1000u /* longer than any path here */

static uint64_t seed = 88172645463325252u;

static uint32_t below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)((seed * 0x2545F4914F6CDD1Du >> 32) * n >> 32);
}

/* A graph in lists, as pairs in any order, and as the module wants it. */
struct pairs {
	uint32_t n, edges;
	uint32_t *from, *to;
	uint32_t *first, *sorted;
	struct gcs_graph g;
};

static void *some(size_t n)
{
	void *p = malloc(n * sizeof(uint32_t) + 1);

	assert_non_null(p);
	return p;
}

static void pairs_init(struct pairs *p, uint32_t n, uint32_t max)
{
	*p = (struct pairs){.n = n, .from = some(max), .to = some(max), .sorted = some(max)};
	p->first = some((size_t)n + 1);
}

static void pairs_fini(struct pairs *p)
{
	free(p->from);
	free(p->to);
	free(p->first);
	free(p->sorted);
}

static void add(struct pairs *p, uint32_t from, uint32_t to)
{
	p->from[p->edges] = from;
	p->to[p->edges++] = to;
}

static void build(struct pairs *p)
{
	uint32_t i, v;

	memset(p->first, 0, ((size_t)p->n + 1) * sizeof(p->first[0]));
	for (i = 0; i < p->edges; i++)
		p->first[p->from[i] + 1]++;
	for (v = 0; v < p->n; v++)
		p->first[v + 1] += p->first[v];
	for (i = p->edges; i-- > 0;) /* the first pair comes to stand first */
		p->sorted[--p->first[p->from[i] + 1]] = p->to[i];
	memmove(p->first, p->first + 1, p->n * sizeof(p->first[0]));
	p->first[p->n] = p->edges;
	p->g = (struct gcs_graph){.n = p->n, .first = p->first, .to = p->sorted};
}

static void scratch_init(struct gcs_scratch *s, size_t size)
{
	*s = (struct gcs_scratch){.base = malloc(size + 1), .size = size};
	assert_non_null(s->base);
	memset(s->base, 0xa5, size);
}

/* ---- the definitions, by exhaustion ---- */

static bool edge[SMALL][SMALL], reach[SMALL][SMALL];
static uint32_t component_of[SMALL], components;

static void random_graph(struct pairs *p)
{
	uint32_t a, b, density = 1 + below(6), n = below(SMALL + 1);

	pairs_init(p, n, SMALL * SMALL * 2);
	memset(edge, 0, sizeof(edge));
	for (a = 0; a < n; a++)
		for (b = 0; b < n; b++)
			if (below(10) < density && (a != b || below(4) == 0)) {
				edge[a][b] = true;
				add(p, a, b);
				if (below(5) == 0)
					add(p, a, b); /* the same edge twice, as from a list */
			}
	build(p);
}

static void close_reach(uint32_t n)
{
	uint32_t a, b, k;

	memcpy(reach, edge, sizeof(reach));
	for (k = 0; k < n; k++)
		for (a = 0; a < n; a++)
			for (b = 0; b < n; b++)
				reach[a][b] |= reach[a][k] && reach[k][b];
	components = 0;
	for (a = 0; a < n; a++) {
		component_of[a] = GCS_NONE;
		if (!reach[a][a])
			continue;
		for (b = 0; b < a && !(reach[a][b] && reach[b][a]); b++)
			;
		component_of[a] = b < a ? component_of[b] : components++;
	}
}

static void check_components(uint32_t n, const struct gcs_components *c)
{
	uint32_t v, k, i, listed = 0;

	assert_int_equal(c->count, components);
	for (v = 0; v < n; v++)
		assert_int_equal(c->of[v], component_of[v]);
	assert_int_equal(c->first[0], 0);
	for (k = 0; k < c->count; k++)
		for (i = c->first[k]; i < c->first[k + 1]; i++, listed++) {
			assert_int_equal(c->of[c->member[i]], k);
			if (i > c->first[k])
				assert_true(c->member[i] > c->member[i - 1]);
		}
	for (v = 0; v < n; v++)
		listed -= c->of[v] != GCS_NONE;
	assert_int_equal(listed, 0);
}

/* Steps from a component to a vertex in no cycle, through such vertices. */
static uint32_t distance(uint32_t n, uint32_t k, uint32_t to)
{
	uint32_t d[SMALL], round, a, b;

	for (a = 0; a < n; a++)
		d[a] = component_of[a] == k ? 0 : FAR;
	for (round = 0; round < n; round++)
		for (a = 0; a < n; a++)
			for (b = 0; b < n; b++)
				if (edge[a][b] && component_of[b] == GCS_NONE && d[a] + 1 < d[b])
					d[b] = d[a] + 1;
	return d[to];
}

static void check_owners(uint32_t n, const uint32_t *owner)
{
	uint32_t v, k;

	for (v = 0; v < n; v++) {
		uint32_t best = GCS_NONE, steps = FAR;

		for (k = 0; k < components; k++)
			if (distance(n, k, v) < steps) {
				steps = distance(n, k, v);
				best = k;
			}
		assert_int_equal(owner[v], component_of[v] != GCS_NONE ? component_of[v] : best);
	}
}

/* Every simple cycle through path[0], longest `max`; the best ranks so far are kept. */
struct best {
	uint32_t length, rank[SMALL];
};

static void every_cycle(uint32_t n, const uint32_t *rank, uint32_t *path, uint32_t length, uint32_t max,
			struct best *best)
{
	uint32_t w, i;

	if (edge[path[length - 1]][path[0]] && (!best->length || length <= best->length)) {
		bool better = length != best->length;

		for (i = 0; i < length && !better; i++) {
			if (rank[path[i]] > best->rank[i])
				break;
			better = rank[path[i]] < best->rank[i];
		}
		if (better) {
			best->length = length;
			for (i = 0; i < length; i++)
				best->rank[i] = rank[path[i]];
		}
	}
	if (length >= max)
		return;
	for (w = 0; w < n; w++) {
		for (i = 0; i < length && path[i] != w; i++)
			;
		if (i < length || !edge[path[length - 1]][w])
			continue;
		path[length] = w;
		every_cycle(n, rank, path, length + 1, max, best);
	}
}

static struct best expected(uint32_t n, uint32_t k, const uint32_t *rank, uint32_t tries, uint32_t max)
{
	struct best best = {0};
	uint32_t v, low = UINT32_MAX, path[SMALL];

	for (v = 0; v < n; v++)
		if (component_of[v] == k && rank[v] < low)
			low = rank[v];
	for (v = 0; v < n && max; v++) {
		if (component_of[v] != k || rank[v] != low || !tries)
			continue;
		tries--;
		path[0] = v;
		every_cycle(n, rank, path, 1, max, &best);
	}
	return best;
}

static void check_cycle(const struct pairs *p, const struct gcs_components *c, uint32_t k,
			struct gcs_scratch *s)
{
	uint32_t rank[SMALL], path[SMALL + 1], i, tries = 1 + below(4), max = below(SMALL + 1), length;
	size_t used = s->used;
	struct best best;

	for (i = 0; i < p->n; i++)
		rank[i] = below(4);
	best = expected(p->n, k, rank, tries, max);
	path[max] = 0xabcdef;
	length = gcs_graph_cycle(&p->g, c, k, rank, tries, path, max, s);
	assert_int_equal(path[max], 0xabcdef);
	assert_int_equal(length, best.length);
	assert_int_equal(s->used, used);
	for (i = 0; i < length; i++) {
		assert_true(edge[path[i]][path[(i + 1) % length]]);
		assert_int_equal(rank[path[i]], best.rank[i]);
	}
}

/* Marked is what leads to a marked one, and nothing else. */
static void check_marks(uint32_t n, const uint8_t *before, const uint8_t *after)
{
	uint32_t v, w;

	for (v = 0; v < n; v++) {
		bool leads = before[v];

		for (w = 0; w < n; w++)
			leads |= reach[v][w] && before[w];
		assert_int_equal(after[v], leads);
	}
}

static void test_random_graphs(void **state)
{
	uint32_t round, k, owner[SMALL + 1];
	uint8_t before[SMALL], marked[SMALL];

	(void)state;
	for (round = 0; round < 20000; round++) {
		struct gcs_components c;
		struct gcs_scratch s;
		struct pairs p;
		size_t used;

		random_graph(&p);
		close_reach(p.n);
		scratch_init(&s, 4096);
		for (k = 0; k < p.n; k++)
			before[k] = marked[k] = below(6) == 0;
		assert_int_equal(gcs_graph_components(&p.g, &c, round % 2 ? marked : NULL, &s), 0);
		if (round % 2)
			check_marks(p.n, before, marked);
		check_components(p.n, &c);
		used = s.used;
		assert_int_equal(gcs_graph_owners(&p.g, &c, owner, &s), 0);
		assert_int_equal(s.used, used);
		check_owners(p.n, owner);
		for (k = 0; k < c.count; k++)
			check_cycle(&p, &c, k, &s);
		free(s.base);
		pairs_fini(&p);
	}
}

static void shuffle(uint32_t *a, uint32_t n)
{
	uint32_t i;

	for (i = n; i > 1; i--) {
		uint32_t j = below(i), x = a[i - 1];

		a[i - 1] = a[j];
		a[j] = x;
	}
}

/* The same graph, its vertices renumbered and its edges in another order. */
static void renumber(const struct pairs *p, const uint32_t *rank, struct pairs *q, uint32_t *rank2)
{
	uint32_t number[SMALL], turn[SMALL * SMALL * 2], i;

	for (i = 0; i < p->n; i++)
		number[i] = i;
	for (i = 0; i < p->edges; i++)
		turn[i] = i;
	shuffle(number, p->n);
	shuffle(turn, p->edges);
	pairs_init(q, p->n, SMALL * SMALL * 2);
	for (i = 0; i < p->edges; i++)
		add(q, number[p->from[turn[i]]], number[p->to[turn[i]]]);
	build(q);
	for (i = 0; i < p->n; i++)
		rank2[number[i]] = rank[i];
}

static uint32_t ranks_of_cycle(const struct pairs *p, const uint32_t *rank, uint32_t *out)
{
	struct gcs_components c;
	struct gcs_scratch s;
	uint32_t path[SMALL], i, length;

	scratch_init(&s, 4096);
	assert_int_equal(gcs_graph_components(&p->g, &c, NULL, &s), 0);
	if (c.count != 1) {
		free(s.base);
		return 0;
	}
	length = gcs_graph_cycle(&p->g, &c, 0, rank, SMALL, path, SMALL, &s);
	assert_true(length > 0);
	for (i = 0; i < length; i++)
		out[i] = rank[path[i]];
	free(s.base);
	return length;
}

static void test_order_does_not_matter(void **state)
{
	uint32_t round, compared = 0;

	(void)state;
	for (round = 0; round < 5000; round++) {
		uint32_t rank[SMALL], rank2[SMALL], a[SMALL], b[SMALL], i, length;
		struct pairs p, q;

		random_graph(&p);
		for (i = 0; i < p.n; i++)
			rank[i] = below(3);
		renumber(&p, rank, &q, rank2);
		length = ranks_of_cycle(&p, rank, a);
		assert_int_equal(ranks_of_cycle(&q, rank2, b), length);
		assert_memory_equal(a, b, length * sizeof(a[0]));
		compared += length > 2;
		pairs_fini(&p);
		pairs_fini(&q);
	}
	assert_true(compared > 50);
}

/* Each size of scratch up to the one that suffices; one byte more than asked for and the sanitizer tells. */
static void test_scratch_too_small(void **state)
{
	uint32_t rank[SMALL] = {0}, path[SMALL], owner[SMALL], i;
	struct gcs_components c, whole;
	struct gcs_scratch s, all;
	struct pairs p;
	size_t size;
	int failed = 0, cycles = 0;

	(void)state;
	pairs_init(&p, SMALL, SMALL);
	for (i = 0; i < SMALL; i++)
		add(&p, i, (i + 1) % SMALL);
	build(&p);
	scratch_init(&all, 4096);
	assert_int_equal(gcs_graph_components(&p.g, &whole, NULL, &all), 0);
	for (size = 0; size < 600; size += 4) {
		scratch_init(&s, size);
		if (gcs_graph_components(&p.g, &c, NULL, &s)) {
			assert_int_equal(s.used, 0);
			assert_int_equal(c.count, 0);
			failed++;
		}
		s.used = 0;
		if (gcs_graph_owners(&p.g, &whole, owner, &s) == 0)
			assert_int_equal(owner[SMALL - 1], 0);
		assert_int_equal(s.used, 0);
		i = gcs_graph_cycle(&p.g, &whole, 0, rank, 1, path, SMALL, &s);
		assert_true(i == 0 || i == SMALL);
		assert_int_equal(s.used, 0);
		cycles += i != 0;
		free(s.base);
	}
	assert_in_range(failed, 10, 140);
	assert_in_range(cycles, 10, 140);
	free(all.base);
	pairs_fini(&p);
}

/* ---- a million vertices ---- */

static struct gcs_scratch large;

static void find_all(struct pairs *p, struct gcs_components *c)
{
	build(p);
	large.used = 0;
	assert_int_equal(gcs_graph_components(&p->g, c, NULL, &large), 0);
}

/* Numbers in the chain's order, against it, and in none: the walk is as deep in each. */
static uint32_t *numbers(int order)
{
	uint32_t *number = some(MANY), i;

	for (i = 0; i < MANY; i++)
		number[i] = order == 1 ? MANY - 1 - i : i;
	if (order == 2)
		shuffle(number, MANY);
	return number;
}

static void test_long_chain_and_ring(void **state)
{
	uint32_t *rank = calloc(MANY, sizeof(*rank)), *path = some(MANY), *owner = some(MANY), i;
	struct gcs_components c;
	int order;

	(void)state;
	for (order = 0; order < 3; order++) {
		uint32_t *number = numbers(order);
		struct pairs p;

		pairs_init(&p, MANY, MANY + 1);
		for (i = 0; i + 1 < MANY; i++)
			add(&p, number[i], number[i + 1]);
		find_all(&p, &c);
		assert_int_equal(c.count, 0);
		assert_int_equal(gcs_graph_owners(&p.g, &c, owner, &large), 0);
		assert_int_equal(owner[number[MANY - 1]], GCS_NONE);

		add(&p, number[MANY - 1], number[0]); /* a ring */
		find_all(&p, &c);
		assert_int_equal(c.count, 1);
		assert_int_equal(c.first[1], MANY);
		assert_int_equal(gcs_graph_cycle(&p.g, &c, 0, rank, 2, path, MANY, &large), MANY);
		for (i = 0; i + 1 < MANY; i++)
			assert_int_equal(p.sorted[p.first[path[i]]], path[i + 1]);
		assert_int_equal(gcs_graph_cycle(&p.g, &c, 0, rank, 2, path, MANY - 1, &large), 0);

		p.edges--;
		add(&p, number[0], number[0]); /* a ring of one, and what hangs on it */
		find_all(&p, &c);
		assert_int_equal(c.count, 1);
		assert_int_equal(c.first[1], 1);
		assert_int_equal(gcs_graph_owners(&p.g, &c, owner, &large), 0);
		assert_int_equal(owner[number[MANY - 1]], 0);
		assert_int_equal(gcs_graph_cycle(&p.g, &c, 0, rank, 2, path, 5, &large), 1);
		pairs_fini(&p);
		free(number);
	}
	free(rank);
	free(path);
	free(owner);
}

/* A doubly linked list: cycles of two, wherever one looks, in a component of a million. */
static void test_double_links(void **state)
{
	uint32_t *rank = some(MANY), *number = numbers(2), path[8], i;
	struct gcs_components c;
	struct pairs p;

	(void)state;
	pairs_init(&p, MANY, 2 * MANY);
	for (i = 0; i < MANY; i++)
		rank[i] = 7;
	for (i = 0; i + 1 < MANY; i++) {
		add(&p, number[i], number[i + 1]);
		add(&p, number[i + 1], number[i]);
	}
	find_all(&p, &c);
	assert_int_equal(c.count, 1);
	assert_int_equal(gcs_graph_cycle(&p.g, &c, 0, rank, 100, path, 8, &large), 2);
	rank[number[500]] = 1;
	rank[number[501]] = 2;
	assert_int_equal(gcs_graph_cycle(&p.g, &c, 0, rank, 100, path, 8, &large), 2);
	assert_int_equal(path[0], number[500]);
	assert_int_equal(path[1], number[501]);
	pairs_fini(&p);
	free(rank);
	free(number);
}

/* Half a million pairs, each asked for its cycle: what is cleared for each may not be the whole. */
static void test_many_small(void **state)
{
	uint32_t *rank = some(MANY), path[4], i;
	struct gcs_components c;
	struct pairs p;

	(void)state;
	pairs_init(&p, MANY, MANY);
	for (i = 0; i < MANY; i++) {
		rank[i] = i & 1;
		add(&p, i, i ^ 1);
	}
	find_all(&p, &c);
	assert_int_equal(c.count, MANY / 2);
	for (i = 0; i < c.count; i++) {
		assert_int_equal(gcs_graph_cycle(&p.g, &c, i, rank, 8, path, 4, &large), 2);
		assert_int_equal(path[0], 2 * i);
	}
	pairs_fini(&p);
	free(rank);
}

/* A list of a million children, each with its parent: the search is as wide as it gets. */
static void test_wide(void **state)
{
	uint32_t *rank = some(MANY), path[8], i;
	struct gcs_components c;
	struct pairs p;

	(void)state;
	pairs_init(&p, MANY, 2 * MANY);
	rank[0] = 1; /* the parent */
	rank[1] = 9; /* its list */
	add(&p, 0, 1);
	for (i = 2; i < MANY; i++) {
		rank[i] = i == 77777 ? 2 : 3;
		add(&p, 1, i);
		add(&p, i, 0);
	}
	find_all(&p, &c);
	assert_int_equal(c.count, 1);
	assert_int_equal(gcs_graph_cycle(&p.g, &c, 0, rank, 8, path, 8, &large), 3);
	assert_int_equal(path[0], 0);
	assert_int_equal(path[2], 77777);
	pairs_fini(&p);
	free(rank);
}

static int begin(void **state)
{
	(void)state;
	alarm(120);
	large.size = 64u << 20;
	large.base = malloc(large.size);
	return large.base ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	free(large.base);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_graphs),
		cmocka_unit_test(test_order_does_not_matter),
		cmocka_unit_test(test_scratch_too_small),
		cmocka_unit_test(test_long_chain_and_ring),
		cmocka_unit_test(test_double_links),
		cmocka_unit_test(test_many_small),
		cmocka_unit_test(test_wide),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
