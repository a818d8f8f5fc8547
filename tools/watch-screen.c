/* SPDX-License-Identifier: Apache-2.0 */
#include "watch-screen.h"

#ifdef HAVE_NCURSES

#include <curses.h>
#include <langinfo.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "fields.h"
#include "text.h"
#include "xalloc.h"

/* What a crash handler may use: bytes and settings that were made ready before. */
static struct termios saved_mode;
static bool have_mode;
static char restore[128];
static size_t restore_len;

static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

static void on_crash(int sig)
{
	ssize_t n = write(STDOUT_FILENO, restore, restore_len);

	(void)n;
	if (have_mode)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved_mode);
	raise(sig); /* SA_RESETHAND: now it kills us as it would have */
}

static void add_restore(const char *capability)
{
	const char *s = tigetstr((char *)capability);
	size_t n;

	if (!s || s == (char *)-1)
		return;
	n = strcspn(s, "$"); /* a padding delay is not for us */
	if (restore_len + n > sizeof(restore))
		return;
	memcpy(restore + restore_len, s, n);
	restore_len += n;
}

static void prepare_crash(void)
{
	struct sigaction sa = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};

	add_restore("sgr0");
	add_restore("cnorm");
	add_restore("rmkx");
	add_restore("rmcup");
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < sizeof(crash_signals) / sizeof(crash_signals[0]); i++)
		sigaction(crash_signals[i], &sa, NULL);
}

static void start_colors(bool color)
{
	if (!color || !has_colors())
		return;
	start_color();
	use_default_colors();
	init_pair(GCS_STYLE_RED, COLOR_RED, -1);
	init_pair(GCS_STYLE_YELLOW, COLOR_YELLOW, -1);
	init_pair(GCS_STYLE_CYAN, COLOR_CYAN, -1);
}

void gcs_screen_start(struct gcs_screen *s, bool color)
{
	have_mode = tcgetattr(STDIN_FILENO, &saved_mode) == 0;
	/* newterm, since initscr would exit by itself on an unknown terminal. */
	if (!newterm(NULL, stdout, stdin))
		die("curses does not know the terminal '%s': set TERM, to xterm for instance",
		    getenv("TERM") ? getenv("TERM") : "");
	die_hook_set(gcs_screen_stop);
	prepare_crash();
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(25);
	curs_set(0);
	s->ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
	start_colors(color);
	s->color = color && has_colors();
	getmaxyx(stdscr, s->rows, s->cols);
}

void gcs_screen_stop(void)
{
	die_hook_set(NULL);
	if (!isendwin())
		endwin();
}

void gcs_screen_resize(struct gcs_screen *s)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col)
		resizeterm(size.ws_row, size.ws_col);
	clearok(stdscr, TRUE);
	getmaxyx(stdscr, s->rows, s->cols);
}

int gcs_screen_key(void)
{
	int key = getch();

	switch (key) {
	case ERR:
		return 0;
	case KEY_UP:
		return GCS_KEY_UP;
	case KEY_DOWN:
		return GCS_KEY_DOWN;
	case KEY_PPAGE:
		return GCS_KEY_PAGE_UP;
	case KEY_NPAGE:
		return GCS_KEY_PAGE_DOWN;
	case KEY_HOME:
		return GCS_KEY_HOME;
	case KEY_END:
		return GCS_KEY_END;
	case KEY_ENTER:
	case '\r':
	case '\n':
		return GCS_KEY_ENTER;
	case 'L' & 0x1f:
		return GCS_KEY_REDRAW;
	case 27:
	case KEY_BACKSPACE:
		return GCS_KEY_ESCAPE;
	}
	return key > 0 && key < 127 ? key : GCS_KEY_OTHER;
}

char *gcs_screen_safe(const struct gcs_screen *s, const char *text)
{
	return gcs_text_safe(text, GCS_ESCAPE_NOT_BACKSLASH | (s->ascii ? GCS_ESCAPE_NOT_ASCII : 0));
}

