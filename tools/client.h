/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to one agent. Two layers: what never blocks (connect, fill, take), for `ps` and
 * `watch`, which have many things to look at; and what waits with a deadline (open, ask, next), for
 * the others.
 *
 * The peer is not trusted: a line is at most GCS_LINE_MAX bytes and must be one JSON object with
 * the schema that was expected; anything else is one clear message. A target that is stopped or
 * gone is found out by looking at /proc once a second, so that nobody waits out a long timeout for
 * it.
 */
#ifndef GCS_CLIENT_H
#define GCS_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "target.h"

#define GCS_LINE_MAX (16u * 1024 * 1024)
#define GCS_VALUES_MAX (512u * 1024) /* in a line; the longest census that an agent sends has some 400,000 */

struct gcs_client {
	int fd;
	pid_t pid;
	unsigned long long start;
	char *buf;
	size_t len, cap;
	size_t taken;    /* bytes of buf already handed out */
	size_t scanned;  /* bytes of buf known to hold no newline */
	bool ended;      /* the peer closed */
	char error[320]; /* why something failed; one line, not escaped */
};

/* 0, or -errno (-EAGAIN: its queue is full, try again). Never blocks. */
int gcs_client_connect(struct gcs_client *c, const struct gcs_target *t);
void gcs_client_close(struct gcs_client *c);
/* Reads what has come. 0, or -1 when the connection failed (error is set); an end is no failure. */
int gcs_client_fill(struct gcs_client *c);
/*
 * The next object that is complete. 1 and *out (to be released), 0 when there is none yet, -1 when
 * what came is not our protocol (error is set).
 */
int gcs_client_take(struct gcs_client *c, json_t **out);
/* Sends a request, newline included. 0, or -1 (error is set). */
int gcs_client_send(struct gcs_client *c, const char *request);
/* Checks the agent's first line. 0, or -1 (error is set). */
int gcs_client_check_hello(struct gcs_client *c, const json_t *hello);
/*
 * Checks an answer: 0 when its schema is "gcscope.<name>/1"; -1 when it is another, or an error of
 * the agent's (error is set).
 */
int gcs_client_check(struct gcs_client *c, const json_t *answer, const char *name);
bool gcs_client_is(const json_t *answer, const char *name);

/* Connects and checks the hello. Dies. */
void gcs_client_open(struct gcs_client *c, const struct gcs_target *t, double timeout_s);
/* The next object, whatever it is. Dies. */
json_t *gcs_client_next(struct gcs_client *c, int64_t deadline_ns);
/* Sends a request and returns its answer, which has the schema "gcscope.<name>/1". Dies. */
json_t *gcs_client_ask(struct gcs_client *c, double timeout_s, const char *name, const char *fmt,
		       ...) __attribute__((format(printf, 4, 5)));
/* Dies because the peer closed: says whether the target ended. */
void gcs_client_die_ended(struct gcs_client *c) __attribute__((noreturn));
/* A value as the protocol wants it, in memory to be freed. */
char *gcs_client_encode(const char *value);

#endif
