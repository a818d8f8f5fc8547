/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request line, taken apart in place: `VERB key=value ...`. Everything here comes from outside and
 * is not to be trusted: tests/fuzz feeds it arbitrary bytes. Knows neither sockets nor verbs.
 */
#ifndef GCS_REQUEST_H
#define GCS_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "gcscope/protocol.h"

struct gcs_request {
	char *verb;
	size_t npairs;
	struct {
		char *key;
		char *value; /* %XX decoded; may not hold NUL (that is an error) */
	} pair[GCS_REQUEST_PAIRS];
};

/*
 * Parses the line (no newline; a trailing '\r' is dropped) of len bytes at line, which must be writable
 * and have room for a NUL at line[len]. 0, or -1 with *why set to a short static reason.
 * Verbs and keys: lower-case letters, digits, '_'. A key given twice is an error.
 */
int gcs_request_parse(struct gcs_request *r, char *line, size_t len, const char **why);

const char *gcs_request_get(const struct gcs_request *r, const char *key); /* NULL when absent */
/* Absent keeps *out. 0, or -1 when the value is not a decimal number within min..max. */
int gcs_request_uint(const struct gcs_request *r, const char *key, unsigned long min, unsigned long max,
		     unsigned long *out);
/* The first key of r that is not in the NULL-ended list, or NULL. */
const char *gcs_request_unknown_key(const struct gcs_request *r, const char *const *known);
/* Comma list of topics to GCS_TOPIC_ bits; 0 when empty or one is unknown. */
unsigned gcs_request_topics(const char *list);

#endif
