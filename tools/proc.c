/* SPDX-License-Identifier: Apache-2.0 */
#include "proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "paths.h"
#include "smallfile.h"
#include "xalloc.h"

#define COMMAND_MAX 8192

static ssize_t read_file(pid_t pid, const char *file, char *buf, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	return gcs_read_file(path, buf, size);
}

/* The effective user. /proc/<pid> itself belongs to root once a process has changed its user. */
static uid_t owner(pid_t pid)
{
	char buf[4096], *line;
	unsigned long uid;

	if (read_file(pid, "status", buf, sizeof(buf)) <= 0)
		return (uid_t)-1;
	line = strstr(buf, "\nUid:");
	return line && sscanf(line, "\nUid: %*u %lu", &uid) == 1 ? (uid_t)uid : (uid_t)-1;
}

static double uptime(unsigned long long start)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9 -
	       (double)start / (double)sysconf(_SC_CLK_TCK);
}

int gcs_proc_read(pid_t pid, struct gcs_proc *out)
{
	char buf[1024], *p;
	long rss = 0;
	int ppid = 0;

	if (read_file(pid, "stat", buf, sizeof(buf)) <= 0)
		return -1;
	/* The name in parentheses may hold anything, also ") ". */
	p = strrchr(buf, ')');
	if (!p)
		return -1;
	*out = (struct gcs_proc){0};
	if (sscanf(p + 1,
		   " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu %*u %ld",
		   &out->state, &ppid, &out->start, &rss) != 4)
		return -1;
	out->ppid = ppid;
	out->uid = owner(pid);
	out->uptime_s = uptime(out->start);
	out->rss_bytes = (double)rss * (double)sysconf(_SC_PAGESIZE);
	return 0;
}

bool gcs_proc_alive(pid_t pid, unsigned long long start)
{
	if (!start)
		start = gcs_start_time(pid);
	return start && !gcs_process_ended(pid, start);
}

bool gcs_proc_maps(pid_t pid, const char *name)
{
	char path[64], *line = NULL, *file;
	bool found = false;
	size_t size = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "re");
	if (!maps)
		return false;
	while (!found && getline(&line, &size, maps) > 0) {
		line[strcspn(line, "\n")] = '\0';
		file = strrchr(line, '/');
		found = file && !strcmp(file + 1, name);
	}
	free(line);
	fclose(maps);
	return found;
}

char *gcs_proc_command(pid_t pid)
{
	char *buf = xmalloc(COMMAND_MAX);
	ssize_t n = read_file(pid, "cmdline", buf, COMMAND_MAX);

	while (n > 0 && !buf[n - 1])
		n--;
	if (n > 0) {
		for (ssize_t i = 0; i < n; i++)
			if (!buf[i])
				buf[i] = ' ';
		buf[n] = '\0';
		return buf;
	}
	n = read_file(pid, "comm", buf + 1, COMMAND_MAX - 2);
	if (n <= 0)
		return strcpy(buf, "?");
	buf[0] = '[';
	buf[n] = ']'; /* over the newline */
	buf[n + 1] = '\0';
	return buf;
}
