/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON, written straight into a buffer; commas and nesting are kept here. `key` is NULL inside an array.
 * Strings may hold anything: control characters are escaped, bytes that are not UTF-8 become U+FFFD.
 * Numbers never depend on the locale. Output is one line.
 */
#ifndef GCS_JSON_H
#define GCS_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

struct gcs_json {
	struct gcs_buf *out;
	bool comma; /* the next member needs one before it */
};

void gcs_json_init(struct gcs_json *j, struct gcs_buf *out);
void gcs_json_object(struct gcs_json *j, const char *key);
void gcs_json_object_end(struct gcs_json *j);
void gcs_json_array(struct gcs_json *j, const char *key);
void gcs_json_array_end(struct gcs_json *j);
void gcs_json_str(struct gcs_json *j, const char *key, const char *value); /* NULL writes null */
void gcs_json_u64(struct gcs_json *j, const char *key, uint64_t value);
void gcs_json_i64(struct gcs_json *j, const char *key, int64_t value);
/* Six decimals, or as many as make six significant digits; always a point or an exponent. NaN, inf: null. */
void gcs_json_double(struct gcs_json *j, const char *key, double value);
/*
 * To six decimals, nine below 0.1: written as JSON and read again it is the same number, so that what is
 * made of it here and there is the same too.
 */
double gcs_json_rounded(double value);
void gcs_json_bool(struct gcs_json *j, const char *key, bool value);
void gcs_json_null(struct gcs_json *j, const char *key);
/* RFC 3339 with milliseconds, UTC, from CLOCK_REALTIME nanoseconds; no libc time zone code. */
void gcs_json_time(struct gcs_json *j, const char *key, int64_t realtime_ns);
void gcs_format_time(char out[32], int64_t realtime_ns);

#endif
