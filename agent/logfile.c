/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime.h"

#define SYSLOG_PRIORITY 28 /* LOG_DAEMON | LOG_WARNING */

static int fd = -1;
static uint64_t lost;

static bool to_stderr(void)
{
	return !strcmp(gcs_config.log, "stderr");
}

static bool to_syslog(void)
{
	return !strcmp(gcs_config.log, "syslog");
}

bool gcs_log_wanted(void)
{
	return gcs_config.log[0] != '\0';
}

uint64_t gcs_log_lost(void)
{
	return lost;
}

void gcs_log_keep_stderr(void)
{
	fd = to_stderr() ? fcntl(2, F_DUPFD_CLOEXEC, 3) : -1;
}

static int open_syslog(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (s >= 0 && connect(s, (struct sockaddr *)&a, sizeof(a))) {
		close(s);
		s = -1;
	}
	return s;
}

static void reopen(void)
{
	if (to_stderr())
		return;
	if (fd >= 0)
		close(fd);
	fd = to_syslog() ? open_syslog()
			 : open(gcs_config.log,
				O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
}

/* The name no longer leads to the open file. */
static bool was_moved(void)
{
	struct stat named, open_one;

	return fd >= 0 && (stat(gcs_config.log, &named) || fstat(fd, &open_one) ||
			   named.st_ino != open_one.st_ino || named.st_dev != open_one.st_dev);
}

void gcs_log_write(const char *head, const char *text, size_t n)
{
	char priority[64];
	struct iovec part[3] = {{.iov_base = (char *)head, .iov_len = strlen(head)},
				{.iov_base = (char *)text, .iov_len = n},
				{.iov_base = "\n", .iov_len = 1}};
	size_t whole;

	if (to_syslog()) {
		snprintf(priority, sizeof(priority), "<%d>gcscope[%d]: ", SYSLOG_PRIORITY, (int)getpid());
		part[0] = (struct iovec){.iov_base = priority, .iov_len = strlen(priority)};
		part[2].iov_len = 0;
	}
	whole = part[0].iov_len + part[1].iov_len + part[2].iov_len;
	if (!to_stderr() && (fd < 0 || (!to_syslog() && was_moved())))
		reopen();
	if (fd < 0 || writev(fd, part, 3) != (ssize_t)whole)
		lost++;
}

void gcs_log_close(void)
{
	if (fd >= 0)
		close(fd);
	fd = -1;
}
