/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GIL, as the agent's thread takes it: every hold is short, measured, charged to the budget, and
 * impossible once the interpreter is going down. Between holds the thread has no thread state, which tools
 * that list the threads (faulthandler) would show.
 *
 * A fork that nobody announced (C code, uWSGI) may come while we hold the GIL, and the child would find
 * it held by a thread that does not exist: the pthread_atfork prepare handler holds us off and waits for
 * the hold under way, which is short.
 */
#ifndef GCS_GIL_H
#define GCS_GIL_H

#include <stdbool.h>
#include <stdint.h>

#include "budget.h"
#include "clock.h"
#include "hist.h"

struct gcs_gil_stats { /* the agent's thread's */
	struct gcs_budget budget;
	struct gcs_budget charges; /* the half of it that charges may take */
	struct gcs_hist hold;
	uint64_t held_ns, cpu_ns;
	uint64_t max_cpu_ns;
	uint64_t last_ns, last_cpu_ns; /* of the last hold */
};

extern struct gcs_gil_stats gcs_gil;

void gcs_gil_init(double budget_percent);
/* PyGILState_Ensure() and what it takes to leave no trace on this CPython; any thread of ours. */
int gcs_gil_ensure(void);
/* Agent's thread. False: the interpreter is finalizing, or a fork holds us off; try later or never. */
bool gcs_gil_take(void);
bool gcs_gil_paused(void);     /* no hold as long as tracemalloc is on */
void gcs_gil_note_allocator(void); /* at attach */
void gcs_gil_drop(void);
/*
 * During a hold on a free-threaded build: others stood still for so long. There a hold costs them nothing else, so
 * that, or its CPU time when that is longer, is what it counts for.
 */
void gcs_gil_stopped_world(uint64_t ns);
/*
 * Charges time that others spent with the GIL for us (the callback). That cannot wait, so what is more than half of the
 * budget (GCSCOPE_CYCLES=all where much is freed) is counted but not paid back: the census would never run again.
 */
void gcs_gil_charge(uint64_t ns);

/* Agent's thread, around what may wait for the loader's lock. False: held off; try later. */
bool gcs_gil_enter_loader(void);
void gcs_gil_leave_loader(void);
/*
 * Around a fork, or what wants our thread to be away from the GIL as well; any thread. As many allow as hold_off. It
 * waits for so many turns: one for what should not be slow, or all.
 */
#define GCS_GIL_PATIENCE 16
void gcs_gil_hold_off(int turns);
bool gcs_gil_is_callers(void); /* false also when it cannot be told (gil.c) */
bool gcs_gil_inside(void); /* the agent's thread has the GIL, or waits for it, or for the loader's lock */
void gcs_gil_allow(void);
bool gcs_gil_held_off(void);
void gcs_gil_forget(void); /* in a forked child: the thread is not here */

#endif
