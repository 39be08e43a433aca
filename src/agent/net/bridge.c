/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/bridge.h"

#include "base/error.h"
#include "base/file.h"

#include <fcntl.h>
#include <string.h>

#define ALIAS_PREFIX "gabbro:"

/* One setting of the kernel. One that this kernel does not have (IPv6 switched off) is none to set. */
static int write_setting(const char *bridge, const char *family, const char *group, const char *name, const char *value)
{
        g_autofree char *path = bridge ? g_strdup_printf("/proc/sys/net/%s/%s/%s/%s", family, group, bridge, name)
                                       : g_strdup_printf("/proc/sys/net/%s/%s", family, name);
        autofd fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0) {
                return errno == ENOENT ? 0 : -errno;
        }
        return fd_write_all(fd, value, strlen(value));
}

static int write_settings(const char *bridge)
{
        static const struct {
                const char *family, *group, *name, *value;
        } settings[] = {
                /* Isolated ports reach each other through the host only: it answers ARP for all of them, and at once. */
                {"ipv4", "conf", "proxy_arp_pvlan", "1"}, {"ipv4", "neigh", "proxy_delay", "0"},
                {"ipv4", "conf", "send_redirects", "0"},  {"ipv4", "conf", "accept_redirects", "0"},
                {"ipv4", "conf", "rp_filter", "1"},       {"ipv4", "conf", "forwarding", "1"},
                {"ipv6", "conf", "accept_ra", "0"},       {"ipv6", "conf", "disable_ipv6", "1"},
        };
        int r = write_setting(NULL, "ipv4", NULL, "ip_forward", "1");

        for (size_t i = 0; !r && i < G_N_ELEMENTS(settings); i++) {
                r = write_setting(bridge, settings[i].family, settings[i].group, settings[i].name, settings[i].value);
        }
        return r;
}

/* A local address that stays the same for as long as the network lives. */
static void bridge_mac(const char *uid, uint8_t ret_mac[6])
{
        g_autofree char *hex = g_compute_checksum_for_string(G_CHECKSUM_SHA256, uid, -1);

        ret_mac[0] = 0x0a;
        for (size_t i = 1; i < 6; i++) {
                ret_mac[i] = g_ascii_xdigit_value(hex[2 * i]) << 4 | g_ascii_xdigit_value(hex[2 * i + 1]);
        }
}

static bool ours(const struct link_info *info)
{
        return g_str_equal(info->kind, "bridge") && g_str_has_prefix(info->alias, ALIAS_PREFIX);
}

struct overlap {
        const struct net_network *network;
        int index; /* of the bridge */
        bool found;
        bool has_gateway;
};

static bool look_at_address(const struct link_address *address, void *userdata)
{
        struct overlap *overlap = userdata;
        struct address_prefix prefix = {.base = address->address, .length = address->length};

        if (address->address.family != 4) {
                return true;
        }
        if (address->index == overlap->index) {
                overlap->has_gateway =
                        overlap->has_gateway || (address_compare(&address->address, &overlap->network->gateway) == 0 &&
                                                 address->length == overlap->network->cidr.length);
        } else if (address_prefix_contains(&overlap->network->cidr, &address->address) ||
                   address_prefix_contains(&prefix, &overlap->network->cidr.base)) {
                overlap->found = true;
        }
        return true;
}

static int find_or_create(struct link_socket *link, const struct net_network *network, struct link_info *info, char **reterr_words)
{
        g_autofree char *alias = g_strconcat(ALIAS_PREFIX, network->uid, NULL);
        struct link_bridge bridge = {.name = network->bridge, .mtu = network->mtu};
        int r = link_get(link, network->bridge, info);

        bridge_mac(network->uid, bridge.mac);
        if (r == -ENODEV) {
                r = link_create_bridge(link, &bridge);
                if (!r) {
                        r = link_get(link, network->bridge, info);
                }
        }
        if (!r && (!g_str_equal(info->kind, "bridge") || memcmp(info->mac, bridge.mac, sizeof(bridge.mac)) != 0)) {
                *reterr_words = g_strdup_printf("the interface %s exists and is not the bridge of this network", network->bridge);
                return BRIDGE_E_CONFLICT;
        }
        return r || g_str_equal(info->alias, alias) ? r : link_set_alias(link, info->index, alias);
}

int bridge_ensure(struct link_socket *link, const struct net_network *network, char **reterr_words)
{
        struct overlap overlap = {.network = network};
        struct link_info info;
        int r;

        assert(link && network && reterr_words);
        r = find_or_create(link, network, &info, reterr_words);
        if (r) {
                return r;
        }
        overlap.index = info.index;
        r = link_each_address(link, look_at_address, &overlap);
        if (!r && overlap.found) {
                char text[ADDRESS_PREFIX_TEXT_MAX];

                *reterr_words = g_strdup_printf("the range %s overlaps with an address of another interface of this host",
                                                address_prefix_format(&network->cidr, text));
                return BRIDGE_E_CONFLICT;
        }
        if (!r && network->mtu && info.mtu != network->mtu) {
                r = link_set_mtu(link, info.index, network->mtu);
        }
        if (!r) {
                r = write_settings(network->bridge);
        }
        if (!r && !overlap.has_gateway) {
                r = link_add_address(link, info.index, &network->gateway, network->cidr.length);
        }
        if (!r && !info.up) {
                r = link_set_up(link, info.index);
        }
        return r;
}

int bridge_remove(struct link_socket *link, const char *name)
{
        struct link_info info;
        int r;

        assert(link && name);
        r = link_get(link, name, &info);
        if (r == -ENODEV) {
                return 0;
        }
        return r < 0 || !ours(&info) ? r : link_delete(link, info.index);
}

static bool collect_bridge(const struct link_info *info, void *userdata)
{
        if (ours(info)) {
                g_ptr_array_add(userdata, g_strdup(info->name));
        }
        return true;
}

GPtrArray *bridge_list(struct link_socket *link)
{
        GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

        assert(link);
        /* An incomplete list leaves a stale bridge for the next start. */
        (void)link_each(link, collect_bridge, names);
        return names;
}
