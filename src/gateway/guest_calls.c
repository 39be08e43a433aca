/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/limits.h"
#include "gateway/gateway.h"
#include "gateway/guest_orders.h"
#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

/*
 * What is asked of a running guest and answered at once: POST .../virtualmachines/<name>/exec and the like, each a right of its own
 * and a line of the audit log. The agent of the machine's host is asked by its manifest stream to dial one stream for a nonce; it
 * gets one order there and sends one answer. A nonce is good once, for one node, and the user's rights are looked at until the end.
 */
#define DIAL_TIMEOUT_US   15000000ull
#define ANSWER_TIMEOUT_US 60000000ull /* beside the time that the order itself takes */
#define CLOSE_NORMAL      1000
#define CLOSE_GOING_AWAY  1001
#define ANSWER_BYTES_MAX  (32u << 20)

struct guest_call {
        struct guest_calls *owner;
        const struct guest_order *kind;
        char nonce[UUID_TEXT_MAX];
        char *node, *namespace, *machine, *machine_uid;
        struct auth_identity *identity; /* who asks */
        struct http_request *request;   /* NULL: gone, or answered */
        gateway_told_fn told;           /* instead of @request: the gateway itself asks; NULL: told */
        void *told_userdata;
        struct http_ws *agent; /* NULL: not there yet, or gone */
        struct loop_source *timeout;
        GString *order; /* until it is sent */
        uint64_t seconds;
        GByteArray *bytes; /* that came before the answer */
        bool dialled, registered, answered;
};

struct guest_calls {
        struct gateway *gateway;
        GHashTable *by_nonce; /* struct guest_call */
};

/* --- life
 * ---------------------------------------------------------------------------------------------------------------------------- */

static void wipe_order(struct guest_call *call)
{
        if (call->order) {
                explicit_bzero(call->order->str, call->order->len);
                g_string_free(call->order, TRUE);
                call->order = NULL;
        }
}

static void call_free(struct guest_call *call)
{
        loop_source_free(call->timeout);
        wipe_order(call);
        if (call->bytes)
                g_byte_array_unref(call->bytes);
        auth_identity_free(call->identity);
        g_free(call->node);
        g_free(call->namespace);
        g_free(call->machine);
        g_free(call->machine_uid);
        g_free(call);
}

static bool is_awaited(const struct guest_call *call)
{
        return call->request || call->told;
}

static void tell(struct guest_call *call, const struct json_value *body)
{
        gateway_told_fn told = call->told;

        call->told = NULL;
        call->answered = true;
        told(body, call->told_userdata);
}

static void release(struct guest_call *call)
{
        if (is_awaited(call) || call->agent)
                return;
        if (call->registered)
                g_hash_table_remove(call->owner->by_nonce, call->nonce);
        call_free(call);
}

/* Its peer has left: the agent is told, which looks no further. */
static void on_gone(struct http_request *request, void *userdata)
{
        struct guest_call *call = userdata;

        call->request = NULL;
        if (call->agent)
                http_ws_close(call->agent, CLOSE_GOING_AWAY, "the user has left");
        release(call);
}

static void refuse(struct guest_call *call, int code, const char *reason, const char *words)
{
        struct http_request *request = call->request;

        if (call->told)
                tell(call, NULL);
        if (!request || call->answered)
                return;
        call->answered = true;
        if (code == 429 || code == 503)
                http_reply_header(request, "Retry-After", "5");
        api_reply_status(request, code, reason, words, NULL);
}

static bool is_allowed(const struct guest_call *call)
{
        if (!call->identity)
                return true; /* the gateway itself */

        const struct auth_attributes attributes = {
                .verb = call->kind->verb,
                .group = call->kind->kind->group,
                .resource = call->kind->kind->plural,
                .subresource = call->kind->subresource,
                .namespace = call->namespace,
                .name = call->machine,
        };

        return api_may(call->owner->gateway->api, call->identity, &attributes);
}

static void end_forbidden(struct guest_call *call)
{
        refuse(call, 403, "Forbidden", "you may no longer ask this of the machine");
        if (call->agent)
                http_ws_close(call->agent, CLOSE_GOING_AWAY, "the user may no longer ask this");
}

static void on_rights_changed(void *userdata)
{
        struct guest_calls *calls = userdata;
        GList *all = g_hash_table_get_values(calls->by_nonce);

        for (const GList *it = all; it; it = it->next)
                if (!is_allowed(it->data))
                        end_forbidden(it->data);
        g_list_free(all);
}

void guest_calls_end_node(struct guest_calls *calls, const char *node)
{
        GList *all = g_hash_table_get_values(calls->by_nonce);

        for (const GList *it = all; it; it = it->next) {
                struct guest_call *call = it->data;

                if (strcmp(call->node, node) != 0)
                        continue;
                refuse(call, 503, "ServiceUnavailable", "the host of the machine is disabled");
                if (call->agent)
                        http_ws_close(call->agent, CLOSE_GOING_AWAY, "the node is not trusted");
        }
        g_list_free(all);
}

