/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/context.h"
#include "controllers/vm/graphics.h"

#include "base/quantity.h"
#include "controllers/attachment/attachment.h"
#include "controllers/disk/disk.h"
#include "controllers/migration/migration.h"
#include "controllers/migration/migration_hosts.h"
#include "controllers/placement/placement.h"
#include "controllers/pool/capabilities.h"
#include "generated/reasons.h"
#include "schema/cpu_topology.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TRANSITIONS_KEPT 20

/* --- phase --- */

static bool wants_start(const struct vm_context *vm)
{
        return vm->decision.wish == WISH_START || vm->decision.wish == WISH_RESTART;
}

static enum vm_phase phase_now(const struct vm_context *vm)
{
        enum vm_phase phase;

        if (object_deleting(vm->object))
                return VM_TERMINATING;
        if (vm->made)
                return VM_STARTING;
        if (!vm->instance)
                return wants_start(vm) ? VM_PENDING : VM_STOPPED;
        phase = vm_phase_of(vm->power_on, vm->facts.state, vm->current);
        return phase == VM_STOPPED && wants_start(vm) ? VM_PENDING : phase;
}

/* The table of moves is checked at every move: what it does not know is told, and nothing comes after Terminating (D54). */
static enum vm_phase phase_move(struct vm_context *vm, enum vm_phase phase)
{
        if (!vm->has_phase_before || vm_phase_may_follow(vm->phase_before, phase))
                return phase;
        if (vm->phase_before == VM_TERMINATING)
                return VM_TERMINATING;
        turn_event(vm->turn, vm->object, true, REASON_UNEXPECTED_CHANGE,
                   arena_printf(vm->arena, "the phase went from %s to %s", vm_phase_to_text(vm->phase_before),
                                vm_phase_to_text(phase)));
        return phase;
}

static struct api_machine_stats *stats_of(struct vm_context *vm)
{
        struct api_machine_stats *stats = arena_new0(vm->arena, struct api_machine_stats);

        if (vm->status.stats)
                *stats = *vm->status.stats;
        vm->status.stats = stats;
        return stats;
}

static void note_transition(struct vm_context *vm, enum vm_phase phase)
{
        struct api_machine_stats *stats = stats_of(vm);
        size_t n = MIN(stats->n_phases_transitions, TRANSITIONS_KEPT - 1), skip = stats->n_phases_transitions - n;
        struct api_phase_transition *list = arena_array(vm->arena, n + 1, sizeof(*list));
        char time[CLOCK_RFC3339_MAX];

        for (size_t i = 0; i < n; i++)
                list[i] = stats->phases_transitions[skip + i];
        list[n] = (struct api_phase_transition){
                .phase = vm_phase_to_text(phase),
                .timestamp = arena_strdup(vm->arena, clock_format_rfc3339(turn_now_us(vm->turn), false, time)),
        };
        stats->phases_transitions = list;
        stats->n_phases_transitions = n + 1;
}

static const char *duration_text(struct vm_context *vm, uint64_t from_us, uint64_t to_us)
{
        uint64_t seconds = to_us > from_us ? (to_us - from_us) / 1000000 : 0;

        if (seconds < 60)
                return arena_printf(vm->arena, "%" PRIu64 "s", seconds);
        return arena_printf(vm->arena, "%" PRIu64 "m%" PRIu64 "s", seconds / 60, seconds % 60);
}

/* When the machine entered a phase the last time; 0: not as far as is kept. */
static uint64_t entered_us(const struct api_machine_stats *stats, enum vm_phase phase)
{
        for (size_t i = stats->n_phases_transitions; i-- > 0;)
                if (g_strcmp0(stats->phases_transitions[i].phase, vm_phase_to_text(phase)) == 0)
                        return time_us(stats->phases_transitions[i].timestamp);
        return 0;
}

/* How long the latest start took, part by part. */
static void note_launch(struct vm_context *vm, enum vm_phase phase)
{
        struct api_machine_stats *stats = stats_of(vm);
        uint64_t waited_us = entered_us(stats, VM_PENDING), begun_us = entered_us(stats, VM_STARTING);
        struct api_launch_times *times = arena_new0(vm->arena, struct api_launch_times);

        if (phase == VM_STARTING)
                times->waiting_for_dependencies = waited_us > 0 && vm->has_phase_before && vm->phase_before == VM_PENDING
                                                          ? duration_text(vm, waited_us, begun_us)
                                                          : "0s";
        else if (stats->launch_time_duration)
                *times = *stats->launch_time_duration;
        if (phase == VM_RUNNING && begun_us > 0)
                times->virtual_machine_starting = duration_text(vm, begun_us, entered_us(stats, VM_RUNNING));
        if (phase == VM_STARTING || phase == VM_RUNNING)
                stats->launch_time_duration = times;
}

