/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include <string.h>

#include "hand.h"
#include "smallfile.h"

/* The number behind "\n<key>:", 0 when the line is not there. */
static uint64_t field(const char *text, const char *key)
{
	const char *p = text;
	size_t n = strlen(key);
	uint64_t v = 0;

	while ((p = strchr(p, '\n'))) {
		p++;
		if (strncmp(p, key, n) || p[n] != ':')
			continue;
		for (p += n + 1; *p == ' ' || *p == '\t'; p++)
			;
		while (*p >= '0' && *p <= '9')
			v = v * 10 + (uint64_t)(*p++ - '0');
		break;
	}
	return v;
}

void gcs_process_read(struct gcs_process *out)
{
	char text[4096];
	uint64_t threads;

	gcs_read_file("/proc/self/status", text, sizeof(text));
	out->rss_bytes = field(text, "VmRSS") * 1024;
	out->rss_anon_bytes = field(text, "RssAnon") * 1024;
	out->rss_file_bytes = field(text, "RssFile") * 1024;
	out->rss_shmem_bytes = field(text, "RssShmem") * 1024;
	threads = field(text, "Threads");
	threads -= gcs_hand_there() ? 2 : 1;
	out->threads = (int64_t)threads > 0 ? threads : 0;
	out->ppid = (pid_t)field(text, "PPid");
}

void gcs_process_command(char *out, size_t size)
{
	ssize_t n = gcs_read_file("/proc/self/cmdline", out, size);

	while (n > 0 && !out[n - 1])
		n--;
	for (ssize_t i = 0; i < n; i++)
		if (!out[i])
			out[i] = ' ';
}
