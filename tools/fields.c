/* SPDX-License-Identifier: Apache-2.0 */
#include "fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const json_t *gcs_fields_at(const json_t *o, const char *path)
{
	while (o && *path) {
		char key[64];
		size_t n = strcspn(path, ".");

		if (n >= sizeof(key))
			return NULL;
		memcpy(key, path, n);
		key[n] = '\0';
		o = json_object_get(o, key);
		path += path[n] ? n + 1 : n;
	}
	return o;
}

double gcs_fields_num(const json_t *o, const char *path)
{
	const json_t *v = gcs_fields_at(o, path);

	return json_is_number(v) ? json_number_value(v) : NAN;
}

const char *gcs_fields_str(const json_t *o, const char *path)
{
	return json_string_value(gcs_fields_at(o, path));
}

bool gcs_fields_true(const json_t *o, const char *path)
{
	return json_is_true(gcs_fields_at(o, path));
}

json_t *gcs_fields_limit(json_t *o, const char *path, long limit)
{
	json_t *a = json_object_get(o, path);

	if (!json_is_array(a))
		return NULL;
	while (limit > 0 && json_array_size(a) > (size_t)limit)
		json_array_remove(a, json_array_size(a) - 1);
	return a;
}
