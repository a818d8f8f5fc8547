/* SPDX-License-Identifier: Apache-2.0 */
/* gcscope events: the live stream, a line each. */
#include "cmd.h"
#include "stream.h"

static int cmd_events(struct gcs_options *o)
{
	return gcs_stream_run(o, o->topics ? o->topics : "gc,census,suspects,cycles", "events", true);
}

const struct cmd_entry cmd_entry_events = {
	.name = "events",
	.usage = "[OPTIONS] [TARGET]",
	.summary = "Shows collections, censuses and suspects as they come, a line each.",
	.impact = "low: events that the reader is too slow for are lost and counted, never waited for",
	.takes = CMD_TAKES_TOPICS,
	.timeout_s = 10,
	.exec = cmd_events,
};
