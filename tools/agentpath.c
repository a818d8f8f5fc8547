/* SPDX-License-Identifier: Apache-2.0 */
#include "agentpath.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "xalloc.h"


/* The directory of this program, or NULL. */
static char *own_dir(void)
{
	char exe[4096], *slash;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (n <= 0)
		return NULL;
	exe[n] = '\0';
	slash = strrchr(exe, '/');
	if (!slash)
		return NULL;
	*slash = '\0';
	return xstrdup(exe);
}

char *gcs_agent_path(void)
{
	char *dir = own_dir(), *path;

	if (dir) {
		path = xasprintf("%s/%s", dir, GCS_AGENT_FILE);
		free(dir);
		if (access(path, F_OK) == 0)
			return path;
		free(path);
	}
	return xasprintf("%s/%s", PKGLIBDIR, GCS_AGENT_FILE);
}
