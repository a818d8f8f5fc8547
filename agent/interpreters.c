/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "interpreters.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

#include "api.h"
#include "peek.h"

#define STATE_MAX (4u << 20)  /* no interpreter's state is larger; pages of it that are not touched cost nothing */
#define WRITTEN (64u << 10)   /* the link stands before this */
#define COUNT_MAX 100000
#define TRIES 3

static uintptr_t next_at;
static bool known;

/* From the newest to the main one, which is the last; 0: the list changed meanwhile. */
static unsigned count_once(void)
{
	uintptr_t main = (uintptr_t)py.PyInterpreterState_Main();
	uintptr_t p = (uintptr_t)py.PyInterpreterState_Head();
	unsigned n = 1;

	while (p != main) {
		if (!p || n++ == COUNT_MAX || !gcs_peek(p + next_at, &p))
			return 0;
	}
	return main ? n : 0;
}

unsigned gcs_interpreters_count(void)
{
	unsigned n = 0;

	for (int i = 0; known && !n && i < TRIES; i++)
		n = count_once();
	return n;
}

/* Each word says where it stands, plus one. */
static uintptr_t offset_of_next(void)
{
	uintptr_t *state = mmap(NULL, STATE_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uintptr_t answer;

	if (state == MAP_FAILED)
		return UINTPTR_MAX;
	for (uintptr_t i = 0; i < WRITTEN / sizeof(*state); i++)
		state[i] = i * sizeof(*state) + 1;
	answer = (uintptr_t)py.PyInterpreterState_Next(state);
	munmap(state, STATE_MAX);
	return answer - 1;
}

const char *gcs_interpreters_probe(void)
{
	if (!py.PyInterpreterState_Main || !py.PyInterpreterState_Head || !py.PyInterpreterState_Next)
		return "the C API does not list them";
	next_at = offset_of_next();
	if (next_at >= WRITTEN || next_at % sizeof(next_at))
		return "the link from one to the next was not found";
	known = true;
	if (gcs_interpreters_count())
		return NULL;
	known = false;
	return "their list does not lead to the main one";
}
