/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/cpu_features.h"

#include "virt/host_internal.h"
#include "virt/virt_internal.h"
#include "virt/xml.h"

#include <assert.h>
#include <string.h>

#define CPU_BYTES_MAX (1u << 20)

static char *cpu_to_xml(const struct virt_cpu *cpu)
{
        AUTO_XML doc = xml_new("cpu");
        xmlNodePtr root = xml_root(doc);

        xml_set(root, "mode", "custom");
        xml_set(root, "match", "exact");
        xml_add_text(root, "model", cpu->model);
        if (cpu->vendor)
                xml_add_text(root, "vendor", cpu->vendor);
        for (size_t i = 0; i < cpu->n_features; i++)
                xml_add(root, "feature", "policy", cpu->features[i].policy ? cpu->features[i].policy : "require", "name",
                        cpu->features[i].name, NULL);
        return xml_to_text(doc);
}

static int by_name(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int host_cpu_features_parse(const char *xml, struct arena *arena, struct cpu_features *ret_features)
{
        AUTO_XML doc = xml_parse(xml, CPU_BYTES_MAX);
        xmlNodePtr root = doc ? xml_root(doc) : NULL;
        const char **names;
        size_t n = 0;

        assert(arena && ret_features);

        if (!root || xmlStrcmp(root->name, (const xmlChar *)"cpu"))
                return VIRT_E_FAILED;
        for (xmlNodePtr node = xml_child(root, "feature"); node; node = xml_next(node))
                n++;
        names = arena_array(arena, n + 1, sizeof(*names));
        n = 0;
        for (xmlNodePtr node = xml_child(root, "feature"); node; node = xml_next(node)) {
                names[n] = xml_attribute(node, "name", arena);
                n += names[n] && xml_attribute_is(node, "policy", "require");
        }
        qsort(names, n, sizeof(*names), by_name);
        *ret_features = (struct cpu_features){.names = names, .n = n};
        return 0;
}

int host_cpu_features(virConnectPtr connection, const struct host_facts *facts, const struct virt_cpu *cpu, struct arena *arena,
                      struct cpu_features *ret_features, struct virt_error *reterr)
{
        g_autofree char *xml = NULL;
        const char *cpus[1];
        AUTO_TEXT whole = NULL;

        assert(connection && facts && cpu && cpu->model && arena && ret_features && reterr);

        xml = cpu_to_xml(cpu);
        cpus[0] = xml;
        whole = virConnectBaselineHypervisorCPU(connection, facts->emulator, "x86_64", facts->machine_type,
                                                virt_type_to_text(facts->type), cpus, 1, VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES);
        if (!whole)
                return virt_fail(reterr, "CpuModelNotSupported");
        if (host_cpu_features_parse(whole, arena, ret_features) < 0)
                return virt_say(reterr, VIRT_E_FAILED, "CpuModelNotSupported",
                                "libvirt's description of a processor cannot be read");
        return 0;
}

bool cpu_features_hold(const struct cpu_features *features, const char *name)
{
        assert(features && name);
        return bsearch(&name, features->names, features->n, sizeof(*features->names), by_name) != NULL;
}

struct cpu_features cpu_features_missing(const struct cpu_features *wanted, const struct cpu_features *there, struct arena *arena)
{
        struct cpu_features missing = {.names = arena_array(arena, wanted->n + 1, sizeof(*missing.names))};

        for (size_t i = 0; i < wanted->n; i++)
                if (!cpu_features_hold(there, wanted->names[i]))
                        missing.names[missing.n++] = wanted->names[i];
        return missing;
}

/* What each model that guests cannot have lacks here, so that a "no" can name it. A model that libvirt cannot expand is told
 * without. */
static void find_missing(virConnectPtr connection, struct host_facts *facts)
{
        struct host_cpu_model *models = arena_array(facts->arena, facts->n_models + 1, sizeof(*models));

        for (size_t i = 0; i < facts->n_models; i++) {
                struct virt_cpu cpu = {.mode = VIRT_CPU_CUSTOM, .model = facts->models[i].name};
                struct cpu_features wanted;
                struct virt_error ignored;

                models[i] = facts->models[i];
                if (!models[i].usable && host_cpu_features(connection, facts, &cpu, facts->arena, &wanted, &ignored) == 0)
                        models[i].missing = cpu_features_missing(&wanted, &facts->cpu_features, facts->arena);
        }
        facts->models = models;
}

void host_cpu_features_read(virConnectPtr connection, struct host_facts *facts)
{
        struct virt_error ignored;

        assert(connection && facts && facts->arena);

        if (facts->host_model.model &&
            host_cpu_features(connection, facts, &facts->host_model, facts->arena, &facts->cpu_features, &ignored) == 0)
                find_missing(connection, facts);
}

int virt_cpu_features(struct virt *virt, const struct host_facts *facts, const struct virt_cpu *cpu, struct arena *arena,
                      struct cpu_features *ret_features, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;

        assert(virt && facts && cpu && arena && ret_features && reterr);

        *ret_features = (struct cpu_features){};
        if (facts->type == VIRT_TYPE_TEST || cpu->mode != VIRT_CPU_CUSTOM || !cpu->model)
                return 0;
        connection = virt_use(virt, VIRT_QUERIES, reterr);
        return connection ? host_cpu_features(connection, facts, cpu, arena, ret_features, reterr) : VIRT_E_UNREACHABLE;
}
