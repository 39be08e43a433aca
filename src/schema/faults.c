/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "schema/schema.h"

#include <assert.h>
#include <stdarg.h>

struct schema_faults {
        struct arena *arena;
        struct schema_fault kept[LIMIT_FAULTS];
        size_t n, omitted;
};

struct schema_faults *schema_faults_new(void)
{
        struct schema_faults *faults = g_new0(struct schema_faults, 1);

        faults->arena = arena_new(0);
        return faults;
}

struct schema_faults *schema_faults_free(struct schema_faults *faults)
{
        if (!faults)
                return NULL;
        arena_free(faults->arena);
        g_free(faults);
        return NULL;
}

size_t schema_faults_count(const struct schema_faults *faults)
{
        assert(faults);
        return faults->n + faults->omitted;
}

size_t schema_faults_kept(const struct schema_faults *faults)
{
        assert(faults);
        return faults->n;
}

const struct schema_fault *schema_faults_at(const struct schema_faults *faults, size_t index)
{
        assert(faults);
        assert(index < schema_faults_kept(faults));
        return &faults->kept[index];
}

void schema_faults_omit(struct schema_faults *faults, size_t n)
{
        assert(faults);
        faults->omitted += n;
}

void schema_faults_add(struct schema_faults *faults, const char *field, const char *reason, const char *format, ...)
{
        g_autofree char *message = NULL;
        va_list arguments;

        assert(faults && field && reason && format);
        if (faults->n == LIMIT_FAULTS) {
                faults->omitted++;
                return;
        }
        va_start(arguments, format);
        message = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        faults->kept[faults->n++] = (struct schema_fault){
                .field = arena_strdup(faults->arena, field),
                .reason = arena_strdup(faults->arena, reason),
                .message = arena_strdup(faults->arena, message),
        };
}
