/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/link.h"

#include "base/error.h"
#include "base/file.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#define REQUEST_BYTES 1024
#define ANSWER_BYTES  32768

struct link_socket {
        int fd;
        uint32_t sequence;
        char answer[ANSWER_BYTES];
};

/* A request under construction; attributes are appended behind the fixed header. */
struct request {
        union {
                struct nlmsghdr header;
                char bytes[REQUEST_BYTES];
        };
};

int link_open(struct link_socket **ret_socket)
{
        struct sockaddr_nl local = {.nl_family = AF_NETLINK};
        struct timeval timeout = {.tv_sec = 5};
        autofd fd = -1;
        int one = 1;

        assert(ret_socket);
        fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
        if (fd < 0) {
                return -errno;
        }
        if (bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0) {
                return -errno;
        }
        /* Words of the kernel are not used; a kernel without the option is fine. */
        (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
        *ret_socket = g_new0(struct link_socket, 1);
        (*ret_socket)->fd = fd;
        fd = -1;
        return 0;
}

struct link_socket *link_close(struct link_socket *socket)
{
        if (socket) {
                fd_close(socket->fd);
                g_free(socket);
        }
        return NULL;
}

/* --- building --------------------------------------------------------------------------------------------------------------------
 */

/* The fixed part behind the netlink header, zeroed. */
static void *request_init(struct request *request, uint16_t type, uint16_t flags, size_t fixed)
{
        assert(NLMSG_SPACE(fixed) <= REQUEST_BYTES);
        memset(request, 0, sizeof(*request));
        request->header.nlmsg_type = type;
        request->header.nlmsg_flags = NLM_F_REQUEST | flags;
        request->header.nlmsg_len = NLMSG_LENGTH(fixed);
        return NLMSG_DATA(&request->header);
}

static struct rtattr *request_add(struct request *request, uint16_t type, const void *data, size_t len)
{
        size_t at = NLMSG_ALIGN(request->header.nlmsg_len);
        struct rtattr *attribute;

        assert(at + RTA_SPACE(len) <= REQUEST_BYTES);
        attribute = (struct rtattr *)(request->bytes + at);
        attribute->rta_type = type;
        attribute->rta_len = RTA_LENGTH(len);
        if (len) {
                memcpy(RTA_DATA(attribute), data, len);
        }
        request->header.nlmsg_len = at + RTA_SPACE(len);
        return attribute;
}

static void request_add_text(struct request *request, uint16_t type, const char *text)
{
        request_add(request, type, text, strlen(text) + 1);
}

static struct rtattr *request_nest(struct request *request, uint16_t type)
{
        return request_add(request, type | NLA_F_NESTED, NULL, 0);
}

static void request_nest_end(struct request *request, struct rtattr *nest)
{
        nest->rta_len = (char *)&request->header + request->header.nlmsg_len - (char *)nest;
}

/* --- exchanging ------------------------------------------------------------------------------------------------------------------
 */

typedef bool (*message_fn)(const struct nlmsghdr *message, void *userdata);

/* One datagram of answers. 1: more is to come; 0: the end; -errno. A consumer that has enough still drains the dump. */
static int take_answers(struct link_socket *socket, message_fn each, void *userdata, bool *enough)
{
        ssize_t n = recv(socket->fd, socket->answer, sizeof(socket->answer), 0);
        const struct nlmsghdr *message;
        size_t left;

        if (n < 0) {
                return errno == EINTR ? 1 : -errno;
        }
        left = n;
        for (message = (const struct nlmsghdr *)socket->answer; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
                if (message->nlmsg_seq != socket->sequence) {
                        continue;
                }
                if (message->nlmsg_type == NLMSG_ERROR) {
                        return ((const struct nlmsgerr *)NLMSG_DATA(message))->error;
                }
                if (message->nlmsg_type == NLMSG_DONE) {
                        return 0;
                }
                if (each && !*enough) {
                        *enough = !each(message, userdata);
                }
        }
        return 1;
}

/* Sends the request and reads until its acknowledgement or the end of its dump. */
static int exchange(struct link_socket *socket, struct request *request, message_fn each, void *userdata)
{
        bool enough = false;
        int r;

        assert(socket);
        request->header.nlmsg_seq = ++socket->sequence;
        if ((request->header.nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP) {
                request->header.nlmsg_flags |= NLM_F_ACK;
        }
        if (send(socket->fd, request, request->header.nlmsg_len, 0) < 0) {
                return -errno;
        }
        do {
                r = take_answers(socket, each, userdata, &enough);
        } while (r > 0);
        return r;
}

/* --- reading ---------------------------------------------------------------------------------------------------------------------
 */

static void copy_text(char *target, size_t size, const struct rtattr *attribute)
{
        size_t len = strnlen(RTA_DATA(attribute), RTA_PAYLOAD(attribute));

        len = MIN(len, size - 1);
        memcpy(target, RTA_DATA(attribute), len);
        target[len] = '\0';
}

static uint32_t attribute_u32(const struct rtattr *attribute)
{
        uint32_t value = 0;

        memcpy(&value, RTA_DATA(attribute), MIN(sizeof(value), RTA_PAYLOAD(attribute)));
        return value;
}

static void parse_linkinfo(const struct rtattr *nest, struct link_info *info)
{
        const struct rtattr *attribute = RTA_DATA(nest);
        size_t left = RTA_PAYLOAD(nest);

        for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
                unsigned type = attribute->rta_type & NLA_TYPE_MASK;

                if (type == IFLA_INFO_KIND) {
                        copy_text(info->kind, sizeof(info->kind), attribute);
                } else if (type == IFLA_INFO_SLAVE_DATA) {
                        const struct rtattr *port = RTA_DATA(attribute);
                        size_t port_left = RTA_PAYLOAD(attribute);

                        for (; RTA_OK(port, port_left); port = RTA_NEXT(port, port_left)) {
                                if ((port->rta_type & NLA_TYPE_MASK) == IFLA_BRPORT_ISOLATED) {
                                        info->isolated = *(const uint8_t *)RTA_DATA(port);
                                }
                        }
                }
        }
}

static bool parse_link(const struct nlmsghdr *message, struct link_info *info)
{
        const struct ifinfomsg *fixed = NLMSG_DATA(message);
        const struct rtattr *attribute = IFLA_RTA(fixed);
        size_t left = IFLA_PAYLOAD(message);

        if (message->nlmsg_type != RTM_NEWLINK || message->nlmsg_len < NLMSG_LENGTH(sizeof(*fixed))) {
                return false;
        }
        *info = (struct link_info){.index = fixed->ifi_index, .up = fixed->ifi_flags & IFF_UP};
        for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
                switch (attribute->rta_type & NLA_TYPE_MASK) {
                case IFLA_IFNAME:
                        copy_text(info->name, sizeof(info->name), attribute);
                        break;
                case IFLA_IFALIAS:
                        copy_text(info->alias, sizeof(info->alias), attribute);
                        break;
                case IFLA_ADDRESS:
                        memcpy(info->mac, RTA_DATA(attribute), MIN(sizeof(info->mac), RTA_PAYLOAD(attribute)));
                        break;
                case IFLA_MASTER:
                        info->master = attribute_u32(attribute);
                        break;
                case IFLA_MTU:
                        info->mtu = attribute_u32(attribute);
                        break;
                case IFLA_LINKINFO:
                        parse_linkinfo(attribute, info);
                        break;
                default:
                        break;
                }
        }
        return true;
}

