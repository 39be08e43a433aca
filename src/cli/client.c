/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIST_BYTES (256u << 20)
#define LIST_NODES 20000000u

void cli_reply_clear(struct cli_reply *reply)
{
        json_doc_free(reply->doc);
        if (reply->text)
                g_string_free(reply->text, TRUE);
        *reply = (struct cli_reply){};
}

static struct http_client_options client_options(const struct cli *cli)
{
        return (struct http_client_options){
                .ca_pem = cli->ca_pem,
                .certificate_pem = cli->certificate_pem,
                .key_pem = cli->key_pem,
                .user_agent = "gabbro/" GABBRO_VERSION,
                .insecure = cli->insecure,
        };
}

/* Headers of a request; the array and its strings are the caller's. */
static char **headers_of(const struct cli *cli, const char *accept, const char *content_type)
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

int cli_call(struct cli *cli, const struct cli_request *request, struct cli_reply *ret_reply)
{
        struct http_client_options client = client_options(cli);
        g_autofree char *url = g_strconcat(cli->server, request->path, NULL);
        bool body = request->body || request->upload;
        g_auto(GStrv) headers = headers_of(cli, request->accept, body ? request->content_type ?: "application/json" : NULL);
        struct http_call_options call = {
                .method = request->method,
                .url = url,
                .headers = (const char *const *)headers,
                .body = request->body,
                .body_len = request->len,
                .body_fd = request->body_fd,
                .body_fd_set = request->upload,
                .on_sent = request->on_sent,
                .stall_timeout_us = 120000000,
                .max_body_bytes = LIST_BYTES,
        };
        g_autofree char *words = NULL;

        *ret_reply = (struct cli_reply){};
        int r = http_fetch(&client, &call, request->userdata, &ret_reply->status, &ret_reply->text, &words);
        if (r < 0) {
                cli_error("cannot reach %s: %s", cli->server, words ?: g_strerror(-r));
                return CLI_UNREACHABLE;
        }
        if (ret_reply->text && ret_reply->text->len > 0 &&
            json_parse_within(ret_reply->text->str, ret_reply->text->len, LIST_BYTES, LIST_NODES, &ret_reply->doc, NULL))
                ret_reply->doc = NULL;
        return CLI_OK;
}

int cli_tell_status(const struct cli_reply *reply)
{
        const struct json_value *status = reply->doc ? json_root(reply->doc) : NULL;
        const char *message = json_find_string(status, "message", NULL);
        const struct json_value *causes = json_find(status, "details", "causes", NULL);

        if (message)
                cli_error("%s", message);
        else
                cli_error("the server answered with status %d", reply->status);
        for (const struct json_value *cause = json_first(causes); cause; cause = json_next(cause)) {
                const char *field = json_find_string(cause, "field", NULL);
                fprintf(stderr, "  * %s%s%s (%s)\n", field ?: "", field ? ": " : "", json_find_string(cause, "message", NULL) ?: "",
                        json_find_string(cause, "reason", NULL) ?: "");
        }
        if (reply->status == 401)
                return CLI_UNREACHABLE;
        return reply->status == 404 ? CLI_NOT_FOUND : CLI_FAILED;
}

int cli_expect(struct cli *cli, const struct cli_request *request, struct cli_reply *ret_reply)
{
        int code = cli_call(cli, request, ret_reply);

        if (code != CLI_OK)
                return code;
        return ret_reply->status / 100 == 2 ? CLI_OK : cli_tell_status(ret_reply);
}

/* --- paths
 * -----------------------------------------------------------------------------------------------------------------------------------
 */

char *cli_path_in(const struct schema_kind *kind, const char *namespace, const char *name)
{
        GString *path = g_string_new(NULL);

        if (*kind->group)
                g_string_append_printf(path, "/apis/%s/%s", kind->group, kind->version);
        else
                g_string_append_printf(path, "/api/%s", kind->version);
        if (kind->namespaced && namespace)
                g_string_append_printf(path, "/namespaces/%s", namespace);
        g_string_append_printf(path, "/%s", kind->plural);
        if (name) {
                g_autofree char *escaped = g_uri_escape_string(name, NULL, FALSE);
                g_string_append_printf(path, "/%s", escaped);
        }
        return g_string_free(path, FALSE);
}

char *cli_path(const struct cli *cli, const struct schema_kind *kind, const char *name)
{
        return cli_path_in(kind, cli->namespace, name);
}

static bool kind_is(const struct schema_kind *kind, const char *word, const char *group)
{
        if (group && strncmp(kind->group, group, strlen(group)) != 0)
                return false;
        return g_ascii_strcasecmp(kind->plural, word) == 0 || g_ascii_strcasecmp(kind->singular, word) == 0 ||
               g_ascii_strcasecmp(kind->kind, word) == 0 || g_strv_contains(kind->short_names, word);
}

