/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "gateway/gateway.h"
#include "generated/api_types.h"

#include <string.h>

/*
 * Consoles. The user opens a WebSocket on .../virtualmachines/<name>/console; the agent of the machine's host is asked by its
 * manifest stream to dial one for the same nonce; bytes are handed on both ways. A nonce is good once, for one node, for a short
 * time.
 */

#define DIAL_TIMEOUT_US  15000000ull
#define HIGH_WATER       (512u << 10)
#define CLOSE_TRY_LATER  1013
#define CLOSE_GOING_AWAY 1001
#define CLOSE_NORMAL     1000
#define CLOSE_POLICY     1008
#define RECHECK_US       5000000ull /* credentials end by time, too */

struct session {
        struct streams *owner;
        char *nonce, *node, *namespace, *machine;
        struct auth_identity *identity; /* who sits at it */
        struct http_ws *user, *agent;   /* NULL: not there (yet, or any more) */
        struct loop_source *timeout;
        bool dialled;
};

struct streams {
        struct gateway *gateway;
        GHashTable *by_nonce; /* owns the sessions */
};

static void session_free(void *data)
{
        struct session *session = data;

        loop_source_free(session->timeout);
        g_free(session->nonce);
        g_free(session->node);
        g_free(session->namespace);
        g_free(session->machine);
        auth_identity_free(session->identity);
        g_free(session);
}

/* Both ends have had their last call. */
static void session_release(struct session *session)
{
        if (!session->user && !session->agent)
                g_hash_table_remove(session->owner->by_nonce, session->nonce);
}

static struct http_ws *other_end(struct session *session, const struct http_ws *ws)
{
        return ws == session->user ? session->agent : session->user;
}

static void on_message(struct http_ws *ws, bool binary, const char *data, size_t len, void *userdata)
{
        struct session *session = userdata;
        struct http_ws *other = other_end(session, ws);

        if (!other)
                return;
        if (http_ws_send(other, binary, data, len) < 0)
                http_ws_close(ws, CLOSE_TRY_LATER, "the other side does not keep up");
        else if (http_ws_pending(other) > HIGH_WATER)
                http_ws_pause(ws, true);
}

static void on_drained(struct http_ws *ws, void *userdata)
{
        struct http_ws *other = other_end(userdata, ws);

        if (other)
                http_ws_pause(other, false);
}

static void on_close(struct http_ws *ws, unsigned code, const char *reason, void *userdata)
{
        struct session *session = userdata;
        struct http_ws *other = other_end(session, ws);

        if (ws == session->user)
                session->user = NULL;
        else
                session->agent = NULL;
        if (other)
                http_ws_close(other, CLOSE_NORMAL, reason && *reason ? reason : "the other side has ended the session");
        session_release(session);
}

static const struct http_ws_handlers handlers = {.on_message = on_message, .on_drained = on_drained, .on_close = on_close};

/* --- the right to it
 * ------------------------------------------------------------------------------------------------------------------- */

static bool is_allowed(const struct session *session)
{
        const struct auth_attributes attributes = {
                .verb = "get",
                .group = api_virtual_machine_kind.group,
                .resource = api_virtual_machine_kind.plural,
                .subresource = "console",
                .namespace = session->namespace,
                .name = session->machine,
        };

        return api_may(session->owner->gateway->api, session->identity, &attributes);
}

static void end_forbidden(struct session *session)
{
        if (session->agent)
                http_ws_close(session->agent, CLOSE_GOING_AWAY, "the user may no longer use the console");
        if (session->user)
                http_ws_close(session->user, CLOSE_POLICY, "you may no longer use this console");
}

static void on_rights_changed(void *userdata)
{
        struct streams *streams = userdata;
        GHashTableIter iter;
        void *value;

        /* Sessions leave the table when both ends have had their last call, which is not now. */
        g_hash_table_iter_init(&iter, streams->by_nonce);
        while (g_hash_table_iter_next(&iter, NULL, &value))
                if (!is_allowed(value))
                        end_forbidden(value);
}

static void on_timeout(struct loop_source *source, void *userdata)
{
        struct session *session = userdata;

        if (!session->dialled && session->user)
                http_ws_close(session->user, CLOSE_TRY_LATER, "the host did not answer in time");
        else if (!is_allowed(session))
                end_forbidden(session);
        else
                loop_timer_set(source, RECHECK_US);
}

