/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/dhcp.h"
#include "agent/net/ruleset.h"

#include <assert.h>
#include <glib.h>
#include <string.h>

/*
 * Names and addresses in what nft and dnsmasq are told: a port that is found fit says with its names what another port says with
 * others, no line and no clause more. The input is cut at its zero bytes: bridge, tap, host name, MAC, prefix, gateway, address,
 * peer, name and uid.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const plain[] = {"gbb0",         "gbt0badcafe",
                                    "web",          "52:54:00:00:00:01",
                                    "10.66.0.0/24", "10.66.0.1",
                                    "10.66.0.9",    "10.0.0.0/8",
                                    "p-1",          "11111111-2222-4333-8444-555555555555"};
enum { BRIDGE, TAP, HOSTNAME, MAC, PREFIX, GATEWAY, ADDRESS, PEER, NAME, UID, N_TEXTS };

/* NULL: some text is not even an address. */
static struct net_port *port_of(const char *const *texts)
{
        g_autoptr(net_port) port = net_port_new();

        port->name = g_strdup(texts[NAME]);
        port->tap = g_strdup(texts[TAP]);
        port->hostname = g_strdup(texts[HOSTNAME]);
        port->anti_spoofing = true;
        port->network.uid = g_strdup(texts[UID]);
        port->network.bridge = g_strdup(texts[BRIDGE]);
        port->addresses = g_new0(struct address, 1);
        port->n_addresses = 1;
        port->rules = g_new0(struct net_rule, 1);
        port->n_rules = 1;
        port->rules[0] = (struct net_rule){.ingress = true, .protocol = NET_PROTOCOL_TCP};
        port->rules[0].peers = g_new0(struct address_prefix, 1);
        port->rules[0].n_peers = 1;
        if (net_mac_parse(texts[MAC], port->mac) < 0 || address_prefix_parse(texts[PREFIX], &port->network.cidr) < 0 ||
            address_parse(texts[GATEWAY], &port->network.gateway) < 0 || address_parse(texts[ADDRESS], port->addresses) < 0 ||
            address_prefix_parse(texts[PEER], port->rules[0].peers) < 0)
                return NULL;
        return g_steal_pointer(&port);
}

static GString *told(const struct net_port *port)
{
        GString *out = g_string_new(NULL);
        g_autofree char *config = dhcp_config("/d", &port->network, "dnsmasq"), *host = dhcp_host_line(port);
        g_auto(GStrv) words = g_strsplit(host, ",", -1);

        assert(g_str_has_suffix(host, ",infinite\n") && g_strv_length(words) >= 3 && g_strv_length(words) <= 4);
        assert(!words[3] || (strcmp(words[2], "ignore") != 0 && words[2][strspn(words[2], "0123456789")]));

        ruleset_add_network(&port->network, out);
        ruleset_add_port(port, out);
        ruleset_query_chains(port, out);
        ruleset_query_elements(port, out);
        ruleset_remove_port(port, out);
        g_string_append(out, config);
        g_string_append(out, host);
        return out;
}

/* How often each character that means something to nft or dnsmasq occurs. */
static void count(const GString *text, unsigned *counts)
{
        for (size_t i = 0; i < text->len; i++) {
                assert(text->str[i] == '\n' || (text->str[i] >= 0x20 && text->str[i] < 0x7f));
                if (strchr("\n;{}\"'\\#|=$", text->str[i]))
                        counts[(unsigned char)text->str[i]]++;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char *texts[N_TEXTS] = {0};
        unsigned ours[256] = {0}, theirs[256] = {0};

        for (size_t i = 0; i < N_TEXTS; i++) {
                size_t len = strnlen((const char *)data, size);

                texts[i] = len ? g_strndup((const char *)data, len) : g_strdup(plain[i]);
                size -= MIN(size, len + 1);
                data = size ? data + len + 1 : data;
        }
        /* What is parsed to numbers may be told in other clauses; names never. */
        const char *alike[N_TEXTS];
        for (size_t i = 0; i < N_TEXTS; i++)
                alike[i] = i >= MAC && i <= PEER ? texts[i] : plain[i];
        g_autoptr(net_port) port = port_of((const char *const *)texts), example = port_of(alike);
        g_autofree char *fault = port ? net_port_fault(port) : NULL;
        if (port && !fault) {
                g_autoptr(GString) text = told(port), like = told(example);
                count(text, ours);
                count(like, theirs);
                assert(memcmp(ours, theirs, sizeof(ours)) == 0);
        }
        for (size_t i = 0; i < N_TEXTS; i++)
                g_free(texts[i]);
        return 0;
}
