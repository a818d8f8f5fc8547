/* SPDX-License-Identifier: Apache-2.0 */
#include "logtext.h"

#include <string.h>

#include "escape.h"
#include "unit.h"

struct out {
	char *text;
	size_t size, len; /* len counts on when the text is full */
};

static void put_escaped(struct out *o, const char *s, unsigned flags)
{
	size_t room = o->len < o->size ? o->size - o->len : 0;

	o->len += gcs_escape_text(room ? o->text + o->len : NULL, room, s, strlen(s),
				  flags | GCS_ESCAPE_REPLACE);
}

static void put(struct out *o, const char *s)
{
	put_escaped(o, s, 0);
}

static void put_word(struct out *o, const char *prefix, const char *s)
{
	put(o, prefix);
	put_escaped(o, s && *s ? s : "-", GCS_ESCAPE_SPACE);
}

static void put_at(struct out *o, const struct gcs_logtext *e)
{
	if (e->at && *e->at)
		put_word(o, " at=", e->at);
}

/* Prose: the rest of the line. */
static void put_rest(struct out *o, const char *s)
{
	put(o, " ");
	put_escaped(o, s && *s ? s : "-", GCS_ESCAPE_NOT_BACKSLASH);
}

static void put_int(struct out *o, const char *prefix, double n)
{
	char text[GCS_UNIT_MAX];

	put(o, prefix);
	put(o, gcs_unit_int(text, n));
}

static void put_suspect(struct out *o, const struct gcs_logtext *e)
{
	char text[GCS_UNIT_MAX];

	put_word(o, " ", e->confidence);
	put_word(o, " ", e->type);
	put_int(o, " count=", e->count);
	put(o, " ");
	put(o, gcs_unit_rate(text, e->growth_per_s));
	put(o, " bytes=");
	put(o, gcs_unit_bytes(text, e->bytes, ""));
	put(o, " ");
	put(o, gcs_unit_byte_rate(text, e->bytes_per_s, ""));
	put_int(o, " (", e->samples);
	put_int(o, " censuses, ", e->full_collections);
	put(o, " full collections)");
	if (e->is_new)
		put(o, " new");
}

static void put_withdrawn(struct out *o, const struct gcs_logtext *e)
{
	put_word(o, " ", e->confidence);
	put_word(o, " ", e->type);
	put_int(o, " count=", e->count);
}

static void put_uncollectable(struct out *o, const struct gcs_logtext *e)
{
	put_word(o, " ", e->type);
	put_int(o, " count=", e->count);
	put_int(o, " total=", e->total);
	put_int(o, " gen=", e->generation);
	put_at(o, e);
}

static void put_nothing(struct out *o, const struct gcs_logtext *e)
{
	(void)o;
	(void)e;
}

static void put_frozen(struct out *o, const struct gcs_logtext *e)
{
	put_int(o, " count=", e->count);
}

static void put_pause(struct out *o, const struct gcs_logtext *e)
{
	char text[GCS_UNIT_MAX];

	put_int(o, " gen=", e->generation);
	put(o, " ");
	put(o, gcs_unit_ns(text, e->pause_ns, ""));
	put_at(o, e);
}

static void put_settings(struct out *o, const struct gcs_logtext *e)
{
	put_rest(o, e->message);
}

static void put_disabled(struct out *o, const struct gcs_logtext *e)
{
	put_word(o, " ", e->feature);
	put_rest(o, e->reason);
}

static const struct {
	const char *event;
	void (*put)(struct out *o, const struct gcs_logtext *e);
} events[] = {
	{"suspect", put_suspect},
	{"withdrawn", put_withdrawn},
	{"uncollectable", put_uncollectable},
	{"gc_disabled", put_nothing},
	{"gc_enabled", put_nothing},
	{"frozen", put_frozen},
	{"pause", put_pause},
	{"settings", put_settings},
	{"disabled", put_disabled},
};

size_t gcs_logtext_format(char *out, size_t size, const struct gcs_logtext *e)
{
	struct out o = {.text = out, .size = size};

	if (size)
		out[0] = '\0';
	for (size_t i = 0; e->event && i < sizeof(events) / sizeof(events[0]); i++)
		if (!strcmp(events[i].event, e->event)) {
			put(&o, e->event);
			events[i].put(&o, e);
			break;
		}
	return o.len;
}

void gcs_logtext_whole_seconds(char *time)
{
	size_t n = strlen(time);

	if (n > 21 && time[10] == 'T' && time[19] == '.' && time[n - 1] == 'Z')
		strcpy(time + 19, "Z");
}
