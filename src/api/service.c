/* SPDX-License-Identifier: Apache-2.0 */
#include "api/service.h"
#include "api/discovery.h"
#include "api/watch.h"

#include <assert.h>
#include <string.h>

/* The protobuf document must not carry the media type that clients ask for: its '@' breaks their parser. */
#define OPENAPI_V2_PROTOBUF "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

/* What kubectl compares its own version with. */
#define KUBERNETES_MAJOR "1"
#define KUBERNETES_MINOR "30"

struct service {
        const char *path;
        bool below; /* paths below it, too */
        void (*answer)(struct call *call, const char *rest);
};

static void reply_bytes(struct call *call, const char *type, const struct schema_blob *blob)
{
        GBytes *bytes = g_bytes_new_static(blob->data, blob->len);

        call_account(call, 200);
        if (call->request)
                http_reply_bytes(call->request, 200, type, bytes);
        g_bytes_unref(bytes);
}

static void refuse_path(struct call *call)
{
        call_refuse_words(call, 404, "the server could not find the requested resource");
}

static void reply_or_refuse(struct call *call, GString *text)
{
        if (text)
                call_reply_text(call, 200, text);
        else
                refuse_path(call);
}

/* --- discovery
 * ----------------------------------------------------------------------------------------------------------------------- */

static void answer_api(struct call *call, const char *rest)
{
        if (!*rest)
                call_reply_text(call, 200, discovery_versions(call->api));
        else if (strcmp(rest, "/v1") == 0)
                call_reply_text(call, 200, discovery_resources(call->api, "", "v1"));
        else
                refuse_path(call);
}

static void answer_apis(struct call *call, const char *rest)
{
        g_auto(GStrv) parts = g_strsplit(*rest ? rest + 1 : "", "/", 4);
        guint n = g_strv_length(parts);

        if (n == 0 || !*parts[0])
                call_reply_text(call, 200, discovery_groups(call->api));
        else if (n == 1)
                reply_or_refuse(call, discovery_group(call->api, parts[0]));
        else if (n == 2)
                reply_or_refuse(call, discovery_resources(call->api, parts[0], parts[1]));
        else
                refuse_path(call);
}

/* --- OpenAPI
 * ------------------------------------------------------------------------------------------------------------------------- */

static void answer_openapi_v2(struct call *call)
{
        struct schema_blob protobuf = schema_openapi_v2_protobuf(), json = schema_openapi_v2_json();
        struct accept accept;

        if (!accept_parse(http_request_header(call->request, "Accept"), ACCEPT_CAN_PROTOBUF, &accept))
                call_refuse_words(call, 406, "the OpenAPI document is served as JSON and as protocol buffers");
        else if (accept.form == ACCEPT_PROTOBUF)
                reply_bytes(call, OPENAPI_V2_PROTOBUF, &protobuf);
        else
                reply_bytes(call, "application/json", &json);
}

static void answer_openapi(struct call *call, const char *rest)
{
        struct schema_blob blob = {};

        if (strcmp(rest, "/v2") == 0) {
                answer_openapi_v2(call);
                return;
        }
        if (strcmp(rest, "/v3") == 0)
                blob = schema_openapi_v3_index();
        else if (g_str_has_prefix(rest, "/v3/"))
                blob = schema_openapi_v3(rest + strlen("/v3/"));
        if (blob.data)
                reply_bytes(call, "application/json", &blob);
        else
                refuse_path(call);
}

/* --- the program
 * --------------------------------------------------------------------------------------------------------------------- */

static void answer_version(struct call *call, const char *rest)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        g_autofree char *version = g_strdup_printf("v" KUBERNETES_MAJOR "." KUBERNETES_MINOR ".0+gabbro-%s", call->api->version);
        GString *text = g_string_new(NULL);

        json_set_string(doc, root, "major", KUBERNETES_MAJOR);
        json_set_string(doc, root, "minor", KUBERNETES_MINOR);
        json_set_string(doc, root, "gitVersion", version);
        json_set_string(doc, root, "gitCommit", call->api->commit);
        json_set_string(doc, root, "gitTreeState", "clean");
        json_set_string(doc, root, "buildDate", "1970-01-01T00:00:00Z");
        json_set_string(doc, root, "goVersion", "none");
        json_set_string(doc, root, "compiler", "gcc");
        json_set_string(doc, root, "platform", "linux/amd64");
        json_set_string(doc, root, "gabbro", call->api->version);
        json_write(root, text);
        call_reply_text(call, 200, text);
}

static void reply_plain(struct call *call, int code, const char *text)
{
        call_account(call, code);
        if (call->request)
                http_reply(call->request, code, "text/plain; charset=utf-8", text, strlen(text));
}

static void answer_live(struct call *call, const char *rest)
{
        reply_plain(call, 200, "ok");
}

static void answer_ready(struct call *call, const char *rest)
{
        g_autofree char *words = call->api->not_ready ? g_strdup_printf("not ready: %s\n", call->api->not_ready) : NULL;

        reply_plain(call, words ? 503 : 200, words ?: "ok");
}

