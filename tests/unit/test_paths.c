/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: agent and command line that look in different places; a socket directory that somebody else
 * has put there, that is a link, or that others can write to; a process whose name confuses /proc/<pid>/stat.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "paths.h"

static char dir[64], path[128];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/gcs-test-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

static const char *in_dir(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static mode_t mode_of(const char *name)
{
	struct stat st;

	assert_int_equal(lstat(name, &st), 0);
	return st.st_mode & 07777;
}

static void which_directory(void **state)
{
	char out[4096];

	(void)state;
	assert_int_equal(gcs_socket_dir(out, sizeof(out), "/x/y", "/run/user/5", 5), 0);
	assert_string_equal(out, "/x/y");
	assert_int_equal(gcs_socket_dir(out, sizeof(out), "", "/run/user/5", 5), 0);
	assert_string_equal(out, "/run/user/5/gcscope");
	assert_int_equal(gcs_socket_dir(out, sizeof(out), NULL, "not/absolute", 5), 0);
	assert_string_equal(out, "/tmp/gcscope-5");
	assert_int_equal(gcs_socket_dir(out, sizeof(out), NULL, "", 4294967294u), 0);
	assert_string_equal(out, "/tmp/gcscope-4294967294");
	assert_int_equal(gcs_socket_dir(out, sizeof(out), NULL, NULL, 0), 0);
	assert_true(!strcmp(out, "/run/gcscope") || !strcmp(out, "/tmp/gcscope-0"));
	if (geteuid() == 0 && access("/run", W_OK) == 0)
		assert_string_equal(out, "/run/gcscope");
	assert_int_equal(gcs_socket_dir(out, 4, "/x/y", NULL, 5), -ENAMETOOLONG);
	assert_int_equal(gcs_socket_dir(out, 5, "/x/y", NULL, 5), 0);
	assert_int_equal(gcs_socket_dir(out, 10, NULL, "/run/user/5", 5), -ENAMETOOLONG);
}

static void makes_it(void **state)
{
	mode_t old = umask(0);

	(void)state;
	assert_int_equal(gcs_socket_dir_make(in_dir("new"), geteuid()), 0);
	assert_int_equal(mode_of(path), 0700);
	assert_int_equal(gcs_socket_dir_make(path, geteuid()), 0);
	assert_int_equal(gcs_socket_dir_make(in_dir("new///"), geteuid()), 0);
	assert_int_equal(gcs_socket_dir_make(in_dir("none/new"), geteuid()), -ENOENT);
	assert_int_equal(gcs_socket_dir_make("", geteuid()), -ENOENT);
	assert_int_equal(chmod(dir, 02700), 0); /* children inherit the set-group-id bit */
	assert_int_equal(gcs_socket_dir_make(in_dir("inherits"), geteuid()), 0);
	assert_int_equal(mode_of(path), 0700);
	umask(old);
}

static void refuses_others(void **state)
{
	char target[128];
	int fd;

	(void)state;
	assert_int_equal(gcs_socket_dir_make(in_dir("mine"), geteuid()), 0);
	assert_int_equal(gcs_socket_dir_make(path, geteuid() + 1), -EPERM);
	assert_int_equal(chmod(path, 0770), 0);
	assert_int_equal(gcs_socket_dir_make(path, geteuid()), -EPERM);
	assert_int_equal(chmod(path, 01777), 0);
	assert_int_equal(gcs_socket_dir_make(path, geteuid()), -EPERM);
	assert_int_equal(mode_of(path), 01777); /* refused, not repaired: it may be /tmp */
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(gcs_socket_dir_make(path, geteuid()), 0);
	assert_int_equal(mode_of(path), 0755);

	strcpy(target, path);
	assert_int_equal(symlink(target, in_dir("link")), 0);
	assert_int_equal(gcs_socket_dir_make(path, geteuid()), -EPERM);
	assert_int_equal(gcs_socket_dir_make(in_dir("link/"), geteuid()), -EPERM);
	assert_int_equal(symlink("/nowhere/at/all", in_dir("dangling")), 0);
	assert_int_equal(gcs_socket_dir_make(path, geteuid()), -EPERM);
	fd = open(in_dir("file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(gcs_socket_dir_make(path, geteuid()), -EPERM);
}

static void start_times(void **state)
{
	static const char *const name[] = {"a) b (c", "1 2 3 4 5", ") R 1", ""};
	unsigned long long self = gcs_start_time(getpid()), child;
	siginfo_t ended;
	pid_t pid;
	int i, fds[2];
	char c;

	(void)state;
	assert_true(self > 0);
	assert_int_equal(gcs_start_time(0), 0);
	assert_int_equal(gcs_start_time(-1), 0);
	assert_false(gcs_process_ended(getpid(), self));
	assert_true(gcs_process_ended(-1, 0));
	for (i = 0; i < 4; i++) {
		assert_int_equal(pipe(fds), 0);
		pid = fork();
		if (pid == 0) {
			prctl(PR_SET_NAME, name[i]);
			if (write(fds[1], "x", 1) == 1)
				pause();
			_exit(1);
		}
		assert_int_equal(read(fds[0], &c, 1), 1);
		child = gcs_start_time(pid);
		assert_false(gcs_process_ended(pid, child));
		assert_true(gcs_process_ended(pid, child + 1));
		kill(pid, SIGKILL);
		assert_int_equal(waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT), 0);
		assert_true(gcs_process_ended(pid, child)); /* a zombie */
		waitpid(pid, NULL, 0);
		assert_true(gcs_process_ended(pid, child));
		assert_in_range(child, self, self + 100 * 60 * 10);
		assert_int_equal(gcs_start_time(pid), 0);
		close(fds[0]);
		close(fds[1]);
	}
}

static void socket_names(void **state)
{
	char out[200], exact[108];
	unsigned long long start;
	pid_t pid;

	(void)state;
	assert_int_equal(gcs_socket_path(out, sizeof(out), "/d", 4711, 123456789012ull), 0);
	assert_string_equal(out, "/d/4711-123456789012.sock");
	assert_int_equal(gcs_socket_name_parse("4711-123456789012.sock", &pid, &start), 0);
	assert_int_equal(pid, 4711);
	assert_int_equal(start, 123456789012ull);

	/* sun_path has 108 bytes, NUL included. */
	memset(exact, 'x', sizeof(exact));
	exact[0] = '/';
	exact[108 - 1 - strlen("/1-2.sock")] = '\0';
	assert_int_equal(gcs_socket_path(out, sizeof(out), exact, 1, 2), 0);
	assert_int_equal(strlen(out), 107);
	assert_int_equal(gcs_socket_path(out, sizeof(out), exact, 1, 22), -ENAMETOOLONG);
	assert_int_equal(gcs_socket_path(out, 10, "/d", 1, 2222), -ENAMETOOLONG);
}

static void bad_socket_names(void **state)
{
	static const char *const name[] = {
		"",          "1.sock",    "1-.sock",           "-1.sock",
		"1-2.sock2", "1-2",       "01-2.sock",         "1-02.sock",
		"+1-2.sock", " 1-2.sock", "1-2.sock ",         "0-2.sock",
		"1--2.sock", "a1-2.sock", "2147483648-2.sock", "1-99999999999999999999.sock",
		"..",        "1-2.sock/x"};
	unsigned long long start = 9;
	pid_t pid = 9;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(name) / sizeof(name[0]); i++)
		if (gcs_socket_name_parse(name[i], &pid, &start) != -1)
			fail_msg("'%s' was taken for a socket's name", name[i]);
	assert_int_equal(pid, 9);
	assert_int_equal(gcs_socket_name_parse("1-0.sock", &pid, &start), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(which_directory),
		cmocka_unit_test_setup_teardown(makes_it, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_others, setup, teardown),
		cmocka_unit_test(start_times),
		cmocka_unit_test(socket_names),
		cmocka_unit_test(bad_socket_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
