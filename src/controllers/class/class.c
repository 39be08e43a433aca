/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/class/class.h"

#include "base/quantity.h"
#include "controllers/object.h"
#include "controllers/placement/placement.h"
#include "controllers/placement/selector.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define FINALIZER_CLASS "gabbro.dev/vmclass-cleanup"
#define UNAVAILABLE_MAX 64
#define WHY_BYTES       4096

struct survey {
        struct api_virtual_machine_class view; /* as it will be after this turn, as far as the turn is */
        const char *type;
        struct arena *arena;
        size_t users;        /* machines that name it */
        GPtrArray *names;    /* nodes that fit */
        GArray *unavailable; /* struct api_class_unavailable_node: the first that do not */
        GPtrArray *common;   /* features of all nodes that were asked; NULL: none told any */
        GString *why;        /* why others do not fit */
        size_t n_nodes;
        uint64_t most_cpu_milli, most_memory_bytes;
};

static void survey_resources(struct survey *survey, const struct api_node *node)
{
        const struct api_node_status *status = node->status;
        const char *cpu = status ? pairs_get(status->allocatable, status->n_allocatable, "cpu") : NULL;
        const char *memory = status ? pairs_get(status->allocatable, status->n_allocatable, "memory") : NULL;
        uint64_t value;

        if (cpu && quantity_parse_milli(cpu, &value) == 0)
                survey->most_cpu_milli = MAX(survey->most_cpu_milli, value);
        if (memory && quantity_parse_bytes(memory, &value) == 0)
                survey->most_memory_bytes = MAX(survey->most_memory_bytes, value);
}

/* --- features --- */

/* Nodes tell their features in the same order, so that the next one is looked for where the last one was found. */
static void take_common(struct survey *survey, const struct api_node *node)
{
        const struct api_node_virtualization *virt = node->status ? node->status->virtualization : NULL;
        size_t at = 0, kept = 0;

        if (!virt || !virt->cpu || virt->cpu->n_features == 0)
                return;
        if (!survey->common) {
                survey->common = g_ptr_array_new();
                for (size_t i = 0; i < virt->cpu->n_features; i++)
                        g_ptr_array_add(survey->common, (gpointer)virt->cpu->features[i]);
                return;
        }
        for (guint i = 0; i < survey->common->len; i++) {
                size_t n = virt->cpu->n_features, steps = 0;

                while (steps < n && strcmp(virt->cpu->features[(at + steps) % n], survey->common->pdata[i]) != 0)
                        steps++;
                if (steps == n)
                        continue;
                at = (at + steps + 1) % n;
                survey->common->pdata[kept++] = survey->common->pdata[i];
        }
        g_ptr_array_set_size(survey->common, (gint)kept);
}

static bool discover_node(const struct cache_object *node, void *userdata)
{
        struct survey *survey = userdata;
        const struct api_class_discovery *discovery = survey->view.spec->cpu->discovery;

        if (selector_node_labels(discovery ? discovery->node_selector : NULL, node))
                take_common(survey, node->view);
        return true;
}

static bool discovers(const struct survey *survey)
{
        return strcmp(survey->type, "Discovery") == 0;
}

static const struct api_class_cpu_features *found(const struct survey *survey)
{
        const struct api_class_cpu_features *features = survey->view.status->cpu_features;

        return features && features->n_enabled > 0 ? features : NULL;
}

/* What its nodes have in common, until a machine uses the class: what guests see does not change with the nodes after that. */
static void fix_features(struct survey *survey, const struct cache *cache)
{
        const struct api_class_cpu *cpu = survey->view.spec->cpu;
        struct api_class_cpu_features *features = arena_new0(survey->arena, struct api_class_cpu_features);

        if (strcmp(survey->type, "Features") == 0) {
                features->enabled = cpu->features;
                features->n_enabled = cpu->n_features;
        } else if (discovers(survey)) {
                cache_each(cache, &api_node_kind, NULL, discover_node, survey);
                if (survey->users > 0 && found(survey)) {
                        features->enabled = found(survey)->enabled;
                        features->n_enabled = found(survey)->n_enabled;
                } else if (survey->common) {
                        features->enabled = arena_array(survey->arena, survey->common->len, sizeof(char *));
                        memcpy(features->enabled, survey->common->pdata, survey->common->len * sizeof(char *));
                        features->n_enabled = survey->common->len;
                }
                g_clear_pointer(&survey->common, g_ptr_array_unref);
        }
        survey->view.status->cpu_features = features->n_enabled > 0 ? features : NULL;
}

