/* SPDX-License-Identifier: Apache-2.0 */
#include "cycles.h"

#include <stdlib.h>

#include "fields.h"
#include "text.h"
#include "xalloc.h"

const char *gcs_cycles_mark(const json_t *answer)
{
	return gcs_fields_true(answer, "estimate") ? "~" : "";
}

static char *passed_over(const json_t *a)
{
	double over = gcs_fields_num(a, "skipped") + gcs_fields_num(a, "refused");
	char n[2][GCS_UNIT_MAX];

	if (!*gcs_cycles_mark(a))
		return xstrdup("");
	return xasprintf("; %s collections and %s objects passed over: totals with ~ are estimates",
			 gcs_unit_int(n[0], over),
			 gcs_unit_int(n[1], gcs_fields_num(a, "unanalysed")));
}

char *gcs_cycles_summary(const json_t *a)
{
	char n[3][GCS_UNIT_MAX], *passed = passed_over(a), *s;

	s = xasprintf("%s of %s collections captured, %s objects of cyclic garbage in them%s",
		      gcs_unit_int(n[0], gcs_fields_num(a, "captured")),
		      gcs_unit_int(n[1], gcs_fields_num(a, "collections")),
		      gcs_unit_int(n[2], gcs_fields_num(a, "objects")), passed);
	free(passed);
	return s;
}
