/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log event as one line of text: what the agent writes to GCSCOPE_LOG and what `gcscope log` prints are
 * the same line, since this is linked into both. Pure: no memory, no locale.
 *
 *   TIME PID EVENT ...
 *
 * Fields are parted by single spaces. TIME is RFC 3339 in UTC, in whole seconds. A type's name (and a
 * "file:line") is escaped as one word: a space in it reads \x20. Sizes have a unit of 1024 and no space
 * before it; a rate has its sign, and is that of the figure before it.
 *
 *   suspect CONFIDENCE TYPE count=N +RATE/s bytes=SIZE +SIZE/s (N censuses, N full collections)[ new]
 *   withdrawn CONFIDENCE TYPE count=N
 *   uncollectable TYPE count=N total=N gen=N at=FILE:LINE
 *   gc_disabled
 *   gc_enabled
 *   frozen count=N
 *   pause gen=N DURATION at=FILE:LINE
 *   settings MESSAGE
 *   disabled FEATURE REASON
 *
 * What the event does not have reads "-", and `at` is left out.
 */
#ifndef GCS_LOGTEXT_H
#define GCS_LOGTEXT_H

#include <stdbool.h>
#include <stddef.h>

/* The members that EVENT does not show need not be set. No string: NULL. No number: NaN. */
struct gcs_logtext {
	const char *event;
	const char *confidence, *type, *at, *message, *feature, *reason;
	double count, growth_per_s, bytes, bytes_per_s, samples, full_collections;
	double generation, total, pause_ns;
	bool is_new;
};

/*
 * The line from EVENT on, without a newline, NUL-ended, as much as fits. Returns the length of the whole
 * result, as snprintf; 0 for an event that is not in the table above.
 */
size_t gcs_logtext_format(char *out, size_t size, const struct gcs_logtext *e);
/* Cuts "2026-11-20T07:30:01.123Z" to whole seconds, in place. Anything else stays as it is. */
void gcs_logtext_whole_seconds(char *time);

#endif
