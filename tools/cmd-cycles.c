/* SPDX-License-Identifier: Apache-2.0 */
/* gcscope cycles: the distinct reference cycles that the collector had to free, each with a remedy. */
#include <stdlib.h>

#include "client.h"
#include "cmd.h"
#include "cycles.h"
#include "fields.h"
#include "stream.h"
#include "table.h"
#include "text.h"
#include "xalloc.h"

static json_t *ask(const struct gcs_options *o, struct gcs_client *c)
{
	return gcs_client_ask(c, o->timeout_s, "cycles", "cycles");
}

static void add_total(struct gcs_table *t, const char *mark, const char *text)
{
	char *s = xasprintf("%s%s", mark, text);

	gcs_table_add(t, s);
	free(s);
}

static void add_row(struct gcs_table *t, const json_t *row, size_t number, const char *mark)
{
	char s[GCS_UNIT_MAX], *n = xasprintf("%zu", number);

	gcs_table_add(t, n);
	add_total(t, mark, gcs_unit_int(s, gcs_fields_num(row, "count")));
	add_total(t, mark, gcs_unit_int(s, gcs_fields_num(row, "objects")));
	add_total(t, mark, gcs_unit_bytes(s, gcs_fields_num(row, "bytes"), " "));
	gcs_table_add(t, gcs_unit_int(s, gcs_fields_num(row, "size")));
	gcs_table_add(t, gcs_fields_true(row, "finalizer") ? "yes" : "");
	gcs_table_add(t, gcs_fields_str(row, "text"));
	free(n);
}

static void print_rows(struct gcs_out *out, const json_t *rows, const char *mark)
{
	static const struct gcs_column col[] = {
		{"#", true, false},     {"COUNT", true, false}, {"OBJECTS", true, false},
		{"BYTES", true, false}, {"SIZE", true, false},  {"FINALIZER", false, false},
		{"CYCLE", false, true},
	};
	struct gcs_table t;

	gcs_table_init(&t, col, sizeof(col) / sizeof(col[0]));
	for (size_t i = 0; i < json_array_size(rows); i++)
		add_row(&t, json_array_get(rows, i), i + 1, mark);
	gcs_table_print(&t, out);
	gcs_table_fini(&t);
}

/* "1: Foo._filter -> ..." whole, since the table cuts it; the remedy; the line that collected it. */
static void print_details(struct gcs_out *out, const json_t *rows)
{
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);
		const char *at = gcs_fields_str(row, "collected_at");
		const char *advice = gcs_fields_str(row, "advice.text");
		char *text = gcs_text_safe(gcs_fields_str(row, "text"), GCS_ESCAPE_NOT_BACKSLASH);
		char *safe_at = gcs_text_safe(at ? at : "", GCS_ESCAPE_NOT_BACKSLASH);
		char *remedy = gcs_text_safe(advice ? advice : "", GCS_ESCAPE_NOT_BACKSLASH);

		gcs_out_printf(out, "\n%zu: %s\n", i + 1, text);
		if (advice)
			gcs_out_printf(out, "   " GCS_CYCLES_REMEDY "%s\n", remedy);
		if (at)
			gcs_out_printf(out, "   " GCS_CYCLES_AT "%s\n", safe_at);
		free(text);
		free(safe_at);
		free(remedy);
	}
}

static void print_others(struct gcs_out *out, const json_t *a, const char *mark)
{
	char n[3][GCS_UNIT_MAX];

	if (!(gcs_fields_num(a, "others.distinct") > 0))
		return;
	gcs_out_printf(out, "others: %s distinct cycles, %s%s objects, %s%s\n",
		       gcs_unit_int(n[0], gcs_fields_num(a, "others.distinct")), mark,
		       gcs_unit_int(n[1], gcs_fields_num(a, "others.objects")), mark,
		       gcs_unit_bytes(n[2], gcs_fields_num(a, "others.bytes"), " "));
}

static void show(struct gcs_out *out, const json_t *a)
{
	const json_t *rows = json_object_get(a, "cycles");
	char *summary = gcs_cycles_summary(a);

	gcs_out_printf(out, "%s\n", summary);
	free(summary);
	if (!json_array_size(rows)) {
		gcs_out_printf(out, GCS_CYCLES_NONE "\n");
		return;
	}
	print_rows(out, rows, gcs_cycles_mark(a));
	print_others(out, a, gcs_cycles_mark(a));
	print_details(out, rows);
}

static int cmd_cycles(struct gcs_options *o)
{
	static const struct gcs_report report = {.ask = ask, .show = show, .rows = "cycles"};

	return gcs_stream_report(o, &report);
}

const struct cmd_entry cmd_entry_cycles = {
	.name = "cycles",
	.usage = "[OPTIONS] [TARGET]",
	.summary = "Shows the distinct reference cycles that the collector had to free.",
	.impact = "low: nothing beyond what the agent does anyway",
	.timeout_s = 10,
	.exec = cmd_cycles,
};
