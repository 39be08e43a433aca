/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control.h"

#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

static const struct api_condition *find(const struct api_condition *conditions, size_t n_conditions, const char *type)
{
        for (size_t i = 0; i < n_conditions; i++)
                if (g_strcmp0(conditions[i].type, type) == 0)
                        return &conditions[i];
        return NULL;
}

void condition_set(struct arena *arena, struct api_condition **conditions, size_t *n_conditions, const char *type,
                   const char *status, const char *reason, const char *message, int64_t generation, uint64_t now_us)
{
        assert(arena && conditions && n_conditions && type && status && reason && message);

        const struct api_condition *old = find(*conditions, *n_conditions, type);
        size_t index = old ? (size_t)(old - *conditions) : *n_conditions;
        size_t n = old ? *n_conditions : *n_conditions + 1;
        struct api_condition *copy = arena_array(arena, n, sizeof(*copy));
        bool moved = !old || g_strcmp0(old->status, status) != 0 || !old->last_transition_time;
        const char *since = old ? old->last_transition_time : NULL;

        if (moved) {
                char text[CLOCK_RFC3339_MAX];

                since = arena_strdup(arena, clock_format_rfc3339(now_us, false, text));
        }
        if (*n_conditions > 0)
                memcpy(copy, *conditions, *n_conditions * sizeof(*copy));
        copy[index] = (struct api_condition){
                .type = arena_strdup(arena, type),
                .status = arena_strdup(arena, status),
                .reason = arena_strdup(arena, reason),
                .message = arena_strdup(arena, message),
                .last_transition_time = since,
                .observed_generation = generation,
                .has_observed_generation = generation > 0,
        };
        *conditions = copy;
        *n_conditions = n;
}

void condition_remove(struct arena *arena, struct api_condition **conditions, size_t *n_conditions, const char *type)
{
        assert(arena && conditions && n_conditions && type);

        const struct api_condition *old = find(*conditions, *n_conditions, type);

        if (!old)
                return;

        size_t index = (size_t)(old - *conditions), n = *n_conditions - 1;
        struct api_condition *copy = arena_array(arena, n, sizeof(*copy));

        memcpy(copy, *conditions, index * sizeof(*copy));
        memcpy(copy + index, *conditions + index + 1, (n - index) * sizeof(*copy));
        *conditions = copy;
        *n_conditions = n;
}

const struct api_condition *condition_get(const struct api_condition *conditions, size_t n_conditions, const char *type)
{
        assert(type && (conditions || n_conditions == 0));
        return find(conditions, n_conditions, type);
}

bool condition_is(const struct api_condition *conditions, size_t n_conditions, const char *type, const char *status)
{
        const struct api_condition *condition = condition_get(conditions, n_conditions, type);

        return condition && g_strcmp0(condition->status, status) == 0;
}
