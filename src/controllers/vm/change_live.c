/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/context.h"

#include "controllers/placement/placement.h"
#include "generated/reasons.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * The size of a machine that runs (disruptions.applyMode Live). Memory that a guest is asked to give back is not counted as free.
 * What is ordered stands in the Instance's specification, what the domain has in its status. An order that is under way is waited
 * for; one that the host refused is taken back, so that its room is free again, and noted with the Instance: it is given again
 * after a minute, for a host is short of something only for a while, and after each further refusal twice as late, at most after an
 * hour.
 */
#define ANNOTATION_REFUSED "gabbro.dev/growth-refused" /* Instance: "EPOCH CORES MEMORYMIB TIMES UNTIL_S WORDS" */
#define ROOM_AGAIN_US      60000000ull
#define REFUSED_AGAIN_S    60u
#define REFUSED_DOUBLINGS  6u /* 64 minutes */

bool vm_applies_live(const struct vm_context *vm)
{
        const struct api_disruptions *disruptions = vm->spec->disruptions;

        return disruptions && g_strcmp0(disruptions->apply_mode, "Live") == 0;
}

void vm_learn_size(struct vm_context *vm)
{
        const struct api_instance_spec *spec = vm->view ? vm->view->spec : NULL;
        const struct api_instance_status *host = vm->view ? vm->view->status : NULL;
        bool told = host && host->has_cores && host->has_memory_mib && host->epoch == spec->epoch;

        assert(vm);

        vm->has = vm->ordered_size = (struct vm_size){};
        vm->room = (struct change_machine){.live = vm_applies_live(vm)};
        if (!spec)
                return;
        vm->ordered_size = (struct vm_size){
                .cores = spec->cpu->cores,
                .fraction_percent = (unsigned)spec->cpu->core_fraction_percent,
                .memory_mib = (uint64_t)(spec->has_balloon_mib ? spec->balloon_mib : spec->memory_mib),
                .full_mib = (uint64_t)spec->memory_mib,
                .grace_s = spec->has_grace_period_seconds ? spec->grace_period_seconds : 60,
        };
        vm->has = vm->ordered_size;
        vm->size_told = told;
        if (told) {
                vm->has.cores = host->cores;
                vm->has.memory_mib = (uint64_t)(host->has_held_mib ? host->held_mib : host->memory_mib);
                vm->has.full_mib = (uint64_t)host->memory_mib;
                vm->has.fraction_percent =
                        host->has_core_fraction_percent ? (unsigned)host->core_fraction_percent : vm->ordered_size.fraction_percent;
        }
        vm->room.cores = vm->has.cores;
        vm->room.cores_most = MAX(spec->cpu->has_max_cores ? spec->cpu->max_cores : 0, vm->has.cores);
        vm->room.memory_mib = vm->has.memory_mib;
        vm->room.memory_full_mib = vm->has.full_mib;
        vm->room.memory_most_mib = MAX(spec->has_max_memory_mib ? (uint64_t)spec->max_memory_mib : 0, vm->has.full_mib);
        vm->room.memory_least_mib = told && host->has_held_mib ? change_memory_least(vm->has.full_mib) : vm->has.full_mib;
}

/* --- what was refused --- */

struct refused {
        int64_t epoch, cores;
        uint64_t memory_mib, until_s;
        unsigned times;
        const char *words;
};

/* What the host did not take before. */
static bool read_refused(const struct vm_context *vm, struct refused *refused)
{
        const char *text = object_annotation(vm->instance, ANNOTATION_REFUSED);
        int at = 0;

        if (!text ||
            sscanf(text, "%" SCNd64 " %" SCNd64 " %" SCNu64 " %u %" SCNu64 " %n", &refused->epoch, &refused->cores,
                   &refused->memory_mib, &refused->times, &refused->until_s, &at) < 5 ||
            refused->epoch != vm->view->spec->epoch)
                return false;
        refused->words = text + at;
        return true;
}

