/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/nft.h"

#include "base/error.h"
#include "base/file.h"

#include <arpa/inet.h>
#include <glib.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <string.h>
#include <sys/socket.h>

#define GENERATION_TIMEOUT_S 5

struct nft {
        struct nft_ctx *context;
        int fd; /* netlink, for the generation; -1: none */
};

static int open_netlink(void)
{
        struct sockaddr_nl local = {.nl_family = AF_NETLINK};
        struct timeval timeout = {.tv_sec = GENERATION_TIMEOUT_S};
        int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

        if (fd >= 0 && (bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0 ||
                        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)) {
                fd = fd_close(fd);
        }
        return fd;
}

struct nft *nft_new(void)
{
        struct nft *nft = g_new0(struct nft, 1);

        nft->fd = open_netlink();
        nft->context = nft_ctx_new(NFT_CTX_DEFAULT);
        if (!nft->context) {
                return nft_free(nft);
        }
        nft_ctx_buffer_output(nft->context);
        nft_ctx_buffer_error(nft->context);
        /* Counters move by themselves and say nothing about what is in place. */
        nft_ctx_output_set_flags(nft->context, NFT_CTX_OUTPUT_STATELESS | NFT_CTX_OUTPUT_NUMERIC_ALL);
        return nft;
}

struct nft *nft_free(struct nft *nft)
{
        if (nft) {
                if (nft->context) {
                        nft_ctx_free(nft->context);
                }
                fd_close(nft->fd);
                g_free(nft);
        }
        return NULL;
}

int nft_run(struct nft *nft, const char *commands, char **ret_output, char **reterr_words)
{
        int r;

        assert(nft && commands);
        /* Reading empties both buffers, so that they speak of this run only. */
        (void)nft_ctx_get_output_buffer(nft->context);
        (void)nft_ctx_get_error_buffer(nft->context);
        r = nft_run_cmd_from_buffer(nft->context, commands);
        if (r) {
                if (reterr_words) {
                        char *words = g_strndup(nft_ctx_get_error_buffer(nft->context), 1000);

                        *reterr_words = g_strdelimit(g_strchomp(words), "\n\t", ' ');
                }
                return -EIO;
        }
        if (ret_output) {
                *ret_output = g_strdup(nft_ctx_get_output_buffer(nft->context));
        }
        return 0;
}

char *nft_list(struct nft *nft, const char *commands)
{
        g_autoptr(GString) all = g_string_new(NULL);
        g_auto(GStrv) lines = g_strsplit(commands, "\n", 0);

        for (char **line = lines; *line; line++) {
                g_autofree char *output = NULL;

                if (**line && nft_run(nft, *line, &output, NULL) < 0) {
                        return NULL;
                }
                g_string_append(all, output ? output : "");
        }
        return g_string_free(g_steal_pointer(&all), FALSE);
}

/* The attributes of an answer to NFT_MSG_GETGEN; the number is big-endian. */
static uint32_t find_generation(const char *at, size_t len)
{
        while (len >= NLA_HDRLEN) {
                struct nlattr attribute;
                uint32_t value;

                memcpy(&attribute, at, sizeof(attribute));
                if (attribute.nla_len < NLA_HDRLEN || attribute.nla_len > len) {
                        return 0;
                }
                if ((attribute.nla_type & NLA_TYPE_MASK) == NFTA_GEN_ID && attribute.nla_len == NLA_HDRLEN + sizeof(value)) {
                        memcpy(&value, at + NLA_HDRLEN, sizeof(value));
                        return ntohl(value);
                }
                if (NLA_ALIGN(attribute.nla_len) >= len) {
                        return 0;
                }
                at += NLA_ALIGN(attribute.nla_len);
                len -= NLA_ALIGN(attribute.nla_len);
        }
        return 0;
}

uint32_t nft_generation(struct nft *nft)
{
        struct {
                struct nlmsghdr header;
                struct nfgenmsg family;
        } ask = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct nfgenmsg)),
                            .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
                            .nlmsg_flags = NLM_F_REQUEST}};
        _Alignas(struct nlmsghdr) char answer[1024];
        const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
        const size_t fixed = NLMSG_LENGTH(sizeof(struct nfgenmsg));
        ssize_t n;

        assert(nft);
        if (nft->fd < 0 || send(nft->fd, &ask, ask.header.nlmsg_len, 0) < 0) {
                return 0;
        }
        n = recv(nft->fd, answer, sizeof(answer), 0);
        if (n < (ssize_t)fixed || header->nlmsg_len > (size_t)n || header->nlmsg_len < fixed ||
            header->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN)) {
                /* A late answer would be taken for the next one. */
                nft->fd = fd_close(nft->fd);
                return 0;
        }
        return find_generation(answer + fixed, header->nlmsg_len - fixed);
}
