/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: a log line whose fields shift because a type's name holds a space or a newline,
 * an event that is not known or not complete ending the log, and drift from the form that doc
 * promises.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>

#include "logline.h"

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
	      "\"growth_per_s\":9.8,\"confidence\":\"confirmed\",\"evidence\":{\"samples\":40,\"full_collections\":2},"
	      "\"new\":false}",
	      false,
	      "2026-11-20T07:30:01Z 4711 suspect confirmed app.Session count=900 +9.8/s bytes=50.4KiB "
	      "(40 censuses, 2 full collections)");
	check("{" HEAD "\"event\":\"suspect\",\"new\":true}", false,
	      "2026-11-20T07:30:01Z 4711 suspect - - count=- - bytes=- (- censuses, - full collections) new");
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
	check("{" HEAD "\"event\":\"uncollectable\",\"generation\":2,\"count\":1,\"total\":4}",
	      false, "2026-11-20T07:30:01Z 4711 uncollectable gen=2 count=1 total=4");
	check("{" HEAD
	      "\"event\":\"pause\",\"generation\":2,\"pause_ns\":340000000,\"at\":\"my app.py:7\"}",
	      false, "2026-11-20T07:30:01Z 4711 pause gen=2 340ms at=my\\x20app.py:7");
	check("{" HEAD "\"event\":\"pause\",\"generation\":2,\"pause_ns\":340000000,\"at\":null}",
	      false, "2026-11-20T07:30:01Z 4711 pause gen=2 340ms");
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
		cmocka_unit_test(stream),
		cmocka_unit_test(what_is_not_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
