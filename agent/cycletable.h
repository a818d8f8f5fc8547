/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The distinct cycles met so far, by fingerprint, with their totals. Bounded: when full, the cycles of the
 * fewest objects are merged into "others", whose totals stay true. No pointer to Python. Filled inside the gc
 * callback (no allocation: the table is one block), read by the agent's thread, both with the GIL.
 */
#ifndef GCS_CYCLETABLE_H
#define GCS_CYCLETABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GCS_CYCLE_TEXT 512  /* "Foo._filter -> AddLF._callback -> method.__self__ -> Foo" */
#define GCS_CYCLE_TYPES 768 /* distinct type names, each ended by NUL, the cycle's own first */
#define GCS_CYCLE_AT 120
#define GCS_CYCLES_MAX 200

struct gcs_cycle {
	uint64_t fingerprint;
	uint64_t seen;    /* components like this that were analysed */
	uint64_t told;    /* what `seen` was in the last event about it */
	double count;     /* the same, and those that they stand for: an estimate unless all were analysed */
	double objects;   /* members and what only they held; as count */
	double bytes;     /* as count */
	uint32_t size;    /* objects in the component itself, of the first one met */
	uint16_t types_len; /* bytes used in types */
	bool finalizer;   /* a member has __del__, or another finalizer */
	int64_t first_seen_ns, last_seen_ns; /* realtime */
	const char *advice_kind; /* static text or NULL */
	char advice[240];
	char created_at[GCS_CYCLE_AT]; /* where the collection that first found it began; "" unknown */
	char text[GCS_CYCLE_TEXT];
	char types[GCS_CYCLE_TYPES];
};

struct gcs_cycletable {
	uint32_t n;
	uint64_t key[GCS_CYCLES_MAX]; /* the rows' fingerprints side by side: searched once for each component */
	struct gcs_cycle_fresh {
		uint64_t count, objects, bytes;
	} fresh[GCS_CYCLES_MAX]; /* not yet in the rows: how much each stands for is known at the collection's end */
	uint32_t touched[GCS_CYCLES_MAX], ntouched; /* rows with fresh counts */
	struct gcs_cycle cycle[GCS_CYCLES_MAX];
	struct gcs_cycle others; /* count, objects, bytes of what was merged away; text "" */
	uint64_t merged;         /* distinct cycles in others */
};

void gcs_cycletable_init(struct gcs_cycletable *t);
struct gcs_cycle *gcs_cycletable_find(struct gcs_cycletable *t, uint64_t fingerprint);
/* A new row, zeroed but for the fingerprint; room is made by merging the row of the fewest objects. */
struct gcs_cycle *gcs_cycletable_add(struct gcs_cycletable *t, uint64_t fingerprint);
/* A component of that row. */
void gcs_cycletable_count(struct gcs_cycletable *t, struct gcs_cycle *row, uint64_t objects, uint64_t bytes);
/* Adds to the rows what was counted since the last time, `weight` times, as met now. */
void gcs_cycletable_settle(struct gcs_cycletable *t, double weight, int64_t now_ns);
/* 64-bit FNV-1a of what makes a cycle itself: the same on every host. */
uint64_t gcs_cycle_fingerprint(const char *text);
/* Adds a type's name to a row's types, once; silently full. */
void gcs_cycle_add_type(struct gcs_cycle *c, const char *type);
/* Moves on what clients were told: the rows that have changed since, to `to`; their number. */
uint32_t gcs_cycletable_changed(struct gcs_cycletable *t, struct gcs_cycle *to);
/* Copies the rows in use. */
void gcs_cycletable_copy(struct gcs_cycletable *to, const struct gcs_cycletable *from);
/* Indexes of the rows, most objects first; out has room for n. */
void gcs_cycletable_order(const struct gcs_cycletable *t, uint32_t *out);

#endif
