/* SPDX-License-Identifier: Apache-2.0 */
/* See budget.h: a token bucket whose tokens are nanoseconds of GIL. */
#include "budget.h"

#define SECOND 1000000000ll
#define BURST_S 10
#define DEEPEST (-1000000 * SECOND) /* a debt that no arithmetic below can overflow */
/*
 * Filling is booked only in lumps of at least this, since each booking loses a fraction of a nanosecond:
 * a gc callback every few microseconds would otherwise get nothing.
 */
#define LUMP_NS 1000

static int64_t capacity(const struct gcs_budget *b)
{
	return (int64_t)(b->percent / 100 * (double)(BURST_S * SECOND));
}

/* What has flowed in since last_ns, not booked yet. */
static int64_t inflow(const struct gcs_budget *b, int64_t now_ns)
{
	int64_t room = capacity(b) - b->credit_ns;
	double gained;

	if (now_ns <= b->last_ns)
		return 0;
	gained = (double)(now_ns - b->last_ns) * (b->percent / 100);
	return gained < (double)room ? (int64_t)gained : room;
}

static void fill(struct gcs_budget *b, int64_t now_ns)
{
	int64_t gained = inflow(b, now_ns);

	if (gained < LUMP_NS && b->credit_ns + gained < capacity(b))
		return;
	b->credit_ns += gained;
	if (now_ns > b->last_ns)
		b->last_ns = now_ns;
}

void gcs_budget_init(struct gcs_budget *b, double percent, int64_t now_ns)
{
	b->percent = percent;
	b->credit_ns = capacity(b) / BURST_S;
	b->last_ns = now_ns;
}

void gcs_budget_spend(struct gcs_budget *b, int64_t now_ns, int64_t held_ns)
{
	fill(b, now_ns);
	if (held_ns <= 0)
		return;
	if (held_ns > b->credit_ns - DEEPEST)
		b->credit_ns = DEEPEST;
	else
		b->credit_ns -= held_ns;
}

int64_t gcs_budget_credit(struct gcs_budget *b, int64_t now_ns)
{
	fill(b, now_ns);
	return b->credit_ns + inflow(b, now_ns);
}

int64_t gcs_budget_take(struct gcs_budget *b, int64_t now_ns, int64_t wanted_ns)
{
	int64_t credit = gcs_budget_credit(b, now_ns), taken = wanted_ns < credit ? wanted_ns : credit;

	if (taken <= 0)
		return 0;
	gcs_budget_spend(b, now_ns, taken);
	return taken;
}

int64_t gcs_budget_wait(struct gcs_budget *b, int64_t now_ns, int ahead_s)
{
	double credit = (double)gcs_budget_credit(b, now_ns), wait;

	wait = -credit / (b->percent / 100) - (double)ahead_s * SECOND;
	if (wait <= 0)
		return 0;
	return wait < 9e18 ? (int64_t)wait + 1 : INT64_MAX;
}
