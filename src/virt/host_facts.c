/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/host_facts.h"

#include "base/file.h"
#include "virt/host_internal.h"
#include "virt/virt_internal.h"
#include "virt/xml.h"

#include <assert.h>
#include <string.h>
#include <sys/utsname.h>

#define CAPABILITIES_BYTES_MAX (4u << 20)
#define PROC_BYTES_MAX         (1u << 20)
#define TEST_CPUS              1024
#define TEST_MEMORY_BYTES      (4ull << 40)

void host_facts_clear(struct host_facts *facts)
{
        arena_free(facts->arena);
        *facts = (struct host_facts){};
}

uint64_t host_memory_available(void)
{
        g_autofree char *text = NULL;
        const char *line;
        size_t len;

        if (file_read("/proc/meminfo", PROC_BYTES_MAX, &text, &len) < 0)
                return 0;
        line = strstr(text, "MemAvailable:");
        return line ? g_ascii_strtoull(line + strlen("MemAvailable:"), NULL, 10) << 10 : 0;
}

static bool has_option(const char *options, const char *name)
{
        g_auto(GStrv) parts = g_strsplit(options, ",", -1);

        return g_strv_contains((const char *const *)parts, name);
}

static bool unified_has_cpu(const char *mount_point)
{
        g_autofree char *path = g_build_filename(mount_point, "cgroup.controllers", NULL), *text = NULL;
        g_auto(GStrv) words = NULL;
        size_t len;

        if (file_read(path, PROC_BYTES_MAX, &text, &len) < 0)
                return false;
        words = g_strsplit_set(text, " \n", -1);
        return g_strv_contains((const char *const *)words, "cpu");
}

unsigned host_cgroup_version(const char *mounts)
{
        g_auto(GStrv) lines = g_strsplit(mounts, "\n", -1);
        unsigned version = 0;

        for (size_t i = 0; lines[i]; i++) {
                g_auto(GStrv) fields = g_strsplit(lines[i], " ", -1); /* device, mount point, type, options */

                if (g_strv_length(fields) < 4)
                        continue;
                if (!strcmp(fields[2], "cgroup") && has_option(fields[3], "cpu"))
                        return 1;
                if (!strcmp(fields[2], "cgroup2") && unified_has_cpu(fields[1]))
                        version = 2;
        }
        return version;
}

/* --- libvirt's domain capabilities
 * ------------------------------------------------------------------------------------------------------------ */

static xmlNodePtr find_mode(xmlNodePtr root, const char *name)
{
        xmlNodePtr mode = xml_find(root, "cpu/mode");

        while (mode && !xml_attribute_is(mode, "name", name))
                mode = xml_next(mode);
        return mode && xml_attribute_is(mode, "supported", "yes") ? mode : NULL;
}

static void read_models(xmlNodePtr mode, struct host_facts *facts)
{
        struct host_cpu_model *models;
        size_t n = 0;

        for (xmlNodePtr node = xml_child(mode, "model"); node; node = xml_next(node))
                n++;
        models = arena_array(facts->arena, n + 1, sizeof(*models));
        n = 0;
        for (xmlNodePtr node = xml_child(mode, "model"); node; node = xml_next(node))
                models[n++] = (struct host_cpu_model){.name = xml_text(node, facts->arena),
                                                      .usable = xml_attribute_is(node, "usable", "yes")};
        facts->models = models;
        facts->n_models = n;
}

static void read_host_model(xmlNodePtr mode, struct host_facts *facts)
{
        struct virt_cpu *cpu = &facts->host_model;
        struct virt_cpu_feature *features;
        size_t n = 0;

        cpu->mode = VIRT_CPU_CUSTOM;
        cpu->model = xml_text(xml_child(mode, "model"), facts->arena);
        cpu->vendor = xml_text(xml_child(mode, "vendor"), facts->arena);
        for (xmlNodePtr node = xml_child(mode, "feature"); node; node = xml_next(node))
                n++;
        features = arena_array(facts->arena, n + 1, sizeof(*features));
        n = 0;
        for (xmlNodePtr node = xml_child(mode, "feature"); node; node = xml_next(node)) {
                features[n].name = xml_attribute(node, "name", facts->arena);
                features[n].policy = xml_attribute(node, "policy", facts->arena);
                n += features[n].name != NULL;
        }
        cpu->features = features;
        cpu->n_features = n;
}

static bool offers(xmlNodePtr device, const char *name, const char *value, struct arena *arena)
{
        xmlNodePtr list = xml_attribute_is(device, "supported", "yes") ? xml_child(device, "enum") : NULL;

        for (; list; list = xml_next(list))
                for (xmlNodePtr it = xml_attribute_is(list, "name", name) ? xml_child(list, "value") : NULL; it; it = xml_next(it))
                        if (g_strcmp0(xml_text(it, arena), value) == 0)
                                return true;
        return false;
}

