/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An application's thread in code of ours that may wait. It is not cancelled there, since it would not be without us
 * (fork() is no cancellation point), and finds its errno again.
 */
#ifndef GCS_VISIT_H
#define GCS_VISIT_H

#include <errno.h>
#include <pthread.h>

struct gcs_visit {
	int error, cancel;
};

static inline struct gcs_visit gcs_visit_begin(void)
{
	struct gcs_visit v = {.error = errno};

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &v.cancel);
	return v;
}

static inline void gcs_visit_end(struct gcs_visit v)
{
	pthread_setcancelstate(v.cancel, NULL);
	errno = v.error;
}

#endif
