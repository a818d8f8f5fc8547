/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a pile of garbage to named cycles. Each strongly connected component of its graph (pile.h) is a cycle; what
 * hangs on it alone, and what no collector tracks but only it holds (a buffer), is counted with it.
 *
 * Naming a cycle costs a look into its objects, so components are first told apart by a signature (type names,
 * shape), and only one of a signature is named; the others are counted with it.
 *
 * Context: in the middle of a collection, with the GIL; memory: the scratch. Cost: linear in the garbage.
 */
#ifndef GCS_ANALYSIS_H
#define GCS_ANALYSIS_H

#include <stdbool.h>

#include "cycletable.h"
#include "layout.h"
#include "scratch.h"

struct gcs_analysed {
	uint64_t objects;   /* looked at */
	uint64_t lost;      /* of these, left out for want of room or time */
	uint64_t partial;   /* of these, counted without having seen all that they lead to */
	uint64_t acyclic;   /* of these, in no cycle and held by none */
	bool complete;      /* there were no more */
};

/*
 * Analyses the objects of the list, `limit` at most, until until_cpu_ns (of this thread), and counts them in the table. `where`:
 * the line on which the collection began, or "".
 */
void gcs_analyse_gil(struct gcs_gc_head *list, uint64_t limit, int64_t until_cpu_ns, const char *where,
		     struct gcs_cycletable *table, struct gcs_scratch *scratch, struct gcs_analysed *out);

#endif
