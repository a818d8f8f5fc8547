/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gcscope ps: the live agents. All of them are asked at once, against one deadline, so that a
 * stopped or hung target costs nobody more than that; it is listed with what the kernel knows of
 * it. Sockets that nobody listens on any more are taken away.
 */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "cmd.h"
#include "fields.h"
#include "gcscope/protocol.h"
#include "proc.h"
#include "signals.h"
#include "stream.h"
#include "table.h"
#include "target.h"
#include "text.h"
#include "xalloc.h"

#define RETRY_MS 20    /* a full listen queue cannot be polled */
#define STOPPED_MS 250 /* of silence before it is looked at why */

enum row_state { ROW_CONNECT, ROW_HELLO, ROW_INFO, ROW_DONE, ROW_SILENT, ROW_STALE };

struct row {
	const struct gcs_target *target;
	enum row_state state;
	struct gcs_client client;
	json_t *info;
};

static char looked_in[512];

static void row_connect(struct row *r)
{
	int err = gcs_client_connect(&r->client, r->target);

	if (err == 0)
		r->state = ROW_HELLO;
	else if (err == -ECONNREFUSED || err == -ENOENT)
		r->state = ROW_STALE;
	else if (err != -EAGAIN)
		r->state = ROW_SILENT;
}

static void row_object(struct row *r, json_t *o)
{
	if (r->state == ROW_HELLO && gcs_client_check_hello(&r->client, o) == 0) {
		r->state = gcs_client_send(&r->client, GCS_VERB_INFO "\n") == 0 ? ROW_INFO
										: ROW_SILENT;
	} else if (r->state == ROW_INFO && gcs_client_check(&r->client, o, "info") == 0) {
		r->info = json_incref(o);
		r->state = ROW_DONE;
	} else {
		r->state = ROW_SILENT;
	}
}

static void row_read(struct row *r)
{
	json_t *o;
	int got = gcs_client_fill(&r->client);

	while (got == 0 && (r->state == ROW_HELLO || r->state == ROW_INFO)) {
		int n = gcs_client_take(&r->client, &o);

		if (n == 0 && !r->client.ended)
			return;
		if (n <= 0)
			break;
		row_object(r, o);
		json_decref(o);
	}
	if (r->state != ROW_DONE)
		r->state = ROW_SILENT;
}

/* Whoever is stopped cannot answer: not waited for once the others had their say. */
static void give_up_stopped(struct row *row, size_t n)
{
	struct gcs_proc p;

	for (size_t i = 0; i < n; i++)
		if (row[i].state < ROW_DONE && gcs_proc_read(row[i].target->pid, &p) == 0 &&
		    p.state == 'T')
			row[i].state = ROW_SILENT;
}

/* One round over all rows. False when none is waited for any more. */
static bool poll_rows(struct row *row, struct pollfd *p, size_t n, int64_t deadline)
{
	bool connecting = false, waiting = false;
	int ms;

	for (size_t i = 0; i < n; i++) {
		if (row[i].state == ROW_CONNECT)
			row_connect(&row[i]);
		connecting |= row[i].state == ROW_CONNECT;
		p[i] = (struct pollfd){.fd = -1, .events = POLLIN};
		if (row[i].state == ROW_HELLO || row[i].state == ROW_INFO)
			p[i].fd = row[i].client.fd;
		waiting |= p[i].fd >= 0;
	}
	ms = gcs_deadline_ms(deadline, connecting ? RETRY_MS : STOPPED_MS);
	if ((!connecting && !waiting) || ms == 0)
		return false;
	if (poll(p, n, ms) == 0)
		give_up_stopped(row, n);
	for (size_t i = 0; i < n; i++)
		if (p[i].fd >= 0 && p[i].revents)
			row_read(&row[i]);
	return true;
}

static json_t *number(double v)
{
	return isfinite(v) ? json_integer((json_int_t)v) : json_null();
}

/* What is known of a target that does not answer; NULL when it is gone by now. */
static json_t *silent_row(const struct gcs_target *t)
{
	struct gcs_proc p;
	char *command;
	json_t *o;

	if (t->gone || !gcs_proc_alive(t->pid, t->start) || gcs_proc_read(t->pid, &p) < 0)
		return NULL;
	command = gcs_text_utf8(t->command, strlen(t->command));
	o = json_pack("{s:i, s:i, s:n, s:f, s:o, s:n, s:n, s:s, s:s}", "pid", (int)t->pid, "ppid",
		      (int)p.ppid, "python", "uptime_s", p.uptime_s, "rss_bytes",
		      number(p.rss_bytes), "objects", "suspects", "command", command, "state",
		      p.state == 'T' || p.state == 't' ? "stopped" : "no answer");
	free(command);
	return o;
}

/* A process that ends closes its sockets a moment before it is gone. */
static void await_end(const struct row *r)
{
	struct pollfd p = {.fd = r->client.fd};
	struct timespec tick = {.tv_nsec = 10 * 1000000};

	if (poll(&p, 1, 0) != 1)
		return;
	for (int i = 0; i < 20 && gcs_proc_alive(r->target->pid, r->target->start); i++)
		nanosleep(&tick, NULL);
}

