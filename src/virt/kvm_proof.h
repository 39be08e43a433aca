/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/names.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Whether KVM really runs guests here (decision 19): /dev/kvm may exist, accept everything and then hang with a real kernel. A
 * child process makes a guest of a few pages that turns a loop 10^7 times, uses an SSE2 instruction and goes to ring 3 and back,
 * all within one second. The child is killed on timeout; one that does not die is left behind, never waited for.
 */
enum kvm_verdict {
        KVM_WORKS,
        KVM_ABSENT, /* no /dev/kvm, or it cannot be opened */
        KVM_BROKEN, /* an ioctl failed or the guest did something else */
        KVM_HANGS,  /* not done in time */
        KVM_VERDICT_COUNT,
};
ENUM_TABLE_DECLARE(kvm_verdict); /* "works" "absent" "broken" "hangs" */

struct kvm_proof {
        enum kvm_verdict verdict;
        uint64_t elapsed_us;
        bool abandoned;  /* the child did not die of SIGKILL in time */
        char words[200]; /* a sentence for the Node's condition */
};

/** kvm_prove() - returns after at most about @timeout_us (0: 3 s) plus half a second. @device: NULL for "/dev/kvm". */
void kvm_prove(const char *device, uint64_t timeout_us, struct kvm_proof *ret_proof);
