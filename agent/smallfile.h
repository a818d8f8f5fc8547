/* SPDX-License-Identifier: Apache-2.0 */
/* A file that is read in one go: /proc's, mostly. Linked into both ends. Pure libc, no allocation. */
#ifndef GCS_SMALLFILE_H
#define GCS_SMALLFILE_H

#include <stddef.h>
#include <sys/types.h>

/* At most size - 1 bytes and a NUL; their number, or -1, and "", when it cannot be read. */
ssize_t gcs_read_file(const char *path, char *out, size_t size);

#endif
