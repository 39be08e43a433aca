/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/job.h"

#include "agent/groups.h"
#include "agent/instance_balloon.h"
#include "agent/instance_change.h"
#include "agent/instance_drift.h"
#include "agent/instance_graphics.h"
#include "agent/instance_limits.h"
#include "agent/instance_migrate.h"
#include "agent/instance_record.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

#include <string.h>

/* A turn may end one domain and start the next; more than this in one turn means that somebody works against us. */
#define ACTIONS_MAX    4
#define LEASE_AGAIN_US 5000000ull
#define ORDER_AGAIN_US 5000000ull

/* --- what libvirt says -----------------------------------------------------------------------------------------------------------
 */

/* A pause of our own start, or a suspend from outside. Others are told with their own reason. */
static bool resumable(const struct virt_domain_entry *entry)
{
        return entry->state == VIRT_STATE_CREATING || !entry->reason || !*entry->reason ||
               g_str_equal(entry->reason, REASON_PAUSED);
}

static enum instance_state state_of(const struct virt_domain_entry *entry)
{
        if (!entry->active) {
                return INSTANCE_OFF;
        }
        switch (entry->state) {
        case VIRT_STATE_CREATING:
        case VIRT_STATE_PAUSED:
                return resumable(entry) ? INSTANCE_PAUSED : INSTANCE_STUCK;
        case VIRT_STATE_SHUTDOWN:
                return INSTANCE_LEAVING;
        case VIRT_STATE_CRASHED:
                return INSTANCE_STUCK;
        default:
                return INSTANCE_RUNNING;
        }
}

/* The last epoch that ran, for a machine that has no domain (any more). */
static int64_t recorded_epoch(const struct job *job)
{
        int64_t told = job->told && job->told->has_epoch ? job->told->epoch : -1;

        return MAX(told, job->known_epoch);
}

static int look(struct instance_turn *turn, struct virt_error *reterr)
{
        int r;

        virt_domain_entry_clear(&turn->entry);
        turn->entry = (struct virt_domain_entry){};
        r = virt_domain_get(turn->job->agent->virt, turn->uuid, &turn->entry, reterr);
        turn->exists = !r;
        if (r == VIRT_E_MISSING) {
                turn->fact = (struct instance_fact){.state = INSTANCE_ABSENT, .epoch = recorded_epoch(turn->job)};
                return 0;
        }
        if (!r) {
                turn->fact = (struct instance_fact){
                        .state = state_of(&turn->entry), .epoch = turn->entry.epoch, .resetting = turn->entry.resetting};
                turn->trouble = NULL;
                if (turn->fact.state == INSTANCE_PAUSED && (turn->fact.resetting || instance_is_held(turn))) {
                        turn->fact.state = INSTANCE_HELD;
                }
        }
        if (!r && turn->entry.active && turn->entry.state == VIRT_STATE_PAUSED) {
                r = instance_trouble(turn, reterr);
        }
        return r;
}

/* Nothing new is known: what was told last still holds, and the failure is told with it. */
static void fail_blind(struct instance_turn *turn, struct api_intent_error *why)
{
        const struct api_instance_status *told = turn->job->told;
        struct api_instance_status status = told ? *told : (struct api_instance_status){.state = ""};

        status.observed_generation = turn->job->doc->generation;
        status.has_observed_generation = true;
        status.error = why;
        turn->job->active = turn->job->known_active;
        turn->job->ran_epoch = turn->job->known_epoch;
        turn->job->result = JOB_RETRY;
        job_status(turn->job, &api_instance_status_type, &status);
        log_warning("a domain could not be looked at", "instance", turn->instance->metadata->name, "machine",
                    turn->instance->spec->machine->name, "reason", why->reason, "error", why->message);
}

bool instance_look(struct instance_turn *turn)
{
        struct virt_error error = {};
        int r = look(turn, &error);

        if (r) {
                fail_blind(turn, job_virt_error(turn->job, REASON_LIBVIRT_UNREACHABLE, r, &error));
        }
        return !r;
}

/* --- status ----------------------------------------------------------------------------------------------------------------------
 */

/* What was told of the end of this epoch, when libvirt has forgotten it over a restart of its own. */
static const struct api_instance_status *told_end(const struct instance_turn *turn)
{
        const struct api_instance_status *told = turn->job->told;
        bool forgotten = turn->exists && turn->fact.state == INSTANCE_OFF && turn->entry.state == VIRT_STATE_DEFINED;
        bool ended = told && told->has_epoch && told->epoch == turn->fact.epoch && told->state && told->state_reason &&
                     (g_str_equal(told->state, virt_state_to_text(VIRT_STATE_SHUTOFF)) ||
                      g_str_equal(told->state, virt_state_to_text(VIRT_STATE_CRASHED)));

        return forgotten && ended && turn->wish.power_on && !turn->wish.deleted ? told : NULL;
}

