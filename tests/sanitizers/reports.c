/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded before a sanitizer's run time: what it prints also goes to the file GCS_REPORTS, opened for each piece. The
 * agent's thread has no standard error, nor any other descriptor in common with the application's.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

void __sanitizer_on_print(const char *text);

/* No function of libc that a sanitizer has its own of. */
void __sanitizer_on_print(const char *text)
{
	const char *path = getenv("GCS_REPORTS");
	long fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		return;
	syscall(SYS_write, fd, text, strlen(text));
	syscall(SYS_close, fd);
}
