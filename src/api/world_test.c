/* SPDX-License-Identifier: Apache-2.0 */
#include "api/world_test.h"
#include "base/file.h"
#include "generated/api_types.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEADLINE_US (20 * G_USEC_PER_SEC)

/* --- the world
 * ----------------------------------------------------------------------------------------------------------------------- */

void world_run(struct world *world)
{
        struct store_stats stats;

        do {
                g_assert_cmpint(loop_run_once(world->loop, 1000), >=, 0);
                store_stats(world->store, &stats);
        } while (stats.queued);
}

void world_put(struct world *world, const struct schema_kind *kind, const char *namespace, const char *name, const char *json)
{
        autostoreobject there = store_get_newest(world->store, kind, namespace, name);
        struct store_op op = {.verb = there ? STORE_UPDATE : STORE_CREATE, .kind = kind, .namespace = namespace, .name = name};
        struct store_txn txn = {.ops = &op, .n_ops = 1, .actor = {.user = "test"}};

        g_assert_cmpint(json_parse(json, strlen(json), &op.doc, NULL), ==, 0);
        g_assert_cmpint(store_commit(world->store, &txn, NULL, NULL, NULL), ==, 0);
        world_run(world);
}

void world_put_user(struct world *world, const char *name, const char *groups)
{
        autostoreobject there = store_get_newest(world->store, &api_user_kind, NULL, name);
        g_autofree char *json = g_strdup_printf("{\"apiVersion\":\"gabbro.dev/v1\",\"kind\":\"User\",\"metadata\":{\"name\":\"%s\","
                                                "\"uid\":\"uid-%s\",\"creationTimestamp\":\"2026-01-01T00:00:00Z\"},\"spec\":"
                                                "{\"groups\":%s,\"disabled\":false}}",
                                                name, name, groups);

        if (!there)
                world_put(world, &api_user_kind, NULL, name, json);
}

