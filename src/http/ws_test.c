/* SPDX-License-Identifier: Apache-2.0 */
#include "http/testing.h"

#include "base/error.h"
#include "base/limits.h"
#include "http/ws_frames.h"

#include <string.h>
#include <sys/socket.h>

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define HANDSHAKE                                                                                                                  \
        "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n"

/* A masked frame of a client. @first: FIN, RSV and opcode. */
static GString *frame(unsigned first, const char *data, size_t len)
{
        static const char mask[4] = {0x11, 0x22, 0x33, 0x44};
        GString *out = g_string_new(NULL);

        g_string_append_c(out, first);
        if (len < 126) {
                g_string_append_c(out, (char)(0x80 | len));
        } else if (len < 65536) {
                g_string_append_c(out, (char)(0x80 | 126));
                g_string_append_c(out, len >> 8);
                g_string_append_c(out, len & 0xff);
        } else {
                g_string_append_c(out, (char)(0x80 | 127));
                for (int shift = 56; shift >= 0; shift -= 8)
                        g_string_append_c(out, (uint64_t)len >> shift & 0xff);
        }
        g_string_append_len(out, mask, 4);
        for (size_t i = 0; i < len; i++)
                g_string_append_c(out, data[i] ^ mask[i % 4]);
        return out;
}

static void send_frame(struct testing_client *client, unsigned first, const char *data, size_t len)
{
        g_autoptr(GString) bytes = frame(first, data, len);
        testing_send(client, bytes->str, bytes->len);
}

static struct testing_client *upgraded(struct testing_app *app)
{
        struct testing_client *client = testing_client_new(app, NULL);

