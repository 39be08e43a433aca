/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/address.h"
#include "base/auto.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Network interfaces of this network namespace by rtnetlink(7): bridges, their addresses, flags of bridge ports. Blocking; one
 * socket belongs to one thread at a time. All functions return 0 or -errno of the kernel (-ENODEV: no such interface).
 */
struct link_socket;

int link_open(struct link_socket **ret_socket);
struct link_socket *link_close(struct link_socket *socket);
AUTOPTR(link_socket, link_close);

#define LINK_NAME_MAX  16
#define LINK_ALIAS_MAX 64

struct link_info {
        int index;
        char name[LINK_NAME_MAX];
        char kind[LINK_NAME_MAX];   /* "bridge", "tun", ...; "" for hardware */
        char alias[LINK_ALIAS_MAX]; /* ifalias, cut when longer */
        uint8_t mac[6];
        int master; /* index of the bridge, or 0 */
        bool up;
        bool isolated; /* a bridge port that exchanges frames only with ports that are not isolated */
        uint32_t mtu;
};

int link_get(struct link_socket *socket, const char *name, struct link_info *ret_info);
/** link_each() - every interface; @each returns false to stop. */
int link_each(struct link_socket *socket, bool (*each)(const struct link_info *info, void *userdata), void *userdata);

struct link_bridge {
        const char *name;
        uint8_t mac[6]; /* fixed, so that it does not follow the ports */
        uint32_t mtu;
};
/** link_create_bridge() - a bridge without STP or forwarding delay, down. -EEXIST when the name is taken. */
int link_create_bridge(struct link_socket *socket, const struct link_bridge *bridge);
/** link_set_alias() - the free text that the interface carries; the kernel does not take it at creation. */
int link_set_alias(struct link_socket *socket, int index, const char *alias);
int link_delete(struct link_socket *socket, int index);
int link_set_up(struct link_socket *socket, int index);
int link_set_mtu(struct link_socket *socket, int index, uint32_t mtu);
int link_set_master(struct link_socket *socket, int index, int master);
/** link_set_isolated() - of a bridge port. */
int link_set_isolated(struct link_socket *socket, int index, bool isolated);

/** link_add_address() - @address with a prefix of @length bits; already there is success. */
int link_add_address(struct link_socket *socket, int index, const struct address *address, uint8_t length);
int link_delete_address(struct link_socket *socket, int index, const struct address *address, uint8_t length);

struct link_address {
        int index;
        struct address address;
        uint8_t length;
};
/** link_each_address() - every IPv4 and IPv6 address of every interface. */
int link_each_address(struct link_socket *socket, bool (*each)(const struct link_address *address, void *userdata), void *userdata);
