/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/virt.h"

#include <glib.h>

/** picture_from_ppm() - PNG of a binary PPM (P6, 8 bits a colour) of at most LIMIT_SCREENSHOT_BYTES. NULL: it is none. */
GByteArray *picture_from_ppm(const guint8 *bytes, gsize len);

/** virt_domain_screenshot() - of what the guest shows now, as PNG. 0, VIRT_E_MISSING, VIRT_E_STATE, VIRT_E_FAILED (no screen, or
 * one that is too large), VIRT_E_UNREACHABLE. */
int virt_domain_screenshot(struct virt *virt, const char *uuid, GByteArray **ret_png, struct virt_error *reterr);
