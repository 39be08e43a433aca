/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/gateway.h"

#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"

#include <string.h>

#define CALL_TIMEOUT_US      30000000ull
#define READ_STALL_US        30000000ull
#define SEND_STALL_US        120000000ull /* the gateway looks at a file that is complete before it answers */
#define CREDENTIAL_BYTES_MAX (64u << 10)
#define USER_AGENT           "gabbro-agent/" GABBRO_VERSION

struct gateway {
        struct loop *loop;
        char *url, *data_dir;
        GMutex mutex; /* credentials are read by worker threads */
        struct credentials credentials;
        struct http_client *client;
        struct http_tls *tls; /* of WebSockets */
};

/* --- credentials -----------------------------------------------------------------------------------------------------------------
 */

static const struct {
        const char *file;
        size_t offset;
        mode_t mode;
} credential_files[] = {
        {"node.name", offsetof(struct credentials, node_name), 0644},
        {"ca.crt", offsetof(struct credentials, ca_pem), 0644},
        {"node.key", offsetof(struct credentials, key_pem), 0600},
        {"node.crt", offsetof(struct credentials, certificate_pem), 0644},
};

static char **credential(struct credentials *credentials, size_t index)
{
        return (char **)((char *)credentials + credential_files[index].offset);
}

void credentials_clear(struct credentials *credentials)
{
        if (credentials->key_pem) {
                explicit_bzero(credentials->key_pem, strlen(credentials->key_pem));
        }
        for (size_t i = 0; i < G_N_ELEMENTS(credential_files); i++) {
                g_clear_pointer(credential(credentials, i), g_free);
        }
}

int credentials_load(const char *dir, struct credentials *ret_credentials)
{
        struct credentials credentials = {};
        int r = 0;

        assert(dir && ret_credentials);
        for (size_t i = 0; !r && i < G_N_ELEMENTS(credential_files); i++) {
                g_autofree char *path = g_build_filename(dir, credential_files[i].file, NULL);
                size_t len;

                file_drop_leftovers(path);
                r = file_read(path, CREDENTIAL_BYTES_MAX, credential(&credentials, i), &len);
        }
        if (r < 0) {
                credentials_clear(&credentials);
                return r;
        }
        g_strstrip(credentials.node_name);
        *ret_credentials = credentials;
        return 0;
}

int credentials_save(const char *dir, const struct credentials *credentials)
{
        int r = 0;

        assert(dir && credentials);
        for (size_t i = 0; !r && i < G_N_ELEMENTS(credential_files); i++) {
                g_autofree char *path = g_build_filename(dir, credential_files[i].file, NULL);
                const char *text = *credential((struct credentials *)credentials, i);

                r = file_write_atomic(path, text, strlen(text), credential_files[i].mode);
        }
        return r;
}

static struct credentials credentials_copy(const struct credentials *credentials)
{
        struct credentials copy = {};

        for (size_t i = 0; i < G_N_ELEMENTS(credential_files); i++) {
                *credential(&copy, i) = g_strdup(*credential((struct credentials *)credentials, i));
        }
        return copy;
}

/* --- life ------------------------------------------------------------------------------------------------------------------------
 */

static int make_clients(struct gateway *gateway, const struct credentials *credentials)
{
        struct http_client_options client_options = {
                .loop = gateway->loop,
                .ca_pem = credentials->ca_pem,
                .certificate_pem = credentials->certificate_pem,
                .key_pem = credentials->key_pem,
                .user_agent = USER_AGENT,
        };
        struct http_tls_options tls_options = {
                .ca_pem = credentials->ca_pem,
                .certificate_pem = credentials->certificate_pem,
                .key_pem = credentials->key_pem,
        };
        g_autoptr(http_client) client = NULL;
        struct http_tls *tls;
        int r;

        r = http_client_new(&client_options, &client);
        if (!r) {
                r = http_tls_new(&tls_options, &tls);
        }
        if (r) {
                return error_fold(r);
        }
        http_client_free(gateway->client);
        http_tls_free(gateway->tls);
        gateway->client = g_steal_pointer(&client);
        gateway->tls = tls;
        return 0;
}