static void note_agent(struct vm_context *vm)
{
        struct api_machine_stats *stats = stats_of(vm);
        struct api_launch_times *times = arena_new0(vm->arena, struct api_launch_times);
        uint64_t running_us = entered_us(stats, VM_RUNNING);

        if (running_us == 0 || !stats->launch_time_duration || stats->launch_time_duration->guest_os_agent_starting)
                return;
        *times = *stats->launch_time_duration;
        times->guest_os_agent_starting = duration_text(vm, running_us, turn_now_us(vm->turn));
        stats->launch_time_duration = times;
}

/* By an operation, not by somebody on its host or by trouble. */
static bool is_suspended(const struct vm_context *vm)
{
        const struct api_instance_spec *spec = vm->view ? vm->view->spec : NULL;
        const struct api_instance_status *status = vm->view ? vm->view->status : NULL;

        return spec && status && g_strcmp0(spec->order, power_order_to_text(ORDER_SUSPEND)) == 0 && !status->error &&
               status->order_number >= spec->order_number && g_strcmp0(vm->facts.state_reason, REASON_PAUSED) == 0;
}

static void tell_phase(struct vm_context *vm, enum vm_phase phase)
{
        const struct api_intent_error *trouble = vm->view && vm->view->status ? vm->view->status->error : NULL;

        if (phase == VM_RUNNING && vm->has_phase_before && vm->phase_before == VM_PAUSE)
                turn_event(vm->turn, vm->object, false, REASON_RESUMED, "the machine goes on");
        else if (phase == VM_RUNNING)
                turn_event(vm->turn, vm->object, false, REASON_STARTED,
                           arena_printf(vm->arena, "the machine runs on %s", vm->node));
        else if (phase == VM_PAUSE && g_strcmp0(vm->facts.state_reason, REASON_PAUSED_OUTSIDE) == 0)
                turn_event(vm->turn, vm->object, true, REASON_PAUSED_OUTSIDE,
                           arena_printf(vm->arena, "somebody paused the machine on host %s; it stays paused", vm->node));
        else if (phase == VM_PAUSE && is_suspended(vm))
                turn_event(vm->turn, vm->object, false, REASON_PAUSED, "the machine is suspended");
        else if (phase == VM_PAUSE)
                turn_event(vm->turn, vm->object, true, trouble ? trouble->reason : REASON_PAUSED,
                           trouble ? trouble->message : "the machine was paused on its host");
        else if (phase == VM_STOPPED && vm->has_phase_before && vm->phase_before != VM_PENDING)
                turn_event(vm->turn, vm->object, false, REASON_STOPPED, "the machine is off");
}

static enum vm_phase set_phase(struct vm_context *vm)
{
        enum vm_phase phase = phase_move(vm, phase_now(vm));

        vm->status.phase = vm_phase_to_text(phase);
        if (vm->has_phase_before && vm->phase_before == phase)
                return phase;
        note_transition(vm, phase);
        note_launch(vm, phase);
        tell_phase(vm, phase);
        return phase;
}

/* --- condition Running --- */

/* Its host does not answer, or is no node any more: what runs there is not known. */
static bool host_is_lost(const struct vm_context *vm)
{
        const struct cache_object *node = vm->instance && !vm->made ? cache_get(vm->cache, &api_node_kind, NULL, vm->node) : NULL;

        return vm->instance && !vm->made && (!node || !placement_node_ready(node));
}

static void say_pending(struct vm_context *vm)
{
        char time[CLOCK_RFC3339_MAX];

        if (vm->back_off_until_us > 0)
                conditions_say(&vm->conditions, "Running", "False", REASON_BACK_OFF,
                               "it ended %u times in a row, the last time because %s (%s); it is started again at %s",
                               vm->back_off_count, vm_end_words(vm, vm->decision.reason), vm->decision.reason,
                               clock_format_rfc3339(vm->back_off_until_us, false, time));
        else if (vm->block_reason)
                conditions_say(&vm->conditions, "Running", "False", vm->block_reason, "it cannot start: %s", vm->block_words);
        else
                conditions_say(&vm->conditions, "Running", "False", REASON_PENDING, "it waits to be started");
}

/* A disk that its host could not make so far; @ret_disk names it. */
static const struct api_condition *failed_disk(const struct vm_context *vm, const char **ret_disk)
{
        for (size_t i = 0; i < vm->n_own; i++) {
                const struct cache_object *object = vm->devices[i].object;
                const struct api_virtual_disk *disk = object && !vm->devices[i].image ? object->view : NULL;
                const struct api_virtual_disk_status *status = disk ? disk->status : NULL;

                for (size_t j = 0; status && g_strcmp0(status->phase, "Failed") == 0 && j < status->n_conditions; j++)
                        if (strcmp(status->conditions[j].type, "Ready") == 0) {
                                *ret_disk = object->name;
                                return &status->conditions[j];
                        }
        }
        return NULL;
}

