/* SPDX-License-Identifier: Apache-2.0 */
#include "api/credentials.h"
#include "api/world_test.h"
#include "base/limits.h"
#include "generated/api_types.h"

#include <string.h>
#include <time.h>

/* Passwords, sessions, tokens and service accounts through the front door. */

static struct world *world;

#define JSON_TYPE "Content-Type: application/json\r\n"
#define PASSWORD  "planted-Passw0rd-rose"
#define USERS     "/apis/gabbro.dev/v1/users"

static struct answer *post(const char *token, const char *path, const char *body)
{
        return ask_with(world, token, "POST", path, JSON_TYPE, body);
}

static void expect(const char *token, const char *method, const char *path, const char *body, int status)
{
        g_autoptr(answer) answer = ask_with(world, token, method, path, body ? JSON_TYPE : NULL, body);

        if (answer->status != status)
                g_error("%s %s: %d, expected %d: %s", method, path, answer->status, status, answer->body->str);
}

static void patch_user(const char *name, const char *patch)
{
        g_autofree char *path = g_strconcat(USERS "/", name, NULL);
        g_autoptr(answer) answer = ask(world, "PATCH", path, patch);

        g_assert_cmpint(answer->status, ==, 200);
}

static void make_user(const char *name, const char *groups)
{
        g_autofree char *body =
                g_strdup_printf("{\"apiVersion\":\"gabbro.dev/v1\",\"kind\":\"User\",\"metadata\":{\"name\":\"%s\"},"
                                "\"spec\":{\"groups\":%s}}",
                                name, groups);
        g_autofree char *path = g_strdup_printf(USERS "/%s/password", name);

        expect(world->admin, "POST", USERS, body, 201);
        expect(world->admin, "POST", path, "{\"password\":\"" PASSWORD "\"}", 200);
}

static void drop_user(const char *name)
{
        g_autofree char *path = g_strconcat(USERS "/", name, NULL);

        expect(world->admin, "DELETE", path, NULL, 200);
}

static struct answer *try_login(const char *name, const char *password)
{
        g_autofree char *body = g_strdup_printf("{\"user\":\"%s\",\"password\":\"%s\"}", name, password);

        return post(NULL, "/auth/v1/login", body);
}

/* The text of a session's token. */
static char *login(const char *name, const char *password)
{
        g_autoptr(answer) answer = try_login(name, password);

        if (answer->status != 201)
                g_error("login: %d %s", answer->status, answer->body->str);
        g_assert_cmpstr(answer_text(answer, "/type"), ==, "Session");
        g_assert_cmpstr(answer_text(answer, "/user"), ==, name);
        return g_strdup(answer_text(answer, "/token"));
}

static char *make_token(const char *as, const char *body, char **ret_id)
{
        g_autoptr(answer) answer = post(as, "/auth/v1/tokens", body);

        if (answer->status != 201)
                g_error("token: %d %s", answer->status, answer->body->str);
        if (ret_id)
                *ret_id = g_strdup(answer_text(answer, "/id"));
        return g_strdup(answer_text(answer, "/token"));
}

static void forgive(void)
{
        world->shift_us += 600000000; /* ten minutes: attempts are forgiven, sessions are not over */
}

/* --- login
 * ----------------------------------------------------------------------------------------------------------------------- */

static void a_login_gives_a_session_that_a_logout_ends(void)
{
        g_autofree char *session = NULL;
        g_autoptr(answer) who = NULL;

        make_user("rose", "[\"staff\"]");
        session = login("rose", PASSWORD);
        who = ask_with(world, session, "GET", "/auth/v1/whoami", NULL, NULL);
        g_assert_cmpint(who->status, ==, 200);
        g_assert_cmpstr(answer_text(who, "/user"), ==, "rose");
        g_assert_cmpstr(answer_text(who, "/groups/0"), ==, "staff");
        g_assert_cmpstr(answer_text(who, "/groups/1"), ==, "system:authenticated");
        g_assert_cmpstr(answer_text(who, "/token/type"), ==, "Session");
        expect(session, "POST", "/auth/v1/logout", "{}", 200);
        expect(session, "GET", "/auth/v1/whoami", NULL, 401);
        drop_user("rose");
}

