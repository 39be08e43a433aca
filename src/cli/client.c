/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define STALL_US 120000000u

void cli_reply_clear(struct cli_reply *reply)
{
        json_doc_free(reply->doc);
        if (reply->text)
                g_string_free(reply->text, TRUE);
        *reply = (struct cli_reply){};
}

struct http_client_options client_options(const struct cli *cli)
{
        return (struct http_client_options){
                .ca_pem = cli->ca_pem,
                .certificate_pem = cli->certificate_pem,
                .key_pem = cli->key_pem,
                .user_agent = "gabbro/" GABBRO_VERSION,
                .insecure = cli->insecure,
        };
}

char **client_headers(const struct cli *cli, const char *accept, const char *content_type)
{
        g_autoptr(GStrvBuilder) headers = g_strv_builder_new();
        g_autofree char *accept_line = g_strdup_printf("Accept: %s", accept ?: "application/json");

        g_strv_builder_add(headers, accept_line);
        if (content_type) {
                g_autofree char *type = g_strdup_printf("Content-Type: %s", content_type);
                g_strv_builder_add(headers, type);
        }
        if (cli->token) {
                g_autofree char *bearer = g_strdup_printf("Authorization: Bearer %s", cli->token);
                g_strv_builder_add(headers, bearer);
        }
        return g_strv_builder_end(headers);
}

void client_tell_unreachable(const struct cli *cli, int r, const char *words)
{
        assert(cli && r < 0);

        cli_error("cannot reach %s: %s", cli->server, words ?: g_strerror(-r));
        if (r == -EKEYREJECTED)
                cli_note("The gateway is not the one that the credentials are for, or its certificates were made anew: take the "
                         "admin.kubeconfig of its --data-dir, or name its certificate with --certificate-authority.");
        else if (r == -ECONNREFUSED || r == -EHOSTUNREACH)
                cli_note("Is gabbro-gateway running there? The address comes from --server or the kubeconfig.");
}

int cli_call(struct cli *cli, const struct cli_request *request, struct cli_reply *ret_reply)
{
        struct http_client_options client = client_options(cli);
        g_autofree char *url = g_strconcat(cli->server, request->path, NULL);
        bool body = request->body || request->upload;
        g_auto(GStrv) headers = client_headers(cli, request->accept, body ? request->content_type ?: "application/json" : NULL);
        struct http_call_options call = {
                .method = request->method,
                .url = url,
                .headers = (const char *const *)headers,
                .body = request->body,
                .body_len = request->len,
                .body_fd = request->body_fd,
                .body_fd_set = request->upload,
                .on_sent = request->on_sent,
                .stall_timeout_us = STALL_US,
                .max_body_bytes = CLIENT_LIST_BYTES,
        };
        g_autofree char *words = NULL;

        *ret_reply = (struct cli_reply){};
        int r = http_fetch(&client, &call, request->userdata, &ret_reply->status, &ret_reply->text, &words);
        if (r < 0) {
                client_tell_unreachable(cli, r, words);
                return CLI_UNREACHABLE;
        }
        if (ret_reply->text && ret_reply->text->len > 0 &&
            json_parse_within(ret_reply->text->str, ret_reply->text->len, CLIENT_LIST_BYTES, CLIENT_LIST_NODES, &ret_reply->doc,
                              NULL))
                ret_reply->doc = NULL;
        return CLI_OK;
}

/* "VirtualMachine.gabbro.dev "a" is invalid: " and then every cause once more: up to the colon, when causes follow. */
static char *headline(const char *message, const struct json_value *causes)
{
        const char *list = strstr(message, " is invalid: ");

        return list && json_length(causes) > 0 ? g_strndup(message, (size_t)(list - message) + strlen(" is invalid:"))
                                               : g_strdup(message);
}

int cli_tell_status(const struct cli_reply *reply)
{
        assert(reply);

        const struct json_value *status = reply->doc ? json_root_const(reply->doc) : NULL;
        const char *message = json_find_string(status, "message", NULL);
        const struct json_value *causes = json_find(status, "details", "causes", NULL);
        g_autofree char *first = message ? headline(message, causes)
                                         : g_strdup_printf("the server answered with status %d and no words", reply->status);

        cli_error("%s", first);
        for (const struct json_value *cause = json_first(causes); cause; cause = json_next(cause)) {
                const char *field = json_find_string(cause, "field", NULL);
                const char *words = json_find_string(cause, "message", NULL) ?: "";
                const char *reason = json_find_string(cause, "reason", NULL) ?: "Unknown";
                const char *told = strstr(first, words) ? "" : words; /* once is enough; the stable code always */
                cli_note("  * %s%s%s%s(%s)", field ?: "", field && *field ? ": " : "", told, *told ? " " : "", reason);
        }
        if (reply->status == 401) {
                cli_note("The credentials are not valid, or not any more. Log in again with gabbro login USER; with the gateway "
                         "stopped, gabbro-gateway --admin-reset makes a new admin.kubeconfig.");
                return CLI_UNREACHABLE;
        }
        return reply->status == 404 ? CLI_NOT_FOUND : CLI_FAILED;
}

int cli_expect(struct cli *cli, const struct cli_request *request, struct cli_reply *ret_reply)
{
        int code = cli_call(cli, request, ret_reply);

        if (code != CLI_OK)
                return code;
        if (ret_reply->status / 100 != 2)
                return cli_tell_status(ret_reply);
        if (!ret_reply->doc) {
                cli_error("%s answered with something that is no JSON: is it a gateway of Gabbro?", cli->server);
                return CLI_UNREACHABLE;
        }
        return CLI_OK;
}

int cli_create_doc(struct cli *cli, const struct schema_kind *kind, const struct json_doc *doc, char **ret_name)
{
        assert(cli && kind && doc && ret_name);

        g_autofree char *text = json_to_text(json_root_const(doc));
        g_autofree char *path = cli_path(cli, kind, NULL);
        struct cli_request request = {.method = "POST", .path = path, .body = text, .len = strlen(text)};
        struct cli_reply reply = {};

        int code = cli_expect(cli, &request, &reply);
        if (code == CLI_OK)
                *ret_name = g_strdup(json_find_string(json_root(reply.doc), "metadata", "name", NULL));
        cli_reply_clear(&reply);
        return code;
}
