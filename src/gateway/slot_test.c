/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "gateway/gateway.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct world {
        struct loop *loop;
        struct http_server *server;
        uint16_t port;
        struct slot *waiting; /* its body has come, its write has not */
        int made, discarded, bodies;
};

static void discard(void *userdata)
{
        struct world *world = userdata;

        world->discarded++;
}

static void on_body(struct http_request *request, const char *body, size_t len, void *userdata)
{
        struct slot *slot = userdata;
        struct world *world = slot_take(slot);

        world->bodies++;
        if (g_str_has_prefix(body, "wait")) {
                world->waiting = slot;
                return;
        }
        http_reply(slot->request, 200, "text/plain", "done", 4);
        slot_finish(slot);
}

static void on_request(struct http_request *request, void *userdata)
{
        struct world *world = userdata;

        world->made++;
        slot_new(request, world, discard);
        http_request_body_whole(request, 100, on_body, NULL);
}

static void world_init(struct world *world, const struct http_limits *limits)
{
        *world = (struct world){};
        g_assert_cmpint(loop_new(&world->loop), ==, 0);
        struct http_server_options options = {
                .loop = world->loop, .on_request = on_request, .userdata = world, .server_name = "test", .limits = limits};
        g_assert_cmpint(http_server_new(&options, &world->server), ==, 0);
        g_assert_cmpint(http_server_listen(world->server, "127.0.0.1:0", &world->port), ==, 0);
}

static void world_clear(struct world *world)
{
        http_server_free(world->server);
        loop_free(world->loop);
}

static int say(const struct world *world, const char *words)
{
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(world->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
        g_assert_cmpint(write(fd, words, strlen(words)), ==, (ssize_t)strlen(words));
        return fd;
}

static void until(struct world *world, const int *count, int value)
{
        gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;

        while (*count < value) {
                g_assert_cmpint(loop_run_once(world->loop, 100000), >=, 0);
                g_assert_cmpint(g_get_monotonic_time(), <, end);
        }
        g_assert_cmpint(*count, ==, value);
}

#define POST "POST /x HTTP/1.1\r\nHost: x\r\n"

static void a_peer_that_leaves_before_its_body_leaves_nothing(void)
{
        struct world world;

        world_init(&world, NULL);
        int fd = say(&world, POST "Content-Length: 50\r\n\r\nhalf");
        until(&world, &world.made, 1);
        g_assert_cmpint(world.discarded, ==, 0);
        close(fd);
        until(&world, &world.discarded, 1);
        g_assert_cmpint(world.bodies, ==, 0);
        world_clear(&world);
}

static void a_body_that_is_too_large_leaves_nothing(void)
{
        static const char *const requests[] = {POST "Content-Length: 101\r\n\r\n",
                                               POST "Transfer-Encoding: chunked\r\n\r\n70\r\n"
                                                    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                                    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n0\r\n\r\n"};

        for (size_t i = 0; i < G_N_ELEMENTS(requests); i++) {
                struct world world;
                world_init(&world, NULL);
                int fd = say(&world, requests[i]);
                until(&world, &world.made, 1);
                close(fd);
                until(&world, &world.discarded, 1);
                g_assert_cmpint(world.bodies, ==, 0);
                world_clear(&world);
        }
}

static void the_end_of_the_server_leaves_nothing(void)
{
        struct world world;

        world_init(&world, NULL);
        int fd = say(&world, POST "Content-Length: 50\r\n\r\nhalf");
        until(&world, &world.made, 1);
        world.server = http_server_free(world.server);
        g_assert_cmpint(world.discarded, ==, 1);
        close(fd);
        world_clear(&world);
}

static void a_slot_whose_body_came_belongs_to_its_handler(void)
{
        struct world world;

        world_init(&world, NULL);
        int fd = say(&world, POST "Content-Length: 4\r\n\r\ndone" POST "Content-Length: 4\r\n\r\nwait");
        until(&world, &world.bodies, 2);
        close(fd);
        world.server = http_server_free(world.server);
        g_assert_null(world.waiting->request); /* gone, and the write comes later */
        slot_finish(world.waiting);
        g_assert_cmpint(world.discarded, ==, 0);
        world_clear(&world);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/slot/peer-leaves", a_peer_that_leaves_before_its_body_leaves_nothing);
        g_test_add_func("/slot/too-large", a_body_that_is_too_large_leaves_nothing);
        g_test_add_func("/slot/server-ends", the_end_of_the_server_leaves_nothing);
        g_test_add_func("/slot/taken", a_slot_whose_body_came_belongs_to_its_handler);
        return g_test_run();
}
