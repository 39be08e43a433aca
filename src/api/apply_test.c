/* SPDX-License-Identifier: Apache-2.0 */
#include "api/world_test.h"

#include <string.h>

/* Who owns which field, and server-side apply, from outside. */

#define VMS       "/apis/gabbro.dev/v1/namespaces/default/virtualmachines"
#define ALIAS_VMS "/apis/virtualization.deckhouse.io/v1alpha2/namespaces/default/virtualmachines"
#define MAPS      "/api/v1/namespaces/default/configmaps"
#define SECRETS   "/api/v1/namespaces/default/secrets"

#define MAP(NAME, DATA) "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"" NAME "\"},\"data\":{" DATA "}}"
#define VM_SPEC(EXTRA)  "\"spec\":{\"virtualMachineClassName\":\"g\",\"cpu\":{\"cores\":2},\"memory\":{\"size\":\"1Gi\"}" EXTRA "}"
#define DISK(NAME)      "{\"kind\":\"VirtualDisk\",\"name\":\"" NAME "\"}"
#define VM(DISKS)                                                                                                                  \
        "{\"apiVersion\":\"gabbro.dev/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"a\"}," VM_SPEC(                    \
                ",\"blockDeviceRefs\":[" DISKS "]") "}"

static struct world *world;

/* An apply as @manager; @query: more of it, "&force=true". */
static struct answer *apply(const char *manager, const char *path, const char *query, const char *body)
{
        g_autofree char *full = g_strdup_printf("%s?fieldManager=%s%s", path, manager, query);

        return ask_with(world, world->admin, "PATCH", full, "Content-Type: application/apply-patch+yaml\r\n", body);
}

static struct answer *patch(const char *manager, const char *path, const char *body)
{
        g_autofree char *full = g_strdup_printf("%s?fieldManager=%s", path, manager);

        return ask_with(world, world->admin, "PATCH", full, "Content-Type: application/merge-patch+json\r\n", body);
}

static void expect(const struct answer *answer, int status)
{
        if (answer->status != status)
                g_error("status %d, expected %d: %s", answer->status, status, answer->body->str);
}

/* The fields of a manager as text, or "" when it owns nothing. */
static char *fields_of_manager(const struct answer *answer, const char *manager, const char *operation)
{
        const struct json_value *list = json_find(answer->root, "metadata", "managedFields", NULL);

        for (const struct json_value *entry = json_first(list); entry; entry = json_next(entry))
                if (strcmp(json_find_string(entry, "manager", NULL), manager) == 0 &&
                    strcmp(json_find_string(entry, "operation", NULL), operation) == 0)
                        return json_to_text(json_get(entry, "fieldsV1"));
        return g_strdup("");
}

static void expect_fields(const struct answer *answer, const char *manager, const char *operation, const char *fields)
{
        g_autofree char *found = fields_of_manager(answer, manager, operation);

        g_assert_cmpstr(found, ==, fields);
}

static void expect_data(const struct answer *answer, const char *data)
{
        g_autofree char *text = json_get(answer->root, "data") ? json_to_text(json_get(answer->root, "data")) : g_strdup("");

        g_assert_cmpstr(text, ==, data);
}

/* --- updates
 * ------------------------------------------------------------------------------------------------------------------------ */

static void updates_are_owned_by_who_made_them(void)
{
        g_autoptr(answer) create = ask_with(world, world->admin, "POST", MAPS, "User-Agent: kubectl/v1.20 (linux)\r\n",
                                            MAP("a", "\"x\":\"1\",\"y\":\"1\""));
        g_autoptr(answer) changed = NULL, removed = NULL;

        expect(create, 201);
        expect_fields(create, "kubectl", "Update", "{\"f:data\":{\".\":{},\"f:x\":{},\"f:y\":{}}}");
        g_assert_cmpstr(answer_text(create, "/metadata/managedFields/0/apiVersion"), ==, "v1");
        g_assert_cmpstr(answer_text(create, "/metadata/managedFields/0/fieldsType"), ==, "FieldsV1");
        changed = patch("other", MAPS "/a", "{\"data\":{\"x\":\"2\"},\"metadata\":{\"labels\":{\"l\":\"v\"}}}");
        expect(changed, 200);
        expect_fields(changed, "kubectl", "Update", "{\"f:data\":{\".\":{},\"f:y\":{}}}");
        expect_fields(changed, "other", "Update", "{\"f:data\":{\"f:x\":{}},\"f:metadata\":{\"f:labels\":{\".\":{},\"f:l\":{}}}}");
        removed = patch("third", MAPS "/a", "{\"data\":{\"x\":null}}");
        expect_fields(removed, "other", "Update", "{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:l\":{}}}}");
        expect_fields(removed, "third", "Update", "");
}

