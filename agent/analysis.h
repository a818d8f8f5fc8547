/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a pile of garbage to named cycles.
 *
 * The objects that a collection found become the vertices of a graph whose edges their tp_traverse tells. An
 * instance and its own __dict__, a function and its tuple of closure cells, are one vertex each: so Foo.attr ->
 * Bar looks alike in every version. Edges to an object's own type are left out. Each strongly connected
 * component is a cycle; what hangs on it alone, and what no collector tracks but only it holds (a buffer),
 * is counted with it.
 *
 * Naming a cycle costs a look into its objects, so components are first told apart by a signature (type names,
 * shape), and only one of a signature is named; the others are counted with it.
 *
 * Context: inside the gc callback, with the GIL; memory: the scratch. Cost: linear in the garbage.
 */
#ifndef GCS_ANALYSIS_H
#define GCS_ANALYSIS_H

#include <stdbool.h>

#include "api.h"
#include "capture.h"
#include "cycletable.h"
#include "scratch.h"

/* Verifies what is needed of type slots; false (and cycles disabled) when it does not hold. */
bool gcs_analysis_probe_gil(void);

/* Analyses n objects of the list from `first` on; rows go to the table, the rest to the stats. */
void gcs_analyse_gil(PyObject *list, Py_ssize_t first, Py_ssize_t n, const char *where,
		     struct gcs_cycletable *table, struct gcs_scratch *scratch, struct gcs_capture_stats *stats);

#endif
