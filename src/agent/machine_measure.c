/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/machine_measure.h"

#include "virt/migration.h"

#include <assert.h>

static const char *instance_of(const struct intent *task)
{
        return task->kind == &api_host_task_kind ? ((const struct api_host_task *)task->doc->view)->spec->instance : NULL;
}

bool measure_is(const struct intent *intent)
{
        assert(intent);
        return instance_of(intent) != NULL;
}

const char *measure_domain(struct agent *agent, const struct intent *task, struct arena *arena)
{
        const struct intent *instance = intents_get(agent->intents, &api_instance_kind, instance_of(task));

        assert(agent && arena);
        return instance ? arena_strdup(arena, instance_uuid(instance->doc->view)) : NULL;
}

void converge_measure(struct job *job, const struct api_host_task *task)
{
        struct api_host_task_status status = {.observed_generation = job->doc->generation, .has_observed_generation = true};
        struct virt_error error = {};
        uint64_t rate = 0;
        int r;

        assert(job && task && task->spec);
        /* What cannot be measured is told, and not tried again: nothing waits for it but an estimate. */
        r = job->instance_uuid ? virt_dirty_rate(job->agent->virt, job->instance_uuid, &rate, &error) : VIRT_E_MISSING;
        status.state = r ? "Failed" : "Succeeded";
        if (r) {
                status.error = job->instance_uuid ? job_virt_error(job, REASON_OPERATION_FAILED, r, &error)
                                                  : job_error(job, REASON_OPERATION_FAILED, "the machine is not on this host");
        } else {
                status.dirty_bytes_per_second = (int64_t)rate;
                status.has_dirty_bytes_per_second = true;
        }
        job->ready = true;
        job_status(job, &api_host_task_status_type, &status);
}
