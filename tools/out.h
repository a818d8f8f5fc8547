/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a command writes: standard output or --output FILE. A write that fails (full disk, closed
 * pipe) ends the command with one line and exit status 1, and is never noticed only by whoever
 * reads the file.
 */
#ifndef GCS_OUT_H
#define GCS_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "options.h"

struct gcs_out {
	FILE *f;
	const char *name; /* for messages */
	bool color;
	size_t width; /* columns of the terminal; 0: no terminal, no limit */
};

/* Opens it; FILE is emptied. Called once there is something to write. */
void gcs_out_open(struct gcs_out *out, const struct gcs_options *o);
void gcs_out_printf(struct gcs_out *out, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/*
 * One line; everything but ASCII as \uXXXX, so that JSON is as harmless on a terminal as text is.
 */
void gcs_out_json(struct gcs_out *out, const json_t *json);
/* Hands everything to the kernel, or dies; a signal that asks us to end is no error. */
void gcs_out_flush(struct gcs_out *out);
void gcs_out_close(struct gcs_out *out);
/* Escape sequences "\033[<sgr>m" and its end, or "" without colour. */
const char *gcs_out_on(const struct gcs_out *out, const char *sgr);
const char *gcs_out_off(const struct gcs_out *out);
/* The colour of a confidence, "" for others. */
const char *gcs_out_confidence(const char *confidence);

#endif
