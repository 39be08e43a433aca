/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Control groups that libvirt makes for domains, and leaves behind when it is killed between the end of a guest and its own
 * tidying. */

#define GROUPS_ROOT  "/sys/fs/cgroup"
#define GROUPS_DEPTH 4

/** groups_domain() - the domain that a folder below GROUPS_ROOT is named after (g_free), or NULL when it is no domain's. */
char *groups_domain(const char *folder);
/** groups_remove_folder() - remove a group and those below it; the kernel keeps those with a process. 0 or -errno. */
int groups_remove_folder(const char *path, unsigned depth);
/** groups_remove() - remove the groups below @root of a domain that does not run; @domain is its whole name. Return: how many went.
 */
unsigned groups_remove(const char *root, const char *domain);
