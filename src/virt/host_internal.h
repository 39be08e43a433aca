/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/host_facts.h"

/** host_firmware_read() - what the firmware descriptors of a folder offer, into @facts; a missing folder offers nothing. */
void host_firmware_read(const char *folder, struct host_facts *facts);

/** host_capabilities_parse() - CPU models, machine type and limits from libvirt's domain capabilities XML; 0 or VIRT_E_FAILED. */
int host_capabilities_parse(const char *xml, struct host_facts *facts, struct virt_error *reterr);

/** host_cgroup_version() - from the text of /proc/self/mounts: where the cpu controller is. */
unsigned host_cgroup_version(const char *mounts);
