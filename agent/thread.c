/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "thread.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "attach.h"
#include "disabled.h"
#include "events.h"
#include "hand.h"
#include "logfile.h"
#include "loop.h"
#include "smallfile.h"

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1U << 1)
#endif

#define STACK_SIZE (512 * 1024)
#define GONE_MS 50        /* how long a joined thread may still be counted by the kernel */
#define HIGH_DESCRIPTOR 200 /* where the carrying socket is kept, out of the application's way */

int gcs_thread_carried[GCS_CARRY_MAX];
int gcs_thread_ncarried;

static struct {
	pthread_t id;
	bool running;
	pid_t pid; /* whose it is */
	bool should_stop, keep; /* atomic; of the stop asked for */
	pid_t tid;              /* atomic; set by the thread */
	bool own_table;         /* atomic; set by the thread when it has it, or never will */
	pid_t ear;              /* seq_cst: a Dekker pair with should_stop; who hears signals now, 0 */
	bool rung;              /* atomic: a signal was sent to it */
	int bell;               /* the thread's table: a signalfd; -1 */
	int carry;              /* application's table: holds the sockets in flight; -1 */
	dev_t carry_dev;        /* what that is: the application may close it and open another there */
	ino_t carry_ino;
	int meeting;                /* the thread's table: where who takes its sockets connects */
	struct sockaddr_un address; /* of that */
	socklen_t address_length;
} self = {.bell = -1, .carry = -1, .meeting = -1};

bool gcs_thread_running(void)
{
	return self.running;
}

bool gcs_thread_is_ours(void)
{
	pid_t tid = __atomic_load_n(&self.tid, __ATOMIC_ACQUIRE);

	/* Of two PID namespaces the numbers may be the same. */
	return self.running && self.pid == getpid() && (!tid || !syscall(SYS_tgkill, getpid(), tid, 0));
}

bool gcs_thread_should_stop(void)
{
	return __atomic_load_n(&self.should_stop, __ATOMIC_SEQ_CST);
}

bool gcs_thread_keeps(void)
{
	return __atomic_load_n(&self.keep, __ATOMIC_ACQUIRE);
}

int gcs_thread_wake_fd(void)
{
	return self.bell;
}

void gcs_thread_sleep(long ns)
{
	while (ns > 0 && !gcs_thread_should_stop()) {
		struct timespec ts = {0, ns < 2000000 ? ns : 2000000};

		nanosleep(&ts, NULL);
		ns -= ts.tv_nsec;
	}
}

/* ---- the descriptor table ---- */

static int close_between(unsigned first, unsigned last, unsigned flags)
{
	return first > last ? 0 : (int)syscall(SYS_close_range, first, last, flags);
}

/* A table of our own with nothing in it but 0 to 2 and carry. */
static bool unshare_table(int carry)
{
	struct rlimit limit;

	if (carry < 0 && !close_between(3, ~0u, CLOSE_RANGE_UNSHARE))
		return true;
	if (carry >= 0 && !close_between((unsigned)carry + 1, ~0u, CLOSE_RANGE_UNSHARE))
		return !close_between(3, (unsigned)carry - 1, 0);
	if (unshare(CLONE_FILES))
		return false;
	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > 65536)
		limit.rlim_cur = 65536;
	for (int fd = 3; fd < (int)limit.rlim_cur; fd++)
		if (fd != carry)
			close(fd);
	return true;
}

/* The application's standard streams must not stay open through us: a reader waits for their end. */
static void leave_standard_streams(void)
{
	int null;

	gcs_log_keep_stderr();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd <= 2; fd++)
		if (fd != null) {
			if (null >= 0)
				dup3(null, fd, O_CLOEXEC);
			else
				close(fd);
		}
	if (null > 2)
		close(null);
}

/* ---- waking ---- */

static void listen_for_signals(void)
{
	sigset_t urgent;

	sigemptyset(&urgent);
	sigaddset(&urgent, SIGURG);
	self.bell = signalfd(-1, &urgent, SFD_CLOEXEC | SFD_NONBLOCK);
	if (self.bell >= 0)
		__atomic_store_n(&self.ear, self.tid, __ATOMIC_SEQ_CST);
}

static void stop_listening(void)
{
	__atomic_store_n(&self.ear, 0, __ATOMIC_SEQ_CST);
	if (self.bell >= 0)
		close(self.bell);
	self.bell = -1;
}

/* By number, since the thread may have ended and been joined meanwhile. */
static void ring(void)
{
	pid_t ear = __atomic_load_n(&self.ear, __ATOMIC_SEQ_CST);

	if (ear && !syscall(SYS_tgkill, getpid(), ear, SIGURG))
		__atomic_store_n(&self.rung, true, __ATOMIC_RELEASE);
}

/* ---- the meeting place, for a handover ---- */

