/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domain_extras.h"
#include "virt/domain_internal.h"

#include "base/limits.h"
#include "virt/graphics_internal.h"
#include "virt/virt_internal.h"
#include "virt/xml.h"

#include <assert.h>
#include <string.h>

struct virt_facts *virt_facts_free(struct virt_facts *facts)
{
        if (facts) {
                arena_free(facts->arena);
                g_free(facts);
        }
        return NULL;
}

static size_t count(xmlNodePtr node)
{
        size_t n = 0;

        for (; node; node = xml_next(node))
                n++;
        return n;
}

static void read_pci(xmlNodePtr device, struct virt_pci *ret_pci)
{
        xmlNodePtr address = xml_child(device, "address");

        if (!xml_attribute_is(address, "type", "pci"))
                return;
        *ret_pci = (struct virt_pci){
                .set = true,
                .bus = (uint8_t)xml_attribute_number(address, "bus", UINT8_MAX, 0),
                .slot = (uint8_t)xml_attribute_number(address, "slot", 31, 0),
                .function = (uint8_t)xml_attribute_number(address, "function", 7, 0),
        };
}

/* --- metadata
 * ---------------------------------------------------------------------------------------------------------------------------------
 */

static xmlNodePtr find_instance(xmlNodePtr root)
{
        xmlNodePtr node = xml_find(root, "metadata/instance");

        while (node && (!node->ns || xmlStrcmp(node->ns->href, (const xmlChar *)VIRT_METADATA_URI)))
                node = xml_next(node);
        return node;
}

static void read_owner(xmlNodePtr instance, struct virt_facts *facts)
{
        struct virt_owner *owner = &facts->domain.owner;

        owner->machine_uid = xml_attribute(instance, "machineUid", facts->arena);
        owner->instance_uid = xml_attribute(instance, "instanceUid", facts->arena);
        owner->machine_namespace = xml_attribute(instance, "namespace", facts->arena);
        owner->machine_name = xml_attribute(instance, "name", facts->arena);
        owner->generation = (int64_t)xml_attribute_number(instance, "generation", INT64_MAX, 0);
        owner->epoch = (int64_t)xml_attribute_number(instance, "epoch", INT64_MAX, 0);
        owner->order = (int64_t)xml_attribute_number(instance, "order", INT64_MAX, 0);
        owner->graphics_version = (int64_t)xml_attribute_number(instance, "graphicsVersion", INT64_MAX, 0);
        owner->resetting = xml_attribute_is(instance, "resetting", "yes");
        facts->own = owner->machine_uid && owner->instance_uid;
}

/* Our name of the device whose @key attribute is @value, or @value itself for one that we did not name. */
static const char *name_of(xmlNodePtr instance, const char *element, const char *key, const char *value, struct arena *arena,
                           bool *ret_own)
{
        for (xmlNodePtr node = xml_child(instance, element); node; node = xml_next(node))
                if (value && xml_attribute_is(node, key, value)) {
                        *ret_own = true;
                        return xml_attribute(node, "name", arena);
                }
        return value;
}

/* --- the machine
 * --------------------------------------------------------------------------------------------------------------------------------
 */

static void read_features(xmlNodePtr cpu, struct virt_cpu *ret_cpu, struct arena *arena)
{
        size_t n = count(xml_child(cpu, "feature")), i = 0;
        struct virt_cpu_feature *features = arena_array(arena, n ? n : 1, sizeof(*features));

        for (xmlNodePtr node = xml_child(cpu, "feature"); node; node = xml_next(node)) {
                features[i].name = xml_attribute(node, "name", arena);
                features[i].policy = xml_attribute(node, "policy", arena);
                i += features[i].name != NULL;
        }
        ret_cpu->features = features;
        ret_cpu->n_features = i;
}

