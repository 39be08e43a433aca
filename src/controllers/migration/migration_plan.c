/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/migration/migration.h"

#include "controllers/disk/disk.h"
#include "controllers/migration/migration_hosts.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define FINDINGS_MAX 200

struct look {
        const struct cache *cache;
        const struct cache_object *machine, *instance;
        const struct api_virtual_machine *vm;
        const struct api_instance *domain;
        struct arena *arena;
        GArray *findings;
        bool cold;  /* it is off, or will be */
        bool whole; /* also what nobody is told of when it changes */
};

static void find(struct look *look, const char *node, const char *rule, const char *message)
{
        struct api_migration_finding finding = {.node = node, .rule = rule, .message = message};

        if (look->findings->len < FINDINGS_MAX)
                g_array_append_val(look->findings, finding);
}

/* --- the machine --- */

static void look_at_class(struct look *look)
{
        if (look->cold)
                return; /* it is started anew */

        const char *name = look->vm->spec->virtual_machine_class_name;
        const struct cache_object *object = name ? cache_get(look->cache, &api_virtual_machine_class_kind, NULL, name) : NULL;
        const struct api_virtual_machine_class *class = object ? object->view : NULL;

        if (class && g_strcmp0(class->spec->cpu->type, "HostPassthrough") == 0)
                find(look, NULL, "Processor", "its class shows it the processor of the very host that it runs on");
}

static void look_at_firmware(struct look *look)
{
        const struct api_instance_spec *spec = look->domain->spec;

        if (!look->cold)
                return; /* QEMU takes both along */
        if (spec->has_tpm && spec->tpm)
                find(look, NULL, "Devices", "it has a TPM, whose state is a file on its host; it moves while it runs");
        if (spec->firmware && strcmp(spec->firmware, "BIOS") != 0)
                find(look, NULL, "Devices", "it boots by EFI, whose variables are a file on its host; it moves while it runs");
}

static void look_at_disk(struct look *look, const struct api_instance_disk *disk)
{
        const struct cache_object *volume = disk->volume ? cache_get(look->cache, &api_volume_kind, NULL, disk->volume) : NULL;
        const struct api_volume *view = volume ? volume->view : NULL;
        const struct cache_object *owner = view ? cache_by_uid(look->cache, view->spec->owner->uid) : NULL;
        const char *readers =
                owner && owner->kind == &api_virtual_disk_kind ? disk_readers(look->cache, owner, false, look->arena) : NULL;

        if (look->cold && view && view->status && view->status->copied && g_strcmp0(view->status->copied->mode, "Linked") == 0)
                find(look, NULL, "Disks",
                     arena_printf(look->arena,
                                  "disk %s is linked: its file reads from another one on its host; it moves while it runs",
                                  disk->name));
        if (disk->volume && (!view || !view->status || g_strcmp0(view->status->state, "Ready") != 0))
                find(look, NULL, "Disks", arena_printf(look->arena, "disk %s is not ready", disk->name));
        if (readers && look->whole)
                find(look, NULL, "Disks", arena_printf(look->arena, "disk %s is being cloned: %s", disk->name, readers));
}

static void look_at_devices(struct look *look)
{
        const struct api_instance_status *status = look->domain->status;

        for (size_t i = 0; i < look->domain->spec->n_disks; i++)
                look_at_disk(look, &look->domain->spec->disks[i]);
        for (size_t i = 0; status && !look->cold && i < status->n_devices; i++)
                if (g_strcmp0(status->devices[i].state, "Attached") != 0)
                        find(look, NULL, "Disks", arena_printf(look->arena, "disk %s is on its way", status->devices[i].name));
        if (look->domain->spec->n_leaving_ports > 0)
                find(look, NULL, "Interfaces", "an interface is being taken from it");
}

static void look_at_source(struct look *look)
{
        const char *name = look->domain->spec->node_name;
        const struct cache_object *node = cache_get(look->cache, &api_node_kind, NULL, name);
        const char *fault = node ? migration_host_fault(node) : "it is no node any more";

        if (node && !placement_node_ready(node))
                find(look, name, "Source", "the host that it runs on does not answer");
        if (fault)
                find(look, name, "Source", fault);
}

static void look_at_machine(struct look *look)
{
        static void (*const looks[])(struct look * look) = {look_at_class, look_at_firmware, look_at_devices};

        for (size_t i = 0; i < G_N_ELEMENTS(looks); i++)
                looks[i](look);
}

const char *migration_machine_fault(const struct cache *cache, const struct cache_object *machine, struct arena *arena)
{
        const struct cache_object *instance = index_one(cache, INDEX_INSTANCE_BY_MACHINE, machine->uid);
        g_autoptr(GArray) findings = g_array_new(FALSE, FALSE, sizeof(struct api_migration_finding));
        struct look look = {.cache = cache,
                            .machine = machine,
                            .instance = instance,
                            .vm = machine->view,
                            .domain = instance ? instance->view : NULL,
                            .arena = arena,
                            .findings = findings};

        assert(cache && machine && arena);
        if (!instance)
                return NULL;
        look_at_machine(&look);
        return findings->len > 0 ? g_array_index(findings, struct api_migration_finding, 0).message : NULL;
}

