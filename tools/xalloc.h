/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends of the command line: memory that never fails, and the one way to give up. Only tools/ may
 * use these; the agent lives in somebody else's process and may not exit.
 */
#ifndef GCS_XALLOC_H
#define GCS_XALLOC_H

#include <stddef.h>

/* Exit statuses, as the manual page promises them. */
enum gcs_exit {
	GCS_EXIT_DONE = 0,
	GCS_EXIT_FAILED = 1,
	GCS_EXIT_USAGE = 2,
	GCS_EXIT_FOUND = 3, /* done, and --fail-on found what it names */
};

/* One line on standard error ("gcscope: ..."), made harmless for a terminal; then exit(1). */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* The same with exit(2): the command line itself is wrong. */
void die_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* The line alone. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Called before any of the above prints: a full-screen view gives the terminal back. NULL: none. */
void die_hook_set(void (*hook)(void));

void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