static void a_change_that_changes_nothing_owns_nothing(void)
{
        g_autoptr(answer) create = ask(world, "POST", MAPS, MAP("a", "\"x\":\"1\"")), same = NULL;

        expect(create, 201);
        same = patch("other", MAPS "/a", "{\"data\":{\"x\":\"1\"}}");
        expect(same, 200);
        g_assert_cmpstr(answer_text(same, "/metadata/resourceVersion"), ==, answer_text(create, "/metadata/resourceVersion"));
        expect_fields(same, "other", "Update", "");
}

static void status_belongs_to_its_subresource(void)
{
        g_autoptr(answer) create = ask(world, "POST", VMS, VM(DISK("d"))), status = NULL, spec = NULL;

        expect(create, 201);
        status = patch("reporter", VMS "/a/status", "{\"status\":{\"phase\":\"Running\"}}");
        expect(status, 200);
        expect_fields(status, "reporter", "Update", "{\"f:status\":{\".\":{},\"f:phase\":{}}}");
        spec = patch("someone", VMS "/a", "{\"spec\":{\"cpu\":{\"cores\":4}},\"status\":{\"phase\":\"Stopped\"}}");
        expect_fields(spec, "someone", "Update", "{\"f:spec\":{\"f:cpu\":{\"f:cores\":{}}}}");
        expect_fields(spec, "reporter", "Update", "{\"f:status\":{\".\":{},\"f:phase\":{}}}");
        g_assert_nonnull(strstr(spec->body->str, "\"subresource\":\"status\""));
}

static void old_updaters_are_folded_into_one(void)
{
        g_autoptr(answer) create = ask(world, "POST", MAPS, MAP("a", "\"x\":\"1\"")), last = NULL;
        size_t updates;

        expect(create, 201);
        for (unsigned i = 0; i < 40; i++) {
                g_autofree char *manager = g_strdup_printf("m%u", i), *body = g_strdup_printf("{\"data\":{\"k%u\":\"v\"}}", i);

                world->shift_us += G_USEC_PER_SEC;
                answer_free(last);
                last = patch(manager, MAPS "/a", body);
                expect(last, 200);
        }
        updates = json_length(json_find(last->root, "metadata", "managedFields", NULL));
        g_assert_cmpuint(updates, ==, 10);
        expect_fields(last, "m39", "Update", "{\"f:data\":{\"f:k39\":{}}}");
        expect_fields(last, "m0", "Update", "");
        g_autofree char *folded = fields_of_manager(last, "ancient-changes", "Update");
        g_assert_nonnull(strstr(folded, "\"f:k0\":{}"));
}

static void many_fields_do_not_outgrow_the_object(void)
{
        g_autoptr(GString) body = g_string_new("{\"metadata\":{\"name\":\"a\"},\"data\":{");
        g_autoptr(answer) create = NULL, applied = NULL;

        for (unsigned i = 0; i < 20000; i++)
                g_string_append_printf(body, "%s\"a-rather-long-key-%u\":\"\"", i ? "," : "", i);
        g_string_append(body, "}}");
        create = ask(world, "POST", MAPS, body->str);
        expect(create, 201);
        g_assert_null(json_find(create->root, "metadata", "managedFields", NULL));
        g_assert_cmpuint(json_length(json_get(create->root, "data")), ==, 20000);
        /* What is applied cannot be forgotten: it is refused. */
        applied = apply("ci", MAPS "/a", "&force=true", body->str);
        expect(applied, 422);
        g_assert_cmpstr(answer_text(applied, "/details/causes/0/field"), ==, "metadata.managedFields");
}

#define MINE(OPERATION, MORE)                                                                                                      \
        "{\"metadata\":{\"managedFields\":[{\"manager\":\"me\",\"operation\":\"" OPERATION                                         \
        "\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\"" MORE "}]}}"