static const char *off_reason(const struct instance_turn *turn)
{
        static const struct {
                const char *libvirt, *reason;
        } outside[] = {{REASON_DESTROYED, REASON_DOMAIN_DESTROYED_OUTSIDE}, {REASON_STOPPED, REASON_DOMAIN_SAVED_OUTSIDE}};

        if (!turn->wish.power_on || turn->wish.deleted) {
                return REASON_STOPPED;
        }
        if (told_end(turn)) {
                return told_end(turn)->state_reason;
        }
        /* A definition that libvirt saw no run of, and that did run: the host went down with it. */
        if (!turn->exists) {
                return REASON_DOMAIN_LOST;
        }
        if (turn->entry.state == VIRT_STATE_DEFINED || !turn->entry.reason || !*turn->entry.reason) {
                return REASON_HOST_LOST;
        }
        /* We end no domain of the epoch that shall run. */
        for (size_t i = 0; i < G_N_ELEMENTS(outside); i++) {
                if (g_str_equal(turn->entry.reason, outside[i].libvirt)) {
                        return outside[i].reason;
                }
        }
        return turn->entry.reason;
}

static const char *state_text(const struct instance_turn *turn)
{
        if (turn->fact.state == INSTANCE_ABSENT) {
                return virt_state_to_text(VIRT_STATE_SHUTOFF);
        }
        if (told_end(turn)) {
                return told_end(turn)->state;
        }
        if (turn->fact.state == INSTANCE_OFF && turn->entry.state == VIRT_STATE_DEFINED) {
                return virt_state_to_text(VIRT_STATE_SHUTOFF);
        }
        return virt_state_to_text(turn->entry.state);
}

/* Times stay what they were told to be for the same epoch. */
static const char *started_at(const struct instance_turn *turn)
{
        const struct api_instance_status *told = turn->job->told;

        if (turn->started_at) {
                return turn->started_at;
        }
        return told && told->has_epoch && told->epoch == turn->fact.epoch ? told->started_at : NULL;
}

/* Of the emulator that runs, or ran last, which a newer package on the host does not change. */
static const char *emulator_version(const struct instance_turn *turn)
{
        const struct api_instance_status *told = turn->job->told;

        if (turn->qemu) {
                return turn->qemu;
        }
        return told && told->has_epoch && told->epoch == turn->fact.epoch && told->versions && told->versions->qemu
                       ? told->versions->qemu
                       : turn->job->host->facts.qemu_version;
}

struct api_instance_status instance_status(struct instance_turn *turn)
{
        const struct api_instance_status *told = turn->job->told;
        struct api_instance_status status = {
                .observed_generation = turn->job->doc->generation,
                .has_observed_generation = true,
                .epoch = turn->fact.epoch,
                .has_epoch = turn->fact.epoch >= 0,
                .domain_uuid = turn->uuid,
                .domain_name = turn->exists ? turn->entry.name
                               : told       ? told->domain_name
                                            : NULL,
                .started_at = started_at(turn),
                .hardware = turn->hardware ? turn->hardware
                            : told         ? told->hardware
                                           : NULL,
        };
        struct api_hypervisor_versions *versions = arena_new0(turn->job->arena, struct api_hypervisor_versions);

        status.order_number = turn->exists ? turn->entry.order : told ? told->order_number : 0;
        status.has_order_number = status.order_number > 0;
        status.outside = (struct api_instance_outside *)(turn->outside ? turn->outside : told ? told->outside : NULL);
        status.differs = turn->job->compared                                             ? turn->differs
                         : told && told->epoch == turn->fact.epoch && turn->entry.active ? told->differs
                                                                                         : NULL;
        instance_tell_limits(turn, &status);
        instance_tell_size(turn, &status);
        instance_tell_balloon(turn, &status);
        instance_tell_graphics(turn, &status);
        versions->libvirt = turn->job->host->facts.libvirt_version;
        versions->qemu = emulator_version(turn);
        status.versions = versions;
        if (turn->interfaces) {
                status.interfaces = (struct api_instance_interface_status *)turn->interfaces;
                status.n_interfaces = turn->n_interfaces;
        } else if (told && told->epoch == turn->fact.epoch && turn->entry.active) {
                status.interfaces = told->interfaces;
                status.n_interfaces = told->n_interfaces;
        }
        if (turn->devices) {
                status.devices = (struct api_instance_disk_status *)turn->devices;
                status.n_devices = turn->n_devices;
        } else if (told && told->epoch == turn->fact.epoch && turn->entry.active) {
                status.devices = told->devices;
                status.n_devices = told->n_devices;
        }
        return status;
}

