/* SPDX-License-Identifier: Apache-2.0 */
#include "store/warm.h"

#include "base/error.h"
#include "loop/loop.h"

#define WARM_INTERVAL_US 10000000u
#define WARM_LOOKS       6u /* longer than a stalled response may keep its objects */

struct warm_entry {
        struct version *version; /* owned */
        unsigned looks;
};

struct warm {
        GArray *entries;
        struct loop_source *timer;
        bool armed;
};

static void warm_due(struct loop_source *source, void *userdata)
{
        struct warm *warm = userdata;

        warm->armed = warm_look(warm) > 0;
        if (warm->armed)
                loop_timer_set(source, WARM_INTERVAL_US);
}

int warm_new(struct loop *loop, struct warm **ret_warm)
{
        struct warm *warm = g_new0(struct warm, 1);
        int r = 0;

        warm->entries = g_array_new(FALSE, FALSE, sizeof(struct warm_entry));
        if (loop)
                r = loop_timer(loop, UINT64_MAX, warm_due, warm, &warm->timer);
        if (r < 0) {
                warm_free(warm);
                return r;
        }
        *ret_warm = warm;
        return 0;
}

struct warm *warm_free(struct warm *warm)
{
        if (!warm)
                return NULL;
        loop_source_free(warm->timer);
        for (size_t i = 0; i < warm->entries->len; i++)
                version_disown(g_array_index(warm->entries, struct warm_entry, i).version);
        g_array_unref(warm->entries);
        g_free(warm);
        return NULL;
}

static void warm_remember(struct warm *warm, struct version *version)
{
        struct warm_entry entry = {.version = version};

        if (!warm->timer || !version->doc)
                return;
        version_own(version);
        g_array_append_val(warm->entries, entry);
        if (!warm->armed)
                loop_timer_set(warm->timer, WARM_INTERVAL_US);
        warm->armed = true;
}

const struct store_object *warm_public(struct warm *warm, struct version *version)
{
        bool had_tree = version->doc;
        const struct store_object *object = version_public(version);

        if (!had_tree)
                warm_remember(warm, version);
        return object;
}

void warm_release(struct warm *warm, struct version *version, bool had_tree)
{
        if (had_tree)
                return;
        version_shrink(version);
        warm_remember(warm, version);
}

size_t warm_look(struct warm *warm)
{
        size_t n = 0;

        for (size_t i = 0; i < warm->entries->len; i++) {
                struct warm_entry entry = g_array_index(warm->entries, struct warm_entry, i);

                version_shrink(entry.version);
                if (entry.version->doc && ++entry.looks < WARM_LOOKS)
                        g_array_index(warm->entries, struct warm_entry, n++) = entry;
                else
                        version_disown(entry.version);
        }
        g_array_set_size(warm->entries, (unsigned)n);
        return n;
}
