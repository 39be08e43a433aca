/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>

static size_t address_len(const struct address *address)
{
        return address->family == 4 ? 4 : 16;
}

int address_parse(const char *text, struct address *ret_address)
{
        struct address address = {0};

        assert(ret_address);
        if (!text)
                return -EINVAL;
        address.family = strchr(text, ':') ? 6 : 4;
        if (inet_pton(address.family == 4 ? AF_INET : AF_INET6, text, address.bytes) != 1)
                return -EINVAL;
        *ret_address = address;
        return 0;
}

char *address_format(const struct address *address, char *text)
{
        assert(address);
        assert(text);
        if (!address->family)
                text[0] = 0;
        else
                inet_ntop(address->family == 4 ? AF_INET : AF_INET6, address->bytes, text, ADDRESS_TEXT_MAX);
        return text;
}

int address_compare(const struct address *a, const struct address *b)
{
        assert(a);
        assert(b);
        if (a->family != b->family)
                return (int)a->family - (int)b->family;
        return memcmp(a->bytes, b->bytes, address_len(a));
}

int address_offset(const struct address *base, uint64_t offset, struct address *ret_address)
{
        struct address sum;
        unsigned carry = 0;

        assert(base);
        assert(ret_address);
        sum = *base;
        for (size_t i = address_len(base); i-- > 0; offset >>= 8) {
                unsigned byte = sum.bytes[i] + (unsigned)(offset & 0xff) + carry;

                sum.bytes[i] = (uint8_t)byte;
                carry = byte >> 8;
        }
        if (carry || offset)
                return -ERANGE;
        *ret_address = sum;
        return 0;
}

/* What the IANA special-purpose address registries keep from being reached over the Internet. */
struct special {
        uint8_t length;
        uint8_t bytes[16];
};

static const struct special special4[] = {
        {8, {0}},
        {8, {10}},
        {10, {100, 64}},
        {8, {127}},
        {16, {169, 254}},
        {12, {172, 16}},
        {24, {192, 0, 0}},
        {24, {192, 0, 2}},
        {24, {192, 88, 99}},
        {16, {192, 168}},
        {15, {198, 18}},
        {24, {198, 51, 100}},
        {24, {203, 0, 113}},
        {4, {224}},
        {4, {240}},
};

/* Inside 2000::/3, the only global unicast space: IETF protocols with Teredo, documentation twice. */
static const struct special special6[] = {
        {23, {0x20, 0x01, 0x00}},
        {32, {0x20, 0x01, 0x0d, 0xb8}},
        {20, {0x3f, 0xff, 0x00}},
};

/* Families whose addresses carry an IPv4 address at @at: mapped, NAT64, 6to4. */
static const struct {
        struct special prefix;
        size_t at;
} embedding6[] = {
        {{96, {[10] = 0xff, [11] = 0xff}}, 12},
        {{96, {0x00, 0x64, 0xff, 0x9b}}, 12},
        {{16, {0x20, 0x02}}, 2},
};