/* The guest hardware record as libvirt has it (decision 3), until the gateway hands it back with the specification. It is taken
 * anew when the domain of the wanted epoch was defined with something that it does not hold. */
static void take_record(struct instance_turn *turn)
{
        const struct json_value *known = instance_record(turn->instance, turn->job->told);
        bool defined = turn->exists && turn->fact.epoch >= 0 && (!known || turn->fact.epoch == turn->wish.epoch);
        g_autoptr(virt_facts) facts = NULL;
        struct virt_error error = {};

        turn->hardware = known;
        if (known && turn->live && instance_has_attachments(turn->instance->spec) &&
            (!defined || instance_record_fits(known, turn->instance->spec))) {
                turn->hardware = instance_plug_record(turn, known);
                return;
        }
        /* A failure to read it is made good by the next turn. */
        if (!defined || instance_record_fits(known, turn->instance->spec) ||
            virt_domain_facts(turn->job->agent->virt, turn->uuid, false, &facts, &error)) {
                return;
        }
        turn->record = json_doc_new();
        json_set_root(turn->record, instance_record_make(turn->job, turn->instance, &facts->domain, known, turn->record));
        turn->hardware = json_root(turn->record);
}

/* A libvirtd that was killed while the guest ended leaves the empty control groups of that run. */
static void remove_groups(const struct instance_turn *turn)
{
        const struct api_instance_status *told = turn->job->told;
        const char *name = turn->exists ? turn->entry.name : told ? told->domain_name : NULL;

        if (name && groups_remove(GROUPS_ROOT, name)) {
                log_info("control groups that libvirt had left were removed", "domain", name);
        }
}

/* It is off, and what was told last is that it runs. */
static bool has_ended(const struct instance_turn *turn)
{
        const struct api_instance_status *told = turn->job->told;
        static const char *const off[] = {"shutoff", "crashed", "defined", NULL};

        return told && told->state && !g_strv_contains(off, told->state);
}

static void report(struct instance_turn *turn)
{
        bool off = turn->fact.state == INSTANCE_OFF || turn->fact.state == INSTANCE_ABSENT;
        struct api_instance_status status;

        if (turn->fact.state == INSTANCE_RUNNING && !started_at(turn)) {
                /* Its start was not told before the agent ended: it is known to run from now on. */
                turn->started_at = job_now(turn->job);
        }
        if (off && has_ended(turn)) {
                remove_groups(turn);
        }
        take_record(turn);
        status = instance_status(turn);
        status.state = state_text(turn);
        status.state_reason = off                                                              ? off_reason(turn)
                              : turn->trouble                                                  ? turn->trouble->reason
                              : turn->wish.suspended && turn->entry.state == VIRT_STATE_PAUSED ? REASON_PAUSED
                              : turn->fact.state == INSTANCE_HELD                              ? REASON_PAUSED_OUTSIDE
                              : turn->fact.state == INSTANCE_STUCK                             ? turn->entry.reason
                                                                                               : NULL;
        status.error = off ? NULL : turn->trouble;
        turn->job->active = !off;
        turn->job->ran_epoch = turn->fact.epoch;
        turn->job->ready = true;
        job_status(turn->job, &api_instance_status_type, &status);
}

void instance_progress(struct instance_turn *turn, const char *state, const char *step)
{
        struct api_instance_status status = instance_status(turn);

        if (turn->job->failures > 0) {
                return; /* what failed is told until it is known how this try ends */
        }
        status.state = state;
        status.step = step;
        log_debug("step", "instance", turn->instance->metadata->name, "step", step);
        job_progress(turn->job, &api_instance_status_type, &status);
}

void instance_wait(struct instance_turn *turn, const char *step, struct api_intent_error *why)
{
        struct api_instance_status status = instance_status(turn);

        status.state = virt_state_to_text(VIRT_STATE_CREATING);
        status.step = step;
        status.error = why;
        turn->job->result = JOB_WAIT;
        job_status(turn->job, &api_instance_status_type, &status);
}

