/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gcscope watch: the loop. Once an interval the agent is asked for what is on the screen; keys,
 * answers, resizes and signals are all waited for together, so that none waits for another: a
 * target that does not answer is said to be silent, and q still quits.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "cmd.h"
#include "gcscope/protocol.h"
#include "proc.h"
#include "signals.h"
#include "watch-screen.h"
#include "xalloc.h"

#ifdef HAVE_NCURSES

#define TYPES_MAX 500   /* rows asked for: enough to scroll, cheap to send */
#define CYCLES_MAX 100  /* these are long */
#define PENDING_MAX 16  /* requests under way */
#define HISTORY_EVERY 5 /* intervals between histories for the small line */

struct watch {
	const struct gcs_options *o;
	struct gcs_client client;
	struct gcs_screen screen;
	struct gcs_watch model;
	enum gcs_watch_kind pending[PENDING_MAX]; /* answers come in this order */
	size_t npending;
	int64_t asked_ns, heard_ns, next_ns, end_ns;
	int64_t cycles_ns; /* not before this are cycles asked for again */
	char *history_of; /* the type last asked for */
	unsigned ticks;
	bool done;
};

static const char *const schemas[GCS_WATCH_KINDS] = {"info", "stat", "census", "suspects",
						     "cycles", "history", "history"};

static int64_t interval_ns(const struct watch *w)
{
	return (int64_t)(w->o->interval_s * 1e9);
}

static void ask(struct watch *w, enum gcs_watch_kind kind, const char *request)
{
	if (w->npending == PENDING_MAX)
		return;
	if (!w->npending)
		w->asked_ns = gcs_now_ns();
	if (gcs_client_send(&w->client, request) < 0)
		die("%s", w->client.error);
	w->pending[w->npending++] = kind;
}

static void ask_census(struct watch *w, bool cached)
{
	char request[128];
	long limit = w->o->limit ? w->o->limit : TYPES_MAX;

	snprintf(request, sizeof(request), "census cached=%d limit=%ld sort=%s\n", cached, limit,
		 gcs_sort_name(w->model.sort));
	ask(w, GCS_WATCH_CENSUS, request);
}

/* A name so long that its request would not be taken has no history here. limit 0: all of it. */
static void ask_history(struct watch *w, enum gcs_watch_kind kind, const char *of, int limit)
{
	char *type = gcs_client_encode(of);
	char *request = xasprintf("history type=%s limit=%d\n", type, limit);

	if (strlen(request) <= GCS_REQUEST_MAX)
		ask(w, kind, request);
	free(request);
	free(type);
}

static void ask_selected(struct watch *w)
{
	const char *type = gcs_watch_type(&w->model);

	free(w->history_of);
	w->history_of = type ? xstrdup(type) : NULL;
	if (w->history_of)
		ask_history(w, GCS_WATCH_HISTORY, w->history_of, 0);
}

static void ask_all(struct watch *w)
{
	bool graph = w->model.view == GCS_VIEW_HISTORY;

	ask(w, GCS_WATCH_INFO, GCS_VERB_INFO "\n");
	ask(w, GCS_WATCH_STAT, GCS_VERB_STAT "\n");
	ask_census(w, true);
	ask(w, GCS_WATCH_SUSPECTS, GCS_VERB_SUSPECTS "\n");
	if (graph || w->ticks++ % HISTORY_EVERY == 0)
		ask_selected(w);
}

/* The cursor is on another type than the history is of. */
static void follow_selection(struct watch *w)
{
	const char *now = gcs_watch_type(&w->model);

	if (now && (!w->history_of || strcmp(now, w->history_of)) && w->npending < PENDING_MAX)
		ask_selected(w);
}

/* One at a time, so that a screen full of types is no burst. */
static void fill_trends(struct watch *w)
{
	const char *type = w->npending || w->model.paused ? NULL : gcs_watch_wants_past(&w->model);

	if (type)
		ask_history(w, GCS_WATCH_PAST, type, GCS_WATCH_TREND);
}

/* Nothing else is under way, and the numbers may move, or there are none yet. */
static bool wants_cycles(const struct watch *w)
{
	return gcs_watch_table(&w->model) == GCS_VIEW_CYCLES && !w->npending &&
	       (!w->model.paused || !w->model.answer[GCS_WATCH_CYCLES]);
}