char *world_put_token(struct world *world, const char *prefix, const char *type, const char *user, const char *expires)
{
        static const char sha[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        struct auth_token_text token;
        g_autofree char *json = NULL;
        char *text, now[CLOCK_RFC3339_MAX];

        if (strcmp(type, "User") == 0)
                world_put_user(world, user, "[]");
        auth_token_generate(random_system(), prefix, strcmp(prefix, "gbj1") == 0 ? sha : NULL, &token);
        json = g_strdup_printf("{\"apiVersion\":\"gabbro.dev/v1\",\"kind\":\"Token\",\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\"},"
                               "\"spec\":{\"type\":\"%s\",\"hash\":\"%s\",\"user\":\"%s\",\"ownerUid\":\"uid-%s\"%s%s%s},"
                               "\"status\":{\"lastUsed\":\"%s\"}}",
                               token.id, token.id, type, token.hash, user, user, expires ? ",\"expires\":\"" : "", expires ?: "",
                               expires ? "\"" : "", clock_format_rfc3339(clock_real_us(&world->clock), false, now));
        world_put(world, &api_token_kind, NULL, token.id, json);
        text = g_strdup(token.text);
        auth_token_text_clear(&token);
        return text;
}

static void put_namespace(struct world *world, const char *name)
{
        g_autofree char *json =
                g_strdup_printf("{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"%s\",\"uid\":"
                                "\"uid-%s\",\"creationTimestamp\":\"2026-01-01T00:00:00Z\"},\"status\":{\"phase\":"
                                "\"Active\"}}",
                                name, name);

        world_put(world, &api_namespace_kind, NULL, name, json);
}

static uint64_t shifted_real_us(void *userdata)
{
        const struct world *world = userdata;

        return clock_real_us(clock_system()) + world->shift_us;
}

static uint64_t shifted_monotonic_us(void *userdata)
{
        const struct world *world = userdata;

        return clock_monotonic_us(clock_system()) + world->shift_us;
}

struct world *world_new(const struct http_limits *limits)
{
        struct world *world = g_new0(struct world, 1);
        g_autofree char *audit = NULL, *seal = NULL;

        world->clock = (struct clock){.real_us = shifted_real_us, .monotonic_us = shifted_monotonic_us, .userdata = world};
        world->dir = g_dir_make_tmp("api-XXXXXX", NULL);
        audit = g_build_filename(world->dir, "audit.log", NULL);
        g_assert_cmpint(loop_new(&world->loop), ==, 0);
        g_assert_cmpint(store_open_memory(&(struct store_options){.loop = world->loop, .clock = clock_system()}, &world->store), ==,
                        0);
        g_assert_cmpint(quota_new(&(struct quota_options){.loop = world->loop, .store = world->store, .clock = &world->clock},
                                  &world->quota),
                        ==, 0);
        seal = g_build_filename(world->dir, "seal.key", NULL);
        g_assert_cmpint(auth_seal_open(seal, random_system(), &world->seal), ==, 0);
        g_assert_cmpint(auth_audit_open(audit, clock_system(), &world->audit), ==, 0);
        g_assert_cmpint(api_new(&(struct api_options){.loop = world->loop,
                                                      .store = world->store,
                                                      .clock = &world->clock,
                                                      .watch_tick_us = 10000,
                                                      .random = random_system(),
                                                      .audit = world->audit,
                                                      .seal = world->seal,
                                                      .compat_api = true,
                                                      .version = "0.0.0"},
                                &world->api),
                        ==, 0);
        g_assert_cmpint(http_server_new(
                                &(struct http_server_options){
                                        .loop = world->loop, .on_request = api_handle, .userdata = world->api, .limits = limits},
                                &world->server),
                        ==, 0);
        g_assert_cmpint(http_server_listen(world->server, "127.0.0.1:0", &world->port), ==, 0);
        world->admin = world_put_token(world, "gbt1", "Admin", "gabbro:admin", NULL);
        world->user = world_put_token(world, "gbt1", "User", "someone", NULL);
        world->node = world_put_token(world, "gbj1", "Join", "joiner", NULL);
        put_namespace(world, "default");
        put_namespace(world, "other");
        return world;
}

struct world *world_free(struct world *world)
{
        http_server_free(world->server);
        api_free(world->api);
        quota_free(world->quota);
        store_close(world->store);
        auth_audit_free(world->audit);
        auth_seal_free(world->seal);
        loop_free(world->loop);
        file_remove_tree(world->dir);
        g_free(world->dir);
        g_free(world->admin);
        g_free(world->user);
        g_free(world->node);
        g_free(world);
        return NULL;
}

/* --- raw bytes
 * ----------------------------------------------------------------------------------------------------------------------- */

static int dial(const struct world *world)
{
        struct sockaddr_in address = {
                .sin_family = AF_INET, .sin_port = htons(world->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
        return fd;
}

static void turn(struct world *world, gint64 deadline)
{
        g_assert_cmpint(loop_run_once(world->loop, 500), >=, 0);
        if (g_get_monotonic_time() > deadline)
                g_error("the answer did not come in time");
}

static void send_all(struct world *world, int fd, const char *text, size_t len)
{
        gint64 deadline = g_get_monotonic_time() + DEADLINE_US;

        while (len > 0) {
                ssize_t n = send(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);

                if (n < 0 && errno != EAGAIN)
                        return; /* the server answered without reading all */
                text += MAX(n, 0);
                len -= (size_t)MAX(n, 0);
                if (n < 0)
                        turn(world, deadline);
        }
}

/* Take what is there; false at the end of the stream. */
static bool receive(int fd, GString *in)
{
        char buffer[65536];
        ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);

        if (n > 0)
                g_string_append_len(in, buffer, n);
        return n > 0 || (n < 0 && errno == EAGAIN);
}

static char *request_text(const char *token, const char *method, const char *path, const char *headers, const char *body,
                          bool close)
{
        g_autofree char *authorization = token ? g_strdup_printf("Authorization: Bearer %s\r\n", token) : g_strdup("");
        g_autofree char *length = body ? g_strdup_printf("Content-Length: %zu\r\n", strlen(body)) : g_strdup("");

        return g_strconcat(method, " ", path, " HTTP/1.1\r\nHost: x\r\n", close ? "Connection: close\r\n" : "", authorization,
                           length, headers ?: "", "\r\n", body ?: "", NULL);
}

/* Move whole chunks (RFC 9112 §7.1) from @in to @out; true when the last one has come. */
static bool take_chunks(GString *in, GString *out)
{
        for (;;) {
                char *line_end = strstr(in->str, "\r\n"), *end;
                guint64 len = g_ascii_strtoull(in->str, &end, 16);
                gsize head;

                if (!line_end || end != line_end)
                        return false;
                head = (gsize)(line_end + 2 - in->str);
                if (in->len < head + len + 2)
                        return false;
                g_string_append_len(out, in->str + head, (gssize)len);
                g_string_erase(in, 0, (gssize)(head + len + 2));
                if (len == 0)
                        return true;
        }
}

/* Split off the head of an answer; NULL while it is not complete. */
static char *take_head(GString *in)
{
        char *end = strstr(in->str, "\r\n\r\n"), *head;

        if (!end)
                return NULL;
        head = g_strndup(in->str, (gsize)(end + 2 - in->str));
        g_string_erase(in, 0, end + 4 - in->str);
        return head;
}

static int status_of(const char *head)
{
        int status = 0;

        g_assert_cmpint(sscanf(head, "HTTP/1.1 %d", &status), ==, 1);
        return status;
}

static bool is_chunked(const char *head)
{
        return strcasestr(head, "transfer-encoding: chunked");
}

/* --- one answer
 * ---------------------------------------------------------------------------------------------------------------------- */

struct answer *answer_free(struct answer *answer)
{
        if (!answer)
                return NULL;
        g_free(answer->headers);
        g_string_free(answer->body, TRUE);
        json_doc_free(answer->doc);
        g_free(answer);
        return NULL;
}

static struct answer *parse_answer(GString *in)
{
        struct answer *answer = g_new0(struct answer, 1);

        answer->headers = take_head(in);
        g_assert_nonnull(answer->headers);
        answer->status = status_of(answer->headers);
        answer->body = g_string_new(NULL);
        if (is_chunked(answer->headers))
                g_assert_true(take_chunks(in, answer->body));
        else
                g_string_append_len(answer->body, in->str, (gssize)in->len);
        if (json_parse_within(answer->body->str, answer->body->len, 1u << 30, 1u << 30, &answer->doc, NULL) == 0)
                answer->root = json_root_const(answer->doc);
        return answer;
}

static struct answer *await_answer(struct world *world, int fd)
{
        gint64 deadline = g_get_monotonic_time() + DEADLINE_US;
        g_autoptr(GString) in = g_string_new(NULL);

        while (receive(fd, in))
                turn(world, deadline);
        close(fd);
        return parse_answer(in);
}

struct answer *ask_with(struct world *world, const char *token, const char *method, const char *path, const char *headers,
                        const char *body)
{
        g_autofree char *request = request_text(token, method, path, headers, body, true);
        int fd = dial(world);

        send_all(world, fd, request, strlen(request));
        return await_answer(world, fd);
}

static const char *headers_of(const char *method)
{
        return strcmp(method, "PATCH") == 0 ? "Content-Type: application/merge-patch+json\r\n" : NULL;
}

void ask_together(struct world *world, const char *method, const char *path, const char *const *bodies, size_t n,
                  struct answer **ret_answers)
{
        ask_together_with(world, method, path, headers_of(method), bodies, n, ret_answers);
}

void ask_together_with(struct world *world, const char *method, const char *path, const char *headers, const char *const *bodies,
                       size_t n, struct answer **ret_answers)
{
        g_autofree int *fds = g_new(int, n);

        for (size_t i = 0; i < n; i++) {
                g_autofree char *request = request_text(world->admin, method, path, headers, bodies[i], true);

                fds[i] = dial(world);
                g_assert_cmpint(send(fds[i], request, strlen(request), MSG_NOSIGNAL), ==, strlen(request));
        }
        for (size_t i = 0; i < n; i++)
                ret_answers[i] = await_answer(world, fds[i]);
}

void ask_and_leave(struct world *world, const char *method, const char *path, const char *body)
{
        g_autofree char *request = request_text(world->admin, method, path, headers_of(method), body, true);
        int fd = dial(world);

        g_assert_cmpint(send(fd, request, strlen(request), MSG_NOSIGNAL), ==, strlen(request));
        close(fd);
}

struct answer *ask(struct world *world, const char *method, const char *path, const char *body)
{
        return ask_with(world, world->admin, method, path, headers_of(method), body);
}

const char *answer_text(const struct answer *answer, const char *pointer)
{
        const struct json_value *value = answer->root ? json_pointer_get(answer->root, pointer) : NULL;

        return json_string(value, NULL) ?: json_number_text(value) ?: "";
}

void world_run_rows(struct world *world, const struct row *rows, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                g_autoptr(answer) answer = ask(world, rows[i].method, rows[i].path, rows[i].body);

                g_test_message("%zu: %s %s", i, rows[i].method, rows[i].path);
                if (answer->status != rows[i].status)
                        g_error("row %zu: %s %s: status %d, expected %d: %s", i, rows[i].method, rows[i].path, answer->status,
                                rows[i].status, answer->body->str);
                if (rows[i].pointer && strcmp(answer_text(answer, rows[i].pointer), rows[i].expect) != 0)
                        g_error("row %zu: %s %s: %s is not \"%s\" in %s", i, rows[i].method, rows[i].path, rows[i].pointer,
                                rows[i].expect, answer->body->str);
                if (answer->status >= 400) {
                        g_assert_cmpstr(answer_text(answer, "/kind"), ==, "Status");
                        g_assert_cmpint((int)g_ascii_strtoll(answer_text(answer, "/code"), NULL, 10), ==, answer->status);
                        g_assert_cmpstr(answer_text(answer, "/status"), ==, "Failure");
                        g_assert_cmpstr(answer_text(answer, "/message"), !=, "");
                        g_assert_cmpstr(answer_text(answer, "/reason"), !=, "");
                }
        }
}

/* --- streams
 * ------------------------------------------------------------------------------------------------------------------------- */

struct watcher {
        struct world *world;
        int fd;
        bool deaf, ended;
        char *head;
        GString *in, *lines;
        struct json_doc *doc;
        char *words;
};

struct watcher *watcher_new(struct world *world, const char *path, const char *headers)
{
        return watcher_new_as(world, world->admin, path, headers);
}

struct watcher *watcher_new_as(struct world *world, const char *token, const char *path, const char *headers)
{
        struct watcher *watcher = g_new0(struct watcher, 1);
        g_autofree char *request = request_text(token, "GET", path, headers, NULL, false);

        watcher->world = world;
        watcher->fd = dial(world);
        watcher->in = g_string_new(NULL);
        watcher->lines = g_string_new(NULL);
        send_all(world, watcher->fd, request, strlen(request));
        return watcher;
}

struct watcher *watcher_free(struct watcher *watcher)
{
        if (!watcher)
                return NULL;
        close(watcher->fd);
        g_string_free(watcher->in, TRUE);
        g_string_free(watcher->lines, TRUE);
        json_doc_free(watcher->doc);
        g_free(watcher->words);
        g_free(watcher->head);
        g_free(watcher);
        return NULL;
}

void watcher_deafen(struct watcher *watcher, bool deaf)
{
        watcher->deaf = deaf;
}

static void watcher_read(struct watcher *watcher)
{
        if (watcher->deaf)
                return;
        if (!receive(watcher->fd, watcher->in))
                watcher->ended = true;
        if (!watcher->head)
                watcher->head = take_head(watcher->in);
        if (watcher->head && is_chunked(watcher->head) && take_chunks(watcher->in, watcher->lines))
                watcher->ended = true;
}

int watcher_status(struct watcher *watcher)
{
        gint64 deadline = g_get_monotonic_time() + DEADLINE_US;

        while (!watcher->head) {
                turn(watcher->world, deadline);
                watcher_read(watcher);
        }
        return status_of(watcher->head);
}

static const char *name_in(const struct json_value *object)
{
        const struct json_value *row = json_at(json_get(object, "rows"), 0);

        if (row)
                return json_string(json_at(json_get(row, "cells"), 0), "");
        return json_find_string(object, "metadata", "name", NULL) ?: json_find_string(object, "reason", NULL) ?: "";
}

static bool take_line(struct watcher *watcher)
{
        char *end = strchr(watcher->lines->str, '\n');

        if (!end)
                return false;
        watcher->doc = json_doc_free(watcher->doc);
        g_assert_cmpint(json_parse(watcher->lines->str, (size_t)(end - watcher->lines->str), &watcher->doc, NULL), ==, 0);
        g_string_erase(watcher->lines, 0, end + 1 - watcher->lines->str);
        g_free(watcher->words);
        watcher->words =
                g_strdup_printf("%s %s", json_find_string(json_root(watcher->doc), "type", NULL), name_in(watcher_object(watcher)));
        return true;
}

const char *watcher_next(struct watcher *watcher)
{
        gint64 deadline = g_get_monotonic_time() + DEADLINE_US;

        watcher_read(watcher);
        while (!take_line(watcher)) {
                if (watcher->ended)
                        return NULL;
                turn(watcher->world, deadline);
                watcher_read(watcher);
        }
        return watcher->words;
}

const struct json_value *watcher_object(const struct watcher *watcher)
{
        return json_get(json_root(watcher->doc), "object");
}

bool watcher_is_quiet(struct watcher *watcher)
{
        for (unsigned i = 0; i < 20; i++) {
                loop_run_once(watcher->world->loop, 500);
                watcher_read(watcher);
        }
        return !strchr(watcher->lines->str, '\n');
}
