/* SPDX-License-Identifier: Apache-2.0 */
#include "api/world_test.h"
#include "generated/api_types.h"

#include <string.h>

/* What a caller may send to bring the gateway down, or to get round a rule. The sanitised run of this file is half of its worth. */

#define MAPS       "/api/v1/namespaces/default/configmaps"
#define NAMESPACES "/api/v1/namespaces"
#define VMS        "/apis/gabbro.dev/v1/namespaces/default/virtualmachines"
#define STRATEGIC  "Content-Type: application/strategic-merge-patch+json\r\n"
#define CLEANUP    "gabbro.dev/namespace-cleanup"

static struct world *world;

static void expect(int status, const char *method, const char *path, const char *body)
{
        g_autoptr(answer) answer = ask(world, method, path, body);

        if (answer->status != status)
                g_error("%s %s: status %d, expected %d: %s", method, path, answer->status, status, answer->body->str);
}

static void refuse(const char *path, const char *body)
{
        g_autoptr(answer) answer = ask(world, "POST", path, body);

        g_assert_cmpint(answer->status, >=, 400);
}

static void a_namespace_too_long_for_any_key_has_nothing_in_it(void)
{
        static const unsigned lengths[] = {63, 253, 500, 700, 2000, 6000};
        static const char *const collections[] = {"GET", "DELETE"};

        for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
                g_autofree char *name = g_strnfill(lengths[i], 'n');
                g_autofree char *path = g_strdup_printf("/api/v1/namespaces/%s/configmaps", name);
                g_autofree char *one = g_strdup_printf("%s/%s", path, name), *watch = g_strdup_printf("%s?watch=1", path);
                g_autofree char *page = g_strdup_printf("%s?limit=1&fieldSelector=metadata.name%%3D%s", path, name);
                g_autofree char *body = g_strdup_printf("{\"metadata\":{\"name\":\"%s\"}}", name);

                for (size_t j = 0; j < G_N_ELEMENTS(collections); j++)
                        expect(200, collections[j], path, NULL);
                expect(200, "GET", page, NULL);
                expect(404, "GET", one, NULL);
                expect(404, "DELETE", one, NULL);
                expect(404, "PATCH", one, "{\"data\":{\"a\":\"b\"}}");
                ask_and_leave(world, "GET", watch, NULL);
                refuse(path, body);
        }
        expect(200, "GET", MAPS, NULL);
}

/* The transactions after the first begin when the request is gone: the server lets go of it while the first is under way. */
static void a_collection_goes_also_when_its_client_has_left(void)
{
        g_autofree char *manager = g_strnfill(120, 'm'), *path = g_strconcat(MAPS "?fieldManager=", manager, NULL);
        struct store_stats stats = {};

        for (unsigned i = 0; i < 350; i++) {
                g_autofree char *name = g_strdup_printf("m%03u", i);
                g_autofree char *json = g_strdup_printf(
                        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"default\"}}",
                        name);

                world_put(world, &api_config_map_kind, "default", name, json);
        }
        ask_and_leave(world, "DELETE", path, NULL);
        for (unsigned i = 0; i < 200 && !stats.queued; i++) {
                g_assert_cmpint(loop_run_once(world->loop, 0), >=, 0);
                store_stats(world->store, &stats);
        }
        g_assert_cmpuint(stats.queued, >, 0);
        world->server = http_server_free(world->server);
        for (unsigned i = 0; i < 10 && store_count(world->store, &api_config_map_kind, "default"); i++)
                world_run(world);
        g_assert_cmpuint(store_count(world->store, &api_config_map_kind, "default"), ==, 0);
}

static void expect_finalizer(const char *path, const char *finalizer, bool there)
{
        g_autoptr(answer) answer = ask(world, "GET", path, NULL);

        g_assert_cmpint(answer->status, ==, 200);
        if ((strstr(answer->body->str, finalizer) != NULL) != there)
                g_error("%s: %s %s", path, there ? "lacks" : "still has", answer->body->str);
}

