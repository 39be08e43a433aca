/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/permissions.h"
#include "base/clock.h"
#include "cache/cache.h"
#include "controllers/object.h"
#include "gateway/gateway.h"
#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

/*
 * Hosts and the machines on them, by paths that name the host first: /api/host/{id}/... A host's id is the UID or the name of its
 * Node, a child's id the UID of its machine. Nothing is kept for it: each path makes the operation that another client would make,
 * or reads what others read, and asks for the right of the permission of the same name (see auth/permissions.h).
 */

#define BODY_BYTES 65536

struct order {
        struct gateway *gateway;
        struct slot *slot;
        struct auth_identity *identity;
        char *rest; /* of the path */
        char *made; /* kind and name of the operation, told when it is written */
        const struct host_path *path;
        const struct cache_object *node, *machine; /* good for the turn of the loop */
};

/* One path: its words behind the host's id; "*" is a child's id. */
struct host_path {
        const char *method;
        const char *words[3];
        const char *permission; /* NULL: reading of the host's Node */
        void (*run)(struct order *order);
        const char *type; /* of the operation */
};

static void order_free(void *data)
{
        struct order *order = data;

        auth_identity_free(order->identity);
        g_free(order->rest);
        g_free(order->made);
        g_free(order);
}

static void finish(struct order *order)
{
        slot_finish(order->slot);
        order_free(order);
}

static void refuse(struct order *order, int code, const char *reason, const char *words)
{
        if (order->slot->request)
                api_reply_status(order->slot->request, code, reason, words, NULL);
        finish(order);
}

/* --- operations --- */

static void on_made(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct order *order = userdata;
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);

        json_set_string(doc, root, "status", "accepted");
        json_set_string(doc, root, "operation", order->made);
        if (order->slot->request && result < 0)
                gateway_reply_lost(order->slot->request, result);
        else if (order->slot->request)
                gateway_reply_json(order->slot->request, 202, root);
        finish(order);
}

static struct json_doc *operation_of(const struct order *order, const char *kind, const char *key, const char *name)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *spec;

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", "gabbro.dev/v1");
        json_set_string(doc, root, "kind", kind);
        spec = json_ensure_object(doc, root, "spec");
        json_set_string(doc, spec, "type", order->path->type);
        json_set_string(doc, spec, key, name);
        return doc;
}

static void make(struct order *order, const struct schema_kind *kind, const char *namespace, const char *about,
                 struct json_doc *doc)
{
        char uuid[UUID_TEXT_MAX];
        g_autofree char *type = g_ascii_strdown(order->path->type, -1), *name = NULL;
        int r;

        name = g_strdup_printf("%s-%.40s-%.8s", type, about, uuid_generate(order->gateway->random, uuid));
        const struct objects_target target = {.kind = kind, .namespace = namespace, .name = name, .actor = order->identity->user};

        schema_default(kind, doc, json_root(doc));
        order->made = g_strdup_printf("%s/%s", kind->plural, name);
        r = objects_create(order->gateway, &target, doc, on_made, order);
        if (r)
                refuse(order, 503, "ServiceUnavailable", "the store does not accept writes");
}

static void operate(struct order *order)
{
        make(order, &api_virtual_machine_operation_kind, order->machine->namespace, order->machine->name,
             operation_of(order, "VirtualMachineOperation", "virtualMachineName", order->machine->name));
}

static void reboot(struct order *order)
{
        make(order, &api_node_operation_kind, NULL, order->node->name,
             operation_of(order, "NodeOperation", "nodeName", order->node->name));
}

/* --- hypervisors --- */

static const struct {
        const char *name, *words; /* why a host of Gabbro never has it; NULL: it can */
} hypervisors[] = {
        {"kvm", NULL},
        {"bhyve", "bhyve is of FreeBSD; hosts run Linux"},
        {"vmm", "vmm is of OpenBSD; hosts run Linux"},
        {"lxd", "instances of LXD are not run; machines are, by KVM"},
        {"wsl", "WSL is of Windows; hosts run Linux"},
};

static bool node_ready(const struct cache_object *node)
{
        const struct api_node *view = node->view;

        for (size_t i = 0; view->status && i < view->status->n_conditions; i++)
                if (g_strcmp0(view->status->conditions[i].type, "Ready") == 0)
                        return g_strcmp0(view->status->conditions[i].status, "True") == 0;
        return false;
}

static const struct api_node_virtualization *virtualization(const struct cache_object *node)
{
        const struct api_node *view = node->view;

        return view->status ? view->status->virtualization : NULL;
}

/* Why KVM cannot be used there; NULL: it is. */
static const char *kvm_fault(const struct cache_object *node)
{
        const struct api_node_virtualization *facts = virtualization(node);

        if (!facts)
                return "its agent has told nothing of it yet";
        return g_strcmp0(facts->type, "kvm") == 0 ? NULL : facts->type_reason ?: "the host emulates";
}

static void tell_hypervisors(struct order *order)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);

        for (size_t i = 0; i < G_N_ELEMENTS(hypervisors); i++) {
                const char *words = hypervisors[i].words ?: kvm_fault(order->node);
                struct json_value *row = json_ensure_object(doc, root, hypervisors[i].name);

                json_set_bool(doc, row, "capable", !words);
                json_set_bool(doc, row, "ready", !words && node_ready(order->node));
                if (words)
                        json_set_string(doc, row, "reason", words);
        }
        if (order->slot->request)
                gateway_reply_json(order->slot->request, 200, root);
        finish(order);
}

