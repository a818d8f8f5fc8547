/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event as one line of text. The agent writes the same lines to GCSCOPE_LOG, so the rule is
 * short:
 *
 *   TIME PID EVENT ...
 *
 * Fields are parted by single spaces. TIME is RFC 3339 in UTC, in whole seconds for a log. A type's
 * name (and a "file:line") is escaped as one word: a space in it reads \x20. Sizes have a unit of
 * 1024 and no space before it; a rate has its sign.
 *
 *   suspect CONFIDENCE TYPE count=N +RATE/s bytes=SIZE (N censuses, N full collections)[ new]
 *   withdrawn CONFIDENCE TYPE count=N
 *   uncollectable gen=N count=N total=N
 *   gc_disabled
 *   gc_enabled
 *   frozen count=N
 *   pause gen=N DURATION at=FILE:LINE
 *   dropped count=N
 *   gc gen=N DURATION collected=N uncollectable=N thread=N at=FILE:LINE
 *   census objects=N bytes=SIZE held=DURATION exact|sliced TYPE=N TYPE=N ...
 *
 * A key that the event does not have reads "-", and `at` is left out. An event that is not known
 * here shows its plain members as key=value. Pure.
 */
#ifndef GCS_LOGLINE_H
#define GCS_LOGLINE_H

#include <jansson.h>
#include <stdbool.h>

/* The line, without a newline, in memory to be freed. millis keeps the fraction of TIME. */
char *gcs_logline_format(const json_t *event, bool millis);

#endif
