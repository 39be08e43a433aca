/* SPDX-License-Identifier: Apache-2.0 */
#include "http/testing.h"

#include "base/error.h"
#include "base/limits.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static char *ask(struct testing_app *app, struct http_tls *tls, const char *request, size_t len)
{
        struct testing_client *client = testing_client_new(app, tls);

        testing_send(client, request, len);
        testing_await_end(client);
        char *answer = g_strdup(client->in->str);
        testing_client_free(client);
        return answer;
}

static const char *body_of(const char *answer)
{
        const char *body = strstr(answer, "\r\n\r\n");

        return body ? body + 4 : "";
}

#define CLOSE "Host: x\r\nConnection: close\r\n"

static const struct {
        const char *request;
        int status;
        const char *body; /* NULL: whatever */
} exchanges[] = {
        {"GET /hello HTTP/1.1\r\n" CLOSE "\r\n", 200, "hello"},
        {"HEAD /hello HTTP/1.1\r\n" CLOSE "\r\n", 200, ""},
        {"GET /hello HTTP/1.0\r\n\r\n", 200, "hello"},
        {"GET http://elsewhere/hello HTTP/1.1\r\n" CLOSE "\r\n", 200, "hello"},
        {"\r\n\r\nGET /hello HTTP/1.1\r\n" CLOSE "\r\n", 200, "hello"},
        {"GET /absent HTTP/1.1\r\n" CLOSE "\r\n", 404, "no"},
        {"GET /nothing HTTP/1.1\r\n" CLOSE "\r\n", 204, ""},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 4\r\n\r\nabcd", 200, "abcd"},
        {"POST /echo HTTP/1.1\r\n" CLOSE "\r\n", 200, ""},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200, "abcde"},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", 200, ""},
        {"POST /upload HTTP/1.1\r\n" CLOSE "Content-Length: 3\r\n\r\nabc", 201, "3 bytes"},
        {"POST /upload HTTP/1.1\r\n" CLOSE "\r\n", 201, "0 bytes"},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 100001\r\n\r\n", 413, NULL},
        /* queries and headers */
        {"GET /show/a%20b?a=1&b=x%2By+z HTTP/1.1\r\n" CLOSE "\r\n", 200, "GET /show/a b a=1 b=x+y z x=-"},
        {"GET /show?a&&=q&b= HTTP/1.1\r\n" CLOSE "\r\n", 200, "GET /show a= b= x=-"},
        {"GET /show?a=1&a=2 HTTP/1.1\r\n" CLOSE "X-Test: one \r\nx-tEST:two\r\n\r\n", 200, "GET /show a=1 b=- x=one, two"},
        {"DELETE /show/ HTTP/1.1\r\n" CLOSE "\r\n", 200, "DELETE /show/ a=- b=- x=-"},
        /* targets */
        {"GET /../hello HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        {"GET /a/./hello HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        {"GET /a/%2e%2E/hello HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        {"GET //hello HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        {"GET /a%2fhello HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        {"GET /a%00b HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        {"GET /a%0Ab HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        {"GET /a%zz HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        {"GET /a%2 HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        {"GET /a%ff HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        {"GET /show?a=%1 HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        {"GET /show?a=%00 HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        {"GET /show#x HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        {"GET hello HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        {"OPTIONS * HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        /* versions, methods, hosts */
        {"GET /hello HTTP/2.0\r\n" CLOSE "\r\n", 505, NULL},
        {"GET /hello HTTP/0.9\r\n" CLOSE "\r\n", 505, NULL},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, NULL},
        {"BREW /hello HTTP/1.1\r\n" CLOSE "\r\n", 501, NULL},
        {"TRACE /hello HTTP/1.1\r\n" CLOSE "\r\n", 501, NULL},
        {"CONNECT a:1 HTTP/1.1\r\n" CLOSE "\r\n", 501, NULL},
        {"GET /hello HTTP/1.1\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" CLOSE "Authorization: a\r\nAuthorization: b\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" CLOSE "Expect: wonders\r\n\r\n", 417, NULL},
        /* framing that two parties could read in two ways */
        {"POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 4, 4\r\n\r\nabcd", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: +4\r\n\r\nabcd", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: -4\r\n\r\nabcd", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 0x4\r\n\r\nabcd", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 99999999999999999999\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 9999999999999999999\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" CLOSE "X-Test: a\r\n b\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" CLOSE " X-Test: a\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" CLOSE "X-Test : a\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" CLOSE ": a\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" CLOSE "X-Test\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\n" CLOSE "\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" CLOSE "X-Test: a\rb\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" CLOSE "X-Test: a\x01"
         "b\r\n\r\n",
         400, NULL},
        {"GET /hello\x01 HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        {"GET /hel lo HTTP/1.1\r\n" CLOSE "\r\n", 400, NULL},
        {"\x16\x03\x01\x02", 501, NULL},
};

static void check_answer(const char *request, const char *answer, int status, const char *body)
{
        g_autofree char *start = g_strdup_printf("HTTP/1.1 %d ", status);

        if (!g_str_has_prefix(answer, start) || (body && !g_str_equal(body_of(answer), body)))
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
                g_autofree char *answer = ask(app, NULL, exchanges[i].request, strlen(exchanges[i].request));
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

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/http/server/requests_are_answered_or_refused_as_the_table_says",
                        requests_are_answered_or_refused_as_the_table_says);
        g_test_add_func("/http/server/a_request_reads_the_same_byte_by_byte", a_request_reads_the_same_byte_by_byte);
        return g_test_run();
}
