/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domain_internal.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/names.h"
#include "virt/virt_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define MEMORY_MIB_MAX (16ull << 20)
#define PATH_MAX_BYTES 4096

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static int bad(struct virt_error *reterr, const char *field, const char *words)
{
        return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "%s: %s", field, words);
}

/* One to @max characters of @allowed, beginning with a letter or digit. */
static bool is_token(const char *text, const char *allowed, size_t max)
{
        size_t len = text ? strlen(text) : 0;

        return len && len <= max && strspn(text, allowed) == len && strchr(ALNUM, *text);
}

/* Text that XML can carry: U+FFFE and U+FFFF are valid UTF-8 and not characters of XML. */
static bool is_text(const char *text, size_t max)
{
        return text && names_is_plain_text(text, max, false) && !strstr(text, "\xef\xbf\xbe") && !strstr(text, "\xef\xbf\xbf");
}

static bool is_path(const char *path)
{
        return path && *path == '/' && is_text(path, PATH_MAX_BYTES);
}

static bool is_text_or_absent(const char *text, size_t max)
{
        return !text || is_text(text, max);
}

static int check_owner(const struct virt_owner *owner, struct virt_error *reterr)
{
        if (!is_text(owner->machine_uid, 64) || !*owner->machine_uid)
                return bad(reterr, "owner", "the machine's uid is missing or not plain text");
        if (!is_text(owner->instance_uid, 64) || !*owner->instance_uid)
                return bad(reterr, "owner", "the intent's uid is missing or not plain text");
        if (!is_text_or_absent(owner->machine_name, 253) || !is_text_or_absent(owner->machine_namespace, 253))
                return bad(reterr, "owner", "the machine's name is not plain text");
        return 0;
}

static int check_smbios(const struct virt_smbios *smbios, struct virt_error *reterr)
{
        const char *texts[] = {smbios->manufacturer, smbios->product, smbios->version, smbios->serial, smbios->family};

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
                if (!is_text_or_absent(texts[i], 128))
                        return bad(reterr, "smbios", "not plain text of at most 128 bytes");
        return 0;
}

unsigned virt_domain_most_vcpus(const struct virt_domain *domain)
{
        assert(domain);
        return domain->max_vcpus ? domain->max_vcpus : domain->vcpus;
}

static int check_cpu(const struct virt_domain *d, struct virt_error *reterr)
{
        if (!d->vcpus || d->vcpus > LIMIT_CPU_CORES || d->max_vcpus > LIMIT_CPU_CORES || virt_domain_most_vcpus(d) < d->vcpus ||
            (uint64_t)d->sockets * d->cores_per_socket != virt_domain_most_vcpus(d))
                return bad(reterr, "cpu", "cores must be 1 to 248 and sockets × cores per socket");
        if (!virt_cpu_mode_to_text(d->cpu.mode) || (d->cpu.mode == VIRT_CPU_CUSTOM) != (d->cpu.model != NULL))
                return bad(reterr, "cpu.model", "a named model belongs to the custom mode, and to it alone");
        if (d->cpu.model && !is_token(d->cpu.model, ALNUM "-_.", 64))
                return bad(reterr, "cpu.model", "not the name of a model");
        if (d->cpu.vendor && !is_token(d->cpu.vendor, ALNUM "-_.", 32))
                return bad(reterr, "cpu.vendor", "not the name of a vendor");
        for (size_t i = 0; i < d->cpu.n_features; i++) {
                static const char *const policies[] = {"require", "disable", "optional", "force", "forbid"};
                const struct virt_cpu_feature *feature = &d->cpu.features[i];

                if (!is_token(feature->name, ALNUM "-_.", 64))
                        return bad(reterr, "cpu.features", "not the name of a feature");
                if (feature->policy && enum_index_of(policies, G_N_ELEMENTS(policies), feature->policy) < 0)
                        return bad(reterr, "cpu.features", "not a policy of a feature");
        }
        return 0;
}

