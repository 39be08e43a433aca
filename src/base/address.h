/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* IP addresses and prefixes of both families, and MAC addresses. Bytes are in network order; IPv4 uses the first four. */
struct address {
        uint8_t family; /* 4 or 6; 0: unset */
        uint8_t bytes[16];
};

struct address_prefix {
        struct address base; /* host bits are zero */
        uint8_t length;
};

#define ADDRESS_TEXT_MAX        46
#define ADDRESS_PREFIX_TEXT_MAX 50
#define MAC_TEXT_MAX            18

/** address_parse() - strict dotted quad or RFC 4291 text; 0 or -EINVAL (octal, decimal and scoped forms are refused). */
int address_parse(const char *text, struct address *ret_address);
char *address_format(const struct address *address, char *text);
/** address_compare() - orders by family, then numerically: negative, 0 or positive. */
int address_compare(const struct address *a, const struct address *b);
/** address_offset() - @base plus @offset in @ret_address; 0 or -ERANGE on overflow of the family. */
int address_offset(const struct address *base, uint64_t offset, struct address *ret_address);
/** address_is_public() - neither loopback, link-local, private, multicast, unspecified, documentation nor mapped into those. */
bool address_is_public(const struct address *address);
/** address_embedded() - the IPv4 address that a mapped, NAT64 or 6to4 address carries; false: it carries none. */
bool address_embedded(const struct address *address, struct address *ret_inner);

/** address_prefix_parse() - "10.0.0.0/24"; 0 or -EINVAL (host bits set are refused). */
int address_prefix_parse(const char *text, struct address_prefix *ret_prefix);
char *address_prefix_format(const struct address_prefix *prefix, char *text);
bool address_prefix_contains(const struct address_prefix *prefix, const struct address *address);
/** address_prefix_size() - number of addresses, capped at UINT64_MAX. */
uint64_t address_prefix_size(const struct address_prefix *prefix);

/** mac_valid() - six lower- or upper-case hex pairs joined by ':'. */
bool mac_valid(const char *text);
/** mac_derive() - the machine-stable unicast local MAC 52:54:00:xx:xx:xx of @seed text and @index; @text holds MAC_TEXT_MAX. */
char *mac_derive(const char *seed, unsigned index, char *text);
