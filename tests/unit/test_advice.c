/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards against: a known shape that gets no advice, or another's, or advice that depends on where the cycle
 * begins to be told; advice for what only looks like a known shape, where it would not help or do harm; a text
 * that runs over its end or cuts a character in two.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "advice.h"

#define MAX_STEPS 8

#define INSTANCE(type, via) {GCS_STEP_INSTANCE, type, via, NULL}
#define LIST(via) {GCS_STEP_LIST, "list", via, NULL}
#define DICT(via) {GCS_STEP_DICT, "dict", via, NULL}
#define TUPLE(via) {GCS_STEP_TUPLE, "tuple", via, NULL}
#define METHOD(name) {GCS_STEP_METHOD, "method", ".__self__", name}
#define FUNCTION(name, via) {GCS_STEP_FUNCTION, "function", via, name}
#define CELL {GCS_STEP_CELL, "cell", ".cell_contents", NULL}
#define FRAME(name, via) {GCS_STEP_FRAME, "frame", via, name}
#define TRACEBACK(via) {GCS_STEP_TRACEBACK, "traceback", via, NULL}
#define EXCEPTION(type, via) {GCS_STEP_EXCEPTION, type, via, NULL}
#define GENERATOR(name, via) {GCS_STEP_GENERATOR, "generator", via, name}
#define CLASS(name, via) {GCS_STEP_CLASS, "type", via, name}
#define PARTIAL {GCS_STEP_PARTIAL, "functools.partial", ".func", NULL}
#define FUTURE(via) {GCS_STEP_FUTURE, "_asyncio.Future", via, NULL}
#define OTHER(type, via) {GCS_STEP_OTHER, type, via, NULL}

struct sample {
	const char *kind, *text; /* NULL: none expected */
	struct gcs_step step[MAX_STEPS];
};

