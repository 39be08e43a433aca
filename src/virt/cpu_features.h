/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/host_facts.h"

/*
 * A processor as the whole set of its features, by libvirt's names: "Nehalem" alone says little, and two hosts can only be compared
 * feature by feature. Sorted, so that sets can be looked up and subtracted.
 */

/** cpu_features_hold() - whether @name is among them. */
bool cpu_features_hold(const struct cpu_features *features, const char *name);

/** cpu_features_missing() - those of @wanted that are not in @there. */
struct cpu_features cpu_features_missing(const struct cpu_features *wanted, const struct cpu_features *there, struct arena *arena);

/**
 * virt_cpu_features() - every feature of @cpu, as libvirt's baseline expands it for domains of the type of @facts
 *
 * None for a processor that is not a custom one, and on the test driver. Return: 0, VIRT_E_UNREACHABLE, VIRT_E_FAILED.
 */
int virt_cpu_features(struct virt *virt, const struct host_facts *facts, const struct virt_cpu *cpu, struct arena *arena,
                      struct cpu_features *ret_features, struct virt_error *reterr);
