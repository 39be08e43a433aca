/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/pod/pod.h"

#include "base/quantity.h"
#include "controllers/object.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define CONTAINER        "machine"
#define ANNOTATION_EPOCH "gabbro.dev/first-epoch" /* of the Pod: the epoch that it began with */
#define TEXT_OF_A_SIZE   32

struct projection {
        struct turn *turn;
        struct arena *arena;
        const struct cache_object *machine;
        const struct cache_object *instance; /* what its host holds; NULL: nothing */
        const struct cache_object *pod;
        bool runs;
};

/* --- what is seen --- */

static const struct cache_object *held_instance(const struct cache *cache, const struct cache_object *machine)
{
        g_autoptr(GPtrArray) instances = cache_lookup(cache, INDEX_INSTANCE_BY_MACHINE, machine->uid);

        for (guint i = 0; i < instances->len; i++)
                if (instance_active(instances->pdata[i]))
                        return instances->pdata[i];
        return NULL;
}

static bool runs(const struct cache_object *instance)
{
        static const char *const states[] = {"running", "paused", "shutdown", "migrating"};
        const struct api_instance *view = instance ? instance->view : NULL;

        return view && view->status && strings_hold(states, G_N_ELEMENTS(states), view->status->state);
}

static const struct api_instance_spec *instance_spec(const struct projection *p)
{
        return ((const struct api_instance *)p->instance->view)->spec;
}

/* --- its parts --- */

static struct api_pair pair(const char *key, const char *value)
{
        return (struct api_pair){key, value};
}

static struct api_pod_resources *resources(const struct projection *p)
{
        const struct api_instance_spec *spec = instance_spec(p);
        struct api_pod_resources *resources = arena_new0(p->arena, struct api_pod_resources);
        struct api_pair *requests = arena_array(p->arena, 2, sizeof(*requests)),
                        *limits = arena_array(p->arena, 2, sizeof(*limits));
        char guaranteed[TEXT_OF_A_SIZE], most[TEXT_OF_A_SIZE], memory[TEXT_OF_A_SIZE];
        uint64_t cores = spec->cpu ? (uint64_t)spec->cpu->cores : 0;

        quantity_format_milli(cores * (spec->cpu ? (uint64_t)spec->cpu->core_fraction_percent : 0) * 10, guaranteed);
        quantity_format_milli(cores * 1000, most);
        quantity_format_bytes((uint64_t)spec->memory_mib << 20, memory);
        requests[0] = pair("cpu", arena_strdup(p->arena, guaranteed));
        limits[0] = pair("cpu", arena_strdup(p->arena, most));
        requests[1] = limits[1] = pair("memory", arena_strdup(p->arena, memory));
        *resources = (struct api_pod_resources){.requests = requests, .n_requests = 2, .limits = limits, .n_limits = 2};
        return resources;
}

static const char *image_of(const struct projection *p)
{
        const struct api_virtual_machine *view = p->machine->view;

        return view->spec->virtual_machine_class_name ?: "machine";
}

static struct api_pod_spec *pod_spec(const struct projection *p)
{
        struct api_pod_spec *spec = arena_new0(p->arena, struct api_pod_spec);
        struct api_pod_container *container = arena_new0(p->arena, struct api_pod_container);

        *container = (struct api_pod_container){.name = CONTAINER, .image = image_of(p), .resources = resources(p)};
        *spec = (struct api_pod_spec){
                .node_name = instance_spec(p)->node_name,
                .restart_policy = "Never",
                .termination_grace_period_seconds = instance_spec(p)->grace_period_seconds,
                .has_termination_grace_period_seconds = true,
                .containers = container,
                .n_containers = 1,
        };
        return spec;
}

static int64_t restarts(const struct projection *p)
{
        const char *first = p->pod ? object_annotation(p->pod, ANNOTATION_EPOCH) : NULL;

        return first ? MAX(instance_spec(p)->epoch - g_ascii_strtoll(first, NULL, 10), 0) : 0;
}

static struct api_pod_container_status *container_status(const struct projection *p, const char *started)
{
        const struct api_virtual_machine *view = p->machine->view;
        struct api_pod_container_status *status = arena_new0(p->arena, struct api_pod_container_status);
        struct api_pod_container_state *state = arena_new0(p->arena, struct api_pod_container_state);

        if (p->runs) {
                state->running = arena_new0(p->arena, struct api_pod_running);
                state->running->started_at = started;
        } else {
                state->waiting = arena_new0(p->arena, struct api_pod_waiting);
                state->waiting->reason = view->status && view->status->phase ? view->status->phase : "Pending";
        }
        *status = (struct api_pod_container_status){
                .name = CONTAINER,
                .image = image_of(p),
                .image_id = "",
                .ready = p->runs,
                .has_ready = true,
                .started = p->runs,
                .has_started = true,
                .restart_count = restarts(p),
                .has_restart_count = true,
                .state = state,
        };
        return status;
}

static struct api_pod_condition *ready_condition(const struct projection *p, const char *started)
{
        struct api_pod_condition *condition = arena_new0(p->arena, struct api_pod_condition);

