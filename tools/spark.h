/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small pictures of a series: one line, or a graph of several. In block elements, eight levels to a
 * cell, or in ASCII. Pure.
 */
#ifndef GCS_SPARK_H
#define GCS_SPARK_H

#include <stdbool.h>
#include <stddef.h>

struct gcs_spark_point {
	double ago_s;
	double value;
};

/* Bytes that a line of that many columns may take, NUL included. */
#define GCS_SPARK_SIZE(columns) ((columns)*3 + 1)

/*
 * Spreads n points (oldest first) over the columns by time: each column has the last value up to
 * its end, NaN before the first. Returns the seconds that one column stands for.
 */
double gcs_spark_resample(const struct gcs_spark_point *p, size_t n, double *out, size_t columns);
/* The least and the greatest finite value; false when there is none. */
bool gcs_spark_range(const double *v, size_t n, double *lo, double *hi);
/*
 * One row of a graph that is `rows` high, row 0 at the top; a line is the graph with one row. A
 * value at lo still shows the lowest level. out has GCS_SPARK_SIZE(n) bytes.
 */
void gcs_spark_row(char *out, const double *v, size_t n, double lo, double hi, size_t row,
		   size_t rows, bool ascii);

#endif
