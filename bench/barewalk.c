/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The measure for the census: the plainest walk of CPython's three gc lists that counts types in a hash
 * table. One pointer chase, one probe, no prefetch, no sizes, no names, and the GIL held throughout.
 * Loaded into the target with ctypes.PyDLL, so that the caller holds the GIL. GIL builds only (3.8 to 3.13).
 *
 * An object's gc links stand 16 bytes before it. A fresh object is the last of the young list, so its link
 * leads to that list's head; the other two heads follow, 24 bytes apart.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define SLOTS 65536u
#define GENERATIONS 3
#define HEAD_STRIDE 24

struct link {
	struct link *next;
	uintptr_t prev;
};

static struct {
	void *type;
	uint64_t count;
} table[SLOTS];

static void count(void *type)
{
	unsigned i = ((uintptr_t)type >> 4) * 2654435761u % SLOTS;

	while (table[i].type && table[i].type != type)
		i = (i + 1) % SLOTS;
	table[i].type = type;
	table[i].count++;
}

static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* Walks all three generations; the objects met, and the CPU time it took. */
uint64_t bare_walk(int64_t *ns)
{
	void *(*list_new)(intptr_t) = (void *(*)(intptr_t))dlsym(RTLD_DEFAULT, "PyList_New");
	void (*decref)(void *) = (void (*)(void *))dlsym(RTLD_DEFAULT, "Py_DecRef");
	char *fresh = list_new(0);
	char *young = (char *)((struct link *)(fresh - sizeof(struct link)))->next;
	uint64_t n = 0;
	int64_t began;

	memset(table, 0, sizeof(table));
	began = cpu_ns();
	for (int g = 0; g < GENERATIONS; g++) {
		struct link *head = (struct link *)(young + g * HEAD_STRIDE);

		for (struct link *l = head->next; l != head; l = l->next, n++)
			count(((void **)(l + 1))[1]);
	}
	*ns = cpu_ns() - began;
	decref(fresh);
	return n;
}

/* The count of one type in the last walk: shows that the walk saw what gc.get_objects() sees. */
uint64_t bare_count(void *type)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (table[i].type == type)
			return table[i].count;
	return 0;
}