/* The step, the cause, what was undone, and when it is tried again; an event each time that the cause is another one. */
static void say_failing(struct vm_context *vm, const struct api_instance_status *status)
{
        const struct api_condition *before = condition_get(vm->status.conditions, vm->status.n_conditions, "Running");
        const char *again = "", *words;

        if (status->failures > 0 && status->retry_at)
                again = arena_printf(vm->arena, ". It failed %" PRId64 " time%s in a row and is tried again by %s",
                                     status->failures, status->failures == 1 ? "" : "s", status->retry_at);
        words = arena_printf(vm->arena, "host %s%s%s: %s%s", vm->node, status->step && *status->step ? ", step " : "",
                             status->step ? status->step : "", status->error->message, again);
        if (!before || g_strcmp0(before->reason, status->error->reason) != 0)
                turn_event(vm->turn, vm->object, true, status->error->reason,
                           arena_printf(vm->arena, "the start does not come forward: %s", words));
        conditions_say(&vm->conditions, "Running", "False", status->error->reason, "%s", words);
}

static void say_starting(struct vm_context *vm)
{
        const struct api_instance_status *status = vm->view ? vm->view->status : NULL;
        const char *disk = NULL;
        const struct api_condition *failure = failed_disk(vm, &disk);

        if (failure)
                conditions_say(&vm->conditions, "Running", "False", failure->reason, "it waits for disk %s: %s", disk,
                               failure->message);
        else if (!vm->started && status && status->error)
                say_failing(vm, status);
        else if (!vm->started && status && status->step && status->step[0])
                conditions_say(&vm->conditions, "Running", "False", REASON_STARTING, "host %s works on its start: %s", vm->node,
                               status->step);
        else
                conditions_say(&vm->conditions, "Running", "False", REASON_STARTING, "host %s was told to start it", vm->node);
}

static void say_stopped(struct vm_context *vm)
{
        const struct api_instance_status *status = vm->view ? vm->view->status : NULL;
        const char *why = vm->power_reason;

        if (status && status->error)
                conditions_say(&vm->conditions, "Running", "False", status->error->reason, "it is off after a failure: %s",
                               status->error->message);
        else if (g_strcmp0(why, REASON_GUEST_SHUTDOWN) == 0)
                conditions_say(&vm->conditions, "Running", "False", REASON_GUEST_SHUTDOWN, "it is off: the guest shut itself down");
        else if (g_strcmp0(why, REASON_HOST_REBOOTS) == 0)
                conditions_say(&vm->conditions, "Running", "False", REASON_HOST_REBOOTS,
                               "it is off for the reboot of host %s, and starts again when that is back", vm->node);
        else if (g_strcmp0(why, REASON_COLD_MIGRATION) == 0)
                conditions_say(&vm->conditions, "Running", "False", REASON_COLD_MIGRATION,
                               "it is off while it moves to another host, and starts again there");
        else if (g_strcmp0(why, "Operation") == 0)
                conditions_say(&vm->conditions, "Running", "False", REASON_STOPPED, "it is off: an operation asked for it");
        else if (why && g_strcmp0(why, "Policy") != 0)
                conditions_say(&vm->conditions, "Running", "False", why, "it is off: %s, and run policy %s leaves it off",
                               vm_end_words(vm, why), vm->spec->run_policy);
        else
                conditions_say(&vm->conditions, "Running", "False", REASON_STOPPED, "it is off: run policy %s",
                               vm->spec->run_policy);
}

static const struct api_node_condition *node_ready(const struct vm_context *vm)
{
        const struct cache_object *object = cache_get(vm->cache, &api_node_kind, NULL, vm->node);
        const struct api_node *node = object ? object->view : NULL;

        for (size_t i = 0; node && node->status && i < node->status->n_conditions; i++)
                if (g_strcmp0(node->status->conditions[i].type, "Ready") == 0)
                        return &node->status->conditions[i];
        return NULL;
}

/* The agent may answer for a host whose libvirt does not. */
static void say_lost(struct vm_context *vm)
{
        const struct api_node_condition *ready = node_ready(vm);

        if (ready && g_strcmp0(ready->reason, REASON_LIBVIRT_UNREACHABLE) == 0 && g_strcmp0(ready->status, "False") == 0)
                conditions_say(&vm->conditions, "Running", "Unknown", REASON_LIBVIRT_UNREACHABLE,
                               "libvirt on host %s does not answer (%s); what runs there goes on, and nothing is started elsewhere",
                               vm->node, ready->message ? ready->message : "no words");
        else
                conditions_say(&vm->conditions, "Running", "Unknown", REASON_NODE_LOST,
                               "host %s does not answer; what runs there is not known, and nothing is started elsewhere", vm->node);
}

