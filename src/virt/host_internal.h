/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/host_facts.h"

#include <libvirt/libvirt.h>

/** host_firmware_read() - what the firmware descriptors of a folder offer, into @facts; a missing folder offers nothing. */
void host_firmware_read(const char *folder, struct host_facts *facts);

/** host_capabilities_parse() - CPU models, machine type and limits from libvirt's domain capabilities XML; 0 or VIRT_E_FAILED. */
int host_capabilities_parse(const char *xml, struct host_facts *facts, struct virt_error *reterr);

/** host_cgroup_version() - from the text of /proc/self/mounts: where the cpu controller is. */
unsigned host_cgroup_version(const char *mounts);

/** host_cpu_features_parse() - the required features of libvirt's <cpu> element; 0 or VIRT_E_FAILED. */
int host_cpu_features_parse(const char *xml, struct arena *arena, struct cpu_features *ret_features);
/** host_cpu_features() - see virt_cpu_features(). */
int host_cpu_features(virConnectPtr connection, const struct host_facts *facts, const struct virt_cpu *cpu, struct arena *arena,
                      struct cpu_features *ret_features, struct virt_error *reterr);
/** host_cpu_features_read() - what guests can have here, and what the models lack that they cannot; nothing when libvirt cannot
 * tell. */
void host_cpu_features_read(virConnectPtr connection, struct host_facts *facts);
