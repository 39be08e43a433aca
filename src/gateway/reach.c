/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/reach.h"

#include <assert.h>
#include <glib.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

#define OPTIONS "allowed only with gabbro-gateway --allow-private-downloads or --allow-downloads-from"

/* Link-local, multicast, broadcast, unspecified; and where providers' machines ask for credentials, also those that look public. */
static const char *const never[] = {
        "0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.0/24",
        "::/128",    "fe80::/10",      "fec0::/10",   "ff00::/8",    "fd00:ec2::/32",      "fd20:ce::/32",
};

static bool is_never(const struct address *address)
{
        for (size_t i = 0; i < G_N_ELEMENTS(never); i++) {
                struct address_prefix prefix;
                int r = address_prefix_parse(never[i], &prefix);

                assert(r == 0);
                if (r == 0 && address_prefix_contains(&prefix, address))
                        return true;
        }
        return false;
}

bool reach_is_own(const struct address *address)
{
        struct ifaddrs *all = NULL;
        bool own = false;

        if (getifaddrs(&all) < 0)
                return true; /* nobody knows: rather not */
        for (const struct ifaddrs *one = all; one && !own; one = one->ifa_next) {
                if (!one->ifa_addr)
                        continue;
                if (address->family == 4 && one->ifa_addr->sa_family == AF_INET)
                        own = memcmp(&((const struct sockaddr_in *)(const void *)one->ifa_addr)->sin_addr, address->bytes, 4) == 0;
                else if (address->family == 6 && one->ifa_addr->sa_family == AF_INET6)
                        own = memcmp(&((const struct sockaddr_in6 *)(const void *)one->ifa_addr)->sin6_addr, address->bytes, 16) ==
                              0;
        }
        freeifaddrs(all);
        return own;
}

static bool is_named(const struct reach *reach, const struct address *address)
{
        for (size_t i = 0; i < reach->n_prefixes; i++)
                if (address_prefix_contains(&reach->prefixes[i], address))
                        return true;
        return false;
}

enum reach_verdict reach_judge(const struct reach *reach, const char *ip)
{
        struct address address, inner;

        assert(reach && ip);
        if (address_parse(ip, &address) < 0)
                return REACH_NO_ADDRESS;
        if (address_embedded(&address, &inner))
                address = inner; /* that is where it leads */
        if (is_named(reach, &address))
                return REACH_ALLOWED;
        if (is_never(&address))
                return REACH_NEVER;
        if (reach->private)
                return REACH_ALLOWED;
        if (!address_is_public(&address))
                return REACH_PRIVATE;
        return (reach->is_own ?: reach_is_own)(&address) ? REACH_OWN : REACH_ALLOWED;
}

const char *reach_words(enum reach_verdict verdict)
{
        static const char *const words[] = {
                [REACH_ALLOWED] = "it is allowed",
                [REACH_PRIVATE] = "it is private; " OPTIONS,
                [REACH_OWN] = "it is the gateway's own; " OPTIONS,
                [REACH_NEVER] = "no such address is ever reached for users; gabbro-gateway --allow-downloads-from can name one",
                [REACH_NO_ADDRESS] = "it is no address",
        };

        assert((size_t)verdict < G_N_ELEMENTS(words));
        return words[verdict];
}
