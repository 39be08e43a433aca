/* SPDX-License-Identifier: Apache-2.0 */
#include "api/maps_test.h"
#include "base/limits.h"
#include "generated/api_types.h"

#include <string.h>

/* Where watches begin and end, what marks them, and what enters and leaves a selector. */

#define NODES       "/api/v1/nodes"
#define AS_TABLE    "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n"
#define AS_METADATA "Accept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io\r\n"
#define INITIAL     "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"

static struct world *world;

static void label(const char *name, const char *labels)
{
        g_autofree char *patch = g_strdup_printf("{\"metadata\":{\"labels\":%s}}", labels);

        maps_patch(world, name, patch);
}

static struct watcher *watch_from_now(const char *path)
{
        g_autofree char *from = maps_from_now(world, path);
        struct watcher *watcher = watcher_new(world, from, NULL);

        g_assert_cmpint(watcher_status(watcher), ==, 200);
        return watcher;
}

static const char *metadata_of(const struct watcher *watcher, const char *name)
{
        return json_find_string(watcher_object(watcher), "metadata", name, NULL);
}

static uint64_t revision_of(const struct watcher *watcher)
{
        const char *text = metadata_of(watcher, "resourceVersion");

        return text ? g_ascii_strtoull(text, NULL, 10) : 0;
}

/* --- the first state and its mark
 * ---------------------------------------------------------------------------------------------------------------------- */

static void the_first_state_ends_with_a_bookmark_when_both_were_asked_for(void)
{
        g_autoptr(watcher) asked = NULL, unmarked = NULL;
        uint64_t revision;

        maps_create(world, "a", NULL);
        maps_create(world, "b", NULL);
        revision = store_revision(world->store);
        /* Any revision that has been is old enough. */
        asked = watcher_new(world, MAPS "?" INITIAL "&allowWatchBookmarks=true&resourceVersion=2", NULL);
        unmarked = watcher_new(world, MAPS "?" INITIAL, NULL);
        g_assert_cmpstr(watcher_next(asked), ==, "ADDED a");
        g_assert_cmpstr(watcher_next(asked), ==, "ADDED b");
        g_assert_cmpstr(watcher_next(asked), ==, "BOOKMARK ");
        g_assert_cmpuint(revision_of(asked), ==, revision);
        g_assert_cmpstr(json_find_string(watcher_object(asked), "metadata", "annotations", "k8s.io/initial-events-end", NULL), ==,
                        "true");
        maps_create(world, "c", NULL);
        g_assert_cmpstr(watcher_next(asked), ==, "ADDED c");
        g_assert_cmpstr(watcher_next(unmarked), ==, "ADDED a");
        g_assert_cmpstr(watcher_next(unmarked), ==, "ADDED b");
        g_assert_cmpstr(watcher_next(unmarked), ==, "ADDED c");
}

static void an_empty_first_state_is_marked_too(void)
{
        g_autoptr(watcher) watcher = watcher_new(world, MAPS "?" INITIAL "&allowWatchBookmarks=true", NULL);

        g_assert_cmpstr(watcher_next(watcher), ==, "BOOKMARK ");
}

static void without_a_first_state_a_watch_begins_now(void)
{
        g_autoptr(watcher) watcher = NULL, future = NULL;

        maps_create(world, "a", NULL);
        watcher = watcher_new(world, MAPS "?watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan", NULL);
        g_assert_cmpint(watcher_status(watcher), ==, 200);
        maps_create(world, "b", NULL);
        g_assert_cmpstr(watcher_next(watcher), ==, "ADDED b");
        /* Clients ask again without a revision. */
        future = watcher_new(world, MAPS "?" INITIAL "&resourceVersion=999999", NULL);
        g_assert_cmpint(watcher_status(future), ==, 504);
}

static void bookmarks_have_the_form_of_the_watch(void)
{
        g_autoptr(watcher) table = watcher_new(world, MAPS "?" INITIAL "&allowWatchBookmarks=1", AS_TABLE);
        g_autoptr(watcher) metadata = watcher_new(world, MAPS "?" INITIAL "&allowWatchBookmarks=1", AS_METADATA);
        const struct json_value *row;

        g_assert_cmpstr(watcher_next(table), ==, "BOOKMARK ");
        g_assert_cmpstr(json_find_string(watcher_object(table), "kind", NULL), ==, "Table");
        g_assert_cmpuint(revision_of(table), ==, store_revision(world->store));
        row = json_at(json_get(watcher_object(table), "rows"), 0);
        g_assert_cmpstr(json_find_string(row, "object", "metadata", "annotations", "k8s.io/initial-events-end", NULL), ==, "true");
        g_assert_cmpstr(watcher_next(metadata), ==, "BOOKMARK ");
        g_assert_cmpstr(json_find_string(watcher_object(metadata), "kind", NULL), ==, "PartialObjectMetadata");
}

