/* SPDX-License-Identifier: Apache-2.0 */
#include "api/maps_test.h"
#include "base/limits.h"
#include "generated/api_types.h"

#include <inttypes.h>
#include <string.h>

#define ALL_MAPS "/api/v1/configmaps"
#define AS_TABLE "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n"

static struct world *world;

static void remove_map(const char *name)
{
        g_autofree char *path = g_strconcat(MAPS "/", name, NULL);

        maps_ask(world, "DELETE", path, NULL, 200);
}

/* --- beginnings
 * ----------------------------------------------------------------------------------------------------------------------- */

static void without_a_revision_all_that_exists_comes_first(void)
{
        g_autoptr(watcher) absent = NULL, zero = NULL;

        maps_create(world, "a", NULL);
        maps_create(world, "b", NULL);
        absent = watcher_new(world, MAPS "?watch=true", NULL);
        zero = watcher_new(world, MAPS "?watch=1&resourceVersion=0", NULL);
        g_assert_cmpstr(watcher_next(absent), ==, "ADDED a");
        g_assert_cmpstr(watcher_next(absent), ==, "ADDED b");
        g_assert_cmpstr(watcher_next(zero), ==, "ADDED a");
        g_assert_cmpstr(watcher_next(zero), ==, "ADDED b");
        maps_create(world, "c", NULL);
        g_assert_cmpstr(watcher_next(absent), ==, "ADDED c");
        g_assert_cmpstr(watcher_next(zero), ==, "ADDED c");
}

static void from_a_revision_only_what_came_after_it(void)
{
        g_autofree char *path = NULL;
        g_autoptr(watcher) watcher = NULL;

        maps_create(world, "a", NULL);
        path = maps_from_now(world, MAPS "?watch=true");
        maps_create(world, "b", NULL);
        maps_patch(world, "a", "{\"data\":{\"x\":\"1\"}}");
        watcher = watcher_new(world, path, NULL);
        g_assert_cmpstr(watcher_next(watcher), ==, "ADDED b");
        g_assert_cmpstr(watcher_next(watcher), ==, "MODIFIED a");
        remove_map("a");
        g_assert_cmpstr(watcher_next(watcher), ==, "DELETED a");
        g_assert_true(watcher_is_quiet(watcher));
}

static void a_delete_shows_its_own_revision(void)
{
        g_autoptr(watcher) watcher = NULL;
        g_autofree char *path = NULL, *expect = NULL;

        maps_create(world, "a", NULL);
        path = maps_from_now(world, MAPS "?watch=true");
        watcher = watcher_new(world, path, NULL);
        remove_map("a");
        g_assert_cmpstr(watcher_next(watcher), ==, "DELETED a");
        expect = g_strdup_printf("%" PRIu64, store_revision(world->store));
        g_assert_cmpstr(json_find_string(watcher_object(watcher), "metadata", "resourceVersion", NULL), ==, expect);
}

static void the_answer_is_a_stream_of_json_lines(void)
{
        g_autoptr(watcher) watcher = watcher_new(world, MAPS "?watch=true", NULL);

        g_assert_cmpint(watcher_status(watcher), ==, 200);
}

/* --- selectors
 * ------------------------------------------------------------------------------------------------------------------------- */

static void what_leaves_a_selector_is_deleted_and_what_enters_is_added(void)
{
        g_autofree char *path = maps_from_now(world, MAPS "?watch=true&labelSelector=app%3Dx");
        g_autoptr(watcher) watcher = watcher_new(world, path, NULL);

        maps_create(world, "in", "{\"app\":\"x\"}");
        maps_create(world, "out", "{\"app\":\"y\"}");
        g_assert_cmpstr(watcher_next(watcher), ==, "ADDED in");
        maps_patch(world, "in", "{\"data\":{\"a\":\"1\"}}");
        g_assert_cmpstr(watcher_next(watcher), ==, "MODIFIED in");
        maps_patch(world, "in", "{\"metadata\":{\"labels\":{\"app\":\"z\"}}}");
        g_assert_cmpstr(watcher_next(watcher), ==, "DELETED in");
        maps_patch(world, "in", "{\"data\":{\"a\":\"2\"}}");
        maps_patch(world, "out", "{\"metadata\":{\"labels\":{\"app\":\"x\"}}}");
        g_assert_cmpstr(watcher_next(watcher), ==, "ADDED out");
        remove_map("in");
        remove_map("out");
        g_assert_cmpstr(watcher_next(watcher), ==, "DELETED out");
        g_assert_true(watcher_is_quiet(watcher));
}

