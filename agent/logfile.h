/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where GCSCOPE_LOG leads: a file, the target's stderr, or syslog. One system call per line. A file that
 * was moved or removed is opened anew before the next line. A full disk loses lines, counted, and never
 * more than that. What stands in a line is events.c's. Agent's thread, in its own descriptor table.
 */
#ifndef GCS_LOGFILE_H
#define GCS_LOGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Once, in the constructor: a relative name counts from here, wherever the program goes. */
void gcs_log_begin(void);
void gcs_log_keep_stderr(void); /* while the thread makes its table: saves descriptor 2 if it is the log */
void gcs_log_close(void);
bool gcs_log_wanted(void);
/* A line: its head (time and PID; syslog writes its own instead), then n bytes of text without a newline. */
void gcs_log_write(const char *head, const char *text, size_t n);
void gcs_log_lose(void); /* a line that there was no memory for */
uint64_t gcs_log_lost(void);

#endif
