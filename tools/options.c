/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "gcscope/protocol.h"
#include "xalloc.h"

#define SECONDS_MAX (366.0 * 86400)

enum { OPT_JSON = 256, OPT_NO_COLOR, OPT_TOPICS, OPT_SORT, OPT_FAIL_ON, OPT_CACHED };

static const char short_options[] = ":hn:i:d:o:t:g:";

static const struct option long_options[] = {
	{"help", no_argument, NULL, 'h'},
	{"json", no_argument, NULL, OPT_JSON},
	{"limit", required_argument, NULL, 'n'},
	{"interval", required_argument, NULL, 'i'},
	{"duration", required_argument, NULL, 'd'},
	{"output", required_argument, NULL, 'o'},
	{"timeout", required_argument, NULL, 't'},
	{"no-color", no_argument, NULL, OPT_NO_COLOR},
	{"topics", required_argument, NULL, OPT_TOPICS},
	{"sort", required_argument, NULL, OPT_SORT},
	{"fail-on", required_argument, NULL, OPT_FAIL_ON},
	{"cached", no_argument, NULL, OPT_CACHED},
	{"generation", required_argument, NULL, 'g'},
	{NULL, 0, NULL, 0},
};

static const char common_help[] =
	"      --json          one JSON object; a stream gives one a line\n"
	"  -n, --limit N       at most N rows, or lines of a stream (0: all)\n"
	"  -i, --interval SEC  again every SEC seconds; of a stream, at most one line of a kind in SEC\n"
	"  -d, --duration SEC  end after SEC seconds\n"
	"  -o, --output FILE   write to FILE\n"
	"  -t, --timeout SEC   wait at most SEC seconds for an answer (default %g)\n"
	"      --no-color      no colours (nor with NO_COLOR set, nor without a terminal)\n"
	"  -h, --help          this text\n";

