/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel knows of a process, for targets that do not answer (stopped, hung, gone).
 */
#ifndef GCS_PROC_H
#define GCS_PROC_H

#include <stdbool.h>
#include <sys/types.h>

struct gcs_proc {
	char state; /* as in /proc/<pid>/stat: R, S, T, Z ... */
	pid_t ppid;
	uid_t uid;
	double uptime_s;
	double rss_bytes;
	unsigned long long start; /* field 22 */
};

/* 0, or -1 when there is no such process. */
int gcs_proc_read(pid_t pid, struct gcs_proc *out);
/* Alive, not a zombie, and the same process: its start time is `start` (0: any). */
bool gcs_proc_alive(pid_t pid, unsigned long long start);
/* A file of that name is mapped into it; false too when we may not look. */
bool gcs_proc_maps(pid_t pid, const char *name);
/* The command line joined by spaces, or "[comm]", in memory to be freed. Raw bytes, not escaped. */
char *gcs_proc_command(pid_t pid);

#endif
