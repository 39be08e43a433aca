/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control.h"
#include "controllers/operation/operation_private.h"
#include "controllers/placement/placement.h"
#include "controllers/vm/power.h"

/*
 * Live migration (VirtualMachineOperation Migrate and Evict). Every intent is of one host, so the machine gets another set of them
 * on the target: Volumes for its disks, Ports, an Instance that starts nothing and keeps what comes. They stand by, in none of the
 * indexes that controllers find a machine's intents by, until one transaction exchanges the two sets. Which of the two counts is
 * said by libvirt alone: the source as long as its domain is there, the target once it has the domain for good. A machine that is
 * off moves the same way, see migration_cold.c.
 */

/** migration_begin() - look whether it can be done, wait for a turn, and have the target get ready. */
enum turn_result migration_begin(struct op *op);
/** migration_watch() - follow it; also when the operation, or the machine, is being deleted: then it is given up first. */
enum turn_result migration_watch(struct op *op);

/** migration_hold() - what a cold migration wants of the machine: off until it has moved, on until it runs again. */
enum power_hold migration_hold(const struct cache *cache, const struct cache_object *machine);

/** migration_holds() - whether a machine is being moved: nothing else of it is changed meanwhile. */
bool migration_holds(const struct cache *cache, const struct cache_object *machine);
/** migration_sweep() - let go of intents that a former host of the machine has removed; @all: ask for the end of those that stand
 * by, too. Return: whether none is left. */
bool migration_sweep(struct turn *turn, const struct cache_object *machine, bool all);
/** migration_enqueue_machine() - the machine that an intent stands by for, if it does. */
void migration_enqueue_machine(const struct cache *cache, const struct cache_object *intent, struct workqueue *queue);
/** migration_enqueue_waiting() - one has ended: those that wait for a turn. */
void migration_enqueue_waiting(const struct cache *cache, struct workqueue *queue);
/** migration_enqueue_operation() - the operation that an intent stands by for, if it does. */
void migration_enqueue_operation(const struct cache *cache, const struct cache_object *intent, struct workqueue *queue);
/** migration_state() - the latest migration of a machine as its status tells it, or NULL; in @arena. */
struct api_migration_state *migration_state(const struct cache *cache, const struct cache_object *machine, struct arena *arena);

/* --- shared by the files of this folder --- */

/** migration_now_text() - for timestamps; in the turn's arena. */
const char *migration_now_text(struct op *op);
/** migration_note_end() - "Succeeded" or "Failed" into the status. */
void migration_note_end(struct op *op, const char *result);
/** migration_has_stayed() - drop what was made and fail. */
enum turn_result migration_has_stayed(struct op *op, const char *reason, const char *words);
/** migration_said() - what a host says of this operation, or NULL. */
const struct api_instance_migration *migration_said(const struct cache_object *instance, const char *operation);

/* migration_cleanup.c */
/** migration_is_cleanup() - whether the operation moves nothing and removes what others have left. */
bool migration_is_cleanup(const struct op *op);
/** migration_cleanup() - do it, turn by turn. */
enum turn_result migration_cleanup(struct op *op);

/* migration_cold.c */
/** migration_cold_copy() - the machine is off: have its disks come to the target that the status names. */
enum turn_result migration_cold_copy(struct op *op);
/** migration_cold_watch() - follow it. */
enum turn_result migration_cold_watch(struct op *op);
/** migration_digest_make() - have the checksum of a Volume told, standing by. */
void migration_digest_make(struct op *op, const struct cache_object *volume, const char *mark);

/* What speaks against it, or where it goes. */
struct migration_plan {
        const char *node; /* NULL: it cannot be done */
        const char *reason;
        const char *words; /* all reasons in one sentence */
        struct api_migration_finding *findings;
        size_t n_findings;
        bool of_machine; /* something of the machine itself speaks against it, wherever it would go */
};
/** migration_plan_of() - what an operation would find now of a machine that has a domain; everything is in @arena. @cold: of a
 * machine that is off, or will be. */
struct migration_plan migration_plan_of(const struct cache *cache, const struct cache_object *machine,
                                        const struct api_machine_migrate *how, bool cold, struct arena *arena);
/** migration_plan() - everything is asked, so that every reason is told at once. @cold: of a machine that is off, or will be. */
struct migration_plan migration_plan(struct op *op, bool cold);
/** migration_disk_fault() - why the machine itself cannot move while it runs, the first reason; NULL: it can. In @arena. */
const char *migration_machine_fault(const struct cache *cache, const struct cache_object *machine, struct arena *arena);

/** migration_intents_make() - those of the target, standing by; false: words. */
bool migration_intents_make(struct op *op, const char *node, const char **reterr_words);
/** migration_target() - the Instance that stands by for a machine to come, or NULL. */
const struct cache_object *migration_target(const struct cache *cache, const struct cache_object *machine);
/** migration_intents_exchange() - the machine is on the target: its intents are those there. */
void migration_intents_exchange(struct op *op, const struct cache_object *target);
/** migration_intents_drop() - the machine stays: what was made on the target goes. */
void migration_intents_drop(struct op *op);
/** migration_intents_retire() - the same of the target alone. Return: whether its host has ended what it had of the machine. */
bool migration_intents_retire(struct op *op);
/** migration_outgoing() - what the source is told. */
struct api_instance_outgoing *migration_outgoing(struct op *op, const struct cache_object *target);