bool vm_say_lost(struct vm_context *vm, const char *type)
{
        const struct api_node_condition *ready;
        bool libvirt;

        assert(vm && type);
        if (!host_is_lost(vm) || !instance_active(vm->instance))
                return false;
        ready = node_ready(vm);
        libvirt = ready && g_strcmp0(ready->reason, REASON_LIBVIRT_UNREACHABLE) == 0 && g_strcmp0(ready->status, "False") == 0;
        conditions_say(&vm->conditions, type, "Unknown", libvirt ? REASON_LIBVIRT_UNREACHABLE : REASON_NODE_LOST,
                       "%s on host %s does not answer, and nobody else knows", libvirt ? "libvirt" : "the agent", vm->node);
        return true;
}

/* By hand, or because something of its host failed it. */
static void say_paused(struct vm_context *vm)
{
        const struct api_intent_error *trouble = vm->view->status->error;
        const char *why = vm->facts.state_reason, *domain = vm->view->status->domain_name;

        if (g_strcmp0(why, REASON_PAUSED_OUTSIDE) == 0)
                conditions_say(&vm->conditions, "Running", "False", REASON_PAUSED_OUTSIDE,
                               "somebody paused it on host %s (virsh resume %s lets it go on there); resume, stop or restart it",
                               vm->node, domain ? domain : "");
        else if (is_suspended(vm))
                conditions_say(&vm->conditions, "Running", "False", REASON_PAUSED,
                               "an operation suspended it; it keeps its memory until it is resumed, stopped or restarted");
        else if (g_strcmp0(why, REASON_GUEST_SUSPENDED) == 0)
                conditions_say(&vm->conditions, "Running", "False", REASON_GUEST_SUSPENDED,
                               "the guest put itself to sleep; it wakes by itself, or is resumed or restarted");
        else if (trouble)
                conditions_say(&vm->conditions, "Running", "False", trouble->reason, "its processors are paused: %s",
                               trouble->message);
        else
                conditions_say(&vm->conditions, "Running", "False", REASON_PAUSED, "its processors are paused");
}

static void say_running(struct vm_context *vm, enum vm_phase phase)
{
        const struct conditions *conditions = &vm->conditions;

        if (host_is_lost(vm) && vm->facts.state != VM_STATE_NONE && phase != VM_STOPPED && phase != VM_TERMINATING) {
                say_lost(vm);
                return;
        }
        switch (phase) {
        case VM_PENDING:
                say_pending(vm);
                return;
        case VM_STARTING:
                say_starting(vm);
                return;
        case VM_RUNNING:
        case VM_MIGRATING:
                conditions_say(conditions, "Running", "True", REASON_RUNNING, "it runs on %s", vm->node);
                return;
        case VM_STOPPING:
                conditions_say(conditions, "Running", "False", REASON_STOPPING, "it is being stopped");
                return;
        case VM_STOPPED:
                say_stopped(vm);
                return;
        case VM_PAUSE:
                say_paused(vm);
                return;
        case VM_TERMINATING:
        case VM_PHASES:
                conditions_say(conditions, "Running", "False", REASON_TERMINATING, "it is being deleted");
                return;
        }
}

/* --- the other conditions --- */

static void say_agent(struct vm_context *vm, bool runs)
{
        const struct api_instance_status *status = vm->view ? vm->view->status : NULL;

        if (vm_say_lost(vm, "AgentReady"))
                return;
        if (runs && status && status->agent_connected) {
                note_agent(vm);
                conditions_say(&vm->conditions, "AgentReady", "True", REASON_AGENT_READY, "the guest agent answers");
        } else {
                conditions_say(&vm->conditions, "AgentReady", "False", REASON_AGENT_NOT_READY, "%s",
                               runs ? "the guest agent does not answer: it is not installed, or the guest is still starting "
                                      "(doc/how-to/troubleshooting.md)"
                                    : "the machine does not run");
        }
}

/* Why it could not be moved now, or NULL. */
static const char *hold_words(struct vm_context *vm, bool runs)
{
        const struct cache_object *node = runs ? cache_get(vm->cache, &api_node_kind, NULL, vm->node) : NULL;
        const struct api_virtual_machine_class *class = vm->class ? vm->class->view : NULL;
        const char *words;

        if (class && g_strcmp0(class->spec->cpu->type, "HostPassthrough") == 0)
                return "its class shows it the processor of the very host that it runs on";
        if (!runs)
                return "it does not run; it starts where its disks are";
        words = migration_machine_fault(vm->cache, vm->object, vm->arena);
        if (words)
                return words;
        words = node ? migration_host_fault(node) : "its host is no node any more";
        return words ? arena_printf(vm->arena, "host %s: %s", vm->node, words) : NULL;
}