static attr_t attributes(const struct gcs_screen *s, enum gcs_watch_style style)
{
	switch (style) {
	case GCS_STYLE_BOLD:
		return A_BOLD;
	case GCS_STYLE_BAR:
		return A_REVERSE;
	case GCS_STYLE_DIM:
		return A_DIM;
	case GCS_STYLE_RED:
	case GCS_STYLE_YELLOW:
	case GCS_STYLE_CYAN:
		return s->color ? (attr_t)COLOR_PAIR(style) : A_BOLD;
	default:
		return A_NORMAL;
	}
}

void gcs_screen_put(const struct gcs_screen *s, int y, int x, int width, enum gcs_watch_style style,
		    const char *text)
{
	attr_t a = attributes(s, style);

	if (y < 0 || y >= s->rows || x < 0 || x >= s->cols)
		return;
	if (width > s->cols - x)
		width = s->cols - x;
	if (width <= 0)
		return;
	attron(a);
	mvaddnstr(y, x, text, (int)gcs_text_fit(text, (size_t)width));
	attroff(a);
}

void gcs_screen_printf(const struct gcs_screen *s, int y, int x, enum gcs_watch_style style,
		       const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	gcs_screen_put(s, y, x, s->cols, style, text);
}

static void bar(const struct gcs_screen *s, int y)
{
	attron(A_REVERSE);
	mvhline(y, 0, ' ', s->cols);
	attroff(A_REVERSE);
}

/* What is amiss, or NULL. */
static const char *trouble(const struct gcs_watch *w, const struct gcs_watch_status *st,
			   char buf[64])
{
	if (st->stopped) {
		snprintf(buf, 64, " the target is stopped (SIGSTOP) ");
		return buf;
	}
	if (st->silent_s >= 2) {
		snprintf(buf, 64, " no answer for %.0f s ", st->silent_s);
		return buf;
	}
	return w->paused ? " paused " : NULL;
}

static void draw_title(const struct gcs_screen *s, const struct gcs_watch *w,
		       const struct gcs_watch_status *st)
{
	const json_t *info = w->answer[GCS_WATCH_INFO];
	char *command = gcs_screen_safe(s, gcs_fields_str(info, "command"));
	char *python = gcs_screen_safe(s, gcs_fields_str(info, "python"));
	char up[GCS_UNIT_MAX], right[256], left[64], buf[64];
	const char *amiss = trouble(w, st, buf);
	int room, x;

	snprintf(left, sizeof(left), "gcscope  %d  ", st->pid);
	snprintf(right, sizeof(right), "  Python %.100s  up %s ", python,
		 gcs_unit_span(up, gcs_fields_num(info, "uptime_s")));
	bar(s, 0);
	gcs_screen_put(s, 0, 0, s->cols, GCS_STYLE_BAR, left);
	x = (int)strlen(left);
	room = s->cols - x - (int)gcs_text_width(right);
	/* On a narrow terminal the command says more than the version. */
	if (room < 16)
		room = s->cols - x;
	else
		gcs_screen_put(s, 0, x + room, s->cols, GCS_STYLE_BAR, right);
	if ((int)gcs_text_width(command) > room)
		gcs_text_basenames(command);
	gcs_screen_put(s, 0, x, room, GCS_STYLE_BAR, command);
	if (amiss)
		gcs_screen_put(s, 0, s->cols - (int)strlen(amiss), s->cols, GCS_STYLE_RED, amiss);
	free(command);
	free(python);
}

/* Nanoseconds of something as a part of the agent's lifetime, in percent. */
static char *share(char *out, const json_t *stat, const char *path)
{
	double up = gcs_fields_num(stat, "agent.uptime_s");

	return gcs_text_plain(out, up > 0 ? gcs_fields_num(stat, path) / up / 1e7 : NAN, 2);
}

