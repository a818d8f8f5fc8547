/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8, read strictly, and written: no overlong forms, no surrogates, nothing above U+10FFFF. Text from a target
 * may be anything. Pure.
 */
#ifndef GCS_UTF8_H
#define GCS_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GCS_UTF8_BAD UINT32_MAX
#define GCS_UTF8_MAX 6                      /* of gcs_utf8_encode() */
#define GCS_UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

struct gcs_utf8_range {
	uint32_t first;
	uint32_t last;
};

/*
 * Decodes one character of s[0..len), len at least 1. The number of its bytes, with *code set; or, with
 * *code GCS_UTF8_BAD, of the longest beginning of a character that is there (at least one byte), which one
 * U+FFFD replaces as in Unicode's recommendation and in Python's errors="replace".
 */
size_t gcs_utf8_decode(const char *s, size_t len, uint32_t *code);
/* The bytes of one character; what is none (a lone surrogate, above U+10FFFF) is written as "\udc80". Not terminated. */
size_t gcs_utf8_encode(uint32_t c, char out[GCS_UTF8_MAX]);
/* Is c in one of n ranges, which ascend? */
bool gcs_utf8_in(uint32_t c, const struct gcs_utf8_range *r, size_t n);

#endif
