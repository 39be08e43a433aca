/* SPDX-License-Identifier: Apache-2.0 */
#include "admission/sizing.h"

#include "base/quantity.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

/* Who is told of violations. */
struct verdict {
        sizing_fn told;
        void *userdata;
        bool good;
};

static void violation(struct verdict *verdict, const char *field, const char *format, ...) G_GNUC_PRINTF(3, 4);
static void violation(struct verdict *verdict, const char *field, const char *format, ...)
{
        g_autofree char *words = NULL;
        va_list arguments;

        va_start(arguments, format);
        words = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        verdict->good = false;
        verdict->told(field, words, verdict->userdata);
}

static bool quantity(const char *text, uint64_t *ret_bytes)
{
        return text && quantity_parse_bytes(text, ret_bytes) == 0;
}

/* "20%" or 20; 0 when it is neither. */
static unsigned fraction(const char *text)
{
        return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

static const struct api_sizing_policy *policy_of(const struct api_virtual_machine_class_spec *class, int64_t cores)
{
        for (size_t i = 0; i < class->n_sizing_policies; i++) {
                const struct api_core_range *range = class->sizing_policies[i].cores;

                if (!range || (cores >= range->min && cores <= range->max))
                        return &class->sizing_policies[i];
        }
        return NULL;
}

static void check_policy_exists(const struct api_virtual_machine_class_spec *class, int64_t cores, struct verdict *verdict)
{
        g_autoptr(GString) ranges = g_string_new(NULL);

        for (size_t i = 0; i < class->n_sizing_policies; i++)
                if (class->sizing_policies[i].cores)
                        g_string_append_printf(ranges, "%s%" PRId64 "-%" PRId64, ranges->len > 0 ? ", " : "",
                                               class->sizing_policies[i].cores->min, class->sizing_policies[i].cores->max);
        violation(verdict, SIZING_CORES, "%" PRId64 " cores are in no sizing policy, which allow %s", cores, ranges->str);
}

/* On the grid min, min + step, ...; the end of the range is always allowed. */
static bool on_grid(uint64_t value, uint64_t min, uint64_t max, uint64_t step)
{
        return step == 0 || value == max || value < min || (value - min) % step == 0;
}

static void check_cores(const struct api_core_range *range, int64_t cores, struct verdict *verdict)
{
        if (!range || !range->has_step)
                return;
        if (!on_grid((uint64_t)cores, (uint64_t)range->min, (uint64_t)range->max, (uint64_t)range->step))
                violation(verdict, SIZING_CORES,
                          "%" PRId64 " cores are not on the steps of %" PRId64 " from %" PRId64 " to %" PRId64, cores, range->step,
                          range->min, range->max);
}

static void check_fraction(const struct api_sizing_policy *policy, unsigned percent, struct verdict *verdict)
{
        g_autoptr(GString) allowed = g_string_new(NULL);

        for (size_t i = 0; i < policy->n_core_fractions; i++) {
                if (fraction(policy->core_fractions[i]) == percent)
                        return;
                g_string_append_printf(allowed, "%s%u%%", i > 0 ? ", " : "", fraction(policy->core_fractions[i]));
        }
        if (policy->n_core_fractions > 0)
                violation(verdict, SIZING_FRACTION, "the share of %u%% is not one of %s", percent, allowed->str);
}

static void check_bounds(const char *min_text, const char *max_text, const char *step_text, uint64_t bytes, uint64_t cores,
                         struct verdict *verdict)
{
        uint64_t min = 0, max = 0, step = 0;
        bool has_min = quantity(min_text, &min), has_max = quantity(max_text, &max), has_step = quantity(step_text, &step);
        uint64_t value = bytes / cores;
        char have[32], bound[32];

        quantity_format_bytes(bytes, have);
        if (has_min && value < min)
                violation(verdict, SIZING_MEMORY, "%s of memory is less than %s%s", have, quantity_format_bytes(min * cores, bound),
                          cores > 1 ? " for these cores" : "");
        if (has_max && value > max)
                violation(verdict, SIZING_MEMORY, "%s of memory is more than %s%s", have, quantity_format_bytes(max * cores, bound),
                          cores > 1 ? " for these cores" : "");
        if (has_max && has_step && !on_grid(value, min, max, step))
                violation(verdict, SIZING_MEMORY, "%s of memory is not on the steps of %s", have,
                          quantity_format_bytes(step, bound));
}

bool sizing_check(const struct api_virtual_machine_class_spec *class, const struct sizing *sizing, sizing_fn told, void *userdata)
{
        struct verdict verdict = {.told = told, .userdata = userdata, .good = true};
        const struct api_sizing_policy *policy;

        assert(sizing && sizing->cores > 0 && told);
        if (!class || class->n_sizing_policies == 0)
                return true;
        policy = policy_of(class, sizing->cores);
        if (!policy) {
                check_policy_exists(class, sizing->cores, &verdict);
                return false;
        }
        check_cores(policy->cores, sizing->cores, &verdict);
        check_fraction(policy, sizing->fraction_percent, &verdict);
        if (policy->memory) {
                const struct api_memory_range *memory = policy->memory;

                check_bounds(memory->min, memory->max, memory->step, sizing->memory_bytes, 1, &verdict);
                if (memory->per_core)
                        check_bounds(memory->per_core->min, memory->per_core->max, memory->step, sizing->memory_bytes,
                                     (uint64_t)sizing->cores, &verdict);
        }
        return verdict.good;
}

static void join(const char *field, const char *words, void *userdata)
{
        GString *text = userdata;

        g_string_append_printf(text, "%s%s", text->len > 0 ? "; " : "", words);
}

bool sizing_matches(const struct api_virtual_machine_class_spec *class, const struct sizing *sizing, GString *words)
{
        assert(words);
        return sizing_check(class, sizing, join, words);
}

const char *sizing_default_fraction(const struct api_virtual_machine_class_spec *class, int64_t cores)
{
        const struct api_sizing_policy *policy = class && class->n_sizing_policies > 0 ? policy_of(class, cores) : NULL;

        if (policy && policy->default_core_fraction)
                return policy->default_core_fraction;
        return class && class->defaults ? class->defaults->core_fraction : NULL;
}
