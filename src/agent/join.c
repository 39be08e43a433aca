/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/join.h"

#include "agent/gateway.h"
#include "agent/net/link.h"
#include "auth/auth.h"
#include "base/error.h"
#include "base/file.h"
#include "base/names.h"

#include <string.h>

#define TOKEN_BYTES_MAX 4096
#define TIMEOUT_US      30000000ull
#define ADDRESSES_MAX   16
#define JOIN_PATH       "/agent/v1/join"

static int fail(int r, char **reterr_words, char *words)
{
        *reterr_words = words;
        return r;
}

static int read_token(const char *path, char **ret_token, char **ret_ca_hash, char **reterr_words)
{
        g_autofree char *text = NULL, *id = NULL, *hash = NULL, *suffix = NULL;
        size_t len;
        int r = file_read(path, TOKEN_BYTES_MAX, &text, &len);

        if (r < 0) {
                return fail(r, reterr_words, g_strdup_printf("the join token cannot be read from %s: %s", path, g_strerror(-r)));
        }
        g_strstrip(text);
        if (auth_token_split(text, &id, &hash, &suffix) < 0 || !suffix || strlen(suffix) != 64) {
                return fail(-EINVAL, reterr_words, g_strdup_printf("%s holds no join token", path));
        }
        *ret_token = g_steal_pointer(&text);
        *ret_ca_hash = g_steal_pointer(&suffix);
        return 0;
}

struct collect {
        struct json_doc *doc;
        struct json_value *list;
};

static bool add_address(const struct link_address *address, void *userdata)
{
        struct collect *collect = userdata;
        char text[ADDRESS_TEXT_MAX];
        bool loopback = address->address.family == 4 ? address->address.bytes[0] == 127 : address->length == 128;
        bool link_local =
                address->address.family == 6 && address->address.bytes[0] == 0xfe && (address->address.bytes[1] & 0xc0) == 0x80;

        if (!loopback && !link_local && json_length(collect->list) < ADDRESSES_MAX) {
                json_append(collect->list, json_new_string(collect->doc, address_format(&address->address, text)));
        }
        return true;
}

static struct json_value *request_body(struct json_doc *doc, const struct join_options *options, const char *token, const char *csr)
{
        struct json_value *body = json_new(doc, JSON_OBJECT);
        struct collect collect = {.doc = doc, .list = json_ensure_array(doc, body, "addresses")};
        g_autoptr(link_socket) link = NULL;

        json_set_string(doc, body, "token", token);
        json_set_string(doc, body, "nodeName", options->node_name);
        json_set_string(doc, body, "csr", csr);
        json_set_int(doc, body, "protocol", GATEWAY_PROTOCOL);
        if (link_open(&link) == 0) {
                /* The certificate carries what is known; the name is always in it. */
                (void)link_each_address(link, add_address, &collect);
        }
        return body;
}

static int take_answer(const struct join_options *options, const char *text, size_t len, char *key_pem, char **reterr_words)
{
        struct credentials credentials;
        g_autoptr(json_doc) doc = NULL;
        int64_t protocol = 0;
        int r;

        if (json_parse(text, len, &doc, NULL)) {
                return fail(-EPROTO, reterr_words, g_strdup("the gateway's answer is no JSON"));
        }
        credentials = (struct credentials){
                .node_name = (char *)json_find_string(json_root(doc), "nodeName", NULL),
                .ca_pem = (char *)json_find_string(json_root(doc), "ca", NULL),
                .certificate_pem = (char *)json_find_string(json_root(doc), "certificate", NULL),
                .key_pem = key_pem,
        };
        if (!credentials.node_name || !credentials.ca_pem || !credentials.certificate_pem) {
                return fail(-EPROTO, reterr_words, g_strdup("the gateway's answer lacks name, CA or certificate"));
        }
        if (json_int64(json_get(json_root(doc), "protocol"), &protocol) || protocol != GATEWAY_PROTOCOL) {
                return fail(-EPROTO, reterr_words,
                            g_strdup_printf("the gateway speaks protocol %" G_GINT64_FORMAT
                                            " and this agent %d: update the older one",
                                            protocol, GATEWAY_PROTOCOL));
        }
        r = credentials_save(options->data_dir, &credentials);
        return r < 0 ? fail(r, reterr_words, g_strdup_printf("the credentials cannot be kept: %s", g_strerror(-r))) : 0;
}

static char *refusal(int status, const GString *body)
{
        g_autoptr(json_doc) doc = NULL;
        const char *message = NULL;

        if (body && json_parse(body->str, body->len, &doc, NULL) == 0) {
                message = json_find_string(json_root(doc), "message", NULL);
        }
        return g_strdup_printf("the gateway refused to let this host join (%d): %s", status, message ? message : "without words");
}

int join_gateway(const struct join_options *options, char **reterr_words)
{
        static const char *const headers[] = {"Content-Type: application/json", NULL};
        g_autofree char *token = NULL, *ca_hash = NULL, *key_pem = NULL, *csr_pem = NULL, *text = NULL, *url = NULL;
        struct http_client_options client = {.user_agent = "gabbro-agent/" GABBRO_VERSION};
        struct http_call_options call = {.method = "POST", .headers = headers, .timeout_us = TIMEOUT_US};
        g_autoptr(json_doc) doc = json_doc_new();
        g_autoptr(GString) answer = NULL;
        int status = 0, r;

        assert(options && options->gateway_url && options->data_dir && options->token_file && options->node_name && reterr_words);
        if (!names_is_label(options->node_name)) {
                return fail(-EINVAL, reterr_words, g_strdup_printf("%s is no valid node name (a DNS label)", options->node_name));
        }
        r = read_token(options->token_file, &token, &ca_hash, reterr_words);
        if (r < 0) {
                return r;
        }
        r = error_fold(auth_request_new(options->node_name, &key_pem, &csr_pem));
        if (r < 0) {
                return fail(r, reterr_words, g_strdup_printf("no key could be made: %s", g_strerror(-r)));
        }
        text = json_to_text(request_body(doc, options, token, csr_pem));
        url = g_strconcat(options->gateway_url, JOIN_PATH, NULL);
        client.ca_sha256 = ca_hash;
        call.url = url;
        call.body = text;
        call.body_len = strlen(text);
        r = error_fold(http_fetch(&client, &call, NULL, &status, &answer, reterr_words));
        if (!r && status != 200) {
                r = fail(-EACCES, reterr_words, refusal(status, answer));
        }
        if (!r) {
                r = take_answer(options, answer->str, answer->len, key_pem, reterr_words);
        }
        explicit_bzero(key_pem, strlen(key_pem));
        return r;
}
