/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Built-in modules, got without the import system: the main thread may stand still in the middle of an import
 * while we attach, with the import lock taken, and waiting for it would be waiting for ever.
 */
#ifndef GCS_BUILTIN_H
#define GCS_BUILTIN_H

#include <stdbool.h>

#include "api.h"

/*
 * A new reference to the module: the one in sys.modules, else one made anew (it shares its state with every
 * other). It is left in sys.modules, where the application may look, only if it was there or keep is set.
 * NULL when there is none. With the GIL.
 */
PyObject *gcs_builtin_module_gil(const char *name, bool keep);

#endif