static void what_clients_send_as_managed_fields(void)
{
        static const struct {
                const char *patch;
                int status;
                const char *mine, *unknown; /* fields afterwards */
        } cases[] = {
                {"{\"metadata\":{\"managedFields\":null}}", 200, "", "{\"f:data\":{\".\":{},\"f:x\":{}}}"},
                {"{\"metadata\":{\"managedFields\":[]}}", 200, "", "{\"f:data\":{\".\":{},\"f:x\":{}}}"},
                {"{\"metadata\":{\"managedFields\":\"nonsense\"}}", 200, "", "{\"f:data\":{\".\":{},\"f:x\":{}}}"},
                {"{\"metadata\":{\"managedFields\":[1]}}", 200, "", "{\"f:data\":{\".\":{},\"f:x\":{}}}"},
                {MINE("Update", ",\"fieldsV1\":{\"x\":{}}"), 200, "", "{\"f:data\":{\".\":{},\"f:x\":{}}}"},
                {MINE("Update", ",\"fieldsV1\":{\"k:nonsense\":{}}"), 200, "", "{\"f:data\":{\".\":{},\"f:x\":{}}}"},
                {MINE("Update", ",\"fieldsV1\":7"), 200, "", "{\"f:data\":{\".\":{},\"f:x\":{}}}"},
                {MINE("Nonsense", ",\"fieldsV1\":{\"f:data\":{\"f:x\":{}}}"), 422, NULL, NULL},
                {MINE("Update", ",\"fieldsV1\":{\"f:data\":{\"f:x\":{},\"f:absent\":{}}}"), 200, "{\"f:data\":{\"f:x\":{}}}", ""},
                {"{\"metadata\":{\"managedFields\":[{}]}}", 200, "", ""},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *path = g_strdup_printf(MAPS "/c%zu", i),
                                *body = g_strdup_printf("{\"metadata\":{\"name\":\"c%zu\"},\"data\":{\"x\":\"1\"}}", i);
                g_autoptr(answer) create = ask(world, "POST", MAPS, body), sent = NULL;

                expect(create, 201);
                g_test_message("case %zu", i);
                sent = patch("p", path, cases[i].patch);
                expect(sent, cases[i].status);
                if (!cases[i].mine)
                        continue;
                expect_fields(sent, "me", "Update", cases[i].mine);
                expect_fields(sent, "unknown", "Update", cases[i].unknown);
        }
}

static void a_subresource_cannot_set_managed_fields(void)
{
        g_autoptr(answer) create = ask(world, "POST", VMS, VM(DISK("d"))), status = NULL;

        expect(create, 201);
        status = patch("p", VMS "/a/status", "{\"metadata\":{\"managedFields\":[{}]},\"status\":{\"phase\":\"Running\"}}");
        expect(status, 200);
        g_assert_cmpuint(json_length(json_find(status->root, "metadata", "managedFields", NULL)), ==, 2);
}

/* --- apply
 * -------------------------------------------------------------------------------------------------------------------------- */

static void an_apply_creates_changes_and_repeats(void)
{
        g_autoptr(answer) create = apply("ci", VMS "/a", "", VM(DISK("d"))), same = NULL, changed = NULL;

        expect(create, 201);
        g_assert_cmpstr(answer_text(create, "/metadata/generation"), ==, "1");
        /* Defaults belong to nobody. */
        expect_fields(
                create, "ci", "Apply",
                "{\"f:spec\":{\"f:blockDeviceRefs\":{\"k:{\\\"kind\\\":\\\"VirtualDisk\\\",\\\"name\\\":\\\"d\\\"}\":{\".\":{},"
                "\"f:kind\":{},\"f:name\":{}}},\"f:cpu\":{\"f:cores\":{}},\"f:memory\":{\"f:size\":{}},"
                "\"f:virtualMachineClassName\":{}}}");
        world->shift_us += 5 * G_USEC_PER_SEC;
        same = apply("ci", VMS "/a", "", VM(DISK("d")));
        expect(same, 200);
        g_assert_cmpstr(answer_text(same, "/metadata/resourceVersion"), ==, answer_text(create, "/metadata/resourceVersion"));
        g_assert_cmpstr(answer_text(same, "/metadata/managedFields/0/time"), ==,
                        answer_text(create, "/metadata/managedFields/0/time"));
        changed = apply("ci", VMS "/a", "", VM(DISK("e") "," DISK("d")));
        expect(changed, 200);
        g_assert_cmpstr(answer_text(changed, "/spec/blockDeviceRefs/0/name"), ==, "e");
        g_assert_cmpstr(answer_text(changed, "/spec/blockDeviceRefs/1/name"), ==, "d");
        g_assert_cmpstr(answer_text(changed, "/metadata/generation"), ==, "2");
        g_assert_cmpstr(answer_text(changed, "/metadata/managedFields/0/time"), !=,
                        answer_text(create, "/metadata/managedFields/0/time"));
}

