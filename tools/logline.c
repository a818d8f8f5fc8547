/* SPDX-License-Identifier: Apache-2.0 */
#include "logline.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fields.h"
#include "text.h"
#include "xalloc.h"

#define CENSUS_TYPES 5 /* of a census event's types, those that stand on its line */

static void put_word(FILE *f, const char *prefix, const char *s)
{
	char *safe = gcs_text_safe(s, GCS_TEXT_WORD);

	fprintf(f, " %s%s", prefix, *safe ? safe : "-");
	free(safe);
}

static void put_int(FILE *f, const char *prefix, const json_t *e, const char *key)
{
	char n[GCS_UNIT_MAX];

	fprintf(f, " %s%s", prefix, gcs_text_int(n, gcs_fields_num(e, key)));
}

static void put_size(FILE *f, const char *prefix, const json_t *e, const char *key)
{
	char n[GCS_UNIT_MAX];

	fprintf(f, " %s%s", prefix, gcs_text_bytes(n, gcs_fields_num(e, key), ""));
}

static void put_ns(FILE *f, const char *prefix, const json_t *e, const char *key)
{
	char n[GCS_UNIT_MAX];

	fprintf(f, " %s%s", prefix, gcs_text_ns(n, gcs_fields_num(e, key), ""));
}

static void put_at(FILE *f, const json_t *e)
{
	const char *at = gcs_fields_str(e, "at");

	if (at)
		put_word(f, "at=", at);
}

static void put_suspect(FILE *f, const json_t *e)
{
	char rate[GCS_UNIT_MAX], samples[GCS_UNIT_MAX], full[GCS_UNIT_MAX];

	put_word(f, "", gcs_fields_str(e, "confidence"));
	put_word(f, "", gcs_fields_str(e, "type"));
	put_int(f, "count=", e, "count");
	fprintf(f, " %s", gcs_text_rate(rate, gcs_fields_num(e, "growth_per_s")));
	put_size(f, "bytes=", e, "bytes");
	fprintf(f, " (%s censuses, %s full collections)",
		gcs_text_int(samples, gcs_fields_num(e, "evidence.samples")),
		gcs_text_int(full, gcs_fields_num(e, "evidence.full_collections")));
	if (gcs_fields_true(e, "new"))
		fprintf(f, " new");
}

static void put_withdrawn(FILE *f, const json_t *e)
{
	put_word(f, "", gcs_fields_str(e, "confidence"));
	put_word(f, "", gcs_fields_str(e, "type"));
	put_int(f, "count=", e, "count");
}

static void put_uncollectable(FILE *f, const json_t *e)
{
	put_int(f, "gen=", e, "generation");
	put_int(f, "count=", e, "count");
	put_int(f, "total=", e, "total");
}

static void put_nothing(FILE *f, const json_t *e)
{
	(void)f;
	(void)e;
}

static void put_count(FILE *f, const json_t *e)
{
	put_int(f, "count=", e, "count");
}

static void put_pause(FILE *f, const json_t *e)
{
	put_int(f, "gen=", e, "generation");
	put_ns(f, "", e, "pause_ns");
	put_at(f, e);
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
		fprintf(f, "=%s", gcs_text_int(n, gcs_fields_num(t, "count")));
	}
}

static bool is_head(const char *key)
{
	return !strcmp(key, "schema") || !strcmp(key, "pid") || !strcmp(key, "time") ||
	       !strcmp(key, "event");
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
		safe = gcs_text_safe(key, GCS_TEXT_WORD);
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

static const struct {
	const char *event;
	void (*put)(FILE *f, const json_t *e);
} events[] = {
	{"suspect", put_suspect},
	{"withdrawn", put_withdrawn},
	{"uncollectable", put_uncollectable},
	{"gc_disabled", put_nothing},
	{"gc_enabled", put_nothing},
	{"frozen", put_count},
	{"pause", put_pause},
	{"dropped", put_count},
	{"gc", put_gc},
	{"census", put_census},
};

/* "2026-11-20T07:30:01.123Z" without its fraction. Anything else stays as it is. */
static char *whole_seconds(const char *time)
{
	char *t = xstrdup(time ? time : "-");
	size_t n = strlen(t);

	if (n > 21 && t[10] == 'T' && t[19] == '.' && t[n - 1] == 'Z')
		strcpy(t + 19, "Z");
	return t;
}

char *gcs_logline_format(const json_t *event, bool millis)
{
	const char *name = gcs_fields_str(event, "event");
	const char *time = gcs_fields_str(event, "time");
	char *line = NULL, *t = millis && time ? xstrdup(time) : whole_seconds(time);
	char *safe = gcs_text_safe(t, GCS_TEXT_WORD);
	size_t size, i = 0, n = sizeof(events) / sizeof(events[0]);
	FILE *f = open_memstream(&line, &size);

	if (!f)
		die("out of memory");
	fputs(safe, f);
	put_int(f, "", event, "pid");
	put_word(f, "", name);
	while (i < n && (!name || strcmp(events[i].event, name)))
		i++;
	(i < n ? events[i].put : put_unknown)(f, event);
	if (fclose(f))
		die("out of memory");
	free(safe);
	free(t);
	return line;
}