        *condition = (struct api_pod_condition){
                .type = "Ready",
                .status = p->runs ? "True" : "False",
                .reason = p->runs ? REASON_READY : REASON_NOT_READY,
                .message = p->runs ? "the guest runs" : "the guest does not run",
                .last_transition_time = started,
        };
        return condition;
}

static struct api_pod_status *pod_status(const struct projection *p)
{
        const struct api_instance_status *seen = ((const struct api_instance *)p->instance->view)->status;
        const struct api_virtual_machine *view = p->machine->view;
        const char *started = p->runs && seen ? seen->started_at : NULL;
        struct api_pod_status *status = arena_new0(p->arena, struct api_pod_status);

        *status = (struct api_pod_status){
                .phase = p->runs ? "Running" : "Pending",
                .conditions = ready_condition(p, started),
                .n_conditions = 1,
                .start_time = started,
                .container_statuses = container_status(p, started),
                .n_container_statuses = 1,
        };
        if (view->status && view->status->ip_address && *view->status->ip_address) {
                status->pod_ip = view->status->ip_address;
                status->pod_ips = arena_new0(p->arena, struct api_pod_address);
                status->pod_ips->ip = view->status->ip_address;
                status->n_pod_ips = 1;
        }
        return status;
}

static struct api_object_meta *pod_meta(const struct projection *p)
{
        const struct api_object_meta *machine = object_meta(p->machine);
        struct api_object_meta *meta = arena_new0(p->arena, struct api_object_meta);
        struct api_owner_reference *owner = arena_new0(p->arena, struct api_owner_reference);
        struct api_pair *annotation = arena_new0(p->arena, struct api_pair);

        *owner = (struct api_owner_reference){
                .api_version = "gabbro.dev/v1",
                .kind = "VirtualMachine",
                .name = p->machine->name,
                .uid = p->machine->uid,
                .controller = true,
                .has_controller = true,
        };
        *annotation = pair(ANNOTATION_EPOCH, arena_printf(p->arena, "%" G_GINT64_FORMAT, instance_spec(p)->epoch));
        *meta = (struct api_object_meta){
                .name = p->machine->name,
                .namespace = p->machine->namespace,
                .labels = machine->labels,
                .n_labels = machine->n_labels,
                .annotations = annotation,
                .n_annotations = 1,
                .owner_references = owner,
                .n_owner_references = 1,
        };
        return meta;
}

/* --- the turn --- */

/* The machine's labels: tools choose Pods by them. */
static void follow_labels(const struct projection *p)
{
        const struct api_object_meta *wanted = object_meta(p->machine), *have = object_meta(p->pod);

        for (size_t i = 0; i < wanted->n_labels; i++)
                if (g_strcmp0(object_label(p->pod, wanted->labels[i].key), wanted->labels[i].value) != 0)
                        turn_set_label(p->turn, p->pod, wanted->labels[i].key, wanted->labels[i].value);
        for (size_t i = 0; i < have->n_labels; i++)
                if (!object_label(p->machine, have->labels[i].key))
                        turn_set_label(p->turn, p->pod, have->labels[i].key, NULL);
}

static void make(const struct projection *p)
{
        const struct api_pod pod = {.metadata = pod_meta(p), .spec = pod_spec(p), .status = pod_status(p)};

        turn_create(p->turn, &api_pod_kind, &pod);
}

/* Whether it is the Pod of this machine on this host. */
static bool fits(const struct projection *p)
{
        const struct api_pod *view = p->pod->view;

        return object_owned_by(p->pod, p->machine->uid) && view->spec &&
               g_strcmp0(view->spec->node_name, instance_spec(p)->node_name) == 0;
}

static enum turn_result pod_turn(struct turn *turn, const struct cache_object *machine)
{
        struct projection p = {
                .turn = turn,
                .arena = turn_arena(turn),
                .machine = machine,
                .instance = held_instance(turn_cache(turn), machine),
                .pod = cache_get(turn_cache(turn), &api_pod_kind, machine->namespace, machine->name),
        };

        p.runs = runs(p.instance);
        if (p.instance)
                turn_depends(turn, p.instance);
        if (!p.instance || (p.pod && !fits(&p))) {
                if (p.pod)
                        turn_delete(turn, p.pod); /* its removal brings the next turn, which makes another one */
                return TURN_DONE;
        }
        if (!p.pod) {
                make(&p);
                return TURN_DONE;
        }
        follow_labels(&p);
        turn_update_spec(turn, p.pod, pod_spec(&p));
        turn_update_status(turn, p.pod, pod_status(&p));
        return TURN_DONE;
}

static void pod_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                        struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;
        const struct api_instance *instance = object->kind == &api_instance_kind ? object->view : NULL;

        if (instance && instance->spec && instance->spec->machine)
                controller_enqueue(queue, instance->spec->machine->namespace, instance->spec->machine->name);
        if (object->kind == &api_pod_kind)
                controller_enqueue(queue, object->namespace, object->name);
}

const struct controller pod_controller = {
        .name = "pod",
        .kind = &api_virtual_machine_kind,
        .turn = pod_turn,
        .related = pod_related,
};
