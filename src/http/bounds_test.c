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

/* A stranger gives way to a newcomer; a connection that was vouched for never does. */
static void beyond_a_bound_strangers_give_way_and_known_clients_stay(void)
{
        const struct {
                size_t connections, per_peer, unauthenticated, strangers;
        } cases[] = {{3, 9, 9, 2}, {9, 3, 9, 2}, {9, 9, 2, 2}};
        enum { KNOWN = 1, N = 6 };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct http_limits limits = *http_limits_default();
                struct testing_client *clients[N];
                limits.connections = cases[i].connections;
                limits.connections_per_peer = cases[i].per_peer;
                limits.unauthenticated = cases[i].unauthenticated;
                struct testing_app *app = testing_app_new(false, &limits);
                for (size_t n = 0; n < N; n++) {
                        clients[n] = testing_client_new(app, NULL);
                        if (n >= KNOWN)
                                continue;
                        testing_send_text(clients[n], "GET /known HTTP/1.1\r\nHost: x\r\n\r\n");
                        g_assert_true(testing_await(clients[n], "known"));
                }
                testing_until(app->loop, testing_stats(app).connections_total == N);
                struct http_server_stats stats = testing_stats(app);
                g_assert_cmpuint(stats.connections, ==, KNOWN + cases[i].strangers);
                g_assert_cmpuint(stats.unauthenticated, ==, cases[i].strangers);
                g_assert_cmpuint(stats.evicted_connections, ==, N - KNOWN - cases[i].strangers);
                for (size_t n = KNOWN; n < N - cases[i].strangers; n++)
                        testing_await_end(clients[n]); /* the oldest went */
                for (size_t n = 0; n < N; n++) {
                        if (n >= KNOWN && n < N - cases[i].strangers)
                                continue;
                        testing_send_text(clients[n], "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
                        g_assert_true(testing_await(clients[n], "hello"));
                }
                for (size_t n = 0; n < N; n++)
                        testing_client_free(clients[n]);
                testing_app_free(app);
        }
}

/* Silent newcomers push out silent ones only, while these are the more, and the other way round. */
static void the_more_numerous_sort_of_strangers_gives_way(void)
{
        static const char half[] = "GET /hello HTTP/1.1\r\n";
        enum { PLACES = 4, FLOOD = 12 };

        for (int speaking_flood = 0; speaking_flood < 2; speaking_flood++) {
                struct http_limits limits = *http_limits_default();
                struct testing_client *clients[FLOOD];
                limits.unauthenticated = PLACES;
                struct testing_app *app = testing_app_new(false, &limits);
                struct testing_client *odd = testing_client_new(app, NULL);
                if (!speaking_flood)
                        testing_send_text(odd, half);
                for (size_t n = 0; n < FLOOD; n++) {
                        clients[n] = testing_client_new(app, NULL);
                        if (speaking_flood)
                                testing_send_text(clients[n], half);
                        testing_until(app->loop, testing_stats(app).connections_total == n + 2);
                        while (loop_run_once(app->loop, 0) > 0) /* what it sent is read */
                                ;
                }
                g_assert_cmpuint(testing_stats(app).evicted_connections, ==, FLOOD + 1 - PLACES);
                testing_send_text(odd, speaking_flood ? "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n" : "Host: x\r\n\r\n");
                g_assert_true(testing_await(odd, "hello"));
                testing_client_free(odd);
                for (size_t n = 0; n < FLOOD; n++)
                        testing_client_free(clients[n]);
                testing_app_free(app);
        }
}

static void where_all_are_known_one_more_is_refused(void)
{
        const struct {
                size_t connections, per_peer;
        } cases[] = {{2, 9}, {9, 2}};

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct http_limits limits = *http_limits_default();
                struct testing_client *clients[3];
                limits.connections = cases[i].connections;
                limits.connections_per_peer = cases[i].per_peer;
                struct testing_app *app = testing_app_new(false, &limits);
                for (size_t n = 0; n < G_N_ELEMENTS(clients); n++) {
                        clients[n] = testing_client_new(app, NULL);
                        testing_send_text(clients[n], "GET /known HTTP/1.1\r\nHost: x\r\n\r\n");
                        g_assert_true(testing_await(clients[n], "known") == (n < 2));
                }
                g_assert_cmpuint(testing_stats(app).refused_connections, ==, 1);
                for (size_t n = 0; n < G_N_ELEMENTS(clients); n++)
                        testing_client_free(clients[n]);
                testing_app_free(app);
        }
}

