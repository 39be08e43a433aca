/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/net.h"

#include "agent/net/bridge.h"
#include "agent/net/conntrack.h"
#include "agent/net/dhcp.h"
#include "agent/net/link.h"
#include "agent/net/nft.h"
#include "agent/net/ruleset.h"
#include "agent/net/seen.h"
#include "base/error.h"
#include "base/file.h"

#include <glib.h>
#include <string.h>

struct net_engine {
        GMutex mutex;
        char *state_dir;
        struct link_socket *link;
        struct nft *nft;
        struct seen *seen;    /* what stood in the tables when they were read last */
        GHashTable *ports;    /* name -> struct net_port, owned */
        GHashTable *networks; /* bridge -> GUINT count of ports */
        char *listing;        /* SHA-256 of the tables as they were after our last change; NULL: not looked at since */
        bool doubtful;        /* a change failed half way: what stands may differ from what we remember */
};

static void free_port(void *port)
{
        net_port_free(port);
}

static int fail(int outcome, char **reterr_words, char *words)
{
        *reterr_words = words;
        return outcome;
}

/* --- rules -----------------------------------------------------------------------------------------------------------------------
 */

#define LIST_TABLES "list table bridge gabbro\nlist table inet gabbro\n"

static char *current_listing(struct net_engine *engine)
{
        g_autofree char *output = nft_list(engine->nft, LIST_TABLES);

        return output ? g_compute_checksum_for_string(G_CHECKSUM_SHA256, output, -1) : NULL;
}

static int apply(struct net_engine *engine, const GString *commands, char **reterr_words)
{
        g_autofree char *words = NULL;

        if (nft_run(engine->nft, commands->str, NULL, &words) < 0) {
                return fail(NET_E_FAILED, reterr_words, g_strdup_printf("nftables refused the rules: %s", words));
        }
        g_clear_pointer(&engine->listing, g_free);
        return 0;
}

/* All rules for what the engine knows, over whatever stands. */
static int apply_all(struct net_engine *engine, char **reterr_words)
{
        g_autoptr(GHashTable) networks = g_hash_table_new(g_str_hash, g_str_equal);
        g_autoptr(GString) text = g_string_new(NULL);
        const struct net_port *port;
        GHashTableIter iter;

        ruleset_base(text);
        g_hash_table_iter_init(&iter, engine->ports);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&port)) {
                if (g_hash_table_add(networks, port->network.bridge)) {
                        ruleset_add_network(&port->network, text);
                }
                ruleset_add_port(port, text);
        }
        return apply(engine, text, reterr_words);
}

/* --- life ------------------------------------------------------------------------------------------------------------------------
 */

