/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domain_internal.h"

#include "base/limits.h"
#include "base/names.h"
#include "virt/virt_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RECORD_VERSION 1
#define DRIVE_TEXT_MAX 16

static char *drive_format(const struct virt_drive *drive, char *text)
{
        snprintf(text, DRIVE_TEXT_MAX, "%u:%u:%u", drive->controller, drive->target, drive->unit);
        return text;
}

static int drive_parse(const char *text, struct virt_drive *ret_drive)
{
        unsigned controller, target, unit;
        char canonical[DRIVE_TEXT_MAX];
        struct virt_drive drive;

        if (!text || sscanf(text, "%3u:%3u:%3u", &controller, &target, &unit) != 3 || controller > 255 || target > 255 ||
            unit > 255)
                return -EINVAL;
        drive = (struct virt_drive){
                .set = true, .controller = (uint8_t)controller, .target = (uint8_t)target, .unit = (uint8_t)unit};
        if (strcmp(drive_format(&drive, canonical), text))
                return -EINVAL;
        *ret_drive = drive;
        return 0;
}

/* --- writing
 * ------------------------------------------------------------------------------------------------------------------------------------
 */

static void record_cpu(const struct virt_cpu *cpu, struct json_doc *doc, struct json_value *record)
{
        struct json_value *object = json_ensure_object(doc, record, "cpu");
        struct json_value *features;

        json_set_string(doc, object, "mode", virt_cpu_mode_to_text(cpu->mode));
        json_set_string(doc, object, "model", cpu->model);
        json_set_string(doc, object, "vendor", cpu->vendor);
        if (!cpu->n_features)
                return;
        features = json_ensure_array(doc, object, "features");
        for (size_t i = 0; i < cpu->n_features; i++) {
                struct json_value *feature = json_append(features, json_new(doc, JSON_OBJECT));

                json_set_string(doc, feature, "name", cpu->features[i].name);
                json_set_string(doc, feature, "policy", cpu->features[i].policy ? cpu->features[i].policy : "require");
        }
}

static void record_smbios(const struct virt_smbios *smbios, struct json_doc *doc, struct json_value *record)
{
        struct json_value *object = json_ensure_object(doc, record, "smbios");

        json_set_string(doc, object, "manufacturer", smbios->manufacturer ? smbios->manufacturer : VIRT_SMBIOS_MANUFACTURER);
        json_set_string(doc, object, "product", smbios->product ? smbios->product : VIRT_SMBIOS_PRODUCT);
        json_set_string(doc, object, "version", smbios->version);
        json_set_string(doc, object, "serial", smbios->serial);
        json_set_string(doc, object, "family", smbios->family);
}

static void record_disks(const struct virt_domain *d, struct json_doc *doc, struct json_value *record)
{
        struct json_value *disks = json_ensure_array(doc, record, "disks");

        for (size_t i = 0; i < d->n_disks; i++) {
                struct json_value *disk = json_append(disks, json_new(doc, JSON_OBJECT));
                char text[DRIVE_TEXT_MAX];

                json_set_string(doc, disk, "name", d->disks[i].name);
                json_set_string(doc, disk, "bus", virt_bus_to_text(d->disks[i].bus));
                json_set_string(doc, disk, "target", d->disks[i].target);
                json_set_string(doc, disk, "address",
                                d->disks[i].bus == VIRT_BUS_VIRTIO ? virt_pci_format(&d->disks[i].pci, text)
                                                                   : drive_format(&d->disks[i].drive, text));
        }
}

static void record_nics(const struct virt_domain *d, struct json_doc *doc, struct json_value *record)
{
        struct json_value *nics = json_ensure_array(doc, record, "interfaces");

        for (size_t i = 0; i < d->n_nics; i++) {
                struct json_value *nic = json_append(nics, json_new(doc, JSON_OBJECT));
                char text[VIRT_PCI_TEXT_MAX];

                json_set_string(doc, nic, "name", d->nics[i].name);
                json_set_string(doc, nic, "mac", d->nics[i].mac);
                json_set_string(doc, nic, "model", virt_nic_model_to_text(d->nics[i].model));
                json_set_string(doc, nic, "address", virt_pci_format(&d->nics[i].pci, text));
        }
}

struct json_value *virt_hardware_record(const struct virt_domain *domain, struct json_doc *doc)
{
        struct json_value *record, *devices;

