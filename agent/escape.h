/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place that makes foreign text harmless. Whatever came from a target (type names, command lines,
 * file names) is hostile until it has been through here: afterwards it holds neither control characters nor
 * anything that moves, hides or reorders what a terminal shows, and a line stays a line. Pure: no memory, no
 * locale.
 */
#ifndef GCS_ESCAPE_H
#define GCS_ESCAPE_H

#include <stddef.h>

enum gcs_escape_flags {
	GCS_ESCAPE_NOT_BACKSLASH = 1 << 0, /* leave '\' as it is: the result is read, never parsed */
	GCS_ESCAPE_SPACE = 1 << 1,         /* spaces too: the result is one word of a line */
	GCS_ESCAPE_NOT_ASCII = 1 << 2,     /* all that is not ASCII too */
	GCS_ESCAPE_REPLACE = 1 << 3,       /* what is not UTF-8 becomes U+FFFD, as in JSON */
};

/*
 * Writes len bytes of s, escaped and NUL-ended, as much as fits without cutting a character or an
 * escape. Returns the length of the whole result, as snprintf. '\' is doubled, so that the result
 * is unambiguous; controls are \n, \t, \xNN; hidden and bidirectional characters \uNNNN or
 * \UNNNNNNNN; bytes that are not UTF-8 \xNN.
 */
size_t gcs_escape_text(char *out, size_t size, const char *s, size_t len, unsigned flags);

#endif
