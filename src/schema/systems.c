/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/systems.h"

#include <assert.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#define ID_MAX 40

const char *schema_system_type_text(enum schema_system_type type)
{
        static const char *const texts[] = {
                [SCHEMA_SYSTEM_GENERIC] = "Generic", [SCHEMA_SYSTEM_WINDOWS] = "Windows", [SCHEMA_SYSTEM_LEGACY] = "Legacy"};

        assert((size_t)type < G_N_ELEMENTS(texts));
        return texts[type];
}

static int compare(const void *id, const void *row)
{
        return strcmp(id, ((const struct schema_system *)row)->id);
}

const struct schema_system *schema_system_find(const char *id)
{
        return id ? bsearch(id, schema_systems, schema_n_systems, sizeof(*schema_systems), compare) : NULL;
}

static bool is_version(char c)
{
        return g_ascii_isdigit(c) || c == '.';
}

/* Letters that have to change, come or go, in quarters: a letter of a version is a quarter of one of a name, as ubuntu99.04 is some
 * ubuntu before it is any other word of its length. */
static unsigned distance(const char *a, const char *b)
{
        size_t n = strlen(a), m = strlen(b);
        unsigned before[ID_MAX + 1] = {}, now[ID_MAX + 1];

        if (n > ID_MAX || m > ID_MAX)
                return UINT_MAX;
        for (size_t j = 1; j <= m; j++)
                before[j] = before[j - 1] + (is_version(b[j - 1]) ? 1 : 4);
        for (size_t i = 1; i <= n; i++) {
                unsigned goes = is_version(a[i - 1]) ? 1 : 4;

                now[0] = before[0] + goes;
                for (size_t j = 1; j <= m; j++) {
                        unsigned comes = is_version(b[j - 1]) ? 1 : 4;
                        unsigned change = before[j - 1] + (g_ascii_tolower(a[i - 1]) == b[j - 1] ? 0 : MAX(goes, comes));

                        now[j] = MIN(change, MIN(before[j] + goes, now[j - 1] + comes));
                }
                memcpy(before, now, sizeof(now));
        }
        return before[m];
}

size_t schema_system_nearest(const char *id, const char *nearest[SCHEMA_SYSTEM_NEAREST])
{
        unsigned distances[SCHEMA_SYSTEM_NEAREST];
        size_t n = 0;

        assert(id && nearest);
        for (size_t i = 0; i < schema_n_systems; i++) {
                unsigned d = distance(id, schema_systems[i].id);
                size_t at = n;

                /* More than half of it is another word. */
                if (d > 2 * strlen(id))
                        continue;
                while (at > 0 && distances[at - 1] > d)
                        at--;
                if (at == SCHEMA_SYSTEM_NEAREST)
                        continue;
                n = MIN(n + 1, (size_t)SCHEMA_SYSTEM_NEAREST);
                for (size_t j = n - 1; j > at; j--) {
                        distances[j] = distances[j - 1];
                        nearest[j] = nearest[j - 1];
                }
                distances[at] = d;
                nearest[at] = schema_systems[i].id;
        }
        return n;
}
