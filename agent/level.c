/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See level.h. A level is a base point, held in the level itself, and a chain of small chunks of
 * (time step, count step, bytes above what the count lets expect) as variable-length integers. Each
 * point is a step from the one before it, the first from the base: forgetting a chunk walks the
 * base through it.
 */
#include "level.h"

#define CHUNK_DATA 96
#define POINT_MAX 25 /* bytes of the longest encoded point */

struct gcs_level_chunk {
	struct gcs_level_chunk *next;
	uint32_t last; /* time of the last point in it */
	uint32_t len;
	uint8_t data[CHUNK_DATA];
};

/* Points. The steps are unsigned and wrap, so that any value may follow any other. */

static size_t put_varint(uint8_t *out, uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		out[n++] = (uint8_t)(v | 0x80);
	out[n++] = (uint8_t)v;
	return n;
}

static uint64_t get_varint(const uint8_t **p)
{
	uint64_t v = 0, byte;
	unsigned shift = 0;

	do {
		byte = *(*p)++;
		v |= (byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80);
	return v;
}

/* Small steps either way become small numbers. */
static uint64_t zigzag(uint64_t from, uint64_t to)
{
	uint64_t d = to - from;

	return d << 1 ^ (0 - (d >> 63));
}

static uint64_t unzigzag(uint64_t from, uint64_t z)
{
	return from + (z >> 1 ^ (0 - (z & 1)));
}

/* The bytes at a count, were all objects as large as they are on average at v: mostly they are. */
static uint64_t expected_bytes(const struct gcs_level_value *v, uint64_t count)
{
	return v->count ? v->bytes + (count - v->count) * (v->bytes / v->count) : v->bytes;
}

static size_t encode(uint8_t *out, const struct gcs_level_value *from, const struct gcs_level_value *to)
{
	size_t n = put_varint(out, to->time - from->time);

	n += put_varint(out + n, zigzag(from->count, to->count));
	return n + put_varint(out + n, zigzag(expected_bytes(from, to->count), to->bytes));
}

static void decode(const uint8_t **p, struct gcs_level_value *v)
{
	uint64_t count, bytes;

	v->time += (uint32_t)get_varint(p);
	count = unzigzag(v->count, get_varint(p));
	bytes = expected_bytes(v, count);
	v->bytes = unzigzag(bytes, get_varint(p));
	v->count = count;
}

/* The level. */

void gcs_level_start(struct gcs_level *l, uint32_t time, uint64_t count, uint64_t bytes)
{
	l->base = (struct gcs_level_value){time, count, bytes};
	l->last = l->base;
}

void gcs_level_clear(struct gcs_level *l, struct gcs_quota *q)
{
	struct gcs_level_chunk *c, *next;

	for (c = l->head; c; c = next) {
		next = c->next;
		gcs_quota_release(q, c, sizeof(*c));
	}
	l->head = l->tail = NULL;
}

static __attribute__((noinline)) void fold(struct gcs_level *l, struct gcs_quota *q, uint32_t first)
{
	const uint8_t *p;
	struct gcs_level_chunk *c;

	while ((c = l->head) && c->last <= first) {
		for (p = c->data; p < c->data + c->len;)
			decode(&p, &l->base);
		l->head = c->next;
		if (!l->head)
			l->tail = NULL;
		gcs_quota_release(q, c, sizeof(*c));
	}
}

/* Asked of every type in every census, and rarely is there anything to fold: no stack frame for that. */
void gcs_level_forget(struct gcs_level *l, struct gcs_quota *q, uint32_t first)
{
	if (l->head && l->head->last <= first)
		fold(l, q, first);
}

bool gcs_level_add(struct gcs_level *l, struct gcs_quota *q, const struct gcs_level_value *v)
{
	struct gcs_level_chunk *c = l->tail;

	if (v->count == l->last.count && v->bytes == l->last.bytes)
		return true;
	if (!l->head && v->time == l->base.time) { /* no point yet: correct the base */
		gcs_level_start(l, v->time, v->count, v->bytes);
		return true;
	}
	if (!c || c->len + POINT_MAX > CHUNK_DATA) {
		c = gcs_quota_take(q, sizeof(*c));
		if (!c)
			return false;
		if (l->tail)
			l->tail->next = c;
		else
			l->head = c;
		l->tail = c;
	}
	c->len += (uint32_t)encode(c->data + c->len, &l->last, v);
	c->last = v->time;
	l->last = *v;
	return true;
}

/* Reading. */

void gcs_level_cursor_step(struct gcs_level_cursor *c)
{
	c->v = c->next;
	while (c->chunk && c->p == c->chunk->data + c->chunk->len) {
		c->chunk = c->chunk->next;
		c->p = c->chunk ? c->chunk->data : NULL;
	}
	c->more = c->chunk != NULL;
	if (c->more)
		decode(&c->p, &c->next);
}

void gcs_level_cursor_init(struct gcs_level_cursor *c, const struct gcs_level *l)
{
	c->chunk = l->head;
	c->p = l->head ? l->head->data : NULL;
	c->next = l->base;
	gcs_level_cursor_step(c);
}
