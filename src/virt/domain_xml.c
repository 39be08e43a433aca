/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domain_xml.h"

#include "base/limits.h"
#include "virt/domain_extras.h"
#include "virt/domain_internal.h"
#include "virt/graphics_internal.h"
#include "virt/virt_internal.h"
#include "virt/xml.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static const char *yes_no(bool yes)
{
        return yes ? "yes" : "no";
}

static unsigned profile_of(const struct virt_domain *d)
{
        return d->profile ? d->profile : VIRT_PROFILE_NEWEST;
}

static xmlNodePtr add_address(xmlNodePtr device, const struct virt_pci *pci)
{
        char bus[8], slot[8], function[8];

        assert(pci->set);

        g_snprintf(bus, sizeof(bus), "0x%02x", pci->bus);
        g_snprintf(slot, sizeof(slot), "0x%02x", pci->slot);
        g_snprintf(function, sizeof(function), "0x%x", pci->function);
        return xml_add(device, "address", "type", "pci", "domain", "0x0000", "bus", bus, "slot", slot, "function", function, NULL);
}

/* --- what the machine is
 * -------------------------------------------------------------------------------------------------------------------- */

static void add_metadata(xmlNodePtr root, const struct virt_domain *d)
{
        xmlNodePtr instance = xml_add(xml_add(root, "metadata", NULL), "instance", NULL);
        xmlNsPtr ns = xmlNewNs(instance, (const xmlChar *)VIRT_METADATA_URI, (const xmlChar *)"gabbro");

        xmlSetNs(instance, ns);
        xml_set(instance, "machineUid", d->owner.machine_uid);
        xml_set(instance, "instanceUid", d->owner.instance_uid);
        xml_set_number(instance, "generation", (uint64_t)d->owner.generation);
        xml_set_number(instance, "epoch", (uint64_t)d->owner.epoch);
        if (d->owner.order)
                xml_set_number(instance, "order", (uint64_t)d->owner.order);
        if (d->owner.graphics_version)
                xml_set_number(instance, "graphicsVersion", (uint64_t)d->owner.graphics_version);
        if (d->owner.machine_namespace)
                xml_set(instance, "namespace", d->owner.machine_namespace);
        if (d->owner.machine_name)
                xml_set(instance, "name", d->owner.machine_name);
        for (size_t i = 0; i < d->n_disks; i++)
                xmlSetNs(xml_add(instance, "disk", "name", d->disks[i].name, "target", d->disks[i].target, NULL), ns);
        for (size_t i = 0; i < d->n_nics; i++)
                xmlSetNs(xml_add(instance, "interface", "name", d->nics[i].name, "mac", d->nics[i].mac, NULL), ns);
}

static void add_sizes(xmlNodePtr root, const struct virt_domain *d)
{
        xmlNodePtr vcpu;

        if (d->max_memory_mib) {
                xmlNodePtr most = xml_add_number(root, "maxMemory", d->max_memory_mib);

                xml_set_number(most, "slots", VIRT_MEMORY_SLOTS);
                xml_set(most, "unit", "MiB");
        }
        xml_set(xml_add_number(root, "memory", d->memory_mib), "unit", "MiB");
        xml_set(xml_add_number(root, "currentMemory", d->balloon_mib ? d->balloon_mib : d->memory_mib), "unit", "MiB");
        vcpu = xml_add_number(root, "vcpu", virt_domain_most_vcpus(d));
        xml_set(vcpu, "placement", "static");
        if (virt_domain_most_vcpus(d) > d->vcpus)
                xml_set_number(vcpu, "current", d->vcpus);
        if (d->cpu_shares)
                xml_add_number(xml_add(root, "cputune", NULL), "shares", d->cpu_shares);
}

static void add_sysinfo(xmlNodePtr root, const struct virt_domain *d)
{
        xmlNodePtr system = xml_add(xml_add(root, "sysinfo", "type", "smbios", NULL), "system", NULL);
        const struct {
                const char *name, *text;
        } entries[] = {
                {"manufacturer", d->smbios.manufacturer ? d->smbios.manufacturer : VIRT_SMBIOS_MANUFACTURER},
                {"product", d->smbios.product ? d->smbios.product : VIRT_SMBIOS_PRODUCT},
                {"version", d->smbios.version},
                {"serial", d->smbios.serial},
                {"uuid", d->uuid},
                {"family", d->smbios.family},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(entries); i++)
                if (entries[i].text)
                        xml_set(xml_add_text(system, "entry", entries[i].text), "name", entries[i].name);
}

