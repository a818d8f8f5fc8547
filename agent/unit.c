/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define DECIMALS_MAX 9
#define LARGEST 1e18             /* what is greater reads as this */
#define EXACT 4503599627370496.0 /* from 2^52 on a double has no half to round */

static const double power[DECIMALS_MAX + 1] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

/* v times ten to the decimals, rounded. */
static uint64_t scaled(double v, unsigned decimals)
{
	v = fabs(v) * power[decimals];
	return v >= LARGEST ? (uint64_t)LARGEST : v >= EXACT ? (uint64_t)v : (uint64_t)(v + 0.5);
}

/* v with so many decimals; "-" before it only where a digit is not 0. Returns the end. */
static char *fixed(char *out, double v, unsigned decimals)
{
	uint64_t n = scaled(v, decimals), scale = (uint64_t)power[decimals];

	out += sprintf(out, "%s%llu", v < 0 && n ? "-" : "", (unsigned long long)(n / scale));
	if (decimals)
		out += sprintf(out, ".%0*llu", (int)decimals, (unsigned long long)(n % scale));
	return out;
}

/* One decimal below 100, none above: three digits say enough. */
static char *with_unit(char *out, double v, const char *sep, const char *unit)
{
	char *end = fixed(out, v, fabs(v) < 99.95);

	snprintf(end, (size_t)(out + GCS_UNIT_MAX - end), "%s%s", sep, unit);
	return out;
}

static char *whole(char *out, double v, const char *sep, const char *unit)
{
	char *end = fixed(out, v, 0);

	snprintf(end, (size_t)(out + GCS_UNIT_MAX - end), "%s%s", sep, unit);
	return out;
}

static char *dash(char *out)
{
	return strcpy(out, "-");
}

char *gcs_unit_int(char *out, double n)
{
	if (!isfinite(n))
		return dash(out);
	fixed(out, n, 0);
	return out;
}

char *gcs_unit_count(char *out, double n)
{
	static const char *const unit[] = {"", "k", "M", "G", "T", "P"};
	size_t u = 0;

	if (!isfinite(n))
		return dash(out);
	for (; fabs(n) >= 999.5 && u + 1 < COUNT(unit); u++)
		n /= 1000;
	return u ? with_unit(out, n, "", unit[u]) : whole(out, n, "", "");
}

char *gcs_unit_bytes(char *out, double n, const char *sep)
{
	static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	size_t u = 0;

	if (!isfinite(n))
		return dash(out);
	for (; fabs(n) >= 1023.5 && u + 1 < COUNT(unit); u++)
		n /= 1024;
	return u ? with_unit(out, n, sep, unit[u]) : whole(out, n, sep, unit[0]);
}

char *gcs_unit_ns(char *out, double ns, const char *sep)
{
	static const char *const unit[] = {"ns", "us", "ms", "s"};
	size_t u = 0;

	if (!isfinite(ns))
		return dash(out);
	if (ns >= 120e9)
		return gcs_unit_span(out, ns / 1e9);
	for (; fabs(ns) >= 999.5 && u + 1 < COUNT(unit); u++)
		ns /= 1000;
	return u ? with_unit(out, ns, sep, unit[u]) : whole(out, ns, sep, unit[0]);
}

char *gcs_unit_span(char *out, double seconds)
{
	unsigned long long s;

	if (!isfinite(seconds) || seconds < 0 || seconds > 1e15)
		return dash(out);
	s = (unsigned long long)seconds;
	if (s < 60)
		snprintf(out, GCS_UNIT_MAX, "%llus", s);
	else if (s < 3600)
		snprintf(out, GCS_UNIT_MAX, "%llum%02llus", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, GCS_UNIT_MAX, "%lluh%02llum", s / 3600, s % 3600 / 60);
	else
		snprintf(out, GCS_UNIT_MAX, "%llud%02lluh", s / 86400, s % 86400 / 3600);
	return out;
}

/* 0 < v < 0.1 with two digits that say something, or as nothing when it is below them all. */
static void small(char *out, double v)
{
	unsigned decimals = 2;
	char *end;

	while (decimals < DECIMALS_MAX && v * power[decimals] < 9.95)
		decimals++;
	end = fixed(out, v, decimals);
	while (end[-1] == '0')
		end--;
	if (end[-1] == '.')
		end--;
	*end = '\0';
}

static char *rate(char *out, double per_s, const char *n)
{
	if (!strcmp(n, "0"))
		return strcpy(out, "0/s");
	snprintf(out, GCS_UNIT_MAX, "%s%.28s/s", per_s < 0 ? "-" : "+", n);
	return out;
}

char *gcs_unit_rate(char *out, double per_s)
{
	double v = fabs(per_s);
	char n[GCS_UNIT_MAX] = "0";

	if (!isfinite(per_s))
		return dash(out);
	if (v >= 99.95)
		gcs_unit_count(n, v);
	else if (v >= 0.1)
		fixed(n, v, 1);
	else if (v > 0)
		small(n, v);
	return rate(out, per_s, n);
}

char *gcs_unit_byte_rate(char *out, double per_s, const char *sep)
{
	char n[GCS_UNIT_MAX] = "0";

	if (!isfinite(per_s))
		return dash(out);
	if (fabs(per_s) >= 0.5)
		gcs_unit_bytes(n, fabs(per_s), sep);
	return rate(out, per_s, n);
}
