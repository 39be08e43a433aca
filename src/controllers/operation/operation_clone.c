/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/operation/operation_private.h"

#include "base/limits.h"
#include "base/names.h"
#include "controllers/disk/disk.h"
#include "generated/reasons.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define STALL_US               600000000ull /* a clone whose disks come no further for so long is given up */
#define STUMBLE_US             120000000ull /* the same when its host says that it failed there, and tries again */
#define MACHINE_NAME_MAX       63
#define ANNOTATION_CLONED_FROM "gabbro.dev/cloned-from" /* VirtualMachine: "NAME UID" of its source */

/* One disk of the machine, and its clone. */
struct part {
        const struct cache_object *source;
        const struct cache_object *clone; /* that this operation makes, or NULL */
        const char *name;                 /* of the clone */
        bool bare;                        /* the source has no content yet: its description is copied */
};

struct plan {
        struct arena *arena;
        const struct api_machine_clone *wanted;
        const char *machine; /* name of the new machine */
        bool begun;          /* the disks are being made: status.resources names them */
        struct part parts[LIMIT_BLOCK_DEVICES];
        size_t n_parts;
        const char *reason; /* why it cannot be, or NULL */
        const char *words;
};

static bool plan_fault(struct plan *plan, const char *reason, const char *words)
{
        plan->reason = reason;
        plan->words = words;
        return false;
}

/* --- names --- */

static const char *replaced(const struct api_machine_clone *clone, const char *kind, const char *name)
{
        for (size_t i = 0; i < clone->n_name_replacement; i++) {
                const struct api_clone_from *from = clone->name_replacement[i].from;

                if ((!from->kind || strcmp(from->kind, kind) == 0) && strcmp(from->name, name) == 0)
                        return clone->name_replacement[i].to;
        }
        return NULL;
}

static const char *customised(const struct plan *plan, const char *name)
{
        const struct api_clone_customization *custom = plan->wanted->customization;

        if (!custom || (!custom->name_prefix && !custom->name_suffix))
                return NULL;
        return arena_printf(plan->arena, "%s%s%s", custom->name_prefix ?: "", name, custom->name_suffix ?: "");
}

/* "web-root" of "web" becomes "db-root" of "db", "data" becomes "db-data". */
static const char *derived(const struct plan *plan, const char *source, const char *disk)
{
        size_t len = strlen(source);
        bool begins = strncmp(disk, source, len) == 0 && (disk[len] == '-' || disk[len] == '\0');

        return begins ? arena_printf(plan->arena, "%s%s", plan->machine, disk + len)
                      : arena_printf(plan->arena, "%s-%s", plan->machine, disk);
}

static bool name_machine(const struct op *op, struct plan *plan)
{
        const char *source = op->view->spec->virtual_machine_name;

        plan->machine = plan->wanted->name
                                ?: replaced(plan->wanted, api_virtual_machine_kind.kind, source) ?: customised(plan, source) ?: source;
        if (!names_is_label(plan->machine) || strlen(plan->machine) > MACHINE_NAME_MAX)
                return plan_fault(plan, REASON_OPERATION_FAILED,
                                  arena_printf(plan->arena, "%s is no name of a machine", plan->machine));
        if (strcmp(plan->machine, source) == 0)
                return plan_fault(plan, REASON_OPERATION_FAILED, "nothing gives the new machine another name");
        if (cache_get(op->cache, &api_virtual_machine_kind, op->object->namespace, plan->machine))
                return plan_fault(plan, REASON_CLONE_NAME_TAKEN,
                                  arena_printf(plan->arena, "machine %s exists already", plan->machine));
        return true;
}

/* --- parts --- */

/* Why a disk cannot be cloned, or NULL. */
static const char *part_fault(const struct op *op, struct plan *plan, const char *name, struct part *part)
{
        const struct cache_object *disk = cache_get(op->cache, &api_virtual_disk_kind, op->object->namespace, name);
        const struct cache_object *volume = disk ? disk_volume(op->cache, disk) : NULL;
        const struct api_virtual_disk *view = disk ? disk->view : NULL;
        const char *state = volume && ((const struct api_volume *)volume->view)->status
                                    ? ((const struct api_volume *)volume->view)->status->state
                                    : NULL;

        part->source = disk;
        if (!disk)
                return arena_printf(plan->arena, "disk %s does not exist", name);
        if (plan->begun)
                return NULL;
        if (object_deleting(disk))
                return arena_printf(plan->arena, "disk %s is being deleted", name);
        part->bare = !volume;
        if (part->bare && view->spec && view->spec->data_source && !disk_is_of_image(disk))
                return arena_printf(plan->arena, "disk %s has no content yet", name);
        if (!part->bare && g_strcmp0(state, "Ready") != 0)
                return arena_printf(plan->arena, "disk %s is not ready", name);
        return NULL;
}