static void a_session_ends_by_time(void)
{
        g_autofree char *session = NULL;

        make_user("rose", "[]");
        session = login("rose", PASSWORD);
        expect(session, "GET", "/auth/v1/whoami", NULL, 200);
        world->shift_us += 13ull * 3600 * 1000000;
        expect(session, "GET", "/auth/v1/whoami", NULL, 401);
        drop_user("rose");
}

/* Whoever tries learns nothing but "no": not whether there is such a user, nor that he is disabled. */
static void wrong_passwords_unknown_and_disabled_users_get_the_same_answer(void)
{
        static const char *const names[] = {"rose", "nobody-of-that-name", "bert", "carl", "NOT a name"};

        make_user("rose", "[]");
        make_user("bert", "[]");
        patch_user("bert", "{\"spec\":{\"disabled\":true}}");
        expect(world->admin, "POST", USERS, "{\"metadata\":{\"name\":\"carl\"},\"spec\":{}}", 201); /* no password */
        g_autoptr(answer) first = try_login("rose", "wrong-wrong");
        g_assert_cmpint(first->status, ==, 401);
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autoptr(answer) answer = try_login(names[i], i == 0 ? "also-wrong" : PASSWORD);

                g_assert_cmpint(answer->status, ==, 401);
                g_assert_cmpstr(answer->body->str, ==, first->body->str);
        }
        drop_user("rose");
        drop_user("bert");
        drop_user("carl");
        forgive();
}

/* Of the processor: what else the machine does plays no part. */
static gint64 time_of_login(const char *name)
{
        gint64 least = G_MAXINT64;

        for (unsigned i = 0; i < 5; i++) {
                clock_t begin = clock();
                g_autoptr(answer) answer = try_login(name, "wrong-wrong");

                g_assert_cmpint(answer->status, ==, 401);
                least = MIN(least, (gint64)(clock() - begin));
        }
        forgive();
        return least;
}

static void unknown_users_cost_the_same_time(void)
{
        gint64 known, unknown;

        make_user("rose", "[]");
        known = time_of_login("rose");
        unknown = time_of_login("nobody");
        g_test_message("known %" G_GINT64_FORMAT " us, unknown %" G_GINT64_FORMAT " us", known, unknown);
        g_assert_cmpint(known, <, 3 * unknown);
        g_assert_cmpint(unknown, <, 3 * known);
        drop_user("rose");
}

/* How many attempts there are before one is refused; on a slow machine some are forgiven meanwhile. */
static unsigned attempts_until_refused(const char *one_name)
{
        for (unsigned i = 0; i < 1000; i++) {
                g_autofree char *name = one_name ? g_strdup(one_name) : g_strdup_printf("stranger-%u", i);
                g_autoptr(answer) answer = try_login(name, "wrong-wrong");

                if (answer->status == 429) {
                        g_assert_nonnull(strstr(answer->headers, "Retry-After: "));
                        return i;
                }
                g_assert_cmpint(answer->status, ==, 401);
        }
        return G_MAXUINT;
}