/*
 * Only while they are looked at, and not more than once an interval, whatever keys are pressed: for
 * each answer the agent copies its table with the GIL held.
 */
static void follow_cycles(struct watch *w)
{
	long limit = w->o->limit ? w->o->limit : CYCLES_MAX;
	int64_t now = gcs_now_ns();
	char request[64];

	if (!wants_cycles(w) || now < w->cycles_ns)
		return;
	w->cycles_ns = now + interval_ns(w);
	snprintf(request, sizeof(request), "cycles limit=%ld\n", limit);
	ask(w, GCS_WATCH_CYCLES, request);
}

static void tick(struct watch *w)
{
	int64_t now = gcs_now_ns();

	if (w->end_ns && now >= w->end_ns)
		w->done = true;
	if (now < w->next_ns || w->npending || w->model.paused)
		return;
	w->next_ns = now + interval_ns(w);
	ask_all(w);
}

static void take_answer(struct watch *w, json_t *answer)
{
	enum gcs_watch_kind kind;

	if (!w->npending)
		die("the agent in %d says something that it was not asked", (int)w->client.pid);
	kind = w->pending[0];
	memmove(w->pending, w->pending + 1, --w->npending * sizeof(w->pending[0]));
	if (gcs_client_check(&w->client, answer, schemas[kind]) == 0)
		gcs_watch_answer(&w->model, kind, json_incref(answer), gcs_now_ns());
	else if (gcs_client_is(answer, "error"))
		gcs_watch_failed(&w->model, kind, w->client.error);
	else
		die("%s", w->client.error);
}

static void read_answers(struct watch *w)
{
	json_t *answer;
	int got;

	if (gcs_client_fill(&w->client) < 0)
		die("%s", w->client.error);
	while ((got = gcs_client_take(&w->client, &answer)) == 1) {
		w->heard_ns = gcs_now_ns();
		take_answer(w, answer);
		json_decref(answer);
	}
	if (got < 0)
		die("%s", w->client.error);
	if (w->client.ended) {
		gcs_screen_stop();
		gcs_client_die_ended(&w->client);
	}
}

static void sort_by(struct watch *w, enum gcs_sort sort)
{
	gcs_watch_sort(&w->model, sort);
	ask_census(w, true);
}

static void toggle(struct watch *w, enum gcs_watch_view view)
{
	enum gcs_watch_view back = view < GCS_VIEW_HISTORY ? GCS_VIEW_TYPES : w->model.back;

	gcs_watch_show(&w->model, w->model.view == view ? back : view);
}

static void move_key(struct watch *w, int key)
{
	long page = w->screen.rows > 12 ? w->screen.rows - 12 : 4;

	switch (key) {
	case GCS_KEY_UP:
	case 'k':
		gcs_watch_move(&w->model, -1);
		break;
	case GCS_KEY_DOWN:
	case 'j':
		gcs_watch_move(&w->model, 1);
		break;
	case GCS_KEY_PAGE_UP:
		gcs_watch_move(&w->model, -page);
		break;
	case GCS_KEY_PAGE_DOWN:
		gcs_watch_move(&w->model, page);
		break;
	case GCS_KEY_HOME:
		gcs_watch_move(&w->model, -(long)w->model.cursor);
		break;
	case GCS_KEY_END:
		gcs_watch_move(&w->model, (long)gcs_watch_nrows(&w->model));
		break;
	}
}

static void handle_key(struct watch *w, int key)
{
	if (key == 'q') {
		w->done = true;
		return;
	}
	if (key == GCS_KEY_REDRAW) {
		gcs_screen_resize(&w->screen);
		return;
	}
	if (w->model.view == GCS_VIEW_HELP) {
		gcs_watch_show(&w->model, w->model.back);
		return;
	}
	switch (key) {
	case 'c':
		sort_by(w, GCS_SORT_COUNT);
		break;
	case 'g':
		sort_by(w, GCS_SORT_GROWTH);
		break;
	case 'b':
		sort_by(w, GCS_SORT_BYTES);
		break;
	case 's':
		toggle(w, GCS_VIEW_SUSPECTS);
		break;
	case 'y':
		toggle(w, GCS_VIEW_CYCLES);
		break;
	case '?':
	case 'h':
		gcs_watch_show(&w->model, GCS_VIEW_HELP);
		break;
	case GCS_KEY_ENTER:
		if (w->model.view != GCS_VIEW_CYCLES) /* the agent keeps no history of these */
			toggle(w, GCS_VIEW_HISTORY);
		break;
	case GCS_KEY_ESCAPE:
		gcs_watch_show(&w->model,
			       w->model.view == GCS_VIEW_HISTORY ? w->model.back : GCS_VIEW_TYPES);
		break;
	case 'p':
		w->model.paused = !w->model.paused;
		break;
	case 'r':
	case ' ':
		ask_all(w);
		ask_census(w, false);
		break;
	default:
		move_key(w, key);
	}
}

