/* SPDX-License-Identifier: Apache-2.0 */
#include "http/testing.h"

#include "base/error.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a call ended with. */
struct outcome {
        struct http_client *client; /* freed by the end of the call, when set */
        struct http_call *cancel;   /* cancelled by the end of the call, when set */
        bool over, cancel_in_piece;
        int status, refuse_after;
        GString *body, *pieces;
        char *error, *location;
        uint64_t sent;
};

static void outcome_clear(struct outcome *outcome)
{
        if (outcome->body)
                g_string_free(outcome->body, TRUE);
        if (outcome->pieces)
                g_string_free(outcome->pieces, TRUE);
        g_free(outcome->error);
        g_free(outcome->location);
        *outcome = (struct outcome){0};
}

static void on_done(struct http_call *call, int status, const char *body, size_t len, const char *error, void *userdata)
{
        struct outcome *outcome = userdata;

        g_assert_false(outcome->over);
        outcome->over = true;
        outcome->status = status;
        outcome->body = g_string_new_len(body, len);
        outcome->error = g_strdup(error);
        outcome->location = g_strdup(http_call_header(call, "location"));
        http_call_cancel(outcome->cancel);
        http_client_free(outcome->client);
}

static bool on_piece(struct http_call *call, const char *piece, size_t len, void *userdata)
{
        struct outcome *outcome = userdata;

        g_assert_nonnull(call);
        g_assert_cmpint(http_call_status(call), ==, 200);
        if (!outcome->pieces)
                outcome->pieces = g_string_new(NULL);
        g_string_append_len(outcome->pieces, piece, len);
        if (outcome->cancel_in_piece)
                http_call_cancel(call);
        return !outcome->refuse_after || outcome->pieces->len < outcome->refuse_after;
}

static void on_sent(struct http_call *call, uint64_t sent, void *userdata)
{
        struct outcome *outcome = userdata;

        g_assert_cmpuint(sent, >=, outcome->sent);
        outcome->sent = sent;
}

static struct http_client *client_new(struct testing_app *app)
{
        struct http_client *client;
        const struct http_client_options options = {.loop = app->loop, .ca_pem = app->ca.certificate_pem};

        g_assert_cmpint(http_client_new(&options, &client), ==, 0);
        return client;
}

static void call(struct testing_app *app, struct http_client *client, const struct http_call_options *options,
                 struct outcome *outcome)
{
        g_assert_cmpint(http_call(client, options, on_done, outcome, NULL), ==, 0);
        testing_until(app->loop, outcome->over);
}

static const struct {
        const char *method, *path, *body;
        int status;
        const char *answer;
} calls[] = {
        {NULL, "/hello", NULL, 200, "hello"},
        {"GET", "/hello", NULL, 200, "hello"},
        {"HEAD", "/hello", NULL, 200, ""},
        {"POST", "/echo", "abc", 200, "abc"},
        {"POST", "/echo", "", 200, ""},
        {"POST", "/echo", NULL, 200, ""},
        {"PUT", "/show", "x", 200, "PUT /show a=- b=- x=yes"},
        {"PATCH", "/show", "x", 200, "PATCH /show a=- b=- x=yes"},
        {"PATCH", "/show", NULL, 200, "PATCH /show a=- b=- x=yes"},
        {"DELETE", "/show", NULL, 200, "DELETE /show a=- b=- x=yes"},
        {"DELETE", "/show", "{}", 200, "DELETE /show a=- b=- x=yes"},
        {"GET", "/show", "{}", 200, "GET /show a=- b=- x=yes"},
        {"GET", "/absent", NULL, 404, "no"},
        {"GET", "/nothing", NULL, 204, ""},
};

