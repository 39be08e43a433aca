/* SPDX-License-Identifier: Apache-2.0 */
#include "http/server.h"

#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define SERVER_BACKLOG           4096
#define SERVER_ACCEPTS_PER_TURN  64
#define SERVER_TURNS_OF_STRANGER 16   /* that it lasts at least, however many others come */
#define SERVER_CALM_FROM         256u /* connections: the memory of fewer is not worth giving back */
#define SERVER_SWEEP_LONGEST_US  1000000ull
#define SERVER_SWEEP_SHORTEST_US 5000ull
#define SERVER_KEEPALIVE_S       30
#define SERVER_UNSENT_BYTES      (128 << 10) /* of one connection that the kernel keeps beyond what is on its way */
#define SERVER_DESCRIPTORS_KEPT  512         /* for all that is not a connection */

const struct http_limits *http_limits_default(void)
{
        static const struct http_limits limits = {
                .header_bytes = LIMIT_HTTP_HEADER_BYTES,
                .headers = LIMIT_HTTP_HEADERS,
                .header_time_us = LIMIT_HTTP_HEADER_TIME_US,
                .body_time_us = LIMIT_HTTP_BODY_TIME_US,
                .idle_time_us = LIMIT_HTTP_IDLE_TIME_US,
                .stall_time_us = LIMIT_HTTP_STALL_TIME_US,
                .connections = LIMIT_HTTP_CONNECTIONS,
                .connections_per_peer = LIMIT_HTTP_CONNECTIONS_PER_PEER,
                .connections_per_principal = LIMIT_HTTP_CONNECTIONS_PER_PRINCIPAL,
                .unauthenticated = LIMIT_HTTP_UNAUTHENTICATED,
                .memory = LIMIT_HTTP_MEMORY_BYTES,
                .memory_per_principal = LIMIT_HTTP_MEMORY_PER_PRINCIPAL,
                .out_bytes = LIMIT_HTTP_OUT_BYTES,
                .ws_message_bytes = LIMIT_HTTP_WS_FRAME_BYTES,
        };
        return &limits;
}

void http_limits_within(struct http_limits *limits, size_t descriptors)
{
        assert(limits);

        size_t kept = MIN(SERVER_DESCRIPTORS_KEPT, descriptors / 2);
        limits->connections = MIN(limits->connections, descriptors - kept);
        limits->connections_per_peer = MIN(limits->connections_per_peer, limits->connections);
        limits->unauthenticated = MIN(limits->unauthenticated, MAX(limits->connections / 4, 1));
}

static void server_tune_socket(int fd)
{
        const int one = 1, idle_s = SERVER_KEEPALIVE_S, unsent = SERVER_UNSENT_BYTES;

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle_s, sizeof(idle_s));
        setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
}

static void server_take(struct http_server *server, int fd, const struct sockaddr_storage *peer)
{
        if (!http_admission_open(server, peer)) {
                server->stats.refused_connections++;
                close(fd);
                return;
        }
        server_tune_socket(fd);
        if (http_connection_new(server, fd, peer) < 0)
                server->stats.refused_connections++;
}

/* No descriptor is left: take the connection with the spare one and end it, or the listener would be ready for ever. Whether that
 * went well. */
static bool server_shed(struct http_server *server, int listener)
{
        server->spare_fd = fd_close(server->spare_fd);
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
                close(fd);
        server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
                server->stats.refused_connections++;
        return fd >= 0;
}

static void server_begin_sweeps(struct http_server *server);

/* Others wait in the backlog until the next sweep, when there may be descriptors again. */
static void server_rest(struct http_listener *listener)
{
        loop_fd_set(listener->source, 0);
        listener->rests = true;
        server_begin_sweeps(listener->server);
}

