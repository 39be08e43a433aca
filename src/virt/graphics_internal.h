/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/graphics.h"
#include "virt/xml.h"

/* Of this folder's XML alone. */

/** virt_graphics_check() - address and password of a screen that is about to be written. 0 or VIRT_E_INVALID. */
int virt_graphics_check(const struct virt_domain *domain, struct virt_error *reterr);
/** virt_graphics_add() - VNC or SPICE, and what belongs to it. */
void virt_graphics_add(xmlNodePtr devices, const struct virt_domain *domain);
/** virt_graphics_read() - protocol, address and port; a password is not read. */
void virt_graphics_read(xmlNodePtr devices, struct virt_facts *facts);
/** virt_graphics_move() - the screen listens on @address where the domain goes. VIRT_E_INVALID: it listens on a port, and there is
 * no address there, or no password. */
int virt_graphics_move(xmlNodePtr devices, const char *address, struct virt_error *reterr);
