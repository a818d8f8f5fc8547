/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table for people: columns aligned by display width. Cells are escaped as they are put in, so
 * that nothing that came from a target can break a line or reach the terminal's controls.
 */
#ifndef GCS_TABLE_H
#define GCS_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "out.h"

struct gcs_column {
	const char *head;
	bool right; /* numbers */
	bool flex;  /* cut, ending in "...", when the terminal is too narrow; one at most */
};

struct gcs_table {
	const struct gcs_column *col;
	size_t ncol;
	size_t n, cap; /* cells */
	struct {
		char *text;
		const char *sgr;
	} * cell;
};

void gcs_table_init(struct gcs_table *t, const struct gcs_column *col, size_t ncol);
void gcs_table_fini(struct gcs_table *t);
/* The next cell, row by row; NULL reads "-". */
void gcs_table_add(struct gcs_table *t, const char *text);
void gcs_table_add_colored(struct gcs_table *t, const char *text, const char *sgr);
void gcs_table_print(const struct gcs_table *t, struct gcs_out *out);

#endif
