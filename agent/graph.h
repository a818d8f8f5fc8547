/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the analysis of garbage needs of graph theory: strongly connected components, who hangs on which,
 * and a cycle to show for each. Pure: vertices are numbers; knows neither Python nor I/O. Iterative, since
 * a linked list of a million objects would overflow a recursive walk's stack. Linear in vertices and edges,
 * but for the cycles shown, which are searched from a few vertices only. Memory: the caller's scratch.
 */
#ifndef GCS_GRAPH_H
#define GCS_GRAPH_H

#include <stdint.h>

#include "scratch.h"

#define GCS_NONE UINT32_MAX

struct gcs_graph {
	uint32_t n;
	const uint32_t *first; /* n + 1 entries: v's edges are to[first[v]] .. to[first[v + 1] - 1] */
	const uint32_t *to;
};

struct gcs_components {
	uint32_t count;      /* of those that are cycles: two vertices or more, or one with an edge to itself */
	uint32_t *of;        /* n entries: the component of a vertex, GCS_NONE when it is in no cycle */
	uint32_t *first;     /* count + 1 entries: members of c are member[first[c]] .. member[first[c + 1] - 1] */
	uint32_t *member;
};

/*
 * Components in the order of their lowest vertex, members ascending. Where `marked` (n entries, 0 or 1) is not NULL,
 * each vertex that leads to a marked one is then marked too. 0, or -1: scratch is used up.
 */
int gcs_graph_components(const struct gcs_graph *g, struct gcs_components *out, uint8_t *marked,
			 struct gcs_scratch *s);

/*
 * Vertices in no cycle that a cycle holds: owner[v] = the component that reaches v in the fewest steps
 * through such vertices (ties: the lowest component), a component's own members included (owner = their
 * component); GCS_NONE for the rest (they hold cycles, or stand alone). owner has n entries. 0 or -1.
 */
int gcs_graph_owners(const struct gcs_graph *g, const struct gcs_components *c, uint32_t *owner,
		     struct gcs_scratch *s);

/*
 * The cycle to show for component c: a shortest one through a member of the lowest rank (rank[v]: the caller's
 * order of types, the same in every run); of several such members the first `tries` are tried and the
 * shortest wins, then the one whose ranks along the cycle compare lowest. path[0] is that member. Returns
 * its length; 0 when it is longer than max or scratch is used up. s is left as it was.
 */
uint32_t gcs_graph_cycle(const struct gcs_graph *g, const struct gcs_components *c, uint32_t component,
			 const uint32_t *rank, uint32_t tries, uint32_t *path, uint32_t max,
			 struct gcs_scratch *s);

#endif
