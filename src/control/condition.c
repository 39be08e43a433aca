/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control.h"

#include "generated/api_types.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

static const struct api_condition *find(const struct api_condition *conditions, size_t n_conditions, const char *type)
{
        for (size_t i = 0; i < n_conditions; i++)
                if (g_strcmp0(conditions[i].type, type) == 0)
                        return &conditions[i];
        return NULL;
}

void condition_set(const struct conditions *conditions, const char *type, const char *status, const char *reason,
                   const char *message)
{
        assert(conditions && type && status && reason && message);

        struct arena *arena = conditions->arena;
        const struct api_condition *list = *conditions->list, *old = find(list, *conditions->n, type);
        size_t index = old ? (size_t)(old - list) : *conditions->n;
        size_t n = old ? *conditions->n : *conditions->n + 1;
        struct api_condition *copy = arena_array(arena, n, sizeof(*copy));
        const char *since = old && g_strcmp0(old->status, status) == 0 ? old->last_transition_time : NULL;
        char text[CLOCK_RFC3339_MAX];

        if (!since)
                since = arena_strdup(arena, clock_format_rfc3339(conditions->now_us, false, text));
        if (*conditions->n > 0)
                memcpy(copy, list, *conditions->n * sizeof(*copy));
        copy[index] = (struct api_condition){
                .type = arena_strdup(arena, type),
                .status = arena_strdup(arena, status),
                .reason = arena_strdup(arena, reason),
                .message = arena_strdup(arena, message),
                .last_transition_time = since,
                .observed_generation = conditions->generation,
                .has_observed_generation = conditions->generation > 0,
        };
        *conditions->list = copy;
        *conditions->n = n;
}

void conditions_say(const struct conditions *conditions, const char *type, const char *status, const char *reason,
                    const char *format, ...)
{
        assert(conditions && type && status && reason && format);

        va_list arguments;

        va_start(arguments, format);

        g_autofree char *message = g_strdup_vprintf(format, arguments);

        va_end(arguments);
        condition_set(conditions, type, status, reason, message);
}

void condition_remove(const struct conditions *conditions, const char *type)
{
        assert(conditions && type);

        const struct api_condition *list = *conditions->list, *old = find(list, *conditions->n, type);
        struct api_condition *copy;
        size_t index, n;

        if (!old)
                return;
        index = (size_t)(old - list);
        n = *conditions->n - 1;
        copy = arena_array(conditions->arena, n, sizeof(*copy));
        memcpy(copy, list, index * sizeof(*copy));
        memcpy(copy + index, list + index + 1, (n - index) * sizeof(*copy));
        *conditions->list = copy;
        *conditions->n = n;
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
