/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `gcscope watch` knows and where its cursor is; neither terminal nor socket. The latest
 * answers are kept as they came; a selection is a type's name (a cycle's fingerprint), so that it
 * stays on its type when rows change places.
 */
#ifndef GCS_WATCH_MODEL_H
#define GCS_WATCH_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"
#include "spark.h"

#define GCS_WATCH_TREND 16 /* censuses in a row's small sparkline */
#define GCS_WATCH_RSS 60   /* answers in the memory's */
#define GCS_WATCH_MESSAGE 160
#define GCS_WATCH_RATE_S 10

/* What is asked for; answers come in the order of the requests. */
enum gcs_watch_kind {
	GCS_WATCH_INFO,
	GCS_WATCH_STAT,
	GCS_WATCH_CENSUS,
	GCS_WATCH_SUSPECTS,
	GCS_WATCH_CYCLES,
	GCS_WATCH_HISTORY,
	GCS_WATCH_PAST, /* the end of a row's history, for its trend; not kept */
	GCS_WATCH_KINDS,
};

/* Those with a table first: the others are shown on top of one of them. */
enum gcs_watch_view {
	GCS_VIEW_TYPES,
	GCS_VIEW_SUSPECTS,
	GCS_VIEW_CYCLES,
	GCS_VIEW_HISTORY,
	GCS_VIEW_HELP,
};

/* The cycles' counts at some time, by fingerprint. */
struct gcs_watch_counts {
	json_t *count; /* NULL: none yet */
	int64_t ns;
};

struct gcs_watch {
	json_t *answer[GCS_WATCH_KINDS];                  /* the latest; NULL: none yet */
	char message[GCS_WATCH_KINDS][GCS_WATCH_MESSAGE]; /* why there is none; "" */
	json_t *trend;                                    /* type -> array of its last counts */
	json_t *past;                                     /* type -> true: its past was asked for */
	struct gcs_watch_counts from, next;               /* where rates begin, and soon will */
	int64_t cycles_ns;                                /* when the cycles of answer[] came */
	double rss[GCS_WATCH_RSS];                        /* NaN where unknown */
	size_t nrss;
	int64_t census_ns;              /* when the census of answer[] was taken */
	enum gcs_watch_view view, back; /* back: where Escape leads */
	enum gcs_sort sort;
	char *selected;     /* a type or a fingerprint, or NULL */
	bool moved;         /* somebody chose it */
	size_t cursor, top; /* rows of the view's table */
	size_t height;      /* rows that are shown */
	bool paused;
};

void gcs_watch_init(struct gcs_watch *w, enum gcs_sort sort);
void gcs_watch_fini(struct gcs_watch *w);
/* Takes an answer over. now_ns: monotonic. */
void gcs_watch_answer(struct gcs_watch *w, enum gcs_watch_kind kind, json_t *answer,
		      int64_t now_ns);
/* That kind was answered with an error. */
void gcs_watch_failed(struct gcs_watch *w, enum gcs_watch_kind kind, const char *message);

/* The view whose table the cursor is in, also while history or help stands on it. */
enum gcs_watch_view gcs_watch_table(const struct gcs_watch *w);
/* The rows of that table. */
const json_t *gcs_watch_rows(const struct gcs_watch *w);
size_t gcs_watch_nrows(const struct gcs_watch *w);
/* The selected type; NULL when none is, or the rows are no types. */
const char *gcs_watch_type(const struct gcs_watch *w);
/* Moves the cursor by so many rows. */
void gcs_watch_move(struct gcs_watch *w, long rows);
/* Another order; the cursor goes to the top. */
void gcs_watch_sort(struct gcs_watch *w, enum gcs_sort sort);
/* Scrolls so that the cursor is among the `height` rows that are shown. */
void gcs_watch_scroll(struct gcs_watch *w, size_t height);
/* Changes the view; the cursor finds its type again. */
void gcs_watch_show(struct gcs_watch *w, enum gcs_watch_view view);

/* Counts of a type at the last censuses, oldest first: at most GCS_WATCH_TREND. */
size_t gcs_watch_trend(const struct gcs_watch *w, const char *type, double *out);
/*
 * A type on the screen whose counts before this watch began were not asked for yet, or NULL; from
 * now on they are. With its answer the trend is whole at once, not after so many censuses.
 */
const char *gcs_watch_wants_past(struct gcs_watch *w);
/* How many of that cycle were found per second, over some GCS_WATCH_RATE_S; NaN: not known yet. */
double gcs_watch_rate(const struct gcs_watch *w, const json_t *cycle);
/* The history of the selected type, in memory to be freed; NULL when it is not there. */
struct gcs_spark_point *gcs_watch_history(const struct gcs_watch *w, size_t *n);

#endif
