/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/job.h"
#include "virt/graphics.h"

/* The turn of one Instance, and its way from an intent to a running guest. */
struct instance_turn {
        struct job *job;
        const struct api_instance *instance;
        const char *uuid;
        const char *epoch_text; /* of the wish, for logs */
        struct instance_wish wish;

        /* What libvirt said last. */
        bool exists;
        struct virt_domain_entry entry;
        struct instance_fact fact;

        /* What this turn found out, in the job's arena. */
        const char *started_at;
        const char *qemu;                 /* version of the emulator that this turn started; NULL: it started none */
        struct api_intent_error *trouble; /* INSTANCE_STUCK: what holds it up */
        const struct json_value *hardware;
        const struct api_instance_outside *outside;    /* what was found changed, or NULL */
        const char *differs;                           /* what of the running domain is not as ordered, when job->compared */
        const struct api_instance_disk_state *limited; /* disks of the running domain that are, when @limits_known */
        size_t n_limited;
        bool limits_known;
        const struct api_instance_disk_status *devices; /* of the running domain; NULL: not looked at */
        size_t n_devices;
        const struct api_instance_interface_status *interfaces; /* the same */
        size_t n_interfaces;
        bool unsettled;          /* a disk is on its way: the domain is not compared now */
        struct virt_facts *live; /* the running domain as it was read last in this turn, or NULL */
        unsigned cores;          /* of the running domain; 0: not looked at */
        uint64_t memory_mib;
        uint64_t held_mib;                                   /* by its guest; 0: not looked at, or it has no balloon */
        uint64_t balloon_mib;                                /* that it was asked to keep; 0: all of it */
        const char *balloon_late;                            /* why it does not hold what it shall, or NULL */
        const struct api_instance_refusal *refused;          /* how it could not grow, or NULL */
        const struct api_instance_graphics_status *graphics; /* where its screen listens; NULL: not looked at, or nowhere */
        char password[VIRT_GRAPHICS_PASSWORD_MAX + 1];       /* of the screen, as it was fetched; wiped at the end */
        int64_t password_version;
        struct json_doc *record; /* owns the hardware record when this turn took it */
};

/* converge_instance.c */
/** instance_look() - ask libvirt again; false: a status was set. */
bool instance_look(struct instance_turn *turn);
struct api_instance_status instance_status(struct instance_turn *turn);
void instance_progress(struct instance_turn *turn, const char *state, const char *step);
void instance_wait(struct instance_turn *turn, const char *step, struct api_intent_error *why);
void instance_fail(struct instance_turn *turn, const char *step, struct api_intent_error *why);

/** instance_start() - from an absent or stopped domain to a running one, journalled, rolled back in reverse order when a phase
 *  fails. true: look and decide again; false: a status was set. */
bool instance_start(struct instance_turn *turn);

/** instance_define() - of a machine that came while it is off: libvirt knows it, and its epoch is spent. NULL, or why not. */
struct api_intent_error *instance_define(struct instance_turn *turn);

/** instance_let_run() - a started, paused domain: see its policy in place, note its epoch, let the guest run. As instance_start().
 */
bool instance_let_run(struct instance_turn *turn);

/** instance_see_policy() - the policy of each port is in place; NULL, or why not. */
struct api_intent_error *instance_see_policy(struct instance_turn *turn);

/** instance_owner() - what the domain's metadata say of it from now on. */
struct virt_owner instance_owner(const struct instance_turn *turn);

/* instance_order.c */
/** instance_learn_order() - which order waits, and whether one that was carried out holds the guest; after instance_look(). */
void instance_learn_order(struct instance_turn *turn);
/** instance_obey() - carry out the order and note its number with the domain. As instance_start(). */
bool instance_obey(struct instance_turn *turn);

/** instance_trouble() - a paused domain: which disk holds it up, and whether it may be let run; sets fact, trouble and again_us. */
int instance_trouble(struct instance_turn *turn, struct virt_error *reterr);

/** instance_grow_volume() - what was asked of a disk while its machine ran is done now, before anything opens it. */
struct api_intent_error *instance_grow_volume(struct job *job, const struct job_volume *volume);

/* instance_plug.c */
/** instance_plug() - disks come to a running domain and leave it as the Instance says; what it has is noted for the status. false:
 * a status was set. */
bool instance_plug(struct instance_turn *turn);
/** instance_plug_record() - the hardware record @record with the places of disks that came to the running domain, in @turn->record.
 */
const struct json_value *instance_plug_record(struct instance_turn *turn, const struct json_value *record);

#define INSTANCE_SEED_DISK "gabbro-seed"

/** instance_seed_path() - where the seed image of an Instance stands; in the job's arena. */
const char *instance_seed_path(struct job *job, const struct api_instance *instance);
/** instance_make_seed() - fetch and write it, when the Instance has one; NULL, or why not. */
struct api_intent_error *instance_make_seed(struct instance_turn *turn);
/** instance_remove_seed() - also when there is none. */
void instance_remove_seed(struct job *job, const struct api_instance *instance);
