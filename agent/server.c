/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "answers.h"
#include "clock.h"
#include "events.h"
#include "gil.h"
#include "mem.h"
#include "paths.h"
#include "runtime.h"
#include "thread.h"

#define BACKLOG 64
#define READS_PER_TURN 8 /* requests of one client before the next has its turn */
#define ACCEPT_RETRY_NS 200000000ll /* after an accept() for which there was no descriptor */

static struct {
	int listener;
	struct gcs_client *client[GCS_CLIENTS_MAX]; /* NULL: free */
	size_t nclients;
	uint64_t dropped;
	unsigned topics; /* of all clients together */
	int64_t accept_after_ns;
	char dir[108];
	char path[108];
} server = {.listener = -1};

/* Read once: later the environment is the application's to change, on its own threads. */
static struct {
	char socket_dir[128], runtime_dir[128]; /* longer than any socket's name may be */
} settings;

void gcs_server_settings(const char *socket_dir, const char *runtime_dir)
{
	snprintf(settings.socket_dir, sizeof(settings.socket_dir), "%s", socket_dir ? socket_dir : "");
	snprintf(settings.runtime_dir, sizeof(settings.runtime_dir), "%s", runtime_dir ? runtime_dir : "");
}

const char *gcs_server_path(void)
{
	return server.path;
}

size_t gcs_server_clients(void)
{
	return server.nclients;
}

bool gcs_server_postponed(void)
{
	for (size_t i = 0; i < GCS_CLIENTS_MAX; i++)
		if (server.client[i] && server.client[i]->again)
			return true;
	return false;
}

uint64_t gcs_server_dropped(void)
{
	return server.dropped;
}

bool gcs_server_wants(unsigned topic)
{
	return __atomic_load_n(&server.topics, __ATOMIC_RELAXED) & topic;
}

/* ---- the socket ---- */

