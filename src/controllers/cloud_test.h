/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "controllers/controllers.h"
#include "controllers/object.h"
#include "generated/api_types.h"

/*
 * A cloud in memory for tests of controllers: the store's memory driver, the cache, every controller turned step by step, a clock
 * that only the test moves, and scripted hosts that answer intents as the agent's contract says. Every object that is written is
 * checked against its schema; every condition must have a registered reason and a message (D58).
 */
#define CLOUD_BEGIN_US 1700000000000000ull
#define SECOND_US      1000000ull

struct cloud_options {
        uint64_t seed; /* of names, addresses and chaos */
        bool chaos;    /* events reach the cache late, in another order among objects, twice or only by a relist */
        bool bare;     /* without the default network, pool, class and the node "node-a" */
};

struct cloud;
struct cloud *cloud_new(const struct cloud_options *options);
struct cloud *cloud_free(struct cloud *cloud);
AUTOPTR(cloud, cloud_free);

/* --- what users do: objects as YAML; the namespace is "default" unless given --- */

/** cloud_apply() - create every object of a YAML stream, or replace spec, data, labels, annotations and owner references of one
 * that exists. */
void cloud_apply(struct cloud *cloud, const char *yaml);
/** cloud_applyf() - the same, formatted. */
void cloud_applyf(struct cloud *cloud, const char *format, ...) G_GNUC_PRINTF(2, 3);
/** cloud_delete() - a DELETE request. */
void cloud_delete(struct cloud *cloud, const struct schema_kind *kind, const char *name);
/** cloud_status() - merge a JSON object into the status, as a trusted writer does (the importer, an agent). */
void cloud_status(struct cloud *cloud, const struct schema_kind *kind, const char *name, const char *json);

/* --- hosts --- */

void cloud_add_node(struct cloud *cloud, const char *name, unsigned cores, unsigned memory_gib);
/** cloud_lose_node() - its lease is not renewed and its intents are not answered until it is found again. */
void cloud_lose_node(struct cloud *cloud, const char *name, bool lost);
/** cloud_hold() - hosts leave intents of a kind alone (NULL: none). */
void cloud_hold(struct cloud *cloud, const struct schema_kind *kind);
/** cloud_hold_disks() - guests do not let go of disks that are detached. */
void cloud_hold_disks(struct cloud *cloud, bool hold);
/** cloud_refuse_growth() - hosts change no running domain and say @words (NULL: they do). */
void cloud_refuse_growth(struct cloud *cloud, const char *words);
/** cloud_let_move() - hosts carry out moves of machines that run; without it that is the test's to say. */
void cloud_let_move(struct cloud *cloud);
/** cloud_fail_moves() - hosts keep machines that shall move to another one, and say @words (NULL: they let them go). */
void cloud_fail_moves(struct cloud *cloud, const char *words);
/** cloud_guest() - the domain of a machine ends by itself: state "shutoff" or "crashed" and its reason. */
void cloud_guest(struct cloud *cloud, const char *machine, const char *state, const char *reason);

/* --- time --- */

/** cloud_settle() - until nothing is due: controllers idle, hosts at rest, every event delivered. */
void cloud_settle(struct cloud *cloud);
/** cloud_advance() - move the clock, stopping wherever a controller is due; leases of nodes are renewed. */
void cloud_advance(struct cloud *cloud, uint64_t us);
uint64_t cloud_now(const struct cloud *cloud);

/** cloud_restart() - the controllers begin anew with nothing but the store, as after a gateway was killed. Not under chaos. */
void cloud_restart(struct cloud *cloud);

/* --- looking --- */

const struct cache *cloud_cache(const struct cloud *cloud);
struct control *cloud_control(const struct cloud *cloud);
/** cloud_get() - in namespace "default" (or of the cluster), or NULL. */
const struct cache_object *cloud_get(const struct cloud *cloud, const struct schema_kind *kind, const char *name);
/** cloud_text() - the text or number at a JSON pointer, "" when absent; interned. */
const char *cloud_text(const struct cloud *cloud, const struct schema_kind *kind, const char *name, const char *pointer);
const char *cloud_phase(const struct cloud *cloud, const struct schema_kind *kind, const char *name);
/** cloud_condition() - "<status> <reason>: <message>" of a condition, "" when absent; interned. */
const char *cloud_condition(const struct cloud *cloud, const struct schema_kind *kind, const char *name, const char *type);
size_t cloud_count(const struct cloud *cloud, const struct schema_kind *kind);
/** cloud_instance() - the Instance of a machine, or NULL. */
const struct api_instance *cloud_instance(const struct cloud *cloud, const char *machine);
/** cloud_count_events() - how often an Event about an object with this reason was told. */
unsigned cloud_count_events(const struct cloud *cloud, const char *object, const char *reason);
/** cloud_has_event() - whether an Event about an object has this reason. */
bool cloud_has_event(const struct cloud *cloud, const char *object, const char *reason);

/** cloud_expect_phase() - settle, then the phase must be this one; a failure prints the conditions. */
void cloud_expect_phase(struct cloud *cloud, const struct schema_kind *kind, const char *name, const char *phase);
/** cloud_expect_condition() - "<status> <reason>" and, when not NULL, a part of the message. */
void cloud_expect_condition(struct cloud *cloud, const struct schema_kind *kind, const char *name, const char *type,
                            const char *status_reason, const char *part);
/** cloud_expect_no_effects() - a second turn of every controller for every object writes nothing (A4). */
void cloud_expect_no_effects(struct cloud *cloud);
/** cloud_digest() - what the state means, without uids, times, revisions, random names and addresses; g_free(). */
char *cloud_digest(const struct cloud *cloud);

/* Kinds under short names. */
#define VM    (&api_virtual_machine_kind)
#define VMOP  (&api_virtual_machine_operation_kind)
#define VD    (&api_virtual_disk_kind)
#define VI    (&api_virtual_image_kind)
#define CVI   (&api_cluster_virtual_image_kind)
#define VMBDA (&api_virtual_machine_block_device_attachment_kind)
#define VMIP  (&api_virtual_machine_ip_address_kind)

/** cloud_image() - the YAML of a ready ClusterVirtualImage is applied and its ingest finished: 1 GiB qcow2, or an ISO image when
 * its name ends in "-iso". */
void cloud_image(struct cloud *cloud, const char *name);
/** cloud_machine() - a machine of class generic with one core, 1Gi and one disk "<name>-root" made of image "tiny"; @more: further
 * lines of its spec. Makes image and disk when they are absent. */
void cloud_machine(struct cloud *cloud, const char *name, const char *more);
