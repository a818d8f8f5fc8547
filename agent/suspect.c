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
#define NOVEL_FLOORS 3.0 /* the same of floors, which lie below the peaks */

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
	double pace;               /* largest step up to the next census, that in a long gap taken as even */
	double usual_jump;         /* largest step up but one: where coarse history ends there is a false one */
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

/* Minima of equal stretches of time, of the points first..end. An empty stretch is as the one before. */
static void block_floors(const struct track *k, size_t first, size_t end, unsigned blocks, double *out)
{
	int64_t from = time_of(k, first), span = time_of(k, end - 1) - from + 1;
	size_t i = first;
	double low = value(k, first);
	int64_t edge;
	unsigned b;

	for (b = 0; b < blocks; b++) {
		edge = from + (int64_t)((double)span * (b + 1) / blocks);
		if (i < end && (time_of(k, i) < edge || b + 1 == blocks))
			low = value(k, i);
		for (; i < end && (time_of(k, i) < edge || b + 1 == blocks); i++)
			low = min(low, value(k, i));
		out[b] = low;
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

	w->k = k;
	w->start = start;
	w->blocks = blocks;
	w->span_ns = end_of(k) - time_of(k, start);
	block_floors(k, start, k->n, blocks, w->floor);
	low = w->floor[blocks - 1]; /* NOLINT(clang-analyzer-core.uninitialized.Assign): block_floors() set it */
	for (b = blocks; b-- > 0;) {
		low = min(low, w->floor[b]);
		w->future[b] = low;
	}
	w->newest = floor_since(k, end_of(k) - w->span_ns / 12 + 1);
	w->rise = w->newest - w->future[0];
}

/* What does not depend on the blocks, and is not needed of a window that is rejected at first sight. */
static void measure(struct window *w)
{
	const struct track *k = w->k;
	double usual = (double)w->span_ns / (double)(k->n - w->start - 1), step, gap, largest = 0;
	size_t i;

	w->fall = fall_within(k, w->start, k->n);
	w->usual_jump = w->pace = w->way = 0;
	for (i = w->start + 1; i < k->n; i++) {
		step = value(k, i) - value(k, i - 1);
		gap = (double)(time_of(k, i) - time_of(k, i - 1));
		w->usual_jump = max(w->usual_jump, min(step, largest));
		largest = max(largest, step);
		w->pace = max(w->pace, gap > usual ? step * usual / gap : step);
		w->way += step < 0 ? -step : step;
	}
}

/* What came before. */

/*
 * Is the window's rise well above the highest that came before it, both measured from the trough between?
 * Before is seen as the floors of stretches of a length: what was higher for a shorter time does not count.
 */
static bool is_above_earlier(const struct window *w, int64_t length, double times)
{
	const struct track *k = w->k;
	double trough = w->future[0], floor;
	size_t i = w->start;
	int64_t edge;

	/* Backwards: the trough is the lowest so far. Part of a stretch has no comparable floor. */
	while (i > 0) {
		edge = time_of(k, i) - length;
		if (edge < time_of(k, 0))
			break;
		floor = value(k, --i);
		for (; i > 0 && time_of(k, i - 1) >= edge; i--)
			floor = min(floor, value(k, i - 1));
		trough = min(trough, floor);
		if (w->newest - trough < times * (floor - trough))
			return false;
	}
	return true;
}

/*
 * Above all there was; or, so that a burst at start-up does not hide a leak for hours, above all that
 * lasted for a sixteenth of the window.
 */
static bool is_novel(const struct window *w)
{
	return is_above_earlier(w, 0, NOVEL) || is_above_earlier(w, w->span_ns / 16, NOVEL_FLOORS);
}

/* Growth per nanosecond of first..end without the two largest steps of eight: start-up is a step. */
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

/* How long the lasting rise has paused. What is smaller than the noise ends no pause. */
struct pauses {
	int64_t now;     /* the pause that goes on, from the newest rise */
	int64_t longest; /* of those that are over */
	int64_t resumed; /* of those after which it rose by a good deal again, not by a last bit */
};

static void find_pauses(const struct window *w, struct pauses *out)
{
	const struct track *k = w->k;
	double step = max(0.08 * w->rise, 1.25 * w->pace), low = value(k, k->n - 1), level = low;
	int64_t last = end_of(k), pause;
	unsigned rises = 0;
	size_t i;

	memset(out, 0, sizeof(*out));
	for (i = k->n - 1; i-- > w->start;) {
		low = min(low, value(k, i));
		if (low > level - step)
			continue;
		pause = last - time_of(k, i + 1);
		if (!rises)
			out->now = pause;
		else
			out->longest = max_time(out->longest, pause);
		if (rises >= 3)
			out->resumed = max_time(out->resumed, pause);
		rises++;
		level = low;
		last = time_of(k, i + 1);
	}
}

/*
 * Does the rise reach up to now, or has it paused no longer than before? An eighth of the rise in the last
 * quarter of the time: half of what is even, so that a load that ended a moment ago hides nothing.
 */
static bool is_still_rising(const struct window *w, const struct pauses *p)
{
	double quarter = w->newest - floor_since(w->k, end_of(w->k) - w->span_ns / 4);

	if (quarter >= 0.12 * w->rise && quarter >= w->pace && quarter > w->fall)
		return true;
	return p->now <= p->resumed + p->resumed / 5;
}

static unsigned rising_blocks(const struct window *w, double *largest)
{
	unsigned b, rising = 0;
	double step;

	*largest = 0;
	for (b = 1; b < w->blocks; b++) {
		step = w->future[b] - w->future[b - 1];
		*largest = max(*largest, step);
		rising += step >= max(0.03 * w->rise, 0.5 * w->pace) && step > 0;
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
	struct pauses p;

	if (w->rise < 5 * w->pace)
		return false;
	for (b = 0; b < w->blocks; b++)
		given_back = max(given_back, w->floor[b] - w->future[b]);
	if (given_back > 0.15 * w->rise || w->fall > 0.5 * w->rise)
		return false;
	if (rising < (needed < 3 ? 3 : needed) || largest > 0.45 * w->rise)
		return false;
	/* Mostly one pause: two steps. */
	find_pauses(w, &p);
	if ((double)p.longest > 0.45 * (double)(end_of(w->k) - time_of(w->k, rise_start(w))))
		return false;
	return is_straight(w) && is_still_rising(w, &p) && is_novel(w) && !is_slowing(w);
}

/*
 * Least (sum of steps)^2 / (steps * sum of squares) for 3 to 7 steps. The steps of a random walk have a t
 * statistic: without teeth one-sided p is 0.0002; between teeth, where troughs differ by the moment at which
 * they were seen and few steps are all there are, 0.005.
 */
static double evenness_needed(unsigned steps, bool teeth)
{
	static const double between_teeth[] = {0.98, 0.92, 0.86, 0.84, 0.83};
	static const double alone[] = {2, 2, 2, 0.92, 0.89}; /* 2: out of reach */

	return (teeth ? between_teeth : alone)[steps - 3]; /* NOLINT(clang-analyzer-core.uninitialized.UndefReturn) */
}

static bool are_floors_rising(const struct window *w)
{
	double sum = 0, squares = 0, step, rise = w->floor[w->blocks - 1] - w->floor[0];
	unsigned b, steps = w->blocks - 1;
	struct pauses p;
	bool teeth;

	if (rise < least_allowed(w->k) || rise < 1.25 * w->usual_jump)
		return false;
	for (b = 1; b < w->blocks; b++) {
		step = w->floor[b] - w->floor[b - 1];
		if (step < 0.3 * rise / steps)
			return false;
		sum += step;
		squares += step * step;
	}
	/* Large falls must go on, or they are no teeth but something that came to an end. */
	teeth = fall_within(w->k, w->start + (w->k->n - w->start) / 2, w->k->n) > 0.75 * rise;
	if ((!teeth && w->fall > 0.75 * rise) || sum * sum < evenness_needed(steps, teeth) * steps * squares)
		return false;
	/* Without teeth in it the end, and what came before, are seen more closely than by whole blocks. */
	find_pauses(w, &p);
	if (w->fall < 0.15 * rise && !is_still_rising(w, &p))
		return false;
	return (teeth ? is_above_earlier(w, w->span_ns / w->blocks, NOVEL) : is_novel(w)) && !is_slowing(w);
}

/*
 * One container that grows by a factor, each step about as long in coming as all before: at least three
 * steps, spread over the window. Likely while the last is in the newest third, a watch while in the newest half.
 */
static enum gcs_confidence are_steps_growing(const struct window *w)
{
	const struct track *k = w->k;
	double step = 0.02 * w->rise, low = value(k, k->n - 1), level = low;
	int64_t first = 0, last = 0, since;
	unsigned steps = 0;
	size_t i;

	if (w->k->n - w->start < LIKELY_MIN || w->fall > 0.15 * w->rise)
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
	if (steps < 3 || last - first < w->span_ns / 3 || since > w->span_ns / 2 || !is_novel(w))
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

/* Full collections since `from` that freed more, or no more, than half of what the window rose by. */
static unsigned full_since(const struct window *w, int64_t from, const int64_t *full, size_t nfull,
			   bool freeing)
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

/* The time of the first point of the last block, where its floor is when the count only rises. */
static int64_t last_block_time(const struct window *w)
{
	int64_t edge =
		time_of(w->k, w->start) + (int64_t)((double)(w->span_ns + 1) * (w->blocks - 1) / w->blocks);
	size_t i = w->start;

	while (i < w->k->n - 1 && time_of(w->k, i) < edge)
		i++;
	return time_of(w->k, i);
}

static void describe(const struct window *w, const int64_t *full, size_t nfull, struct gcs_verdict *v)
{
	const struct track *k = w->k;
	struct track other = {k->p, k->n, !k->bytes};
	double seconds = (double)(last_block_time(w) - time_of(k, w->start)) / 1e9;
	double floors[MAX_BLOCKS], rate, other_rate;
	unsigned b, last = w->blocks - 1;

	block_floors(&other, w->start, other.n, w->blocks, floors);
	rate = (w->floor[last] - w->floor[0]) / seconds;
	other_rate = (floors[last] - floors[0]) / seconds;
	v->growth_per_s = k->bytes ? other_rate : rate;
	v->bytes_per_s = k->bytes ? rate : other_rate;
	v->samples = k->n - w->start;
	v->span_s = (double)w->span_ns / 1e9;
	v->min_first = (uint64_t)w->floor[0];
	v->min_last = (uint64_t)w->floor[last];
	v->blocks = w->blocks;
	v->rising = 1;
	for (b = 1; b < w->blocks; b++)
		v->rising += w->floor[b] > w->floor[b - 1];
	v->full_collections = full_between(full, nfull, time_of(k, w->start), end_of(k));
	v->by_bytes = k->bytes;
}

static enum gcs_confidence grade(const struct window *w, struct gcs_verdict *v, const int64_t *full, size_t nfull)
{
	int64_t end = end_of(w->k);

	v->survived = full_since(w, end - (int64_t)(v->span_s * 5e8), full, nfull, false) > 0;
	if (v->samples < GCS_SUSPECT_MIN)
		return GCS_NO_SUSPECT;
	if (v->samples < LIKELY_MIN || (!v->survived && full_since(w, INT64_MIN, full, nfull, true)))
		return GCS_WATCH;
	if (v->samples < CONFIRMED_MIN || !v->survived || w->k->bytes)
		return GCS_LIKELY;
	return GCS_CONFIRMED;
}

/* What a climb is worth: the part of the window in which it rises, in fewer blocks. */
static void accept_climb(struct window *w, enum gcs_confidence limit, const int64_t *full, size_t nfull,
			 struct gcs_verdict *v)
{
	size_t start = rise_start(w), points = w->k->n - start;

	if (points < GCS_SUSPECT_MIN)
		return;
	cut(w, w->k, start, points < 16 ? (unsigned)points / 2 : 8);
	describe(w, full, nfull, v);
	v->confidence = grade(w, v, full, nfull);
	if (v->confidence > limit)
		v->confidence = limit;
}

/* Judge the window that begins at start. */
static void judge_window(const struct track *k, size_t start, const int64_t *full, size_t nfull,
			 struct gcs_verdict *v)
{
	size_t points = k->n - start;
	enum gcs_confidence limit;
	struct window w;
	unsigned blocks;

	cut(&w, k, start, points < 24 ? (unsigned)points / 2 : MAX_BLOCKS);
	if (w.rise < least_allowed(k) || (k->bytes && !is_count_still(&w)))
		return;
	measure(&w);
	limit = is_climb(&w) ? GCS_CONFIRMED : k->bytes ? are_steps_growing(&w) : GCS_NO_SUSPECT;
	if (limit != GCS_NO_SUSPECT) {
		accept_climb(&w, limit, full, nfull, v);
		return;
	}
	/* No longer block at the end has a higher floor: most windows end here. */
	if (points < 24 || w.floor[w.blocks - 1] - w.future[0] < 1.25 * w.usual_jump)
		return;
	/* The more blocks, the better the statistic; the fewer, the longer the teeth that one block spans. */
	for (blocks = 8; blocks >= 4; blocks--) {
		cut(&w, k, start, blocks);
		if (!are_floors_rising(&w))
			continue;
		describe(&w, full, nfull, v);
		v->confidence = grade(&w, v, full, nfull);
		return;
	}
}

/* Judge the whole and ever shorter suffixes; the longest with the best grade counts. */
static void judge_track(const struct track *k, const int64_t *full, size_t nfull, struct gcs_verdict *best)
{
	int64_t span = end_of(k) - time_of(k, 0);
	struct gcs_verdict v;
	size_t start = 0, before;

	/* A shorter window has no better evidence than a longer one that was believed. */
	while (best->confidence < GCS_LIKELY && k->n - start >= GCS_SUSPECT_MIN) {
		memset(&v, 0, sizeof(v));
		judge_window(k, start, full, nfull, &v);
		if (v.confidence > best->confidence)
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
	struct track counts = {p, n, false}, bytes = {p, n, true};

	memset(out, 0, sizeof(*out));
	if (n < GCS_SUSPECT_MIN || p[n - 1].t_ns <= p[0].t_ns)
		return;
	judge_track(&counts, full_ns, nfull, out);
	if (out->confidence == GCS_NO_SUSPECT)
		judge_track(&bytes, full_ns, nfull, out);
}

const char *gcs_confidence_name(enum gcs_confidence c)
{
	static const char *const names[] = {"none", "watch", "likely", "confirmed"};

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
