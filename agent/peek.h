/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading at an address where there may be nothing: how layouts are tried at attach, and how a census finds
 * its place again. The kernel copies (process_vm_readv on ourselves) and says so when there is nothing, where
 * a load would end the host.
 */
#ifndef GCS_PEEK_H
#define GCS_PEEK_H

#include <stdbool.h>
#include <stdint.h>

bool gcs_peek(uintptr_t address, uintptr_t *out);
bool gcs_peek_words(uintptr_t address, uintptr_t *out, int n);

#endif
