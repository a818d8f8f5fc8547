/* SPDX-License-Identifier: Apache-2.0 */
#include "tracker.h"

#include <stdbool.h>
#include <string.h>

#include "events.h"
#include "gil.h"
#include "mem.h"
#include "thread.h"

#define SUSPECTS_MAX 256
#define POINTS_MAX 1024 /* of a history, per judgement: the newest */
#define TRIAL_EVERY 8 /* censuses */
#define MOVED_WITHIN 128 /* censuses: a type that stood still for so long is no suspect */

struct gcs_tracker {
	struct gcs_suspect suspect[SUSPECTS_MAX];
	size_t n;
	size_t next; /* the type that is judged first */
	struct gcs_point point[POINTS_MAX];
};

struct gcs_tracker *gcs_tracker_new(void)
{
	return gcs_mem_calloc(1, sizeof(struct gcs_tracker));
}

static struct gcs_suspect *find(struct gcs_tracker *t, int32_t id)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->suspect[i].id == id)
			return &t->suspect[i];
	return NULL;
}

static void judge(struct gcs_tracker *t, struct gcs_series *s, int32_t id, const int64_t *full_ns,
		  size_t nfull)
{
	struct gcs_suspect *x = find(t, id);
	struct gcs_verdict v;
	size_t n;

	if (!x && !gcs_series_moved(s, id, MOVED_WITHIN))
		return;
	n = gcs_series_read(s, id, 0, t->point, POINTS_MAX);
	gcs_suspect_judge(t->point, n, full_ns, nfull, &v);
	if (!x) {
		if (v.confidence == GCS_NO_SUSPECT || t->n == SUSPECTS_MAX)
			return;
		x = &t->suspect[t->n++];
		*x = (struct gcs_suspect){.id = id, .first_seen_ns = gcs_realtime_ns()};
	}
	x->verdict = v;
	x->verdict.growth_per_s = gcs_json_rounded(v.growth_per_s);
	x->verdict.bytes_per_s = gcs_json_rounded(v.bytes_per_s);
}

/* With thousands of them that moved, some ten milliseconds: a fork, which waits for us, ends it for now. */
static void judge_all(struct gcs_tracker *t, struct gcs_series *s, const int64_t *full_ns, size_t nfull)
{
	size_t types = gcs_series_types(s);

	for (size_t i = 0; i < types && !gcs_thread_should_stop(); i++) {
		t->next = t->next < types ? t->next : 0;
		judge(t, s, (int32_t)t->next++, full_ns, nfull);
	}
}

static bool needs_trial(const struct gcs_verdict *v)
{
	return v->confidence >= GCS_LIKELY && !v->survived && !v->by_bytes;
}

/* Is half of the rise or more, by the share of the newest objects, garbage that no full collection has met? */
static bool is_waiting_for_collection(const struct gcs_suspect *x, const struct gcs_series *s)
{
	const struct gcs_verdict *v = &x->verdict;
	struct gcs_type_now now;

	gcs_series_now(s, x->id, &now);
	return x->trial.garbage && 2.0 * (double)now.count * x->trial.garbage / x->trial.seen >=
					  (double)v->min_last - (double)v->min_first;
}

static bool is_due(const struct gcs_suspect *x, size_t censuses)
{
	return needs_trial(&x->verdict) && (!x->tried_at || censuses - x->tried_at >= TRIAL_EVERY);
}

/* A round of trials tells of all types. */
static void try_suspects(struct gcs_tracker *t, size_t censuses)
{
	bool due = false;
	size_t i;

	for (i = 0; i < t->n; i++)
		due |= is_due(&t->suspect[i], censuses);
	if (!due || !gcs_trial_possible() || gcs_thread_should_stop())
		return;
	for (i = 0; i < t->n; i++) {
		memset(&t->suspect[i].trial, 0, sizeof(t->suspect[i].trial));
		t->suspect[i].tried_at = censuses;
	}
	for (uint32_t k = 0; k < GCS_TRIALS && gcs_gil_take(); k++) {
		bool done = gcs_trial_gil(k);

		gcs_gil_drop();
		for (i = 0; done && i < t->n; i++)
			gcs_trial_add(t->suspect[i].id, &t->suspect[i].trial);
	}
}

static void excuse_garbage(struct gcs_tracker *t, const struct gcs_series *s)
{
	for (size_t i = 0; i < t->n; i++) {
		struct gcs_verdict *v = &t->suspect[i].verdict;

		if (needs_trial(v) && is_waiting_for_collection(&t->suspect[i], s))
			v->confidence = GCS_WATCH;
	}
}

