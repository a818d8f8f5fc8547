/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent's thread does all day: attach, then answer clients, drain the collector's events, take a
 * census when one is due, keep the log. Everything but the callback happens here, in turn.
 *
 * Whatever needs the GIL is one short slice per turn, and background slices wait for the budget; what a
 * client asked for may use what flows into it during the next minutes.
 */
#ifndef GCS_LOOP_H
#define GCS_LOOP_H

#include <stdint.h>

/* The thread's body: returns when the thread should stop. */
void gcs_loop_run(void);
/* CPU time of the agent's threads in this process. */
uint64_t gcs_loop_cpu_ns(void);

#endif