static void read_cpu(xmlNodePtr root, struct virt_domain *d, struct arena *arena)
{
        xmlNodePtr cpu = xml_child(root, "cpu"), topology = xml_child(cpu, "topology");
        const char *mode = xml_attribute(cpu, "mode", arena);

        d->max_vcpus = (unsigned)xml_text_number(xml_child(root, "vcpu"), 4096, 1);
        d->vcpus = (unsigned)xml_attribute_number(xml_child(root, "vcpu"), "current", d->max_vcpus, d->max_vcpus);
        d->sockets = (unsigned)xml_attribute_number(topology, "sockets", 4096, d->max_vcpus);
        d->max_vcpus = d->max_vcpus > d->vcpus ? d->max_vcpus : 0;
        d->cores_per_socket = (unsigned)xml_attribute_number(topology, "cores", 4096, 1);
        d->cpu_shares = (unsigned)xml_text_number(xml_find(root, "cputune/shares"), UINT32_MAX, 0);
        if (mode)
                (void)virt_cpu_mode_from_text(mode, &d->cpu.mode); /* an unknown one reads as custom without a model */
        d->cpu.model = d->cpu.mode == VIRT_CPU_CUSTOM ? xml_text(xml_child(cpu, "model"), arena) : NULL;
        d->cpu.vendor = d->cpu.mode == VIRT_CPU_CUSTOM ? xml_text(xml_child(cpu, "vendor"), arena) : NULL;
        read_features(cpu, &d->cpu, arena);
}

static uint64_t read_memory_mib(xmlNodePtr memory, struct arena *arena)
{
        static const struct {
                const char *unit;
                uint64_t bytes;
        } units[] = {{"bytes", 1},        {"b", 1},          {"KiB", 1ull << 10}, {"k", 1ull << 10},
                     {"MiB", 1ull << 20}, {"M", 1ull << 20}, {"GiB", 1ull << 30}, {"G", 1ull << 30}};
        const char *unit = xml_attribute(memory, "unit", arena);
        uint64_t number = xml_text_number(memory, 1ull << 33, 0);

        for (size_t i = 0; unit && i < G_N_ELEMENTS(units); i++)
                if (!strcmp(unit, units[i].unit))
                        return number * units[i].bytes >> 20;
        return number >> 10; /* KiB is what a missing unit means */
}

static void read_smbios(xmlNodePtr root, struct virt_smbios *smbios, struct arena *arena)
{
        for (xmlNodePtr entry = xml_find(root, "sysinfo/system/entry"); entry; entry = xml_next(entry)) {
                const char *name = xml_attribute(entry, "name", arena), *text = xml_text(entry, arena);

                if (!g_strcmp0(name, "manufacturer"))
                        smbios->manufacturer = text;
                else if (!g_strcmp0(name, "product"))
                        smbios->product = text;
                else if (!g_strcmp0(name, "version"))
                        smbios->version = text;
                else if (!g_strcmp0(name, "serial"))
                        smbios->serial = text;
                else if (!g_strcmp0(name, "family"))
                        smbios->family = text;
        }
}

static void read_firmware(xmlNodePtr root, struct virt_facts *facts)
{
        xmlNodePtr loader = xml_find(root, "os/loader"), nvram = xml_find(root, "os/nvram");
        struct virt_domain *d = &facts->domain;
        const char *path = xml_text(nvram, facts->arena);

        if (!xml_attribute_is(loader, "type", "pflash"))
                return;
        d->firmware = xml_attribute_is(loader, "secure", "yes") ? VIRT_FIRMWARE_EFI_SECURE : VIRT_FIRMWARE_EFI;
        d->loader = xml_text(loader, facts->arena);
        d->nvram_template = xml_attribute(nvram, "template", facts->arena);
        facts->nvram = path && *path ? path : NULL;
}

static void read_machine(xmlNodePtr root, struct virt_facts *facts)
{
        struct virt_domain *d = &facts->domain;
        const char *type = xml_attribute(root, "type", facts->arena);

        if (type)
                (void)virt_type_from_text(type, &d->type);
        facts->id = (int)xml_attribute_number(root, "id", INT32_MAX, UINT64_MAX);
        d->name = xml_text(xml_child(root, "name"), facts->arena);
        d->uuid = xml_text(xml_child(root, "uuid"), facts->arena);
        d->title = xml_text(xml_child(root, "title"), facts->arena);
        d->machine_type = xml_attribute(xml_find(root, "os/type"), "machine", facts->arena);
        d->emulator = xml_text(xml_find(root, "devices/emulator"), facts->arena);
        d->memory_mib = read_memory_mib(xml_child(root, "memory"), facts->arena);
        d->balloon_mib = read_memory_mib(xml_child(root, "currentMemory"), facts->arena);
        if (d->balloon_mib >= d->memory_mib)
                d->balloon_mib = 0;
        d->max_memory_mib = read_memory_mib(xml_child(root, "maxMemory"), facts->arena);
        d->windows = xml_attribute_is(xml_child(root, "clock"), "offset", "localtime");
        d->legacy = d->windows && xml_attribute_is(xml_find(root, "devices/panic"), "model", "isa");
        d->windows = d->windows && !d->legacy;
        read_cpu(root, d, facts->arena);
        read_smbios(root, &d->smbios, facts->arena);
        read_firmware(root, facts);
}

