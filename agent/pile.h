/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Garbage as a graph: the objects that a collection found become vertices, and what their tp_traverse tells the
 * edges. An instance and its own __dict__, a function and its tuple of closure cells, are one vertex each: so
 * Foo.attr -> Bar looks alike in every version. Edges to an object's own type are left out.
 *
 * An object's number stands, for as long as the pile does, in the prev link of its own head, from where the list
 * itself tells it again: the collector keeps its counts there too. So finding a vertex costs no table.
 *
 * There may be more objects than the scratch has room for. They are taken in windows, in the order of the list; what
 * cannot be decided within one (it leads to objects not seen yet, or nothing seen so far holds it) is
 * carried over into the next.
 *
 * Context: in the middle of a collection, with the GIL. Allocates nothing but from the scratch.
 */
#ifndef GCS_PILE_H
#define GCS_PILE_H

#include <stdbool.h>
#include <stdint.h>

#include "gcscope/protocol.h"
#include "layout.h"
#include "scratch.h"
#include "steps.h"

/* A type of this garbage. */
struct gcs_kind {
	PyObject *type;
	struct gcs_type_shape shape;
	bool named;
	uint64_t hash;           /* of its name; valid when named, as the next */
	enum gcs_step_kind step; /* of its objects */
	uint32_t rank; /* built-in types last, then by name; valid once ranked */
	char name[GCS_NAME_MAX + 1];
};

struct gcs_pile {
	/* The window. */
	uint32_t n;
	PyObject **object;
	uint16_t *kind;          /* of each object */
	uint32_t *part_of;       /* the vertex that shows this object; itself mostly */
	uint32_t *dict, *closure; /* the parts of a vertex, GCS_NONE */
	uint32_t *rank;          /* valid once ranked */
	uint64_t *held;          /* bytes, with the parts and what only it holds and no collector tracks */
	uint8_t *open;           /* leads to objects not seen yet */
	bool any_open;
	uint32_t *first, *to;    /* edges, as gcs_graph has them */
	struct gcs_kind *kinds;
	uint32_t nkinds;
	bool ranked;
	bool last;     /* no window follows */
	bool complete; /* nor is anything left beyond the limit */

	/* The whole. */
	uint64_t taken; /* objects of all windows so far */
	uint64_t lost;  /* of these, given up undecided */
	uint32_t carried;
	uint32_t size, room; /* of a window: grows where that is of use, up to the room that there is */
	uint64_t limit;
	int64_t until_cpu_ns;
	bool late;
	uint16_t *kind_slot; /* by the type's address */
	struct gcs_gc_head *list, *next;
	struct gcs_gc_head *end; /* up to there numbers were written: windows that were too large went further than `next` */
	uint64_t numbered;       /* objects before that */
	struct gcs_scratch *scratch;
	size_t mark; /* of the scratch: the window's arrays end here */
};

/* One that the collection under way found, and frees? */
bool gcs_is_garbage(PyObject *o);

/* `limit`: objects at most; until_cpu_ns: when, by this thread's CPU time, it is too late for more. False: the scratch is too small for any. */
bool gcs_pile_begin(struct gcs_pile *p, struct gcs_gc_head *list, uint64_t limit, int64_t until_cpu_ns,
		    struct gcs_scratch *scratch);
/* Looks at the clock: a system call. Once late there is no further window. */
bool gcs_pile_is_late(struct gcs_pile *p);
/* The next window; false when all has been taken. Frees what the scratch was used for since the last one. */
bool gcs_pile_next(struct gcs_pile *p);
/*
 * Of the window, the vertices that `undecided` marks are carried over, or given up where that is too much; NULL: all
 * are given up.
 */
void gcs_pile_carry(struct gcs_pile *p, const uint8_t *undecided);
/* The list is as it was. */
void gcs_pile_end(struct gcs_pile *p);

/* The type of a vertex, named. */
const struct gcs_kind *gcs_pile_kind(struct gcs_pile *p, uint32_t v);
/* Fills rank[]: only for a cycle that is not known yet. */
void gcs_pile_rank(struct gcs_pile *p);

#endif