static void yaml_is_applied_too(void)
{
        g_autoptr(answer) create =
                apply("ci", MAPS "/a", "", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: \"1\"\n");
        g_autoptr(answer) bad = apply("ci", MAPS "/a", "", "apiVersion: [\n");

        expect(create, 201);
        expect_data(create, "{\"x\":\"1\"}");
        expect(bad, 400);
}

static void what_is_no_longer_applied_goes_unless_others_want_it(void)
{
        g_autoptr(answer) a = apply("a", MAPS "/m", "", MAP("m", "\"x\":\"1\",\"y\":\"1\",\"z\":\"1\"")), b = NULL, less = NULL,
                          none = NULL, foreign = NULL;

        expect(a, 201);
        /* The same value: both own it, no conflict. */
        b = apply("b", MAPS "/m", "", MAP("m", "\"y\":\"1\""));
        expect(b, 200);
        foreign = patch("c", MAPS "/m", "{\"data\":{\"w\":\"1\"}}");
        expect(foreign, 200);
        less = apply("a", MAPS "/m", "", MAP("m", "\"x\":\"1\""));
        expect(less, 200);
        expect_data(less, "{\"x\":\"1\",\"y\":\"1\",\"w\":\"1\"}");
        none = apply("a", MAPS "/m", "", "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"m\"}}");
        expect(none, 200);
        expect_data(none, "{\"y\":\"1\",\"w\":\"1\"}");
        expect_fields(none, "a", "Apply", "");
        expect_fields(none, "b", "Apply", "{\"f:data\":{\"f:y\":{}}}");
}

static void list_elements_have_owners_of_their_own(void)
{
        g_autoptr(answer) a = apply("a", VMS "/a", "", VM(DISK("root") "," DISK("data"))), b = NULL, less = NULL;

        expect(a, 201);
        b = apply(
                "b", VMS "/a", "",
                "{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"x.org/f\"]},\"spec\":{\"blockDeviceRefs\":[" DISK("extra") "]}}");
        expect(b, 200);
        g_assert_cmpuint(json_length(json_find(b->root, "spec", "blockDeviceRefs", NULL)), ==, 3);
        less = apply("a", VMS "/a", "", VM(DISK("root")));
        expect(less, 200);
        g_assert_cmpuint(json_length(json_find(less->root, "spec", "blockDeviceRefs", NULL)), ==, 2);
        g_assert_cmpstr(answer_text(less, "/spec/blockDeviceRefs/1/name"), ==, "extra");
        g_assert_cmpstr(answer_text(less, "/metadata/finalizers/0"), ==, "x.org/f");
        answer_free(b);
        b = apply("b", VMS "/a", "", "{\"metadata\":{\"name\":\"a\"}}");
        expect(b, 200);
        g_assert_cmpuint(json_length(json_find(b->root, "spec", "blockDeviceRefs", NULL)), ==, 1);
        g_assert_null(json_find(b->root, "metadata", "finalizers", NULL));
}