static void on_timeout(struct loop_source *source, void *userdata)
{
        struct guest_call *call = userdata;
        bool own = call->told;

        if (call->agent)
                http_ws_close(call->agent, CLOSE_GOING_AWAY, "it takes too long");
        refuse(call, 504, "Timeout",
               call->dialled ? "the guest was asked and did not answer in time" : "the host did not answer in time");
        if (own)
                release(call);
}

/* --- the agent's end
 * -------------------------------------------------------------------------------------------------------------------- */

/* What an agent says is bounded like what a user says: codes of refusals, plain words. */
static void answer_refusal(struct guest_call *call, const struct json_value *error)
{
        const char *reason = json_find_string(error, "reason", NULL), *words = json_find_string(error, "message", NULL);
        int64_t code = 0;

        if (json_int64(json_get(error, "code"), &code) || code < 400 || code > 599)
                code = 500;
        refuse(call, (int)code, reason ?: "InternalError", words ?: "the agent of the host does not say why");
}

static void answer(struct guest_call *call, const char *data, size_t len)
{
        g_autoptr(json_doc) doc = NULL;
        const struct json_value *error;

        if (json_parse(data, len, &doc, NULL) || !json_is(json_root(doc), JSON_OBJECT)) {
                refuse(call, 502, "InternalError", "the agent of the host answered nonsense");
                return;
        }
        error = json_get(json_root(doc), "error");
        if (error) {
                answer_refusal(call, error);
                return;
        }
        if (call->told) {
                tell(call, json_get(json_root(doc), "body"));
                return;
        }
        call->answered = true;
        if (call->kind->media_type && call->bytes)
                http_reply(call->request, 200, call->kind->media_type, (const char *)call->bytes->data, call->bytes->len);
        else
                gateway_reply_json(call->request, 200, json_get(json_root(doc), "body"));
}

static void on_message(struct http_ws *ws, bool binary, const char *data, size_t len, void *userdata)
{
        struct guest_call *call = userdata;

        if (!is_awaited(call) || call->answered)
                return;
        if (!binary) {
                answer(call, data, len);
                return;
        }
        if (!call->bytes)
                call->bytes = g_byte_array_new();
        if (!call->kind->media_type || call->bytes->len + len > ANSWER_BYTES_MAX)
                http_ws_close(ws, CLOSE_GOING_AWAY, "the answer is too long");
        else
                g_byte_array_append(call->bytes, (const guint8 *)data, (guint)len);
}

/* After the answer this finds nobody to tell. */
static void on_close(struct http_ws *ws, unsigned code, const char *reason, void *userdata)
{
        struct guest_call *call = userdata;

        call->agent = NULL;
        refuse(call, 502, "InternalError", "the host's agent ended before it answered: whether it was done is not known");
        release(call);
}

static const struct http_ws_handlers handlers = {.on_message = on_message, .on_close = on_close};

static void handle_dial(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        struct gateway *gateway = userdata;
        struct guest_call *call = g_hash_table_lookup(gateway->guest_calls->by_nonce, rest);

        if (!call || call->dialled || !is_awaited(call) || call->answered || g_strcmp0(call->node, identity->node) != 0) {
                api_reply_status(request, 404, "NotFound", "no such stream", NULL);
                return;
        }
        if (http_request_upgrade(request, NULL, &handlers, call, &call->agent) < 0) {
                api_reply_status(request, 400, "BadRequest", "a stream is a WebSocket", NULL);
                return;
        }
        call->dialled = true;
        loop_timer_set(call->timeout, ANSWER_TIMEOUT_US + call->seconds * 1000000);
        http_ws_send(call->agent, false, call->order->str, call->order->len);
        wipe_order(call);
}

/* --- the user's end
 * -------------------------------------------------------------------------------------------------------------------- */

/* What is asked of a machine, or of hosts ("") together. */
static unsigned count_of_machine(const struct guest_calls *calls, const char *machine_uid)
{
        GHashTableIter iter;
        void *value;
        unsigned n = 0;

        g_hash_table_iter_init(&iter, calls->by_nonce);
        while (g_hash_table_iter_next(&iter, NULL, &value))
                n += g_str_equal(((struct guest_call *)value)->machine_uid, machine_uid);
        return n;
}

static void send(struct guest_call *call)
{
        struct guest_calls *calls = call->owner;
        struct gateway *gateway = calls->gateway;

        /* What the gateway asks by itself leaves room for what users ask. */
        if (g_hash_table_size(calls->by_nonce) >= LIMIT_GUEST_CALLS / (call->told ? 2 : 1) ||
            (*call->machine_uid && count_of_machine(calls, call->machine_uid) >= LIMIT_GUEST_CALLS_PER_MACHINE)) {
                refuse(call, 429, "TooManyRequests", "too much is asked of guests at once");
                return;
        }
        g_hash_table_insert(calls->by_nonce, call->nonce, call);
        call->registered = true;
        loop_timer(gateway->loop, DIAL_TIMEOUT_US, on_timeout, call, &call->timeout);
        if (!manifests_ask_stream(gateway->manifests, call->node, call->nonce, call->machine_uid, "call"))
                refuse(call, 503, "ServiceUnavailable", "the host of the machine is not connected");
}

