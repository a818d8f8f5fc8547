/* SPDX-License-Identifier: Apache-2.0 */
#include "out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "signals.h"
#include "xalloc.h"

static bool wants_color(const struct gcs_options *o, int fd)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return !o->no_color && !(no && *no) && term && *term && strcmp(term, "dumb") && isatty(fd);
}

static size_t terminal_width(int fd)
{
	struct winsize w;

	if (!isatty(fd))
		return 0;
	return ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : 80;
}

void gcs_out_open(struct gcs_out *out, const struct gcs_options *o)
{
	out->f = stdout;
	out->name = "standard output";
	if (o->output) {
		out->f = fopen(o->output, "we");
		out->name = o->output;
		if (!out->f)
			die("cannot write %s: %s", o->output, strerror(errno));
	}
	out->color = wants_color(o, fileno(out->f));
	out->width = terminal_width(fileno(out->f));
}

static void failed(const struct gcs_out *out)
{
	if (gcs_signals_pending())
		return;
	die("cannot write %s: %s", out->name, strerror(errno));
}

void gcs_out_printf(struct gcs_out *out, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vfprintf(out->f, fmt, ap);
	va_end(ap);
	if (n < 0)
		failed(out);
}

void gcs_out_json(struct gcs_out *out, const json_t *json)
{
	const char *p;
	size_t n;
	char *s = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));

	if (!s)
		die("out of memory");
	/* DEL is ASCII, and jansson leaves it as it is; it can only stand in a string. */
	for (p = s; p[n = strcspn(p, "\x7f")]; p += n + 1)
		gcs_out_printf(out, "%.*s\\u007f", (int)n, p);
	gcs_out_printf(out, "%s\n", p);
	free(s);
}

void gcs_out_flush(struct gcs_out *out)
{
	if (fflush(out->f) || ferror(out->f))
		failed(out);
}

void gcs_out_close(struct gcs_out *out)
{
	gcs_out_flush(out);
	if (fclose(out->f))
		failed(out);
	out->f = NULL;
}

const char *gcs_out_on(const struct gcs_out *out, const char *sgr)
{
	static const struct {
		const char *sgr, *seq;
	} known[] = {{"1", "\033[1m"}, {"31", "\033[31m"}, {"33", "\033[33m"}, {"36", "\033[36m"}};

	for (size_t i = 0; out->color && i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(known[i].sgr, sgr))
			return known[i].seq;
	return "";
}

const char *gcs_out_off(const struct gcs_out *out)
{
	return out->color ? "\033[0m" : "";
}

const char *gcs_out_confidence(const char *confidence)
{
	static const char *const sgr[] = {"", "36", "33", "31"};

	return sgr[gcs_confidence_rank(confidence)];
}