static void conflicts_name_every_field_and_manager(void)
{
        g_autoptr(answer) a = apply("a", MAPS "/m", "", MAP("m", "\"x\":\"1\",\"y\":\"1\"")), edit = NULL, both = NULL, one = NULL,
                          forced = NULL, back = NULL, get = NULL;

        expect(a, 201);
        edit = patch("editor", MAPS "/m", "{\"data\":{\"z\":\"1\"}}");
        expect(edit, 200);
        both = apply("b", MAPS "/m", "", MAP("m", "\"x\":\"2\",\"y\":\"2\",\"z\":\"2\",\"new\":\"2\""));
        expect(both, 409);
        g_assert_cmpstr(answer_text(both, "/reason"), ==, "Conflict");
        g_assert_cmpuint(json_length(json_find(both->root, "details", "causes", NULL)), ==, 3);
        g_assert_cmpstr(answer_text(both, "/details/causes/0/reason"), ==, "FieldManagerConflict");
        g_assert_cmpstr(answer_text(both, "/details/causes/0/field"), ==, ".data.x");
        g_assert_cmpstr(answer_text(both, "/details/causes/0/message"), ==, "conflict with \"a\"");
        g_assert_cmpstr(answer_text(both, "/details/causes/2/message"), ==, "conflict with \"editor\" using v1");
        g_assert_cmpstr(
                answer_text(both, "/message"), ==,
                "Apply failed with 3 conflicts: conflicts with \"a\":\n- .data.x\n- .data.y\nconflicts with \"editor\" using "
                "v1:\n- .data.z");
        get = ask(world, "GET", MAPS "/m", NULL);
        expect_data(get, "{\"x\":\"1\",\"y\":\"1\",\"z\":\"1\"}");
        one = apply("b", MAPS "/m", "", MAP("m", "\"x\":\"2\""));
        expect(one, 409);
        g_assert_cmpstr(answer_text(one, "/message"), ==, "Apply failed with 1 conflict: conflict with \"a\": .data.x");
        forced = apply("b", MAPS "/m", "&force=true", MAP("m", "\"x\":\"2\""));
        expect(forced, 200);
        expect_fields(forced, "a", "Apply", "{\"f:data\":{\"f:y\":{}}}");
        /* Who lost a field learns of it at its next apply. */
        back = apply("a", MAPS "/m", "", MAP("m", "\"x\":\"1\",\"y\":\"1\""));
        expect(back, 409);
}

static void bad_applies_are_refused(void)
{
        static const struct {
                const char *path, *query, *body;
                int status;
                const char *words;
        } cases[] = {
                {MAPS "/m", "", MAP("m", ""), 422, "fieldManager: Required value: is required for apply patch"},
                {MAPS "/m", "?fieldManager=a", MAP("n", ""), 400, "does not match the name"},
                {MAPS "/m", "?fieldManager=a", "{\"apiVersion\":\"v2\",\"metadata\":{\"name\":\"m\"}}", 400, "API version"},
                {MAPS "/m", "?fieldManager=a", "[]", 400, "must be an object"},
                {MAPS "/m", "?fieldManager=a", "", 400, "document"},
                {MAPS "/m", "?fieldManager=a", "{\"metadata\":{\"managedFields\":[{\"manager\":\"x\"}]}}", 400, "must be nil"},
                {MAPS "/m", "?fieldManager=a", "{\"metadata\":{\"name\":\"m\",\"uid\":\"x\"}}", 409, "UID in precondition"},
                {MAPS "/m", "?fieldManager=a", "{\"metadata\":{\"name\":\"m\",\"resourceVersion\":\"1\"}}", 409,
                 "has been modified"},
                {VMS "/a", "?fieldManager=a", VM(DISK("d") "," DISK("d")), 422, "is applied twice"},
                {VMS "/a", "?fieldManager=a", "{\"spec\":{\"cpu\":{\"cores\":\"x\"},\"memory\":7}}", 422, "spec.cpu.cores"},
                {VMS "/a/status", "?fieldManager=a", "{\"status\":{\"phase\":\"Running\"}}", 404, "not found"},
                {VMS "/a", "?fieldManager=a&fieldValidation=Strict", "{\"spec\":{\"nonsense\":1}}", 422, "spec.nonsense"},
                {"/apis/gabbro.dev/v1/namespaces/absent/virtualmachines/a", "?fieldManager=a", VM(DISK("d")), 404, "absent"},
        };
        g_autoptr(answer) force = ask_with(world, world->admin, "PATCH", MAPS "/m?force=true",
                                           "Content-Type: application/merge-patch+json\r\n", "{}");

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *path = g_strconcat(cases[i].path, cases[i].query, NULL);
                g_autoptr(answer) answer = ask_with(world, world->admin, "PATCH", path,
                                                    "Content-Type: application/apply-patch+yaml\r\n", cases[i].body);

                g_test_message("case %zu", i);
                expect(answer, cases[i].status);
                if (!strstr(answer->body->str, cases[i].words))
                        g_error("case %zu: no \"%s\" in %s", i, cases[i].words, answer->body->str);
        }
        expect(force, 422);
}

