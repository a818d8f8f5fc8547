/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The history of every type: one point (count, bytes) per census, kept at full resolution for the last
 * hour (or the last GCS_SERIES_FULL points, whichever is less), coarser to a day.
 *
 * A type that does not move costs next to nothing: a point is stored only when count or bytes changed
 * since the type's last point (reading fills the gaps in again from the table of census times). All of it
 * together stays below max_bytes: when that is reached, histories are dropped, those that moved least
 * recently first; how many is reported. Types themselves (names, ids, latest counts) are kept, in two thirds of
 * it at most; an id is stable for the life of the series.
 *
 * A census is put in with begin, put for every type found, end; a type not put has count 0.
 * Pure: knows neither Python nor clocks. Memory from mem.h. One thread.
 */
#ifndef GCS_SERIES_H
#define GCS_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GCS_SERIES_FULL 3600           /* points at full resolution at most */
#define GCS_SERIES_HOUR_NS 3600000000000ll
#define GCS_SERIES_DAY_NS (24 * GCS_SERIES_HOUR_NS)

struct gcs_point {
	int64_t t_ns; /* monotonic */
	uint64_t count;
	uint64_t bytes;
};

struct gcs_type_now {
	const char *name;
	uint64_t count;
	uint64_t bytes;
	uint64_t max_count; /* highest ever seen */
	int64_t first_ns;   /* first census that met the type */
};

struct gcs_series;

struct gcs_series *gcs_series_new(size_t max_bytes); /* NULL: no memory */
void gcs_series_free(struct gcs_series *s);

/*
 * The id of a name, made when new; -1 when there is no room (above). Ids count from 0 without gaps. Quick, since a census
 * asks with the GIL held: nothing is dropped for a name; the series is crowded, and to be asked again when it has
 * made room.
 */
int32_t gcs_series_intern(struct gcs_series *s, const char *name);
void gcs_series_make_room(struct gcs_series *s); /* nothing to do, mostly */
bool gcs_series_is_crowded(const struct gcs_series *s);
int32_t gcs_series_find(const struct gcs_series *s, const char *name); /* -1 when unknown */
size_t gcs_series_types(const struct gcs_series *s);
void gcs_series_now(const struct gcs_series *s, int32_t id, struct gcs_type_now *out);

void gcs_series_begin(struct gcs_series *s, int64_t t_ns);
void gcs_series_put(struct gcs_series *s, int32_t id, uint64_t count, uint64_t bytes); /* adds, when put twice */
void gcs_series_end(struct gcs_series *s);
size_t gcs_series_censuses(const struct gcs_series *s); /* ever ended */

/*
 * The history of a type, oldest first, one point per retained census since from_ns, gaps filled in (a
 * point before the type was first met has count 0; a type whose history was dropped starts where it was
 * taken up again). Returns the number written, at most max; when there are more, the newest max.
 */
size_t gcs_series_read(const struct gcs_series *s, int32_t id, int64_t from_ns, struct gcs_point *out, size_t max);
/* True when the count or bytes changed within the last n censuses: a cheap filter before reading. */
bool gcs_series_moved(const struct gcs_series *s, int32_t id, size_t n);

size_t gcs_series_bytes(const struct gcs_series *s);
size_t gcs_series_dropped(const struct gcs_series *s); /* histories dropped so far */

#endif