/* A new socket (-1: there is none), and the address of one with that name. */
static int new_socket(const char *path, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(a->sun_path, path, strlen(path) + 1);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static int listen_at(const char *path)
{
	struct sockaddr_un a;
	int rc, fd = new_socket(path, &a);

	if (fd < 0)
		return -errno;
	unlink(path); /* an earlier image of this very process: exec keeps pid and start time */
	/* The umask is the whole process's and not ours to change: the directory (0700) guards the moment. */
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || chmod(path, 0600) || listen(fd, BACKLOG)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

int gcs_server_open(void)
{
	uid_t uid = geteuid();
	int rc = gcs_socket_dir(server.dir, sizeof(server.dir), settings.socket_dir,
				settings.runtime_dir, uid);

	if (!rc)
		rc = gcs_socket_dir_make(server.dir, uid);
	if (!rc)
		rc = gcs_socket_path(server.path, sizeof(server.path), server.dir, getpid(),
				     gcs_start_time(getpid()));
	if (!rc)
		rc = listen_at(server.path);
	if (rc < 0) {
		server.path[0] = '\0';
		return rc;
	}
	server.listener = rc;
	return 0;
}

/* Nobody listens there. One that cannot answer now (its backlog is full) is alive. */
static bool refuses(const char *path)
{
	struct sockaddr_un a;
	int fd = new_socket(path, &a);
	bool refused;

	if (fd < 0)
		return false;
	refused = connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno == ECONNREFUSED;
	close(fd);
	return refused;
}

/*
 * What an agent that was killed left behind. A live one is not bothered, but where /proc does not know its
 * process: that of another container, whose directory this is, too.
 */
static bool is_stale(const char *name)
{
	char path[sizeof(server.path)];
	unsigned long long start;
	struct stat st;
	pid_t pid;

	return !gcs_socket_name_parse(name, &pid, &start) && gcs_process_ended(pid, start) &&
	       !gcs_socket_path(path, sizeof(path), server.dir, pid, start) && !lstat(path, &st) &&
	       S_ISSOCK(st.st_mode) && refuses(path);
}

/* getdents64() by hand: opendir() would use the target's heap. */
void gcs_server_sweep(void)
{
	struct entry {
		uint64_t ino;
		int64_t off;
		unsigned short reclen;
		unsigned char type;
		char name[];
	};
	char block[4096] __attribute__((aligned(8)));
	int fd = server.dir[0] ? open(server.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	long n;

	if (fd < 0)
		return;
	while ((n = syscall(SYS_getdents64, fd, block, sizeof(block))) > 0 && !gcs_thread_should_stop())
		for (long at = 0; at < n && !gcs_thread_should_stop();) {
			struct entry *e = (struct entry *)(block + at);

			at += e->reclen;
			if (is_stale(e->name))
				unlinkat(fd, e->name, 0);
		}
	close(fd);
}

/* ---- clients ---- */

static void recount(void)
{
	unsigned topics = 0;

	server.nclients = 0;
	for (size_t i = 0; i < GCS_CLIENTS_MAX; i++)
		if (server.client[i]) {
			topics |= server.client[i]->topics;
			server.nclients++;
		}
	__atomic_store_n(&server.topics, topics, __ATOMIC_RELAXED);
}

static void drop(size_t i)
{
	close(server.client[i]->fd);
	gcs_buf_fini(&server.client[i]->out);
	gcs_mem_free(server.client[i]);
	server.client[i] = NULL;
	server.accept_after_ns = 0; /* there is a descriptor again */
	recount();
}

static bool may_connect(int fd)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) &&
	       (peer.uid == geteuid() || peer.uid == 0);
}

/* Not a client: one line, sent as far as it goes, and no more. */
static void refuse(int fd, bool full)
{
	struct gcs_buf b;

	gcs_buf_init(&b);
	if (full)
		gcs_answer_error(&b, GCS_ERR_UNAVAILABLE, "32 clients are connected already");
	else
		gcs_answer_no_memory(&b);
	if (!b.failed && send(fd, b.data, b.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		errno = 0;
	gcs_buf_fini(&b);
	close(fd);
}

/* False: memory did not suffice for the line added last, and what there is of it is taken back. */
static bool settle_line(struct gcs_client *c)
{
	size_t n = c->out.len;

	if (!c->out.failed)
		return true;
	while (n > c->sent && c->out.data[n - 1] != '\n')
		n--;
	c->out.len = n;
	c->out.failed = false;
	return false;
}

/* An answer that memory did not suffice for is an error instead; a client that has no room for that either must go. */
static void mend_answer(struct gcs_client *c)
{
	if (settle_line(c))
		return;
	gcs_answer_no_memory(&c->out);
	c->doomed |= !settle_line(c);
}

static void accept_client(void)
{
	int fd = accept4(server.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct gcs_client *c;
	size_t i = 0;

	if (fd < 0) {
		/* Who waits stays in the queue, and poll() would say so again at once. */
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			server.accept_after_ns = gcs_now_ns() + ACCEPT_RETRY_NS;
		return;
	}
	if (!may_connect(fd)) {
		close(fd);
		return;
	}
	while (i < GCS_CLIENTS_MAX && server.client[i])
		i++;
	c = i < GCS_CLIENTS_MAX ? gcs_mem_calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		refuse(fd, i == GCS_CLIENTS_MAX);
		return;
	}
	c->fd = fd;
	gcs_buf_init(&c->out);
	server.client[i] = c;
	gcs_answer_hello(&c->out);
	c->doomed = !settle_line(c);
	recount();
}

static size_t unsent(const struct gcs_client *c)
{
	return c->out.len - c->sent;
}

/* False: the client is gone. */
static bool flush(struct gcs_client *c)
{
	while (unsent(c)) {
		ssize_t n = send(c->fd, c->out.data + c->sent, unsent(c), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		c->sent += (size_t)n;
	}
	gcs_buf_clear(&c->out);
	c->sent = 0;
	return true;
}

static void tell_losses(struct gcs_client *c)
{
	struct gcs_json j;

	if (!c->lost || unsent(c))
		return;
	gcs_json_init(&j, &c->out);
	gcs_json_head(&j, GCS_SCHEMA("events"));
	gcs_json_str(&j, "event", "dropped");
	gcs_json_u64(&j, "count", c->lost);
	gcs_json_object_end(&j);
	gcs_buf_str(&c->out, "\n");
	if (settle_line(c))
		c->lost = 0;
}

void gcs_server_publish(unsigned topic, const char *line, size_t n)
{
	for (size_t i = 0; i < GCS_CLIENTS_MAX; i++) {
		struct gcs_client *c = server.client[i];

		if (!c || !(c->topics & topic) || c->doomed)
			continue;
		tell_losses(c);
		if (line && unsent(c) + n <= GCS_QUEUE_EVENTS) {
			gcs_buf_add(&c->out, line, n);
			if (settle_line(c))
				continue;
		}
		c->lost++;
		server.dropped++;
	}
}

void gcs_server_lost(unsigned topic, uint64_t n)
{
	for (size_t i = 0; i < GCS_CLIENTS_MAX; i++)
		if (server.client[i] && (server.client[i]->topics & topic))
			server.client[i]->lost += n;
}

struct gcs_client *gcs_server_waiting(enum gcs_wait what, size_t *i)
{
	for (; *i < GCS_CLIENTS_MAX; ++*i)
		if (server.client[*i] && server.client[*i]->wait == what)
			return server.client[(*i)++];
	return NULL;
}

/* ---- requests ---- */

/* False: not now, a fork waits for us. Taken apart is a copy, so that it can be asked again. */
static bool take_request(struct gcs_client *c, size_t len, size_t used)
{
	char line[GCS_REQUEST_MAX + 1];

	memcpy(line, c->in, len);
	c->again = gcs_thread_should_stop() || !gcs_answer(c, line, len);
	if (c->again)
		return false;
	mend_answer(c);
	memmove(c->in, c->in + used, c->in_len - used);
	c->in_len -= used;
	recount();
	return true;
}

static void take_requests(struct gcs_client *c)
{
	while (c->wait == GCS_WAIT_NONE && !c->doomed && unsent(c) < GCS_QUEUE_EVENTS) {
		char *end = memchr(c->in, '\n', c->in_len);

		if (end) {
			if (!take_request(c, (size_t)(end - c->in), (size_t)(end - c->in) + 1))
				return;
		} else if (c->in_len >= GCS_REQUEST_MAX) {
			gcs_answer_error(&c->out, GCS_ERR_TOO_LONG, "a request has at most 4096 bytes");
			settle_line(c);
			c->doomed = true;
		} else if (c->input_over && c->in_len) {
			if (!take_request(c, c->in_len, c->in_len)) /* a last line without its end */
				return;
		} else {
			return;
		}
	}
}

void gcs_server_answered(struct gcs_client *c)
{
	c->wait = GCS_WAIT_NONE;
	mend_answer(c);
	take_requests(c);
}

/* False: the client is gone. */
static bool read_client(struct gcs_client *c)
{
	for (int i = 0; i < READS_PER_TURN && c->wait == GCS_WAIT_NONE && !c->doomed &&
			c->in_len < GCS_REQUEST_MAX;
	     i++) {
		ssize_t n = recv(c->fd, c->in + c->in_len, GCS_REQUEST_MAX - c->in_len, MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (n == 0) {
			c->input_over = true;
			take_requests(c);
			return true;
		}
		c->in_len += (size_t)n;
		take_requests(c);
	}
	return true;
}

static bool finished(const struct gcs_client *c)
{
	if (c->doomed || unsent(c) > GCS_QUEUE_MAX)
		return true;
	return !unsent(c) && (c->input_over && !c->in_len && c->wait == GCS_WAIT_NONE && !c->topics);
}

/* ---- polling ---- */

size_t gcs_server_poll(struct pollfd *p)
{
	size_t n = 0;

	if (server.listener < 0)
		return 0;
	p[n++] = (struct pollfd){.fd = server.listener,
				 .events = gcs_now_ns() < server.accept_after_ns ? 0 : POLLIN};
	for (size_t i = 0; i < GCS_CLIENTS_MAX; i++) {
		struct gcs_client *c = server.client[i];
		short events = 0;

		if (!c)
			continue;
		if (!c->input_over && c->wait == GCS_WAIT_NONE && c->in_len < GCS_REQUEST_MAX &&
		    unsent(c) < GCS_QUEUE_EVENTS)
			events |= POLLIN;
		if (unsent(c))
			events |= POLLOUT;
		p[n++] = (struct pollfd){.fd = c->fd, .events = events};
	}
	return n;
}

static short happened(const struct pollfd *p, size_t n, int fd)
{
	for (size_t i = 0; i < n; i++)
		if (p[i].fd == fd)
			return p[i].revents;
	return 0;
}

void gcs_server_serve(const struct pollfd *p, size_t n)
{
	for (size_t i = 0; i < GCS_CLIENTS_MAX && !gcs_thread_should_stop(); i++) {
		struct gcs_client *c = server.client[i];
		short what;
		bool alive = true;

		if (!c)
			continue;
		what = happened(p, n, c->fd);
		if (what & POLLIN)
			alive = read_client(c);
		else if (what & (POLLHUP | POLLERR | POLLNVAL))
			alive = false;
		else if (c->wait == GCS_WAIT_NONE)
			take_requests(c); /* what stood behind an answer that was waited for */
		if (alive)
			alive = flush(c);
		if (alive && c->lost) {
			tell_losses(c);
			alive = flush(c);
		}
		if (!alive || finished(c))
			drop(i);
	}
	if (server.listener >= 0 && happened(p, n, server.listener) & POLLIN)
		accept_client();
}

/* ---- the ends ---- */

void gcs_server_close(void)
{
	for (size_t i = 0; i < GCS_CLIENTS_MAX; i++)
		if (server.client[i]) {
			flush(server.client[i]);
			drop(i);
		}
	if (server.listener >= 0)
		close(server.listener);
	gcs_server_remove_name();
	gcs_server_forget();
}

void gcs_server_remove_name(void)
{
	if (server.path[0])
		unlink(server.path);
	server.path[0] = '\0';
}

void gcs_server_forget(void)
{
	for (size_t i = 0; i < GCS_CLIENTS_MAX; i++)
		if (server.client[i]) {
			gcs_buf_fini(&server.client[i]->out);
			gcs_mem_free(server.client[i]);
		}
	memset(server.client, 0, sizeof(server.client));
	server.listener = -1;
	server.nclients = 0;
	__atomic_store_n(&server.topics, 0, __ATOMIC_RELAXED);
	server.dropped = 0;
	server.path[0] = '\0';
}

int gcs_server_descriptors(int *fds)
{
	int n = 0;

	if (server.listener < 0)
		return 0;
	fds[n++] = server.listener;
	for (size_t i = 0; i < GCS_CLIENTS_MAX; i++)
		if (server.client[i])
			fds[n++] = server.client[i]->fd;
	return n;
}

int gcs_server_adopt(const int *fds, int n)
{
	int k = 0;

	if (server.listener < 0 || n != 1 + (int)server.nclients)
		return -1;
	server.listener = fds[k++];
	for (size_t i = 0; i < GCS_CLIENTS_MAX; i++)
		if (server.client[i])
			server.client[i]->fd = fds[k++];
	return 0;
}
