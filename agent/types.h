/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Types by address, and what a census counts of each.
 *
 * A type's address is reused after the type dies, so an entry is believed only within one census: the
 * first object of a type in a census checks that the entry's type is still the one it was made for
 * (its identity), and resolves the name anew when it is not. Between censuses nothing is held: no
 * reference, since keeping types alive would itself be a leak.
 *
 * Context: written by the agent's thread, with the GIL but where it says otherwise, or (gcs_types_see_gil with
 * may_add false: no allocation) by the thread whose collection ends. The history ids come from series.h.
 */
#ifndef GCS_TYPES_H
#define GCS_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"
#include "series.h"

#define GCS_TYPE_NO_ROOM (-1) /* no memory for the name, so far */
#define GCS_TYPE_UNNAMED (-2)

struct gcs_type_entry {
	const PyObject *type; /* NULL: free */
	uint64_t count;       /* of this census */
	uint64_t extra;       /* bytes beyond shape.basic of these */
	struct gcs_type_shape shape;
	uint32_t epoch; /* the census that count belongs to */
	int32_t id;     /* in the series; GCS_TYPE_NO_ROOM, or GCS_TYPE_UNNAMED until settled */
	uint64_t identity; /* gcs_type_identity_gil() */
};

/* Of this census only: the types met so far, for the walk, which looks each object's up. */
struct gcs_type_met {
	const PyObject *type;
	struct gcs_type_entry *entry;
};

struct gcs_types {
	struct gcs_type_entry *entry;
	struct gcs_type_met *met; /* twice the capacity */
	uint32_t mask;  /* capacity - 1 */
	uint32_t used;
	uint32_t epoch; /* of the census under way */
	uint32_t shed;  /* the epoch of the last shedding */
	bool full;      /* there was no memory for a larger table in this census */
};

int gcs_types_init(struct gcs_types *t); /* 0 or -ENOMEM */
/*
 * A new census: all counts are as if zero. Sheds, now and then, entries of types not met for long (where
 * memory may be had: may_add). Milliseconds where there are tens of thousands: needs no GIL.
 */
void gcs_types_begin(struct gcs_types *t, bool may_add);
/* Before some more types may be met: what grows in time needs not grow with the GIL held. */
void gcs_types_make_room(struct gcs_types *t);
/*
 * The entry of a type, ready to be counted in this census. NULL: no memory, or (may_add false) a type
 * that is new or changed. With the GIL.
 */
struct gcs_type_entry *gcs_types_see_gil(struct gcs_types *t, PyObject *type, struct gcs_series *names,
					 bool may_add);

/*
 * The same in two steps, for a free-threaded build. While the world is stopped nothing of CPython may be
 * called that could wait or allocate: a type's first object of a census takes a reference to the type. When
 * the world is running again, names are resolved and the references given back: never the last ones, since a
 * class is a cycle, which only a collection ends, and that counts ours.
 */
struct gcs_type_entry *gcs_types_meet_stopped(struct gcs_types *t, PyObject *type);
void gcs_types_settle_gil(struct gcs_types *t, struct gcs_series *names);

static inline uint32_t gcs_types_hash(const void *type)
{
	return (uint32_t)(((uintptr_t)type >> 4) * 0x9E3779B97F4A7C15ull >> 32);
}

/* The entry when the type was met in this census, else NULL. */
static inline struct gcs_type_entry *gcs_types_hit_hot(const struct gcs_types *t, const PyObject *type)
{
	uint32_t mask = 2 * t->mask + 1, i = gcs_types_hash(type) & mask;

	while (t->met[i].type != type) {
		if (!t->met[i].type)
			return NULL;
		i = (i + 1) & mask;
	}
	return t->met[i].entry;
}

#endif