static void preconditions_of_an_apply(void)
{
        g_autoptr(answer) create = apply("a", MAPS "/m", "", MAP("m", "\"x\":\"1\"")), stale = NULL, good = NULL, other = NULL;
        g_autofree char *body = NULL;

        expect(create, 201);
        stale = apply("a", MAPS "/m", "", "{\"metadata\":{\"name\":\"m\",\"resourceVersion\":\"1\"},\"data\":{\"x\":\"2\"}}");
        expect(stale, 409);
        other = apply("a", MAPS "/m", "", "{\"metadata\":{\"name\":\"m\",\"uid\":\"x\"},\"data\":{\"x\":\"2\"}}");
        expect(other, 409);
        body = g_strdup_printf("{\"metadata\":{\"name\":\"m\",\"uid\":\"%s\",\"resourceVersion\":\"%s\"},\"data\":{\"x\":\"2\"}}",
                               answer_text(create, "/metadata/uid"), answer_text(create, "/metadata/resourceVersion"));
        good = apply("a", MAPS "/m", "", body);
        expect(good, 200);
        expect_fields(good, "a", "Apply", "{\"f:data\":{\"f:x\":{}}}");
}

static void a_dry_run_of_an_apply_writes_nothing(void)
{
        g_autoptr(answer) create = apply("a", MAPS "/m", "&dryRun=All", MAP("m", "\"x\":\"1\"")), absent = NULL, real = NULL,
                          change = NULL, get = NULL, conflict = NULL;

        expect(create, 201);
        expect_fields(create, "a", "Apply", "{\"f:data\":{\"f:x\":{}}}");
        absent = ask(world, "GET", MAPS "/m", NULL);
        expect(absent, 404);
        real = apply("a", MAPS "/m", "", MAP("m", "\"x\":\"1\""));
        expect(real, 201);
        change = apply("a", MAPS "/m", "&dryRun=All", MAP("m", "\"x\":\"2\""));
        expect(change, 200);
        expect_data(change, "{\"x\":\"2\"}");
        conflict = apply("b", MAPS "/m", "&dryRun=All", MAP("m", "\"x\":\"2\""));
        expect(conflict, 409);
        get = ask(world, "GET", MAPS "/m", NULL);
        expect_data(get, "{\"x\":\"1\"}");
        g_assert_cmpstr(answer_text(get, "/metadata/resourceVersion"), ==, answer_text(real, "/metadata/resourceVersion"));
}

static void the_alias_group_owns_under_the_canonical_one(void)
{
        g_autoptr(answer) create = apply("a", ALIAS_VMS "/a", "",
                                         "{\"apiVersion\":\"virtualization.deckhouse.io/v1alpha2\",\"kind\":\"VirtualMachine\","
                                         "\"metadata\":{\"name\":\"a\"}," VM_SPEC(",\"blockDeviceRefs\":[" DISK("d") "]") "}");
        g_autoptr(answer) same = NULL, conflict = NULL;

        expect(create, 201);
        g_assert_cmpstr(answer_text(create, "/apiVersion"), ==, "virtualization.deckhouse.io/v1alpha2");
        g_assert_cmpstr(answer_text(create, "/metadata/managedFields/0/apiVersion"), ==, "gabbro.dev/v1");
        same = apply("a", VMS "/a", "", VM(DISK("d")));
        expect(same, 200);
        g_assert_cmpstr(answer_text(same, "/metadata/resourceVersion"), ==, answer_text(create, "/metadata/resourceVersion"));
        conflict = apply("b", VMS "/a", "", "{\"spec\":{\"cpu\":{\"cores\":4}}}");
        expect(conflict, 409);
}

static void status_is_applied_by_its_subresource(void)
{
        g_autoptr(answer) create = apply("a", VMS "/a", "", VM(DISK("d"))), status = NULL, spec = NULL, gone = NULL;

        expect(create, 201);
        status = apply(
                "r", VMS "/a/status", "",
                "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"A\",\"status\":\"True\"}]},\"spec\":{\"cpu\":{"
                "\"cores\":64}}}");
        expect(status, 200);
        g_assert_cmpstr(answer_text(status, "/status/phase"), ==, "Running");
        g_assert_cmpstr(answer_text(status, "/spec/cpu/cores"), ==, "2");
        spec = apply("a", VMS "/a", "", VM(DISK("d")));
        g_assert_cmpstr(answer_text(spec, "/status/phase"), ==, "Running");
        gone = apply("r", VMS "/a/status", "", "{\"status\":{\"phase\":\"Running\"}}");
        expect(gone, 200);
        g_assert_null(json_find(gone->root, "status", "conditions", NULL));
}