static void attempts_are_limited_per_user_and_per_address(void)
{
        unsigned n;

        make_user("rose", "[]");
        n = attempts_until_refused("rose");
        g_assert_cmpuint(n, >=, LIMIT_ATTEMPTS_PER_USER);
        g_assert_cmpuint(n, <, LIMIT_ATTEMPTS_PER_ADDRESS);
        g_autoptr(answer) limited = try_login("rose", PASSWORD); /* the right one, too: else it could still be found */
        g_assert_cmpint(limited->status, ==, 429);
        world->shift_us += LIMIT_ATTEMPT_USER_US;
        g_free(login("rose", PASSWORD));
        forgive();
        n = attempts_until_refused(NULL);
        g_assert_cmpuint(n, >=, LIMIT_ATTEMPTS_PER_ADDRESS);
        g_assert_cmpuint(n, <, 1000);
        forgive();
        for (unsigned i = 0; i < 2 * LIMIT_ATTEMPTS_PER_USER; i++)
                g_free(login("rose", PASSWORD)); /* good ones do not count, and do not pile up: see the next line */
        expect(world->admin, "GET", "/auth/v1/tokens?all=true", NULL, 200);
        drop_user("rose");
}

static void passwords_that_are_none_are_refused_with_words(void)
{
        static const struct {
                const char *body, *words;
        } rows[] = {
                {"{\"password\":\"short\"}", "at least 8 characters"},
                {"{\"password\":\"rose-rose\"}", "not the user's name"},
                {"{\"password\":12345678}", "must be given"},
                {"{}", "must be given"},
        };

        make_user("rose-rose", "[]");
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autoptr(answer) answer = post(world->admin, USERS "/rose-rose/password", rows[i].body);

                g_assert_cmpint(answer->status, ==, 422);
                g_assert_nonnull(strstr(answer_text(answer, "/message"), rows[i].words));
        }
        expect(world->admin, "POST", USERS "/nobody/password", "{\"password\":\"" PASSWORD "\"}", 404);
        drop_user("rose-rose");
}

static void a_new_password_ends_the_sessions_of_the_old_one(void)
{
        g_autofree char *one = NULL, *two = NULL, *token = NULL;

        make_user("rose", "[]");
        one = login("rose", PASSWORD);
        two = login("rose", PASSWORD);
        token = make_token(one, "{\"note\":\"for scripts\"}", NULL);
        expect(one, "POST", "/auth/v1/password", "{\"oldPassword\":\"wrong-wrong\",\"newPassword\":\"another-one\"}", 403);
        expect(two, "GET", "/auth/v1/whoami", NULL, 200);
        expect(one, "POST", "/auth/v1/password", "{\"oldPassword\":\"" PASSWORD "\",\"newPassword\":\"another-one\"}", 200);
        expect(one, "GET", "/auth/v1/whoami", NULL, 401);
        expect(two, "GET", "/auth/v1/whoami", NULL, 401);
        expect(token, "GET", "/auth/v1/whoami", NULL, 200); /* tokens are revoked by themselves */
        expect(NULL, "POST", "/auth/v1/login", "{\"user\":\"rose\",\"password\":\"" PASSWORD "\"}", 401);
        g_free(login("rose", "another-one"));
        drop_user("rose");
        forgive();
}

/* Somebody who gets the name of somebody who left is somebody else. */
static void a_user_made_anew_has_neither_password_nor_tokens(void)
{
        g_autofree char *session = NULL, *token = NULL;

        make_user("rose", "[]");
        session = login("rose", PASSWORD);
        token = make_token(session, "{}", NULL);
        drop_user("rose");
        expect(session, "GET", "/auth/v1/whoami", NULL, 401);
        expect(world->admin, "POST", USERS, "{\"metadata\":{\"name\":\"rose\"},\"spec\":{}}", 201);
        expect(session, "GET", "/auth/v1/whoami", NULL, 401);
        expect(token, "GET", "/auth/v1/whoami", NULL, 401);
        expect(NULL, "POST", "/auth/v1/login", "{\"user\":\"rose\",\"password\":\"" PASSWORD "\"}", 401);
        drop_user("rose");
        forgive();
}

