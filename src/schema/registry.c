/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/schema.h"

#include <assert.h>
#include <string.h>

const struct schema_kind *schema_kind_by_plural(const char *group, const char *plural)
{
        assert(group && plural);
        for (size_t i = 0; schema_kinds[i]; i++)
                if (strcmp(schema_kinds[i]->group, group) == 0 && strcmp(schema_kinds[i]->plural, plural) == 0)
                        return schema_kinds[i];
        return NULL;
}

const struct schema_kind *schema_kind_by_kind(const char *group, const char *kind)
{
        assert(group && kind);
        for (size_t i = 0; schema_kinds[i]; i++)
                if (strcmp(schema_kinds[i]->group, group) == 0 && strcmp(schema_kinds[i]->kind, kind) == 0)
                        return schema_kinds[i];
        return NULL;
}