static int check_firmware(const struct virt_domain *d, struct virt_error *reterr)
{
        if (!virt_firmware_to_text(d->firmware))
                return bad(reterr, "firmware", "not a firmware");
        if (d->firmware == VIRT_FIRMWARE_BIOS)
                return d->loader || d->nvram_template ? bad(reterr, "firmware", "BIOS has no loader") : 0;
        if (!is_path(d->loader) || !is_path(d->nvram_template))
                return bad(reterr, "firmware", "EFI needs a loader and a variables template");
        return 0;
}

static int check_machine(const struct virt_domain *d, struct virt_error *reterr)
{
        if (d->type == VIRT_TYPE_UNSET || !virt_type_to_text(d->type))
                return bad(reterr, "type", "the domain type must be said");
        if (!is_token(d->name, ALNUM "._-", 64))
                return bad(reterr, "name", "1 to 64 of letters, digits, '.', '_' and '-', beginning with a letter or digit");
        if (!d->uuid || !uuid_valid(d->uuid))
                return bad(reterr, "uuid", "not a UUID");
        if (!is_text_or_absent(d->title, 256))
                return bad(reterr, "title", "not plain text of at most 256 bytes");
        if (!is_token(d->machine_type, ALNUM "._-", 64) || !strstr(d->machine_type, "q35"))
                return bad(reterr, "machineType", "only q35 machines are made");
        if (d->emulator && !is_path(d->emulator))
                return bad(reterr, "emulator", "not an absolute path");
        if (!d->memory_mib || d->memory_mib > MEMORY_MIB_MAX)
                return bad(reterr, "memory", "1 MiB to 16 TiB");
        if (d->balloon_mib > d->memory_mib)
                return bad(reterr, "memory", "the guest keeps no more than it has");
        if (d->max_memory_mib && (d->max_memory_mib < d->memory_mib || d->max_memory_mib > MEMORY_MIB_MAX))
                return bad(reterr, "memory", "the room to grow is not below the memory, and at most 16 TiB");
        if (d->serial_log && !is_path(d->serial_log))
                return bad(reterr, "serialLog", "not an absolute path");
        if (d->root_ports > VIRT_ROOT_PORTS_MAX)
                return bad(reterr, "rootPorts", "too many");
        return 0;
}

int virt_disk_check(const struct virt_disk *disk, struct virt_error *reterr)
{
        static const char *const caches[] = {"none", "writeback", "writethrough", "directsync", "unsafe", "default"};

        if (!is_text(disk->name, 253) || !*disk->name)
                return bad(reterr, "disks", "a disk has no name or one that is not plain text");
        if (!virt_bus_to_text(disk->bus) || !virt_format_to_text(disk->format))
                return bad(reterr, disk->name, "unknown bus or format");
        if (disk->path ? !is_path(disk->path) : !disk->cdrom)
                return bad(reterr, disk->name, "the path must be absolute and plain text; only a CD drive may be empty");
        if (disk->cdrom && disk->bus == VIRT_BUS_VIRTIO)
                return bad(reterr, disk->name, "a CD drive needs SATA or SCSI");
        if (disk->read_only && !disk->cdrom && disk->bus == VIRT_BUS_SATA)
                return bad(reterr, disk->name, "QEMU has no read-only SATA disk; use virtio, SCSI or a CD drive");
        if (disk->serial && (strlen(disk->serial) > 36 || strspn(disk->serial, ALNUM "_-.+ ") != strlen(disk->serial)))
                return bad(reterr, disk->name, "the serial number is at most 36 letters, digits, '_', '-', '.', '+' and blanks");
        if (disk->cache && enum_index_of(caches, G_N_ELEMENTS(caches), disk->cache) < 0)
                return bad(reterr, disk->name, "unknown cache mode");
        if (disk->cdrom && virt_disk_limits_any(&disk->limits))
                return bad(reterr, disk->name, "a CD drive is not limited");
        if (disk->limits.more || virt_disk_limits_fault(&disk->limits))
                return bad(reterr, disk->name, disk->limits.more ? "bursts cannot be set" : virt_disk_limits_fault(&disk->limits));
        if (!memchr(disk->target, 0, sizeof(disk->target)))
                return bad(reterr, disk->name, "the target is too long");
        if (*disk->target && !is_token(disk->target, "abcdefghijklmnopqrstuvwxyz", VIRT_TARGET_MAX - 1))
                return bad(reterr, disk->name, "not a target");
        return 0;
}

