/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domain_internal.h"

#include "base/names.h"
#include "virt/virt_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SPARE_ROOT_PORTS 4
#define NAME_CUT         40
#define UID_CUT          8

static const char *const virt_type_names[] = {
        [VIRT_TYPE_UNSET] = "", [VIRT_TYPE_KVM] = "kvm", [VIRT_TYPE_QEMU] = "qemu", [VIRT_TYPE_TEST] = "test"};
ENUM_TABLE(virt_type, virt_type_names)

static const char *const virt_firmware_names[] = {
        [VIRT_FIRMWARE_BIOS] = "BIOS", [VIRT_FIRMWARE_EFI] = "EFI", [VIRT_FIRMWARE_EFI_SECURE] = "EFIWithSecureBoot"};
ENUM_TABLE(virt_firmware, virt_firmware_names)

static const char *const virt_cpu_mode_names[] = {
        [VIRT_CPU_CUSTOM] = "custom",
        [VIRT_CPU_PASSTHROUGH] = "host-passthrough",
        [VIRT_CPU_HOST_MODEL] = "host-model",
        [VIRT_CPU_MAXIMUM] = "maximum",
};
ENUM_TABLE(virt_cpu_mode, virt_cpu_mode_names)

static const char *const virt_bus_names[] = {[VIRT_BUS_VIRTIO] = "virtio", [VIRT_BUS_SCSI] = "scsi", [VIRT_BUS_SATA] = "sata"};
ENUM_TABLE(virt_bus, virt_bus_names)

static const char *const virt_format_names[] = {[VIRT_FORMAT_RAW] = "raw", [VIRT_FORMAT_QCOW2] = "qcow2"};
ENUM_TABLE(virt_format, virt_format_names)

static const char *const virt_nic_model_names[] = {[VIRT_NIC_VIRTIO] = "virtio", [VIRT_NIC_E1000E] = "e1000e"};
ENUM_TABLE(virt_nic_model, virt_nic_model_names)

const struct virt_fixed_device virt_fixed_devices[VIRT_FIXED_DEVICES] = {
        {"video", offsetof(struct virt_domain, video_pci)},     {"usb", offsetof(struct virt_domain, usb_pci)},
        {"channel", offsetof(struct virt_domain, channel_pci)}, {"scsi", offsetof(struct virt_domain, scsi_pci)},
        {"rng", offsetof(struct virt_domain, rng_pci)},         {"balloon", offsetof(struct virt_domain, balloon_pci)},
};

char *virt_domain_name(const char *machine_name, const char *machine_uid)
{
        assert(machine_name && machine_uid);
        return g_strdup_printf("%.*s-%.*s", NAME_CUT, machine_name, UID_CUT, machine_uid);
}

unsigned virt_cpu_shares(unsigned cores, unsigned core_fraction_percent, unsigned cgroup_version)
{
        /* Version 1 gives a whole core 1024 of at most 262144; version 2 has 1 to 10000, which 248 cores must fit. */
        uint64_t per_core = cgroup_version == 1 ? 1024 : 40, least = cgroup_version == 1 ? 2 : 1;
        uint64_t most = cgroup_version == 1 ? 262144 : 10000;

        if (!cgroup_version || !cores || !core_fraction_percent)
                return 0;
        return (unsigned)CLAMP(cores * per_core * core_fraction_percent / 100, least, most);
}

char *virt_pci_format(const struct virt_pci *pci, char *text)
{
        assert(pci && text);
        snprintf(text, VIRT_PCI_TEXT_MAX, "%02x:%02x.%x", pci->bus, pci->slot, pci->function);
        return text;
}

