/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Unix socket and its clients. One thread, non-blocking, a bounded queue per client.
 *
 * The queueing rule: the agent never waits for a client. Answers and events are appended to the client's
 * queue and sent as far as its socket takes them. A client with GCS_QUEUE_EVENTS unsent loses events, and is
 * told how many once it has caught up; with GCS_QUEUE_MAX unsent it is dropped. Where memory does not suffice
 * for an event it is lost likewise, for an answer an error takes its place: no line is sent in part. A client
 * that waits for an answer (a census, a collection) is read no further until it has it, so answers keep the
 * order of the requests and input is bounded by the socket's buffer.
 */
#ifndef GCS_SERVER_H
#define GCS_SERVER_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "gcscope/protocol.h"

enum gcs_wait { GCS_WAIT_NONE, GCS_WAIT_CENSUS, GCS_WAIT_COLLECT };

struct gcs_client {
	int fd; /* -1: free */
	bool input_over;  /* it closed its writing half */
	bool doomed;      /* closed after the next attempt to send its queue */
	bool again;       /* its first request could not be answered yet */
	unsigned topics;
	uint64_t lost;    /* events it was not sent and not yet told of */
	enum gcs_wait wait;
	int64_t asked_ns; /* what it waits for must be newer */
	unsigned long limit, sort, generation; /* of what it waits for */
	size_t in_len;
	char in[GCS_REQUEST_MAX + 1];
	struct gcs_buf out;
	size_t sent; /* bytes of out */
};

/* GCSCOPE_SOCKET_DIR and XDG_RUNTIME_DIR (NULL when unset): copied. */
void gcs_server_settings(const char *socket_dir, const char *runtime_dir);
/* Makes the directory and the socket. 0 or -errno (then the agent works on without). */
int gcs_server_open(void);
/* Closes everything; removes the socket's name. */
void gcs_server_close(void);
/* The name alone, when no thread is there whose descriptors these are. */
void gcs_server_remove_name(void);
/* In a forked child: it is the parent's. */
void gcs_server_forget(void);
/* Removes sockets of processes that ended without doing so. */
void gcs_server_sweep(void);

/* The descriptors for poll(), at most GCS_CLIENTS_MAX + 1. */
size_t gcs_server_poll(struct pollfd *p);
void gcs_server_serve(const struct pollfd *p, size_t n);

/* Handover: the descriptors in a fixed order, and new numbers for them in that order. */
int gcs_server_descriptors(int *fds);
int gcs_server_adopt(const int *fds, int n); /* 0, or -1 when they do not fit what is known */

bool gcs_server_wants(unsigned topic);
/* NULL: there was no memory for the line. */
void gcs_server_publish(unsigned topic, const char *line, size_t n);
/* n events of the topic were lost before anybody was sent them. */
void gcs_server_lost(unsigned topic, uint64_t n);
size_t gcs_server_clients(void);
bool gcs_server_postponed(void); /* a request is to be tried again, soon */
uint64_t gcs_server_dropped(void); /* events that any client lost */
const char *gcs_server_path(void); /* "" when there is none */

/* The first client that waits for this, from *i on; NULL when there is none. */
struct gcs_client *gcs_server_waiting(enum gcs_wait what, size_t *i);
/* The answer that a client waited for has been appended to its queue. */
void gcs_server_answered(struct gcs_client *c);

#endif
