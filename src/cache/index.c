/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/index.h"

#include "base/error.h"

#include <string.h>

struct cache_index_keys {
        GPtrArray *texts; /* owned */
};

struct cache_index {
        char *name;
        const struct schema_kind *kind;
        void (*keys_of)(const struct cache_object *object, struct cache_index_keys *keys);
        GHashTable *sets; /* text -> GPtrArray of struct cache_index_item, in key order */
};

void cache_index_add(struct cache_index_keys *keys, const char *key)
{
        assert(keys && key);
        for (size_t i = 0; i < keys->texts->len; i++)
                if (strcmp(keys->texts->pdata[i], key) == 0)
                        return;
        g_ptr_array_add(keys->texts, g_strdup(key));
}

struct cache_index *cache_index_new(const char *name, const struct schema_kind *kind,
                                    void (*keys_of)(const struct cache_object *object, struct cache_index_keys *keys))
{
        struct cache_index *index = g_new0(struct cache_index, 1);

        assert(name && keys_of);
        index->name = g_strdup(name);
        index->kind = kind;
        index->keys_of = keys_of;
        index->sets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
        return index;
}

struct cache_index *cache_index_free(struct cache_index *index)
{
        if (!index)
                return NULL;
        g_hash_table_unref(index->sets);
        g_free(index->name);
        g_free(index);
        return NULL;
}

bool cache_index_is(const struct cache_index *index, const char *name)
{
        return strcmp(index->name, name) == 0;
}

const struct schema_kind *cache_index_kind(const struct cache_index *index)
{
        return index->kind;
}

/* Place of @item in a set, or where it belongs. */
static unsigned cache_index_place(const GPtrArray *set, const struct cache_index_item *item)
{
        unsigned low = 0, high = set->len;

        while (low < high) {
                unsigned middle = low + (high - low) / 2;

                if (strcmp(((const struct cache_index_item *)set->pdata[middle])->key, item->key) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static void cache_index_enter_under(struct cache_index *index, const char *text, const struct cache_index_item *item)
{
        GPtrArray *set = g_hash_table_lookup(index->sets, text);

        if (!set) {
                set = g_ptr_array_new();
                g_hash_table_insert(index->sets, g_strdup(text), set);
        }
        g_ptr_array_insert(set, (int)cache_index_place(set, item), (void *)item);
}

static void cache_index_leave_under(struct cache_index *index, const char *text, const struct cache_index_item *item)
{
        GPtrArray *set = g_hash_table_lookup(index->sets, text);
        unsigned place = set ? cache_index_place(set, item) : 0;

        assert(set && place < set->len && set->pdata[place] == item);
        g_ptr_array_remove_index(set, place);
        if (set->len == 0)
                g_hash_table_remove(index->sets, text);
}

static void cache_index_each_text(struct cache_index *index, const struct cache_index_item *item,
                                  void (*each)(struct cache_index *index, const char *text, const struct cache_index_item *item))
{
        struct cache_index_keys keys = {.texts = g_ptr_array_new_with_free_func(g_free)};

        index->keys_of(&item->public, &keys);
        for (size_t i = 0; i < keys.texts->len; i++)
                each(index, keys.texts->pdata[i], item);
        g_ptr_array_unref(keys.texts);
}

void cache_index_enter(struct cache_index *index, const struct cache_index_item *item)
{
        cache_index_each_text(index, item, cache_index_enter_under);
}

void cache_index_leave(struct cache_index *index, const struct cache_index_item *item)
{
        cache_index_each_text(index, item, cache_index_leave_under);
}

GPtrArray *cache_index_lookup(const struct cache_index *index, const char *key)
{
        const GPtrArray *set = g_hash_table_lookup(index->sets, key);
        GPtrArray *found = g_ptr_array_sized_new(set ? set->len : 0);

        for (size_t i = 0; set && i < set->len; i++)
                g_ptr_array_add(found, set->pdata[i]);
        return found;
}
