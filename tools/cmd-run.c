/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gcscope run: starts a command under the agent by nothing but the environment, then is that
 * command (exec). Values are checked by the agent's own rules (agent/config.c), here while there is
 * still somebody to tell.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agentpath.h"
#include "cmd.h"
#include "config.h"
#include "xalloc.h"

static const struct setting {
	const char *flag, *variable, *value, *help;
} settings[] = {
	{"socket-dir", "GCSCOPE_SOCKET_DIR", "DIR", "where the socket is made"},
	{"interval", "GCSCOPE_INTERVAL", "SEC", "between censuses (default 10)"},
	{"log", "GCSCOPE_LOG", "FILE", "file, stderr or syslog: the agent logs suspects there"},
	{"log-format", "GCSCOPE_LOG_FORMAT", "FORMAT", "text (default) or json"},
	{"cycles", "GCSCOPE_CYCLES", "MODE", "off, on (default) or all"},
	{"budget", "GCSCOPE_BUDGET", "PERCENT", "of wall time with the GIL held (default 1)"},
	{"sites", "GCSCOPE_SITES", "BYTES", "between allocation samples; off (default) or auto"},
	{"memory", "GCSCOPE_MEMORY", "BYTES", "that the agent uses at most (default 16M)"},
	{"wait", "GCSCOPE_WAIT", NULL, "also look for a CPython that is loaded later"},
	{"disable", "GCSCOPE_DISABLE", NULL, "start CMD with the agent doing nothing"},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define OPT_SETTING 256

static void help(void)
{
	printf("usage: gcscope run [OPTIONS] [--] CMD [ARG...]\n\n"
	       "Starts CMD under the agent, then is CMD: exit status, signals, standard streams.\n"
	       "126: CMD cannot be executed, 127: there is no CMD.\n\n");
	for (size_t i = 0; i < COUNT(settings); i++) {
		const struct setting *s = &settings[i];
		char flag[64];

		snprintf(flag, sizeof(flag), "%s%s%s%s",
			 strcmp(s->flag, "interval") ? "      --" : "  -i, --", s->flag,
			 s->value ? " " : "", s->value ? s->value : "");
		printf("%-28s %s\n", flag, s->help);
	}
	printf("  -h, --help                 this text\n\n"
	       "Impact on the target: low: see gcscope stat.\n");
}

/* A file name that must still be right after the program has changed its directory. */
static char *absolute(const char *path)
{
	char cwd[PATH_MAX];

	if (path[0] == '/')
		return xstrdup(path);
	if (!getcwd(cwd, sizeof(cwd)))
		die("run: cannot tell the current directory: %s", strerror(errno));
	return xasprintf("%s/%s", cwd, path);
}

static bool is_file(const struct setting *s, const char *value)
{
	if (!strcmp(s->flag, "socket-dir"))
		return true;
	return !strcmp(s->flag, "log") && strcmp(value, "stderr") && strcmp(value, "syslog");
}

static const struct setting *checked;
static const char *checked_value;

static const char *get_checked(const char *name)
{
	return strcmp(name, checked->variable) ? NULL : checked_value;
}

static void set(const struct setting *s, const char *arg)
{
	static struct gcs_config config;
	char *value = arg ? NULL : xstrdup("1");

	if (arg && !*arg)
		die_usage("run: --%s wants a value", s->flag);
	if (arg)
		value = is_file(s, arg) ? absolute(arg) : xstrdup(arg);
	checked = s;
	checked_value = value;
	gcs_config_read(&config, get_checked);
	if (config.complaint[0])
		die_usage("run: --%s: '%s' is no value for it; see gcscope run --help", s->flag,
			  arg);
	if (setenv(s->variable, value, 1) < 0)
		die("run: %s", strerror(errno));
	free(value);
}

static void make_options(struct option *long_options)
{
	long_options[0] = (struct option){"help", no_argument, NULL, 'h'};
	for (size_t i = 0; i < COUNT(settings); i++)
		long_options[i + 1] = (struct option){
			settings[i].flag, settings[i].value ? required_argument : no_argument, NULL,
			OPT_SETTING + (int)i};
}

/* Returns the index of CMD in argv. */
static int parse(int argc, char **argv)
{
	struct option long_options[COUNT(settings) + 2] = {0};
	int opt;

	make_options(long_options);
	opterr = 0;
	optind = 1;
	/* "+": what follows CMD is CMD's. */
	while ((opt = getopt_long(argc, argv, "+:hi:", long_options, NULL)) != -1) {
		if (opt == 'h') {
			help();
			exit(fflush(stdout) ? GCS_EXIT_FAILED : GCS_EXIT_DONE);
		} else if (opt == 'i') {
			set(&settings[1], optarg);
		} else if (opt == ':') {
			die_usage("run: %s wants a value", argv[optind - 1]);
		} else if (opt == '?') {
			die_usage("run: no option %s; see gcscope run --help", argv[optind - 1]);
		} else {
			set(&settings[opt - OPT_SETTING], optarg);
		}
	}
	if (optind >= argc)
		die_usage("run: what is to be run? usage: gcscope run [OPTIONS] -- CMD [ARG...]");
	return optind;
}

static bool preloaded(const char *list, const char *path)
{
	size_t len = strlen(path), n;

	for (; *list; list += n + (list[n] != '\0')) {
		n = strcspn(list, " :");
		if (n == len && !memcmp(list, path, n))
			return true;
	}
	return false;
}

/* In front of what is there already, so that the symbols of others keep their order. */
static void preload(void)
{
	char *path = gcs_agent_path(), *value;
	const char *old = getenv("LD_PRELOAD");

	if (access(path, R_OK) < 0)
		die("run: the agent %s is not there: %s; is gcscope installed completely?", path,
		    strerror(errno));
	/* The loader splits the list at spaces and colons, and expands $ORIGIN and its kin. */
	if (strpbrk(path, " :$"))
		die("run: LD_PRELOAD cannot carry the path %s: install gcscope where no space, ':' "
		    "or '$' is in the name",
		    path);
	if (old && *old && preloaded(old, path))
		return;
	value = old && *old ? xasprintf("%s:%s", path, old) : xstrdup(path);
	if (setenv("LD_PRELOAD", value, 1) < 0)
		die("run: %s", strerror(errno));
	free(value);
	free(path);
}

static int cmd_run(struct gcs_options *o)
{
	int cmd = parse(o->argc, o->argv), err;

	preload();
	execvp(o->argv[cmd], o->argv + cmd);
	err = errno;
	complain("run: cannot run %s: %s", o->argv[cmd], strerror(err));
	return err == ENOENT ? 127 : 126;
}

const struct cmd_entry cmd_entry_run = {
	.name = "run",
	.usage = "[OPTIONS] -- CMD [ARG...]",
	.summary = "Starts a program under the agent.",
	.impact = "low",
	.takes = CMD_TAKES_ALL,
	.exec = cmd_run,
};
