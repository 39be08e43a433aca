/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/limits.h"
#include "base/names.h"
#include "gateway/gateway.h"
#include "generated/api_types.h"
#include "generated/reasons.h"

#include <string.h>

#define LEASE_SECONDS   40
#define LEASE_NAMESPACE "kube-node-lease"

/* What belongs to one report while its body is on the way. */
struct report {
        struct gateway *gateway;
        const struct schema_kind *kind;
        char *name; /* of the intent or node */
        char *node;
        struct slot *slot;
};

static void report_free(void *userdata)
{
        struct report *report = userdata;

        g_free(report->name);
        g_free(report->node);
        g_free(report);
}

static void report_new(struct gateway *gateway, struct http_request *request, const struct auth_identity *identity,
                       const struct schema_kind *kind, const char *name)
{
        struct report *report = g_new0(struct report, 1);

        report->gateway = gateway;
        report->kind = kind;
        report->name = g_strdup(name);
        report->node = g_strdup(identity->node);
        report->slot = slot_new(request, report, report_free);
}

/* --- status of an intent
 * ------------------------------------------------------------------------------------------------------------- */

static enum objects_edit put_status(struct json_doc *doc, struct json_value *root, void *userdata)
{
        const struct json_value *body = userdata;
        const char *uid = json_find_string(body, "uid", NULL);

        if (uid && g_strcmp0(uid, json_find_string(root, "metadata", "uid", NULL)) != 0)
                return OBJECTS_REFUSED;
        struct json_value *status = json_copy(doc, body);
        json_remove(status, "uid");
        if (json_equal(status, json_get(root, "status")))
                return OBJECTS_SAME;
        json_set(doc, root, "status", status);
        return OBJECTS_CHANGED;
}

/* Labels of a node that a report may set; all others are the cluster's. */
static bool label_is_reported(const char *key)
{
        return g_str_has_prefix(key, "kubernetes.io/") || g_str_has_prefix(key, "host.gabbro.dev/");
}

/* Keys are checked as well: what is stored must be what every reader of labels expects. */
static void check_labels(const struct json_value *labels, struct schema_faults *faults)
{
        if (labels && !json_is(labels, JSON_OBJECT)) {
                schema_faults_add(faults, "labels", REASON_FIELD_VALUE_TYPE_INVALID, "Invalid value: must be an object");
                return;
        }
        for (const struct json_value *label = json_first(labels); label; label = json_next(label)) {
                g_autofree char *field = g_strdup_printf("labels.%.80s", json_key(label));
                const char *text = json_string(label, NULL);

                if (!label_is_reported(json_key(label)))
                        schema_faults_add(faults, field, REASON_FIELD_VALUE_FORBIDDEN,
                                          "Forbidden: a node tells labels of kubernetes.io/ and host.gabbro.dev/ alone");
                else if (!names_is_label_key(json_key(label)) || !text || !names_is_label_value(text))
                        schema_faults_add(faults, field, REASON_FIELD_VALUE_INVALID, "Invalid value: no label");
        }
}

static bool status_is_valid(struct http_request *request, const struct schema_kind *kind, const struct json_value *status)
{
        g_autoptr(schema_faults) faults = schema_faults_new();
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *object = json_new(doc, JSON_OBJECT);
        struct json_value *copy = json_copy(doc, status);

        json_remove(copy, "uid");
        if (kind == &api_node_kind) {
                check_labels(json_get(copy, "labels"), faults);
                json_remove(copy, "labels");
        }
        json_set(doc, object, "status", copy);
        schema_check_shape(kind, object, SCHEMA_UNKNOWN_KEEP, faults);
        if (schema_faults_count(faults) == 0)
                return true;
        api_reply_status(request, 422, "Invalid", "the status is not valid", faults);
        return false;
}

