/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "gateway/callbacks.h"
#include "generated/api_types.h"

#include <openssl/crypto.h>
#include <string.h>

#define ATTEMPT_TIME_US  10000000ull
#define ANSWER_BYTES     4096 /* that are read; what an endpoint says beside its status does not matter */
#define RETRY_AFTER_MOST 64
#define ERROR_MOST       200

/* --- what is sent
 * ------------------------------------------------------------------------------------------------------------------- */

static char *body_of(const struct store_object *delivery, int64_t attempts)
{
        static const char *const copied[] = {"time", "sequence", "object", "facts"};
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        const struct json_value *spec = json_get(delivery->root, "spec");

        json_set_root(doc, root);
        json_set_string(doc, root, "id", delivery->uid);
        json_set_string(doc, root, "type", json_find_string(spec, "event", NULL));
        for (size_t i = 0; i < G_N_ELEMENTS(copied); i++) {
                const struct json_value *value = json_get(spec, copied[i]);

                if (value)
                        json_set(doc, root, copied[i], json_copy(doc, value));
        }
        json_set_int(doc, root, "attempt", attempts);
        return json_to_text(root);
}

/* "Gabbro-Signature: ..."; NULL and why there is none. */
static char *signature_of(struct gateway *gateway, const struct store_object *callback, const char *body, char **reterr_words)
{
        const struct json_value *signing = json_find(callback->root, "spec", "signing", NULL);
        const char *name = json_find_string(signing, "secretName", NULL) ?: "", *key = json_find_string(signing, "key", NULL) ?: "";
        autostoreobject secret = store_get(gateway->store, &api_secret_kind, callback->namespace, name);
        const char *text = secret ? json_string(json_get(json_get(secret->root, "data"), key), NULL) : NULL;
        gsize len = 0;
        guchar *bytes = text ? g_base64_decode(text, &len) : NULL;
        char *header = NULL;

        if (bytes && len > 0) {
                g_autofree char *value = callback_signature(bytes, len, clock_real_us(gateway->clock) / 1000000, body);

                header = g_strconcat("Gabbro-Signature: ", value, NULL);
        } else {
                *reterr_words = g_strdup_printf("not sent: secret %s has no value %s to sign with", name, key);
        }
        if (bytes)
                OPENSSL_cleanse(bytes, len);
        g_free(bytes);
        return header;
}

static char *certificates_of(const struct store_object *callback)
{
        const char *base64 = json_find_string(callback->root, "spec", "caBundle", NULL);
        gsize len = 0;
        g_autofree guchar *bytes = base64 ? g_base64_decode(base64, &len) : NULL;

        return bytes ? g_strndup((const char *)bytes, len) : NULL;
}

struct callback_attempt *callback_attempt_new(struct gateway *gateway, const struct store_object *delivery,
                                              const struct store_object *callback)
{
        assert(gateway && delivery && callback);

        const char *url = json_find_string(callback->root, "spec", "url", NULL);
        const char *state = json_find_string(delivery->root, "status", "state", NULL);
        const char *wanted = json_find_string(delivery->root, "spec", "callback", "uid", NULL);
        int64_t attempts = 0, most = 10;
        bool deleted = json_find(callback->root, "metadata", "deletionTimestamp", NULL);

        if (!url || deleted || g_strcmp0(state, "Pending") != 0 || g_strcmp0(wanted, callback->uid) != 0)
                return NULL;
        (void)json_int64(json_find(delivery->root, "status", "attempts", NULL), &attempts);
        (void)json_int64(json_find(callback->root, "spec", "maxAttempts", NULL), &most);
        struct callback_attempt *attempt = g_new0(struct callback_attempt, 1);
        g_autoptr(GStrvBuilder) headers = g_strv_builder_new();
        g_autofree char *id = g_strconcat("Gabbro-Delivery: ", delivery->uid, NULL);
        g_autofree char *event = g_strconcat("Gabbro-Event: ", json_find_string(delivery->root, "spec", "event", NULL), NULL);
        g_autofree char *signature = NULL;

        *attempt = (struct callback_attempt){
                .uid = g_strdup(delivery->uid),
                .namespace = g_strdup(delivery->namespace),
                .name = g_strdup(delivery->name),
                .callback_name = g_strdup(callback->name),
                .callback_uid = g_strdup(callback->uid),
                .attempts = attempts + 1,
                .most = most,
                .url = g_strdup(url),
                .body = body_of(delivery, attempts + 1),
                .ca_pem = certificates_of(callback),
                .reach = &gateway->reach,
                .begun_us = clock_monotonic_us(gateway->clock),
        };
        g_strv_builder_add_many(headers, "Content-Type: application/json", id, event, NULL);
        if (json_find(callback->root, "spec", "signing", NULL))
                signature = signature_of(gateway, callback, attempt->body, &attempt->error);
        if (signature)
                g_strv_builder_add(headers, signature);
        attempt->headers = g_strv_builder_end(headers);
        return attempt;
}

