/* SPDX-License-Identifier: Apache-2.0 */
/* gcscope: lists the commands and dispatches to one. */
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agentpath.h"
#include "cmd.h"
#include "xalloc.h"

static const struct cmd_entry *const commands[] = {
	&cmd_entry_run,  &cmd_entry_ps,     &cmd_entry_watch,
	&cmd_entry_stat, &cmd_entry_census, &cmd_entry_suspects,
	&cmd_entry_log,  &cmd_entry_events, &cmd_entry_cycles,
	&cmd_entry_garbage, &cmd_entry_collect,
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void help(FILE *f)
{
	fprintf(f, "usage: gcscope [-V] [-h] COMMAND [OPTIONS] [TARGET]\n\n"
		   "Watches the garbage collector and the heap of running Python programs.\n\n");
	for (size_t i = 0; i < COUNT(commands); i++)
		fprintf(f, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
	fprintf(f,
		"\n  -V, --version     the version\n"
		"  -h, --help        this text; gcscope COMMAND --help says more\n"
		"      --agent-path  where the library to preload is\n\n"
		"Exit status: 0 done; 1 failed; 2 wrong usage; 3 --fail-on found what it names.\n");
}

/*
 * A standard descriptor that is closed would become the next socket that we open. The stand-in is
 * closed at exec, and of the wrong direction, so that using it is an error as before.
 */
static void hold_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", (fd ? O_RDONLY : O_WRONLY) | O_CLOEXEC) != fd)
			exit(GCS_EXIT_FAILED);
}

static int finish(int status)
{
	if (fflush(stdout) || ferror(stdout))
		die("cannot write standard output");
	return status;
}

static int print_agent_path(void)
{
	char *path = gcs_agent_path();

	printf("%s\n", path);
	free(path);
	return finish(GCS_EXIT_DONE);
}

static int run_command(const struct cmd_entry *cmd, int argc, char **argv)
{
	struct gcs_options o;

	if (!(cmd->takes & CMD_TAKES_ALL)) {
		/*
		 * A reader that went away is a failed write, with its line. CMD of run keeps its
		 * signals.
		 */
		signal(SIGPIPE, SIG_IGN);
		/* Only the characters: numbers are read and written the same everywhere. */
		setlocale(LC_CTYPE, "");
	}
	gcs_options_parse(&o, cmd, argc, argv);
	return cmd->exec(&o);
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;

	hold_standard_descriptors();
	if (!word) {
		help(stderr);
		return GCS_EXIT_USAGE;
	}
	if (!strcmp(word, "-h") || !strcmp(word, "--help")) {
		help(stdout);
		return finish(GCS_EXIT_DONE);
	}
	if (!strcmp(word, "-V") || !strcmp(word, "--version")) {
		printf("gcscope %s\n", PACKAGE_VERSION);
		return finish(GCS_EXIT_DONE);
	}
	if (!strcmp(word, "--agent-path"))
		return print_agent_path();
	for (size_t i = 0; i < COUNT(commands); i++)
		if (!strcmp(word, commands[i]->name))
			return run_command(commands[i], argc - 1, argv + 1);
	die_usage("no %s '%s'; see gcscope --help", word[0] == '-' ? "option" : "command", word);
}
