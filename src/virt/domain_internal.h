/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/domain_xml.h"

/* Shared by the files that make, read and record domains; not for other folders. */

/** virt_domain_check() - whether every field can stand in the XML; 0 or VIRT_E_INVALID with the field's name in the words. */
int virt_domain_check(const struct virt_domain *domain, struct virt_error *reterr);

#define VIRT_PCI_TEXT_MAX 16
/** virt_pci_format() - "05:00.0"; @text holds VIRT_PCI_TEXT_MAX. */
char *virt_pci_format(const struct virt_pci *pci, char *text);
/** virt_pci_parse() - 0 or -EINVAL. */
int virt_pci_parse(const char *text, struct virt_pci *ret_pci);

/* The devices that every machine may have, by the names of the record. */
struct virt_fixed_device {
        const char *name;
        size_t offset; /* of its struct virt_pci in struct virt_domain */
};
#define VIRT_FIXED_DEVICES 6
extern const struct virt_fixed_device virt_fixed_devices[VIRT_FIXED_DEVICES];

static inline struct virt_pci *virt_fixed_pci(struct virt_domain *domain, const struct virt_fixed_device *device)
{
        return (struct virt_pci *)((char *)domain + device->offset);
}

/** virt_disk_check() - the same for one disk. */
int virt_disk_check(const struct virt_disk *disk, struct virt_error *reterr);
/** virt_nic_check() - the same for one interface. */
int virt_nic_check(const struct virt_nic *nic, struct virt_error *reterr);

/** virt_domain_has_bus() - whether a disk hangs on @bus. */
bool virt_domain_has_bus(const struct virt_domain *domain, enum virt_bus bus);

/* Root ports stand on bus 0 from slot 2 on, eight in a slot. */
static inline struct virt_pci virt_root_port_pci(unsigned index)
{
        return (struct virt_pci){.set = true, .slot = (uint8_t)(2 + (index - 1) / 8), .function = (uint8_t)((index - 1) % 8)};
}

/* Disks of a machine, its seed and what an operator adds. */
#define VIRT_DISKS_MAX  24
#define VIRT_NICS_MAX   16
#define VIRT_SATA_UNITS 6
