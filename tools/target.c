/* SPDX-License-Identifier: Apache-2.0 */
#include "target.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agentpath.h"
#include "client.h"
#include "paths.h"
#include "proc.h"
#include "signals.h"
#include "xalloc.h"

#define STARTING_S 2 /* a process and its agent take so long to start */

struct dirs {
	char **dir;
	size_t n;
};

static void dirs_add(struct dirs *d, const char *dir)
{
	for (size_t i = 0; i < d->n; i++)
		if (!strcmp(d->dir[i], dir))
			return;
	d->dir = xrealloc(d->dir, (d->n + 1) * sizeof(*d->dir));
	d->dir[d->n++] = xstrdup(dir);
}

static void dirs_add_for(struct dirs *d, const char *runtime_dir, uid_t uid)
{
	char dir[GCS_PATH_MAX];

	if (gcs_socket_dir(dir, sizeof(dir), NULL, runtime_dir, uid) == 0)
		dirs_add(d, dir);
}

/* GCSCOPE_SOCKET_DIR, or NULL. */
static const char *explicit_dir(void)
{
	const char *dir = getenv("GCSCOPE_SOCKET_DIR");

	return dir && *dir ? dir : NULL;
}

/* Every place where an agent in a process of this user may have its socket. */
static void dirs_known(struct dirs *d)
{
	uid_t uid = geteuid();
	char dir[GCS_PATH_MAX];

	if (explicit_dir()) {
		dirs_add(d, explicit_dir());
		return;
	}
	dirs_add_for(d, getenv("XDG_RUNTIME_DIR"), uid);
	dirs_add_for(d, NULL, uid);
	snprintf(dir, sizeof(dir), "/run/user/%lu", (unsigned long)uid);
	dirs_add_for(d, dir, uid);
	snprintf(dir, sizeof(dir), "/tmp/gcscope-%lu", (unsigned long)uid);
	dirs_add(d, dir);
}

static void dirs_free(struct dirs *d)
{
	while (d->n)
		free(d->dir[--d->n]);
	free(d->dir);
}

/* Root sees the agents of all users, where they are when the user chose nothing. */
static void dirs_of_others(struct dirs *d)
{
	static const char *const pattern[] = {"/run/user/*/gcscope", "/tmp/gcscope-*"};

	if (geteuid() != 0 || explicit_dir())
		return;
	for (size_t i = 0; i < sizeof(pattern) / sizeof(pattern[0]); i++) {
		glob_t g;

		if (glob(pattern[i], GLOB_NOSORT, NULL, &g) == 0)
			for (size_t k = 0; k < g.gl_pathc; k++)
				dirs_add(d, g.gl_pathv[k]);
		globfree(&g);
	}
}

/*
 * The user whose directory it is by its name: /run/user/<uid>/gcscope, /tmp/gcscope-<uid>; else
 * ours.
 */
static uid_t dir_owner(const char *dir)
{
	unsigned long uid;
	int end = 0;

	if (sscanf(dir, "/run/user/%lu/gcscope%n", &uid, &end) == 1 && end && !dir[end])
		return (uid_t)uid;
	if (sscanf(dir, "/tmp/gcscope-%lu%n", &uid, &end) == 1 && !dir[end])
		return (uid_t)uid;
	return geteuid();
}

/*
 * A directory that we chose by ourselves must be one that only its user can have made; one that the
 * user named is as good as the sockets in it.
 */
static bool dir_trusted(const char *dir)
{
	struct stat st;

	if (explicit_dir())
		return true;
	if (lstat(dir, &st) < 0 || !S_ISDIR(st.st_mode) || (st.st_mode & 022))
		return false;
	return st.st_uid == dir_owner(dir);
}

/* Ours; or, for root, made by the user whose process it says it is. */
static bool socket_trusted(const char *path, pid_t pid)
{
	struct gcs_proc p;
	struct stat st;

	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	if (st.st_uid == geteuid())
		return true;
	return geteuid() == 0 && gcs_proc_read(pid, &p) == 0 && p.uid == st.st_uid;
}

static void scan_entry(struct gcs_targets *out, const char *dir, const char *name)
{
	struct gcs_target *t;
	unsigned long long start;
	char *path;
	pid_t pid;

	if (gcs_socket_name_parse(name, &pid, &start) < 0)
		return;
	path = xasprintf("%s/%s", dir, name);
	if (!socket_trusted(path, pid)) {
		free(path);
		return;
	}
	out->t = xrealloc(out->t, (out->n + 1) * sizeof(*out->t));
	t = &out->t[out->n++];
	*t = (struct gcs_target){.pid = pid, .start = start, .path = path};
	t->gone = !gcs_proc_alive(pid, start);
	t->command = gcs_proc_command(pid);
}

static void scan_dir(struct gcs_targets *out, const char *dir)
{
	struct dirent *e;
	DIR *d;

	if (!dir_trusted(dir) || !(d = opendir(dir)))
		return;
	while ((e = readdir(d)))
		scan_entry(out, dir, e->d_name);
	closedir(d);
}

