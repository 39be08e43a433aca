/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "controllers/callback/callback.h"
#include "controllers/cloud_private_test.h"
#include "controllers/cloud_test.h"

#include <string.h>

#define CB       (&api_callback_kind)
#define DELIVERY (&api_callback_delivery_kind)
#define DIGEST   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define CONTENT                                                                                                                    \
        "{\"ingest\": {\"digest\": \"" DIGEST                                                                                      \
        "\", \"sizeBytes\": 20000000, \"virtualSizeBytes\": 1073741824, \"format\": \"qcow2\"}}"

static void callback(struct cloud *cloud, const char *name, const char *more)
{
        cloud_applyf(cloud,
                     "apiVersion: gabbro.dev/v1\nkind: Callback\nmetadata: {name: %s}\nspec:\n  url: https://example.org/hook\n%s",
                     name, more ? more : "");
        cloud_settle(cloud);
}

static void image(struct cloud *cloud, const char *name)
{
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualImage, metadata: {name: %s, labels: {name: %s}},\n"
                     " spec: {dataSource: {type: HTTP, http: {url: \"https://example.org/a.qcow2\"}}}}",
                     name, name);
        cloud_settle(cloud);
}

static void fill(struct cloud *cloud, const char *name)
{
        cloud_status(cloud, VI, name, CONTENT);
        cloud_settle(cloud);
}

static void ready_image(struct cloud *cloud, const char *name)
{
        image(cloud, name);
        fill(cloud, name);
}

static void fail(struct cloud *cloud, const char *name)
{
        cloud_status(cloud, VI, name,
                     "{\"ingest\": {\"error\": {\"reason\": \"ImageFetchFailed\", \"message\": \"no such host\"}}}");
        cloud_settle(cloud);
}