static void secrets_are_applied_in_their_stored_form(void)
{
        g_autoptr(answer) create = apply("a", SECRETS "/s", "", "{\"metadata\":{\"name\":\"s\"},\"stringData\":{\"p\":\"word\"}}"),
                          same = NULL;

        expect(create, 201);
        expect_fields(create, "a", "Apply", "{\"f:data\":{\"f:p\":{}}}");
        expect_data(create, "{\"p\":\"d29yZA==\"}");
        same = apply("a", SECRETS "/s", "", "{\"metadata\":{\"name\":\"s\"},\"stringData\":{\"p\":\"word\"}}");
        g_assert_cmpstr(answer_text(same, "/metadata/resourceVersion"), ==, answer_text(create, "/metadata/resourceVersion"));
}

static void an_object_nobody_tracked_is_not_overwritten_unasked(void)
{
        g_autoptr(answer) reset = NULL, same = NULL, conflict = NULL;
        g_autoptr(answer) create = ask(world, "POST", MAPS, MAP("m", "\"x\":\"1\""));

        expect(create, 201);
        reset = patch("p", MAPS "/m", "{\"metadata\":{\"managedFields\":[{}]}}");
        expect(reset, 200);
        same = apply("a", MAPS "/m", "", MAP("m", "\"x\":\"1\",\"y\":\"1\""));
        expect(same, 200);
        expect_fields(same, "before-first-apply", "Update", "{\"f:data\":{\".\":{},\"f:x\":{}}}");
        conflict = apply("b", MAPS "/m", "", MAP("m", "\"x\":\"2\""));
        expect(conflict, 409);
        g_assert_nonnull(strstr(answer_text(conflict, "/message"), "before-first-apply"));
}

/* --- from merging in kubectl to applying here
 * --------------------------------------------------------------------------------------- */

#define LAST(DATA)                                                                                                                 \
        "\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":\"{\\\"apiVersion\\\":\\\"v1\\\",\\\"kind\\\":"     \
        "\\\"ConfigMap\\\",\\\"metadata\\\":{\\\"name\\\":\\\"m\\\"},\\\"data\\\":{" DATA "}}\\n\"}"

static void kubectl_goes_on_with_what_it_applied_itself(void)
{
        g_autoptr(answer) create = ask(
                world, "POST", MAPS "?fieldManager=kubectl-client-side-apply",
                "{\"metadata\":{\"name\":\"m\"," LAST("\\\"x\\\":\\\"1\\\",\\\"y\\\":\\\"1\\\"") "},\"data\":{\"x\":\"1\",\"y\":"
                                                                                                 "\"1\"}}");
        g_autoptr(answer) applied = NULL, other = NULL;

        expect(create, 201);
        /* Another manager has no such right. */
        other = apply("ci", MAPS "/m", "", MAP("m", "\"x\":\"2\""));
        expect(other, 409);
        applied = apply("kubectl", MAPS "/m", "", MAP("m", "\"x\":\"2\""));
        expect(applied, 200);
        expect_data(applied, "{\"x\":\"2\"}");
        expect_fields(applied, "kubectl", "Apply", "{\"f:data\":{\"f:x\":{}}}");
        expect_fields(applied, "kubectl-client-side-apply", "Update", "");
        /* The way back: the annotation says what was applied last. */
        g_assert_nonnull(strstr(answer_text(applied, "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"),
                                "{\"x\":\"2\"}"));
}

static void kubectl_overrides_what_it_wrote_under_another_name_only(void)
{
        g_autoptr(answer) create = ask(world, "POST", MAPS "?fieldManager=kubectl-create",
                                       "{\"metadata\":{\"name\":\"m\"," LAST("\\\"x\\\":\\\"1\\\"") "},\"data\":{\"x\":\"1\","
                                                                                                    "\"z\":\"1\"}}");
        g_autoptr(answer) applied = NULL, foreign = NULL;

        expect(create, 201);
        applied = apply("kubectl", MAPS "/m", "", MAP("m", "\"x\":\"2\""));
        expect(applied, 200);
        foreign = apply("kubectl", MAPS "/m", "", MAP("m", "\"x\":\"2\",\"z\":\"2\""));
        expect(foreign, 409);
}

