/* SPDX-License-Identifier: Apache-2.0 */
#include "http/admission.h"

#include "base/error.h"
#include "http/server.h"

#include <string.h>

/* What is left of a principal's share of memory while the whole server has too much to keep. */
#define ADMISSION_SCARCE 8

static guint peer_hash(gconstpointer key)
{
        const uint8_t *bytes = key;
        guint hash = 5381;

        for (int i = 0; i < 16; i++)
                hash = hash * 33 + bytes[i];
        return hash;
}

static gboolean peer_equal(gconstpointer a, gconstpointer b)
{
        return memcmp(a, b, 16) == 0;
}

static void peer_key(const struct sockaddr_storage *peer, uint8_t *key)
{
        memset(key, 0, 16);
        if (peer->ss_family == AF_INET) {
                key[10] = key[11] = 0xff;
                memcpy(key + 12, &((const struct sockaddr_in *)peer)->sin_addr, 4);
        } else if (peer->ss_family == AF_INET6) {
                const struct in6_addr *address = &((const struct sockaddr_in6 *)peer)->sin6_addr;
                memcpy(key, address, IN6_IS_ADDR_V4MAPPED(address) ? 16 : 8);
        }
}

static void principal_free(void *data)
{
        struct http_principal *principal = data;

        g_free(principal->name);
        g_free(principal);
}

void http_admission_init(struct http_admission *admission)
{
        assert(admission);

        *admission = (struct http_admission){
                .peers = g_hash_table_new_full(peer_hash, peer_equal, NULL, g_free),
                .principals = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, principal_free),
        };
}

void http_admission_clear(struct http_admission *admission)
{
        assert(admission && http_admission_strangers(admission) == 0 && admission->bytes == 0);

        g_hash_table_unref(admission->peers);
        g_hash_table_unref(admission->principals);
        *admission = (struct http_admission){0};
}

size_t http_admission_strangers(const struct http_admission *admission)
{
        assert(admission);
        return admission->n_strangers[STRANGER_SILENT] + admission->n_strangers[STRANGER_SPEAKING];
}

/* Of one address: of the more numerous sort the oldest; NULL: none. */
static struct http_connection *oldest_stranger(const struct http_peer_account *account)
{
        const GQueue *queues = account->strangers;

        return g_queue_peek_head((GQueue *)&queues[queues[STRANGER_SPEAKING].length > queues[STRANGER_SILENT].length]);
}

/* Of the more numerous sort, of the address with most of it; of addresses with equally many, the oldest of all. */
static struct http_connection *dispensable_stranger(const struct http_admission *admission)
{
        const size_t *n = admission->n_strangers;
        enum http_stranger sort = n[STRANGER_SPEAKING] > n[STRANGER_SILENT] ? STRANGER_SPEAKING : STRANGER_SILENT;
        struct http_connection *chosen = NULL;
        guint most = 0;
        GHashTableIter iter;
        void *value;

        g_hash_table_iter_init(&iter, admission->peers);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
                GQueue *strangers = &((struct http_peer_account *)value)->strangers[sort];
                struct http_connection *oldest = g_queue_peek_head(strangers);

                if (!oldest || strangers->length < most || (strangers->length == most && chosen && chosen->serial < oldest->serial))
                        continue;
                most = strangers->length;
                chosen = oldest;
        }
        return chosen;
}

static bool evict(struct http_server *server, struct http_connection *stranger)
{
        if (!stranger)
                return false;
        server->stats.evicted_connections++;
        http_connection_abort(stranger);
        return true;
}

bool http_admission_open(struct http_server *server, const struct sockaddr_storage *peer)
{
        struct http_admission *admission = &server->admission;
        uint8_t key[16];

        assert(server && peer);
        peer_key(peer, key);
        const struct http_peer_account *account = g_hash_table_lookup(admission->peers, key);
        if (account && account->connections >= server->limits.connections_per_peer && !evict(server, oldest_stranger(account)))
                return false;
        if (http_admission_strangers(admission) >= server->limits.unauthenticated &&
            !evict(server, dispensable_stranger(admission)))
                return false;
        return server->stats.connections < server->limits.connections || evict(server, dispensable_stranger(admission));
}

