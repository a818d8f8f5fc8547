/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte buffer that grows in the agent's memory. A failed allocation sets `failed` and later appends
 * do nothing, so that a writer checks once, at the end. A NUL, not counted in len, follows the data; there
 * is no data (NULL) before the first append.
 */
#ifndef GCS_BUF_H
#define GCS_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct gcs_buf {
	char *data;
	size_t len;
	size_t cap;
	bool failed;
};

void gcs_buf_init(struct gcs_buf *b);
void gcs_buf_fini(struct gcs_buf *b);
void gcs_buf_clear(struct gcs_buf *b);                          /* keeps the memory, resets failed */
void gcs_buf_add(struct gcs_buf *b, const void *data, size_t n);
void gcs_buf_str(struct gcs_buf *b, const char *s);

#endif
