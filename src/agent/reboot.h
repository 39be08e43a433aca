/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/job.h"

#define REBOOT_COMMAND "reboot" /* when the administrator named none */

/**
 * host_boot_id() - identity of the boot that the host is in, in @arena; NULL: it cannot be read
 *
 * That of the kernel. Where the first process began later than a kernel starts one, as in a container, its beginning is added.
 */
const char *host_boot_id(struct arena *arena);

/** converge_reboot() - a task of type Reboot: done when the host is in another boot than the one that it names. */
void converge_reboot(struct job *job, const struct api_host_task *task);
