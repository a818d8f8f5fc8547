/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGINT, SIGTERM and SIGHUP as something that poll() sees: a stream or a full-screen view ends in
 * its own loop, never inside a handler. Handlers do not restart system calls, so that a write to a
 * reader that has stopped reading ends too.
 */
#ifndef GCS_SIGNALS_H
#define GCS_SIGNALS_H

#include <stdbool.h>
#include <stdint.h>

/* Installs the handlers; returns a descriptor that is readable once a signal came. */
int gcs_signals_catch(void);
/* Also makes that descriptor readable on SIGWINCH. */
void gcs_signals_catch_winch(void);
/* A signal asked us to end. */
bool gcs_signals_pending(void);
/* Empties the descriptor; true when the terminal's size changed since. */
bool gcs_signals_winch(void);

/* CLOCK_MONOTONIC, and a time that many seconds from now. */
int64_t gcs_now_ns(void);
int64_t gcs_deadline(double seconds);
/* Milliseconds until then for poll(): rounded up, at least 0, at most max_ms. */
int gcs_deadline_ms(int64_t deadline_ns, int max_ms);

#endif