/* Attack 16: who is disabled is refused at the next request, and what he has open ends. */
static void attack_16_disabling_a_user_ends_requests_and_watches(void)
{
        g_autofree char *session = NULL;

        make_user("rose", "[\"gabbro:administrators\"]");
        session = login("rose", PASSWORD);
        g_autoptr(watcher) watcher = watcher_new_as(world, session, "/api/v1/namespaces?watch=true", NULL);
        g_assert_cmpint(watcher_status(watcher), ==, 200);
        g_assert_nonnull(watcher_next(watcher));
        patch_user("rose", "{\"spec\":{\"displayName\":\"Rose\"}}");
        expect(session, "GET", "/auth/v1/whoami", NULL, 200);
        patch_user("rose", "{\"spec\":{\"disabled\":true}}");
        expect(session, "GET", "/auth/v1/whoami", NULL, 401);
        while (watcher_next(watcher))
                ;
        patch_user("rose", "{\"spec\":{\"disabled\":false}}");
        expect(session, "GET", "/auth/v1/whoami", NULL, 200);
        drop_user("rose");
}

/* Attack 16: the stream was allowed by a group; it must not live on without it. */
static void attack_16_a_watch_ends_when_its_user_leaves_a_group(void)
{
        g_autofree char *session = NULL;

        make_user("rose", "[\"gabbro:administrators\",\"staff\"]");
        session = login("rose", PASSWORD);
        g_autoptr(watcher) watcher = watcher_new_as(world, session, "/api/v1/namespaces?watch=true", NULL);
        g_assert_cmpint(watcher_status(watcher), ==, 200);
        patch_user("rose", "{\"spec\":{\"groups\":[\"staff\"]}}");
        while (watcher_next(watcher))
                ;
        drop_user("rose");
}

/* --- tokens
 * ---------------------------------------------------------------------------------------------------------------------- */

static void tokens_are_listed_without_secrets_and_revoked(void)
{
        g_autofree char *session = NULL, *token = NULL, *id = NULL, *path = NULL;

        make_user("rose", "[\"staff\",\"night\"]");
        session = login("rose", PASSWORD);
        token = make_token(session, "{\"groups\":[\"night\"],\"note\":\"backup script\",\"ttlSeconds\":3600}", &id);
        g_autoptr(answer) who = ask_with(world, token, "GET", "/auth/v1/whoami", NULL, NULL);
        g_assert_cmpstr(answer_text(who, "/groups/0"), ==, "night");
        g_assert_cmpstr(answer_text(who, "/groups/1"), ==, "system:authenticated");
        world_run(world);
        g_autoptr(answer) list = ask_with(world, session, "GET", "/auth/v1/tokens", NULL, NULL);
        g_assert_cmpint(list->status, ==, 200);
        g_assert_cmpint(json_length(json_get(list->root, "items")), ==, 2);
        g_assert_nonnull(strstr(list->body->str, "backup script"));
        g_assert_nonnull(strstr(list->body->str, "lastUsed"));
        g_assert_null(strstr(list->body->str, "hash"));
        g_assert_null(strstr(list->body->str, "tamp"));
        path = g_strconcat("/auth/v1/tokens/", id, NULL);
        expect(world->user, "DELETE", path, NULL, 403);
        expect(session, "DELETE", path, NULL, 200);
        expect(token, "GET", "/auth/v1/whoami", NULL, 401);
        expect(session, "DELETE", path, NULL, 403); /* not whether it was there */
        expect(world->admin, "DELETE", path, NULL, 404);
        drop_user("rose");
}

static void tokens_end_by_time(void)
{
        g_autofree char *session = NULL, *token = NULL;

        make_user("rose", "[]");
        session = login("rose", PASSWORD);
        token = make_token(session, "{\"ttlSeconds\":60}", NULL);
        expect(token, "GET", "/auth/v1/whoami", NULL, 200);
        world->shift_us += 61000000;
        expect(token, "GET", "/auth/v1/whoami", NULL, 401);
        drop_user("rose");
}

