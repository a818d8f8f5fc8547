/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading an agent's answer. The peer may be anything: a key that is missing or of another type
 * reads as absent (NaN, NULL, false), never as an error. A path is keys joined by dots.
 */
#ifndef GCS_FIELDS_H
#define GCS_FIELDS_H

#include <jansson.h>
#include <stdbool.h>

const json_t *gcs_fields_at(const json_t *o, const char *path);
double gcs_fields_num(const json_t *o, const char *path);
const char *gcs_fields_str(const json_t *o, const char *path);
bool gcs_fields_true(const json_t *o, const char *path);
/* The array at path, cut to its first `limit` members (0: all); NULL when there is none. */
json_t *gcs_fields_limit(json_t *o, const char *path, long limit);

#endif
