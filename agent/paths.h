/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a process's socket is: the agent makes it there, the command line looks for it there. Linked
 * into both. Pure libc, no allocation, no locale.
 */
#ifndef GCS_PATHS_H
#define GCS_PATHS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Writes the socket directory's name for the user uid, given the values of GCSCOPE_SOCKET_DIR and
 * XDG_RUNTIME_DIR (NULL or "" when unset). 0, or -ENAMETOOLONG.
 */
int gcs_socket_dir(char *out, size_t size, const char *socket_dir, const char *runtime_dir, uid_t uid);
/*
 * Makes the directory (0700, its parents are not made) or verifies the one that is there: no link, owned by uid,
 * not writable by others (it is never changed: it may be one that has other uses; the sockets in it are 0600).
 * 0, or -errno (-EPERM: there, but not fit).
 */
int gcs_socket_dir_make(const char *dir, uid_t uid);
/* Field 22 of /proc/<pid>/stat, or 0 when there is no such process. */
unsigned long long gcs_start_time(pid_t pid);
/*
 * By all that /proc says here, the process that began then is no more. A zombie counts: it may stay one for
 * long. No proof: its main thread alone may have ended, and another container has PIDs of its own.
 */
bool gcs_process_ended(pid_t pid, unsigned long long start);
/* "<dir>/<pid>-<starttime>.sock". 0, or -ENAMETOOLONG when it does not fit sun_path. */
int gcs_socket_path(char *out, size_t size, const char *dir, pid_t pid, unsigned long long start);
/* Parses a file name of that form. 0, or -1. */
int gcs_socket_name_parse(const char *name, pid_t *pid, unsigned long long *start);

#endif
