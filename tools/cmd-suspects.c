/* SPDX-License-Identifier: Apache-2.0 */
/* gcscope suspects: types that look like leaks, with the evidence. */
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "cmd.h"
#include "fields.h"
#include "stream.h"
#include "table.h"
#include "text.h"
#include "xalloc.h"

#define CENSUSES_MIN 8 /* fewer say nothing, see the manual page */

/* All of them, since --fail-on is about all; --limit cuts what is shown. */
static json_t *ask(const struct gcs_options *o, struct gcs_client *c)
{
	return gcs_client_ask(c, o->timeout_s, "suspects", "suspects");
}

static int status(const struct gcs_options *o, const json_t *a)
{
	const json_t *rows = json_object_get(a, "suspects");

	for (size_t i = 0; o->fail_on && i < json_array_size(rows); i++)
		if (gcs_confidence_rank(gcs_fields_str(json_array_get(rows, i), "confidence")) >=
		    o->fail_on)
			return GCS_EXIT_FOUND;
	return GCS_EXIT_DONE;
}

/* What of the objects that were looked at only waits for a full collection: ", 14 of 16 looked at are garbage". */
static char *garbage(const json_t *row)
{
	double n = gcs_fields_num(row, "evidence.garbage");
	char text[2][GCS_UNIT_MAX];

	if (n < 1)
		return xstrdup("");
	return xasprintf(", %s of %s looked at are garbage that no collection has met", gcs_unit_int(text[0], n),
			 gcs_unit_int(text[1], gcs_fields_num(row, "evidence.sampled")));
}

/* "40 censuses in 10m00s: least count 10 -> 870, 8 of 8 parts rising, 2 full collections" */
static char *evidence(const json_t *row)
{
	const char *by = gcs_fields_str(row, "evidence.by");
	bool bytes = by && !strcmp(by, "bytes");
	char n[6][GCS_UNIT_MAX], span[GCS_UNIT_MAX], *more = garbage(row), *text;
	double first = gcs_fields_num(row, "evidence.min_first"),
	       last = gcs_fields_num(row, "evidence.min_last");

	text = xasprintf(
		"%s censuses in %s: least %s %s -> %s, %s of %s parts rising, %s full collections%s",
		gcs_unit_int(n[0], gcs_fields_num(row, "evidence.samples")),
		gcs_unit_span(span, gcs_fields_num(row, "evidence.span_s")),
		bytes ? "size" : "count",
		bytes ? gcs_unit_bytes(n[1], first, " ") : gcs_unit_int(n[1], first),
		bytes ? gcs_unit_bytes(n[2], last, " ") : gcs_unit_int(n[2], last),
		gcs_unit_int(n[3], gcs_fields_num(row, "evidence.rising")),
		gcs_unit_int(n[4], gcs_fields_num(row, "evidence.blocks")),
		gcs_unit_int(n[5], gcs_fields_num(row, "evidence.full_collections")), more);
	free(more);
	return text;
}

static void add_row(struct gcs_table *t, const json_t *row)
{
	const char *confidence = gcs_fields_str(row, "confidence");
	char s[GCS_UNIT_MAX], *why = evidence(row);

	gcs_table_add_colored(t, confidence, gcs_out_confidence(confidence));
	gcs_table_add(t, gcs_fields_str(row, "type"));
	gcs_table_add(t, gcs_unit_int(s, gcs_fields_num(row, "count")));
	gcs_table_add(t, gcs_unit_rate(s, gcs_fields_num(row, "growth_per_s")));
	gcs_table_add(t, gcs_unit_bytes(s, gcs_fields_num(row, "bytes"), " "));
	gcs_table_add(t, gcs_unit_byte_rate(s, gcs_fields_num(row, "bytes_per_s"), " "));
	gcs_table_add(t, why);
	free(why);
}

static void print_rows(struct gcs_out *out, const json_t *rows)
{
	static const struct gcs_column col[] = {
		{"CONFIDENCE", false, false}, {"TYPE", false, false}, {"COUNT", true, false},
		{"GROWTH", true, false},      {"BYTES", true, false}, {"", true, false},
		{"EVIDENCE", false, true},
	};
	struct gcs_table t;

	gcs_table_init(&t, col, sizeof(col) / sizeof(col[0]));
	for (size_t i = 0; i < json_array_size(rows); i++)
		add_row(&t, json_array_get(rows, i));
	gcs_table_print(&t, out);
	gcs_table_fini(&t);
}

/* What keeps a suspect alive and where it was allocated, once an agent knows that. */
static void print_details(struct gcs_out *out, const json_t *rows)
{
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);
		char *type = gcs_text_safe(gcs_fields_str(row, "type"), GCS_ESCAPE_NOT_BACKSLASH);
		char *advice = gcs_text_safe(gcs_fields_str(row, "advice"), GCS_ESCAPE_NOT_BACKSLASH);

		if (gcs_fields_str(row, "advice"))
			gcs_out_printf(out, "%s: %s\n", type, advice);
		free(type);
		free(advice);
	}
}

static void show(struct gcs_out *out, const json_t *a)
{
	const json_t *rows = json_object_get(a, "suspects");
	double samples = gcs_fields_num(a, "samples");
	char n[GCS_UNIT_MAX];

	if (json_array_size(rows)) {
		print_rows(out, rows);
		print_details(out, rows);
	} else {
		gcs_out_printf(out, "no suspects after %s census%s\n", gcs_unit_int(n, samples),
			       samples == 1 ? "" : "es");
	}
	if (samples < CENSUSES_MIN)
		gcs_out_printf(out,
			       "It takes at least %d censuses to tell; the agent takes one every "
			       "GCSCOPE_INTERVAL.\n",
			       CENSUSES_MIN);
}

static int cmd_suspects(struct gcs_options *o)
{
	static const struct gcs_report report = {
		.ask = ask, .show = show, .status = status, .rows = "suspects"};

	return gcs_stream_report(o, &report);
}

const struct cmd_entry cmd_entry_suspects = {
	.name = "suspects",
	.usage = "[OPTIONS] [TARGET]",
	.summary = "Ranks the types that look like leaks, with the evidence.",
	.impact = "low: nothing beyond what the agent does anyway",
	.takes = CMD_TAKES_FAIL_ON,
	.timeout_s = 10,
	.exec = cmd_suspects,
};
