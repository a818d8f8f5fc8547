/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GCSCOPE_LOG: the agent's own log, to a file, the target's stderr, or syslog. One write() per line. A file that
 * was moved or removed is opened anew before the next line. A full disk loses lines, counted, and never
 * more than that. Agent's thread, in its own descriptor table.
 */
#ifndef GCS_LOGFILE_H
#define GCS_LOGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void gcs_log_keep_stderr(void); /* while the thread makes its table: saves descriptor 2 if it is the log */
void gcs_log_open(void);        /* says the settings' complaint, and what is disabled, once */
void gcs_log_close(void);
bool gcs_log_wanted(void);
void gcs_log_write(const char *line, size_t n); /* a whole line with its newline */
/* A text line: time, pid, then this. Control characters are escaped. */
void gcs_log_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
uint64_t gcs_log_lost(void);

#endif
