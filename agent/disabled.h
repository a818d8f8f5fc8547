/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is turned off in this process, and why. Written while attaching and by the agent's thread, read
 * by the agent's thread; survives a fork. A feature is named once: its first reason stands.
 */
#ifndef GCS_DISABLED_H
#define GCS_DISABLED_H

#include <stdbool.h>
#include <stddef.h>

void gcs_disable(const char *feature, const char *reason_fmt, ...) __attribute__((format(printf, 2, 3)));
bool gcs_is_disabled(const char *feature);
size_t gcs_disabled_count(void);
void gcs_disabled_get(size_t i, const char **feature, const char **reason);

#endif
