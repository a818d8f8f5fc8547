/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See series.h. Two levels of history per type, both written as the censuses come in, so that nothing has to
 * be moved from one to the other later:
 *
 * - fine: every change, for the last hour or GCS_SERIES_FULL censuses;
 * - coarse: one point per five minutes for a day, the minimum of each (floors are what leaks show in).
 *
 * Each is a struct gcs_level, whose time is the number of the census, or of the five-minute slot; tables
 * turn those into nanoseconds.
 *
 * Under pressure (max_bytes, or no memory) first go the histories of the types that moved least recently,
 * whole; if all types that have one moved lately, the fine window of all becomes shorter instead, since
 * dropping would take whole histories in turn from types that need them again at once.
 */
#include "series.h"

#include <string.h>

#include "level.h"
#include "mem.h"
#include "quota.h"

#define SLOT_NS 300000000000ll /* five minutes */
#define SLOTS 290              /* of the coarse table: a day and a bit */
#define BLOCK_TYPES 128        /* types are allocated in blocks, which never move */
#define BLOCK_BYTES (BLOCK_TYPES * sizeof(struct type))
#define MAX_BLOCKS 8192
#define NAME_PAGE 4096
#define LATELY 30    /* censuses: a type that moved within is not dropped while others can pay */
#define FINE_MIN 120 /* censuses: the fine window is not made shorter than this */

struct type {
	const char *name;
	uint32_t hash;
	uint32_t epoch; /* the census (begin) that put_count belongs to */
	uint64_t put_count, put_bytes;
	uint64_t count, bytes, max_count;
	int64_t first_ns;
	uint32_t moved;      /* census of the last change, plus one; 0: never */
	uint32_t fine_since; /* nothing is known before: the history was dropped then */
	uint32_t slot_since;
	bool met;
	struct gcs_level fine, coarse;
	struct gcs_level_value slot; /* minimum so far of the slot in which the type last changed */
	struct type *before, *after; /* in the order of their last change; NULL: there is nothing to drop */
};

struct name_page {
	struct name_page *next;
	size_t used, size;
	char text[];
};

struct gcs_series {
	struct gcs_quota quota; /* this struct too is counted */
	size_t kept;            /* of it, for the types themselves */
	bool crowded;           /* one had no room */
	size_t dropped;
	struct type *oldest, *newest; /* by their last change, those with a history and some without */
	struct type *block[MAX_BLOCKS];
	size_t ntypes;
	int32_t *table; /* open addressing, id + 1; a power of two */
	size_t table_size;
	struct name_page *names;

	uint32_t epoch;
	bool open;               /* between begin and end */
	const struct type *busy; /* its history is being written: not to be dropped */
	int64_t now_ns;

	size_t censuses;
	size_t fine_max;     /* censuses of the fine window */
	uint32_t fine_first; /* oldest census of the window */
	int64_t fine_ns[GCS_SERIES_FULL];

	size_t slots; /* ever begun; the current one is slots - 1 */
	uint32_t slot_first;
	int64_t slot_ns[SLOTS];      /* of its last census */
	uint32_t slot_census[SLOTS]; /* its first census */
};

static struct type *type_at(const struct gcs_series *s, size_t id)
{
	return &s->block[id / BLOCK_TYPES][id % BLOCK_TYPES];
}

/* Forgetting under pressure. */

static uint32_t current_slot(const struct gcs_series *s)
{
	return s->slots ? (uint32_t)(s->slots - 1) : 0;
}

/* Begin the history of t anew: with what it had, since what comes now is a change from that. */
static void restart_history(struct gcs_series *s, struct type *t)
{
	gcs_level_clear(&t->fine, &s->quota);
	gcs_level_clear(&t->coarse, &s->quota);
	t->fine_since = (uint32_t)s->censuses;
	t->slot_since = current_slot(s);
	gcs_level_start(&t->fine, t->fine_since, t->count, t->bytes);
	gcs_level_start(&t->coarse, t->slot_since, t->count, t->bytes);
	t->slot = t->coarse.base;
	s->dropped++;
}

static bool has_history(const struct type *t)
{
	return gcs_level_has_points(&t->fine) || gcs_level_has_points(&t->coarse);
}

static void unlink_type(struct gcs_series *s, struct type *t)
{
	if (!t->before && s->oldest != t)
		return;
	*(t->before ? &t->before->after : &s->oldest) = t->after;
	*(t->after ? &t->after->before : &s->newest) = t->before;
	t->before = t->after = NULL;
}

