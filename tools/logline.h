/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event as one line of text. Those of the log are written by the agent's logtext.h, which has the rule;
 * by the same rule, and with milliseconds in TIME, those that only a stream has:
 *
 *   dropped count=N
 *   gc gen=N DURATION collected=N uncollectable=N thread=N at=FILE:LINE
 *   census objects=N bytes=SIZE held=DURATION exact|sliced TYPE=N TYPE=N ...
 *   cycle count=N objects=N bytes=SIZE CYCLE[ new]
 *
 * CYCLE has spaces; figures that are estimates begin with "~". An event that is not known here
 * shows its plain members as key=value. Pure.
 */
#ifndef GCS_LOGLINE_H
#define GCS_LOGLINE_H

#include <jansson.h>
#include <stdbool.h>

/* The line, without a newline, in memory to be freed. millis keeps the fraction of TIME. */
char *gcs_logline_format(const json_t *event, bool millis);

#endif