static bool host_refuses(const struct vm_context *vm, int64_t cores, uint64_t memory_mib)
{
        const struct api_instance_status *host = vm->view->status;
        const struct api_instance_refusal *refused = host ? host->growth_refused : NULL;

        return refused && host->epoch == vm->view->spec->epoch && refused->cores == cores &&
               (uint64_t)refused->memory_mib == memory_mib;
}

/* Why this size is not ordered now, or NULL. */
static const char *refused_words(const struct vm_context *vm, int64_t cores, uint64_t memory_mib)
{
        uint64_t now_us = turn_now_us(vm->turn);
        struct refused refused;

        if (!read_refused(vm, &refused) || refused.cores != cores || refused.memory_mib != memory_mib)
                return NULL;
        if (now_us < refused.until_s * 1000000) {
                turn_again_in(vm->turn, refused.until_s * 1000000 - now_us);
                return refused.words;
        }
        return host_refuses(vm, cores, memory_mib) ? refused.words : NULL; /* its agent has not forgotten the former order yet */
}

/* True: the order was taken back. */
static bool take_back(struct vm_context *vm, struct vm_size *order)
{
        struct refused before, now = {.epoch = vm->view->spec->epoch, .cores = order->cores, .memory_mib = order->full_mib};

        if (!host_refuses(vm, order->cores, order->full_mib))
                return false;
        now.words = vm->view->status->growth_refused->message;
        if (read_refused(vm, &before) && before.cores == now.cores && before.memory_mib == now.memory_mib)
                now.times = MIN(before.times + 1, REFUSED_DOUBLINGS);
        now.until_s = turn_now_us(vm->turn) / 1000000 + ((uint64_t)REFUSED_AGAIN_S << now.times);
        turn_set_annotation(vm->turn, vm->instance, ANNOTATION_REFUSED,
                            arena_printf(vm->arena, "%" PRId64 " %" PRId64 " %" PRIu64 " %u %" PRIu64 " %s", now.epoch, now.cores,
                                         now.memory_mib, now.times, now.until_s, now.words));
        turn_event(vm->turn, vm->object, true, REASON_LIVE_CHANGE_FAILED,
                   arena_printf(vm->arena, "host %s could not change the running machine: %s", vm->node, now.words));
        order->cores = vm->has.cores;
        order->memory_mib = MIN(order->memory_mib, vm->has.full_mib);
        order->full_mib = vm->has.full_mib;
        vm->live_words = now.words;
        turn_again_in(vm->turn, (uint64_t)REFUSED_AGAIN_S * 1000000 << now.times);
        return true;
}

/* --- what is ordered --- */

static bool fits(struct vm_context *vm, const struct vm_size *order)
{
        const struct placement_request request = {
                .machine = vm->object,
                .class = vm->class,
                .cpu_milli = placement_guaranteed_milli((uint64_t)order->cores, order->fraction_percent),
                .memory_mib = order->full_mib + placement_overhead_mib((uint64_t)order->cores, order->full_mib),
                .in_place = true,
        };
        const struct vm_size *now = &vm->ordered_size;
        const struct cache_object *node = cache_get(vm->cache, &api_node_kind, NULL, vm->node);
        const char *words = NULL;

        /* What gives room back needs none. */
        if (request.cpu_milli <= placement_guaranteed_milli((uint64_t)now->cores, now->fraction_percent) &&
            order->full_mib <= now->full_mib)
                return true;
        if (node && placement_has_room(vm->cache, node, &request, vm->arena, &words)) {
                turn_set_annotation(vm->turn, node, ANNOTATION_LAST_START, /* two turns do not give one room away */
                                    arena_printf(vm->arena, "%s %" PRId64 " %" PRId64 " %" PRIu64 " %u", vm->object->uid, vm->epoch,
                                                 order->cores, order->full_mib, order->fraction_percent));
                return true;
        }
        vm->live_words = arena_printf(vm->arena, "its host %s %s", vm->node, words ? words : "is gone");
        turn_again_in(vm->turn, ROOM_AGAIN_US);
        return false;
}

