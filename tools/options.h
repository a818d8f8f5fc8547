/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options that commands share. Wrong usage ends here, with exit status 2, before any target has
 * been spoken to. One table for all commands; cmd_entry.takes says which of the special ones apply.
 */
#ifndef GCS_OPTIONS_H
#define GCS_OPTIONS_H

#include <stdbool.h>

struct cmd_entry;

enum gcs_sort { GCS_SORT_COUNT, GCS_SORT_BYTES, GCS_SORT_GROWTH };

struct gcs_options {
	const struct cmd_entry *cmd;
	bool json;
	bool no_color;
	bool cached;
	long limit;        /* 0: all */
	double interval_s; /* 0: not given */
	double duration_s; /* 0: not given */
	double timeout_s;
	const char *output; /* NULL: standard output */
	const char *topics; /* NULL: not given */
	enum gcs_sort sort;
	int fail_on;        /* rank of a confidence (1 watch .. 3 confirmed); 0: not given */
	int generation;     /* -1: not given */
	const char *target; /* NULL: the only one */
	int argc;           /* CMD_TAKES_ALL: the command line from the command's name on */
	char **argv;
};

/* Parses what follows the command's name. --help is answered here. */
void gcs_options_parse(struct gcs_options *o, const struct cmd_entry *cmd, int argc, char **argv);
void gcs_options_help(const struct cmd_entry *cmd);
/* "count", "bytes", "growth" */
const char *gcs_sort_name(enum gcs_sort sort);
/* "watch" 1, "likely" 2, "confirmed" 3; else 0 */
int gcs_confidence_rank(const char *name);
/* A decimal number within min..max, nothing else around it. 0 or -1. */
int gcs_parse_number(const char *s, double min, double max, double *out);

#endif
