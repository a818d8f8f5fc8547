/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forks, exits, and what becomes of the agent in them.
 *
 * os.fork() and everything on it runs our os.register_at_fork() hooks: the thread is stopped before (its
 * sockets travel), started again in the parent, and in the child a new agent begins. A fork that Python
 * does not announce (C code, uWSGI) meets only the pthread_atfork() handlers: the parent's thread goes
 * on; the child, in which it is unsafe to start anything there and then, begins at its first collection.
 */
#ifndef GCS_FORK_H
#define GCS_FORK_H

#include <stdbool.h>

/* Once per process image. */
void gcs_fork_watch(void);
/* With the GIL, at attach: the Python-level hooks. 0 or -1. */
int gcs_fork_install_gil(void);
/* Counts the forks that led to this process. */
unsigned gcs_fork_epoch(void);

/* Any hook, first of all: notices that this process is the child of a fork that ran no handler. No system call. */
void gcs_fork_meet_bare(void);
/* Second chance, at a collection: begins a child's agent, the thread anew, or the hand. With the GIL. */
void gcs_fork_late_start_gil(void);

/*
 * For a system call that only a process of one thread may make: ends the agent's thread for its duration. False: it
 * goes on, since the application has threads of its own, or is not there. Afterwards, when it was ended, step_back.
 * With or without the GIL; within a visit (visit.h).
 */
bool gcs_fork_step_aside(void);
void gcs_fork_step_back(void);

#endif