static void add_os(xmlNodePtr root, const struct virt_domain *d)
{
        xmlNodePtr os = xml_add(root, "os", NULL), node;

        node = xml_add_text(os, "type", "hvm");
        xml_set(node, "arch", "x86_64");
        xml_set(node, "machine", d->machine_type);
        if (d->firmware != VIRT_FIRMWARE_BIOS) {
                node = xml_add_text(os, "loader", d->loader);
                xml_set(node, "readonly", "yes");
                xml_set(node, "secure", yes_no(d->firmware == VIRT_FIRMWARE_EFI_SECURE));
                xml_set(node, "type", "pflash");
                xml_add(os, "nvram", "template", d->nvram_template, NULL);
        }
        xml_add(os, "smbios", "mode", "sysinfo", NULL);
}

/* QEMU has these on KVM only; by the profile that brought them. */
static void add_enlightenments(xmlNodePtr features, unsigned profile)
{
        static const struct {
                const char *name;
                unsigned profile;
        } all[] = {{"relaxed", 1}, {"vapic", 1}, {"vpindex", 1},     {"runtime", 1},  {"synic", 1},
                   {"stimer", 1},  {"reset", 1}, {"frequencies", 1}, {"tlbflush", 2}, {"ipi", 2}};
        xmlNodePtr hyperv = xml_add(features, "hyperv", "mode", "custom", NULL), node;

        for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
                if (all[i].profile > profile)
                        continue;
                node = xml_add(hyperv, all[i].name, "state", "on", NULL);
                if (profile >= 2 && strcmp(all[i].name, "stimer") == 0)
                        xml_add(node, "direct", "state", "on", NULL);
        }
        xml_add(hyperv, "spinlocks", "state", "on", "retries", "8191", NULL);
}

static void add_features(xmlNodePtr root, const struct virt_domain *d)
{
        xmlNodePtr features = xml_add(root, "features", NULL);

        xml_add(features, "acpi", NULL);
        xml_add(features, "apic", NULL);
        if (d->windows && d->type == VIRT_TYPE_KVM)
                add_enlightenments(features, profile_of(d));
        if (d->firmware == VIRT_FIRMWARE_EFI_SECURE)
                xml_add(features, "smm", "state", "on", NULL);
}

/* Memory that comes belongs to a node of the guest, so there is one. */
static void add_numa(xmlNodePtr cpu, const struct virt_domain *d)
{
        g_autofree char *cpus = g_strdup_printf("0-%u", virt_domain_most_vcpus(d) - 1);
        xmlNodePtr cell = xml_add(xml_add(cpu, "numa", NULL), "cell", "id", "0", "cpus", cpus, NULL);

        xml_set_number(cell, "memory", d->memory_mib);
        xml_set(cell, "unit", "MiB");
}

static void add_cpu(xmlNodePtr root, const struct virt_domain *d)
{
        bool custom = d->cpu.mode == VIRT_CPU_CUSTOM;
        xmlNodePtr cpu = xml_add(root, "cpu", "mode", virt_cpu_mode_to_text(d->cpu.mode), "match", custom ? "exact" : NULL, "check",
                                 custom ? "partial" : "none", NULL);
        xmlNodePtr topology;

        if (custom)
                xml_set(xml_add_text(cpu, "model", d->cpu.model), "fallback", "forbid");
        if (custom && d->cpu.vendor)
                xml_add_text(cpu, "vendor", d->cpu.vendor);
        topology = xml_add(cpu, "topology", NULL);
        xml_set_number(topology, "sockets", d->sockets);
        xml_set(topology, "dies", "1");
        xml_set_number(topology, "cores", d->cores_per_socket);
        xml_set(topology, "threads", "1");
        for (size_t i = 0; i < d->cpu.n_features; i++)
                xml_add(cpu, "feature", "policy", d->cpu.features[i].policy ? d->cpu.features[i].policy : "require", "name",
                        d->cpu.features[i].name, NULL);
        if (d->max_memory_mib)
                add_numa(cpu, d);
}

