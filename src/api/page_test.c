/* SPDX-License-Identifier: Apache-2.0 */
#include "api/maps_test.h"
#include "base/limits.h"
#include "generated/api_types.h"

#include <inttypes.h>
#include <string.h>

/* Lists in pages, lists of the past, and lists behind a write. */

static struct world *world;

static void create(const char *name, const char *text)
{
        g_autofree char *body = g_strdup_printf("{\"metadata\":{\"name\":\"%s\"},\"data\":{\"text\":\"%s\"}}", name, text);

        maps_ask(world, "POST", MAPS, body, 201);
}

static void update(const char *name, const char *text)
{
        g_autofree char *path = g_strconcat(MAPS "/", name, NULL), *body = g_strdup_printf("{\"data\":{\"text\":\"%s\"}}", text);

        maps_ask(world, "PATCH", path, body, 200);
}

static void delete (const char *name)
{
        g_autofree char *path = g_strconcat(MAPS "/", name, NULL);

        maps_ask(world, "DELETE", path, NULL, 200);
}

/* "a=1 b=1 |2" : names and texts of a page, and how many are to come. */
static char *page_words(const struct answer *answer)
{
        GString *words = g_string_new(NULL);

        g_assert_cmpint(answer->status, ==, 200);
        for (const struct json_value *item = json_first(json_get(answer->root, "items")); item; item = json_next(item))
                g_string_append_printf(words, "%s=%s ", json_find_string(item, "metadata", "name", NULL),
                                       json_find_string(item, "data", "text", NULL));
        g_string_append_printf(words, "|%s", answer_text(answer, "/metadata/remainingItemCount"));
        return g_string_free(words, FALSE);
}

static struct answer *next_page(const struct answer *answer, const char *query)
{
        g_autofree char *path = g_strdup_printf(MAPS "?continue=%s&%s", answer_text(answer, "/metadata/continue"), query);

        return ask(world, "GET", path, NULL);
}

static void expect_page(const struct answer *answer, const char *expect)
{
        g_autofree char *words = page_words(answer);

        g_assert_cmpstr(words, ==, expect);
}

/* Between the pages objects change, go, come, go and come again. */
static void change_everything(void)
{
        update("a", "2");
        update("d", "2");
        delete ("c");
        delete ("e");
        create("e", "2");
        create("ca", "2");
        create("z", "2");
        delete ("z");
}

static void pages_show_one_state_whatever_happens_between_them(void)
{
        static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
        g_autoptr(answer) first = NULL, second = NULL, third = NULL, now = NULL;
        g_autofree char *revision = NULL;

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                create(names[i], "1");
        first = ask(world, "GET", MAPS "?limit=2", NULL);
        expect_page(first, "a=1 b=1 |4");
        change_everything();
        second = next_page(first, "limit=2");
        expect_page(second, "c=1 d=1 |2");
        third = next_page(second, "limit=2");
        expect_page(third, "e=1 f=1 |");
        g_assert_cmpstr(answer_text(third, "/metadata/resourceVersion"), ==, answer_text(first, "/metadata/resourceVersion"));
        g_assert_cmpstr(answer_text(third, "/metadata/continue"), ==, "");
        now = ask(world, "GET", MAPS, NULL);
        expect_page(now, "a=2 b=1 ca=2 d=2 e=2 f=1 |");
        /* A watch from the list's revision tells the whole difference. */
        revision = g_strdup_printf(MAPS "?watch=true&resourceVersion=%s", answer_text(first, "/metadata/resourceVersion"));
        g_autoptr(watcher) watcher = watcher_new(world, revision, NULL);
        static const char *const events[] = {"MODIFIED a", "MODIFIED d", "DELETED c", "DELETED e",
                                             "ADDED e",    "ADDED ca",   "ADDED z",   "DELETED z"};
        for (size_t i = 0; i < G_N_ELEMENTS(events); i++)
                g_assert_cmpstr(watcher_next(watcher), ==, events[i]);
}

static void a_list_can_be_asked_of_an_exact_revision(void)
{
        g_autofree char *exact = NULL, *selected = NULL;
        g_autoptr(answer) then = NULL, some = NULL, rest = NULL;

        create("a", "1");
        create("c", "1");
        create("d", "1");
        create("e", "1");
        exact = g_strdup_printf(MAPS "?resourceVersionMatch=Exact&limit=3&resourceVersion=%" PRIu64, store_revision(world->store));
        selected = g_strconcat(exact, "&fieldSelector=metadata.name%3Dc", NULL);
        change_everything();
        then = ask(world, "GET", exact, NULL);
        expect_page(then, "a=1 c=1 d=1 |1");
        rest = next_page(then, "limit=3");
        expect_page(rest, "e=1 |");
        some = ask(world, "GET", selected, NULL);
        expect_page(some, "c=1 |");
        /* What was in another namespace or of another kind stays out. */
        maps_ask(world, "POST", "/api/v1/namespaces/other/configmaps", "{\"metadata\":{\"name\":\"b\"}}", 201);
        maps_ask(world, "POST", "/api/v1/namespaces/default/secrets", "{\"metadata\":{\"name\":\"b\"}}", 201);
        g_autoptr(answer) again = ask(world, "GET", exact, NULL);
        expect_page(again, "a=1 c=1 d=1 |1");
}