static void link_newest(struct gcs_series *s, struct type *t)
{
	unlink_type(s, t);
	t->before = s->newest;
	*(s->newest ? &s->newest->after : &s->oldest) = t;
	s->newest = t;
}

/* Those that have no history (any more) are met once, and are back when they change. */
static struct type *least_recent(struct gcs_series *s)
{
	struct type *t, *next;

	for (t = s->oldest; t; t = next) {
		next = t->after;
		if (t == s->busy)
			continue;
		if (has_history(t))
			return t;
		unlink_type(s, t);
	}
	return NULL;
}

static void forget_fine(struct gcs_series *s)
{
	size_t id;

	for (id = 0; id < s->ntypes; id++)
		gcs_level_forget(&type_at(s, id)->fine, &s->quota, s->fine_first);
}

/* Take an eighth off the fine window; false when it is as short as may be. */
static bool shorten_fine(struct gcs_series *s)
{
	size_t have = s->censuses - s->fine_first;

	if (have <= FINE_MIN)
		return false;
	s->fine_max = have - have / 8 > FINE_MIN ? have - have / 8 : FINE_MIN;
	s->fine_first = (uint32_t)(s->censuses - s->fine_max);
	forget_fine(s);
	return true;
}

static bool drop_something(struct gcs_series *s)
{
	struct type *t = least_recent(s);

	if (!t)
		return false;
	if (t->moved + LATELY < s->censuses || !shorten_fine(s))
		restart_history(s, t);
	return true;
}

/* Append a point; false when there is no memory, and no other history to take it from. */
static bool add(struct gcs_series *s, struct gcs_level *l, const struct gcs_level_value *v)
{
	while (!gcs_level_add(l, &s->quota, v))
		if (!drop_something(s))
			return false;
	return true;
}

/* Types. */

static uint32_t hash_of(const char *name)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h ^ h >> 15;
}

/* Where the name is in the table, or the empty place where it belongs. */
static size_t probe(const struct gcs_series *s, const char *name, uint32_t hash)
{
	size_t mask = s->table_size - 1, i = hash & mask;
	const struct type *t;

	for (; s->table[i]; i = (i + 1) & mask) {
		t = type_at(s, (size_t)s->table[i] - 1);
		if (t->hash == hash && !strcmp(t->name, name))
			break;
	}
	return i;
}

/* What types may take themselves, which are never dropped. Otherwise there would be no histories in the end. */
static size_t kept_max(const struct gcs_series *s)
{
	return (s->quota.max - sizeof(*s)) / 3 * 2;
}

/* Not inline: one call, which tests can see to fail on all ways to it. */
static __attribute__((noinline)) void *take_kept(struct gcs_series *s, size_t size)
{
	void *p = s->kept + size <= kept_max(s) ? gcs_quota_take(&s->quota, size) : NULL;

	if (p)
		s->kept += size;
	return p;
}

static bool grow_table(struct gcs_series *s)
{
	size_t size = s->table_size * 2, id, i;
	int32_t *table = take_kept(s, size * sizeof(*table));

	if (!table)
		return false;
	s->kept -= s->table_size * sizeof(*table);
	gcs_quota_release(&s->quota, s->table, s->table_size * sizeof(*table));
	s->table = table;
	s->table_size = size;
	for (id = 0; id < s->ntypes; id++) {
		i = type_at(s, id)->hash & (size - 1);
		while (table[i])
			i = (i + 1) & (size - 1);
		table[i] = (int32_t)id + 1;
	}
	return true;
}

static bool room_for_name(struct gcs_series *s, size_t len)
{
	size_t size = len > NAME_PAGE / 4 ? len : NAME_PAGE;
	struct name_page *page = s->names;

	if (page && page->size - page->used >= len)
		return true;
	page = take_kept(s, sizeof(*page) + size);
	if (!page)
		return false;
	page->size = size;
	page->next = s->names;
	s->names = page;
	return true;
}

static const char *copy_name(struct gcs_series *s, const char *name)
{
	size_t len = strlen(name) + 1;
	char *text;

	if (!room_for_name(s, len))
		return NULL;
	text = s->names->text + s->names->used;
	memcpy(text, name, len);
	s->names->used += len;
	return text;
}

