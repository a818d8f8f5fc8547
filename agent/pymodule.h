/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The module `gcscope` that a program under the agent can import: built in, so that nothing is on
 * sys.path and nothing in sys.modules until it is imported.
 */
#ifndef GCS_PYMODULE_H
#define GCS_PYMODULE_H

/* Before the interpreter starts. */
void gcs_pymodule_register(void);

#endif