static int make_meeting_place(void)
{
	struct sockaddr_un *a = &self.address;
	uint64_t cookie = 0;
	socklen_t length;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (getrandom(&cookie, sizeof(cookie), GRND_NONBLOCK) != sizeof(cookie))
		cookie = (uint64_t)time(NULL);
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			     (size_t)snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1,
					      "gcscope-wake-%d-%016llx", (int)getpid(),
					      (unsigned long long)cookie));
	if (bind(fd, (struct sockaddr *)a, length) || listen(fd, 128)) {
		close(fd);
		return -1;
	}
	__atomic_store_n(&self.address_length, length, __ATOMIC_RELEASE);
	return fd;
}

/* Application's side: a connection to the thread, kept at a high number. -1 when it cannot be had. */
static int connect_to_thread(void)
{
	int fd, high;

	if (!__atomic_load_n(&self.address_length, __ATOMIC_ACQUIRE))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR);
	if (high >= 0) {
		close(fd);
		fd = high;
	}
	if (fd < 3 || connect(fd, (struct sockaddr *)&self.address, self.address_length)) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool is_ourselves(int fd)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) && peer.pid == getpid();
}

/* ---- the end of the others ---- */

static pthread_key_t end_key;
static bool have_end_key;

/* Runs when a thread ends that is not ended by exit(): ours should look round. */
static void on_end(void *unused)
{
	(void)unused;
	ring();
}

void gcs_thread_watch_end(void)
{
	if (!have_end_key)
		have_end_key = !pthread_key_create(&end_key, on_end);
	if (have_end_key)
		pthread_setspecific(end_key, &self);
}

/* The first thread of a process stays, as a zombie, until the last has ended. */
static bool leader_is_zombie(void)
{
	char text[512], *p;

	if (gcs_read_file("/proc/self/stat", text, sizeof(text)) <= 0)
		return false;
	p = strrchr(text, ')'); /* the name before it may hold anything */
	return p && p[1] == ' ' && p[2] == 'Z';
}

/* The application's, one that is a zombie included; -1: not to be known. */
static long count_threads(void)
{
	long ours = gcs_hand_there() ? 2 : 1;
	struct stat st;

	/* Two entries of the directory itself, then one for each thread. */
	return stat("/proc/self/task", &st) ? -1 : (long)st.st_nlink - 2 - ours;
}

bool gcs_thread_is_last(void)
{
	long n = count_threads();

	return n == 0 || (n == 1 && leader_is_zombie());
}

bool gcs_thread_has_company(void)
{
	return count_threads() > 1;
}

/* ---- handover ---- */