int gateway_new(const struct gateway_options *options, struct gateway **ret_gateway)
{
        g_autoptr(gateway) gateway = NULL;
        int r;

        assert(options && options->url && options->data_dir && ret_gateway);
        gateway = g_new0(struct gateway, 1);
        g_mutex_init(&gateway->mutex);
        gateway->loop = options->loop;
        gateway->url = g_strdup(options->url);
        gateway->data_dir = g_strdup(options->data_dir);
        while (g_str_has_suffix(gateway->url, "/")) {
                gateway->url[strlen(gateway->url) - 1] = '\0';
        }
        r = credentials_load(gateway->data_dir, &gateway->credentials);
        if (!r) {
                r = make_clients(gateway, &gateway->credentials);
        }
        if (!r) {
                *ret_gateway = g_steal_pointer(&gateway);
        }
        return r;
}

struct gateway *gateway_free(struct gateway *gateway)
{
        if (!gateway) {
                return NULL;
        }
        http_client_free(gateway->client);
        http_tls_free(gateway->tls);
        credentials_clear(&gateway->credentials);
        g_mutex_clear(&gateway->mutex);
        g_free(gateway->url);
        g_free(gateway->data_dir);
        g_free(gateway);
        return NULL;
}

int gateway_renew(struct gateway *gateway, const struct credentials *credentials)
{
        int r;

        assert(gateway && credentials);
        r = make_clients(gateway, credentials);
        if (!r) {
                r = credentials_save(gateway->data_dir, credentials);
        }
        if (!r) {
                g_mutex_lock(&gateway->mutex);
                credentials_clear(&gateway->credentials);
                gateway->credentials = credentials_copy(credentials);
                g_mutex_unlock(&gateway->mutex);
        }
        return r;
}

const char *gateway_node_name(const struct gateway *gateway)
{
        return gateway->credentials.node_name;
}

const char *gateway_certificate(const struct gateway *gateway)
{
        return gateway->credentials.certificate_pem;
}

/* --- on the loop -----------------------------------------------------------------------------------------------------------------
 */

int gateway_call(struct gateway *gateway, const char *method, const char *path, const struct json_value *body, http_call_fn done,
                 void *userdata, struct http_call **ret_call)
{
        static const char *const headers[] = {"Content-Type: application/json", "Accept: application/json", NULL};
        g_autofree char *url = g_strconcat(gateway->url, path, NULL), *text = body ? json_to_text(body) : NULL;
        struct http_call_options options = {
                .method = method,
                .url = url,
                .headers = headers,
                .body = text,
                .body_len = text ? strlen(text) : 0,
                .timeout_us = CALL_TIMEOUT_US,
        };
        struct http_call *call;
        int r = http_call(gateway->client, &options, done, userdata, ret_call ? ret_call : &call);

        return error_fold(r);
}

int gateway_follow(struct gateway *gateway, const char *path, uint64_t stall_us,
                   bool (*on_piece)(struct http_call *call, const char *piece, size_t len, void *userdata), http_call_fn done,
                   void *userdata, struct http_call **ret_call)
{
        g_autofree char *url = g_strconcat(gateway->url, path, NULL);
        struct http_call_options options = {.url = url, .stall_timeout_us = stall_us, .on_piece = on_piece};

        return error_fold(http_call(gateway->client, &options, done, userdata, ret_call));
}

int gateway_dial(struct gateway *gateway, const char *path, const struct http_ws_handlers *handlers, void *userdata,
                 struct http_ws **ret_ws)
{
        g_autofree char *url = g_strconcat(gateway->url, path, NULL);
        struct http_ws_dial_options options = {.loop = gateway->loop, .tls = gateway->tls, .url = url};

        return error_fold(http_ws_dial(&options, handlers, userdata, ret_ws));
}

/* --- on worker threads -----------------------------------------------------------------------------------------------------------
 */

static int fetch(struct gateway *gateway, const struct http_call_options *options, void *userdata, int *ret_status,
                 GString **ret_body, char **reterr_words)
{
        struct http_client_options client = {.user_agent = USER_AGENT};
        struct credentials credentials;
        int r;

        g_mutex_lock(&gateway->mutex);
        credentials = credentials_copy(&gateway->credentials);
        g_mutex_unlock(&gateway->mutex);
        client.ca_pem = credentials.ca_pem;
        client.certificate_pem = credentials.certificate_pem;
        client.key_pem = credentials.key_pem;
        r = http_fetch(&client, options, userdata, ret_status, ret_body, reterr_words);
        credentials_clear(&credentials);
        return error_fold(r);
}

static int fold_status(int status, char **reterr_words)
{
        if (status == 200) {
                return 0;
        }
        *reterr_words = g_strdup_printf("the gateway answered %d", status);
        return status == 404 ? -ENOENT : status == 401 || status == 403 ? -EACCES : -EPROTO;
}