/* Room for one more type, in the table and in the blocks. */
static bool room_for_type(struct gcs_series *s)
{
	size_t b = s->ntypes / BLOCK_TYPES;

	if (b >= MAX_BLOCKS || (s->ntypes * 4 >= s->table_size * 3 && !grow_table(s)))
		return false;
	if (!s->block[b])
		s->block[b] = take_kept(s, BLOCK_BYTES);
	return s->block[b] != NULL;
}

void gcs_series_make_room(struct gcs_series *s)
{
	size_t table = 2 * s->table_size * sizeof(*s->table);

	/* Early: to grow takes milliseconds when there are tens of thousands. */
	if (s->ntypes * 8 >= s->table_size * 5 && s->kept + table <= kept_max(s))
		while (!grow_table(s))
			if (!drop_something(s))
				return;
	if (!s->crowded || s->ntypes * 4 >= s->table_size * 3 || s->ntypes >= MAX_BLOCKS * BLOCK_TYPES ||
	    s->kept + BLOCK_BYTES + 2 * NAME_PAGE > kept_max(s))
		return; /* whatever is dropped */
	while (!room_for_type(s) || !room_for_name(s, NAME_PAGE / 4))
		if (!drop_something(s))
			return;
	s->crowded = false;
}

bool gcs_series_is_crowded(const struct gcs_series *s)
{
	return s->crowded;
}

int32_t gcs_series_find(const struct gcs_series *s, const char *name)
{
	return s->table[probe(s, name, hash_of(name))] - 1;
}

int32_t gcs_series_intern(struct gcs_series *s, const char *name)
{
	int32_t id = gcs_series_find(s, name);
	struct type *t;
	const char *copy;

	if (id >= 0)
		return id;
	copy = room_for_type(s) ? copy_name(s, name) : NULL;
	if (!copy) {
		s->crowded = true;
		return -1;
	}
	id = (int32_t)s->ntypes++;
	t = type_at(s, (size_t)id);
	t->name = copy;
	t->hash = hash_of(name);
	s->table[probe(s, name, t->hash)] = id + 1;
	return id;
}

size_t gcs_series_types(const struct gcs_series *s)
{
	return s->ntypes;
}

static bool known(const struct gcs_series *s, int32_t id)
{
	return id >= 0 && (size_t)id < s->ntypes;
}

void gcs_series_now(const struct gcs_series *s, int32_t id, struct gcs_type_now *out)
{
	const struct type *t;

	memset(out, 0, sizeof(*out));
	out->name = "";
	if (!known(s, id))
		return;
	t = type_at(s, (size_t)id);
	out->name = t->name;
	out->count = t->count;
	out->bytes = t->bytes;
	out->max_count = t->max_count;
	out->first_ns = t->first_ns;
}

struct gcs_series *gcs_series_new(size_t max_bytes)
{
	struct gcs_series *s;

	if (max_bytes < sizeof(*s) + GCS_QUOTA_OVERHEAD)
		return NULL;
	s = gcs_mem_calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->quota.max = max_bytes;
	s->quota.bytes = sizeof(*s) + GCS_QUOTA_OVERHEAD;
	s->fine_max = GCS_SERIES_FULL;
	s->table_size = 256;
	s->table = take_kept(s, s->table_size * sizeof(*s->table));
	if (!s->table) {
		gcs_mem_free(s);
		return NULL;
	}
	return s;
}

void gcs_series_free(struct gcs_series *s)
{
	struct name_page *page, *next;
	size_t id, b;

	if (!s)
		return;
	for (id = 0; id < s->ntypes; id++) {
		gcs_level_clear(&type_at(s, id)->fine, &s->quota);
		gcs_level_clear(&type_at(s, id)->coarse, &s->quota);
	}
	for (b = 0; b < MAX_BLOCKS && s->block[b]; b++)
		gcs_mem_free(s->block[b]);
	for (page = s->names; page; page = next) {
		next = page->next;
		gcs_mem_free(page);
	}
	gcs_mem_free(s->table);
	gcs_mem_free(s);
}

/* Censuses. */

void gcs_series_begin(struct gcs_series *s, int64_t t_ns)
{
	if (s->censuses && t_ns < s->now_ns)
		t_ns = s->now_ns;
	s->now_ns = t_ns;
	s->epoch++; /* what a census that never ended has put is forgotten */
	s->open = true;
}

