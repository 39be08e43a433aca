/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "virt/image_header.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was taken must be safe to hand to QEMU with its format named; the claimed file size is part of the input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const uint64_t claimed[] = {0, 4096, 1ull << 32, LIMIT_IMAGE_BYTES};

        for (size_t i = 0; i < sizeof(claimed) / sizeof(*claimed); i++) {
                struct image_facts facts = {};
                struct image_refusal refusal = {};
                int r = image_header_judge_bytes(data, size, size >= 512 ? data + size - 512 : NULL, size + claimed[i], &facts,
                                                 &refusal);

                assert(r == 0 || r == IMAGE_E_REFUSED || r == IMAGE_E_PACKED);
                if (r) {
                        assert(refusal.reason && memchr(refusal.words, 0, sizeof(refusal.words)) && *refusal.words);
                } else {
                        assert(facts.virtual_size_bytes && facts.virtual_size_bytes <= LIMIT_IMAGE_BYTES);
                        assert(facts.virtual_size_bytes % 512 == 0 && image_format_to_text(facts.format));
                }
        }
        return 0;
}
