/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/domain_xml.h"
#include "virt/xml.h"

/* Devices that a machine has when it asks for them: TPM and watchdog. Their places are fixed. For this folder.
 */

/** virt_extras_add() - TPM and watchdog. */
void virt_extras_add(xmlNodePtr devices, const struct virt_domain *domain);
/** virt_extras_read() - all of them, as far as they are ours. */
void virt_extras_read(xmlNodePtr devices, struct virt_facts *facts);