static bool name_part(const struct op *op, struct plan *plan, struct part *part)
{
        const char *name = part->source->name;
        const struct api_virtual_disk *view;
        const struct cache_object *other;

        part->name = replaced(plan->wanted, api_virtual_disk_kind.kind, name) ?: customised(plan, name)
                ?: derived(plan, op->view->spec->virtual_machine_name, name);
        if (!names_is_subdomain(part->name))
                return plan_fault(plan, REASON_OPERATION_FAILED, arena_printf(plan->arena, "%s is no name of a disk", part->name));
        for (size_t i = 0; i < plan->n_parts; i++)
                if (strcmp(plan->parts[i].name, part->name) == 0)
                        return plan_fault(plan, REASON_CLONE_NAME_TAKEN,
                                          arena_printf(plan->arena, "two disks would be named %s", part->name));
        other = cache_get(op->cache, &api_virtual_disk_kind, op->object->namespace, part->name);
        if (other && !object_owned_by(other, op->object->uid))
                return plan_fault(plan, REASON_CLONE_NAME_TAKEN,
                                  arena_printf(plan->arena, "disk %s %s", part->name,
                                               object_deleting(other) ? "is being deleted still" : "exists already"));
        part->clone = other;
        view = other ? other->view : NULL;
        if (view)
                part->bare = !view->spec || !view->spec->clone;
        return true;
}

/* A linked clone needs its source as it is; whoever has it writes to it. */
static bool allows_link(const struct op *op, struct plan *plan, const struct part *part)
{
        bool linked = g_strcmp0(plan->wanted->disk_mode, "Linked") == 0 && !part->bare && !plan->begun;
        const char *user = linked ? disk_user(op->cache, part->source) : NULL;

        return !user || plan_fault(plan, REASON_DISK_IN_USE,
                                   arena_printf(plan->arena, "machine %s writes to disk %s; stop it first, or choose diskMode Full",
                                                user, part->source->name));
}

static const char *mode_of(const struct plan *plan)
{
        return plan->wanted->mode ? plan->wanted->mode : "Strict";
}

/* Whether the disk was among those of the machine when the clone began, and was not left out. */
static bool is_told(const struct op *op, const char *name)
{
        for (size_t i = 0; i < op->status.n_resources; i++)
                if (strcmp(op->status.resources[i].kind, api_virtual_disk_kind.kind) == 0 &&
                    strcmp(op->status.resources[i].name, name) == 0)
                        return true;
        return false;
}

static bool plan_part(const struct op *op, struct plan *plan, const char *name)
{
        bool best_effort = strcmp(mode_of(plan), "BestEffort") == 0;
        struct part *part = &plan->parts[plan->n_parts];
        const char *fault;

        *part = (struct part){0};
        fault = part_fault(op, plan, name, part);
        if (fault)
                return best_effort || plan_fault(plan, REASON_NOT_READY_TO_BE_EXECUTED, fault);
        if (!name_part(op, plan, part) || !allows_link(op, plan, part))
                return false;
        if (plan->begun && !is_told(op, part->name))
                return best_effort || plan_fault(plan, REASON_CLONE_FAILED, "the disks of the machine were changed meanwhile");
        plan->n_parts++;
        return true;
}

static bool plan_parts(const struct op *op, struct plan *plan)
{
        const struct api_virtual_machine_spec *spec = op->vm->spec;
        size_t n_images = 0;

        for (size_t i = 0; i < spec->n_block_device_refs; i++) {
                const struct api_block_device_ref *ref = &spec->block_device_refs[i];

                if (g_strcmp0(ref->kind, api_virtual_disk_kind.kind) != 0)
                        n_images++;
                else if (!plan_part(op, plan, ref->name))
                        return false;
        }
        return n_images + plan->n_parts > 0 || plan_fault(plan, REASON_NOT_READY_TO_BE_EXECUTED, "none of its disks can be cloned");
}

