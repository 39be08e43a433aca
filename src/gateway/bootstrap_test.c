/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "gateway/bootstrap.h"
#include "generated/api_types.h"

#include <string.h>

struct world {
        struct gateway gateway;
        char *folder;
};

static void world_init(struct world *world)
{
        struct gateway *gateway = &world->gateway;

        world->folder = g_dir_make_tmp("bootstrap-XXXXXX", NULL);
        *gateway = (struct gateway){.clock = clock_system(),
                                    .random = random_system(),
                                    .data_dir = g_strdup(world->folder),
                                    .url = g_strdup("https://127.0.0.1:6443")};
        g_assert_cmpint(loop_new(&gateway->loop), ==, 0);
        g_assert_cmpint(auth_ca_open(world->folder, gateway->clock, &gateway->ca), ==, 0);
        g_assert_cmpint(store_open_memory(&(struct store_options){.loop = gateway->loop, .clock = gateway->clock}, &gateway->store),
                        ==, 0);
}

static void world_clear(struct world *world)
{
        struct gateway *gateway = &world->gateway;

        store_close(gateway->store);
        auth_ca_free(gateway->ca);
        loop_free(gateway->loop);
        g_free(gateway->data_dir);
        g_free(gateway->url);
        file_remove_tree(world->folder);
        g_free(world->folder);
}

static void put_token(struct gateway *gateway, const char *type, unsigned number)
{
        g_autofree char *name = g_strdup_printf("%s-%u", type, number);
        g_autofree char *json = g_strdup_printf("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"type\":\"%s\"}}", name, type);
        struct store_op op = {.verb = STORE_CREATE, .kind = &api_token_kind, .name = name};
        struct store_txn txn = {.ops = &op, .n_ops = 1};
        struct store_stats stats;

        g_assert_cmpint(json_parse(json, strlen(json), &op.doc, NULL), ==, 0);
        g_assert_cmpint(store_commit(gateway->store, &txn, NULL, NULL, NULL), ==, 0);
        do {
                g_assert_cmpint(loop_run_once(gateway->loop, 1000), >=, 0);
                store_stats(gateway->store, &stats);
        } while (stats.queued);
}

static bool count_admin(const struct store_object *object, void *userdata)
{
        *(unsigned *)userdata += g_strcmp0(json_find_string(object->root, "spec", "type", NULL), "Admin") == 0;
        return true;
}

/* However many there are: a token that was forgotten is one that a thief may have. Other tokens stay. */
static void a_reset_revokes_every_former_token(void)
{
        static const unsigned counts[] = {0, 1, 49, 50, 51, 98, 99, 100, 198, 199, 350};

        for (size_t i = 0; i < G_N_ELEMENTS(counts); i++) {
                g_autofree char *words = NULL;
                struct world world = {};
                unsigned admins = 0;

                world_init(&world);
                for (unsigned j = 0; j < counts[i]; j++)
                        put_token(&world.gateway, "Admin", j);
                put_token(&world.gateway, "User", 0);
                g_assert_cmpint(bootstrap_admin_reset(&world.gateway, &words), ==, 0);
                store_list(world.gateway.store, &api_token_kind, NULL, NULL, count_admin, &admins);
                g_assert_cmpuint(admins, ==, 1);
                g_assert_cmpuint(store_count(world.gateway.store, &api_token_kind, NULL), ==, 2);
                world_clear(&world);
        }
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/bootstrap/a_reset_revokes_every_former_token", a_reset_revokes_every_former_token);
        return g_test_run();
}
