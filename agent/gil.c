/* SPDX-License-Identifier: Apache-2.0 */
#include "gil.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "api.h"
#include "layout.h"

/* A turn of waiting for a hold to end: a census with the world stopped is a long one. */
#define HOLD_OFF_NS (py.free_threaded ? 2000000000ll : 20000000ll)

#define STATE_WORDS 26 /* of a thread state, 3.8 to 3.11: thread_id is among them */

struct gcs_gil_stats gcs_gil;

static int gil_state;
static void *plain_malloc; /* of the raw domain, when we attached */
static int64_t began_ns, began_cpu_ns;
static uint64_t stopped_ns; /* of this hold */
/* Where our thread is, or waits to be, that a fork must not join it in; seq_cst: a Dekker pair with held_off. */
static enum place { AWAY, AT_LOADER, AT_GIL } place;
static int held_off;  /* how many are under way that it must be left alone in: forks; seq_cst */

void gcs_gil_init(double budget_percent)
{
	memset(&gcs_gil, 0, sizeof(gcs_gil));
	gcs_budget_init(&gcs_gil.budget, budget_percent, gcs_now_ns());
	gcs_budget_init(&gcs_gil.charges, budget_percent / 2, gcs_now_ns());
}

static enum place place_now(void)
{
	return __atomic_load_n(&place, __ATOMIC_SEQ_CST);
}

static void go(enum place to)
{
	__atomic_store_n(&place, to, __ATOMIC_SEQ_CST);
}

/* False: held off. */
static bool may_go(enum place to)
{
	go(to);
	if (!gcs_gil_held_off())
		return true;
	go(AWAY);
	return false;
}

bool gcs_gil_enter_loader(void)
{
	return may_go(AT_LOADER);
}

void gcs_gil_leave_loader(void)
{
	go(AWAY);
}

void gcs_gil_forget(void)
{
	go(AWAY);
	__atomic_store_n(&held_off, 0, __ATOMIC_SEQ_CST);
}

/*
 * Before 3.12.9 and 3.13.2 tracemalloc's hook of the raw allocator waits for the GIL, and when tracing is
 * stopped meanwhile, writes into what was freed (cpython#128679). Making a thread state allocates raw memory
 * without the GIL: so there is no hold while a hook is on that was not there when we attached.
 */
bool gcs_gil_paused(void)
{
	struct gcs_allocator raw;

	if (py.minor >= 14 || (py.minor == 13 && py.micro >= 2) || (py.minor == 12 && py.micro >= 9))
		return false;
	py.PyMem_GetAllocator(GCS_RAW_DOMAIN, &raw);
	return plain_malloc && raw.malloc != plain_malloc;
}

void gcs_gil_note_allocator(void)
{
	struct gcs_allocator raw;

	py.PyMem_GetAllocator(GCS_RAW_DOMAIN, &raw);
	plain_malloc = raw.malloc;
}

static void put_off_immortality(int by)
{
	if (gcs_layout.immortalize)
		__atomic_add_fetch(gcs_layout.immortalize, by, __ATOMIC_SEQ_CST);
}

int gcs_gil_ensure(void)
{
	int state;

	put_off_immortality(-2);
	state = py.PyGILState_Ensure();
	put_off_immortality(2);
	return state;
}

bool gcs_gil_take(void)
{
	if (gcs_api_finalizing() || gcs_gil_paused() || !may_go(AT_GIL))
		return false;
	gil_state = gcs_gil_ensure();
	began_ns = gcs_now_ns();
	began_cpu_ns = gcs_thread_cpu_ns();
	stopped_ns = 0;
	return true;
}