void instance_fail(struct instance_turn *turn, const char *step, struct api_intent_error *why)
{
        struct api_instance_status status = instance_status(turn);
        bool on = turn->wish.power_on && !turn->wish.deleted;

        status.state = on && turn->fact.epoch < turn->wish.epoch ? virt_state_to_text(VIRT_STATE_CREATING) : state_text(turn);
        status.step = step;
        status.error = why;
        status.failures = (int64_t)turn->job->failures + 1;
        status.has_failures = true;
        status.retry_at = job_time(turn->job, intents_pause_us(turn->job->failures));
        turn->job->active = turn->exists && turn->entry.active;
        turn->job->result = JOB_RETRY;
        job_status(turn->job, &api_instance_status_type, &status);
        log_warning("instance could not be converged", "instance", turn->instance->metadata->name, "machine",
                    turn->instance->spec->machine->name, "step", step, "reason", why->reason, "error", why->message);
}

/* --- actions: true: look and decide again
 * ------------------------------------------------------------------------------------------ */

static bool act_report(struct instance_turn *turn)
{
        if (instance_plug(turn)) {
                instance_balloon(turn);
                instance_graphics(turn);
                if (instance_see_definition(turn)) {
                        report(turn);
                }
        }
        if (turn->wish.order != INSTANCE_NO_ORDER && !turn->job->again_us && turn->job->result == JOB_DONE) {
                turn->job->again_us = ORDER_AGAIN_US; /* it waits for the guest, or for the lease */
        }
        return false;
}

static bool act_wait_lease(struct instance_turn *turn)
{
        const char *reason = turn->job->may_not ? turn->job->may_not : REASON_LEASE_EXPIRED;

        instance_wait(turn, "lease", job_error(turn->job, reason, "nothing is started on this node now"));
        turn->job->again_us = LEASE_AGAIN_US;
        return false;
}

static void note_stop(struct instance_turn *turn, uint64_t again_us)
{
        struct api_instance_status status = instance_status(turn);

        status.state = virt_state_to_text(turn->entry.state);
        status.step = "stop";
        turn->job->active = true;
        turn->job->ran_epoch = turn->fact.epoch;
        turn->job->again_us = again_us;
        job_status(turn->job, &api_instance_status_type, &status);
}

static bool pull(struct instance_turn *turn)
{
        struct virt_error error = {};
        int r;

        (void)job_pass(turn->job, "destroy", "before");
        r = virt_domain_destroy(turn->job->agent->virt, turn->uuid, &error);
        (void)job_pass(turn->job, "destroy", "after");
        if (r && r != VIRT_E_MISSING) {
                instance_fail(turn, "stop", job_virt_error(turn->job, REASON_STOP_FAILED, r, &error));
                return false;
        }
        log_info("domain was cut off", "domain", turn->entry.name, "epoch", turn->epoch_text);
        return true;
}

static bool act_stop(struct instance_turn *turn)
{
        const struct api_instance_spec *spec = turn->instance->spec;
        bool force = g_strcmp0(spec->stop_mode, "Force") == 0;
        uint64_t grace_us = (spec->has_grace_period_seconds ? spec->grace_period_seconds : 60) * 1000000ull;
        struct stop_progress *progress = &turn->job->stop;
        uint64_t now = clock_monotonic_us(clock_system()), again_us = 0;
        enum stop_action action = stop_decide(progress, force, grace_us, now, &again_us);
        struct virt_error error = {};
        int r;

        if (action == STOP_PULL) {
                return pull(turn);
        }
        if (instance_started_outside(turn)) {
                instance_outside(turn, REASON_DOMAIN_STARTED_OUTSIDE,
                                 "the domain %s was started although the machine shall be off; it is stopped again",
                                 turn->entry.name);
        }
        if (action == STOP_ASK) {
                if (turn->fact.state == INSTANCE_HELD) {
                        /* A paused guest cannot shut down. When this fails it is cut off after the grace period. */
                        (void)virt_domain_resume(turn->job->agent->virt, turn->uuid, &error);
                }
                /* The first time by the power button alone; a guest that missed it may listen to its agent. */
                r = virt_domain_shutdown(turn->job->agent->virt, turn->uuid,
                                         progress->asked_us ? VIRT_SHUTDOWN_EITHER : VIRT_SHUTDOWN_ACPI, &error);
                if (r == VIRT_E_STATE || r == VIRT_E_MISSING) {
                        return true; /* it is down already */
                }
                if (r == VIRT_E_UNREACHABLE) {
                        instance_fail(turn, "stop", job_virt_error(turn->job, REASON_STOP_FAILED, r, &error));
                        return false;
                }
                (void)job_pass(turn->job, "stop", "asked");
                progress->asked_us = now;
                progress->begun_us = progress->begun_us ? progress->begun_us : now;
        }
        note_stop(turn, again_us);
        return false;
}