static void a_watch_sees_its_namespace_kind_and_name_only(void)
{
        g_autofree char *one_path = maps_from_now(world, MAPS "?watch=true&fieldSelector=metadata.name%3Da");
        g_autofree char *all_path = maps_from_now(world, ALL_MAPS "?watch=true"),
                        *object_path = maps_from_now(world, MAPS "/a?watch=true");
        g_autoptr(watcher) one = watcher_new(world, one_path, NULL), all = watcher_new(world, all_path, NULL),
                           object = watcher_new(world, object_path, NULL);

        maps_ask(world, "POST", "/api/v1/namespaces/other/configmaps", "{\"metadata\":{\"name\":\"a\"}}", 201);
        maps_ask(world, "POST", "/api/v1/namespaces/default/secrets", "{\"metadata\":{\"name\":\"a\"}}", 201);
        maps_create(world, "b", NULL);
        maps_create(world, "a", NULL);
        g_assert_cmpstr(watcher_next(one), ==, "ADDED a");
        g_assert_cmpstr(json_find_string(watcher_object(one), "metadata", "namespace", NULL), ==, "default");
        g_assert_cmpstr(watcher_next(object), ==, "ADDED a");
        g_assert_cmpstr(watcher_next(all), ==, "ADDED a");
        g_assert_cmpstr(json_find_string(watcher_object(all), "metadata", "namespace", NULL), ==, "other");
        g_assert_cmpstr(watcher_next(all), ==, "ADDED b");
        g_assert_cmpstr(watcher_next(all), ==, "ADDED a");
        g_assert_true(watcher_is_quiet(one) && watcher_is_quiet(all) && watcher_is_quiet(object));
}

/* --- forms
 * ----------------------------------------------------------------------------------------------------------------------------- */

static void tables_tell_their_columns_once(void)
{
        g_autoptr(watcher) watcher = NULL;

        maps_create(world, "a", NULL);
        watcher = watcher_new(world, MAPS "?watch=true", AS_TABLE);
        g_assert_cmpstr(watcher_next(watcher), ==, "ADDED a");
        g_assert_cmpstr(json_find_string(watcher_object(watcher), "kind", NULL), ==, "Table");
        g_assert_cmpuint(json_length(json_get(watcher_object(watcher), "columnDefinitions")), >, 1);
        g_assert_cmpuint(json_length(json_get(watcher_object(watcher), "rows")), ==, 1);
        maps_patch(world, "a", "{\"data\":{\"x\":\"1\"}}");
        g_assert_cmpstr(watcher_next(watcher), ==, "MODIFIED a");
        g_assert_cmpuint(json_length(json_get(watcher_object(watcher), "columnDefinitions")), ==, 0);
        g_assert_cmpstr(json_string(json_at(json_get(json_at(json_get(watcher_object(watcher), "rows"), 0), "cells"), 0), ""), ==,
                        "a");
}

static void the_alias_is_watched_under_its_own_version(void)
{
        static const char body[] = "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"persistentVolumeClaim\":{\"size\":\"1Gi\"}}}";
        g_autoptr(watcher) alias = watcher_new(world, "/apis/virtualization.deckhouse.io/v1alpha2/virtualdisks?watch=true", NULL);
        g_autoptr(watcher) own = watcher_new(world, "/apis/gabbro.dev/v1/virtualdisks?watch=true", NULL);

        maps_ask(world, "POST", "/apis/gabbro.dev/v1/namespaces/default/virtualdisks", body, 201);
        g_assert_cmpstr(watcher_next(alias), ==, "ADDED d");
        g_assert_cmpstr(json_find_string(watcher_object(alias), "apiVersion", NULL), ==, "virtualization.deckhouse.io/v1alpha2");
        g_assert_cmpstr(watcher_next(own), ==, "ADDED d");
        g_assert_cmpstr(json_find_string(watcher_object(own), "apiVersion", NULL), ==, "gabbro.dev/v1");
}

/* --- ends
 * ------------------------------------------------------------------------------------------------------------------------------ */

static void a_timeout_ends_the_stream_cleanly(void)
{
        g_autoptr(watcher) watcher = watcher_new(world, MAPS "?watch=true&timeoutSeconds=1", NULL);

        g_assert_cmpint(watcher_status(watcher), ==, 200);
        g_assert_null(watcher_next(watcher));
}

