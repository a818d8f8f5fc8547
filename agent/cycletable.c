/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See cycletable.h. A row stays where it is until it is merged away, so a pointer to one holds until the next
 * gcs_cycletable_add(). A cycle that comes back after its row was merged is a new row, and counts once more
 * among those merged if it goes again.
 */
#include "cycletable.h"

#include <string.h>

void gcs_cycletable_init(struct gcs_cycletable *t)
{
	t->n = t->ntouched = 0; /* and not the rows: untouched memory is none */
	t->merged = 0;
	memset(&t->others, 0, sizeof(t->others));
}

struct gcs_cycle *gcs_cycletable_find(struct gcs_cycletable *t, uint64_t fingerprint)
{
	uint32_t i;

	for (i = 0; i < t->n; i++)
		if (t->key[i] == fingerprint)
			return &t->cycle[i];
	return NULL;
}

void gcs_cycletable_count(struct gcs_cycletable *t, struct gcs_cycle *row, uint64_t objects, uint64_t bytes)
{
	uint32_t i = (uint32_t)(row - t->cycle);
	struct gcs_cycle_fresh *f = &t->fresh[i];

	if (!f->count++)
		t->touched[t->ntouched++] = i;
	f->objects += objects;
	f->bytes += bytes;
}

void gcs_cycletable_settle(struct gcs_cycletable *t, double weight, int64_t now_ns)
{
	uint32_t k;

	for (k = 0; k < t->ntouched; k++) {
		struct gcs_cycle_fresh *f = &t->fresh[t->touched[k]];
		struct gcs_cycle *row = &t->cycle[t->touched[k]];

		row->seen += f->count;
		row->count += weight * (double)f->count;
		row->objects += weight * (double)f->objects;
		row->bytes += weight * (double)f->bytes;
		row->last_seen_ns = now_ns;
		memset(f, 0, sizeof(*f));
	}
	t->ntouched = 0;
}

/* The row to give up: the fewest objects, and of those the one not seen for longest. */
static uint32_t least(const struct gcs_cycletable *t)
{
	uint32_t i, low = 0;

	for (i = 1; i < t->n; i++) {
		const struct gcs_cycle *a = &t->cycle[i], *b = &t->cycle[low];

		if (a->objects < b->objects ||
		    (a->objects == b->objects && a->last_seen_ns < b->last_seen_ns))
			low = i;
	}
	return low;
}

static void merge(struct gcs_cycletable *t, const struct gcs_cycle *c)
{
	struct gcs_cycle *o = &t->others;

	if (t->merged == 0 || c->first_seen_ns < o->first_seen_ns)
		o->first_seen_ns = c->first_seen_ns;
	if (t->merged == 0 || c->last_seen_ns > o->last_seen_ns)
		o->last_seen_ns = c->last_seen_ns;
	o->seen += c->seen;
	o->count += c->count;
	o->objects += c->objects;
	o->bytes += c->bytes;
	o->finalizer |= c->finalizer;
	t->merged++;
}

struct gcs_cycle *gcs_cycletable_add(struct gcs_cycletable *t, uint64_t fingerprint)
{
	uint32_t i = t->n;

	if (i < GCS_CYCLES_MAX) {
		t->n++;
		memset(&t->fresh[i], 0, sizeof(t->fresh[i]));
	} else {
		gcs_cycletable_settle(t, 1, t->others.last_seen_ns); /* one more distinct cycle than there are rows */
		i = least(t);
		merge(t, &t->cycle[i]);
	}
	memset(&t->cycle[i], 0, sizeof(t->cycle[i]));
	t->key[i] = t->cycle[i].fingerprint = fingerprint;
	return &t->cycle[i];
}

uint64_t gcs_cycle_fingerprint(const char *text)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3u;
	return h;
}

void gcs_cycle_add_type(struct gcs_cycle *c, const char *type)
{
	size_t size = strlen(type) + 1, at = 0;

	for (; at < c->types_len; at += strlen(c->types + at) + 1)
		if (strcmp(c->types + at, type) == 0)
			return;
	if (size == 1 || size > sizeof(c->types) - at)
		return;
	memcpy(c->types + at, type, size);
	c->types_len = (uint16_t)(at + size);
}

/* Where all totals are equal, the fingerprint decides: the same table is shown the same way. */
static bool before(const struct gcs_cycle *a, const struct gcs_cycle *b)
{
	if (a->objects != b->objects)
		return a->objects > b->objects;
	if (a->bytes != b->bytes)
		return a->bytes > b->bytes;
	if (a->count != b->count)
		return a->count > b->count;
	return a->fingerprint < b->fingerprint;
}

/* By insertion: few rows, often in order already, and libc's qsort may allocate. */
void gcs_cycletable_order(const struct gcs_cycletable *t, uint32_t *out)
{
	uint32_t i, at;

	for (i = 0; i < t->n; i++) {
		for (at = i; at > 0 && before(&t->cycle[i], &t->cycle[out[at - 1]]); at--)
			out[at] = out[at - 1];
		out[at] = i;
	}
}

uint32_t gcs_cycletable_changed(struct gcs_cycletable *t, struct gcs_cycle *to)
{
	uint32_t i, n = 0;

	for (i = 0; i < t->n; i++) {
		struct gcs_cycle *c = &t->cycle[i];

		if (c->seen == c->told)
			continue;
		to[n++] = *c;
		c->told = c->seen;
	}
	return n;
}

void gcs_cycletable_copy(struct gcs_cycletable *to, const struct gcs_cycletable *from)
{
	to->n = from->n;
	to->others = from->others;
	to->merged = from->merged;
	memcpy(to->cycle, from->cycle, from->n * sizeof(from->cycle[0]));
}
