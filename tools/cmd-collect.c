/* SPDX-License-Identifier: Apache-2.0 */
/* gcscope collect: runs a collection and says what it freed. */
#include "client.h"
#include "cmd.h"
#include "fields.h"
#include "stream.h"
#include "text.h"

static json_t *ask(const struct gcs_options *o, struct gcs_client *c)
{
	return gcs_client_ask(c, o->timeout_s, "collect", "collect generation=%d",
			      o->generation < 0 ? 2 : o->generation);
}

static void show(struct gcs_out *out, const json_t *a)
{
	char gen[GCS_UNIT_MAX], freed[GCS_UNIT_MAX], stuck[GCS_UNIT_MAX], pause[GCS_UNIT_MAX];

	gcs_out_printf(out, "generation %s: %s objects collected, %s uncollectable, pause %s\n",
		       gcs_unit_int(gen, gcs_fields_num(a, "generation")),
		       gcs_unit_int(freed, gcs_fields_num(a, "collected")),
		       gcs_unit_int(stuck, gcs_fields_num(a, "uncollectable")),
		       gcs_unit_ns(pause, gcs_fields_num(a, "pause_ns"), " "));
}

static int cmd_collect(struct gcs_options *o)
{
	static const struct gcs_report report = {.ask = ask, .show = show};

	return gcs_stream_report(o, &report);
}

const struct cmd_entry cmd_entry_collect = {
	.name = "collect",
	.usage = "[OPTIONS] [TARGET] [GEN]",
	.summary = "Runs a collection and says what it freed.",
	.notes = "GEN is 0, 1 or 2 (default 2). It may stand before TARGET. A lone argument of\n"
		 "0, 1 or 2 is GEN: for the process with PID 1 write both.",
	.impact = "high: the program stands still as for its own gc.collect(), 0.2 to 1 s per "
		  "million objects for generation 2; finalizers and weak reference callbacks run",
	.takes = CMD_TAKES_GEN,
	.timeout_s = 60,
	.exec = cmd_collect,
};
