/* SPDX-License-Identifier: Apache-2.0 */
#include "api/world_test.h"
#include "generated/api_types.h"

#include <string.h>

#define VMS       "/apis/gabbro.dev/v1/namespaces/default/virtualmachines"
#define ALIAS_VMS "/apis/virtualization.deckhouse.io/v1alpha2/namespaces/default/virtualmachines"
#define MAPS      "/api/v1/namespaces/default/configmaps"

#define SPEC                                                                                                                       \
        "\"spec\":{\"virtualMachineClassName\":\"generic\",\"cpu\":{\"cores\":2},\"memory\":{\"size\":\"1Gi\"},"                   \
        "\"blockDeviceRefs\":[{\"kind\":\"VirtualDisk\",\"name\":\"d\"}]}"
#define VM(NAME, EXTRA)                                                                                                            \
        "{\"apiVersion\":\"gabbro.dev/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"" NAME "\"" EXTRA "}," SPEC "}"
#define MAP(NAME) "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"" NAME "\"},\"data\":{\"a\":\"1\"}}"

static struct world *world;

#define RUN_ROWS(rows) world_run_rows(world, (rows), G_N_ELEMENTS(rows))

/* --- verbs and their errors
 * ---------------------------------------------------------------------------------------------------------- */

static void an_object_lives_through_all_verbs(void)
{
        static const struct row rows[] = {
                {"GET", VMS "/a", NULL, 404, "/message", "virtualmachines.gabbro.dev \"a\" not found"},
                {"POST", VMS, VM("a", ""), 201, "/metadata/generation", "1"},
                {"POST", VMS, VM("a", ""), 409, "/reason", "AlreadyExists"},
                {"POST", VMS, VM("a", ""), 409, "/message", "virtualmachines.gabbro.dev \"a\" already exists"},
                {"GET", VMS "/a", NULL, 200, "/spec/runPolicy", "AlwaysOnUnlessStoppedManually"},
                {"GET", VMS, NULL, 200, "/items/0/metadata/name", "a"},
                {"GET", VMS, NULL, 200, "/kind", "VirtualMachineList"},
                {"GET", "/apis/gabbro.dev/v1/virtualmachines", NULL, 200, "/items/0/metadata/name", "a"},
                {"GET", "/apis/gabbro.dev/v1/namespaces/other/virtualmachines", NULL, 200, "/items", ""},
                {"PATCH", VMS "/a", "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}", 200, "/metadata/generation", "1"},
                {"PATCH", VMS "/a", "{\"spec\":{\"cpu\":{\"cores\":4}}}", 200, "/metadata/generation", "2"},
                {"PUT", VMS "/a", VM("a", ""), 200, "/metadata/generation", "3"},
                {"PUT", VMS "/b", VM("b", ""), 404, "/details/kind", "virtualmachines"},
                {"PATCH", VMS "/b", "{}", 404, "/details/name", "b"},
                {"DELETE", VMS "/b", NULL, 404, "/details/group", "gabbro.dev"},
                {"DELETE", VMS "/a", "{\"propagationPolicy\":\"Background\"}", 200, "/status", "Success"},
                {"GET", VMS "/a", NULL, 404, "/reason", "NotFound"},
        };

        RUN_ROWS(rows);
}

