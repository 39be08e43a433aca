/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"
#include "base/names.h"
#include "virt/disk_limits.h"
#include "virt/virt.h"
#include "json/json.h"

#include <stddef.h>

/*
 * A machine as libvirt shall define it, and its XML in both directions. Strings of struct virt_domain are borrowed by the caller's
 * choice (from an intent, a record, an arena); nothing here frees them. No string can break the XML: the tree is built by libxml2,
 * and text that XML cannot carry (control characters, invalid UTF-8) is refused with VIRT_E_INVALID.
 */

enum virt_type { VIRT_TYPE_UNSET, VIRT_TYPE_KVM, VIRT_TYPE_QEMU, VIRT_TYPE_TEST };
ENUM_TABLE_DECLARE(virt_type); /* "kvm" "qemu" "test" */

enum virt_firmware { VIRT_FIRMWARE_BIOS, VIRT_FIRMWARE_EFI, VIRT_FIRMWARE_EFI_SECURE };
ENUM_TABLE_DECLARE(virt_firmware); /* "BIOS" "EFI" "EFIWithSecureBoot", as in the intent */

/* What a watchdog does that the guest has not fed in time. */
enum virt_watchdog { VIRT_WATCHDOG_NONE, VIRT_WATCHDOG_RESET, VIRT_WATCHDOG_POWEROFF, VIRT_WATCHDOG_PAUSE };
ENUM_TABLE_DECLARE(virt_watchdog); /* "" "reset" "poweroff" "pause" */

enum virt_cpu_mode { VIRT_CPU_CUSTOM, VIRT_CPU_PASSTHROUGH, VIRT_CPU_HOST_MODEL, VIRT_CPU_MAXIMUM };
ENUM_TABLE_DECLARE(virt_cpu_mode); /* "custom" "host-passthrough" "host-model" "maximum" */

enum virt_bus { VIRT_BUS_VIRTIO, VIRT_BUS_SCSI, VIRT_BUS_SATA };
ENUM_TABLE_DECLARE(virt_bus); /* "virtio" "scsi" "sata" */

enum virt_format { VIRT_FORMAT_RAW, VIRT_FORMAT_QCOW2 };
ENUM_TABLE_DECLARE(virt_format); /* "raw" "qcow2" */

enum virt_nic_model { VIRT_NIC_VIRTIO, VIRT_NIC_E1000E };
ENUM_TABLE_DECLARE(virt_nic_model); /* "virtio" "e1000e" */

/* A PCI address; @set tells whether it is known. PCI domain is always 0. */
struct virt_pci {
        bool set;
        uint8_t bus, slot, function;
};

/* The place of a disk on a SATA or SCSI controller. */
struct virt_drive {
        bool set;
        uint8_t controller, target, unit;
};

#define VIRT_TARGET_MAX 8

struct virt_disk {
        const char *name; /* of the disk in the machine, unique; the key of the hardware record */
        const char *path; /* file; NULL: an empty CD drive */
        enum virt_format format;
        enum virt_bus bus;
        bool cdrom;                     /* needs SATA or SCSI; always read-only */
        bool read_only;                 /* not on SATA, where QEMU has CD drives only */
        unsigned boot_order;            /* 0: not bootable */
        const char *serial;             /* at most 36 of A-Za-z0-9 _.+- ; NULL: none */
        const char *cache;              /* NULL: "none" for disks ("writeback" where O_DIRECT does not work), QEMU's own for CDs */
        struct virt_disk_limits limits; /* never of a CD drive */
        bool no_discard;                /* default: discard='unmap' detect_zeroes='unmap' on writable disks */
        bool own;                       /* read from a domain: our metadata names it; @name is ours, not libvirt's target */

        /* Guest-visible places: set from a record, else chosen by virt_domain_complete(). */
        char target[VIRT_TARGET_MAX]; /* "vda", "sda" */
        struct virt_pci pci;          /* VIRT_BUS_VIRTIO */
        struct virt_drive drive;      /* VIRT_BUS_SCSI, VIRT_BUS_SATA */
};

struct virt_nic {
        const char *name; /* of the Port intent */
        const char *mac;  /* the key of the hardware record */
        const char *bridge;
        const char *tap; /* host side interface, at most 15 characters, no "vnet" prefix */
        enum virt_nic_model model;
        unsigned mtu;      /* 0: the bridge's */
        bool isolated;     /* <port isolated='yes'/>: no frames between isolated ports of the bridge */
        bool checksum_off; /* no checksum or segmentation offload (user-space datapaths need it) */
        bool link_down;
        struct virt_pci pci;
};

struct virt_cpu_feature {
        const char *name;
        const char *policy; /* NULL: "require"; "disable", "optional", "force", "forbid" */
};

struct virt_cpu {
        enum virt_cpu_mode mode;
        const char *model;  /* VIRT_CPU_CUSTOM */
        const char *vendor; /* or NULL */
        const struct virt_cpu_feature *features;
        size_t n_features;
};

