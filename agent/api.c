/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "api.h"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gcs_api py;

static bool is_python(void *handle)
{
	return dlsym(handle, "Py_IsInitialized") && dlsym(handle, "PyGILState_Ensure");
}

bool gcs_api_present(void)
{
	return is_python(RTLD_DEFAULT);
}

static int note_libpython(struct dl_phdr_info *info, size_t size, void *out)
{
	(void)size;
	if (!strstr(info->dlpi_name, "/libpython3"))
		return 0;
	snprintf(out, PATH_MAX, "%s", info->dlpi_name);
	return 1;
}

bool gcs_api_find(void **handle)
{
	char path[PATH_MAX];

	*handle = RTLD_DEFAULT;
	if (gcs_api_present())
		return true;
	if (!dl_iterate_phdr(note_libpython, path))
		return false;
	*handle = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
	return *handle && is_python(*handle);
}

/* "3.15.0a1+ free-threading build (main, ...)": numbers, the first word, and the build's kind. */
static void read_version(void)
{
	const char *v = py.Py_GetVersion();
	size_t n = strcspn(v, " +");

	if (n >= sizeof(py.version))
		n = sizeof(py.version) - 1;
	memcpy(py.version, v, n);
	py.version[n] = '\0';
	if (sscanf(v, "%d.%d.%d", &py.major, &py.minor, &py.micro) < 2)
		py.major = py.minor = 0;
	py.free_threaded = strstr(v, "free-threading") != NULL;
}

int gcs_api_load(void *handle, const char **missing)
{
	/* dlsym() gives an object pointer; POSIX promises that a function pointer fits it. */
#define X(name, type, args)                                                                        \
	*(void **)&py.name = dlsym(handle, #name);                                                 \
	if (!py.name) {                                                                            \
		*missing = #name;                                                                  \
		return -1;                                                                         \
	}
	GCS_API_NEED(X)
#undef X
#define X(name, type, args) *(void **)&py.name = dlsym(handle, #name);
	GCS_API_WANT(X)
#undef X
#define X(name)                                                                                    \
	py.name = dlsym(handle, #name);                                                            \
	if (!py.name) {                                                                            \
		*missing = #name;                                                                  \
		return -1;                                                                         \
	}
	GCS_API_DATA(X)
#undef X
	py._PyRuntime = dlsym(handle, "_PyRuntime");
	read_version();
	return 0;
}

bool gcs_api_finalizing(void)
{
	if (!py.Py_IsInitialized())
		return true; /* the end of it is over, too */
	if (py.Py_IsFinalizing)
		return py.Py_IsFinalizing();
	return py._Py_IsFinalizing && py._Py_IsFinalizing();
}