/* Less is asked of the guest, and so is what it gave back; what the domain never had comes to it. What it was given stays its own
 * until the next start, with its host and with the quota: it takes it back when it likes. */
static void want_memory(const struct vm_context *vm, struct vm_size *order)
{
        uint64_t wanted = vm->memory_mib;

        if (wanted <= order->full_mib) {
                if (wanted >= vm->room.memory_least_mib)
                        order->memory_mib = wanted;
        } else if (wanted <= vm->room.memory_most_mib && (wanted - vm->has.full_mib) % CHANGE_MEMORY_STEP_MIB == 0) {
                order->memory_mib = order->full_mib = wanted;
        }
}

/* What of the specification can come live now. */
static void want(struct vm_context *vm, struct vm_size *order)
{
        struct vm_size before = *order;
        const char *refused;

        order->grace_s = vm->spec->has_termination_grace_period_seconds ? vm->spec->termination_grace_period_seconds : 60;
        if (!vm->size_told) {
                vm->live_words = "its host does not tell the size of what runs";
                return;
        }
        order->fraction_percent = vm->fraction_percent;
        if (vm->cores > order->cores && vm->cores <= vm->room.cores_most)
                order->cores = vm->cores;
        want_memory(vm, order);
        refused = refused_words(vm, order->cores, order->full_mib);
        if (refused) {
                vm->live_words = refused;
                order->cores = before.cores;
                order->memory_mib = before.memory_mib;
                order->full_mib = before.full_mib;
        }
}

static void write_order(struct vm_context *vm, const struct vm_size *order)
{
        struct api_instance_spec spec = *vm->view->spec;
        struct api_instance_cpu cpu = *spec.cpu;

        cpu.cores = order->cores;
        cpu.core_fraction_percent = order->fraction_percent;
        spec.cpu = &cpu;
        spec.memory_mib = (int64_t)order->full_mib;
        spec.balloon_mib = (int64_t)order->memory_mib;
        spec.has_balloon_mib = order->memory_mib < order->full_mib;
        spec.grace_period_seconds = order->grace_s;
        spec.has_grace_period_seconds = true;
        vm->ordered = true;
        turn_update_spec(vm->turn, vm->instance, &spec);
        vm->ordered_size = *order;
}

static bool is_same(const struct vm_size *a, const struct vm_size *b)
{
        return a->cores == b->cores && a->fraction_percent == b->fraction_percent && a->memory_mib == b->memory_mib &&
               a->full_mib == b->full_mib && a->grace_s == b->grace_s;
}

bool vm_change_live(struct vm_context *vm)
{
        struct vm_size order, kept;

        assert(vm && vm->instance && !vm->started);

        if (!vm->power_on || !vm->current || vm->facts.state != VM_STATE_RUNNING)
                return false;
        order = vm->ordered_size;
        if (!take_back(vm, &order) && vm->room.live) {
                kept = order;
                want(vm, &order);
                if (!condition_is(vm->status.conditions, vm->status.n_conditions, "SizingPolicyMatched", "True")) {
                        vm->live_words = "its size is not allowed by its class";
                        order = kept;
                } else if (!fits(vm, &order)) {
                        kept.grace_s = order.grace_s;
                        order = kept;
                }
        }
        if (is_same(&order, &vm->ordered_size))
                return false;
        write_order(vm, &order);
        return true;
}

/* --- what is told --- */

bool vm_grows(const struct vm_context *vm)
{
        assert(vm);
        return vm->ordered_size.cores != vm->has.cores || vm->ordered_size.memory_mib != vm->has.memory_mib ||
               vm->ordered_size.full_mib != vm->has.full_mib || vm->ordered_size.fraction_percent != vm->has.fraction_percent;
}