/* What identifies a domain as ours (decision 3); the metadata element gabbro:instance. */
struct virt_owner {
        const char *machine_uid;
        const char *instance_uid;
        const char *machine_namespace; /* for people; may be NULL */
        const char *machine_name;
        int64_t generation;
        int64_t epoch;
        int64_t order;            /* the latest order that was carried out; 0: none */
        int64_t graphics_version; /* of the Secret whose password the screen asks for; 0: none, to be written: as it is */
        /* 1: the guest is held still for a reset, which is said of a domain that runs and not in its definition; to be written:
         * 0 leaves it as it is, -1 takes it back */
        int resetting;
};
#define VIRT_METADATA_URI "https://gabbro.dev/domain/1"

struct virt_smbios {
        const char *manufacturer, *product, *version, *serial, *family; /* NULL: the defaults below */
};
#define VIRT_SMBIOS_MANUFACTURER "Gabbro"
#define VIRT_SMBIOS_PRODUCT      "Virtual Machine"

#define VIRT_ROOT_PORTS_MAX 128

/*
 * Generation of the defaults: what a machine has that nobody asked for. It is part of the record, so that new defaults never change
 * a machine that was defined before; 1 is that of records which do not name it.
 */
#define VIRT_PROFILE_NEWEST 3

/* Parts of a record that stand or fall with what the machine asks for. */
enum virt_part {
        VIRT_PART_CPU = 1 << 0,
        VIRT_PART_FIRMWARE = 1 << 1,
        VIRT_PART_BUSES = 1 << 2, /* places and models of disks and interfaces */
        VIRT_PART_ALL = VIRT_PART_CPU | VIRT_PART_FIRMWARE | VIRT_PART_BUSES,
};

struct virt_domain {
        enum virt_type type; /* always explicit */
        const char *name;    /* virt_domain_name() */
        const char *uuid;    /* belongs to the machine: its uid, unless the record says another */
        const char *title;   /* for people; NULL: none */
        struct virt_owner owner;

        const char *emulator;                      /* NULL: libvirt's */
        const char *machine_type;                  /* canonical: "pc-q35-7.2" */
        unsigned profile;                          /* 0: VIRT_PROFILE_NEWEST */
        unsigned vcpus, sockets, cores_per_socket; /* sockets × cores_per_socket are all that it has room for; one thread a core */
        unsigned max_vcpus;                        /* room to grow while it runs; 0: none, as many as vcpus */
        unsigned cpu_shares;                       /* <cputune><shares>: virt_cpu_shares(); 0: none. Never a quota. */
        struct virt_cpu cpu;
        uint64_t memory_mib;
        uint64_t max_memory_mib; /* room to grow while it runs; 0: none */
        uint64_t balloon_mib;    /* that the guest shall keep, of a running domain: that it holds; 0: all of it */

        enum virt_firmware firmware;
        const char *loader;         /* EFI: code image; see virt_firmware_choose() */
        const char *nvram_template; /* EFI: variables image that the first start copies */
        bool nvram_new;             /* the next start begins with a new copy of it */
        struct virt_smbios smbios;

        bool windows;                  /* local time clock, Hyper-V enlightenments on KVM */
        bool legacy;                   /* local time clock; its emulated devices are said one by one */
        bool no_vnc;                   /* default: VNC on a unix socket that libvirt names */
        bool spice;                    /* SPICE instead of VNC */
        const char *graphics_address;  /* it listens on a port of this IP address instead of a socket; needs a password */
        const char *graphics_password; /* 1 to 8 printable characters; never read from a domain */
        bool tpm;                      /* TPM 2.0 that swtpm emulates; its state goes with the definition */
        enum virt_watchdog watchdog;
        bool no_rng, no_balloon; /* default: virtio-rng and virtio-balloon */
        const char *serial_log;  /* file that virtlogd appends the serial output to; NULL: none */

        struct virt_disk *disks;
        size_t n_disks;
        struct virt_nic *nics;
        size_t n_nics;

        /* Guest-visible places of the devices that every machine has, as with disks. */
        unsigned root_ports; /* pcie-root-ports 1..n on the root bus; 0: chosen, with spare ones for hot-plug */
        struct virt_pci video_pci, usb_pci, channel_pci, scsi_pci, rng_pci, balloon_pci;
};

/* Places for memory that comes while the machine runs. */
#define VIRT_MEMORY_SLOTS 16

/** virt_domain_most_vcpus() - how many processors it has room for. */
unsigned virt_domain_most_vcpus(const struct virt_domain *domain);

/** virt_domain_name() - "<name cut to 40>-<first 8 of uid>"; g_free(). */
char *virt_domain_name(const char *machine_name, const char *machine_uid);

/** virt_cpu_shares() - the weight of @cores at @core_fraction_percent in the units of the host's cgroup (0 where there is none). */
unsigned virt_cpu_shares(unsigned cores, unsigned core_fraction_percent, unsigned cgroup_version);

