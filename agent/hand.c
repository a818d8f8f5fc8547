/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "hand.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "fork.h"
#include "gil.h"
#include "thread.h"

#define PATIENCE_NS 300000000ll /* how long a fork, or the end, waits for a finalizer */

enum order { STAY, END, ENDING };

static struct {
	pthread_t id;
	bool there;          /* atomic */
	enum order order;    /* atomic: whoever moves it from END has the thread end, or stay */
	bool busy;           /* seq_cst: a Dekker pair with gil.c's held_off */
	bool kept;           /* atomic; waited for once in this job, in vain */
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

static bool order_becomes(enum order from, enum order to)
{
	return __atomic_compare_exchange_n(&hand.order, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
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
		if (order_becomes(END, ENDING))
			return NULL;
		job = __atomic_exchange_n(&hand.job, NULL, __ATOMIC_ACQ_REL);
		if (!job)
			continue;
		job();
		if (epoch != gcs_fork_epoch())
			return NULL;
		__atomic_store_n(&hand.kept, false, __ATOMIC_RELEASE);
		__atomic_store_n(&hand.busy, false, __ATOMIC_RELEASE);
	}
}

void gcs_hand_start(void)
{
	if (gcs_hand_there() || sem_init(&hand.wake, 0, 0))
		return;
	hand.order = STAY;
	hand.busy = hand.kept = false;
	hand.job = NULL;
	hand.tid = 0;
	if (!gcs_thread_create(&hand.id, hand_main, NULL))
		__atomic_store_n(&hand.there, true, __ATOMIC_RELEASE);
}

/* False: its finalizer does not come to an end. Waited for once: later forks would wait in vain as well. */
static bool comes_to_an_end(void)
{
	struct timespec pause = {0, 200000};
	int64_t until = gcs_now_ns() + PATIENCE_NS;

	while (gcs_hand_busy() && __atomic_load_n(&hand.order, __ATOMIC_ACQUIRE) == END) {
		if (__atomic_load_n(&hand.kept, __ATOMIC_ACQUIRE) || gcs_now_ns() > until)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

void gcs_hand_stop(bool for_good)
{
	bool ends;

	if (!gcs_hand_there() || pthread_equal(pthread_self(), hand.id))
		return; /* a finalizer that it runs forks: it cannot wait for itself */
	__atomic_store_n(&hand.order, END, __ATOMIC_RELEASE);
	sem_post(&hand.wake);
	ends = comes_to_an_end();
	if (!ends && !for_good && order_becomes(END, STAY)) {
		__atomic_store_n(&hand.kept, true, __ATOMIC_RELEASE);
		return;
	}
	if (ends || !for_good) {
		pthread_join(hand.id, NULL);
		gcs_thread_wait_until_gone(__atomic_load_n(&hand.tid, __ATOMIC_ACQUIRE));
	} else {
		pthread_detach(hand.id); /* it ends with its job, when that ends */
	}
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
	__atomic_store_n(&hand.kept, false, __ATOMIC_RELEASE);
	__atomic_store_n(&hand.job, job, __ATOMIC_RELEASE);
	sem_post(&hand.wake);
	return true;
}