int virt_pci_parse(const char *text, struct virt_pci *ret_pci)
{
        unsigned bus, slot, function;
        char canonical[VIRT_PCI_TEXT_MAX];
        struct virt_pci pci;

        assert(ret_pci);

        if (!text || sscanf(text, "%2x:%2x.%1x", &bus, &slot, &function) != 3 || bus > 255 || slot > 31 || function > 7)
                return -EINVAL;
        pci = (struct virt_pci){.set = true, .bus = (uint8_t)bus, .slot = (uint8_t)slot, .function = (uint8_t)function};
        if (strcmp(virt_pci_format(&pci, canonical), text))
                return -EINVAL;
        *ret_pci = pci;
        return 0;
}

bool virt_domain_has_bus(const struct virt_domain *domain, enum virt_bus bus)
{
        for (size_t i = 0; i < domain->n_disks; i++)
                if (domain->disks[i].bus == bus)
                        return true;
        return false;
}

/* --- what is taken
 * -------------------------------------------------------------------------------------------------------------------------- */

struct layout {
        bool ports[VIRT_ROOT_PORTS_MAX + 1]; /* by bus number */
        bool sata[VIRT_SATA_UNITS];
        bool scsi[VIRT_DISKS_MAX];
        unsigned highest;
        unsigned used;
};

static int refuse(struct virt_error *reterr, const char *device, const char *words)
{
        return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "%s: %s", device, words);
}

static int take_port(struct layout *layout, const struct virt_pci *pci, const char *device, struct virt_error *reterr)
{
        if (!pci->set)
                return 0;
        if (!pci->bus || pci->bus > VIRT_ROOT_PORTS_MAX || pci->slot || pci->function)
                return refuse(reterr, device, "its PCI address is not behind a root port");
        if (layout->ports[pci->bus])
                return refuse(reterr, device, "its PCI address is taken by another device");
        layout->ports[pci->bus] = true;
        layout->used++;
        layout->highest = MAX(layout->highest, pci->bus);
        return 0;
}

static int take_drive(struct layout *layout, const struct virt_disk *disk, struct virt_error *reterr)
{
        const struct virt_drive *drive = &disk->drive;
        bool sata = disk->bus == VIRT_BUS_SATA;
        unsigned place = sata ? drive->unit : drive->target;
        bool *taken = sata ? layout->sata : layout->scsi;

        if (!drive->set)
                return 0;
        if (drive->controller || (sata ? drive->target : drive->unit) || place >= (sata ? VIRT_SATA_UNITS : VIRT_DISKS_MAX))
                return refuse(reterr, disk->name, "its place on the controller does not exist");
        if (taken[place])
                return refuse(reterr, disk->name, "its place on the controller is taken by another disk");
        taken[place] = true;
        return 0;
}

static int take_all(struct virt_domain *d, struct layout *layout, struct virt_error *reterr)
{
        int r = 0;

        for (size_t i = 1; i < VIRT_FIXED_DEVICES && !r; i++) /* video stands on the root bus */
                r = take_port(layout, virt_fixed_pci(d, &virt_fixed_devices[i]), virt_fixed_devices[i].name, reterr);
        for (size_t i = 0; i < d->n_disks && !r; i++)
                r = d->disks[i].bus == VIRT_BUS_VIRTIO ? take_port(layout, &d->disks[i].pci, d->disks[i].name, reterr)
                                                       : take_drive(layout, &d->disks[i], reterr);
        for (size_t i = 0; i < d->n_nics && !r; i++)
                r = take_port(layout, &d->nics[i].pci, d->nics[i].name, reterr);
        return r;
}

/* --- what is given
 * -------------------------------------------------------------------------------------------------------------------------- */

static int give_port(struct layout *layout, struct virt_pci *pci, const char *device, struct virt_error *reterr)
{
        unsigned bus = 1;

        if (pci->set)
                return 0;
        while (bus <= VIRT_ROOT_PORTS_MAX && layout->ports[bus])
                bus++;
        if (bus > VIRT_ROOT_PORTS_MAX)
                return refuse(reterr, device, "no root port is left for it");
        layout->ports[bus] = true;
        layout->used++;
        layout->highest = MAX(layout->highest, bus);
        *pci = (struct virt_pci){.set = true, .bus = (uint8_t)bus};
        return 0;
}

