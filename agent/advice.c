/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See advice.h. A shape is what every step of the cycle must fit, not only the one that gave it away: a bound
 * method on a cycle through a frame is no callback that was stored, and to make it weak would not help. Where
 * a name decides (parent, owner, prev), it must be the attribute that leads back, of a class written in Python,
 * since no other can be told to keep a weak reference.
 *
 * A cycle has no first step: indexes here run round, modulo n.
 *
 * `raise … from None` is nowhere among the remedies: it leaves __context__ set, and so breaks no cycle.
 */
#include "advice.h"

#include <stdarg.h>
#include <string.h>

#define BIT(kind) (1u << (kind))
#define CONTAINERS (BIT(GCS_STEP_DICT) | BIT(GCS_STEP_LIST) | BIT(GCS_STEP_TUPLE) | BIT(GCS_STEP_SET))
#define FRAMES (BIT(GCS_STEP_FRAME) | BIT(GCS_STEP_GENERATOR))
#define RAISED (BIT(GCS_STEP_EXCEPTION) | BIT(GCS_STEP_TRACEBACK))

struct cycle {
	const struct gcs_step *step;
	size_t n;
	uint32_t kinds; /* bits of those on it */
};

static const struct gcs_step *at(const struct cycle *c, size_t i)
{
	return &c->step[i % c->n];
}

static bool is(const struct cycle *c, size_t i, uint32_t kinds)
{
	return (BIT(at(c, i)->kind) & kinds) != 0;
}

static const char *via(const struct cycle *c, size_t i)
{
	return at(c, i)->via ? at(c, i)->via : "?";
}

static bool within(const struct cycle *c, uint32_t kinds)
{
	return (c->kinds & ~kinds) == 0;
}

/* An item's container, also one of a type that is none of the builtins. */
static bool is_container(const struct cycle *c, size_t i)
{
	return is(c, i, CONTAINERS) ||
	       (is(c, i, BIT(GCS_STEP_INSTANCE) | BIT(GCS_STEP_OTHER)) && via(c, i)[0] == '[');
}

static bool is_identifier(const char *s)
{
	if (!*s || (*s >= '0' && *s <= '9'))
		return false;
	for (; *s; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
		      *s == '_' || (unsigned char)*s >= 0x80))
			return false;
	return true;
}

/* The attribute of a class written in Python that refers to the next step; NULL. */
static const char *attribute(const struct cycle *c, size_t i)
{
	const char *v = via(c, i);

	if (!is(c, i, BIT(GCS_STEP_INSTANCE)) || v[0] != '.' || !is_identifier(v + 1))
		return NULL;
	return strncmp(v, ".__", 3) == 0 && strcmp(v + strlen(v) - 2, "__") == 0 ? NULL : v + 1;
}

/* The local variable of a frame, also a generator's, that refers to the next step; NULL. */
static const char *local(const struct cycle *c, size_t i)
{
	const char *v = via(c, i);

	if (!is(c, i, FRAMES) || strncmp(v, "local ", 6) != 0 || !is_identifier(v + 6))
		return NULL;
	return v + 6;
}

/* The last word of a dotted name. */
static const char *short_name(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && dot[1] ? dot + 1 : name;
}

static const char *type_name(const struct cycle *c, size_t i)
{
	return at(c, i)->type ? short_name(at(c, i)->type) : "object";
}

static const char *code_name(const struct cycle *c, size_t i, const char *otherwise)
{
	return at(c, i)->name && at(c, i)->name[0] ? short_name(at(c, i)->name) : otherwise;
}

/* The nearest step before i that is not passed through: by containers, and by other kinds where it says so. */
static size_t holder(const struct cycle *c, size_t i, uint32_t others)
{
	size_t left = c->n;

	do
		i = (i + c->n - 1) % c->n;
	while (--left && (is_container(c, i) || is(c, i, others)));
	return i;
}

static size_t target(const struct cycle *c, size_t i, uint32_t others)
{
	size_t left = c->n;

	do
		i = (i + 1) % c->n;
	while (--left && (is_container(c, i) || is(c, i, others)));
	return i;
}

