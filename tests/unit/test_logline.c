/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: a log line whose fields shift because a type's name holds a space or a newline,
 * an event that is not known or not complete ending the log, drift from the form that doc promises,
 * and a line of the agent's own log that differs from what the command line prints of the event.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "logline.h"
#include "logtext.h"
#include "mem.h"

static void check(const char *json, bool millis, const char *want)
{
	json_t *e = json_loads(json, 0, NULL);
	char *line;

	assert_non_null(e);
	line = gcs_logline_format(e, millis);
	assert_string_equal(line, want);
	free(line);
	json_decref(e);
}

#define HEAD "\"pid\":4711,\"time\":\"2026-11-20T07:30:01.123Z\","

static void suspects(void **state)
{
	(void)state;
	check("{" HEAD
	      "\"event\":\"suspect\",\"type\":\"app.Session\",\"count\":900,\"bytes\":51610,"
	      "\"growth_per_s\":9.8,\"bytes_per_s\":548.4,\"confidence\":\"confirmed\",\"evidence\":{\"samples\":40,\"full_collections\":2},"
	      "\"new\":false}",
	      false,
	      "2026-11-20T07:30:01Z 4711 suspect confirmed app.Session count=900 +9.8/s bytes=50.4KiB +548B/s "
	      "(40 censuses, 2 full collections)");
	check("{" HEAD "\"event\":\"suspect\",\"new\":true}", false,
	      "2026-11-20T07:30:01Z 4711 suspect - - count=- - bytes=- - (- censuses, - full collections) new");
	check("{" HEAD
	      "\"event\":\"suspect\",\"type\":\"dict\",\"count\":4640,\"bytes\":2097152,"
	      "\"growth_per_s\":0.0,\"bytes_per_s\":1228.8,\"confidence\":\"likely\","
	      "\"evidence\":{\"samples\":33,\"full_collections\":0,\"by\":\"bytes\"},\"new\":true}",
	      false,
	      "2026-11-20T07:30:01Z 4711 suspect likely dict count=4640 0/s bytes=2.0MiB +1.2KiB/s "
	      "(33 censuses, 0 full collections) new");
	check("{" HEAD
	      "\"event\":\"withdrawn\",\"type\":\"a b\\n\\u001b.C\",\"confidence\":\"likely\",\"count\":3}",
	      false, "2026-11-20T07:30:01Z 4711 withdrawn likely a\\x20b\\n\\x1b.C count=3");
}

static void changes(void **state)
{
	(void)state;
	check("{" HEAD "\"event\":\"gc_disabled\"}", false,
	      "2026-11-20T07:30:01Z 4711 gc_disabled");
	check("{" HEAD "\"event\":\"frozen\",\"count\":100}", false,
	      "2026-11-20T07:30:01Z 4711 frozen count=100");
	check("{" HEAD "\"event\":\"uncollectable\",\"type\":\"app.Old\",\"generation\":2,\"count\":1,\"total\":4,"
	      "\"at\":\"app.py:7\"}",
	      false, "2026-11-20T07:30:01Z 4711 uncollectable app.Old count=1 total=4 gen=2 at=app.py:7");
	check("{" HEAD "\"event\":\"uncollectable\",\"type\":null,\"generation\":2,\"count\":1,\"total\":4,\"at\":null}",
	      false, "2026-11-20T07:30:01Z 4711 uncollectable - count=1 total=4 gen=2");
	check("{" HEAD
	      "\"event\":\"pause\",\"generation\":2,\"pause_ns\":340000000,\"at\":\"my app.py:7\"}",
	      false, "2026-11-20T07:30:01Z 4711 pause gen=2 340ms at=my\\x20app.py:7");
	check("{" HEAD "\"event\":\"pause\",\"generation\":2,\"pause_ns\":340000000,\"at\":null}",
	      false, "2026-11-20T07:30:01Z 4711 pause gen=2 340ms");
}

