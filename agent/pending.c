/* SPDX-License-Identifier: Apache-2.0 */
#include "pending.h"

#include "api.h"
#include "attach.h"
#include "fork.h"

/* What it does it does for all that was asked before it began. */
static int arrive(void *arg)
{
	struct gcs_pending *p = arg;

	__atomic_store_n(&p->queued, 0, __ATOMIC_SEQ_CST);
	return p->call(NULL);
}

/*
 * When Python goes down, 3.8 answers by an exception in whatever thread state is current, and dies where none is. It
 * begins that before the atexit handlers, and nothing tells.
 */
static bool is_dangerous(void)
{
	return py.minor == 8 && gcs_attached();
}

int gcs_pending_add(struct gcs_pending *p)
{
	unsigned now = gcs_fork_epoch() + 1;

	if (is_dangerous())
		return -1;
	if (__atomic_exchange_n(&p->queued, now, __ATOMIC_SEQ_CST) == now)
		return 0;
	if (!py.Py_AddPendingCall(arrive, p))
		return 0;
	__atomic_store_n(&p->queued, 0, __ATOMIC_SEQ_CST);
	return -1;
}
