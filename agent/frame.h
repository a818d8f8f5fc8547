/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which Python line runs now, without asking for a frame object: from 3.11 on PyEval_GetFrame() would
 * make one, that is allocate in the target's heap, count towards its next collection and slow the
 * function's return. So the interpreter's own frames are read in place.
 *
 * Where their members stand differs between versions and patch releases, and is found by looking: a
 * probe, called from a line of Python that we compiled ourselves, knows the code object it runs under and
 * searches the thread state and the frame for it, every foreign word read with gcs_peek(). What was found
 * must give the probe's own line, else this is off.
 */
#ifndef GCS_FRAME_H
#define GCS_FRAME_H

#include <stdbool.h>
#include <stddef.h>

/* With the GIL, once, at attach, after gcs_layout_probe_gil(). */
void gcs_frame_probe_gil(void);

/*
 * "file:line" of the running Python frame of this thread; a long file keeps its end. False, and "", when there is
 * none, the feature is off, or such lookups would take too much of the time. Context: GIL held, inside a gc callback; takes no lock, makes no object.
 */
bool gcs_frame_here_hot(char *out, size_t size);

#endif