static int give_drive(struct layout *layout, struct virt_disk *disk, struct virt_error *reterr)
{
        bool sata = disk->bus == VIRT_BUS_SATA;
        unsigned n = sata ? VIRT_SATA_UNITS : VIRT_DISKS_MAX, place = 0;
        bool *taken = sata ? layout->sata : layout->scsi;

        if (disk->drive.set)
                return 0;
        while (place < n && taken[place])
                place++;
        if (place == n)
                return refuse(reterr, disk->name, "no place is left on its controller");
        taken[place] = true;
        disk->drive = (struct virt_drive){.set = true, .target = sata ? 0 : (uint8_t)place, .unit = sata ? (uint8_t)place : 0};
        return 0;
}

static bool target_taken(const struct virt_domain *d, const char *target)
{
        for (size_t i = 0; i < d->n_disks; i++)
                if (!strcmp(d->disks[i].target, target))
                        return true;
        return false;
}

static void give_target(const struct virt_domain *d, struct virt_disk *disk)
{
        char target[VIRT_TARGET_MAX] = "vda";

        if (*disk->target)
                return;
        *target = disk->bus == VIRT_BUS_VIRTIO ? 'v' : 's';
        while (target_taken(d, target)) /* there are at most VIRT_DISKS_MAX, fewer than letters */
                target[2]++;
        memcpy(disk->target, target, sizeof(target));
}

/* Whether the machine has the fixed device of this name. */
static bool has_fixed(const struct virt_domain *d, const char *name)
{
        if (!strcmp(name, "video") || !strcmp(name, "usb"))
                return !d->no_vnc;
        if (!strcmp(name, "scsi"))
                return virt_domain_has_bus(d, VIRT_BUS_SCSI);
        if (!strcmp(name, "rng"))
                return !d->no_rng;
        if (!strcmp(name, "balloon"))
                return !d->no_balloon;
        return true;
}

static int give_all(struct virt_domain *d, struct layout *layout, struct virt_error *reterr)
{
        int r = 0;

        if (!d->no_vnc)
                d->video_pci = (struct virt_pci){.set = true, .slot = 1};
        for (size_t i = 1; i < VIRT_FIXED_DEVICES && !r; i++)
                if (has_fixed(d, virt_fixed_devices[i].name))
                        r = give_port(layout, virt_fixed_pci(d, &virt_fixed_devices[i]), virt_fixed_devices[i].name, reterr);
        for (size_t i = 0; i < d->n_disks && !r; i++) {
                give_target(d, &d->disks[i]);
                r = d->disks[i].bus == VIRT_BUS_VIRTIO ? give_port(layout, &d->disks[i].pci, d->disks[i].name, reterr)
                                                       : give_drive(layout, &d->disks[i], reterr);
        }
        for (size_t i = 0; i < d->n_nics && !r; i++)
                r = give_port(layout, &d->nics[i].pci, d->nics[i].name, reterr);
        return r;
}

int virt_domain_complete(struct virt_domain *domain, struct virt_error *reterr)
{
        struct layout layout = {};
        int r;

        assert(domain && reterr);

        if (!domain->profile)
                domain->profile = VIRT_PROFILE_NEWEST;
        r = virt_domain_check(domain, reterr);
        if (!r)
                r = take_all(domain, &layout, reterr);
        if (!r)
                r = give_all(domain, &layout, reterr);
        if (r)
                return r;
        /* Ports that are added stand behind the others: no device that is recorded moves. */
        domain->root_ports = MAX(domain->root_ports, MIN(layout.used + SPARE_ROOT_PORTS, VIRT_ROOT_PORTS_MAX));
        domain->root_ports = MAX(domain->root_ports, layout.highest);
        return 0;
}

/* --- a disk for a running domain
 * ---------------------------------------------------------------------------------------------------------------- */