const struct schema_kind *cli_kind(const char *word)
{
        g_auto(GStrv) parts = g_strsplit(word, ".", 2);

        for (size_t i = 0; schema_kinds[i]; i++)
                if (!schema_kinds[i]->internal && kind_is(schema_kinds[i], parts[0], parts[1]))
                        return schema_kinds[i];
        cli_error("there is no kind %s", word);
        return NULL;
}

/* --- watching
 * ---------------------------------------------------------------------------------------------------------------------------------
 */

struct watching {
        GString *buffer;
        bool (*each)(const char *type, struct json_value *object, void *userdata);
        void *userdata;
        bool ended, gone;
};

static bool watch_line(struct watching *watching, const char *line, size_t len)
{
        g_autoptr(json_doc) doc = NULL;

        if (len == 0)
                return true;
        if (json_parse_within(line, len, LIST_BYTES, LIST_NODES, &doc, NULL))
                return false;
        const char *type = json_find_string(json_root(doc), "type", NULL);
        if (g_strcmp0(type, "ERROR") == 0) {
                watching->gone = true;
                return false;
        }
        if (!watching->each(type ?: "", json_get(json_root(doc), "object"), watching->userdata)) {
                watching->ended = true;
                return false;
        }
        return true;
}

static bool watch_piece(struct http_call *call, const char *piece, size_t len, void *userdata)
{
        struct watching *watching = userdata;

        g_string_append_len(watching->buffer, piece, (gssize)len);
        for (;;) {
                char *end = memchr(watching->buffer->str, '\n', watching->buffer->len);
                if (!end)
                        return true;
                size_t line = (size_t)(end - watching->buffer->str);
                bool go_on = watch_line(watching, watching->buffer->str, line);
                g_string_erase(watching->buffer, 0, (gssize)line + 1);
                if (!go_on)
                        return false;
        }
}

int cli_watch(struct cli *cli, const char *path, const char *accept, const char *resource_version, uint64_t timeout_us,
              bool (*each)(const char *type, struct json_value *object, void *userdata), void *userdata)
{
        struct http_client_options client = client_options(cli);
        g_autofree char *url = g_strdup_printf("%s%s%cwatch=true&resourceVersion=%s", cli->server, path,
                                               strchr(path, '?') ? '&' : '?', resource_version ?: "0");
        g_auto(GStrv) headers = headers_of(cli, accept, NULL);
        struct watching watching = {.buffer = g_string_new(NULL), .each = each, .userdata = userdata};
        struct http_call_options call = {
                .url = url, .headers = (const char *const *)headers, .timeout_us = timeout_us, .on_piece = watch_piece};
        g_autofree char *words = NULL;
        int status = 0;

        int r = http_fetch(&client, &call, &watching, &status, NULL, &words);
        g_string_free(watching.buffer, TRUE);
        if (watching.ended)
                return CLI_OK;
        if (r == -ETIMEDOUT)
                return CLI_TIMEOUT;
        if (r < 0 && !watching.gone) {
                cli_error("the watch was interrupted: %s", words ?: g_strerror(-r));
                return CLI_UNREACHABLE;
        }
        if (status != 200 && status != 0) {
                cli_error("the watch was refused with status %d", status);
                return status == 404 ? CLI_NOT_FOUND : CLI_FAILED;
        }
        return CLI_TIMEOUT;
}

int cli_read_file(const char *path, char **ret_text, size_t *ret_len)
{
        int r;

        if (g_str_equal(path, "-")) {
                g_autoptr(GString) text = g_string_new(NULL);
                char buffer[65536];
                for (ssize_t n; (n = read(STDIN_FILENO, buffer, sizeof(buffer))) > 0 && text->len <= LIMIT_JSON_BYTES;)
                        g_string_append_len(text, buffer, n);
                *ret_len = text->len;
                *ret_text = g_string_free(g_steal_pointer(&text), FALSE);
                return CLI_OK;
        }
        r = file_read(path, LIMIT_JSON_BYTES, ret_text, ret_len);
        if (r < 0)
                cli_error("cannot read %s: %s", path, g_strerror(-r));
        return r < 0 ? CLI_FAILED : CLI_OK;
}

int cli_create_doc(struct cli *cli, const struct schema_kind *kind, const struct json_doc *doc, char **ret_name)
{
        g_autofree char *text = json_to_text(json_root_const(doc));
        const char *namespace = json_find_string(json_root_const(doc), "metadata", "namespace", NULL);
        g_autofree char *path = cli_path_in(kind, namespace ?: cli->namespace, NULL);
        struct cli_request request = {.method = "POST", .path = path, .body = text, .len = strlen(text)};
        struct cli_reply reply = {};

        int code = cli_expect(cli, &request, &reply);
        if (code == CLI_OK && ret_name)
                *ret_name = g_strdup(json_find_string(reply.doc ? json_root(reply.doc) : NULL, "metadata", "name", NULL));
        cli_reply_clear(&reply);
        return code;
}
