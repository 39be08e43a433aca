/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/placement/placement.h"
#include "controllers/migration/migration_hosts.h"

#include "base/quantity.h"
#include "controllers/nodeop/nodeop.h"
#include "controllers/object.h"
#include "controllers/placement/firmware.h"
#include "controllers/placement/graphics.h"
#include "controllers/placement/processor.h"
#include "controllers/placement/selector.h"
#include "controllers/pool/pool.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define MIB                 (1024ull * 1024ull)
#define OVERHEAD_BASE_MIB   64  /* emulator and its threads */
#define OVERHEAD_CORE_MIB   4   /* each virtual core */
#define OVERHEAD_PAGE_SHARE 256 /* page tables and bitmaps: 1/256 of the guest's memory */
#define WORDS_NODES         20  /* nodes named one by one in a sentence */

struct judge {
        const struct cache *cache;
        const struct placement_request *request;
        const struct api_virtual_machine_spec *machine;
        const struct api_virtual_machine_class *class;
        const struct cache_object *node;
        const struct api_node *view;
        struct arena *arena;
        uint64_t cpu_total, cpu_used; /* thousandths of cores */
        uint64_t mem_total, mem_used; /* MiB */
};

uint64_t placement_guaranteed_milli(uint64_t cores, unsigned fraction_percent)
{
        assert(fraction_percent <= 100);
        return cores * fraction_percent * 10;
}

uint64_t placement_overhead_mib(uint64_t cores, uint64_t memory_mib)
{
        return OVERHEAD_BASE_MIB + OVERHEAD_CORE_MIB * cores + memory_mib / OVERHEAD_PAGE_SHARE;
}

/* --- facts about a node --- */

static const struct api_node_condition *node_condition(const struct api_node *node, const char *type)
{
        for (size_t i = 0; node->status && i < node->status->n_conditions; i++)
                if (g_strcmp0(node->status->conditions[i].type, type) == 0)
                        return &node->status->conditions[i];
        return NULL;
}

bool placement_node_ready(const struct cache_object *node)
{
        assert(node);

        const struct api_node_condition *ready = node_condition(node->view, "Ready");

        return ready && g_strcmp0(ready->status, "True") == 0;
}

static void judge_count_used(struct judge *judge)
{
        g_autoptr(GPtrArray) instances = cache_lookup(judge->cache, INDEX_INSTANCE_BY_NODE, judge->node->name);

        for (guint i = 0; instances && i < instances->len; i++) {
                const struct cache_object *object = instances->pdata[i];
                const struct api_instance *instance = object->view;

                if (!instance_active(object) || g_strcmp0(instance->spec->machine->uid, judge->request->machine->uid) == 0)
                        continue;
                judge->cpu_used += placement_guaranteed_milli((uint64_t)instance->spec->cpu->cores,
                                                              (unsigned)instance->spec->cpu->core_fraction_percent);
                judge->mem_used +=
                        (uint64_t)instance->spec->memory_mib +
                        placement_overhead_mib((uint64_t)instance->spec->cpu->cores, (uint64_t)instance->spec->memory_mib);
        }
}

static void judge_measure(struct judge *judge)
{
        const struct api_node_status *status = judge->view->status;
        const char *cpu = NULL, *memory = NULL;
        uint64_t bytes = 0;

        judge->cpu_total = judge->cpu_used = judge->mem_total = judge->mem_used = 0;
        if (status) {
                cpu = pairs_get(status->allocatable, status->n_allocatable, "cpu");
                memory = pairs_get(status->allocatable, status->n_allocatable, "memory");
        }
        if (cpu && quantity_parse_milli(cpu, &judge->cpu_total) != 0)
                judge->cpu_total = 0;
        if (memory && quantity_parse_bytes(memory, &bytes) == 0)
                judge->mem_total = bytes / MIB;
        judge_count_used(judge);
}

static uint64_t room(uint64_t total, uint64_t used)
{
        return total > used ? total - used : 0;
}

/* --- rules: words when the node is refused, else NULL --- */