static bool plan_clone(const struct op *op, struct plan *plan)
{
        *plan = (struct plan){.arena = turn_arena(op->turn),
                              .wanted = op->view->spec->clone,
                              .begun = g_strcmp0(op->status.phase, "InProgress") == 0};
        if (!plan->wanted)
                return plan_fault(plan, REASON_OPERATION_FAILED, "spec.clone says nothing");
        return name_machine(op, plan) && plan_parts(op, plan);
}

/* --- what is told --- */

static void tell_resources(struct op *op, const struct plan *plan, const char *machine)
{
        struct api_operation_resource *list = arena_array(plan->arena, plan->n_parts + 1, sizeof(*list));
        size_t n = 0;

        list[n++] = (struct api_operation_resource){
                .api_version = "gabbro.dev/v1", .kind = api_virtual_machine_kind.kind, .name = plan->machine, .status = machine};
        for (size_t i = 0; i < plan->n_parts; i++) {
                const struct cache_object *clone = plan->parts[i].clone;
                const struct api_virtual_disk *view = clone ? clone->view : NULL;
                const struct api_condition *ready =
                        view && view->status ? condition_get(view->status->conditions, view->status->n_conditions, "Ready") : NULL;
                bool there = ready && strcmp(ready->status, "True") == 0;

                list[n++] = (struct api_operation_resource){.api_version = "gabbro.dev/v1",
                                                            .kind = api_virtual_disk_kind.kind,
                                                            .name = plan->parts[i].name,
                                                            .status = there ? "Completed" : machine,
                                                            .message = there || !ready ? NULL : ready->message};
        }
        op->status.resources = list;
        op->status.n_resources = n;
}

static enum turn_result finish(struct op *op, const struct plan *plan, const char *words)
{
        tell_resources(op, plan, "Completed");
        return op_finish(op, "Completed", "True", REASON_OPERATION_COMPLETED, words);
}

/* --- the beginning --- */

static void make_disk(struct op *op, const struct plan *plan, const struct part *part)
{
        const struct api_virtual_disk *source = part->source->view;
        struct api_owner_reference owner = {.api_version = "gabbro.dev/v1",
                                            .kind = api_virtual_machine_operation_kind.kind,
                                            .name = op->object->name,
                                            .uid = op->object->uid,
                                            .controller = true,
                                            .has_controller = true};
        const struct api_object_meta *meta_before = object_meta(part->source);
        struct api_object_meta meta = {.name = part->name,
                                       .namespace = op->object->namespace,
                                       .labels = meta_before->labels,
                                       .n_labels = meta_before->n_labels,
                                       .owner_references = &owner,
                                       .n_owner_references = 1};
        struct api_disk_object_ref ref = {.kind = api_virtual_disk_kind.kind, .name = part->source->name};
        struct api_disk_data_source from = {.type = "ObjectRef", .object_ref = &ref};
        struct api_disk_clone how = {.mode = plan->wanted->disk_mode ?: "Auto", .consistency = plan->wanted->consistency ?: "Auto"};
        struct api_virtual_disk_spec spec = {
                .data_source = &from, .clone = &how, .limits = source->spec ? source->spec->limits : NULL};
        struct api_virtual_disk disk = {.metadata = &meta, .spec = part->bare ? source->spec : &spec};

        turn_create(op->turn, &api_virtual_disk_kind, &disk);
        turn_depends(op->turn, part->source);
}

static void note_progress(struct op *op)
{
        char time[CLOCK_RFC3339_MAX];

        op->status.last_progress_time =
                arena_strdup(turn_arena(op->turn), clock_format_rfc3339(turn_now_us(op->turn), false, time));
}

enum turn_result clone_begin(struct op *op)
{
        struct plan plan;

        assert(op && op->machine);
        if (turn_refusal(op->turn))
                return op_fail(op, REASON_QUOTA_EXCEEDED, turn_refusal(op->turn));
        if (!plan_clone(op, &plan))
                return op_fail(op, plan.reason, plan.words);
        if (strcmp(mode_of(&plan), "DryRun") == 0)
                return finish(op, &plan,
                              arena_printf(plan.arena, "machine %s could be made; a dry run makes nothing", plan.machine));
        op_take_up(op);
        for (size_t i = 0; i < plan.n_parts; i++)
                make_disk(op, &plan, &plan.parts[i]);
        conditions_say(&op->conditions, "SignalSent", "True", REASON_SIGNAL_SENT_SUCCESS, "the disks of the clone are being made");
        op->status.progress = "0%";
        note_progress(op);
        tell_resources(op, &plan, "InProgress");
        turn_again_in(op->turn, STALL_US);
        return op_wait(op, "InProgress", REASON_CLONE_IN_PROGRESS,
                       arena_printf(plan.arena, "the disks of machine %s are being made", plan.machine));
}

