/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers about cyclic garbage. What they tell is written by the gc callback, so it is read with
 * the GIL, in one short copy.
 */
#include <stdio.h>
#include <string.h>

#include "advice.h"
#include "answers.h"
#include "capture.h"
#include "gcscope/protocol.h"
#include "gil.h"
#include "hook.h"
#include "layout.h"
#include "mem.h"
#include "request.h"
#include "server.h"

#define GARBAGE_LOOK 5000 /* objects of gc.garbage that one answer looks at */
#define GARBAGE_TYPES 256

/* Nothing can be read now. there: the memory was to be had. */
static const char *without_gil(struct gcs_client *c, bool there)
{
	if (!there)
		gcs_answer_no_memory(&c->out);
	else if (gcs_api_finalizing())
		gcs_answer_error(&c->out, GCS_ERR_UNAVAILABLE, "the interpreter is ending");
	else if (gcs_gil_paused())
		gcs_answer_error(&c->out, GCS_ERR_UNAVAILABLE, "tracemalloc is on: see paused in stat");
	else
		return gcs_answer_later; /* a fork is under way */
	return NULL;
}

/* ---- cycles ---- */

static void write_types(struct gcs_json *j, const struct gcs_cycle *c)
{
	gcs_json_array(j, "types");
	for (size_t at = 0; at < c->types_len; at += strlen(c->types + at) + 1)
		gcs_json_str(j, NULL, c->types + at);
	gcs_json_array_end(j);
}

/* Whole numbers, also where they are estimates. */
static void write_totals(struct gcs_json *j, const struct gcs_cycle *c)
{
	gcs_json_u64(j, "count", (uint64_t)(c->count + 0.5));
	gcs_json_u64(j, "objects", (uint64_t)(c->objects + 0.5));
	gcs_json_u64(j, "bytes", (uint64_t)(c->bytes + 0.5));
}

void gcs_answer_cycle(struct gcs_json *j, const struct gcs_cycle *c)
{
	char fingerprint[17];

	snprintf(fingerprint, sizeof(fingerprint), "%016llx", (unsigned long long)c->fingerprint);
	gcs_json_str(j, "fingerprint", fingerprint);
	write_types(j, c);
	gcs_json_str(j, "text", c->text);
	gcs_json_u64(j, "size", c->size);
	write_totals(j, c);
	gcs_json_u64(j, "seen", c->seen);
	gcs_json_bool(j, "finalizer", c->finalizer);
	gcs_json_null(j, "created_at");
	gcs_json_str(j, "collected_at", c->created_at[0] ? c->created_at : NULL);
	if (c->advice_kind && (c->seen > 1 || c->advice_kind != gcs_advice_class_per_call)) {
		gcs_json_object(j, "advice");
		gcs_json_str(j, "kind", c->advice_kind);
		gcs_json_str(j, "text", c->advice);
		gcs_json_object_end(j);
	} else {
		gcs_json_null(j, "advice");
	}
	gcs_json_time(j, "first_seen", c->first_seen_ns);
	gcs_json_time(j, "last_seen", c->last_seen_ns);
}

static void write_table(struct gcs_json *j, const struct gcs_cycletable *t, const struct gcs_capture_stats *s,
			size_t limit)
{
	uint32_t order[GCS_CYCLES_MAX];

	gcs_cycletable_order(t, order);
	gcs_json_u64(j, "collections", s->captured + s->skipped + s->refused);
	gcs_json_u64(j, "captured", s->captured);
	gcs_json_u64(j, "skipped", s->skipped);
	gcs_json_u64(j, "refused", s->refused);
	gcs_json_bool(j, "estimate", gcs_capture_is_estimate(s));
	gcs_json_u64(j, "objects", s->objects);
	gcs_json_u64(j, "unanalysed", s->unanalysed);
	gcs_json_u64(j, "partial", s->partial);
	gcs_json_u64(j, "acyclic", s->acyclic);
	gcs_json_u64(j, "finalized", s->finalized);
	gcs_json_u64(j, "legacy", s->legacy);
	gcs_json_u64(j, "analysis_ns", s->analysis_ns);
	gcs_json_u64(j, "max_analysis_ns", s->max_analysis_ns);
	gcs_json_array(j, "cycles");
	for (uint32_t i = 0; i < t->n && (!limit || i < limit); i++) {
		gcs_json_object(j, NULL);
		gcs_answer_cycle(j, &t->cycle[order[i]]);
		gcs_json_object_end(j);
	}
	gcs_json_array_end(j);
	gcs_json_object(j, "others");
	gcs_json_u64(j, "distinct", t->merged);
	write_totals(j, &t->others);
	gcs_json_object_end(j);
}