static const struct sample known[] = {
	{"parent_child",
	 "Child.parent refers back to the Parent that holds it in .children: keep a weakref.ref to the Parent in .parent",
	 {INSTANCE("app.Parent", ".children"), LIST("[0]"), INSTANCE("app.Child", ".parent")}},
	{"parent_child",
	 "Node._parent refers back to the Node that holds it in .kids: keep a weakref.ref to the Node in ._parent",
	 {INSTANCE("app.Node", ".kids"), DICT("['a']"), INSTANCE("app.Node", "._parent")}},
	{"parent_child",
	 "Node.prev refers back to the Node that holds it in .next: keep a weakref.ref to the Node in .prev",
	 {INSTANCE("app.Node", ".next"), INSTANCE("app.Node", ".prev")}},
	{"parent_child",
	 "Elem.ownerDocument refers back to a Doc: keep a weakref.ref to it in .ownerDocument",
	 {INSTANCE("Doc", ".body"), INSTANCE("Elem", ".childNodes"), INSTANCE("NodeList", "[2]"),
	  INSTANCE("Elem", ".ownerDocument")}},
	{"parent_child",
	 "Leaf.root refers back to the Tree that holds it in .leaves: keep a weakref.ref to the Tree in .root",
	 {INSTANCE("app.Tree", ".leaves"), LIST("[1]"), INSTANCE("app.Leaf", ".root")}},
	{"parent_child",
	 "Element.parentNode refers back: unlink() the Document when done, or use it in a with block",
	 {INSTANCE("xml.dom.minidom.Document", ".childNodes"), INSTANCE("xml.dom.minicompat.NodeList", "[0]"),
	  INSTANCE("xml.dom.minidom.Element", ".parentNode")}},
	{"parent_child",
	 "Tag.parent refers back: decompose() the BeautifulSoup when done",
	 {INSTANCE("bs4.BeautifulSoup", ".contents"), LIST("[0]"), INSTANCE("bs4.element.Tag", ".parent")}},
	{"bound_method",
	 "AddLF._callback holds a bound method of Foo: keep weakref.WeakMethod(foo.the_callback), or pass the data "
	 "instead",
	 {INSTANCE("app.Foo", "._filter"), INSTANCE("app.AddLF", "._callback"), METHOD("Foo.the_callback")}},
	{"bound_method",
	 "AddLF._callback holds a bound method of Foo: keep a weakref.WeakMethod of it, or pass the data instead",
	 {INSTANCE("Foo", "._filter"), INSTANCE("AddLF", "._callback"), METHOD(NULL)}},
	{"bound_method",
	 "Bus.subscribers holds a bound method of View: keep weakref.WeakMethod(view.update), or pass the data instead",
	 {INSTANCE("app.View", ".bus"), INSTANCE("app.Bus", ".subscribers"), LIST("[3]"), PARTIAL,
	  METHOD("View.update")}},
	{"bound_method",
	 "Foo.handlers holds a bound method of the same Foo: keep Foo.on_a, the plain function, and call it with self",
	 {INSTANCE("app.Foo", ".handlers"), DICT("['a']"), METHOD("Foo.on_a")}},
	{"bound_method",
	 "Signal._slot holds a bound method of View: clear it when done, or pass a function that holds "
	 "weakref.ref(view)",
	 {INSTANCE("app.View", ".signal"), INSTANCE("lib.Signal", "._slot"), METHOD("View.update")}},
	{"bound_method",
	 "H11Protocol.timeout_task is a TimerHandle that calls a bound method of H11Protocol: cancel() it, or set "
	 "H11Protocol.timeout_task to None once it ran",
	 {INSTANCE("uvicorn.H11Protocol", ".timeout_task"), INSTANCE("asyncio.events.TimerHandle", "._callback"),
	  METHOD("H11Protocol.timeout")}},
	{"self_closure",
	 "walk closes over itself: make it a method or a function of the module, or pass it as an argument",
	 {FUNCTION("tree.<locals>.walk", "closure walk"), CELL}},
	{"self_closure",
	 "odd and even close over each other: make them methods or functions of the module, or pass them as arguments",
	 {FUNCTION("f.<locals>.odd", "closure even"), CELL, FUNCTION("f.<locals>.even", "closure odd"), CELL}},
	{"instance_closure",
	 "Foo.done holds <lambda>, which closes over the same Foo: let it close over weakref.ref(foo)",
	 {INSTANCE("app.Foo", ".done"), FUNCTION("Foo.__init__.<locals>.<lambda>", "closure self"), CELL}},
	{"exception_local",
	 "local err of handle keeps a ValueError, whose traceback keeps that frame: `del err` in a finally block, "
	 "or traceback.clear_frames() when it is handled",
	 {FRAME("handle", "local err"), EXCEPTION("ValueError", ".__traceback__"), TRACEBACK(".tb_frame")}},
	{"exception_local",
	 "local exceptions of create_connection keeps a ConnectionRefusedError, whose traceback keeps that frame: "
	 "`del exceptions` in a finally block, or traceback.clear_frames() when it is handled",
	 {FRAME("BaseEventLoop.create_connection", "local exceptions"), LIST("[0]"), LIST("[0]"),
	  EXCEPTION("ConnectionRefusedError", ".__traceback__"), TRACEBACK(".tb_next"), TRACEBACK(".tb_frame")}},
	{"exception_local",
	 "local info of handle keeps a traceback, which keeps that frame: `del info` in a finally block, "
	 "or `except ... as` in place of sys.exc_info()",
	 {FRAME("handle", "local info"), TUPLE("[2]"), TRACEBACK(".tb_frame")}},
	{"exception_local",
	 "local e of a frame keeps a KeyError, whose traceback keeps that frame: `del e` in a finally block, "
	 "or traceback.clear_frames() when it is handled",
	 {FRAME(NULL, "local e"), EXCEPTION("KeyError", ".__context__"), EXCEPTION("OSError", ".__traceback__"),
	  TRACEBACK(".tb_frame"), FRAME("g", ".f_back")}},
	{"exception_cycle",
	 "Job.error keeps a ValueError whose traceback has a frame that keeps the Job: keep "
	 "error.with_traceback(None), or call traceback.clear_frames()",
	 {INSTANCE("app.Job", ".error"), EXCEPTION("ValueError", ".__traceback__"), TRACEBACK(".tb_frame"),
	  FRAME("Job.run", "local self")}},
	{"exception_cycle",
	 "Job.error keeps a JobError whose __cause__ has a traceback with a frame that keeps the Job: set its "
	 "__cause__ to None, or keep what you need of it",
	 {INSTANCE("app.Job", ".error"), EXCEPTION("app.JobError", ".__cause__"),
	  EXCEPTION("ValueError", ".__traceback__"), TRACEBACK(".tb_frame"), FRAME("Job.run", "local self")}},
	{"exception_cycle",
	 "ValueError.__cause__ leads back to the same ValueError: raise a new ValueError, not one already in the chain",
	 {EXCEPTION("ValueError", ".__cause__"), EXCEPTION("ValueError", ".__context__")}},
	{"future_exception",
	 "local fut of fetch is a Future that keeps its OSError, whose traceback keeps that frame: `del fut` in a "
	 "finally block",
	 {FRAME("fetch", "local fut"), FUTURE("._exception"), EXCEPTION("OSError", ".__traceback__"),
	  TRACEBACK(".tb_frame")}},
	{"future_exception",
	 "Worker._task is a Future that keeps its OSError, whose traceback keeps the Worker: set Worker._task to "
	 "None once it is done, or call traceback.clear_frames()",
	 {INSTANCE("app.Worker", "._task"), FUTURE("?"), EXCEPTION("OSError", ".__traceback__"),
	  TRACEBACK(".tb_frame"), FRAME("Worker.run", "local self")}},
	{"self_cache",
	 "Foo.me is the Foo itself: use self in its place, or make it a property",
	 {INSTANCE("app.Foo", ".me")}},
	{"self_cache", "Node.root is the Node itself: let None stand for that", {INSTANCE("app.Node", ".root")}},
	{"self_cache",
	 "Foo.cache holds the Foo itself: use self in its place, or keep a weakref.ref to it there",
	 {INSTANCE("app.Foo", ".cache"), DICT("['me']")}},
	{"class_per_call",
	 "each call of make makes its own class Row: make it once, at module level",
	 {CLASS("make.<locals>.Row", ".__mro__"), TUPLE("[0]")}},
	{"class_per_call",
	 "class Row is made anew each time: make it once, at module level",
	 {CLASS("Row", ".__dict__"), DICT("['__dict__']"), OTHER("getset_descriptor", ".__objclass__")}},
	{"class_per_call",
	 "a class is made anew each time: make it once, at module level",
	 {CLASS(NULL, ".__mro__"), TUPLE("[0]")}},
	{"pool_connections",
	 "the QueuePool and its Connection hold each other: use the pool in a with block, or close it when done, so "
	 "that it lets its connections go",
	 {INSTANCE("db.QueuePool", ".free"), LIST("[0]"), INSTANCE("db.Connection", ".pool")}},
	{"pool_connections",
	 "the ConnectionPool and its Conn hold each other: use the pool in a with block, or close it when done, so "
	 "that it lets its connections go",
	 {INSTANCE("db.ConnectionPool", ".free"), OTHER("collections.deque", "[...]"), INSTANCE("db.Conn", ".owner")}},
	{"generator_self",
	 "Foo._gen keeps generator run, whose local self is the Foo: close() it when done, or give it what it needs "
	 "in place of self",
	 {INSTANCE("app.Foo", "._gen"), GENERATOR("Foo.run", "local self")}},
	{"generator_self", /* up to CPython 3.10 */
	 "Foo._gen keeps generator run, whose local self is the Foo: close() it when done, or give it what it needs "
	 "in place of self",
	 {INSTANCE("app.Foo", "._gen"), GENERATOR("Foo.run", ".gi_frame"), FRAME("Foo.run", "local self")}},
	{"generator_self",
	 "Foo._gen keeps async_generator run, whose local self is the Foo: aclose() it when done, or give it what it "
	 "needs in place of self",
	 {INSTANCE("app.Foo", "._gen"),
	  {GCS_STEP_GENERATOR, "async_generator", "local self", "Foo.run"}}},
};

