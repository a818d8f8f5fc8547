/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gcs_forks: forks as C code makes them, by threads that know nothing of Python, for ctypes.
 *
 * Its fork handlers are registered before the agent's when it stands behind it in LD_PRELOAD.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int done, wanted;
static int fork_in_prepare;

static int fork_once(void)
{
	pid_t pid = fork();
	int status = 1;

	if (!pid)
		_exit(0);
	return pid < 0 || waitpid(pid, &status, 0) != pid ? -1 : status;
}

/* n children that end at once; how many did. */
int gcs_forks(int n)
{
	int good = 0;

	while (n--) {
		good += !fork_once();
		usleep(1000);
	}
	return good;
}

static void *fork_when_cancelled(void *unused)
{
	int before;

	for (done = 0; done < wanted; done++) {
		pid_t pid;

		pthread_cancel(pthread_self());
		pid = fork();
		if (!pid)
			_exit(0);
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
		waitpid(pid, NULL, 0);
		usleep(2000);
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	}
	return unused;
}

/* The same on a thread whose cancellation is pending; how many it made before it was cancelled. */
int gcs_forks_when_cancelled(int n)
{
	pthread_t thread;

	wanted = n;
	if (pthread_create(&thread, NULL, fork_when_cancelled, NULL))
		return -1;
	pthread_join(thread, NULL);
	return done;
}

static void prepare(void)
{
	if (!fork_in_prepare)
		return;
	fork_in_prepare = 0;
	fork();
}

/* A fork within the preparation of another. 0 in this process, 1 in the child that was made within. */
int gcs_fork_within_fork(void)
{
	pid_t self = getpid();

	fork_in_prepare = 1;
	fork_once();
	return getpid() != self;
}

__attribute__((constructor)) static void begin(void)
{
	pthread_atfork(prepare, NULL, NULL);
}