static void draw_process(const struct gcs_screen *s, const struct gcs_watch *w, int y)
{
	const json_t *stat = w->answer[GCS_WATCH_STAT];
	char n[7][GCS_UNIT_MAX];

	if (!stat) {
		char *why = gcs_screen_safe(s, w->message[GCS_WATCH_STAT]);

		gcs_screen_put(s, y, 0, s->cols, GCS_STYLE_RED, why);
		free(why);
		return;
	}
	gcs_screen_printf(
		s, y, 0, GCS_STYLE_PLAIN,
		"RSS %s  objects %s  every %ss  agent CPU %s%% GIL %s%%/%s%% %s",
		gcs_unit_bytes(n[0], gcs_fields_num(stat, "process.rss_bytes"), " "),
		gcs_unit_count(n[1], gcs_fields_num(w->answer[GCS_WATCH_CENSUS], "objects")),
		gcs_text_plain(n[2], gcs_fields_num(stat, "agent.interval_s"), 6),
		share(n[3], stat, "agent.cpu_ns"), share(n[4], stat, "agent.gil_held_ns"),
		gcs_text_plain(n[5], gcs_fields_num(stat, "agent.budget_percent"), 6),
		gcs_unit_bytes(n[6], gcs_fields_num(stat, "agent.memory_bytes"), " "));
}

/* What the RSS is made of, and how it went since watch began. */
static void draw_memory(const struct gcs_screen *s, const struct gcs_watch *w, int y)
{
	const json_t *stat = w->answer[GCS_WATCH_STAT];
	char anon[GCS_UNIT_MAX], file[GCS_UNIT_MAX], shmem[GCS_UNIT_MAX],
		line[GCS_SPARK_SIZE(GCS_WATCH_RSS)];
	double lo, hi;

	gcs_screen_put(s, y, 0, s->cols, GCS_STYLE_BOLD, "mem");
	gcs_screen_printf(
		s, y, 4, GCS_STYLE_PLAIN, "anonymous %s  files %s  shared %s",
		gcs_unit_bytes(anon, gcs_fields_num(stat, "process.rss_anon_bytes"), " "),
		gcs_unit_bytes(file, gcs_fields_num(stat, "process.rss_file_bytes"), " "),
		gcs_unit_bytes(shmem, gcs_fields_num(stat, "process.rss_shmem_bytes"), " "));
	if (!gcs_spark_range(w->rss, w->nrss, &lo, &hi))
		return;
	gcs_spark_row(line, w->rss, w->nrss, lo, hi, 0, 1, s->ascii);
	gcs_screen_put(s, y, 57, s->cols, GCS_STYLE_CYAN, line);
}

static void draw_gc_line(const struct gcs_screen *s, const json_t *stat, int y)
{
	const json_t *enabled = gcs_fields_at(stat, "gc.enabled");
	bool off = json_is_false(enabled);
	char frozen[GCS_UNIT_MAX], garbage[GCS_UNIT_MAX];

	gcs_screen_put(s, y, 0, s->cols, GCS_STYLE_BOLD, "gc");
	gcs_screen_put(s, y, 4, s->cols, off ? GCS_STYLE_RED : GCS_STYLE_PLAIN,
		       off                     ? "DISABLED"
		       : json_is_true(enabled) ? "enabled"
					       : "-");
	gcs_screen_printf(s, y, 12, GCS_STYLE_PLAIN, "  frozen %s  in gc.garbage %s",
			  gcs_unit_count(frozen, gcs_fields_num(stat, "gc.frozen")),
			  gcs_unit_count(garbage, gcs_fields_num(stat, "gc.garbage")));
}

static double element(const json_t *stat, const char *array, size_t i)
{
	const json_t *v = json_array_get(gcs_fields_at(stat, array), i);

	return json_is_number(v) ? json_number_value(v) : NAN;
}

