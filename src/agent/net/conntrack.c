/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/conntrack.h"

#include "base/error.h"
#include "base/file.h"

#include <glib.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

#define ANSWER_BYTES 65536
#define TUPLE_BYTES  256

struct message {
        struct nlmsghdr header;
        struct nfgenmsg family;
        char attributes[TUPLE_BYTES];
};

static int open_socket(void)
{
        struct sockaddr_nl local = {.nl_family = AF_NETLINK};
        struct timeval timeout = {.tv_sec = 5};
        int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

        if (fd < 0) {
                return -errno;
        }
        if (bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0) {
                int r = -errno;

                close(fd);
                return r;
        }
        return fd;
}

static int send_message(int fd, struct message *message, uint16_t type, uint16_t flags, size_t attributes_len)
{
        message->header = (struct nlmsghdr){
                .nlmsg_len = NLMSG_LENGTH(sizeof(message->family)) + attributes_len,
                .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | type,
                .nlmsg_flags = NLM_F_REQUEST | flags,
                .nlmsg_seq = 1,
        };
        message->family = (struct nfgenmsg){.nfgen_family = AF_INET, .version = NFNETLINK_V0};
        return send(fd, message, message->header.nlmsg_len, 0) < 0 ? -errno : 0;
}

static const struct nlattr *find_attribute(const void *data, size_t len, unsigned type)
{
        const char *at = data, *end = at + len;

        while (end - at >= NLA_HDRLEN) {
                const struct nlattr *attribute = (const struct nlattr *)at;

                if (attribute->nla_len < NLA_HDRLEN || attribute->nla_len > end - at) {
                        return NULL;
                }
                if ((attribute->nla_type & NLA_TYPE_MASK) == type) {
                        return attribute;
                }
                if (NLA_ALIGN(attribute->nla_len) >= end - at) {
                        return NULL;
                }
                at += NLA_ALIGN(attribute->nla_len);
        }
        return NULL;
}

static const struct nlattr *nested(const struct nlattr *attribute, unsigned type)
{
        return attribute ? find_attribute((const char *)attribute + NLA_HDRLEN, attribute->nla_len - NLA_HDRLEN, type) : NULL;
}

/* Whether a tuple names the address on either side. */
static bool tuple_names(const struct nlattr *tuple, const struct address *address)
{
        const struct nlattr *ip = nested(tuple, CTA_TUPLE_IP);

        for (unsigned type = CTA_IP_V4_SRC; type <= CTA_IP_V4_DST; type++) {
                const struct nlattr *value = nested(ip, type);

                if (value && value->nla_len == NLA_HDRLEN + 4 && memcmp((const char *)value + NLA_HDRLEN, address->bytes, 4) == 0) {
                        return true;
                }
        }
        return false;
}

static int delete_entry(int fd, const struct nlattr *original)
{
        struct message message = {};
        int r;

        if (original->nla_len > sizeof(message.attributes)) {
                return -EMSGSIZE;
        }
        memcpy(message.attributes, original, original->nla_len);
        r = send_message(fd, &message, IPCTNL_MSG_CT_DELETE, 0, NLA_ALIGN(original->nla_len));
        return r;
}

/* One datagram of the dump. 1: more is to come; 0: the end; -errno. */
static int take_entries(int fd, int delete_fd, char *buffer, const struct address *address)
{
        ssize_t n = recv(fd, buffer, ANSWER_BYTES, 0);
        const struct nlmsghdr *message;
        size_t left;
        int r = 0;

        if (n < 0) {
                return errno == EINTR ? 1 : -errno;
        }
        left = n;
        for (message = (const struct nlmsghdr *)buffer; NLMSG_OK(message, left) && !r; message = NLMSG_NEXT(message, left)) {
                const struct nlattr *original, *reply;
                const char *attributes;
                size_t len;

                if (message->nlmsg_type == NLMSG_ERROR) {
                        return ((const struct nlmsgerr *)NLMSG_DATA(message))->error;
                }
                if (message->nlmsg_type == NLMSG_DONE) {
                        return 0;
                }
                attributes = (const char *)NLMSG_DATA(message) + NLMSG_ALIGN(sizeof(struct nfgenmsg));
                len = message->nlmsg_len - NLMSG_LENGTH(sizeof(struct nfgenmsg));
                original = find_attribute(attributes, len, CTA_TUPLE_ORIG);
                reply = find_attribute(attributes, len, CTA_TUPLE_REPLY);
                if (original && (tuple_names(original, address) || tuple_names(reply, address))) {
                        r = delete_entry(delete_fd, original);
                }
        }
        return r < 0 ? r : 1;
}

int conntrack_forget(const struct address *address)
{
        g_autofree char *buffer = g_malloc(ANSWER_BYTES);
        struct message message = {};
        autofd fd = -1, delete_fd = -1;
        int r;

        assert(address && address->family == 4);
        fd = open_socket();
        delete_fd = open_socket();
        if (fd < 0 || delete_fd < 0) {
                return fd < 0 ? fd : delete_fd;
        }
        r = send_message(fd, &message, IPCTNL_MSG_CT_GET, NLM_F_DUMP, 0);
        if (r < 0) {
                return r;
        }
        do {
                r = take_entries(fd, delete_fd, buffer, address);
        } while (r > 0);
        return r;
}