static void a_principal_has_so_many_connections_and_so_much_memory(void)
{
        struct http_limits limits = *http_limits_default();
        limits.connections_per_principal = 2;
        limits.memory_per_principal = 20000;
        struct testing_app *app = testing_app_new(false, &limits);
        struct testing_client *clients[4];
        static const char *const asked[] = {"/known", "/known", "/known", "/known?name=other"};

        for (size_t n = 0; n < G_N_ELEMENTS(clients); n++) {
                g_autofree char *request = g_strdup_printf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", asked[n]);
                clients[n] = testing_client_new(app, NULL);
                testing_send_text(clients[n], request);
                g_assert_true(testing_await(clients[n], n == 2 ? "HTTP/1.1 429 " : "known"));
        }
        /* Bodies under way count together; what fell away with the refused one is free again. */
        g_autofree char *half = g_strnfill(15000, 'x');
        static const char post[] = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n";
        testing_send_text(clients[0], post);
        testing_send_text(clients[0], half);
        testing_until(app->loop, testing_stats(app).memory > 15000);
        testing_send_text(clients[1], post);
        testing_send_text(clients[1], half);
        g_assert_true(testing_await(clients[1], "HTTP/1.1 429 "));
        g_assert_true(testing_await(clients[1], "Retry-After: 1"));
        testing_await_end(clients[1]);
        testing_until(app->loop, testing_stats(app).memory < 20000);
        testing_send_text(clients[3], "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        g_assert_true(testing_await(clients[3], "hello"));
        for (size_t n = 0; n < G_N_ELEMENTS(clients); n++)
                testing_client_free(clients[n]);
        testing_until(app->loop, testing_stats(app).connections == 0);
        g_assert_cmpuint(testing_stats(app).memory, ==, 0);
        testing_app_free(app);
}

static void connections_are_bounded_by_descriptors(void)
{
        const struct {
                size_t descriptors, connections, unauthenticated;
        } cases[] = {{1 << 20, LIMIT_HTTP_CONNECTIONS, LIMIT_HTTP_UNAUTHENTICATED}, {1024, 512, 128}, {4, 2, 1}};

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct http_limits limits = *http_limits_default();
                http_limits_within(&limits, cases[i].descriptors);
                g_assert_cmpuint(limits.connections, ==, cases[i].connections);
                g_assert_cmpuint(limits.connections_per_peer, <=, cases[i].connections);
                g_assert_cmpuint(limits.unauthenticated, ==, cases[i].unauthenticated);
        }
}