int virt_nic_check(const struct virt_nic *nic, struct virt_error *reterr)
{
        if (!is_text(nic->name, 253) || !*nic->name)
                return bad(reterr, "interfaces", "an interface has no name or one that is not plain text");
        if (!nic->mac || !mac_valid(nic->mac) || strchr("13579bdfBDF", nic->mac[1]))
                return bad(reterr, nic->name, "not the MAC address of one station");
        if (!is_token(nic->bridge, ALNUM "._-", 15))
                return bad(reterr, nic->name, "the bridge is not a name of an interface");
        if (!is_token(nic->tap, ALNUM "._-", 15) || g_str_has_prefix(nic->tap, "vnet"))
                return bad(reterr, nic->name, "the tap is not a name of an interface, or begins with libvirt's \"vnet\"");
        if (!virt_nic_model_to_text(nic->model))
                return bad(reterr, nic->name, "unknown model");
        if (nic->mtu && (nic->mtu < 68 || nic->mtu > 65535))
                return bad(reterr, nic->name, "the MTU is 68 to 65535");
        return 0;
}

static int check_unique(const struct virt_domain *d, struct virt_error *reterr)
{
        for (size_t i = 0; i < d->n_disks; i++)
                for (size_t j = 0; j < i; j++) {
                        if (!strcmp(d->disks[i].name, d->disks[j].name))
                                return bad(reterr, d->disks[i].name, "two disks have this name");
                        if (*d->disks[i].target && !strcmp(d->disks[i].target, d->disks[j].target))
                                return bad(reterr, d->disks[i].name, "two disks have its target");
                        if (d->disks[i].boot_order && d->disks[i].boot_order == d->disks[j].boot_order)
                                return bad(reterr, d->disks[i].name, "two disks have its boot order");
                }
        for (size_t i = 0; i < d->n_nics; i++)
                for (size_t j = 0; j < i; j++)
                        if (!strcmp(d->nics[i].name, d->nics[j].name) || !g_ascii_strcasecmp(d->nics[i].mac, d->nics[j].mac) ||
                            !strcmp(d->nics[i].tap, d->nics[j].tap))
                                return bad(reterr, d->nics[i].name, "two interfaces share a name, a MAC address or a tap");
        return 0;
}

int virt_domain_check(const struct virt_domain *d, struct virt_error *reterr)
{
        int r;

        assert(d && reterr && (d->disks || !d->n_disks) && (d->nics || !d->n_nics));

        r = check_machine(d, reterr);
        if (!r)
                r = check_owner(&d->owner, reterr);
        if (!r)
                r = check_cpu(d, reterr);
        if (!r)
                r = check_firmware(d, reterr);
        if (!r)
                r = check_smbios(&d->smbios, reterr);
        if (!r && (d->n_disks > VIRT_DISKS_MAX || d->n_nics > VIRT_NICS_MAX))
                r = bad(reterr, "devices", "too many disks or interfaces");
        for (size_t i = 0; i < d->n_disks && !r; i++)
                r = virt_disk_check(&d->disks[i], reterr);
        for (size_t i = 0; i < d->n_nics && !r; i++)
                r = virt_nic_check(&d->nics[i], reterr);
        return r ? r : check_unique(d, reterr);
}
