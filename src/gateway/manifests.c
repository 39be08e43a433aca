/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/limits.h"
#include "base/log.h"
#include "gateway/gateway.h"
#include "generated/api_types.h"

#include <stdlib.h>
#include <string.h>

/*
 * The stream on which an agent follows the intents bound to it, one JSON object a line:
 *   {"type":"ADDED|MODIFIED","object":{...}}  {"type":"DELETED","resourceVersion":"8","object":{...}}: the revision of the
 * deletion, the object as it was last  {"type":"SYNCED","resourceVersion":"7"}
 * {"type":"BOOKMARK","resourceVersion":"9"}
 *   {"type":"STREAM","nonce":"...","machineUid":"...","channel":"serial"}
 * Bytes of the store are spliced in; nothing is encoded again.
 */

#define BOOKMARK_INTERVAL_US 10000000ull

static const struct schema_kind *const manifest_kinds[] = {&api_volume_kind, &api_port_kind, &api_instance_kind,
                                                           &api_host_task_kind, NULL};

struct manifest_stream {
        struct manifests *owner;
        struct http_request *request;
        struct store_watch *watch;
        struct loop_source *bookmark;
        char *node, *serial; /* of the certificate that it came with */
        uint64_t sent_revision;
        bool caught_up; /* all up to store_revision() has been written */
};

struct manifests {
        struct gateway *gateway;
        GPtrArray *streams; /* struct manifest_stream, the oldest first; owned by their requests */
        struct store_watch *identities;
};

static void stream_end(struct manifest_stream *stream)
{
        http_stream_end(stream->request);
}

static void stream_write(struct manifest_stream *stream, GString *line)
{
        g_autoptr(GBytes) bytes = g_string_free_to_bytes(line);

        if (http_stream_write(stream->request, bytes) < 0)
                stream_end(stream);
}

/* @deleted: the revision of its deletion, or 0. */
static void write_object(struct manifest_stream *stream, const char *type, const struct store_object *object, uint64_t deleted)
{
        GString *line = g_string_sized_new(object->len + 96);

        g_string_append_printf(line, "{\"type\":\"%s\",", type);
        if (deleted)
                g_string_append_printf(line, "\"resourceVersion\":\"%" G_GUINT64_FORMAT "\",", deleted);
        g_string_append(line, "\"object\":");
        g_string_append_len(line, object->bytes, object->len);
        g_string_append(line, "}\n");
        stream_write(stream, line);
}

static void write_mark(struct manifest_stream *stream, const char *type, uint64_t revision)
{
        GString *line = g_string_new(NULL);

        g_string_append_printf(line, "{\"type\":\"%s\",\"resourceVersion\":\"%" G_GUINT64_FORMAT "\"}\n", type, revision);
        stream->sent_revision = revision;
        stream_write(stream, line);
}

static bool is_bound(const struct store_object *object, const char *node)
{
        return g_strcmp0(json_find_string(object->root, "spec", "nodeName", NULL), node) == 0;
}

static void on_event(const struct store_event *event, void *userdata)
{
        static const char *const types[] = {[STORE_CREATE] = "ADDED", [STORE_UPDATE] = "MODIFIED", [STORE_DELETE] = "DELETED"};
        struct manifest_stream *stream = userdata;

        if (!event)
                stream->caught_up = true;
        else if (is_bound(event->object, stream->node)) {
                write_object(stream, types[event->verb], event->object, event->verb == STORE_DELETE ? event->revision : 0);
                stream->sent_revision = event->revision;
        }
}

static void on_overtaken(void *userdata)
{
        stream_end(userdata);
}

static void on_bookmark(struct loop_source *source, void *userdata)
{
        struct manifest_stream *stream = userdata;

        if (stream->caught_up)
                write_mark(stream, "BOOKMARK", store_revision(stream->owner->gateway->store));
        loop_timer_set(source, BOOKMARK_INTERVAL_US);
}

static bool list_one(const struct store_object *object, void *userdata)
{
        struct manifest_stream *stream = userdata;

        if (is_bound(object, stream->node))
                write_object(stream, "ADDED", object, 0);
        return true;
}

static void stream_free(struct manifest_stream *stream)
{
        g_free(stream->node);
        g_free(stream->serial);
        g_free(stream);
}

static void on_gone(struct http_request *request, void *userdata)
{
        struct manifest_stream *stream = userdata;

        g_ptr_array_remove(stream->owner->streams, stream);
        loop_source_free(stream->bookmark);
        if (stream->watch)
                store_watch_free(stream->watch);
        stream_free(stream);
}

/* A node needs one stream; a few more may be on their way out. */
static void make_room(struct manifests *manifests, const char *node)
{
        struct manifest_stream *oldest = NULL;
        unsigned n = 0;

        for (guint i = manifests->streams->len; i > 0; i--) {
                struct manifest_stream *stream = manifests->streams->pdata[i - 1];
                if (g_str_equal(stream->node, node)) {
                        oldest = stream;
                        n++;
                }
        }
        if (n >= LIMIT_MANIFESTS_PER_NODE)
                stream_end(oldest);
}