/* What all nodes that can run its machines have besides. */
static void set_not_enabled(struct survey *survey)
{
        struct api_class_cpu_features *features = survey->view.status->cpu_features;

        if (!features || !survey->common)
                return;
        features->not_enabled_common = arena_array(survey->arena, survey->common->len, sizeof(char *));
        for (guint i = 0; i < survey->common->len; i++)
                if (!strings_hold((const char *const *)features->enabled, features->n_enabled, survey->common->pdata[i]))
                        features->not_enabled_common[features->n_not_enabled_common++] = survey->common->pdata[i];
}

/* --- nodes --- */

static void note_unavailable(struct survey *survey, const char *name, const char *words)
{
        struct api_class_unavailable_node node = {.name = name, .message = words};

        if (survey->unavailable->len < UNAVAILABLE_MAX)
                g_array_append_val(survey->unavailable, node);
        if (survey->why->len < WHY_BYTES)
                g_string_append_printf(survey->why, "%s%s %s", survey->why->len > 0 ? "; " : "", name, words);
}

static bool survey_node(const struct cache_object *node, void *userdata)
{
        struct survey *survey = userdata;
        const char *words = NULL;

        survey->n_nodes++;
        if (!placement_class_fits(&survey->view, node, survey->arena, &words)) {
                note_unavailable(survey, node->name, words);
        } else if (!placement_node_ready(node)) {
                note_unavailable(survey, node->name, "is not ready");
        } else {
                g_ptr_array_add(survey->names, (gpointer)node->name);
                survey_resources(survey, node->view);
                if (survey->view.status->cpu_features)
                        take_common(survey, node->view);
        }
        return true;
}

static void say_discovered(struct survey *survey, const struct conditions *conditions)
{
        if (!discovers(survey))
                conditions_say(conditions, "Discovered", "True", REASON_DISCOVERY_SKIP, "the class names its processor");
        else if (!found(survey))
                conditions_say(conditions, "Discovered", "False", REASON_DISCOVERY_FAILED,
                               "the selected nodes have no processor feature in common");
        else
                conditions_say(conditions, "Discovered", "True", REASON_DISCOVERY_SUCCEEDED,
                               "%zu features that the selected nodes had in common%s", found(survey)->n_enabled,
                               survey->users > 0 ? "; fixed, for machines use them"
                                                 : "; they follow the nodes until a machine uses them");
}

/* Whether machines of the class could move among its nodes while they run. */
static void say_migratable(struct survey *survey, const struct conditions *conditions)
{
        if (strcmp(survey->type, "HostPassthrough") == 0)
                conditions_say(conditions, "Migratable", "False", REASON_HOST_PROCESSOR_PASSED_THROUGH,
                               "its machines see the processor of the very host they run on, so they cannot move while they run");
        else if (strcmp(survey->type, "Host") == 0)
                conditions_say(conditions, "Migratable", "True", REASON_PROCESSOR_FIXED,
                               "each machine keeps the processor of its first host and can move to hosts that have its features");
        else
                conditions_say(conditions, "Migratable", "True", REASON_PROCESSOR_FIXED,
                               "its machines see the same processor on every node that is available");
}

static void set_most(struct survey *survey, struct api_virtual_machine_class_status *status)
{
        struct api_pair *most = arena_array(survey->arena, 2, sizeof(*most));
        char text[32];

        most[0] = (struct api_pair){"cpu", arena_strdup(survey->arena, quantity_format_milli(survey->most_cpu_milli, text))};
        most[1] = (struct api_pair){"memory", arena_strdup(survey->arena, quantity_format_bytes(survey->most_memory_bytes, text))};
        status->max_allocatable_resources = most;
        status->n_max_allocatable_resources = survey->names->len > 0 ? 2 : 0;
}

static void set_nodes(struct survey *survey, struct api_virtual_machine_class_status *status)
{
        status->available_nodes = arena_array(survey->arena, survey->names->len, sizeof(char *));
        if (survey->names->len > 0)
                memcpy(status->available_nodes, survey->names->pdata, survey->names->len * sizeof(char *));
        status->n_available_nodes = survey->names->len;
        status->unavailable_nodes = arena_array(survey->arena, survey->unavailable->len, sizeof(struct api_class_unavailable_node));
        if (survey->unavailable->len > 0)
                memcpy(status->unavailable_nodes, survey->unavailable->data,
                       survey->unavailable->len * sizeof(struct api_class_unavailable_node));
        status->n_unavailable_nodes = survey->unavailable->len;
}

