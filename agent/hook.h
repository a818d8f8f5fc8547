/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The collector's callback: what every collection costs the target on our account, and what we learn.
 *
 * It runs on whichever application thread collects, with the GIL (or the stopped world of a free-threaded
 * build), so there is one writer. It takes no lock, makes no Python object, and the clock is its only
 * system call (plus one gettid per thread, ever). Which line collects is looked up only where somebody will read it. It
 * writes counters and histograms that the agent's
 * thread reads, and puts one event into a ring that it drains.
 *
 * Counters stand in static memory and go through a fork, as CPython's own do: together with the
 * gc.get_stats() read at attach they equal gc.get_stats() at any time. Ring and histograms are the
 * agent's memory, which a fork empties.
 */
#ifndef GCS_HOOK_H
#define GCS_HOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "api.h"
#include "hist.h"
#include "layout.h"
#include "ring.h"
#include "uncollectable.h"

#define GCS_LONG_PAUSE_NS 100000000u /* what the log has a line for */

struct gcs_hook_counts {
	uint64_t collections, collected, uncollectable;
};

struct gcs_hook_shared { /* in the agent's memory */
	struct gcs_ring ring;
	struct gcs_uncollectable_ring uncollectable;
	struct gcs_hist pause[GCS_GENERATIONS];
};

/* With the GIL, at attach. `gc` is the gc module. 0, or -1 when the callback cannot be installed. */
int gcs_hook_install_gil(PyObject *gc);
/* Where to write; NULL stops it. With the GIL, or where no collection can run. */
void gcs_hook_share(struct gcs_hook_shared *shared);
/* The callback does nothing from now on. */
void gcs_hook_quiesce(void);

/* Since the process began, as gc.get_stats(). Any thread. */
void gcs_hook_counts(int generation, struct gcs_hook_counts *out);
/* A collection is under way: generation lists are in pieces. With the GIL. */
bool gcs_hook_collecting(void);
/* Collections of the oldest generation so far. */
uint64_t gcs_hook_full_collections(void);
/* Nanoseconds spent in the callback (GIL held) since the last call. Agent's thread. */
uint64_t gcs_hook_take_held(void);
/* The last collection of a generation; any thread. */
struct gcs_hook_last {
	int64_t start_ns; /* 0: there was none */
	uint64_t pause_ns, collected, uncollectable;
};
void gcs_hook_last(int generation, struct gcs_hook_last *out);
/* Collections that the calling thread has run. */
unsigned gcs_hook_run_here(void);

/* Length of gc.garbage, with the GIL. */
Py_ssize_t gcs_hook_garbage_gil(void);
PyObject *gcs_hook_garbage_list(void);
/* Is the callback still in gc.callbacks? With the GIL. */
bool gcs_hook_present_gil(void);
/*
 * Puts it back when it is gone. Collections that ran without it are made up for from gc.get_stats(), by
 * the main thread when it gets to it, or by the hand. Agent's thread.
 */
void gcs_hook_repair_gil(void);
uint64_t gcs_hook_lost(void); /* how often it had to be put back */

#endif
