/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/limits.h"
#include "gateway/callbacks.h"
#include "generated/api_types.h"

#include <string.h>

/* What somebody decides about events: retry them now, or drop those that were given up. */

struct decision {
        const char *verb;
        const char *state; /* that they get */
        bool pending;      /* also those that wait for another attempt */
};

static const struct decision decisions[] = {
        {"retry", "Pending", true},
        {"drop", "Skipped", false},
};

struct order {
        struct gateway *gateway;
        struct slot *slot;
        const struct decision *decision;
        char *namespace, *callback_uid, *user;
        GArray *ops;         /* struct store_op */
        GPtrArray *versions; /* that they change */
        size_t n, outstanding;
        int result;
};

static void object_unref(void *object)
{
        store_object_unref(object);
}

static void order_free(void *userdata)
{
        struct order *order = userdata;

        g_free(order->namespace);
        g_free(order->callback_uid);
        g_free(order->user);
        g_array_unref(order->ops);
        g_ptr_array_unref(order->versions);
        g_free(order);
}

static void order_end(struct order *order)
{
        struct slot *slot = order->slot;

        if (slot->request && order->result < 0) {
                gateway_reply_lost(slot->request, order->result);
        } else if (slot->request) {
                g_autoptr(json_doc) doc = json_doc_new();
                struct json_value *root = json_new(doc, JSON_OBJECT);

                json_set_int(doc, root, "deliveries", (int64_t)order->n);
                gateway_reply_json(slot->request, 200, root);
        }
        slot_finish(slot);
        order_free(order);
}

static void on_written(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct order *order = userdata;

        if (result < 0)
                order->result = result;
        if (--order->outstanding == 0)
                order_end(order);
}

static bool concerns(const struct order *order, const struct store_object *delivery)
{
        const char *state = json_find_string(delivery->root, "status", "state", NULL);
        int64_t attempts = 0;

        if (g_strcmp0(json_find_string(delivery->root, "spec", "callback", "uid", NULL), order->callback_uid) != 0)
                return false;
        (void)json_int64(json_find(delivery->root, "status", "attempts", NULL), &attempts);
        return g_strcmp0(state, "Dead") == 0 || (order->decision->pending && g_strcmp0(state, "Pending") == 0 && attempts > 0);
}

static bool add_delivery(const struct store_object *listed, void *userdata)
{
        struct order *order = userdata;
        const struct store_object *delivery =
                store_get_newest(order->gateway->store, &api_callback_delivery_kind, listed->namespace, listed->name);
        char now[CLOCK_RFC3339_MAX];

        if (!delivery)
                return true;
        g_ptr_array_add(order->versions, (void *)delivery);
        if (!concerns(order, delivery))
                return true;
        struct json_doc *doc = json_doc_new();
        json_set_root(doc, json_copy(doc, delivery->root));
        struct json_value *status = json_ensure_object(doc, json_root(doc), "status");
        bool retried = strcmp(order->decision->state, "Pending") == 0;
        struct store_op op = {.verb = STORE_UPDATE,
                              .kind = &api_callback_delivery_kind,
                              .namespace = order->namespace,
                              .name = delivery->name,
                              .doc = doc,
                              .expect_revision = delivery->revision};

        json_set_string(doc, status, "state", order->decision->state);
        json_set_int(doc, status, "attempts", 0);
        clock_format_rfc3339(clock_real_us(order->gateway->clock), true, now);
        json_set_string(doc, status, "nextAttemptTime", retried ? now : NULL);
        g_array_append_val(order->ops, op);
        return true;
}

/* In parts, when there are more than one transaction holds. */
static void commit(struct order *order)
{
        order->n = order->ops->len;
        order->outstanding = 1;
        for (size_t at = 0; at < order->n; at += LIMIT_STORE_TXN_OPS) {
                struct store_txn txn = {
                        .ops = &g_array_index(order->ops, struct store_op, at),
                        .n_ops = MIN(order->n - at, (size_t)LIMIT_STORE_TXN_OPS),
                        .actor = {.user = order->user, .client = "gateway/callbacks", .verb = order->decision->verb}};
                int r = store_commit(order->gateway->store, &txn, on_written, order, NULL);

                if (r == 0)
                        order->outstanding++;
                else
                        order->result = error_fold(r);
        }
        if (--order->outstanding == 0)
                order_end(order);
}

static void on_body(struct http_request *request, const char *body, size_t len, void *userdata)
{
        struct order *order = slot_take(userdata);

        store_list(order->gateway->store, &api_callback_delivery_kind, order->namespace, NULL, add_delivery, order);
        commit(order);
}

static void handle(struct http_request *request, const struct auth_identity *identity, const struct store_object *object,
                   void *userdata, const struct decision *decision)
{
        struct order *order = g_new0(struct order, 1);

        *order = (struct order){
                .gateway = userdata,
                .decision = decision,
                .namespace = g_strdup(object->namespace),
                .callback_uid = g_strdup(object->uid),
                .user = g_strdup(identity->user),
                .ops = g_array_new(FALSE, FALSE, sizeof(struct store_op)),
                .versions = g_ptr_array_new_with_free_func(object_unref),
        };
        order->slot = slot_new(request, order, order_free);
        http_request_body_whole(request, LIMIT_HTTP_BODY_BYTES, on_body, NULL);
}

static void handle_retry(struct http_request *request, const struct auth_identity *identity, const struct store_object *object,
                         void *userdata)
{
        handle(request, identity, object, userdata, &decisions[0]);
}

static void handle_drop(struct http_request *request, const struct auth_identity *identity, const struct store_object *object,
                        void *userdata)
{
        handle(request, identity, object, userdata, &decisions[1]);
}

void callback_orders_init(struct gateway *gateway)
{
        struct api_subresource subresources[] = {{.handle = handle_retry}, {.handle = handle_drop}};

        for (size_t i = 0; i < G_N_ELEMENTS(decisions); i++) {
                subresources[i].kind = &api_callback_kind;
                subresources[i].name = decisions[i].verb;
                subresources[i].method = "POST";
                subresources[i].verb = "create";
                subresources[i].userdata = gateway;
                api_add_subresource(gateway->api, &subresources[i]);
        }
}