struct callback_attempt *callback_attempt_free(struct callback_attempt *attempt)
{
        if (!attempt)
                return NULL;
        g_free(attempt->uid);
        g_free(attempt->namespace);
        g_free(attempt->name);
        g_free(attempt->callback_name);
        g_free(attempt->callback_uid);
        g_free(attempt->url);
        g_free(attempt->body);
        g_free(attempt->ca_pem);
        g_strfreev(attempt->headers);
        g_free(attempt->retry_after);
        g_free(attempt->error);
        g_free(attempt);
        return NULL;
}

/* --- on the pool
 * ------------------------------------------------------------------------------------------------------------------------- */

static bool allow_address(const char *ip, void *userdata)
{
        struct callback_attempt *attempt = userdata;
        enum reach_verdict verdict = reach_judge(attempt->reach, ip);

        if (verdict != REACH_ALLOWED)
                attempt->verdict = verdict;
        return verdict == REACH_ALLOWED;
}

/* The status counts as soon as it is there, whatever becomes of the rest of the answer. */
static void note_answer(struct callback_attempt *attempt, const struct http_call *call)
{
        const char *after = http_call_header(call, "Retry-After");
        int status = http_call_status(call);

        if (status < 200)
                return;
        attempt->status = status;
        if (after && !attempt->retry_after)
                attempt->retry_after = g_strndup(after, RETRY_AFTER_MOST);
}

static bool go_on(struct http_call *call, void *userdata)
{
        struct callback_attempt *attempt = userdata;

        note_answer(attempt, call);
        return !atomic_load(attempt->stopping);
}

static bool on_piece(struct http_call *call, const char *piece, size_t len, void *userdata)
{
        struct callback_attempt *attempt = userdata;

        note_answer(attempt, call);
        attempt->answer_bytes += len;
        return attempt->answer_bytes <= ANSWER_BYTES;
}

int callback_attempt_send(void *userdata)
{
        struct callback_attempt *attempt = userdata;
        const struct http_client_options client = {.user_agent = "gabbro-gateway/" GABBRO_VERSION,
                                                   .ca_pem = attempt->ca_pem,
                                                   .allow_address = allow_address,
                                                   .userdata = attempt};
        const struct http_call_options call = {
                .method = "POST",
                .url = attempt->url,
                .headers = (const char *const *)attempt->headers,
                .body = attempt->body,
                .body_len = strlen(attempt->body),
                .timeout_us = ATTEMPT_TIME_US,
                .on_piece = on_piece,
                .go_on = go_on,
        };
        g_autofree char *words = NULL;
        const char *why;
        int status = 0;
        int r = http_fetch(&client, &call, attempt, &status, NULL, &words);

        if (r == 0)
                attempt->status = status;
        why = words ?: g_strerror(-r);
        if (r == -EACCES)
                attempt->error = g_strdup_printf("%s: %s", words, reach_words(attempt->verdict));
        else if (attempt->status == 0)
                attempt->error = g_utf8_make_valid(why, (gssize)strnlen(why, ERROR_MOST)); /* it may quote the endpoint */
        else if (attempt->status >= 300 && attempt->status < 400)
                attempt->error =
                        g_strdup_printf("the endpoint answered with status %d; redirects are not followed", attempt->status);
        else if (attempt->status >= 400)
                attempt->error = g_strdup_printf("the endpoint answered with status %d", attempt->status);
        return 0;
}