static void methods_bodies_and_headers_arrive(void)
{
        static const char *const headers[] = {"X-Test: yes", NULL};

        for (int with_tls = 0; with_tls < 2; with_tls++) {
                struct testing_app *app = testing_app_new(with_tls, NULL);
                struct http_client *client = client_new(app);
                for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
                        struct outcome outcome = {0};
                        g_autofree char *url = testing_url(app, calls[i].path);
                        const struct http_call_options options = {.method = calls[i].method,
                                                                  .url = url,
                                                                  .headers = headers,
                                                                  .body = calls[i].body,
                                                                  .body_len = calls[i].body ? strlen(calls[i].body) : 0};
                        call(app, client, &options, &outcome);
                        g_assert_cmpstr(outcome.error, ==, NULL);
                        g_assert_cmpint(outcome.status, ==, calls[i].status);
                        g_assert_cmpstr(outcome.body->str, ==, calls[i].answer);
                        outcome_clear(&outcome);
                }
                struct http_server_stats stats;
                http_server_stats(app->server, &stats);
                g_assert_cmpuint(stats.connections_total, ==, 1);
                http_client_free(client);
                testing_app_free(app);
        }
}

static void many_calls_run_at_once(void)
{
        struct testing_app *app = testing_app_new(true, NULL);
        struct http_client *client = client_new(app);
        struct outcome outcomes[20] = {0};
        g_autofree char *url = testing_url(app, "/hello");
        const struct http_call_options options = {.url = url};

        for (size_t i = 0; i < G_N_ELEMENTS(outcomes); i++)
                g_assert_cmpint(http_call(client, &options, on_done, &outcomes[i], NULL), ==, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(outcomes); i++) {
                testing_until(app->loop, outcomes[i].over);
                g_assert_cmpint(outcomes[i].status, ==, 200);
                outcome_clear(&outcomes[i]);
        }
        http_client_free(client);
        testing_app_free(app);
}

static void a_file_is_uploaded_from_its_offset_and_progress_told(void)
{
        enum { TOTAL = 3 << 20 };
        struct testing_app *app = testing_app_new(true, NULL);
        struct http_client *client = client_new(app);
        struct outcome outcome = {0};
        g_autofree char *data = g_malloc(TOTAL), *url = testing_url(app, "/upload");
        int fd = memfd_create("upload", MFD_CLOEXEC);

        for (int i = 0; i < TOTAL; i++)
                data[i] = i * 11 + (i >> 10);
        g_assert_cmpint(write(fd, data, TOTAL), ==, TOTAL);
        g_assert_cmpint(lseek(fd, 1000, SEEK_SET), ==, 1000);
        const struct http_call_options options = {
                .method = "PUT", .url = url, .body_fd = fd, .body_fd_set = true, .body_len = TOTAL - 2000, .on_sent = on_sent};
        call(app, client, &options, &outcome);
        g_assert_cmpint(outcome.status, ==, 201);
        g_assert_cmpuint(outcome.sent, ==, TOTAL - 2000);
        g_assert_cmpmem(app->upload->str, app->upload->len, data + 1000, TOTAL - 2000);
        outcome_clear(&outcome);
        close(fd);
        http_client_free(client);
        testing_app_free(app);
}

static void a_stream_comes_in_pieces_as_it_is_written(void)
{
        struct testing_app *app = testing_app_new(true, NULL);
        struct http_client *client = client_new(app);
        struct outcome outcome = {0};
        g_autofree char *url = testing_url(app, "/stream");
        const struct http_call_options options = {.url = url, .on_piece = on_piece};
        g_autoptr(GBytes) line = g_bytes_new_static("line\n", 5);

        g_assert_cmpint(http_call(client, &options, on_done, &outcome, NULL), ==, 0);
        for (int i = 1; i <= 3; i++) {
                testing_until(app->loop, app->last);
                g_assert_cmpint(http_stream_write(app->last, line), ==, 0);
                testing_until(app->loop, outcome.pieces && outcome.pieces->len == i * 5);
        }
        http_stream_end(app->last);
        testing_until(app->loop, outcome.over);
        g_assert_cmpint(outcome.status, ==, 200);
        g_assert_cmpstr(outcome.error, ==, NULL);
        outcome_clear(&outcome);
        http_client_free(client);
        testing_app_free(app);
}

