/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent answers: one function per verb, each writing the object that the contract gives.
 * Agent's thread, without the GIL but for a moment in `stat`.
 */
#ifndef GCS_ANSWERS_H
#define GCS_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>

#include "attach.h"
#include "json.h"

struct gcs_client;

enum gcs_sort { GCS_SORT_COUNT, GCS_SORT_BYTES, GCS_SORT_GROWTH };

struct gcs_request;

/* The verbs that are not in answers.c: those of answers-stat.c and answers-cycles.c. */
const char *gcs_answer_info(struct gcs_client *c, const struct gcs_request *r);
const char *gcs_answer_stat(struct gcs_client *c, const struct gcs_request *r);
const char *gcs_answer_cycles(struct gcs_client *c, const struct gcs_request *r);
const char *gcs_answer_garbage(struct gcs_client *c, const struct gcs_request *r);

/* The members of a cycle's row. */
struct gcs_cycle;
void gcs_answer_cycle(struct gcs_json *j, const struct gcs_cycle *c);

/* Opens an answer with the keys that each has; ends it with its newline. */
void gcs_answer_open(struct gcs_json *j, struct gcs_buf *out, const char *schema);
void gcs_answer_close(struct gcs_json *j);
const char *gcs_answer_off(const char *feature); /* why it is disabled, or NULL */
void gcs_answer_hello(struct gcs_buf *out);
void gcs_answer_error(struct gcs_buf *out, const char *code, const char *message);
void gcs_answer_no_memory(struct gcs_buf *out);
/* What a verb returns when a fork keeps it from the GIL: it is asked again. */
extern const char gcs_answer_later[];
/*
 * Answers the request of len bytes at line, or makes the client wait. line is taken apart. False: not now, ask
 * the same again.
 */
bool gcs_answer(struct gcs_client *c, char *line, size_t len);
/* The answers that were waited for. */
void gcs_answer_census(struct gcs_client *c);
void gcs_answer_collect(struct gcs_client *c, const struct gcs_collect_result *r);

/* "types":[...] of the last census; limit 0 is all. */
void gcs_answer_types(struct gcs_json *j, enum gcs_sort sort, size_t limit);

#endif