static void on_status_body(struct http_request *request, const char *body, size_t len, void *userdata)
{
        struct report *report = slot_take(userdata);
        struct slot *slot = report->slot;
        g_autoptr(json_doc) doc = gateway_body_json(request, body, len);

        if (doc && status_is_valid(request, report->kind, json_root(doc))) {
                g_autofree char *actor = g_strdup_printf("agent/%s", report->node);
                struct objects_target target = {.kind = report->kind, .name = report->name, .actor = actor};
                int r = objects_edit(report->gateway, &target, put_status, json_root(doc), slot_done, slot);
                if (r)
                        slot_answer_outcome(slot, r);
        } else {
                slot_finish(slot);
        }
        report_free(report);
}

static const struct schema_kind *intent_kind(const char *plural)
{
        static const struct schema_kind *const kinds[] = {&api_instance_kind, &api_volume_kind, &api_port_kind,
                                                          &api_host_task_kind};

        for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
                if (g_str_equal(kinds[i]->plural, plural))
                        return kinds[i];
        return NULL;
}

static void handle_status(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        struct gateway *gateway = userdata;
        g_auto(GStrv) parts = g_strsplit(rest, "/", 4);
        const struct schema_kind *kind = parts[0] ? intent_kind(parts[0]) : NULL;

        if (!kind || !parts[1] || !parts[2] || !g_str_equal(parts[2], "status") || parts[3]) {
                api_reply_status(request, 404, "NotFound", "no such path", NULL);
                return;
        }
        autostoreobject intent = gateway_bound_intent(gateway, request, identity, kind, parts[1]);
        if (!intent)
                return;
        report_new(gateway, request, identity, kind, parts[1]);
        http_request_body_whole(request, LIMIT_HTTP_BODY_BYTES, on_status_body, NULL);
}

/* --- the node
 * -------------------------------------------------------------------------------------------------------------------------- */

static void merge_conditions(struct json_doc *doc, struct json_value *status, const struct json_value *reported)
{
        struct json_value *merged = json_new(doc, JSON_ARRAY);
        const struct json_value *present = json_get(status, "conditions");

        for (const struct json_value *c = json_first(reported); c; c = json_next(c)) {
                struct json_value *copy = json_append(merged, json_copy(doc, c));
                for (const struct json_value *p = json_first(present); p; p = json_next(p)) {
                        if (g_strcmp0(json_find_string(p, "type", NULL), json_find_string(c, "type", NULL)) == 0 &&
                            g_strcmp0(json_find_string(p, "status", NULL), json_find_string(c, "status", NULL)) == 0 &&
                            json_get(p, "lastTransitionTime"))
                                json_set(doc, copy, "lastTransitionTime", json_copy(doc, json_get(p, "lastTransitionTime")));
                }
        }
        json_set(doc, status, "conditions", merged);
}

static enum objects_edit put_node(struct json_doc *doc, struct json_value *root, void *userdata)
{
        const struct json_value *body = userdata;
        struct json_value *before = json_copy(doc, root);
        struct json_value *meta = json_ensure_object(doc, root, "metadata");
        struct json_value *labels = json_ensure_object(doc, meta, "labels");
        struct json_value *status = json_ensure_object(doc, root, "status");

        for (const struct json_value *l = json_first(json_get(body, "labels")); l; l = json_next(l))
                json_set_string(doc, labels, json_key(l), json_string(l, ""));
        for (const struct json_value *member = json_first(body); member; member = json_next(member)) {
                const char *key = json_key(member);
                if (g_str_equal(key, "labels") || g_str_equal(key, "uid"))
                        continue;
                if (g_str_equal(key, "conditions"))
                        merge_conditions(doc, status, member);
                else
                        json_set(doc, status, key, json_copy(doc, member));
        }
        return json_equal(before, root) ? OBJECTS_SAME : OBJECTS_CHANGED;
}