static void send_descriptors(int to, const int *fds, int n)
{
	char control[CMSG_SPACE(sizeof(int) * GCS_CARRY_MAX)] = {0};
	struct iovec iov = {"h", 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)n);
	while (sendmsg(to, &m, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

static int receive_descriptors(int from, int *fds)
{
	char control[CMSG_SPACE(sizeof(int) * GCS_CARRY_MAX)];
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	int n;

	if (recvmsg(from, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) <= 0)
		return 0;
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return 0;
	n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	memcpy(fds, CMSG_DATA(c), sizeof(int) * (size_t)n);
	return n;
}

/*
 * A thread that has ended is counted for a moment more. A SIGURG sent to a process that blocks it everywhere can be seen
 * here, too: that is the application's to take, and so it is not listened for any more.
 */
void gcs_thread_woken(void)
{
	struct timespec pause = {0, 50000};
	struct signalfd_siginfo info;

	for (int i = 0; i < 2000 && !gcs_thread_should_stop() && !gcs_thread_is_last(); i++)
		nanosleep(&pause, NULL);
	if (gcs_thread_should_stop())
		return; /* what is pending ends with us */
	if (!__atomic_exchange_n(&self.rung, false, __ATOMIC_ACQ_REL) ||
	    read(self.bell, &info, sizeof(info)) != sizeof(info))
		stop_listening();
}

/* Who asked for our sockets. The address is abstract: anybody may try. */
static int accept_taker(void)
{
	int fd;

	while ((fd = accept4(self.meeting, NULL, NULL, SOCK_CLOEXEC)) >= 0 && !is_ourselves(fd))
		close(fd);
	return fd;
}

/* The thread's side of gcs_thread_stop(true): everything it has goes to whoever asked. */
static void hand_over(void)
{
	int fds[GCS_CARRY_MAX], taker = accept_taker();

	if (taker < 0)
		return;
	fds[0] = self.meeting;
	memcpy(fds + 1, gcs_thread_carried, sizeof(int) * (size_t)gcs_thread_ncarried);
	send_descriptors(taker, fds, 1 + gcs_thread_ncarried);
}

/* ---- what carries them meanwhile ---- */

static void note_carry(int fd)
{
	struct stat st;

	self.carry = fd;
	if (fd < 0 || !fstat(fd, &st)) {
		self.carry_dev = fd < 0 ? 0 : st.st_dev;
		self.carry_ino = fd < 0 ? 0 : st.st_ino;
		return;
	}
	close(fd);
	self.carry = -1;
}

/* Not what the application has opened there since. */
static bool is_carry(int fd)
{
	struct stat st;

	return fd >= 0 && !fstat(fd, &st) && st.st_dev == self.carry_dev && st.st_ino == self.carry_ino;
}

static void close_carry(int fd)
{
	if (is_carry(fd))
		close(fd);
}

static void take_over(int carry)
{
	int fds[GCS_CARRY_MAX], n = is_carry(carry) ? receive_descriptors(carry, fds) : 0;

	close(carry); /* of our own table, whatever it is */
	gcs_thread_ncarried = n > 0 ? n - 1 : 0;
	if (n > 0) {
		self.meeting = fds[0];
		memcpy(gcs_thread_carried, fds + 1, sizeof(int) * (size_t)(n - 1));
	}
}

/* ---- the thread ---- */

/* In the application's table our numbers would be the application's to close and to use again: no agent. */
static void give_up(void)
{
	gcs_disable("agent",
		    "no descriptor table of its own: neither close_range() nor unshare() is permitted");
	gcs_attach_give_up();
	if (!gcs_attached()) {
		gcs_log_keep_stderr();
		gcs_events_introduce();
		gcs_log_close();
	}
	gcs_hand_stop(true);
}

static void *thread_main(void *arg)
{
	int carry = (int)(intptr_t)arg;

	__atomic_store_n(&self.tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	pthread_setname_np(pthread_self(), "gcscope");
	gcs_thread_ncarried = 0;
	if (!unshare_table(carry)) {
		__atomic_store_n(&self.own_table, true, __ATOMIC_RELEASE);
		give_up();
		return NULL;
	}
	leave_standard_streams();
	if (carry >= 0)
		take_over(carry);
	__atomic_store_n(&self.own_table, true, __ATOMIC_RELEASE);
	listen_for_signals();
	if (self.meeting < 0)
		self.meeting = make_meeting_place();
	gcs_loop_run();
	if (!gcs_thread_should_stop())
		gcs_hand_stop(true); /* all others have ended: this process ends with us */
	if (gcs_thread_keeps() && self.meeting >= 0)
		hand_over();
	stop_listening();
	return NULL;
}

/*
 * glibc takes the static thread-local storage of all libraries out of the stack. Looked up once, in the constructor:
 * in a forked child the loader's lock may be taken.
 */
static size_t stack_size(void)
{
	static size_t size;
	size_t (*least)(const pthread_attr_t *);
	pthread_attr_t attr;

	if (size)
		return size;
	size = STACK_SIZE;
	*(void **)&least = dlsym(RTLD_DEFAULT, "__pthread_get_minstack");
	if (least && !pthread_attr_init(&attr)) {
		size += least(&attr);
		pthread_attr_destroy(&attr);
	}
	return size;
}

int gcs_thread_create(pthread_t *id, void *(*body)(void *), void *arg)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int rc;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, stack_size());
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(id, &attr, body, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return -rc;
}

int gcs_thread_start(void)
{
	struct timespec pause = {0, 20000};
	int rc, carry = is_carry(self.carry) ? self.carry : -1;

	self.should_stop = self.keep = self.own_table = self.rung = false;
	self.tid = self.ear = 0;
	self.bell = self.meeting = -1;
	if (gcs_attached())
		gcs_hand_start();
	rc = gcs_thread_create(&self.id, thread_main, (void *)(intptr_t)carry);
	self.running = !rc;
	self.pid = getpid();
	if (rc)
		gcs_hand_stop(false);
	self.carry = -1;
	if (carry >= 0) {
		/* Closed here only once the thread has its copy. */
		while (!rc && !__atomic_load_n(&self.own_table, __ATOMIC_ACQUIRE))
			nanosleep(&pause, NULL);
		close_carry(carry);
	}
	return rc;
}

void gcs_thread_wait_until_gone(pid_t tid)
{
	struct timespec pause = {0, 100000};

	for (int i = 0; tid && i < GONE_MS * 10 && !syscall(SYS_tgkill, getpid(), tid, 0); i++)
		nanosleep(&pause, NULL);
}

void gcs_thread_stop(bool keep)
{
	int saved = errno;

	if (!self.running) {
		gcs_hand_stop(!keep); /* one that was busy in the last fork */
		return;
	}
	/* First the connection, which the thread must find when it sees that it should stop. */
	note_carry(keep ? connect_to_thread() : -1);
	__atomic_store_n(&self.keep, keep, __ATOMIC_RELEASE);
	__atomic_store_n(&self.should_stop, true, __ATOMIC_SEQ_CST);
	ring();
	pthread_join(self.id, NULL);
	gcs_hand_stop(!keep);
	gcs_thread_wait_until_gone(self.tid);
	self.running = false;
	errno = saved;
}

void gcs_thread_forget(void)
{
	gcs_hand_forget();
	close_carry(self.carry);
	self.carry = -1;
	self.running = false;
	self.ear = 0;
	self.address_length = 0; /* that is the parent's thread */
	gcs_thread_ncarried = 0;
}