/* Near the shapes, but not them. */
static const struct sample none[] = {
	{.step = {INSTANCE("A", ".b"), INSTANCE("B", ".a")}},			    /* which is the parent? */
	{.step = {INSTANCE("Tree", ".root"), INSTANCE("Node", ".tree")}},	    /* root is the way down */
	{.step = {INSTANCE("Tree", ".root"), INSTANCE("Node", ".nodes"), LIST("[0]"), INSTANCE("Node", ".tree")}},
	{.step = {INSTANCE("A", ".owner"), INSTANCE("B", ".parent")}},		    /* both lead back */
	{.step = {INSTANCE("A", ".preview"), INSTANCE("B", ".parental")}},	    /* other words */
	{.step = {INSTANCE("A", ".kids"), LIST("[0]"), OTHER("lib.Child", ".parent")}}, /* a C type's attribute */
	{.step = {INSTANCE("A", ".parents"), LIST("[0]"), INSTANCE("B", ".a")}},
	{.step = {INSTANCE("A", ".b"), INSTANCE("B", "?")}},
	{.step = {LIST("[1]"), LIST("[0]")}},
	{.step = {LIST("[0]")}},
	{.step = {DICT("['parent']"), DICT("['child']")}},
	{.step = {OTHER("lib.Foo", ".me")}},
	{.step = {INSTANCE("A", ".__dict__"), DICT("['x']")}}, /* name of the dict, not of what holds A */
	{.step = {INSTANCE("Pool", ".a"), INSTANCE("Task", ".b")}},
	{.step = {INSTANCE("ConnectionPool", ".a"), INSTANCE("Task", ".b")}},
	/* a method, but of a builtin type, or not stored by an object, or on the way through a frame */
	{.step = {INSTANCE("A", ".put"), {GCS_STEP_METHOD, "builtin_function_or_method", ".__self__", "append"},
		  LIST("[0]")}},
	{.step = {INSTANCE("A", ".put"), {GCS_STEP_METHOD, "builtin_function_or_method", ".__self__", "A.x"}}},
	{.step = {LIST("[0]"), METHOD("L.x"), OTHER("lib.L", "?")}},
	{.step = {INSTANCE("A", ".cb"), METHOD("A.x"), FRAME("f", "local a")}},
	{.step = {INSTANCE("A", ".cb"), {GCS_STEP_METHOD, "method", ".__func__", "f"}, FUNCTION("f", "closure a"), CELL}},
	/* closures on another way */
	{.step = {FUNCTION("f", ".__defaults__"), TUPLE("[0]"), LIST("[0]")}},
	{.step = {INSTANCE("A", ".cb"), FUNCTION("f", "closure x"), CELL, INSTANCE("B", ".a")}},
	{.step = {DICT("['f']"), FUNCTION("f", "closure table"), CELL}},
	{.step = {FUNCTION("f", ".__wrapped__"), FUNCTION("g", ".__wrapped__")}},
	{.step = {FUNCTION("f", ".__globals__"), DICT("['f']")}},
	/* frames without an exception, exceptions without a frame, attributes of an exception's own */
	{.step = {FRAME("f", "local x"), LIST("[0]"), OTHER("cursor", "?")}},
	{.step = {FRAME("f", "?"), EXCEPTION("ValueError", ".__traceback__"), TRACEBACK(".tb_frame")}},
	{.step = {FRAME("f", "local job"), INSTANCE("Job", ".log"), LIST("[0]"), TRACEBACK(".tb_frame")}},
	{.step = {EXCEPTION("app.Error", ".request"), INSTANCE("Request", ".error")}},
	{.step = {EXCEPTION("app.Error", ".args"), TUPLE("[0]")}},
	{.step = {INSTANCE("Job", ".error"), EXCEPTION("Error", ".job"), INSTANCE("Job2", ".x"), FRAME("f", "local j"),
		  TRACEBACK(".tb_frame")}},
	{.step = {FUTURE("._callbacks"), LIST("[0]"), METHOD("A.done"), INSTANCE("A", ".fut")}},
	{.step = {FUTURE("._exception"), EXCEPTION("app.Error", ".future")}},
	{.step = {FUTURE("._result"), INSTANCE("A", ".fut")}},
	/* another's local, another's generator */
	{.step = {INSTANCE("A", ".gen"), GENERATOR("run", "local x"), INSTANCE("B", ".a")}},
	{.step = {LIST("[0]"), GENERATOR("run", "local items")}},
	{.step = {INSTANCE("A", ".gen"), GENERATOR("run", "?")}},
	/* a module that ends */
	{.step = {CLASS("Row", ".__dict__"), DICT("['f']"), FUNCTION("Row.f", ".__globals__"), DICT("['Row']")}},
	{.step = {CLASS("Row", "?"), OTHER("module", ".__dict__"), DICT("['Row']")}},
	{.step = {CLASS("Row", "?"), FRAME("f", "local Row")}},
};

