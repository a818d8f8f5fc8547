/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See suspect.h. Histories are judged over windows that all end now: the whole, and shorter and shorter
 * suffixes, since a leak may have begun late. A window is evidence when one of three signs is in it:
 *
 * - climb: its floors go up, hardly ever down, and still do. Bursts and pauses are allowed, steps are not:
 *   the rise must be spread, and its last quarter must take part (or pause no longer than it did before).
 * - floors: the minima of its blocks, each long enough to hold a trough, rise all of them, and evenly: the
 *   t statistic of the steps is one that neither noise nor a random walk reaches. This sees a leak beneath
 *   teeth or noise much larger than itself.
 * - steps (bytes only): one container grows geometrically.
 *
 * What else grows for a while is told apart by what came before the window:
 *
 * - A tooth, or anything that went as high before and came down, is not new: the rise must be well above the
 *   highest earlier rise over the trough between them.
 * - A cache that fills more and more slowly looks straight in any short window: the stretches before it must
 *   not have grown faster, unless the growth paused between.
 * - A saw-tooth that is sampled almost in step with its period has troughs that rise for long, but never by
 *   more than one census's climb.
 * - What only full collections free is not judged between two of them.
 *
 * Blocks and quarters are of time, not of points: coarse history has fewer points to the hour. No libm here
 * (the library needs libc alone), so squares are compared instead of roots.
 */
#include "suspect.h"

#include <stdbool.h>
#include <string.h>

#define MAX_BLOCKS 12
#define LIKELY_MIN 16 /* censuses of rise */
#define CONFIRMED_MIN 30
#define MIN_COUNT 8.0    /* objects: less is not a leak yet */
#define MIN_BYTES 8192.0 /* by bytes */
#define NOVEL 2.5        /* times the highest earlier rise: teeth vary, and need not be whole when seen */

/* One of the two curves of a history. */
struct track {
	const struct gcs_point *p;
	size_t n;
	bool bytes;
};

/* A window, start..n, cut into blocks. */
struct window {
	const struct track *k;
	size_t start;
	int64_t span_ns;
	unsigned blocks;
	double floor[MAX_BLOCKS];  /* minimum of each block */
	double future[MAX_BLOCKS]; /* minimum of it and all later ones: what was never given back */
	double newest;             /* minimum of the newest twelfth */
	double rise;               /* newest above the window's minimum */
	double jump;               /* largest step up from one census to the next */
	double fall;               /* largest fall from any census to a later one */
	double way;                /* all steps, up and down, together */
};

static double value(const struct track *k, size_t i)
{
	return k->bytes ? (double)k->p[i].bytes : (double)k->p[i].count;
}

static double min(double a, double b)
{
	return a < b ? a : b;
}

static double max(double a, double b)
{
	return a > b ? a : b;
}

