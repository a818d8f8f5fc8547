/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See config.h. Values are slices of the environment's strings: nothing is copied but the log's path and
 * what the complaint quotes. Decimals are parsed here, since strtod() obeys the host's locale.
 */
#include "config.h"

#include <string.h>

#define SECOND 1000000000ll
#define DAY_S 86400
#define QUOTE_MAX 64 /* bytes of a bad value that the complaint repeats */

struct slice {
	const char *s;
	size_t len;
};

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static struct slice trimmed(const char *s)
{
	struct slice v = {s, s ? strlen(s) : 0};

	while (v.len && is_space(v.s[0])) {
		v.s++;
		v.len--;
	}
	while (v.len && is_space(v.s[v.len - 1]))
		v.len--;
	return v;
}

static bool equals(struct slice v, const char *text)
{
	return strlen(text) == v.len && !memcmp(text, v.s, v.len);
}

/* Digits with at most one point among them, nothing else. 0, or -1. */
static int parse_decimal(struct slice v, double *out)
{
	double value = 0, unit = 1;
	bool point = false, digit = false;
	size_t i;

	for (i = 0; i < v.len; i++) {
		if (v.s[i] == '.' && !point) {
			point = true;
			continue;
		}
		if (!is_digit(v.s[i]))
			return -1;
		digit = true;
		value = value * 10 + (v.s[i] - '0');
		if (point)
			unit *= 10;
		if (value > 1e150) /* keeps both finite; nothing in range is written so */
			return -1;
	}
	*out = value / unit;
	return digit ? 0 : -1;
}

static unsigned suffix_shift(char c)
{
	switch (c) {
	case 'k':
	case 'K':
		return 10;
	case 'm':
	case 'M':
		return 20;
	case 'g':
	case 'G':
		return 30;
	default:
		return 0;
	}
}

static int parse_size(struct slice v, uint64_t *out)
{
	uint64_t value = 0;
	unsigned shift = v.len ? suffix_shift(v.s[v.len - 1]) : 0;
	size_t i, ndigits = v.len - (shift ? 1 : 0);

	if (!ndigits)
		return -1;
	for (i = 0; i < ndigits; i++) {
		if (!is_digit(v.s[i]) || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(v.s[i] - '0'), &value))
			return -1;
	}
	if (value > UINT64_MAX >> shift)
		return -1;
	*out = value << shift;
	return 0;
}

int gcs_config_parse_size(const char *s, uint64_t *out)
{
	return parse_size((struct slice){s, strlen(s)}, out);
}

/* Appends at most what fits; false when something did not. */
static bool append(char *out, size_t size, const char *text, size_t len)
{
	size_t have = strlen(out);
	bool fits = len < size - have;

	if (!fits)
		len = size - have - 1;
	memcpy(out + have, text, len);
	out[have + len] = '\0';
	return fits;
}

/* The value as it may appear on a log: printable ASCII, the rest as \xHH, cut at QUOTE_MAX bytes. */
static void quote(char out[QUOTE_MAX * 4 + 4], struct slice v)
{
	static const char hex[] = "0123456789abcdef";
	size_t i;
	char *p = out;

	for (i = 0; i < v.len && i < QUOTE_MAX; i++) {
		unsigned char c = (unsigned char)v.s[i];

		if (c >= 0x20 && c < 0x7f && c != '\'' && c != '\\') {
			*p++ = (char)c;
			continue;
		}
		*p++ = '\\';
		*p++ = 'x';
		*p++ = hex[c >> 4];
		*p++ = hex[c & 15];
	}
	memcpy(p, v.len > QUOTE_MAX ? "..." : "", v.len > QUOTE_MAX ? 4 : 1);
}

/* "GCSCOPE_X='value': expected ...; default used", after a "; " when it is not the first. */
static void complain(struct gcs_config *c, const char *name, struct slice v, const char *expected)
{
	char entry[512] = "", value[QUOTE_MAX * 4 + 4];

	quote(value, v);
	if (c->complaint[0])
		append(entry, sizeof(entry), "; ", 2);
	append(entry, sizeof(entry), name, strlen(name));
	append(entry, sizeof(entry), "='", 2);
	append(entry, sizeof(entry), value, strlen(value));
	append(entry, sizeof(entry), "': expected ", 12);
	append(entry, sizeof(entry), expected, strlen(expected));
	append(c->complaint, sizeof(c->complaint), entry, strlen(entry));
}