/* Attack 17: no way from fewer rights to more. */
static void attack_17_credentials_do_not_grow(void)
{
        g_autofree char *session = NULL, *narrow = NULL, *others = NULL;

        make_user("rose", "[\"staff\",\"night\"]");
        make_user("bert", "[\"gabbro:administrators\"]");
        session = login("rose", PASSWORD);
        narrow = make_token(session, "{\"groups\":[\"night\"]}", NULL);
        expect(narrow, "POST", "/auth/v1/tokens", "{}", 403); /* with a leaked token nobody makes one that stays */
        expect(session, "POST", "/auth/v1/tokens", "{\"groups\":[\"gabbro:administrators\"]}", 422);
        expect(session, "POST", "/auth/v1/tokens", "{\"groups\":\"staff\"}", 422);
        expect(session, "POST", "/auth/v1/tokens", "{\"user\":\"bert\"}", 403);
        expect(session, "POST", "/auth/v1/tokens", "{\"ttlSeconds\":0}", 422);
        expect(session, "POST", "/auth/v1/tokens", "{\"ttlSeconds\":99999999999}", 422);
        expect(session, "GET", "/auth/v1/tokens?all=true", NULL, 403);
        expect(session, "GET", "/auth/v1/tokens?user=bert", NULL, 403);
        expect(session, "POST", USERS "/bert/password", "{\"password\":\"another-one\"}", 403);
        expect(session, "POST", USERS "/bert/certificate", "{}", 403);
        expect(session, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", "{}", 403);
        g_autoptr(answer) own = ask_with(world, session, "PATCH", USERS "/rose", "Content-Type: application/merge-patch+json\r\n",
                                         "{\"spec\":{\"groups\":[\"gabbro:administrators\"]}}");
        g_assert_cmpint(own->status, ==, 403);
        others = make_token(world->admin, "{\"user\":\"rose\",\"note\":\"made by the administrator\"}", NULL);
        expect(others, "GET", "/auth/v1/whoami", NULL, 200);
        expect(world->admin, "POST", "/auth/v1/tokens", "{}", 404); /* the installation's own administrator is no user */
        drop_user("rose");
        drop_user("bert");
}

static void reserved_groups_are_given_to_nobody(void)
{
        static const char *const groups[] = {"system:masters", "system:serviceaccounts", "gabbro:nodes", "gabbro:authenticated",
                                             "a\\nb"};

        for (size_t i = 0; i < G_N_ELEMENTS(groups); i++) {
                g_autofree char *body =
                        g_strdup_printf("{\"metadata\":{\"name\":\"eve\"},\"spec\":{\"groups\":[\"%s\"]}}", groups[i]);

                expect(world->admin, "POST", USERS, body, 422);
        }
}

/* Attack 17: headers that other systems trust are refused, or mean nothing. */
static void attack_17_nobody_speaks_for_others(void)
{
        static const struct {
                const char *header;
                int status;
        } rows[] = {
                {"Impersonate-User: bert\r\n", 403},
                {"Impersonate-Group: gabbro:administrators\r\n", 403},
                {"impersonate-uid: 1\r\n", 403},
                {"Impersonate-Extra-Scopes: all\r\n", 403},
                {"IMPERSONATE-ANYTHING: x\r\n", 403},
                {"X-Remote-User: gabbro:admin\r\n", 200},
                {"X-Remote-Group: gabbro:administrators\r\n", 200},
                {"X-Forwarded-User: gabbro:admin\r\n", 200},
                {"X-Remote-Extra-Scopes: all\r\n", 200},
        };
        const char *const callers[] = {world->admin, world->user};

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
                for (size_t j = 0; j < G_N_ELEMENTS(callers); j++) {
                        g_autoptr(answer) answer = ask_with(world, callers[j], "GET", "/auth/v1/whoami", rows[i].header, NULL);

                        g_assert_cmpint(answer->status, ==, rows[i].status);
                        if (rows[i].status == 403)
                                g_assert_nonnull(strstr(answer->body->str, "impersonation is not served"));
                        else
                                g_assert_cmpstr(answer_text(answer, "/user"), ==, j == 0 ? "gabbro:admin" : "someone");
                }
        g_autoptr(answer) stranger = ask_with(world, NULL, "GET", "/auth/v1/whoami", "X-Remote-User: gabbro:admin\r\n", NULL);
        g_assert_cmpint(stranger->status, ==, 401);
}

static void only_json_is_taken_so_that_no_page_can_send_it(void)
{
        g_autoptr(answer) form = ask_with(world, NULL, "POST", "/auth/v1/login", "Content-Type: text/plain\r\n",
                                          "{\"user\":\"rose\",\"password\":\"" PASSWORD "\"}");
        g_autoptr(answer) basic = ask_with(world, NULL, "GET", "/auth/v1/whoami", "Authorization: Basic cm9zZTpyb3Nl\r\n", NULL);

        g_assert_cmpint(form->status, ==, 415);
        g_assert_cmpint(basic->status, ==, 401);
        forgive();
}

static void sessions_and_tokens_of_a_user_are_bounded(void)
{
        g_autofree char *first = NULL, *last = NULL, *token = NULL;

        make_user("rose", "[]");
        first = login("rose", PASSWORD);
        for (unsigned i = 0; i < LIMIT_SESSIONS_PER_USER; i++) {
                g_free(last);
                last = login("rose", PASSWORD);
        }
        expect(first, "GET", "/auth/v1/whoami", NULL, 401); /* the oldest made room */
        expect(last, "GET", "/auth/v1/whoami", NULL, 200);
        for (unsigned i = 0; i < LIMIT_TOKENS_PER_USER; i++) {
                g_free(token);
                token = make_token(last, "{}", NULL);
        }
        g_autoptr(answer) more = post(last, "/auth/v1/tokens", "{}");
        g_assert_cmpint(more->status, ==, 409);
        g_assert_nonnull(strstr(answer_text(more, "/message"), "revoke some first"));
        drop_user("rose");
        while (credentials_sweep(((struct api *)world->api)->credentials) > 0)
                world_run(world);
        g_assert_cmpint(store_count(world->store, &api_password_kind, NULL), ==, 0);
        g_assert_cmpint(store_count(world->store, &api_token_kind, NULL), ==, 3); /* those of the world */
}

/* --- service accounts
 * ------------------------------------------------------------------------------------------------------------ */

#define ACCOUNTS "/api/v1/namespaces/default/serviceaccounts"

static char *account_token(const char *name)
{
        g_autofree char *path = g_strdup_printf(ACCOUNTS "/%s/token", name);
        g_autoptr(answer) answer =
                post(world->admin, path, "{\"spec\":{\"audiences\":[],\"expirationSeconds\":3600,\"boundObjectRef\":null}}");

        if (answer->status != 201)
                g_error("TokenRequest: %d %s", answer->status, answer->body->str);
        g_assert_cmpstr(answer_text(answer, "/kind"), ==, "TokenRequest");
        g_assert_cmpstr(answer_text(answer, "/spec/expirationSeconds"), ==, "3600");
        g_assert_cmpstr(answer_text(answer, "/status/expirationTimestamp"), !=, "");
        return g_strdup(answer_text(answer, "/status/token"));
}

static void a_service_account_is_an_identity_of_its_own(void)
{
        g_autofree char *token = NULL, *again = NULL;

        expect(world->admin, "POST", ACCOUNTS, "{\"metadata\":{\"name\":\"robot\"}}", 201);
        token = account_token("robot");
        g_autoptr(answer) who = post(token, "/apis/authentication.k8s.io/v1/selfsubjectreviews",
                                     "{\"kind\":\"SelfSubjectReview\",\"apiVersion\":\"authentication.k8s.io/v1\"}");
        g_assert_cmpint(who->status, ==, 201);
        g_assert_cmpstr(answer_text(who, "/status/userInfo/username"), ==, "system:serviceaccount:default:robot");
        g_assert_cmpstr(answer_text(who, "/status/userInfo/groups/0"), ==, "system:serviceaccounts");
        g_assert_cmpstr(answer_text(who, "/status/userInfo/groups/1"), ==, "system:serviceaccounts:default");
        g_assert_cmpstr(answer_text(who, "/status/userInfo/groups/2"), ==, "system:authenticated");
        expect(token, "POST", "/auth/v1/tokens", "{}", 403);
        expect(world->user, "POST", ACCOUNTS "/robot/token", "{}", 403);
        expect(world->admin, "POST", ACCOUNTS "/robot/token", "{\"spec\":{\"expirationSeconds\":10}}", 422);
        expect(world->admin, "POST", ACCOUNTS "/robot/token", "{\"spec\":{\"audiences\":[\"vault\"]}}", 422);
        expect(world->admin, "POST", ACCOUNTS "/nobody/token", "{}", 404);
        expect(world->admin, "DELETE", ACCOUNTS "/robot", NULL, 200);
        expect(token, "GET", "/auth/v1/whoami", NULL, 401);
        expect(world->admin, "POST", ACCOUNTS, "{\"metadata\":{\"name\":\"robot\"}}", 201);
        expect(token, "GET", "/auth/v1/whoami", NULL, 401); /* another one of the same name */
        again = account_token("robot");
        expect(again, "GET", "/auth/v1/whoami", NULL, 200);
        expect(world->admin, "DELETE", ACCOUNTS "/robot", NULL, 200);
}

static void a_token_of_a_service_account_ends_with_its_namespace(void)
{
        g_autofree char *token = NULL;
        static const char account[] = "{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":\"robot\"}}";

        expect(world->admin, "POST", ACCOUNTS, account, 201);
        token = account_token("robot");
        expect(token, "GET", "/auth/v1/whoami", NULL, 200);
        world_put(world, &api_namespace_kind, NULL, "default",
                  "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"default\",\"uid\":\"uid-default\","
                  "\"creationTimestamp\":\"2026-01-01T00:00:00Z\",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"}}");
        expect(token, "GET", "/auth/v1/whoami", NULL, 401);
        world_put(world, &api_namespace_kind, NULL, "default",
                  "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"default\",\"uid\":\"uid-default\","
                  "\"creationTimestamp\":\"2026-01-01T00:00:00Z\"}}");
        expect(world->admin, "DELETE", ACCOUNTS "/robot", NULL, 200);
}