static bool bits_match(const uint8_t *a, const uint8_t *b, unsigned length)
{
        unsigned whole = length / 8, rest = length % 8;

        if (memcmp(a, b, whole) != 0)
                return false;
        return !rest || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool any_match(const uint8_t *bytes, const struct special *table, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (bits_match(bytes, table[i].bytes, table[i].length))
                        return true;
        return false;
}

bool address_embedded(const struct address *address, struct address *ret_inner)
{
        assert(address && ret_inner);
        for (size_t i = 0; address->family == 6 && i < G_N_ELEMENTS(embedding6); i++) {
                if (!bits_match(address->bytes, embedding6[i].prefix.bytes, embedding6[i].prefix.length))
                        continue;
                *ret_inner = (struct address){.family = 4};
                memcpy(ret_inner->bytes, address->bytes + embedding6[i].at, 4);
                return true;
        }
        return false;
}

bool address_is_public(const struct address *address)
{
        struct address inner;

        assert(address);
        if (address->family == 4)
                return !any_match(address->bytes, special4, G_N_ELEMENTS(special4));
        if (address->family != 6)
                return false;
        if (address_embedded(address, &inner))
                return !any_match(inner.bytes, special4, G_N_ELEMENTS(special4));
        return address->bytes[0] >> 5 == 1 && !any_match(address->bytes, special6, G_N_ELEMENTS(special6));
}

static int parse_length(const char *text, unsigned largest, uint8_t *ret_length)
{
        unsigned number = 0;
        size_t len = strlen(text);

        if (len < 1 || len > 3 || (text[0] == '0' && len > 1))
                return -EINVAL;
        for (; *text; text++) {
                if (!g_ascii_isdigit(*text))
                        return -EINVAL;
                number = number * 10 + (unsigned)(*text - '0');
        }
        if (number > largest)
                return -EINVAL;
        *ret_length = (uint8_t)number;
        return 0;
}

static bool host_bits_are_zero(const struct address_prefix *prefix)
{
        unsigned bits = (unsigned)address_len(&prefix->base) * 8;

        for (unsigned bit = prefix->length; bit < bits; bit++)
                if (prefix->base.bytes[bit / 8] & (0x80u >> bit % 8))
                        return false;
        return true;
}

int address_prefix_parse(const char *text, struct address_prefix *ret_prefix)
{
        struct address_prefix prefix = {0};
        char base[ADDRESS_TEXT_MAX];
        const char *slash;
        int r;

        assert(ret_prefix);
        slash = text ? strchr(text, '/') : NULL;
        if (!slash || (size_t)(slash - text) >= sizeof(base))
                return -EINVAL;
        memcpy(base, text, (size_t)(slash - text));
        base[slash - text] = 0;
        r = address_parse(base, &prefix.base);
        if (r < 0)
                return r;
        r = parse_length(slash + 1, prefix.base.family == 4 ? 32 : 128, &prefix.length);
        if (r < 0)
                return r;
        if (!host_bits_are_zero(&prefix))
                return -EINVAL;
        *ret_prefix = prefix;
        return 0;
}

char *address_prefix_format(const struct address_prefix *prefix, char *text)
{
        char base[ADDRESS_TEXT_MAX];

        assert(prefix);
        assert(text);
        snprintf(text, ADDRESS_PREFIX_TEXT_MAX, "%s/%u", address_format(&prefix->base, base), prefix->length);
        return text;
}

bool address_prefix_contains(const struct address_prefix *prefix, const struct address *address)
{
        assert(prefix);
        assert(address);
        return prefix->base.family && prefix->base.family == address->family &&
               bits_match(prefix->base.bytes, address->bytes, prefix->length);
}

uint64_t address_prefix_size(const struct address_prefix *prefix)
{
        unsigned host_bits;

        assert(prefix);
        host_bits = (unsigned)address_len(&prefix->base) * 8 - prefix->length;
        return host_bits >= 64 ? UINT64_MAX : (uint64_t)1 << host_bits;
}

bool mac_valid(const char *text)
{
        if (!text)
                return false;
        for (int i = 0; i < MAC_TEXT_MAX - 1; i++)
                if (i % 3 == 2 ? text[i] != ':' : !g_ascii_isxdigit(text[i]))
                        return false;
        return text[MAC_TEXT_MAX - 1] == 0;
}

char *mac_derive(const char *seed, unsigned index, char *text)
{
        g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
        char number[16];
        guint8 digest[32];
        gsize len = sizeof(digest);

        assert(seed);
        assert(text);
        snprintf(number, sizeof(number), "/%u", index);
        g_checksum_update(checksum, (const guchar *)seed, -1);
        g_checksum_update(checksum, (const guchar *)number, -1);
        g_checksum_get_digest(checksum, digest, &len);
        snprintf(text, MAC_TEXT_MAX, "52:54:00:%02x:%02x:%02x", digest[0], digest[1], digest[2]);
        return text;
}
