/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading at an address where there may be nothing: how layouts are tried at attach, and how a census finds
 * its place again. The kernel copies and says so when there is nothing, where a load would end the host.
 *
 * The agent's thread reads through a pipe of its own: write() from the address, read() back. Without one
 * it is process_vm_readv() on ourselves, where that is permitted; it pins the page, and a pinned page that is shared
 * with a parent is copied (Linux 5.19+), so it would cost a prefork server the very memory that the census is careful
 * about.
 */
#ifndef GCS_PEEK_H
#define GCS_PEEK_H

#include <stdbool.h>
#include <stdint.h>

bool gcs_peek(uintptr_t address, uintptr_t *word);
/* For the calling thread, in its descriptor table. Without success the other way is used. */
void gcs_peek_open(void);
void gcs_peek_close(void);
bool gcs_peek_words(uintptr_t address, uintptr_t *words, int n);

#endif
