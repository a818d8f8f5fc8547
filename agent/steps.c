/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See steps.h. First the kinds, and the way from one step to another past containers. Then what attributes,
 * types and code are called, and what may be read out of that. Names are only ever compared, in ASCII:
 * bytes above it are passed on as they are.
 */
#include "steps.h"

#include <string.h>

uint32_t gcs_steps_kinds(const struct gcs_step *step, size_t n)
{
	uint32_t kinds = 0;
	size_t i;

	for (i = 0; i < n; i++)
		kinds |= 1u << step[i].kind;
	return kinds;
}

static bool is_any(const struct gcs_steps *c, size_t i, uint32_t kinds)
{
	return (1u << gcs_steps_at(c, i)->kind & kinds) != 0;
}

bool gcs_steps_is_container(const struct gcs_steps *c, size_t i)
{
	return is_any(c, i, GCS_STEP_CONTAINERS) ||
	       (is_any(c, i, 1u << GCS_STEP_INSTANCE | 1u << GCS_STEP_OTHER) &&
		gcs_steps_via(c, i)[0] == '[');
}

size_t gcs_steps_holder(const struct gcs_steps *c, size_t i, uint32_t others)
{
	size_t left = c->n;

	do
		i = (i + c->n - 1) % c->n;
	while (--left && (gcs_steps_is_container(c, i) || is_any(c, i, others)));
	return i;
}

size_t gcs_steps_target(const struct gcs_steps *c, size_t i, uint32_t others)
{
	size_t left = c->n;

	do
		i = (i + 1) % c->n;
	while (--left && (gcs_steps_is_container(c, i) || is_any(c, i, others)));
	return i;
}

size_t gcs_steps_owners(const struct gcs_steps *c)
{
	size_t i, n = 0;

	for (i = 0; i < c->n; i++)
		n += !gcs_steps_is_container(c, i);
	return n;
}

static bool is_identifier(const char *s)
{
	if (!*s || (*s >= '0' && *s <= '9'))
		return false;
	for (; *s; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
		      *s == '_' || (unsigned char)*s >= 0x80))
			return false;
	return true;
}

const char *gcs_steps_attribute(const struct gcs_steps *c, size_t i)
{
	const char *v = gcs_steps_via(c, i);

	if (!gcs_steps_is(c, i, GCS_STEP_INSTANCE) || v[0] != '.' || !is_identifier(v + 1))
		return NULL;
	return strncmp(v, ".__", 3) == 0 && strcmp(v + strlen(v) - 2, "__") == 0 ? NULL : v + 1;
}

const char *gcs_steps_local(const struct gcs_steps *c, size_t i)
{
	const char *v = gcs_steps_via(c, i);

	if (!is_any(c, i, GCS_STEP_FRAMES) || strncmp(v, "local ", 6) != 0 || !is_identifier(v + 6))
		return NULL;
	return v + 6;
}

/* The last word of a dotted name. */
static const char *short_name(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && dot[1] ? dot + 1 : name;
}

const char *gcs_steps_type(const struct gcs_steps *c, size_t i)
{
	return gcs_steps_at(c, i)->type ? short_name(gcs_steps_at(c, i)->type) : "object";
}

const char *gcs_steps_code(const struct gcs_steps *c, size_t i, const char *otherwise)
{
	return gcs_steps_at(c, i)->name && gcs_steps_at(c, i)->name[0] ? short_name(gcs_steps_at(c, i)->name)
								       : otherwise;
}

bool gcs_steps_same_package(const struct gcs_steps *c, size_t a, size_t b)
{
	const char *p = gcs_steps_at(c, a)->type, *q = gcs_steps_at(c, b)->type;
	size_t n = p ? strcspn(p, ".") : 0;

	if (!p || !q)
		return false;
	if (p[n] != '.' || !strchr(q, '.'))
		return p[n] == '\0' && !strchr(q, '.');
	return strncmp(p, q, n + 1) == 0;
}

bool gcs_steps_maker(const struct gcs_steps *c, size_t i, char *out, size_t size)
{
	const char *name = gcs_steps_at(c, i)->name;
	const char *end = name ? strstr(name, ".<locals>.") : NULL, *next, *start;
	size_t n;

	if (!end)
		return false;
	while ((next = strstr(end + 1, ".<locals>.")))
		end = next;
	for (start = end; start > name && start[-1] != '.'; start--)
		;
	n = (size_t)(end - start);
	if (n == 0 || n >= size)
		return false;
	memcpy(out, start, n);
	out[n] = '\0';
	return true;
}

static bool has_word(const char *const *words, const char *name, size_t n)
{
	for (; *words; words++) {
		size_t i;

		for (i = 0; i < n && gcs_steps_lower(name[i]) == (*words)[i]; i++)
			;
		if (i == n && !(*words)[n])
			return true;
	}
	return false;
}

/* The size of a name's first word: parent_node, parentNode; underscores before it are passed. */
static size_t first_word(const char **name)
{
	size_t n = 0;

	while (**name == '_')
		(*name)++;
	while ((*name)[n] && (*name)[n] != '_' && (n == 0 || gcs_steps_lower((*name)[n]) == (*name)[n]))
		n++;
	return n;
}

unsigned gcs_steps_leads_back(const struct gcs_steps *c, size_t i)
{
	static const char *const always[] = {"parent",    "owner",   "previous", "prev",
					     "enclosing", "backref", NULL};
	static const char *const often[] = {"root", "container", "master", "outer", "host", "up", NULL};
	const char *name = gcs_steps_attribute(c, i);
	size_t n;

	if (!name)
		return 0;
	n = first_word(&name);
	if (has_word(always, name, n))
		return 2;
	return has_word(often, name, n) && (!name[n] || strcmp(name + n, "_") == 0) ? 1 : 0;
}

bool gcs_steps_is_back_edge(const struct gcs_steps *c, size_t i)
{
	size_t owners = gcs_steps_owners(c);

	if (!gcs_steps_is(c, i + 1, GCS_STEP_INSTANCE) || gcs_steps_is_container(c, i + 1) || owners < 2)
		return false;
	switch (gcs_steps_leads_back(c, i)) {
	case 2:
		return true;
	case 1: /* one of many that the other holds, or of the same type */
		return (owners == 2 && c->n > 2) ||
		       (gcs_steps_at(c, i)->type && gcs_steps_at(c, i + 1)->type &&
			strcmp(gcs_steps_at(c, i)->type, gcs_steps_at(c, i + 1)->type) == 0);
	default:
		return false;
	}
}