/**
 * virt_domain_complete() - choose every guest-visible place that is not set: targets, PCI and drive addresses, root ports
 *
 * Deterministic: the lowest free place in the order fixed devices, disks, interfaces; places that are set are kept and never given
 * out twice. Return: 0 or VIRT_E_INVALID (two of one name, place or target, too many devices, an impossible combination).
 */
int virt_domain_complete(struct virt_domain *domain, struct virt_error *reterr);

/**
 * virt_domain_to_xml() - the domain XML of a completed domain; g_free()
 *
 * Return: 0 or VIRT_E_INVALID with the field that is wrong.
 */
int virt_domain_to_xml(const struct virt_domain *domain, char **ret_xml, struct virt_error *reterr);

/**
 * virt_disk_place() - choose places for a disk that comes to the running domain @live, whose places are all set
 *
 * Places of @disk that are set are kept while they are free. Return: 0 or VIRT_E_INVALID: no slot is left (reason "NoFreeSlot"), or
 * the disk cannot come to a running domain.
 */
int virt_disk_place(const struct virt_domain *live, struct virt_disk *disk, struct virt_error *reterr);

/** virt_disk_to_xml() - the element of a disk whose places are set; g_free(). 0 or VIRT_E_INVALID. */
int virt_disk_to_xml(const struct virt_disk *disk, char **ret_xml, struct virt_error *reterr);

/** virt_scsi_place() - a place for the controller of CD drives in the running domain @live that has none. 0 or VIRT_E_INVALID
 * ("NoFreeSlot"). */
int virt_scsi_place(const struct virt_domain *live, struct virt_pci *ret_pci, struct virt_error *reterr);

/** virt_scsi_to_xml() - the element of that controller; g_free(). */
char *virt_scsi_to_xml(const struct virt_pci *pci);

/** virt_nic_place() - as virt_disk_place(), for an interface. */
int virt_nic_place(const struct virt_domain *live, struct virt_nic *nic, struct virt_error *reterr);

/** virt_nic_to_xml() - the element of an interface whose place is set; g_free(). 0 or VIRT_E_INVALID. */
int virt_nic_to_xml(const struct virt_nic *nic, char **ret_xml, struct virt_error *reterr);

/* What a domain XML of libvirt says, in the same struct; strings live as long as the facts. */
struct virt_facts {
        struct arena *arena;
        struct virt_domain domain;
        bool own;                /* it carries our metadata */
        int id;                  /* of a running domain, else -1 */
        const char *console_pty; /* of a running domain, else NULL */
        const char *vnc_socket;  /* of a running domain with VNC, else NULL */
        unsigned graphics_port;  /* of a running domain whose screen has an address, else 0 */
        const char *nvram;       /* the variables file, or NULL */
};
struct virt_facts *virt_facts_free(struct virt_facts *facts);
AUTOPTR(virt_facts, virt_facts_free);

/**
 * virt_facts_from_xml() - read a domain XML (bounded, no entities, no network)
 *
 * Devices that this folder does not make are left out. Return: 0 or VIRT_E_INVALID.
 */
int virt_facts_from_xml(const char *xml, struct virt_facts **ret_facts, struct virt_error *reterr);

/**
 * virt_hardware_record() - the guest hardware record (decision 3) of a completed domain or of facts read back after define
 *
 *   {"version":1,"profile":2,"type":"kvm","machineType":"pc-q35-7.2","uuid":"…","firmware":"BIOS","loader":"…","nvramTemplate":"…",
 *    "cpu":{"mode":"custom","model":"…","vendor":"…","features":[{"name":"…","policy":"require"}]},
 *    "smbios":{"manufacturer":"…","product":"…",…},"rootPorts":8,
 *    "devices":{"video":"00:01.0","channel":"01:00.0",…},
 *    "disks":[{"name":"root","bus":"virtio","target":"vda","address":"04:00.0"},{"name":"seed","bus":"sata","target":"sda","address":"0:0:0"}],
 *    "interfaces":[{"name":"p-…","mac":"…","model":"virtio","address":"05:00.0"}]}
 *
 * Return: an object in @doc.
 */
struct json_value *virt_hardware_record(const struct virt_domain *domain, struct json_doc *doc);

/**
 * virt_hardware_apply() - let @domain be what @record says wherever the record speaks of it
 *
 * @parts: enum virt_part: those that the machine still asks for as it did; the others are as if the record did not hold them
 *
 * Overrides profile, machine type, CPU, UUID, firmware, SMBIOS, root ports and places: of the disks of the same name, of the
 * interfaces of the same MAC. Disks and interfaces that the record does not know keep what they have; recorded ones that are gone
 * leave their place free. The record's type (kvm, qemu) is not applied. CPU features are allocated from @arena; all other strings
 * are borrowed from @record. A NULL or null record changes nothing. Call before virt_domain_complete().
 *
 * Return: 0 or VIRT_E_INVALID (malformed, or of a newer version).
 */
int virt_hardware_apply(struct virt_domain *domain, const struct json_value *record, unsigned parts, struct arena *arena,
                        struct virt_error *reterr);