/* --- the hosts --- */

/* What its disks may become on another host, pool by pool. */
static size_t collect_pools(struct look *look, const char **pools, uint64_t *bytes)
{
        size_t n = 0;

        for (size_t i = 0; i < look->domain->spec->n_disks; i++) {
                const struct api_instance_disk *disk = &look->domain->spec->disks[i];
                const struct cache_object *volume =
                        disk->volume ? cache_get(look->cache, &api_volume_kind, NULL, disk->volume) : NULL;
                const struct api_volume *view = volume ? volume->view : NULL;
                size_t at = 0;

                if (!view || g_strcmp0(disk->kind, "Disk") != 0)
                        continue;
                while (at < n && strcmp(pools[at], view->spec->pool->name) != 0)
                        at++;
                if (at == n) {
                        bytes[n] = 0;
                        pools[n++] = view->spec->pool->name;
                }
                bytes[at] += (uint64_t)view->spec->capacity_bytes;
        }
        return n;
}

static const char *choose(struct look *look, const struct api_machine_migrate *how)
{
        const struct api_instance_spec *spec = look->domain->spec;
        const char *class = look->vm->spec->virtual_machine_class_name;
        const char **pools = arena_array(look->arena, spec->n_disks, sizeof(*pools));
        uint64_t *bytes = arena_array(look->arena, spec->n_disks, sizeof(*bytes));
        struct placement_request request = {
                .machine = look->machine,
                .class = class ? cache_get(look->cache, &api_virtual_machine_class_kind, NULL, class) : NULL,
                .cpu_milli = placement_guaranteed_milli((uint64_t)spec->cpu->cores, (unsigned)spec->cpu->core_fraction_percent),
                .memory_mib =
                        (uint64_t)spec->memory_mib + placement_overhead_mib((uint64_t)spec->cpu->cores, (uint64_t)spec->memory_mib),
                .pools = pools,
                .pool_bytes = bytes,
                .n_pools = collect_pools(look, pools, bytes),
                .leaves = spec->node_name,
                .has_port = spec->graphics_port != NULL,
                .only = how ? how->node_name : NULL,
                .selector = how ? how->node_selector : NULL,
                .n_selector = how ? how->n_node_selector : 0,
        };
        struct placement placement = placement_choose(look->cache, &request, look->arena);

        if (request.only && placement.n_nodes == 0)
                find(look, request.only, "Target", "does not exist");
        for (size_t i = 0; !placement.node && i < placement.n_refusals; i++)
                find(look, placement.refusals[i].node, placement.refusals[i].rule, placement.refusals[i].words);
        return placement.node;
}

/* --- the whole --- */

static const char *findings_words(struct look *look)
{
        g_autoptr(GString) words = g_string_new(NULL);

        for (guint i = 0; i < look->findings->len && words->len < 1500; i++) {
                const struct api_migration_finding *finding = &g_array_index(look->findings, struct api_migration_finding, i);

                g_string_append_printf(words, "%s%s%s%s", i ? "; " : "", finding->node ? finding->node : "",
                                       finding->node ? " " : "", finding->message);
        }
        return arena_strdup(look->arena, words->str);
}

struct migration_plan migration_plan_of(const struct cache *cache, const struct cache_object *machine,
                                        const struct api_machine_migrate *how, bool cold, struct arena *arena)
{
        const struct cache_object *instance = index_one(cache, INDEX_INSTANCE_BY_MACHINE, machine->uid);
        g_autoptr(GArray) findings = g_array_new(FALSE, FALSE, sizeof(struct api_migration_finding));
        struct look look = {.cache = cache,
                            .machine = machine,
                            .instance = instance,
                            .vm = machine->view,
                            .domain = instance ? instance->view : NULL,
                            .arena = arena,
                            .findings = findings,
                            .cold = cold,
                            .whole = true};
        struct migration_plan plan = {.reason = REASON_NO_SUITABLE_NODE};
        guint here;

        assert(cache && machine && instance && arena);
        look_at_machine(&look);
        plan.of_machine = findings->len > 0;
        look_at_source(&look);
        here = findings->len;
        plan.node = choose(&look, how);
        if (here > 0) {
                plan.node = NULL;
                plan.reason = REASON_VIRTUAL_MACHINE_NON_MIGRATABLE;
        }
        if (plan.node)
                return plan;
        plan.words = findings->len > 0 ? findings_words(&look) : "there is no other host";
        plan.n_findings = findings->len;
        plan.findings = arena_array(look.arena, findings->len, sizeof(*plan.findings));
        if (findings->len > 0)
                memcpy(plan.findings, findings->data, findings->len * sizeof(*plan.findings));
        return plan;
}

struct migration_plan migration_plan(struct op *op, bool cold)
{
        assert(op && op->machine && op->domain);
        return migration_plan_of(op->cache, op->machine, op->view->spec->migrate, cold, turn_arena(op->turn));
}