        assert(domain && doc);

        record = json_new(doc, JSON_OBJECT);
        json_set_int(doc, record, "version", RECORD_VERSION);
        if (domain->profile)
                json_set_int(doc, record, "profile", domain->profile);
        json_set_string(doc, record, "type", virt_type_to_text(domain->type));
        json_set_string(doc, record, "machineType", domain->machine_type);
        json_set_string(doc, record, "uuid", domain->uuid);
        json_set_string(doc, record, "firmware", virt_firmware_to_text(domain->firmware));
        json_set_string(doc, record, "loader", domain->loader);
        json_set_string(doc, record, "nvramTemplate", domain->nvram_template);
        record_cpu(&domain->cpu, doc, record);
        record_smbios(&domain->smbios, doc, record);
        json_set_int(doc, record, "rootPorts", domain->root_ports);
        devices = json_ensure_object(doc, record, "devices");
        for (size_t i = 0; i < VIRT_FIXED_DEVICES; i++) {
                const struct virt_pci *pci = virt_fixed_pci((struct virt_domain *)domain, &virt_fixed_devices[i]);
                char text[VIRT_PCI_TEXT_MAX];

                if (pci->set)
                        json_set_string(doc, devices, virt_fixed_devices[i].name, virt_pci_format(pci, text));
        }
        record_disks(domain, doc, record);
        record_nics(domain, doc, record);
        return record;
}

/* --- applying
 * -------------------------------------------------------------------------------------------------------------------------------------
 */

static int malformed(struct virt_error *reterr, const char *member)
{
        return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "hardware.%s: not what a hardware record holds", member);
}

static int apply_cpu(struct virt_cpu *cpu, const struct json_value *record, struct arena *arena, struct virt_error *reterr)
{
        const struct json_value *object = json_get(record, "cpu"), *list = json_get(object, "features");
        struct virt_cpu_feature *features;
        struct virt_cpu recorded = {};

        if (!object)
                return 0;
        if (virt_cpu_mode_from_text(json_find_string(object, "mode", NULL), &recorded.mode) < 0)
                return malformed(reterr, "cpu.mode");
        recorded.model = json_find_string(object, "model", NULL);
        recorded.vendor = json_find_string(object, "vendor", NULL);
        features = arena_array(arena, json_length(list) + 1, sizeof(*features));
        for (const struct json_value *feature = json_first(list); feature; feature = json_next(feature)) {
                features[recorded.n_features].name = json_find_string(feature, "name", NULL);
                features[recorded.n_features].policy = json_find_string(feature, "policy", NULL);
                if (!features[recorded.n_features++].name)
                        return malformed(reterr, "cpu.features");
        }
        recorded.features = features;
        *cpu = recorded;
        return 0;
}

static void apply_text(const struct json_value *object, const char *key, const char **text)
{
        const char *recorded = json_find_string(object, key, NULL);

        if (recorded)
                *text = recorded;
}

static int apply_firmware(struct virt_domain *d, const struct json_value *record, unsigned parts, struct virt_error *reterr)
{
        const char *firmware = json_find_string(record, "firmware", NULL);
        enum virt_firmware recorded;

        if (!firmware)
                return 0;
        if (virt_firmware_from_text(firmware, &recorded) < 0)
                return malformed(reterr, "firmware");
        /* Variables of another firmware would take its keys away: Secure Boot without keys refuses nothing. */
        d->nvram_new = !(parts & VIRT_PART_FIRMWARE) && recorded != d->firmware;
        if (!(parts & VIRT_PART_FIRMWARE))
                return 0;
        d->firmware = recorded;
        d->loader = json_find_string(record, "loader", NULL);
        d->nvram_template = json_find_string(record, "nvramTemplate", NULL);
        return 0;
}