static void introductions(void **state)
{
	(void)state;
	check("{" HEAD
	      "\"event\":\"settings\",\"message\":\"GCSCOPE_INTERVAL='a\\\\x1b': expected\\nseconds\"}",
	      false,
	      "2026-11-20T07:30:01Z 4711 settings GCSCOPE_INTERVAL='a\\x1b': expected\\nseconds");
	check("{" HEAD
	      "\"event\":\"disabled\",\"feature\":\"a b\",\"reason\":\"does not verify\"}",
	      false, "2026-11-20T07:30:01Z 4711 disabled a\\x20b does not verify");
	check("{" HEAD "\"event\":\"disabled\"}", false, "2026-11-20T07:30:01Z 4711 disabled - -");
}

/*
 * What the agent makes of its own numbers and names, and what the command line makes of the JSON
 * that the agent made of them.
 */
static void both_ends(double rate, double bytes, const char *type, const char *at)
{
	struct gcs_logtext e = {.event = "suspect", .confidence = "likely", .type = type, .count = 7,
				.growth_per_s = gcs_json_rounded(rate), .bytes = (double)(uint64_t)bytes,
				.bytes_per_s = gcs_json_rounded(rate * 57), .samples = 9};
	char want[2048], head[] = "2026-11-20T07:30:01.999Z";
	struct gcs_buf b;
	struct gcs_json j;
	size_t n;

	gcs_logtext_whole_seconds(head);
	n = (size_t)sprintf(want, "%s 4711 ", head);
	assert_true(gcs_logtext_format(want + n, sizeof(want) - n, &e) < sizeof(want) - n);
	gcs_buf_init(&b);
	gcs_json_init(&j, &b);
	gcs_json_object(&j, NULL);
	gcs_json_i64(&j, "pid", 4711);
	gcs_json_str(&j, "time", "2026-11-20T07:30:01.999Z");
	gcs_json_str(&j, "event", e.event);
	gcs_json_str(&j, "type", type);
	gcs_json_str(&j, "at", at);
	gcs_json_str(&j, "confidence", e.confidence);
	gcs_json_u64(&j, "count", 7);
	gcs_json_u64(&j, "bytes", (uint64_t)bytes);
	gcs_json_double(&j, "growth_per_s", e.growth_per_s);
	gcs_json_double(&j, "bytes_per_s", e.bytes_per_s);
	gcs_json_object(&j, "evidence");
	gcs_json_u64(&j, "samples", 9);
	gcs_json_u64(&j, "full_collections", 0);
	gcs_json_object_end(&j);
	gcs_json_object_end(&j);
	assert_false(b.failed);
	check(b.data, false, want);
	gcs_buf_fini(&b);
}

static void agent_and_command_line_agree(void **state)
{
	static const char *const type[] = {"app.Session", "a b\n\x1b\xc2\x9b\u202e\\", "\xff\xe2\x82.\xed\xa0\x80",
					   "Gr\u00f6\u00dfe.\U0001f40d\U000e0041", ""};
	/* At and beside every place where the digits that are shown change. */
	static const double edge[] = {0, 0.05, 0.15, 9.85, 0.0995, 0.01235, 99.95, 999.5, 1023.5, 1e-9, 1.15e-5, 3e9};
	size_t i = 0;

	(void)state;
	assert_int_equal(gcs_mem_init(4 << 20), 0);
	for (; i < sizeof(edge) / sizeof(edge[0]); i++)
		for (int k = -3; k <= 3; k++)
			both_ends(edge[i] * (1 + k * 1.7e-8), edge[i] * 1000, type[i % 5], NULL);
	for (double v = 1e-11; v < 1e9; v *= 1.0023, i++)
		both_ends(v, v * 977, type[i % 5], "");
	gcs_mem_fini();
}