static size_t steps_of(const struct sample *s)
{
	size_t n = 0;

	while (n < MAX_STEPS && s->step[n].type)
		n++;
	return n;
}

static void rotate(const struct sample *s, size_t by, struct gcs_step *out)
{
	size_t n = steps_of(s), i;

	for (i = 0; i < n; i++)
		out[i] = s->step[(i + by) % n];
}

/* Two of the texts name the first of several, which is the caller's choice. */
static int names_first(const struct sample *s)
{
	return strcmp(s->kind, "self_closure") == 0 || strstr(s->text, "already in the chain");
}

static void test_known(void **state)
{
	size_t i, by;

	(void)state;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		const struct sample *s = &known[i];

		for (by = 0; by < steps_of(s); by++) {
			struct gcs_step step[MAX_STEPS];
			struct gcs_advice a;

			rotate(s, by, step);
			gcs_advice_find(step, steps_of(s), &a);
			if (!a.kind)
				print_error("none: %s, from step %zu\n", s->text, by);
			assert_non_null(a.kind);
			assert_string_equal(a.kind, s->kind);
			if (by == 0 || !names_first(s))
				assert_string_equal(a.text, s->text);
		}
	}
}

static void test_none(void **state)
{
	size_t i, by;

	(void)state;
	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		for (by = 0; by < steps_of(&none[i]); by++) {
			struct gcs_step step[MAX_STEPS];
			struct gcs_advice a;

			rotate(&none[i], by, step);
			gcs_advice_find(step, steps_of(&none[i]), &a);
			if (a.kind)
				print_error("sample %zu from step %zu: %s\n", i, by, a.text);
			assert_null(a.kind);
			assert_string_equal(a.text, "");
		}
}

