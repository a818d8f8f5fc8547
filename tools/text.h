/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text for people: the one place that escapes, measures and writes units.
 *
 * Whatever came from a target (type names, command lines, file names) is hostile until it has been
 * through gcs_text_escape(): afterwards it holds neither control characters nor anything that
 * moves, hides or reorders what a terminal shows. Widths are columns, by a table of our own, so
 * that they do not depend on the locale. Pure: no I/O, no locale.
 */
#ifndef GCS_TEXT_H
#define GCS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* What gcs_text_escape() does besides. */
enum gcs_text_flags {
	GCS_TEXT_BACKSLASH = 1 << 0, /* leave '\' as it is: the result is read, never parsed */
	GCS_TEXT_WORD = 1 << 1,      /* escape spaces too: the result is one word of a line */
	GCS_TEXT_ASCII = 1 << 2,     /* escape all that is not ASCII */
};

/*
 * Writes len bytes of s, escaped and NUL-ended, as much as fits without cutting a character or an
 * escape. Returns the length of the whole result, as snprintf. '\' is doubled, so that the result
 * is unambiguous; controls are \n, \t, \xNN; hidden and bidirectional characters \uNNNN or
 * \UNNNNNNNN; bytes that are not UTF-8 \xNN.
 */
size_t gcs_text_escape(char *out, size_t size, const char *s, size_t len, unsigned flags);
/* The same in memory to be freed; NULL becomes "-". */
char *gcs_text_safe(const char *s, unsigned flags);
/*
 * Makes s UTF-8 in memory to be freed: each byte that is not becomes U+FFFD. Nothing else changes.
 */
char *gcs_text_utf8(const char *s, size_t len);

/* Shortens a command line in place: of words that are absolute paths the last part stays. */
void gcs_text_basenames(char *command);

/* Columns that s takes on a terminal. */
size_t gcs_text_width(const char *s);
/* Bytes of the longest prefix of s that takes at most `columns`. */
size_t gcs_text_fit(const char *s, size_t columns);

/* Units. Each writes at most GCS_UNIT_MAX bytes and returns out; NaN becomes "-". */
#define GCS_UNIT_MAX 32
char *gcs_text_int(char *out, double n);                    /* 12345 */
char *gcs_text_plain(char *out, double n, int digits);      /* 10, 0.25: so many digits */
char *gcs_text_count(char *out, double n);                  /* 900, 3.1k, 1.2M */
char *gcs_text_bytes(char *out, double n, const char *sep); /* 1.2 MiB with sep " " */
char *gcs_text_ns(char *out, double ns, const char *sep);   /* 340 ms */
char *gcs_text_span(char *out, double seconds);             /* 3m12s */
char *gcs_text_rate(char *out, double per_s);               /* +9.8/s */
char *gcs_text_byte_rate(char *out, double per_s);          /* +1.2 MiB/s */

#endif