static int by_text(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* All deliveries, in order: "project/callback: object 1 ImageReady Pending, ..."; interned. */
static const char *told(struct cloud *cloud)
{
        g_autoptr(GPtrArray) all = cache_list(cloud_cache(cloud), DELIVERY, NULL), lines = g_ptr_array_new_with_free_func(g_free);
        GString *text = g_string_new(NULL);

        for (guint i = 0; i < all->len; i++) {
                const struct cache_object *object = all->pdata[i];
                const struct api_callback_delivery *view = object->view;

                g_ptr_array_add(lines, g_strdup_printf("%s/%s: %s %d %s %s", object->namespace, view->spec->callback->name,
                                                       view->spec->object->name, (int)view->spec->sequence, view->spec->event,
                                                       view->status->state));
        }
        g_ptr_array_sort(lines, by_text);
        for (guint i = 0; i < lines->len; i++)
                g_string_append_printf(text, "%s%s", i ? "\n" : "", (const char *)lines->pdata[i]);
        const char *interned = g_intern_string(text->str);

        g_string_free(text, TRUE);
        return interned;
}

/* The gateway has tried all that is pending, to no avail or with success. */
static void attempt(struct cloud *cloud, const char *state)
{
        g_autoptr(GPtrArray) all = cache_list(cloud_cache(cloud), DELIVERY, "default");
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        g_autofree char *json = g_strdup_printf("{\"state\": \"%s\", \"attempts\": 1, \"lastError\": \"status 500\"}", state);

        for (guint i = 0; i < all->len; i++) {
                const struct cache_object *object = all->pdata[i];

                if (strcmp(((const struct api_callback_delivery *)object->view)->status->state, "Pending") == 0)
                        g_ptr_array_add(names, g_strdup(object->name));
        }
        for (guint i = 0; i < names->len; i++)
                cloud_status(cloud, DELIVERY, names->pdata[i], json);
        cloud_advance(cloud, SECOND_US);
}

/* --- what is told --- */

static void an_image_is_told_when_it_is_ready_and_when_it_is_gone(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        callback(cloud, "hook", NULL);
        cloud_expect_condition(cloud, CB, "hook", "Delivering", "True Delivering", NULL);
        image(cloud, "a");
        g_assert_cmpstr(told(cloud), ==, "");
        fill(cloud, "a");
        g_assert_cmpstr(told(cloud), ==, "default/hook: a 1 ImageReady Pending");
        g_assert_cmpstr(cloud_text(cloud, CB, "hook", "/status/pending"), ==, "1");

        g_autoptr(GPtrArray) all = cache_list(cloud_cache(cloud), DELIVERY, NULL);
        const struct cache_object *delivery = all->pdata[0];
        const struct api_callback_delivery_spec *spec = ((const struct api_callback_delivery *)delivery->view)->spec;

        g_assert_cmpstr(spec->facts->digest, ==, DIGEST);
        g_assert_cmpint(spec->facts->stored_bytes, ==, 20000000);
        g_assert_cmpstr(spec->object->uid, ==, cloud_get(cloud, VI, "a")->uid);
        cloud_expect_no_effects(cloud);
        attempt(cloud, "Delivered");
        g_assert_cmpstr(told(cloud), ==, "default/hook: a 1 ImageReady Delivered"); /* the memory of it */
        cloud_delete(cloud, VI, "a");
        cloud_settle(cloud);
        g_assert_cmpstr(told(cloud), ==, "default/hook: a 2 ImageDeleted Pending");
        attempt(cloud, "Delivered");
        g_assert_cmpstr(told(cloud), ==, "");
        cloud_expect_no_effects(cloud);
}

static void each_change_is_an_event_of_its_own_and_none_is_skipped_by_a_slow_endpoint(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        callback(cloud, "hook", NULL);
        image(cloud, "a");
        fail(cloud, "a");
        cloud_status(cloud, VI, "a", "{\"ingest\": {\"error\": null}}");
        fill(cloud, "a");
        cloud_delete(cloud, VI, "a");
        cloud_settle(cloud);
        g_assert_cmpstr(told(cloud), ==,
                        "default/hook: a 1 ImageFailed Pending\n"
                        "default/hook: a 2 ImageReady Pending\n"
                        "default/hook: a 3 ImageDeleted Pending");
        attempt(cloud, "Delivered");
        g_assert_cmpstr(told(cloud), ==, "");
}

static void an_image_of_the_same_name_is_another_one(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        callback(cloud, "hook", NULL);
        ready_image(cloud, "a");
        cloud_delete(cloud, VI, "a");
        cloud_settle(cloud);
        ready_image(cloud, "a");
        g_assert_cmpstr(told(cloud), ==,
                        "default/hook: a 1 ImageReady Pending\n"
                        "default/hook: a 1 ImageReady Pending\n"
                        "default/hook: a 2 ImageDeleted Pending");
}

static void what_was_so_before_the_callback_is_not_told_but_its_end_is(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        ready_image(cloud, "old");
        image(cloud, "late");
        cloud_advance(cloud, 5 * SECOND_US);
        callback(cloud, "hook", NULL);
        g_assert_cmpstr(told(cloud), ==, "default/hook: old 1 ImageReady Skipped");
        fail(cloud, "late"); /* begun before, ended after */
        g_assert_cmpstr(told(cloud), ==, "default/hook: late 1 ImageFailed Pending\ndefault/hook: old 1 ImageReady Skipped");
        cloud_delete(cloud, VI, "old");
        cloud_settle(cloud);
        g_assert_cmpstr(told(cloud), ==, "default/hook: late 1 ImageFailed Pending\ndefault/hook: old 2 ImageDeleted Pending");
}

static void only_what_is_asked_for_is_told(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        callback(cloud, "ends", "  events: [ImageDeleted]\n");
        callback(cloud, "begins", "  events: [ImageReady]\n");
        callback(cloud, "mine", "  selector: {name: b}\n");
        ready_image(cloud, "a");
        g_assert_cmpstr(told(cloud), ==, "default/begins: a 1 ImageReady Pending\ndefault/ends: a 1 ImageReady Skipped");
        attempt(cloud, "Delivered");
        cloud_delete(cloud, VI, "a");
        cloud_settle(cloud);
        g_assert_cmpstr(told(cloud), ==, "default/ends: a 2 ImageDeleted Pending");
        attempt(cloud, "Delivered");
        ready_image(cloud, "b");
        g_assert_nonnull(strstr(told(cloud), "default/mine: b 1 ImageReady Pending"));
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualImage, metadata: {name: b, labels: {name: other}},\n"
                           " spec: {dataSource: {type: HTTP, http: {url: \"https://example.org/a.qcow2\"}}}}");
        cloud_settle(cloud);
        g_assert_null(strstr(told(cloud), "default/mine"));
}