static void wrong_requests_get_their_status_and_words(void)
{
        static const struct row rows[] = {
                {"GET", "/nonsense", NULL, 404, "/reason", "NotFound"},
                {"GET", "/apis/nonsense.io/v1/things", NULL, 404, NULL, NULL},
                {"GET", "/apis/gabbro.dev/v1/tokens", NULL, 404, NULL, NULL},
                {"POST", VMS "/a", VM("a", ""), 405, "/reason", "MethodNotAllowed"},
                {"PUT", VMS, VM("a", ""), 405, NULL, NULL},
                {"POST", "/apis/gabbro.dev/v1/virtualmachines", VM("a", ""), 405, NULL, NULL},
                {"DELETE", "/apis/gabbro.dev/v1/virtualmachines", NULL, 405, NULL, NULL},
                {"POST", "/version", "{}", 405, NULL, NULL},
                {"POST", "/apis/apps/v1/namespaces/default/deployments", "{}", 404, "/reason", "NotFound"},
                {"POST", "/api/v1/namespaces/default/services", "{}", 404, "/reason", "NotFound"},
                {"POST", "/apis", "{}", 405, NULL, NULL},
                {"GET", VMS "/a/console", NULL, 404, NULL, NULL},
                {"DELETE", VMS "/a/status", NULL, 405, NULL, NULL},
                {"POST", VMS, "{", 400, "/reason", "BadRequest"},
                {"POST", VMS, "", 400, NULL, NULL},
                {"POST", VMS, "[]", 400, "/message", "the body of the request must be an object, not array"},
                {"POST", VMS, "{\"a\":1,\"a\":2}", 422, NULL, NULL},
                {"POST", VMS, "{\"metadata\":3}", 400, "/message", "metadata must be an object"},
                {"POST", VMS, "{\"apiVersion\":\"v1\",\"kind\":\"VirtualMachine\"}", 400, "/message",
                 "the API version in the data (v1) does not match the expected API version (gabbro.dev/v1)"},
                {"POST", VMS, "{\"apiVersion\":\"gabbro.dev/v1\",\"kind\":\"VirtualDisk\"}", 400, NULL, NULL},
                {"POST", VMS, VM("a", ",\"namespace\":\"other\""), 400, "/message",
                 "the namespace of the provided object (other) does not match the namespace sent on the request (default)"},
                {"POST", VMS, VM("a", ",\"resourceVersion\":\"3\""), 400, "/message",
                 "resourceVersion should not be set on objects to be created"},
                {"POST", "/apis/gabbro.dev/v1/namespaces/absent/virtualmachines", VM("a", ""), 404, "/message",
                 "namespaces \"absent\" not found"},
                {"POST", "/apis/gabbro.dev/v1/namespaces/absent/virtualmachines", VM("a", ""), 404, "/details/kind", "namespaces"},
                {"GET", VMS "?limit=x", NULL, 422, "/details/causes/0/field", "limit"},
                {"GET", VMS "?limit=-1", NULL, 422, NULL, NULL},
                {"GET", VMS "?watch=true&sendInitialEvents=true", NULL, 422, "/reason", "Invalid"},
                {"GET", VMS "?watch=true&sendInitialEvents=false&resourceVersionMatch=Exact", NULL, 422, NULL, NULL},
                {"GET", VMS "?watch=true&resourceVersionMatch=NotOlderThan&resourceVersion=1", NULL, 422, NULL, NULL},
                {"GET", VMS "?sendInitialEvents=true", NULL, 422, "/details/causes/0/field", "sendInitialEvents"},
                {"GET", VMS "?resourceVersionMatch=NotOlderThan", NULL, 422, NULL, NULL},
                {"GET", VMS "?resourceVersionMatch=Exact&resourceVersion=0", NULL, 422, NULL, NULL},
                {"GET", VMS "?resourceVersionMatch=NotOlderThan&resourceVersion=0", NULL, 200, NULL, NULL},
                {"POST", VMS "?dryRun=Some", VM("a", ""), 422, "/details/causes/0/field", "dryRun"},
                {"GET", VMS "?labelSelector=%3D", NULL, 400, "/reason", "BadRequest"},
                {"GET", VMS "?fieldSelector=spec.secret%3D1", NULL, 400, "/message",
                 "field label not supported: spec.secret (virtualmachines can be selected by metadata.name, metadata.namespace, "
                 "metadata.uid, "
                 "status.phase, status.nodeName)"},
                {"GET", VMS "?watch=1&fieldSelector=spec.secret%3D1", NULL, 400, NULL, NULL},
                {"GET", VMS "?continue=nonsense", NULL, 400, NULL, NULL},
                {"GET", VMS "?resourceVersion=99999", NULL, 504, "/details/causes/0/reason", "ResourceVersionTooLarge"},
                {"GET", VMS "?resourceVersion=1&resourceVersionMatch=Exact", NULL, 200, "/metadata/resourceVersion", "1"},
                {"GET", VMS "?resourceVersion=99999&resourceVersionMatch=Exact", NULL, 504, NULL, NULL},
                {"GET", VMS "?watch=true&resourceVersion=99999", NULL, 410, "/reason", "Expired"},
                {"DELETE", VMS "/a", "{\"propagationPolicy\":\"Sideways\"}", 422, NULL, NULL},
                {"DELETE", "/api/v1/namespaces/default", NULL, 403, "/reason", "Forbidden"},
        };

        RUN_ROWS(rows);
}

static void every_fault_is_told_at_once(void)
{
        g_autoptr(answer) answer =
                ask(world, "POST", VMS "?fieldValidation=Strict",
                    "{\"apiVersion\":\"gabbro.dev/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"Bad_Name\","
                    "\"labels\":{\"-\":\"x\"}},\"spec\":{\"virtualMachineClassName\":\"generic\",\"cpu\":{\"cores\":17,"
                    "\"speed\":3},\"memory\":{\"size\":\"much\"},\"runPolicy\":\"Sometimes\"}}");
        static const char *const fields[] = {"metadata.name",  "metadata.labels",  "spec.cpu.cores",
                                             "spec.cpu.speed", "spec.memory.size", "spec.runPolicy"};
        const struct json_value *causes;

        g_assert_cmpint(answer->status, ==, 422);
        g_assert_cmpstr(answer_text(answer, "/reason"), ==, "Invalid");
        g_assert_cmpstr(answer_text(answer, "/details/kind"), ==, "VirtualMachine");
        g_assert_cmpstr(answer_text(answer, "/details/name"), ==, "Bad_Name");
        causes = json_find(answer->root, "details", "causes", NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
                bool found = false;

                for (const struct json_value *cause = json_first(causes); cause; cause = json_next(cause))
                        found |= strcmp(json_find_string(cause, "field", NULL), fields[i]) == 0;
                if (!found)
                        g_error("no cause for %s in %s", fields[i], answer->body->str);
        }
        g_assert_nonnull(strstr(answer_text(answer, "/message"), "VirtualMachine.gabbro.dev \"Bad_Name\" is invalid: ["));
}

/* --- who may
 * --------------------------------------------------------------------------------------------------------------------------- */

