/* SPDX-License-Identifier: Apache-2.0 */
#include "spark.h"

#include <math.h>
#include <string.h>

#define LEVELS 8

static const char *const block[LEVELS + 1] = {" ",      "\u2581", "\u2582", "\u2583", "\u2584",
					      "\u2585", "\u2586", "\u2587", "\u2588"};
static const char *const ascii_block[LEVELS + 1] = {" ", "_", ".", "-", "-", "=", "=", "#", "#"};

double gcs_spark_resample(const struct gcs_spark_point *p, size_t n, double *out, size_t columns)
{
	double oldest = n ? p[0].ago_s : 0, newest = n ? p[n - 1].ago_s : 0;
	double width = columns ? (oldest - newest) / (double)columns : 0;
	double last = NAN;
	size_t i = 0;

	for (size_t c = 0; c < columns; c++) {
		/* The last column ends with the newest point, whatever the rounding. */
		double until = c + 1 == columns ? -INFINITY : oldest - width * (double)(c + 1);

		for (; i < n && p[i].ago_s >= until; i++)
			last = p[i].value;
		out[c] = last;
	}
	return width;
}

bool gcs_spark_range(const double *v, size_t n, double *lo, double *hi)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		if (!isfinite(v[i]))
			continue;
		*lo = any && *lo < v[i] ? *lo : v[i];
		*hi = any && *hi > v[i] ? *hi : v[i];
		any = true;
	}
	return any;
}

/* The level of a value in a row: 0 (nothing) to LEVELS (full). */
static int level(double v, double lo, double hi, size_t row, size_t rows)
{
	double top = (double)(rows * LEVELS), height;

	if (!isfinite(v))
		return 0;
	height = hi > lo ? 1 + (v - lo) / (hi - lo) * (top - 1) : 1;
	height -= (double)((rows - 1 - row) * LEVELS);
	/* Not "height <= 0": the range of huge values overflows, and height is NaN. */
	return !(height > 0) ? 0 : height >= LEVELS ? LEVELS : (int)(height + 0.5);
}

void gcs_spark_row(char *out, const double *v, size_t n, double lo, double hi, size_t row,
		   size_t rows, bool ascii)
{
	for (size_t i = 0; i < n; i++) {
		const char *s = (ascii ? ascii_block : block)[level(v[i], lo, hi, row, rows)];

		out = stpcpy(out, s);
	}
	*out = '\0';
}