static void say_migratable(struct vm_context *vm, bool runs)
{
        const char *words = hold_words(vm, runs);
        bool moves = migration_holds(vm->cache, vm->object);

        if (vm_say_lost(vm, "Migratable"))
                ; /* what it would need is not known */
        else if (words)
                conditions_say(&vm->conditions, "Migratable", "False", REASON_VIRTUAL_MACHINE_NON_MIGRATABLE, "%s", words);
        else
                conditions_say(&vm->conditions, "Migratable", "True", REASON_VIRTUAL_MACHINE_MIGRATABLE,
                               "it can be moved to another host while it runs, with its disks");
        vm->status.migration_state = migration_state(vm->cache, vm->object, vm->arena);
        if (moves && vm->status.migration_state)
                conditions_say(&vm->conditions, "Migrating", "True", REASON_IN_PROGRESS, "it moves from %s to %s",
                               vm->status.migration_state->source->node, vm->status.migration_state->target->node);
        else
                conditions_say(&vm->conditions, "Migrating", "False", REASON_NOT_MIGRATING, "no migration is under way");
}

static const char *mib_text(struct vm_context *vm, uint64_t mib)
{
        char text[32];

        return arena_strdup(vm->arena, quantity_format_bytes(mib << 20, text));
}

/* The words of what waits, and of what keeps it waiting. */
static const char *waiting_words(struct vm_context *vm)
{
        const char *why = vm->approved && vm->block_words
                                  ? arena_printf(vm->arena, "; it is not restarted now: %s", vm->block_words)
                          : vm->live_words ? arena_printf(vm->arena, ": %s", vm->live_words)
                                           : "";
        size_t n = vm->status.n_restart_awaiting_changes;

        return arena_printf(vm->arena, "%zu change%s wait%s for a restart, see status.restartAwaitingChanges%s", n,
                            n == 1 ? "" : "s", n == 1 ? "s" : "", why);
}

/* Devices that are on their way into or out of what runs. */
static bool say_plugging(struct vm_context *vm)
{
        const char *reason = REASON_CONFIGURATION_NOT_APPLIED, *words = vm_media_words(vm, &reason);
        const struct api_condition *before;

        if (!words)
                words = vm_nics_words(vm, &reason);
        if (!words)
                return false;
        before = condition_get(vm->status.conditions, vm->status.n_conditions, "ConfigurationApplied");
        if (strcmp(reason, REASON_CONFIGURATION_NOT_APPLIED) != 0 && (!before || g_strcmp0(before->reason, reason) != 0))
                turn_event(vm->turn, vm->object, true, reason, words);
        conditions_say(&vm->conditions, "ConfigurationApplied", "False", reason, "%s", words);
        conditions_say(&vm->conditions, "AwaitingRestartToApplyConfiguration", "False", REASON_NO_RESTART_REQUIRED,
                       "no change of the specification waits for a restart");
        return true;
}

