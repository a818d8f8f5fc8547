/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "fields.h"
#include "gcscope/protocol.h"
#include "proc.h"
#include "signals.h"
#include "xalloc.h"

#define READ_SIZE (64 * 1024)

static int fail(struct gcs_client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int fail(struct gcs_client *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->error, sizeof(c->error), fmt, ap);
	va_end(ap);
	return -1;
}

int gcs_client_connect(struct gcs_client *c, const struct gcs_target *t)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	*c = (struct gcs_client){.fd = -1, .pid = t->pid, .start = t->start};
	if (strlen(t->path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, t->path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return -errno;
	if (connect(c->fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		int err = -errno;

		gcs_client_close(c);
		return err;
	}
	return 0;
}

void gcs_client_close(struct gcs_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	free(c->buf); /* NOLINT(clang-analyzer-unix.Malloc): opened again, it is NULL */
	c->buf = NULL;
	c->len = c->cap = c->taken = c->scanned = 0;
}

/* Moves what is left to the front and makes room for one read. */
static void make_room(struct gcs_client *c)
{
	if (c->taken) {
		memmove(c->buf, c->buf + c->taken, c->len - c->taken);
		c->len -= c->taken;
		c->scanned -= c->taken;
		c->taken = 0;
	}
	if (c->cap - c->len < READ_SIZE) {
		c->cap = c->cap ? c->cap * 2 : 2 * READ_SIZE;
		c->buf = xrealloc(c->buf, c->cap);
	}
}

int gcs_client_fill(struct gcs_client *c)
{
	/* Bounded: a peer that never stops sending does not keep us here. */
	for (int i = 0; i < 64 && !c->ended && c->len - c->taken <= GCS_LINE_MAX; i++) {
		ssize_t n;

		make_room(c);
		n = read(c->fd, c->buf + c->len, READ_SIZE);
		if (n > 0) {
			c->len += (size_t)n;
		} else if (n == 0 || errno == ECONNRESET) {
			c->ended = true;
		} else if (errno == EAGAIN || errno == EINTR) {
			break;
		} else {
			return fail(c, "reading from %d: %s", (int)c->pid, strerror(errno));
		}
	}
	return 0;
}

/* What stands in three bytes of a line may be a hundred times that in memory. */
static bool has_too_many_values(const char *line, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += line[i] == ',' || line[i] == '[' || line[i] == '{';
	return n > GCS_VALUES_MAX;
}

static int parse(struct gcs_client *c, const char *line, size_t len, json_t **out)
{
	const char *schema;

	if (has_too_many_values(line, len))
		return fail(c, "%d sends a line of more than %u values: that is not gcscope's protocol",
			    (int)c->pid, GCS_VALUES_MAX);
	*out = json_loadb(line, len, 0, NULL);
	schema = gcs_fields_str(*out, "schema");
	if (json_is_object(*out) && schema && !strncmp(schema, "gcscope.", 8))
		return 1;
	json_decref(*out);
	*out = NULL;
	return fail(c,
		    "what came from the socket of %d is not gcscope's protocol: is it the agent's?",
		    (int)c->pid);
}

int gcs_client_take(struct gcs_client *c, json_t **out)
{
	char *nl;
	size_t begin = c->taken, len;

	*out = NULL;
	if (c->len == c->scanned)
		return 0;
	nl = memchr(c->buf + c->scanned, '\n', c->len - c->scanned);
	len = (nl ? (size_t)(nl - c->buf) : c->len) - begin;
	if (len > GCS_LINE_MAX)
		return fail(c,
			    "%d sends a line of more than 16 MiB: that is not gcscope's protocol",
			    (int)c->pid);
	if (!nl) {
		c->scanned = c->len;
		return 0;
	}
	c->taken = c->scanned = begin + len + 1;
	return parse(c, c->buf + begin, len, out);
}

int gcs_client_send(struct gcs_client *c, const char *request)
{
	size_t len = strlen(request);

	/* A request fits into an idle socket's buffer; a peer that has filled it does not read. */
	if (len > GCS_REQUEST_MAX)
		return fail(c, "the request is longer than the agent takes (%d bytes)",
			    GCS_REQUEST_MAX);
	if (send(c->fd, request, len, MSG_NOSIGNAL) == (ssize_t)len)
		return 0;
	if (errno == EPIPE || errno == ECONNRESET) {
		/* What the agent said before it closed is still to be read. */
		c->ended = true;
		return 0;
	}
	return fail(c, "the agent in %d takes no requests: %s", (int)c->pid, strerror(errno));
}

bool gcs_client_is(const json_t *answer, const char *name)
{
	char want[64];
	const char *schema = gcs_fields_str(answer, "schema");

	snprintf(want, sizeof(want), "gcscope.%s/%d", name, GCS_PROTOCOL_VERSION);
	return schema && !strcmp(schema, want);
}

int gcs_client_check(struct gcs_client *c, const json_t *answer, const char *name)
{
	const char *message = gcs_fields_str(answer, "error.message");

	if (gcs_client_is(answer, name))
		return 0;
	if (gcs_client_is(answer, "error"))
		return fail(c, "the agent in %d says: %.200s", (int)c->pid,
			    message ? message : "error, without a reason");
	return fail(c, "the agent in %d answered with %.80s instead of gcscope.%s/%d", (int)c->pid,
		    gcs_fields_str(answer, "schema"), name, GCS_PROTOCOL_VERSION);
}

int gcs_client_check_hello(struct gcs_client *c, const json_t *hello)
{
	if (gcs_client_check(c, hello, "hello") < 0)
		return -1;
	if (gcs_fields_num(hello, "protocol") != GCS_PROTOCOL_VERSION)
		return fail(c, "the agent in %d speaks another protocol: use its own gcscope",
			    (int)c->pid);
	if (gcs_fields_num(hello, "pid") != (double)c->pid)
		return fail(c, "the socket of %d is answered by another process: remove it",
			    (int)c->pid);
	return 0;
}

/* Looked at when nothing came for a second. */
static void die_if_stopped(const struct gcs_client *c)
{
	struct gcs_proc p;

	if (gcs_proc_read(c->pid, &p) < 0 || (c->start && p.start != c->start))
		die("target %d ended", (int)c->pid);
	if (p.state == 'T')
		die("target %d is stopped: let it go on with kill -CONT %d", (int)c->pid,
		    (int)c->pid);
}

/* Waits until something came, or dies at the deadline. */
static void wait_input(struct gcs_client *c, int64_t deadline_ns)
{
	/*
	 * The deadline is for a whole line: a peer that sends a byte now and then does not move it.
	 */
	while (gcs_deadline_ms(deadline_ns, 1)) {
		struct pollfd p = {.fd = c->fd, .events = POLLIN};
		int n = poll(&p, 1, gcs_deadline_ms(deadline_ns, 1000));

		if (n > 0)
			return;
		if (n < 0 && errno != EINTR)
			die("poll: %s", strerror(errno));
		if (gcs_signals_pending())
			exit(GCS_EXIT_DONE);
		if (n == 0)
			die_if_stopped(c);
	}
	die("no answer from %d in time: it or the machine is busy; try a longer --timeout",
	    (int)c->pid);
}

void gcs_client_die_ended(struct gcs_client *c)
{
	struct timespec tick = {.tv_nsec = 20 * 1000000};

	/* The agent closes at the interpreter's exit, the process is gone a little later. */
	for (int i = 0; i < 50; i++) {
		if (!gcs_proc_alive(c->pid, c->start))
			die("target %d ended", (int)c->pid);
		nanosleep(&tick, NULL);
	}
	die("the agent in %d closed the connection: its Python has ended, or it is no agent",
	    (int)c->pid);
}

json_t *gcs_client_next(struct gcs_client *c, int64_t deadline_ns)
{
	json_t *o;
	int got;

	while ((got = gcs_client_take(c, &o)) == 0) {
		if (c->ended)
			gcs_client_die_ended(c);
		wait_input(c, deadline_ns);
		if (gcs_client_fill(c) < 0)
			break;
	}
	if (got != 1)
		die("%s", c->error);
	return o;
}

static int connect_retry(struct gcs_client *c, const struct gcs_target *t, int64_t deadline_ns)
{
	struct timespec tick = {.tv_nsec = 20 * 1000000};
	int err;

	/* A full queue of a Unix socket is EAGAIN, and poll() cannot wait for it. */
	while (((err = gcs_client_connect(c, t)) == -EAGAIN ||
		(err == -ECONNREFUSED && gcs_target_is_starting(t))) &&
	       gcs_deadline_ms(deadline_ns, 1))
		nanosleep(&tick, NULL);
	return err;
}

void gcs_client_open(struct gcs_client *c, const struct gcs_target *t, double timeout_s)
{
	int64_t deadline = gcs_deadline(timeout_s);
	int err = connect_retry(c, t, deadline);
	json_t *hello;

	if (err == -ECONNREFUSED || err == -ENOENT)
		die("no agent in process %d any more (%s is stale); gcscope ps clears such sockets",
		    (int)t->pid, t->path);
	if (err)
		die("cannot connect to %s: %s", t->path, strerror(-err));
	hello = gcs_client_next(c, deadline);
	if (gcs_client_check_hello(c, hello) < 0)
		die("%s", c->error);
	json_decref(hello);
}

json_t *gcs_client_ask(struct gcs_client *c, double timeout_s, const char *name, const char *fmt,
		       ...)
{
	char request[GCS_REQUEST_MAX + 2];
	json_t *answer;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(request, sizeof(request) - 1, fmt, ap);
	va_end(ap);
	strcat(request, "\n");
	if (gcs_client_send(c, request) < 0)
		die("%s", c->error);
	answer = gcs_client_next(c, gcs_deadline(timeout_s));
	if (gcs_client_check(c, answer, name) < 0)
		die("%s", c->error);
	return answer;
}

char *gcs_client_encode(const char *value)
{
	char *out = xmalloc(strlen(value) * 3 + 1), *w = out;

	for (; *value; value++) {
		unsigned char b = (unsigned char)*value;

		if (b <= ' ' || b == '%' || b == 0x7f)
			w += sprintf(w, "%%%02X", b);
		else
			*w++ = (char)b;
	}
	*w = '\0';
	return out;
}
