/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a cycle, as they are shown, and what can be told from them: of which kind each is, by what
 * attribute or local it refers to the next one, who holds it when containers are passed through, and what a
 * name says (a type's package, where a class was made, whether an attribute leads back). What follows from
 * that is for advice.c.
 *
 * A cycle has at least one step, and none is the first: an index is meant modulo n, so that i + 1 is always
 * the next. Names came from the target and may be anything, or missing; those returned are the steps' own,
 * or constant.
 *
 * Pure. Runs where the analysis does, on whichever thread collects, in the middle of it and with the GIL:
 * allocates nothing, and never changes a step.
 */
#ifndef GCS_STEPS_H
#define GCS_STEPS_H

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

/* Sets of kinds, a bit each. */
#define GCS_STEP_CONTAINERS \
	(1u << GCS_STEP_DICT | 1u << GCS_STEP_LIST | 1u << GCS_STEP_TUPLE | 1u << GCS_STEP_SET)
#define GCS_STEP_FRAMES (1u << GCS_STEP_FRAME | 1u << GCS_STEP_GENERATOR)

struct gcs_steps {
	const struct gcs_step *step;
	size_t n;
	uint32_t kinds; /* gcs_steps_kinds() of them */
};

/* Those that are among n steps. */
uint32_t gcs_steps_kinds(const struct gcs_step *step, size_t n);

static inline const struct gcs_step *gcs_steps_at(const struct gcs_steps *c, size_t i)
{
	return &c->step[i % c->n];
}

static inline bool gcs_steps_is(const struct gcs_steps *c, size_t i, enum gcs_step_kind kind)
{
	return gcs_steps_at(c, i)->kind == kind;
}

/* Is this kind on it? */
static inline bool gcs_steps_has(const struct gcs_steps *c, enum gcs_step_kind kind)
{
	return (c->kinds & 1u << kind) != 0;
}

/* Is no kind on it but of these? */
static inline bool gcs_steps_within(const struct gcs_steps *c, uint32_t kinds)
{
	return (c->kinds & ~kinds) == 0;
}

/* How a step refers to the next one; "?" where that is not known. */
static inline const char *gcs_steps_via(const struct gcs_steps *c, size_t i)
{
	return gcs_steps_at(c, i)->via ? gcs_steps_at(c, i)->via : "?";
}

/* An item's container, also one of a type that is none of the builtins. */
bool gcs_steps_is_container(const struct gcs_steps *c, size_t i);

/* The attribute of a class written in Python that refers to the next step; NULL. */
const char *gcs_steps_attribute(const struct gcs_steps *c, size_t i);
/* The local variable of a frame, also a generator's, that refers to the next step; NULL. */
const char *gcs_steps_local(const struct gcs_steps *c, size_t i);
/* A type's name, without its module. */
const char *gcs_steps_type(const struct gcs_steps *c, size_t i);
/* The last word of the name of a function, frame, generator or class. */
const char *gcs_steps_code(const struct gcs_steps *c, size_t i, const char *otherwise);

/* The nearest step before i that is not passed through: by containers, and by other kinds where it says so. */
size_t gcs_steps_holder(const struct gcs_steps *c, size_t i, uint32_t others);
/* The same after i. */
size_t gcs_steps_target(const struct gcs_steps *c, size_t i, uint32_t others);
/* How many are no containers. */
size_t gcs_steps_owners(const struct gcs_steps *c);

/* Are two types of one package? Then their author can change both. */
bool gcs_steps_same_package(const struct gcs_steps *c, size_t a, size_t b);
/* The function that a class was made in: "f" of "f.<locals>.Foo". False: none, or no room for its name. */
bool gcs_steps_maker(const struct gcs_steps *c, size_t i, char *out, size_t size);
/*
 * How sure the name of a step's attribute says that it leads back: 2, as parent and owner do; 1, as those
 * that are as often the way down (Tree.root), and need a cycle that says so too; 0, not at all.
 */
unsigned gcs_steps_leads_back(const struct gcs_steps *c, size_t i);
/* Does a step's attribute lead back, of two objects or more, by its name and by the cycle? */
bool gcs_steps_is_back_edge(const struct gcs_steps *c, size_t i);

/* Of ASCII alone, whatever the locale. */
static inline char gcs_steps_lower(char ch)
{
	return ch >= 'A' && ch <= 'Z' ? (char)(ch + ('a' - 'A')) : ch;
}

#endif