/* --- the end --- */

static bool is_ours(const char *uid, void *userdata)
{
        return strcmp(uid, userdata) == 0;
}

static struct api_block_device_ref *new_refs(const struct op *op, const struct plan *plan, size_t *ret_n)
{
        const struct api_virtual_machine_spec *spec = op->vm->spec;
        struct api_block_device_ref *refs = arena_array(plan->arena, spec->n_block_device_refs, sizeof(*refs));
        size_t n = 0;

        for (size_t i = 0; i < spec->n_block_device_refs; i++) {
                bool disk = g_strcmp0(spec->block_device_refs[i].kind, api_virtual_disk_kind.kind) == 0;

                for (size_t j = 0; disk && j < plan->n_parts; j++)
                        if (strcmp(plan->parts[j].source->name, spec->block_device_refs[i].name) == 0) {
                                refs[n] = spec->block_device_refs[i];
                                refs[n++].name = plan->parts[j].name;
                        }
                if (!disk)
                        refs[n++] = spec->block_device_refs[i];
        }
        *ret_n = n;
        return refs;
}

static void make_machine(struct op *op, const struct plan *plan)
{
        const struct api_object_meta *meta_before = object_meta(op->machine);
        struct api_pair from = {ANNOTATION_CLONED_FROM, arena_printf(plan->arena, "%s %s", op->machine->name, op->machine->uid)};
        struct api_object_meta meta = {.name = plan->machine,
                                       .namespace = op->object->namespace,
                                       .labels = meta_before->labels,
                                       .n_labels = meta_before->n_labels,
                                       .annotations = &from,
                                       .n_annotations = 1};
        struct api_virtual_machine_spec spec = *op->vm->spec;
        struct api_virtual_machine machine = {.metadata = &meta, .spec = &spec};
        struct api_machine_network *networks = arena_array(plan->arena, spec.n_networks, sizeof(*networks));

        /* Addresses are held for the machine that they name. */
        spec.virtual_machine_ip_address_name = NULL;
        for (size_t i = 0; i < spec.n_networks; i++) {
                networks[i] = spec.networks[i];
                networks[i].virtual_machine_ip_address_name = NULL;
        }
        spec.networks = spec.n_networks > 0 ? networks : NULL;
        spec.block_device_refs = new_refs(op, plan, &spec.n_block_device_refs);
        spec.run_policy = plan->wanted->run_policy ?: spec.run_policy;
        turn_create(op->turn, &api_virtual_machine_kind, &machine);
        for (size_t i = 0; i < plan->n_parts; i++)
                turn_drop_owners(op->turn, plan->parts[i].clone, is_ours, (void *)op->object->uid);
        turn_depends(op->turn, op->machine);
}

void clone_remove(struct op *op)
{
        assert(op);

        g_autoptr(GPtrArray) made = cache_lookup(op->cache, INDEX_DEPENDENTS, op->object->uid);

        for (guint i = 0; made && i < made->len; i++) {
                const struct cache_object *object = made->pdata[i];

                if (object->kind == &api_virtual_disk_kind && !object_deleting(object))
                        turn_delete(op->turn, object);
        }
}

enum turn_result clone_give_up(struct op *op, const char *reason, const char *words)
{
        assert(op && reason && words);
        clone_remove(op);
        op->status.resources = NULL;
        op->status.n_resources = 0;
        return op_fail(op, reason, words);
}

/* --- in between --- */

struct survey {
        size_t n_done;
        unsigned percent; /* of all */
        const char *late; /* what the first of those that are not done says */
        const char *failed;
        bool stumbles; /* a host tries again by itself what failed there */
};

static bool is_phase(const char *phase, const char *const *phases)
{
        return phase && g_strv_contains(phases, phase);
}