static const char *rule_target(struct judge *judge)
{
        const struct placement_request *request = judge->request;

        if (!request->leaves)
                return NULL;
        if (strcmp(request->leaves, judge->node->name) == 0)
                return "is where the machine runs already";
        if (!selector_map(request->selector, request->n_selector, judge->node))
                return arena_printf(judge->arena, "lacks the labels that the operation selects (%s)",
                                    selector_map_words(judge->arena, request->selector, request->n_selector));
        return migration_node_words(judge->cache, request->machine, request->leaves, judge->node, judge->arena);
}

static const char *rule_ready(struct judge *judge)
{
        const struct api_node_condition *ready = node_condition(judge->view, "Ready");

        if (ready && g_strcmp0(ready->status, "True") == 0)
                return NULL;
        if (!ready)
                return "has not reported yet";
        return arena_printf(judge->arena, "is not ready (%s)", ready->message ? ready->message : ready->reason);
}

static const char *rule_cordon(struct judge *judge)
{
        if (judge->request->in_place || !judge->view->spec || !judge->view->spec->unschedulable)
                return NULL;
        return "is cordoned";
}

static const char *rule_operation(struct judge *judge)
{
        const char *name;

        if (!node_operation_bars(judge->cache, judge->node->name, &name))
                return NULL;
        return arena_printf(judge->arena, "is about to be rebooted (NodeOperation %s)", name);
}

static const char *rule_taints(struct judge *judge)
{
        const struct api_node_spec *spec = judge->view->spec;
        const struct api_virtual_machine_class_spec *class = judge->class ? judge->class->spec : NULL;

        if (judge->request->in_place)
                return NULL;
        for (size_t i = 0; spec && i < spec->n_taints; i++) {
                const struct api_taint *taint = &spec->taints[i];

                if (strcmp(taint->effect, "PreferNoSchedule") == 0)
                        continue;
                if (selector_tolerates(judge->machine->tolerations, judge->machine->n_tolerations, taint))
                        continue;
                if (class && selector_tolerates(class->tolerations, class->n_tolerations, taint))
                        continue;
                return arena_printf(judge->arena, "has the taint %s%s%s:%s, which the machine does not tolerate", taint->key,
                                    taint->value ? "=" : "", taint->value ? taint->value : "", taint->effect);
        }
        return NULL;
}

static const char *rule_node_selector(struct judge *judge)
{
        const struct api_virtual_machine_spec *machine = judge->machine;

        if (selector_map(machine->node_selector, machine->n_node_selector, judge->node))
                return NULL;
        return arena_printf(judge->arena, "lacks the labels that the machine selects (%s)",
                            selector_map_words(judge->arena, machine->node_selector, machine->n_node_selector));
}

static const char *rule_node_affinity(struct judge *judge)
{
        const struct api_affinity *affinity = judge->machine->affinity;

        if (!affinity || !affinity->node_affinity ||
            selector_node_terms(affinity->node_affinity->required_during_scheduling_ignored_during_execution, judge->node))
                return NULL;
        return "fulfils none of the machine's required node affinity terms";
}

/* --- machines beside machines: the required terms of spec.affinity (D91, D92) --- */

struct neighbours {
        struct judge *judge;
        const struct api_machine_affinity_term *term;
        const char *place;  /* value of the topology key on the node that is asked about */
        const char *beside; /* a machine of the term in that place */
        bool anywhere;      /* there is a machine of the term somewhere */
};

static bool term_speaks_of_namespace(const struct neighbours *neighbours, const char *namespace)
{
        const struct api_machine_affinity_term *term = neighbours->term;
        const struct cache_object *object = cache_get(neighbours->judge->cache, &api_namespace_kind, NULL, namespace);

        if (strings_hold((const char *const *)term->namespaces, term->n_namespaces, namespace))
                return true;
        if (term->namespace_selector)
                return object && selector_labels(term->namespace_selector, object);
        return term->n_namespaces == 0 && strcmp(namespace, neighbours->judge->request->machine->namespace) == 0;
}

