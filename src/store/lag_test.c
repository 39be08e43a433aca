/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "generated/api_types.h"
#include "store/world_test.h"

/* Watches that lag and are overtaken. The owner steps the store, so that every moment is the test's. */

#define MAPS (&api_config_map_kind)

struct stepped {
        struct clock clock;
        uint64_t now_us;
        struct store *store;
        unsigned events, caught_up, gone;
};

static uint64_t stepped_now(void *userdata)
{
        return ((const struct stepped *)userdata)->now_us;
}

static void stepped_init(struct stepped *s)
{
        *s = (struct stepped){.clock = {stepped_now, stepped_now, s}, .now_us = WORLD_BEGIN_US};
        g_assert_cmpint(store_open_memory(&(struct store_options){.clock = &s->clock}, &s->store), ==, 0);
}

/* @n updates of one object that become durable in the next step. */
static void stepped_update(struct stepped *s, unsigned n)
{
        struct store_op ops[LIMIT_STORE_TXN_OPS];
        struct store_txn txn = {.ops = ops, .n_ops = n};

        for (unsigned i = 0; i < n; i++)
                ops[i] = (struct store_op){
                        .verb = STORE_UPDATE, .kind = MAPS, .namespace = "ns", .name = "a", .doc = world_doc(MAPS, "ns", "a", "x")};
        ops[0].verb = store_revision(s->store) == 1 ? STORE_CREATE : STORE_UPDATE;
        g_assert_cmpint(store_commit(s->store, &txn, NULL, NULL, NULL), ==, 0);
}

/* More than one slice of a watch that catches up, and more than a quiet ring keeps once they are old. */
static void stepped_fill(struct stepped *s)
{
        for (unsigned n = 0; n < 2 * LIMIT_STORE_EVENT_RING_QUIET; n += LIMIT_STORE_TXN_OPS) {
                stepped_update(s, LIMIT_STORE_TXN_OPS);
                store_step(s->store);
        }
}

static void on_event(const struct store_event *event, void *userdata)
{
        struct stepped *s = userdata;

        s->events += event != NULL;
        s->caught_up += event == NULL;
}

static void on_gone(void *userdata)
{
        ((struct stepped *)userdata)->gone++;
}

/* I5: neither a gap nor silence. */
static void a_watch_that_is_overtaken_while_it_catches_up_is_told(void)
{
        struct stepped s;
        struct store_watch *watch;

        stepped_init(&s);
        stepped_fill(&s);
        g_assert_cmpint(store_watch(s.store, NULL, 1, on_event, &s, &watch), ==, 0);
        store_watch_on_gone(watch, on_gone);
        g_assert_true(store_step(s.store));
        g_assert_cmpuint(s.events, >, 0);
        unsigned events = s.events;
        s.now_us += 2 * LIMIT_STORE_EVENT_RING_QUIET_US;
        stepped_update(&s, 1);
        store_step(s.store);
        g_assert_cmpuint(s.gone, ==, 1);
        g_assert_true(store_watch_gone(watch));
        stepped_update(&s, 1);
        while (store_step(s.store))
                ;
        g_assert_cmpuint(s.gone, ==, 1);
        g_assert_cmpuint(s.events, ==, events);
        g_assert_cmpuint(s.caught_up, ==, 0);
        store_watch_free(watch);
        store_close(s.store);
}

static void a_paused_watch_is_told_as_soon_as_it_is_overtaken(void)
{
        struct stepped s;
        struct store_watch *watch, *other;

        stepped_init(&s);
        g_assert_cmpint(store_watch(s.store, NULL, 1, on_event, &s, &watch), ==, 0);
        store_watch_on_gone(watch, on_gone);
        g_assert_cmpint(store_watch(s.store, NULL, 1, on_event, &s, &other), ==, 0);
        store_step(s.store);
        store_watch_pause(watch, true);
        stepped_fill(&s);
        g_assert_cmpuint(s.gone, ==, 0);
        s.now_us += 2 * LIMIT_STORE_EVENT_RING_QUIET_US;
        stepped_update(&s, 1);
        store_step(s.store);
        g_assert_cmpuint(s.gone, ==, 1);
        g_assert_cmpuint(s.events, >, 2 * LIMIT_STORE_EVENT_RING_QUIET); /* the other one got all */
        store_watch_free(watch);
        store_watch_free(other);
        store_close(s.store);
}

static void note_gone(void *userdata)
{
        *(bool *)userdata = true;
}

static void ignore(const struct store_event *event, void *userdata)
{
}

/* The same where a thread writes, and nothing else would have the watches looked at. */
static void a_paused_watch_is_told_whichever_driver_writes(void)
{
        g_autoptr(world) world = world_new(true);
        struct store_watch *watch;
        bool gone = false;

        world_create(world, MAPS, "ns", "a", "0");
        g_assert_cmpint(store_watch(world->store, NULL, store_revision(world->store), ignore, &gone, &watch), ==, 0);
        store_watch_on_gone(watch, note_gone);
        store_watch_pause(watch, true);
        world_update_often(world, MAPS, "ns", "a", 2 * LIMIT_STORE_EVENT_RING_QUIET);
        world->now_us += 2 * LIMIT_STORE_EVENT_RING_QUIET_US;
        world_update(world, MAPS, "ns", "a", "1");
        world_run_until(world, &gone);
        store_watch_free(watch);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/store/lag/" #name, name)
        ADD(a_watch_that_is_overtaken_while_it_catches_up_is_told);
        ADD(a_paused_watch_is_told_as_soon_as_it_is_overtaken);
        ADD(a_paused_watch_is_told_whichever_driver_writes);
        return g_test_run();
}
