/* SPDX-License-Identifier: Apache-2.0 */
#include "api/once.h"
#include "api/world_test.h"
#include "generated/api_types.h"

#include <string.h>

/* Requests that are carried out once. Requirements D12, D70; attacks 16, 18. */

#define SECRETS   "/api/v1/namespaces/default/secrets"
#define HEADER(x) ONCE_HEADER ": " x "\r\nContent-Type: application/json\r\n"
#define MERGE(x)  ONCE_HEADER ": " x "\r\nContent-Type: application/merge-patch+json\r\n"
#define BODY      "{\"metadata\":{\"generateName\":\"s-\"},\"data\":{\"a\":\"YQ==\"}}"
#define TOGETHER  50

static size_t count(struct world *world, const struct schema_kind *kind)
{
        return store_count(world->store, kind, kind->namespaced ? "default" : NULL);
}

/* Attack 18: the repeat gets the first answer's object, also with a generated name. */
static void a_repeat_gets_the_object_of_the_first(void)
{
        struct world *world = world_new(NULL);
        g_autoptr(answer) first = ask_with(world, world->admin, "POST", SECRETS, HEADER("one"), BODY);
        g_autoptr(answer) second = ask_with(world, world->admin, "POST", SECRETS, HEADER("one"), BODY);
        g_autoptr(answer) other = ask_with(world, world->admin, "POST", SECRETS, HEADER("two"), BODY);

        g_assert_cmpint(first->status, ==, 201);
        g_assert_cmpint(second->status, ==, 201);
        g_assert_cmpint(other->status, ==, 201);
        g_assert_cmpstr(answer_text(first, "/metadata/uid"), ==, answer_text(second, "/metadata/uid"));
        g_assert_cmpstr(answer_text(first, "/metadata/name"), ==, answer_text(second, "/metadata/name"));
        g_assert_cmpstr(answer_text(first, "/metadata/uid"), !=, answer_text(other, "/metadata/uid"));
        g_assert_nonnull(strstr(second->headers, "Gabbro-Request-Repeated: true"));
        g_assert_null(strstr(first->headers, "Gabbro-Request-Repeated"));
        g_assert_cmpuint(count(world, &api_secret_kind), ==, 2);
        world_free(world);
}

/* Attack 18: 50 repeats at once, none of them awaited: one object, and every answer is of it. */
static void of_50_repeats_at_once_one_is_carried_out(void)
{
        struct world *world = world_new(NULL);
        struct answer *answers[TOGETHER];
        const char *bodies[TOGETHER];

        for (unsigned i = 0; i < TOGETHER; i++)
                bodies[i] = BODY;
        ask_together_with(world, "POST", SECRETS, HEADER("many"), bodies, TOGETHER, answers);
        for (unsigned i = 0; i < TOGETHER; i++) {
                g_assert_cmpint(answers[i]->status, ==, 201);
                g_assert_cmpstr(answer_text(answers[i], "/metadata/uid"), ==, answer_text(answers[0], "/metadata/uid"));
        }
        for (unsigned i = 0; i < TOGETHER; i++)
                answer_free(answers[i]);
        g_assert_cmpuint(count(world, &api_secret_kind), ==, 1);
        g_assert_cmpuint(count(world, &api_request_record_kind), ==, 1);
        world_free(world);
}

/* Attack 16: another body, path or user with the id: refused in the same words, nothing told of the first. */
static void an_id_is_of_one_request(void)
{
        struct world *world = world_new(NULL);
        g_autofree char *second_admin = world_put_token(world, "gbt1", "Admin", "gabbro:second", NULL);
        g_autoptr(answer) first = ask_with(world, world->admin, "POST", SECRETS, HEADER("one"), BODY);
        static const struct {
                const char *path, *body;
                bool other_user;
        } rows[] = {
                {SECRETS, "{\"metadata\":{\"generateName\":\"t-\"}}", false},
                {"/api/v1/namespaces/other/secrets", BODY, false},
                {SECRETS "?fieldManager=x", BODY, false},
                {"/api/v1/namespaces/default/configmaps", BODY, false},
                {SECRETS, BODY, true},
        };
        g_autofree char *words = NULL;

        g_assert_cmpint(first->status, ==, 201);
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autoptr(answer) answer = ask_with(world, rows[i].other_user ? second_admin : world->admin, "POST", rows[i].path,
                                                    HEADER("one"), rows[i].body);

                g_assert_cmpint(answer->status, ==, 422);
                g_assert_null(strstr(answer->body->str, answer_text(first, "/metadata/name")));
                if (!words)
                        words = g_strdup(answer_text(answer, "/message"));
                g_assert_cmpstr(answer_text(answer, "/message"), ==, words);
        }
        g_assert_cmpuint(count(world, &api_secret_kind), ==, 1);
        world_free(world);
}

