/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "gateway/revoked.h"
#include "generated/api_types.h"

#include <string.h>

/* A store that is put back from a backup, beside the memory of what was revoked since. */

struct world {
        struct gateway gateway;
        size_t again;
};

static char *folder;

static const struct {
        const struct schema_kind *kind;
        const char *name, *json;
} objects[] = {
        {&api_token_kind, "leaked",
         "{\"metadata\":{\"name\":\"leaked\"},\"spec\":{\"type\":\"User\",\"expires\":\"2126-01-01T00:00:00Z\"}}"},
        {&api_token_kind, "kept", "{\"metadata\":{\"name\":\"kept\"},\"spec\":{\"type\":\"User\"}}"},
        {&api_token_kind, "old",
         "{\"metadata\":{\"name\":\"old\"},\"spec\":{\"type\":\"User\",\"expires\":\"2020-01-01T00:00:00Z\"}}"},
        {&api_user_kind, "left", "{\"metadata\":{\"name\":\"left\",\"uid\":\"uid-left\"},\"spec\":{\"disabled\":false}}"},
        {&api_user_kind, "gone", "{\"metadata\":{\"name\":\"gone\",\"uid\":\"uid-gone\"},\"spec\":{}}"},
        {&api_user_kind, "stays", "{\"metadata\":{\"name\":\"stays\",\"uid\":\"uid-stays\"},\"spec\":{}}"},
        {&api_password_kind, "left", "{\"metadata\":{\"name\":\"left\"},\"spec\":{\"stamp\":\"stamp-1\",\"hash\":\"x\"}}"},
        {&api_node_identity_kind, "host-1", "{\"metadata\":{\"name\":\"host-1\"},\"spec\":{\"serial\":\"aa\",\"disabled\":false}}"},
};

static void settle(struct gateway *gateway)
{
        struct store_stats stats;

        do {
                g_assert_cmpint(loop_run_once(gateway->loop, 1000), >=, 0);
                store_stats(gateway->store, &stats);
        } while (stats.queued);
}

static void commit(struct gateway *gateway, struct store_op op)
{
        struct store_txn txn = {.ops = &op, .n_ops = 1};

        g_assert_cmpint(store_commit(gateway->store, &txn, NULL, NULL, NULL), ==, 0);
        settle(gateway);
}

static void put(struct gateway *gateway, enum store_verb verb, const struct schema_kind *kind, const char *name, const char *json)
{
        struct store_op op = {.verb = verb, .kind = kind, .name = name};

        g_assert_cmpint(json_parse(json, strlen(json), &op.doc, NULL), ==, 0);
        commit(gateway, op);
}

static void drop(struct gateway *gateway, const struct schema_kind *kind, const char *name)
{
        commit(gateway, (struct store_op){.verb = STORE_DELETE, .kind = kind, .name = name});
}

/* A gateway on a store of the first day. */
static void world_init(struct world *world)
{
        struct gateway *gateway = &world->gateway;

        *world = (struct world){};
        gateway->clock = clock_system();
        gateway->random = random_system();
        gateway->data_dir = g_strdup(folder);
        g_assert_cmpint(loop_new(&gateway->loop), ==, 0);
        g_assert_cmpint(loop_pool_new(gateway->loop, 1, &gateway->pool), ==, 0);
        g_assert_cmpint(store_open_memory(&(struct store_options){.loop = gateway->loop, .clock = gateway->clock}, &gateway->store),
                        ==, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(objects); i++)
                put(gateway, STORE_CREATE, objects[i].kind, objects[i].name, objects[i].json);
        g_assert_cmpint(revoked_init(gateway, &world->again), ==, 0);
}

static void world_clear(struct world *world)
{
        struct gateway *gateway = &world->gateway;

        revoked_settle(gateway->revoked);
        loop_pool_free(gateway->pool);
        revoked_free(gateway->revoked);
        store_close(gateway->store);
        loop_free(gateway->loop);
        g_free(gateway->data_dir);
}

static bool is_there(struct world *world, const struct schema_kind *kind, const char *name)
{
        autostoreobject object = store_get(world->gateway.store, kind, NULL, name);

        return object;
}

static bool is_disabled(struct world *world, const struct schema_kind *kind, const char *name)
{
        autostoreobject object = store_get(world->gateway.store, kind, NULL, name);

        return json_bool(json_find(object->root, "spec", "disabled", NULL), false);
}

