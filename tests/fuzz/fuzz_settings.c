/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds arbitrary bytes to what reads the environment and the names of files: each setting of the agent is within
 * its bounds or its default, with a complaint that is text; a socket's name that is accepted is the one that is
 * made of its numbers.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "escape.h"
#include "paths.h"

#include "fuzz.h"

static char text[4400]; /* the input, NUL-ended: values one after the other */
static size_t length, at;

/* Each name that is asked for has the next piece, or nothing once there are none left. */
static const char *piece(const char *name)
{
	const char *p = text + at;

	(void)name;
	if (at >= length)
		return NULL;
	at += strlen(p) + 1;
	return p;
}

static void check_settings(void)
{
	static struct gcs_config c;

	memset(&c, 0xa5, sizeof(c));
	gcs_config_read(&c, piece);
	CHECK(c.interval_ns >= 10000000 && c.interval_ns <= 86400ll * 1000000000);
	CHECK(c.budget_percent > 0 && c.budget_percent <= 100);
	CHECK(c.memory_bytes >= 4u << 20 && c.memory_bytes <= 1u << 30);
	CHECK(c.sites_bytes == GCS_SITES_OFF || c.sites_bytes >= 1024);
	CHECK(c.log_format == GCS_LOG_TEXT || c.log_format == GCS_LOG_JSON);
	CHECK(c.cycles == GCS_CYCLES_OFF || c.cycles == GCS_CYCLES_ON || c.cycles == GCS_CYCLES_ALL);
	CHECK(strnlen(c.log, sizeof(c.log)) < sizeof(c.log));
	CHECK(strnlen(c.complaint, sizeof(c.complaint)) < sizeof(c.complaint));
}

static void check_size(const char *s)
{
	uint64_t bytes = 12345;

	CHECK(!gcs_config_parse_size(s, &bytes) || bytes == 12345);
}

static void check_names(const char *s)
{
	unsigned long long start;
	char path[108], dir[108];
	pid_t pid;

	if (!gcs_socket_name_parse(s, &pid, &start)) {
		CHECK(pid > 0);
		CHECK(!gcs_socket_path(path, sizeof(path), ".", pid, start));
		CHECK(!strcmp(path + 2, s));
	}
	if (!gcs_socket_dir(dir, sizeof(dir), s, s, 1000))
		CHECK(dir[0] && strlen(dir) < sizeof(dir));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	length = size;
	at = 0;
	check_settings();
	check_size(text);
	check_names(text);
	return 0;
}