static void a_cancelled_call_is_never_heard_of_again(void)
{
        struct testing_app *app = testing_app_new(true, NULL);
        struct http_client *client = client_new(app);
        struct outcome cancelled = {0}, other = {0}, within = {.cancel_in_piece = true};
        g_autofree char *held = testing_url(app, "/held"), *hello = testing_url(app, "/hello"),
                        *stream = testing_url(app, "/stream");
        const struct http_call_options held_options = {.url = held}, hello_options = {.url = hello},
                                       stream_options = {.url = stream, .on_piece = on_piece};
        struct http_call *pending;

        g_assert_cmpint(http_call(client, &held_options, on_done, &cancelled, &pending), ==, 0);
        http_call_cancel(pending); /* before it began */
        g_assert_cmpint(http_call(client, &held_options, on_done, &cancelled, &pending), ==, 0);
        testing_until(app->loop, app->last);
        http_call_cancel(pending); /* while it waits */
        testing_until(app->loop, !app->last);
        g_assert_cmpint(http_call(client, &held_options, on_done, &cancelled, &pending), ==, 0);
        testing_until(app->loop, app->last);
        other.cancel = pending; /* by the end of another */
        g_assert_cmpint(http_call(client, &hello_options, on_done, &other, NULL), ==, 0);
        testing_until(app->loop, other.over && !app->last);
        g_assert_cmpint(http_call(client, &stream_options, on_done, &within, NULL), ==, 0);
        testing_until(app->loop, app->last);
        g_autoptr(GBytes) line = g_bytes_new_static("line\n", 5);
        http_stream_write(app->last, line);
        testing_until(app->loop, !app->last); /* by its own piece */
        g_assert_cmpuint(within.pieces->len, ==, 5);
        g_assert_false(cancelled.over);
        g_assert_false(within.over);
        http_call_cancel(NULL);
        outcome_clear(&other);
        outcome_clear(&within);
        http_client_free(client);
        testing_app_free(app);
}

static void a_client_may_be_freed_by_the_end_of_a_call(void)
{
        struct testing_app *app = testing_app_new(true, NULL);
        struct outcome outcome = {.client = client_new(app)}, never = {0};
        g_autofree char *held = testing_url(app, "/held"), *hello = testing_url(app, "/hello");
        const struct http_call_options held_options = {.url = held}, hello_options = {.url = hello};

        g_assert_cmpint(http_call(outcome.client, &held_options, on_done, &never, NULL), ==, 0);
        testing_until(app->loop, app->last);
        g_assert_cmpint(http_call(outcome.client, &hello_options, on_done, &outcome, NULL), ==, 0);
        testing_until(app->loop, outcome.over && !app->last);
        g_assert_false(never.over);
        outcome_clear(&outcome);
        testing_app_free(app);
}

static void answers_and_patience_have_bounds(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct http_client *client = client_new(app);
        g_autofree char *echo = testing_url(app, "/echo"), *held = testing_url(app, "/held"), *hello = testing_url(app, "/hello");
        const struct {
                struct http_call_options options;
                const char *words;
        } cases[] = {
                {{.url = echo, .method = "POST", .body = "12345", .body_len = 5, .max_body_bytes = 4}, "larger than 4 bytes"},
                {{.url = held, .timeout_us = 30000}, "timed out"},
                {{.url = "ftp://127.0.0.1/"}, "Protocol"},
                {{.url = "file:///etc/passwd"}, "Protocol"},
                {{.url = "http://127.0.0.1:1/"}, "connect"},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct outcome outcome = {0};
                call(app, client, &cases[i].options, &outcome);
                g_assert_nonnull(outcome.error);
                if (!strstr(outcome.error, cases[i].words))
                        g_error("%s: %s", cases[i].options.url, outcome.error);
                outcome_clear(&outcome);
        }
        struct outcome outcome = {.refuse_after = 1};
        const struct http_call_options piecewise = {.url = hello, .on_piece = on_piece};
        call(app, client, &piecewise, &outcome);
        g_assert_cmpstr(outcome.error, ==, "given up by the receiver");
        outcome_clear(&outcome);
        static const char *const bad[] = {"A: b\r\nC: d", NULL};
        const struct http_call_options injected = {.url = hello, .headers = bad};
        g_assert_cmpint(http_call(client, &injected, on_done, &outcome, NULL), ==, -EINVAL);
        http_client_free(client);
        testing_app_free(app);
}

/* A server that sends @head and then @again for ever. */
struct endless {
        const char *head, *again;
        int listener;
        uint16_t port;
};

