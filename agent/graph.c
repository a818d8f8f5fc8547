/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See graph.h.
 *
 * Components: Tarjan's walk in Pearce's form ("A space-efficient algorithm for finding strongly connected
 * components", 2016), where one label a vertex is in turn its number, its lowest number reachable and its
 * component. A vertex under way and one that waits for its component are never the same, so both stacks are one
 * array filled from its two ends: with the labels and the edge cursors, three words a vertex.
 *
 * Cycles: a search by breadth gives the length of the shortest through a vertex. Of those of that length the one
 * of the lowest ranks is picked level by level, whatever the order of vertices and edges was, since that differs
 * between runs and the cycle's fingerprint may not. What is indexed by vertex is cleared for the component's
 * members alone: with many small components, the whole would be quadratic.
 */
#include "graph.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define VERTEX_MAX 0x7fffffffu /* the bit above is a mark */

/* Labels of vertices: 0, not met; then numbers from 1 upwards; when done, components from the top downwards. */
#define UNMET 0u
#define FIRST_COMPONENT UINT32_MAX

struct walk {
	const struct gcs_graph *g;
	uint32_t *label;
	uint32_t *cursor; /* the next edge of a vertex under way */
	uint32_t *stack;  /* under way: from 0 up to depth; waiting: from n down to waiting */
	uint32_t depth, waiting;
	uint32_t number, component; /* the next ones */
};

#define LOWERED (VERTEX_MAX + 1) /* on the stack: reaches a vertex before it, so is no component's root */

static void *words(struct gcs_scratch *s, size_t n)
{
	return gcs_scratch_alloc(s, n * sizeof(uint32_t));
}

static void enter(struct walk *k, uint32_t v)
{
	k->label[v] = k->number++;
	k->cursor[v] = k->g->first[v];
	k->stack[k->depth++] = v;
}

static void leave(struct walk *k)
{
	uint32_t top = k->stack[--k->depth], v = top & VERTEX_MAX, n = k->g->n;

	if (top & LOWERED) {
		k->stack[--k->waiting] = v;
		return;
	}
	for (; k->waiting < n && k->label[v] <= k->label[k->stack[k->waiting]]; k->waiting++) {
		k->label[k->stack[k->waiting]] = k->component;
		k->number--;
	}
	k->label[v] = k->component--;
	k->number--;
}

/* Follows the edges of the vertex on top; true when one led to a new vertex, now on top. */
static bool descend(struct walk *k)
{
	uint32_t *top = &k->stack[k->depth - 1], v = *top & VERTEX_MAX;

	for (; k->cursor[v] < k->g->first[v + 1]; k->cursor[v]++) {
		uint32_t w = k->g->to[k->cursor[v]];

		if (k->label[w] == UNMET) {
			enter(k, w); /* the cursor stays: back here, w's label is seen */
			return true;
		}
		if (k->label[w] < k->label[v]) {
			k->label[v] = k->label[w];
			*top |= LOWERED;
		}
	}
	return false;
}

static void label_components(struct walk *k)
{
	uint32_t v;

	memset(k->label, 0, k->g->n * sizeof(k->label[0]));
	for (v = 0; v < k->g->n; v++) {
		if (k->label[v] != UNMET)
			continue;
		enter(k, v);
		while (k->depth)
			if (!descend(k))
				leave(k);
	}
}

static bool has_edge(const struct gcs_graph *g, uint32_t from, uint32_t to)
{
	uint32_t e;

	for (e = g->first[from]; e < g->first[from + 1]; e++)
		if (g->to[e] == to)
			return true;
	return false;
}

/*
 * A component is labelled once all that it leads to are: so the vertices are sorted by label, and marks handed
 * on in that order. When one of a component is marked, all are.
 */
static void spread_marks(const struct gcs_graph *g, const uint32_t *label, uint32_t *begin, uint32_t *sorted,
			 uint8_t *marked)
{
	uint32_t v, i, e, from;

	memset(begin, 0, g->n * sizeof(begin[0]));
	for (v = 0; v < g->n; v++)
		begin[FIRST_COMPONENT - label[v]]++;
	for (i = 0, from = 0; i < g->n; i++) {
		uint32_t size = begin[i];

		begin[i] = from;
		from += size;
	}
	for (v = 0; v < g->n; v++)
		sorted[begin[FIRST_COMPONENT - label[v]]++] = v;
	for (from = 0; from < g->n; from = i) {
		uint8_t any = 0;

		for (i = from; i < g->n && label[sorted[i]] == label[sorted[from]]; i++) {
			v = sorted[i];
			any |= marked[v];
			for (e = g->first[v]; e < g->first[v + 1]; e++)
				any |= marked[g->to[e]];
		}
		for (e = from; e < i; e++)
			marked[sorted[e]] = any;
	}
}

/* Turns labels into the numbers of those components that are cycles; returns their count of members. */
static uint32_t number_cycles(const struct gcs_graph *g, struct gcs_components *out, uint32_t *size,
			      uint32_t *number)
{
	uint32_t v, members = 0;

	memset(size, 0, g->n * sizeof(size[0]));
	memset(number, 0xff, g->n * sizeof(number[0]));
	for (v = 0; v < g->n; v++)
		size[FIRST_COMPONENT - out->of[v]]++;
	for (v = 0; v < g->n; v++) {
		uint32_t i = FIRST_COMPONENT - out->of[v];

		if (size[i] == 1 && !has_edge(g, v, v)) {
			out->of[v] = GCS_NONE;
			continue;
		}
		if (number[i] == GCS_NONE)
			number[i] = out->count++;
		out->of[v] = number[i];
		members++;
	}
	return members;
}

static int list_members(uint32_t n, uint32_t members, struct gcs_components *out, struct gcs_scratch *s)
{
	uint32_t v, c;

	out->first = words(s, (size_t)out->count + 1);
	out->member = words(s, members);
	if (!out->first || !out->member)
		return -1;
	memset(out->first, 0, ((size_t)out->count + 1) * sizeof(out->first[0]));
	for (v = 0; v < n; v++)
		if (out->of[v] != GCS_NONE)
			out->first[out->of[v] + 1]++;
	for (c = 0; c < out->count; c++)
		out->first[c + 1] += out->first[c];
	for (v = 0; v < n; v++)
		if (out->of[v] != GCS_NONE)
			out->member[out->first[out->of[v]]++] = v;
	/* Each now points behind its members, where the next one begins. */
	for (c = out->count; c > 0; c--)
		out->first[c] = out->first[c - 1];
	out->first[0] = 0;
	return 0;
}

int gcs_graph_components(const struct gcs_graph *g, struct gcs_components *out, uint8_t *marked,
			 struct gcs_scratch *s)
{
	size_t before = s->used, kept;
	struct walk k = {.g = g, .waiting = g->n, .number = 1, .component = FIRST_COMPONENT};
	uint32_t members;

	memset(out, 0, sizeof(*out));
	if (g->n > VERTEX_MAX)
		return -1;
	out->of = k.label = words(s, g->n);
	kept = s->used;
	k.cursor = words(s, g->n);
	k.stack = words(s, g->n);
	if (!k.label || !k.cursor || !k.stack)
		goto full;
	label_components(&k);
	if (marked)
		spread_marks(g, k.label, k.cursor, k.stack, marked);
	members = number_cycles(g, out, k.cursor, k.stack);
	s->used = kept;
	if (list_members(g->n, members, out, s) == 0)
		return 0;
full:
	s->used = before;
	memset(out, 0, sizeof(*out));
	return -1;
}

/*
 * One search by breadth from all members at once. They are queued by component, so each level is met in that
 * order too, and who comes first to a vertex is the lowest.
 */
int gcs_graph_owners(const struct gcs_graph *g, const struct gcs_components *c, uint32_t *owner,
		     struct gcs_scratch *s)
{
	size_t before = s->used;
	uint32_t *queue = words(s, g->n), head, e, tail = c->first[c->count];

	if (!queue)
		return -1;
	memcpy(owner, c->of, g->n * sizeof(owner[0]));
	memcpy(queue, c->member, tail * sizeof(queue[0]));
	for (head = 0; head < tail; head++) {
		uint32_t v = queue[head];

		for (e = g->first[v]; e < g->first[v + 1]; e++) {
			uint32_t w = g->to[e];

			if (owner[w] != GCS_NONE)
				continue;
			owner[w] = owner[v];
			queue[tail++] = w;
		}
	}
	s->used = before;
	return 0;
}

/*
 * The search for one component's cycle. A member's state: its level, the steps from the start, and marks;
 * GCS_NONE: not met.
 */
struct search {
	const struct gcs_graph *g;
	const uint32_t *of, *rank;
	uint32_t component;
	uint32_t *state; /* by vertex, only the component's are valid */
	uint32_t *queue; /* those met, levels ascending */
	uint32_t met;
};

#define LEVEL 0x3fffffffu
#define OUT 0x80000000u    /* on no cycle of those wanted */
#define PICKED 0x40000000u /* of the lowest rank in its level */

/* Is w a vertex of that level on a cycle still wanted? */
static bool stands(const struct search *b, uint32_t w, uint32_t level)
{
	return b->of[w] == b->component && b->state[w] == level;
}

static void meet(struct search *b, uint32_t v, uint32_t level)
{
	b->state[v] = level;
	b->queue[b->met++] = v;
}

/* Length of a shortest cycle through start, all levels of which are then met; 0: longer than max. */
static uint32_t measure(struct search *b, uint32_t start, uint32_t max)
{
	uint32_t head, e;

	meet(b, start, 0);
	for (head = 0; head < b->met; head++) {
		uint32_t v = b->queue[head], next = b->state[v] + 1;

		if (next > max)
			return 0;
		for (e = b->g->first[v]; e < b->g->first[v + 1]; e++) {
			uint32_t w = b->g->to[e];

			if (w == start)
				return next;
			if (b->of[w] == b->component && b->state[w] == GCS_NONE)
				meet(b, w, next);
		}
	}
	return 0;
}

/* Takes out what does not lead back to the start in length steps, last level first. */
static void drop_dead_ends(struct search *b, uint32_t start, uint32_t length)
{
	uint32_t i, e;

	for (i = b->met; i-- > 0;) {
		uint32_t v = b->queue[i], next = b->state[v] + 1;
		bool leads = false;

		if (b->state[v] & OUT)
			continue;
		for (e = b->g->first[v]; e < b->g->first[v + 1] && !leads; e++)
			leads = next == length ? b->g->to[e] == start : stands(b, b->g->to[e], next);
		if (!leads)
			b->state[v] |= OUT;
	}
}

/* The lowest rank to which the vertices of the level before lead. */
static uint32_t lowest_rank(const struct search *b, uint32_t from, uint32_t to, uint32_t level)
{
	uint32_t i, e, low = UINT32_MAX;

	for (i = from; i < to; i++) {
		uint32_t v = b->queue[i];

		if (b->state[v] & OUT)
			continue;
		for (e = b->g->first[v]; e < b->g->first[v + 1]; e++)
			if (stands(b, b->g->to[e], level) && b->rank[b->g->to[e]] < low)
				low = b->rank[b->g->to[e]];
	}
	return low;
}

static void pick_rank(struct search *b, uint32_t from, uint32_t to, uint32_t level, uint32_t rank)
{
	uint32_t i, e;

	for (i = from; i < to; i++) {
		uint32_t v = b->queue[i];

		if (b->state[v] & OUT)
			continue;
		for (e = b->g->first[v]; e < b->g->first[v + 1]; e++)
			if (stands(b, b->g->to[e], level) && b->rank[b->g->to[e]] == rank)
				b->state[b->g->to[e]] |= PICKED;
	}
}

/* Leaves, in each level, those that the paths of the lowest ranks lead to. */
static void keep_lowest(struct search *b, uint32_t length)
{
	uint32_t level, from = 0, to = 1, i;

	for (level = 1; level < length; level++) {
		pick_rank(b, from, to, level, lowest_rank(b, from, to, level));
		from = to;
		for (i = to; i < b->met && (b->state[b->queue[i]] & LEVEL) == level; i++) {
			uint32_t *state = &b->state[b->queue[i]];

			*state = *state & PICKED ? *state & ~PICKED : *state | OUT;
		}
		to = i;
	}
}

/* Which of the vertices left is taken matters no more; the first edge's. */
static void follow(const struct search *b, uint32_t start, uint32_t length, uint32_t *path)
{
	uint32_t level;

	path[0] = start;
	for (level = 1; level < length; level++) {
		uint32_t e = b->g->first[path[level - 1]];

		while (!stands(b, b->g->to[e], level))
			e++;
		path[level] = b->g->to[e];
	}
}

/* The cycle of the lowest ranks of the shortest through start; 0: longer than max. */
static uint32_t find_cycle(struct search *b, uint32_t start, uint32_t max, uint32_t *path)
{
	uint32_t length = measure(b, start, max);

	if (length) {
		drop_dead_ends(b, start, length);
		keep_lowest(b, length);
		drop_dead_ends(b, start, length); /* those of another's low rank */
		follow(b, start, length, path);
	}
	while (b->met)
		b->state[b->queue[--b->met]] = GCS_NONE;
	return length;
}

static bool lower(const uint32_t *rank, const uint32_t *a, const uint32_t *b, uint32_t length)
{
	uint32_t i;

	for (i = 0; i < length; i++)
		if (rank[a[i]] != rank[b[i]])
			return rank[a[i]] < rank[b[i]];
	return false;
}

/* The best cycle through the first members of the lowest rank; its length. */
static uint32_t best_cycle(struct search *b, const uint32_t *member, uint32_t size, uint32_t tries,
			   uint32_t *path, uint32_t max, uint32_t *other)
{
	uint32_t i, low = UINT32_MAX, best = 0;

	for (i = 0; i < size; i++) {
		b->state[member[i]] = GCS_NONE;
		if (b->rank[member[i]] < low)
			low = b->rank[member[i]];
	}
	for (i = 0; i < size && tries; i++) {
		uint32_t length;

		if (b->rank[member[i]] != low)
			continue;
		tries--;
		length = find_cycle(b, member[i], best ? best : max, other);
		if (!length || (length == best && !lower(b->rank, other, path, length)))
			continue;
		best = length;
		memcpy(path, other, best * sizeof(path[0]));
	}
	return best;
}

uint32_t gcs_graph_cycle(const struct gcs_graph *g, const struct gcs_components *c, uint32_t component,
			 const uint32_t *rank, uint32_t tries, uint32_t *path, uint32_t max,
			 struct gcs_scratch *s)
{
	size_t before = s->used;
	const uint32_t *member = c->member + c->first[component];
	uint32_t size = c->first[component + 1] - c->first[component], best = 0;
	struct search b = {.g = g, .of = c->of, .rank = rank, .component = component};
	uint32_t *other;

	if (max > size)
		max = size; /* no shortest cycle is longer */
	if (size > LEVEL)
		return 0;
	b.state = words(s, g->n);
	b.queue = words(s, size);
	other = words(s, max);
	if (b.state && b.queue && other)
		best = best_cycle(&b, member, size, tries, path, max, other);
	s->used = before;
	return best;
}