static void server_on_accept(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        struct http_listener *listener = userdata;
        size_t share = listener->server->limits.unauthenticated / SERVER_TURNS_OF_STRANGER;

        for (size_t i = 0; i < CLAMP(share, 1, SERVER_ACCEPTS_PER_TURN); i++) {
                struct sockaddr_storage peer = {0};
                socklen_t len = sizeof(peer);
                int accepted = accept4(fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (accepted >= 0) {
                        server_take(listener->server, accepted, &peer);
                        continue;
                }
                if (errno == EAGAIN)
                        return;
                bool scarce = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
                if (scarce && !server_shed(listener->server, fd)) {
                        server_rest(listener);
                        return;
                }
        }
}

static uint64_t server_sweep_period_us(const struct http_server *server)
{
        const struct http_limits *limits = &server->limits;
        uint64_t shortest =
                MIN(MIN(limits->header_time_us, limits->body_time_us), MIN(limits->idle_time_us, limits->stall_time_us));

        return CLAMP(shortest / 4, SERVER_SWEEP_SHORTEST_US, SERVER_SWEEP_LONGEST_US);
}

static void server_begin_sweeps(struct http_server *server)
{
        if (server->sweeping)
                return;
        server->sweeping = true;
        loop_timer_set(server->sweep, server_sweep_period_us(server));
}

/* After a flood: what it had taken is free, but still the process's. */
static void server_look_for_calm(struct http_server *server)
{
        size_t connections = server->stats.connections;

        server->high_water = MAX(server->high_water, connections);
        if (server->high_water < SERVER_CALM_FROM || connections > server->high_water / 2)
                return;
        server->high_water = connections;
        if (server->options.on_calm)
                server->options.on_calm(server->options.userdata);
}

static void server_on_sweep(struct loop_source *source, void *userdata)
{
        struct http_server *server = userdata;
        uint64_t now_us = loop_now_us(server->options.loop);

        for (struct http_connection *connection = server->connections, *next; connection; connection = next) {
                next = connection->next;
                http_connection_check_deadline(connection, now_us);
        }
        for (unsigned i = 0; i < server->n_listeners; i++) {
                if (!server->listeners[i].rests)
                        continue;
                server->listeners[i].rests = false;
                loop_fd_set(server->listeners[i].source, LOOP_READ);
        }
        server_look_for_calm(server);
        server->sweeping = false;
        if (server->connections)
                server_begin_sweeps(server);
}

static void server_on_kick(struct loop_source *source, void *userdata)
{
        struct http_server *server = userdata;

        /* Those that become dirty meanwhile wait for the next turn. */
        struct http_connection *list = server->dirty;
        server->dirty = NULL;
        if (list)
                list->dirty_link = &list;
        while (list) {
                struct http_connection *connection = list;
                http_server_unkick(connection);
                http_connection_pump(connection, 0);
        }
        if (server->dirty)
                loop_defer_set(server->kick, true);
}

void http_server_kick(struct http_server *server, struct http_connection *connection)
{
        assert(server && connection);

        if (connection->dirty_link)
                return;
        connection->next_dirty = server->dirty;
        if (connection->next_dirty)
                connection->next_dirty->dirty_link = &connection->next_dirty;
        connection->dirty_link = &server->dirty;
        server->dirty = connection;
        loop_defer_set(server->kick, true);
}

void http_server_unkick(struct http_connection *connection)
{
        assert(connection);

        if (!connection->dirty_link)
                return;
        *connection->dirty_link = connection->next_dirty;
        if (connection->next_dirty)
                connection->next_dirty->dirty_link = connection->dirty_link;
        connection->dirty_link = NULL;
        connection->next_dirty = NULL;
}

int http_server_new(const struct http_server_options *options, struct http_server **ret_server)
{
        assert(options && options->loop && options->on_request && ret_server);

        g_autoptr(http_server) server = g_new0(struct http_server, 1);
        server->options = *options;
        server->limits = options->limits ? *options->limits : *http_limits_default();
        http_admission_init(&server->admission);
        server->reply_head = g_string_sized_new(512);
        server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        int r = loop_defer(options->loop, server_on_kick, server, &server->kick);
        if (r == 0)
                r = loop_timer(options->loop, UINT64_MAX, server_on_sweep, server, &server->sweep);
        if (r < 0)
                return r;
        *ret_server = g_steal_pointer(&server);
        return 0;
}

struct loop_pool *http_server_readers(struct http_server *server)
{
        assert(server);

        if (!server->readers && loop_pool_new(server->options.loop, HTTP_SERVER_READERS, &server->readers) < 0)
                return NULL;
        return server->readers;
}

static void server_close_listeners(struct http_server *server)
{
        for (unsigned i = 0; i < server->n_listeners; i++) {
                server->listeners[i].source = loop_source_free(server->listeners[i].source);
                server->listeners[i].fd = fd_close(server->listeners[i].fd);
        }
        server->n_listeners = 0;
}

struct http_server *http_server_free(struct http_server *server)
{
        if (!server)
                return NULL;
        server_close_listeners(server);
        while (server->connections)
                http_connection_abort(server->connections);
        for (struct http_request *request = server->spare, *next; request; request = next) {
                next = request->next_spare;
                http_head_clear(&request->head);
                g_free(request);
        }
        loop_pool_free(server->readers);
        loop_source_free(server->kick);
        loop_source_free(server->sweep);
        fd_close(server->spare_fd);
        http_admission_clear(&server->admission);
        g_string_free(server->reply_head, TRUE);
        g_free(server);
        return NULL;
}

/* "127.0.0.1:6443" or "[::1]:0" as a socket address. */
static int server_parse_address(const char *text, struct sockaddr_storage *address, socklen_t *len)
{
        const char *colon = strrchr(text, ':');
        char *end;

        if (!colon || !g_ascii_isdigit(colon[1]))
                return -EINVAL;
        unsigned long port = strtoul(colon + 1, &end, 10);
        if (*end || port > UINT16_MAX)
                return -EINVAL;
        bool brackets = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
        g_autofree char *host = brackets ? g_strndup(text + 1, colon - text - 2) : g_strndup(text, colon - text);
        struct sockaddr_in *v4 = (struct sockaddr_in *)address;
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
        *address = (struct sockaddr_storage){0};
        if (brackets && inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
                v6->sin6_family = AF_INET6;
                v6->sin6_port = htons(port);
                *len = sizeof(*v6);
                return 0;
        }
        if (brackets || inet_pton(AF_INET, host, &v4->sin_addr) != 1)
                return -EINVAL;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *len = sizeof(*v4);
        return 0;
}

static int server_bind(const struct sockaddr_storage *address, socklen_t len, uint16_t *ret_port)
{
        const int one = 1;
        struct sockaddr_storage bound;
        socklen_t bound_len = sizeof(bound);

        autofd fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(fd, (const struct sockaddr *)address, len) < 0 || listen(fd, SERVER_BACKLOG) < 0 ||
            getsockname(fd, (struct sockaddr *)&bound, &bound_len) < 0)
                return -errno;
        if (ret_port)
                *ret_port = ntohs(bound.ss_family == AF_INET ? ((struct sockaddr_in *)&bound)->sin_port
                                                             : ((struct sockaddr_in6 *)&bound)->sin6_port);
        int taken = fd;
        fd = -1;
        return taken;
}

