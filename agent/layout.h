/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything the agent knows of CPython's structs: what is found of them, once, and how it is read. Where the
 * collector has its own data is found in gcstate.c; containers are in sizes.h, frames in frame.c; no other file
 * knows a layout.
 *
 * Nothing here trusts a version number. gcs_layout_probe_gil() tries each layout on fresh objects of its
 * own and compares with what the public API says of them; what does not verify is turned off with a
 * reason (gcs_disable) and its reader is never called.
 *
 * The picture, GIL builds: an object with a PyGC_Head has two words before it (next, prev, with flag
 * bits in the low bits); the generations are lists of these, their heads in one array of
 * { next, prev, int threshold, int count }, 24 bytes each, the permanent generation behind them.
 *
 * Free-threaded builds have no PyGC_Head: the heap is the allocator's blocks (world.h). The array is there
 * all the same, for its thresholds and counts.
 */
#ifndef GCS_LAYOUT_H
#define GCS_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "api.h"

#define GCS_GENERATIONS 3
#define GCS_LISTS 4 /* young, two older, permanent */

struct gcs_gc_head {
	uintptr_t next;
	uintptr_t prev;
};

/*
 * Low bits of a link: finalized, collecting, unreachable, old space (3.14.0 to 3.14.4). Two, not three: a
 * head may stand at an address that is a multiple of 4 only (seen in Debian's 3.13.18).
 */
#define GCS_LINK_MASK (~(uintptr_t)3)
/* Of prev: set, from the middle of a collection on, in the objects that it found unreachable, and in no other. */
#define GCS_COLLECTING 2u

static inline struct gcs_gc_head *gcs_gc_next(const struct gcs_gc_head *g)
{
	return (struct gcs_gc_head *)(g->next & GCS_LINK_MASK);
}

static inline struct gcs_gc_head *gcs_gc_prev(const struct gcs_gc_head *g)
{
	return (struct gcs_gc_head *)(g->prev & GCS_LINK_MASK);
}

struct gcs_generation {
	struct gcs_gc_head head;
	int threshold;
	int count;
};

/*
 * How large the objects of a type are: basic bytes each, plus item bytes for each of the number that
 * stands at `offset` from ob_type (0 items where nothing varies). Dicts, sets and ints need a closer look.
 */
enum gcs_size_kind { GCS_SIZE_PLAIN, GCS_SIZE_DICT, GCS_SIZE_SET, GCS_SIZE_INT };

struct gcs_type_shape {
	uint32_t basic; /* basicsize with GC head and pre-header */
	uint32_t item;
	uint16_t offset;
	uint8_t kind;
};

#define GCS_OB_TYPE 8 /* where the type of an object stands in builds with a GIL, hence wherever there are lists */
#define GCS_OB_TYPE_FREE_THREADED 24

/* Members of a type, counted from tp_name: the same in every build. */
#define GCS_TP_DEALLOC 24
#define GCS_TP_VECTORCALL_OFFSET 32
#define GCS_TP_TRAVERSE 160
#define GCS_TP_CLEAR 168
#define GCS_TP_MEMBERS 216
#define GCS_TP_BASE 232
#define GCS_TP_DICTOFFSET 264
#define GCS_TP_IS_GC 304
#define GCS_TP_BASES 312
#define GCS_TP_DEL 352
#define GCS_TP_FINALIZE 368

/* Of tp_flags: part of the stable ABI, except the three of the pre-header, unused before. */
#define GCS_TPFLAG_INLINE_VALUES (1ul << 2)   /* 3.13+ */
#define GCS_TPFLAG_MANAGED_WEAKREF (1ul << 3) /* 3.12+ */
#define GCS_TPFLAG_MANAGED_DICT (1ul << 4)    /* 3.11+ */
#define GCS_TPFLAG_HEAPTYPE (1ul << 9)
#define GCS_TPFLAG_HAVE_GC (1ul << 14)
#define GCS_TPFLAG_VALID_VERSION_TAG (1ul << 19)
#define GCS_TPFLAG_LONG (1ul << 24) /* this, and what is derived from it; so the others */
#define GCS_TPFLAG_LIST (1ul << 25)
#define GCS_TPFLAG_TUPLE (1ul << 26)
#define GCS_TPFLAG_DICT (1ul << 29)
#define GCS_TPFLAG_EXCEPTION (1ul << 30)
#define GCS_TPFLAG_TYPE (1ul << 31)