static bool term_speaks_of(const struct neighbours *neighbours, const struct cache_object *machine)
{
        return neighbours->term->label_selector && term_speaks_of_namespace(neighbours, machine->namespace) &&
               selector_labels(neighbours->term->label_selector, machine);
}

static bool look_at_neighbour(const struct cache_object *machine, void *userdata)
{
        struct neighbours *neighbours = userdata;
        const struct cache *cache = neighbours->judge->cache;
        const struct cache_object *instance, *node;

        if (machine == neighbours->judge->request->machine || !term_speaks_of(neighbours, machine))
                return true;
        instance = index_one(cache, INDEX_INSTANCE_BY_MACHINE, machine->uid);
        if (!instance || !instance_active(instance))
                return true;
        neighbours->anywhere = true;
        node = cache_get(cache, &api_node_kind, NULL, ((const struct api_instance *)instance->view)->spec->node_name);
        if (node && g_strcmp0(object_label(node, neighbours->term->topology_key), neighbours->place) == 0)
                neighbours->beside = machine->name;
        return neighbours->beside == NULL;
}

static const char *term_words(struct judge *judge, const struct api_machine_affinity_term *term, bool apart)
{
        struct neighbours neighbours = {.judge = judge, .term = term, .place = object_label(judge->node, term->topology_key)};

        if (!neighbours.place)
                return apart ? NULL
                             : arena_printf(judge->arena, "lacks the label %s that an affinity term of the machine speaks of",
                                            term->topology_key);
        cache_each(judge->cache, &api_virtual_machine_kind, NULL, look_at_neighbour, &neighbours);
        if (apart)
                return neighbours.beside ? arena_printf(judge->arena, "has machine %s in the same %s, which the machine avoids",
                                                        neighbours.beside, term->topology_key)
                                         : NULL;
        /* The first of a group that wants to be together may run anywhere. */
        if (neighbours.beside || (!neighbours.anywhere && term_speaks_of(&neighbours, judge->request->machine)))
                return NULL;
        return arena_printf(judge->arena, "has no machine in the same %s that the machine wants to be beside", term->topology_key);
}

static const char *rule_machine_affinity(struct judge *judge)
{
        const struct api_affinity *affinity = judge->machine->affinity;
        const struct api_machine_affinity *together = affinity ? affinity->virtual_machine_and_pod_affinity : NULL;
        const struct api_machine_affinity *apart = affinity ? affinity->virtual_machine_and_pod_anti_affinity : NULL;
        const char *words = NULL;

        for (size_t i = 0; together && !words && i < together->n_required_during_scheduling_ignored_during_execution; i++)
                words = term_words(judge, &together->required_during_scheduling_ignored_during_execution[i], false);
        for (size_t i = 0; apart && !words && i < apart->n_required_during_scheduling_ignored_during_execution; i++)
                words = term_words(judge, &apart->required_during_scheduling_ignored_during_execution[i], true);
        return words;
}

static const char *class_selector_words(const struct api_virtual_machine_class_spec *class, const struct cache_object *node)
{
        return !class || selector_node_labels(class->node_selector, node) ? NULL : "is not selected by the machine's class";
}

static bool names_hold(const char **names, size_t n, const char *name)
{
        return strings_hold((const char *const *)names, n, name);
}

static const char *rule_class_selector(struct judge *judge)
{
        return class_selector_words(judge->class ? judge->class->spec : NULL, judge->node);
}

static const char *rule_processor(struct judge *judge)
{
        const struct api_virtual_machine *machine = judge->request->machine->view;

        return processor_words(judge->class, machine->status ? machine->status->hardware : NULL, judge->view, judge->arena);
}

static const char *rule_firmware(struct judge *judge)
{
        const struct api_virtual_machine *machine = judge->request->machine->view;

        return firmware_words(judge->machine, machine->status ? machine->status->hardware : NULL, judge->view, judge->arena);
}

static const char *rule_graphics(struct judge *judge)
{
        return graphics_words(judge->machine->graphics, judge->request->has_port, judge->view);
}

