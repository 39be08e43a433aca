/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_change.h"

#include "agent/instance_drift.h"
#include "base/error.h"
#include "base/log.h"
#include "virt/live_size.h"

#include <assert.h>

/* --- when ------------------------------------------------------------------------------------------------------------------------
 */

static unsigned fraction_of(const struct api_instance_spec *spec)
{
        return spec->cpu && spec->cpu->has_core_fraction_percent ? (unsigned)spec->cpu->core_fraction_percent : 100;
}

static bool was_refused(const struct api_instance_spec *spec, const struct api_instance_status *told)
{
        const struct api_instance_refusal *refused = told->growth_refused;

        return refused && refused->cores == spec->cpu->cores && refused->memory_mib == spec->memory_mib;
}

static bool is_as_told(const struct api_instance_spec *spec, const struct api_instance_status *told)
{
        return told->has_cores && told->cores == spec->cpu->cores && told->memory_mib == spec->memory_mib &&
               told->core_fraction_percent == (int64_t)fraction_of(spec);
}

bool instance_change_due(const struct api_instance *instance, const struct api_instance_status *told)
{
        static const char *const on[] = {"running", "paused", NULL};
        const struct api_instance_spec *spec = instance->spec;

        assert(instance);
        if (!told || !told->has_epoch || told->epoch != spec->epoch || !told->state || !g_strv_contains(on, told->state)) {
                return false; /* a start takes the size along */
        }
        /* A refusal that nobody's order stands for any more is forgotten, so that the order may come again. */
        return spec->cpu && (is_as_told(spec, told) ? told->growth_refused != NULL : !was_refused(spec, told));
}

/* --- what runs -------------------------------------------------------------------------------------------------------------------
 */

static enum instance_growth judge(struct instance_turn *turn, int r, const struct virt_error *error, const char *what)
{
        struct api_instance_refusal *refused;

        if (!r) {
                log_info("a running domain was changed", "domain", turn->entry.name, "what", what);
                return INSTANCE_CHANGED;
        }
        log_warning("a running domain could not be changed", "domain", turn->entry.name, "what", what, "error", error->words);
        if (r == VIRT_E_UNREACHABLE || r == VIRT_E_STATE || r == VIRT_E_MISSING) {
                return INSTANCE_LATER;
        }
        refused = arena_new0(turn->job->arena, struct api_instance_refusal);
        *refused = (struct api_instance_refusal){
                .cores = turn->instance->spec->cpu->cores,
                .has_cores = true,
                .memory_mib = turn->instance->spec->memory_mib,
                .has_memory_mib = true,
                .message = arena_printf(turn->job->arena, "%s: %s", what, error->words),
        };
        turn->refused = refused;
        return INSTANCE_REFUSED;
}

static enum instance_growth grow_cpu(struct instance_turn *turn, const struct virt_domain *wanted, const struct virt_domain *found)
{
        const char *what = arena_printf(turn->job->arena, "processors from %u to %u", found->vcpus, wanted->vcpus);
        struct virt_error error = {};
        int r;

        if (found->vcpus >= wanted->vcpus) {
                return INSTANCE_AS_IT_WAS;
        }
        (void)job_pass(turn->job, "grow", "processors-before");
        r = virt_live_vcpus(turn->job->agent->virt, turn->uuid, wanted->vcpus, &error);
        (void)job_pass(turn->job, "grow", "processors-after");
        return judge(turn, r, &error, what);
}

static enum instance_growth grow_memory(struct instance_turn *turn, const struct virt_domain *wanted,
                                        const struct virt_domain *found)
{
        const char *what = arena_printf(turn->job->arena, "memory from %" G_GUINT64_FORMAT " MiB to %" G_GUINT64_FORMAT " MiB",
                                        found->memory_mib, wanted->memory_mib);
        struct virt_error error = {};
        int r;

        if (found->memory_mib >= wanted->memory_mib) {
                return INSTANCE_AS_IT_WAS;
        }
        (void)job_pass(turn->job, "grow", "memory-before");
        r = virt_live_memory(turn->job->agent->virt, turn->uuid, wanted->memory_mib, &error);
        (void)job_pass(turn->job, "grow", "memory-after");
        return judge(turn, r, &error, what);
}

static enum instance_growth weigh(struct instance_turn *turn, const struct virt_domain *wanted, const struct virt_domain *found)
{
        const char *what = arena_printf(turn->job->arena, "weight from %u to %u", found->cpu_shares, wanted->cpu_shares);
        struct virt_error error = {};
        int r;

        /* A host without control groups weighs nothing. */
        if (!wanted->cpu_shares || found->cpu_shares == wanted->cpu_shares) {
                return INSTANCE_AS_IT_WAS;
        }
        (void)job_pass(turn->job, "grow", "weight-before");
        r = virt_domain_set_cpu_shares(turn->job->agent->virt, turn->uuid, wanted->cpu_shares, &error);
        (void)job_pass(turn->job, "grow", "weight-after");
        return judge(turn, r, &error, what);
}

enum instance_growth instance_grow(struct instance_turn *turn, const struct virt_domain *wanted, const struct virt_domain *found)
{
        static enum instance_growth (*const steps[])(struct instance_turn * turn, const struct virt_domain *wanted,
                                                     const struct virt_domain *found) = {grow_cpu, grow_memory, weigh};
        enum instance_growth result = INSTANCE_AS_IT_WAS;

        assert(turn && wanted && found);
        if (turn->job->told && turn->job->told->epoch == turn->fact.epoch && was_refused(turn->instance->spec, turn->job->told)) {
                turn->refused = turn->job->told->growth_refused;
                return INSTANCE_REFUSED;
        }
        for (size_t i = 0; i < G_N_ELEMENTS(steps) && result != INSTANCE_LATER; i++) {
                enum instance_growth one = steps[i](turn, wanted, found);

                result = MAX(result, one);
        }
        return result;
}

/* --- the status ------------------------------------------------------------------------------------------------------------------
 */

void instance_note_size(struct instance_turn *turn, const struct virt_domain *domain)
{
        assert(turn && domain);
        turn->cores = domain->vcpus;
        turn->memory_mib = domain->memory_mib;
}

void instance_tell_size(const struct instance_turn *turn, struct api_instance_status *status)
{
        const struct api_instance_status *told = turn->job->told;

        assert(turn && status);
        if (!turn->exists || !turn->entry.active) {
                return;
        }
        if (turn->cores) {
                status->cores = turn->cores;
                status->memory_mib = (int64_t)turn->memory_mib;
                status->core_fraction_percent = turn->refused && told && told->has_core_fraction_percent
                                                        ? told->core_fraction_percent
                                                        : (int64_t)fraction_of(turn->instance->spec);
                status->has_cores = status->has_memory_mib = status->has_core_fraction_percent = true;
                status->growth_refused = (struct api_instance_refusal *)turn->refused;
        } else if (told && told->epoch == turn->fact.epoch) {
                status->cores = told->cores;
                status->has_cores = told->has_cores;
                status->memory_mib = told->memory_mib;
                status->has_memory_mib = told->has_memory_mib;
                status->core_fraction_percent = told->core_fraction_percent;
                status->has_core_fraction_percent = told->has_core_fraction_percent;
                status->growth_refused = told->growth_refused;
        }
}
