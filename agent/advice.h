/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to break a cycle: the known shapes, each with its remedy, short and with the names filled in. Pure:
 * works on the steps as they are shown. No advice is better than a wrong one.
 */
#ifndef GCS_ADVICE_H
#define GCS_ADVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gcs_step_kind { /* what the object is, by its exact type or base */
	GCS_STEP_OTHER,
	GCS_STEP_INSTANCE, /* of a class written in Python */
	GCS_STEP_CLASS,    /* a type object */
	GCS_STEP_DICT,
	GCS_STEP_LIST,
	GCS_STEP_TUPLE,
	GCS_STEP_SET,
	GCS_STEP_METHOD,   /* a bound method */
	GCS_STEP_FUNCTION,
	GCS_STEP_CELL,
	GCS_STEP_FRAME,
	GCS_STEP_TRACEBACK,
	GCS_STEP_EXCEPTION,
	GCS_STEP_GENERATOR, /* or coroutine */
	GCS_STEP_PARTIAL,
	GCS_STEP_FUTURE,   /* asyncio/concurrent Future or Task */
};

struct gcs_step {
	enum gcs_step_kind kind;
	const char *type; /* "app.Foo", "list" */
	const char *via;  /* how it refers to the next step: "._filter", "['key']", "[3]", "local x", ".__self__" */
	const char *name; /* a function's, frame's or generator's qualified name, where known; else NULL */
};

struct gcs_advice {
	const char *kind; /* a short stable word, e.g. "bound_method"; NULL: no advice */
	char text[240];
};

/* The remedy for a class that is made again and again; so it holds only for a cycle that was met more than once. */
extern const char gcs_advice_class_per_call[];

/* Steps of a cycle in order; the last one's via leads to the first. */
void gcs_advice_find(const struct gcs_step *step, size_t n, struct gcs_advice *out);

#endif
