/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See advice.h. A shape is what every step of the cycle must fit, not only the one that gave it away: a bound
 * method on a cycle through a frame is no callback that was stored, and to make it weak would not help. Where
 * a name decides (parent, owner, prev), it must be the attribute that leads back, of a class written in Python,
 * since no other can be told to keep a weak reference.
 *
 * A rule is one function: it looks at the cycle by steps.h, and says its remedy or nothing. gcs_advice_find()
 * chooses the rules by the kinds that are on it; where several are tried, the first to say something wins.
 *
 * `raise … from None` is nowhere among the remedies: it leaves __context__ set, and so breaks no cycle.
 */
#include "advice.h"

#include <stdarg.h>
#include <string.h>

#define RAISED (1u << GCS_STEP_EXCEPTION | 1u << GCS_STEP_TRACEBACK)

/* A name, at most cut bytes of it, whole characters. Its size, also where out has no room for it. */
static size_t put_name(char *out, size_t room, const char *name, size_t cut, bool small)
{
	size_t n = strlen(name), i;

	if (n > cut) {
		for (n = cut; n > 0 && ((unsigned char)name[n] & 0xc0) == 0x80; n--)
			;
	}
	for (i = 0; i < n && i < room; i++)
		out[i] = small ? gcs_steps_lower(name[i]) : name[i];
	return n;
}

/* $: a name. ^: a name in lower case, as a variable of that class is called. False: no room for all of it. */
static bool fill(char *out, size_t size, size_t cut, const char *format, va_list names)
{
	size_t n = 0;

	for (; *format && n < size; format++) {
		if (*format == '$' || *format == '^')
			n += put_name(out + n, size - n, va_arg(names, const char *), cut, *format == '^');
		else
			out[n++] = *format;
	}
	if (n >= size)
		return false;
	out[n] = '\0';
	return true;
}

static void say(struct gcs_advice *out, const char *kind, const char *format, ...)
{
	size_t cut;

	for (cut = 64; cut >= 8; cut -= 8) {
		va_list names;
		bool whole;

		va_start(names, format);
		whole = fill(out->text, sizeof(out->text), cut, format, names);
		va_end(names);
		if (whole) {
			out->kind = kind;
			return;
		}
	}
	out->text[0] = '\0';
}

/* A future or task whose exception's traceback leads back to who holds it. */
static void future_exception(const struct gcs_steps *c, struct gcs_advice *out)
{
	size_t i, h;

	if (!gcs_steps_has(c, GCS_STEP_TRACEBACK) ||
	    !gcs_steps_within(c, 1u << GCS_STEP_FUTURE | RAISED | GCS_STEP_FRAMES | GCS_STEP_CONTAINERS |
					 1u << GCS_STEP_INSTANCE | 1u << GCS_STEP_CELL))
		return;
	for (i = 0; i < c->n; i++)
		if (gcs_steps_is(c, i, GCS_STEP_FUTURE) && gcs_steps_is(c, i + 1, GCS_STEP_EXCEPTION))
			break;
	if (i == c->n)
		return;
	h = gcs_steps_holder(c, i, 1u << GCS_STEP_CELL);
	if (gcs_steps_local(c, h))
		say(out, "future_exception",
		    "local $ of $ is a $ that keeps its $, whose traceback keeps that frame: "
		    "`del $` in a finally block",
		    gcs_steps_local(c, h), gcs_steps_code(c, h, "a frame"), gcs_steps_type(c, i),
		    gcs_steps_type(c, i + 1), gcs_steps_local(c, h));
	else if (gcs_steps_attribute(c, h))
		say(out, "future_exception",
		    "$.$ is a $ that keeps its $, whose traceback keeps the $: "
		    "set $.$ to None once it is done, or call traceback.clear_frames()",
		    gcs_steps_type(c, h), gcs_steps_attribute(c, h), gcs_steps_type(c, i),
		    gcs_steps_type(c, i + 1), gcs_steps_type(c, h), gcs_steps_type(c, h),
		    gcs_steps_attribute(c, h));
}