static void say_configuration(struct vm_context *vm, bool runs)
{
        const struct api_instance_status *host = runs && !vm->started && vm->view ? vm->view->status : NULL;
        size_t n = vm->status.n_restart_awaiting_changes;
        bool waited = condition_is(vm->status.conditions, vm->status.n_conditions, "AwaitingRestartToApplyConfiguration", "True");
        const struct api_condition *applied = condition_get(vm->status.conditions, vm->status.n_conditions, "ConfigurationApplied");
        bool differed = applied && g_strcmp0(applied->reason, REASON_DOMAIN_CHANGED_OUTSIDE) == 0;

        if (n > 0 && !waited)
                turn_event(vm->turn, vm->object, false, REASON_RESTART_AWAITING_CHANGES,
                           arena_printf(vm->arena, "changes wait for a restart, the first one of %s",
                                        vm->status.restart_awaiting_changes[0].path));

        if (n > 0) {
                conditions_say(&vm->conditions, "ConfigurationApplied", "False", REASON_CONFIGURATION_NOT_APPLIED,
                               "%zu change%s will be applied at the next start", n, n == 1 ? "" : "s");
                conditions_say(&vm->conditions, "AwaitingRestartToApplyConfiguration", "True", REASON_CHANGES_PENDING_RESTART, "%s",
                               waiting_words(vm));
                return;
        }
        if (vm_say_lost(vm, "ConfigurationApplied")) {
                conditions_say(&vm->conditions, "AwaitingRestartToApplyConfiguration", "False", REASON_NO_RESTART_REQUIRED,
                               "no change waits for a restart");
                return;
        }
        if (host && host->balloon_late && vm_grows(vm)) {
                if (!applied || g_strcmp0(applied->reason, REASON_MEMORY_NOT_GIVEN_BACK) != 0)
                        turn_event(vm->turn, vm->object, true, REASON_MEMORY_NOT_GIVEN_BACK, host->balloon_late);
                conditions_say(&vm->conditions, "ConfigurationApplied", "False", REASON_MEMORY_NOT_GIVEN_BACK, "%s",
                               host->balloon_late);
                conditions_say(&vm->conditions, "AwaitingRestartToApplyConfiguration", "False", REASON_NO_RESTART_REQUIRED,
                               "no change waits for a restart");
                return;
        }
        if (runs && !vm->started && vm_grows(vm)) {
                conditions_say(&vm->conditions, "ConfigurationApplied", "False", REASON_CHANGES_BEING_APPLIED,
                               "host %s brings the running machine to %" PRId64 " cores and %s of memory", vm->node,
                               vm->ordered_size.cores, mib_text(vm, vm->ordered_size.memory_mib));
                conditions_say(&vm->conditions, "AwaitingRestartToApplyConfiguration", "False", REASON_NO_RESTART_REQUIRED,
                               "no change waits for a restart");
                return;
        }
        if (host && say_plugging(vm))
                return;
        if (host && host->differs) {
                if (!differed)
                        turn_event(vm->turn, vm->object, true, REASON_DOMAIN_CHANGED_OUTSIDE, host->differs);
                conditions_say(&vm->conditions, "ConfigurationApplied", "False", REASON_DOMAIN_CHANGED_OUTSIDE,
                               "somebody changed the running domain on host %s: %s; a restart puts it right", vm->node,
                               host->differs);
                conditions_say(&vm->conditions, "AwaitingRestartToApplyConfiguration", "False", REASON_NO_RESTART_REQUIRED,
                               "no change of the specification waits for a restart");
                return;
        }
        conditions_say(&vm->conditions, "ConfigurationApplied", "True", REASON_CONFIGURATION_APPLIED, "%s",
                       runs ? "the machine runs as it is specified" : "the specification is taken at the next start");
        conditions_say(&vm->conditions, "AwaitingRestartToApplyConfiguration", "False", REASON_NO_RESTART_REQUIRED,
                       "no change waits for a restart");
}

static void say_firmware(struct vm_context *vm, bool runs)
{
        const struct api_hypervisor_versions *own = vm->view && vm->view->status ? vm->view->status->versions : NULL;
        const struct cache_object *object = runs ? cache_get(vm->cache, &api_node_kind, NULL, vm->node) : NULL;
        const struct api_node *node = object ? object->view : NULL;
        const char *host = node && node->status && node->status->virtualization ? node->status->virtualization->qemu_version : NULL;

        if (vm_say_lost(vm, "FirmwareUpToDate"))
                return;
        if (runs && own && own->qemu && host && strcmp(own->qemu, host) != 0)
                conditions_say(&vm->conditions, "FirmwareUpToDate", "False", REASON_FIRMWARE_OUT_OF_DATE,
                               "it runs on QEMU %s, its host has %s now; a restart renews it", own->qemu, host);
        else
                conditions_say(&vm->conditions, "FirmwareUpToDate", "True", REASON_FIRMWARE_UP_TO_DATE,
                               "it runs on the version that its host has");
}

/* --- what the machine has --- */

static const char *cores_text(struct vm_context *vm, uint64_t milli)
{
        char text[32];

        return arena_strdup(vm->arena, quantity_format_milli(milli, text));
}

/* A running machine that has more, or weighs otherwise, than it did. */
static void tell_growth(struct vm_context *vm, const struct api_machine_resources *now)
{
        const struct api_machine_resources *before = vm->status.resources;

        if (vm_grows(vm) || !before || !before->cpu || !before->memory || vm->status.epoch != vm->view->spec->epoch ||
            !vm->has_phase_before || vm->phase_before != VM_RUNNING)
                return;
        if (before->cpu->cores != now->cpu->cores || g_strcmp0(before->memory->size, now->memory->size) != 0 ||
            g_strcmp0(before->cpu->core_fraction, now->cpu->core_fraction) != 0)
                turn_event(vm->turn, vm->object, false, REASON_CHANGES_APPLIED,
                           arena_printf(vm->arena, "the running machine has %" PRId64 " cores of %s and %s of memory now",
                                        now->cpu->cores, now->cpu->core_fraction, now->memory->size));
}

