/* SPDX-License-Identifier: Apache-2.0 */
#include "disabled.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DISABLED_MAX 16

static struct {
	const char *feature;
	char reason[160];
} disabled[DISABLED_MAX];
static size_t ndisabled;

bool gcs_is_disabled(const char *feature)
{
	for (size_t i = 0; i < ndisabled; i++)
		if (!strcmp(disabled[i].feature, feature))
			return true;
	return false;
}

void gcs_disable(const char *feature, const char *reason_fmt, ...)
{
	va_list ap;

	if (ndisabled == DISABLED_MAX || gcs_is_disabled(feature))
		return;
	va_start(ap, reason_fmt);
	vsnprintf(disabled[ndisabled].reason, sizeof(disabled[0].reason), reason_fmt, ap);
	va_end(ap);
	disabled[ndisabled].feature = feature;
	__atomic_store_n(&ndisabled, ndisabled + 1, __ATOMIC_RELEASE);
}

size_t gcs_disabled_count(void)
{
	return __atomic_load_n(&ndisabled, __ATOMIC_ACQUIRE);
}

void gcs_disabled_get(size_t i, const char **feature, const char **reason)
{
	*feature = disabled[i].feature;
	*reason = disabled[i].reason;
}
