/* SPDX-License-Identifier: Apache-2.0 */
#include "logline.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fields.h"
#include "logtext.h"
#include "text.h"
#include "xalloc.h"

#define CENSUS_TYPES 5 /* of a census event's types, those that stand on its line */

static void put_word(FILE *f, const char *prefix, const char *s)
{
	char *safe = gcs_text_safe(s, GCS_ESCAPE_SPACE);

	fprintf(f, " %s%s", prefix, *safe ? safe : "-");
	free(safe);
}

static void put_int(FILE *f, const char *prefix, const json_t *e, const char *key)
{
	char n[GCS_UNIT_MAX];

	fprintf(f, " %s%s", prefix, gcs_unit_int(n, gcs_fields_num(e, key)));
}

static void put_size(FILE *f, const char *prefix, const json_t *e, const char *key)
{
	char n[GCS_UNIT_MAX];

	fprintf(f, " %s%s", prefix, gcs_unit_bytes(n, gcs_fields_num(e, key), ""));
}

static void put_ns(FILE *f, const char *prefix, const json_t *e, const char *key)
{
	char n[GCS_UNIT_MAX];

	fprintf(f, " %s%s", prefix, gcs_unit_ns(n, gcs_fields_num(e, key), ""));
}

static void put_at(FILE *f, const json_t *e)
{
	const char *at = gcs_fields_str(e, "at");

	if (at)
		put_word(f, "at=", at);
}

static void put_dropped(FILE *f, const json_t *e)
{
	put_int(f, "count=", e, "count");
}

static void put_gc(FILE *f, const json_t *e)
{
	put_int(f, "gen=", e, "generation");
	put_ns(f, "", e, "pause_ns");
	put_int(f, "collected=", e, "collected");
	put_int(f, "uncollectable=", e, "uncollectable");
	put_int(f, "thread=", e, "thread");
	put_at(f, e);
}

static void put_census(FILE *f, const json_t *e)
{
	const json_t *types = json_object_get(e, "types");

	put_int(f, "objects=", e, "objects");
	put_size(f, "bytes=", e, "bytes");
	put_ns(f, "held=", e, "held_ns");
	fputs(gcs_fields_true(e, "exact") ? " exact" : " sliced", f);
	for (size_t i = 0; i < json_array_size(types) && i < CENSUS_TYPES; i++) {
		const json_t *t = json_array_get(types, i);
		char n[GCS_UNIT_MAX];

		put_word(f, "", gcs_fields_str(t, "type"));
		fprintf(f, "=%s", gcs_unit_int(n, gcs_fields_num(t, "count")));
	}
}

static bool is_head(const char *key)
{
	return !strcmp(key, "schema") || !strcmp(key, "pid") || !strcmp(key, "time") || !strcmp(key, "event");
}

static void put_unknown(FILE *f, const json_t *e)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)e, key, v)
	{
		char *safe, *prefix;

		if (is_head(key))
			continue;
		safe = gcs_text_safe(key, GCS_ESCAPE_SPACE);
		prefix = xasprintf("%s=", safe);
		if (json_is_string(v))
			put_word(f, prefix, json_string_value(v));
		else if (json_is_boolean(v))
			put_word(f, prefix, json_is_true(v) ? "true" : "false");
		else if (json_is_number(v))
			put_int(f, prefix, e, key);
		free(prefix);
		free(safe);
	}
}

/* Estimates have a "~". */
static void put_cycle(FILE *f, const json_t *e)
{
	bool estimate = gcs_fields_true(e, "estimate");
	char *text = gcs_text_safe(gcs_fields_str(e, "text"), GCS_ESCAPE_NOT_BACKSLASH);

	put_int(f, estimate ? "count=~" : "count=", e, "count");
	put_int(f, estimate ? "objects=~" : "objects=", e, "objects");
	put_size(f, estimate ? "bytes=~" : "bytes=", e, "bytes");
	fprintf(f, " %s", *text ? text : "-");
	if (gcs_fields_true(e, "new"))
		fputs(" new", f);
	free(text);
}

static const struct {
	const char *event;
	void (*put)(FILE *f, const json_t *e);
} events[] = {
	{"dropped", put_dropped},
	{"gc", put_gc},
	{"census", put_census},
	{"cycle", put_cycle},
};

/* What the log shows of an event, by the members' names. */
static struct gcs_logtext from_json(const json_t *e)
{
	return (struct gcs_logtext){
		.event = gcs_fields_str(e, "event"),
		.confidence = gcs_fields_str(e, "confidence"),
		.type = gcs_fields_str(e, "type"),
		.at = gcs_fields_str(e, "at"),
		.message = gcs_fields_str(e, "message"),
		.feature = gcs_fields_str(e, "feature"),
		.reason = gcs_fields_str(e, "reason"),
		.count = gcs_fields_num(e, "count"),
		.growth_per_s = gcs_fields_num(e, "growth_per_s"),
		.bytes = gcs_fields_num(e, "bytes"),
		.bytes_per_s = gcs_fields_num(e, "bytes_per_s"),
		.samples = gcs_fields_num(e, "evidence.samples"),
		.full_collections = gcs_fields_num(e, "evidence.full_collections"),
		.generation = gcs_fields_num(e, "generation"),
		.total = gcs_fields_num(e, "total"),
		.pause_ns = gcs_fields_num(e, "pause_ns"),
		.is_new = gcs_fields_true(e, "new"),
	};
}

/* False when the event is none of the log's. */
static bool put_log(FILE *f, const json_t *event)
{
	struct gcs_logtext e = from_json(event);
	size_t n = gcs_logtext_format(NULL, 0, &e);
	char *text;

	if (!n)
		return false;
	text = xmalloc(n + 1);
	gcs_logtext_format(text, n + 1, &e);
	fprintf(f, " %s", text);
	free(text);
	return true;
}

static void put_other(FILE *f, const json_t *event)
{
	const char *name = gcs_fields_str(event, "event");
	size_t i = 0, n = sizeof(events) / sizeof(events[0]);

	put_word(f, "", name);
	while (i < n && (!name || strcmp(events[i].event, name)))
		i++;
	(i < n ? events[i].put : put_unknown)(f, event);
}

static void put_time(FILE *f, const json_t *event, bool millis)
{
	const char *time = gcs_fields_str(event, "time");
	char *t = xstrdup(time ? time : "-"), *safe;

	if (!millis)
		gcs_logtext_whole_seconds(t);
	safe = gcs_text_safe(t, GCS_ESCAPE_SPACE);
	fputs(safe, f);
	free(safe);
	free(t);
}

char *gcs_logline_format(const json_t *event, bool millis)
{
	char *line = NULL;
	size_t size;
	FILE *f = open_memstream(&line, &size);

	if (!f)
		die("out of memory");
	put_time(f, event, millis);
	put_int(f, "", event, "pid");
	if (!put_log(f, event))
		put_other(f, event);
	if (fclose(f))
		die("out of memory");
	return line;
}