const char *gcs_answer_cycles(struct gcs_client *c, const struct gcs_request *r)
{
	struct gcs_cycletable *copy;
	struct gcs_capture_stats stats;
	unsigned long limit = 0;
	struct gcs_json j;

	if (gcs_request_uint(r, "limit", 0, 1000000, &limit))
		return "limit is a number from 0 to 1000000";
	if (gcs_answer_off("cycles")) {
		gcs_answer_error(&c->out, GCS_ERR_UNAVAILABLE, gcs_answer_off("cycles"));
		return NULL;
	}
	copy = gcs_mem_alloc(sizeof(*copy));
	if (!copy || !gcs_capture_table() || !gcs_gil_take()) {
		bool there = copy && gcs_capture_table();

		gcs_mem_free(copy);
		return without_gil(c, there);
	}
	gcs_cycletable_copy(copy, gcs_capture_table());
	stats = *gcs_capture_stats();
	gcs_gil_drop();
	gcs_answer_open(&j, &c->out, GCS_SCHEMA("cycles"));
	write_table(&j, copy, &stats, limit);
	gcs_answer_close(&j);
	gcs_mem_free(copy);
	return NULL;
}

/* ---- gc.garbage ---- */

struct seen {
	const PyObject *type;
	uint64_t count;
	char name[GCS_NAME_MAX + 1];
};

struct look {
	uint64_t length, uncollectable, looked;
	uint32_t ntypes, nobjects, max_objects;
	struct seen type[GARBAGE_TYPES];
	struct listed {
		const PyObject *object;
		uint32_t type;
		bool legacy;
	} object[]; /* max_objects */
};

static bool is_legacy(PyObject *o)
{
	return gcs_type_word(gcs_type_of(o), GCS_TP_DEL) != NULL;
}

static uint32_t type_index(struct look *l, PyObject *type)
{
	for (uint32_t i = 0; i < l->ntypes; i++)
		if (l->type[i].type == type)
			return i;
	if (l->ntypes == GARBAGE_TYPES)
		return GARBAGE_TYPES - 1;
	l->type[l->ntypes].type = type;
	gcs_type_name_gil(type, l->type[l->ntypes].name, sizeof(l->type[0].name));
	return l->ntypes++;
}

/* Uncollectable objects are listed first: two passes over a list that is short in all decent programs. */
static void look_gil(struct look *l, PyObject *garbage)
{
	l->length = (uint64_t)py.PyList_Size(garbage);
	l->looked = l->length < GARBAGE_LOOK ? l->length : GARBAGE_LOOK;
	for (int legacy = 1; legacy >= 0; legacy--)
		for (uint64_t i = 0; i < l->looked; i++) {
			PyObject *o = py.PyList_GetItem(garbage, (Py_ssize_t)i);
			uint32_t t;

			if (is_legacy(o) != legacy)
				continue;
			t = type_index(l, gcs_type_of(o));
			l->type[t].count++;
			l->uncollectable += (uint64_t)legacy;
			if (l->nobjects < l->max_objects)
				l->object[l->nobjects++] = (struct listed){o, t, legacy};
		}
}

static void write_look(struct gcs_json *j, const struct look *l)
{
	char address[20];

	gcs_json_u64(j, "length", l->length);
	gcs_json_u64(j, "looked_at", l->looked);
	gcs_json_u64(j, "uncollectable", l->uncollectable);
	gcs_json_array(j, "types");
	for (uint32_t i = 0; i < l->ntypes; i++) {
		gcs_json_object(j, NULL);
		gcs_json_str(j, "type", l->type[i].name);
		gcs_json_u64(j, "count", l->type[i].count);
		gcs_json_object_end(j);
	}
	gcs_json_array_end(j);
	gcs_json_array(j, "objects");
	for (uint32_t i = 0; i < l->nobjects; i++) {
		snprintf(address, sizeof(address), "0x%llx", (unsigned long long)(uintptr_t)l->object[i].object);
		gcs_json_object(j, NULL);
		gcs_json_str(j, "address", address);
		gcs_json_str(j, "type", l->type[l->object[i].type].name);
		gcs_json_bool(j, "uncollectable", l->object[i].legacy);
		gcs_json_object_end(j);
	}
	gcs_json_array_end(j);
}

const char *gcs_answer_garbage(struct gcs_client *c, const struct gcs_request *r)
{
	unsigned long limit = 100;
	struct gcs_json j;
	struct look *l;

	if (gcs_request_uint(r, "limit", 0, GARBAGE_LOOK, &limit))
		return "limit is a number from 0 to 5000";
	if (gcs_answer_off("garbage")) {
		gcs_answer_error(&c->out, GCS_ERR_UNAVAILABLE, gcs_answer_off("garbage"));
		return NULL;
	}
	l = gcs_mem_calloc(1, sizeof(*l) + limit * sizeof(l->object[0]));
	if (!l || !gcs_gil_take()) {
		gcs_mem_free(l);
		return without_gil(c, l != NULL);
	}
	l->max_objects = (uint32_t)limit;
	look_gil(l, gcs_hook_garbage_list());
	gcs_gil_drop();
	gcs_answer_open(&j, &c->out, GCS_SCHEMA("garbage"));
	write_look(&j, l);
	gcs_answer_close(&j);
	gcs_mem_free(l);
	return NULL;
}