static int apply_machine(struct virt_domain *d, const struct json_value *record, struct virt_error *reterr)
{
        const struct json_value *smbios = json_get(record, "smbios"), *ports = json_get(record, "rootPorts");
        const struct json_value *profile = json_get(record, "profile");
        int64_t n = 1;

        if (profile && (json_int64(profile, &n) < 0 || n < 1 || n > VIRT_PROFILE_NEWEST))
                return malformed(reterr, "profile");
        d->profile = (unsigned)n;
        apply_text(record, "machineType", &d->machine_type);
        apply_text(record, "uuid", &d->uuid);
        apply_text(smbios, "manufacturer", &d->smbios.manufacturer);
        apply_text(smbios, "product", &d->smbios.product);
        apply_text(smbios, "version", &d->smbios.version);
        apply_text(smbios, "serial", &d->smbios.serial);
        apply_text(smbios, "family", &d->smbios.family);
        if (!ports)
                return 0;
        if (json_int64(ports, &n) < 0 || n < 0 || n > VIRT_ROOT_PORTS_MAX)
                return malformed(reterr, "rootPorts");
        d->root_ports = (unsigned)n;
        return 0;
}

static int apply_fixed(struct virt_domain *d, const struct json_value *record, struct virt_error *reterr)
{
        const struct json_value *devices = json_get(record, "devices");

        for (size_t i = 0; i < VIRT_FIXED_DEVICES; i++) {
                const struct json_value *address = json_get(devices, virt_fixed_devices[i].name);

                if (address && virt_pci_parse(json_string(address, NULL), virt_fixed_pci(d, &virt_fixed_devices[i])) < 0)
                        return malformed(reterr, "devices");
        }
        return 0;
}

static int apply_disk(struct virt_disk *disk, const struct json_value *recorded, struct virt_error *reterr)
{
        const char *target = json_find_string(recorded, "target", NULL), *address = json_find_string(recorded, "address", NULL);

        if (virt_bus_from_text(json_find_string(recorded, "bus", NULL), &disk->bus) < 0 || !target ||
            strlen(target) >= sizeof(disk->target))
                return malformed(reterr, "disks");
        memcpy(disk->target, target, strlen(target) + 1);
        if ((disk->bus == VIRT_BUS_VIRTIO ? virt_pci_parse(address, &disk->pci) : drive_parse(address, &disk->drive)) < 0)
                return malformed(reterr, "disks");
        return 0;
}

static int apply_disks(struct virt_domain *d, const struct json_value *record, struct virt_error *reterr)
{
        int r = 0;

        for (const struct json_value *it = json_first(json_get(record, "disks")); it && !r; it = json_next(it)) {
                const char *name = json_find_string(it, "name", NULL);

                for (size_t i = 0; i < d->n_disks && name && !r; i++)
                        if (!strcmp(d->disks[i].name, name))
                                r = apply_disk(&d->disks[i], it, reterr);
        }
        return r;
}

static int apply_nics(struct virt_domain *d, const struct json_value *record, struct virt_error *reterr)
{
        for (const struct json_value *it = json_first(json_get(record, "interfaces")); it; it = json_next(it)) {
                const char *mac = json_find_string(it, "mac", NULL);

                for (size_t i = 0; i < d->n_nics && mac; i++)
                        if (!g_ascii_strcasecmp(d->nics[i].mac, mac) &&
                            (virt_pci_parse(json_find_string(it, "address", NULL), &d->nics[i].pci) < 0 ||
                             virt_nic_model_from_text(json_find_string(it, "model", NULL), &d->nics[i].model) < 0))
                                return malformed(reterr, "interfaces");
        }
        return 0;
}

int virt_hardware_apply(struct virt_domain *domain, const struct json_value *record, unsigned parts, struct arena *arena,
                        struct virt_error *reterr)
{
        int64_t version;
        int r;

        assert(domain && arena && reterr);

        if (!record || json_is(record, JSON_NULL))
                return 0;
        if (json_int64(json_get(record, "version"), &version) < 0 || version < 1)
                return malformed(reterr, "version");
        if (version > RECORD_VERSION)
                return virt_say(reterr, VIRT_E_INVALID, "ProtocolMismatch",
                                "the hardware record is of version %" G_GINT64_FORMAT "; this agent knows %d", version,
                                RECORD_VERSION);
        r = apply_machine(domain, record, reterr);
        if (!r)
                r = apply_firmware(domain, record, parts, reterr);
        if (!r && parts & VIRT_PART_CPU)
                r = apply_cpu(&domain->cpu, record, arena, reterr);
        if (!r)
                r = apply_fixed(domain, record, reterr);
        if (r || !(parts & VIRT_PART_BUSES))
                return r;
        r = apply_disks(domain, record, reterr);
        return r ? r : apply_nics(domain, record, reterr);
}