static void on_body(struct http_request *request, const char *body, size_t len, void *userdata)
{
        struct guest_call *call = userdata;
        g_autofree char *fault = NULL;
        struct json_doc *doc;

        doc = len ? gateway_body_json(request, body, len) : json_doc_new();
        if (!doc)
                return;
        call->order = guest_order_text(call->kind, json_root(doc), &call->seconds, &fault);
        guest_order_wipe(json_root(doc));
        json_doc_free(doc);
        if (call->order)
                send(call);
        else
                refuse(call, 400, "BadRequest", fault);
}

/* The host to ask; NULL after refusing, for a machine that runs nowhere. */
static const char *host_of(struct http_request *request, const struct store_object *object, const struct guest_order *kind)
{
        const char *node = json_find_string(object->root, "status", "nodeName", NULL);
        const char *phase = json_find_string(object->root, "status", "phase", NULL);
        g_autofree char *words = NULL;

        if (kind->kind == &api_node_kind)
                return object->name;
        if (node && *node && phase && !g_str_equal(phase, "Stopped") && !g_str_equal(phase, "Pending"))
                return node;
        words = g_strdup_printf("the machine does not run (it is %s)", phase ?: "new");
        api_reply_status(request, 409, "Conflict", words, NULL);
        return NULL;
}

static void handle(struct http_request *request, const struct auth_identity *identity, const struct store_object *object,
                   const struct guest_order *kind, struct gateway *gateway)
{
        const char *node = host_of(request, object, kind);
        struct guest_call *call;

        if (!node)
                return;
        call = g_new0(struct guest_call, 1);
        *call = (struct guest_call){
                .owner = gateway->guest_calls,
                .kind = kind,
                .node = g_strdup(node),
                .namespace = g_strdup(object->namespace),
                .machine = g_strdup(object->name),
                .machine_uid = g_strdup(kind->kind == &api_node_kind ? "" : object->uid),
                .identity = auth_identity_copy(identity),
                .request = request,
        };
        uuid_generate(gateway->random, call->nonce);
        http_request_set_userdata(request, call);
        http_request_on_gone(request, on_gone);
        http_request_body_whole(request, GUEST_ORDER_BODY_MAX, on_body, NULL);
}

void guest_calls_ask_usages(struct guest_calls *calls, const char *node, gateway_told_fn told, void *userdata)
{
        static const struct guest_order order = {.kind = &api_node_kind, .call = "usages"};
        struct guest_call *call = g_new0(struct guest_call, 1);

        *call = (struct guest_call){
                .owner = calls,
                .kind = &order,
                .node = g_strdup(node),
                .machine_uid = g_strdup(""),
                .told = told,
                .told_userdata = userdata,
                .order = g_string_new("{\"call\":\"usages\"}"),
        };
        uuid_generate(calls->gateway->random, call->nonce);
        send(call);
        release(call); /* nobody waits for it when it was refused */
}

struct served {
        struct gateway *gateway;
        const struct guest_order *kind;
};

static void handle_order(struct http_request *request, const struct auth_identity *identity, const struct store_object *object,
                         void *userdata)
{
        const struct served *served = userdata;

        handle(request, identity, object, served->kind, served->gateway);
}

void guest_calls_init(struct gateway *gateway)
{
        static struct served served[GUEST_ORDER_COUNT];
        const struct api_route dial = {
                .method = "GET", .prefix = "/agent/v1/calls/", .nodes_only = true, .handle = handle_dial, .userdata = gateway};

        gateway->guest_calls = g_new0(struct guest_calls, 1);
        gateway->guest_calls->gateway = gateway;
        gateway->guest_calls->by_nonce = g_hash_table_new(g_str_hash, g_str_equal);
        for (size_t i = 0; i < GUEST_ORDER_COUNT; i++) {
                served[i] = (struct served){.gateway = gateway, .kind = &guest_orders[i]};
                api_add_subresource(gateway->api, &(struct api_subresource){.kind = guest_orders[i].kind,
                                                                            .name = guest_orders[i].subresource,
                                                                            .method = guest_orders[i].method,
                                                                            .verb = guest_orders[i].verb,
                                                                            .handle = handle_order,
                                                                            .userdata = &served[i]});
        }
        api_on_rights_changed(gateway->api, on_rights_changed, gateway->guest_calls);
        api_add_route(gateway->api, &dial);
}

struct guest_calls *guest_calls_free(struct guest_calls *calls)
{
        if (!calls)
                return NULL;
        g_hash_table_unref(calls->by_nonce);
        g_free(calls);
        return NULL;
}
