/* SPDX-License-Identifier: Apache-2.0 */
/* Where libgcscope.so is: next to this program in a build tree, else where it was installed. */
#ifndef GCS_AGENTPATH_H
#define GCS_AGENTPATH_H

#define GCS_AGENT_FILE "libgcscope.so"

/* In memory to be freed; the file need not exist. */
char *gcs_agent_path(void);

#endif
