/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "http/exchange.h"

struct http_kept {
        CURLSH *share;
};

struct http_kept *http_kept_new(void)
{
        g_autofree struct http_kept *kept = g_new0(struct http_kept, 1);

        kept->share = curl_share_init();
        if (!kept->share)
                return NULL;
        curl_share_setopt(kept->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_CONNECT);
        curl_share_setopt(kept->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
        return g_steal_pointer(&kept);
}

struct http_kept *http_kept_free(struct http_kept *kept)
{
        if (kept)
                curl_share_cleanup(kept->share);
        g_free(kept);
        return NULL;
}

int http_fetch(const struct http_client_options *client, const struct http_call_options *options, void *userdata, int *ret_status,
               GString **ret_body, char **reterr_words)
{
        assert(client && options && ret_status && (ret_body || options->on_piece));
        assert(!client->kept || !client->ca_sha256);

        struct http_client_settings settings;
        struct http_call *call;
        const char *words = NULL;

        http_client_settings_copy(&settings, client);
        int r = http_call_new(&settings, options, userdata, &call);
        if (r < 0) {
                http_client_settings_clear(&settings);
                if (reterr_words)
                        *reterr_words = g_strdup("the request could not be made");
                return r;
        }
        if (client->kept)
                curl_easy_setopt(call->easy, CURLOPT_SHARE, client->kept->share);
        r = http_call_result(call, curl_easy_perform(call->easy), &words);
        if (r == 0) {
                *ret_status = http_call_status(call);
                if (options->on_answer)
                        options->on_answer(call, userdata);
                if (ret_body)
                        *ret_body = g_steal_pointer(&call->body);
        } else if (reterr_words) {
                *reterr_words = g_strdup(words);
        }
        http_call_free(call);
        http_client_settings_clear(&settings);
        return r;
}