static const struct {
	unsigned takes;
	const char *text;
} special_help[] = {
	{CMD_TAKES_TOPICS, "      --topics LIST   some of gc,census,suspects,cycles,log\n"},
	{CMD_TAKES_SORT, "      --sort KEY      count, bytes or growth\n"},
	{CMD_TAKES_CACHED,
	 "      --cached        the last census that was finished, not a new one\n"},
	{CMD_TAKES_GEN, "  -g, --generation N  0, 1 or 2 (default 2)\n"},
	{CMD_TAKES_FAIL_ON,
	 "      --fail-on COND  exit 3 if there is a suspect at least that sure: watch, likely,\n"
	 "                      confirmed\n"},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

void gcs_options_help(const struct cmd_entry *cmd)
{
	printf("usage: gcscope %s %s\n\n%s\n%s%s\n", cmd->name, cmd->usage, cmd->summary,
	       cmd->notes ? cmd->notes : "", cmd->notes ? "\n" : "");
	for (size_t i = 0; i < COUNT(special_help); i++)
		if (cmd->takes & special_help[i].takes)
			fputs(special_help[i].text, stdout);
	printf(common_help, cmd->timeout_s);
	printf("\nTARGET is a PID or a part of the command line; left out, the only agent there is.\n"
	       "Impact on the target: %s.\n",
	       cmd->impact);
}

const char *gcs_sort_name(enum gcs_sort sort)
{
	static const char *const name[] = {"count", "bytes", "growth"};

	return name[sort];
}

int gcs_confidence_rank(const char *name)
{
	static const char *const names[] = {"watch", "likely", "confirmed"};

	for (size_t i = 0; name && i < COUNT(names); i++)
		if (!strcmp(name, names[i]))
			return (int)i + 1;
	return 0;
}

int gcs_parse_number(const char *s, double min, double max, double *out)
{
	char *end;
	double v;

	/* strtod alone would take " 1", "inf", "0x1p3". LC_NUMERIC is always "C" here. */
	if (!*s || strspn(s, "0123456789.") != strlen(s))
		return -1;
	v = strtod(s, &end);
	if (*end || end == s || !(v >= min && v <= max))
		return -1;
	*out = v;
	return 0;
}

static double seconds(const struct gcs_options *o, const char *flag, const char *arg)
{
	double v;

	if (gcs_parse_number(arg, 0.001, SECONDS_MAX, &v) < 0)
		die_usage("%s: %s wants seconds, such as 10 or 0.5, not '%s'", o->cmd->name, flag,
			  arg);
	return v;
}

static int whole(const struct gcs_options *o, const char *flag, const char *arg, int max)
{
	double v;

	if (strchr(arg, '.') || gcs_parse_number(arg, 0, max, &v) < 0)
		die_usage("%s: %s wants a whole number up to %d, not '%s'", o->cmd->name, flag, max,
			  arg);
	return (int)v;
}

static enum gcs_sort sort_key(const struct gcs_options *o, const char *arg)
{
	for (enum gcs_sort s = GCS_SORT_COUNT; s <= GCS_SORT_GROWTH; s++)
		if (!strcmp(arg, gcs_sort_name(s)))
			return s;
	die_usage("%s: --sort wants count, bytes or growth, not '%s'", o->cmd->name, arg);
}

static const char *topics(const struct gcs_options *o, const char *list)
{
	static const char *const known[] = {"gc", "census", "suspects", "cycles", "log"};
	const char *p = list;

	for (;;) {
		size_t n = strcspn(p, ","), i = 0;

		while (i < COUNT(known) && (strlen(known[i]) != n || memcmp(known[i], p, n)))
			i++;
		if (i == COUNT(known))
			die_usage(
				"%s: no topic '%.*s'; there are gc, census, suspects, cycles, log",
				o->cmd->name, (int)n, p);
		if (!p[n])
			return list;
		p += n + 1;
	}
}

/* An option that only some commands take was met. */
static void require(const struct gcs_options *o, unsigned takes, const char *flag)
{
	if (!(o->cmd->takes & takes))
		die_usage("%s takes no %s; see gcscope %s --help", o->cmd->name, flag,
			  o->cmd->name);
}

static void special_option(struct gcs_options *o, int opt)
{
	switch (opt) {
	case OPT_TOPICS:
		require(o, CMD_TAKES_TOPICS, "--topics");
		o->topics = topics(o, optarg);
		break;
	case OPT_SORT:
		require(o, CMD_TAKES_SORT, "--sort");
		o->sort = sort_key(o, optarg);
		break;
	case OPT_CACHED:
		require(o, CMD_TAKES_CACHED, "--cached");
		o->cached = true;
		break;
	case 'g':
		require(o, CMD_TAKES_GEN, "--generation");
		o->generation = whole(o, "--generation", optarg, 2);
		break;
	case OPT_FAIL_ON:
		require(o, CMD_TAKES_FAIL_ON, "--fail-on");
		o->fail_on = gcs_confidence_rank(optarg);
		if (!o->fail_on)
			die_usage("%s: --fail-on wants watch, likely or confirmed, not '%s'",
				  o->cmd->name, optarg);
		break;
	}
}

static void one_option(struct gcs_options *o, int opt, char **argv)
{
	switch (opt) {
	case 'h':
		gcs_options_help(o->cmd);
		exit(fflush(stdout) ? GCS_EXIT_FAILED : GCS_EXIT_DONE);
	case OPT_JSON:
		o->json = true;
		break;
	case OPT_NO_COLOR:
		o->no_color = true;
		break;
	case 'n':
		o->limit = whole(o, "--limit", optarg, 1000000);
		break;
	case 'i':
		o->interval_s = seconds(o, "--interval", optarg);
		break;
	case 'd':
		o->duration_s = seconds(o, "--duration", optarg);
		break;
	case 't':
		o->timeout_s = seconds(o, "--timeout", optarg);
		break;
	case 'o':
		o->output = optarg;
		break;
	case ':':
		die_usage("%s: %s wants a value", o->cmd->name, argv[optind - 1]);
	case '?':
		if (optopt && optopt < 256)
			die_usage("%s: no option -%c; see gcscope %s --help", o->cmd->name, optopt,
				  o->cmd->name);
		die_usage("%s: no option %s, or not so; see gcscope %s --help", o->cmd->name,
			  argv[optind - 1], o->cmd->name);
	default:
		special_option(o, opt);
	}
}

static bool is_generation(const char *s)
{
	return s[0] >= '0' && s[0] <= '2' && !s[1];
}

/* [TARGET], and for collect [TARGET] [GEN] in either order: a lone 0, 1 or 2 is a generation. */
static void arguments(struct gcs_options *o, int n, char **arg)
{
	if (n == 2 && (o->cmd->takes & CMD_TAKES_GEN) && is_generation(arg[0]) && !is_generation(arg[1])) {
		char *gen = arg[0];

		arg[0] = arg[1];
		arg[1] = gen;
	}
	if (n && (o->cmd->takes & CMD_TAKES_GEN) && o->generation < 0 &&
	    (n == 2 || is_generation(arg[0]))) {
		o->generation = whole(o, "GEN", arg[n - 1], 2);
		n--;
	}
	if (n > 1)
		die_usage("%s: too many arguments ('%s'); usage: gcscope %s %s", o->cmd->name,
			  arg[1], o->cmd->name, o->cmd->usage);
	o->target = n ? arg[0] : NULL;
}

void gcs_options_parse(struct gcs_options *o, const struct cmd_entry *cmd, int argc, char **argv)
{
	int opt;

	*o = (struct gcs_options){.cmd = cmd, .timeout_s = cmd->timeout_s, .generation = -1};
	o->argc = argc;
	o->argv = argv;
	if (cmd->takes & CMD_TAKES_ALL)
		return;
	opterr = 0;
	optind = 1;
	while ((opt = getopt_long(argc, argv, short_options, long_options, NULL)) != -1)
		one_option(o, opt, argv);
	arguments(o, argc - optind, argv + optind);
}
