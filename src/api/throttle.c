/* SPDX-License-Identifier: Apache-2.0 */
#include "api/throttle.h"
#include "base/limits.h"

#include <assert.h>
#include <glib.h>

struct throttle {
        const struct clock *clock;
        uint64_t room_us, interval_us;
        GHashTable *paid; /* key -> uint64_t *: until when its attempts are paid for */
};

struct throttle *throttle_new(const struct clock *clock, unsigned burst, uint64_t interval_us)
{
        struct throttle *throttle = g_new0(struct throttle, 1);

        assert(clock && burst && interval_us);
        throttle->clock = clock;
        throttle->room_us = (burst - 1) * interval_us;
        throttle->interval_us = interval_us;
        throttle->paid = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        return throttle;
}

struct throttle *throttle_free(struct throttle *throttle)
{
        if (!throttle)
                return NULL;
        g_hash_table_unref(throttle->paid);
        g_free(throttle);
        return NULL;
}

static gboolean is_forgiven(gpointer key, gpointer value, gpointer now)
{
        return *(uint64_t *)value <= *(uint64_t *)now;
}

static gboolean is_any(gpointer key, gpointer value, gpointer taken)
{
        bool first = !*(bool *)taken;

        *(bool *)taken = true;
        return first;
}

/* Room for one more name: those that are forgiven go, or else any. */
static void make_room(struct throttle *throttle, uint64_t now)
{
        bool taken = false;

        if (g_hash_table_size(throttle->paid) < LIMIT_ATTEMPT_KEYS)
                return;
        if (!g_hash_table_foreach_remove(throttle->paid, is_forgiven, &now))
                g_hash_table_foreach_remove(throttle->paid, is_any, &taken);
}

unsigned throttle_take(struct throttle *throttle, const char *key)
{
        uint64_t now, *paid;

        assert(throttle && key);
        now = clock_monotonic_us(throttle->clock);
        paid = g_hash_table_lookup(throttle->paid, key);
        if (!paid) {
                make_room(throttle, now);
                paid = g_new0(uint64_t, 1);
                g_hash_table_insert(throttle->paid, g_strdup(key), paid);
        }
        *paid = MAX(*paid, now);
        if (*paid - now > throttle->room_us)
                return (unsigned)((*paid - now - throttle->room_us + 999999) / 1000000);
        *paid += throttle->interval_us;
        return 0;
}

void throttle_forgive(struct throttle *throttle, const char *key)
{
        uint64_t *paid;

        assert(throttle && key);
        paid = g_hash_table_lookup(throttle->paid, key);
        if (paid)
                *paid -= MIN(*paid, throttle->interval_us);
}
