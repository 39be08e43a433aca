/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

struct agent;
struct api_node_condition;
struct arena;
struct migration_keys;

/*
 * The certificate that this host shows other hosts when machines move between them, kept in DATA-DIR/migration for libvirt and
 * QEMU, and whether those use it.
 */

/** migration_keys_new() - ask the gateway for a certificate when there is none, at two thirds of its life, and when the host's
 * address has changed. */
int migration_keys_new(struct agent *agent, struct migration_keys **ret_keys);
struct migration_keys *migration_keys_free(struct migration_keys *keys);

/** migration_keys_dir() - the folder; g_free(). (threads) */
char *migration_keys_dir(const struct agent *agent);
/** migration_keys_address() - where other hosts reach this one, in @arena, or NULL. (threads) */
const char *migration_keys_address(struct arena *arena);
/** migration_keys_say() - status, reason and message of the condition MigrationReady. Blocks. (threads) */
void migration_keys_say(struct agent *agent, struct arena *arena, struct api_node_condition *condition);
