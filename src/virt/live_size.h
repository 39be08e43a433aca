/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/domain_xml.h"
#include "virt/virt.h"

/*
 * A running domain of ours grows, in what runs and in its definition alike. What is there already is left alone, so that a call
 * that was cut off is simply made again; only memory is ever asked back. Outcomes are those of domains.h: VIRT_E_STATE when the
 * domain does not run (any more), VIRT_E_INVALID when it has no room, VIRT_E_FAILED when QEMU refused.
 */

/** virt_live_vcpus() - at least @vcpus processors. */
int virt_live_vcpus(struct virt *virt, const char *uuid, unsigned vcpus, struct virt_error *reterr);

/** virt_live_memory() - at least @memory_mib of memory: what is missing comes as one module. */
int virt_live_memory(struct virt *virt, const char *uuid, uint64_t memory_mib, struct virt_error *reterr);

/**
 * virt_live_balloon() - the guest is asked to make do with @mib of the memory that the domain has; all of it: it may have it back
 *
 * 0 says that it was asked: what it holds is told by the domain (struct virt_domain.balloon_mib). It may not listen.
 */
int virt_live_balloon(struct virt *virt, const char *uuid, uint64_t mib, struct virt_error *reterr);