/* --- unknown and repeated fields
 * ---------------------------------------------------------------------------------------------------- */

static void unknown_and_repeated_fields_are_told_of(void)
{
#define ODD                                                                                                                        \
        "{\"metadata\":{\"name\":\"a\"},\"nonsense\":1," VM_SPEC(                                                                  \
                ",\"tpyo\":1,\"blockDeviceRefs\":[" DISK("d") "],\"runPolicy\":"                                                   \
                                                              "\"Manual\",\"runPolicy\":\"AlwaysOff\"") "}"
        static const char *const warnings[] = {"Warning: 299 - \"unknown field \\\"spec.tpyo\\\"\"\r\n",
                                               "Warning: 299 - \"unknown field \\\"nonsense\\\"\"\r\n",
                                               "Warning: 299 - \"duplicate field \\\"spec.runPolicy\\\"\"\r\n"};
        g_autoptr(answer) strict = ask(world, "POST", VMS "?fieldValidation=Strict", ODD),
                          plain = ask(world, "POST", VMS "?dryRun=All", ODD),
                          ignored = ask(world, "POST", VMS "?dryRun=All&fieldValidation=Ignore", ODD),
                          warned = ask(world, "POST", VMS "?fieldValidation=Warn", ODD);

        expect(strict, 422);
        g_assert_cmpuint(json_length(json_find(strict->root, "details", "causes", NULL)), ==, 3);
        expect(plain, 201);
        expect(warned, 201);
        expect(ignored, 201);
        for (size_t i = 0; i < G_N_ELEMENTS(warnings); i++) {
                g_assert_nonnull(strstr(plain->headers, warnings[i]));
                g_assert_nonnull(strstr(warned->headers, warnings[i]));
        }
        g_assert_null(strstr(ignored->headers, "Warning:"));
        g_assert_cmpstr(answer_text(warned, "/spec/runPolicy"), ==, "AlwaysOff");
        g_assert_null(json_find(warned->root, "spec", "tpyo", NULL));
}

static void kinds_of_kubernetes_keep_what_is_not_known_here(void)
{
        g_autoptr(answer) create = ask(world, "POST", MAPS, "{\"metadata\":{\"name\":\"a\"},\"future\":1}"), again = NULL;

        expect(create, 201);
        g_assert_cmpstr(answer_text(create, "/future"), ==, "1");
        g_assert_nonnull(strstr(create->headers, "unknown field \\\"future\\\""));
        /* What is stored already is not told again. */
        again = ask(world, "PATCH", MAPS "/a", "{\"data\":{\"a\":\"b\"}}");
        expect(again, 200);
        g_assert_null(strstr(again->headers, "Warning:"));
}

static void in_a_new_world(gconstpointer test)
{
        world = world_new(NULL);
        ((void (*)(void))test)();
        world = world_free(world);
}

#define ADD(NAME) g_test_add_data_func("/api/apply/" #NAME, (gconstpointer)(NAME), in_a_new_world)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        ADD(updates_are_owned_by_who_made_them);
        ADD(a_change_that_changes_nothing_owns_nothing);
        ADD(status_belongs_to_its_subresource);
        ADD(old_updaters_are_folded_into_one);
        ADD(many_fields_do_not_outgrow_the_object);
        ADD(what_clients_send_as_managed_fields);
        ADD(a_subresource_cannot_set_managed_fields);
        ADD(an_apply_creates_changes_and_repeats);
        ADD(yaml_is_applied_too);
        ADD(what_is_no_longer_applied_goes_unless_others_want_it);
        ADD(list_elements_have_owners_of_their_own);
        ADD(conflicts_name_every_field_and_manager);
        ADD(bad_applies_are_refused);
        ADD(preconditions_of_an_apply);
        ADD(a_dry_run_of_an_apply_writes_nothing);
        ADD(the_alias_group_owns_under_the_canonical_one);
        ADD(status_is_applied_by_its_subresource);
        ADD(secrets_are_applied_in_their_stored_form);
        ADD(an_object_nobody_tracked_is_not_overwritten_unasked);
        ADD(kubectl_goes_on_with_what_it_applied_itself);
        ADD(kubectl_overrides_what_it_wrote_under_another_name_only);
        ADD(unknown_and_repeated_fields_are_told_of);
        ADD(kinds_of_kubernetes_keep_what_is_not_known_here);
        return g_test_run();
}
