/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "peek.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

/* The pipe's ends, in the descriptor table of the thread that opened it. */
static __thread int in = -1, out = -1;

void gcs_peek_open(void)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK))
		return;
	out = fds[0];
	in = fds[1];
}

void gcs_peek_close(void)
{
	if (in >= 0) {
		close(in);
		close(out);
	}
	in = out = -1;
}

bool gcs_peek_words(uintptr_t address, uintptr_t *words, int n)
{
	size_t size = sizeof(*words) * (size_t)n;
	struct iovec local = {words, size};
	struct iovec remote = {(void *)address, size};
	ssize_t got;

	if (in < 0)
		return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size;
	got = write(in, (const void *)address, size);
	return got > 0 && read(out, words, size) == got && got == (ssize_t)size;
}

bool gcs_peek(uintptr_t address, uintptr_t *word)
{
	return gcs_peek_words(address, word, 1);
}