/* An exception or its traceback in a local of a frame that the traceback holds. */
static void exception_local(const struct gcs_steps *c, struct gcs_advice *out)
{
	size_t i, t;

	if (!gcs_steps_has(c, GCS_STEP_TRACEBACK) ||
	    !gcs_steps_within(c, RAISED | GCS_STEP_FRAMES | GCS_STEP_CONTAINERS | 1u << GCS_STEP_CELL))
		return;
	for (i = 0; i < c->n; i++) {
		const char *name = gcs_steps_local(c, i), *code = gcs_steps_code(c, i, "a frame");

		if (!name)
			continue;
		t = gcs_steps_target(c, i, 1u << GCS_STEP_CELL);
		if (gcs_steps_is(c, t, GCS_STEP_EXCEPTION)) {
			say(out, "exception_local",
			    "local $ of $ keeps a $, whose traceback keeps that frame: "
			    "`del $` in a finally block, or traceback.clear_frames() when it is handled",
			    name, code, gcs_steps_type(c, t), name);
			return;
		}
		if (gcs_steps_is(c, t, GCS_STEP_TRACEBACK)) {
			say(out, "exception_local",
			    "local $ of $ keeps a traceback, which keeps that frame: "
			    "`del $` in a finally block, or `except ... as` in place of sys.exc_info()",
			    name, code, name);
			return;
		}
	}
}

static bool is_chained(const struct gcs_steps *c, size_t i)
{
	return gcs_steps_is(c, i, GCS_STEP_EXCEPTION) && (strcmp(gcs_steps_via(c, i), ".__context__") == 0 ||
							  strcmp(gcs_steps_via(c, i), ".__cause__") == 0);
}

/* Exceptions that are in their own chain. */
static void exception_chain(const struct gcs_steps *c, struct gcs_advice *out)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		if (!is_chained(c, i))
			return;
	say(out, "exception_cycle",
	    "$$ leads back to the same $: raise a new $, not one already in the chain", gcs_steps_type(c, 0),
	    gcs_steps_via(c, 0), gcs_steps_type(c, 0), gcs_steps_type(c, 0));
}

/* An exception that an object keeps, with a frame in its traceback that keeps the object. */
static void exception_cycle(const struct gcs_steps *c, struct gcs_advice *out)
{
	size_t i, h;

	if (gcs_steps_within(c, 1u << GCS_STEP_EXCEPTION))
		exception_chain(c, out);
	if (!gcs_steps_has(c, GCS_STEP_TRACEBACK) || !(c->kinds & GCS_STEP_FRAMES) ||
	    !gcs_steps_within(c, RAISED | GCS_STEP_FRAMES | GCS_STEP_CONTAINERS | 1u << GCS_STEP_CELL |
					 1u << GCS_STEP_INSTANCE))
		return;
	for (i = 0; i < c->n; i++) {
		h = gcs_steps_holder(c, i, 0);
		if (!gcs_steps_is(c, i, GCS_STEP_EXCEPTION) || !gcs_steps_attribute(c, h))
			continue;
		if (is_chained(c, i))
			say(out, "exception_cycle",
			    "$.$ keeps a $ whose $ has a traceback with a frame that keeps the $: "
			    "set its $ to None, or keep what you need of it",
			    gcs_steps_type(c, h), gcs_steps_attribute(c, h), gcs_steps_type(c, i),
			    gcs_steps_via(c, i) + 1, gcs_steps_type(c, h), gcs_steps_via(c, i) + 1);
		else if (strcmp(gcs_steps_via(c, i), ".__traceback__") == 0)
			say(out, "exception_cycle",
			    "$.$ keeps a $ whose traceback has a frame that keeps the $: "
			    "keep $.with_traceback(None), or call traceback.clear_frames()",
			    gcs_steps_type(c, h), gcs_steps_attribute(c, h), gcs_steps_type(c, i),
			    gcs_steps_type(c, h), gcs_steps_attribute(c, h));
		return;
	}
}

/* A generator in an attribute of the object that one of its locals holds. */
static void generator_self(const struct gcs_steps *c, struct gcs_advice *out)
{
	size_t i, h, f, t;

	for (i = 0; i < c->n && !gcs_steps_is(c, i, GCS_STEP_GENERATOR); i++)
		;
	if (i == c->n || !gcs_steps_within(c, GCS_STEP_FRAMES | GCS_STEP_CONTAINERS |
						      1u << GCS_STEP_INSTANCE | 1u << GCS_STEP_CELL))
		return;
	/* up to 3.10 the frame is an object of its own */
	f = gcs_steps_is(c, i + 1, GCS_STEP_FRAME) ? i + 1 : i;
	t = gcs_steps_target(c, f, 1u << GCS_STEP_CELL);
	h = gcs_steps_holder(c, i, 0);
	if (!gcs_steps_local(c, f) || t != h || !gcs_steps_attribute(c, h))
		return;
	say(out, "generator_self",
	    "$.$ keeps $ $, whose local $ is the $: $() it when done, or give it what it needs in place of $",
	    gcs_steps_type(c, h), gcs_steps_attribute(c, h), gcs_steps_type(c, i),
	    gcs_steps_code(c, i, "object"), gcs_steps_local(c, f), gcs_steps_type(c, h),
	    strcmp(gcs_steps_type(c, i), "async_generator") == 0 ? "aclose" : "close", gcs_steps_local(c, f));
}