static bool act_undefine(struct instance_turn *turn)
{
        struct virt_error error = {};
        int r;

        (void)job_pass(turn->job, "undefine", "before");
        r = virt_domain_undefine(turn->job->agent->virt, turn->uuid, &error);
        (void)job_pass(turn->job, "undefine", "after");
        if (r) {
                instance_fail(turn, "undefine", job_virt_error(turn->job, REASON_VALIDATION_FAILED, r, &error));
                return false;
        }
        return true;
}

static bool act_gone(struct instance_turn *turn)
{
        struct api_instance_status status = instance_status(turn);

        instance_remove_seed(turn->job, turn->instance);
        instance_forget_variables(turn);
        remove_groups(turn);
        (void)job_pass(turn->job, "gone", "seed-removed");
        status.state = "Gone";
        turn->job->result = JOB_GONE;
        job_status(turn->job, &api_instance_status_type, &status);
        return false;
}

static bool act_start(struct instance_turn *turn)
{
        /* The former run may have ended in this very turn, without a report of its own. */
        if (turn->job->host->facts.cgroup_version) {
                remove_groups(turn);
        }
        return instance_start(turn);
}

static bool act_resume(struct instance_turn *turn)
{
        if (turn->fact.state == INSTANCE_STUCK) {
                log_info("there is space again, the guest goes on", "machine", turn->instance->spec->machine->name);
                turn->job->full = true; /* the node's report is as old as its lack */
                space_resumed(&turn->job->space, clock_monotonic_us(clock_system()));
        }
        return instance_let_run(turn);
}

static bool (*const actions[INSTANCE_ACTION_COUNT])(struct instance_turn *turn) = {
        [INSTANCE_REPORT] = act_report,  [INSTANCE_START] = act_start,       [INSTANCE_WAIT_LEASE] = act_wait_lease,
        [INSTANCE_RESUME] = act_resume,  [INSTANCE_STOP] = act_stop,         [INSTANCE_DESTROY] = pull,
        [INSTANCE_OBEY] = instance_obey, [INSTANCE_UNDEFINE] = act_undefine, [INSTANCE_GONE] = act_gone,
};

static bool may_start(const struct job *job)
{
        return job->may_start && lease_clock() < job->lease_until;
}

/* A stop that was taken back: the next one begins with its whole grace period. */
static bool shall_stay(const struct instance_turn *turn)
{
        return turn->wish.power_on && !turn->wish.deleted && turn->fact.epoch >= turn->wish.epoch;
}

static void take_turn(struct instance_turn *turn)
{
        if (instance_moves(turn)) {
                return;
        }
        for (unsigned i = 0; i < ACTIONS_MAX; i++) {
                if (!instance_look(turn)) {
                        return;
                }
                if (turn->fact.state == INSTANCE_OFF || turn->fact.state == INSTANCE_ABSENT || shall_stay(turn)) {
                        turn->job->stop = (struct stop_progress){};
                }
                turn->wish.may_start = may_start(turn->job);
                instance_learn_order(turn);
                if (!actions[instance_decide(&turn->wish, &turn->fact)](turn)) {
                        return;
                }
        }
        turn->job->again_us = 1000000;
}

void converge_instance(struct job *job)
{
        const struct api_instance *instance = job->doc->view;
        struct instance_turn turn = {.job = job, .instance = instance};

        if (!instance->spec || !instance->spec->machine || !instance->spec->machine->uid || !instance->spec->machine->name) {
                log_error("instance without a machine is left alone", "instance", job_key(job).name);
                return;
        }
        turn.uuid = instance_uuid(instance);
        turn.epoch_text = arena_printf(job->arena, "%" G_GINT64_FORMAT, instance->spec->epoch);
        turn.wish = (struct instance_wish){
                .deleted = job->doc->deleted,
                .power_on = g_strcmp0(instance->spec->power, "On") == 0,
                .epoch = instance->spec->epoch,
        };
        take_turn(&turn);
        virt_domain_entry_clear(&turn.entry);
        json_doc_free(turn.record);
        virt_facts_free(turn.live);
        explicit_bzero(turn.password, sizeof(turn.password));
}
