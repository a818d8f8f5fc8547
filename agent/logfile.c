/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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
static bool may_block; /* writing to it: another's open file, whose flags are not ours to change */
static bool torn;      /* the last line was cut */
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

void gcs_log_begin(void)
{
	char path[sizeof(gcs_config.log)];
	size_t size = strlen(gcs_config.log) + 1, at;

	if (!gcs_log_wanted() || to_stderr() || to_syslog() || gcs_config.log[0] == '/')
		return;
	if (!getcwd(path, sizeof(path)) || path[0] != '/')
		return; /* removed, or out of reach */
	at = strlen(path);
	if (at + 1 + size > sizeof(path))
		return;
	path[at] = '/';
	memcpy(path + at + 1, gcs_config.log, size);
	memcpy(gcs_config.log, path, at + 1 + size);
}

uint64_t gcs_log_lost(void)
{
	return lost;
}

void gcs_log_lose(void)
{
	lost++;
}

/*
 * A pipe or terminal that nobody reads must not hold us up, since a fork and the end of the program wait for
 * this thread. So it is opened anew, without blocking; a file is not, whose position the application shares.
 */
void gcs_log_keep_stderr(void)
{
	struct stat st;

	fd = -1;
	may_block = false;
	if (!to_stderr() || fstat(2, &st))
		return;
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))
		fd = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd >= 0)
		return;
	fd = fcntl(2, F_DUPFD_CLOEXEC, 3);
	may_block = !S_ISREG(st.st_mode);
}

/* One system call, which never waits. */
static ssize_t put(const struct iovec *part, int n)
{
	struct msghdr m = {.msg_iov = (struct iovec *)part, .msg_iovlen = (size_t)n};
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	ssize_t sent;

	if (may_block) {
		sent = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent >= 0 || errno != ENOTSOCK)
			return sent;
		if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT))
			return -1;
	}
	return writev(fd, part, n);
}

/* What was cut, by a full disk say, is ended first, so that the next line is whole. */
static bool write_line(const struct iovec *part, int n, size_t whole)
{
	static const struct iovec end = {.iov_base = "\n", .iov_len = 1};
	ssize_t written;

	if (fd < 0 || (torn && put(&end, 1) != 1))
		return false;
	written = put(part, n);
	torn = written > 0 && (size_t)written < whole;
	return written == (ssize_t)whole;
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
	torn = false;
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
	if (!write_line(part, 3, whole))
		lost++;
}

void gcs_log_close(void)
{
	if (fd >= 0)
		close(fd);
	fd = -1;
}
