/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_limits.h"

#include "agent/instance_drift.h"
#include "base/log.h"
#include "virt/live_disks.h"

#include <assert.h>
#include <string.h>

/* --- two forms of one thing ------------------------------------------------------------------------------------------------------
 */

struct virt_disk_limits instance_limits(const struct api_instance_disk_limits *limits)
{
        if (!limits) {
                return (struct virt_disk_limits){};
        }
        return (struct virt_disk_limits){
                .most = {[VIRT_LIMIT_TOTAL_BYTES] = (uint64_t)limits->total_bytes,
                         [VIRT_LIMIT_READ_BYTES] = (uint64_t)limits->read_bytes,
                         [VIRT_LIMIT_WRITE_BYTES] = (uint64_t)limits->write_bytes,
                         [VIRT_LIMIT_TOTAL_OPERATIONS] = (uint64_t)limits->total_operations,
                         [VIRT_LIMIT_READ_OPERATIONS] = (uint64_t)limits->read_operations,
                         [VIRT_LIMIT_WRITE_OPERATIONS] = (uint64_t)limits->write_operations},
        };
}

static struct api_instance_disk_limits *view_of(struct job *job, const struct virt_disk_limits *limits)
{
        struct api_instance_disk_limits *view = arena_new0(job->arena, struct api_instance_disk_limits);
        const struct {
                int64_t *value;
                bool *has;
        } fields[VIRT_LIMITS] = {
                [VIRT_LIMIT_TOTAL_BYTES] = {&view->total_bytes, &view->has_total_bytes},
                [VIRT_LIMIT_READ_BYTES] = {&view->read_bytes, &view->has_read_bytes},
                [VIRT_LIMIT_WRITE_BYTES] = {&view->write_bytes, &view->has_write_bytes},
                [VIRT_LIMIT_TOTAL_OPERATIONS] = {&view->total_operations, &view->has_total_operations},
                [VIRT_LIMIT_READ_OPERATIONS] = {&view->read_operations, &view->has_read_operations},
                [VIRT_LIMIT_WRITE_OPERATIONS] = {&view->write_operations, &view->has_write_operations},
        };

        for (size_t i = 0; i < VIRT_LIMITS; i++) {
                *fields[i].value = (int64_t)limits->most[i];
                *fields[i].has = limits->most[i] > 0;
        }
        return view;
}

/* --- what was told ---------------------------------------------------------------------------------------------------------------
 */

static struct virt_disk_limits told_of(const struct api_instance_status *told, const char *disk)
{
        for (size_t i = 0; told && i < told->n_disks; i++) {
                if (g_strcmp0(told->disks[i].name, disk) == 0) {
                        return instance_limits(told->disks[i].limits);
                }
        }
        return (struct virt_disk_limits){};
}

bool instance_limits_changed(const struct api_instance *instance, const struct api_instance_status *told)
{
        static const char *const on[] = {"running", "paused", NULL};
        const struct api_instance_spec *spec = instance->spec;

        assert(instance);
        if (!told || !told->has_epoch || told->epoch != spec->epoch || !told->state || !g_strv_contains(on, told->state)) {
                return false; /* a start takes them along */
        }
        for (size_t i = 0; i < spec->n_disks; i++) {
                struct virt_disk_limits wanted = instance_limits(spec->disks[i].limits);
                struct virt_disk_limits known = told_of(told, spec->disks[i].name);

                if (!virt_disk_limits_equal(&wanted, &known)) {
                        return true;
                }
        }
        return false;
}

/* --- what runs -------------------------------------------------------------------------------------------------------------------
 */

static void put_right(struct instance_turn *turn, const struct virt_disk *wanted, const struct virt_disk *found)
{
        g_autofree char *was = virt_disk_limits_words(&found->limits), *is = virt_disk_limits_words(&wanted->limits);
        struct virt_disk_limits known = told_of(turn->job->told, wanted->name);
        struct virt_error error = {};
        int r;

        (void)job_pass(turn->job, "limit", "before");
        r = virt_live_disk_limit(turn->job->agent->virt, turn->uuid, wanted->target, &wanted->limits, &error);
        (void)job_pass(turn->job, "limit", "after");
        if (r) {
                log_warning("the limits of a disk could not be changed", "domain", turn->entry.name, "disk", wanted->name, "to", is,
                            "error", error.words);
        } else if (virt_disk_limits_equal(&known, &wanted->limits)) {
                instance_outside(turn, REASON_DEFINITION_CHANGED_OUTSIDE,
                                 "the limits of disk %s of the domain %s were changed to (%s); they were put right", wanted->name,
                                 turn->entry.name, was);
        } else {
                log_info("the limits of a disk were changed", "domain", turn->entry.name, "disk", wanted->name, "from", was, "to",
                         is);
        }
}

bool instance_put_limits_right(struct instance_turn *turn, const struct virt_domain *wanted, const struct virt_domain *found)
{
        bool tried = false;

        assert(turn && wanted && found);
        for (size_t i = 0; i < wanted->n_disks; i++) {
                for (size_t j = 0; j < found->n_disks; j++) {
                        const struct virt_disk *disk = &wanted->disks[i], *there = &found->disks[j];

                        if (strcmp(disk->target, there->target) == 0 && g_strcmp0(disk->path, there->path) == 0 && !there->cdrom &&
                            !virt_disk_limits_equal(&disk->limits, &there->limits)) {
                                put_right(turn, disk, there);
                                tried = true;
                        }
                }
        }
        return tried;
}

/* --- the status ------------------------------------------------------------------------------------------------------------------
 */

void instance_note_limits(struct instance_turn *turn, const struct virt_domain *domain)
{
        struct api_instance_disk_state *list;

        assert(turn && domain);
        list = arena_array(turn->job->arena, domain->n_disks + 1, sizeof(*list));
        turn->n_limited = 0;
        for (size_t i = 0; i < domain->n_disks; i++) {
                const struct virt_disk *disk = &domain->disks[i];

                if (virt_disk_limits_any(&disk->limits)) {
                        list[turn->n_limited++] = (struct api_instance_disk_state){
                                .name = arena_strdup(turn->job->arena, disk->name),
                                .limits = view_of(turn->job, &disk->limits),
                        };
                }
        }
        turn->limited = turn->n_limited > 0 ? list : NULL; /* a status without limits says nothing of them */
        turn->limits_known = true;
}

void instance_tell_limits(const struct instance_turn *turn, struct api_instance_status *status)
{
        const struct api_instance_status *told = turn->job->told;

        assert(turn && status);
        if (!turn->exists || !turn->entry.active) {
                return;
        }
        if (turn->limits_known) {
                status->disks = (struct api_instance_disk_state *)turn->limited;
                status->n_disks = turn->n_limited;
        } else if (told && told->epoch == turn->fact.epoch) {
                status->disks = told->disks;
                status->n_disks = told->n_disks;
        }
}