/* A certificate is refused at every new request once it is revoked; what it has open ends here. */
static void on_identity(const struct store_event *event, void *userdata)
{
        struct manifests *manifests = userdata;

        if (!event || event->verb == STORE_CREATE)
                return;
        const struct json_value *spec = json_get(event->object->root, "spec");
        const char *serial = json_find_string(spec, "serial", NULL), *previous = json_find_string(spec, "previousSerial", NULL);
        bool refused = event->verb == STORE_DELETE || json_bool(json_get(spec, "disabled"), false);
        for (guint i = manifests->streams->len; i > 0; i--) {
                struct manifest_stream *stream = manifests->streams->pdata[i - 1];
                bool known = g_strcmp0(stream->serial, serial) == 0 || g_strcmp0(stream->serial, previous) == 0;
                if (g_str_equal(stream->node, event->object->name) && (refused || !known))
                        stream_end(stream);
        }
        if (refused) {
                streams_end_node(manifests->gateway->streams, event->object->name);
                guest_calls_end_node(manifests->gateway->guest_calls, event->object->name);
        }
}

/* @text NULL: from now on, after a list. False: not a revision that there has been. */
static bool parse_revision(const char *text, uint64_t now, uint64_t *ret_revision)
{
        guint64 revision = now;

        if (text && (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, &revision, NULL) || revision > now))
                return false;
        *ret_revision = revision;
        return true;
}

static void handle(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        struct gateway *gateway = userdata;
        const char *from = http_request_query(request, "resourceVersion"), *protocol = http_request_query(request, "protocol");
        uint64_t after = 0;

        /* An agent that does not tell is of the first version. */
        if (protocol && !g_str_equal(protocol, G_STRINGIFY(GATEWAY_PROTOCOL))) {
                log_warning("an agent speaks another protocol version", "node", identity->node, "protocol", protocol);
                api_reply_status(request, 409, "Conflict",
                                 "the gateway speaks protocol version " G_STRINGIFY(
                                         GATEWAY_PROTOCOL) "; install the agent of this gateway's version",
                                 NULL);
                return;
        }
        if (!parse_revision(from, store_revision(gateway->store), &after)) {
                api_reply_status(request, 410, "Expired", "there has been no such resource version; list again", NULL);
                return;
        }
        struct manifest_stream *stream = g_new0(struct manifest_stream, 1);
        stream->owner = gateway->manifests;
        stream->request = request;
        stream->node = g_strdup(identity->node);
        stream->serial = g_strdup(http_request_peer_serial(request));
        int r = store_watch(gateway->store, manifest_kinds, after, on_event, stream, &stream->watch);
        if (r) {
                stream_free(stream);
                api_reply_status(request, 410, "Expired", "the resource version is too old; list again", NULL);
                return;
        }
        store_watch_on_gone(stream->watch, on_overtaken);
        make_room(gateway->manifests, stream->node);
        g_ptr_array_add(gateway->manifests->streams, stream);
        http_request_set_userdata(request, stream);
        http_request_on_gone(request, on_gone);
        loop_timer(gateway->loop, BOOKMARK_INTERVAL_US, on_bookmark, stream, &stream->bookmark);
        http_reply_stream(request, 200, "application/json");
        if (!from) {
                for (size_t i = 0; manifest_kinds[i]; i++)
                        store_list(gateway->store, manifest_kinds[i], NULL, NULL, list_one, stream);
                write_mark(stream, "SYNCED", after);
        }
}

bool manifests_ask_stream(struct manifests *manifests, const char *node, const char *nonce, const char *machine_uid,
                          const char *channel)
{
        for (guint i = manifests->streams->len; i > 0; i--) {
                struct manifest_stream *stream = manifests->streams->pdata[i - 1];
                if (!g_str_equal(stream->node, node))
                        continue;
                g_autoptr(json_doc) doc = json_doc_new();
                struct json_value *root = json_new(doc, JSON_OBJECT);
                json_set_root(doc, root);
                json_set_string(doc, root, "type", "STREAM");
                json_set_string(doc, root, "nonce", nonce);
                json_set_string(doc, root, "machineUid", machine_uid);
                json_set_string(doc, root, "channel", channel);
                GString *line = g_string_new(NULL);
                json_write(root, line);
                g_string_append_c(line, '\n');
                stream_write(stream, line);
                return true;
        }
        return false;
}

size_t manifests_count(const struct manifests *manifests)
{
        return manifests->streams->len;
}

int manifests_init(struct gateway *gateway)
{
        static const struct schema_kind *const identity_kinds[] = {&api_node_identity_kind, NULL};

        gateway->manifests = g_new0(struct manifests, 1);
        gateway->manifests->gateway = gateway;
        gateway->manifests->streams = g_ptr_array_new();
        struct api_route route = {
                .method = "GET", .prefix = "/agent/v1/manifest", .nodes_only = true, .handle = handle, .userdata = gateway};
        api_add_route(gateway->api, &route);
        return error_fold(store_watch(gateway->store, identity_kinds, store_revision(gateway->store), on_identity,
                                      gateway->manifests, &gateway->manifests->identities));
}

struct manifests *manifests_free(struct manifests *manifests)
{
        if (!manifests)
                return NULL;
        if (manifests->identities)
                store_watch_free(manifests->identities);
        g_ptr_array_unref(manifests->streams);
        g_free(manifests);
        return NULL;
}
