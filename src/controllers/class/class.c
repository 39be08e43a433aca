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

struct survey {
        const struct cache_object *class;
        const struct api_virtual_machine_class *view;
        struct arena *arena;
        GPtrArray *names;  /* nodes that fit */
        GPtrArray *common; /* features of all selected nodes; NULL: none was seen */
        GString *why;      /* why others do not */
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

static void survey_features(struct survey *survey, const struct cache_object *object)
{
        const struct api_node *node = object->view;
        const struct api_node_virtualization *virt = node->status ? node->status->virtualization : NULL;
        const struct api_class_discovery *discovery = survey->view->spec->cpu->discovery;

        if (!virt || !virt->cpu || !selector_node_labels(discovery ? discovery->node_selector : NULL, object))
                return;
        if (!survey->common) {
                survey->common = g_ptr_array_new();
                for (size_t i = 0; i < virt->cpu->n_features; i++)
                        g_ptr_array_add(survey->common, (gpointer)virt->cpu->features[i]);
                return;
        }
        for (guint i = survey->common->len; i-- > 0;)
                if (!strings_hold((const char *const *)virt->cpu->features, virt->cpu->n_features, survey->common->pdata[i]))
                        g_ptr_array_remove_index(survey->common, i);
}

static bool survey_node(const struct cache_object *node, void *userdata)
{
        struct survey *survey = userdata;
        const char *words = NULL;

        survey->n_nodes++;
        if (strcmp(survey->view->spec->cpu->type, "Discovery") == 0)
                survey_features(survey, node);
        if (!placement_node_ready(node))
                words = "is not ready";
        else if (placement_class_fits(survey->class, node, survey->arena, &words))
                words = NULL;
        if (!words) {
                g_ptr_array_add(survey->names, (gpointer)node->name);
                survey_resources(survey, node->view);
        } else if (survey->why->len < 4096) {
                g_string_append_printf(survey->why, "%s%s %s", survey->why->len > 0 ? "; " : "", node->name, words);
        }
        return true;
}

static void say_discovered(struct survey *survey, const struct conditions *conditions,
                           struct api_virtual_machine_class_status *status)
{
        if (strcmp(survey->view->spec->cpu->type, "Discovery") != 0) {
                conditions_say(conditions, "Discovered", "True", REASON_DISCOVERY_SKIP, "the class names its processor");
                status->cpu_features = NULL;
                return;
        }
        if (!survey->common || survey->common->len == 0) {
                conditions_say(conditions, "Discovered", "False", REASON_DISCOVERY_FAILED,
                               "the selected nodes have no processor feature in common");
                status->cpu_features = NULL;
                return;
        }
        status->cpu_features = arena_new0(survey->arena, struct api_class_cpu_features);
        status->cpu_features->enabled = arena_array(survey->arena, survey->common->len, sizeof(char *));
        memcpy(status->cpu_features->enabled, survey->common->pdata, survey->common->len * sizeof(char *));
        status->cpu_features->n_enabled = survey->common->len;
        conditions_say(conditions, "Discovered", "True", REASON_DISCOVERY_SUCCEEDED,
                       "the selected nodes have %u features in common", survey->common->len);
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

static void say_ready(struct survey *survey, const struct conditions *conditions, struct api_virtual_machine_class_status *status)
{
        bool features = strcmp(survey->view->spec->cpu->type, "Discovery") == 0 && !status->cpu_features;

        status->available_nodes = arena_array(survey->arena, survey->names->len, sizeof(char *));
        if (survey->names->len > 0)
                memcpy(status->available_nodes, survey->names->pdata, survey->names->len * sizeof(char *));
        status->n_available_nodes = survey->names->len;
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
        g_autoptr(GString) why = g_string_new(NULL);
        struct survey survey = {.class = object, .view = view, .arena = turn_arena(turn), .names = names, .why = why};
        size_t users = count_users(turn, object);

        status.observed_generation = conditions.generation;
        status.has_observed_generation = true;
        if (object_deleting(object) && users == 0) {
                turn_remove_finalizer(turn, object, FINALIZER_CLASS);
                return TURN_DONE;
        }
        if (!object_deleting(object))
                turn_add_finalizer(turn, object, FINALIZER_CLASS);
        cache_each(turn_cache(turn), &api_node_kind, NULL, survey_node, &survey);
        say_discovered(&survey, &conditions, &status);
        set_most(&survey, &status);
        say_ready(&survey, &conditions, &status);
        if (users > 0)
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