static void *endless_serve(void *userdata)
{
        const struct endless *endless = userdata;
        char request[1000];

        int fd = accept(endless->listener, NULL, NULL);
        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(recv(fd, request, sizeof(request), 0), >, 0);
        const char *text = endless->head;
        while (send(fd, text, strlen(text), MSG_NOSIGNAL) > 0)
                text = endless->again;
        close(fd);
        return NULL;
}

static void endless_listen(struct endless *endless)
{
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(address);

        endless->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_cmpint(bind(endless->listener, (struct sockaddr *)&address, len), ==, 0);
        g_assert_cmpint(listen(endless->listener, 1), ==, 0);
        g_assert_cmpint(getsockname(endless->listener, (struct sockaddr *)&address, &len), ==, 0);
        endless->port = ntohs(address.sin_port);
}

/* Without a deadline of its own, too: every call ends, and what it keeps is bounded. */
static void an_answer_without_end_ends(void)
{
        g_autofree char *kilobyte = g_strnfill(1000, 'x');
        g_autofree char *header = g_strconcat("X-A: ", kilobyte, "\r\n", NULL);
        g_autofree char *hint = g_strconcat("HTTP/1.1 103 Early Hints\r\nLink: ", kilobyte, "\r\n\r\n", NULL);
        const struct {
                const char *head, *again, *words;
        } cases[] = {
                {"HTTP/1.1 200 OK\r\n", header, "headers of the answer"},
                {"HTTP/1.1 200 OK\r\nX-A: ", kilobyte, ""},
                {hint, hint, "headers of the answer"},
                {kilobyte, kilobyte, ""},
                {"HTTP/1.1 200 OK\r\n\r\n", kilobyte, "larger than 20000 bytes"},
                {"HTTP/1.1 200 OK\r\nContent-Length: 4000000000\r\n\r\n", kilobyte, "larger than 20000 bytes"},
                {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nabcde\r\n", "larger than 20000 bytes"},
                {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0000000000", ""},
        };

        struct testing_app *app = testing_app_new(false, NULL);
        struct http_client *client = client_new(app);
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct endless endless = {.head = cases[i].head, .again = cases[i].again};
                struct outcome outcome = {0};
                endless_listen(&endless);
                g_autofree char *url = g_strdup_printf("http://127.0.0.1:%u/", endless.port);
                GThread *thread = g_thread_new("endless", endless_serve, &endless);
                call(app, client, &(struct http_call_options){.url = url, .max_body_bytes = 20000}, &outcome);
                g_thread_join(thread);
                g_test_message("%zu: %s", i, outcome.error);
                g_assert_nonnull(outcome.error);
                g_assert_nonnull(strstr(outcome.error, cases[i].words));
                outcome_clear(&outcome);
                close(endless.listener);
        }
        http_client_free(client);
        testing_app_free(app);
}

static void redirects_are_followed_within_bounds_and_never_down_from_https(void)
{
        struct testing_app *plain = testing_app_new(false, NULL), *app = testing_app_new(true, NULL);
        struct http_client *client = client_new(app);
        g_autofree char *target = testing_url(plain, "/hello");
        g_autofree char *down = g_strdup_printf("/redirect?to=%s", target);
        const struct {
                const char *path;
                unsigned max;
                int status;
                const char *error;
        } cases[] = {
                {"/redirect?to=/hello", 0, 302, NULL},
                {"/redirect?to=/hello", 1, 200, NULL},
                {"/redirect?to=/redirect?to=/hello", 1, 302, "redirects"},
                {"/redirect?to=/redirect?to=/hello", 2, 200, NULL},
                {down, 5, 302, "Protocol"},
                {"/redirect?to=file:///etc/passwd", 5, 302, "Protocol"},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct outcome outcome = {0};
                g_autofree char *url = testing_url(app, cases[i].path);
                const struct http_call_options options = {.url = url, .max_redirects = cases[i].max};
                call(app, client, &options, &outcome);
                g_assert_cmpint(outcome.status, ==, cases[i].status);
                g_assert_true(cases[i].error ? outcome.error && strstr(outcome.error, cases[i].error) : !outcome.error);
                if (i == 0)
                        g_assert_cmpstr(outcome.location, ==, "/hello");
                outcome_clear(&outcome);
        }
        g_assert_cmpint(plain->requests, ==, 0);
        http_client_free(client);
        testing_app_free(app);
        testing_app_free(plain);
}

static bool allow_all_but_the_second_loopback(const char *ip, void *userdata)
{
        (*(int *)userdata)++;
        return !g_str_equal(ip, "127.0.0.2");
}

static void addresses_are_refused_also_behind_redirects(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct http_client *client;
        int asked = 0;
        const struct http_client_options options = {
                .loop = app->loop, .allow_address = allow_all_but_the_second_loopback, .userdata = &asked};
        g_autofree char *to = g_strdup_printf("/redirect?to=http://127.0.0.2:%u/hello", app->port);
        g_autofree char *redirect = testing_url(app, to);
        g_autofree char *direct = g_strdup_printf("http://127.0.0.2:%u/hello", app->port);
        const char *const urls[] = {direct, redirect};

        g_assert_cmpint(http_client_new(&options, &client), ==, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(urls); i++) {
                struct outcome outcome = {0};
                const struct http_call_options call_options = {.url = urls[i], .max_redirects = 3};
                call(app, client, &call_options, &outcome);
                g_assert_cmpstr(outcome.error, ==, "connections to 127.0.0.2 are not allowed");
                outcome_clear(&outcome);
        }
        g_assert_cmpint(asked, ==, 4); /* before each connection, and before each request */
        http_client_free(client);
        testing_app_free(app);
}

static void peers_are_named_by_address_and_port(void)
{
        static const struct {
                const char *listen, *host, *peer;
        } cases[] = {
                {"127.0.0.1:0", "127.0.0.1", "127.0.0.1:"}, {"[::1]:0", "[::1]", "[::1]:"}, {"[::]:0", "127.0.0.1", "127.0.0.1:"}};

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct testing_app *app = testing_app_new(false, NULL);
                struct http_client *client = client_new(app);
                struct outcome outcome = {0};
                uint16_t port;
                int r = http_server_listen(app->server, cases[i].listen, &port);
                g_autofree char *url = g_strdup_printf("http://%s:%u/peer", cases[i].host, port);
                const struct http_call_options options = {.url = url};
                if (r == 0) {
                        call(app, client, &options, &outcome);
                        g_assert_cmpint(outcome.status, ==, 200);
                        g_assert_true(g_str_has_prefix(outcome.body->str, cases[i].peer));
                } else { /* a machine without IPv6 */
                        g_assert_true(i > 0 && (r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT));
                }
                outcome_clear(&outcome);
                http_client_free(client);
                testing_app_free(app);
        }
}

