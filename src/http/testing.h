/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "http/output.h"

/* What the tests of src/http share: certificates made on the spot, a small application, and a client that speaks raw bytes. */

struct testing_certificate {
        char *certificate_pem, *key_pem;
        X509 *x509;
        EVP_PKEY *key;
};
/** testing_certificate() - signed by @issuer, or by itself (a CA when @issuer is NULL). @name: common name; servers get 127.0.0.1.
 */
struct testing_certificate testing_certificate(const struct testing_certificate *issuer, const char *name,
                                               const char *organization);
void testing_certificate_clear(struct testing_certificate *certificate);
/** testing_sha256() - of the DER, as hex. */
char *testing_sha256(const struct testing_certificate *certificate);

struct testing_app {
        struct loop *loop;
        struct http_server *server;
        struct testing_certificate ca, server_certificate;
        struct http_tls *tls;
        uint16_t port;
        struct http_request *last; /* of a path that is left to the test */
        struct http_ws *ws;
        GString *trace;  /* what happened: "request", "gone" ... */
        GString *upload; /* bytes of /upload */
        int requests, gones, file;
        bool pause_upload;
};
/** testing_app_new() - a server on loopback; @limits may be NULL. */
struct testing_app *testing_app_new(bool tls, const struct http_limits *limits);
/** testing_app_new_on() - one that reads files from @disk. */
struct testing_app *testing_app_new_on(const struct http_disk *disk);
void testing_app_free(struct testing_app *app);
char *testing_url(const struct testing_app *app, const char *path);
struct http_tls *testing_client_tls(const struct testing_app *app, const struct testing_certificate *certificate);

struct testing_client {
        struct loop *loop;
        struct http_transport transport;
        struct http_output output;
        GString *in;
        bool ended, deaf; /* deaf: does not read */
};
/** testing_client_new() - connected to @app; @tls NULL: plain. */
struct testing_client *testing_client_new(struct testing_app *app, struct http_tls *tls);
void testing_client_free(struct testing_client *client);
void testing_send(struct testing_client *client, const void *data, size_t len);
void testing_send_text(struct testing_client *client, const char *text);
void testing_deafen(struct testing_client *client, bool deaf);
/** testing_await() - run the loop until @text has come (consumed up to its end), or the stream has ended. Whether it came. */
bool testing_await(struct testing_client *client, const char *text);
void testing_await_end(struct testing_client *client);
/** testing_ask() - one request on a connection of its own; all that came back. g_free(). */
char *testing_ask(struct testing_app *app, struct http_tls *tls, const char *request, size_t len);
/** testing_body() - what stands behind the head of an answer. */
const char *testing_body(const char *answer);
struct http_server_stats testing_stats(const struct testing_app *app);
#define TESTING_CLOSE "Host: x\r\nConnection: close\r\n"
/** testing_until() - run the loop until @condition holds; fails the test after ten seconds. */
#define testing_until(loop, condition)                                                                                             \
        do {                                                                                                                       \
                gint64 testing_deadline = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;                                            \
                while (!(condition)) {                                                                                             \
                        g_assert_cmpint(loop_run_once((loop), 1000000), >=, 0);                                                    \
                        g_assert_cmpint(g_get_monotonic_time(), <, testing_deadline);                                              \
                }                                                                                                                  \
        } while (0)