static void an_old_revision_is_gone(void)
{
        g_autoptr(watcher) watcher = NULL;
        g_autofree char *path = maps_from_now(world, MAPS "?watch=true");

        /* Twice what the ring keeps. */
        for (unsigned i = 0; i < 2 * LIMIT_STORE_EVENT_RING / 50; i++) {
                struct store_op ops[50];
                struct store_txn txn = {.ops = ops, .n_ops = G_N_ELEMENTS(ops)};

                for (size_t j = 0; j < G_N_ELEMENTS(ops); j++) {
                        static const char json[] = "{\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"}}";

                        ops[j] = (struct store_op){.verb = i || j ? STORE_UPDATE : STORE_CREATE,
                                                   .kind = &api_config_map_kind,
                                                   .namespace = "default",
                                                   .name = "a"};
                        g_assert_cmpint(json_parse(json, strlen(json), &ops[j].doc, NULL), ==, 0);
                }
                g_assert_cmpint(store_commit(world->store, &txn, NULL, NULL, NULL), ==, 0);
                world_run(world);
        }
        watcher = watcher_new(world, path, NULL);
        g_assert_cmpint(watcher_status(watcher), ==, 410);
}

static void a_watch_ends_with_its_credentials(void)
{
        g_auto(GStrv) parts = g_strsplit(world->admin, ".", 0);
        struct store_op op = {.verb = STORE_DELETE, .kind = &api_token_kind, .name = parts[1]};
        struct store_txn txn = {.ops = &op, .n_ops = 1};
        g_autoptr(watcher) watcher = watcher_new(world, MAPS "?watch=true", NULL);

        g_assert_cmpint(watcher_status(watcher), ==, 200);
        g_assert_cmpint(store_commit(world->store, &txn, NULL, NULL, NULL), ==, 0);
        g_assert_null(watcher_next(watcher));
}

static void a_watch_ends_when_its_token_expires(void)
{
        char expires[CLOCK_RFC3339_MAX];
        g_autofree char *token = NULL;
        g_autoptr(watcher) watcher = NULL;
        g_autoptr(answer) after = NULL;

        clock_format_rfc3339(clock_real_us(clock_system()) + 3600000000ull, false, expires);
        token = world_put_token(world, "gbt1", "Admin", "guest", expires);
        watcher = watcher_new_as(world, token, MAPS "?watch=true", NULL);
        g_assert_cmpint(watcher_status(watcher), ==, 200);
        g_assert_true(watcher_is_quiet(watcher));
        world->shift_us = 3601000000ull;
        g_assert_null(watcher_next(watcher));
        after = ask_with(world, token, "GET", "/version", NULL, NULL);
        g_assert_cmpint(after->status, ==, 401);
}

static void bookmarks_come_to_those_who_asked(void)
{
        g_autoptr(watcher) asked = watcher_new(world, MAPS "?watch=true&allowWatchBookmarks=true", NULL);
        g_autoptr(watcher) silent = watcher_new(world, MAPS "?watch=true", NULL);
        g_autofree char *revision = NULL;

        g_assert_cmpint(watcher_status(asked), ==, 200);
        g_assert_cmpint(watcher_status(silent), ==, 200);
        maps_ask(world, "POST", "/api/v1/namespaces/default/secrets", "{\"metadata\":{\"name\":\"a\"}}", 201);
        g_assert_true(watcher_is_quiet(asked));
        world->shift_us = 60000000;
        g_assert_cmpstr(watcher_next(asked), ==, "BOOKMARK ");
        revision = g_strdup_printf("%" PRIu64, store_revision(world->store));
        g_assert_cmpstr(json_find_string(watcher_object(asked), "metadata", "resourceVersion", NULL), ==, revision);
        g_assert_cmpstr(json_find_string(watcher_object(asked), "kind", NULL), ==, "ConfigMap");
        g_assert_true(watcher_is_quiet(silent));
}

static void one_user_has_a_bounded_number_of_watches(void)
{
        enum { N = LIMIT_WATCHES_PER_IDENTITY };
        g_autofree struct watcher **watchers = g_new0(struct watcher *, N);
        g_autoptr(answer) refused = NULL, again = NULL;

        for (unsigned i = 0; i < N; i++) {
                watchers[i] = watcher_new(world, MAPS "?watch=true", NULL);
                g_assert_cmpint(watcher_status(watchers[i]), ==, 200);
        }
        refused = ask(world, "GET", MAPS "?watch=true", NULL);
        g_assert_cmpint(refused->status, ==, 429);
        g_assert_nonnull(strcasestr(refused->headers, "Retry-After: "));
        for (unsigned i = 0; i < N; i++)
                watcher_free(watchers[i]);
        /* Those that went make room. */
        do {
                answer_free(again);
                again = ask(world, "GET", MAPS "?watch=true&timeoutSeconds=1", NULL);
        } while (again->status == 429);
        g_assert_cmpint(again->status, ==, 200);
}