int net_engine_new(const struct net_engine_options *options, struct net_engine **ret_engine, char **reterr_words)
{
        g_autoptr(net_engine) engine = NULL;
        g_autofree char *listing = NULL;
        int r;

        assert(options && options->state_dir && ret_engine && reterr_words);
        if (options->state_dir[0] != '/' ||
            options->state_dir[strspn(options->state_dir, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-")]) {
                return fail(NET_E_INVALID, reterr_words,
                            g_strdup("the folder for network state must be absolute and of letters, digits and / . _ - only"));
        }
        engine = g_new0(struct net_engine, 1);
        g_mutex_init(&engine->mutex);
        engine->state_dir = g_strdup(options->state_dir);
        engine->ports = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_port);
        engine->networks = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        engine->nft = nft_new();
        engine->seen = seen_new();
        r = file_ensure_dir(engine->state_dir, 0755);
        if (!r) {
                r = link_open(&engine->link);
        }
        if (r < 0) {
                return r;
        }
        if (!engine->nft) {
                return fail(NET_E_FAILED, reterr_words, g_strdup("nftables cannot be used"));
        }
        listing = current_listing(engine);
        if (!listing) {
                r = apply_all(engine, reterr_words);
        }
        if (!r) {
                *ret_engine = g_steal_pointer(&engine);
        }
        return r;
}

struct net_engine *net_engine_free(struct net_engine *engine)
{
        if (!engine) {
                return NULL;
        }
        g_hash_table_unref(engine->ports);
        g_hash_table_unref(engine->networks);
        nft_free(engine->nft);
        seen_free(engine->seen);
        link_close(engine->link);
        g_free(engine->listing);
        g_free(engine->state_dir);
        g_mutex_clear(&engine->mutex);
        g_free(engine);
        return NULL;
}

/* --- networks --------------------------------------------------------------------------------------------------------------------
 */

static unsigned network_ports(struct net_engine *engine, const char *bridge)
{
        return GPOINTER_TO_UINT(g_hash_table_lookup(engine->networks, bridge));
}

static void count_port(struct net_engine *engine, const char *bridge, int change)
{
        unsigned n = network_ports(engine, bridge) + change;

        if (n) {
                g_hash_table_insert(engine->networks, g_strdup(bridge), GUINT_TO_POINTER(n));
        } else {
                g_hash_table_remove(engine->networks, bridge);
        }
}

/* Bridge and DHCP as the network wants them; the rules are the caller's. */
static int ensure_network(struct net_engine *engine, const struct net_network *network, char **reterr_words)
{
        int r = bridge_ensure(engine->link, network, reterr_words);

        if (r) {
                return r == BRIDGE_E_CONFLICT ? NET_E_CONFLICT : r;
        }
        r = dhcp_ensure(engine->state_dir, network, reterr_words);
        if (r < 0 && *reterr_words) {
                return NET_E_FAILED;
        }
        return r;
}

static int remove_network(struct net_engine *engine, const char *bridge)
{
        int r = dhcp_stop(engine->state_dir, bridge);
        int deleted = bridge_remove(engine->link, bridge);

        return r < 0 ? r : deleted;
}

/* --- conflicts -------------------------------------------------------------------------------------------------------------------
 */

static bool networks_equal(const struct net_network *a, const struct net_network *b)
{
        return g_str_equal(a->uid, b->uid) && g_str_equal(a->bridge, b->bridge) && address_compare(&a->gateway, &b->gateway) == 0 &&
               address_compare(&a->cidr.base, &b->cidr.base) == 0 && a->cidr.length == b->cidr.length;
}

static const char *ports_conflict(const struct net_port *a, const struct net_port *b)
{
        if (g_str_equal(a->tap, b->tap)) {
                return "tap name";
        }
        if (!g_str_equal(a->network.bridge, b->network.bridge)) {
                return NULL;
        }
        if (!networks_equal(&a->network, &b->network)) {
                return "bridge (as another network)";
        }
        if (memcmp(a->mac, b->mac, sizeof(a->mac)) == 0) {
                return "MAC address";
        }
        for (size_t i = 0; i < a->n_addresses; i++) {
                for (size_t j = 0; j < b->n_addresses; j++) {
                        if (address_compare(&a->addresses[i], &b->addresses[j]) == 0) {
                                return "IP address";
                        }
                }
        }
        return NULL;
}

/* Words for what makes the port impossible beside the others, or NULL. */
static char *conflict(struct net_engine *engine, const struct net_port *port)
{
        const struct net_port *other;
        GHashTableIter iter;

        g_hash_table_iter_init(&iter, engine->ports);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&other)) {
                const char *what = g_str_equal(other->name, port->name) ? NULL : ports_conflict(port, other);

                if (what) {
                        return g_strdup_printf("%s has the same %s", other->name, what);
                }
        }
        return NULL;
}

/* --- ports -----------------------------------------------------------------------------------------------------------------------
 */

/* Stop knowing a port; the caller has seen to its rules. */
static void forget_port(struct net_engine *engine, const char *name)
{
        struct net_port *port = g_hash_table_lookup(engine->ports, name);
        g_autofree char *bridge = g_strdup(port->network.bridge);

        g_hash_table_remove(engine->ports, name);
        count_port(engine, bridge, -1);
}

static void remember_port(struct net_engine *engine, const struct net_port *port)
{
        struct net_port *copy = net_port_copy(port);

        count_port(engine, copy->network.bridge, 1);
        g_hash_table_insert(engine->ports, copy->name, copy);
}

