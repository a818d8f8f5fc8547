/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened, told to whoever asked: the clients that subscribed, and the agent's own log. An event that
 * nobody wants is not even written. Agent's thread, never with the GIL.
 */
#ifndef GCS_EVENTS_H
#define GCS_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "json.h"

struct gcs_census_result;
struct gcs_gc_event;
struct gcs_series;
struct gcs_suspect;

void gcs_events_begin(void); /* once per process, after the agent's memory was (re)made */
void gcs_event_collection(const struct gcs_gc_event *e);
void gcs_event_census(const struct gcs_census_result *r);
/* For each distinct cycle that collections have found since the last time; at most once a second. */
void gcs_event_cycles(void);
/* On the log only: the complaint about the settings and what is disabled, once for a program. */
void gcs_events_introduce(void);
/* After each census, for each suspect and for each that ceased to be one. */
void gcs_event_suspect(const struct gcs_series *s, const struct gcs_suspect *x);
void gcs_event_gc_switched(bool enabled);
void gcs_event_frozen(uint64_t count);

/* Opens an object with the keys that every answer and event has. */
void gcs_json_head(struct gcs_json *j, const char *schema);

#endif
