/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One history of one type at one resolution: a value (count, bytes) that changes at certain times,
 * stored as its changes only, 3 to 6 bytes each for what is usual. Owns how that is encoded; what
 * the times mean and how long they are kept is for the user (series.c) to say.
 *
 * Before its base a level is 0; the value of a point stands until the next. Points are added at the
 * end, in the order of their times, and forgotten from the other, a chunk at a time, into the base.
 * Memory comes from a quota: when there is none, a level says so and is as it was; what else could
 * be given up for it, the user knows.
 *
 * All zeros is a level without points. Pure: knows neither Python nor clocks. The agent's thread.
 */
#ifndef GCS_LEVEL_H
#define GCS_LEVEL_H

#include <stdbool.h>
#include <stdint.h>

#include "quota.h"

struct gcs_level_chunk; /* of encoded points */

struct gcs_level_value {
	uint32_t time;
	uint64_t count;
	uint64_t bytes;
};

struct gcs_level {
	struct gcs_level_chunk *head, *tail;
	struct gcs_level_value base;
	struct gcs_level_value last; /* the newest point: what the next step is taken from */
};

/* The base of a level that has no points. */
void gcs_level_start(struct gcs_level *l, uint32_t time, uint64_t count, uint64_t bytes);
/* Gives back the memory of all points; gcs_level_start() comes next, if anything. */
void gcs_level_clear(struct gcs_level *l, struct gcs_quota *q);
/* Appends a point, unless nothing changed; false when there is no memory. */
bool gcs_level_add(struct gcs_level *l, struct gcs_quota *q, const struct gcs_level_value *v);
/* Folds chunks that end at or before `first` into the base: from `first` on nothing is lost. */
void gcs_level_forget(struct gcs_level *l, struct gcs_quota *q, uint32_t first);

/* Whether clearing it gives back anything. */
static inline bool gcs_level_has_points(const struct gcs_level *l)
{
	return l->head != NULL;
}

/* A reader's place in a level, which must not change meanwhile. */
struct gcs_level_cursor {
	const struct gcs_level_chunk *chunk;
	const uint8_t *p;
	struct gcs_level_value v;    /* valid from v.time on */
	struct gcs_level_value next; /* the point after it */
	bool more;                   /* there is one */
};

void gcs_level_cursor_init(struct gcs_level_cursor *c, const struct gcs_level *l);
void gcs_level_cursor_step(struct gcs_level_cursor *c); /* to the next point */

/* The value at a time; times must not go back. Inline, since at most times there is no point. */
static inline struct gcs_level_value gcs_level_cursor_at(struct gcs_level_cursor *c, uint32_t time)
{
	while (c->more && c->next.time <= time)
		gcs_level_cursor_step(c);
	return time < c->v.time ? (struct gcs_level_value){time, 0, 0} : c->v;
}

#endif