static void add_clock(xmlNodePtr root, const struct virt_domain *d)
{
        xmlNodePtr clock = xml_add(root, "clock", "offset", d->windows || d->legacy ? "localtime" : "utc", NULL);

        xml_add(clock, "timer", "name", "rtc", "tickpolicy", "catchup", NULL);
        xml_add(clock, "timer", "name", "pit", "tickpolicy", "delay", NULL);
        xml_add(clock, "timer", "name", "hpet", "present", "no", NULL);
        if (d->windows && d->type == VIRT_TYPE_KVM)
                xml_add(clock, "timer", "name", "hypervclock", "present", "yes", NULL);
        if (d->windows && d->type == VIRT_TYPE_KVM && profile_of(d) >= 2)
                xml_add(clock, "timer", "name", "kvmclock", "present", "no", NULL); /* Windows reads the other one */
}

static void add_lifecycle(xmlNodePtr root)
{
        xmlNodePtr pm;

        xml_add_text(root, "on_poweroff", "destroy");
        xml_add_text(root, "on_reboot", "restart");
        /* A guest whose kernel panicked stands still until we have seen it: an event that nobody hears would be lost. */
        xml_add_text(root, "on_crash", "preserve");
        pm = xml_add(root, "pm", NULL);
        xml_add(pm, "suspend-to-mem", "enabled", "no", NULL);
        xml_add(pm, "suspend-to-disk", "enabled", "no", NULL);
}

/* --- devices
 * --------------------------------------------------------------------------------------------------------------------------------
 */

static xmlNodePtr add_controller(xmlNodePtr devices, const char *type, unsigned index, const char *model)
{
        xmlNodePtr controller = xml_add(devices, "controller", "type", type, NULL);

        xml_set_number(controller, "index", index);
        if (model)
                xml_set(controller, "model", model);
        return controller;
}

static void add_root_port(xmlNodePtr devices, unsigned index)
{
        struct virt_pci pci = virt_root_port_pci(index);
        xmlNodePtr controller = add_controller(devices, "pci", index, "pcie-root-port"), target, address;
        char port[8];

        xml_add(controller, "model", "name", "pcie-root-port", NULL);
        g_snprintf(port, sizeof(port), "0x%x", pci.slot << 3 | pci.function);
        target = xml_add(controller, "target", NULL);
        xml_set_number(target, "chassis", index);
        xml_set(target, "port", port);
        address = add_address(controller, &pci);
        if (pci.function == 0)
                xml_set(address, "multifunction", "on");
}

static void add_controllers(xmlNodePtr devices, const struct virt_domain *d)
{
        static const struct virt_pci sata = {.set = true, .slot = 0x1f, .function = 2}; /* part of the q35 chip set */

        add_controller(devices, "pci", 0, "pcie-root");
        for (unsigned i = 1; i <= d->root_ports; i++)
                add_root_port(devices, i);
        add_address(add_controller(devices, "sata", 0, NULL), &sata);
        add_address(add_controller(devices, "virtio-serial", 0, NULL), &d->channel_pci);
        if (virt_domain_has_bus(d, VIRT_BUS_SCSI))
                add_address(add_controller(devices, "scsi", 0, "virtio-scsi"), &d->scsi_pci);
        if (d->no_vnc)
                add_controller(devices, "usb", 0, "none");
        else
                add_address(add_controller(devices, "usb", 0, "qemu-xhci"), &d->usb_pci);
}

char *virt_scsi_to_xml(const struct virt_pci *pci)
{
        AUTO_XML doc = NULL;

        assert(pci && pci->set);

        doc = xml_new("devices");
        add_address(add_controller(xml_root(doc), "scsi", 0, "virtio-scsi"), pci);
        return xml_node_to_text(xml_child(xml_root(doc), "controller"));
}

static void add_limits(xmlNodePtr disk, const struct virt_disk_limits *limits)
{
        xmlNodePtr iotune = virt_disk_limits_any(limits) ? xml_add(disk, "iotune", NULL) : NULL;

        for (int i = 0; iotune && i < VIRT_LIMITS; i++)
                if (limits->most[i])
                        xml_add_number(iotune, virt_limit_to_text((enum virt_limit)i), limits->most[i]);
}

