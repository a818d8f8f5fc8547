/* SPDX-License-Identifier: Apache-2.0 */
/* gcscope garbage: what is in gc.garbage, uncollectable objects first. */
#include <stdlib.h>

#include "client.h"
#include "cmd.h"
#include "fields.h"
#include "stream.h"
#include "table.h"
#include "text.h"

static json_t *ask(const struct gcs_options *o, struct gcs_client *c)
{
	return gcs_client_ask(c, o->timeout_s, "garbage", "garbage");
}

static void print_types(struct gcs_out *out, const json_t *rows)
{
	static const struct gcs_column col[] = {{"TYPE", false, true}, {"COUNT", true, false}};
	struct gcs_table t;
	char n[GCS_UNIT_MAX];

	gcs_table_init(&t, col, sizeof(col) / sizeof(col[0]));
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);

		gcs_table_add(&t, gcs_fields_str(row, "type"));
		gcs_table_add(&t, gcs_unit_int(n, gcs_fields_num(row, "count")));
	}
	gcs_table_print(&t, out);
	gcs_table_fini(&t);
}

static void print_objects(struct gcs_out *out, const json_t *rows)
{
	static const struct gcs_column col[] = {
		{"ADDRESS", false, false}, {"WHY", false, false}, {"TYPE", false, true}};
	struct gcs_table t;

	gcs_table_init(&t, col, sizeof(col) / sizeof(col[0]));
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);

		gcs_table_add(&t, gcs_fields_str(row, "address"));
		gcs_table_add(&t, gcs_fields_true(row, "uncollectable") ? "uncollectable"
									: "put there");
		gcs_table_add(&t, gcs_fields_str(row, "type"));
	}
	gcs_out_printf(out, "\n");
	gcs_table_print(&t, out);
	gcs_table_fini(&t);
}

static void show(struct gcs_out *out, const json_t *a)
{
	char n[2][GCS_UNIT_MAX];

	if (gcs_fields_num(a, "length") == 0) {
		gcs_out_printf(out, "gc.garbage is empty\n");
		return;
	}
	gcs_out_printf(out,
		       "%s in gc.garbage, %s of them uncollectable (a legacy tp_del); the others were put "
		       "there by the application or its gc.DEBUG_SAVEALL\n",
		       gcs_unit_int(n[0], gcs_fields_num(a, "length")),
		       gcs_unit_int(n[1], gcs_fields_num(a, "uncollectable")));
	print_types(out, json_object_get(a, "types"));
	print_objects(out, json_object_get(a, "objects"));
}

static int cmd_garbage(struct gcs_options *o)
{
	static const struct gcs_report report = {.ask = ask, .show = show, .rows = "objects"};

	return gcs_stream_report(o, &report);
}

const struct cmd_entry cmd_entry_garbage = {
	.name = "garbage",
	.usage = "[OPTIONS] [TARGET]",
	.summary = "Shows what is in gc.garbage, uncollectable objects first.",
	.impact = "low: one look at the list",
	.timeout_s = 10,
	.exec = cmd_garbage,
};
