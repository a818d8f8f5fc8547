/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the library begins, in whatever process it was preloaded into. Most of these hold no Python
 * (LD_PRELOAD is inherited by every child): there the constructor looks up two symbols and is done.
 *
 * With a CPython it registers the built-in module, which must be done before the interpreter starts, and
 * begins the agent's thread, which waits for the interpreter and attaches (attach.c).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "api.h"
#include "attach.h"
#include "disabled.h"
#include "events.h"
#include "fork.h"
#include "logfile.h"
#include "mem.h"
#include "pymodule.h"
#include "runtime.h"
#include "server.h"
#include "thread.h"

/* What `nm -D` and a debugger may look for; nothing else is exported but namespace.c's two functions. */
__attribute__((visibility("default"))) extern const char gcscope_agent_version[];
const char gcscope_agent_version[] = GCS_VERSION;

static const char *setting(const char *name)
{
	return getenv(name);
}

static int read_settings(void)
{
	gcs_config_read(&gcs_config, setting);
	gcs_log_begin();
	gcs_server_settings(getenv("GCSCOPE_SOCKET_DIR"), getenv("XDG_RUNTIME_DIR"));
	if (gcs_config.sites_bytes != GCS_SITES_OFF)
		gcs_disable("sites", "this version does not sample allocations");
	return gcs_mem_init(gcs_config.memory_bytes);
}

/* No agent at all in this process: the log alone can tell why. */
static void give_up(const char *what, int rc)
{
	gcs_disable("agent", "%s: %s", what, strerrordesc_np(-rc));
	gcs_log_keep_stderr();
	gcs_events_introduce();
	gcs_log_close();
}

static void start_thread(void)
{
	int rc = gcs_thread_start();

	if (rc)
		give_up("no thread", rc);
}

static void begin_with_python(void)
{
	int rc = gcs_attach_load(RTLD_DEFAULT) ? 1 : read_settings();

	if (rc < 0)
		give_up("no memory of its own", rc);
	if (rc)
		return;
	gcs_fork_watch();
	if (!py.Py_IsInitialized())
		gcs_pymodule_register();
	start_thread();
}

/* GCSCOPE_WAIT: the thread looks for a CPython until one is there (attach.c). */
static void begin_without_python(void)
{
	int rc = read_settings();

	if (rc) {
		give_up("no memory of its own", rc);
		return;
	}
	gcs_fork_watch();
	start_thread();
}

static bool is_one(const char *name)
{
	const char *value = getenv(name);

	return value && !strcmp(value, "1");
}

__attribute__((constructor)) static void on_load(void)
{
	if (getauxval(AT_SECURE) || is_one("GCSCOPE_DISABLE"))
		return;
	if (gcs_api_present())
		begin_with_python();
	else if (is_one("GCSCOPE_WAIT"))
		begin_without_python();
}
