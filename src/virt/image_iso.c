/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/image_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/*
 * ISO 9660 (ECMA-119) and UDF bridges: only what tells a disc from a disk, and a whole one from a cut one. Nobody but the guest
 * reads its directories, so names, links and depths in there are of no interest here.
 */

#define SECTOR           2048u
#define FIRST_DESCRIPTOR (16 * SECTOR)
#define DESCRIPTORS_MAX  32
#define TOLERANCE_BYTES  (300u * SECTOR) /* run-out blocks that copies of discs lack */

enum { DESCRIPTOR_PRIMARY = 1, DESCRIPTOR_END = 255 };

/* Fields of the primary volume descriptor, from its beginning (ECMA-119, 8.4); "both" ones have their big half in the second half.
 */
enum {
        PRIMARY_BLOCKS = 80,      /* both, 8 */
        PRIMARY_BLOCK_SIZE = 128, /* both, 4 */
        PRIMARY_ROOT = 156,       /* a directory record: extent (both, 8) at 2, length (both, 8) at 10 */
};

static bool is_descriptor(const struct image_view *view, size_t offset)
{
        return offset + SECTOR <= view->len && memcmp(view->bytes + offset + 1, "CD001", 5) == 0;
}

bool image_iso_is(const struct image_view *view)
{
        assert(view);
        return is_descriptor(view, FIRST_DESCRIPTOR) ||
               (FIRST_DESCRIPTOR + SECTOR <= view->len && memcmp(view->bytes + FIRST_DESCRIPTOR + 1, "BEA01", 5) == 0);
}

static int check_primary(const struct image_view *view, size_t offset, struct image_refusal *reterr)
{
        uint64_t blocks = image_be(view, offset + PRIMARY_BLOCKS + 4, 4);
        uint64_t block_bytes = image_be(view, offset + PRIMARY_BLOCK_SIZE + 2, 2);
        uint64_t root = image_be(view, offset + PRIMARY_ROOT + 6, 4), root_bytes = image_be(view, offset + PRIMARY_ROOT + 14, 4);
        uint64_t told = blocks * block_bytes, root_end = root * block_bytes + root_bytes;

        if (told > view->file_size + TOLERANCE_BYTES)
                return image_refuse(reterr, "ImageHeaderInvalid",
                                    "the ISO image tells %" PRIu64 " bytes but has %" PRIu64 "; is it cut short?", told,
                                    view->file_size);
        if (root_end > view->file_size)
                return image_refuse(reterr, "ImageHeaderInvalid",
                                    "the root directory of the ISO image ends at byte %" PRIu64 " of %" PRIu64 "; is it cut short?",
                                    root_end, view->file_size);
        return 0;
}

int image_iso_judge(const struct image_view *view, struct image_refusal *reterr)
{
        assert(view && reterr);
        for (unsigned i = 0; i < DESCRIPTORS_MAX; i++) {
                size_t offset = FIRST_DESCRIPTOR + (size_t)i * SECTOR;

                if (!is_descriptor(view, offset) || view->bytes[offset] == DESCRIPTOR_END)
                        return 0;
                if (view->bytes[offset] == DESCRIPTOR_PRIMARY)
                        return check_primary(view, offset, reterr);
        }
        return 0;
}
