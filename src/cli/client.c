/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define STALL_US      120000000u
#define RETRIES       6
#define RETRY_US      250000u /* the first pause; each is twice the one before */
#define ID_MAX        112     /* the number of the request comes behind it */
#define ID_HEADER     "Gabbro-Request-Id"
#define ID_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~:"

void cli_reply_clear(struct cli_reply *reply)
{
        json_doc_free(reply->doc);
        if (reply->text)
                g_string_free(reply->text, TRUE);
        *reply = (struct cli_reply){};
}

struct http_client_options client_options(struct cli *cli)
{
        if (!cli->kept)
                cli->kept = http_kept_new();
        return (struct http_client_options){
                .ca_pem = cli->ca_pem,
                .certificate_pem = cli->certificate_pem,
                .key_pem = cli->key_pem,
                .user_agent = "gabbro/" GABBRO_VERSION,
                .insecure = cli->insecure,
                .kept = cli->kept,
        };
}

char **client_headers(const struct cli *cli, const char *accept, const char *content_type, const char *more)
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
        if (more)
                g_strv_builder_add(headers, more);
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

/* --- once
 * --------------------------------------------------------------------------------------------------------------------------- */

static bool is_write(const struct cli_request *request)
{
        return request->method && !request->upload && !g_str_equal(request->method, "GET");
}

/* Every write of a command has a name of its own, which it keeps when it is sent again: the gateway carries it out once. */
static int name_request(struct cli *cli, const struct cli_request *request, char **ret_line)
{
        const char *given = cli->option_request_id;
        char uuid[UUID_TEXT_MAX];

        *ret_line = NULL;
        if (!is_write(request))
                return CLI_OK;
        if (given && (!*given || strlen(given) > ID_MAX || given[strspn(given, ID_CHARACTERS)]))
                return cli_usage("--request-id takes 1 to %d characters out of A-Z, a-z, 0-9 and -_.~:", ID_MAX);
        if (!cli->request_id)
                cli->request_id = g_strdup(given ?: uuid_generate(random_system(), uuid));
        *ret_line = g_strdup_printf(ID_HEADER ": %s-%u", cli->request_id, ++cli->requests);
        return CLI_OK;
}

/* The connection was lost with the answer, or the gateway that has answered before is still starting. */
static bool is_lost(int r, int status, unsigned attempt, bool answered)
{
        return r == -EIO || (r == -ECONNREFUSED && (attempt > 0 || answered)) || (r == 0 && status == 503 && attempt > 0);
}

static int fetch(struct cli *cli, const struct cli_request *request, const struct http_call_options *call,
                 struct cli_reply *ret_reply, char **reterr_words)
{
        struct http_client_options client = client_options(cli);
        int r;

        if (request->once)
                client.kept = NULL; /* on a connection that turns out to be closed it would be sent once more */
        for (unsigned attempt = 0;; attempt++) {
                r = http_fetch(&client, call, request->userdata, &ret_reply->status, &ret_reply->text, reterr_words);
                if (attempt >= RETRIES || (!is_write(request) && !request->patient) || request->once ||
                    !is_lost(r, ret_reply->status, attempt, cli->answered)) {
                        cli->answered |= r == 0;
                        return r;
                }
                if (attempt == 0)
                        cli_note("The connection to %s is lost; sending the request again%s.", cli->server,
                                 request->patient ? "" : " under the same name");
                g_clear_pointer(reterr_words, g_free);
                cli_reply_clear(ret_reply);
                g_usleep(RETRY_US << attempt);
        }
}

int cli_call(struct cli *cli, const struct cli_request *request, struct cli_reply *ret_reply)
{
        g_autofree char *url = g_strconcat(cli->server, request->path, NULL), *words = NULL, *name = NULL;
        bool body = request->body || request->upload;
        g_auto(GStrv) headers = NULL;
        int r;

        *ret_reply = (struct cli_reply){};
        r = name_request(cli, request, &name);
        if (r != CLI_OK)
                return r;
        headers = client_headers(cli, request->accept, body ? request->content_type ?: "application/json" : NULL, name);
        struct http_call_options call = {
                .method = request->method,
                .url = url,
                .headers = (const char *const *)headers,
                .body = request->body,
                .body_len = request->len,
                .body_fd = request->body_fd,
                .body_fd_set = request->upload,
                .on_sent = request->on_sent,
                .stall_timeout_us = request->stall_us ?: STALL_US,
                .max_body_bytes = CLIENT_LIST_BYTES,
        };
        r = fetch(cli, request, &call, ret_reply, &words);
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