struct gcs_layout {
	bool types;                         /* ob_type, tp_* as below hold */
	bool lists;                         /* gc lists may be walked */
	bool slots;                         /* the slots among GCS_TP_... hold */
	bool counters;                      /* generation[].threshold and .count hold */
	bool incremental;                   /* two old spaces: 3.14.0 to 3.14.4, and early releases since */
	struct gcs_generation *generation;  /* the young one; the others follow */
	struct gcs_gc_head *list[GCS_LISTS];
	const int *collecting;              /* CPython's own flag: the lists are in pieces */
	int *immortalize;                   /* gcs_gcstate_find_immortalize() */
	uintptr_t heads_lo, heads_size;     /* address range that holds every head */
	bool size_list, size_dict, size_set;
	uint16_t ob_type, tp_name, tp_basicsize, tp_itemsize, tp_flags, tp_dict, tp_mro, tp_version_tag;
	uint16_t ht_qualname;               /* 0 when not found */
};

extern struct gcs_layout gcs_layout;

/* With the GIL, once, at attach; `gc` is the gc module. False: a collection is under way, try again. */
bool gcs_layout_probe_gil(PyObject *gc);

/* A class written in Python that every interpreter has, to try layouts on; a new reference or NULL. */
PyObject *gcs_some_heap_type_gil(void);

static inline void *gcs_load_ptr(const void *base, uint16_t offset)
{
	return *(void *const *)((const char *)base + offset);
}

static inline PyObject *gcs_type_of(const void *object)
{
	return gcs_load_ptr(object, gcs_layout.ob_type);
}

static inline bool gcs_gc_is_head(const struct gcs_gc_head *g)
{
	return (uintptr_t)g - gcs_layout.heads_lo < gcs_layout.heads_size;
}

static inline void *gcs_type_word(PyObject *type, uint16_t member)
{
	return gcs_load_ptr(type, (uint16_t)(gcs_layout.tp_name + member));
}

static inline unsigned long gcs_type_flags(PyObject *type)
{
	return (uintptr_t)gcs_load_ptr(type, gcs_layout.tp_flags);
}

static inline Py_ssize_t gcs_type_basicsize(PyObject *type)
{
	return (Py_ssize_t)(intptr_t)gcs_load_ptr(type, gcs_layout.tp_basicsize);
}

static inline bool gcs_object_is(PyObject *o, unsigned long flag)
{
	return gcs_type_flags(gcs_type_of(o)) & flag;
}

/* By the line of tp_base, without the other bases. */
static inline bool gcs_is_subtype(PyObject *type, PyObject *base)
{
	while (type && type != base)
		type = gcs_type_word(type, GCS_TP_BASE);
	return type != NULL;
}

/* Few other types are as large as these and their subclasses: most need no walk. */
static inline bool gcs_is_set_type(PyObject *type)
{
	return gcs_type_basicsize(type) >= gcs_type_basicsize(py.PySet_Type) &&
	       (gcs_is_subtype(type, py.PySet_Type) || gcs_is_subtype(type, py.PyFrozenSet_Type));
}

/*
 * A hash of the members of a type (its names, dict, module and mro) that a type born later at the same
 * address would hardly share, and that a renamed type has no more.
 */
uint64_t gcs_type_identity_gil(PyObject *type);
/* The same on a free-threaded build while the world is stopped: calls nothing of CPython's. 0: unknown. */
uint64_t gcs_type_identity_stopped(PyObject *type);
/* "module.qualname", bare for builtins, cut to GCS_NAME_MAX; runs no Python code. */
void gcs_type_name_gil(PyObject *type, char *out, size_t size);
void gcs_type_shape_gil(PyObject *type, struct gcs_type_shape *out);
#endif