/* A variable that is set to nothing, or to white space, counts as unset. */
static bool lookup(const char *(*get)(const char *name), const char *name, struct slice *v)
{
	*v = trimmed(get(name));
	return v->len > 0;
}

static void read_bool(struct gcs_config *c, const char *(*get)(const char *name), const char *name, bool *out)
{
	struct slice v;

	if (!lookup(get, name, &v))
		return;
	if (equals(v, "1"))
		*out = true;
	else if (!equals(v, "0"))
		complain(c, name, v, "1 or 0");
}

static void read_interval(struct gcs_config *c, const char *(*get)(const char *name))
{
	static const char name[] = "GCSCOPE_INTERVAL";
	struct slice v;
	double s;

	if (!lookup(get, name, &v))
		return;
	if (parse_decimal(v, &s) || s < 0.01 || s > DAY_S)
		complain(c, name, v, "seconds, 0.01 to 86400");
	else
		c->interval_ns = (int64_t)(s * (double)SECOND + 0.5);
}

static void read_log(struct gcs_config *c, const char *(*get)(const char *name))
{
	static const char name[] = "GCSCOPE_LOG";
	struct slice v;

	if (!lookup(get, name, &v))
		return;
	if (v.len >= sizeof(c->log)) {
		complain(c, name, v, "a shorter path");
		return;
	}
	memcpy(c->log, v.s, v.len);
	c->log[v.len] = '\0';
}

static void read_log_format(struct gcs_config *c, const char *(*get)(const char *name))
{
	static const char name[] = "GCSCOPE_LOG_FORMAT";
	struct slice v;

	if (!lookup(get, name, &v))
		return;
	if (equals(v, "json"))
		c->log_format = GCS_LOG_JSON;
	else if (!equals(v, "text"))
		complain(c, name, v, "text or json");
}

static void read_cycles(struct gcs_config *c, const char *(*get)(const char *name))
{
	static const char name[] = "GCSCOPE_CYCLES";
	struct slice v;

	if (!lookup(get, name, &v))
		return;
	if (equals(v, "off"))
		c->cycles = GCS_CYCLES_OFF;
	else if (equals(v, "all"))
		c->cycles = GCS_CYCLES_ALL;
	else if (!equals(v, "on"))
		complain(c, name, v, "off, on or all");
}

static void read_budget(struct gcs_config *c, const char *(*get)(const char *name))
{
	static const char name[] = "GCSCOPE_BUDGET";
	struct slice v;
	double percent;

	if (!lookup(get, name, &v))
		return;
	if (parse_decimal(v, &percent) || !(percent > 0) || percent > 100)
		complain(c, name, v, "percent, over 0 to 100");
	else
		c->budget_percent = percent;
}

static void read_sites(struct gcs_config *c, const char *(*get)(const char *name))
{
	static const char name[] = "GCSCOPE_SITES";
	struct slice v;
	uint64_t bytes;

	if (!lookup(get, name, &v) || equals(v, "off"))
		return;
	if (equals(v, "auto"))
		c->sites_bytes = GCS_SITES_AUTO;
	else if (parse_size(v, &bytes) || bytes < 1024 || bytes > 1ull << 40)
		complain(c, name, v, "off, auto or a size from 1K");
	else
		c->sites_bytes = bytes;
}

static void read_memory(struct gcs_config *c, const char *(*get)(const char *name))
{
	static const char name[] = "GCSCOPE_MEMORY";
	struct slice v;
	uint64_t bytes;

	if (!lookup(get, name, &v))
		return;
	if (parse_size(v, &bytes) || bytes < 4u << 20 || bytes > 1u << 30)
		complain(c, name, v, "a size from 4M to 1G");
	else
		c->memory_bytes = (size_t)bytes;
}

void gcs_config_read(struct gcs_config *c, const char *(*get)(const char *name))
{
	memset(c, 0, sizeof(*c));
	c->interval_ns = 10 * SECOND;
	c->cycles = GCS_CYCLES_ON;
	c->budget_percent = 1;
	c->sites_bytes = GCS_SITES_OFF;
	c->memory_bytes = 16u << 20;
	read_bool(c, get, "GCSCOPE_DISABLE", &c->disable);
	read_bool(c, get, "GCSCOPE_WAIT", &c->wait);
	read_interval(c, get);
	read_log(c, get);
	read_log_format(c, get);
	read_cycles(c, get);
	read_budget(c, get);
	read_sites(c, get);
	read_memory(c, get);
}