/* A host uses KVM by itself as soon as it can: there is nothing to switch, only something to say. */
static void enable(struct order *order)
{
        const char *words = NULL;

        for (size_t i = 0; i < G_N_ELEMENTS(hypervisors); i++)
                if (strcmp(hypervisors[i].name, order->path->words[1]) == 0)
                        words = hypervisors[i].words;
        if (words) {
                refuse(order, 501, "NotImplemented", words);
                return;
        }
        words = kvm_fault(order->node);
        if (words) {
                g_autofree char *text = g_strdup_printf("KVM is used as soon as the host has it, and it has not: %s. Turn on "
                                                        "virtualization in its firmware and load the module (modprobe kvm_intel or "
                                                        "kvm_amd); its agent looks again when it starts",
                                                        words);

                refuse(order, 409, "Conflict", text);
                return;
        }
        tell_hypervisors(order);
}

/* --- the table --- */

static const struct host_path paths[] = {
        {"GET", {"virtualization", "status"}, NULL, tell_hypervisors, NULL},
        {"POST", {"virtualization", "kvm", "enable"}, "Enable KVM", enable, NULL},
        {"POST", {"virtualization", "bhyve", "enable"}, "Enable bhyve", enable, NULL},
        {"POST", {"virtualization", "vmm", "enable"}, "Enable VMM", enable, NULL},
        {"POST", {"virtualization", "lxd", "enable"}, "Enable LXD", enable, NULL},
        {"POST", {"virtualization", "wsl", "enable"}, "Enable WSL", enable, NULL},
        {"POST", {"children", "*", "start"}, "Start Child Host", operate, "Start"},
        {"POST", {"children", "*", "stop"}, "Stop Child Host", operate, "Stop"},
        {"POST", {"children", "*", "restart"}, "Restart Child Host", operate, "Restart"},
        {"POST", {"reboot"}, "Reboot Host", reboot, "Reboot"},
};

static const struct host_path *find_path(const char *method, char **parts)
{
        size_t n = g_strv_length(parts);

        for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
                size_t at = 0;

                while (at < G_N_ELEMENTS(paths[i].words) && paths[i].words[at] && at + 1 < n &&
                       (strcmp(paths[i].words[at], "*") == 0 || strcmp(paths[i].words[at], parts[at + 1]) == 0))
                        at++;
                if (at + 1 == n && (at == G_N_ELEMENTS(paths[i].words) || !paths[i].words[at]) &&
                    strcmp(paths[i].method, method) == 0)
                        return &paths[i];
        }
        return NULL;
}

static bool may(const struct order *order)
{
        const struct auth_attributes reading = {.verb = "get", .resource = "nodes", .group = "", .name = order->node->name};

        if (!order->path->permission)
                return api_may(order->gateway->api, order->identity, &reading);
        const struct auth_permission *permission = auth_permission_find(order->path->permission);
        const struct auth_attributes asked = auth_permission_attributes(
                permission, order->machine ? order->machine->namespace : NULL, order->machine ? NULL : order->node->name);

        return api_may(order->gateway->api, order->identity, &asked);
}

static const struct cache_object *find_node(const struct cache *cache, const char *id)
{
        const struct cache_object *node = cache_by_uid(cache, id);

        return node && node->kind == &api_node_kind ? node : cache_get(cache, &api_node_kind, NULL, id);
}

/* Its machine, when this host holds it. */
static const struct cache_object *find_child(const struct order *order, const char *id)
{
        const struct cache_object *machine = cache_by_uid(order->gateway->cache, id);
        const struct cache_object *instance = machine && machine->kind == &api_virtual_machine_kind
                                                      ? index_one(order->gateway->cache, INDEX_INSTANCE_BY_MACHINE, id)
                                                      : NULL;
        const struct api_instance *view = instance ? instance->view : NULL;

        return view && g_strcmp0(view->spec->node_name, order->node->name) == 0 ? machine : NULL;
}

static void judge(struct order *order, const char *method)
{
        g_auto(GStrv) parts = g_strsplit(order->rest, "/", 6);
        const struct cache *cache = order->gateway->cache;
        bool child;

        order->path = find_path(method, parts);
        order->node = cache && parts[0] ? find_node(cache, parts[0]) : NULL;
        child = order->path && strcmp(order->path->words[0], "children") == 0;
        order->machine = order->node && child ? find_child(order, parts[2]) : NULL;
        if (!order->path)
                refuse(order, 404, "NotFound", "there is no such path below /api/host");
        else if (!cache)
                refuse(order, 503, "ServiceUnavailable", "the gateway has just begun; ask again");
        else if (!order->node)
                refuse(order, 404, "NotFound", "there is no host of this id");
        else if (child && !order->machine)
                refuse(order, 404, "NotFound", "the host holds no machine of this id");
        else if (!may(order)) {
                g_autofree char *words =
                        g_strdup_printf("the permission \"%s\" is missing", order->path->permission ?: "get nodes");

                refuse(order, 403, "Forbidden", words);
        } else {
                order->path->run(order);
        }
}

static void on_body(struct http_request *request, const char *body, size_t len, void *userdata)
{
        judge(slot_take(userdata), http_request_method(request));
}

static void handle(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        struct order *order = g_new0(struct order, 1);

        order->gateway = userdata;
        order->identity = auth_identity_copy(identity);
        order->rest = g_strdup(rest);
        order->slot = slot_new(request, order, order_free);
        http_request_body_whole(request, BODY_BYTES, on_body, NULL);
}

void host_api_init(struct gateway *gateway)
{
        const struct api_route route = {.prefix = "/api/host/", .own = true, .handle = handle, .userdata = gateway};

        api_add_route(gateway->api, &route);
}