static void raised_or_running(const struct gcs_steps *c, struct gcs_advice *out)
{
	if (gcs_steps_has(c, GCS_STEP_FUTURE)) {
		future_exception(c, out);
		return;
	}
	if (c->kinds & RAISED) {
		exception_local(c, out);
		if (!out->kind)
			exception_cycle(c, out);
		return;
	}
	generator_self(c, out);
}

/* A class is garbage only if it was made at run time; but a module's end takes its classes along. */
const char gcs_advice_class_per_call[] = "class_per_call";

static void class_per_call(const struct gcs_steps *c, struct gcs_advice *out)
{
	size_t i, found = c->n;
	char by[64];

	if (!gcs_steps_within(c, 1u << GCS_STEP_CLASS | GCS_STEP_CONTAINERS | 1u << GCS_STEP_OTHER |
					 1u << GCS_STEP_FUNCTION | 1u << GCS_STEP_CELL |
					 1u << GCS_STEP_METHOD | 1u << GCS_STEP_INSTANCE))
		return;
	for (i = 0; i < c->n; i++) {
		if (strcmp(gcs_steps_via(c, i), ".__globals__") == 0 ||
		    strcmp(gcs_steps_type(c, i), "module") == 0)
			return;
		if (gcs_steps_is(c, i, GCS_STEP_CLASS) && (found == c->n || !gcs_steps_at(c, found)->name))
			found = i;
	}
	if (gcs_steps_maker(c, found, by, sizeof(by)))
		say(out, gcs_advice_class_per_call,
		    "each call of $ makes its own class $: make it once, at module level", by,
		    gcs_steps_code(c, found, ""));
	else if (gcs_steps_at(c, found)->name)
		say(out, gcs_advice_class_per_call,
		    "class $ is made anew each time: make it once, at module level",
		    gcs_steps_code(c, found, ""));
	else
		say(out, gcs_advice_class_per_call,
		    "a class is made anew each time: make it once, at module level");
}

static bool is_asyncio_handle(const struct gcs_steps *c, size_t i)
{
	const char *type = gcs_steps_at(c, i)->type ? gcs_steps_at(c, i)->type : "";

	return strncmp(type, "asyncio.", 8) == 0 && (strcmp(gcs_steps_type(c, i), "Handle") == 0 ||
						     strcmp(gcs_steps_type(c, i), "TimerHandle") == 0);
}

static void handle_of_method(const struct gcs_steps *c, size_t h, size_t m, struct gcs_advice *out)
{
	size_t k = gcs_steps_holder(c, h, 0);

	if (gcs_steps_attribute(c, k) && k != h)
		say(out, "bound_method",
		    "$.$ is a $ that calls a bound method of $: cancel() it, or set $.$ to None once it ran",
		    gcs_steps_type(c, k), gcs_steps_attribute(c, k), gcs_steps_type(c, h),
		    gcs_steps_type(c, m + 1), gcs_steps_type(c, k), gcs_steps_attribute(c, k));
}

static void bound_method_of(const struct gcs_steps *c, size_t h, size_t m, struct gcs_advice *out)
{
	const char *method = gcs_steps_code(c, m, NULL), *owner = gcs_steps_type(c, m + 1);

	if (h == (m + 1) % c->n)
		say(out, "bound_method",
		    "$.$ holds a bound method of the same $: keep $.$, the plain function, and call it with self",
		    owner, gcs_steps_attribute(c, h), owner, owner, method ? method : "method");
	else if (!gcs_steps_same_package(c, h, m + 1))
		say(out, "bound_method",
		    "$.$ holds a bound method of $: clear it when done, or pass a function that holds weakref.ref(^)",
		    gcs_steps_type(c, h), gcs_steps_attribute(c, h), owner, owner);
	else if (method)
		say(out, "bound_method",
		    "$.$ holds a bound method of $: keep weakref.WeakMethod(^.$), or pass the data instead",
		    gcs_steps_type(c, h), gcs_steps_attribute(c, h), owner, owner, method);
	else
		say(out, "bound_method",
		    "$.$ holds a bound method of $: keep a weakref.WeakMethod of it, or pass the data instead",
		    gcs_steps_type(c, h), gcs_steps_attribute(c, h), owner);
}

