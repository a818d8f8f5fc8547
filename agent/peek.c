/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "peek.h"

#include <sys/uio.h>
#include <unistd.h>

bool gcs_peek_words(uintptr_t address, uintptr_t *out, int n)
{
	size_t size = sizeof(*out) * (size_t)n;
	struct iovec local = {out, size};
	struct iovec remote = {(void *)address, size};

	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size;
}

bool gcs_peek(uintptr_t address, uintptr_t *out)
{
	return gcs_peek_words(address, out, 1);
}
