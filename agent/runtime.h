/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the agent share for the life of one process: a forked child gets a new one. Made
 * while the agent's thread does not exist (at attach, after a fork), then that thread's alone.
 */
#ifndef GCS_RUNTIME_H
#define GCS_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "census.h"
#include "config.h"
#include "hook.h"
#include "series.h"

struct gcs_tracker;

#define GCS_FULL_TIMES 64 /* full collections remembered for the suspects */

struct gcs_runtime {
	struct gcs_hook_shared *hook;
	struct gcs_series *series;
	struct gcs_tracker *tracker;
	struct gcs_census_result census; /* the last one */
	uint64_t max_pause_ns;           /* of all of them */
	uint64_t censuses, censuses_given_up;
	int64_t attached_ns;
	int64_t full_ns[GCS_FULL_TIMES]; /* the newest full collections, ascending */
	size_t nfull;
	uint64_t ring_lost;              /* collections that found the ring full, as told to clients */
	uint64_t uncollectable;          /* seen since attach */
	int64_t garbage;                 /* length of gc.garbage, and gc.isenabled(), at the last look */
	bool gc_enabled;
	bool looked;
	pid_t pid;
};

extern struct gcs_runtime *gcs_rt; /* NULL until this process has one */
extern struct gcs_config gcs_config;

/* With the GIL, the agent's thread not running. 0 or -ENOMEM. */
int gcs_rt_begin_gil(void);
/* With the GIL, agent's thread: reads what only the interpreter knows; sees to the callback. */
void gcs_rt_look_gil(void);
/* What a finished census and a collection mean: history, suspects, events, log. Agent's thread. */
void gcs_rt_census_done(void);
void gcs_rt_drain_collections(void);

#endif
