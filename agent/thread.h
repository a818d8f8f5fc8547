/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's thread: how it comes, goes, and keeps its sockets over a fork.
 *
 * It blocks every signal and has a descriptor table of its own, so that its sockets are invisible to the
 * application, survive os.closerange() and shift none of its numbers; the application's standard streams
 * are not held open either. That table dies with the thread. From 3.12 on os.fork() warns in a process
 * of several threads, so before a fork the thread must be gone: it passes its sockets, in flight, to one
 * socket that the forking thread holds meanwhile, and the next thread takes them from there. A watching
 * client notices nothing.
 *
 * Nobody can write to a descriptor of this thread from outside. It is woken by a SIGURG, which it blocks and reads
 * from a signalfd; where one cannot be had it looks round often. Its sockets pass through a connection to an
 * abstract socket of its own, which only this process may use; where that cannot be made the clients are lost.
 */
#ifndef GCS_THREAD_H
#define GCS_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#define GCS_CARRY_MAX 64 /* descriptors that one handover carries */

/* Begins the thread. 0 or -errno. Any thread; not while one is running. */
int gcs_thread_start(void);
bool gcs_thread_running(void);
/* ... and this is no child that shares our memory (vfork()). */
bool gcs_thread_is_ours(void);
/* A thread that blocks every signal. 0 or -errno. */
int gcs_thread_create(pthread_t *id, void *(*body)(void *), void *arg);
/* pthread_join() returns a moment before the kernel stops counting a thread, as os.fork() would. */
void gcs_thread_wait_until_gone(pid_t tid);
/*
 * Ends the thread and waits for it; it must not need the GIL of the caller to end (gil.h, hand.h). keep: its sockets travel
 * to the next gcs_thread_start(); else they are closed and the socket's name is gone.
 */
void gcs_thread_stop(bool keep);
/* In a forked child: the thread does not exist here, and what was in flight is the parent's. */
void gcs_thread_forget(void);

/* For the thread itself. */
bool gcs_thread_should_stop(void);
bool gcs_thread_keeps(void);       /* ... and its sockets are to travel */
int gcs_thread_wake_fd(void);      /* poll it, -1: there is none; readable: call gcs_thread_woken(), look at should_stop */
void gcs_thread_woken(void);
/*
 * All of the application's threads have ended: a process whose first thread ended by pthread_exit(), or a
 * child that was forked by a thread, ends with its last thread, and that must not be ours.
 */
bool gcs_thread_is_last(void);
/* The application has more than one. */
bool gcs_thread_has_company(void);
/* Once per process: notices the end of the calling thread early. Also in a forked child. */
void gcs_thread_watch_end(void);
void gcs_thread_sleep(long ns);    /* shorter when it should stop */

/* The loop gives and gets the descriptors that travel; at most GCS_CARRY_MAX - 1. */
extern int gcs_thread_carried[GCS_CARRY_MAX];
extern int gcs_thread_ncarried;

#endif
