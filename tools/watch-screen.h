/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal of `gcscope watch`: curses stands in these files alone. However the program ends (a
 * key, a signal, die(), a crash) the terminal is given back as it was.
 */
#ifndef GCS_WATCH_SCREEN_H
#define GCS_WATCH_SCREEN_H

#include <stdbool.h>

#include "watch-model.h"

struct gcs_screen {
	int rows, cols;
	bool ascii; /* the terminal's character set has no block elements */
	bool color;
};

/* What the frame shows besides the model. */
struct gcs_watch_status {
	int pid;
	double silent_s; /* since when nothing was heard; 0: all is well */
	bool stopped;    /* the target is */
};

enum gcs_watch_style {
	GCS_STYLE_PLAIN,
	GCS_STYLE_BOLD,
	GCS_STYLE_BAR,
	GCS_STYLE_RED,
	GCS_STYLE_YELLOW,
	GCS_STYLE_CYAN,
	GCS_STYLE_DIM
};

/* Takes the terminal over. Dies when curses cannot drive it. */
void gcs_screen_start(struct gcs_screen *s, bool color);
void gcs_screen_stop(void);
void gcs_screen_resize(struct gcs_screen *s);
/* The next key that was pressed: a character, one of below, or 0. Never blocks. */
int gcs_screen_key(void);
enum {
	GCS_KEY_UP = 0x10000,
	GCS_KEY_DOWN,
	GCS_KEY_PAGE_UP,
	GCS_KEY_PAGE_DOWN,
	GCS_KEY_HOME,
	GCS_KEY_END,
	GCS_KEY_ENTER,
	GCS_KEY_ESCAPE,
	GCS_KEY_REDRAW,
	GCS_KEY_OTHER
};

/* Draws everything. Scrolls the model to its cursor. */
void gcs_screen_draw(const struct gcs_screen *s, struct gcs_watch *w,
		     const struct gcs_watch_status *status);

/* For the views: text at a place, cut at the right edge of the screen, or of `width` columns. */
void gcs_screen_put(const struct gcs_screen *s, int y, int x, int width, enum gcs_watch_style style,
		    const char *text);
void gcs_screen_printf(const struct gcs_screen *s, int y, int x, enum gcs_watch_style style,
		       const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* What came from the target, fit for this terminal, in memory to be freed. */
char *gcs_screen_safe(const struct gcs_screen *s, const char *text);

/* The views, in watch-views.c: each draws rows y to y + height - 1. */
void gcs_view_types(const struct gcs_screen *s, struct gcs_watch *w, int y, int height);
void gcs_view_suspects(const struct gcs_screen *s, struct gcs_watch *w, int y, int height);
void gcs_view_cycles(const struct gcs_screen *s, struct gcs_watch *w, int y, int height);
void gcs_view_history(const struct gcs_screen *s, const struct gcs_watch *w, int y, int height);
void gcs_view_help(const struct gcs_screen *s, int y, int height);
/* A few suspects beside another view: at most height rows. Returns the rows used. */
int gcs_view_suspects_brief(const struct gcs_screen *s, const struct gcs_watch *w, int y,
			    int height);

#endif
