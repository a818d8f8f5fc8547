/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzzers share: a condition that must hold, and the input as a source of choices. */
#ifndef GCS_FUZZ_H
#define GCS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

struct input {
	const uint8_t *data;
	size_t size;
};

/* The next byte; 0 when there are none left. */
static inline unsigned next(struct input *in)
{
	if (!in->size)
		return 0;
	in->size--;
	return *in->data++;
}

#endif