static void a_project_hears_of_itself_and_of_the_cloud_alone(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_apply(cloud, "{apiVersion: v1, kind: Namespace, metadata: {name: other}}");
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: Callback, metadata: {name: spy, namespace: other},\n"
                           " spec: {url: \"https://example.org\", kinds: [VirtualImage, ClusterVirtualImage, VirtualDisk]}}");
        callback(cloud, "hook", NULL);
        cloud_image(cloud, "tiny");
        ready_image(cloud, "a");
        cloud_advance(cloud, SECOND_US);
        g_assert_cmpstr(told(cloud), ==, "default/hook: a 1 ImageReady Pending\nother/spy: tiny 1 ImageReady Pending");
        cloud_delete(cloud, VI, "a");
        cloud_settle(cloud);
        g_assert_null(strstr(told(cloud), "spy: a"));
}

static void disks_are_told_too(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        callback(cloud, "hook", "  kinds: [VirtualDisk]\n");
        cloud_machine(cloud, "web", NULL);
        cloud_settle(cloud);
        g_assert_cmpstr(told(cloud), ==, "default/hook: web-root 1 ImageReady Pending");
}

/* --- what could not be told --- */

static void what_is_given_up_is_seen_and_bounded(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        callback(cloud, "hook", NULL);
        for (unsigned i = 0; i < LIMIT_CALLBACK_DEAD + 5; i++) {
                g_autofree char *name = g_strdup_printf("i%u", i);

                ready_image(cloud, name);
                if (i == 0) {
                        attempt(cloud, "Pending");
                        cloud_expect_condition(cloud, CB, "hook", "Delivering", "False DeliveryRetrying", "status 500");
                        attempt(cloud, "Dead");
                        cloud_expect_condition(cloud, CB, "hook", "Delivering", "False DeliveriesDead", "status 500");
                        g_assert_true(cloud_has_event(cloud, "hook", "DeliveriesDead"));
                }
        }
        attempt(cloud, "Dead");
        cloud_advance(cloud, SECOND_US);
        g_assert_cmpint(g_ascii_strtoll(cloud_text(cloud, CB, "hook", "/status/dead"), NULL, 10), ==, LIMIT_CALLBACK_DEAD);
        g_assert_nonnull(strstr(told(cloud), "i0 1 ImageReady Skipped")); /* the oldest one, and it is not made again */
        cloud_expect_no_effects(cloud);
}

static void a_suspended_callback_keeps_what_happens(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        callback(cloud, "hook", "  suspended: true\n");
        cloud_expect_condition(cloud, CB, "hook", "Delivering", "False CallbackSuspended", NULL);
        ready_image(cloud, "a");
        g_assert_cmpstr(told(cloud), ==, "default/hook: a 1 ImageReady Pending");
}

/* --- bounds and ends --- */

static void callbacks_beyond_the_limit_do_nothing_until_there_is_room(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        for (unsigned i = 0; i <= LIMIT_CALLBACKS_PER_PROJECT; i++) {
                g_autofree char *name = g_strdup_printf("c%u", i);

                callback(cloud, name, NULL);
                cloud_advance(cloud, SECOND_US);
        }
        g_autofree char *last = g_strdup_printf("c%u", LIMIT_CALLBACKS_PER_PROJECT);

        cloud_expect_condition(cloud, CB, last, "Delivering", "False TooManyCallbacks", NULL);
        ready_image(cloud, "a");
        g_assert_cmpuint(cloud_count(cloud, DELIVERY), ==, LIMIT_CALLBACKS_PER_PROJECT);
        cloud_delete(cloud, CB, "c0");
        cloud_advance(cloud, SECOND_US);
        cloud_expect_condition(cloud, CB, last, "Delivering", "True Delivering", NULL);
        g_assert_cmpuint(cloud_count(cloud, DELIVERY), ==, LIMIT_CALLBACKS_PER_PROJECT);
}

static void a_callback_takes_its_deliveries_along(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        callback(cloud, "hook", NULL);
        ready_image(cloud, "a");
        cloud_delete(cloud, CB, "hook");
        cloud_advance(cloud, SECOND_US);
        g_assert_cmpuint(cloud_count(cloud, DELIVERY), ==, 0);
}

static void many_images_at_once_are_all_told(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        for (unsigned i = 0; i < 250; i++) {
                g_autofree char *name = g_strdup_printf("i%u", i);

                ready_image(cloud, name);
        }
        callback(cloud, "hook", NULL); /* within the same second: in doubt it is told */
        cloud_advance(cloud, SECOND_US);
        g_assert_cmpuint(cloud_count(cloud, DELIVERY), ==, 250);
        g_assert_null(strstr(told(cloud), "Skipped"));
        g_assert_cmpstr(cloud_text(cloud, CB, "hook", "/status/pending"), ==, "250");
}