static void add_disk(xmlNodePtr devices, const struct virt_disk *disk)
{
        bool fixed = disk->cdrom || disk->read_only, unmap = !fixed && !disk->no_discard;
        xmlNodePtr node = xml_add(devices, "disk", "type", "file", "device", disk->cdrom ? "cdrom" : "disk", NULL), address;
        const char *cache = disk->cache ? disk->cache : disk->cdrom ? NULL : "none";

        xml_add(node, "driver", "name", "qemu", "type", virt_format_to_text(disk->format), "cache", cache, "discard",
                unmap ? "unmap" : NULL, "detect_zeroes", unmap ? "unmap" : NULL, NULL);
        if (disk->path)
                xml_add(node, "source", "file", disk->path, NULL);
        xml_add(node, "target", "dev", disk->target, "bus", virt_bus_to_text(disk->bus), NULL);
        add_limits(node, &disk->limits);
        if (fixed)
                xml_add(node, "readonly", NULL);
        if (disk->serial)
                xml_add_text(node, "serial", disk->serial);
        if (disk->boot_order)
                xml_set_number(xml_add(node, "boot", NULL), "order", disk->boot_order);
        if (disk->bus == VIRT_BUS_VIRTIO) {
                add_address(node, &disk->pci);
                return;
        }
        address = xml_add(node, "address", "type", "drive", NULL);
        xml_set_number(address, "controller", disk->drive.controller);
        xml_set_number(address, "bus", 0);
        xml_set_number(address, "target", disk->drive.target);
        xml_set_number(address, "unit", disk->drive.unit);
}

int virt_disk_to_xml(const struct virt_disk *disk, char **ret_xml, struct virt_error *reterr)
{
        AUTO_XML doc = NULL;
        int r;

        assert(disk && ret_xml && reterr);

        r = virt_disk_check(disk, reterr);
        if (!r && (!*disk->target || !(disk->bus == VIRT_BUS_VIRTIO ? disk->pci.set : disk->drive.set)))
                r = virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "%s: it has no place", disk->name);
        if (r)
                return r;
        doc = xml_new("devices");
        add_disk(xml_root(doc), disk);
        *ret_xml = xml_node_to_text(xml_child(xml_root(doc), "disk"));
        return 0;
}

static void add_checksum_off(xmlNodePtr interface)
{
        xmlNodePtr driver = xml_add(interface, "driver", "name", "qemu", NULL);

        xml_add(driver, "host", "csum", "off", "gso", "off", "tso4", "off", "tso6", "off", "ecn", "off", "ufo", "off", NULL);
        xml_add(driver, "guest", "csum", "off", "tso4", "off", "tso6", "off", "ecn", "off", "ufo", "off", NULL);
}

static void add_nic(xmlNodePtr devices, const struct virt_nic *nic)
{
        xmlNodePtr node = xml_add(devices, "interface", "type", "bridge", NULL);

        xml_add(node, "mac", "address", nic->mac, NULL);
        xml_add(node, "source", "bridge", nic->bridge, NULL);
        xml_add(node, "target", "dev", nic->tap, NULL);
        xml_add(node, "model", "type", virt_nic_model_to_text(nic->model), NULL);
        if (nic->checksum_off)
                add_checksum_off(node);
        if (nic->link_down)
                xml_add(node, "link", "state", "down", NULL);
        if (nic->mtu)
                xml_set_number(xml_add(node, "mtu", NULL), "size", nic->mtu);
        if (nic->isolated)
                xml_add(node, "port", "isolated", "yes", NULL);
        add_address(node, &nic->pci);
}

int virt_nic_to_xml(const struct virt_nic *nic, char **ret_xml, struct virt_error *reterr)
{
        AUTO_XML doc = NULL;
        int r;

        assert(nic && ret_xml && reterr);

        r = virt_nic_check(nic, reterr);
        if (!r && !nic->pci.set)
                r = virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "%s: it has no place", nic->name);
        if (r)
                return r;
        doc = xml_new("devices");
        add_nic(xml_root(doc), nic);
        *ret_xml = xml_node_to_text(xml_child(xml_root(doc), "interface"));
        return 0;
}

static void add_serial(xmlNodePtr devices, const struct virt_domain *d)
{
        xmlNodePtr serial = xml_add(devices, "serial", "type", "pty", NULL), target;

        if (d->serial_log)
                xml_add(serial, "log", "file", d->serial_log, "append", "on", NULL);
        target = xml_add(serial, "target", "type", "isa-serial", "port", "0", NULL);
        xml_add(target, "model", "name", "isa-serial", NULL);
        xml_add(xml_add(devices, "console", "type", "pty", NULL), "target", "type", "serial", "port", "0", NULL);
}

static void add_channel(xmlNodePtr devices)
{
        xmlNodePtr channel = xml_add(devices, "channel", "type", "unix", NULL);

        xml_add(channel, "target", "type", "virtio", "name", "org.qemu.guest_agent.0", NULL);
        xml_add(channel, "address", "type", "virtio-serial", "controller", "0", "bus", "0", "port", "1", NULL);
}