int http_server_listen(struct http_server *server, const char *address_port, uint16_t *ret_port)
{
        assert(server && address_port);

        struct sockaddr_storage address;
        socklen_t len;
        if (server->n_listeners == HTTP_SERVER_LISTENERS)
                return -ENOSPC;
        int r = server_parse_address(address_port, &address, &len);
        if (r < 0)
                return r;
        int fd = server_bind(&address, len, ret_port);
        if (fd < 0)
                return fd;
        struct http_listener *listener = &server->listeners[server->n_listeners];
        *listener = (struct http_listener){.fd = fd, .server = server};
        r = loop_fd(server->options.loop, fd, LOOP_READ, server_on_accept, listener, &listener->source);
        if (r < 0) {
                close(fd);
                return r;
        }
        server->n_listeners++;
        return 0;
}

void http_server_link(struct http_server *server, struct http_connection *connection)
{
        assert(server && connection);

        connection->next = server->connections;
        if (connection->next)
                connection->next->previous = connection;
        server->connections = connection;
        server_begin_sweeps(server);
}

void http_server_forget(struct http_server *server, struct http_connection *connection)
{
        assert(server && connection);

        http_server_unkick(connection);
        if (connection->previous)
                connection->previous->next = connection->next;
        else
                server->connections = connection->next;
        if (connection->next)
                connection->next->previous = connection->previous;
        http_admission_leave(server, connection);
}

void http_server_drain(struct http_server *server)
{
        assert(server);

        server->draining = true;
        server_close_listeners(server);
        for (struct http_connection *connection = server->connections, *next; connection; connection = next) {
                next = connection->next;
                http_connection_drain(connection);
        }
}

void http_server_stats(const struct http_server *server, struct http_server_stats *ret_stats)
{
        assert(server && ret_stats);
        *ret_stats = server->stats;
        ret_stats->unauthenticated = http_admission_strangers(&server->admission);
        ret_stats->memory = server->admission.bytes;
}

const char *http_server_date(struct http_server *server)
{
        static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        struct timespec now;

        assert(server);
        clock_gettime(CLOCK_REALTIME_COARSE, &now);
        if (now.tv_sec == server->date_second)
                return server->date;
        struct tm parts;
        gmtime_r(&now.tv_sec, &parts);
        g_snprintf(server->date, sizeof(server->date), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[parts.tm_wday], parts.tm_mday,
                   months[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
        server->date_second = now.tv_sec;
        return server->date;
}
