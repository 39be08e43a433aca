/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "http/exchange.h"

int http_fetch(const struct http_client_options *client, const struct http_call_options *options, void *userdata, int *ret_status,
               GString **ret_body, char **reterr_words)
{
        assert(client && options && ret_status && (ret_body || options->on_piece));

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