static void proxies_of_the_environment_are_ignored(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct outcome outcome = {0};
        g_autofree char *url = testing_url(app, "/hello");
        const struct http_call_options options = {.url = url};

        g_setenv("http_proxy", "http://127.0.0.1:1/", TRUE);
        struct http_client *client = client_new(app);
        call(app, client, &options, &outcome);
        g_unsetenv("http_proxy");
        g_assert_cmpint(outcome.status, ==, 200);
        outcome_clear(&outcome);
        http_client_free(client);
        testing_app_free(app);
}

/* http_fetch() on a thread, the server on this one. */
struct fetch {
        struct testing_app *app;
        struct http_client_options client;
        struct http_call_options options;
        struct outcome outcome;
        int result, status;
        GString *body;
        char *words;
        bool over;
};

static void fetch_over(void *userdata)
{
        ((struct fetch *)userdata)->over = true;
}

static void *fetch_thread(void *userdata)
{
        struct fetch *fetch = userdata;

        fetch->result = http_fetch(&fetch->client, &fetch->options, &fetch->outcome, &fetch->status, &fetch->body, &fetch->words);
        loop_post(fetch->app->loop, fetch_over, fetch);
        return NULL;
}

static void fetch_run(struct testing_app *app, struct fetch *fetch)
{
        fetch->app = app;
        GThread *thread = g_thread_new("fetch", fetch_thread, fetch);
        testing_until(app->loop, fetch->over);
        g_thread_join(thread);
}