void gcs_series_put(struct gcs_series *s, int32_t id, uint64_t count, uint64_t bytes)
{
	struct type *t;

	if (!s->open || !known(s, id))
		return;
	t = type_at(s, (size_t)id);
	if (t->epoch != s->epoch) {
		t->epoch = s->epoch;
		t->put_count = t->put_bytes = 0;
	}
	t->put_count += count;
	t->put_bytes += bytes;
}

/* Enter the current census, number s->censuses, into the tables of times; move the windows on. */
static void advance_time(struct gcs_series *s)
{
	size_t slot = s->slots;
	size_t have;

	s->fine_ns[s->censuses % GCS_SERIES_FULL] = s->now_ns;
	if (!slot || s->slot_ns[(slot - 1) % SLOTS] / SLOT_NS != s->now_ns / SLOT_NS) {
		s->slot_census[slot % SLOTS] = (uint32_t)s->censuses;
		slot = ++s->slots;
	}
	s->slot_ns[(slot - 1) % SLOTS] = s->now_ns;

	have = s->censuses + 1 - s->fine_first;
	while (have > s->fine_max ||
	       (have > 1 && s->fine_ns[s->fine_first % GCS_SERIES_FULL] < s->now_ns - GCS_SERIES_HOUR_NS)) {
		s->fine_first++;
		have--;
	}
	while (s->slots - s->slot_first > SLOTS - 1 ||
	       (s->slots - s->slot_first > 1 &&
		s->slot_ns[s->slot_first % SLOTS] < s->now_ns - GCS_SERIES_DAY_NS))
		s->slot_first++;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* The slots before the current one are over for t: its minimum, then the value that stood until now. */
static bool close_slot(struct gcs_series *s, struct type *t, uint32_t now)
{
	struct gcs_level_value stood = {t->slot.time + 1, t->count, t->bytes};

	return add(s, &t->coarse, &t->slot) && (stood.time >= now || add(s, &t->coarse, &stood));
}

static bool record_coarse(struct gcs_series *s, struct type *t, uint64_t count, uint64_t bytes)
{
	uint32_t now = current_slot(s);

	if (t->slot.time != now) {
		if (!close_slot(s, t, now))
			return false;
		t->slot = (struct gcs_level_value){now, count, bytes};
		if (s->slot_census[now % SLOTS] == s->censuses)
			return true; /* the slot's first census: the old value is not of this slot */
		count = t->count;
		bytes = t->bytes;
	}
	t->slot.count = min_u64(t->slot.count, count);
	t->slot.bytes = min_u64(t->slot.bytes, bytes);
	return true;
}

/* The first census that finds the type: no change to be stored, the base says it all. */
static void meet(struct gcs_series *s, struct type *t)
{
	uint32_t now = current_slot(s);
	bool whole = s->slot_census[now % SLOTS] == s->censuses;

	t->met = true;
	t->first_ns = s->now_ns;
	gcs_level_start(&t->fine, (uint32_t)s->censuses, t->put_count, t->put_bytes);
	/* Earlier censuses of this slot found none of it. */
	gcs_level_start(&t->coarse, now, whole ? t->put_count : 0, whole ? t->put_bytes : 0);
	t->slot = t->coarse.base;
	if (s->censuses)
		t->moved = (uint32_t)s->censuses + 1;
}

static void change(struct gcs_series *s, struct type *t, uint64_t count, uint64_t bytes)
{
	struct gcs_level_value v = {(uint32_t)s->censuses, count, bytes};

	bool kept;

	t->moved = (uint32_t)s->censuses + 1;
	link_newest(s, t);
	s->busy = t;
	kept = record_coarse(s, t, count, bytes) && add(s, &t->fine, &v);
	s->busy = NULL;
	t->count = count;
	t->bytes = bytes;
	if (!kept)
		restart_history(s, t);
}

static void end_type(struct gcs_series *s, struct type *t)
{
	bool found = t->epoch == s->epoch;
	uint64_t count = found ? t->put_count : 0;
	uint64_t bytes = found ? t->put_bytes : 0;

	if (!t->met) {
		if (!found)
			return;
		meet(s, t);
	} else if (count != t->count || bytes != t->bytes) {
		change(s, t, count, bytes);
	}
	t->count = count;
	t->bytes = bytes;
	t->max_count = max_u64(t->max_count, count);
}

void gcs_series_end(struct gcs_series *s)
{
	struct type *t;
	size_t id;

	if (!s->open)
		return;
	s->open = false;
	advance_time(s);
	for (id = 0; id < s->ntypes; id++) {
		t = type_at(s, id);
		gcs_level_forget(&t->fine, &s->quota, s->fine_first);
		gcs_level_forget(&t->coarse, &s->quota, s->slot_first);
		end_type(s, t);
	}
	s->censuses++;
	/* The pressure is off: let the fine window become longer again. */
	if (s->fine_max < GCS_SERIES_FULL && s->quota.bytes < s->quota.max / 4 * 3)
		s->fine_max++;
}

size_t gcs_series_censuses(const struct gcs_series *s)
{
	return s->censuses;
}

/* Reading. */

/* The range of slots and of censuses that a reader gets: slots first..end, then censuses first..end. */
struct range {
	uint32_t slot, slot_end;
	uint32_t fine, fine_end;
};

static size_t range_size(const struct range *r)
{
	return (size_t)(r->slot_end - r->slot) + (r->fine_end - r->fine);
}

static struct range range_of(const struct gcs_series *s, const struct type *t, int64_t from_ns, size_t max)
{
	struct range r = {s->slot_first, s->slot_first, s->fine_first, (uint32_t)s->censuses};
	size_t skip;

	if (r.fine < t->fine_since)
		r.fine = t->fine_since;
	if (r.slot < t->slot_since)
		r.slot = t->slot_since;
	/* A slot counts when all of it is older than the fine part. */
	r.slot_end = r.slot;
	while (r.slot_end < s->slots && r.fine < r.fine_end &&
	       s->slot_ns[r.slot_end % SLOTS] < s->fine_ns[r.fine % GCS_SERIES_FULL])
		r.slot_end++;
	while (r.slot < r.slot_end && s->slot_ns[r.slot % SLOTS] < from_ns)
		r.slot++;
	while (r.fine < r.fine_end && s->fine_ns[r.fine % GCS_SERIES_FULL] < from_ns)
		r.fine++;
	skip = range_size(&r) > max ? range_size(&r) - max : 0;
	if (skip <= r.slot_end - r.slot) {
		r.slot += (uint32_t)skip;
	} else {
		r.fine += (uint32_t)skip - (r.slot_end - r.slot);
		r.slot = r.slot_end;
	}
	return r;
}

static struct gcs_point coarse_point(const struct gcs_series *s, const struct type *t,
				     struct gcs_level_cursor *c, uint32_t slot)
{
	struct gcs_level_value v = gcs_level_cursor_at(c, slot);

	/* The slot of the last change is still in t->slot; since then the value stands. */
	if (slot == t->slot.time)
		v = t->slot;
	else if (slot > t->slot.time)
		v = (struct gcs_level_value){slot, t->count, t->bytes};
	return (struct gcs_point){s->slot_ns[slot % SLOTS], v.count, v.bytes};
}

size_t gcs_series_read(const struct gcs_series *s, int32_t id, int64_t from_ns, struct gcs_point *out,
		       size_t max)
{
	const struct type *t;
	struct gcs_point *start = out;
	struct gcs_level_cursor c;
	struct range r;
	struct gcs_level_value v;

	if (!known(s, id))
		return 0;
	t = type_at(s, (size_t)id);
	r = range_of(s, t, from_ns, max);
	gcs_level_cursor_init(&c, &t->coarse);
	for (; r.slot < r.slot_end; r.slot++)
		*out++ = coarse_point(s, t, &c, r.slot);
	gcs_level_cursor_init(&c, &t->fine);
	for (; r.fine < r.fine_end; r.fine++) {
		v = gcs_level_cursor_at(&c, r.fine);
		*out++ = (struct gcs_point){s->fine_ns[r.fine % GCS_SERIES_FULL], v.count, v.bytes};
	}
	return (size_t)(out - start);
}

bool gcs_series_moved(const struct gcs_series *s, int32_t id, size_t n)
{
	const struct type *t;

	if (!known(s, id))
		return false;
	t = type_at(s, (size_t)id);
	return t->moved && s->censuses - (t->moved - 1) <= n;
}

size_t gcs_series_bytes(const struct gcs_series *s)
{
	return s->quota.bytes;
}

size_t gcs_series_dropped(const struct gcs_series *s)
{
	return s->dropped;
}
