/* SPDX-License-Identifier: Apache-2.0 */
/* gcscope log: the periodic log of suspects, as the agent's own GCSCOPE_LOG writes it. */
#include "cmd.h"
#include "stream.h"

static int cmd_log(struct gcs_options *o)
{
	return gcs_stream_run(o, "log", "log", false);
}

const struct cmd_entry cmd_entry_log = {
	.name = "log",
	.usage = "[OPTIONS] [TARGET]",
	.summary = "Logs the leak suspects periodically, and what changes.",
	.notes = "A line per likely or confirmed suspect with every census of the agent, and one\n"
		 "for each change: a suspect that is new or gone, uncollectable objects, gc disabled\n"
		 "or frozen, a long pause.",
	.impact = "low: nothing beyond what the agent does anyway",
	.takes = CMD_TAKES_FAIL_ON,
	.timeout_s = 10,
	.exec = cmd_log,
};