/* I5: who goes on from a bookmark misses nothing. The client is slow, so that events wait in the ring while the time of a bookmark
 * comes again and again. */
static void no_bookmark_passes_an_event_that_is_still_to_come(void)
{
        enum { N = 60 };
        g_autoptr(watcher) watcher = watch_from_now(MAPS "?watch=true&allowWatchBookmarks=true");
        uint64_t told = 0;
        unsigned events = 0, bookmarks = 0;

        watcher_deafen(watcher, true);
        for (unsigned i = 0; i < N; i++) {
                maps_put_big(world, i);
                world->shift_us += 31000000;
                loop_run_once(world->loop, 0);
        }
        watcher_deafen(watcher, false);
        while (events < N || bookmarks == 0) {
                const char *line = watcher_next(watcher);
                bool bookmark = strcmp(line, "BOOKMARK ") == 0;

                if (bookmark)
                        g_assert_cmpuint(revision_of(watcher), >=, told);
                else
                        g_assert_cmpuint(revision_of(watcher), >, told);
                told = revision_of(watcher);
                events += !bookmark;
                bookmarks += bookmark;
                world->shift_us += 31000000;
        }
        g_assert_cmpuint(told, ==, store_revision(world->store));
}

static void a_timeout_leaves_a_bookmark_to_go_on_from(void)
{
        g_autoptr(watcher) asked = watch_from_now(MAPS "?watch=true&timeoutSeconds=1&allowWatchBookmarks=true");
        g_autoptr(watcher) silent = watch_from_now(MAPS "?watch=true&timeoutSeconds=1");

        maps_ask(world, "POST", "/api/v1/namespaces/default/secrets", "{\"metadata\":{\"name\":\"a\"}}", 201);
        g_assert_cmpstr(watcher_next(asked), ==, "BOOKMARK ");
        g_assert_cmpuint(revision_of(asked), ==, store_revision(world->store));
        g_assert_null(watcher_next(asked));
        g_assert_null(watcher_next(silent));
}

/* --- selectors
 * ---------------------------------------------------------------------------------------------------------------------- */

static void every_sort_of_label_selector_has_its_edges(void)
{
        static const struct {
                const char *selector, *outside, *inside;
        } cases[] = {
                {"app%3Dx", "{\"app\":\"y\"}", "{\"app\":\"x\"}"},
                {"app%3D%3Dx", "{\"app\":null}", "{\"app\":\"x\"}"},
                {"app!%3Dx", "{\"app\":\"x\"}", "{\"app\":null}"},
                {"app+in+(x,z)", "{\"app\":\"y\"}", "{\"app\":\"z\"}"},
                {"app+notin+(x,z)", "{\"app\":\"z\"}", "{\"app\":\"y\"}"},
                {"app", "{\"app\":null}", "{\"app\":\"\"}"},
                {"!app", "{\"app\":\"x\"}", "{\"app\":null}"},
                {"app%3Dx,tier", "{\"app\":\"x\",\"tier\":null}", "{\"app\":\"x\",\"tier\":\"1\"}"},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *name = g_strdup_printf("m%zu", i), *added = g_strconcat("ADDED ", name, NULL);
                g_autofree char *modified = g_strconcat("MODIFIED ", name, NULL), *deleted = g_strconcat("DELETED ", name, NULL);
                g_autofree char *path = g_strconcat(MAPS "?watch=true&labelSelector=", cases[i].selector, NULL);
                g_autofree char *leaves = g_strdup_printf("{\"other\":\"2\",%s", cases[i].outside + 1);
                g_autoptr(watcher) watcher = NULL;

                g_test_message("%s", cases[i].selector);
                maps_create(world, name, NULL);
                label(name, cases[i].outside);
                watcher = watch_from_now(path);
                label(name, cases[i].inside);
                label(name, "{\"other\":\"1\"}");
                label(name, leaves);
                label(name, cases[i].outside);
                label(name, "{\"other\":\"3\"}");
                g_assert_cmpstr(watcher_next(watcher), ==, added);
                g_assert_cmpstr(watcher_next(watcher), ==, modified);
                g_assert_cmpstr(watcher_next(watcher), ==, deleted);
                /* The last version that matched, under the revision of the change that left. */
                g_assert_cmpuint(revision_of(watcher), ==, store_revision(world->store) - 1);
                g_assert_cmpstr(json_find_string(watcher_object(watcher), "metadata", "labels", "other", NULL), ==, "1");
                g_assert_true(watcher_is_quiet(watcher));
        }
}