static bool is_builtin(const char *name)
{
	return !strchr(name, '.');
}

/* Confirmed and likely before watch; then by growth; among equals the application's own types first. */
static bool before(const struct gcs_series *s, const struct gcs_suspect *a, const struct gcs_suspect *b)
{
	bool loud_a = a->verdict.confidence >= GCS_LIKELY, loud_b = b->verdict.confidence >= GCS_LIKELY;
	double ga = a->verdict.growth_per_s, gb = b->verdict.growth_per_s;
	struct gcs_type_now ta, tb;

	if (loud_a != loud_b)
		return loud_a;
	if (ga > gb * 1.1 || gb > ga * 1.1)
		return ga > gb;
	gcs_series_now(s, a->id, &ta);
	gcs_series_now(s, b->id, &tb);
	if (is_builtin(ta.name) != is_builtin(tb.name))
		return is_builtin(tb.name);
	return strcmp(ta.name, tb.name) < 0;
}

/* Insertion: nearly sorted from census to census. */
static void rank(struct gcs_tracker *t, const struct gcs_series *s)
{
	for (size_t i = 1; i < t->n; i++) {
		struct gcs_suspect x = t->suspect[i];
		size_t k = i;

		for (; k > 0 && before(s, &x, &t->suspect[k - 1]); k--)
			t->suspect[k] = t->suspect[k - 1];
		t->suspect[k] = x;
	}
}

static void tell(struct gcs_tracker *t, struct gcs_series *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->n; i++) {
		struct gcs_suspect x = t->suspect[i];

		gcs_event_suspect(s, &x);
		x.logged = x.logged || x.verdict.confidence >= GCS_LIKELY;
		x.told = x.verdict.confidence;
		if (x.verdict.confidence != GCS_NO_SUSPECT)
			t->suspect[kept++] = x;
	}
	t->n = kept;
}

void gcs_tracker_update(struct gcs_tracker *t, struct gcs_series *s, const int64_t *full_ns, size_t nfull)
{
	if (gcs_series_censuses(s) < GCS_SUSPECT_MIN)
		return;
	judge_all(t, s, full_ns, nfull);
	try_suspects(t, gcs_series_censuses(s));
	excuse_garbage(t, s);
	rank(t, s);
	tell(t, s);
}

size_t gcs_tracker_list(const struct gcs_tracker *t, const struct gcs_suspect **out)
{
	*out = t->suspect;
	return t->n;
}

size_t gcs_tracker_count(const struct gcs_tracker *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		n += t->suspect[i].verdict.confidence >= GCS_LIKELY;
	return n;
}

void gcs_suspect_write(struct gcs_json *j, const struct gcs_series *s, const struct gcs_suspect *x)
{
	const struct gcs_verdict *v = &x->verdict;
	struct gcs_type_now now;
	char fingerprint[17];

	gcs_series_now(s, x->id, &now);
	gcs_suspect_fingerprint(now.name, fingerprint);
	gcs_json_str(j, "type", now.name);
	gcs_json_u64(j, "count", now.count);
	gcs_json_u64(j, "bytes", now.bytes);
	gcs_json_double(j, "growth_per_s", v->growth_per_s);
	gcs_json_double(j, "bytes_per_s", v->bytes_per_s);
	gcs_json_str(j, "confidence",
		     v->confidence ? gcs_confidence_name(v->confidence) : gcs_confidence_name(x->told));
	gcs_json_time(j, "first_seen", x->first_seen_ns);
	gcs_json_str(j, "fingerprint", fingerprint);
	gcs_json_object(j, "evidence");
	gcs_json_u64(j, "samples", v->samples);
	gcs_json_double(j, "span_s", v->span_s);
	gcs_json_u64(j, "min_first", v->min_first);
	gcs_json_u64(j, "min_last", v->min_last);
	gcs_json_u64(j, "rising", v->rising);
	gcs_json_u64(j, "blocks", v->blocks);
	gcs_json_u64(j, "full_collections", v->full_collections);
	gcs_json_u64(j, "sampled", x->trial.seen);
	gcs_json_u64(j, "garbage", x->trial.garbage);
	gcs_json_str(j, "by", v->by_bytes ? "bytes" : "count");
	gcs_json_object_end(j);
	gcs_json_null(j, "path");
	gcs_json_null(j, "sites");
	gcs_json_null(j, "advice");
}
