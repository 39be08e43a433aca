/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/texts.h"

#include <assert.h>
#include <glib.h>
#include <stdint.h>
#include <string.h>

#define TEXTS_MOST     4096u
#define TEXTS_LONGEST  256u
#define TEXTS_COUNTERS 65536u
#define TEXTS_OFTEN    48u /* asked for as often as this, among all texts with the same hash */

struct texts {
        GHashTable *shared; /* text -> itself */
        uint8_t counters[TEXTS_COUNTERS];
};

struct texts *texts_new(void)
{
        struct texts *texts = g_new0(struct texts, 1);

        texts->shared = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        return texts;
}

struct texts *texts_free(struct texts *texts)
{
        if (!texts)
                return NULL;
        g_hash_table_unref(texts->shared);
        g_free(texts);
        return NULL;
}

const char *texts_share(struct texts *texts, const char *text)
{
        const char *shared;
        uint8_t *counter;

        assert(texts && text);
        shared = g_hash_table_lookup(texts->shared, text);
        if (shared || g_hash_table_size(texts->shared) >= TEXTS_MOST)
                return shared;
        counter = &texts->counters[g_str_hash(text) * 0x9e3779b1u >> 16];
        if (++*counter < TEXTS_OFTEN || strlen(text) > TEXTS_LONGEST)
                return NULL;
        *counter = 0;
        shared = g_strdup(text);
        g_hash_table_add(texts->shared, (char *)shared);
        return shared;
}

size_t texts_count(const struct texts *texts)
{
        return g_hash_table_size(texts->shared);
}
