/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unshare() and setns(), in libc's place: into some namespaces the kernel lets only a process of one thread, so
 * ours ends for the moment of the call. In a process that has others it fails as ever.
 *
 * Like libc's own they make the system call, and look nothing up: a child of vfork() may call them.
 */
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fork.h"
#include "visit.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

/* What other threads stand in the way of. */
#define UNSHARE_ALONE (CLONE_NEWUSER | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)
#define SETNS_ALONE (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWTIME)

#define EXPORTED __attribute__((visibility("default")))

static int call(bool alone, long number, long a, long b)
{
	struct gcs_visit visit;
	bool aside;
	int rc;

	if (!alone)
		return (int)syscall(number, a, b);
	visit = gcs_visit_begin();
	aside = gcs_fork_step_aside();
	errno = visit.error;
	rc = (int)syscall(number, a, b);
	visit.error = errno;
	if (aside)
		gcs_fork_step_back();
	gcs_visit_end(visit);
	return rc;
}

EXPORTED int unshare(int flags)
{
	return call(flags & UNSHARE_ALONE, SYS_unshare, flags, 0);
}

/* Of no kind: whatever the descriptor is of. */
EXPORTED int setns(int fd, int kind)
{
	return call(!kind || (kind & SETNS_ALONE), SYS_setns, fd, kind);
}