static void objects_beyond_the_limit_wait_until_others_are_told_to_their_end(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        callback(cloud, "hook", NULL);
        for (unsigned i = 0; i < LIMIT_CALLBACK_DELIVERIES + 1; i++) {
                g_autofree char *name = g_strdup_printf("i%04u", i);

                ready_image(cloud, name);
        }
        cloud_advance(cloud, SECOND_US);
        g_assert_cmpuint(cloud_count(cloud, DELIVERY), ==, LIMIT_CALLBACK_DELIVERIES);
        cloud_expect_condition(cloud, CB, "hook", "Delivering", "False TooManyDeliveries", NULL);
        g_assert_null(strstr(told(cloud), "i1000"));
        attempt(cloud, "Delivered");
        cloud_delete(cloud, VI, "i0000"); /* its end is told though there is no room: it takes the place of its memory */
        cloud_advance(cloud, SECOND_US);
        g_assert_nonnull(strstr(told(cloud), "i0000 2 ImageDeleted Pending"));
        g_assert_null(strstr(told(cloud), "i1000"));
        attempt(cloud, "Delivered");
        g_assert_nonnull(strstr(told(cloud), "i1000 1 ImageReady Pending"));
        attempt(cloud, "Delivered");
        cloud_expect_condition(cloud, CB, "hook", "Delivering", "True Delivering", NULL);
        cloud_expect_no_effects(cloud);
}

static void the_same_is_told_whatever_order_changes_are_seen_in(void)
{
        static const char expect[] = "default/hook: a 1 ImageReady Pending\n"
                                     "default/hook: a 2 ImageDeleted Pending\n"
                                     "default/hook: b 1 ImageFailed Pending";

        for (uint64_t seed = 1; seed <= 20; seed++) {
                struct cloud_options options = {.seed = seed, .chaos = true};
                g_autoptr(cloud) cloud = cloud_new(&options);

                callback(cloud, "hook", NULL);
                ready_image(cloud, "a");
                image(cloud, "b");
                fail(cloud, "b");
                cloud_advance(cloud, 10 * SECOND_US);
                cloud_delete(cloud, VI, "a");
                cloud_advance(cloud, 10 * SECOND_US);
                g_assert_cmpstr(told(cloud), ==, expect);
        }
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/callback/B32_an_image_is_told_when_it_is_ready_and_when_it_is_gone",
                        an_image_is_told_when_it_is_ready_and_when_it_is_gone);
        g_test_add_func("/callback/each_change_is_an_event_of_its_own_and_none_is_skipped_by_a_slow_endpoint",
                        each_change_is_an_event_of_its_own_and_none_is_skipped_by_a_slow_endpoint);
        g_test_add_func("/callback/an_image_of_the_same_name_is_another_one", an_image_of_the_same_name_is_another_one);
        g_test_add_func("/callback/what_was_so_before_the_callback_is_not_told_but_its_end_is",
                        what_was_so_before_the_callback_is_not_told_but_its_end_is);
        g_test_add_func("/callback/only_what_is_asked_for_is_told", only_what_is_asked_for_is_told);
        g_test_add_func("/callback/attack_16_a_project_hears_of_itself_and_of_the_cloud_alone",
                        a_project_hears_of_itself_and_of_the_cloud_alone);
        g_test_add_func("/callback/disks_are_told_too", disks_are_told_too);
        g_test_add_func("/callback/what_is_given_up_is_seen_and_bounded", what_is_given_up_is_seen_and_bounded);
        g_test_add_func("/callback/a_suspended_callback_keeps_what_happens", a_suspended_callback_keeps_what_happens);
        g_test_add_func("/callback/callbacks_beyond_the_limit_do_nothing_until_there_is_room",
                        callbacks_beyond_the_limit_do_nothing_until_there_is_room);
        g_test_add_func("/callback/a_callback_takes_its_deliveries_along", a_callback_takes_its_deliveries_along);
        g_test_add_func("/callback/many_images_at_once_are_all_told", many_images_at_once_are_all_told);
        g_test_add_func("/callback/objects_beyond_the_limit_wait_until_others_are_told_to_their_end",
                        objects_beyond_the_limit_wait_until_others_are_told_to_their_end);
        g_test_add_func("/callback/A4_the_same_is_told_whatever_order_changes_are_seen_in",
                        the_same_is_told_whatever_order_changes_are_seen_in);
        return g_test_run();
}
