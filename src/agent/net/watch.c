/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/watch.h"

#include "base/error.h"
#include "base/file.h"

#include <glib.h>
#include <linux/if_link.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MESSAGES_BYTES 32768
#define OUR_ALIAS      "gabbro:" /* as bridge.c gives it */

struct net_watch {
        int fds[NET_WATCH_FDS];
        GHashTable *own; /* port ids of this process' sockets to nftables */
        char messages[MESSAGES_BYTES];
};

static int open_group(int protocol, unsigned group)
{
        struct sockaddr_nl local = {.nl_family = AF_NETLINK};
        autofd fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
        int ret;

        if (fd < 0 || bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0 ||
            setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0) {
                return -errno;
        }
        ret = fd;
        fd = -1;
        return ret;
}

int net_watch_open(struct net_watch **ret_watch)
{
        g_autoptr(net_watch) watch = g_new0(struct net_watch, 1);

        assert(ret_watch);
        watch->own = g_hash_table_new(NULL, NULL);
        watch->fds[NET_WATCH_RULES] = open_group(NETLINK_NETFILTER, NFNLGRP_NFTABLES);
        watch->fds[NET_WATCH_LINKS] = open_group(NETLINK_ROUTE, RTNLGRP_LINK);
        for (unsigned i = 0; i < NET_WATCH_FDS; i++) {
                if (watch->fds[i] < 0) {
                        return watch->fds[i];
                }
        }
        *ret_watch = g_steal_pointer(&watch);
        return 0;
}

struct net_watch *net_watch_close(struct net_watch *watch)
{
        for (unsigned i = 0; watch && i < NET_WATCH_FDS; i++) {
                fd_close(watch->fds[i]);
        }
        if (watch) {
                g_hash_table_unref(watch->own);
                g_free(watch);
        }
        return NULL;
}

int net_watch_fd(const struct net_watch *watch, unsigned which)
{
        assert(watch && which < NET_WATCH_FDS);
        return watch->fds[which];
}

/* --- who did it ------------------------------------------------------------------------------------------------------------------
 */

/* libnftables does not say which socket it speaks by: every one of this process to nftables is noted. */
static void learn_own(struct net_watch *watch)
{
        g_autoptr(GDir) folder = g_dir_open("/proc/self/fd", 0, NULL);
        const char *name;

        while (folder && (name = g_dir_read_name(folder))) {
                struct sockaddr_nl address = {};
                socklen_t len = sizeof(address), int_len = sizeof(int);
                int fd = (int)strtol(name, NULL, 10), domain = 0, protocol = 0;

                if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &int_len) == 0 && domain == AF_NETLINK &&
                    getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &int_len) == 0 && protocol == NETLINK_NETFILTER &&
                    getsockname(fd, (struct sockaddr *)&address, &len) == 0) {
                        g_hash_table_add(watch->own, GUINT_TO_POINTER(address.nl_pid));
                }
        }
}

static bool is_own(struct net_watch *watch, uint32_t port)
{
        if (!g_hash_table_contains(watch->own, GUINT_TO_POINTER(port))) {
                g_hash_table_remove_all(watch->own);
                learn_own(watch);
        }
        return g_hash_table_contains(watch->own, GUINT_TO_POINTER(port));
}

/* --- what was done ---------------------------------------------------------------------------------------------------------------
 */

static bool is_our_bridge(const struct nlmsghdr *message)
{
        const struct ifinfomsg *info = NLMSG_DATA(message);
        int left = (int)message->nlmsg_len - (int)NLMSG_LENGTH(sizeof(*info));

        if (message->nlmsg_type != RTM_DELLINK || left <= 0) {
                return false;
        }
        for (const struct rtattr *at = IFLA_RTA(info); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
                if (at->rta_type == IFLA_IFALIAS && RTA_PAYLOAD(at) > strlen(OUR_ALIAS)) {
                        return strncmp(RTA_DATA(at), OUR_ALIAS, strlen(OUR_ALIAS)) == 0;
                }
        }
        return false;
}

static bool concerns(struct net_watch *watch, unsigned which, size_t len)
{
        const struct nlmsghdr *message = (const struct nlmsghdr *)watch->messages;
        bool ret = false;

        for (unsigned left = (unsigned)len; NLMSG_OK(message, left) && !ret; message = NLMSG_NEXT(message, left)) {
                ret = which == NET_WATCH_RULES ? !is_own(watch, message->nlmsg_pid) : is_our_bridge(message);
        }
        return ret;
}

bool net_watch_read(struct net_watch *watch)
{
        bool ret = false;

        assert(watch);
        for (unsigned i = 0; i < NET_WATCH_FDS; i++) {
                ssize_t n;

                while ((n = recv(watch->fds[i], watch->messages, sizeof(watch->messages), 0)) > 0 ||
                       (n < 0 && (errno == ENOBUFS || errno == EINTR))) {
                        ret |= n < 0 ? errno == ENOBUFS : concerns(watch, i, (size_t)n);
                }
        }
        return ret;
}
