/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as people read them: three digits and a unit. The digits are made here, since printf's decimal
 * point obeys the locale of the host. Each function writes at most GCS_UNIT_MAX bytes and returns out; NaN
 * and infinities become "-". Halves are rounded away from zero. Pure: libc only, without libm.
 */
#ifndef GCS_UNIT_H
#define GCS_UNIT_H

#define GCS_UNIT_MAX 32

char *gcs_unit_int(char *out, double n);                            /* 12345; at most 1e18 */
char *gcs_unit_count(char *out, double n);                          /* 900, 3.1k, 1.2M */
char *gcs_unit_bytes(char *out, double n, const char *sep);         /* 1.2 MiB with sep " " */
char *gcs_unit_ns(char *out, double ns, const char *sep);           /* 340 ms; from 2 minutes as a span */
char *gcs_unit_span(char *out, double seconds);                     /* 3m12s */
char *gcs_unit_rate(char *out, double per_s);                       /* +9.8/s, +0.012/s, 0/s */
char *gcs_unit_byte_rate(char *out, double per_s, const char *sep); /* +1.2 MiB/s */

#endif