/* --- devices
 * --------------------------------------------------------------------------------------------------------------------------------
 */

/* The name of a group says nothing, nor does the length of bursts without their height. */
static bool says_nothing(const char *name)
{
        return strcmp(name, "group_name") == 0 || g_str_has_suffix(name, "_max_length");
}

static void read_limits(xmlNodePtr iotune, struct virt_disk_limits *limits)
{
        for (xmlNodePtr node = iotune ? iotune->children : NULL; node; node = node->next) {
                uint64_t most = node->type == XML_ELEMENT_NODE ? xml_text_number(node, INT64_MAX, 0) : 0;
                enum virt_limit limit;

                if (most && virt_limit_from_text((const char *)node->name, &limit) == 0)
                        limits->most[limit] = most;
                else if (most && !says_nothing((const char *)node->name))
                        limits->more = true;
        }
}

/* False for a disk that this folder would not make. */
static bool read_disk(xmlNodePtr node, xmlNodePtr instance, struct virt_disk *disk, struct arena *arena)
{
        xmlNodePtr driver = xml_child(node, "driver"), target = xml_child(node, "target"), address = xml_child(node, "address");
        const char *format = xml_attribute(driver, "type", arena), *bus = xml_attribute(target, "bus", arena);
        const char *dev = xml_attribute(target, "dev", arena), *cache;

        disk->cdrom = xml_attribute_is(node, "device", "cdrom");
        if ((format && virt_format_from_text(format, &disk->format) < 0) || virt_bus_from_text(bus, &disk->bus) < 0 ||
            !xml_attribute_is(node, "type", "file") || !dev || strlen(dev) >= sizeof(disk->target))
                return false;
        memcpy(disk->target, dev, strlen(dev) + 1);
        disk->name = name_of(instance, "disk", "target", dev, arena, &disk->own);
        disk->path = xml_attribute(xml_child(node, "source"), "file", arena);
        disk->read_only = xml_child(node, "readonly") && !disk->cdrom;
        disk->no_discard = !disk->cdrom && !disk->read_only && !xml_attribute_is(driver, "discard", "unmap");
        disk->serial = xml_text(xml_child(node, "serial"), arena);
        disk->boot_order = (unsigned)xml_attribute_number(xml_child(node, "boot"), "order", UINT16_MAX, 0);
        read_limits(xml_child(node, "iotune"), &disk->limits);
        cache = xml_attribute(driver, "cache", arena);
        disk->cache = cache || disk->cdrom ? cache : "default";
        read_pci(node, &disk->pci);
        if (xml_attribute_is(address, "type", "drive"))
                disk->drive = (struct virt_drive){
                        .set = true,
                        .controller = (uint8_t)xml_attribute_number(address, "controller", UINT8_MAX, 0),
                        .target = (uint8_t)xml_attribute_number(address, "target", UINT8_MAX, 0),
                        .unit = (uint8_t)xml_attribute_number(address, "unit", UINT8_MAX, 0),
                };
        return true;
}

static bool read_nic(xmlNodePtr node, xmlNodePtr instance, struct virt_nic *nic, struct arena *arena)
{
        const char *model = xml_attribute(xml_child(node, "model"), "type", arena);
        bool own = false;

        nic->mac = xml_attribute(xml_child(node, "mac"), "address", arena);
        nic->bridge = xml_attribute(xml_child(node, "source"), "bridge", arena);
        nic->tap = xml_attribute(xml_child(node, "target"), "dev", arena);
        if (!xml_attribute_is(node, "type", "bridge") || !nic->mac || !nic->bridge ||
            virt_nic_model_from_text(model, &nic->model) < 0)
                return false;
        nic->name = name_of(instance, "interface", "mac", nic->mac, arena, &own);
        nic->mtu = (unsigned)xml_attribute_number(xml_child(node, "mtu"), "size", UINT16_MAX, 0);
        nic->isolated = xml_attribute_is(xml_child(node, "port"), "isolated", "yes");
        nic->checksum_off = xml_attribute_is(xml_find(node, "driver/host"), "csum", "off");
        nic->link_down = xml_attribute_is(xml_child(node, "link"), "state", "down");
        read_pci(node, &nic->pci);
        return true;
}