/* A port that moved to another tap or bridge is another port: the old one goes first. */
static int remove_locked(struct net_engine *engine, const char *name, char **reterr_words)
{
        const struct net_port *port = g_hash_table_lookup(engine->ports, name);
        g_autoptr(GString) text = g_string_new(NULL);
        g_autofree char *bridge = NULL;
        struct link_info info;
        bool last;
        int r;

        if (!port) {
                return 0;
        }
        if (link_get(engine->link, port->tap, &info) == 0) {
                return fail(NET_E_BUSY, reterr_words, g_strdup_printf("the interface %s still exists", port->tap));
        }
        last = network_ports(engine, port->network.bridge) == 1;
        ruleset_remove_port(port, text);
        if (last) {
                ruleset_remove_network(&port->network, text);
        }
        r = apply(engine, text, reterr_words);
        if (r) {
                engine->doubtful = true;
                return r;
        }
        r = dhcp_remove_host(engine->state_dir, port);
        for (size_t i = 0; i < port->n_addresses; i++) {
                int forgotten = conntrack_forget(&port->addresses[i]);

                r = r ? r : forgotten;
        }
        bridge = g_strdup(port->network.bridge);
        forget_port(engine, name);
        if (last) {
                int removed = remove_network(engine, bridge);

                r = r ? r : removed;
        }
        return r;
}

int net_engine_remove(struct net_engine *engine, const char *name, char **reterr_words)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&engine->mutex);

        assert(name && reterr_words);
        return remove_locked(engine, name, reterr_words);
}

/* Rules of a new or changed port, in one transaction with its network's. */
static int apply_port(struct net_engine *engine, const struct net_port *before, const struct net_port *port, char **reterr_words)
{
        g_autoptr(GString) text = g_string_new(NULL);

        if (!before && !network_ports(engine, port->network.bridge)) {
                ruleset_add_network(&port->network, text);
        }
        if (before) {
                ruleset_change_port(before, port, text);
        } else {
                ruleset_add_port(port, text);
        }
        return apply(engine, text, reterr_words);
}

/* Its rules are what they shall be, and the kernel has them: most turns of most ports. */
static bool stands(struct net_engine *engine, const struct net_port *before, const struct net_port *port)
{
        g_autofree char *was = before ? ruleset_digest(before) : NULL, *shall = before ? ruleset_digest(port) : NULL;

        return before && g_str_equal(was, shall) && seen_look(engine->seen, engine->nft) == 0 && seen_port(engine->seen, port);
}

static int check_port(struct net_engine *engine, const struct net_port *port, char **reterr_words)
{
        char *words = net_port_fault(port);

        if (words) {
                return fail(NET_E_INVALID, reterr_words, words);
        }
        words = conflict(engine, port);
        return words ? fail(NET_E_CONFLICT, reterr_words, words) : 0;
}

static int put_locked(struct net_engine *engine, const struct net_port *port, char **reterr_words)
{
        const struct net_port *before = g_hash_table_lookup(engine->ports, port->name);
        int r = check_port(engine, port, reterr_words);

        if (r) {
                return r;
        }
        if (before && (!g_str_equal(before->tap, port->tap) || !networks_equal(&before->network, &port->network))) {
                r = remove_locked(engine, port->name, reterr_words);
                before = NULL;
        }
        if (!r) {
                r = ensure_network(engine, &port->network, reterr_words);
        }
        if (!r && !stands(engine, before, port)) {
                r = apply_port(engine, before, port, reterr_words);
        }
        if (!r && before && memcmp(before->mac, port->mac, sizeof(port->mac)) != 0) {
                r = dhcp_remove_host(engine->state_dir, before);
        }
        if (!r) {
                r = dhcp_put_host(engine->state_dir, port);
        }
        if (r) {
                engine->doubtful = true;
                if (!network_ports(engine, port->network.bridge)) {
                        /* Half a network serves nobody. */
                        (void)remove_network(engine, port->network.bridge);
                }
                return r;
        }
        if (before) {
                forget_port(engine, port->name);
        }
        remember_port(engine, port);
        return 0;
}