static void stream(void **state)
{
	(void)state;
	check("{" HEAD
	      "\"event\":\"gc\",\"generation\":0,\"pause_ns\":1500,\"collected\":5,\"uncollectable\":0,"
	      "\"thread\":77,\"at\":\"app.py:12\"}",
	      true,
	      "2026-11-20T07:30:01.123Z 4711 gc gen=0 1.5us collected=5 uncollectable=0 thread=77 at=app.py:12");
	check("{" HEAD
	      "\"event\":\"census\",\"objects\":10,\"bytes\":2048,\"held_ns\":5,\"exact\":false,"
	      "\"types\":[{\"type\":\"dict\",\"count\":7},{\"type\":\"x y\",\"count\":3},5]}",
	      true,
	      "2026-11-20T07:30:01.123Z 4711 census objects=10 bytes=2.0KiB held=5ns sliced dict=7 x\\x20y=3 -=-");
	check("{" HEAD "\"event\":\"dropped\",\"count\":12}", true,
	      "2026-11-20T07:30:01.123Z 4711 dropped count=12");
}

#define CYCLE "\"event\":\"cycle\",\"count\":12,\"objects\":48,\"bytes\":788480,"

static void cycles(void **state)
{
	(void)state;
	check("{" HEAD CYCLE "\"text\":\"Foo._filter -> AddLF._callback -> method.__self__ -> Foo\",\"estimate\":false,"
	      "\"new\":true}",
	      true,
	      "2026-11-20T07:30:01.123Z 4711 cycle count=12 objects=48 bytes=770KiB "
	      "Foo._filter -> AddLF._callback -> method.__self__ -> Foo new");
	check("{" HEAD CYCLE "\"text\":\"Node.parent -> Node\",\"estimate\":true,\"new\":false}", true,
	      "2026-11-20T07:30:01.123Z 4711 cycle count=~12 objects=~48 bytes=~770KiB Node.parent -> Node");
	check("{" HEAD CYCLE "\"text\":\"dict['a\\nb'] -> \\u001b[2J\\u009b\\u202eC\\u2028\",\"estimate\":1}", true,
	      "2026-11-20T07:30:01.123Z 4711 cycle count=12 objects=48 bytes=770KiB "
	      "dict['a\\nb'] -> \\x1b[2J\\u009b\\u202eC\\u2028");
	check("{" HEAD "\"event\":\"cycle\",\"count\":\"x\",\"text\":[],\"new\":\"yes\"}", true,
	      "2026-11-20T07:30:01.123Z 4711 cycle count=- objects=- bytes=- -");
	check("{" HEAD "\"event\":\"cycle\",\"text\":\"\"}", true,
	      "2026-11-20T07:30:01.123Z 4711 cycle count=- objects=- bytes=- -");
}

static void a_megabyte_is_one_line(void **state)
{
	const size_t n = 1 << 20;
	char *text = malloc(n + 1), *line;
	json_t *e;

	(void)state;
	memset(text, '\n', n);
	text[n] = '\0';
	e = json_pack("{s:s, s:s}", "event", "cycle", "text", text);
	line = gcs_logline_format(e, true);
	assert_null(strchr(line, '\n'));
	assert_int_equal(strlen(line), strlen("- - cycle count=- objects=- bytes=- ") + 2 * n);
	free(line);
	json_decref(e);
	free(text);
}

static void what_is_not_known(void **state)
{
	(void)state;
	check("{" HEAD
	      "\"event\":\"novel\\u001b\",\"a key\":\"b c\",\"n\":3,\"yes\":true,\"o\":{},\"z\":null}",
	      false, "2026-11-20T07:30:01Z 4711 novel\\x1b a\\x20key=b\\x20c n=3 yes=true");
	check("{}", false, "- - -");
	check("{\"time\":5,\"pid\":\"x\",\"event\":[]}", false, "- - -");
	check("{\"time\":\"soon\\n\",\"pid\":1,\"event\":\"\"}", true, "soon\\n 1 -");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(suspects),
		cmocka_unit_test(changes),
		cmocka_unit_test(introductions),
		cmocka_unit_test(agent_and_command_line_agree),
		cmocka_unit_test(stream),
		cmocka_unit_test(cycles),
		cmocka_unit_test(a_megabyte_is_one_line),
		cmocka_unit_test(what_is_not_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