static void credentials_decide_before_anything_is_read(void)
{
        g_autofree char *altered = g_strdup(world->admin), *basic = g_strdup("Authorization: Basic eDp5\r\n");
        size_t last = strlen(altered) - 1;
        altered[last] = altered[last] == 'a' ? 'b' : 'a';
        const struct {
                const char *token, *method, *path, *headers, *body;
                int status;
        } cases[] = {
                {NULL, "GET", VMS, NULL, NULL, 401},
                {NULL, "GET", "/livez", NULL, NULL, 401},
                {NULL, "GET", "/nonsense", NULL, NULL, 401},
                {NULL, "GET", VMS, basic, NULL, 401},
                {altered, "GET", VMS, NULL, NULL, 401},
                {"gbt1.aaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "GET", VMS, NULL, NULL, 401},
                {world->node, "GET", VMS, NULL, NULL, 401},
                {world->user, "GET", VMS, NULL, NULL, 403},
                {world->user, "POST", VMS, NULL, "{ this is never parsed", 403},
                {world->user, "GET", "/metrics", NULL, NULL, 403},
                {world->user, "GET", "/api", NULL, NULL, 200},
                {world->user, "GET", "/livez", NULL, NULL, 200},
                {world->admin, "GET", "/metrics", NULL, NULL, 200},
                {world->admin, "GET", VMS, "Impersonate-User: someone\r\n", NULL, 403},
                {world->admin, "POST", "/apis/host.gabbro.dev/v1/instances", NULL, "{", 403},
                {world->admin, "PATCH", "/apis/host.gabbro.dev/v1/instances/i/status", NULL, "{}", 403},
                {world->admin, "DELETE", "/apis/host.gabbro.dev/v1/instances/i", NULL, NULL, 403},
                {world->admin, "DELETE", "/apis/host.gabbro.dev/v1/instances", NULL, NULL, 403},
                {world->admin, "GET", "/apis/host.gabbro.dev/v1/instances", NULL, NULL, 200},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(answer) answer =
                        ask_with(world, cases[i].token, cases[i].method, cases[i].path, cases[i].headers, cases[i].body);

                if (answer->status != cases[i].status)
                        g_error("case %zu: status %d: %s", i, answer->status, answer->body->str);
        }
}

static void a_deleted_token_is_refused_at_once(void)
{
        g_auto(GStrv) parts = g_strsplit(world->user, ".", 0);
        struct store_op op = {.verb = STORE_DELETE, .kind = &api_token_kind, .name = parts[1]};
        struct store_txn txn = {.ops = &op, .n_ops = 1};
        g_autoptr(answer) before = ask_with(world, world->user, "GET", "/version", NULL, NULL), after = NULL;

        g_assert_cmpint(before->status, ==, 200);
        g_assert_cmpint(store_commit(world->store, &txn, NULL, NULL, NULL), ==, 0);
        world_run(world);
        after = ask_with(world, world->user, "GET", "/version", NULL, NULL);
        g_assert_cmpint(after->status, ==, 401);
}

static void self_reviews_are_answered_by_the_authoriser(void)
{
#define SSAR "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
#define ASK(GROUP, RESOURCE, VERB)                                                                                                 \
        "{\"kind\":\"SelfSubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/v1\",\"spec\":{\"resourceAttributes\":{"      \
        "\"verb\":\"" VERB "\",\"group\":\"" GROUP "\",\"resource\":\"" RESOURCE "\"}}}"
        static const struct {
                bool admin;
                const char *body;
                bool allowed;
        } cases[] = {
                {true, ASK("gabbro.dev", "virtualmachines", "create"), true},
                {true, ASK("virtualization.deckhouse.io", "virtualmachines", "create"), true},
                {true, ASK("host.gabbro.dev", "instances", "create"), false},
                {true, ASK("gabbro.dev", "tokens", "get"), false},
                {true, ASK("*", "*", "*"), true},
                {false, ASK("gabbro.dev", "virtualmachines", "get"), false},
                {false, "{\"spec\":{\"nonResourceAttributes\":{\"path\":\"/livez\",\"verb\":\"get\"}}}", true},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(answer) answer =
                        ask_with(world, cases[i].admin ? world->admin : world->user, "POST", SSAR, NULL, cases[i].body);

                g_test_message("%zu: %s", i, answer->body->str);
                g_assert_cmpint(answer->status, ==, 201);
                g_assert_cmpint(json_bool(json_find(answer->root, "status", "allowed", NULL), !cases[i].allowed), ==,
                                cases[i].allowed);
        }
        g_autoptr(answer) rules = ask(world, "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "{\"spec\":{}}");
        g_assert_cmpint(rules->status, ==, 201);
        g_assert_cmpstr(answer_text(rules, "/status/resourceRules/0/verbs/0"), ==, "*");
}

/* --- lists
 * ----------------------------------------------------------------------------------------------------------------------------- */

static void put_maps(unsigned n)
{
        for (unsigned i = 0; i < n; i++) {
                g_autofree char *body = g_strdup_printf(
                        "{\"metadata\":{\"name\":\"m%02u\",\"labels\":{\"odd\":\"%s\"}},\"data\":{}}", i, i % 2 ? "yes" : "no");
                g_autoptr(answer) answer = ask(world, "POST", MAPS, body);

                g_assert_cmpint(answer->status, ==, 201);
        }
}

static void pages_of_a_list_join_without_gap_or_double(void)
{
        g_autofree char *token = g_strdup("");
        g_autofree char *revision = NULL;
        unsigned seen = 0;

        put_maps(7);
        for (unsigned page = 0; page < 3; page++) {
                g_autofree char *path = g_strdup_printf(MAPS "?limit=3&continue=%s", token);
                g_autoptr(answer) answer = ask(world, "GET", path, NULL);
                const struct json_value *items = json_get(answer->root, "items");

                g_assert_cmpint(answer->status, ==, 200);
                for (const struct json_value *item = json_first(items); item; item = json_next(item)) {
                        g_autofree char *name = g_strdup_printf("m%02u", seen++);

                        g_assert_cmpstr(json_find_string(item, "metadata", "name", NULL), ==, name);
                }
                g_assert_cmpstr(answer_text(answer, "/metadata/remainingItemCount"), ==, page == 0 ? "4" : page == 1 ? "1" : "");
                /* Every page names the revision of the first: a watch from there misses nothing. */
                if (page == 0)
                        revision = g_strdup(answer_text(answer, "/metadata/resourceVersion"));
                g_assert_cmpstr(answer_text(answer, "/metadata/resourceVersion"), ==, revision);
                g_free(token);
                token = g_strdup(answer_text(answer, "/metadata/continue"));
                g_assert_cmpint(*token != 0, ==, page < 2);
                /* A write between the pages does not invalidate the token. */
                g_autoptr(answer) write =
                        ask(world, "PATCH", MAPS "/m00", page % 2 ? "{\"data\":{\"a\":\"1\"}}" : "{\"data\":{\"a\":\"2\"}}");
                g_assert_cmpint(write->status, ==, 200);
        }
        g_assert_cmpuint(seen, ==, 7);
}

static void selectors_choose_objects_of_a_list(void)
{
        g_autoptr(answer) odd = NULL, one = NULL, none = NULL, page = NULL;

        put_maps(6);
        odd = ask(world, "GET", MAPS "?labelSelector=odd%3Dyes", NULL);
        g_assert_cmpuint(json_length(json_get(odd->root, "items")), ==, 3);
        one = ask(world, "GET", MAPS "?fieldSelector=metadata.name%3Dm03", NULL);
        g_assert_cmpuint(json_length(json_get(one->root, "items")), ==, 1);
        none = ask(world, "GET", MAPS "?fieldSelector=metadata.name%3Dm03&labelSelector=odd%3Dno", NULL);
        g_assert_cmpuint(json_length(json_get(none->root, "items")), ==, 0);
        page = ask(world, "GET", MAPS "?labelSelector=odd%3Dyes&limit=2", NULL);
        g_assert_cmpuint(json_length(json_get(page->root, "items")), ==, 2);
        g_assert_cmpstr(answer_text(page, "/metadata/remainingItemCount"), ==, "");
        g_assert_cmpstr(answer_text(page, "/metadata/continue"), !=, "");
}

static void a_long_list_is_streamed_and_whole(void)
{
        g_autofree char *filler = g_strnfill(60000, 'x');
        g_autoptr(answer) list = NULL, table = NULL;

        for (unsigned i = 0; i < 60; i++) {
                g_autofree char *name = g_strdup_printf("m%02u", i);
                g_autofree char *body =
                        g_strdup_printf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\",\"namespace\":"
                                        "\"default\",\"uid\":\"%s\"},\"data\":{\"a\":\"%s\"}}",
                                        name, name, filler);

                world_put(world, &api_config_map_kind, "default", name, body);
        }
        list = ask(world, "GET", MAPS, NULL);
        g_assert_nonnull(strcasestr(list->headers, "chunked"));
        g_assert_cmpuint(json_length(json_get(list->root, "items")), ==, 60);
        table = ask_with(world, world->admin, "GET", MAPS, "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n", NULL);
        g_assert_cmpuint(json_length(json_get(table->root, "rows")), ==, 60);
}

#define AS_TABLE "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json\r\n"

static void tables_carry_columns_cells_and_metadata(void)
{
        g_autoptr(answer) create = ask(world, "POST", VMS, VM("a", ",\"labels\":{\"k\":\"v\"}")), table = NULL, object = NULL,
                          none = NULL, one = NULL;

        g_assert_cmpint(create->status, ==, 201);
        table = ask_with(world, world->admin, "GET", VMS "?limit=500", AS_TABLE, NULL);
        g_assert_cmpstr(answer_text(table, "/kind"), ==, "Table");
        g_assert_cmpstr(answer_text(table, "/apiVersion"), ==, "meta.k8s.io/v1");
        g_assert_cmpstr(answer_text(table, "/columnDefinitions/0/name"), ==, "Name");
        g_assert_cmpstr(answer_text(table, "/columnDefinitions/0/format"), ==, "name");
        g_assert_cmpstr(answer_text(table, "/rows/0/cells/0"), ==, "a");
        g_assert_cmpstr(answer_text(table, "/rows/0/object/kind"), ==, "PartialObjectMetadata");
        g_assert_cmpstr(answer_text(table, "/rows/0/object/metadata/labels/k"), ==, "v");
        object = ask_with(world, world->admin, "GET", VMS "?includeObject=Object", AS_TABLE, NULL);
        g_assert_cmpstr(answer_text(object, "/rows/0/object/spec/cpu/cores"), ==, "2");
        none = ask_with(world, world->admin, "GET", VMS "?includeObject=None", AS_TABLE, NULL);
        g_assert_null(json_pointer_get(none->root, "/rows/0/object"));
        one = ask_with(world, world->admin, "GET", ALIAS_VMS "/a?includeObject=Object", AS_TABLE, NULL);
        g_assert_cmpstr(answer_text(one, "/rows/0/object/apiVersion"), ==, "virtualization.deckhouse.io/v1alpha2");
}

/* D63, D64: the columns of `get vm` and `get vm -o wide`. */
static void the_columns_of_a_machine_are_those_asked_for(void)
{
        g_autoptr(answer) table = ask_with(world, world->admin, "GET", VMS, AS_TABLE, NULL);
        g_autoptr(GString) plain = g_string_new(NULL), wide = g_string_new(NULL);

        for (const struct json_value *column = json_first(json_get(table->root, "columnDefinitions")); column;
             column = json_next(column)) {
                g_autofree char *name = g_ascii_strup(json_find_string(column, "name", NULL), -1);
                int64_t priority = 0;

                json_int64(json_get(column, "priority"), &priority);
                g_string_append_printf(wide, "%s,", name);
                if (priority == 0)
                        g_string_append_printf(plain, "%s,", name);
        }
        g_assert_cmpstr(plain->str, ==, "NAME,PHASE,NODE,IPADDRESS,AGE,");
        g_assert_cmpstr(wide->str, ==, "NAME,PHASE,CORES,COREFRACTION,MEMORY,NEED RESTART,AGENT,MIGRATABLE,NODE,IPADDRESS,AGE,");
}

/* --- writes
 * ---------------------------------------------------------------------------------------------------------------------------- */

static void what_the_server_sets_cannot_be_sent(void)
{
        g_autoptr(answer) create =
                ask(world, "POST", VMS,
                    VM("a", ",\"uid\":\"mine\",\"creationTimestamp\":\"2001-01-01T00:00:00Z\",\"generation\":7,"
                            "\"deletionTimestamp\":\"2001-01-01T00:00:00Z\",\"selfLink\":\"x\",\"managedFields\":[]"));
        g_autofree char *uid = g_strdup(answer_text(create, "/metadata/uid"));
        g_autoptr(answer) patch = NULL, other_uid = NULL, name = NULL;

        g_assert_cmpint(create->status, ==, 201);
        g_assert_true(uuid_valid(uid));
        g_assert_cmpstr(answer_text(create, "/metadata/creationTimestamp"), !=, "2001-01-01T00:00:00Z");
        g_assert_cmpstr(answer_text(create, "/metadata/generation"), ==, "1");
        g_assert_cmpstr(answer_text(create, "/metadata/deletionTimestamp"), ==, "");
        g_assert_null(json_pointer_get(create->root, "/metadata/selfLink"));
        g_assert_cmpstr(answer_text(create, "/metadata/managedFields/0/manager"), ==, "unknown");
        g_assert_null(json_pointer_get(create->root, "/status"));
        patch = ask(world, "PATCH", VMS "/a",
                    "{\"metadata\":{\"creationTimestamp\":\"2001-01-01T00:00:00Z\",\"generation\":50,\"deletionTimestamp\":"
                    "\"2001-01-01T00:00:00Z\",\"labels\":{\"a\":\"b\"}},\"status\":{\"phase\":\"Running\"}}");
        g_assert_cmpint(patch->status, ==, 200);
        g_assert_cmpstr(answer_text(patch, "/metadata/uid"), ==, uid);
        g_assert_cmpstr(answer_text(patch, "/metadata/generation"), ==, "1");
        g_assert_cmpstr(answer_text(patch, "/metadata/deletionTimestamp"), ==, "");
        g_assert_null(json_pointer_get(patch->root, "/status"));
        other_uid = ask(world, "PATCH", VMS "/a", "{\"metadata\":{\"uid\":\"mine\"}}");
        g_assert_cmpint(other_uid->status, ==, 409);
        name = ask(world, "PATCH", VMS "/a", "{\"metadata\":{\"name\":\"b\"}}");
        g_assert_cmpint(name->status, ==, 400);
}

static void status_changes_only_by_its_subresource(void)
{
        static const struct row rows[] = {
                {"POST", VMS, VM("a", ""), 201, NULL, NULL},
                {"PATCH", VMS "/a/status",
                 "{\"status\":{\"phase\":\"Running\"},\"spec\":{\"cpu\":{\"cores\":8}},\"metadata\":{\"labels\":{\"x\":\"y\"}}}",
                 200, "/status/phase", "Running"},
                {"GET", VMS "/a", NULL, 200, "/spec/cpu/cores", "2"},
                {"GET", VMS "/a", NULL, 200, "/metadata/labels/x", ""},
                {"GET", VMS "/a/status", NULL, 200, "/metadata/generation", "1"},
                {"PUT", VMS "/a", VM("a", ""), 200, "/status/phase", "Running"},
                {"PATCH", VMS "/a/status", "{\"status\":{\"phase\":\"Flying\"}}", 422, "/details/causes/0/field", "status.phase"},
                {"PATCH", VMS "/a/status", "{\"status\":null}", 200, "/status", ""},
                {"PUT", VMS "/a/status", "{\"status\":{\"phase\":\"Stopped\"}}", 200, "/status/phase", "Stopped"},
        };

        RUN_ROWS(rows);
}

static void a_stale_revision_is_a_conflict(void)
{
        g_autoptr(answer) create = ask(world, "POST", VMS, VM("a", "")), put = NULL, patch = NULL, good = NULL, same = NULL,
                          delete = NULL;
        g_autofree char *revision = g_strdup(answer_text(create, "/metadata/resourceVersion")), *body = NULL;

        good = ask(world, "PATCH", VMS "/a", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
        g_assert_cmpint(good->status, ==, 200);
        body = g_strdup_printf("{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"%s\"}," SPEC "}", revision);
        put = ask(world, "PUT", VMS "/a", body);
        g_assert_cmpint(put->status, ==, 409);
        g_assert_cmpstr(
                answer_text(put, "/message"), ==,
                "Operation cannot be fulfilled on virtualmachines.gabbro.dev \"a\": the object has been modified; please apply "
                "your changes to the latest version and try again");
        patch = ask(world, "PATCH", VMS "/a", body);
        g_assert_cmpint(patch->status, ==, 409);
        /* Nothing differs: nothing is written. */
        same = ask(world, "PATCH", VMS "/a", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
        g_assert_cmpstr(answer_text(same, "/metadata/resourceVersion"), ==, answer_text(good, "/metadata/resourceVersion"));
        g_free(body);
        body = g_strdup_printf("{\"preconditions\":{\"resourceVersion\":\"%s\"}}", revision);
        delete = ask(world, "DELETE", VMS "/a", body);
        g_assert_cmpint(delete->status, ==, 409);
}

static void patches_of_the_same_object_at_once_all_count(void)
{
        enum { N = 20 };
        g_autoptr(GPtrArray) bodies = g_ptr_array_new_with_free_func(g_free);
        struct answer *answers[N];
        g_autoptr(answer) create = ask(world, "POST", MAPS, MAP("a")), all = NULL;

        g_assert_cmpint(create->status, ==, 201);
        for (unsigned i = 0; i < N; i++)
                g_ptr_array_add(bodies, g_strdup_printf("{\"data\":{\"k%u\":\"v\"}}", i));
        ask_together(world, "PATCH", MAPS "/a", (const char *const *)bodies->pdata, N, answers);
        for (unsigned i = 0; i < N; i++) {
                g_assert_cmpint(answers[i]->status, ==, 200);
                answer_free(answers[i]);
        }
        all = ask(world, "GET", MAPS "/a", NULL);
        g_assert_cmpuint(json_length(json_get(all->root, "data")), ==, N + 1);
}

static void the_same_manifest_at_once_is_created_once(void)
{
        enum { N = 8 };
        const char *bodies[N];
        struct answer *answers[N];
        unsigned created = 0, refused = 0;

        for (unsigned i = 0; i < N; i++)
                bodies[i] = VM("a", "");
        ask_together(world, "POST", VMS, bodies, N, answers);
        for (unsigned i = 0; i < N; i++) {
                created += answers[i]->status == 201;
                refused += answers[i]->status == 409;
                answer_free(answers[i]);
        }
        g_assert_cmpuint(created, ==, 1);
        g_assert_cmpuint(refused, ==, N - 1);
}

static void a_client_that_leaves_has_written_or_not_and_harms_nobody(void)
{
        static const struct row rows[] = {{"GET", MAPS, NULL, 200, "/kind", "ConfigMapList"},
                                          {"DELETE", MAPS, NULL, 200, NULL, NULL}};

        for (unsigned i = 0; i < 30; i++) {
                g_autofree char *body = g_strdup_printf("{\"metadata\":{\"name\":\"m%u\"}}", i);

                ask_and_leave(world, "POST", MAPS, body);
                ask_and_leave(world, "PATCH", MAPS "/m0", "{\"data\":{\"x\":\"y\"}}");
                ask_and_leave(world, "GET", MAPS, NULL);
                ask_and_leave(world, "GET", MAPS "?watch=true", NULL);
                ask_and_leave(world, "DELETE", MAPS "?labelSelector=nothing", NULL);
                ask_and_leave(world, "DELETE", MAPS "/m1", NULL);
        }
        RUN_ROWS(rows);
}

static void a_dry_run_answers_and_writes_nothing(void)
{
        uint64_t before;
        static const struct row prepare[] = {{"POST", VMS, VM("a", ",\"finalizers\":[\"x.io/f\"]"), 201, NULL, NULL}};
        static const struct row rows[] = {
                {"POST", VMS "?dryRun=All", VM("b", ""), 201, "/spec/osType", "Generic"},
                {"POST", VMS "?dryRun=All", VM("a", ""), 409, NULL, NULL},
                {"POST", VMS "?dryRun=All", "{\"metadata\":{\"name\":\"x\"},\"spec\":{}}", 422, NULL, NULL},
                {"PATCH", VMS "/a?dryRun=All", "{\"spec\":{\"cpu\":{\"cores\":4}}}", 200, "/metadata/generation", "2"},
                {"PUT", VMS "/a?dryRun=All", VM("a", ""), 200, NULL, NULL},
                {"DELETE", VMS "/a?dryRun=All", NULL, 200, "/metadata/deletionGracePeriodSeconds", "0"},
                {"DELETE", VMS "/a", "{\"dryRun\":[\"All\"]}", 200, NULL, NULL},
                {"DELETE", VMS "?dryRun=All", NULL, 200, "/status", "Success"},
                {"GET", VMS "/b", NULL, 404, NULL, NULL},
                {"GET", VMS "/a", NULL, 200, "/metadata/deletionTimestamp", ""},
        };

        RUN_ROWS(prepare);
        before = store_revision(world->store);
        RUN_ROWS(rows);
        g_assert_cmpuint(store_revision(world->store), ==, before);
}

static void finalizers_hold_a_deleted_object(void)
{
        static const struct row rows[] = {
                {"POST", VMS, VM("a", ",\"finalizers\":[\"x.io/f\"]"), 201, NULL, NULL},
                {"DELETE", VMS "/a", NULL, 200, "/kind", "VirtualMachine"},
                {"DELETE", VMS "/a", NULL, 200, "/metadata/deletionGracePeriodSeconds", "0"},
                {"GET", VMS "/a", NULL, 200, "/metadata/finalizers/0", "x.io/f"},
                {"POST", VMS, VM("a", ""), 409, NULL, NULL},
                {"PATCH", VMS "/a", "{\"metadata\":{\"finalizers\":[\"x.io/f\",\"x.io/g\"]}}", 422, "/details/causes/0/field",
                 "metadata.finalizers"},
                {"PATCH", VMS "/a", "{\"metadata\":{\"finalizers\":[\"not a finalizer\"]}}", 422, NULL, NULL},
                {"PATCH", VMS "/a", "{\"metadata\":{\"finalizers\":null}}", 200, "/kind", "VirtualMachine"},
                {"GET", VMS "/a", NULL, 404, NULL, NULL},
        };

        RUN_ROWS(rows);
}

static void a_delete_of_another_uid_is_refused(void)
{
        static const struct row rows[] = {
                {"POST", VMS, VM("a", ""), 201, NULL, NULL},
                {"DELETE", VMS "/a", "{\"preconditions\":{\"uid\":\"other\"}}", 409, "/reason", "Conflict"},
                {"DELETE", VMS "/a?propagationPolicy=Background", NULL, 200, "/details/kind", "virtualmachines"},
        };

        RUN_ROWS(rows);
}

/* D17: what becomes of the dependents stands in the finalizers, where the garbage collector reads it. */
static void a_delete_says_what_becomes_of_dependents(void)
{
        static const struct row rows[] = {
                {"POST", VMS, VM("a", ""), 201, NULL, NULL},
                {"DELETE", VMS "/a", "{\"propagationPolicy\":\"Orphan\",\"orphanDependents\":true}", 422, NULL, NULL},
                {"DELETE", VMS "/a", "{\"gracePeriodSeconds\":\"soon\"}", 400, NULL, NULL},
                {"DELETE", VMS "/a?gracePeriodSeconds=soon", NULL, 400, NULL, NULL},
                {"DELETE", VMS "/a", "{\"propagationPolicy\":\"Foreground\",\"dryRun\":[\"All\"]}", 200, "/metadata/finalizers/0",
                 "foregroundDeletion"},
                {"GET", VMS "/a", NULL, 200, "/metadata/finalizers", ""},
                {"DELETE", VMS "/a?propagationPolicy=Foreground&gracePeriodSeconds=30", NULL, 200, "/metadata/finalizers/0",
                 "foregroundDeletion"},
                {"DELETE", VMS "/a", NULL, 200, "/metadata/finalizers/0", "foregroundDeletion"},
                {"DELETE", VMS "/a", "{\"orphanDependents\":true}", 200, "/metadata/finalizers/0", "orphan"},
                {"DELETE", VMS "/a", "{\"orphanDependents\":false}", 200, "/status", "Success"},
                {"GET", VMS "/a", NULL, 404, NULL, NULL},
                {"POST", VMS, VM("b", ",\"finalizers\":[\"x.io/f\"]"), 201, NULL, NULL},
                {"DELETE", VMS "/b?propagationPolicy=Orphan", NULL, 200, "/metadata/finalizers/1", "orphan"},
                {"DELETE", VMS "/b?propagationPolicy=Background", NULL, 200, "/metadata/finalizers/0", "x.io/f"},
        };

        RUN_ROWS(rows);
}

/* Quantities are stored in one form, given as text or as a number, and a change of spelling is none. */
static void quantities_are_stored_in_one_form(void)
{
#define SIZED(size) "{\"spec\":{\"memory\":{\"size\":" size "}}}"
        static const struct row rows[] = {
                {"POST", VMS, VM("a", ""), 201, "/spec/memory/size", "1Gi"},
                {"PATCH", VMS "/a", SIZED("\"2048Mi\""), 200, "/spec/memory/size", "2Gi"},
                {"PATCH", VMS "/a", SIZED("\"2097152Ki\""), 200, "/metadata/generation", "2"},
                {"PATCH", VMS "/a", SIZED("3221225472"), 200, "/spec/memory/size", "3221225472"},
                {"PATCH", VMS "/a", SIZED("\"1.5Gi\""), 200, "/spec/memory/size", "1536Mi"},
                {"PATCH", VMS "/a", SIZED("\"1e9\""), 200, "/spec/memory/size", "1e9"},
                {"PATCH", VMS "/a", SIZED("\"9Ei\""), 422, NULL, NULL},
                {"PATCH", VMS "/a", SIZED("-1"), 422, NULL, NULL},
                {"PATCH", VMS "/a", SIZED("\"1gi\""), 422, NULL, NULL},
                {"GET", VMS "/a", NULL, 200, "/spec/memory/size", "1e9"},
        };

        RUN_ROWS(rows);
}

/* Attack 15: owners that can be none are refused when they are written. */
static void owners_that_can_be_none_are_refused(void)
{
#define OWNED(name, owners) "{\"metadata\":{\"name\":\"" name "\",\"ownerReferences\":[" owners "]}}"
#define OWNER(version, kind, name, uid, more)                                                                                      \
        "{\"apiVersion\":\"" version "\",\"kind\":\"" kind "\",\"name\":\"" name "\",\"uid\":\"" uid "\"" more "}"
        static const struct row rows[] = {
                {"POST", MAPS, OWNED("a", OWNER("v1", "ConfigMap", "x", "", "")), 422, NULL, NULL},
                {"POST", MAPS, OWNED("a", OWNER("v1", "ConfigMap", "", "u", "")), 422, NULL, NULL},
                {"POST", MAPS, OWNED("a", OWNER("", "ConfigMap", "x", "u", "")), 422, NULL, NULL},
                {"POST", MAPS, OWNED("a", "{\"kind\":\"ConfigMap\",\"name\":\"x\"}"), 422, NULL, NULL},
                {"POST", MAPS, OWNED("a", OWNER("v1", "Event", "x", "u", "")), 422, NULL, NULL},
                {"POST", MAPS,
                 OWNED("a", OWNER("v1", "ConfigMap", "x", "u", ",\"controller\":true") "," OWNER("v1", "ConfigMap", "y", "v",
                                                                                                 ",\"controller\":true")),
                 422, NULL, NULL},
                {"POST", MAPS, OWNED("a", OWNER("v1", "ConfigMap", "x", "u", "") "," OWNER("v1", "ConfigMap", "y", "u", "")), 422,
                 NULL, NULL},
                {"POST", "/api/v1/nodes", OWNED("n", OWNER("v1", "ConfigMap", "x", "u", "")), 422, NULL, NULL},
                {"POST", "/api/v1/nodes", OWNED("n", OWNER("v1", "Namespace", "x", "u", "")), 201, NULL, NULL},
                {"POST", MAPS,
                 OWNED("a",
                       OWNER("v1", "ConfigMap", "x", "u", ",\"controller\":true") "," OWNER("apps/v1", "Deployment", "y", "v", "")),
                 201, NULL, NULL},
                {"PATCH", MAPS "/a", "{\"metadata\":{\"ownerReferences\":null}}", 200, "/metadata/ownerReferences", ""}, /* D15 */
        };

        RUN_ROWS(rows);
}

static void a_collection_is_deleted_by_selector_in_bounded_steps(void)
{
        g_autoptr(answer) odd = NULL, rest = NULL, all = NULL, empty = NULL;

        put_maps(60);
        for (unsigned i = 60; i < 230; i++) {
                g_autofree char *name = g_strdup_printf("m%03u", i);
                g_autofree char *body =
                        g_strdup_printf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\"}}", name);

                world_put(world, &api_config_map_kind, "default", name, body);
        }
        odd = ask(world, "DELETE", MAPS "?labelSelector=odd%3Dyes", NULL);
        g_assert_cmpstr(answer_text(odd, "/status"), ==, "Success");
        rest = ask(world, "GET", MAPS, NULL);
        g_assert_cmpuint(json_length(json_get(rest->root, "items")), ==, 200);
        all = ask(world, "DELETE", MAPS, NULL);
        g_assert_cmpint(all->status, ==, 200);
        empty = ask(world, "GET", MAPS, NULL);
        g_assert_cmpuint(json_length(json_get(empty->root, "items")), ==, 0);
}

static void a_name_is_made_from_its_prefix(void)
{
        g_autoptr(answer) a = ask(world, "POST", MAPS, "{\"metadata\":{\"generateName\":\"job-\"}}");
        g_autoptr(answer) b = ask(world, "POST", MAPS, "{\"metadata\":{\"generateName\":\"job-\"}}");
        g_autoptr(answer) neither = ask(world, "POST", MAPS, "{\"metadata\":{}}");

        g_assert_cmpint(a->status, ==, 201);
        g_assert_true(g_str_has_prefix(answer_text(a, "/metadata/name"), "job-"));
        g_assert_cmpuint(strlen(answer_text(a, "/metadata/name")), ==, 9);
        g_assert_cmpstr(answer_text(a, "/metadata/name"), !=, answer_text(b, "/metadata/name"));
        g_assert_cmpint(neither->status, ==, 422);
}

static void unknown_fields_are_refused_dropped_or_kept(void)
{
#define TYPO                                                                                                                       \
        "{\"metadata\":{\"name\":\"t\"},\"spec\":{\"virtualMachineClassName\":\"g\",\"cpu\":{\"cores\":1},\"memory\":{\"size\":"   \
        "\"1Gi\"},\"blockDeviceRefs\":[{\"kind\":\"VirtualDisk\",\"name\":\"d\"}],\"tpyo\":1}}"
        static const struct row rows[] = {
                {"POST", VMS "?fieldValidation=Strict", TYPO, 422, "/details/causes/0/field", "spec.tpyo"},
                {"POST", VMS "?dryRun=All", TYPO, 201, "/spec/tpyo", ""},
                {"POST", VMS "?dryRun=All&fieldValidation=Warn", TYPO, 201, "/spec/tpyo", ""},
                {"POST", VMS "?fieldValidation=Ignore", TYPO, 201, "/spec/tpyo", ""},
                {"POST", VMS "?fieldValidation=Nonsense", TYPO, 422, "/details/causes/0/field", "fieldValidation"},
                {"POST", MAPS, "{\"metadata\":{\"name\":\"a\"},\"future\":1}", 201, "/future", "1"},
                {"POST", MAPS "?fieldValidation=Strict", "{\"metadata\":{\"name\":\"b\"},\"future\":1}", 422, NULL, NULL},
        };

        RUN_ROWS(rows);
}

static void unknown_fields_of_a_newer_program_survive(void)
{
        g_autoptr(answer) good = NULL, bad = NULL;

        world_put(
                world, &api_virtual_machine_kind, "default", "a",
                "{\"apiVersion\":\"gabbro.dev/"
                "v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"a\",\"namespace\":\"default\",\"uid\":\"u\","
                "\"generation\":1},\"spec\":{\"virtualMachineClassName\":\"g\",\"cpu\":{\"cores\":1},\"memory\":{\"size\":\"1Gi\"},"
                "\"blockDeviceRefs\":[{\"kind\":\"VirtualDisk\",\"name\":\"d\"}],\"futureField\":{\"x\":1.50}}}");
        good = ask(world, "PATCH", VMS "/a", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
        g_assert_cmpint(good->status, ==, 200);
        g_assert_nonnull(strstr(good->body->str, "\"futureField\":{\"x\":1.50}"));
        bad = ask(world, "PATCH", VMS "/a?fieldValidation=Strict", "{\"spec\":{\"tpyo\":1}}");
        g_assert_cmpint(bad->status, ==, 422);
}

static void in_a_new_world(gconstpointer test)
{
        world = world_new(NULL);
        ((void (*)(void))test)();
        world = world_free(world);
}

#define ADD(NAME) g_test_add_data_func("/api/" #NAME, (gconstpointer)(NAME), in_a_new_world)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        ADD(an_object_lives_through_all_verbs);
        ADD(wrong_requests_get_their_status_and_words);
        ADD(every_fault_is_told_at_once);
        ADD(credentials_decide_before_anything_is_read);
        ADD(a_deleted_token_is_refused_at_once);
        ADD(self_reviews_are_answered_by_the_authoriser);
        ADD(pages_of_a_list_join_without_gap_or_double);
        ADD(selectors_choose_objects_of_a_list);
        ADD(a_long_list_is_streamed_and_whole);
        ADD(tables_carry_columns_cells_and_metadata);
        ADD(the_columns_of_a_machine_are_those_asked_for);
        ADD(what_the_server_sets_cannot_be_sent);
        ADD(status_changes_only_by_its_subresource);
        ADD(a_stale_revision_is_a_conflict);
        ADD(patches_of_the_same_object_at_once_all_count);
        ADD(the_same_manifest_at_once_is_created_once);
        ADD(a_client_that_leaves_has_written_or_not_and_harms_nobody);
        ADD(a_dry_run_answers_and_writes_nothing);
        ADD(finalizers_hold_a_deleted_object);
        ADD(a_delete_of_another_uid_is_refused);
        ADD(a_delete_says_what_becomes_of_dependents);
        ADD(owners_that_can_be_none_are_refused);
        ADD(quantities_are_stored_in_one_form);
        ADD(a_collection_is_deleted_by_selector_in_bounded_steps);
        ADD(a_name_is_made_from_its_prefix);
        ADD(unknown_fields_are_refused_dropped_or_kept);
        ADD(unknown_fields_of_a_newer_program_survive);
        return g_test_run();
}