static void fields_are_edges_too(void)
{
        g_autoptr(watcher) watcher = NULL;
        g_autoptr(answer) refused = NULL;

        maps_ask(world, "POST", NODES, "{\"metadata\":{\"name\":\"n\"}}", 201);
        watcher = watch_from_now(NODES "?watch=true&fieldSelector=spec.unschedulable%3Dtrue,metadata.name!%3Dm");
        maps_ask(world, "PATCH", NODES "/n", "{\"spec\":{\"unschedulable\":true}}", 200);
        maps_ask(world, "PATCH", NODES "/n", "{\"metadata\":{\"labels\":{\"a\":\"1\"}}}", 200);
        maps_ask(world, "PATCH", NODES "/n", "{\"spec\":{\"unschedulable\":null}}", 200);
        maps_ask(world, "PATCH", NODES "/n", "{\"metadata\":{\"labels\":{\"a\":\"2\"}}}", 200);
        g_assert_cmpstr(watcher_next(watcher), ==, "ADDED n");
        g_assert_cmpstr(watcher_next(watcher), ==, "MODIFIED n");
        g_assert_cmpstr(watcher_next(watcher), ==, "DELETED n");
        g_assert_true(watcher_is_quiet(watcher));
        refused = ask(world, "GET", NODES "?watch=true&fieldSelector=spec.podCIDR%3D1", NULL);
        g_assert_cmpint(refused->status, ==, 400);
        g_assert_nonnull(strstr(answer_text(refused, "/message"), "metadata.name, "));
        g_assert_nonnull(strstr(answer_text(refused, "/message"), "spec.unschedulable"));
}

static void metadata_alone_can_be_asked_for(void)
{
        static const char as_list[] = "Accept: application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
                                      "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json\r\n";
        g_autoptr(watcher) watcher = NULL;
        g_autoptr(answer) list = NULL, one = NULL;

        maps_create(world, "a", "{\"app\":\"x\"}");
        watcher = watcher_new(world, MAPS "?watch=true", AS_METADATA);
        g_assert_cmpstr(watcher_next(watcher), ==, "ADDED a");
        g_assert_cmpstr(json_find_string(watcher_object(watcher), "kind", NULL), ==, "PartialObjectMetadata");
        g_assert_null(json_get(watcher_object(watcher), "data"));
        label("a", "{\"app\":\"y\"}");
        g_assert_cmpstr(watcher_next(watcher), ==, "MODIFIED a");
        g_assert_cmpstr(json_find_string(watcher_object(watcher), "metadata", "labels", "app", NULL), ==, "y");
        list = ask_with(world, world->admin, "GET", MAPS, as_list, NULL);
        g_assert_cmpstr(answer_text(list, "/kind"), ==, "PartialObjectMetadataList");
        g_assert_cmpstr(answer_text(list, "/apiVersion"), ==, "meta.k8s.io/v1");
        g_assert_cmpstr(answer_text(list, "/items/0/metadata/name"), ==, "a");
        g_assert_cmpstr(answer_text(list, "/items/0/data"), ==, "");
        one = ask_with(world, world->admin, "GET", MAPS "/a", AS_METADATA, NULL);
        g_assert_cmpstr(answer_text(one, "/kind"), ==, "PartialObjectMetadata");
}

/* --- ends
 * ------------------------------------------------------------------------------------------------------------------------------ */

static void commit_delete(const struct schema_kind *kind, const char *namespace, const char *name)
{
        struct store_op op = {.verb = STORE_DELETE, .kind = kind, .namespace = namespace, .name = name};
        struct store_txn txn = {.ops = &op, .n_ops = 1};

        g_assert_cmpint(store_commit(world->store, &txn, NULL, NULL, NULL), ==, 0);
        world_run(world);
}

