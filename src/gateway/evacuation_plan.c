/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "cache/cache.h"
#include "controllers/evacuation/evacuation.h"
#include "controllers/object.h"
#include "gateway/gateway.h"
#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

/*
 * What emptying a host would come to, machine by machine, and how far it is: GET /api/v1/nodes/NAME/evacuation. Nothing is stored
 * of it: each answer is made of what there is now. Each machine is looked at as if it left alone.
 */

struct plan {
        struct gateway *gateway;
        const struct cache *cache;
        struct arena *arena;
        struct json_doc *doc;
        struct json_value *machines;
};

static void add_operation(const struct plan *plan, struct json_value *row, const struct cache_object *machine)
{
        const struct cache_object *operation = evacuation_under_way(plan->cache, machine);
        const struct api_virtual_machine_operation *view = operation ? operation->view : NULL;
        const struct api_virtual_machine_operation_status *status = view ? view->status : NULL;
        const struct api_condition *said = status ? condition_get(status->conditions, status->n_conditions, "Completed") : NULL;
        struct json_value *told;

        if (!operation)
                return;
        told = json_ensure_object(plan->doc, row, "operation");
        json_set_string(plan->doc, told, "name", operation->name);
        json_set_string(plan->doc, told, "type", view->spec->type);
        json_set_string(plan->doc, told, "phase", status && status->phase ? status->phase : "Pending");
        json_set_string(plan->doc, told, "progress", status && status->progress ? status->progress : "0%");
        if (said)
                json_set_string(plan->doc, told, "message", said->message);
        if (status && status->migration && status->migration->target_node)
                json_set_string(plan->doc, told, "targetNode", status->migration->target_node);
}

static void add_labels(const struct plan *plan, struct json_value *row, const struct cache_object *machine)
{
        const struct json_value *labels = json_find(cache_root(machine), "metadata", "labels", NULL);

        if (labels)
                json_set(plan->doc, row, "labels", json_copy(plan->doc, labels));
}

static void add_pod(const struct plan *plan, struct json_value *row, const struct cache_object *machine)
{
        const struct cache_object *pod = cache_get(plan->cache, &api_pod_kind, machine->namespace, machine->name);
        const char *withdrawn = pod ? object_annotation(pod, ANNOTATION_WITHDRAWN) : NULL;

        if (!pod)
                return;
        json_set_string(plan->doc, row, "pod", pod->uid);
        json_set_bool(plan->doc, row, "evicted", object_annotation(pod, ANNOTATION_EVICTION) != NULL);
        if (withdrawn && strchr(withdrawn, ' '))
                json_set_string(plan->doc, row, "withdrawn", strchr(withdrawn, ' ') + 1);
}

static void add_machine(const struct plan *plan, const struct cache_object *machine)
{
        const struct api_virtual_machine *view = machine->view;
        struct evacuation_look look = evacuation_look(plan->cache, machine, plan->arena);
        bool nowhere = look.way == EVACUATION_FULL || look.way == EVACUATION_STAYS;
        struct json_value *row = json_append(plan->machines, json_new(plan->doc, JSON_OBJECT));

        json_set_string(plan->doc, row, "namespace", machine->namespace);
        json_set_string(plan->doc, row, "name", machine->name);
        json_set_string(plan->doc, row, "uid", machine->uid);
        json_set_string(plan->doc, row, "phase", view->status && view->status->phase ? view->status->phase : "Pending");
        json_set_string(plan->doc, row, "runPolicy", view->spec->run_policy ?: "AlwaysOnUnlessStoppedManually");
        json_set_string(plan->doc, row, "way", nowhere && evacuation_may_stop(machine) ? "Stop" : evacuation_way_to_text(look.way));
        json_set_string(plan->doc, row, "message", look.words);
        if (look.node)
                json_set_string(plan->doc, row, "node", look.node);
        add_labels(plan, row, machine);
        add_pod(plan, row, machine);
        add_operation(plan, row, machine);
}

static gint by_name(gconstpointer a, gconstpointer b)
{
        const struct cache_object *left = *(const struct cache_object *const *)a, *right = *(const struct cache_object *const *)b;
        int r = g_strcmp0(left->namespace, right->namespace);

        return r ? r : strcmp(left->name, right->name);
}

/* Whose domain the host holds; not those that come to it. */
static void add_machines(const struct plan *plan, const char *node)
{
        g_autoptr(GPtrArray) instances = cache_lookup(plan->cache, INDEX_INSTANCE_BY_NODE, node);
        g_autoptr(GPtrArray) machines = g_ptr_array_new();

        for (guint i = 0; instances && i < instances->len; i++) {
                const struct cache_object *instance = instances->pdata[i];
                const struct api_instance *view = instance->view;
                const struct cache_object *machine =
                        view->spec->machine ? cache_by_uid(plan->cache, view->spec->machine->uid) : NULL;

                if (machine && instance_active(instance) && !object_is_standby(instance))
                        g_ptr_array_add(machines, (gpointer)machine);
        }
        g_ptr_array_sort(machines, by_name);
        for (guint i = 0; i < machines->len; i++)
                add_machine(plan, machines->pdata[i]);
}

static void handle(struct http_request *request, const struct auth_identity *identity, const struct store_object *object,
                   void *userdata)
{
        struct gateway *gateway = userdata;
        g_autoptr(arena) arena = arena_new(0);
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        struct plan plan = {.gateway = gateway, .cache = gateway->cache, .arena = arena, .doc = doc};

        if (!gateway->cache) {
                api_reply_status(request, 503, "ServiceUnavailable", "the gateway has just begun; ask again", NULL);
                return;
        }
        json_set_string(doc, root, "kind", "NodeEvacuation");
        json_set_string(doc, root, "apiVersion", "v1");
        json_set_string(doc, json_ensure_object(doc, root, "metadata"), "name", object->name);
        json_set_bool(doc, root, "cordoned", json_bool(json_find(object->root, "spec", "unschedulable", NULL), false));
        plan.machines = json_ensure_array(doc, root, "machines");
        add_machines(&plan, object->name);
        gateway_reply_json(request, 200, root);
}

void evacuation_plan_init(struct gateway *gateway)
{
        api_add_subresource(gateway->api, &(struct api_subresource){.kind = &api_node_kind,
                                                                    .name = "evacuation",
                                                                    .method = "GET",
                                                                    .verb = "get",
                                                                    .handle = handle,
                                                                    .userdata = gateway});
}
