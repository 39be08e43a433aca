/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/image_header.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_DESCRIPTOR 32768u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input stands where the volume descriptors of a disc do. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct image_facts facts = {};
        struct image_refusal refusal = {};
        size_t len = FIRST_DESCRIPTOR + size;

        if (len > IMAGE_HEADER_READ_MAX)
                return 0;
        uint8_t *bytes = calloc(1, len); /* its end is the end of what may be read */
        assert(bytes);
        memcpy(bytes + FIRST_DESCRIPTOR, data, size);
        for (unsigned claimed = 0; claimed < 2; claimed++) {
                int r = image_header_judge_bytes(bytes, len, NULL, claimed ? 1ull << 40 : len, &facts, &refusal);

                assert(r == 0 || r == IMAGE_E_REFUSED);
                assert(r != 0 || facts.format == IMAGE_FORMAT_ISO || facts.format == IMAGE_FORMAT_RAW);
                assert(r == 0 || (refusal.reason && refusal.words[0]));
        }
        free(bytes);
        return 0;
}