/* What the host says of a volume that it could not make, and another attempt will not change. */
static bool is_final(const struct op *op, const struct part *part)
{
        static const char *const finals[] = {REASON_POOL_FULL, REASON_CLONE_NOT_SUPPORTED, REASON_REFLINK_NOT_ON_FILESYSTEM,
                                             REASON_AGENT_NOT_READY, NULL};
        const struct cache_object *object = disk_volume(op->cache, part->clone);
        const struct api_volume *volume = object ? object->view : NULL;

        return !volume || !volume->status || !volume->status->error || g_strv_contains(finals, volume->status->error->reason);
}

static void survey_part(const struct op *op, const struct plan *plan, const struct part *part, struct survey *survey)
{
        static const char *const done[] = {"Ready", "Resizing", NULL}, *const lost[] = {"Failed", "PVCLost", "Terminating", NULL};
        const struct api_virtual_disk *view = part->clone ? part->clone->view : NULL;
        const struct api_virtual_disk_status *status = view ? view->status : NULL;
        const struct api_condition *ready = status ? condition_get(status->conditions, status->n_conditions, "Ready") : NULL;
        const char *phase = status ? status->phase : NULL;
        const char *words = arena_printf(plan->arena, "disk %s: %s", part->name, ready ? ready->message : "nothing is known of it");

        if (!part->clone) {
                survey->failed = survey->failed ?: arena_printf(plan->arena, "disk %s is gone", part->name);
        } else if (g_strcmp0(phase, "Failed") == 0 && !object_deleting(part->clone) && !is_final(op, part)) {
                survey->stumbles = true;
                survey->late = survey->late ?: words;
        } else if (is_phase(phase, lost) || object_deleting(part->clone)) {
                survey->failed = survey->failed ?: words;
        } else if (is_phase(phase, done) || (part->bare && g_strcmp0(phase, "WaitForFirstConsumer") == 0)) {
                survey->n_done++;
                survey->percent += 100;
        } else {
                survey->percent += status && status->progress ? MIN((unsigned)strtoul(status->progress, NULL, 10), 100) : 0;
                survey->late = survey->late ?: words;
        }
}

static enum turn_result go_on(struct op *op, const struct plan *plan, const struct survey *survey)
{
        const char *progress = arena_printf(plan->arena, "%zu%%", plan->n_parts > 0 ? survey->percent / plan->n_parts : 0);
        uint64_t end_us;

        if (g_strcmp0(progress, op->status.progress) != 0)
                note_progress(op);
        op->status.progress = progress;
        end_us = time_us(op->status.last_progress_time) + (survey->stumbles ? STUMBLE_US : STALL_US);
        if (turn_now_us(op->turn) >= end_us)
                return clone_give_up(op, REASON_CLONE_FAILED,
                                     arena_printf(plan->arena, "it came no further for %d minutes: %s",
                                                  (int)((survey->stumbles ? STUMBLE_US : STALL_US) / 60000000), survey->late));
        turn_again_in(op->turn, end_us - turn_now_us(op->turn));
        tell_resources(op, plan, "InProgress");
        return op_wait(op, "InProgress", REASON_CLONE_IN_PROGRESS,
                       arena_printf(plan->arena, "the disks of machine %s are being made", plan->machine));
}

enum turn_result clone_watch(struct op *op)
{
        struct survey survey = {0};
        struct plan plan;

        assert(op && op->machine);
        if (turn_refusal(op->turn))
                return clone_give_up(op, REASON_QUOTA_EXCEEDED, turn_refusal(op->turn));
        if (!plan_clone(op, &plan))
                return clone_give_up(op, plan.reason, plan.words);
        for (size_t i = 0; i < plan.n_parts; i++)
                survey_part(op, &plan, &plan.parts[i], &survey);
        if (survey.failed)
                return clone_give_up(op, REASON_CLONE_FAILED, survey.failed);
        if (survey.n_done < plan.n_parts)
                return go_on(op, &plan, &survey);
        make_machine(op, &plan);
        return finish(op, &plan, arena_printf(plan.arena, "machine %s was made", plan.machine));
}

void clone_related(const struct cache *cache, const struct cache_object *disk, struct workqueue *queue)
{
        assert(cache && disk && queue);

        const struct api_object_meta *meta = object_meta(disk);

        for (size_t i = 0; i < meta->n_owner_references; i++) {
                const struct cache_object *owner = cache_by_uid(cache, meta->owner_references[i].uid);

                if (owner && owner->kind == &api_virtual_machine_operation_kind)
                        controller_enqueue(queue, owner->namespace, owner->name);
        }
}