static void draw(struct watch *w)
{
	struct gcs_watch_status st = {.pid = (int)w->client.pid};
	struct gcs_proc p;

	if (w->npending) {
		st.silent_s = (double)(gcs_now_ns() - w->asked_ns) / 1e9;
		st.stopped =
			st.silent_s >= 1 && gcs_proc_read(w->client.pid, &p) == 0 && p.state == 'T';
	}
	gcs_screen_draw(&w->screen, &w->model, &st);
}

/* Milliseconds until there is something to do without any input. */
static int wait_ms(const struct watch *w)
{
	int64_t when = w->end_ns ? w->end_ns : INT64_MAX;

	if (!w->npending && !w->model.paused && w->next_ns < when)
		when = w->next_ns;
	if (wants_cycles(w) && w->cycles_ns < when)
		when = w->cycles_ns;
	return gcs_deadline_ms(when, 1000);
}

static void read_keys(struct watch *w, short revents)
{
	int key;

	/* The terminal is gone: nobody can press q any more. */
	if (revents & (POLLHUP | POLLERR | POLLNVAL))
		w->done = true;
	while (!w->done && (key = gcs_screen_key()))
		handle_key(w, key);
}

static void loop(struct watch *w)
{
	int wake = gcs_signals_catch();

	while (!w->done && !gcs_signals_pending()) {
		struct pollfd p[] = {
			{.fd = STDIN_FILENO, .events = POLLIN},
			{.fd = w->client.fd, .events = POLLIN},
			{.fd = wake, .events = POLLIN},
		};

		tick(w);
		follow_selection(w);
		fill_trends(w);
		follow_cycles(w);
		draw(w);
		if (poll(p, 3, wait_ms(w)) < 0 && errno != EINTR)
			die("poll: %s", strerror(errno));
		if (gcs_signals_winch())
			gcs_screen_resize(&w->screen);
		if (p[1].revents)
			read_answers(w);
		read_keys(w, p[0].revents);
	}
}

static bool wants_color(const struct gcs_options *o)
{
	const char *no = getenv("NO_COLOR");

	return !o->no_color && !(no && *no);
}

static int watch_terminal(struct gcs_options *o)
{
	struct watch w = {.o = o};

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		die("watch needs a terminal; for a pipe or a file use gcscope log");
	if (o->interval_s <= 0)
		o->interval_s = 1;
	gcs_signals_catch();
	gcs_client_open(&w.client, gcs_target_find(o->target), o->timeout_s);
	gcs_watch_init(&w.model, o->sort);
	gcs_signals_catch_winch();
	gcs_screen_start(&w.screen, wants_color(o));
	w.end_ns = o->duration_s > 0 ? gcs_deadline(o->duration_s) : 0;
	loop(&w);
	gcs_screen_stop();
	gcs_watch_fini(&w.model);
	gcs_client_close(&w.client);
	free(w.history_of);
	return GCS_EXIT_DONE;
}

static int cmd_watch(struct gcs_options *o)
{
	if (o->json || o->output)
		die_usage("watch is for a terminal: use gcscope events or log for --json and -o");
	return watch_terminal(o);
}

#else

static int cmd_watch(struct gcs_options *o)
{
	(void)o;
	die("watch is not in this gcscope: it was built without ncurses; use gcscope log");
}

#endif

const struct cmd_entry cmd_entry_watch = {
	.name = "watch",
	.usage = "[OPTIONS] [TARGET]",
	.summary = "Shows a live view: gc, memory, types with growth and history, suspects, cycles.",
	.notes = "The interval is that of the screen (default 1 s); the agent's own, GCSCOPE_INTERVAL,\n"
		 "is that of new counts. The keys are shown on the screen.",
	.impact = "low: shows the agent's last census; only the key r takes a new one",
	.takes = CMD_TAKES_SORT,
	.timeout_s = 10,
	.exec = cmd_watch,
};