int gateway_get(struct gateway *gateway, const char *path, struct json_doc **ret_doc, char **reterr_words)
{
        g_autofree char *url = g_strconcat(gateway->url, path, NULL);
        struct http_call_options options = {.url = url, .timeout_us = CALL_TIMEOUT_US, .max_body_bytes = LIMIT_JSON_BYTES};
        GString *body = NULL;
        int status, r;

        assert(ret_doc && reterr_words);
        r = fetch(gateway, &options, NULL, &status, &body, reterr_words);
        if (r < 0) {
                return r;
        }
        r = fold_status(status, reterr_words);
        if (!r && json_parse(body->str, body->len, ret_doc, NULL)) {
                *reterr_words = g_strdup("the gateway's answer is no JSON");
                r = -EPROTO;
        }
        /* It may hold user data. */
        explicit_bzero(body->str, body->len);
        g_string_free(body, TRUE);
        return r;
}

int gateway_read(struct gateway *gateway, const char *path, uint64_t offset,
                 bool (*on_piece)(struct http_call *call, const char *piece, size_t len, void *userdata), void *userdata,
                 int *ret_status, char **reterr_words)
{
        g_autofree char *url = g_strconcat(gateway->url, path, NULL);
        g_autofree char *range = g_strdup_printf("Range: bytes=%" G_GUINT64_FORMAT "-", offset);
        const char *const headers[] = {offset ? range : NULL, NULL};
        struct http_call_options options = {
                .url = url, .headers = headers, .stall_timeout_us = READ_STALL_US, .on_piece = on_piece};

        assert(on_piece && ret_status && reterr_words);
        return fetch(gateway, &options, userdata, ret_status, NULL, reterr_words);
}

/* --- sending files --- */

struct sending_call {
        const struct gateway_sending *sending;
        struct gateway_answer *answer;
};

void gateway_answer_clear(struct gateway_answer *answer)
{
        g_free(answer->words);
        *answer = (struct gateway_answer){};
}

static uint64_t number_header(const struct http_call *call, const char *name)
{
        const char *text = http_call_header(call, name);

        return text ? g_ascii_strtoull(text, NULL, 10) : 0;
}

static void on_send_answer(struct http_call *call, void *userdata)
{
        struct sending_call *mine = userdata;

        mine->answer->offset = number_header(call, "Upload-Offset");
        mine->answer->length = number_header(call, "Upload-Length");
        mine->answer->complete = g_strcmp0(http_call_header(call, "Upload-Complete"), "?1") == 0;
}

static bool on_send_go_on(struct http_call *call, void *userdata)
{
        const struct gateway_sending *sending = ((struct sending_call *)userdata)->sending;

        return sending->go_on(sending->userdata);
}

static void on_send_sent(struct http_call *call, uint64_t sent, void *userdata)
{
        const struct gateway_sending *sending = ((struct sending_call *)userdata)->sending;

        if (sending->on_sent) {
                sending->on_sent(sent, sending->userdata);
        }
}

/* The sentence of a Status. */
static char *words_of(const GString *body)
{
        g_autoptr(json_doc) doc = NULL;

        if (!body || body->len == 0 || json_parse(body->str, body->len, &doc, NULL)) {
                return NULL;
        }
        return g_strdup(json_find_string(json_root(doc), "message", NULL));
}

int gateway_send(struct gateway *gateway, const struct gateway_sending *sending, struct gateway_answer *ret_answer)
{
        g_autofree char *url = NULL;
        struct sending_call mine = {.sending = sending, .answer = ret_answer};
        GString *body = NULL;
        int r;

        assert(gateway && sending && sending->go_on && ret_answer);
        url = g_strconcat(gateway->url, sending->path, NULL);
        r = fetch(gateway,
                  &(struct http_call_options){.method = sending->method,
                                              .url = url,
                                              .headers = sending->headers,
                                              .body_fd = sending->body_fd,
                                              .body_fd_set = sending->body_len > 0,
                                              .body_len = sending->body_len,
                                              .stall_timeout_us = SEND_STALL_US,
                                              .max_body_bytes = LIMIT_JSON_BYTES,
                                              .go_on = on_send_go_on,
                                              .on_sent = on_send_sent,
                                              .on_answer = on_send_answer},
                  &mine, &ret_answer->status, &body, &ret_answer->words);
        if (!r && ret_answer->status >= 400) {
                ret_answer->words = words_of(body);
        }
        if (body) {
                g_string_free(body, TRUE);
        }
        return r;
}