int net_engine_put(struct net_engine *engine, const struct net_port *port, char **reterr_words)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&engine->mutex);

        assert(port && port->name && reterr_words);
        return put_locked(engine, port, reterr_words);
}

char *net_engine_digest(struct net_engine *engine, const char *name)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&engine->mutex);
        const struct net_port *port = g_hash_table_lookup(engine->ports, name);

        return port ? ruleset_digest(port) : NULL;
}

/* --- seeing that it is in place --------------------------------------------------------------------------------------------------
 */

static int verify_locked(struct net_engine *engine, const struct net_port *port, char **reterr_words)
{
        struct link_info info;

        if (seen_look(engine->seen, engine->nft) < 0 || !seen_port(engine->seen, port)) {
                return fail(NET_E_ABSENT, reterr_words, g_strdup_printf("the rules of %s are not in place", port->tap));
        }
        if (link_get(engine->link, port->network.bridge, &info) < 0 || !info.up) {
                return fail(NET_E_ABSENT, reterr_words, g_strdup_printf("the bridge %s is not up", port->network.bridge));
        }
        if (!dhcp_running(engine->state_dir, port->network.bridge)) {
                return fail(NET_E_ABSENT, reterr_words, g_strdup_printf("nobody serves DHCP on %s", port->network.bridge));
        }
        return 0;
}

int net_engine_verify(struct net_engine *engine, const char *name, char **reterr_words)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&engine->mutex);
        const struct net_port *port = g_hash_table_lookup(engine->ports, name);

        assert(reterr_words);
        if (!port) {
                return fail(NET_E_ABSENT, reterr_words, g_strdup_printf("the port %s is not known here", name));
        }
        return verify_locked(engine, port, reterr_words);
}

int net_engine_attached(struct net_engine *engine, const char *name, char **reterr_words)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&engine->mutex);
        const struct net_port *port = g_hash_table_lookup(engine->ports, name);
        struct link_info tap, bridge;
        int r;

        assert(reterr_words);
        if (!port) {
                return fail(NET_E_ABSENT, reterr_words, g_strdup_printf("the port %s is not known here", name));
        }
        r = verify_locked(engine, port, reterr_words);
        if (r) {
                return r;
        }
        if (link_get(engine->link, port->tap, &tap) < 0 || link_get(engine->link, port->network.bridge, &bridge) < 0 ||
            tap.master != bridge.index) {
                return fail(NET_E_ABSENT, reterr_words,
                            g_strdup_printf("the interface %s is not on the bridge %s", port->tap, port->network.bridge));
        }
        r = tap.isolated ? 0 : link_set_isolated(engine->link, tap.index, true);
        if (r < 0) {
                return fail(NET_E_FAILED, reterr_words, g_strdup_printf("%s cannot be isolated: %s", port->tap, g_strerror(-r)));
        }
        return 0;
}

/* --- as a whole ------------------------------------------------------------------------------------------------------------------
 */

/* Every network that has ports; a failure of one does not keep the others from being served. */
static int ensure_all_networks(struct net_engine *engine, char **reterr_words)
{
        g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
        const struct net_port *port;
        GHashTableIter iter;
        int result = 0;

        g_hash_table_iter_init(&iter, engine->ports);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&port)) {
                g_autofree char *words = NULL;
                int r = 0;

                if (g_hash_table_add(seen, port->network.bridge)) {
                        r = ensure_network(engine, &port->network, &words);
                }
                if (!r) {
                        r = dhcp_put_host(engine->state_dir, port);
                }
                if (r && !result) {
                        result = fail(r, reterr_words, g_steal_pointer(&words));
                }
        }
        return result;
}