static size_t count_owners(const struct cycle *c)
{
	size_t i, n = 0;

	for (i = 0; i < c->n; i++)
		n += !is_container(c, i);
	return n;
}

static char lower(char ch)
{
	return ch >= 'A' && ch <= 'Z' ? (char)(ch + ('a' - 'A')) : ch;
}

/* A name, at most cut bytes of it, whole characters. Its size, also where out has no room for it. */
static size_t put_name(char *out, size_t room, const char *name, size_t cut, bool small)
{
	size_t n = strlen(name), i;

	if (n > cut) {
		for (n = cut; n > 0 && ((unsigned char)name[n] & 0xc0) == 0x80; n--)
			;
	}
	for (i = 0; i < n && i < room; i++)
		out[i] = small ? lower(name[i]) : name[i];
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
static void future_exception(const struct cycle *c, struct gcs_advice *out)
{
	size_t i, h;

	if (!(c->kinds & BIT(GCS_STEP_TRACEBACK)) ||
	    !within(c, BIT(GCS_STEP_FUTURE) | RAISED | FRAMES | CONTAINERS | BIT(GCS_STEP_INSTANCE) |
			       BIT(GCS_STEP_CELL)))
		return;
	for (i = 0; i < c->n; i++)
		if (is(c, i, BIT(GCS_STEP_FUTURE)) && is(c, i + 1, BIT(GCS_STEP_EXCEPTION)))
			break;
	if (i == c->n)
		return;
	h = holder(c, i, BIT(GCS_STEP_CELL));
	if (local(c, h))
		say(out, "future_exception",
		    "local $ of $ is a $ that keeps its $, whose traceback keeps that frame: "
		    "`del $` in a finally block",
		    local(c, h), code_name(c, h, "a frame"), type_name(c, i), type_name(c, i + 1),
		    local(c, h));
	else if (attribute(c, h))
		say(out, "future_exception",
		    "$.$ is a $ that keeps its $, whose traceback keeps the $: "
		    "set $.$ to None once it is done, or call traceback.clear_frames()",
		    type_name(c, h), attribute(c, h), type_name(c, i), type_name(c, i + 1), type_name(c, h),
		    type_name(c, h), attribute(c, h));
}

/* An exception or its traceback in a local of a frame that the traceback holds. */
static void exception_local(const struct cycle *c, struct gcs_advice *out)
{
	size_t i, t;

	if (!(c->kinds & BIT(GCS_STEP_TRACEBACK)) ||
	    !within(c, RAISED | FRAMES | CONTAINERS | BIT(GCS_STEP_CELL)))
		return;
	for (i = 0; i < c->n; i++) {
		const char *name = local(c, i), *code = code_name(c, i, "a frame");

		if (!name)
			continue;
		t = target(c, i, BIT(GCS_STEP_CELL));
		if (is(c, t, BIT(GCS_STEP_EXCEPTION))) {
			say(out, "exception_local",
			    "local $ of $ keeps a $, whose traceback keeps that frame: "
			    "`del $` in a finally block, or traceback.clear_frames() when it is handled",
			    name, code, type_name(c, t), name);
			return;
		}
		if (is(c, t, BIT(GCS_STEP_TRACEBACK))) {
			say(out, "exception_local",
			    "local $ of $ keeps a traceback, which keeps that frame: "
			    "`del $` in a finally block, or `except ... as` in place of sys.exc_info()",
			    name, code, name);
			return;
		}
	}
}

static bool is_chained(const struct cycle *c, size_t i)
{
	return is(c, i, BIT(GCS_STEP_EXCEPTION)) &&
	       (strcmp(via(c, i), ".__context__") == 0 || strcmp(via(c, i), ".__cause__") == 0);
}

/* Exceptions that are in their own chain. */
static void exception_chain(const struct cycle *c, struct gcs_advice *out)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		if (!is_chained(c, i))
			return;
	say(out, "exception_cycle",
	    "$$ leads back to the same $: raise a new $, not one already in the chain", type_name(c, 0),
	    via(c, 0), type_name(c, 0), type_name(c, 0));
}