static void nobody_takes_our_finalizers_away(void)
{
        static const char *const bodies[] = {
                "{\"metadata\":{\"finalizers\":null}}",
                "{\"metadata\":{\"finalizers\":[]}}",
                "{\"metadata\":{\"finalizers\":[\"x.io/mine\"]}}",
                "{\"metadata\":{\"finalizers\":{\"a\":1}}}",
                "{\"metadata\":{\"finalizers\":\"none\"}}",
        };

        expect(201, "POST", NAMESPACES, "{\"metadata\":{\"name\":\"held\"}}");
        expect_finalizer(NAMESPACES "/held", CLEANUP, true);
        for (size_t i = 0; i < G_N_ELEMENTS(bodies); i++) {
                g_autoptr(answer) answer = ask(world, "PATCH", NAMESPACES "/held", bodies[i]);

                g_assert_nonnull(answer); /* whichever it is */
                expect_finalizer(NAMESPACES "/held", CLEANUP, true);
        }
        expect(200, "PUT", NAMESPACES "/held", "{\"metadata\":{\"name\":\"held\"}}");
        expect_finalizer(NAMESPACES "/held", CLEANUP, true);
        expect_finalizer(NAMESPACES "/held", "x.io/mine", false);
        expect(200, "DELETE", NAMESPACES "/held", NULL);
        expect(200, "PATCH", NAMESPACES "/held", bodies[0]);
        expect_finalizer(NAMESPACES "/held", "deletionTimestamp", true);
}

static void a_users_own_resourceVersion_stays_as_it_is(void)
{
        g_autofree char *body = NULL, *watch = NULL;
        g_autoptr(watcher) watcher = NULL;
        uint64_t next = store_revision(world->store) + 1;

        watch = g_strdup_printf(MAPS "?watch=1&resourceVersion=%" G_GUINT64_FORMAT, store_revision(world->store));
        watcher = watcher_new(world, watch, NULL);
        body = g_strdup_printf("{\"metadata\":{\"name\":\"a\",\"annotations\":{\"resourceVersion\":\"%" G_GUINT64_FORMAT
                               "\"}},\"data\":{\"resourceVersion\":\"%" G_GUINT64_FORMAT "\"}}",
                               next, next);
        expect(201, "POST", MAPS, body);
        g_assert_cmpstr(watcher_next(watcher), ==, "ADDED a");
        expect(200, "DELETE", MAPS "/a", NULL);
        g_assert_cmpstr(watcher_next(watcher), ==, "DELETED a");

        const struct json_value *object = watcher_object(watcher);
        g_autofree char *said = g_strdup_printf("%" G_GUINT64_FORMAT, next);
        g_autofree char *now = g_strdup_printf("%" G_GUINT64_FORMAT, next + 1);

        g_assert_cmpstr(json_find_string(object, "metadata", "annotations", "resourceVersion", NULL), ==, said);
        g_assert_cmpstr(json_find_string(object, "data", "resourceVersion", NULL), ==, said);
        g_assert_cmpstr(json_find_string(object, "metadata", "resourceVersion", NULL), ==, now);
}

static void answer_console(struct http_request *request, const struct auth_identity *identity, const struct store_object *object,
                           void *userdata)
{
        api_reply_status(request, 400, "BadRequest", "no WebSocket", NULL);
}

static char *audit_text(void)
{
        g_autofree char *path = g_build_filename(world->dir, "audit.log", NULL);
        char *text = NULL;

        auth_audit_flush(world->audit);
        g_assert_cmpint(auth_audit_verify(path, NULL), ==, 0);
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        return text;
}

