/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "gateway/gateway.h"

/*
 * What was revoked is remembered outside of the store too, in DATA-DIR/revoked.log: when an older backup of the store is put back,
 * nothing that was revoked since comes back to life. Remembered are tokens, sessions and certificates that were revoked, users and
 * nodes that were disabled or deleted, and passwords that were changed. A start makes those revocations again that the store does
 * not know. Lines: "WHAT ID UNTIL", UNTIL in seconds since 1970 or "-"; a later line takes back what "enabled-..." names.
 */
struct revoked;

/** revoked_init() - read the file, make again what the store has forgotten (and wait until it is durable), then follow the store.
 *  @ret_again: how many were made again. 0 or -errno. */
int revoked_init(struct gateway *gateway, size_t *ret_again);
/** revoked_settle() - the pool ends: what is noted from now on waits for revoked_free(). NULL is accepted. */
void revoked_settle(struct revoked *revoked);
/** revoked_free() - what was noted last is written first. */
struct revoked *revoked_free(struct revoked *revoked);
/** revoked_end_all() - every token, session and certificate of people and service accounts ends, the installation's administrator's
 *  too: for a whole DATA-DIR that came from a backup. 0 or -errno; @ret_n: how many. */
int revoked_end_all(struct gateway *gateway, size_t *ret_n);
