/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/node/node.h"

#include "controllers/object.h"
#include "generated/reasons.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define LABEL_HOSTNAME "kubernetes.io/hostname"

static const struct api_node_condition *find(const struct api_node_status *status, const char *type)
{
        for (size_t i = 0; i < status->n_conditions; i++)
                if (g_strcmp0(status->conditions[i].type, type) == 0)
                        return &status->conditions[i];
        return NULL;
}

static void node_say(struct turn *turn, struct api_node_status *status, const char *value, const char *reason, const char *message)
{
        const struct api_node_condition *old = find(status, "Ready");
        size_t index = old ? (size_t)(old - status->conditions) : status->n_conditions;
        size_t n = old ? status->n_conditions : status->n_conditions + 1;
        struct api_node_condition *list = arena_array(turn_arena(turn), n, sizeof(*list));
        char time[CLOCK_RFC3339_MAX];
        const char *since = old && g_strcmp0(old->status, value) == 0 ? old->last_transition_time : NULL;

        if (!since)
                since = arena_strdup(turn_arena(turn), clock_format_rfc3339(turn_now_us(turn), false, time));
        if (status->n_conditions > 0)
                memcpy(list, status->conditions, status->n_conditions * sizeof(*list));
        list[index] = (struct api_node_condition){
                .type = "Ready",
                .status = value,
                .reason = reason,
                .message = message,
                .last_heartbeat_time = old ? old->last_heartbeat_time : NULL,
                .last_transition_time = since,
        };
        status->conditions = list;
        status->n_conditions = n;
}

/* When the lease of a node ends; 0: it has none. */
static uint64_t lease_end_us(const struct turn *turn, const char *node)
{
        const struct cache_object *object = cache_get(turn_cache(turn), &api_lease_kind, NODE_LEASE_NAMESPACE, node);
        const struct api_lease *lease = object ? object->view : NULL;
        uint64_t renewed_us;

        if (!lease || !lease->spec)
                return 0;
        renewed_us = time_us(lease->spec->renew_time);
        if (renewed_us == 0)
                return 0;
        return renewed_us +
               (uint64_t)(lease->spec->has_lease_duration_seconds ? lease->spec->lease_duration_seconds : NODE_LEASE_SECONDS) *
                       1000000ull;
}

static enum turn_result node_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_node *node = object->view;
        struct api_node_status status = node->status ? *node->status : (struct api_node_status){0};
        const struct api_node_condition *ready = find(&status, "Ready");
        uint64_t end_us = lease_end_us(turn, object->name);
        bool unknown = !ready || strcmp(ready->status, "Unknown") == 0;

        if (object_deleting(object))
                return TURN_DONE;
        if (!object_label(object, LABEL_HOSTNAME))
                turn_set_label(turn, object, LABEL_HOSTNAME, object->name);
        if (end_us > turn_now_us(turn)) {
                turn_again_in(turn, end_us - turn_now_us(turn));
                if (unknown) {
                        node_say(turn, &status, "True", REASON_AGENT_RUNNING, "the agent renews its lease");
                        turn_event(turn, object, false, REASON_NODE_READY, "the agent renews its lease");
                }
        } else if (!ready || !unknown) {
                node_say(turn, &status, "Unknown", REASON_AGENT_NOT_RESPONDING,
                         end_us == 0 ? "the agent has not renewed a lease yet" : "the agent has stopped renewing its lease");
                if (ready)
                        turn_event(turn, object, true, REASON_AGENT_NOT_RESPONDING,
                                   "the agent has stopped renewing its lease; what runs there goes on, and is not started "
                                   "elsewhere by "
                                   "itself: nothing can prove that the host is off");
        }
        turn_update_status(turn, object, &status);
        return TURN_DONE;
}

static void node_related(const struct cache *cache, const struct cache_object *before, const struct cache_object *now,
                         struct workqueue *queue)
{
        const struct cache_object *object = now ? now : before;

        if (object->kind == &api_lease_kind && g_strcmp0(object->namespace, NODE_LEASE_NAMESPACE) == 0)
                controller_enqueue(queue, NULL, object->name);
}

const struct controller node_controller = {
        .name = "node",
        .kind = &api_node_kind,
        .turn = node_turn,
        .related = node_related,
};
