/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that go on: events and log (a subscription, one line per event), and whatever --interval
 * repeats. They end by --duration, --limit, SIGINT, SIGTERM or SIGHUP, all of which are a clean
 * end; by the end of the target, which is not; or when nobody reads the output any more.
 */
#ifndef GCS_STREAM_H
#define GCS_STREAM_H

#include <jansson.h>
#include <stdbool.h>

#include "client.h"
#include "options.h"
#include "out.h"

/*
 * Subscribes to the topics and writes each event that has the schema "gcscope.<schema>/1" or is a
 * notice of lost events. millis: the text shows fractions of a second. Returns an exit status.
 */
int gcs_stream_run(const struct gcs_options *o, const char *topics, const char *schema,
		   bool millis);

/* A command that asks one thing and shows the answer. */
struct gcs_report {
	/* The answer. Dies when there is none. c is not connected when no_target. */
	json_t *(*ask)(const struct gcs_options *o, struct gcs_client *c);
	void (*show)(struct gcs_out *out, const json_t *answer); /* as text */
	int (*status)(const struct gcs_options *o,
		      const json_t *answer); /* an exit status; NULL: 0 */
	const char *rows;                    /* the array that --limit cuts; NULL: none */
	bool no_target;
};

/*
 * Asks and shows, with --interval or --duration again every interval (default 1 s) until the end.
 * Returns an exit status: the last that was not 0.
 */
int gcs_stream_report(const struct gcs_options *o, const struct gcs_report *r);

#endif