/* Of the Instance while it runs, else what the specification asks for (D44). */
static void set_resources(struct vm_context *vm)
{
        bool applied = vm->instance && !vm->started && instance_active(vm->instance);
        uint64_t cores = (uint64_t)(applied ? vm->has.cores : vm->cores);
        unsigned fraction = applied ? vm->has.fraction_percent : vm->fraction_percent;
        uint64_t memory = applied ? vm->has.memory_mib : vm->memory_mib, full = applied ? vm->has.full_mib : memory;
        struct api_machine_resources *resources = arena_new0(vm->arena, struct api_machine_resources);
        int sockets = 1, per_socket = (int)cores;

        (void)schema_cpu_topology((int64_t)cores, &sockets, &per_socket);
        resources->cpu = arena_new0(vm->arena, struct api_machine_cpu_status);
        resources->cpu->topology = arena_new0(vm->arena, struct api_machine_topology);
        resources->memory = arena_new0(vm->arena, struct api_machine_memory_status);
        *resources->cpu->topology = (struct api_machine_topology){
                .sockets = sockets, .has_sockets = true, .cores_per_socket = per_socket, .has_cores_per_socket = true};
        resources->cpu->cores = (int64_t)cores;
        resources->cpu->has_cores = true;
        resources->cpu->core_fraction = arena_printf(vm->arena, "%u%%", fraction);
        resources->cpu->requested_cores = cores_text(vm, placement_guaranteed_milli(cores, fraction));
        resources->cpu->runtime_overhead = "0";
        resources->memory->size = mib_text(vm, memory);
        resources->memory->runtime_overhead = mib_text(vm, placement_overhead_mib(cores, full));
        if (applied && vm->room.cores_most > vm->has.cores) {
                resources->cpu->max_cores = vm->room.cores_most;
                resources->cpu->has_max_cores = true;
        }
        if (full > memory)
                resources->memory->reserved_size = mib_text(vm, full);
        if (applied && vm->room.memory_most_mib > full)
                resources->memory->max_size = mib_text(vm, vm->room.memory_most_mib);
        if (applied && vm->room.live && vm->room.memory_least_mib < full)
                resources->memory->min_size = mib_text(vm, vm->room.memory_least_mib);
        if (applied)
                tell_growth(vm, resources);
        vm->status.resources = resources;
}

/* What the host says of a device, and of one that came by an attachment whether the machine has it at all. */
static bool has_disk(const struct cache_object *instance, const char *name)
{
        const struct api_instance_spec *spec = ((const struct api_instance *)instance->view)->spec;

        for (size_t i = 0; i < spec->n_disks; i++)
                if (strcmp(spec->disks[i].name, name) == 0)
                        return spec->disks[i].volume != NULL;
        return false;
}

static void set_devices(struct vm_context *vm, bool attached)
{
        struct api_block_device_status *list = arena_array(vm->arena, vm->n_devices, sizeof(*list));
        const struct cache_object *instance = attached && !vm->started ? vm->instance : NULL;
        size_t n = 0;

        for (size_t i = 0; i < vm->n_devices; i++) {
                const struct vm_device *device = &vm->devices[i];
                const char *name = attachment_disk_name(vm->arena, device->ref->kind, device->ref->name);
                const struct api_instance_disk_status *host = instance ? attachment_on_host(instance, name) : NULL;

                if (device->attachment && !host)
                        continue;
                list[n++] = (struct api_block_device_status){
                        .kind = device->ref->kind,
                        .name = device->ref->name,
                        .size = device->size,
                        .attached = attached && (!instance || has_disk(instance, name)) &&
                                    (!host || g_strcmp0(host->state, "Attaching") != 0),
                        .has_attached = true,
                        .target = host ? host->target : NULL,
                        .hotplugged = device->attachment != NULL,
                        .has_hotplugged = true,
                        .virtual_machine_block_device_attachment_name = device->attachment ? device->attachment->name : NULL,
                };
        }
        vm->status.block_device_refs = list;
        vm->status.n_block_device_refs = n;
}

static void set_networks(struct vm_context *vm, bool attached)
{
        struct api_machine_network_status *list = arena_array(vm->arena, vm->n_nics, sizeof(*list));

        for (size_t i = 0; i < vm->n_nics; i++) {
                const struct vm_nic *nic = &vm->nics[i];
                const struct api_port *port = nic->port ? nic->port->view : NULL;
                const struct api_instance_interface_status *host =
                        attached && nic->port ? vm_nic_on_host(vm, nic->port_name) : NULL;

                list[i] = (struct api_machine_network_status){
                        .type = nic->wanted ? nic->wanted->type : "Main",
                        .id = (int64_t)nic->number + 1,
                        .has_id = true,
                        .name = nic->network ? nic->network->name : NULL,
                        .mac_address = nic->mac,
                        .ip_address = nic->address,
                        .virtual_machine_ip_address_name = nic->vmip_name,
                        .link_state = host ? host->link : NULL,
                        .ready = port && port->status && g_strcmp0(port->status->state, "Ready") == 0,
                        .has_ready = true,
                };
        }
        vm->status.networks = list;
        vm->status.n_networks = vm->n_nics;
        vm->status.ip_address = vm->nics[0].address;
        vm->status.virtual_machine_ip_address_name = vm->nics[0].vmip_name;
}