static void read_controllers(xmlNodePtr devices, struct virt_domain *d)
{
        for (xmlNodePtr node = xml_child(devices, "controller"); node; node = xml_next(node)) {
                if (xml_attribute_is(node, "model", "pcie-root-port"))
                        d->root_ports = MAX(d->root_ports, (unsigned)xml_attribute_number(node, "index", VIRT_ROOT_PORTS_MAX, 0));
                else if (xml_attribute_is(node, "type", "virtio-serial"))
                        read_pci(node, &d->channel_pci);
                else if (xml_attribute_is(node, "type", "scsi"))
                        read_pci(node, &d->scsi_pci);
                else if (xml_attribute_is(node, "type", "usb"))
                        read_pci(node, &d->usb_pci);
        }
}

static void read_console(xmlNodePtr devices, struct virt_facts *facts)
{
        xmlNodePtr serial = xml_child(devices, "serial");

        facts->domain.serial_log = xml_attribute(xml_child(serial, "log"), "file", facts->arena);
        if (xml_attribute_is(serial, "type", "pty"))
                facts->console_pty = xml_attribute(xml_child(serial, "source"), "path", facts->arena);
}

static void read_devices(xmlNodePtr devices, xmlNodePtr instance, struct virt_facts *facts)
{
        struct virt_domain *d = &facts->domain;

        d->disks = arena_array(facts->arena, count(xml_child(devices, "disk")) + 1, sizeof(*d->disks));
        for (xmlNodePtr node = xml_child(devices, "disk"); node; node = xml_next(node)) {
                d->disks[d->n_disks] = (struct virt_disk){};
                d->n_disks += read_disk(node, instance, &d->disks[d->n_disks], facts->arena);
        }
        d->nics = arena_array(facts->arena, count(xml_child(devices, "interface")) + 1, sizeof(*d->nics));
        for (xmlNodePtr node = xml_child(devices, "interface"); node; node = xml_next(node)) {
                d->nics[d->n_nics] = (struct virt_nic){};
                d->n_nics += read_nic(node, instance, &d->nics[d->n_nics], facts->arena);
        }
        read_controllers(devices, d);
        read_console(devices, facts);
        virt_graphics_read(devices, facts);
        virt_extras_read(devices, facts);
        read_pci(xml_child(devices, "video"), &d->video_pci);
        read_pci(xml_child(devices, "rng"), &d->rng_pci);
        read_pci(xml_child(devices, "memballoon"), &d->balloon_pci);
        d->no_rng = !xml_child(devices, "rng");
        d->no_balloon = !xml_child(devices, "memballoon") || xml_attribute_is(xml_child(devices, "memballoon"), "model", "none");
}

int virt_facts_from_xml(const char *xml, struct virt_facts **ret_facts, struct virt_error *reterr)
{
        g_autoptr(virt_facts) facts = NULL;
        xmlNodePtr root, instance;
        AUTO_XML doc = NULL;

        assert(xml && ret_facts && reterr);

        doc = xml_parse(xml, LIMIT_DOMAIN_XML_BYTES);
        root = doc ? xml_root(doc) : NULL;
        if (!root || xmlStrcmp(root->name, (const xmlChar *)"domain"))
                return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "not the description of a domain");
        facts = g_new0(struct virt_facts, 1);
        facts->arena = arena_new(0);
        instance = find_instance(root);
        if (instance)
                read_owner(instance, facts);
        read_machine(root, facts);
        read_devices(xml_child(root, "devices"), instance, facts);
        if (!facts->domain.name || !facts->domain.uuid)
                return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "the description has no name or UUID");
        *ret_facts = g_steal_pointer(&facts);
        return 0;
}
