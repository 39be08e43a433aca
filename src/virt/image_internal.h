/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/image_header.h"

#include <glib.h>

/* Shared by the parsers of gabbro-image; not for other folders. */

/* The first bytes of the file and its length; reads outside give 0, so that a caller checks bounds once. */
struct image_view {
        const uint8_t *bytes;
        size_t len;
        uint64_t file_size;
};

static inline uint64_t image_be(const struct image_view *view, size_t offset, unsigned width)
{
        uint64_t value = 0;

        if (offset > view->len || view->len - offset < width)
                return 0;
        for (unsigned i = 0; i < width; i++)
                value = value << 8 | view->bytes[offset + i];
        return value;
}

/** image_refuse() - fill the refusal; returns IMAGE_E_REFUSED for `return image_refuse(...)`. */
int image_refuse(struct image_refusal *reterr, const char *reason, const char *format, ...) G_GNUC_PRINTF(3, 4);

#define IMAGE_TAIL_BYTES 512

/** image_foreign_judge() - @tail: the last IMAGE_TAIL_BYTES of the file, or NULL. IMAGE_E_REFUSED, IMAGE_E_PACKED, or 0: none of
 * those. */
int image_foreign_judge(const struct image_view *view, const uint8_t *tail, struct image_refusal *reterr);

/** image_iso_is() - whether it is an ISO 9660 image or a UDF one. */
bool image_iso_is(const struct image_view *view);
/** image_iso_judge() - of one that is: 0 or IMAGE_E_REFUSED. */
int image_iso_judge(const struct image_view *view, struct image_refusal *reterr);

/** image_qcow2_judge() - @view begins with the qcow2 magic. */
int image_qcow2_judge(const struct image_view *view, struct image_facts *ret_facts, struct image_refusal *reterr);