/* What its disks allow; images are only read and hinder nothing. */
static void set_capabilities(struct vm_context *vm, bool runs)
{
        struct capability_question questions[LIMIT_BLOCK_DEVICES];
        size_t n = 0;

        for (size_t i = 0; i < vm->n_devices; i++) {
                const struct cache_object *object = vm->devices[i].image ? NULL : vm->devices[i].object;
                const struct api_virtual_disk *disk = object ? object->view : NULL;
                const struct capability_pool *pool = disk && disk->status && disk->status->capabilities
                                                             ? capability_pool_find(disk->status->capabilities->pool_type)
                                                             : NULL;
                const struct cache_object *volume = pool ? disk_volume(vm->cache, object) : NULL;
                struct capability_facts facts = {.known = CAPABILITY_RUNNING | CAPABILITY_RAW | CAPABILITY_EFI};

                facts.set |= runs ? CAPABILITY_RUNNING : 0;
                facts.set |= g_strcmp0(vm->spec->bootloader, "BIOS") != 0 ? CAPABILITY_EFI : 0;
                if (volume && g_strcmp0(((const struct api_volume *)volume->view)->spec->format, "qcow2") != 0)
                        facts.set |= CAPABILITY_RAW;
                if (pool)
                        questions[n++] = (struct capability_question){.pool = pool, .facts = facts};
        }
        vm->status.capabilities = capabilities_view(vm->arena, questions, n, CAPABILITY_OF_MACHINE, false);
}

static void set_facts(struct vm_context *vm, enum vm_phase phase, bool runs)
{
        const struct api_instance_status *host = vm->view && !vm->made ? vm->view->status : NULL;

        vm->status.node_name = vm->node && phase != VM_STOPPED && phase != VM_PENDING ? vm->node : NULL;
        vm->status.guest_os_info = runs && host ? host->guest_os_info : NULL;
        vm->status.versions = runs && host ? host->versions : NULL;
        if (host && host->hardware)
                vm->status.hardware = host->hardware;
        if (vm->instance || vm->made) {
                vm->status.epoch = vm->epoch;
                vm->status.has_epoch = true;
                vm->status.instance_name =
                        vm->instance ? vm->instance->name
                                     : intent_free_name(vm->cache, &api_instance_kind, vm->arena, 'i', vm->object->uid, 0);
        }
        if (runs && host && host->started_at &&
            g_strcmp0(host->started_at, vm->status.stats ? vm->status.stats->last_start_time : NULL) != 0)
                stats_of(vm)->last_start_time = host->started_at;
}

/* What was put right on the host is told once. */
static void tell_outside(struct vm_context *vm)
{
        const struct api_instance_status *host = vm->view && !vm->made ? vm->view->status : NULL;
        const struct api_instance_outside *outside = host ? host->outside : NULL;

        if (!outside || !outside->at || g_strcmp0(object_annotation(vm->instance, ANNOTATION_OUTSIDE), outside->at) == 0)
                return;
        turn_set_annotation(vm->turn, vm->instance, ANNOTATION_OUTSIDE, outside->at);
        turn_event(vm->turn, vm->object, true, outside->reason, outside->message);
}

void vm_mirror(struct vm_context *vm)
{
        assert(vm);

        g_autoptr(json_doc) doc = json_doc_new();
        enum vm_phase phase = set_phase(vm);
        bool runs = phase == VM_RUNNING || phase == VM_MIGRATING || phase == VM_PAUSE;

        vm_changes(vm, doc);
        tell_outside(vm);
        say_running(vm, phase);
        say_agent(vm, runs);
        say_migratable(vm, runs);
        say_configuration(vm, runs);
        say_firmware(vm, runs);
        vm_tell_graphics(vm, runs);
        set_resources(vm);
        set_devices(vm, phase != VM_STOPPED && phase != VM_PENDING);
        set_networks(vm, runs && !vm->started && !host_is_lost(vm));
        set_capabilities(vm, runs);
        set_facts(vm, phase, runs);
        turn_update_status(vm->turn, vm->object, &vm->status);
}
