/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching to the interpreter: once per process image, as soon as it is initialised, before the
 * application's first line when possible.
 *
 * The agent's thread waits for Py_IsInitialized(), takes the GIL like any thread, and attaches. Meanwhile the main
 * thread stands still in a pending call, so that it cannot end the interpreter under us; one that does
 * not get to it for a while is blocked, and will not either. The work itself is not done in the pending call:
 * that may come between any two bytecodes, those of importlib's locks among them, and an import there breaks
 * the one under way (cpython#91351).
 */
#ifndef GCS_ATTACH_H
#define GCS_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

/* Finds the C API behind handle. 0, or -1: no CPython from 3.8 on. */
int gcs_attach_load(void *handle);
/* Agent's thread: returns when attached (true), or when it cannot be or must stop (false). */
bool gcs_attach_wait(void);
/* The main thread may go on: called when the socket is there, so that the program's first line finds it. */
void gcs_attach_let_go(void);
bool gcs_attached(void);
void gcs_attach_give_up(void); /* agent's thread: there will be none, unless there is one already */
bool gcs_attach_failed(void); /* for good: gcs_disable() says why */
bool gcs_attach_begun(void);  /* or done: not to be begun anew in a forked child */
uint64_t gcs_attach_ns(void); /* how long that took, with the GIL held */

/* Interpreter functions kept from attach; with the GIL, none allocates a GC object. */
bool gcs_attach_gc_enabled_gil(void);
long gcs_attach_blocks_gil(void); /* sys.getallocatedblocks(); -1 when it is not there, or not safe */

/*
 * gc.collect(generation) on the main thread, where the application expects finalizers to run; on the hand
 * (hand.h) when the main one does not get to it for a while. Agent's thread: start, then poll.
 */
struct gcs_collect_result {
	int generation;
	int64_t begun_ns; /* what was asked for since then is for the next one */
	long collected;
	unsigned long long uncollectable;
	unsigned long long pause_ns;
	const char *refused; /* why it could not be, or NULL */
};
bool gcs_collect_start(int generation); /* false: one is under way */
bool gcs_collect_poll(struct gcs_collect_result *out); /* true when finished */
bool gcs_collect_pending(void);
void gcs_collect_forget(void); /* in a forked child */

#endif