static const char *rule_data(struct judge *judge)
{
        const char *elsewhere = "";

        for (size_t i = 0; i < judge->request->n_pins; i++) {
                const struct placement_pin *pin = &judge->request->pins[i];

                if (strcmp(pin->node, judge->node->name) != 0)
                        elsewhere = arena_printf(judge->arena, "%s%s%s lies on %s", elsewhere, elsewhere[0] ? ", " : "", pin->what,
                                                 pin->node);
        }
        return elsewhere[0] ? arena_printf(judge->arena, "does not hold the machine's data (%s)", elsewhere) : NULL;
}

static const char *pool_words(struct judge *judge, const char *name)
{
        const struct cache_object *object = cache_get(judge->cache, &api_storage_pool_kind, NULL, name);
        const struct api_storage_pool *pool = object ? object->view : NULL;

        if (!pool || !pool->spec)
                return arena_printf(judge->arena, "cannot have storage pool %s, which does not exist", name);
        if (pool->spec->n_nodes > 0 && !names_hold(pool->spec->nodes, pool->spec->n_nodes, judge->node->name))
                return arena_printf(judge->arena, "does not have storage pool %s", name);
        if (!selector_map(pool->spec->node_selector, pool->spec->n_node_selector, judge->node))
                return arena_printf(judge->arena, "does not have storage pool %s", name);
        for (size_t i = 0; pool->status && i < pool->status->n_nodes; i++) {
                const struct api_pool_node *there = &pool->status->nodes[i];

                if (g_strcmp0(there->name, judge->node->name) == 0 && g_strcmp0(there->phase, "Failed") == 0)
                        return arena_printf(judge->arena, "cannot use storage pool %s (%s)", name,
                                            there->error ? there->error->message : "failed");
        }
        return NULL;
}

/* New disks must stay within what the pool's disks may become together on the node. */
static const char *pool_room_words(struct judge *judge, const char *name, uint64_t bytes)
{
        const struct api_storage_pool *pool = cache_get(judge->cache, &api_storage_pool_kind, NULL, name)->view;
        uint64_t limit, allocated;
        char text[3][32];

        if (bytes == 0 || !pool_limit(pool, judge->node->name, &limit))
                return NULL;
        allocated = pool_allocated(judge->cache, name, judge->node->name);
        if (allocated <= limit && bytes <= limit - allocated)
                return NULL;
        return arena_printf(judge->arena, "may have disks of %s in storage pool %s, has %s, and %s more are needed",
                            quantity_format_bytes(limit, text[0]), name, quantity_format_bytes(allocated, text[1]),
                            quantity_format_bytes(bytes, text[2]));
}

const char *placement_pool_words(const struct cache *cache, const struct cache_object *node, const char *pool, uint64_t bytes,
                                 struct arena *arena)
{
        struct judge judge = {.cache = cache, .node = node, .view = node->view, .arena = arena};
        const char *words;

        assert(cache && node && pool && arena);
        words = pool_words(&judge, pool);
        return words ? words : pool_room_words(&judge, pool, bytes);
}

static const char *rule_pools(struct judge *judge)
{
        for (size_t i = 0; i < judge->request->n_pools; i++) {
                const char *name = judge->request->pools[i], *words = pool_words(judge, name);

                if (!words && judge->request->pool_bytes)
                        words = pool_room_words(judge, name, judge->request->pool_bytes[i]);
                if (words)
                        return words;
        }
        return NULL;
}

static const char *rule_cpu(struct judge *judge)
{
        uint64_t left = room(judge->cpu_total, judge->cpu_used);
        char have[32], need[32];

        if (left >= judge->request->cpu_milli)
                return NULL;
        return arena_printf(judge->arena, "has %s cores free, %s are guaranteed to the machine", quantity_format_milli(left, have),
                            quantity_format_milli(judge->request->cpu_milli, need));
}

