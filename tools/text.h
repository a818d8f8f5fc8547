/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text for people: what the agent's escape.h and unit.h do not need to do. It brings them along, so that a
 * command includes this one. Widths are columns, by a table of our own, so that they do not depend on the
 * locale. Pure: no I/O, no locale.
 */
#ifndef GCS_TEXT_H
#define GCS_TEXT_H

#include <stddef.h>

#include "escape.h"
#include "unit.h"

/* s escaped by gcs_escape_text(), in memory to be freed; NULL becomes "-". */
char *gcs_text_safe(const char *s, unsigned flags);
/*
 * Makes s UTF-8 in memory to be freed: what is not becomes U+FFFD. Nothing else changes.
 */
char *gcs_text_utf8(const char *s, size_t len);

/* Shortens a command line in place: of words that are absolute paths the last part stays. */
void gcs_text_basenames(char *command);

/* Columns that s takes on a terminal. */
size_t gcs_text_width(const char *s);
/* Bytes of the longest prefix of s that takes at most `columns`. */
size_t gcs_text_fit(const char *s, size_t columns);

/* 10, 0.25: so many digits, in at most GCS_UNIT_MAX bytes. NaN becomes "-". Returns out. */
char *gcs_text_plain(char *out, double n, int digits);

#endif