static uint64_t cpu_us(void)
{
        struct timespec used;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
        return (uint64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

/* While no descriptor is left nobody is served, nothing spins, and who still waits is served when there are some again. */
static void without_descriptors_the_listener_rests(void)
{
        struct http_limits limits = *http_limits_default();
        limits.header_time_us = 200000; /* sweeps come sooner */
        struct testing_app *app = testing_app_new(false, &limits);
        struct testing_client *clients[3];
        struct rlimit files, none;
        getrlimit(RLIMIT_NOFILE, &files);

        for (size_t n = 0; n < G_N_ELEMENTS(clients); n++)
                clients[n] = testing_client_new(app, NULL);
        none = files;
        none.rlim_cur = 3; /* below the spare one, too */
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
        uint64_t cpu_before = cpu_us();
        for (int64_t until = g_get_monotonic_time() + 300000; g_get_monotonic_time() < until;)
                g_assert_cmpint(loop_run_once(app->loop, 100000), >=, 0);
        g_assert_cmpuint(cpu_us() - cpu_before, <, 150000);
        g_assert_cmpuint(testing_stats(app).connections, ==, 0);
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &files), ==, 0);
        testing_send_text(clients[2], "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        g_assert_true(testing_await(clients[2], "hello"));
        for (size_t n = 0; n < G_N_ELEMENTS(clients); n++)
                testing_client_free(clients[n]);
        testing_app_free(app);
}

static void whoever_waits_too_long_is_cut_off(void)
{
        const struct {
                const char *request;
                const char *answer; /* NULL: the end without words */
        } cases[] = {
                {"", NULL},
                {"GET /hello HTTP/1.1\r\nHo", "HTTP/1.1 408 "},
                {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab", "HTTP/1.1 408 "},
                {"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab", "HTTP/1.1 408 "},
                {"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", "hello"},
                {"GET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /he", "HTTP/1.1 408 "},
        };
        struct http_limits limits = *http_limits_default();
        limits.header_time_us = limits.body_time_us = limits.idle_time_us = limits.stall_time_us = 20000;
        struct testing_app *app = testing_app_new(false, &limits);
        struct testing_client *clients[G_N_ELEMENTS(cases)];

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                clients[i] = testing_client_new(app, NULL);
                testing_send_text(clients[i], cases[i].request);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                testing_await_end(clients[i]);
                if (cases[i].answer)
                        g_assert_nonnull(strstr(clients[i]->in->str, cases[i].answer));
                else
                        g_assert_cmpstr(clients[i]->in->str, ==, "");
                testing_client_free(clients[i]);
        }
        testing_app_free(app);
}

static void a_held_request_has_no_deadline(void)
{
        struct http_limits limits = *http_limits_default();
        limits.header_time_us = limits.body_time_us = limits.idle_time_us = limits.stall_time_us = 5000;
        struct testing_app *app = testing_app_new(false, &limits);
        struct testing_client *client = testing_client_new(app, NULL);

        testing_send_text(client, "GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
        testing_until(app->loop, app->last);
        uint64_t begin_us = loop_now_us(app->loop);
        while (loop_now_us(app->loop) - begin_us < 30000)
                loop_run_once(app->loop, 5000);
        g_assert_nonnull(app->last);
        http_reply(app->last, 200, "text/plain", "late", 4);
        g_assert_true(testing_await(client, "late"));
        testing_client_free(client);
        testing_app_free(app);
}

static long resident_kib(void)
{
        g_autofree char *text = NULL;

        g_assert_true(g_file_get_contents("/proc/self/status", &text, NULL, NULL));
        return strtol(strstr(text, "VmRSS:") + 6, NULL, 10);
}

static void two_thousand_idle_connections_stay_small(void)
{
        enum { N = 2000 };
        struct rlimit files;
        getrlimit(RLIMIT_NOFILE, &files);
        files.rlim_cur = MIN(files.rlim_max, 2 * N + 200);
        if (files.rlim_cur < 2 * N + 100 || setrlimit(RLIMIT_NOFILE, &files) < 0) {
                g_test_skip("too few file descriptors are allowed here");
                return;
        }
        struct testing_app *app = testing_app_new(false, NULL);
        g_autofree struct testing_client **clients = g_new0(struct testing_client *, N);
        static const char request[] = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";

        long before = resident_kib();
        for (int i = 0; i < N; i++) {
                clients[i] = testing_client_new(app, NULL);
                testing_send_text(clients[i], request);
                g_assert_true(testing_await(clients[i], "hello"));
        }
        long each_bytes = (resident_kib() - before) * 1024 / N;
        g_test_message("%ld bytes for both ends of an idle connection", each_bytes);
        g_assert_cmpint(each_bytes, <, 6000);
        for (int i = 0; i < N; i++)
                testing_client_free(clients[i]);
        struct http_server_stats stats;
        do {
                loop_run_once(app->loop, 1000000);
                http_server_stats(app->server, &stats);
        } while (stats.connections > 0);
        testing_app_free(app);
}
int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/http/bounds/" #name, name)
        ADD(two_thousand_idle_connections_stay_small); /* first: on a fresh heap */
        ADD(beyond_a_bound_strangers_give_way_and_known_clients_stay);
        ADD(the_more_numerous_sort_of_strangers_gives_way);
        ADD(where_all_are_known_one_more_is_refused);
        ADD(a_principal_has_so_many_connections_and_so_much_memory);
        ADD(connections_are_bounded_by_descriptors);
        ADD(without_descriptors_the_listener_rests);
        ADD(whoever_waits_too_long_is_cut_off);
        ADD(a_held_request_has_no_deadline);
        return g_test_run();
}
