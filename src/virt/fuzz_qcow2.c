/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "virt/image_header.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes that the input does not have are zero: a file may claim to be longer. */
static uint64_t big_endian(const uint8_t *data, size_t size, size_t at, size_t n)
{
        uint64_t number = 0;

        for (size_t i = at; i < at + n; i++)
                number = number << 8 | (i < size ? data[i] : 0);
        return number;
}

/* Read again by another hand, where docs/interop/qcow2.txt says: nothing outside the file is named, nothing is encrypted. */
static void check_qcow2(const uint8_t *data, size_t size)
{
        assert(big_endian(data, size, 8, 8) == 0 && big_endian(data, size, 16, 4) == 0); /* backing file */
        assert(big_endian(data, size, 32, 4) == 0);                                      /* encryption */
        if (big_endian(data, size, 4, 4) == 2)
                return;
        assert(big_endian(data, size, 4, 4) == 3);
        assert((big_endian(data, size, 72, 8) & ~0x19ull) == 0); /* incompatible: dirty, compression type, extended L2 */
        assert((big_endian(data, size, 88, 8) & 2) == 0);        /* raw external data */
}

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
                        bool has_magic = size >= 8 && memcmp(data, "QFI\xfb", 4) == 0;
                        assert(has_magic == (facts.format == IMAGE_FORMAT_QCOW2));
                        if (has_magic)
                                check_qcow2(data, size);
                        assert(facts.virtual_size_bytes % 512 == 0 && image_format_to_text(facts.format));
                }
        }
        return 0;
}
