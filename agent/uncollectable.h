/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of newly uncollectable objects, by type, from the gc callback to the agent's thread: a ring like that of
 * the collections (ring.h), with a note for each type that a collection added to gc.garbage. What the ring has
 * no room for is told without its type.
 */
#ifndef GCS_UNCOLLECTABLE_H
#define GCS_UNCOLLECTABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "api.h"
#include "gcscope/protocol.h"

#define GCS_UNCOLLECTABLE_SLOTS 16 /* a power of two */

struct gcs_uncollectable {
	int64_t start_ns; /* of the collection */
	uint64_t count;
	char type[GCS_NAME_MAX + 1];
};

struct gcs_uncollectable_ring {
	uint32_t head, tail;
	struct gcs_uncollectable slot[GCS_UNCOLLECTABLE_SLOTS];
};

/* In the callback: what stands in gc.garbage from `first` on. */
void gcs_uncollectable_note_gil(struct gcs_uncollectable_ring *r, PyObject *garbage, Py_ssize_t first,
				int64_t start_ns);
/* Agent's thread: the next note of that collection. */
bool gcs_uncollectable_pop(struct gcs_uncollectable_ring *r, int64_t start_ns, struct gcs_uncollectable *out);

#endif
