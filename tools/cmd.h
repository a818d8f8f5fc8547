/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command: one file cmd-<name>.c that exports one const struct cmd_entry. gcscope.c lists them,
 * options.c parses what they share, nothing else knows of them.
 */
#ifndef GCS_CMD_H
#define GCS_CMD_H

#include "options.h"

/* What a command takes besides the common options. */
enum cmd_takes {
	CMD_TAKES_TOPICS = 1 << 0,  /* --topics */
	CMD_TAKES_SORT = 1 << 1,    /* --sort */
	CMD_TAKES_FAIL_ON = 1 << 2, /* --fail-on */
	CMD_TAKES_CACHED = 1 << 3,  /* --cached */
	CMD_TAKES_GEN = 1 << 4,     /* -g/--generation, and a second argument */
	CMD_TAKES_ALL = 1 << 5,     /* exec() parses the command line itself */
};

struct cmd_entry {
	const char *name;
	const char *usage;   /* what follows the name */
	const char *summary; /* one line */
	const char *notes;   /* more lines for --help, or NULL */
	const char *impact;  /* what it costs the target */
	unsigned takes;
	double timeout_s; /* the default of --timeout */
	int (*exec)(struct gcs_options *o);
};

extern const struct cmd_entry cmd_entry_run, cmd_entry_ps, cmd_entry_watch, cmd_entry_stat,
	cmd_entry_census, cmd_entry_suspects, cmd_entry_log, cmd_entry_events, cmd_entry_collect, cmd_entry_cycles,
	cmd_entry_garbage;

#endif
