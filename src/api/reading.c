/* SPDX-License-Identifier: Apache-2.0 */
#include "api/reading.h"

#include <assert.h>
#include <string.h>

#define PARTS_MOST 7 /* GROUP VERSION namespaces NS PLURAL NAME, and one that is too much */

static const struct api_reading *find(const struct api *api, char **parts, const char *plural, bool in_namespace)
{
        for (guint i = 0; i < api->readings->len; i++) {
                const struct api_reading *reading = &g_array_index(api->readings, struct api_reading, i);

                if (strcmp(reading->group, parts[0]) == 0 && strcmp(reading->version, parts[1]) == 0 &&
                    strcmp(reading->plural, plural) == 0 && (reading->namespaced || !in_namespace))
                        return reading;
        }
        return NULL;
}

const struct api_reading *reading_find(const struct api *api, const char *path, struct target *target)
{
        g_auto(GStrv) parts = NULL;
        const struct api_reading *reading;
        bool in_namespace;
        guint n, at;

        assert(api && path && target);

        if (!g_str_has_prefix(path, "/apis/"))
                return NULL;
        parts = g_strsplit(path + strlen("/apis/"), "/", PARTS_MOST);
        n = g_strv_length(parts);
        in_namespace = n >= 5 && strcmp(parts[2], "namespaces") == 0;
        at = in_namespace ? 4 : 2;
        if (n < at + 1 || n > at + 2 || (n == at + 2 && !*parts[at + 1]) || (in_namespace && !*parts[3]))
                return NULL;
        reading = find(api, parts, parts[at], in_namespace);
        /* One of a project is named in its project. */
        if (!reading || (reading->namespaced && !in_namespace && n == at + 2))
                return NULL;
        target->namespace = in_namespace ? g_strdup(parts[3]) : NULL;
        target->name = n == at + 2 ? g_strdup(parts[at + 1]) : NULL;
        return reading;
}
