/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/domain_xml.h"
#include "virt/virt.h"

/*
 * The screen of a domain: a unix socket, or a port of one address that asks for a password. A port without a password is never
 * described: QEMU would let everybody in. The password is in no text but the XML that is handed to libvirt.
 */

#define VIRT_GRAPHICS_PASSWORD_MAX 8 /* VNC looks at no more */

/** virt_graphics_password_fault() - why @password cannot be one, or NULL; never says it. */
const char *virt_graphics_password_fault(const char *password);

/**
 * virt_graphics_set_password() - the screen of a domain asks for @password from now on, and after its next start by hand too
 * @domain: as it was read from the running domain; its screen has an address
 *
 * Who is connected stays connected. Return: 0, VIRT_E_STATE: it does not run, VIRT_E_INVALID, VIRT_E_FAILED with libvirt's words.
 */
int virt_graphics_set_password(struct virt *virt, const char *uuid, const struct virt_domain *domain, const char *password,
                               struct virt_error *reterr);

/** virt_graphics_to_xml() - the element of the screen of @domain with its password; g_free() after wiping. 0 or VIRT_E_INVALID. */
int virt_graphics_to_xml(const struct virt_domain *domain, char **ret_xml, struct virt_error *reterr);

/** virt_xml_wipe() - overwrite and free a text that holds a password; NULL is accepted. */
void virt_xml_wipe(char *xml);
