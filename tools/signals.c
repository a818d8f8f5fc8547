/* SPDX-License-Identifier: Apache-2.0 */
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "xalloc.h"

static volatile sig_atomic_t ending, resized;
static int wake[2] = {-1, -1};

static void on_signal(int sig)
{
	int saved = errno;
	ssize_t n;

	if (sig == SIGWINCH)
		resized = 1;
	else
		ending = 1;
	/* A full pipe is as good as a written one. */
	n = write(wake[1], "", 1);
	(void)n;
	errno = saved;
}

static void install(int sig)
{
	struct sigaction sa = {.sa_handler = on_signal}, old;

	/* Under nohup it stays ignored. SIGINT does not: a script's `gcscope log &` is to end by it. */
	if (sig == SIGHUP && sigaction(sig, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
		return;
	sigemptyset(&sa.sa_mask);
	sigaction(sig, &sa, NULL);
}

int gcs_signals_catch(void)
{
	if (wake[0] < 0) {
		if (pipe2(wake, O_CLOEXEC | O_NONBLOCK) < 0)
			die("cannot make a pipe; too many open files?");
		install(SIGINT);
		install(SIGTERM);
		install(SIGHUP);
	}
	return wake[0];
}

void gcs_signals_catch_winch(void)
{
	gcs_signals_catch();
	install(SIGWINCH);
}

bool gcs_signals_pending(void)
{
	return ending;
}

bool gcs_signals_winch(void)
{
	char drop[64];
	bool was;

	while (read(wake[0], drop, sizeof(drop)) > 0)
		;
	was = resized;
	resized = 0;
	return was;
}

int64_t gcs_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

int64_t gcs_deadline(double seconds)
{
	return gcs_now_ns() + (int64_t)(seconds * 1e9);
}

int gcs_deadline_ms(int64_t deadline_ns, int max_ms)
{
	int64_t left = deadline_ns - gcs_now_ns();

	if (left <= 0)
		return 0;
	left = (left + 999999) / 1000000;
	return left > max_ms ? max_ms : (int)left;
}