static void a_token_review_says_whose_a_token_is(void)
{
        g_autofree char *body = g_strdup_printf("{\"spec\":{\"token\":\"%s\"}}", world->user);
        g_autoptr(answer) good = post(world->admin, "/apis/authentication.k8s.io/v1/tokenreviews", body);
        g_autoptr(answer) bad = post(world->admin, "/apis/authentication.k8s.io/v1/tokenreviews", "{\"spec\":{\"token\":\"x\"}}");

        g_assert_cmpint(good->status, ==, 201);
        g_assert_cmpstr(answer_text(good, "/status/user/username"), ==, "someone");
        g_assert_null(strstr(good->body->str, world->user)); /* the token is not told again */
        g_assert_null(strstr(bad->body->str, "\"authenticated\":true"));
}

/* --- no secret anywhere
 * ----------------------------------------------------------------------------------------------------- */

/* Attack 35, I9: internal kinds are served nowhere, whoever asks. */
static void attack_35_hashes_are_served_to_nobody(void)
{
        static const char *const paths[] = {"/apis/gabbro.dev/v1/passwords",       "/apis/gabbro.dev/v1/passwords/rose",
                                            "/apis/gabbro.dev/v1/tokens",          "/apis/gabbro.dev/v1/passwords?watch=true",
                                            "/apis/gabbro.dev/v1/users/rose/hash", "/apis/gabbro.dev/v1/users/rose/password"};

        make_user("rose", "[]");
        for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
                g_autoptr(answer) answer = ask(world, "GET", paths[i], NULL);

                g_assert_cmpint(answer->status, >=, 404);
                g_assert_null(strstr(answer->body->str, "$y$"));
        }
        g_autoptr(answer) user = ask(world, "GET", USERS "/rose", NULL);
        g_assert_null(strstr(user->body->str, "hash"));
        drop_user("rose");
}