/* --- slow clients
 * ---------------------------------------------------------------------------------------------------------------------- */

static void a_client_that_pauses_misses_nothing(void)
{
        enum { N = 60 };
        g_autofree char *path = maps_from_now(world, MAPS "?watch=true");
        g_autoptr(watcher) watcher = watcher_new(world, path, NULL);

        g_assert_cmpint(watcher_status(watcher), ==, 200);
        watcher_deafen(watcher, true);
        for (unsigned i = 0; i < N; i++)
                maps_put_big(world, i);
        watcher_deafen(watcher, false);
        for (unsigned i = 0; i < N; i++) {
                g_autofree char *expect = g_strdup_printf("ADDED m%u", i);

                g_assert_cmpstr(watcher_next(watcher), ==, expect);
        }
        g_assert_true(watcher_is_quiet(watcher));
}

/* The ring keeps 64 MiB of events: a client that sleeps through more must list again, and is told so. */
static void a_client_that_sleeps_too_long_is_told_to_list_again(void)
{
        g_autofree char *path = maps_from_now(world, MAPS "?watch=true");
        g_autoptr(watcher) watcher = watcher_new(world, path, NULL);
        const char *event = NULL;
        unsigned n = 0;

        g_assert_cmpint(watcher_status(watcher), ==, 200);
        watcher_deafen(watcher, true);
        for (unsigned i = 0; i < 300; i++)
                maps_put_big(world, i % 3);
        watcher_deafen(watcher, false);
        while ((event = watcher_next(watcher)) && !g_str_has_prefix(event, "ERROR"))
                n++;
        g_assert_nonnull(event);
        g_assert_cmpstr(event, ==, "ERROR Expired");
        g_assert_cmpuint(n, <, 300);
        g_assert_null(watcher_next(watcher));
}

static void the_first_state_is_told_at_the_clients_pace(void)
{
        enum { N = 40 };
        g_autoptr(watcher) watcher = NULL;

        for (unsigned i = 0; i < N; i++)
                maps_put_big(world, i + 10);
        watcher = watcher_new(world, MAPS "?watch=true", NULL);
        g_assert_cmpint(watcher_status(watcher), ==, 200);
        watcher_deafen(watcher, true);
        /* What happens meanwhile comes after the first state, in order. */
        maps_put_big(world, 10);
        maps_put_big(world, 99);
        watcher_deafen(watcher, false);
        for (unsigned i = 0; i < N; i++) {
                g_autofree char *expect = g_strdup_printf("ADDED m%u", i + 10);

                g_assert_cmpstr(watcher_next(watcher), ==, expect);
        }
        g_assert_cmpstr(watcher_next(watcher), ==, "MODIFIED m10");
        g_assert_cmpstr(watcher_next(watcher), ==, "ADDED m99");
        g_assert_true(watcher_is_quiet(watcher));
}

static void in_a_new_world(gconstpointer test)
{
        world = world_new(NULL);
        ((void (*)(void))test)();
        world = world_free(world);
}

#define ADD(NAME) g_test_add_data_func("/api/watch/" #NAME, (gconstpointer)(NAME), in_a_new_world)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        ADD(without_a_revision_all_that_exists_comes_first);
        ADD(from_a_revision_only_what_came_after_it);
        ADD(a_delete_shows_its_own_revision);
        ADD(the_answer_is_a_stream_of_json_lines);
        ADD(what_leaves_a_selector_is_deleted_and_what_enters_is_added);
        ADD(a_watch_sees_its_namespace_kind_and_name_only);
        ADD(tables_tell_their_columns_once);
        ADD(the_alias_is_watched_under_its_own_version);
        ADD(a_timeout_ends_the_stream_cleanly);
        ADD(an_old_revision_is_gone);
        ADD(a_watch_ends_with_its_credentials);
        ADD(a_watch_ends_when_its_token_expires);
        ADD(bookmarks_come_to_those_who_asked);
        ADD(one_user_has_a_bounded_number_of_watches);
        ADD(a_client_that_pauses_misses_nothing);
        ADD(a_client_that_sleeps_too_long_is_told_to_list_again);
        ADD(the_first_state_is_told_at_the_clients_pace);
        return g_test_run();
}
