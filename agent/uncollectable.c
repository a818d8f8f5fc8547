/* SPDX-License-Identifier: Apache-2.0 */
#include "uncollectable.h"

#include <string.h>

#include "clock.h"
#include "layout.h"

#define MASK (GCS_UNCOLLECTABLE_SLOTS - 1)
#define LOOK 5000 /* objects of one collection */
#define LOOK_NS 100000

/* Of this collection; NULL: none yet. */
static struct gcs_uncollectable *note_of(struct gcs_uncollectable_ring *r, uint32_t begin, uint32_t end,
					 const char *type)
{
	for (; begin != end; begin++)
		if (!strcmp(r->slot[begin & MASK].type, type))
			return &r->slot[begin & MASK];
	return NULL;
}

void gcs_uncollectable_note_gil(struct gcs_uncollectable_ring *r, PyObject *garbage, Py_ssize_t first,
				int64_t start_ns)
{
	uint32_t begin = __atomic_load_n(&r->head, __ATOMIC_RELAXED), end = begin;
	Py_ssize_t n = py.PyList_Size(garbage);
	int64_t until = gcs_now_ns() + LOOK_NS;
	struct gcs_uncollectable *same = NULL;
	PyObject *same_type = NULL;
	char name[GCS_NAME_MAX + 1];

	for (Py_ssize_t i = first; i < n && i < first + LOOK; i++) {
		PyObject *type = gcs_type_of(py.PyList_GetItem(garbage, i));

		if (!gcs_type_word(type, GCS_TP_DEL))
			continue; /* saved by the application's DEBUG_SAVEALL */
		if (same && type == same_type) {
			same->count++;
			continue;
		}
		if (gcs_now_ns() > until)
			break;
		gcs_type_name_gil(type, name, sizeof(name));
		same_type = type;
		same = note_of(r, begin, end, name);
		if (!same) {
			if (end - __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE) >= GCS_UNCOLLECTABLE_SLOTS)
				break;
			same = &r->slot[end++ & MASK];
			same->start_ns = start_ns;
			same->count = 0;
			memcpy(same->type, name, sizeof(name));
		}
		same->count++;
	}
	__atomic_store_n(&r->head, end, __ATOMIC_RELEASE);
}

bool gcs_uncollectable_pop(struct gcs_uncollectable_ring *r, int64_t start_ns, struct gcs_uncollectable *out)
{
	uint32_t tail = __atomic_load_n(&r->tail, __ATOMIC_RELAXED), head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);

	while (tail != head && r->slot[tail & MASK].start_ns < start_ns)
		tail++; /* of a collection whose own event was lost */
	if (tail == head || r->slot[tail & MASK].start_ns != start_ns) {
		__atomic_store_n(&r->tail, tail, __ATOMIC_RELEASE);
		return false;
	}
	*out = r->slot[tail & MASK];
	__atomic_store_n(&r->tail, tail + 1, __ATOMIC_RELEASE);
	return true;
}