static char *audit_text(void)
{
        g_autofree char *path = g_build_filename(world->dir, "audit.log", NULL);
        char *text = NULL;

        auth_audit_flush(world->audit);
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        return text;
}

/* Attack 35, I9: neither what was right nor what was wrong, nor a password that was typed as the name. */
static void attack_35_audit_tells_who_logged_in_and_no_secret(void)
{
        g_autofree char *session = NULL, *token = NULL, *text = NULL;

        make_user("rose", "[]");
        session = login("rose", PASSWORD);
        token = make_token(session, "{}", NULL);
        expect(NULL, "POST", "/auth/v1/login", "{\"user\":\"planted-as-a-name\",\"password\":\"planted-wrong-one\"}", 401);
        expect(NULL, "POST", "/auth/v1/login", "{\"user\":\"rose\",\"password\":\"planted-wrong-one\"}", 401);
        text = audit_text();
        g_assert_null(strstr(text, "planted"));
        g_assert_null(strstr(text, strrchr(session, '.') + 1));
        g_assert_null(strstr(text, strrchr(token, '.') + 1));
        g_assert_nonnull(strstr(text, "\"user\":\"rose\""));
        g_assert_nonnull(strstr(text, "\"name\":\"rose\",\"path\":\"/auth/v1/login\",\"allowed\":false"));
        g_assert_nonnull(strstr(text, "\"subresource\":\"password\",\"name\":\"rose\",\"allowed\":true"));
        drop_user("rose");
        forgive();
}

