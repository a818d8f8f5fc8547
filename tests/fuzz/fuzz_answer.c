/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds the command line's renderers answers of any shape: an object of the keys that agents send, with values
 * of any type and depth, or (first byte odd) whatever JSON the bytes themselves are. What is shown as text holds
 * no control character but the ends of lines, is UTF-8 and bounded; as JSON it is ASCII.
 *
 * The commands are the real ones. What would ask an agent for the answer is here.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "cmd.h"
#include "fields.h"
#include "logline.h"
#include "options.h"
#include "out.h"
#include "signals.h"
#include "stream.h"
#include "utf8.h"

#include "fuzz.h"

#define DEPTH 6
#define MEMBERS 12

/* Of all answers and events together. */
static const char *const keys[] = {
	"schema", "pid", "time", "event", "python", "version", "free_threaded", "debug", "gc", "enabled", "thresholds",
	"counts", "frozen", "garbage", "generations", "collections", "collected", "uncollectable", "pause_ns", "sum",
	"p50", "p90", "p99", "max", "process", "rss_bytes", "rss_anon_bytes", "rss_file_bytes", "rss_shmem_bytes",
	"threads", "python_blocks", "agent", "uptime_s", "cpu_ns", "attach_ns", "gil_held_ns", "max_gil_hold_ns",
	"gil_hold_ns", "budget_percent", "interval_s", "memory_bytes", "memory_limit_bytes", "dropped_events",
	"lost_log_lines", "clients", "census", "count", "given_up", "objects", "held_ns", "wall_ns", "slices", "restarts",
	"exact", "callback_lost", "history", "bytes", "types", "dropped_types", "paused", "settings_complaint",
	"disabled", "feature", "reason", "type", "growth_per_s", "bytes_per_s", "confidence", "first_seen",
	"fingerprint", "evidence", "samples", "span_s", "min_first", "min_last", "rising", "blocks",
	"full_collections", "by", "path", "sites", "advice", "kind", "text", "cycles", "captured", "skipped", "refused",
	"estimate", "unanalysed", "acyclic", "legacy", "size", "finalizer", "created_at", "collected_at", "others",
	"distinct", "last_seen", "length", "looked_at", "address", "generation", "at", "at_time", "thread", "new",
	"message", "total", "suspects", "taken_s_ago",
};

static const struct cmd_entry *const commands[] = {&cmd_entry_stat, &cmd_entry_census, &cmd_entry_suspects,
						   &cmd_entry_cycles, &cmd_entry_garbage, &cmd_entry_collect};

static json_t *answer;
static size_t width;

/* ---- what the commands find instead of an agent ---- */

static void check_text(const char *s, size_t size)
{
	uint32_t code;
	size_t n;

	for (; size; s += n, size -= n) {
		n = gcs_utf8_decode(s, size, &code);
		CHECK(code != GCS_UTF8_BAD);
		CHECK(code == '\n' || code >= 0x20);
		CHECK(code < 0x7f || code > 0x9f);
		CHECK(code != 0x2028 && code != 0x2029 && code != 0x202e);
	}
}

static void check_ascii(const char *s, size_t size)
{
	for (size_t i = 0; i < size; i++)
		CHECK(s[i] == '\n' || (s[i] >= 0x20 && s[i] < 0x7f));
}

int gcs_stream_report(const struct gcs_options *o, const struct gcs_report *r)
{
	struct gcs_out out = {.name = "memory", .width = width};
	json_t *copy = json_deep_copy(answer);
	char *text = NULL;
	size_t size = 0;

	out.f = open_memstream(&text, &size);
	CHECK(out.f && copy);
	if (r->rows)
		gcs_fields_limit(copy, r->rows, o->limit);
	if (r->status)
		r->status(o, copy);
	if (o->json)
		gcs_out_json(&out, copy);
	else
		r->show(&out, copy);
	gcs_out_close(&out);
	(o->json ? check_ascii : check_text)(text, size);
	free(text);
	json_decref(copy);
	return 0;
}

json_t *gcs_client_ask(struct gcs_client *c, double timeout_s, const char *schema, const char *fmt, ...)
{
	(void)c;
	(void)timeout_s;
	(void)schema;
	(void)fmt;
	abort(); /* the report above asks nobody */
}

bool gcs_signals_pending(void)
{
	return false;
}

/* ---- an answer out of bytes ---- */

static json_t *number(struct input *in)
{
	static const double odd[] = {0, -1, 0.5, 1e308, -1e308, 1e-300, 9.3e18, -9.3e18};
	unsigned kind = next(in);

	if (kind < 64)
		return json_real(odd[kind % 8]);
	if (kind < 128)
		return json_integer((json_int_t)((uint64_t)next(in) << (kind & 63)));
	return json_integer(kind & 1 ? -(json_int_t)next(in) : (json_int_t)next(in) * 1000);
}

static json_t *string(struct input *in)
{
	static const char *const words[] = {"confirmed", "likely", "watch", "suspect", "withdrawn", "gc", "census", "dropped",
					    "pause", "uncollectable", "bytes", "2026-11-20T07:30:01.123Z", "0x7f0123456789"};
	unsigned kind = next(in);
	size_t n = next(in);
	json_t *s;

	if (kind < sizeof(words) / sizeof(words[0]))
		return json_string(words[kind]);
	n = n < in->size ? n : in->size;
	s = json_stringn((const char *)in->data, n); /* NULL: not UTF-8 */
	in->data += n;
	in->size -= n;
	return s ? s : json_string("\xe2\x80\xae\x1b[31m\xc2\x9b");
}

/* Not recursive: the containers that are open are on a stack. */
static void put(json_t *into, struct input *in, json_t *value)
{
	if (json_is_object(into))
		json_object_set_new(into, keys[next(in) % (sizeof(keys) / sizeof(keys[0]))], value);
	else
		json_array_append_new(into, value);
}

static json_t *build(struct input *in)
{
	json_t *open[DEPTH] = {json_object()};
	int depth = 1;

	while (in->size) {
		unsigned kind = next(in) % 16;
		json_t *value;

		if (kind < 2) {
			depth -= depth > 1;
			continue;
		}
		if (kind < 7 && depth < DEPTH) {
			value = kind < 5 ? json_object() : json_array();
			put(open[depth - 1], in, value);
			/* A key that was there is replaced, and what it held is gone: all that is open is above. */
			open[depth++] = value;
			continue;
		}
		value = kind < 11 ? number(in) : kind < 14 ? string(in) : kind == 14 ? json_boolean(next(in) & 1) : json_null();
		if (json_is_object(open[depth - 1]) || json_array_size(open[depth - 1]) < MEMBERS)
			put(open[depth - 1], in, value);
		else
			json_decref(value);
	}
	return open[0];
}

static void show_all(void)
{
	struct gcs_options o = {.limit = 5, .timeout_s = 1, .no_color = true};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		for (int json = 0; json < 2; json++) {
			o.cmd = commands[i];
			o.json = json;
			o.limit = i % 2 ? 0 : 5;
			o.fail_on = (int)(i % 4);
			commands[i]->exec(&o);
		}
	for (int millis = 0; millis < 2; millis++) {
		char *line = gcs_logline_format(answer, millis);

		CHECK(line && !strchr(line, '\n'));
		check_text(line, strlen(line));
		free(line);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	unsigned how = next(&in);

	if (size > 65536)
		return 0;
	width = how / 2 % 128;
	answer = how & 1 ? json_loadb((const char *)in.data, in.size, JSON_ALLOW_NUL, NULL) : build(&in);
	if (json_is_object(answer))
		show_all();
	json_decref(answer);
	return 0;
}
