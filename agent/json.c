/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See json.h. Numbers are formatted here, since printf's depend on the locale of the host, and strings
 * pass through a strict UTF-8 decoder (no overlong forms, no surrogates), so that whatever a target calls
 * its types, a client's parser gets valid JSON. DEL, C1 controls and the two Unicode line separators are
 * escaped like the C0 controls: a line stays a line, in a terminal too.
 */
#include "json.h"

#include <string.h>

#include "utf8.h"

void gcs_json_init(struct gcs_json *j, struct gcs_buf *out)
{
	j->out = out;
	j->comma = false;
}

static void add_escape(struct gcs_buf *out, uint32_t code)
{
	static const char hex[] = "0123456789abcdef";
	char text[6] = {'\\',          'u', hex[code >> 12 & 15], hex[code >> 8 & 15], hex[code >> 4 & 15],
			hex[code & 15]};

	gcs_buf_add(out, text, sizeof(text));
}

/* The letter of a two-character escape, or 0. */
static char short_escape(char c)
{
	static const char from[] = "\"\\\b\f\n\r\t";
	static const char to[] = "\"\\bfnrt";
	const char *p = c ? strchr(from, c) : NULL;

	return p ? to[p - from] : '\0';
}

static bool must_escape(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029;
}

static void add_char(struct gcs_buf *out, const char *s, size_t len, uint32_t code)
{
	char text[2] = {'\\', len == 1 ? short_escape(*s) : '\0'};

	if (text[1])
		gcs_buf_add(out, text, 2);
	else if (must_escape(code))
		add_escape(out, code);
	else if (code == GCS_UTF8_BAD)
		gcs_buf_add(out, GCS_UTF8_REPLACEMENT, 3);
	else
		gcs_buf_add(out, s, len);
}