int main(int argc, char **argv)
{
        static const struct {
                const char *name;
                void (*run)(void);
        } tests[] = {
#define TEST(name) {"/credentials/" #name, name}
                TEST(a_login_gives_a_session_that_a_logout_ends),
                TEST(a_session_ends_by_time),
                TEST(wrong_passwords_unknown_and_disabled_users_get_the_same_answer),
                TEST(unknown_users_cost_the_same_time),
                TEST(attempts_are_limited_per_user_and_per_address),
                TEST(passwords_that_are_none_are_refused_with_words),
                TEST(a_new_password_ends_the_sessions_of_the_old_one),
                TEST(a_user_made_anew_has_neither_password_nor_tokens),
                TEST(attack_16_disabling_a_user_ends_requests_and_watches),
                TEST(attack_16_a_watch_ends_when_its_user_leaves_a_group),
                TEST(tokens_are_listed_without_secrets_and_revoked),
                TEST(tokens_end_by_time),
                TEST(attack_17_credentials_do_not_grow),
                TEST(reserved_groups_are_given_to_nobody),
                TEST(attack_17_nobody_speaks_for_others),
                TEST(only_json_is_taken_so_that_no_page_can_send_it),
                TEST(sessions_and_tokens_of_a_user_are_bounded),
                TEST(a_service_account_is_an_identity_of_its_own),
                TEST(a_token_of_a_service_account_ends_with_its_namespace),
                TEST(a_token_review_says_whose_a_token_is),
                TEST(attack_35_hashes_are_served_to_nobody),
                TEST(attack_35_audit_tells_who_logged_in_and_no_secret),
        };
        int r;

        g_test_init(&argc, &argv, NULL);
        world = world_new(NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add_func(tests[i].name, tests[i].run);
        r = g_test_run();
        world_free(world);
        return r;
}
