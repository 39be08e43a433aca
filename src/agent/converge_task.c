/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/job.h"

#include "agent/inspect.h"
#include "agent/machine_measure.h"
#include "agent/pool.h"
#include "agent/reboot.h"
#include "agent/volume_digest.h"
#include "agent/volume_export.h"
#include "base/error.h"
#include "base/log.h"

#include <string.h>

static void finish_pool(struct job *job, struct api_host_task_status *status, int outcome, const struct virt_pool_info *info,
                        const struct virt_error *error)
{
        if (outcome) {
                status->state = "Failed";
                status->error = job_virt_error(job, error->reason ? error->reason : REASON_POOL_FAILED, outcome, error);
                /* What ails a folder is put right outside. */
                job->result = JOB_RETRY;
                log_warning("pool cannot be used", "task", job_key(job).name, "reason", status->error->reason, "error",
                            status->error->message);
        } else {
                status->state = "Succeeded";
                status->capacity_bytes = info->capacity_bytes;
                status->available_bytes = info->available_bytes;
                status->has_capacity_bytes = status->has_available_bytes = true;
                job->ready = true;
        }
        job_status(job, &api_host_task_status_type, status);
}

/* The last word on a pool of this host: libvirt forgets what we made it know. Files stay. */
static void end_task(struct job *job, const struct api_host_task *task)
{
        struct api_host_task_status status = {
                .observed_generation = job->doc->generation, .has_observed_generation = true, .state = "Gone"};
        bool pool = task->spec && task->spec->pool && g_strcmp0(task->spec->type, "EnsurePool") == 0;
        struct virt_error error = {};
        int r = pool ? virt_pool_remove(job->agent->virt, task->spec->pool->name, &error) : 0;

        if (r) {
                log_warning("pool could not be let go", "task", job_key(job).name, "error", error.words);
                job->unreachable |= r == VIRT_E_UNREACHABLE;
                job->result = JOB_RETRY;
                return;
        }
        job->result = JOB_GONE;
        job_status(job, &api_host_task_status_type, &status);
}

void converge_task(struct job *job)
{
        static const struct {
                const char *type;
                void (*converge)(struct job *job, const struct api_host_task *task);
        } looks[] = {{"Inspect", converge_inspect},     {"Repair", converge_repair},          {"ExportVolume", converge_export},
                     {"DigestVolume", converge_digest}, {"MeasureMachine", converge_measure}, {"Reboot", converge_reboot}};
        const struct api_host_task *task = job->doc->view;
        struct api_host_task_status status = {.observed_generation = job->doc->generation, .has_observed_generation = true};
        struct virt_pool_info info = {};
        struct virt_error error = {};
        int r;

        if (job->doc->deleted) {
                end_task(job, task);
                return;
        }
        /* A task is done once; its pool is looked at by the node's report from then on. */
        if (job->was_ready || (task->status && g_strcmp0(task->status->state, "Succeeded") == 0) ||
            (task->spec->instance && task->status && g_strcmp0(task->status->state, "Failed") == 0)) {
                job->ready = true;
                return;
        }
        for (size_t i = 0; i < G_N_ELEMENTS(looks); i++) {
                if (g_strcmp0(task->spec->type, looks[i].type) == 0) {
                        looks[i].converge(job, task);
                        return;
                }
        }
        if (!task->spec->pool) {
                status.state = "Failed";
                status.error = job_error(job, REASON_VALIDATION_FAILED, "spec.pool is missing");
                job_status(job, &api_host_task_status_type, &status);
                return;
        }
        r = pool_ensure(job, task->spec->pool, &error);
        if (!r) {
                r = virt_pool_refresh(job->agent->virt, task->spec->pool->name, &info, &error);
        }
        finish_pool(job, &status, r, &info, &error);
        virt_pool_info_clear(&info);
}
