/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls for Python's main thread. Python's queue of them has 32 places for everybody, and nothing is taken from it
 * while the main thread is blocked in C: so each of ours stands there at most once.
 */
#ifndef GCS_PENDING_H
#define GCS_PENDING_H

struct gcs_pending { /* static: there for as long as the process is */
	int (*call)(void *);
	unsigned queued; /* atomic: the fork epoch in which it was, and one; a child adds its own */
};

/* Any thread. 0: it is there, or was there already; -1: there is no room, or in 3.8 the program has begun. */
int gcs_pending_add(struct gcs_pending *p);

#endif