/* Who may not do it is refused before anything is looked up. */
static void the_id_gives_no_right(void)
{
        struct world *world = world_new(NULL);
        g_autoptr(answer) first = ask_with(world, world->admin, "POST", SECRETS, HEADER("one"), BODY);
        g_autoptr(answer) stranger = ask_with(world, world->user, "POST", SECRETS, HEADER("one"), BODY);
        g_autoptr(answer) nobody = ask_with(world, NULL, "POST", SECRETS, HEADER("one"), BODY);

        g_assert_cmpint(first->status, ==, 201);
        g_assert_cmpint(stranger->status, ==, 403);
        g_assert_cmpint(nobody->status, ==, 401);
        world_free(world);
}

/* Attack 18: patches and deletions are not repeated over what came since. */
static void a_repeated_patch_or_deletion_changes_nothing_more(void)
{
        struct world *world = world_new(NULL);
        static const struct {
                const char *method, *path, *headers, *body;
                int status;
                const char *pointer, *expect;
        } rows[] = {
                {"POST", SECRETS, HEADER("c1"), "{\"metadata\":{\"name\":\"s\"}}", 201, "", ""},
                {"PATCH", SECRETS "/s", MERGE("p1"), "{\"metadata\":{\"labels\":{\"a\":\"1\"}}}", 200, "/metadata/labels/a", "1"},
                {"PATCH", SECRETS "/s", MERGE("p2"), "{\"metadata\":{\"labels\":{\"a\":\"2\"}}}", 200, "/metadata/labels/a", "2"},
                {"PATCH", SECRETS "/s", MERGE("p1"), "{\"metadata\":{\"labels\":{\"a\":\"1\"}}}", 200, "/metadata/labels/a", "2"},
                /* nothing to change, and yet remembered */
                {"PATCH", SECRETS "/s", MERGE("p3"), "{\"metadata\":{\"labels\":{\"a\":\"2\"}}}", 200, "/metadata/labels/a", "2"},
                {"PATCH", SECRETS "/s", MERGE("p4"), "{\"metadata\":{\"labels\":{\"a\":\"4\"}}}", 200, "/metadata/labels/a", "4"},
                {"PATCH", SECRETS "/s", MERGE("p3"), "{\"metadata\":{\"labels\":{\"a\":\"2\"}}}", 200, "/metadata/labels/a", "4"},
                {"DELETE", SECRETS "/s", HEADER("d1"), NULL, 200, "/status", "Success"},
                {"DELETE", SECRETS "/s", HEADER("d1"), NULL, 200, "/status", "Success"},
                {"DELETE", SECRETS "/s", HEADER("d2"), NULL, 404, "", ""},
                {"POST", SECRETS, HEADER("c1"), "{\"metadata\":{\"name\":\"s\"}}", 410, "/reason", "Gone"},
                {"PATCH", SECRETS "/s", MERGE("p1"), "{\"metadata\":{\"labels\":{\"a\":\"1\"}}}", 410, "/reason", "Gone"},
                {"POST", SECRETS, HEADER("c2"), "{\"metadata\":{\"name\":\"s\"}}", 201, "", ""},
                {"DELETE", SECRETS "/s", HEADER("d1"), NULL, 200, "/status", "Success"},
                {"GET", SECRETS "/s", NULL, NULL, 200, "", ""}, /* the repeat did not touch its successor */
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autoptr(answer) answer =
                        ask_with(world, world->admin, rows[i].method, rows[i].path, rows[i].headers, rows[i].body);

                if (answer->status != rows[i].status)
                        g_error("%zu: %d %s", i, answer->status, answer->body->str);
                if (*rows[i].pointer)
                        g_assert_cmpstr(answer_text(answer, rows[i].pointer), ==, rows[i].expect);
        }
        world_free(world);
}