static const char *rule_memory(struct judge *judge)
{
        uint64_t left = room(judge->mem_total, judge->mem_used);

        if (left >= judge->request->memory_mib)
                return NULL;
        return arena_printf(judge->arena, "has %" PRIu64 " MiB of memory free, %" PRIu64 " MiB are needed", left,
                            judge->request->memory_mib);
}

static const struct {
        const char *name;
        const char *(*words)(struct judge *judge);
} rules[] = {
        {"Ready", rule_ready},
        {"Target", rule_target},
        {"Cordon", rule_cordon},
        {"NodeOperation", rule_operation},
        {"Taints", rule_taints},
        {"NodeSelector", rule_node_selector},
        {"NodeAffinity", rule_node_affinity},
        {"MachineAffinity", rule_machine_affinity},
        {"ClassSelector", rule_class_selector},
        {"Processor", rule_processor},
        {"Firmware", rule_firmware},
        {"Graphics", rule_graphics},
        {"Data", rule_data},
        {"Pools", rule_pools},
        {"Cpu", rule_cpu},
        {"Memory", rule_memory},
};

const struct placement_rule_doc placement_rules[] = {
        {"Ready", "The node's agent reports, and its condition Ready is True."},
        {"Target",
         "A running machine can come to the node: it is another one, selected by the operation, set up for migrations, with the "
         "same way to run machines and versions that are not older."},
        {"Cordon", "The node takes new machines."},
        {"Taints", "Machine or class tolerate every taint of the node."},
        {"NodeSelector", "The node has the labels of spec.nodeSelector."},
        {"NodeAffinity", "The node fulfils a required term of spec.affinity.nodeAffinity."},
        {"MachineAffinity",
         "The machines nearby are those that the required terms of spec.affinity ask for, and none that they avoid."},
        {"ClassSelector", "The node is selected by the machine's class."},
        {"Processor", "The node can give guests the processor of the class."},
        {"Firmware", "The node has the boot firmware, a TPM and SPICE as far as the machine has them."},
        {"Graphics", "The node allows screens to listen for TCP, when the machine's shall (spec.graphics.listen)."},
        {"Data", "The node holds the machine's disks that lie on one node."},
        {"Pools", "The node has the storage pools that the disks need, and room in them within their over-commit limit."},
        {"Cpu", "The node can guarantee cores x coreFraction besides what others have."},
        {"Memory", "The node has the memory and the emulator's overhead free."},
        {NULL, NULL},
};

bool placement_class_fits(const struct api_virtual_machine_class *class, const struct cache_object *node, struct arena *arena,
                          const char **ret_words)
{
        assert(class && node && arena);

        const char *words = class_selector_words(class->spec, node);

        if (!words)
                words = processor_words(class, NULL, node->view, arena);
        if (ret_words)
                *ret_words = words;
        return !words;
}

/* --- choice --- */

struct choice {
        struct judge judge;
        GArray *refusals;
        const char *node;
        uint64_t score;
        size_t n_nodes;
};

/* What is left afterwards of the scarcer resource, in millionths. */
static uint64_t judge_score(const struct judge *judge)
{
        uint64_t cpu = room(judge->cpu_total, judge->cpu_used + judge->request->cpu_milli);
        uint64_t memory = room(judge->mem_total, judge->mem_used + judge->request->memory_mib);

        return MIN(judge->cpu_total ? cpu * 1000000 / judge->cpu_total : 0,
                   judge->mem_total ? memory * 1000000 / judge->mem_total : 0);
}

static bool ask_node(const struct cache_object *node, void *userdata)
{
        struct choice *choice = userdata;
        struct judge *judge = &choice->judge;
        bool fits = true;
        uint64_t score;

        if (judge->request->only && strcmp(judge->request->only, node->name) != 0)
                return true;
        choice->n_nodes++;
        judge->node = node;
        judge->view = node->view;
        judge_measure(judge);
        for (size_t i = 0; i < G_N_ELEMENTS(rules); i++) {
                const char *words = rules[i].words(judge);

                if (!words)
                        continue;

                struct placement_refusal refusal = {.node = node->name, .rule = rules[i].name, .words = words};

                g_array_append_val(choice->refusals, refusal);
                fits = false;
        }
        if (!fits)
                return true;
        score = judge_score(judge);
        if (!choice->node || score > choice->score) { /* nodes come in the order of their names */
                choice->node = node->name;
                choice->score = score;
        }
        return true;
}