        testing_send_text(client, "GET /ws HTTP/1.1\r\n" HANDSHAKE "\r\n");
        g_assert_true(testing_await(client, "HTTP/1.1 101 Switching Protocols\r\n"));
        g_assert_true(testing_await(client, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
        return client;
}

static const struct {
        const char *what, *request;
} handshakes[] = {
        {"no upgrade", "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n"},
        {"another protocol", "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                             "Sec-WebSocket-Key: " KEY "\r\n\r\n"},
        {"no Connection",
         "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n\r\n"},
        {"another version",
         "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n"
         "Sec-WebSocket-Key: " KEY "\r\n\r\n"},
        {"no key", "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n"},
        {"a short key", "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: AAAA\r\n\r\n"},
        {"another method", "POST /ws HTTP/1.1\r\n" HANDSHAKE "\r\n"},
        {"a body", "GET /ws HTTP/1.1\r\n" HANDSHAKE "Content-Length: 2\r\n\r\nab"},
        {"HTTP/1.0", "GET /ws HTTP/1.0\r\n" HANDSHAKE "\r\n"},
};

static void what_is_no_handshake_is_left_to_the_owner(void)
{
        struct testing_app *app = testing_app_new(false, NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(handshakes); i++) {
                struct testing_client *client = testing_client_new(app, NULL);
                testing_send_text(client, handshakes[i].request);
                g_test_message("%s", handshakes[i].what);
                g_assert_true(testing_await(client, "HTTP/1.1 400 "));
                g_assert_true(testing_await(client, "no handshake"));
                testing_client_free(client);
        }
        testing_app_free(app);
}

static void the_chosen_subprotocol_is_told(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct testing_client *client = testing_client_new(app, NULL);

        testing_send_text(client,
                          "GET /ws?protocol=binary HTTP/1.1\r\n" HANDSHAKE "Sec-WebSocket-Protocol: base64, binary\r\n\r\n");
        g_assert_true(testing_await(client, "Sec-WebSocket-Protocol: binary\r\n"));
        testing_client_free(client);
        testing_until(app->loop, app->gones == 1);
        g_assert_cmpstr(app->trace->str, ==, "request close-1006 gone ");
        testing_app_free(app);
}

static void messages_are_echoed_whole_fragmented_or_bytewise(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct testing_client *client = upgraded(app);

        send_frame(client, 0x81, "text", 4);
        g_assert_true(testing_await(client, "\x81\x04text"));
        send_frame(client, 0x82, "\0\1\2", 3);
        testing_until(app->loop, client->in->len == 5);
        g_assert_cmpmem(client->in->str, 5, "\x82\x03\0\1\2", 5);
        g_string_truncate(client->in, 0);
        send_frame(client, 0x01, "fr", 2);
        send_frame(client, 0x89, "p", 1); /* a ping between fragments */
        send_frame(client, 0x00, "ag", 2);
        send_frame(client, 0x80, "ment", 4);
        g_assert_true(testing_await(client, "\x8a\x01p\x81\x08"
                                            "fragment"));
        send_frame(client, 0x81, "", 0);
        testing_until(app->loop, client->in->len == 2);
        g_assert_cmpmem(client->in->str, 2, "\x81\0", 2);
        g_autoptr(GString) slow = frame(0x81, "byte by byte", 12);
        for (size_t i = 0; i < slow->len; i++) {
                testing_send(client, slow->str + i, 1);
                loop_run_once(app->loop, 0);
        }
        g_assert_true(testing_await(client, "byte by byte"));
        send_frame(client, 0x8a, "nobody asked", 12); /* a pong is no error */
        send_frame(client, 0x81, "still here", 10);
        g_assert_true(testing_await(client, "still here"));
        testing_client_free(client);
        testing_app_free(app);
}

static void frames_behind_the_handshake_are_not_lost(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct testing_client *client = testing_client_new(app, NULL);
        g_autoptr(GString) early = frame(0x81, "early", 5);

        g_string_prepend(early, "GET /ws HTTP/1.1\r\n" HANDSHAKE "\r\n");
        testing_send(client, early->str, early->len);
        g_assert_true(testing_await(client, "\x81\x05"
                                            "early"));
        testing_client_free(client);
        testing_app_free(app);
}

static const struct {
        const char *what;
        unsigned first;
        const char *data;
        size_t len;
        unsigned code;
} breaches[] = {
        {"a reserved bit", 0xc1, "a", 1, 1002},
        {"an unknown opcode", 0x83, "a", 1, 1002},
        {"a continuation of nothing", 0x80, "a", 1, 1002},
        {"a fragmented ping", 0x09, "a", 1, 1002},
        {"text that is not UTF-8", 0x81, "\xff\xfe", 2, 1007},
        {"a close of one byte", 0x88, "a", 1, 0}, /* answered by one without a code */
        {"a close with a code that may not be sent", 0x88, "\x03\xed", 2, 1002},
};

static void breaches_of_the_protocol_are_answered_by_their_code(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(breaches); i++) {
                struct testing_app *app = testing_app_new(false, NULL);
                struct testing_client *client = upgraded(app);
                g_test_message("%s", breaches[i].what);
                send_frame(client, breaches[i].first, breaches[i].data, breaches[i].len);
                testing_await_end(client);
                g_assert_cmpuint(client->in->len, >=, breaches[i].code ? 4 : 2);
                g_assert_cmphex((unsigned char)client->in->str[0], ==, 0x88);
                if (breaches[i].code)
                        g_assert_cmpuint((unsigned char)client->in->str[2] << 8 | (unsigned char)client->in->str[3], ==,
                                         breaches[i].code);
                testing_client_free(client);
                testing_until(app->loop, !app->ws);
                testing_app_free(app);
        }
}

static void frames_without_mask_are_refused(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct testing_client *client = upgraded(app);

        testing_send(client,
                     "\x81\x01"
                     "a",
                     3);
        g_assert_true(testing_await(client, "\x88\x02\x03\xea"));
        testing_await_end(client);
        testing_client_free(client);
        testing_app_free(app);
}

static void a_message_above_the_bound_is_refused(void)
{
        struct http_limits limits = *http_limits_default();
        limits.ws_message_bytes = 1000;
        struct testing_app *app = testing_app_new(false, &limits);
        g_autofree char *data = g_strnfill(1001, 'a');

        struct testing_client *client = upgraded(app);
        send_frame(client, 0x81, data, 1000);
        g_assert_true(testing_await(client, "aaaa"));
        send_frame(client, 0x81, data, 1001);
        g_assert_true(testing_await(client, "\x03\xf1")); /* 1009 */
        testing_client_free(client);
        testing_until(app->loop, !app->ws);
        client = upgraded(app);
        send_frame(client, 0x01, data, 600); /* in fragments */
        send_frame(client, 0x80, data, 600);
        g_assert_true(testing_await(client, "\x03\xf1"));
        testing_client_free(client);
        testing_app_free(app);
}

static void the_peer_s_close_is_answered_and_told(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct testing_client *client = upgraded(app);

        send_frame(client, 0x88,
                   "\x03\xe8"
                   "bye",
                   5);
        g_assert_true(testing_await(client, "\x88\x05\x03\xe8"
                                            "bye"));
        testing_await_end(client);
        testing_client_free(client);
        testing_until(app->loop, app->gones == 1);
        g_assert_cmpstr(app->trace->str, ==, "request close-1000 gone ");
        testing_app_free(app);
}

static void a_stream_ends_when_the_server_drains(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct testing_client *client = upgraded(app);

        http_server_drain(app->server);
        g_assert_true(testing_await(client, "\x03\xe9"
                                            "the server is stopping"));
        send_frame(client, 0x88, "\x03\xe9", 2);
        testing_await_end(client);
        testing_client_free(client);
        testing_until(app->loop, app->gones == 1);
        testing_app_free(app);
}

/* A dialling side. */
struct dialler {
        struct http_ws *ws;
        GString *in;
        unsigned code;
        char *reason;
        bool open, closed, drained;
};

static void dialler_on_open(struct http_ws *ws, void *userdata)
{
        ((struct dialler *)userdata)->open = true;
}

static void dialler_on_message(struct http_ws *ws, bool binary, const char *data, size_t len, void *userdata)
{
        struct dialler *dialler = userdata;

        g_assert_true(binary);
        g_string_append_len(dialler->in, data, len);
}

static void dialler_on_drained(struct http_ws *ws, void *userdata)
{
        ((struct dialler *)userdata)->drained = true;
}

static void dialler_on_close(struct http_ws *ws, unsigned code, const char *reason, void *userdata)
{
        struct dialler *dialler = userdata;

        g_assert_false(dialler->closed);
        dialler->closed = true;
        dialler->code = code;
        dialler->reason = g_strdup(reason);
        dialler->ws = NULL;
}

static const struct http_ws_handlers dialler_handlers = {.on_open = dialler_on_open,
                                                         .on_message = dialler_on_message,
                                                         .on_drained = dialler_on_drained,
                                                         .on_close = dialler_on_close};

static void dialler_clear(struct dialler *dialler)
{
        if (dialler->in)
                g_string_free(dialler->in, TRUE);
        g_free(dialler->reason);
        *dialler = (struct dialler){0};
}

static void dial(struct testing_app *app, struct dialler *dialler, struct http_tls *tls, const char *url, uint64_t timeout_us)
{
        static const char *const headers[] = {"X-Test: dialled", NULL};
        const struct http_ws_dial_options options = {
                .loop = app->loop, .tls = tls, .url = url, .headers = headers, .timeout_us = timeout_us};

        dialler->in = g_string_new(NULL);
        g_assert_cmpint(http_ws_dial(&options, &dialler_handlers, dialler, &dialler->ws), ==, 0);
}

static void a_dialled_stream_carries_bytes_both_ways(void)
{
        for (int with_tls = 0; with_tls < 2; with_tls++) {
                struct testing_app *app = testing_app_new(with_tls, NULL);
                struct http_tls *tls = with_tls ? testing_client_tls(app, NULL) : NULL;
                struct dialler dialler = {0};
                g_autofree char *url = g_strdup_printf("%s://localhost:%u/ws", with_tls ? "https" : "http", app->port);
                g_autofree char *data = g_malloc(300000);

                for (int i = 0; i < 300000; i++)
                        data[i] = i * 31 + (i >> 8);
                dial(app, &dialler, tls, url, 0);
                testing_until(app->loop, dialler.open || dialler.closed);
                g_assert_true(dialler.open);
                for (int i = 0; i < 8; i++)
                        g_assert_cmpint(http_ws_send(dialler.ws, true, data, 300000), ==, 0);
                testing_until(app->loop, dialler.in->len == 8 * 300000 && dialler.drained);
                g_assert_cmpmem(dialler.in->str + 7 * 300000, 300000, data, 300000);
                g_assert_cmpuint(http_ws_pending(dialler.ws), ==, 0);
                http_ws_close(dialler.ws, 1000, "done");
                testing_until(app->loop, dialler.closed && app->gones == 1);
                g_assert_cmpuint(dialler.code, ==, 1000);
                g_assert_cmpstr(app->trace->str, ==, "request close-1000 gone ");
                dialler_clear(&dialler);
                http_tls_free(tls);
                testing_app_free(app);
        }
}

static void a_paused_stream_holds_the_sender_back(void)
{
        struct testing_app *app = testing_app_new(true, NULL);
        struct http_tls *tls = testing_client_tls(app, NULL);
        struct dialler dialler = {0};
        g_autofree char *url = testing_url(app, "/ws"), *data = g_malloc0(64 << 10);
        size_t queued = 0;

        dial(app, &dialler, tls, url, 0);
        testing_until(app->loop, dialler.open && app->ws);
        http_ws_pause(app->ws, true);
        while (http_ws_send(dialler.ws, true, data, 64 << 10) == 0) {
                queued += 64 << 10;
                loop_run_once(app->loop, 0);
        }
        while (loop_run_once(app->loop, 10000) > 0)
                ;
        g_assert_cmpuint(http_ws_pending(dialler.ws), >, LIMIT_HTTP_OUT_BYTES / 2);
        g_assert_cmpuint(dialler.in->len, ==, 0);
        http_ws_pause(app->ws, false);
        testing_until(app->loop, dialler.in->len == queued);
        http_ws_close(dialler.ws, 1000, NULL);
        testing_until(app->loop, dialler.closed);
        dialler_clear(&dialler);
        http_tls_free(tls);
        testing_app_free(app);
}

static void a_dial_that_fails_says_why(void)
{
        struct testing_app *app = testing_app_new(true, NULL), *plain = testing_app_new(false, NULL);
        struct testing_certificate other = testing_certificate(NULL, "test CA", NULL);
        g_autofree char *other_pin = testing_sha256(&other), *pin = testing_sha256(&app->ca);
        const struct http_tls_options other_options = {.ca_sha256 = other_pin}, pin_options = {.ca_sha256 = pin};
        struct http_tls *tls = testing_client_tls(app, NULL), *wrong_tls, *pin_tls;
        g_assert_cmpint(http_tls_new(&other_options, &wrong_tls), ==, 0);
        g_assert_cmpint(http_tls_new(&pin_options, &pin_tls), ==, 0);
        g_autofree char *ws = testing_url(app, "/ws"), *hello = testing_url(app, "/hello"), *held = testing_url(plain, "/held");
        const struct {
                const char *url;
                struct http_tls *tls;
                uint64_t timeout_us;
                const char *words; /* NULL: it opens */
        } cases[] = {
                {ws, pin_tls, 0, NULL},
                {ws, wrong_tls, 0, "TLS: "},
                {hello, tls, 0, "the peer answered 200"},
                {"http://127.0.0.1:1/", NULL, 0, "does not accept connections"},
                {"http://nowhere.invalid/", NULL, 0, "name of the peer is not known"},
                {held, NULL, 30000, "did not answer in time"},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct dialler dialler = {0};
                dial(app, &dialler, cases[i].tls, cases[i].url, cases[i].timeout_us);
                while (!dialler.open && !dialler.closed) {
                        g_assert_cmpint(loop_run_once(app->loop, 5000), >=, 0);
                        g_assert_cmpint(loop_run_once(plain->loop, 0), >=, 0);
                }
                g_assert_true(dialler.open == !cases[i].words);
                if (dialler.open)
                        http_ws_close(dialler.ws, 1000, NULL);
                testing_until(app->loop, dialler.closed);
                if (cases[i].words && !strstr(dialler.reason, cases[i].words))
                        g_error("%s: %s", cases[i].url, dialler.reason);
                dialler_clear(&dialler);
        }
        http_tls_free(tls);
        http_tls_free(wrong_tls);
        http_tls_free(pin_tls);
        testing_certificate_clear(&other);
        testing_app_free(app);
        testing_app_free(plain);
}

static void urls_and_tls_must_agree(void)
{
        struct testing_app *app = testing_app_new(true, NULL);
        struct http_tls *tls = testing_client_tls(app, NULL);
        const struct {
                const char *url;
                struct http_tls *tls;
        } cases[] = {{"https://x/", NULL}, {"http://x/", tls},    {"ftp://x/", tls},      {"https://u@x/", tls},
                     {"https:///", tls},   {"https://x:a/", tls}, {"https://x/a b", tls}, {"", tls}};

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct http_ws *ws;
                const struct http_ws_dial_options options = {.loop = app->loop, .tls = cases[i].tls, .url = cases[i].url};
                g_assert_cmpint(http_ws_dial(&options, &dialler_handlers, NULL, &ws), ==, -EINVAL);
        }
        http_tls_free(tls);
        testing_app_free(app);
}

static void closing_a_dial_that_is_not_open_ends_it(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct dialler dialler = {0};
        g_autofree char *url = testing_url(app, "/held");

        dial(app, &dialler, NULL, url, 0);
        testing_until(app->loop, app->last);
        g_assert_cmpint(http_ws_send(dialler.ws, true, "a", 1), ==, -EPIPE);
        http_ws_close(dialler.ws, 1000, NULL);
        g_assert_false(dialler.closed);
        testing_until(app->loop, dialler.closed && !app->last);
        dialler_clear(&dialler);
        testing_app_free(app);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/http/ws/" #name, name)
        ADD(what_is_no_handshake_is_left_to_the_owner);
        ADD(the_chosen_subprotocol_is_told);
        ADD(messages_are_echoed_whole_fragmented_or_bytewise);
        ADD(frames_behind_the_handshake_are_not_lost);
        ADD(breaches_of_the_protocol_are_answered_by_their_code);
        ADD(frames_without_mask_are_refused);
        ADD(a_message_above_the_bound_is_refused);
        ADD(the_peer_s_close_is_answered_and_told);
        ADD(a_stream_ends_when_the_server_drains);
        ADD(a_dialled_stream_carries_bytes_both_ways);
        ADD(a_paused_stream_holds_the_sender_back);
        ADD(a_dial_that_fails_says_why);
        ADD(urls_and_tls_must_agree);
        ADD(closing_a_dial_that_is_not_open_ends_it);
        return g_test_run();
}