static void fetch_clear(struct fetch *fetch)
{
        if (fetch->body)
                g_string_free(fetch->body, TRUE);
        g_free(fetch->words);
        outcome_clear(&fetch->outcome);
}

static void a_fetch_blocks_its_thread_and_gives_the_answer(void)
{
        struct testing_app *app = testing_app_new(true, NULL);
        g_autofree char *url = testing_url(app, "/hello"), *held = testing_url(app, "/held");

        struct fetch fetch = {.client.ca_pem = app->ca.certificate_pem, .options = {.url = url}};
        fetch_run(app, &fetch);
        g_assert_cmpint(fetch.result, ==, 0);
        g_assert_cmpint(fetch.status, ==, 200);
        g_assert_cmpstr(fetch.body->str, ==, "hello");
        fetch_clear(&fetch);
        struct fetch piecewise = {.client.ca_pem = app->ca.certificate_pem, .options = {.url = url, .on_piece = on_piece}};
        fetch_run(app, &piecewise);
        g_assert_cmpint(piecewise.result, ==, 0);
        g_assert_cmpstr(piecewise.outcome.pieces->str, ==, "hello");
        fetch_clear(&piecewise);
        struct fetch late = {.client.ca_pem = app->ca.certificate_pem, .options = {.url = held, .timeout_us = 20000}};
        fetch_run(app, &late);
        g_assert_cmpint(late.result, ==, -ETIMEDOUT);
        g_assert_nonnull(late.words);
        fetch_clear(&late);
        testing_app_free(app);
}

static void fetch_kept(struct testing_app *app, struct http_kept *kept)
{
        g_autofree char *url = testing_url(app, "/known");
        struct fetch fetch = {.client = {.ca_pem = app->ca.certificate_pem, .kept = kept}, .options = {.url = url}};

        fetch_run(app, &fetch);
        g_assert_cmpint(fetch.result, ==, 0);
        g_assert_cmpstr(fetch.body->str, ==, "known");
        fetch_clear(&fetch);
}

static void kept_connections_serve_the_calls_that_follow(void)
{
        struct testing_app *app = testing_app_new(true, NULL);
        struct http_kept *kept = http_kept_new();

        for (unsigned i = 0; i < 3; i++)
                fetch_kept(app, kept);
        g_assert_cmpuint(testing_stats(app).connections_total, ==, 1);
        http_kept_free(kept);
        testing_app_free(app);
}

static void a_kept_connection_that_was_closed_is_replaced(void)
{
        struct http_limits limits = *http_limits_default();
        limits.idle_time_us = 50000;
        struct testing_app *app = testing_app_new(true, &limits);
        struct http_kept *kept = http_kept_new();

        fetch_kept(app, kept);
        testing_until(app->loop, testing_stats(app).connections == 0);
        fetch_kept(app, kept);
        g_assert_cmpuint(testing_stats(app).connections_total, ==, 2);
        http_kept_free(kept);
        testing_app_free(app);
}

static void a_kept_connection_is_trusted_by_those_who_trust_its_server(void)
{
        struct testing_app *app = testing_app_new(true, NULL);
        struct testing_certificate other = testing_certificate(NULL, "test CA", NULL);
        g_autofree char *url = testing_url(app, "/hello");
        struct http_kept *kept = http_kept_new();
        const struct {
                struct http_client_options client;
                int result;
        } cases[] = {
                {{.insecure = true, .kept = kept}, 0},
                {{.ca_pem = app->ca.certificate_pem, .kept = kept}, 0},
                {{.ca_pem = other.certificate_pem, .kept = kept}, -EKEYREJECTED},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct fetch fetch = {.client = cases[i].client, .options = {.url = url}};
                fetch_run(app, &fetch);
                g_assert_cmpint(fetch.result, ==, cases[i].result);
                fetch_clear(&fetch);
        }
        http_kept_free(kept);
        testing_certificate_clear(&other);
        testing_app_free(app);
}

