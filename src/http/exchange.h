/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "http/http.h"

#include <curl/curl.h>

/*
 * One request by libcurl and its answer: what http_call() and http_fetch() share. Internal to src/http. Proxies of the environment,
 * other protocols than HTTP and steps down from https are never taken.
 */

/* Options of a client, copied. */
struct http_client_settings {
        char *ca_pem, *ca_sha256, *certificate_pem, *key_pem, *user_agent;
        bool insecure;
        bool (*allow_address)(const char *ip, void *userdata);
        void *userdata;
};
void http_client_settings_copy(struct http_client_settings *settings, const struct http_client_options *options);
void http_client_settings_clear(struct http_client_settings *settings);

struct http_call {
        struct http_call *previous, *next; /* of the client's list */
        struct http_client *client;        /* NULL in http_fetch() */
        const struct http_client_settings *settings;
        CURL *easy;
        struct curl_slist *request_headers;
        char *request_body;
        int body_fd; /* borrowed; body_len bytes from body_start, of which body_at are read */
        off_t body_start;
        uint64_t body_len, body_at;
        GString *body;
        size_t max_body_bytes;
        bool (*on_piece)(struct http_call *call, const char *piece, size_t len, void *userdata);
        bool (*go_on)(struct http_call *call, void *userdata);
        void (*on_sent)(struct http_call *call, uint64_t sent, void *userdata);
        http_call_fn done;
        void *userdata;
        uint64_t sent;
        size_t header_bytes; /* that came so far, of all answers */
        GPtrArray *headers;  /* name, value, name, value ... of the last answer */
        unsigned char pin[32];
        long verdict; /* X509_V_*: on the peer's certificate */
        char refused_address[64];
        bool too_large, headers_too_large, aborted, cancelled, added;
        bool was_https, downgraded; /* a request has gone to https; then one was to go to http */
        char error[CURL_ERROR_SIZE];
};

/** http_call_new() - a call ready to run; 0, -EINVAL or -ENOMEM. @settings outlives it. */
int http_call_new(const struct http_client_settings *settings, const struct http_call_options *options, void *userdata,
                  struct http_call **ret_call);
struct http_call *http_call_free(struct http_call *call);
/** http_call_result() - the outcome of a finished call: 0, or -errno and @ret_words (borrowed from the call). */
int http_call_result(struct http_call *call, CURLcode code, const char **ret_words);
