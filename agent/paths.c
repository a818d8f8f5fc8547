/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See paths.h. The directory may lie in /tmp, where others can put things first: it is looked at through a
 * descriptor opened without following links, never through its name twice.
 */
#include "paths.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "smallfile.h"

static int fits(int written, size_t size)
{
	return written < 0 || (size_t)written >= size ? -ENAMETOOLONG : 0;
}

static bool is_set(const char *value)
{
	return value && *value;
}

/* /run/gcscope is there already, or root can make it. */
static bool run_is_usable(void)
{
	struct stat st;

	return (!stat("/run/gcscope", &st) && S_ISDIR(st.st_mode)) ||
	       (!stat("/run", &st) && S_ISDIR(st.st_mode) && !access("/run", W_OK | X_OK));
}

int gcs_socket_dir(char *out, size_t size, const char *socket_dir, const char *runtime_dir, uid_t uid)
{
	if (is_set(socket_dir))
		return fits(snprintf(out, size, "%s", socket_dir), size);
	/* The XDG specification: a path that is not absolute is to be ignored. */
	if (is_set(runtime_dir) && runtime_dir[0] == '/')
		return fits(snprintf(out, size, "%s/gcscope", runtime_dir), size);
	if (uid == 0 && run_is_usable())
		return fits(snprintf(out, size, "/run/gcscope"), size);
	return fits(snprintf(out, size, "/tmp/gcscope-%lu", (unsigned long)uid), size);
}

static int verify_dir(const char *dir, uid_t uid, bool made)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int err = 0;

	if (fd < 0)
		return errno == ELOOP || errno == ENOTDIR || errno == EACCES ? -EPERM : -errno;
	if (fstat(fd, &st))
		err = -errno;
	else if (st.st_uid != uid || (st.st_mode & (S_IWGRP | S_IWOTH)))
		err = -EPERM;
	else if (made && (st.st_mode & 07777) != 0700 && fchmod(fd, 0700))
		err = -errno; /* an inherited set-group-id bit */
	close(fd);
	return err;
}

int gcs_socket_dir_make(const char *dir, uid_t uid)
{
	char path[PATH_MAX];
	size_t len = strlen(dir);
	bool made;

	/* "link/" would be followed in spite of O_NOFOLLOW. */
	while (len > 1 && dir[len - 1] == '/')
		len--;
	if (!len)
		return -ENOENT;
	if (len >= sizeof(path))
		return -ENAMETOOLONG;
	memcpy(path, dir, len);
	path[len] = '\0';
	made = !mkdir(path, 0700);
	if (!made && errno != EEXIST)
		return -errno;
	return verify_dir(path, uid, made);
}

/* Reads all digits at *s, at least one, and moves behind them. 0, or -1. */
static int parse_number(const char **s, unsigned long long *out)
{
	const char *p = *s;
	unsigned long long value = 0;

	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (unsigned long long)(*p - '0'), &value))
			return -1;
	if (p == *s)
		return -1;
	*s = p;
	*out = value;
	return 0;
}

/* Of /proc/<pid>/stat: field 3, the state ('\0': no such process), and field 22, the start time. */
static char read_stat(pid_t pid, unsigned long long *start)
{
	char path[64], stat[1024], state;
	const char *p;

	*start = 0;
	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	if (gcs_read_file(path, stat, sizeof(stat)) <= 0)
		return '\0';
	/* The name in field 2 may hold anything, parentheses and spaces too: count from its end. */
	p = strrchr(stat, ')');
	if (!p || p[1] != ' ')
		return '\0';
	state = p[2];
	for (int field = 2; p && field < 22; field++) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	if (!p || parse_number(&p, start))
		*start = 0;
	return state;
}

unsigned long long gcs_start_time(pid_t pid)
{
	unsigned long long start;

	read_stat(pid, &start);
	return start;
}

bool gcs_process_ended(pid_t pid, unsigned long long start)
{
	unsigned long long now;
	char state = read_stat(pid, &now);

	return !state || state == 'Z' || state == 'X' || now != start;
}

int gcs_socket_path(char *out, size_t size, const char *dir, pid_t pid, unsigned long long start)
{
	const size_t sun = sizeof(((struct sockaddr_un *)0)->sun_path);

	if (size > sun)
		size = sun;
	return fits(snprintf(out, size, "%s/%ld-%llu.sock", dir, (long)pid, start), size);
}

/* A number as snprintf() above writes it: no leading zero, so that a name has one spelling. */
static int parse_canonical(const char **s, unsigned long long *out)
{
	return **s == '0' && (*s)[1] >= '0' && (*s)[1] <= '9' ? -1 : parse_number(s, out);
}

int gcs_socket_name_parse(const char *name, pid_t *pid, unsigned long long *start)
{
	unsigned long long value, started;

	if (parse_canonical(&name, &value) || value == 0 || value > INT_MAX || *name++ != '-')
		return -1;
	if (parse_canonical(&name, &started) || strcmp(name, ".sock"))
		return -1;
	*pid = (pid_t)value;
	*start = started;
	return 0;
}
