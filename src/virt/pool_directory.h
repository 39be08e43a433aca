/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/virt.h"

/* Pools of type Directory: a folder of the host, its volumes are files. What is done with them stands in pool_driver.h. */

/**
 * pool_directory_check_path() - whether @path may be a pool: the words and reason of a refusal without touching anything
 *
 * Refused: relative or not normalised, "/", the system's own folders and what lies directly in their reach (/etc, /usr, /boot,
 * /dev, /proc, /sys, /run, /root, /bin, /lib…), a symbolic link in any component, not a folder, missing (unless @create and its
 * parent exists). Reasons: PoolPathForbidden, PoolPathMissing. Return: 0, VIRT_E_INVALID, VIRT_E_MISSING.
 */
int pool_directory_check_path(const char *path, bool create, struct virt_error *reterr);
