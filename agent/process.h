/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /proc says of this process. Read on the agent's thread, with its own descriptors, without the GIL.
 */
#ifndef GCS_PROCESS_H
#define GCS_PROCESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct gcs_process {
	uint64_t rss_bytes, rss_anon_bytes, rss_file_bytes, rss_shmem_bytes;
	uint64_t threads; /* without the agent's */
	pid_t ppid;
};

void gcs_process_read(struct gcs_process *out);
/* The command line, its words joined by blanks, cut to size. */
void gcs_process_command(char *out, size_t size);

#endif
