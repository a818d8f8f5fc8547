/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's settings, read once from the environment (GCSCOPE_*). A bad value never stops the
 * target: the default holds and one complaint is kept, for the log. Pure: the caller gives the lookup.
 */
#ifndef GCS_CONFIG_H
#define GCS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gcs_log_format { GCS_LOG_TEXT, GCS_LOG_JSON };
enum gcs_cycles_mode { GCS_CYCLES_OFF, GCS_CYCLES_ON, GCS_CYCLES_ALL };

#define GCS_SITES_OFF 0
#define GCS_SITES_AUTO UINT64_MAX

struct gcs_config {
	bool disable;
	bool wait;
	int64_t interval_ns;   /* GCSCOPE_INTERVAL: 0.01 s to 1 day; default 10 s */
	char log[4096];        /* "", a path, "stderr" or "syslog" */
	enum gcs_log_format log_format;
	enum gcs_cycles_mode cycles;
	double budget_percent; /* over 0, at most 100; default 1 */
	uint64_t sites_bytes;  /* GCS_SITES_OFF, GCS_SITES_AUTO, or bytes; at least 1K */
	size_t memory_bytes;   /* K, M, G suffixes; 4M to 1G; default 16M */
	char complaint[2048];  /* each bad value, named once; or "" */
};

/* get(name) returns the value or NULL, as getenv. */
void gcs_config_read(struct gcs_config *c, const char *(*get)(const char *name));
/* "512K", "16M", "1048576". 0, or -1. */
int gcs_config_parse_size(const char *s, uint64_t *out);

#endif