/* A bound method that is stored, on its own object or another. */
static void bound_method(const struct gcs_steps *c, struct gcs_advice *out)
{
	size_t i, h;

	if (!gcs_steps_within(c, 1u << GCS_STEP_METHOD | 1u << GCS_STEP_INSTANCE | 1u << GCS_STEP_OTHER |
					 1u << GCS_STEP_PARTIAL | GCS_STEP_CONTAINERS))
		return;
	for (i = 0; i < c->n; i++) {
		/* a builtin's has no __func__ to call it by */
		if (!gcs_steps_is(c, i, GCS_STEP_METHOD) || strcmp(gcs_steps_via(c, i), ".__self__") != 0 ||
		    strcmp(gcs_steps_type(c, i), "method") != 0 || !gcs_steps_is(c, i + 1, GCS_STEP_INSTANCE))
			continue;
		h = gcs_steps_holder(c, i, 1u << GCS_STEP_PARTIAL);
		if (!gcs_steps_attribute(c, h))
			continue;
		if (is_asyncio_handle(c, h))
			handle_of_method(c, h, i, out);
		else
			bound_method_of(c, h, i, out);
		return;
	}
}

/* A function that closes over itself, or several over each other. */
static void self_closure(const struct gcs_steps *c, struct gcs_advice *out)
{
	size_t i, first = c->n, second = c->n;

	for (i = 0; i < c->n; i++) {
		if (!gcs_steps_is(c, i, GCS_STEP_FUNCTION))
			continue;
		if (first == c->n)
			first = i;
		else if (second == c->n)
			second = i;
	}
	if (first == c->n || !gcs_steps_has(c, GCS_STEP_CELL))
		return;
	if (second == c->n)
		say(out, "self_closure",
		    "$ closes over itself: make it a method or a function of the module, or pass it as an argument",
		    gcs_steps_code(c, first, "a function"));
	else
		say(out, "self_closure",
		    "$ and $ close over each other: make them methods or functions of the module, or pass them as "
		    "arguments",
		    gcs_steps_code(c, first, "a function"), gcs_steps_code(c, second, "another"));
}

/* A function in an attribute of the object that it closes over. */
static void instance_closure(const struct gcs_steps *c, struct gcs_advice *out)
{
	size_t i, h, t;

	for (i = 0; i < c->n && !gcs_steps_is(c, i, GCS_STEP_FUNCTION); i++)
		;
	if (i == c->n || !gcs_steps_is(c, i + 1, GCS_STEP_CELL))
		return;
	h = gcs_steps_holder(c, i, 1u << GCS_STEP_PARTIAL);
	t = (i + 2) % c->n;
	if (t != h || !gcs_steps_attribute(c, h))
		return;
	say(out, "instance_closure",
	    "$.$ holds $, which closes over the same $: let it close over weakref.ref(^)",
	    gcs_steps_type(c, h), gcs_steps_attribute(c, h), gcs_steps_code(c, i, "a function"),
	    gcs_steps_type(c, h), gcs_steps_type(c, h));
}

static bool contains(const char *name, const char *part)
{
	size_t i, n = strlen(part);

	for (; *name; name++) {
		for (i = 0; i < n && gcs_steps_lower(name[i]) == part[i]; i++)
			;
		if (i == n)
			return true;
	}
	return false;
}

/* Libraries whose trees have a remedy of their own, since their classes are not for their user to change. */
static bool library_tree(const struct gcs_steps *c, size_t i, struct gcs_advice *out)
{
	const char *type = gcs_steps_at(c, i)->type ? gcs_steps_at(c, i)->type : "";

	if (strncmp(type, "xml.dom.minidom.", 16) == 0)
		say(out, "parent_child",
		    "$.$ refers back: unlink() the Document when done, or use it in a with block",
		    gcs_steps_type(c, i), gcs_steps_attribute(c, i));
	else if (strncmp(type, "bs4.", 4) == 0)
		say(out, "parent_child", "$.$ refers back: decompose() the BeautifulSoup when done",
		    gcs_steps_type(c, i), gcs_steps_attribute(c, i));
	return out->kind != NULL;
}