static void on_node_body(struct http_request *request, const char *body, size_t len, void *userdata)
{
        struct report *report = slot_take(userdata);
        struct slot *slot = report->slot;
        g_autoptr(json_doc) doc = gateway_body_json(request, body, len);

        if (doc && status_is_valid(request, &api_node_kind, json_root(doc))) {
                g_autofree char *actor = g_strdup_printf("agent/%s", report->node);
                struct objects_target target = {.kind = &api_node_kind, .name = report->node, .actor = actor};
                int r = objects_edit(report->gateway, &target, put_node, json_root(doc), slot_done, slot);
                if (r)
                        slot_answer_outcome(slot, r);
        } else {
                slot_finish(slot);
        }
        report_free(report);
}

static void handle_node(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        report_new(userdata, request, identity, &api_node_kind, identity->node);
        http_request_body_whole(request, LIMIT_HTTP_BODY_BYTES, on_node_body, NULL);
}

/* --- the lease
 * -------------------------------------------------------------------------------------------------------------------------- */

static void answer_lease(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        static const char body[] = "{\"validForSeconds\":" G_STRINGIFY(LEASE_SECONDS) "}";
        struct slot *slot = userdata;

        if (slot->request && result == 0)
                http_reply(slot->request, 200, "application/json", body, sizeof(body) - 1);
        else if (slot->request)
                api_reply_status(slot->request, 503, "ServiceUnavailable", "the lease could not be renewed", NULL);
        slot_finish(slot);
}

static enum objects_edit renew(struct json_doc *doc, struct json_value *root, void *userdata)
{
        struct json_value *spec = json_ensure_object(doc, root, "spec");

        json_set_string(doc, spec, "renewTime", userdata);
        return OBJECTS_CHANGED;
}

static int lease_create(struct gateway *gateway, const struct objects_target *target, const char *now, struct slot *slot)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", "coordination.k8s.io/v1");
        json_set_string(doc, root, "kind", "Lease");
        json_ensure_object(doc, root, "metadata");
        struct json_value *spec = json_ensure_object(doc, root, "spec");
        json_set_string(doc, spec, "holderIdentity", target->name);
        json_set_int(doc, spec, "leaseDurationSeconds", LEASE_SECONDS);
        json_set_string(doc, spec, "acquireTime", now);
        json_set_string(doc, spec, "renewTime", now);
        return objects_create(gateway, target, g_steal_pointer(&doc), answer_lease, slot);
}

static void on_lease_body(struct http_request *request, const char *body, size_t len, void *userdata)
{
        struct report *report = slot_take(userdata);
        struct gateway *gateway = report->gateway;
        struct slot *slot = report->slot;
        g_autofree char *actor = g_strdup_printf("agent/%s", report->node);
        struct objects_target target = {
                .kind = &api_lease_kind, .namespace = LEASE_NAMESPACE, .name = report->node, .actor = actor};
        char now[CLOCK_RFC3339_MAX];

        clock_format_rfc3339(clock_real_us(gateway->clock), true, now);
        int r = objects_edit(gateway, &target, renew, now, answer_lease, slot);
        if (r == OBJECTS_E_NOT_FOUND)
                r = lease_create(gateway, &target, now, slot);
        if (r)
                slot_answer_outcome(slot, r);
        report_free(report);
}

static void handle_lease(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        report_new(userdata, request, identity, &api_lease_kind, identity->node);
        http_request_body_whole(request, 4096, on_lease_body, NULL);
}

void reports_init(struct gateway *gateway)
{
        const struct api_route routes[] = {
                {.method = "PUT", .prefix = "/agent/v1/intents/", .nodes_only = true, .handle = handle_status, .userdata = gateway},
                {.method = "PUT", .prefix = "/agent/v1/node", .nodes_only = true, .handle = handle_node, .userdata = gateway},
                {.method = "PUT", .prefix = "/agent/v1/lease", .nodes_only = true, .handle = handle_lease, .userdata = gateway},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(routes); i++)
                api_add_route(gateway->api, &routes[i]);
}
