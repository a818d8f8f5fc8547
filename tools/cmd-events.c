/* SPDX-License-Identifier: Apache-2.0 */
/* gcscope events: the live stream, a line each. */
#include "cmd.h"
#include "stream.h"

static int cmd_events(struct gcs_options *o)
{
	const char *topics = o->topics ? o->topics : "gc,census,suspects,cycles";

	return gcs_stream_run(o, topics, "events", true);
}

const struct cmd_entry cmd_entry_events = {
	.name = "events",
	.usage = "[OPTIONS] [TARGET]",
	.summary = "Shows collections, censuses and suspects as they come, a line each.",
	.impact = "low: a reader that is too slow loses events, and is told how many",
	.takes = CMD_TAKES_TOPICS,
	.timeout_s = 10,
	.exec = cmd_events,
};
