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

static void a_stream_is_chunked_and_shared_and_tells_when_it_is_drained(void)
{
        for (int with_tls = 0; with_tls < 2; with_tls++) {
                struct testing_app *app = testing_app_new(with_tls, NULL);
                struct http_tls *tls = with_tls ? testing_client_tls(app, NULL) : NULL;
                struct testing_client *client = testing_client_new(app, tls);
                g_autoptr(GBytes) bytes = g_bytes_new_static("{\"type\":\"ADDED\"}\n", 17);

                testing_send_text(client, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
                g_assert_true(testing_await(client, "Transfer-Encoding: chunked\r\n\r\n"));
                g_assert_cmpint(http_stream_write(app->last, bytes), ==, 0);
                g_assert_cmpint(http_stream_write(app->last, bytes), ==, 0);
                g_assert_cmpuint(http_stream_pending(app->last), ==, 2 * (17 + 4 + 2));
                g_assert_true(testing_await(client, "11\r\n{\"type\":\"ADDED\"}\n\r\n11\r\n{\"type\":\"ADDED\"}\n\r\n"));
                g_assert_cmpuint(http_stream_pending(app->last), ==, 0);
                http_stream_end(app->last);
                g_assert_true(testing_await(client, "0\r\n\r\n"));
                g_assert_cmpint(app->gones, ==, 1);
                testing_send_text(client, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
                g_assert_true(testing_await(client, "hello"));
                testing_client_free(client);
                http_tls_free(tls);
                testing_app_free(app);
        }
}

static void a_stream_for_http_1_0_ends_with_the_connection(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct testing_client *client = testing_client_new(app, NULL);
        g_autoptr(GBytes) bytes = g_bytes_new_static("plain", 5);

        testing_send_text(client, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        g_assert_true(testing_await(client, "Connection: close\r\n\r\n"));
        http_stream_write(app->last, bytes);
        g_assert_true(testing_await(client, "plain"));
        http_stream_end(app->last);
        testing_await_end(client);
        g_assert_cmpstr(client->in->str, ==, "");
        testing_client_free(client);
        testing_app_free(app);
}

static void a_slow_reader_is_told_by_enobufs_and_cut_off_when_it_stalls(void)
{
        struct http_limits limits = *http_limits_default();
        limits.stall_time_us = 50000;
        struct testing_app *app = testing_app_new(true, &limits);
        struct http_tls *tls = testing_client_tls(app, NULL);
        struct testing_client *client = testing_client_new(app, tls);
        g_autofree char *data = g_malloc0(1 << 20);
        g_autoptr(GBytes) bytes = g_bytes_new_static(data, 1 << 20);

        testing_send_text(client, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
        testing_until(app->loop, app->last);
        testing_deafen(client, true);
        int r = 0;
        for (int i = 0; i < 64 && r == 0; i++) {
                r = http_stream_write(app->last, bytes);
                loop_run_once(app->loop, 0);
        }
        g_assert_cmpint(r, ==, -ENOBUFS);
        g_assert_cmpuint(http_stream_pending(app->last), <=, limits.out_bytes);
        testing_until(app->loop, app->gones == 1);
        testing_client_free(client);
        http_tls_free(tls);
        testing_app_free(app);
}

static void a_client_that_goes_is_seen_at_once(void)
{
        static const char *const paths[] = {"/stream", "/held"};

        for (int with_tls = 0; with_tls < 2; with_tls++) {
                struct testing_app *app = testing_app_new(with_tls, NULL);
                struct http_tls *tls = with_tls ? testing_client_tls(app, NULL) : NULL;
                for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
                        struct testing_client *client = testing_client_new(app, tls);
                        g_autofree char *request = g_strdup_printf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i]);
                        testing_send_text(client, request);
                        testing_until(app->loop, app->last);
                        testing_client_free(client);
                        gint64 begin = g_get_monotonic_time();
                        testing_until(app->loop, !app->last);
                        g_assert_cmpint(g_get_monotonic_time() - begin, <, G_USEC_PER_SEC / 2);
                }
                http_tls_free(tls);
                testing_app_free(app);
        }
}

/* By close_notify alone, as a proxy may do that keeps its connection; the answer may be written meanwhile, or waited for. */
static void a_client_that_ends_its_tls_stream_is_seen_at_once(void)
{
        static const char *const paths[] = {"/stream", "/held"};

        for (int written = 0; written < 3; written++) {
                bool together = written == 2; /* with the request */
                struct testing_app *app = testing_app_new(true, NULL);
                struct http_tls *tls = testing_client_tls(app, NULL);
                g_autoptr(GBytes) bytes = g_bytes_new_static("event", 5);
                for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
                        struct testing_client *client = testing_client_new(app, tls);
                        g_autofree char *request = g_strdup_printf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i]);
                        if (together)
                                testing_until(app->loop, !client->transport.handshaking);
                        testing_send_text(client, request);
                        if (together) {
                                g_assert_cmpint(SSL_shutdown(client->transport.ssl), >=, 0);
                                testing_until(app->loop, app->requests == (int)i + 1 && !app->last);
                                testing_client_free(client);
                                continue;
                        }
                        testing_until(app->loop, app->last);
                        if (written && i == 0) {
                                http_stream_write(app->last, bytes);
                                g_assert_true(testing_await(client, "event"));
                        }
                        g_assert_cmpint(SSL_shutdown(client->transport.ssl), >=, 0);
                        testing_until(app->loop, !app->last);
                        testing_client_free(client);
                }
                http_tls_free(tls);
                testing_app_free(app);
        }
}

