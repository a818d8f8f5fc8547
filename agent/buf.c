/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See buf.h. One byte more than `len` is always reserved, for a NUL that is not counted:
 * a debugger likes it.
 */
#include "buf.h"

#include <string.h>

#include "mem.h"

#define FIRST_CAP 256

void gcs_buf_init(struct gcs_buf *b)
{
	memset(b, 0, sizeof(*b));
}

void gcs_buf_fini(struct gcs_buf *b)
{
	gcs_mem_free(b->data);
	gcs_buf_init(b);
}

void gcs_buf_clear(struct gcs_buf *b)
{
	b->len = 0;
	b->failed = false;
	if (b->data)
		b->data[0] = '\0';
}

/* Room for n more bytes and the NUL. */
static bool reserve(struct gcs_buf *b, size_t n)
{
	size_t need, cap = b->cap ? b->cap : FIRST_CAP;
	char *data;

	if (b->failed)
		return false;
	if (__builtin_add_overflow(b->len, n, &need) || __builtin_add_overflow(need, 1, &need))
		goto fail;
	if (need <= b->cap)
		return true;
	while (cap < need)
		if (__builtin_mul_overflow(cap, 2, &cap))
			goto fail;
	data = gcs_mem_realloc(b->data, cap);
	if (!data) {
		/* Doubling is for speed only: near the limit the exact size may still fit. */
		cap = need;
		data = gcs_mem_realloc(b->data, cap);
	}
	if (!data)
		goto fail;
	b->data = data;
	b->cap = cap;
	return true;
fail:
	b->failed = true;
	return false;
}

void gcs_buf_add(struct gcs_buf *b, const void *data, size_t n)
{
	if (!n || !reserve(b, n))
		return;
	memcpy(b->data + b->len, data, n);
	b->len += n;
	b->data[b->len] = '\0';
}

void gcs_buf_str(struct gcs_buf *b, const char *s)
{
	gcs_buf_add(b, s, strlen(s));
}
