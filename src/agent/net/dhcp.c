/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/dhcp.h"

#include "agent/net/spawn.h"
#include "base/error.h"
#include "base/file.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <glib.h>
#include <net/if.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define STOP_GRACE_US 3000000

static char *bridge_path(const char *dir, const char *bridge, const char *file)
{
        assert(dir && net_bridge_valid(bridge));
        return g_build_filename(dir, bridge, file, NULL);
}

static char *config_argument(const char *dir, const char *bridge)
{
        g_autofree char *path = bridge_path(dir, bridge, "dnsmasq.conf");

        return g_strconcat("--conf-file=", path, NULL);
}

static void append_addresses(GString *out, const struct address *addresses, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                char text[ADDRESS_TEXT_MAX];

                g_string_append_printf(out, ",%s", address_format(&addresses[i], text));
        }
}

char *dhcp_config(const char *dir, const struct net_network *network, const char *user)
{
        g_autoptr(GString) out = g_string_new("# Written by gabbro-agent; changes are lost.\n");
        uint32_t mask = GUINT32_TO_BE(UINT32_MAX << (32 - network->cidr.length));
        char base[ADDRESS_TEXT_MAX], mask_text[ADDRESS_TEXT_MAX];
        struct address mask_address = {.family = 4};

        assert(network->cidr.base.family == 4 && network->cidr.length > 0);
        memcpy(mask_address.bytes, &mask, sizeof(mask));
        g_string_append_printf(out, "interface=%s\nexcept-interface=lo\nbind-dynamic\n", network->bridge);
        g_string_append(out, "no-hosts\ndomain-needed\nbogus-priv\n");
        g_string_append_printf(out, "dhcp-range=%s,static,%s,infinite\n", address_format(&network->cidr.base, base),
                               address_format(&mask_address, mask_text));
        g_string_append_printf(out, "dhcp-hostsdir=%s/%s/hosts\n", dir, network->bridge);
        g_string_append_printf(out, "dhcp-leasefile=%s/%s/leases\n", dir, network->bridge);
        g_string_append_printf(out, "pid-file=%s/%s/dnsmasq.pid\n", dir, network->bridge);
        g_string_append(out, "dhcp-authoritative\ndhcp-ignore-names\ndhcp-no-override\nno-ping\nquiet-dhcp\n");
        g_string_append(out, "dhcp-option=option:router");
        append_addresses(out, &network->gateway, 1);
        g_string_append(out, "\ndhcp-option=option:dns-server");
        append_addresses(out, network->n_dns ? network->dns : &network->gateway, network->n_dns ? network->n_dns : 1);
        g_string_append_printf(out, "\ndhcp-option=option:mtu,%u\n", network->mtu ? network->mtu : 1500);
        if (user) {
                g_string_append_printf(out, "user=%s\n", user);
        }
        return g_string_free(g_steal_pointer(&out), FALSE);
}

/* dnsmasq leaves root behind where the user it changes to can still reach its files. */
static const char *process_user(const char *dir)
{
        g_autofree char *path = g_strdup(dir);

        for (char *slash = path + strlen(path); slash > path; slash = strrchr(path, '/')) {
                struct stat info;

                *slash = '\0';
                if (*path && (stat(path, &info) < 0 || !(info.st_mode & S_IXOTH))) {
                        return "root";
                }
        }
        return getpwnam("dnsmasq") ? "dnsmasq" : "nobody";
}

static int find_process(const char *dir, const char *bridge)
{
        g_autofree char *pid_file = bridge_path(dir, bridge, "dnsmasq.pid");
        g_autofree char *argument = config_argument(dir, bridge);

        return spawn_find(pid_file, argument);
}

bool dhcp_running(const char *dir, const char *bridge)
{
        autofd pidfd = find_process(dir, bridge);

        return pidfd >= 0;
}

static int start(const char *dir, const char *bridge, char **reterr_words)
{
        g_autofree char *argument = config_argument(dir, bridge);
        const char *argv[] = {"dnsmasq", argument, NULL};

        return spawn_wait(argv, reterr_words);
}

/* Also one whose pid file is lost. */
static int stop_process(const char *dir, const char *bridge)
{
        g_autofree char *argument = config_argument(dir, bridge);
        autofd pidfd = find_process(dir, bridge);

        if (pidfd < 0) {
                pidfd = spawn_search(argument);
        }
        return pidfd >= 0 ? spawn_stop(pidfd, STOP_GRACE_US) : 0;
}

static void hang_up(const char *dir, const char *bridge)
{
        autofd pidfd = find_process(dir, bridge);

        if (pidfd >= 0) {
                /* Gone meanwhile: the next check of the bridge starts it again and it reads all files. */
                (void)spawn_signal(pidfd, SIGHUP);
        }
}

int dhcp_ensure(const char *dir, const struct net_network *network, char **reterr_words)
{
        g_autofree char *hosts = NULL, *path = NULL, *wanted = NULL, *present = NULL;
        size_t len;
        int r;

        assert(dir && network && reterr_words);
        hosts = bridge_path(dir, network->bridge, "hosts");
        path = bridge_path(dir, network->bridge, "dnsmasq.conf");
        r = file_ensure_dir(hosts, 0755);
        if (r < 0) {
                return r;
        }
        wanted = dhcp_config(dir, network, process_user(hosts));
        if (file_read(path, 65536, &present, &len) < 0 || !g_str_equal(present, wanted)) {
                r = stop_process(dir, network->bridge);
                file_drop_leftovers(path);
                if (!r) {
                        r = file_write_atomic(path, wanted, strlen(wanted), 0644);
                }
                if (r < 0) {
                        return r;
                }
        }
        if (dhcp_running(dir, network->bridge)) {
                return 0;
        }
        r = stop_process(dir, network->bridge);
        return r ? r : start(dir, network->bridge, reterr_words);
}