/* --- the user's end
 * -------------------------------------------------------------------------------------------------------------------- */

static void handle_console(struct http_request *request, const struct auth_identity *identity, const struct store_object *vm,
                           void *userdata)
{
        struct gateway *gateway = userdata;
        struct streams *streams = gateway->streams;
        const char *node = json_find_string(vm->root, "status", "nodeName", NULL);
        const char *phase = json_find_string(vm->root, "status", "phase", NULL);
        char nonce[UUID_TEXT_MAX];

        if (!node || !*node || !phase || g_str_equal(phase, "Stopped") || g_str_equal(phase, "Pending")) {
                api_reply_status(request, 409, "Conflict", "the machine does not run", NULL);
                return;
        }
        if (g_hash_table_size(streams->by_nonce) >= LIMIT_CONSOLE_SESSIONS) {
                http_reply_header(request, "Retry-After", "10");
                api_reply_status(request, 429, "TooManyRequests", "too many console sessions are open", NULL);
                return;
        }
        struct session *session = g_new0(struct session, 1);
        session->owner = streams;
        session->nonce = g_strdup(uuid_generate(gateway->random, nonce));
        session->node = g_strdup(node);
        session->namespace = g_strdup(vm->namespace);
        session->machine = g_strdup(vm->name);
        session->identity = auth_identity_copy(identity);
        if (http_request_upgrade(request, "binary.console.gabbro.dev", &handlers, session, &session->user) < 0) {
                session_free(session);
                api_reply_status(request, 400, "BadRequest", "a console is a WebSocket (see gabbro console)", NULL);
                return;
        }
        /* What is typed before the agent has dialled waits. */
        http_ws_pause(session->user, true);
        g_hash_table_insert(streams->by_nonce, session->nonce, session);
        loop_timer(gateway->loop, DIAL_TIMEOUT_US, on_timeout, session, &session->timeout);
        if (!manifests_ask_stream(gateway->manifests, node, session->nonce, vm->uid, "serial"))
                http_ws_close(session->user, CLOSE_TRY_LATER, "the host of the machine is not connected");
}

/* --- the agent's end
 * -------------------------------------------------------------------------------------------------------------------- */

static void handle_dial(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        struct gateway *gateway = userdata;
        struct session *session = g_hash_table_lookup(gateway->streams->by_nonce, rest);

        if (!session || session->dialled || !session->user || g_strcmp0(session->node, identity->node) != 0) {
                api_reply_status(request, 404, "NotFound", "no such stream", NULL);
                return;
        }
        if (http_request_upgrade(request, NULL, &handlers, session, &session->agent) < 0) {
                api_reply_status(request, 400, "BadRequest", "a stream is a WebSocket", NULL);
                return;
        }
        session->dialled = true;
        http_ws_pause(session->user, false);
}

void streams_end_node(struct streams *streams, const char *node)
{
        GHashTableIter iter;
        void *value;

        /* Sessions leave the table when both ends have had their last call, which is not now. */
        g_hash_table_iter_init(&iter, streams->by_nonce);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
                struct session *session = value;
                if (!g_str_equal(session->node, node))
                        continue;
                if (session->agent)
                        http_ws_close(session->agent, CLOSE_GOING_AWAY, "the node is not trusted");
                if (session->user)
                        http_ws_close(session->user, CLOSE_GOING_AWAY, "the host of the machine is disabled");
        }
}

void streams_init(struct gateway *gateway)
{
        const struct api_subresource console = {
                .kind = &api_virtual_machine_kind,
                .name = "console",
                .method = "GET",
                .verb = "get",
                .handle = handle_console,
                .userdata = gateway,
        };
        const struct api_route dial = {
                .method = "GET", .prefix = "/agent/v1/streams/", .nodes_only = true, .handle = handle_dial, .userdata = gateway};

        gateway->streams = g_new0(struct streams, 1);
        gateway->streams->gateway = gateway;
        gateway->streams->by_nonce = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, session_free);
        api_on_rights_changed(gateway->api, on_rights_changed, gateway->streams);
        api_add_subresource(gateway->api, &console);
        api_add_route(gateway->api, &dial);
}

struct streams *streams_free(struct streams *streams)
{
        if (!streams)
                return NULL;
        g_hash_table_unref(streams->by_nonce);
        g_free(streams);
        return NULL;
}