/* What is sent ahead of its turn waits, and does not make the loop spin. */
static void a_request_sent_while_a_stream_is_answered_waits_for_its_end(void)
{
        for (int with_tls = 0; with_tls < 2; with_tls++) {
                struct testing_app *app = testing_app_new(with_tls, NULL);
                struct http_tls *tls = with_tls ? testing_client_tls(app, NULL) : NULL;
                struct testing_client *client = testing_client_new(app, tls);

                testing_send_text(client, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
                g_assert_true(testing_await(client, "chunked\r\n\r\n"));
                testing_send_text(client, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
                for (int turns = 0; loop_run_once(app->loop, 20000) > 0; turns++)
                        g_assert_cmpint(turns, <, 10);
                g_assert_nonnull(app->last);
                http_stream_end(app->last);
                g_assert_true(testing_await(client, "hello"));
                testing_client_free(client);
                http_tls_free(tls);
                testing_app_free(app);
        }
}

static void a_reset_connection_is_seen_at_once(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct testing_client *client = testing_client_new(app, NULL);
        const struct linger reset = {.l_onoff = 1};

        testing_send_text(client, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
        testing_until(app->loop, app->last);
        setsockopt(client->transport.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        testing_client_free(client);
        testing_until(app->loop, !app->last);
        testing_app_free(app);
}

static void a_client_may_end_its_writing_half_behind_a_request(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        struct testing_client *client = testing_client_new(app, NULL);

        testing_send_text(client, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        shutdown(client->transport.fd, SHUT_WR);
        g_assert_true(testing_await(client, "hello"));
        testing_await_end(client);
        testing_client_free(client);
        testing_app_free(app);
}

static const struct {
        const char *header;
        int status;
        const char *range, *body;
} ranges[] = {
        {"", 200, NULL, "0123456789"},
        {"Range: bytes=0-3\r\n", 206, "bytes 0-3/10", "0123"},
        {"Range: bytes=4-\r\n", 206, "bytes 4-9/10", "456789"},
        {"Range: bytes=-3\r\n", 206, "bytes 7-9/10", "789"},
        {"Range: bytes=-30\r\n", 206, "bytes 0-9/10", "0123456789"},
        {"Range: bytes=9-400\r\n", 206, "bytes 9-9/10", "9"},
        {"Range: bytes=10-\r\n", 416, "bytes */10", NULL},
        {"Range: bytes=-0\r\n", 416, "bytes */10", NULL},
        {"Range: bytes=3-2\r\n", 200, NULL, "0123456789"},
        {"Range: bytes=0-1,4-5\r\n", 200, NULL, "0123456789"},
        {"Range: lines=0-1\r\n", 200, NULL, "0123456789"},
        {"Range: bytes=a-b\r\n", 200, NULL, "0123456789"},
        {"Range: bytes=0-1\r\nIf-Range: \"x\"\r\n", 200, NULL, "0123456789"},
};

static int file_of(const char *data, size_t len)
{
        int fd = memfd_create("test", MFD_CLOEXEC);

        g_assert_cmpint(write(fd, data, len), ==, len);
        return fd;
}

static void a_file_is_sent_whole_or_in_one_range(void)
{
        struct testing_app *app = testing_app_new(false, NULL);
        app->file = file_of("0123456789", 10);

        for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++) {
                g_autofree char *request = g_strconcat("GET /file HTTP/1.1\r\n", TESTING_CLOSE, ranges[i].header, "\r\n", NULL);
                g_autofree char *answer = testing_ask(app, NULL, request, strlen(request));
                g_autofree char *status = g_strdup_printf("HTTP/1.1 %d ", ranges[i].status);
                g_autofree char *range = g_strdup_printf("Content-Range: %s\r\n", ranges[i].range ? ranges[i].range : "");
                g_assert_true(g_str_has_prefix(answer, status));
                g_assert_true((strstr(answer, range) != NULL) == (ranges[i].range != NULL));
                if (ranges[i].body)
                        g_assert_cmpstr(testing_body(answer), ==, ranges[i].body);
        }
        static const char head[] = "HEAD /file HTTP/1.1\r\n" TESTING_CLOSE "\r\n";
        g_autofree char *answer = testing_ask(app, NULL, head, strlen(head));
        g_assert_nonnull(strstr(answer, "Content-Length: 10\r\n"));
        g_assert_cmpstr(testing_body(answer), ==, "");
        testing_app_free(app);
}

static void a_large_file_is_sent_with_back_pressure(void)
{
        enum { TOTAL = 12 << 20 };
        struct testing_app *app = testing_app_new(true, NULL);
        struct http_tls *tls = testing_client_tls(app, NULL);
        struct testing_client *client = testing_client_new(app, tls);
        g_autofree char *data = g_malloc(TOTAL);

        for (int i = 0; i < TOTAL; i++)
                data[i] = i * 13 + (i >> 14);
        app->file = file_of(data, TOTAL);
        testing_send_text(client, "GET /file HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        g_assert_true(testing_await(client, "\r\n\r\n"));
        testing_until(app->loop, client->in->len >= TOTAL);
        g_assert_cmpmem(client->in->str, TOTAL, data, TOTAL);
        g_assert_true(testing_await(client, "\r\n\r\nhello"));
        testing_client_free(client);
        http_tls_free(tls);
        testing_app_free(app);
}
/* A disk that has nothing in memory, and whose reads wait until the test lets them go. */
static GMutex disk_lock;
static GCond disk_wake;
static unsigned disk_leave, disk_waiting;
static ssize_t disk_result = 1;

static ssize_t slow_read_now(int fd, void *buffer, size_t size, uint64_t offset)
{
        return -EAGAIN;
}

static ssize_t slow_read(int fd, void *buffer, size_t size, uint64_t offset)
{
        g_mutex_lock(&disk_lock);
        disk_waiting++;
        while (!disk_leave)
                g_cond_wait(&disk_wake, &disk_lock);
        disk_waiting--;
        disk_leave--;
        g_mutex_unlock(&disk_lock);
        return disk_result <= 0 ? disk_result : pread(fd, buffer, MIN(size, 4), (off_t)offset);
}

static const struct http_disk slow_disk = {.read_now = slow_read_now, .read = slow_read};

static void disk_let_go(unsigned reads)
{
        g_mutex_lock(&disk_lock);
        disk_leave += reads;
        g_cond_broadcast(&disk_wake);
        g_mutex_unlock(&disk_lock);
}

static bool disk_is_asked(void)
{
        g_mutex_lock(&disk_lock);
        bool asked = disk_waiting > 0;
        g_mutex_unlock(&disk_lock);
        return asked;
}

static void a_disk_that_hangs_holds_up_only_those_who_read_from_it(void)
{
        struct testing_app *app = testing_app_new_on(&slow_disk);
        struct testing_client *reader = testing_client_new(app, NULL), *other = testing_client_new(app, NULL);

        app->file = file_of("0123456789", 10);
        testing_send_text(reader, "GET /file HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        testing_until(app->loop, disk_is_asked());
        for (int i = 0; i < 3; i++) {
                testing_send_text(other, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
                g_assert_true(testing_await(other, "hello"));
        }
        /* Nothing turns while the disk is awaited. */
        g_assert_cmpint(loop_run_once(app->loop, 20000), ==, 0);
        disk_let_go(3);
        g_assert_true(testing_await(reader, "\r\n\r\n0123456789"));
        g_assert_true(testing_await(reader, "hello"));
        testing_client_free(reader);
        testing_client_free(other);
        testing_app_free(app);
}

static void a_disk_that_fails_ends_the_answer(void)
{
        static const ssize_t results[] = {-EIO, 0};

        for (size_t i = 0; i < G_N_ELEMENTS(results); i++) {
                struct testing_app *app = testing_app_new_on(&slow_disk);
                struct testing_client *reader = testing_client_new(app, NULL);

                app->file = file_of("0123456789", 10);
                disk_result = results[i];
                disk_let_go(1);
                testing_send_text(reader, "GET /file HTTP/1.1\r\nHost: x\r\n\r\n");
                testing_await_end(reader);
                disk_result = 1;
                testing_client_free(reader);
                testing_app_free(app);
        }
}

/* A client that is reset, then the server, while threads still read. */
static void who_leaves_while_the_disk_hangs_is_forgotten(void)
{
        struct testing_app *app = testing_app_new_on(&slow_disk);
        struct testing_client *readers[2];
        const struct linger reset = {.l_onoff = 1};

        app->file = file_of("0123456789", 10);
        for (int i = 0; i < 2; i++) {
                readers[i] = testing_client_new(app, NULL);
                testing_send_text(readers[i], "GET /file HTTP/1.1\r\nHost: x\r\n\r\n");
                testing_until(app->loop, disk_is_asked());
        }
        setsockopt(readers[0]->transport.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        testing_client_free(readers[0]);
        testing_until(app->loop, app->gones == 1);
        testing_client_free(readers[1]);
        disk_let_go(2);
        testing_app_free(app);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/http/answer/" #name, name)
        ADD(a_stream_is_chunked_and_shared_and_tells_when_it_is_drained);
        ADD(a_stream_for_http_1_0_ends_with_the_connection);
        ADD(a_slow_reader_is_told_by_enobufs_and_cut_off_when_it_stalls);
        ADD(a_client_that_goes_is_seen_at_once);
        ADD(a_client_that_ends_its_tls_stream_is_seen_at_once);
        ADD(a_request_sent_while_a_stream_is_answered_waits_for_its_end);
        ADD(a_reset_connection_is_seen_at_once);
        ADD(a_client_may_end_its_writing_half_behind_a_request);
        ADD(a_file_is_sent_whole_or_in_one_range);
        ADD(a_large_file_is_sent_with_back_pressure);
        ADD(a_disk_that_hangs_holds_up_only_those_who_read_from_it);
        ADD(a_disk_that_fails_ends_the_answer);
        ADD(who_leaves_while_the_disk_hangs_is_forgotten);
        return g_test_run();
}