/* An exception that an object keeps, with a frame in its traceback that keeps the object. */
static void exception_cycle(const struct cycle *c, struct gcs_advice *out)
{
	size_t i, h;

	if (c->kinds == BIT(GCS_STEP_EXCEPTION))
		exception_chain(c, out);
	if (!(c->kinds & BIT(GCS_STEP_TRACEBACK)) || !(c->kinds & FRAMES) ||
	    !within(c, RAISED | FRAMES | CONTAINERS | BIT(GCS_STEP_CELL) | BIT(GCS_STEP_INSTANCE)))
		return;
	for (i = 0; i < c->n; i++) {
		h = holder(c, i, 0);
		if (!is(c, i, BIT(GCS_STEP_EXCEPTION)) || !attribute(c, h))
			continue;
		if (is_chained(c, i))
			say(out, "exception_cycle",
			    "$.$ keeps a $ whose $ has a traceback with a frame that keeps the $: "
			    "set its $ to None, or keep what you need of it",
			    type_name(c, h), attribute(c, h), type_name(c, i), via(c, i) + 1, type_name(c, h),
			    via(c, i) + 1);
		else if (strcmp(via(c, i), ".__traceback__") == 0)
			say(out, "exception_cycle",
			    "$.$ keeps a $ whose traceback has a frame that keeps the $: "
			    "keep $.with_traceback(None), or call traceback.clear_frames()",
			    type_name(c, h), attribute(c, h), type_name(c, i), type_name(c, h),
			    attribute(c, h));
		return;
	}
}

/* A generator in an attribute of the object that one of its locals holds. */
static void generator_self(const struct cycle *c, struct gcs_advice *out)
{
	size_t i, h, f, t;

	for (i = 0; i < c->n && !is(c, i, BIT(GCS_STEP_GENERATOR)); i++)
		;
	if (i == c->n || !within(c, FRAMES | CONTAINERS | BIT(GCS_STEP_INSTANCE) | BIT(GCS_STEP_CELL)))
		return;
	f = is(c, i + 1, BIT(GCS_STEP_FRAME)) ? i + 1 : i; /* up to 3.10 the frame is an object of its own */
	t = target(c, f, BIT(GCS_STEP_CELL));
	h = holder(c, i, 0);
	if (!local(c, f) || t != h || !attribute(c, h))
		return;
	say(out, "generator_self",
	    "$.$ keeps $ $, whose local $ is the $: $() it when done, or give it what it needs in place of $",
	    type_name(c, h), attribute(c, h), type_name(c, i), code_name(c, i, "object"), local(c, f),
	    type_name(c, h), strcmp(type_name(c, i), "async_generator") == 0 ? "aclose" : "close",
	    local(c, f));
}

