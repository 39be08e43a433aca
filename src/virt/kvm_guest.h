/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

/* The child's side of the KVM proof; kvm_guest_x86.c or kvm_guest_none.c, chosen by Meson. */

enum kvm_stage {
        KVM_STAGE_NONE, /* no proof for this processor */
        KVM_STAGE_OPEN,
        KVM_STAGE_VERSION,
        KVM_STAGE_CREATE, /* virtual machine, processor or memory */
        KVM_STAGE_REGISTERS,
        KVM_STAGE_RUN,    /* KVM_RUN failed or left for another reason than the guest's last instruction */
        KVM_STAGE_RESULT, /* the guest ended with other results than a processor gives */
        KVM_STAGE_DONE,
        KVM_STAGE_COUNT,
};

struct kvm_report {
        enum kvm_stage stage; /* where it ended */
        int error;            /* errno there, or 0 */
        uint32_t exit_reason;
        uint64_t elapsed_us; /* of the guest alone */
};

/** kvm_guest_run() - in the forked child: only async-signal-safe calls. @turns: of the guest's loop. */
void kvm_guest_run(const char *device, uint64_t turns, struct kvm_report *ret_report);
