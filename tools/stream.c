/* SPDX-License-Identifier: Apache-2.0 */
#include "stream.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "cmd.h"
#include "fields.h"
#include "logline.h"
#include "out.h"
#include "signals.h"
#include "xalloc.h"

#define NEVER INT64_MAX

struct stream {
	const struct gcs_options *o;
	const char *schema;
	bool millis;
	struct gcs_client client;
	struct gcs_out out;
	json_t *shown; /* what --interval has let through: kind -> time in ns */
	long lines;
	bool found;
};

static int64_t end_of(const struct gcs_options *o)
{
	return o->duration_s > 0 ? gcs_deadline(o->duration_s) : NEVER;
}

/* A pipe whose reader is gone shows POLLERR even before we write to it. */
static void die_if_unread(const struct pollfd *p, const struct gcs_out *out)
{
	if (p->revents & POLLERR)
		die("cannot write %s: %s", out->name, strerror(EPIPE));
}

/*
 * --interval thins out what repeats: events of one kind (for suspects: of one type). What is new or
 * withdrawn always passes.
 */
static bool too_soon(struct stream *s, const json_t *e)
{
	const char *event = gcs_fields_str(e, "event"), *type = gcs_fields_str(e, "type");
	int64_t now = gcs_now_ns();
	json_t *last;
	char *key;
	bool soon;

	if (s->o->interval_s <= 0 || !event || gcs_fields_true(e, "new"))
		return false;
	if (strcmp(event, "gc") && strcmp(event, "census") && strcmp(event, "suspect"))
		return false;
	key = xasprintf("%s %s", event, type ? type : "");
	last = json_object_get(s->shown, key);
	/* Censuses come a little early or late. */
	soon = last && (double)(now - json_integer_value(last)) < s->o->interval_s * 0.95e9;
	if (!soon)
		json_object_set_new(s->shown, key, json_integer(now));
	free(key);
	return soon;
}

static void show(struct stream *s, const json_t *e)
{
	if (gcs_confidence_rank(gcs_fields_str(e, "confidence")) >= s->o->fail_on &&
	    s->o->fail_on &&
	    !strcmp(gcs_fields_str(e, "event") ? gcs_fields_str(e, "event") : "", "suspect"))
		s->found = true;
	if (too_soon(s, e))
		return;
	if (s->o->json) {
		gcs_out_json(&s->out, e);
	} else {
		char *line = gcs_logline_format(e, s->millis);

		gcs_out_printf(&s->out, "%s\n", line);
		free(line);
	}
	s->lines++;
}

static bool enough(const struct stream *s)
{
	return gcs_signals_pending() || (s->o->limit && s->lines >= s->o->limit);
}

/* Shows what has come. */
static void drain(struct stream *s)
{
	json_t *e;
	int got = 0;

	while (!enough(s) && (got = gcs_client_take(&s->client, &e)) == 1) {
		if (gcs_client_is(e, s->schema) || gcs_client_is(e, "events") ||
		    gcs_client_is(e, "log"))
			show(s, e);
		else if (gcs_client_check(&s->client, e, s->schema) < 0)
			die("%s", s->client.error);
		json_decref(e);
	}
	gcs_out_flush(&s->out);
	if (got < 0)
		die("%s", s->client.error);
}

static void follow(struct stream *s, int64_t end)
{
	int wake = gcs_signals_catch();

	while (drain(s), !enough(s)) {
		struct pollfd p[] = {
			{.fd = s->client.fd, .events = POLLIN},
			{.fd = wake, .events = POLLIN},
			{.fd = fileno(s->out.f), .events = 0},
		};
		int ms = end == NEVER ? -1 : gcs_deadline_ms(end, 1 << 30);

		if (s->client.ended) {
			gcs_out_close(&s->out);
			gcs_client_die_ended(&s->client);
		}
		if (ms == 0)
			return;
		if (poll(p, 3, ms) < 0 && errno != EINTR)
			die("poll: %s", strerror(errno));
		die_if_unread(&p[2], &s->out);
		if (gcs_client_fill(&s->client) < 0)
			die("%s", s->client.error);
	}
}

int gcs_stream_run(const struct gcs_options *o, const char *topics, const char *schema, bool millis)
{
	struct stream s = {.o = o, .schema = schema, .millis = millis, .shown = json_object()};
	int64_t end;

	gcs_signals_catch();
	gcs_client_open(&s.client, gcs_target_find(o->target), o->timeout_s);
	json_decref(gcs_client_ask(&s.client, o->timeout_s, "subscribed", "subscribe topics=%s",
				   topics));
	end = end_of(o);
	gcs_out_open(&s.out, o);
	follow(&s, end);
	gcs_out_close(&s.out);
	gcs_client_close(&s.client);
	json_decref(s.shown);
	return s.found ? GCS_EXIT_FOUND : GCS_EXIT_DONE;
}

/* Sleeps until then; false when a signal came first. */
static bool sleep_until(int64_t when)
{
	struct pollfd p = {.fd = gcs_signals_catch(), .events = POLLIN};
	int ms;

	while (!gcs_signals_pending() && (ms = gcs_deadline_ms(when, 1 << 30)))
		poll(&p, 1, ms);
	return !gcs_signals_pending();
}

/* What --limit cuts is cut in the answer itself, so that text and JSON show the same. */
static int report_once(const struct gcs_options *o, const struct gcs_report *r,
		       struct gcs_client *c, struct gcs_out *out)
{
	json_t *answer = r->ask(o, c);
	int status = r->status ? r->status(o, answer) : GCS_EXIT_DONE;

	if (!out->f)
		gcs_out_open(out, o);
	else if (!o->json)
		gcs_out_printf(out, "\n");
	if (r->rows)
		gcs_fields_limit(answer, r->rows, o->limit);
	if (o->json)
		gcs_out_json(out, answer);
	else
		r->show(out, answer);
	gcs_out_flush(out);
	json_decref(answer);
	return status;
}

static int report_again(const struct gcs_options *o, const struct gcs_report *r,
			struct gcs_client *c, struct gcs_out *out, int status)
{
	int64_t end = end_of(o), next = gcs_now_ns();
	double interval = o->interval_s > 0 ? o->interval_s : 1;

	for (;;) {
		int now;

		next += (int64_t)(interval * 1e9);
		if (!sleep_until(next < end ? next : end) || next >= end)
			return status;
		now = report_once(o, r, c, out);
		status = now ? now : status;
	}
}

int gcs_stream_report(const struct gcs_options *o, const struct gcs_report *r)
{
	bool again = o->interval_s > 0 || o->duration_s > 0;
	struct gcs_client c = {.fd = -1};
	struct gcs_out out = {0};
	int status;

	if (again)
		gcs_signals_catch();
	if (!r->no_target)
		gcs_client_open(&c, gcs_target_find(o->target), o->timeout_s);
	status = report_once(o, r, &c, &out);
	if (again)
		status = report_again(o, r, &c, &out, status);
	gcs_out_close(&out);
	gcs_client_close(&c);
	return status;
}