bool placement_has_room(const struct cache *cache, const struct cache_object *node, const struct placement_request *request,
                        struct arena *arena, const char **reterr_words)
{
        assert(cache && node && request && request->machine && arena && reterr_words);

        struct judge judge = {.cache = cache, .request = request, .node = node, .view = node->view, .arena = arena};
        const char *words;

        judge_measure(&judge);
        words = rule_cpu(&judge);
        if (!words)
                words = rule_memory(&judge);
        if (words)
                *reterr_words = words;
        return !words;
}

const char *placement_violation(const struct cache *cache, const struct cache_object *machine, const struct cache_object *node,
                                struct arena *arena)
{
        static const char *(*const asked[])(struct judge * judge) = {rule_node_selector, rule_node_affinity, rule_machine_affinity,
                                                                     rule_class_selector};

        assert(cache && machine && node && arena);

        const struct api_virtual_machine *view = machine->view;
        const char *name = view->spec->virtual_machine_class_name, *words = NULL;
        const struct cache_object *class = name ? cache_get(cache, &api_virtual_machine_class_kind, NULL, name) : NULL;
        const struct placement_request request = {.machine = machine, .class = class};
        struct judge judge = {.cache = cache,
                              .request = &request,
                              .machine = view->spec,
                              .class = class ? class->view : NULL,
                              .node = node,
                              .view = node->view,
                              .arena = arena};

        for (size_t i = 0; !words && i < G_N_ELEMENTS(asked); i++)
                words = asked[i](&judge);
        return words;
}

struct placement placement_choose(const struct cache *cache, const struct placement_request *request, struct arena *arena)
{
        assert(cache && request && request->machine && arena);

        const struct api_virtual_machine *machine = request->machine->view;
        const struct api_virtual_machine_class *class = request->class ? request->class->view : NULL;
        g_autoptr(GArray) refusals = g_array_new(FALSE, FALSE, sizeof(struct placement_refusal));
        struct choice choice = {
                .judge = {.cache = cache, .request = request, .machine = machine->spec, .class = class, .arena = arena},
                .refusals = refusals,
        };
        struct placement_refusal *copy;

        assert(machine->spec);
        cache_each(cache, &api_node_kind, NULL, ask_node, &choice);
        copy = arena_array(arena, refusals->len, sizeof(*copy));
        if (refusals->len > 0)
                memcpy(copy, refusals->data, refusals->len * sizeof(*copy));
        return (struct placement){.node = choice.node, .n_nodes = choice.n_nodes, .refusals = copy, .n_refusals = refusals->len};
}

const char *placement_words(const struct placement *placement, struct arena *arena)
{
        assert(placement && arena);

        g_autoptr(GString) words = g_string_new(NULL);
        const char *node = NULL;
        size_t named = 0;

        if (placement->n_nodes == 0)
                return "no node has joined yet";
        g_string_append_printf(words, "none of %zu node%s fits:", placement->n_nodes, placement->n_nodes == 1 ? "" : "s");
        for (size_t i = 0; i < placement->n_refusals; i++) {
                const struct placement_refusal *refusal = &placement->refusals[i];
                bool same = node && strcmp(node, refusal->node) == 0;

                if (!same && ++named > WORDS_NODES)
                        break;
                if (same)
                        g_string_append_printf(words, ", %s", refusal->words);
                else
                        g_string_append_printf(words, "%s %s %s", node ? ";" : "", refusal->node, refusal->words);
                node = refusal->node;
        }
        if (placement->n_nodes > WORDS_NODES)
                g_string_append_printf(words, "; and %zu more", placement->n_nodes - WORDS_NODES);
        return arena_strndup(arena, words->str, words->len);
}