static void keep_known_hosts(struct net_engine *engine, const struct net_network *network)
{
        g_autoptr(GHashTable) taps = g_hash_table_new(g_str_hash, g_str_equal);
        const struct net_port *port;
        GHashTableIter iter;

        g_hash_table_iter_init(&iter, engine->ports);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&port)) {
                if (g_str_equal(port->network.bridge, network->bridge)) {
                        g_hash_table_add(taps, port->tap);
                }
        }
        /* A host file too many answers a guest that does not exist: nothing that may stop the others. */
        (void)dhcp_keep_hosts(engine->state_dir, network, taps);
}

static void remove_stale_networks(struct net_engine *engine)
{
        g_autoptr(GPtrArray) stale = bridge_list(engine->link);
        g_autoptr(GDir) folder = g_dir_open(engine->state_dir, 0, NULL);
        const char *name;

        while (folder && (name = g_dir_read_name(folder))) {
                if (net_bridge_valid(name)) {
                        g_ptr_array_add(stale, g_strdup(name));
                }
        }
        for (size_t i = 0; i < stale->len; i++) {
                if (!network_ports(engine, stale->pdata[i])) {
                        /* Tried again by the next start; it has no rules and serves nobody. */
                        (void)remove_network(engine, stale->pdata[i]);
                }
        }
}

static int restore_locked(struct net_engine *engine, char **reterr_words)
{
        g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
        const struct net_port *port;
        GHashTableIter iter;
        int r = apply_all(engine, reterr_words);

        if (r) {
                return r;
        }
        remove_stale_networks(engine);
        g_hash_table_iter_init(&iter, engine->ports);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&port)) {
                if (g_hash_table_add(seen, port->network.bridge)) {
                        keep_known_hosts(engine, &port->network);
                }
        }
        r = ensure_all_networks(engine, reterr_words);
        engine->listing = current_listing(engine);
        return r;
}

int net_engine_restore(struct net_engine *engine, char **reterr_words)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&engine->mutex);

        assert(reterr_words);
        return restore_locked(engine, reterr_words);
}

int net_engine_rebuild(struct net_engine *engine, const struct net_port *const *ports, size_t n, char **reterr_words)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&engine->mutex);

        assert(ports || !n);
        assert(reterr_words);
        g_hash_table_remove_all(engine->ports);
        g_hash_table_remove_all(engine->networks);
        for (size_t i = 0; i < n; i++) {
                g_autofree char *words = NULL;

                if (!g_hash_table_contains(engine->ports, ports[i]->name) && check_port(engine, ports[i], &words) == 0) {
                        remember_port(engine, ports[i]);
                }
        }
        return restore_locked(engine, reterr_words);
}

/* Also what was broken right after our own last change, before anybody looked. */
static bool all_stand(struct net_engine *engine)
{
        const struct net_port *port;
        GHashTableIter iter;

        if (seen_look(engine->seen, engine->nft) < 0) {
                return false;
        }
        g_hash_table_iter_init(&iter, engine->ports);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&port)) {
                if (!seen_port(engine->seen, port)) {
                        return false;
                }
        }
        return true;
}

int net_engine_repair(struct net_engine *engine, bool *ret_repaired, char **reterr_words)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&engine->mutex);
        g_autofree char *listing = current_listing(engine);
        bool repaired = false;
        int r = 0;

        assert(ret_repaired && reterr_words);
        if (!listing || engine->doubtful || (engine->listing && !g_str_equal(listing, engine->listing)) || !all_stand(engine)) {
                repaired = true;
                r = apply_all(engine, reterr_words);
                engine->doubtful = r;
        }
        if (!r) {
                r = ensure_all_networks(engine, reterr_words);
        }
        if (!engine->listing) {
                engine->listing = current_listing(engine);
        }
        if (!r) {
                *ret_repaired = repaired;
        }
        return r;
}

int net_engine_clear(struct net_engine *engine, char **reterr_words)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&engine->mutex);
        g_autoptr(GString) text = g_string_new(NULL);

        assert(reterr_words);
        g_hash_table_remove_all(engine->ports);
        g_hash_table_remove_all(engine->networks);
        remove_stale_networks(engine);
        ruleset_delete(text);
        return apply(engine, text, reterr_words);
}