void gcs_gil_drop(void)
{
	uint64_t cpu = (uint64_t)(gcs_thread_cpu_ns() - began_cpu_ns);
	int64_t now = gcs_now_ns();
	uint64_t held = (uint64_t)(now - began_ns);

	if (py.free_threaded)
		held = cpu > stopped_ns ? cpu : stopped_ns;
	py.PyGILState_Release(gil_state);
	go(AWAY);
	gcs_gil.last_ns = held;
	gcs_gil.last_cpu_ns = cpu;
	gcs_gil.held_ns += held;
	gcs_gil.cpu_ns += cpu;
	if (cpu > gcs_gil.max_cpu_ns)
		gcs_gil.max_cpu_ns = cpu;
	gcs_hist_add_hot(&gcs_gil.hold, held);
	gcs_budget_spend(&gcs_gil.budget, now, (int64_t)held);
}

void gcs_gil_stopped_world(uint64_t ns)
{
	stopped_ns += ns;
}

void gcs_gil_charge(uint64_t ns)
{
	int64_t now = gcs_now_ns();

	gcs_gil.held_ns += ns;
	gcs_gil.cpu_ns += ns;
	gcs_budget_spend(&gcs_gil.budget, now, gcs_budget_take(&gcs_gil.charges, now, (int64_t)ns));
}

static void wait_until_outside(int turns)
{
	struct timespec pause = {0, 50000};
	int64_t until = gcs_now_ns() + turns * HOLD_OFF_NS;

	while (gcs_gil_inside() && gcs_now_ns() < until)
		nanosleep(&pause, NULL);
}

/* From 3.12 on the calling thread's, and before the process's; NULL: none. */
static void *current_state(void)
{
	if (py.PyThreadState_GetUnchecked)
		return py.PyThreadState_GetUnchecked();
	return py._PyThreadState_UncheckedGet ? py._PyThreadState_UncheckedGet() : NULL;
}

/*
 * Not by PyGILState_Check(), which says yes to everybody once there has been another interpreter: to let go of
 * what somebody else has is fatal.
 */
bool gcs_gil_is_callers(void)
{
	void *state = current_state();

	return state && (py.minor >= 12 || state == py.PyGILState_GetThisThreadState());
}

/*
 * Before 3.12, of a state that is not the one by which this thread is known (another interpreter's): made by this
 * thread, though another may run it.
 */
static bool was_made_here(const uintptr_t *state)
{
	for (int i = 0; i < STATE_WORDS; i++)
		if (state[i] == (uintptr_t)pthread_self())
			return true;
	return false;
}

static void let_go_until_outside(int turns)
{
	void *ts = py.PyEval_SaveThread();

	wait_until_outside(turns);
	py.PyEval_RestoreThread(ts);
}

/*
 * When the forking thread has the GIL, ours may be waiting for it and have asked it to drop it: the child
 * would drop it too and wait for ever for ours to take it. So it is dropped here, for a moment. Where it cannot be told
 * whose it is, somebody else would have dropped it in all that time. The loader's lock may be the caller's own, who
 * forks in a library's constructor: the API may not be loaded yet then.
 */
void gcs_gil_hold_off(int turns)
{
	void *state;

	__atomic_add_fetch(&held_off, 1, __ATOMIC_SEQ_CST);
	if (place_now() == AT_LOADER)
		wait_until_outside(1);
	if (place_now() != AT_GIL)
		return;
	if (gcs_gil_is_callers()) {
		let_go_until_outside(turns);
		return;
	}
	state = current_state();
	wait_until_outside(turns);
	if (py.minor >= 12 || !state || !was_made_here(state))
		return;
	for (; turns < GCS_GIL_PATIENCE && gcs_gil_inside() && current_state() == state; turns++)
		wait_until_outside(1);
	if (gcs_gil_inside() && current_state() == state)
		let_go_until_outside(turns);
}

bool gcs_gil_inside(void)
{
	return place_now() != AWAY;
}

bool gcs_gil_held_off(void)
{
	return __atomic_load_n(&held_off, __ATOMIC_SEQ_CST);
}

void gcs_gil_allow(void)
{
	int n = __atomic_load_n(&held_off, __ATOMIC_SEQ_CST);

	while (n > 0 && !__atomic_compare_exchange_n(&held_off, &n, n - 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}
