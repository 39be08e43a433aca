/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_drift.h"

#include "agent/instance_change.h"
#include "agent/instance_graphics.h"
#include "agent/instance_limits.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

#define CHANGE_AGAIN_US 2000000ull

void instance_outside(struct instance_turn *turn, const char *reason, const char *format, ...)
{
        struct api_instance_outside *outside = arena_new0(turn->job->arena, struct api_instance_outside);
        g_autofree char *words = NULL;
        char now[CLOCK_RFC3339_MAX];
        va_list args;

        assert(turn && reason && format);
        va_start(args, format);
        words = g_strdup_vprintf(format, args);
        va_end(args);
        outside->reason = reason;
        outside->message = arena_strdup(turn->job->arena, words);
        outside->at = arena_strdup(turn->job->arena, clock_format_rfc3339(clock_real_us(clock_system()), true, now));
        turn->outside = outside;
        log_warning("changed outside", "machine", turn->instance->spec->machine->name, "reason", reason, "what", words);
}

/* --- pause and start -------------------------------------------------------------------------------------------------------------
 */

bool instance_is_held(const struct instance_turn *turn)
{
        const struct api_instance_status *told = turn->job->told;

        return turn->entry.state == VIRT_STATE_PAUSED && told && told->has_epoch && told->epoch == turn->entry.epoch &&
               told->started_at;
}

bool instance_started_outside(const struct instance_turn *turn)
{
        const struct api_instance_status *told = turn->job->told;

        /* A start of ours raises the epoch before the guest runs. */
        return !turn->wish.power_on && !turn->wish.deleted && turn->fact.state == INSTANCE_RUNNING && told && told->has_epoch &&
               told->epoch == turn->fact.epoch && g_strcmp0(told->state, virt_state_to_text(VIRT_STATE_SHUTOFF)) == 0;
}

/* --- the definition --------------------------------------------------------------------------------------------------------------
 */

/* What has still to come to the running domain is not waited for. */
static bool inputs_known(const struct instance_turn *turn)
{
        const struct job *job = turn->job;

        for (size_t i = 0; i < job->n_volumes; i++) {
                if (turn->instance->spec->disks[i].attachment || job->volumes[i].empty) {
                        continue;
                }
                if (!job->volumes[i].path || !job->volumes[i].format) {
                        return false;
                }
        }
        for (size_t i = 0; i < job->n_ports; i++) {
                if (!job->ports[i].port && !instance_port_leaves(turn->instance->spec, turn->instance->spec->ports[i])) {
                        return false;
                }
        }
        return true;
}

/* The domain as the definition should say it. */
static int describe(struct instance_turn *turn, struct virt_domain *ret_domain, struct virt_error *reterr)
{
        const char *seed = turn->instance->spec->seed ? instance_seed_path(turn->job, turn->instance) : NULL;

        return instance_domain(turn->job, turn->instance, seed, MAX(turn->fact.epoch, 0), ret_domain, reterr);
}

static int define(struct instance_turn *turn, const struct virt_domain *domain, struct virt_error *reterr)
{
        struct virt_domain whole = *domain;
        struct api_intent_error *why = instance_graphics_fetch(turn, &whole);
        char *xml = NULL;
        int r;

        if (why) {
                reterr->reason = why->reason;
                g_strlcpy(reterr->words, why->message, sizeof(reterr->words));
                return VIRT_E_FAILED;
        }
        r = virt_domain_to_xml(&whole, &xml, reterr);
        if (!r) {
                r = virt_domain_define(turn->job->agent->virt, xml, reterr);
        }
        virt_xml_wipe(xml);
        return r;
}

static bool lose(struct instance_turn *turn, int outcome, const struct virt_error *error)
{
        const char *otherwise = outcome == VIRT_E_EXISTS ? REASON_DOMAIN_NAME_TAKEN : REASON_DEFINE_FAILED;

        instance_fail(turn, "define", job_virt_error(turn->job, otherwise, outcome, error));
        return false;
}

static bool define_again(struct instance_turn *turn)
{
        struct virt_domain domain;
        struct virt_error error = {};
        int r = describe(turn, &domain, &error);

        if (!r) {
                r = define(turn, &domain, &error);
        }
        if (r) {
                return lose(turn, r, &error);
        }
        instance_outside(turn, REASON_DOMAIN_UNDEFINED_OUTSIDE,
                         "the definition of the domain %s was removed; it was defined again with the same UUID and hardware",
                         domain.name);
        return instance_look(turn);
}

static bool keep(struct instance_turn *turn)
{
        struct virt_error error = {};
        int r = virt_domain_keep(turn->job->agent->virt, turn->uuid, &error);

        if (r == VIRT_E_STATE || r == VIRT_E_MISSING) {
                return instance_look(turn); /* it ended meanwhile */
        }
        if (r) {
                return lose(turn, r, &error);
        }
        instance_outside(turn, REASON_DOMAIN_UNDEFINED_OUTSIDE,
                         "the definition of the running domain %s was removed; it was defined again as it runs", turn->entry.name);
        return true;
}