/* It ended while we asked: its socket is stale as of now. */
static bool ended_meanwhile(struct row *r)
{
	if (r->state != ROW_SILENT)
		return false;
	await_end(r);
	if (gcs_proc_alive(r->target->pid, r->target->start))
		return false;
	gcs_client_close(&r->client);
	return gcs_client_connect(&r->client, r->target) == -ECONNREFUSED;
}

static json_t *row_json(struct row *r)
{
	json_t *o;

	if (r->state == ROW_STALE || ended_meanwhile(r)) {
		gcs_target_remove_stale(r->target);
		return NULL;
	}
	if (r->state != ROW_DONE)
		return silent_row(r->target);
	o = r->info;
	json_object_del(o, "schema");
	json_object_del(o, "time");
	json_object_set_new(o, "state", json_string("running"));
	return json_incref(o);
}

static bool wanted(const struct gcs_options *o, const struct gcs_target *t)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)t->pid);
	return !o->target || !strcmp(o->target, pid) || strstr(t->command, o->target);
}

static json_t *ask_all(struct row *row, size_t n, int64_t deadline)
{
	struct pollfd *p = xcalloc(n, sizeof(*p));
	json_t *agents = json_array();

	while (poll_rows(row, p, n, deadline))
		;
	for (size_t i = 0; i < n; i++) {
		json_t *o = row_json(&row[i]);

		if (o)
			json_array_append_new(agents, o);
		json_decref(row[i].info);
		gcs_client_close(&row[i].client);
	}
	free(p);
	return agents;
}

static json_t *ask(const struct gcs_options *o, struct gcs_client *c)
{
	struct gcs_targets ts;
	struct row *row;
	json_t *agents;
	char now[32];
	time_t t = time(NULL);
	struct tm tm;
	size_t n = 0;

	(void)c;
	gcs_targets_scan(&ts);
	row = xcalloc(ts.n, sizeof(*row));
	for (size_t i = 0; i < ts.n; i++)
		if (wanted(o, &ts.t[i]) || ts.t[i].gone)
			row[n++] = (struct row){.target = &ts.t[i], .client.fd = -1};
	agents = ask_all(row, n, gcs_deadline(o->timeout_s));
	memcpy(looked_in, ts.looked_in, sizeof(looked_in));
	free(row);
	gcs_targets_free(&ts);
	strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
	return json_pack("{s:s, s:i, s:s, s:o}", "schema", GCS_SCHEMA("ps"), "pid", (int)getpid(),
			 "time", now, "agents", agents);
}

static void add_row(struct gcs_table *t, const json_t *a)
{
	const char *state = gcs_fields_str(a, "state");
	bool running = state && !strcmp(state, "running");
	double suspects = gcs_fields_num(a, "suspects");
	char s[GCS_UNIT_MAX];

	gcs_table_add(t, gcs_unit_int(s, gcs_fields_num(a, "pid")));
	gcs_table_add(t, gcs_unit_int(s, gcs_fields_num(a, "ppid")));
	gcs_table_add_colored(t, running ? gcs_fields_str(a, "python") : state,
			      running ? "" : "33");
	gcs_table_add(t, gcs_unit_span(s, gcs_fields_num(a, "uptime_s")));
	gcs_table_add(t, gcs_unit_bytes(s, gcs_fields_num(a, "rss_bytes"), " "));
	gcs_table_add(t, gcs_unit_count(s, gcs_fields_num(a, "objects")));
	gcs_table_add_colored(t, gcs_unit_int(s, suspects), suspects > 0 ? "31" : "");
	gcs_table_add(t, gcs_fields_str(a, "command"));
}

static void show(struct gcs_out *out, const json_t *ps)
{
	static const struct gcs_column col[] = {
		{"PID", true, false},      {"PPID", true, false},    {"PYTHON", false, false},
		{"UPTIME", true, false},   {"RSS", true, false},     {"OBJECTS", true, false},
		{"SUSPECTS", true, false}, {"COMMAND", false, true},
	};
	const json_t *agents = json_object_get(ps, "agents");
	struct gcs_table t;

	if (!json_array_size(agents)) {
		gcs_out_printf(out, "no agents (looked in %s); start one: gcscope run -- CMD\n",
			       looked_in);
		return;
	}
	gcs_table_init(&t, col, sizeof(col) / sizeof(col[0]));
	for (size_t i = 0; i < json_array_size(agents); i++)
		add_row(&t, json_array_get(agents, i));
	gcs_table_print(&t, out);
	gcs_table_fini(&t);
}

static int cmd_ps(struct gcs_options *o)
{
	static const struct gcs_report report = {
		.ask = ask, .show = show, .rows = "agents", .no_target = true};

	return gcs_stream_report(o, &report);
}

const struct cmd_entry cmd_entry_ps = {
	.name = "ps",
	.usage = "[OPTIONS] [TARGET]",
	.summary = "Lists the live agents.",
	.notes = "With TARGET those that match. Clears away the sockets of processes that ended.",
	.impact = "low",
	.timeout_s = 3,
	.exec = cmd_ps,
};
