/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where CPython's collector keeps its lists, thresholds, counts and flags: found in a running interpreter, and
 * verified, for gcs_layout (layout.h) to name them.
 *
 * No symbol leads there and no version number is asked. GIL builds: a fresh object is the last of the young
 * list, which leads to its head, and that stands in the array of generations; the lists are believed when their
 * links answer each other and their lengths are those that gc.get_objects() tells. Free-threaded builds: the two
 * lists gc.garbage and gc.callbacks stand side by side in the interpreter's state, the rest around them.
 *
 * What may not be there is read through peek.h, which cannot fault. The agent's thread, at attach.
 */
#ifndef GCS_GCSTATE_H
#define GCS_GCSTATE_H

#include <stdbool.h>

#include "api.h"

/*
 * GIL builds: the lists, the flag and the counters. NULL, or why there are none. *busy: a collection is under
 * way, try again.
 */
const char *gcs_gcstate_probe_lists_gil(PyObject *gc, bool *busy);
/* Free-threaded builds: the flag and the counters. NULL, or why there are none. */
const char *gcs_gcstate_probe_counters_gil(PyObject *gc);

/*
 * A free-threaded 3.13 makes every function, class and module immortal, for good, when a second thread gets a
 * thread state (gh-117783); a negative number here puts that off, as compile() does with it. Before any thread
 * state of ours. False: there is such a number, and it was not found.
 */
bool gcs_gcstate_find_immortalize(void);
#endif