static bool is_plain(char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void add_string(struct gcs_buf *out, const char *s)
{
	const char *run;
	uint32_t code;
	size_t len;

	gcs_buf_add(out, "\"", 1);
	while (*s) {
		for (run = s; is_plain(*s); s++)
			;
		gcs_buf_add(out, run, (size_t)(s - run));
		if (!*s)
			break;
		len = gcs_utf8_decode(s, strnlen(s, 4), &code);
		add_char(out, s, len, code);
		s += len;
	}
	gcs_buf_add(out, "\"", 1);
}

/* What stands before every value: the comma and the key. */
static void begin(struct gcs_json *j, const char *key)
{
	if (j->comma)
		gcs_buf_add(j->out, ",", 1);
	j->comma = true;
	if (key) {
		add_string(j->out, key);
		gcs_buf_add(j->out, ":", 1);
	}
}

static void open_group(struct gcs_json *j, const char *key, const char *bracket)
{
	begin(j, key);
	gcs_buf_add(j->out, bracket, 1);
	j->comma = false;
}

static void close_group(struct gcs_json *j, const char *bracket)
{
	gcs_buf_add(j->out, bracket, 1);
	j->comma = true;
}

void gcs_json_object(struct gcs_json *j, const char *key)
{
	open_group(j, key, "{");
}

void gcs_json_object_end(struct gcs_json *j)
{
	close_group(j, "}");
}

void gcs_json_array(struct gcs_json *j, const char *key)
{
	open_group(j, key, "[");
}

void gcs_json_array_end(struct gcs_json *j)
{
	close_group(j, "]");
}

void gcs_json_str(struct gcs_json *j, const char *key, const char *value)
{
	if (!value) {
		gcs_json_null(j, key);
		return;
	}
	begin(j, key);
	add_string(j->out, value);
}

/* Writes the decimal digits of value, at most 20, so that they finish at end; the first of them. */
static char *digits(char *end, uint64_t value)
{
	do {
		*--end = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	return end;
}

static void add_u64(struct gcs_buf *out, uint64_t value)
{
	char text[20], *end = text + sizeof(text);
	char *p = digits(end, value);

	gcs_buf_add(out, p, (size_t)(end - p));
}

void gcs_json_u64(struct gcs_json *j, const char *key, uint64_t value)
{
	begin(j, key);
	add_u64(j->out, value);
}

void gcs_json_i64(struct gcs_json *j, const char *key, int64_t value)
{
	begin(j, key);
	if (value < 0)
		gcs_buf_add(j->out, "-", 1);
	add_u64(j->out, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

/* ".": the fraction of `places` digits without its trailing zeros, but always one digit. */
static void add_fraction(struct gcs_buf *out, uint64_t fraction, unsigned places)
{
	char text[20], zeros[20], *end = text + sizeof(text);
	char *p = digits(end, fraction);
	size_t len = (size_t)(end - p);

	memset(zeros, '0', sizeof(zeros));
	gcs_buf_add(out, ".", 1);
	if (!fraction) {
		gcs_buf_add(out, "0", 1);
		return;
	}
	gcs_buf_add(out, zeros, len < places ? places - len : 0);
	while (len > 1 && end[-1] == '0') {
		end--;
		len--;
	}
	gcs_buf_add(out, p, len);
}

/* value >= 0, below 2^64, with six decimals, or nine when it is small: six significant ones from 0.001. */
static void add_fixed(struct gcs_buf *out, double value)
{
	unsigned places = value < 0.1 ? 9 : 6;
	uint64_t scale = value < 0.1 ? 1000000000 : 1000000;
	uint64_t whole = (uint64_t)value;
	uint64_t fraction = (uint64_t)((value - (double)whole) * (double)scale + 0.5);

	if (fraction >= scale) {
		fraction -= scale;
		whole++;
	}
	add_u64(out, whole);
	add_fraction(out, fraction, places);
}

/* value > 0 as d.ddddde+-N */
static void add_scientific(struct gcs_buf *out, double value)
{
	int exponent = 0;

	for (; value >= 10; exponent++)
		value /= 10;
	for (; value < 1; exponent--)
		value *= 10;
	if (value >= 9.9999995) {
		value = 1;
		exponent++;
	}
	add_fixed(out, value);
	gcs_buf_add(out, exponent < 0 ? "e-" : "e+", 2);
	add_u64(out, (uint64_t)(exponent < 0 ? -exponent : exponent));
}

void gcs_json_double(struct gcs_json *j, const char *key, double value)
{
	if (value != value || value - value != 0) { /* NaN, infinite */
		gcs_json_null(j, key);
		return;
	}
	begin(j, key);
	if (value < 0) {
		gcs_buf_add(j->out, "-", 1);
		value = -value;
	}
	if (value != 0 && (value < 0.001 || value >= 1e15))
		add_scientific(j->out, value);
	else
		add_fixed(j->out, value);
}

double gcs_json_rounded(double value)
{
	double v = value < 0 ? -value : value;
	double scale = v < 0.1 ? 1e9 : 1e6;

	if (!(v < 4e9)) /* beyond, six decimals are more than a double has; or NaN */
		return value;
	v = (double)(uint64_t)(v * scale + 0.5) / scale;
	return value < 0 ? -v : v;
}

void gcs_json_bool(struct gcs_json *j, const char *key, bool value)
{
	begin(j, key);
	gcs_buf_str(j->out, value ? "true" : "false");
}

void gcs_json_null(struct gcs_json *j, const char *key)
{
	begin(j, key);
	gcs_buf_add(j->out, "null", 4);
}

static char *put_number(char *p, unsigned value, unsigned places)
{
	unsigned i;

	for (i = places; i > 0; i--) {
		p[i - 1] = (char)('0' + value % 10);
		value /= 10;
	}
	return p + places;
}

/*
 * Days since 1970 to a civil date, proleptic Gregorian: years begin in March, so that the leap day is
 * the last of its year (the algorithm of H. Hinnant, "chrono-compatible low-level date algorithms").
 */
static char *put_date(char *p, int64_t days)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	unsigned doe = (unsigned)(z - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;
	unsigned month = mp < 10 ? mp + 3 : mp - 9;
	int64_t year = (int64_t)yoe + era * 400 + (month <= 2);

	p = put_number(p, (unsigned)year, 4);
	*p++ = '-';
	p = put_number(p, month, 2);
	*p++ = '-';
	return put_number(p, doy - (153 * mp + 2) / 5 + 1, 2);
}

void gcs_format_time(char out[32], int64_t realtime_ns)
{
	int64_t ms = realtime_ns / 1000000 - (realtime_ns % 1000000 < 0);
	int64_t days = ms / 86400000 - (ms % 86400000 < 0);
	unsigned rest = (unsigned)(ms - days * 86400000);
	char *p = put_date(out, days);

	*p++ = 'T';
	p = put_number(p, rest / 3600000, 2);
	*p++ = ':';
	p = put_number(p, rest / 60000 % 60, 2);
	*p++ = ':';
	p = put_number(p, rest / 1000 % 60, 2);
	*p++ = '.';
	p = put_number(p, rest % 1000, 3);
	*p++ = 'Z';
	*p = '\0';
}

void gcs_json_time(struct gcs_json *j, const char *key, int64_t realtime_ns)
{
	char text[32];

	gcs_format_time(text, realtime_ns);
	gcs_json_str(j, key, text);
}
