/* SPDX-License-Identifier: Apache-2.0 */
/* gcscope census: objects by type, now. */
#include <math.h>

#include "client.h"
#include "cmd.h"
#include "fields.h"
#include "stream.h"
#include "table.h"
#include "text.h"

static json_t *ask(const struct gcs_options *o, struct gcs_client *c)
{
	return gcs_client_ask(c, o->timeout_s, "census", "census limit=%ld sort=%s cached=%d",
			      o->limit, gcs_sort_name(o->sort), o->cached);
}

/* The agent knows growth once it has seen some censuses; until then there is no column for it. */
static bool growth_known(const json_t *types)
{
	for (size_t i = 0; i < json_array_size(types); i++)
		if (isfinite(gcs_fields_num(json_array_get(types, i), "growth_per_s")))
			return true;
	return false;
}

static void print_types(struct gcs_out *out, const json_t *types)
{
	static const struct gcs_column col[] = {
		{"COUNT", true, false},
		{"BYTES", true, false},
		{"GROWTH", true, false},
		{"TYPE", false, true},
	};
	static const struct gcs_column col_without[] = {
		{"COUNT", true, false},
		{"BYTES", true, false},
		{"TYPE", false, true},
	};
	bool growth = growth_known(types);
	struct gcs_table t;

	gcs_table_init(&t, growth ? col : col_without, growth ? 4 : 3);
	for (size_t i = 0; i < json_array_size(types); i++) {
		const json_t *row = json_array_get(types, i);
		char s[GCS_UNIT_MAX];

		gcs_table_add(&t, gcs_unit_int(s, gcs_fields_num(row, "count")));
		gcs_table_add(&t, gcs_unit_bytes(s, gcs_fields_num(row, "bytes"), " "));
		if (growth)
			gcs_table_add(&t, gcs_unit_rate(s, gcs_fields_num(row, "growth_per_s")));
		gcs_table_add(&t, gcs_fields_str(row, "type"));
	}
	gcs_table_print(&t, out);
	gcs_table_fini(&t);
}

static void print_total(struct gcs_out *out, const json_t *a, size_t shown)
{
	char objects[GCS_UNIT_MAX], bytes[GCS_UNIT_MAX], age[GCS_UNIT_MAX];
	double ago = gcs_fields_num(a, "taken_s_ago");

	gcs_out_printf(out, "total: %s objects, %s; %zu types shown%s",
		       gcs_unit_int(objects, gcs_fields_num(a, "objects")),
		       gcs_unit_bytes(bytes, gcs_fields_num(a, "bytes"), " "), shown,
		       gcs_fields_true(a, "exact") ? ""
						   : "; taken in slices while the program ran");
	if (ago >= 1)
		gcs_out_printf(out, "; %s ago", gcs_unit_span(age, ago));
	gcs_out_printf(out, "\n");
}

static void print_left_out(struct gcs_out *out, const json_t *a)
{
	double dropped = gcs_fields_num(a, "dropped_types"), frozen = gcs_fields_num(a, "frozen");
	double unnamed = gcs_fields_num(a, "unnamed");
	char n[GCS_UNIT_MAX];

	if (frozen > 0)
		gcs_out_printf(out,
			       "frozen: %s objects that gc.freeze() set aside, counted above\n",
			       gcs_unit_int(n, frozen));
	if (unnamed > 0)
		gcs_out_printf(out,
			       "unnamed: %s objects of types that have no room, counted above; see GCSCOPE_MEMORY\n",
			       gcs_unit_int(n, unnamed));
	if (dropped > 0)
		gcs_out_printf(out, "dropped: the history of %s types, see GCSCOPE_MEMORY\n",
			       gcs_unit_int(n, dropped));
	gcs_out_printf(out, "Only objects that the collector tracks: not str, bytes, int, float, "
			    "nor dicts and tuples of such.\n");
}

static void show(struct gcs_out *out, const json_t *a)
{
	const json_t *types = json_object_get(a, "types");

	print_types(out, types);
	print_total(out, a, json_array_size(types));
	print_left_out(out, a);
}

static int cmd_census(struct gcs_options *o)
{
	static const struct gcs_report report = {.ask = ask, .show = show, .rows = "types"};

	return gcs_stream_report(o, &report);
}

const struct cmd_entry cmd_entry_census = {
	.name = "census",
	.usage = "[OPTIONS] [TARGET]",
	.summary = "Counts the objects by type, now.",
	.impact = "low: the heap is walked in slices of less than 1 ms, together 10 to 100 ms of "
		  "CPU time per million objects",
	.takes = CMD_TAKES_SORT | CMD_TAKES_CACHED,
	.timeout_s = 60,
	.exec = cmd_census,
};