int host_capabilities_parse(const char *xml, struct host_facts *facts, struct virt_error *reterr)
{
        AUTO_XML doc = xml_parse(xml, CAPABILITIES_BYTES_MAX);
        xmlNodePtr root = doc ? xml_root(doc) : NULL;

        assert(facts && facts->arena && reterr);

        if (!root || xmlStrcmp(root->name, (const xmlChar *)"domainCapabilities"))
                return virt_say(reterr, VIRT_E_FAILED, "NodeNotReady", "libvirt's domain capabilities cannot be read");
        facts->machine_type = xml_text(xml_child(root, "machine"), facts->arena);
        facts->emulator = xml_text(xml_child(root, "path"), facts->arena);
        facts->max_vcpus = (unsigned)xml_attribute_number(xml_child(root, "vcpu"), "max", UINT16_MAX, 1);
        facts->passthrough = find_mode(root, "host-passthrough");
        read_models(find_mode(root, "custom"), facts);
        read_host_model(find_mode(root, "host-model"), facts);
        facts->tpm = offers(xml_find(root, "devices/tpm"), "backendModel", "emulator", facts->arena);
        facts->spice = offers(xml_find(root, "devices/graphics"), "type", "spice", facts->arena);
        return 0;
}

/* --- all of it
 * ----------------------------------------------------------------------------------------------------------------------------------------
 */

static const char *version_text(unsigned long version, struct arena *arena)
{
        return arena_printf(arena, "%lu.%lu.%lu", version / 1000000, version / 1000 % 1000, version % 1000);
}

/* The test driver's host is 3 GiB small and has nothing behind it, so it is told as one that thousands of machines fit on. */
static void enlarge(struct host_facts *facts)
{
        facts->cpus = TEST_CPUS;
        facts->memory_bytes = TEST_MEMORY_BYTES;
}

static int read_node(virConnectPtr connection, struct host_facts *facts, struct virt_error *reterr)
{
        AUTO_TEXT hostname = virConnectGetHostname(connection);
        unsigned long libvirt, hypervisor;
        virNodeInfo node;

        if (!hostname || virNodeGetInfo(connection, &node) < 0 || virConnectGetLibVersion(connection, &libvirt) < 0 ||
            virConnectGetVersion(connection, &hypervisor) < 0)
                return virt_fail(reterr, "NodeNotReady");
        facts->hostname = arena_strdup(facts->arena, hostname);
        facts->cpus = node.cpus;
        facts->memory_bytes = (uint64_t)node.memory << 10;
        facts->libvirt_version = version_text(libvirt, facts->arena);
        facts->qemu_version = facts->type == VIRT_TYPE_TEST ? "" : version_text(hypervisor, facts->arena);
        return 0;
}

const char *host_qemu_version(struct virt *virt, struct arena *arena)
{
        struct virt_error ignored;
        AUTO_CONNECTION connection = NULL;
        unsigned long version;

        assert(virt && arena);

        if (virt_is_test(virt))
                return "";
        connection = virt_use(virt, VIRT_QUERIES, &ignored);
        return connection && virConnectGetVersion(connection, &version) == 0 ? version_text(version, arena) : NULL;
}

static void read_kernel(struct host_facts *facts)
{
        g_autofree char *cpuinfo = NULL, *mounts = NULL;
        const char *model;
        struct utsname name;
        size_t len;

        uname(&name);
        facts->kernel = arena_strdup(facts->arena, name.release);
        facts->architecture = arena_strdup(facts->arena, name.machine);
        facts->memory_available_bytes = host_memory_available();
        facts->cpu_text = "";
        if (file_read("/proc/cpuinfo", PROC_BYTES_MAX, &cpuinfo, &len) == 0 && (model = strstr(cpuinfo, "model name")) &&
            (model = strchr(model, ':')))
                facts->cpu_text = arena_strndup(facts->arena, model + 2, strcspn(model + 2, "\n"));
        if (file_read("/proc/self/mounts", PROC_BYTES_MAX, &mounts, &len) == 0)
                facts->cgroup_version = host_cgroup_version(mounts);
}

static int read_capabilities(virConnectPtr connection, struct host_facts *facts, struct virt_error *reterr)
{
        static const struct host_cpu_model any[] = {{.name = "Nehalem", .usable = true}, {.name = "qemu64", .usable = true}};
        AUTO_TEXT xml = NULL;

        if (facts->type == VIRT_TYPE_TEST) {
                enlarge(facts);
                facts->models = any; /* no processor is behind them either */
                facts->n_models = G_N_ELEMENTS(any);
                facts->machine_type = "pc-q35-7.2";
                facts->max_vcpus = 255;
                facts->host_model = (struct virt_cpu){.mode = VIRT_CPU_CUSTOM, .model = "qemu64"};
                return 0;
        }
        xml = virConnectGetDomainCapabilities(connection, NULL, "x86_64", "q35", virt_type_to_text(facts->type), 0);
        if (!xml)
                return virt_fail(reterr, "NodeNotReady");
        if (host_capabilities_parse(xml, facts, reterr) < 0)
                return VIRT_E_FAILED;
        host_cpu_features_read(connection, facts);
        return 0;
}

int host_facts_read(struct virt *virt, enum virt_type type, struct host_facts *ret_facts, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_QUERIES, reterr);
        struct host_facts facts = {.type = type};
        int r;

        assert(ret_facts);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        facts.arena = arena_new(0);
        r = read_node(connection, &facts, reterr);
        if (!r)
                r = read_capabilities(connection, &facts, reterr);
        if (r) {
                host_facts_clear(&facts);
                return r;
        }
        read_kernel(&facts);
        host_firmware_read("/etc/qemu/firmware", &facts);
        host_firmware_read("/usr/share/qemu/firmware", &facts);
        *ret_facts = facts;
        return 0;
}