/* An object and what it holds, which has an attribute for the way back. */
static void parent_child(const struct gcs_steps *c, struct gcs_advice *out)
{
	size_t i, h, back = c->n, ways = 0, on;

	for (i = 0; i < c->n; i++) {
		if (gcs_steps_is_back_edge(c, i)) {
			if (back == c->n || gcs_steps_leads_back(c, i) > gcs_steps_leads_back(c, back))
				back = i;
		} else if (!gcs_steps_is_container(c, i)) {
			ways++;
		}
	}
	if (back == c->n || !ways) /* all of them lead back: to what? */
		return;
	if (library_tree(c, back, out))
		return;
	on = (back + 1) % c->n;
	h = gcs_steps_holder(c, back, 0);
	if (h == on && gcs_steps_attribute(c, h))
		say(out, "parent_child",
		    "$.$ refers back to the $ that holds it in .$: keep a weakref.ref to the $ in .$",
		    gcs_steps_type(c, back), gcs_steps_attribute(c, back), gcs_steps_type(c, on),
		    gcs_steps_attribute(c, h), gcs_steps_type(c, on), gcs_steps_attribute(c, back));
	else
		say(out, "parent_child", "$.$ refers back to a $: keep a weakref.ref to it in .$",
		    gcs_steps_type(c, back), gcs_steps_attribute(c, back), gcs_steps_type(c, on),
		    gcs_steps_attribute(c, back));
}

static void pool_connections(const struct gcs_steps *c, struct gcs_advice *out)
{
	size_t i, pool = c->n, connection = c->n;

	for (i = 0; i < c->n; i++) {
		if (gcs_steps_is_container(c, i))
			continue;
		if (contains(gcs_steps_type(c, i), "conn") && !contains(gcs_steps_type(c, i), "pool"))
			connection = i;
		else if (contains(gcs_steps_type(c, i), "pool"))
			pool = i;
	}
	if (pool == c->n || connection == c->n)
		return;
	say(out, "pool_connections",
	    "the $ and its $ hold each other: use the pool in a with block, or close it when done, "
	    "so that it lets its connections go",
	    gcs_steps_type(c, pool), gcs_steps_type(c, connection));
}

/* An object that holds itself, at once or in a container of its own. */
static void self_cache(const struct gcs_steps *c, struct gcs_advice *out)
{
	size_t i;

	if (gcs_steps_owners(c) != 1)
		return;
	for (i = 0; gcs_steps_is_container(c, i); i++)
		;
	if (!gcs_steps_attribute(c, i))
		return;
	if (c->n > 1)
		say(out, "self_cache",
		    "$.$ holds the $ itself: use self in its place, or keep a weakref.ref to it there",
		    gcs_steps_type(c, i), gcs_steps_attribute(c, i), gcs_steps_type(c, i));
	else if (gcs_steps_leads_back(c, i))
		say(out, "self_cache", "$.$ is the $ itself: let None stand for that", gcs_steps_type(c, i),
		    gcs_steps_attribute(c, i), gcs_steps_type(c, i));
	else
		say(out, "self_cache", "$.$ is the $ itself: use self in its place, or make it a property",
		    gcs_steps_type(c, i), gcs_steps_attribute(c, i), gcs_steps_type(c, i));
}

static void instances(const struct gcs_steps *c, struct gcs_advice *out)
{
	if (!gcs_steps_within(c, 1u << GCS_STEP_INSTANCE | 1u << GCS_STEP_OTHER | GCS_STEP_CONTAINERS))
		return;
	pool_connections(c, out);
	if (!out->kind)
		parent_child(c, out);
	if (!out->kind)
		self_cache(c, out);
}

void gcs_advice_find(const struct gcs_step *step, size_t n, struct gcs_advice *out)
{
	struct gcs_steps c = {.step = step, .n = n, .kinds = gcs_steps_kinds(step, n)};

	memset(out, 0, sizeof(*out));
	if (n == 0)
		return;
	if (c.kinds & (GCS_STEP_FRAMES | RAISED | 1u << GCS_STEP_FUTURE))
		raised_or_running(&c, out);
	else if (gcs_steps_has(&c, GCS_STEP_CLASS))
		class_per_call(&c, out);
	else if (gcs_steps_has(&c, GCS_STEP_METHOD))
		bound_method(&c, out);
	else if (gcs_steps_within(&c, 1u << GCS_STEP_FUNCTION | 1u << GCS_STEP_CELL))
		self_closure(&c, out);
	else if (gcs_steps_has(&c, GCS_STEP_FUNCTION))
		instance_closure(&c, out);
	else
		instances(&c, out);
}
