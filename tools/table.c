/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "xalloc.h"

#define GAP 2       /* columns between columns */
#define FLEX_MIN 10 /* a flexible column is never cut below this */

void gcs_table_init(struct gcs_table *t, const struct gcs_column *col, size_t ncol)
{
	*t = (struct gcs_table){.col = col, .ncol = ncol};
}

void gcs_table_fini(struct gcs_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->cell[i].text);
	free(t->cell);
}

void gcs_table_add_colored(struct gcs_table *t, const char *text, const char *sgr)
{
	if (t->n == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		t->cell = xrealloc(t->cell, t->cap * sizeof(*t->cell));
	}
	t->cell[t->n].text = gcs_text_safe(text, GCS_ESCAPE_NOT_BACKSLASH);
	t->cell[t->n++].sgr = sgr;
}

void gcs_table_add(struct gcs_table *t, const char *text)
{
	gcs_table_add_colored(t, text, "");
}

static void measure(const struct gcs_table *t, size_t *width)
{
	for (size_t c = 0; c < t->ncol; c++)
		width[c] = strlen(t->col[c].head);
	for (size_t i = 0; i < t->n; i++) {
		size_t w = gcs_text_width(t->cell[i].text);

		if (w > width[i % t->ncol]) /* NOLINT(clang-analyzer-core.DivideZero): cells are in columns */
			width[i % t->ncol] = w;
	}
}

/* Narrows the flexible column so that a line fits the terminal. */
static void squeeze(const struct gcs_table *t, size_t *width, size_t terminal)
{
	size_t total = (t->ncol - 1) * GAP;

	for (size_t c = 0; c < t->ncol; c++)
		total += width[c];
	for (size_t c = 0; c < t->ncol; c++) {
		size_t over = total - terminal;

		if (!t->col[c].flex || total <= terminal || width[c] <= FLEX_MIN)
			continue;
		width[c] = width[c] > over + FLEX_MIN ? width[c] - over : FLEX_MIN;
	}
}

static void print_cell(const struct gcs_table *t, struct gcs_out *out, size_t c, size_t width,
		       const char *text, const char *sgr)
{
	size_t w = gcs_text_width(text), keep = strlen(text), pad;
	const char *more = "";

	if (w > width) {
		keep = gcs_text_fit(text, width - 3);
		more = "...";
		w = width;
	}
	pad = width - w;
	if (c)
		gcs_out_printf(out, "%*s", GAP, "");
	if (t->col[c].right)
		gcs_out_printf(out, "%*s", (int)pad, "");
	gcs_out_printf(out, "%s%.*s%s%s", gcs_out_on(out, sgr), (int)keep, text, more,
		       *sgr ? gcs_out_off(out) : "");
	if (!t->col[c].right && c + 1 < t->ncol)
		gcs_out_printf(out, "%*s", (int)pad, "");
}

void gcs_table_print(const struct gcs_table *t, struct gcs_out *out)
{
	size_t *width = xcalloc(t->ncol, sizeof(*width));

	measure(t, width);
	if (out->width)
		squeeze(t, width, out->width);
	for (size_t c = 0; c < t->ncol; c++)
		print_cell(t, out, c, width[c], t->col[c].head, "1");
	gcs_out_printf(out, "\n");
	for (size_t i = 0; i < t->n; i++) {
		size_t c = i % t->ncol; /* NOLINT(clang-analyzer-core.DivideZero): as above */

		print_cell(t, out, c, width[c], t->cell[i].text, t->cell[i].sgr);
		if (c + 1 == t->ncol)
			gcs_out_printf(out, "\n");
	}
	free(width);
}