/* D81: with the namespace go its watches, when they have told what was in it. */
static void a_watch_ends_with_its_namespace(void)
{
        g_autoptr(watcher) level = watch_from_now("/api/v1/namespaces/other/configmaps?watch=true");
        g_autoptr(watcher) slow = watch_from_now("/api/v1/namespaces/other/configmaps?watch=true");
        g_autoptr(watcher) elsewhere = watch_from_now(MAPS "?watch=true"), all = watch_from_now("/api/v1/configmaps?watch=true");
        enum { N = 30 };

        watcher_deafen(slow, true);
        for (unsigned i = 0; i < N; i++) {
                g_autofree char *filler = g_strnfill(400000, 'x');
                g_autofree char *body = g_strdup_printf("{\"metadata\":{\"name\":\"m%u\"},\"data\":{\"a\":\"%s\"}}", i, filler);

                maps_ask(world, "POST", "/api/v1/namespaces/other/configmaps", body, 201);
                g_assert_nonnull(watcher_next(level));
        }
        for (unsigned i = 0; i < N; i++) {
                g_autofree char *name = g_strdup_printf("m%u", i);

                commit_delete(&api_config_map_kind, "other", name);
                g_assert_nonnull(watcher_next(level));
        }
        commit_delete(&api_namespace_kind, NULL, "other");
        g_assert_null(watcher_next(level));
        watcher_deafen(slow, false);
        for (unsigned i = 0; i < 2 * N; i++) {
                g_autofree char *expect = g_strdup_printf("%s m%u", i < N ? "ADDED" : "DELETED", i % N);

                g_assert_cmpstr(watcher_next(slow), ==, expect);
        }
        g_assert_null(watcher_next(slow));
        maps_create(world, "here", NULL);
        g_assert_cmpstr(watcher_next(elsewhere), ==, "ADDED here");
        for (unsigned i = 0; i < 2 * N; i++)
                g_assert_nonnull(watcher_next(all));
        g_assert_cmpstr(watcher_next(all), ==, "ADDED here");
}

static size_t watches_of_store(void)
{
        struct store_stats stats;

        store_stats(world->store, &stats);
        return stats.watches;
}

/* Attack 19: those who do not read hold up nobody else, and are told when they are overtaken, whether they read again or not. */
static void slow_watchers_hold_up_nobody(void)
{
        enum { SLOW = 20, N = 200 };
        struct watcher *slow[SLOW];
        g_autoptr(watcher) fast = watch_from_now(MAPS "?watch=true");
        size_t memory = 0, watches = watches_of_store();

        for (unsigned i = 0; i < SLOW; i++) {
                slow[i] = watch_from_now(MAPS "?watch=true");
                watcher_deafen(slow[i], true);
        }
        for (unsigned i = 0; i < N; i++) {
                struct http_server_stats stats;

                maps_put_big(world, i % 3);
                g_assert_nonnull(watcher_next(fast));
                http_server_stats(world->server, &stats);
                memory = MAX(memory, stats.memory);
        }
        g_assert_true(watcher_is_quiet(fast));
        g_assert_cmpuint(watches_of_store(), ==, watches);
        /* Each holds what its queue may hold, and an event more. */
        g_assert_cmpuint(memory, <, SLOW * (LIMIT_WATCH_AHEAD_BYTES + 600000));
        for (unsigned i = 0; i < SLOW; i++) {
                const char *event;

                watcher_deafen(slow[i], false);
                while ((event = watcher_next(slow[i])) && !g_str_has_prefix(event, "ERROR"))
                        ;
                g_assert_cmpstr(event, ==, "ERROR Expired");
                g_assert_null(watcher_next(slow[i]));
                watcher_free(slow[i]);
        }
}

static void in_a_new_world(gconstpointer test)
{
        world = world_new(NULL);
        ((void (*)(void))test)();
        world = world_free(world);
}

#define ADD(NAME) g_test_add_data_func("/api/edge/" #NAME, (gconstpointer)(NAME), in_a_new_world)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        ADD(the_first_state_ends_with_a_bookmark_when_both_were_asked_for);
        ADD(an_empty_first_state_is_marked_too);
        ADD(without_a_first_state_a_watch_begins_now);
        ADD(bookmarks_have_the_form_of_the_watch);
        ADD(no_bookmark_passes_an_event_that_is_still_to_come);
        ADD(a_timeout_leaves_a_bookmark_to_go_on_from);
        ADD(every_sort_of_label_selector_has_its_edges);
        ADD(fields_are_edges_too);
        ADD(metadata_alone_can_be_asked_for);
        ADD(a_watch_ends_with_its_namespace);
        ADD(slow_watchers_hold_up_nobody);
        return g_test_run();
}