/* --- hosts -----------------------------------------------------------------------------------------------------------------------
 */

static char *host_path(const char *dir, const struct net_port *port)
{
        assert(net_tap_valid(port->tap));
        return g_build_filename(dir, port->network.bridge, "hosts", port->tap, NULL);
}

/* Words of dnsmasq where a host's name may stand: "ignore", and lease times such as "45", "45m" and "infinite". */
static bool is_word_of_dnsmasq(const char *name)
{
        size_t digits = strspn(name, "0123456789");

        return g_str_equal(name, "ignore") || g_str_equal(name, "infinite") ||
               (digits > 0 && (!name[digits] || (strchr("smhdw", name[digits]) && !name[digits + 1])));
}

char *dhcp_host_line(const struct net_port *port)
{
        char mac[MAC_TEXT_MAX], address[ADDRESS_TEXT_MAX];
        bool named = port->hostname && !is_word_of_dnsmasq(port->hostname);

        net_mac_format(port->mac, mac);
        return g_strdup_printf("%s,%s%s%s,infinite\n", mac, address_format(&port->addresses[0], address), named ? "," : "",
                               named ? port->hostname : "");
}

int dhcp_put_host(const char *dir, const struct net_port *port)
{
        g_autofree char *path = host_path(dir, port), *present = NULL, *line = NULL;
        bool known;
        size_t len;
        int r;

        if (!port->n_addresses) {
                return dhcp_remove_host(dir, port);
        }
        line = dhcp_host_line(port);
        known = file_read(path, 4096, &present, &len) == 0;
        if (known && g_str_equal(present, line)) {
                return 0;
        }
        /* The folder is watched; a temporary file in it would be read too, so the file is written where it stands. */
        r = g_file_set_contents_full(path, line, -1, G_FILE_SET_CONTENTS_NONE, 0644, NULL) ? 0 : -EIO;
        if (!r && known) {
                hang_up(dir, port->network.bridge);
        }
        return r;
}

/* A DHCPRELEASE (RFC 2131 §4.4.6) in the guest's name, sent to ourselves: dnsmasq has no other way to end a lease. */
static void release_lease(const struct address *gateway, const uint8_t mac[6], const struct address *leased)
{
        struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(67)};
        uint8_t packet[300] = {[0] = 1, [1] = 1, [2] = 6};
        uint8_t options[] = {99, 130, 83, 99, 53, 1, 7, 54, 4, 0, 0, 0, 0, 255};
        autofd fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd < 0) {
                return;
        }
        memcpy(&server.sin_addr, gateway->bytes, 4);
        memcpy(options + 9, gateway->bytes, 4);
        memcpy(packet + 12, leased->bytes, 4);
        memcpy(packet + 28, mac, 6);
        memcpy(packet + 236, options, sizeof(options));
        /* A lost release only delays another use of the address until the process is started anew. */
        (void)sendto(fd, packet, sizeof(packet), MSG_DONTWAIT, (struct sockaddr *)&server, sizeof(server));
}

/* Removes a host file and releases the lease that it names. 0, or -errno (-ENOENT: it was not there). */
static int remove_host_file(const char *path, const struct address *gateway)
{
        g_autofree char *line = NULL;
        g_auto(GStrv) words = NULL;
        struct address leased;
        uint8_t mac[6];
        size_t len;

        if (file_read(path, 4096, &line, &len) == 0) {
                words = g_strsplit(line, ",", 3);
        }
        if (unlink(path) < 0) {
                return -errno;
        }
        if (words && g_strv_length(words) >= 2 && net_mac_parse(words[0], mac) == 0 && address_parse(words[1], &leased) == 0) {
                release_lease(gateway, mac, &leased);
        }
        return 0;
}

int dhcp_remove_host(const char *dir, const struct net_port *port)
{
        g_autofree char *path = host_path(dir, port);
        int r = remove_host_file(path, &port->network.gateway);

        if (!r) {
                hang_up(dir, port->network.bridge);
        }
        return r == -ENOENT ? 0 : r;
}

int dhcp_keep_hosts(const char *dir, const struct net_network *network, GHashTable *taps)
{
        g_autofree char *path = bridge_path(dir, network->bridge, "hosts");
        const struct dirent *entry;
        bool removed = false;
        DIR *folder = opendir(path);

        assert(taps);
        if (!folder) {
                return errno == ENOENT ? 0 : -errno;
        }
        while ((entry = readdir(folder))) {
                g_autofree char *file = g_build_filename(path, entry->d_name, NULL);

                if (entry->d_name[0] != '.' && !g_hash_table_contains(taps, entry->d_name)) {
                        removed = remove_host_file(file, &network->gateway) == 0 || removed;
                }
        }
        closedir(folder);
        if (removed) {
                hang_up(dir, network->bridge);
        }
        return 0;
}

int dhcp_stop(const char *dir, const char *bridge)
{
        g_autofree char *path = g_build_filename(dir, bridge, NULL);
        int r = stop_process(dir, bridge);

        return r < 0 ? r : file_remove_tree(path);
}