/* A recorded place that another device has meanwhile is given up. */
static void forget_taken(const struct virt_domain *live, const struct layout *layout, struct virt_disk *disk)
{
        bool sata = disk->bus == VIRT_BUS_SATA;
        unsigned place = sata ? disk->drive.unit : disk->drive.target;

        if (disk->pci.set && (disk->pci.bus > live->root_ports || disk->pci.slot || disk->pci.function || !disk->pci.bus ||
                              layout->ports[disk->pci.bus]))
                disk->pci = (struct virt_pci){};
        if (disk->drive.set && (place >= VIRT_DISKS_MAX || (sata ? place >= VIRT_SATA_UNITS : layout->scsi[place])))
                disk->drive = (struct virt_drive){};
        if (target_taken(live, disk->target))
                *disk->target = 0;
}

int virt_disk_place(const struct virt_domain *live, struct virt_disk *disk, struct virt_error *reterr)
{
        struct layout layout = {};
        int r;

        assert(live && disk && reterr);

        if (disk->bus == VIRT_BUS_SATA)
                return virt_say(reterr, VIRT_E_INVALID, "NoFreeSlot",
                                "a machine without paravirtualization takes no disks while it runs");
        if (disk->bus == VIRT_BUS_SCSI && !live->scsi_pci.set)
                return virt_say(reterr, VIRT_E_INVALID, "NoFreeSlot", "the running machine has no controller for CD drives");
        if (live->n_disks >= VIRT_DISKS_MAX)
                return virt_say(reterr, VIRT_E_INVALID, "NoFreeSlot", "the running machine has %d disks", VIRT_DISKS_MAX);
        r = take_all((struct virt_domain *)live, &layout, reterr);
        if (r)
                return r;
        forget_taken(live, &layout, disk);
        give_target(live, disk);
        if (disk->bus != VIRT_BUS_VIRTIO)
                return give_drive(&layout, disk, reterr);
        r = give_port(&layout, &disk->pci, disk->name, reterr);
        if (!r && disk->pci.bus > live->root_ports)
                r = virt_say(reterr, VIRT_E_INVALID, "NoFreeSlot",
                             "no slot is left in the running machine; the next start makes room for more");
        return r;
}

int virt_scsi_place(const struct virt_domain *live, struct virt_pci *ret_pci, struct virt_error *reterr)
{
        struct layout layout = {};
        struct virt_pci pci = {};
        int r;

        assert(live && !live->scsi_pci.set && ret_pci && reterr);

        r = take_all((struct virt_domain *)live, &layout, reterr);
        if (!r)
                r = give_port(&layout, &pci, "scsi", reterr);
        if (!r && pci.bus > live->root_ports)
                r = virt_say(
                        reterr, VIRT_E_INVALID, "NoFreeSlot",
                        "no slot is left in the running machine for a controller of CD drives; the next start makes room for more");
        if (!r)
                *ret_pci = pci;
        return r;
}

int virt_nic_place(const struct virt_domain *live, struct virt_nic *nic, struct virt_error *reterr)
{
        struct layout layout = {};
        int r;

        assert(live && nic && reterr);

        if (live->n_nics >= VIRT_NICS_MAX)
                return virt_say(reterr, VIRT_E_INVALID, "NoFreeSlot", "the running machine has %d interfaces", VIRT_NICS_MAX);
        r = take_all((struct virt_domain *)live, &layout, reterr);
        if (r)
                return r;
        if (nic->pci.set && (!nic->pci.bus || nic->pci.bus > live->root_ports || layout.ports[nic->pci.bus]))
                nic->pci = (struct virt_pci){};
        r = give_port(&layout, &nic->pci, nic->name, reterr);
        if (!r && nic->pci.bus > live->root_ports)
                r = virt_say(reterr, VIRT_E_INVALID, "NoFreeSlot",
                             "no slot is left in the running machine; the next start makes room for more");
        return r;
}
