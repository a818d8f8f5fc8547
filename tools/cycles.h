/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `cycles` and `watch` both say of the agent's `cycles` answer. Pure.
 */
#ifndef GCS_CYCLES_H
#define GCS_CYCLES_H

#include <jansson.h>

#define GCS_CYCLES_NONE "no cycle had to be freed"
#define GCS_CYCLES_REMEDY "remedy: "
#define GCS_CYCLES_AT "first found by a collection that began at "

/* "~" where totals are estimates, else "". */
const char *gcs_cycles_mark(const json_t *answer);
/* "9 of 40 collections captured, ...": one line without its newline, in memory to be freed. */
char *gcs_cycles_summary(const json_t *answer);

#endif