void http_admission_enter(struct http_server *server, struct http_connection *connection)
{
        struct http_admission *admission = &server->admission;
        uint8_t key[16];

        assert(server && connection && !connection->peer_account);
        peer_key(&connection->peer, key);
        struct http_peer_account *account = g_hash_table_lookup(admission->peers, key);
        if (!account) {
                account = g_new0(struct http_peer_account, 1);
                memcpy(account->key, key, sizeof(key));
                g_hash_table_insert(admission->peers, account->key, account);
        }
        account->connections++;
        connection->peer_account = account;
        connection->serial = ++server->stats.connections_total;
        connection->stranger.data = connection;
        g_queue_push_tail_link(&account->strangers[STRANGER_SILENT], &connection->stranger);
        admission->n_strangers[STRANGER_SILENT]++;
        server->stats.connections++;
}

static void stop_being_a_stranger(struct http_server *server, struct http_connection *connection)
{
        if (connection->known)
                return;
        connection->known = true;
        g_queue_unlink(&connection->peer_account->strangers[connection->heard], &connection->stranger);
        server->admission.n_strangers[connection->heard]--;
}

void http_admission_heard(struct http_server *server, struct http_connection *connection)
{
        GQueue *strangers = connection->peer_account->strangers;

        assert(server && connection);
        if (connection->heard || connection->known)
                return;
        connection->heard = true;
        g_queue_unlink(&strangers[STRANGER_SILENT], &connection->stranger);
        g_queue_push_tail_link(&strangers[STRANGER_SPEAKING], &connection->stranger);
        server->admission.n_strangers[STRANGER_SILENT]--;
        server->admission.n_strangers[STRANGER_SPEAKING]++;
}

static void leave_principal(struct http_admission *admission, struct http_connection *connection)
{
        struct http_principal *principal = g_steal_pointer(&connection->principal);

        if (!principal)
                return;
        principal->bytes -= connection->charged;
        if (--principal->connections == 0)
                g_hash_table_remove(admission->principals, principal->name);
}

void http_admission_leave(struct http_server *server, struct http_connection *connection)
{
        struct http_admission *admission = &server->admission;
        struct http_peer_account *account = connection->peer_account;

        assert(server && account && account->connections > 0);
        leave_principal(admission, connection);
        admission->bytes -= connection->charged;
        connection->charged = 0;
        stop_being_a_stranger(server, connection);
        connection->peer_account = NULL;
        if (--account->connections == 0)
                g_hash_table_remove(admission->peers, account->key);
        server->stats.connections--;
}

static int join_principal(struct http_server *server, struct http_connection *connection, const char *name)
{
        struct http_admission *admission = &server->admission;

        struct http_principal *principal = g_hash_table_lookup(admission->principals, name);
        if (principal && principal->connections >= server->limits.connections_per_principal)
                return -EUSERS;
        leave_principal(admission, connection);
        principal = g_hash_table_lookup(admission->principals, name);
        if (!principal) {
                principal = g_new0(struct http_principal, 1);
                principal->name = g_strdup(name);
                g_hash_table_insert(admission->principals, principal->name, principal);
        }
        principal->connections++;
        principal->bytes += connection->charged;
        connection->principal = principal;
        return 0;
}

int http_admission_vouch(struct http_server *server, struct http_connection *connection, const char *name)
{
        assert(server && connection && name);

        if (!connection->principal || strcmp(connection->principal->name, name) != 0) {
                int r = join_principal(server, connection, name);
                if (r < 0)
                        return r;
        }
        stop_being_a_stranger(server, connection);
        http_admission_charge(server, connection);
        return http_admission_is_over(server, connection) ? -ENOBUFS : 0;
}

void http_admission_charge(struct http_server *server, struct http_connection *connection)
{
        const struct http_request *request = connection->request;
        size_t bytes = connection->output.kept + connection->held_len;

        assert(server && connection);
        if (request && request->collected)
                bytes += request->collected->allocated_len;
        server->admission.bytes += bytes - connection->charged;
        if (connection->principal)
                connection->principal->bytes += bytes - connection->charged;
        connection->charged = bytes;
}

bool http_admission_is_over(const struct http_server *server, const struct http_connection *connection)
{
        const struct http_limits *limits = &server->limits;
        size_t share = limits->memory_per_principal;

        assert(server && connection);
        if (server->admission.bytes > limits->memory)
                share /= ADMISSION_SCARCE;
        return connection->principal && connection->principal->bytes > share;
}
