/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domain_extras.h"

#include "base/names.h"
#include "virt/virt_internal.h"

#include <string.h>

/* Behind the root ports' slots, before the chip set's. */
#define WATCHDOG_SLOT 0x1e

static const char *const virt_watchdog_names[] = {
        [VIRT_WATCHDOG_NONE] = "",
        [VIRT_WATCHDOG_RESET] = "reset",
        [VIRT_WATCHDOG_POWEROFF] = "poweroff",
        [VIRT_WATCHDOG_PAUSE] = "pause",
};
ENUM_TABLE(virt_watchdog, virt_watchdog_names)

static void add_tpm(xmlNodePtr devices)
{
        xmlNodePtr tpm = xml_add(devices, "tpm", "model", "tpm-crb", NULL);

        /* libvirt keeps its state by the domain's UUID, and removes it with the definition. */
        xml_add(tpm, "backend", "type", "emulator", "version", "2.0", NULL);
}

static void add_watchdog(xmlNodePtr devices, enum virt_watchdog action)
{
        xmlNodePtr watchdog = xml_add(devices, "watchdog", "model", "i6300esb", "action", virt_watchdog_to_text(action), NULL);
        char slot[8];

        g_snprintf(slot, sizeof(slot), "0x%02x", WATCHDOG_SLOT);
        xml_add(watchdog, "address", "type", "pci", "domain", "0x0000", "bus", "0x00", "slot", slot, "function", "0x0", NULL);
}

void virt_extras_add(xmlNodePtr devices, const struct virt_domain *domain)
{
        if (domain->tpm)
                add_tpm(devices);
        if (domain->watchdog != VIRT_WATCHDOG_NONE)
                add_watchdog(devices, domain->watchdog);
}

void virt_extras_read(xmlNodePtr devices, struct virt_facts *facts)
{
        xmlNodePtr watchdog = xml_child(devices, "watchdog"), tpm = xml_child(devices, "tpm");
        const char *action = xml_attribute(watchdog, "action", facts->arena);
        bool ours = xml_attribute_is(watchdog, "model", "i6300esb");

        facts->domain.tpm = tpm && xml_attribute_is(xml_child(tpm, "backend"), "type", "emulator");
        if (ours && action)
                (void)virt_watchdog_from_text(action, &facts->domain.watchdog); /* another action reads as none */
}
