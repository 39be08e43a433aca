/* SPDX-License-Identifier: Apache-2.0 */
#include "http/testing.h"

#include "base/error.h"
#include "base/limits.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct {
        const char *request;
        int status;
        const char *body; /* NULL: whatever */
} exchanges[] = {
        {"GET /hello HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 200, "hello"},
        {"HEAD /hello HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 200, ""},
        {"GET /hello HTTP/1.0\r\n\r\n", 200, "hello"},
        {"GET http://elsewhere/hello HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 200, "hello"},
        {"\r\n\r\nGET /hello HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 200, "hello"},
        {"GET /absent HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 404, "no"},
        {"GET /nothing HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 204, ""},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Content-Length: 4\r\n\r\nabcd", 200, "abcd"},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 200, ""},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200,
         "abcde"},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", 200, ""},
        {"POST /upload HTTP/1.1\r\n" TESTING_CLOSE "Content-Length: 3\r\n\r\nabc", 201, "3 bytes"},
        {"POST /upload HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 201, "0 bytes"},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Content-Length: 100001\r\n\r\n", 413, NULL},
        /* queries and headers */
        {"GET /show/a%20b?a=1&b=x%2By+z HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 200, "GET /show/a b a=1 b=x+y z x=-"},
        {"GET /show?a&&=q&b= HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 200, "GET /show a= b= x=-"},
        {"GET /show?a=1&a=2 HTTP/1.1\r\n" TESTING_CLOSE "X-Test: one \r\nx-tEST:two\r\n\r\n", 200, "GET /show a=1 b=- x=one, two"},
        {"DELETE /show/ HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 200, "DELETE /show/ a=- b=- x=-"},
        /* targets */
        {"GET /../hello HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"GET /a/./hello HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"GET /a/%2e%2E/hello HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"GET //hello HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"GET /a%2fhello HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"GET /a%00b HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"GET /a%0Ab HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"GET /a%zz HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"GET /a%2 HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"GET /a%ff HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"GET /show?a=%1 HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"GET /show?a=%00 HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"GET /show#x HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"GET hello HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"OPTIONS * HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        /* versions, methods, hosts */
        {"GET /hello HTTP/2.0\r\n" TESTING_CLOSE "\r\n", 505, NULL},
        {"GET /hello HTTP/0.9\r\n" TESTING_CLOSE "\r\n", 505, NULL},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, NULL},
        {"BREW /hello HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 501, NULL},
        {"TRACE /hello HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 501, NULL},
        {"CONNECT a:1 HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 501, NULL},
        {"GET /hello HTTP/1.1\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" TESTING_CLOSE "Authorization: a\r\nAuthorization: b\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" TESTING_CLOSE "Expect: wonders\r\n\r\n", 417, NULL},
        /* framing that two parties could read in two ways */
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Content-Length: 4, 4\r\n\r\nabcd", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Content-Length: +4\r\n\r\nabcd", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Content-Length: -4\r\n\r\nabcd", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Content-Length: 0x4\r\n\r\nabcd", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Content-Length: 99999999999999999999\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Content-Length: 9999999999999999999\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
         NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Transfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" TESTING_CLOSE "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n", 400,
         NULL},
        {"GET /hello HTTP/1.1\r\n" TESTING_CLOSE "X-Test: a\r\n b\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" TESTING_CLOSE " X-Test: a\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" TESTING_CLOSE "X-Test : a\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" TESTING_CLOSE ": a\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" TESTING_CLOSE "X-Test\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" TESTING_CLOSE "X-Test: a\rb\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" TESTING_CLOSE "X-Test: a\x01"
         "b\r\n\r\n",
         400, NULL},
        {"GET /hello\x01 HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"GET /hel lo HTTP/1.1\r\n" TESTING_CLOSE "\r\n", 400, NULL},
        {"\x16\x03\x01\x02", 501, NULL},
};

static void check_answer(const char *request, const char *answer, int status, const char *body)
{
        g_autofree char *start = g_strdup_printf("HTTP/1.1 %d ", status);

        if (!g_str_has_prefix(answer, start) || (body && !g_str_equal(testing_body(answer), body)))
                g_error("request:\n%s\nanswer:\n%s\nexpected %d %s", request, answer, status, body ? body : "");
        if (!body) {
                g_assert_nonnull(strstr(answer, "\"kind\":\"Status\""));
                g_assert_nonnull(strstr(answer, "Connection: close\r\n"));
        }
}

static void requests_are_answered_or_refused_as_the_table_says(void)
{
        struct testing_app *app = testing_app_new(false, NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(exchanges); i++) {
                g_string_truncate(app->upload, 0);
                g_autofree char *answer = testing_ask(app, NULL, exchanges[i].request, strlen(exchanges[i].request));
                check_answer(exchanges[i].request, answer, exchanges[i].status, exchanges[i].body);
        }
        testing_app_free(app);
}

static void a_request_reads_the_same_byte_by_byte(void)
{
        struct testing_app *app = testing_app_new(false, NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(exchanges); i += 3) {
                struct testing_client *client = testing_client_new(app, NULL);
                g_string_truncate(app->upload, 0);
                for (const char *c = exchanges[i].request; *c && !client->ended; c++) {
                        testing_send(client, c, 1);
                        loop_run_once(app->loop, 0);
                }
                testing_await_end(client);
                check_answer(exchanges[i].request, client->in->str, exchanges[i].status, exchanges[i].body);
                testing_client_free(client);
        }
        testing_app_free(app);
}

static void connections_are_kept_and_pipelined_requests_answered_in_order(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct testing_client *client = testing_client_new(app, NULL);

        testing_send_text(client,
                          "GET /show?a=1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\ntwo"
                          "GET /held HTTP/1.1\r\nHost: x\r\n\r\nGET /show?a=4 HTTP/1.1\r\nHost: x\r\n\r\n");
        g_assert_true(testing_await(client, "a=1 b=- x=-"));
        g_assert_true(testing_await(client, "\r\n\r\ntwo"));
        testing_until(app->loop, app->last);
        g_assert_cmpint(app->requests, ==, 3);
        http_reply(app->last, 200, "text/plain", "three", 5);
        g_assert_true(testing_await(client, "three"));
        g_assert_true(testing_await(client, "a=4 b=- x=-"));
        g_assert_false(client->ended);
        testing_send_text(client, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        g_assert_true(testing_await(client, "hello"));
        g_assert_cmpstr(app->trace->str, ==, "request gone request gone request gone request gone request gone ");
        struct http_server_stats stats;
        http_server_stats(app->server, &stats);
        g_assert_cmpuint(stats.requests, ==, 5);
        g_assert_cmpuint(stats.connections_total, ==, 1);
        testing_client_free(client);
        testing_app_free(app);
}

static void a_flood_of_headers_is_refused(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        g_autoptr(GString) many = g_string_new("GET /hello HTTP/1.1\r\nHost: x\r\n");
        for (int i = 0; i < LIMIT_HTTP_HEADERS; i++)
                g_string_append_printf(many, "A%d: b\r\n", i);
        g_string_append(many, "\r\n");
        g_autofree char *answer = testing_ask(app, NULL, many->str, many->len);
        check_answer(many->str, answer, 431, NULL);

        g_autoptr(GString) large = g_string_new("GET /hello HTTP/1.1\r\nHost: x\r\nA: ");
        while (large->len < LIMIT_HTTP_HEADER_BYTES)
                g_string_append(large, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        g_free(answer);
        answer = testing_ask(app, NULL, large->str, large->len);
        check_answer(large->str, answer, 431, NULL);
        testing_app_free(app);
}

static void a_paused_upload_holds_the_sender_back(void)
{
        enum { TOTAL = 24 << 20 };
        struct testing_app *app = testing_app_new(true, NULL);
        struct http_tls *tls = testing_client_tls(app, NULL);
        struct testing_client *client = testing_client_new(app, tls);
        g_autofree char *data = g_malloc(TOTAL);
        g_autofree char *head = g_strdup_printf("PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", TOTAL);

        for (int i = 0; i < TOTAL; i++)
                data[i] = i * 7 + (i >> 12);
        app->pause_upload = true;
        testing_send_text(client, head);
        testing_send(client, data, TOTAL);
        testing_until(app->loop, app->upload->len > 0);
        while (loop_run_once(app->loop, 20000) > 0)
                ;
        g_assert_cmpuint(app->upload->len, <=, 64 << 10);
        g_assert_cmpuint(client->output.pending, >, 1 << 20);
        app->pause_upload = false;
        http_request_body_pause(app->last, false);
        g_assert_true(testing_await(client, "25165824 bytes"));
        g_assert_cmpmem(app->upload->str, app->upload->len, data, TOTAL);
        testing_client_free(client);
        http_tls_free(tls);
        testing_app_free(app);
}

static void an_upload_paused_at_its_last_piece_still_ends(void)
{
        static const char *const bodies[] = {"Content-Length: 5\r\n\r\nabcde",
                                             "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"};

        for (size_t i = 0; i < G_N_ELEMENTS(bodies); i++) {
                struct testing_app *app = testing_app_new(false, NULL);
                struct testing_client *client = testing_client_new(app, NULL);
                app->pause_upload = true;
                testing_send_text(client, "PUT /upload HTTP/1.1\r\nHost: x\r\n");
                testing_send_text(client, bodies[i]);
                testing_until(app->loop, app->upload->len == 5);
                while (loop_run_once(app->loop, 1000) > 0)
                        ;
                g_assert_cmpuint(client->in->len, ==, 0);
                http_request_body_pause(app->last, false);
                g_assert_true(testing_await(client, "5 bytes"));
                testing_client_free(client);
                testing_app_free(app);
        }
}

static void addresses_to_listen_on_are_checked(void)
{
        static const char *const bad[] = {"",       "127.0.0.1",      "127.0.0.1:", "127.0.0.1:x",  "127.0.0.1:65536",
                                          "::1:80", "[127.0.0.1]:80", "[::1]80",    "localhost:80", "[::1:80"};
        struct testing_app *app = testing_app_new(false, NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                g_assert_cmpint(http_server_listen(app->server, bad[i], NULL), ==, -EINVAL);
        g_autofree char *taken = g_strdup_printf("127.0.0.1:%u", app->port);
        g_assert_cmpint(http_server_listen(app->server, taken, NULL), ==, -EADDRINUSE);
        testing_app_free(app);
}

static void leave_to_send_a_body_is_given_only_when_it_is_wanted(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct testing_client *client = testing_client_new(app, NULL);

        testing_send_text(client, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
        g_assert_true(testing_await(client, "HTTP/1.1 100 Continue\r\n\r\n"));
        testing_send_text(client, "ok");
        g_assert_true(testing_await(client, "\r\n\r\nok"));
        testing_send_text(client, "POST /absent HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
        g_assert_true(testing_await(client, "HTTP/1.1 404"));
        g_assert_true(testing_await(client, "Connection: close"));
        testing_await_end(client);
        g_assert_null(strstr(client->in->str, "100 Continue"));
        testing_client_free(client);
        testing_app_free(app);
}

static void a_short_body_that_nobody_reads_is_skipped_and_a_long_one_ends_the_connection(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct testing_client *client = testing_client_new(app, NULL);
        g_autofree char *large = g_malloc0(4 << 20);

        testing_send_text(
                client, "POST /absent HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        g_assert_true(testing_await(client, "404 Not Found"));
        g_assert_true(testing_await(client, "hello"));
        testing_send_text(client, "POST /absent HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\n");
        testing_send(client, large, 4 << 20);
        g_assert_true(testing_await(client, "404 Not Found"));
        g_assert_true(testing_await(client, "Connection: close"));
        testing_await_end(client);
        testing_client_free(client);
        testing_app_free(app);
}

static void a_chunked_body_above_the_bound_is_refused(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct testing_client *client = testing_client_new(app, NULL);
        g_autofree char *chunk = g_strnfill(0x8000, 'a');

        testing_send_text(client, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 4; i++) {
                testing_send_text(client, "8000\r\n");
                testing_send_text(client, chunk);
                testing_send_text(client, "\r\n");
        }
        g_assert_true(testing_await(client, "HTTP/1.1 413 "));
        g_assert_true(testing_await(client, "RequestEntityTooLarge"));
        testing_await_end(client);
        testing_client_free(client);
        testing_app_free(app);
}

static void draining_ends_streams_cleanly_and_lets_requests_finish(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct testing_client *idle = testing_client_new(app, NULL), *stream = testing_client_new(app, NULL),
                              *held = testing_client_new(app, NULL);

        testing_send_text(idle, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        g_assert_true(testing_await(idle, "hello"));
        testing_send_text(stream, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
        g_assert_true(testing_await(stream, "\r\n\r\n"));
        testing_send_text(held, "GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
        testing_until(app->loop, app->requests == 3);
        http_server_drain(app->server);
        testing_await_end(idle);
        testing_await_end(stream);
        g_assert_cmpstr(stream->in->str, ==, "0\r\n\r\n");
        http_reply(app->last, 200, "text/plain", "last", 4);
        g_assert_true(testing_await(held, "Connection: close"));
        testing_await_end(held);
        testing_client_free(idle);
        testing_client_free(stream);
        testing_client_free(held);
        testing_app_free(app);
}

static void freeing_the_server_ends_every_request(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct testing_client *client = testing_client_new(app, NULL);

        testing_send_text(client, "GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
        testing_until(app->loop, app->last);
        testing_client_free(client);
        testing_app_free(app); /* checks that every request has gone */
}

static void client_certificates_identify_and_others_are_refused(void)
{
        struct testing_app *app = testing_app_new(true, NULL);
        struct testing_certificate node = testing_certificate(&app->ca, "gabbro:node:n1", "gabbro:nodes");
        struct testing_certificate other_ca = testing_certificate(NULL, "test CA", NULL);
        struct testing_certificate stranger = testing_certificate(&other_ca, "gabbro:node:n1", "gabbro:nodes");
        static const char request[] = "GET /identity HTTP/1.1\r\n" TESTING_CLOSE "\r\n";

        struct http_tls *tls = testing_client_tls(app, &node);
        g_autofree char *answer = testing_ask(app, tls, request, strlen(request));
        g_assert_true(g_str_has_prefix(testing_body(answer), "cn=gabbro:node:n1 o=gabbro:nodes serial="));
        g_assert_true(g_str_has_suffix(answer, "pem=1"));
        http_tls_free(tls);
        tls = testing_client_tls(app, NULL);
        g_free(answer);
        answer = testing_ask(app, tls, request, strlen(request));
        g_assert_cmpstr(testing_body(answer), ==, "cn=- o=- serial=- pem=0");
        http_tls_free(tls);
        tls = testing_client_tls(app, &stranger);
        g_free(answer);
        answer = testing_ask(app, tls, request, strlen(request));
        g_assert_cmpstr(answer, ==, "");
        http_tls_free(tls);
        testing_certificate_clear(&node);
        testing_certificate_clear(&stranger);
        testing_certificate_clear(&other_ca);
        testing_app_free(app);
}

static void a_reloaded_certificate_serves_new_connections(void)
{
        struct testing_app *app = testing_app_new(true, NULL);
        struct testing_certificate next = testing_certificate(&app->ca, "next", NULL);
        struct http_tls *tls = testing_client_tls(app, NULL);
        struct testing_client *before = testing_client_new(app, tls);

        testing_send_text(before, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        g_assert_true(testing_await(before, "hello"));
        g_assert_cmpint(http_tls_reload(app->tls, "no certificate", "no key"), <, 0);
        g_assert_cmpint(http_tls_reload(app->tls, next.certificate_pem, next.key_pem), ==, 0);
        struct testing_client *after = testing_client_new(app, tls);
        testing_send_text(after, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        g_assert_true(testing_await(after, "hello"));
        g_assert_cmpint(X509_cmp(SSL_get0_peer_certificate(after->transport.ssl), next.x509), ==, 0);
        testing_send_text(before, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        g_assert_true(testing_await(before, "hello"));
        testing_client_free(before);
        testing_client_free(after);
        http_tls_free(tls);
        testing_certificate_clear(&next);
        testing_app_free(app);
}

static void plain_http_on_the_tls_port_is_told_so(void)
{
        struct testing_app *app = testing_app_new(true, NULL);
        static const char request[] = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";
        g_autofree char *answer = testing_ask(app, NULL, request, strlen(request));

        g_assert_nonnull(strstr(answer, "HTTP/1.1 400 "));
        g_assert_nonnull(strstr(answer, "speaks HTTPS"));
        testing_app_free(app);
}

/* What the application does of its own accord: answer what is held, write to a stream, end it, drop a WebSocket. */
static void chaos_app_step(struct testing_app *app, const struct random_source *random)
{
        g_autoptr(GBytes) bytes = g_bytes_new_static("0123456789abcdef", 16);

        if (app->ws && random_below(random, 4) == 0)
                http_ws_close(app->ws, 1000, NULL);
        if (!app->last)
                return;
        if (g_str_equal(http_request_path(app->last), "/held"))
                http_reply(g_steal_pointer(&app->last), 200, "text/plain", "held", 4);
        else if (g_str_equal(http_request_path(app->last), "/upload"))
                http_request_body_pause(app->last, random_below(random, 2));
        else if (random_below(random, 3) == 0)
                http_stream_end(g_steal_pointer(&app->last));
        else
                http_stream_write(app->last, bytes);
}

static void chaos_client_step(struct testing_client *client, const struct random_source *random)
{
        static const char *const texts[] = {
                "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET /held HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n",
                "PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nabcdefghij",
                "PUT /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
                "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabcdefghij",
                "POST /absent HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n",
                ("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"),
                "\x81\x84\x11\x22\x33\x44\x70\x40\x50\x20",
                "abcdefghij",
        };
        const char *text = texts[random_below(random, G_N_ELEMENTS(texts))];

        switch (random_below(random, 8)) {
        case 0:
                shutdown(client->transport.fd, SHUT_WR);
                break;
        case 1:
                testing_deafen(client, random_below(random, 2));
                break;
        case 2:
                testing_send(client, text, random_below(random, strlen(text)));
                break;
        default:
                testing_send_text(client, text);
        }
}

static void clients_that_behave_at_random_leave_nothing_behind(void)
{
        struct http_limits limits = *http_limits_default();
        uint64_t state = (uint32_t)g_test_rand_int(); /* told and chosen by --seed */
        const struct random_source random = random_seeded(&state);

        limits.header_time_us = limits.body_time_us = limits.idle_time_us = limits.stall_time_us = 20000;
        for (int with_tls = 0; with_tls < 2; with_tls++) {
                struct testing_app *app = testing_app_new(with_tls, &limits);
                struct http_tls *tls = with_tls ? testing_client_tls(app, NULL) : NULL;
                struct testing_client *clients[8] = {0};
                for (int i = 0; i < 6000; i++) {
                        struct testing_client **client = &clients[random_below(&random, G_N_ELEMENTS(clients))];
                        if (!*client)
                                *client = testing_client_new(app, random_below(&random, 20) ? tls : NULL);
                        else if (random_below(&random, 12) == 0)
                                g_clear_pointer(client, testing_client_free);
                        else
                                chaos_client_step(*client, &random);
                        if (random_below(&random, 3) == 0)
                                chaos_app_step(app, &random);
                        while (loop_run_once(app->loop, 0) > 0 && random_below(&random, 4) > 0)
                                ;
                }
                for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
                        g_clear_pointer(&clients[i], testing_client_free);
                http_tls_free(tls);
                g_assert_cmpint(app->requests, >, 100);
                testing_app_free(app); /* checks that every request has gone */
        }
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/http/server/" #name, name)
        ADD(requests_are_answered_or_refused_as_the_table_says);
        ADD(a_request_reads_the_same_byte_by_byte);
        ADD(connections_are_kept_and_pipelined_requests_answered_in_order);
        ADD(a_flood_of_headers_is_refused);
        ADD(a_paused_upload_holds_the_sender_back);
        ADD(an_upload_paused_at_its_last_piece_still_ends);
        ADD(addresses_to_listen_on_are_checked);
        ADD(leave_to_send_a_body_is_given_only_when_it_is_wanted);
        ADD(a_short_body_that_nobody_reads_is_skipped_and_a_long_one_ends_the_connection);
        ADD(a_chunked_body_above_the_bound_is_refused);
        ADD(draining_ends_streams_cleanly_and_lets_requests_finish);
        ADD(freeing_the_server_ends_every_request);
        ADD(client_certificates_identify_and_others_are_refused);
        ADD(a_reloaded_certificate_serves_new_connections);
        ADD(plain_http_on_the_tls_port_is_told_so);
        ADD(clients_that_behave_at_random_leave_nothing_behind);
        return g_test_run();
}