static void test_empty(void **state)
{
	struct gcs_advice a;

	(void)state;
	memset(&a, 0xa5, sizeof(a));
	gcs_advice_find(NULL, 0, &a);
	assert_null(a.kind);
	assert_string_equal(a.text, "");
}

static int is_utf8(const char *s)
{
	while (*s) {
		int more = (*s & 0x80) == 0 ? 0 : (*s & 0xe0) == 0xc0 ? 1 : (*s & 0xf0) == 0xe0 ? 2 : -1;

		if (more < 0)
			return 0;
		for (s++; more > 0; more--, s++)
			if ((*s & 0xc0) != 0x80)
				return 0;
	}
	return 1;
}

/* Names of any length: the advice keeps its end, which is the remedy, and each name's beginning. */
static void test_long_names(void **state)
{
	char type[400], via[420];
	size_t n, k;

	(void)state;
	for (n = 1; n < 120; n++)
		for (k = 0; k < 3; k++) { /* shift the characters by a byte */
			struct gcs_step step[] = {INSTANCE(type, ".children"), LIST("[0]"), INSTANCE(type, via)};
			struct gcs_advice a;
			size_t i;

			memset(type, 'T', k);
			for (i = 0; i < n; i++)
				memcpy(type + k + 3 * i, "\xe2\x82\xac", 3);
			type[k + 3 * n] = '\0';
			snprintf(via, sizeof(via), ".parent_%s", type);
			gcs_advice_find(step, 3, &a);
			assert_string_equal(a.kind, "parent_child");
			assert_true(strlen(a.text) < sizeof(a.text));
			assert_true(is_utf8(a.text));
			assert_non_null(strstr(a.text, "keep a weakref.ref"));
			assert_non_null(strstr(a.text, " in .par"));
		}
}

/* Anything at all as steps: no read beyond them (the sanitizer tells), and a text only with a kind. */
static void test_any_steps(void **state)
{
	static const char *const vias[] = {"?",	  "",	     ".",	".x",	   ".parent", "[0]",	 "['k']", "local x",
					   "local ", "closure f", ".__self__", ".tb_frame", ".prev", ".__traceback__", NULL};
	static const char *const names[] = {NULL, "", ".", "f", "f.<locals>.g", ".<locals>.", "a.", NULL};
	uint64_t seed = 3;
	unsigned round, given = 0;

	(void)state;
	for (round = 0; round < 300000; round++) {
		struct gcs_step *step;
		struct gcs_advice a;
		size_t n, i;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		n = 1 + (seed >> 33) % 5;
		step = malloc(n * sizeof(*step));
		assert_non_null(step);
		for (i = 0; i < n; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			step[i].kind = (enum gcs_step_kind)((seed >> 33) % (GCS_STEP_FUTURE + 1));
			step[i].via = vias[(seed >> 40) % 15];
			step[i].name = names[(seed >> 48) % 8];
			step[i].type = names[(seed >> 54) % 8];
		}
		gcs_advice_find(step, n, &a);
		assert_int_equal(a.kind != NULL, a.text[0] != '\0');
		given += a.kind != NULL;
		free(step);
	}
	assert_true(given > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),	   cmocka_unit_test(test_none),	     cmocka_unit_test(test_empty),
		cmocka_unit_test(test_long_names), cmocka_unit_test(test_any_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
