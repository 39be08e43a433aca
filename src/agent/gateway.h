/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "http/http.h"
#include "json/json.h"

#include <stdint.h>

/* The gateway as the agent reaches it: address, credentials, calls. */

/* As the gateway's: grows when an older partner would misunderstand. Told at join, in the node's report and at each connect. */
#define GATEWAY_PROTOCOL 1

/* Credentials in files of the agent's folder: ca.crt, node.crt, node.key (0600), node.name. */
struct credentials {
        char *node_name;
        char *ca_pem;
        char *certificate_pem;
        char *key_pem;
};
void credentials_clear(struct credentials *credentials);
/** credentials_load() - 0, -ENOENT when the agent has not joined, -errno. */
int credentials_load(const char *dir, struct credentials *ret_credentials);
/** credentials_save() - durable; the certificate last, so that a kill leaves either none or all of them. */
int credentials_save(const char *dir, const struct credentials *credentials);

struct gateway;

struct gateway_options {
        struct loop *loop;
        const char *url;      /* "https://host:port" */
        const char *data_dir; /* of the credentials */
};

/** gateway_new() - with the credentials of the folder. 0, -ENOENT (not joined), -errno. */
int gateway_new(const struct gateway_options *options, struct gateway **ret_gateway);
struct gateway *gateway_free(struct gateway *gateway);
AUTOPTR(gateway, gateway_free);

/** gateway_renew() - use and keep these credentials from the next call on. */
int gateway_renew(struct gateway *gateway, const struct credentials *credentials);
const char *gateway_node_name(const struct gateway *gateway);
const char *gateway_certificate(const struct gateway *gateway);

/** gateway_call() - on the loop: @body is JSON or NULL; the answer is collected. @ret_call may be NULL. */
int gateway_call(struct gateway *gateway, const char *method, const char *path, const struct json_value *body, http_call_fn done,
                 void *userdata, struct http_call **ret_call);

/** gateway_follow() - on the loop: GET whose answer never ends; it is over when nothing came for @stall_us. */
int gateway_follow(struct gateway *gateway, const char *path, uint64_t stall_us,
                   bool (*on_piece)(struct http_call *call, const char *piece, size_t len, void *userdata), http_call_fn done,
                   void *userdata, struct http_call **ret_call);

/** gateway_dial() - on the loop: a WebSocket. */
int gateway_dial(struct gateway *gateway, const char *path, const struct http_ws_handlers *handlers, void *userdata,
                 struct http_ws **ret_ws);

/**
 * gateway_get() - blocking, on any thread: a JSON document
 *
 * Return: 0; -ENOENT (404), -EACCES (401, 403), -EPROTO (any other answer), -errno; @reterr_words, g_free.
 */
int gateway_get(struct gateway *gateway, const char *path, struct json_doc **ret_doc, char **reterr_words);

/**
 * gateway_read() - blocking, on any thread: bytes from @offset on, handed to @on_piece (false: stop)
 * @ret_status: 206 when @offset was honoured, 200 when all comes, 416, another HTTP status
 */
int gateway_read(struct gateway *gateway, const char *path, uint64_t offset,
                 bool (*on_piece)(struct http_call *call, const char *piece, size_t len, void *userdata), void *userdata,
                 int *ret_status, char **reterr_words);

/* A call that sends the content of a file, or asks about it. */
struct gateway_sending {
        const char *method, *path;
        const char *const *headers;                     /* NULL-terminated */
        int body_fd;                                    /* from its offset on */
        uint64_t body_len;                              /* 0: no body */
        bool (*go_on)(void *userdata);                  /* asked all the time; false: -ECANCELED */
        void (*on_sent)(uint64_t sent, void *userdata); /* NULL: nobody listens */
        void *userdata;
};
struct gateway_answer {
        int status;
        uint64_t offset, length; /* Upload-Offset, Upload-Length; 0 when absent */
        bool complete;           /* Upload-Complete: there is nothing more to send */
        char *words;             /* of a refusal, or of a failed call; NULL: none */
};
void gateway_answer_clear(struct gateway_answer *answer);
/** gateway_send() - blocking, on any thread. 0 for any answer, or -errno with words in @ret_answer. */
int gateway_send(struct gateway *gateway, const struct gateway_sending *sending, struct gateway_answer *ret_answer);