static void write_store_stats(struct api *api, GString *out)
{
        struct store_stats stats;

        store_stats(api->options.store, &stats);
        metrics_value(out, "gabbro_store_commits_total", "counter", "Transactions accepted.", (double)stats.commits);
        metrics_value(out, "gabbro_store_operations_total", "counter", "Objects written or deleted.", (double)stats.operations);
        metrics_value(out, "gabbro_store_groups_total", "counter", "Durable group commits.", (double)stats.groups);
        metrics_value(out, "gabbro_store_conflicts_total", "counter", "Transactions refused for a revision.",
                      (double)stats.conflicts);
        metrics_value(out, "gabbro_store_refused_total", "counter", "Transactions refused for want of room on the disk.",
                      (double)stats.refused);
        metrics_value(out, "gabbro_store_commit_seconds_total", "counter", "Time from queueing to durable.",
                      (double)stats.commit_time_us_sum / 1e6);
        metrics_value(out, "gabbro_store_events_total", "counter", "Events published.", (double)stats.events);
        metrics_value(out, "gabbro_store_watches", "gauge", "Open watches of the store.", (double)stats.watches);
        metrics_value(out, "gabbro_store_objects", "gauge", "Objects.", (double)stats.objects);
        metrics_value(out, "gabbro_store_bytes", "gauge", "Bytes of objects.", (double)stats.bytes);
        metrics_value(out, "gabbro_store_queued", "gauge", "Operations on their way.", (double)stats.queued);
        metrics_value(out, "gabbro_store_revision", "gauge", "The newest revision.", (double)store_revision(api->options.store));
}

static void write_audit_stats(struct api *api, GString *out)
{
        struct auth_audit_stats stats;

        if (!api->options.audit)
                return;
        auth_audit_stats(api->options.audit, &stats);
        metrics_value(out, "gabbro_audit_lines_total", "counter", "Audit lines recorded.", (double)stats.lines);
        metrics_value(out, "gabbro_audit_omitted_total", "counter", "Audit lines left out.", (double)stats.omitted);
        metrics_value(out, "gabbro_audit_errors_total", "counter", "Failed writes of the audit log.", (double)stats.errors);
}

void api_metrics_http(GString *out, void *server)
{
        struct http_server_stats stats;

        http_server_stats(server, &stats);
        metrics_value(out, "gabbro_http_requests_total", "counter", "Requests received.", (double)stats.requests);
        metrics_value(out, "gabbro_http_connections_total", "counter", "Connections accepted.", (double)stats.connections_total);
        metrics_value(out, "gabbro_http_refused_connections_total", "counter", "Connections refused at a bound.",
                      (double)stats.refused_connections);
        metrics_value(out, "gabbro_http_evicted_connections_total", "counter",
                      "Connections without an authenticated request that made room for others.", (double)stats.evicted_connections);
        metrics_value(out, "gabbro_http_received_bytes_total", "counter", "Bytes received.", (double)stats.bytes_in);
        metrics_value(out, "gabbro_http_sent_bytes_total", "counter", "Bytes sent.", (double)stats.bytes_out);
        metrics_value(out, "gabbro_http_connections", "gauge", "Open connections.", (double)stats.connections);
        metrics_value(out, "gabbro_http_unauthenticated_connections", "gauge", "Open connections without an authenticated request.",
                      (double)stats.unauthenticated);
        metrics_value(out, "gabbro_http_memory_bytes", "gauge", "Memory kept by bodies that come and answers that are not read.",
                      (double)stats.memory);
        metrics_value(out, "gabbro_http_streams", "gauge", "Open streamed answers.", (double)stats.streams);
}

static void answer_metrics(struct call *call, const char *rest)
{
        struct api *api = call->api;
        g_autoptr(GString) text = g_string_new(NULL);

        metrics_write(api->metrics, text);
        metrics_value(text, "gabbro_api_watches", "gauge", "Open watches of clients.", (double)watch_hub_count(api->watches));
        write_store_stats(api, text);
        write_audit_stats(api, text);
        for (guint i = 0; i < api->metrics_hooks->len; i++) {
                const struct api_metrics_hook *hook = &g_array_index(api->metrics_hooks, struct api_metrics_hook, i);

                hook->write(text, hook->userdata);
        }
        call_account(call, 200);
        if (call->request)
                http_reply(call->request, 200, "text/plain; version=0.0.4; charset=utf-8", text->str, text->len);
}

static const struct service services[] = {
        {"/api", true, answer_api},          {"/apis", true, answer_apis},        {"/openapi", true, answer_openapi},
        {"/version", false, answer_version}, {"/livez", true, answer_live},       {"/readyz", true, answer_ready},
        {"/healthz", true, answer_live},     {"/metrics", false, answer_metrics},
};

const struct service *service_find(const char *path)
{
        assert(path);
        for (size_t i = 0; i < G_N_ELEMENTS(services); i++) {
                size_t len = strlen(services[i].path);

                if (strncmp(path, services[i].path, len) == 0 && (path[len] == 0 || (services[i].below && path[len] == '/')))
                        return &services[i];
        }
        return NULL;
}

void service_answer(const struct service *service, struct call *call, const char *path)
{
        const char *rest = path + strlen(service->path);

        assert(service && call);
        /* "/apis/" means "/apis". */
        service->answer(call, strcmp(rest, "/") == 0 ? "" : rest);
}