static bool take_link(const struct nlmsghdr *message, void *userdata)
{
        return !parse_link(message, userdata);
}

int link_get(struct link_socket *socket, const char *name, struct link_info *ret_info)
{
        struct request request;
        struct link_info info = {};
        struct ifinfomsg *fixed;
        int r;

        assert(name && ret_info);
        if (!*name || strlen(name) >= IFNAMSIZ) {
                return -ENODEV;
        }
        fixed = request_init(&request, RTM_GETLINK, 0, sizeof(*fixed));
        fixed->ifi_family = AF_UNSPEC;
        request_add_text(&request, IFLA_IFNAME, name);
        r = exchange(socket, &request, take_link, &info);
        if (r < 0) {
                return r;
        }
        if (!info.index) {
                return -ENODEV;
        }
        *ret_info = info;
        return 0;
}

struct each_link {
        bool (*each)(const struct link_info *info, void *userdata);
        void *userdata;
};

static bool each_link_message(const struct nlmsghdr *message, void *userdata)
{
        struct each_link *context = userdata;
        struct link_info info;

        return !parse_link(message, &info) || context->each(&info, context->userdata);
}

int link_each(struct link_socket *socket, bool (*each)(const struct link_info *info, void *userdata), void *userdata)
{
        struct each_link context = {.each = each, .userdata = userdata};
        struct request request;

        assert(each);
        request_init(&request, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
        return exchange(socket, &request, each_link_message, &context);
}

/* --- changing --------------------------------------------------------------------------------------------------------------------
 */

int link_create_bridge(struct link_socket *socket, const struct link_bridge *bridge)
{
        struct rtattr *linkinfo, *data;
        struct request request;
        uint32_t zero = 0;

        assert(bridge && bridge->name && strlen(bridge->name) < IFNAMSIZ);
        request_init(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
        request_add_text(&request, IFLA_IFNAME, bridge->name);
        request_add(&request, IFLA_ADDRESS, bridge->mac, sizeof(bridge->mac));
        if (bridge->mtu) {
                request_add(&request, IFLA_MTU, &bridge->mtu, sizeof(bridge->mtu));
        }
        linkinfo = request_nest(&request, IFLA_LINKINFO);
        request_add_text(&request, IFLA_INFO_KIND, "bridge");
        data = request_nest(&request, IFLA_INFO_DATA);
        request_add(&request, IFLA_BR_FORWARD_DELAY, &zero, sizeof(zero));
        request_add(&request, IFLA_BR_STP_STATE, &zero, sizeof(zero));
        request_nest_end(&request, data);
        request_nest_end(&request, linkinfo);
        return exchange(socket, &request, NULL, NULL);
}

int link_set_alias(struct link_socket *socket, int index, const char *alias)
{
        struct request request;
        struct ifinfomsg *fixed = request_init(&request, RTM_NEWLINK, 0, sizeof(*fixed));

        assert(index > 0 && strlen(alias) < LINK_ALIAS_MAX);
        fixed->ifi_index = index;
        request_add(&request, IFLA_IFALIAS, alias, strlen(alias));
        return exchange(socket, &request, NULL, NULL);
}

int link_delete(struct link_socket *socket, int index)
{
        struct request request;
        struct ifinfomsg *fixed = request_init(&request, RTM_DELLINK, 0, sizeof(*fixed));

        assert(index > 0);
        fixed->ifi_index = index;
        return exchange(socket, &request, NULL, NULL);
}

int link_set_up(struct link_socket *socket, int index)
{
        struct request request;
        struct ifinfomsg *fixed = request_init(&request, RTM_NEWLINK, 0, sizeof(*fixed));

        assert(index > 0);
        fixed->ifi_index = index;
        fixed->ifi_flags = IFF_UP;
        fixed->ifi_change = IFF_UP;
        return exchange(socket, &request, NULL, NULL);
}

static int set_u32(struct link_socket *socket, int index, uint16_t attribute, uint32_t value)
{
        struct request request;
        struct ifinfomsg *fixed = request_init(&request, RTM_NEWLINK, 0, sizeof(*fixed));

        assert(index > 0);
        fixed->ifi_index = index;
        request_add(&request, attribute, &value, sizeof(value));
        return exchange(socket, &request, NULL, NULL);
}

int link_set_mtu(struct link_socket *socket, int index, uint32_t mtu)
{
        return set_u32(socket, index, IFLA_MTU, mtu);
}

int link_set_master(struct link_socket *socket, int index, int master)
{
        return set_u32(socket, index, IFLA_MASTER, master);
}

int link_set_isolated(struct link_socket *socket, int index, bool isolated)
{
        struct request request;
        struct ifinfomsg *fixed = request_init(&request, RTM_SETLINK, 0, sizeof(*fixed));
        uint8_t value = isolated;
        struct rtattr *port;

        assert(index > 0);
        fixed->ifi_family = PF_BRIDGE;
        fixed->ifi_index = index;
        port = request_nest(&request, IFLA_PROTINFO);
        request_add(&request, IFLA_BRPORT_ISOLATED, &value, sizeof(value));
        request_nest_end(&request, port);
        return exchange(socket, &request, NULL, NULL);
}

/* --- addresses -------------------------------------------------------------------------------------------------------------------
 */

static size_t address_bytes(const struct address *address)
{
        return address->family == 6 ? 16 : 4;
}

static void address_request(struct request *request, uint16_t type, uint16_t flags, int index, const struct link_address *address)
{
        struct ifaddrmsg *fixed = request_init(request, type, flags, sizeof(*fixed));
        size_t n = address_bytes(&address->address);

        assert(index > 0 && address->length <= n * 8);
        fixed->ifa_family = n == 16 ? AF_INET6 : AF_INET;
        fixed->ifa_prefixlen = address->length;
        fixed->ifa_index = index;
        request_add(request, IFA_LOCAL, address->address.bytes, n);
        request_add(request, IFA_ADDRESS, address->address.bytes, n);
}

int link_add_address(struct link_socket *socket, int index, const struct address *address, uint8_t length)
{
        struct link_address wanted = {.address = *address, .length = length};
        struct request request;
        int r;

        address_request(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, &wanted);
        if (address->family == 4 && length < 31) {
                uint32_t broadcast;

                memcpy(&broadcast, address->bytes, sizeof(broadcast));
                broadcast = htonl(ntohl(broadcast) | (UINT32_MAX >> length));
                request_add(&request, IFA_BROADCAST, &broadcast, sizeof(broadcast));
        }
        r = exchange(socket, &request, NULL, NULL);
        return r == -EEXIST ? 0 : r;
}

int link_delete_address(struct link_socket *socket, int index, const struct address *address, uint8_t length)
{
        struct link_address wanted = {.address = *address, .length = length};
        struct request request;

        address_request(&request, RTM_DELADDR, 0, index, &wanted);
        return exchange(socket, &request, NULL, NULL);
}

struct each_address {
        bool (*each)(const struct link_address *address, void *userdata);
        void *userdata;
};

static bool each_address_message(const struct nlmsghdr *message, void *userdata)
{
        const struct ifaddrmsg *fixed = NLMSG_DATA(message);
        const struct rtattr *attribute = IFA_RTA(fixed);
        size_t left = IFA_PAYLOAD(message);
        struct each_address *context = userdata;
        struct link_address address = {};

        if (message->nlmsg_type != RTM_NEWADDR || (fixed->ifa_family != AF_INET && fixed->ifa_family != AF_INET6)) {
                return true;
        }
        address.index = fixed->ifa_index;
        address.length = fixed->ifa_prefixlen;
        for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
                size_t n = RTA_PAYLOAD(attribute);
                bool local = attribute->rta_type == IFA_LOCAL;

                /* IFA_ADDRESS is the peer on point-to-point interfaces; IFA_LOCAL wins where it is given. */
                if ((!local && (attribute->rta_type != IFA_ADDRESS || address.address.family)) || (n != 4 && n != 16)) {
                        continue;
                }
                address.address = (struct address){.family = n == 16 ? 6 : 4};
                memcpy(address.address.bytes, RTA_DATA(attribute), n);
        }
        return !address.address.family || context->each(&address, context->userdata);
}

int link_each_address(struct link_socket *socket, bool (*each)(const struct link_address *address, void *userdata), void *userdata)
{
        struct each_address context = {.each = each, .userdata = userdata};
        struct request request;

        assert(each);
        request_init(&request, RTM_GETADDR, NLM_F_DUMP, sizeof(struct ifaddrmsg));
        return exchange(socket, &request, each_address_message, &context);
}