static void revoke_all_sorts(struct world *world)
{
        struct gateway *gateway = &world->gateway;

        drop(gateway, &api_token_kind, "leaked");
        drop(gateway, &api_token_kind, "old");
        put(gateway, STORE_UPDATE, &api_user_kind, "left",
            "{\"metadata\":{\"name\":\"left\",\"uid\":\"uid-left\"},\"spec\":{\"disabled\":true}}");
        drop(gateway, &api_user_kind, "gone");
        put(gateway, STORE_UPDATE, &api_user_kind, "stays",
            "{\"metadata\":{\"name\":\"stays\",\"uid\":\"uid-stays\"},\"spec\":{\"disabled\":true}}");
        put(gateway, STORE_UPDATE, &api_user_kind, "stays",
            "{\"metadata\":{\"name\":\"stays\",\"uid\":\"uid-stays\"},\"spec\":{\"disabled\":false}}");
        put(gateway, STORE_UPDATE, &api_password_kind, "left",
            "{\"metadata\":{\"name\":\"left\"},\"spec\":{\"stamp\":\"stamp-2\",\"hash\":\"y\"}}");
        put(gateway, STORE_UPDATE, &api_node_identity_kind, "host-1",
            "{\"metadata\":{\"name\":\"host-1\"},\"spec\":{\"serial\":\"aa\",\"disabled\":true}}");
}

static void expect_revoked(struct world *world)
{
        g_assert_false(is_there(world, &api_token_kind, "leaked"));
        g_assert_true(is_there(world, &api_token_kind, "kept"));
        g_assert_true(is_disabled(world, &api_user_kind, "left"));
        g_assert_true(is_disabled(world, &api_user_kind, "gone")); /* it was deleted: it comes back without power */
        g_assert_false(is_disabled(world, &api_user_kind, "stays"));
        g_assert_false(is_there(world, &api_password_kind, "left"));
        g_assert_true(is_disabled(world, &api_node_identity_kind, "host-1"));
}

static void attack_33_an_old_store_revives_nothing_that_was_revoked(void)
{
        struct world world;

        world_init(&world);
        g_assert_cmpuint(world.again, ==, 0);
        revoke_all_sorts(&world);
        world_clear(&world);
        world_init(&world); /* the store of the first day */
        g_assert_cmpuint(world.again, ==, 5);
        expect_revoked(&world);
        world_clear(&world);
        world_init(&world); /* and once more: what was made again is still remembered */
        g_assert_cmpuint(world.again, ==, 5);
        expect_revoked(&world);
        world_clear(&world);
}

static void who_is_enabled_again_after_that_stays_so(void)
{
        struct world world;

        world_init(&world);
        put(&world.gateway, STORE_UPDATE, &api_user_kind, "left",
            "{\"metadata\":{\"name\":\"left\",\"uid\":\"uid-left\"},\"spec\":{\"disabled\":false}}");
        world_clear(&world);
        world_init(&world);
        g_assert_false(is_disabled(&world, &api_user_kind, "left"));
        g_assert_true(is_disabled(&world, &api_user_kind, "gone"));
        world_clear(&world);
}

static void a_torn_last_line_says_nothing(void)
{
        g_autofree char *path = g_build_filename(folder, "revoked.log", NULL);
        struct world world;

        g_assert_true(g_file_set_contents(path, "user uid-left -\nuser uid-sta", -1, NULL));
        world_init(&world);
        g_assert_cmpuint(world.again, ==, 1);
        g_assert_false(is_disabled(&world, &api_user_kind, "stays"));
        world_clear(&world);
}

static void all_credentials_can_be_ended_at_once(void)
{
        struct world world;
        size_t n = 0;

        world_init(&world);
        put(&world.gateway, STORE_CREATE, &api_token_kind, "host",
            "{\"metadata\":{\"name\":\"host\"},\"spec\":{\"type\":\"Join\"}}");
        g_assert_cmpint(revoked_end_all(&world.gateway, &n), ==, 0);
        g_assert_cmpuint(n, ==, 3);
        g_assert_cmpuint(store_count(world.gateway.store, &api_token_kind, NULL), ==, 1);
        world_clear(&world);
}

int main(int argc, char **argv)
{
        int r;

        g_test_init(&argc, &argv, NULL);
        folder = g_dir_make_tmp("revoked-XXXXXX", NULL);
        g_test_add_func("/revoked/attack_33_an_old_store_revives_nothing_that_was_revoked",
                        attack_33_an_old_store_revives_nothing_that_was_revoked);
        g_test_add_func("/revoked/who_is_enabled_again_after_that_stays_so", who_is_enabled_again_after_that_stays_so);
        g_test_add_func("/revoked/a_torn_last_line_says_nothing", a_torn_last_line_says_nothing);
        g_test_add_func("/revoked/all_credentials_can_be_ended_at_once", all_credentials_can_be_ended_at_once);
        r = g_test_run();
        file_remove_tree(folder);
        g_free(folder);
        return r;
}
