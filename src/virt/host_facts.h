/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/domain_xml.h"
#include "virt/virt.h"

/* What the host can do. CPU facts are those of the asked domain type (decision 19). */

/* Names of processor features, sorted. */
struct cpu_features {
        const char **names;
        size_t n;
};

struct host_cpu_model {
        const char *name;
        bool usable;
        struct cpu_features missing; /* what keeps it from being usable, as far as libvirt can tell */
};

struct host_facts {
        unsigned cpus;
        uint64_t memory_bytes, memory_available_bytes;
        const char *kernel; /* uname -r */
        const char *architecture;
        const char *cpu_text;        /* model name from the processor */
        const char *libvirt_version; /* of the daemon, "9.0.0" */
        const char *qemu_version;    /* "7.2.22"; "" on the test driver */
        const char *hostname;
        unsigned cgroup_version; /* of the cpu controller that libvirt can use: 1, 2, or 0: none, weights are not available */

        enum virt_type type;      /* the one that was asked for */
        const char *machine_type; /* canonical name of q35: "pc-q35-7.2" */
        const char *emulator;
        unsigned max_vcpus;
        const struct host_cpu_model *models; /* of the custom mode */
        size_t n_models;
        bool passthrough; /* host-passthrough is offered */
        /* host-model as libvirt resolves it for this type: fix it in the record, so that it never changes. n_features may be 0. */
        struct virt_cpu host_model;
        struct cpu_features cpu_features; /* of host_model, all of them: what guests can have here; none when unknown */
        bool tpm;                         /* swtpm is there */
        bool spice;                       /* QEMU has it */
        bool efi, efi_secure;
        const char *efi_loader, *efi_nvram, *efi_secure_loader, *efi_secure_nvram;
        struct arena *arena; /* all strings and lists live here */
};
void host_facts_clear(struct host_facts *facts);

/** host_facts_read() - all of it, for domains of @type. */
int host_facts_read(struct virt *virt, enum virt_type type, struct host_facts *ret_facts, struct virt_error *reterr);

/** host_qemu_version() - of the QEMU that a start would take now, "7.2.22"; NULL when libvirt cannot tell, "" on the test driver.
 */
const char *host_qemu_version(struct virt *virt, struct arena *arena);

/** host_memory_available() - bytes that can still be given out now (MemAvailable); cheap. */
uint64_t host_memory_available(void);

/**
 * virt_firmware_choose() - loader and variables template of @facts for @firmware into @domain (borrowed); also sets
 * @domain->firmware
 *
 * Return: 0 or VIRT_E_INVALID (reason FirmwareUnavailable).
 */
int virt_firmware_choose(const struct host_facts *facts, enum virt_firmware firmware, struct virt_domain *domain,
                         struct virt_error *reterr);
