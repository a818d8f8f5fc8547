/* SPDX-License-Identifier: Apache-2.0 */
#include "smallfile.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

ssize_t gcs_read_file(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t n;

	out[0] = '\0';
	if (fd < 0)
		return -1;
	do {
		n = read(fd, out + have, size - 1 - have);
		if (n > 0)
			have += (size_t)n;
	} while ((n > 0 && have < size - 1) || (n < 0 && errno == EINTR));
	close(fd);
	if (n < 0)
		have = 0;
	out[have] = '\0';
	return n < 0 ? -1 : (ssize_t)have;
}