static void raised_or_running(const struct cycle *c, struct gcs_advice *out)
{
	if (c->kinds & BIT(GCS_STEP_FUTURE)) {
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

/* "f.<locals>.Foo": copies "f" */
static bool maker(const char *name, char *out, size_t size)
{
	const char *end = name ? strstr(name, ".<locals>.") : NULL, *next, *start;
	size_t n;

	if (!end)
		return false;
	while ((next = strstr(end + 1, ".<locals>.")))
		end = next;
	for (start = end; start > name && start[-1] != '.'; start--)
		;
	n = (size_t)(end - start);
	if (n == 0 || n >= size)
		return false;
	memcpy(out, start, n);
	out[n] = '\0';
	return true;
}

/* A class is garbage only if it was made at run time; but a module's end takes its classes along. */
const char gcs_advice_class_per_call[] = "class_per_call";

static void class_per_call(const struct cycle *c, struct gcs_advice *out)
{
	size_t i, found = c->n;
	char by[64];

	if (!within(c, BIT(GCS_STEP_CLASS) | CONTAINERS | BIT(GCS_STEP_OTHER) | BIT(GCS_STEP_FUNCTION) |
			       BIT(GCS_STEP_CELL) | BIT(GCS_STEP_METHOD) | BIT(GCS_STEP_INSTANCE)))
		return;
	for (i = 0; i < c->n; i++) {
		if (strcmp(via(c, i), ".__globals__") == 0 || strcmp(type_name(c, i), "module") == 0)
			return;
		if (is(c, i, BIT(GCS_STEP_CLASS)) && (found == c->n || !at(c, found)->name))
			found = i;
	}
	if (maker(at(c, found)->name, by, sizeof(by)))
		say(out, gcs_advice_class_per_call,
		    "each call of $ makes its own class $: make it once, at module level", by,
		    code_name(c, found, ""));
	else if (at(c, found)->name)
		say(out, gcs_advice_class_per_call, "class $ is made anew each time: make it once, at module level",
		    code_name(c, found, ""));
	else
		say(out, gcs_advice_class_per_call, "a class is made anew each time: make it once, at module level");
}

/* Are two types of one package? Then their author can change both. */
static bool same_package(const struct cycle *c, size_t a, size_t b)
{
	const char *p = at(c, a)->type, *q = at(c, b)->type;
	size_t n = p ? strcspn(p, ".") : 0;

	if (!p || !q)
		return false;
	if (p[n] != '.' || !strchr(q, '.'))
		return p[n] == '\0' && !strchr(q, '.');
	return strncmp(p, q, n + 1) == 0;
}

static bool is_asyncio_handle(const struct cycle *c, size_t i)
{
	const char *type = at(c, i)->type ? at(c, i)->type : "";

	return strncmp(type, "asyncio.", 8) == 0 &&
	       (strcmp(short_name(type), "Handle") == 0 || strcmp(short_name(type), "TimerHandle") == 0);
}

static void handle_of_method(const struct cycle *c, size_t h, size_t m, struct gcs_advice *out)
{
	size_t k = holder(c, h, 0);

	if (attribute(c, k) && k != h)
		say(out, "bound_method",
		    "$.$ is a $ that calls a bound method of $: cancel() it, or set $.$ to None once it ran",
		    type_name(c, k), attribute(c, k), type_name(c, h), type_name(c, m + 1), type_name(c, k),
		    attribute(c, k));
}

static void bound_method_of(const struct cycle *c, size_t h, size_t m, struct gcs_advice *out)
{
	const char *method = code_name(c, m, NULL), *owner = type_name(c, m + 1);

	if (h == (m + 1) % c->n)
		say(out, "bound_method",
		    "$.$ holds a bound method of the same $: keep $.$, the plain function, and call it with self",
		    owner, attribute(c, h), owner, owner, method ? method : "method");
	else if (!same_package(c, h, m + 1))
		say(out, "bound_method",
		    "$.$ holds a bound method of $: clear it when done, or pass a function that holds weakref.ref(^)",
		    type_name(c, h), attribute(c, h), owner, owner);
	else if (method)
		say(out, "bound_method",
		    "$.$ holds a bound method of $: keep weakref.WeakMethod(^.$), or pass the data instead",
		    type_name(c, h), attribute(c, h), owner, owner, method);
	else
		say(out, "bound_method",
		    "$.$ holds a bound method of $: keep a weakref.WeakMethod of it, or pass the data instead",
		    type_name(c, h), attribute(c, h), owner);
}

/* A bound method that is stored, on its own object or another. */
static void bound_method(const struct cycle *c, struct gcs_advice *out)
{
	size_t i, h;

	if (!within(c, BIT(GCS_STEP_METHOD) | BIT(GCS_STEP_INSTANCE) | BIT(GCS_STEP_OTHER) |
			       BIT(GCS_STEP_PARTIAL) | CONTAINERS))
		return;
	for (i = 0; i < c->n; i++) {
		/* a builtin's has no __func__ to call it by */
		if (!is(c, i, BIT(GCS_STEP_METHOD)) || strcmp(via(c, i), ".__self__") != 0 ||
		    strcmp(type_name(c, i), "method") != 0 || !is(c, i + 1, BIT(GCS_STEP_INSTANCE)))
			continue;
		h = holder(c, i, BIT(GCS_STEP_PARTIAL));
		if (!attribute(c, h))
			continue;
		if (is_asyncio_handle(c, h))
			handle_of_method(c, h, i, out);
		else
			bound_method_of(c, h, i, out);
		return;
	}
}

/* A function that closes over itself, or several over each other. */
static void self_closure(const struct cycle *c, struct gcs_advice *out)
{
	size_t i, first = c->n, second = c->n;

	for (i = 0; i < c->n; i++) {
		if (!is(c, i, BIT(GCS_STEP_FUNCTION)))
			continue;
		if (first == c->n)
			first = i;
		else if (second == c->n)
			second = i;
	}
	if (first == c->n || !(c->kinds & BIT(GCS_STEP_CELL)))
		return;
	if (second == c->n)
		say(out, "self_closure",
		    "$ closes over itself: make it a method or a function of the module, or pass it as an argument",
		    code_name(c, first, "a function"));
	else
		say(out, "self_closure",
		    "$ and $ close over each other: make them methods or functions of the module, or pass them as "
		    "arguments",
		    code_name(c, first, "a function"), code_name(c, second, "another"));
}

/* A function in an attribute of the object that it closes over. */
static void instance_closure(const struct cycle *c, struct gcs_advice *out)
{
	size_t i, h, t;

	for (i = 0; i < c->n && !is(c, i, BIT(GCS_STEP_FUNCTION)); i++)
		;
	if (i == c->n || !is(c, i + 1, BIT(GCS_STEP_CELL)))
		return;
	h = holder(c, i, BIT(GCS_STEP_PARTIAL));
	t = (i + 2) % c->n;
	if (t != h || !attribute(c, h))
		return;
	say(out, "instance_closure",
	    "$.$ holds $, which closes over the same $: let it close over weakref.ref(^)", type_name(c, h),
	    attribute(c, h), code_name(c, i, "a function"), type_name(c, h), type_name(c, h));
}

static bool contains(const char *name, const char *part)
{
	size_t i, n = strlen(part);

	for (; *name; name++) {
		for (i = 0; i < n && lower(name[i]) == part[i]; i++)
			;
		if (i == n)
			return true;
	}
	return false;
}

static bool has_word(const char *const *words, const char *name, size_t n)
{
	for (; *words; words++) {
		size_t i;

		for (i = 0; i < n && lower(name[i]) == (*words)[i]; i++)
			;
		if (i == n && !(*words)[n])
			return true;
	}
	return false;
}

/* The size of a name's first word: parent_node, parentNode; underscores before it are passed. */
static size_t first_word(const char **name)
{
	size_t n = 0;

	while (**name == '_')
		(*name)++;
	while ((*name)[n] && (*name)[n] != '_' && (n == 0 || lower((*name)[n]) == (*name)[n]))
		n++;
	return n;
}

/*
 * How sure a name says that it leads back. Those of the second kind are as often the way down (Tree.root), and
 * need a cycle that says so too.
 */
static unsigned leads_back(const char *name)
{
	static const char *const always[] = {"parent",    "owner",   "previous", "prev",
					     "enclosing", "backref", NULL};
	static const char *const often[] = {"root", "container", "master", "outer", "host", "up", NULL};
	size_t n = first_word(&name);

	if (has_word(always, name, n))
		return 2;
	return has_word(often, name, n) && (!name[n] || strcmp(name + n, "_") == 0) ? 1 : 0;
}

static bool is_back_edge(const struct cycle *c, size_t i)
{
	const char *name = attribute(c, i);
	size_t owners = count_owners(c);

	if (!name || !is(c, i + 1, BIT(GCS_STEP_INSTANCE)) || is_container(c, i + 1) || owners < 2)
		return false;
	switch (leads_back(name)) {
	case 2:
		return true;
	case 1: /* one of many that the other holds, or of the same type */
		return (owners == 2 && c->n > 2) || (at(c, i)->type && at(c, i + 1)->type &&
						     strcmp(at(c, i)->type, at(c, i + 1)->type) == 0);
	default:
		return false;
	}
}

/* Libraries whose trees have a remedy of their own, since their classes are not for their user to change. */
static bool library_tree(const struct cycle *c, size_t i, struct gcs_advice *out)
{
	const char *type = at(c, i)->type ? at(c, i)->type : "";

	if (strncmp(type, "xml.dom.minidom.", 16) == 0)
		say(out, "parent_child",
		    "$.$ refers back: unlink() the Document when done, or use it in a with block",
		    type_name(c, i), attribute(c, i));
	else if (strncmp(type, "bs4.", 4) == 0)
		say(out, "parent_child", "$.$ refers back: decompose() the BeautifulSoup when done",
		    type_name(c, i), attribute(c, i));
	return out->kind != NULL;
}

/* An object and what it holds, which has an attribute for the way back. */
static void parent_child(const struct cycle *c, struct gcs_advice *out)
{
	size_t i, h, back = c->n, ways = 0, on;

	for (i = 0; i < c->n; i++) {
		if (is_back_edge(c, i)) {
			if (back == c->n || leads_back(attribute(c, i)) > leads_back(attribute(c, back)))
				back = i;
		} else if (!is_container(c, i)) {
			ways++;
		}
	}
	if (back == c->n || !ways) /* all of them lead back: to what? */
		return;
	if (library_tree(c, back, out))
		return;
	on = (back + 1) % c->n;
	h = holder(c, back, 0);
	if (h == on && attribute(c, h))
		say(out, "parent_child",
		    "$.$ refers back to the $ that holds it in .$: keep a weakref.ref to the $ in .$",
		    type_name(c, back), attribute(c, back), type_name(c, on), attribute(c, h),
		    type_name(c, on), attribute(c, back));
	else
		say(out, "parent_child", "$.$ refers back to a $: keep a weakref.ref to it in .$",
		    type_name(c, back), attribute(c, back), type_name(c, on), attribute(c, back));
}

static void pool_connections(const struct cycle *c, struct gcs_advice *out)
{
	size_t i, pool = c->n, connection = c->n;

	for (i = 0; i < c->n; i++) {
		if (is_container(c, i))
			continue;
		if (contains(type_name(c, i), "conn") && !contains(type_name(c, i), "pool"))
			connection = i;
		else if (contains(type_name(c, i), "pool"))
			pool = i;
	}
	if (pool == c->n || connection == c->n)
		return;
	say(out, "pool_connections",
	    "the $ and its $ hold each other: use the pool in a with block, or close it when done, "
	    "so that it lets its connections go",
	    type_name(c, pool), type_name(c, connection));
}

/* An object that holds itself, at once or in a container of its own. */
static void self_cache(const struct cycle *c, struct gcs_advice *out)
{
	size_t i;

	if (count_owners(c) != 1)
		return;
	for (i = 0; is_container(c, i); i++)
		;
	if (!attribute(c, i))
		return;
	if (c->n > 1)
		say(out, "self_cache",
		    "$.$ holds the $ itself: use self in its place, or keep a weakref.ref to it there",
		    type_name(c, i), attribute(c, i), type_name(c, i));
	else if (leads_back(attribute(c, i)))
		say(out, "self_cache", "$.$ is the $ itself: let None stand for that", type_name(c, i),
		    attribute(c, i), type_name(c, i));
	else
		say(out, "self_cache", "$.$ is the $ itself: use self in its place, or make it a property",
		    type_name(c, i), attribute(c, i), type_name(c, i));
}

static void instances(const struct cycle *c, struct gcs_advice *out)
{
	if (!within(c, BIT(GCS_STEP_INSTANCE) | BIT(GCS_STEP_OTHER) | CONTAINERS))
		return;
	pool_connections(c, out);
	if (!out->kind)
		parent_child(c, out);
	if (!out->kind)
		self_cache(c, out);
}

void gcs_advice_find(const struct gcs_step *step, size_t n, struct gcs_advice *out)
{
	struct cycle c = {.step = step, .n = n};
	size_t i;

	memset(out, 0, sizeof(*out));
	for (i = 0; i < n; i++)
		c.kinds |= BIT(step[i].kind);
	if (n == 0)
		return;
	if (c.kinds & (FRAMES | RAISED | BIT(GCS_STEP_FUTURE)))
		raised_or_running(&c, out);
	else if (c.kinds & BIT(GCS_STEP_CLASS))
		class_per_call(&c, out);
	else if (c.kinds & BIT(GCS_STEP_METHOD))
		bound_method(&c, out);
	else if (within(&c, BIT(GCS_STEP_FUNCTION) | BIT(GCS_STEP_CELL)))
		self_closure(&c, out);
	else if (c.kinds & BIT(GCS_STEP_FUNCTION))
		instance_closure(&c, out);
	else
		instances(&c, out);
}
