/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many interpreters there are in this process. The main one is measured: its collector's lists, its
 * gc.callbacks. The others, each with a collector of its own from 3.9 on, are counted.
 *
 * The list of interpreters belongs to CPython's runtime lock, which nobody else can take: one with a GIL of its own
 * may end while we look. So where PyInterpreterState_Next() reads is learnt at attach, on memory of our own, and
 * the list is then followed with gcs_peek(), which finds out when there is nothing any more.
 */
#ifndef GCS_INTERPRETERS_H
#define GCS_INTERPRETERS_H

/* At attach. NULL, or the reason why they are not counted. */
const char *gcs_interpreters_probe(void);
/* The main one included; 0 when it is not known. Without the GIL. */
unsigned gcs_interpreters_count(void);

#endif
