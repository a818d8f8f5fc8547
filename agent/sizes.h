/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How large an object is, read from its layout: inline, since a census does it for every object. The
 * formulas are those of each type's __sizeof__, which is never called (a MagicMock grows by it);
 * gcs_layout_probe_gil() tries each against sys.getsizeof() on containers of its own.
 */
#ifndef GCS_SIZES_H
#define GCS_SIZES_H

#include "layout.h"

/* Members of the containers, counted from ob_type: the same in every build so far. */
#define GCS_OB_SIZE 8
#define GCS_LIST_ALLOCATED 24
#define GCS_DICT_USED 8
#define GCS_DICT_KEYS 24
#define GCS_DICT_VALUES 32
#define GCS_SET_MASK 24
#define GCS_SET_TABLE 32
#define GCS_SET_SMALLTABLE 56

/* As the functions below expect an object: with its type at GCS_OB_TYPE, as it is in builds with a GIL. */
static inline const void *gcs_sized(const void *object)
{
	return (const char *)object + gcs_layout.ob_type - GCS_OB_TYPE;
}

static inline int64_t gcs_load_i64(const void *o, unsigned offset)
{
	return *(const int64_t *)((const char *)o + GCS_OB_TYPE + offset);
}

/* Of a dict's table, empty ones too. */
static inline uint64_t gcs_dict_slots_hot(const void *dict)
{
	const char *keys = (const char *)(uintptr_t)gcs_load_i64(dict, GCS_DICT_KEYS);

	if (!keys)
		return 0;
	return py.minor >= 11 ? 1ull << ((const uint8_t *)keys)[8] : *(const uint64_t *)(keys + 8);
}

static inline uint64_t gcs_set_slots_hot(const void *set)
{
	return (uint64_t)gcs_load_i64(set, GCS_SET_MASK) + 1;
}

/*
 * dict: PyDictKeysObject begins { refcnt, size, lookup, usable, nentries } up to 3.10 and { refcnt,
 * u8 log2_size, u8 log2_index_bytes, u8 kind, ... } from 3.11 on. A table shared by several dicts
 * (refcnt over 1) belongs to none of them.
 */
static inline uint64_t gcs_dict_extra_hot(const void *dict)
{
	const char *keys = (const char *)(uintptr_t)gcs_load_i64(dict, GCS_DICT_KEYS);
	uint64_t size, extra = 0;

	if (!keys)
		return 0;
	if (py.minor >= 11) {
		size = gcs_dict_slots_hot(dict);
		if (gcs_load_i64(dict, GCS_DICT_VALUES))
			extra += (size * 2 / 3) * 8;
		if (*(const int64_t *)keys == 1)
			extra += 32 + (1ull << ((const uint8_t *)keys)[9]) +
				 (size * 2 / 3) * (((const uint8_t *)keys)[10] ? 16 : 24);
		return extra;
	}
	size = gcs_dict_slots_hot(dict);
	if (gcs_load_i64(dict, GCS_DICT_VALUES))
		extra += (size * 2 / 3) * 8;
	if (*(const int64_t *)keys == 1)
		extra += 40 + size * (size <= 0xff ? 1 : size <= 0xffff ? 2 : size <= 0xffffffff ? 4 : 8) +
			 (size * 2 / 3) * 24;
	return extra;
}

static inline uint64_t gcs_set_extra_hot(const void *set)
{
	int64_t small = (intptr_t)set + GCS_OB_TYPE + GCS_SET_SMALLTABLE;

	if (gcs_load_i64(set, GCS_SET_TABLE) == small)
		return 0;
	return gcs_set_slots_hot(set) * 16;
}

/* 3.12+: the digit count stands above three flag bits; before, the sign is the number's. */
static inline uint64_t gcs_int_extra_hot(const void *o)
{
	int64_t n = gcs_load_i64(o, GCS_OB_SIZE);

	if (py.minor >= 12)
		n = (int64_t)((uint64_t)n >> 3);
	return (uint64_t)(n < 0 ? -n : n) * 4;
}

/* The items of a list, a tuple and the like. No branch: the kinds of a heap's objects are hard to foresee. */
static inline uint64_t gcs_size_items_hot(const void *o, const struct gcs_type_shape *shape)
{
	int64_t n = gcs_load_i64(o, shape->offset);

	/* No length is negative or has more than 40 bits: then it is something else that stands there. */
	return (uint64_t)(n & -(int64_t)((uint64_t)n >> 40 == 0)) * shape->item;
}

/* What is not plain: a dict's and a set's table, an int's digits. */
static inline uint64_t gcs_size_rest_hot(const void *o, enum gcs_size_kind kind)
{
	switch (kind) {
	case GCS_SIZE_PLAIN:
		return 0;
	case GCS_SIZE_DICT:
		return gcs_dict_extra_hot(o);
	case GCS_SIZE_SET:
		return gcs_set_extra_hot(o);
	case GCS_SIZE_INT:
		return gcs_int_extra_hot(o);
	}
	return 0;
}

#endif