static int by_pid(const void *a, const void *b)
{
	const struct gcs_target *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

/* Where it was looked first; a list of every user's directory would help nobody. */
static void describe(struct gcs_targets *out, const struct dirs *d)
{
	for (size_t i = 0; i < d->n; i++) {
		size_t used = strlen(out->looked_in);

		snprintf(out->looked_in + used, sizeof(out->looked_in) - used, "%s%s",
			 i ? ", " : "", d->dir[i]);
	}
}

void gcs_targets_scan(struct gcs_targets *out)
{
	struct dirs d = {0};

	*out = (struct gcs_targets){0};
	dirs_known(&d);
	describe(out, &d);
	dirs_of_others(&d);
	for (size_t i = 0; i < d.n; i++)
		scan_dir(out, d.dir[i]);
	dirs_free(&d);
	if (out->n)
		qsort(out->t, out->n, sizeof(*out->t), by_pid);
}

void gcs_targets_free(struct gcs_targets *ts)
{
	for (size_t i = 0; i < ts->n; i++) {
		free(ts->t[i].path);
		free(ts->t[i].command);
	}
	free(ts->t);
}

bool gcs_target_is_starting(const struct gcs_target *t)
{
	struct stat st;

	return lstat(t->path, &st) == 0 && time(NULL) - st.st_ctime <= STARTING_S &&
	       gcs_proc_alive(t->pid, t->start);
}

/*
 * Removed only when ours, refused, and no agent can be about to listen. An exec() keeps a PID and
 * its start time, so a live process says nothing.
 */
void gcs_target_remove_stale(const struct gcs_target *t)
{
	struct stat st;

	if (lstat(t->path, &st) < 0 || !S_ISSOCK(st.st_mode) || st.st_uid != geteuid())
		return;
	if (!gcs_target_is_starting(t))
		unlink(t->path);
}

static bool accepts(const struct gcs_target *t)
{
	struct gcs_client c;
	int err = gcs_client_connect(&c, t);

	gcs_client_close(&c);
	return err != -ECONNREFUSED && err != -ENOENT;
}

/* Keeps those that live, and of several only those that listen. */
static void keep_live(struct gcs_targets *ts)
{
	size_t n = 0;

	for (size_t i = 0; i < ts->n; i++)
		if (!ts->t[i].gone)
			ts->t[n++] = ts->t[i];
	ts->n = n;
	if (n < 2)
		return;
	n = 0;
	for (size_t i = 0; i < ts->n; i++)
		if (accepts(&ts->t[i]))
			ts->t[n++] = ts->t[i];
	ts->n = n;
}

static bool is_number(const char *s)
{
	return *s && strspn(s, "0123456789") == strlen(s);
}

static void die_no_agent_in(const char *spec, pid_t pid)
{
	struct gcs_proc p;

	if (pid <= 0 || gcs_proc_read(pid, &p) < 0)
		die("no process %s; gcscope ps lists the agents", spec);
	if (p.uid != geteuid() && geteuid() != 0)
		die("process %s is not yours (uid %lu): run gcscope as its user or as root", spec,
		    (unsigned long)p.uid);
	if (gcs_proc_maps(pid, GCS_AGENT_FILE))
		die("process %s has loaded " GCS_AGENT_FILE
		    ", but no agent listens: is it CPython 3.8 or later, GCSCOPE_DISABLE unset, "
		    "GCSCOPE_SOCKET_DIR the same here and there?",
		    spec);
	die("no agent in process %s: start it with gcscope run -- CMD", spec);
}

static const struct gcs_target *with_pid(const struct gcs_targets *ts, pid_t pid)
{
	for (size_t i = 0; i < ts->n; i++)
		if (ts->t[i].pid == pid && !ts->t[i].gone)
			return &ts->t[i];
	return NULL;
}

/* A script asks at once about what it has just started: its agent listens once Python is up. */
static bool may_be_starting(pid_t pid)
{
	struct gcs_proc p;

	return gcs_proc_read(pid, &p) == 0 && (p.uid == geteuid() || geteuid() == 0) &&
	       (p.uptime_s < STARTING_S || gcs_proc_maps(pid, GCS_AGENT_FILE));
}

static const struct gcs_target *find_pid(struct gcs_targets *ts, const char *spec)
{
	struct timespec tick = {.tv_nsec = 20 * 1000000};
	pid_t pid = strlen(spec) < 10 ? (pid_t)atol(spec) : 0;
	int64_t deadline = gcs_deadline(STARTING_S);
	const struct gcs_target *t;

	while (!(t = with_pid(ts, pid))) {
		if (!may_be_starting(pid) || gcs_deadline_ms(deadline, 1) <= 0)
			die_no_agent_in(spec, pid);
		nanosleep(&tick, NULL);
		gcs_targets_free(ts);
		gcs_targets_scan(ts);
	}
	return t;
}

static void die_several(const struct gcs_targets *ts, const char *spec)
{
	char pids[256] = "";

	for (size_t i = 0; i < ts->n && i < 16; i++) {
		size_t used = strlen(pids);

		snprintf(pids + used, sizeof(pids) - used, "%s%d", i ? ", " : "",
			 (int)ts->t[i].pid);
	}
	if (ts->n > 16)
		strcat(pids, ", ...");
	if (spec)
		die("%zu agents match '%s' (PIDs %s): name one by its PID", ts->n, spec, pids);
	die("%zu agents are running (PIDs %s): name one by its PID, or a part of its command line",
	    ts->n, pids);
}

const struct gcs_target *gcs_target_find(const char *spec)
{
	static struct gcs_targets ts;
	size_t n = 0;

	gcs_targets_scan(&ts);
	if (spec && is_number(spec))
		return find_pid(&ts, spec);
	keep_live(&ts);
	if (ts.n == 0)
		die("no agent found (looked in %s): start a program with gcscope run -- CMD",
		    ts.looked_in);
	for (size_t i = 0; i < ts.n; i++)
		if (!spec || strstr(ts.t[i].command, spec))
			ts.t[n++] = ts.t[i];
	ts.n = n;
	if (ts.n == 0)
		die("no agent's command line contains '%s'; gcscope ps lists the agents", spec);
	if (ts.n > 1)
		die_several(&ts, spec);
	return &ts.t[0];
}
