/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks, in nanoseconds. Any thread, any context. */
#ifndef GCS_CLOCK_H
#define GCS_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t gcs_clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static inline int64_t gcs_now_ns(void)
{
	return gcs_clock_ns(CLOCK_MONOTONIC);
}

static inline int64_t gcs_realtime_ns(void)
{
	return gcs_clock_ns(CLOCK_REALTIME);
}

/* CPU time of the calling thread: a system call, unlike the others. */
static inline int64_t gcs_thread_cpu_ns(void)
{
	return gcs_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static inline double gcs_seconds(int64_t ns)
{
	return (double)ns / 1e9;
}

#endif