static void draw_generation(const struct gcs_screen *s, const json_t *stat, size_t i, int y)
{
	const json_t *g = json_array_get(gcs_fields_at(stat, "gc.generations"), i);
	char c[8][GCS_UNIT_MAX];

	gcs_screen_printf(s, y, 0, GCS_STYLE_PLAIN, "%4zu %9s %9s %9s %9s %7s %7s %7s %9s", i,
			  gcs_unit_count(c[0], gcs_fields_num(g, "collections")),
			  gcs_unit_ns(c[1], gcs_fields_num(g, "pause_ns.p50"), " "),
			  gcs_unit_ns(c[2], gcs_fields_num(g, "pause_ns.p99"), " "),
			  gcs_unit_ns(c[3], gcs_fields_num(g, "pause_ns.max"), " "),
			  gcs_unit_count(c[4], gcs_fields_num(g, "collected")),
			  gcs_unit_count(c[5], gcs_fields_num(g, "uncollectable")),
			  gcs_unit_count(c[6], element(stat, "gc.counts", i)),
			  gcs_unit_count(c[7], element(stat, "gc.thresholds", i)));
}

/* Returns the rows used. */
static int draw_gc(const struct gcs_screen *s, const struct gcs_watch *w, int y)
{
	const json_t *stat = w->answer[GCS_WATCH_STAT];
	size_t n = json_array_size(gcs_fields_at(stat, "gc.generations"));

	draw_gc_line(s, stat, y);
	if (s->rows < 16)
		return 1;
	n = n > 4 ? 4 : n;
	gcs_screen_printf(s, y + 1, 0, GCS_STYLE_BOLD, "%4s %9s %9s %9s %9s %7s %7s %7s %9s", "GEN",
			  "RUNS", "P50", "P99", "MAX", "FREED", "UNCOLL", "COUNT", "THRESHOLD");
	for (size_t i = 0; i < n; i++)
		draw_generation(s, stat, i, y + 2 + (int)i);
	return 2 + (int)n;
}

static void draw_keys(const struct gcs_screen *s, const struct gcs_watch *w)
{
	static const char *const keys[] = {
		[GCS_VIEW_TYPES] =
			"q quit  ? help  c/g/b sort  Enter history  s suspects  y cycles  p pause  r new",
		[GCS_VIEW_SUSPECTS] = "q quit  ? help  s types  Enter history  y cycles  p pause  r new",
		[GCS_VIEW_CYCLES] = "q quit  ? help  y types  up/down other cycle  s suspects  p pause",
		[GCS_VIEW_HISTORY] =
			"q quit  ? help  Enter back  up/down other type  p pause  r new",
		[GCS_VIEW_HELP] = "q quit  any key goes back",
	};

	bar(s, s->rows - 1);
	gcs_screen_put(s, s->rows - 1, 0, s->cols, GCS_STYLE_BAR, keys[w->view]);
}

static void draw_view(const struct gcs_screen *s, struct gcs_watch *w, int y, int height)
{
	switch (w->view) {
	case GCS_VIEW_TYPES:
		gcs_view_types(s, w, y, height);
		break;
	case GCS_VIEW_SUSPECTS:
		gcs_view_suspects(s, w, y, height);
		break;
	case GCS_VIEW_CYCLES:
		gcs_view_cycles(s, w, y, height);
		break;
	case GCS_VIEW_HISTORY:
		gcs_view_history(s, w, y, height);
		break;
	case GCS_VIEW_HELP:
		gcs_view_help(s, y, height);
		break;
	}
}

void gcs_screen_draw(const struct gcs_screen *s, struct gcs_watch *w,
		     const struct gcs_watch_status *status)
{
	int y = 2;

	erase();
	if (s->rows < 6 || s->cols < 24) {
		gcs_screen_put(s, 0, 0, s->cols, GCS_STYLE_PLAIN, "the terminal is too small");
		refresh();
		return;
	}
	draw_title(s, w, status);
	draw_process(s, w, 1);
	/* The help wants the room; a low terminal shows the table rather than all else. */
	if (w->view != GCS_VIEW_HELP && s->rows >= 16)
		draw_memory(s, w, y++);
	if (w->view != GCS_VIEW_HELP && s->rows >= 8)
		y += draw_gc(s, w, y);
	if (w->view == GCS_VIEW_TYPES && s->rows >= 10)
		y += gcs_view_suspects_brief(s, w, y, s->rows >= 20 ? s->rows / 6 : 1);
	draw_view(s, w, y, s->rows - 1 - y);
	draw_keys(s, w);
	refresh();
}

#endif