static void add_display(xmlNodePtr devices, const struct virt_domain *d)
{
        xmlNodePtr tablet, video;

        if (d->no_vnc)
                return;
        tablet = xml_add(devices, "input", "type", "tablet", "bus", "usb", NULL);
        xml_add(tablet, "address", "type", "usb", "bus", "0", "port", "1", NULL);
        virt_graphics_add(devices, d);
        xml_add(devices, "audio", "id", "1", "type", "none", NULL);
        video = xml_add(devices, "video", NULL);
        xml_add(video, "model", "type", "vga", "vram", "16384", "heads", "1", "primary", "yes", NULL);
        add_address(video, &d->video_pci);
}

static void add_balloon(xmlNodePtr devices, const struct virt_domain *d)
{
        xmlNodePtr balloon = xml_add(devices, "memballoon", "model", d->no_balloon ? "none" : "virtio", NULL);

        if (d->no_balloon)
                return;
        /* What the guest frees goes back to the host, and one that runs short takes what it gave. */
        if (profile_of(d) >= 3) {
                xml_set(balloon, "autodeflate", "on");
                xml_set(balloon, "freePageReporting", "on");
        }
        xml_add(balloon, "stats", "period", "10", NULL);
        add_address(balloon, &d->balloon_pci);
}

static void add_rng(xmlNodePtr devices, const struct virt_domain *d)
{
        xmlNodePtr rng;

        if (d->no_rng)
                return;
        rng = xml_add(devices, "rng", "model", "virtio", NULL);
        xml_set(xml_add_text(rng, "backend", "/dev/urandom"), "model", "random");
        add_address(rng, &d->rng_pci);
}

static void add_devices(xmlNodePtr root, const struct virt_domain *d)
{
        xmlNodePtr devices = xml_add(root, "devices", NULL);

        if (d->emulator)
                xml_add_text(devices, "emulator", d->emulator);
        for (size_t i = 0; i < d->n_disks; i++)
                add_disk(devices, &d->disks[i]);
        add_controllers(devices, d);
        for (size_t i = 0; i < d->n_nics; i++)
                add_nic(devices, &d->nics[i]);
        add_serial(devices, d);
        add_channel(devices);
        add_display(devices, d);
        add_balloon(devices, d);
        add_rng(devices, d);
        virt_extras_add(devices, d);
        if (!d->windows)
                xml_add(devices, "panic", "model", "isa", NULL);
}

/* Every place that the XML names must have been chosen. */
static bool is_complete(const struct virt_domain *d)
{
        bool complete = d->root_ports && d->channel_pci.set && (d->no_vnc || (d->video_pci.set && d->usb_pci.set)) &&
                        (d->no_rng || d->rng_pci.set) && (d->no_balloon || d->balloon_pci.set) &&
                        (d->scsi_pci.set || !virt_domain_has_bus(d, VIRT_BUS_SCSI));

        for (size_t i = 0; i < d->n_disks; i++)
                complete &=
                        *d->disks[i].target && (d->disks[i].bus == VIRT_BUS_VIRTIO ? d->disks[i].pci.set : d->disks[i].drive.set);
        for (size_t i = 0; i < d->n_nics; i++)
                complete &= d->nics[i].pci.set;
        return complete;
}

int virt_domain_to_xml(const struct virt_domain *domain, char **ret_xml, struct virt_error *reterr)
{
        g_autofree char *text = NULL;
        AUTO_XML doc = NULL;
        xmlNodePtr root;
        int r;

        assert(domain && ret_xml && reterr);

        r = virt_domain_check(domain, reterr);
        if (!r)
                r = virt_graphics_check(domain, reterr);
        if (!r && !is_complete(domain))
                r = virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "devices: not every device has its place");
        if (r)
                return r;
        doc = xml_new("domain");
        root = xml_root(doc);
        xml_set(root, "type", virt_type_to_text(domain->type));
        xml_add_text(root, "name", domain->name);
        xml_add_text(root, "uuid", domain->uuid);
        if (domain->title)
                xml_add_text(root, "title", domain->title);
        add_metadata(root, domain);
        add_sizes(root, domain);
        add_sysinfo(root, domain);
        add_os(root, domain);
        add_features(root, domain);
        add_cpu(root, domain);
        add_clock(root, domain);
        add_lifecycle(root);
        add_devices(root, domain);
        text = xml_to_text(doc);
        if (strlen(text) > LIMIT_DOMAIN_XML_BYTES)
                return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "the domain's description is too long");
        *ret_xml = g_steal_pointer(&text);
        return 0;
}
