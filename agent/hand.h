/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second thread, that does what may run the application's code: a collection that a user asked for
 * while the main thread is blocked in C. Finalizers close descriptors, and the agent's thread has a table of its
 * own, where their numbers mean something else; this one shares the application's, since an application's
 * thread began it. It sleeps otherwise, blocks every signal, and is gone during a fork like the other,
 * but for a finalizer that does not come to an end, which may wait for a lock that the forking thread holds: then it
 * stays, as an application's thread that collects would.
 */
#ifndef GCS_HAND_H
#define GCS_HAND_H

#include <stdbool.h>

/* On an application's thread. Nothing happens when it is there or cannot be had. */
void gcs_hand_start(void);
/*
 * Ends it and waits; not with the GIL when it is busy, since its work needs that. One that does not get done within
 * moments goes on, and is there afterwards; for_good: it is left to itself, and ends with what it does.
 */
void gcs_hand_stop(bool for_good);
void gcs_hand_forget(void); /* in a forked child */
bool gcs_hand_there(void);
bool gcs_hand_busy(void); /* it has, or waits for, the GIL */
/* Agent's thread: has it done. The job itself tells when it is finished. False: a fork is under way, try again. */
bool gcs_hand_do(void (*job)(void));

#endif
