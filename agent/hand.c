/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "hand.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fork.h"
#include "gil.h"
#include "thread.h"

static struct {
	pthread_t id;
	bool there;          /* atomic */
	bool should_stop;    /* atomic */
	bool busy;           /* seq_cst: a Dekker pair with gil.c's held_off */
	pid_t tid;           /* atomic; set by the thread */
	void (*job)(void);   /* atomic; taken by the thread */
	sem_t wake;
} hand;

bool gcs_hand_there(void)
{
	return __atomic_load_n(&hand.there, __ATOMIC_ACQUIRE);
}

bool gcs_hand_busy(void)
{
	return gcs_hand_there() && __atomic_load_n(&hand.busy, __ATOMIC_SEQ_CST);
}

/* A finalizer that it runs may fork: in the child this is the only thread, and ends with the job as any would. */
static void *hand_main(void *unused)
{
	unsigned epoch = gcs_fork_epoch();

	(void)unused;
	pthread_setname_np(pthread_self(), "gcscope-hand");
	__atomic_store_n(&hand.tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	for (;;) {
		void (*job)(void);

		while (sem_wait(&hand.wake) && errno == EINTR)
			;
		if (__atomic_load_n(&hand.should_stop, __ATOMIC_ACQUIRE))
			return NULL;
		job = __atomic_exchange_n(&hand.job, NULL, __ATOMIC_ACQ_REL);
		if (job)
			job();
		if (epoch != gcs_fork_epoch())
			return NULL;
		__atomic_store_n(&hand.busy, false, __ATOMIC_RELEASE);
	}
}

void gcs_hand_start(void)
{
	if (gcs_hand_there() || sem_init(&hand.wake, 0, 0))
		return;
	hand.should_stop = hand.busy = false;
	hand.job = NULL;
	hand.tid = 0;
	if (!gcs_thread_create(&hand.id, hand_main, NULL))
		__atomic_store_n(&hand.there, true, __ATOMIC_RELEASE);
}

void gcs_hand_stop(void)
{
	if (!gcs_hand_there() || pthread_equal(pthread_self(), hand.id))
		return; /* a finalizer that it runs forks: it cannot wait for itself */
	__atomic_store_n(&hand.should_stop, true, __ATOMIC_RELEASE);
	sem_post(&hand.wake);
	pthread_join(hand.id, NULL);
	gcs_thread_wait_until_gone(__atomic_load_n(&hand.tid, __ATOMIC_ACQUIRE));
	__atomic_store_n(&hand.there, false, __ATOMIC_RELEASE);
}

void gcs_hand_forget(void)
{
	hand.there = false;
}

/*
 * A forking thread waits for the hand, with the GIL when it found it idle: so either it is seen here that a fork is
 * under way, or there that the hand is busy.
 */
bool gcs_hand_do(void (*job)(void))
{
	__atomic_store_n(&hand.busy, true, __ATOMIC_SEQ_CST);
	if (gcs_gil_held_off()) {
		__atomic_store_n(&hand.busy, false, __ATOMIC_SEQ_CST);
		return false;
	}
	__atomic_store_n(&hand.job, job, __ATOMIC_RELEASE);
	sem_post(&hand.wake);
	return true;
}