static void overflow_the_ring(void)
{
        for (unsigned i = 0; i < LIMIT_STORE_EVENT_RING / 50 + 2; i++) {
                struct store_op ops[50];
                struct store_txn txn = {.ops = ops, .n_ops = G_N_ELEMENTS(ops)};

                for (size_t j = 0; j < G_N_ELEMENTS(ops); j++) {
                        static const char json[] = "{\"metadata\":{\"name\":\"a\",\"namespace\":\"other\"}}";

                        ops[j] = (struct store_op){.verb = i || j ? STORE_UPDATE : STORE_CREATE,
                                                   .kind = &api_secret_kind,
                                                   .namespace = "other",
                                                   .name = "a"};
                        g_assert_cmpint(json_parse(json, strlen(json), &ops[j].doc, NULL), ==, 0);
                }
                g_assert_cmpint(store_commit(world->store, &txn, NULL, NULL, NULL), ==, 0);
                world_run(world);
        }
}

/* kubectl does not list again: a page is never refused for its age. It then shows what there is, and the old revision. */
static void a_token_outlives_the_history(void)
{
        g_autoptr(answer) first = NULL, second = NULL, exact = NULL;
        g_autofree char *path = NULL;

        create("a", "1");
        create("b", "1");
        create("c", "1");
        first = ask(world, "GET", MAPS "?limit=1", NULL);
        path = g_strdup_printf(MAPS "?resourceVersionMatch=Exact&resourceVersion=%" PRIu64, store_revision(world->store));
        update("b", "2");
        overflow_the_ring();
        second = next_page(first, "limit=1");
        expect_page(second, "b=2 |1");
        g_assert_cmpstr(answer_text(second, "/metadata/resourceVersion"), ==, answer_text(first, "/metadata/resourceVersion"));
        exact = ask(world, "GET", path, NULL);
        g_assert_cmpint(exact->status, ==, 410);
        g_assert_cmpstr(answer_text(exact, "/reason"), ==, "Expired");
}

static void a_token_continues_its_own_list_only(void)
{
        static const char *const others[] = {"labelSelector=a%3Db", "fieldSelector=metadata.name%3Da", "resourceVersion=5",
                                             "resourceVersion=2&resourceVersionMatch=NotOlderThan"};
        g_autoptr(answer) first = NULL, elsewhere = NULL;
        g_autofree char *path = NULL;

        create("a", "1");
        create("b", "1");
        first = ask(world, "GET", MAPS "?limit=1", NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
                g_autoptr(answer) refused = next_page(first, others[i]);

                g_assert_cmpint(refused->status, >=, 400);
                g_assert_cmpint(refused->status, <, 500);
        }
        path = g_strdup_printf("/api/v1/namespaces/other/configmaps?continue=%s", answer_text(first, "/metadata/continue"));
        elsewhere = ask(world, "GET", path, NULL);
        g_assert_cmpint(elsewhere->status, ==, 400);
}

static void a_list_behind_an_acknowledged_write_contains_it(void)
{
        for (unsigned i = 0; i < 50; i++) {
                g_autofree char *name = g_strdup_printf("m%02u", i),
                                *path = g_strconcat(MAPS "?fieldSelector=metadata.name%3D", name, NULL);
                g_autoptr(answer) list = NULL, one = NULL;

                create(name, "1");
                list = ask(world, "GET", i % 2 ? MAPS : MAPS "?resourceVersion=0", NULL);
                g_assert_cmpuint(json_length(json_get(list->root, "items")), ==, i + 1);
                one = ask(world, "GET", path, NULL);
                g_assert_cmpuint(json_length(json_get(one->root, "items")), ==, 1);
        }
}

static void in_a_new_world(gconstpointer test)
{
        world = world_new(NULL);
        ((void (*)(void))test)();
        world = world_free(world);
}

#define ADD(NAME) g_test_add_data_func("/api/page/" #NAME, (gconstpointer)(NAME), in_a_new_world)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        ADD(pages_show_one_state_whatever_happens_between_them);
        ADD(a_list_can_be_asked_of_an_exact_revision);
        ADD(a_token_outlives_the_history);
        ADD(a_token_continues_its_own_list_only);
        ADD(a_list_behind_an_acknowledged_write_contains_it);
        return g_test_run();
}
