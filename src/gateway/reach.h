/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/address.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Which addresses the gateway fetches files from for its users. A name is resolved by the client, and the address that it connects
 * to is asked about here, at each redirect anew: what a name meant a moment ago is of no interest.
 */
struct reach {
        bool private;                          /* loopback and private networks too */
        const struct address_prefix *prefixes; /* what the administrator has named is always allowed */
        size_t n_prefixes;
        bool (*is_own)(const struct address *address); /* NULL: reach_is_own */
};

enum reach_verdict {
        REACH_ALLOWED,
        REACH_PRIVATE, /* with the option for private addresses it would be */
        REACH_OWN,     /* of this machine; the same */
        REACH_NEVER,   /* link-local, multicast, unspecified, or where clouds tell machines their secrets */
        REACH_NO_ADDRESS,
};

/** reach_judge() - @ip as text. From any thread. */
enum reach_verdict reach_judge(const struct reach *reach, const char *ip);
/** reach_words() - what keeps an address of this verdict from being connected to, and what would allow it. */
const char *reach_words(enum reach_verdict verdict);
/** reach_is_own() - whether an interface of this machine has it now. */
bool reach_is_own(const struct address *address);