/* What was refused was not carried out: it may be sent again. */
static void a_refused_request_is_not_remembered(void)
{
        struct world *world = world_new(NULL);
        static const char body[] = "{\"metadata\":{\"name\":\"s\"}}";
        g_autoptr(answer) made = ask(world, "POST", SECRETS, body);
        g_autoptr(answer) refused = ask_with(world, world->admin, "POST", SECRETS, HEADER("r"), body);
        g_autoptr(answer) gone = ask(world, "DELETE", SECRETS "/s", NULL);
        g_autoptr(answer) dry = ask_with(world, world->admin, "POST", SECRETS "?dryRun=All", HEADER("r"), body);
        g_autoptr(answer) again = ask_with(world, world->admin, "POST", SECRETS, HEADER("r"), body);

        g_assert_cmpint(made->status, ==, 201);
        g_assert_cmpint(refused->status, ==, 409);
        g_assert_cmpint(gone->status, ==, 200);
        g_assert_cmpint(dry->status, ==, 201);
        g_assert_cmpint(again->status, ==, 201);
        world_free(world);
}

static void ids_of_other_forms_are_refused(void)
{
        struct world *world = world_new(NULL);
        g_autofree char *longest = g_strnfill(128, 'a'), *longer = g_strnfill(129, 'a');
        const char *const bad[] = {"", "a b", "a/b", "\xc3\xa4", longer}, *const good[] = {"A-z_0.~:", longest};

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                g_assert_false(once_header_is_valid(bad[i]));
        for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
                g_assert_true(once_header_is_valid(good[i]));

        g_autoptr(answer) answer = ask_with(world, world->admin, "POST", SECRETS, HEADER("a b"), BODY);
        g_autoptr(answer) many = ask_with(world, world->admin, "DELETE", SECRETS, HEADER("many"), NULL);

        g_assert_cmpint(answer->status, ==, 400);
        g_assert_cmpint(many->status, ==, 400);
        world_free(world);
}

/* A record lives for an hour, in the store too. */
static void an_id_is_forgotten_after_an_hour(void)
{
        struct world *world = world_new(NULL);
        g_autoptr(answer) first = ask_with(world, world->admin, "POST", SECRETS, HEADER("one"), BODY);

        world->shift_us = ONCE_KEPT_US - 60000000;

        g_autoptr(answer) second = ask_with(world, world->admin, "POST", SECRETS, HEADER("one"), BODY);

        world->shift_us = ONCE_KEPT_US + 1000000;

        g_autoptr(answer) third = ask_with(world, world->admin, "POST", SECRETS, HEADER("two"), BODY);

        g_assert_cmpint(third->status, ==, 201);
        g_assert_cmpuint(count(world, &api_request_record_kind), ==, 1);

        g_autoptr(answer) fourth = ask_with(world, world->admin, "POST", SECRETS, HEADER("one"), BODY);

        g_assert_cmpstr(answer_text(second, "/metadata/uid"), ==, answer_text(first, "/metadata/uid"));
        g_assert_cmpint(fourth->status, ==, 201);
        g_assert_cmpstr(answer_text(fourth, "/metadata/uid"), !=, answer_text(first, "/metadata/uid"));
        world_free(world);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/once/repeat", a_repeat_gets_the_object_of_the_first);
        g_test_add_func("/once/together", of_50_repeats_at_once_one_is_carried_out);
        g_test_add_func("/once/one-request", an_id_is_of_one_request);
        g_test_add_func("/once/no-right", the_id_gives_no_right);
        g_test_add_func("/once/changes", a_repeated_patch_or_deletion_changes_nothing_more);
        g_test_add_func("/once/refused", a_refused_request_is_not_remembered);
        g_test_add_func("/once/forms", ids_of_other_forms_are_refused);
        g_test_add_func("/once/forgotten", an_id_is_forgotten_after_an_hour);
        return g_test_run();
}