static int64_t max_time(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t time_of(const struct track *k, size_t i)
{
	return k->p[i].t_ns;
}

static int64_t end_of(const struct track *k)
{
	return time_of(k, k->n - 1);
}

static double least_allowed(const struct track *k)
{
	return k->bytes ? MIN_BYTES : MIN_COUNT;
}

/* The minimum from the time t on. */
static double floor_since(const struct track *k, int64_t t)
{
	size_t i = k->n - 1;
	double low = value(k, i);

	for (; i > 0 && time_of(k, i - 1) >= t; i--)
		low = min(low, value(k, i - 1));
	return low;
}

/* Minima of equal stretches of the time from..to, of the points first..end. An empty one is as the one before. */
static void block_floors(const struct track *k, size_t first, size_t end, unsigned blocks, double *out)
{
	int64_t from = time_of(k, first), span = time_of(k, end - 1) - from + 1;
	size_t i = first;
	int64_t edge;
	unsigned b;

	for (b = 0; b < blocks; b++) {
		edge = from + (int64_t)((double)span * (b + 1) / blocks);
		out[b] = i < end && (time_of(k, i) < edge || b + 1 == blocks) ? value(k, i) : out[b ? b - 1 : 0];
		for (; i < end && (time_of(k, i) < edge || b + 1 == blocks); i++)
			out[b] = min(out[b], value(k, i));
	}
}

/* The largest fall, from any of the points first..end to a later one of them. */
static double fall_within(const struct track *k, size_t first, size_t end)
{
	double low = value(k, end - 1), fall = 0;
	size_t i;

	for (i = end; i-- > first;) {
		low = min(low, value(k, i));
		fall = max(fall, value(k, i) - low);
	}
	return fall;
}

static void cut(struct window *w, const struct track *k, size_t start, unsigned blocks)
{
	double low;
	unsigned b;
	size_t i;

	w->k = k;
	w->start = start;
	w->blocks = blocks;
	w->span_ns = end_of(k) - time_of(k, start);
	block_floors(k, start, k->n, blocks, w->floor);
	low = w->floor[blocks - 1];
	for (b = blocks; b-- > 0;) {
		low = min(low, w->floor[b]);
		w->future[b] = low;
	}
	w->newest = floor_since(k, end_of(k) - w->span_ns / 12 + 1);
	w->rise = w->newest - w->future[0];
	w->fall = fall_within(k, start, k->n);
	w->jump = w->way = 0;
	for (i = start + 1; i < k->n; i++) {
		double step = value(k, i) - value(k, i - 1);

		w->jump = max(w->jump, step);
		w->way += step < 0 ? -step : step;
	}
}

/* What came before. */

/*
 * The window's rise against the highest that came before it, both measured from the trough between. Before is
 * compared by points, or by the floors of stretches as long as the window's blocks.
 */
static bool is_novel(const struct window *w, bool by_floors)
{
	const struct track *k = w->k;
	int64_t length = by_floors ? w->span_ns / w->blocks : 0;
	double trough = w->future[0], peak = trough, low;
	size_t i = w->start;
	int64_t edge;

	/* Backwards: the trough is the lowest so far, a peak counts against what lies after it. */
	while (i > 0) {
		edge = time_of(k, i) - length;
		if (edge < time_of(k, 0))
			break; /* part of a stretch has no comparable floor */
		low = value(k, --i);
		for (; i > 0 && time_of(k, i - 1) >= edge; i--)
			low = min(low, value(k, i - 1));
		peak = low;
		trough = min(trough, low);
		if (w->newest - trough < NOVEL * (peak - trough))
			return false;
	}
	return true;
}

/* Growth per nanosecond over the points first..end, without the two largest steps of eight: start-up is a step. */
static double typical_rate(const struct track *k, size_t first, size_t end)
{
	double floor[9], sum = 0, top = 0, second = 0, step;
	unsigned b;

	block_floors(k, first, end, 9, floor);
	for (b = 1; b < 9; b++) {
		step = floor[b] - floor[b - 1];
		sum += step;
		if (step > top) {
			second = top;
			top = step;
		} else {
			second = max(second, step);
		}
	}
	return (sum - top - second) / 6 * 9 / (double)(time_of(k, end - 1) - time_of(k, first) + 1);
}

/* True when the growth before the window was faster, at every distance up to where it last paused. */
static bool is_slowing(const struct window *w)
{
	const struct track *k = w->k;
	double rate = w->rise / (double)w->span_ns, before;
	int64_t back = w->span_ns;
	size_t i = w->start;

	while (i > 0) {
		while (i > 0 && time_of(k, i) > time_of(k, w->start) - back)
			i--;
		if (time_of(k, w->start) - time_of(k, i) < w->span_ns / 4 || w->start - i < 9)
			return false; /* too short a stretch to tell */
		before = typical_rate(k, i, w->start + 1);
		if (before < 0.5 * rate)
			return false;
		if (before > 1.6 * rate)
			return true;
		back *= 2;
	}
	return false;
}

/* Signs. */

/* The last point before the lasting rise: where the count was near its minimum for the last time. */
static size_t rise_start(const struct window *w)
{
	double level = w->future[0] + 0.02 * w->rise;
	size_t i;

	for (i = w->k->n - 1; i > w->start && value(w->k, i) > level; i--)
		;
	return i;
}

/* Falls that recur: the largest is about as large in either half. */
static bool has_teeth(const struct window *w, double least)
{
	size_t middle = w->start + (w->k->n - w->start) / 2;

	return fall_within(w->k, w->start, middle) > least && fall_within(w->k, middle, w->k->n) > least;
}

/*
 * The pauses of the lasting rise: the one that goes on now, and the longest before it. What is smaller than
 * the noise ends no pause; false when that is too much for the pauses to tell anything.
 */
static bool find_pauses(const struct window *w, int64_t *now, int64_t *earlier)
{
	const struct track *k = w->k;
	double step = max(0.08 * w->rise, 1.25 * w->jump), low = value(k, k->n - 1), level = low;
	int64_t last = end_of(k), pause;
	bool first = true;
	size_t i;

	*now = *earlier = 0;
	for (i = k->n - 1; i-- > w->start;) {
		low = min(low, value(k, i));
		if (low > level - step)
			continue;
		pause = last - time_of(k, i + 1);
		if (first)
			*now = pause;
		else
			*earlier = pause > *earlier ? pause : *earlier;
		first = false;
		level = low;
		last = time_of(k, i + 1);
	}
	return step <= 0.25 * w->rise;
}

/*
 * Does the rise reach up to now, or has it paused no longer than before? An eighth of the rise in the last
 * quarter of the time: half of what is even, so that a load that ended a moment ago hides nothing.
 */
static bool is_still_rising(const struct window *w)
{
	double quarter = w->newest - floor_since(w->k, end_of(w->k) - w->span_ns / 4);
	int64_t now, earlier;

	if (quarter >= 0.12 * w->rise && quarter >= w->jump && quarter > w->fall)
		return true;
	return find_pauses(w, &now, &earlier) && now <= earlier + earlier / 5;
}

static unsigned rising_blocks(const struct window *w, double *largest)
{
	unsigned b, rising = 0;
	double step;

	*largest = 0;
	for (b = 1; b < w->blocks; b++) {
		step = w->future[b] - w->future[b - 1];
		*largest = max(*largest, step);
		rising += step >= max(0.03 * w->rise, 0.5 * w->jump) && step > 0;
	}
	return rising;
}

/*
 * A random walk of n steps gets sqrt(n) steps far, give or take; a climb about n. Required is what a walk
 * does once in a thousand times, or, of a short window, almost every step up.
 */
static bool is_straight(const struct window *w)
{
	double steps = (double)(w->k->n - w->start - 1);
	double needed = min(11, 0.75 * steps);

	return w->rise * w->rise * steps >= needed * w->way * w->way;
}

static bool is_climb(const struct window *w)
{
	double largest, given_back = 0;
	unsigned b, rising = rising_blocks(w, &largest);
	unsigned needed = w->blocks * 5 / 12;
	int64_t now, earlier;

	if (w->rise < least_allowed(w->k) || w->rise < 5 * w->jump)
		return false;
	for (b = 0; b < w->blocks; b++)
		given_back = max(given_back, w->floor[b] - w->future[b]);
	if (given_back > 0.15 * w->rise || w->fall > 0.5 * w->rise)
		return false;
	if (rising < (needed < 3 ? 3 : needed) || largest > 0.45 * w->rise)
		return false;
	if (find_pauses(w, &now, &earlier) && earlier > 0.45 * (double)(end_of(w->k) - time_of(w->k, rise_start(w))))
		return false;
	return is_straight(w) && is_still_rising(w) && is_novel(w, false) && !is_slowing(w);
}

/*
 * Least (sum of steps)^2 / (steps * sum of squares) for 3 to 7 steps. The steps of a random walk have a t
 * statistic: without teeth one-sided p is 0.0002; between teeth, where troughs differ by the moment at which
 * they were seen and few steps are all there are, 0.005.
 */
static double evenness_needed(unsigned steps, bool teeth)
{
	static const double between_teeth[] = { 0.98, 0.92, 0.86, 0.84, 0.83 };
	static const double alone[] = { 2, 2, 2, 0.92, 0.89 }; /* 2: out of reach */

	return (teeth ? between_teeth : alone)[steps - 3];
}

static bool are_floors_rising(const struct window *w)
{
	double sum = 0, squares = 0, step, rise = w->floor[w->blocks - 1] - w->floor[0];
	unsigned b, steps = w->blocks - 1;
	bool teeth;

	if (rise < least_allowed(w->k) || rise < 1.25 * w->jump)
		return false;
	for (b = 1; b < w->blocks; b++) {
		step = w->floor[b] - w->floor[b - 1];
		if (step < 0.3 * rise / steps)
			return false;
		sum += step;
		squares += step * step;
	}
	/* Large falls must recur, or they are no teeth but something that came to an end. */
	teeth = has_teeth(w, 0.75 * rise);
	if ((!teeth && w->fall > 0.75 * rise) || sum * sum < evenness_needed(steps, teeth) * steps * squares)
		return false;
	/* Without teeth in it the end, and what came before, are seen more closely than by whole blocks. */
	if (w->fall < 0.15 * rise && !is_still_rising(w))
		return false;
	return is_novel(w, teeth) && !is_slowing(w);
}

/*
 * One container that grows by a factor, each step about as long in coming as all before: at least three steps,
 * spread over the window. Likely while the last is in the newest third, a watch while in the newest half.
 */
static enum gcs_confidence are_steps_growing(const struct window *w)
{
	const struct track *k = w->k;
	double step = 0.02 * w->rise, low = value(k, k->n - 1), level = low;
	int64_t first = 0, last = 0, since;
	unsigned steps = 0;
	size_t i;

	if (w->rise < MIN_BYTES || w->fall > 0.15 * w->rise)
		return GCS_NO_SUSPECT;
	for (i = k->n - 1; i-- > w->start;) {
		low = min(low, value(k, i));
		if (low > level - step)
			continue;
		first = time_of(k, i + 1);
		last = steps++ ? last : first;
		level = low;
	}
	since = end_of(k) - last;
	if (steps < 3 || last - first < w->span_ns / 3 || since > w->span_ns / 2 || !is_novel(w, false))
		return GCS_NO_SUSPECT;
	return since <= w->span_ns / 3 ? GCS_LIKELY : GCS_WATCH;
}

/* Do the bytes grow by more than the number of objects can explain? */
static bool is_count_still(const struct window *w)
{
	const struct gcs_point *p = w->k->p;
	uint64_t low = UINT64_MAX, high = 0;
	size_t i;

	for (i = w->start; i < w->k->n; i++) {
		low = p[i].count < low ? p[i].count : low;
		high = p[i].count > high ? p[i].count : high;
	}
	return low && (double)(high - low) * (w->future[0] / (double)low) <= 0.25 * w->rise;
}

/* Full collections. */

static unsigned full_between(const int64_t *full, size_t nfull, int64_t from, int64_t to)
{
	unsigned n = 0;
	size_t i;

	for (i = 0; i < nfull; i++)
		n += full[i] > from && full[i] <= to;
	return n;
}

/* Full collections since the time from that freed more, or not more, than half of what the window rose by. */
static unsigned full_since(const struct window *w, int64_t from, const int64_t *full, size_t nfull, bool freeing)
{
	const struct track *k = w->k;
	unsigned n = 0;
	size_t i;

	for (i = k->n - 1; nfull && i > 0 && time_of(k, i) > from; i--)
		if ((value(k, i - 1) - value(k, i) > 0.5 * w->rise) == freeing)
			n += full_between(full, nfull, max_time(from, time_of(k, i - 1)), time_of(k, i));
	return n;
}

/* Verdict. */

static void describe(const struct window *w, size_t start, const int64_t *full, size_t nfull, struct gcs_verdict *v)
{
	const struct gcs_point *first = &w->k->p[start], *last = &w->k->p[w->k->n - 1];
	double span_s = (double)(last->t_ns - first->t_ns) / 1e9;
	double block_s = (double)w->span_ns / 1e9 / w->blocks;
	struct track other = { w->k->p, w->k->n, !w->k->bytes };
	double floors[MAX_BLOCKS], rate, other_rate;
	unsigned b;

	/* From block to block: the first and the last minimum are that far apart. */
	block_floors(&other, w->start, other.n, w->blocks, floors);
	rate = (w->floor[w->blocks - 1] - w->floor[0]) / (block_s * (w->blocks - 1));
	other_rate = (floors[w->blocks - 1] - floors[0]) / (block_s * (w->blocks - 1));
	v->growth_per_s = w->k->bytes ? other_rate : rate;
	v->bytes_per_s = w->k->bytes ? rate : other_rate;
	v->samples = w->k->n - start;
	v->span_s = span_s;
	v->min_first = (uint64_t)w->floor[0];
	v->min_last = (uint64_t)w->floor[w->blocks - 1];
	v->blocks = w->blocks;
	v->rising = 1;
	for (b = 1; b < w->blocks; b++)
		v->rising += w->floor[b] > w->floor[b - 1];
	v->full_collections = full_between(full, nfull, first->t_ns, last->t_ns);
	v->by_bytes = w->k->bytes;
}

static enum gcs_confidence grade(const struct window *w, const struct gcs_verdict *v, const int64_t *full,
				 size_t nfull)
{
	int64_t end = end_of(w->k);
	bool survived = full_since(w, end - (int64_t)(v->span_s * 5e8), full, nfull, false);

	if (v->samples < GCS_SUSPECT_MIN)
		return GCS_NO_SUSPECT;
	if (v->samples < LIKELY_MIN || (!survived && full_since(w, INT64_MIN, full, nfull, true)))
		return GCS_WATCH;
	if (v->samples < CONFIRMED_MIN || !survived || w->k->bytes)
		return GCS_LIKELY;
	return GCS_CONFIRMED;
}

/* Judge the window that begins at start; true when it is evidence. */
static bool judge_window(const struct track *k, size_t start, const int64_t *full, size_t nfull, struct gcs_verdict *v)
{
	size_t points = k->n - start;
	enum gcs_confidence limit;
	struct window w;
	unsigned blocks;

	cut(&w, k, start, points < 24 ? (unsigned)points / 2 : MAX_BLOCKS);
	if (k->bytes && !is_count_still(&w))
		return false;
	limit = is_climb(&w) ? GCS_CONFIRMED : k->bytes ? are_steps_growing(&w) : GCS_NO_SUSPECT;
	if (limit != GCS_NO_SUSPECT) {
		describe(&w, rise_start(&w), full, nfull, v);
		v->confidence = grade(&w, v, full, nfull);
		if (v->confidence > limit)
			v->confidence = limit;
		return v->confidence != GCS_NO_SUSPECT;
	}
	/* The more blocks, the better the statistic; the fewer, the longer the teeth that one block spans. */
	for (blocks = 8; blocks >= 4 && points >= 24; blocks--) {
		cut(&w, k, start, blocks);
		if (are_floors_rising(&w)) {
			describe(&w, start, full, nfull, v);
			v->confidence = grade(&w, v, full, nfull);
			return true;
		}
	}
	return false;
}

/* Judge the whole and ever shorter suffixes; the longest of those with the best grade counts. */
static void judge_track(const struct track *k, const int64_t *full, size_t nfull, struct gcs_verdict *best)
{
	int64_t span = end_of(k) - time_of(k, 0);
	struct gcs_verdict v;
	size_t start = 0, before;

	while (k->n - start >= GCS_SUSPECT_MIN) {
		memset(&v, 0, sizeof(v));
		if (judge_window(k, start, full, nfull, &v) && v.confidence > best->confidence)
			*best = v;
		before = start;
		span = k->n - start > 128 ? span / 4 * 3 : span / 8 * 7;
		while (start < k->n && (start == before || time_of(k, start) < end_of(k) - span))
			start++;
	}
}

void gcs_suspect_judge(const struct gcs_point *p, size_t n, const int64_t *full_ns, size_t nfull,
		       struct gcs_verdict *out)
{
	struct track counts = { p, n, false }, bytes = { p, n, true };

	memset(out, 0, sizeof(*out));
	if (n < GCS_SUSPECT_MIN || p[n - 1].t_ns <= p[0].t_ns)
		return;
	judge_track(&counts, full_ns, nfull, out);
	if (out->confidence == GCS_NO_SUSPECT)
		judge_track(&bytes, full_ns, nfull, out);
}

const char *gcs_confidence_name(enum gcs_confidence c)
{
	static const char *const names[] = { "none", "watch", "likely", "confirmed" };

	return names[c];
}

void gcs_suspect_fingerprint(const char *type, char out[17])
{
	uint64_t h = 14695981039346656037ull; /* FNV-1a, 64 bits */
	int i;

	for (; *type; type++)
		h = (h ^ (uint8_t)*type) * 1099511628211ull;
	for (i = 0; i < 16; i++)
		out[i] = "0123456789abcdef"[h >> (60 - 4 * i) & 15];
	out[16] = '\0';
}
