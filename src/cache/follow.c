/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/cache_private.h"

#include "base/error.h"

/* In a file of its own: programs that fill the cache over HTTP need no store. */

static bool follow_fill(const struct store_object *object, void *userdata)
{
        cache_apply(userdata, object->kind, object->namespace, object->name, object);
        cache_settle(userdata);
        return true;
}

static void follow_event(const struct store_event *event, void *userdata)
{
        if (event)
                cache_apply_event(userdata, event);
        cache_settle(userdata);
}

static void follow_end(void *watch)
{
        store_watch_free(watch);
}

void cache_follow_back(struct cache *cache, struct store *store)
{
        assert(cache && store);
        cache_take_back(cache, store, store_get);
}

int cache_follow_store(struct cache *cache, struct store *store)
{
        const struct schema_kind *const *kinds;
        struct store_watch *watch;
        int r;

        assert(cache && store);
        kinds = cache_kinds(cache);
        for (size_t i = 0; kinds[i]; i++)
                store_list(store, kinds[i], NULL, NULL, follow_fill, cache);
        r = store_watch(store, kinds, store_revision(store), follow_event, cache, &watch);
        if (r)
                return error_fold(r);
        cache_set_follower(cache, watch, follow_end);
        cache_set_synced(cache);
        return 0;
}
