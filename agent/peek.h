/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a word at an address that may not be one: how layouts are tried at attach. The kernel copies
 * (process_vm_readv on ourselves) and says so when there is nothing, where a load would end the host.
 */
#ifndef GCS_PEEK_H
#define GCS_PEEK_H

#include <stdbool.h>
#include <stdint.h>

bool gcs_peek(uintptr_t address, uintptr_t *out);

#endif
