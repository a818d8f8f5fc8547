/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which process a command is about. Agents are found by their sockets in the socket directory; a
 * directory or socket that somebody else could have put there is passed over. With
 * GCSCOPE_SOCKET_DIR unset all directories are searched that the agent of a process of this user
 * may have chosen, since that process may have had another XDG_RUNTIME_DIR than this one. Root sees
 * the agents of all users.
 */
#ifndef GCS_TARGET_H
#define GCS_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define GCS_PATH_MAX 4096

struct gcs_target {
	pid_t pid;
	unsigned long long start;
	char *path;    /* the socket */
	char *command; /* raw */
	bool gone;     /* the process that made the socket no longer exists */
};

struct gcs_targets {
	struct gcs_target *t; /* by pid */
	size_t n;
	char looked_in[512]; /* for messages */
};

void gcs_targets_scan(struct gcs_targets *out);
void gcs_targets_free(struct gcs_targets *ts);
/*
 * The one that spec (a PID, a part of a command line, NULL) means, in memory that lives until exit.
 * Dies with a line that says what to do.
 */
const struct gcs_target *gcs_target_find(const char *spec);
/* The socket is younger than any gap between an agent's bind() and listen(), and its process lives. */
bool gcs_target_is_starting(const struct gcs_target *t);
/*
 * Takes away a socket that refused a connection, if it is ours and nobody can be about to listen on
 * it.
 */
void gcs_target_remove_stale(const struct gcs_target *t);

#endif