static void say_ready(struct survey *survey, const struct conditions *conditions, struct api_virtual_machine_class_status *status)
{
        bool features = discovers(survey) && !found(survey);

        set_nodes(survey, status);
        status->phase = survey->names->len > 0 && !features ? "Ready" : "Pending";
        if (survey->names->len == 0)
                conditions_say(conditions, "Ready", "False", REASON_NO_SUITABLE_NODES_FOUND, "no node can run its machines: %s",
                               survey->n_nodes == 0 ? "no node has joined yet" : survey->why->str);
        else if (features)
                conditions_say(conditions, "Ready", "False", REASON_NO_CPU_FEATURES_ENABLED,
                               "the selected nodes have no processor feature in common");
        else
                conditions_say(conditions, "Ready", "True", REASON_SUITABLE_NODES_FOUND, "%u of %zu nodes can run its machines",
                               survey->names->len, survey->n_nodes);
}

static size_t count_users(const struct turn *turn, const struct cache_object *class)
{
        g_autoptr(GPtrArray) machines = cache_lookup(turn_cache(turn), INDEX_VM_BY_CLASS, class->name);

        return machines ? machines->len : 0;
}

static enum turn_result class_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_virtual_machine_class *view = object->view;
        struct api_virtual_machine_class_status status =
                view->status ? *view->status : (struct api_virtual_machine_class_status){0};
        struct conditions conditions = {
                .arena = turn_arena(turn),
                .list = &status.conditions,
                .n = &status.n_conditions,
                .generation = object_meta(object)->generation,
                .now_us = turn_now_us(turn),
        };
        g_autoptr(GPtrArray) names = g_ptr_array_new();
        g_autoptr(GArray) unavailable = g_array_new(FALSE, FALSE, sizeof(struct api_class_unavailable_node));
        g_autoptr(GString) why = g_string_new(NULL);
        struct survey survey = {.view = *view,
                                .type = view->spec->cpu->type,
                                .arena = turn_arena(turn),
                                .users = count_users(turn, object),
                                .names = names,
                                .unavailable = unavailable,
                                .why = why};

        survey.view.status = &status;
        status.observed_generation = conditions.generation;
        status.has_observed_generation = true;
        if (object_deleting(object) && survey.users == 0) {
                turn_remove_finalizer(turn, object, FINALIZER_CLASS);
                return TURN_DONE;
        }
        if (!object_deleting(object))
                turn_add_finalizer(turn, object, FINALIZER_CLASS);
        fix_features(&survey, turn_cache(turn));
        cache_each(turn_cache(turn), &api_node_kind, NULL, survey_node, &survey);
        set_not_enabled(&survey);
        say_discovered(&survey, &conditions);
        say_migratable(&survey, &conditions);
        set_most(&survey, &status);
        say_ready(&survey, &conditions, &status);
        if (survey.users > 0)
                conditions_say(&conditions, "InUse", "True", REASON_VIRTUAL_MACHINE_CLASS_IN_USE, "machines name it");
        else
                conditions_say(&conditions, "InUse", "False", REASON_NOT_IN_USE, "no machine names it");
        if (object_deleting(object))
                status.phase = "Terminating";
        turn_update_status(turn, object, &status);
        g_clear_pointer(&survey.common, g_ptr_array_unref);
        return TURN_DONE;
}

static void enqueue_class_of(const struct cache_object *machine, struct workqueue *queue)
{
        const struct api_virtual_machine *view = machine ? machine->view : NULL;

        if (view && view->spec && view->spec->virtual_machine_class_name)
                controller_enqueue(queue, NULL, view->spec->virtual_machine_class_name);
}

static void class_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                          struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;

        if (object->kind == &api_virtual_machine_kind && object_moved(before, now)) {
                enqueue_class_of(before, queue);
                enqueue_class_of(now, queue);
        } else if (object->kind == &api_node_kind && node_moved(before, now)) {
                kind_enqueue(cache, &api_virtual_machine_class_kind, NULL, queue);
        }
}

const struct controller class_controller = {
        .name = "class",
        .kind = &api_virtual_machine_class_kind,
        .turn = class_turn,
        .related = class_related,
};