/* D46: a console is opened by GET, and yet it is a deed; whoever asks without credentials what he may do is a stranger. */
static void consoles_and_refused_reviews_are_in_the_audit(void)
{
        static const char review[] = "{\"apiVersion\":\"authorization.k8s.io/v1\",\"kind\":\"SelfSubjectAccessReview\",\"spec\":"
                                     "{\"resourceAttributes\":{\"verb\":\"get\",\"resource\":\"pods\"}}}";
        g_autofree char *before = NULL, *after = NULL;
        g_autoptr(answer) refused = NULL;

        api_add_subresource(world->api, &(struct api_subresource){.kind = &api_virtual_machine_kind,
                                                                  .name = "console",
                                                                  .method = "GET",
                                                                  .verb = "get",
                                                                  .handle = answer_console});
        world_put(world, &api_virtual_machine_kind, "default", "a",
                  "{\"apiVersion\":\"gabbro.dev/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"a\",\"namespace\":"
                  "\"default\"},\"spec\":{}}");
        before = audit_text();
        g_assert_null(strstr(before, "\"subresource\":\"console\""));
        expect(400, "GET", VMS "/a/console", NULL);
        refused = ask_with(world, NULL, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", NULL, review);
        g_assert_cmpint(refused->status, ==, 401);
        after = audit_text();
        g_assert_nonnull(strstr(after, "\"subresource\":\"console\""));
        g_assert_nonnull(strstr(after, "\"resource\":\"selfsubjectaccessreviews\""));
        g_assert_nonnull(strstr(after, "\"status\":401"));
}

/* --- work
 * ----------------------------------------------------------------------------------------------------------------------------- */

/* @n times @each, in which %u counts, between @head and @tail. */
static char *repeat(const char *head, const char *each, unsigned n, const char *tail)
{
        GString *text = g_string_new(head);
        g_auto(GStrv) parts = g_strsplit(each, "%u", 2);

        for (unsigned i = 0; i < n; i++)
                g_string_append_printf(text, "%s%s%u%s", i ? "," : "", parts[0], i, parts[1]);
        g_string_append(text, tail);
        return g_string_free(text, FALSE);
}

/* Each of these compares everything with everything: without a bound the loop stands still for minutes. */
static void a_patch_that_is_too_much_work_is_refused(void)
{
        static const struct {
                const char *head, *each, *tail;
        } patches[] = {
                {"{\"metadata\":{\"finalizers\":[", "\"x.io/%u\"", "]}}"},
                {"{\"data\":{", "\"k%u\":\"b\"", "}}"},
                {"{\"data\":{\"$retainKeys\":[", "\"k%u\"", "]}}"},
                {"{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[", "\"y.io/%u\"", "]}}"},
        };
        g_autofree char *data = repeat("{\"metadata\":{\"name\":\"a\"},\"data\":{", "\"k%u\":\"a\"", 20000, "}}");
        g_autofree char *held = repeat("{\"metadata\":{\"finalizers\":[", "\"x.io/%u\"", 20000, "]}}");

        expect(201, "POST", MAPS, data);
        expect(200, "PATCH", MAPS "/a", held);
        for (size_t i = 0; i < G_N_ELEMENTS(patches); i++) {
                for (unsigned n = 10; n <= 20000; n += 19990) {
                        g_autofree char *body = repeat(patches[i].head, patches[i].each, n, patches[i].tail);
                        g_autoptr(answer) answer = ask_with(world, world->admin, "PATCH", MAPS "/a?dryRun=All", STRATEGIC, body);

                        if (answer->status != (n == 10 ? 200 : 400))
                                g_error("patch %zu of %u: %d: %.300s", i, n, answer->status, answer->body->str);
                        g_assert_true(n == 10 || strstr(answer->body->str, "too much work"));
                }
        }
}

static void in_a_new_world(gconstpointer test)
{
        world = world_new(NULL);
        ((void (*)(void))test)();
        world = world_free(world);
}

#define ADD(NAME) g_test_add_data_func("/api/hostile/" #NAME, (gconstpointer)(NAME), in_a_new_world)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        ADD(a_namespace_too_long_for_any_key_has_nothing_in_it);
        ADD(a_collection_goes_also_when_its_client_has_left);
        ADD(nobody_takes_our_finalizers_away);
        ADD(a_users_own_resourceVersion_stays_as_it_is);
        ADD(consoles_and_refused_reviews_are_in_the_audit);
        ADD(a_patch_that_is_too_much_work_is_refused);
        return g_test_run();
}
