/* SPDX-License-Identifier: Apache-2.0 */
#include "types.h"

#include <errno.h>
#include <string.h>

#include "gcscope/protocol.h"
#include "mem.h"

#define INITIAL 1024
#define FORGET_AFTER 64 /* censuses */
#define SMALL 4096      /* entries: a table that grows in no time */

int gcs_types_init(struct gcs_types *t)
{
	memset(t, 0, sizeof(*t));
	t->mask = INITIAL - 1;
	t->entry = gcs_mem_calloc(INITIAL, sizeof(*t->entry));
	t->met = gcs_mem_calloc(2 * INITIAL, sizeof(*t->met));
	return t->entry && t->met ? 0 : -ENOMEM;
}

static void free_tables(struct gcs_types *t)
{
	gcs_mem_free(t->entry);
	gcs_mem_free(t->met);
}

static struct gcs_type_entry *slot_for(struct gcs_type_entry *entry, uint32_t mask, const PyObject *type)
{
	uint32_t i = gcs_types_hash(type) & mask;

	while (entry[i].type && entry[i].type != type)
		i = (i + 1) & mask;
	return &entry[i];
}

static void note_met(struct gcs_type_met *met, uint32_t mask, struct gcs_type_entry *e)
{
	uint32_t i = gcs_types_hash(e->type) & mask;

	while (met[i].type)
		i = (i + 1) & mask;
	met[i] = (struct gcs_type_met){e->type, e};
}

/* Not met for long. */
static bool is_stale(const struct gcs_types *t, const struct gcs_type_entry *e)
{
	return t->epoch - e->epoch > FORGET_AFTER;
}

/* Moves the entries that are not stale to a table of the given capacity. */
static int rehash(struct gcs_types *t, uint32_t capacity)
{
	struct gcs_type_entry *to = gcs_mem_calloc(capacity, sizeof(*to)), *moved;
	struct gcs_type_met *met = gcs_mem_calloc(2 * capacity, sizeof(*met));
	uint32_t used = 0;

	if (!to || !met) {
		gcs_mem_free(to);
		gcs_mem_free(met);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i <= t->mask; i++) {
		const struct gcs_type_entry *e = &t->entry[i];

		if (!e->type || is_stale(t, e))
			continue;
		moved = slot_for(to, capacity - 1, e->type);
		*moved = *e;
		if (e->epoch == t->epoch)
			note_met(met, 2 * capacity - 1, moved);
		used++;
	}
	free_tables(t);
	t->entry = to;
	t->met = met;
	t->mask = capacity - 1;
	t->used = used;
	t->shed = t->epoch;
	return 0;
}

/*
 * Each type's identity is looked at once a census, and by then is in no cache. Asked for all at once, the waits for
 * memory are one. (A prefetch of a type that is gone does no harm.)
 */
static void prefetch_identities(const struct gcs_types *t)
{
	for (uint32_t i = 0; i <= t->mask; i++) {
		const char *type = (const char *)t->entry[i].type;

		if (!type || t->epoch - t->entry[i].epoch > 1)
			continue;
		__builtin_prefetch(type + gcs_layout.tp_name);
		__builtin_prefetch(type + gcs_layout.tp_flags);
		__builtin_prefetch(type + gcs_layout.tp_version_tag);
	}
}

/* For those that are not stale: half of it free. */
static uint32_t capacity_for(const struct gcs_types *t)
{
	uint32_t capacity = INITIAL, fresh = 0;

	for (uint32_t i = 0; i <= t->mask; i++)
		fresh += t->entry[i].type && !is_stale(t, &t->entry[i]);
	while (fresh * 2 > capacity)
		capacity *= 2;
	return capacity;
}

void gcs_types_begin(struct gcs_types *t, bool may_add)
{
	t->epoch++;
	t->full = false;
	/* Without memory the stale ones stay: harmless. */
	if (!may_add || t->epoch < t->shed + FORGET_AFTER || rehash(t, capacity_for(t)))
		memset(t->met, 0, 2 * ((size_t)t->mask + 1) * sizeof(*t->met));
	prefetch_identities(t);
}

void gcs_types_make_room(struct gcs_types *t)
{
	if (!t->full && t->used * 2 > t->mask)
		t->full = rehash(t, (t->mask + 1) * 2) != 0;
}

static struct gcs_type_entry *add(struct gcs_types *t, PyObject *type)
{
	struct gcs_type_entry *e = slot_for(t->entry, t->mask, type);

	if (e->type)
		return e;
	/* With the world stopped, all types there are come at once. */
	if (!t->full && t->used * 2 > t->mask && (t->mask < SMALL || py.free_threaded)) {
		t->full = rehash(t, (t->mask + 1) * 2) != 0;
		e = slot_for(t->entry, t->mask, type);
	}
	if (t->used * 8ull > t->mask * 7ull)
		return NULL;
	e->type = type;
	t->used++;
	return e;
}

static void begin_entry(struct gcs_types *t, struct gcs_type_entry *e)
{
	e->epoch = t->epoch;
	e->count = 0;
	e->extra = 0;
	note_met(t->met, 2 * t->mask + 1, e);
}

static void name_entry(struct gcs_type_entry *e, PyObject *type, struct gcs_series *names)
{
	char name[GCS_NAME_MAX + 1];

	gcs_type_name_gil(type, name, sizeof(name));
	e->id = gcs_series_intern(names, name);
}

static bool is_to_be_named(const struct gcs_type_entry *e, const struct gcs_series *names)
{
	return e->id == GCS_TYPE_UNNAMED || (e->id == GCS_TYPE_NO_ROOM && !gcs_series_is_crowded(names));
}

struct gcs_type_entry *gcs_types_see_gil(struct gcs_types *t, PyObject *type, struct gcs_series *names,
					 bool may_add)
{
	struct gcs_type_entry *e = slot_for(t->entry, t->mask, type);
	uint64_t identity;

	if (e->type && e->epoch == t->epoch)
		return e;
	identity = gcs_type_identity_gil(type);
	if (!e->type || identity != e->identity) {
		if (!may_add || !(e = add(t, type)))
			return NULL;
		e->id = GCS_TYPE_UNNAMED;
		e->identity = identity;
		gcs_type_shape_gil(type, &e->shape);
	}
	if (may_add && is_to_be_named(e, names))
		name_entry(e, type, names);
	begin_entry(t, e);
	return e;
}

struct gcs_type_entry *gcs_types_meet_stopped(struct gcs_types *t, PyObject *type)
{
	uint64_t identity = gcs_type_identity_stopped(type);
	struct gcs_type_entry *e = add(t, type);

	if (!e)
		return NULL;
	if (!e->epoch || !identity || identity != e->identity)
		e->id = GCS_TYPE_UNNAMED;
	e->identity = identity;
	gcs_type_shape_gil(type, &e->shape);
	py.Py_IncRef(type);
	begin_entry(t, e);
	return e;
}

void gcs_types_settle_gil(struct gcs_types *t, struct gcs_series *names)
{
	for (uint32_t i = 0; i <= t->mask; i++) {
		struct gcs_type_entry *e = &t->entry[i];
		PyObject *type = (PyObject *)(uintptr_t)e->type;

		if (!type || e->epoch != t->epoch)
			continue;
		if (is_to_be_named(e, names))
			name_entry(e, type, names);
		py.Py_DecRef(type);
	}
}