static void servers_are_trusted_by_ca_or_by_the_hash_of_the_ca_only(void)
{
        struct testing_app *app = testing_app_new(true, NULL);
        struct testing_certificate other = testing_certificate(NULL, "test CA", NULL);
        uint16_t port;
        g_assert_cmpint(http_server_listen(app->server, "127.0.0.2:0", &port), ==, 0);
        g_autofree char *url = testing_url(app, "/hello"), *name = g_strdup_printf("https://127.0.0.2:%u/hello", port);
        g_autofree char *pin = testing_sha256(&app->ca), *other_pin = testing_sha256(&other);
        g_autofree char *leaf_pin = testing_sha256(&app->server_certificate), *upper_pin = g_ascii_strup(pin, -1);
        const struct {
                const char *what;
                struct http_client_options client;
                const char *url;
                int result;
        } cases[] = {
                {"its CA", {.ca_pem = app->ca.certificate_pem}, url, 0},
                {"another CA of that name", {.ca_pem = other.certificate_pem}, url, -EKEYREJECTED},
                {"the system's authorities", {0}, url, -EKEYREJECTED},
                {"nothing, on request", {.insecure = true}, url, 0},
                {"its CA under another address", {.ca_pem = app->ca.certificate_pem}, name, -EKEYREJECTED},
                {"the hash of its CA", {.ca_sha256 = pin}, url, 0},
                {"the hash of its CA in capitals", {.ca_sha256 = upper_pin}, url, 0},
                {"the hash of its CA under another address", {.ca_sha256 = pin}, name, -EKEYREJECTED},
                {"the hash of another CA", {.ca_sha256 = other_pin}, url, -EKEYREJECTED},
                {"the hash of the server's certificate", {.ca_sha256 = leaf_pin}, url, -EKEYREJECTED},
                {"no hash", {.ca_sha256 = "12"}, url, -EINVAL},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct fetch fetch = {.client = cases[i].client, .options = {.url = cases[i].url}};
                fetch_run(app, &fetch);
                if (fetch.result != cases[i].result)
                        g_error("%s: %d %s", cases[i].what, fetch.result, fetch.words);
                fetch_clear(&fetch);
        }
        testing_certificate_clear(&other);
        testing_app_free(app);
}

static void the_client_shows_its_certificate(void)
{
        struct testing_app *app = testing_app_new(true, NULL);
        struct testing_certificate node = testing_certificate(&app->ca, "gabbro:node:n1", "gabbro:nodes");
        g_autofree char *url = testing_url(app, "/identity");
        struct fetch fetch = {
                .client = {.ca_pem = app->ca.certificate_pem, .certificate_pem = node.certificate_pem, .key_pem = node.key_pem},
                .options = {.url = url}};

        fetch_run(app, &fetch);
        g_assert_cmpint(fetch.result, ==, 0);
        g_assert_true(g_str_has_prefix(fetch.body->str, "cn=gabbro:node:n1 o=gabbro:nodes "));
        fetch_clear(&fetch);
        testing_certificate_clear(&node);
        testing_app_free(app);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/http/client/" #name, name)
        ADD(methods_bodies_and_headers_arrive);
        ADD(many_calls_run_at_once);
        ADD(a_file_is_uploaded_from_its_offset_and_progress_told);
        ADD(a_stream_comes_in_pieces_as_it_is_written);
        ADD(a_cancelled_call_is_never_heard_of_again);
        ADD(a_client_may_be_freed_by_the_end_of_a_call);
        ADD(answers_and_patience_have_bounds);
        ADD(an_answer_without_end_ends);
        ADD(redirects_are_followed_within_bounds_and_never_down_from_https);
        ADD(addresses_are_refused_also_behind_redirects);
        ADD(peers_are_named_by_address_and_port);
        ADD(proxies_of_the_environment_are_ignored);
        ADD(a_fetch_blocks_its_thread_and_gives_the_answer);
        ADD(kept_connections_serve_the_calls_that_follow);
        ADD(a_kept_connection_that_was_closed_is_replaced);
        ADD(a_kept_connection_is_trusted_by_those_who_trust_its_server);
        ADD(servers_are_trusted_by_ca_or_by_the_hash_of_the_ca_only);
        ADD(the_client_shows_its_certificate);
        return g_test_run();
}
