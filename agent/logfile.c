/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "disabled.h"
#include "gil.h"
#include "json.h"
#include "runtime.h"

#define LINE_MAX_BYTES 1024
#define SYSLOG_PRIORITY 28 /* LOG_DAEMON | LOG_WARNING */

static int fd = -1;
static uint64_t lost;
static bool introduced;

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
			 : open(gcs_config.log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
				0640);
}

/* The name no longer leads to the open file. */
static bool was_moved(void)
{
	struct stat named, open_one;

	return fd >= 0 && (stat(gcs_config.log, &named) || fstat(fd, &open_one) ||
			   named.st_ino != open_one.st_ino || named.st_dev != open_one.st_dev);
}

void gcs_log_write(const char *line, size_t n)
{
	if (!to_stderr() && (fd < 0 || (!to_syslog() && was_moved())))
		reopen();
	if (fd < 0 || write(fd, line, n) != (ssize_t)n)
		lost++;
}

/* Escapes what could forge a line or drive a terminal. */
static size_t clean(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text && n + 5 < size; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c == 0x7f)
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
		else
			out[n++] = (char)c;
	}
	out[n] = '\0';
	return n;
}

void gcs_log_printf(const char *fmt, ...)
{
	char text[LINE_MAX_BYTES], safe[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 80], when[32];
	va_list ap;
	int n;

	if (!gcs_log_wanted())
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	clean(safe, sizeof(safe), text);
	if (to_syslog()) {
		n = snprintf(line, sizeof(line), "<%d>gcscope[%d]: %s", SYSLOG_PRIORITY, (int)getpid(), safe);
	} else {
		gcs_format_time(when, gcs_realtime_ns());
		n = snprintf(line, sizeof(line), "%s %d %s\n", when, (int)getpid(), safe);
	}
	gcs_log_write(line, (size_t)n);
}

void gcs_log_open(void)
{
	const char *feature, *reason;

	if (!gcs_log_wanted() || introduced || gcs_config.log_format != GCS_LOG_TEXT)
		return;
	introduced = true;
	if (gcs_config.complaint[0])
		gcs_log_printf("settings: %s", gcs_config.complaint);
	for (size_t i = 0; i < gcs_disabled_count(); i++) {
		gcs_disabled_get(i, &feature, &reason);
		gcs_log_printf("disabled %s: %s", feature, reason);
	}
}

void gcs_log_close(void)
{
	if (fd >= 0)
		close(fd);
	fd = -1;
}