static char *differences(struct instance_turn *turn, const struct virt_domain *wanted)
{
        g_autoptr(virt_facts) facts = NULL;
        struct virt_error error = {};

        /* What cannot be read now is compared the next time. */
        return virt_domain_facts(turn->job->agent->virt, turn->uuid, false, &facts, &error)
                       ? NULL
                       : virt_domain_differences(wanted, &facts->domain, false);
}

/* Guests that run notice nothing of it. @ordered: a change is under way, and nobody else is told to have made it. */
static bool put_right(struct instance_turn *turn, const struct virt_domain *wanted, const char *words, bool ordered)
{
        g_autofree char *left = NULL;
        struct virt_error error = {};
        int r = define(turn, wanted, &error);

        if (r) {
                return lose(turn, r, &error);
        }
        left = differences(turn, wanted);
        if (left) {
                /* libvirt understands something otherwise than we do: never tried twice. */
                log_error("a definition stays different", "domain", turn->entry.name, "what", left);
                turn->job->tolerated = arena_strdup(turn->job->arena, left);
        }
        if (ordered) {
                log_info("a definition follows what runs", "domain", turn->entry.name, "what", words);
        } else {
                instance_outside(turn, REASON_DEFINITION_CHANGED_OUTSIDE,
                                 "the definition of the domain %s was changed: %s; it was put right", turn->entry.name, words);
        }
        return true;
}

static int read_running(struct instance_turn *turn, struct virt_facts **ret_facts)
{
        struct virt_error error = {};

        return virt_domain_facts(turn->job->agent->virt, turn->uuid, true, ret_facts, &error);
}

/* What runs, once it has its size and its limits; what else of it differs waits for a restart. What cannot be read now is compared
 * the next time. False: the definition is not compared now. */
static bool compare_running(struct instance_turn *turn, const struct virt_domain *wanted)
{
        g_autoptr(virt_facts) facts = NULL, after = NULL;
        struct virt_domain expected = *wanted;
        const struct virt_domain *is;
        g_autofree char *words = NULL;
        enum instance_growth growth;

        if (read_running(turn, &facts)) {
                return true;
        }
        growth = instance_grow(turn, wanted, &facts->domain);
        if (growth == INSTANCE_LATER) {
                turn->job->compared = false;
                turn->job->again_us = CHANGE_AGAIN_US;
                return false;
        }
        if ((instance_put_limits_right(turn, wanted, &facts->domain) || growth != INSTANCE_AS_IT_WAS) &&
            read_running(turn, &after)) {
                return true;
        }
        is = after ? &after->domain : &facts->domain;
        if (growth == INSTANCE_REFUSED) {
                /* It is told as what it is; the order follows. */
                expected.vcpus = is->vcpus;
                expected.memory_mib = is->memory_mib;
        }
        words = virt_domain_differences(&expected, is, true);
        turn->differs = arena_strdup(turn->job->arena, words);
        instance_note_limits(turn, is);
        instance_note_size(turn, is);
        return growth != INSTANCE_REFUSED;
}

static bool compare(struct instance_turn *turn)
{
        bool ordered = instance_change_due(turn->instance, turn->job->told);
        g_autofree char *words = NULL;
        struct virt_error error = {};
        struct virt_domain wanted;

        if (describe(turn, &wanted, &error)) {
                return true;
        }
        turn->job->compared = true;
        if (turn->entry.active && !compare_running(turn, &wanted)) {
                return true;
        }
        words = differences(turn, &wanted);
        return !words || g_strcmp0(words, turn->job->tolerated) == 0 || put_right(turn, &wanted, words, ordered);
}

/* A device is on its way, and a guest may take its time: the limits of the disks that stay do not wait for it. */
static void limit_running(struct instance_turn *turn)
{
        g_autoptr(virt_facts) facts = NULL, after = NULL;
        struct virt_error error = {};
        struct virt_domain wanted;

        if (!turn->entry.active || describe(turn, &wanted, &error) || read_running(turn, &facts)) {
                return;
        }
        if (instance_put_limits_right(turn, &wanted, &facts->domain) && read_running(turn, &after) == 0) {
                instance_note_limits(turn, &after->domain);
        }
}

bool instance_see_definition(struct instance_turn *turn)
{
        bool known = turn->fact.epoch >= 0 && turn->fact.epoch == turn->wish.epoch;

        assert(turn);
        if (turn->entry.active && !turn->entry.persistent && turn->exists) {
                return keep(turn);
        }
        if (!inputs_known(turn)) {
                return true;
        }
        if (!turn->exists) {
                return turn->wish.power_on || turn->fact.epoch < 0 || define_again(turn);
        }
        /* The specification of another epoch may differ as it likes. */
        if (known && turn->job->compare && turn->unsettled) {
                limit_running(turn);
                return true;
        }
        return !known || !turn->job->compare || compare(turn);
}
