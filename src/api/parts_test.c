/* SPDX-License-Identifier: Apache-2.0 */
#include "api/accept.h"
#include "api/continue.h"
#include "api/protobuf.h"
#include "api/selector.h"
#include "api/splice.h"
#include "api/strategic.h"
#include "api/target.h"
#include "base/limits.h"
#include "generated/api_types.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

/* --- paths
 * --------------------------------------------------------------------------------------------------------------------------- */

static void paths_name_kinds_namespaces_and_objects(void)
{
        static const struct {
                const char *path;
                int expect;
                const char *plural, *namespace, *name, *subresource;
                bool alias;
        } cases[] = {
                {"/api/v1/namespaces", 0, "namespaces", NULL, NULL, NULL},
                {"/api/v1/namespaces/a", 0, "namespaces", NULL, "a", NULL},
                {"/api/v1/namespaces/a/status", 0, "namespaces", NULL, "a", "status"},
                {"/api/v1/namespaces/a/secrets", 0, "secrets", "a", NULL, NULL},
                {"/api/v1/namespaces/a/secrets/b", 0, "secrets", "a", "b", NULL},
                {"/api/v1/secrets", 0, "secrets", NULL, NULL, NULL},
                {"/api/v1/secrets/b", TARGET_E_UNKNOWN, NULL, NULL, NULL, NULL},
                {"/api/v1/nodes/n/status", 0, "nodes", NULL, "n", "status"},
                {"/api/v1/namespaces/a/nodes", 0, "namespaces", NULL, "a", "nodes"}, /* no such subresource: found out later */
                {"/api/v1/services", TARGET_E_UNKNOWN, NULL, NULL, NULL, NULL},
                {"/api/v1/namespaces/a/secrets/b/status/c", TARGET_E_UNKNOWN, NULL, NULL, NULL, NULL},
                {"/api/v1/namespaces/a/", TARGET_E_UNKNOWN, NULL, NULL, NULL, NULL},
                {"/api/v1", TARGET_E_OTHER, NULL, NULL, NULL, NULL},
                {"/api/host/1/virtualization", TARGET_E_OTHER, NULL, NULL, NULL, NULL},
                {"/apis/gabbro.dev/v1", TARGET_E_OTHER, NULL, NULL, NULL, NULL},
                {"/apis/gabbro.dev/v1/namespaces/a/virtualmachines/b", 0, "virtualmachines", "a", "b", NULL},
                {"/apis/gabbro.dev/v2/namespaces/a/virtualmachines/b", TARGET_E_UNKNOWN, NULL, NULL, NULL, NULL},
                {"/apis/virtualization.deckhouse.io/v1alpha2/virtualmachines", 0, "virtualmachines", NULL, NULL, NULL, true},
                {"/apis/virtualization.deckhouse.io/v1alpha2/namespaces/a/virtualdisks/b", 0, "virtualdisks", "a", "b", NULL, true},
                {"/apis/virtualization.deckhouse.io/v1alpha2/networks", TARGET_E_UNKNOWN, NULL, NULL, NULL, NULL},
                {"/apis/gabbro.dev/v1/tokens", TARGET_E_UNKNOWN, NULL, NULL, NULL, NULL},
                {"/apis/gabbro.dev/v1/tokens/x", TARGET_E_UNKNOWN, NULL, NULL, NULL, NULL},
                {"/apis/host.gabbro.dev/v1/instances/i", 0, "instances", NULL, "i", NULL},
                {"/livez", TARGET_E_OTHER, NULL, NULL, NULL, NULL},
                {"/", TARGET_E_OTHER, NULL, NULL, NULL, NULL},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct target target = {};

                g_test_message("%s", cases[i].path);
                g_assert_cmpint(target_parse(cases[i].path, true, &target), ==, cases[i].expect);
                if (cases[i].expect == 0) {
                        g_assert_cmpstr(target.kind->plural, ==, cases[i].plural);
                        g_assert_cmpstr(target.namespace, ==, cases[i].namespace);
                        g_assert_cmpstr(target.name, ==, cases[i].name);
                        g_assert_cmpstr(target.subresource, ==, cases[i].subresource);
                        g_assert_cmpint(target.alias, ==, cases[i].alias);
                }
                target_clear(&target);
        }
}

static void the_alias_group_can_be_switched_off(void)
{
        struct target target = {};

        g_assert_cmpint(target_parse("/apis/virtualization.deckhouse.io/v1alpha2/virtualmachines", false, &target), ==,
                        TARGET_E_UNKNOWN);
}

/* --- negotiation
 * --------------------------------------------------------------------------------------------------------------------- */

#define TABLE_V1      "application/json;as=Table;v=v1;g=meta.k8s.io"
#define TABLE_V1BETA1 "application/json;as=Table;v=v1beta1;g=meta.k8s.io"
#define OPENAPI       "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

static void the_best_acceptable_form_is_chosen(void)
{
        static const struct {
                const char *header;
                unsigned can;
                bool accepted;
                enum accept_form form;
                const char *version;
        } cases[] = {
                {NULL, 0, true, ACCEPT_JSON},
                {"", 0, true, ACCEPT_JSON},
                {"*/*", 0, true, ACCEPT_JSON},
                {"application/json, */*", 0, true, ACCEPT_JSON},
                {"Application/JSON;charset=utf-8", 0, true, ACCEPT_JSON},
                {TABLE_V1 "," TABLE_V1BETA1 ",application/json", ACCEPT_CAN_TABLE, true, ACCEPT_TABLE, "v1"},
                {TABLE_V1BETA1 ",application/json", ACCEPT_CAN_TABLE, true, ACCEPT_TABLE, "v1beta1"},
                {TABLE_V1 "," TABLE_V1BETA1 ",application/json", 0, true, ACCEPT_JSON},
                {TABLE_V1, 0, false},
                {"application/json;as=Table;v=v2;g=meta.k8s.io,application/json", ACCEPT_CAN_TABLE, true, ACCEPT_JSON},
                {"application/json;q=0.5," TABLE_V1 ";q=0.9", ACCEPT_CAN_TABLE, true, ACCEPT_TABLE, "v1"},
                {"application/json;as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io,application/json", 0, true, ACCEPT_JSON},
                {"application/vnd.kubernetes.protobuf", 0, false},
                {"application/vnd.kubernetes.protobuf, application/json", 0, true, ACCEPT_JSON},
                {"text/html", 0, false},
                {"application/json;q=0", 0, false},
                {OPENAPI, ACCEPT_CAN_PROTOBUF, true, ACCEPT_PROTOBUF},
                {OPENAPI, 0, false},
                {",,;;=,", 0, false},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct accept accept;

                g_test_message("%s", cases[i].header ?: "(none)");
                g_assert_cmpint(accept_parse(cases[i].header, cases[i].can, &accept), ==, cases[i].accepted);
                if (!cases[i].accepted)
                        continue;
                g_assert_cmpint(accept.form, ==, cases[i].form);
                g_assert_cmpstr(accept.version, ==, cases[i].version);
        }
}

/* --- selectors
 * ----------------------------------------------------------------------------------------------------------------------- */

static struct json_doc *parse(const char *text)
{
        struct json_doc *doc = NULL;

        g_assert_cmpint(json_parse(text, strlen(text), &doc, NULL), ==, 0);
        return doc;
}

static void selectors_hold_or_not(void)
{
        static const char object[] =
                "{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"labels\":{\"app\":\"x\",\"tier\":\"\",\"n\":\"5\"}},"
                "\"spec\":{\"unschedulable\":true},\"status\":{\"phase\":\"Running\"}}";
        static const struct {
                const char *labels, *fields;
                bool expect;
        } cases[] = {
                {NULL, NULL, true},
                {"", "", true},
                {"app=x", NULL, true},
                {"app==x", NULL, true},
                {" app = x , tier ", NULL, true},
                {"app=y", NULL, false},
                {"app!=y", NULL, true},
                {"absent!=y", NULL, true},
                {"absent=y", NULL, false},
                {"app in (x,y)", NULL, true},
                {"app in (y, z)", NULL, false},
                {"app notin (y,z)", NULL, true},
                {"absent notin (y)", NULL, true},
                {"app notin (x)", NULL, false},
                {"app", NULL, true},
                {"!app", NULL, false},
                {"!absent", NULL, true},
                {"tier=", NULL, true},
                {"app=x,absent", NULL, false},
                {"n>4", NULL, true},
                {"n<4", NULL, false},
                {NULL, "metadata.name=a", true},
                {NULL, "metadata.name==a,metadata.namespace=n", true},
                {NULL, "metadata.name!=a", false},
                {NULL, "metadata.name=b", false},
                {NULL, "metadata.name=\\a", true},
                {NULL, "metadata.name=", false},
                {"app=x", "metadata.name=b", false},
                {NULL, "status.phase=Running", true},
                {NULL, "status.phase!=Running", false},
        };
        g_autoptr(json_doc) doc = parse(object);

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *why = NULL;
                g_autoptr(selector) selector = selector_new(&api_virtual_machine_kind, cases[i].labels, cases[i].fields, &why);

                g_test_message("%s; %s: %s", cases[i].labels ?: "", cases[i].fields ?: "", why ?: "");
                g_assert_nonnull(selector);
                g_assert_cmpint(selector_matches(selector, json_root(doc)), ==, cases[i].expect);
        }
}

static void an_absent_boolean_field_is_false(void)
{
        g_autofree char *why = NULL;
        g_autoptr(selector) selector = selector_new(&api_node_kind, NULL, "spec.unschedulable=false", &why);
        g_autoptr(json_doc) plain = parse("{\"metadata\":{\"name\":\"a\"}}"),
                            cordoned = parse("{\"spec\":{\"unschedulable\":true}}");

        g_assert_true(selector_matches(selector, json_root(plain)));
        g_assert_false(selector_matches(selector, json_root(cordoned)));
}

static void selectors_that_cannot_be_read_are_refused_with_words(void)
{
        static const struct {
                const char *labels, *fields;
        } cases[] = {
                {"app=x=y", NULL},
                {"app in x", NULL},
                {"app in (x", NULL},
                {"=x", NULL},
                {"a b", NULL},
                {"!", NULL},
                {"app>x", NULL},
                {"-app=x", NULL},
                {"app=-x", NULL},
                {",", NULL},
                {NULL, "spec.secret=1"},
                {NULL, "metadata.labels=x"},
                {NULL, "metadata.name"},
                {NULL, "status.phase"},
                {NULL, "involvedObject.name=x"},
        };
        g_autoptr(GString) many = g_string_new(NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *why = NULL;

                g_test_message("%s; %s", cases[i].labels ?: "", cases[i].fields ?: "");
                g_assert_null(selector_new(&api_virtual_machine_kind, cases[i].labels, cases[i].fields, &why));
                g_assert_nonnull(why);
        }
        for (unsigned i = 0; i <= LIMIT_SELECTOR_TERMS; i++)
                g_string_append(many, i ? ",a" : "a");
        g_autofree char *why = NULL;
        g_assert_null(selector_new(&api_virtual_machine_kind, many->str, NULL, &why));
}

static void the_one_name_of_a_selector_is_known(void)
{
        g_autofree char *why = NULL;
        g_autoptr(selector) one = selector_new(&api_virtual_machine_kind, "a=b", "metadata.namespace=n,metadata.name=x", &why);
        g_autoptr(selector) none = selector_new(&api_virtual_machine_kind, "a=b", "metadata.name!=x", &why);

        g_assert_cmpstr(selector_only_name(one), ==, "x");
        g_assert_null(selector_only_name(none));
        g_assert_false(selector_is_empty(none));
}

/* --- continue tokens
 * ------------------------------------------------------------------------------------------------------------------ */

static void a_continue_token_reads_back_unchanged_and_only_for_its_list(void)
{
        static const struct continue_query query = {.kind = &api_virtual_machine_kind, .namespace = "default"};
        static const struct continue_query others[] = {
                {.kind = &api_virtual_disk_kind, .namespace = "default"},
                {.kind = &api_virtual_machine_kind},
                {.kind = &api_virtual_machine_kind, .namespace = "other"},
                {.kind = &api_virtual_machine_kind, .namespace = "default", .label_selector = "a=b"},
                {.kind = &api_virtual_machine_kind, .namespace = "default", .field_selector = "metadata.name=a"},
        };
        g_autofree char *dir = g_dir_make_tmp("continue-XXXXXX", NULL), *path = g_build_filename(dir, "key", NULL);
        g_autoptr(auth_seal) seal = NULL;
        struct continue_token token = {.after_key = (char *)"virtualmachines.gabbro.dev/default/a", .revision = 7, .told = 500},
                              back;

        g_assert_cmpint(auth_seal_open(path, random_system(), &seal), ==, 0);
        g_autofree char *text = continue_token_text(&token, &query, seal);
        g_assert_null(strpbrk(text, "+/ "));
        g_assert_cmpint(continue_token_parse(text, &query, seal, &back), ==, 0);
        g_assert_cmpstr(back.after_key, ==, token.after_key);
        g_assert_cmpuint(back.revision, ==, 7);
        g_assert_cmpuint(back.told, ==, 500);
        continue_token_clear(&back);
        for (size_t i = 0; i < G_N_ELEMENTS(others); i++)
                g_assert_cmpint(continue_token_parse(text, &others[i], seal, &back), ==, -EINVAL);
        g_assert_cmpint(continue_token_parse("nonsense", &query, seal, &back), ==, -EINVAL);
        g_assert_cmpint(continue_token_parse("", &query, seal, &back), ==, -EINVAL);
        /* Every letter counts. */
        for (size_t i = 0; i < strlen(text); i++) {
                char was = text[i];

                if (was == '=')
                        continue;
                text[i] = was == 'A' ? 'Z' : 'A';
                int r = continue_token_parse(text, &query, seal, &back);
                /* Bits behind the last byte of base64 mean nothing. */
                if (r == 0)
                        g_assert_cmpuint(i, >=, strcspn(text, "=") - 1);
                if (r == 0)
                        continue_token_clear(&back);
                text[i] = was;
        }
        (void)g_unlink(path);
        (void)g_rmdir(dir);
}

/* --- strategic merge
 * ------------------------------------------------------------------------------------------------------------------ */

static void strategic_patches_follow_their_table(void)
{
        static const struct {
                const char *target, *patch, *expect; /* NULL: refused */
        } cases[] = {
                {"{}", "{\"a\":1}", "{\"a\":1}"},
                {"{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":null,\"d\":3}}", "{\"a\":{\"c\":2,\"d\":3}}"},
                {"{\"a\":{\"b\":1}}", "{\"a\":{\"$patch\":\"replace\",\"c\":2}}", "{\"a\":{\"c\":2}}"},
                {"{\"a\":{\"b\":1}}", "{\"a\":{\"$patch\":\"delete\"}}", "{\"a\":{}}"},
                {"{\"l\":[1,2]}", "{\"l\":[3]}", "{\"l\":[3]}"},
                /* taints as kubectl sends them: the whole list */
                {"{\"taints\":[{\"key\":\"a\"},{\"key\":\"b\"}]}", "{\"taints\":[{\"key\":\"b\"}]}",
                 "{\"taints\":[{\"key\":\"b\"}]}"},
                {"{\"taints\":[{\"key\":\"a\"}]}", "{\"taints\":null}", "{}"},
                /* and by key, when the patch shows it */
                {"{\"taints\":[{\"key\":\"a\",\"effect\":\"x\"},{\"key\":\"b\"}]}",
                 "{\"taints\":[{\"key\":\"a\",\"$patch\":\"delete\"}]}", "{\"taints\":[{\"key\":\"b\"}]}"},
                {"{\"taints\":[{\"key\":\"a\",\"effect\":\"x\"}]}",
                 "{\"$setElementOrder/taints\":[{\"key\":\"a\"},{\"key\":\"b\"}],\"taints\":[{\"key\":\"b\",\"effect\":\"y\"}]}",
                 "{\"taints\":[{\"key\":\"a\",\"effect\":\"x\"},{\"key\":\"b\",\"effect\":\"y\"}]}"},
                {"{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"m\":1},{\"type\":\"B\"}]}",
                 "{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}",
                 "{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\",\"m\":1},{\"type\":\"B\"}]}"},
                {"{\"conditions\":[{\"type\":\"A\"}]}", "{\"conditions\":[{\"$patch\":\"replace\"},{\"type\":\"B\"}]}",
                 "{\"conditions\":[{\"type\":\"B\"}]}"},
                {"{\"conditions\":[{\"type\":\"A\"}]}", "{\"conditions\":[{\"status\":\"True\"}]}", NULL},
                {"{\"ownerReferences\":[{\"uid\":\"1\",\"name\":\"a\"}]}",
                 "{\"ownerReferences\":[{\"uid\":\"1\",\"controller\":true},{\"uid\":\"2\"}]}",
                 "{\"ownerReferences\":[{\"uid\":\"1\",\"name\":\"a\",\"controller\":true},{\"uid\":\"2\"}]}"},
                {"{\"finalizers\":[\"a\",\"b\"]}", "{\"finalizers\":[\"c\",\"a\"]}", "{\"finalizers\":[\"a\",\"b\",\"c\"]}"},
                {"{\"finalizers\":[\"a\",\"b\"]}", "{\"$deleteFromPrimitiveList/finalizers\":[\"a\"]}", "{\"finalizers\":[\"b\"]}"},
                {"{\"a\":1,\"b\":2}", "{\"$retainKeys\":[\"a\"],\"a\":3}", "{\"a\":3}"},
                {"{\"a\":1,\"b\":2}", "{\"$retainKeys\":[\"a\"],\"b\":3}", NULL},
                {"{\"finalizers\":[\"a\",\"x\",\"b\"]}",
                 "{\"$setElementOrder/finalizers\":[\"c\",\"b\",\"a\"],\"finalizers\":[\"c\"]}",
                 "{\"finalizers\":[\"c\",\"x\",\"b\",\"a\"]}"},
                {"{\"taints\":[{\"key\":\"a\"},{\"key\":\"b\",\"value\":\"v\"}]}",
                 "{\"$setElementOrder/taints\":[{\"key\":\"b\"},{\"key\":\"a\"}],\"taints\":[]}",
                 "{\"taints\":[{\"key\":\"b\",\"value\":\"v\"},{\"key\":\"a\"}]}"},
                {"{\"l\":[1,2]}", "{\"$setElementOrder/l\":[2,1]}", "{\"l\":[1,2]}"},
                {"{\"a\":1}", "{\"a\":{\"b\":[{\"$patch\":\"delete\",\"x\":1},{\"y\":2}]}}", "{\"a\":{\"b\":[{\"y\":2}]}}"},
                {"{}", "{\"$patch\":\"explode\"}", NULL},
                {"{}", "[1]", NULL},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) target = parse(cases[i].target), patch = parse(cases[i].patch), doc = json_doc_new();
                g_autofree char *before = json_to_text(json_root(target)), *after = NULL;
                struct json_value *value = NULL;
                const char *why = NULL;
                int r = strategic_merge(doc, json_root(target), json_root(patch), &value, &why);

                g_test_message("%s + %s", cases[i].target, cases[i].patch);
                g_assert_cmpint(r, ==, cases[i].expect ? 0 : STRATEGIC_E_INVALID);
                after = json_to_text(json_root(target));
                g_assert_cmpstr(before, ==, after);
                if (!cases[i].expect) {
                        g_assert_nonnull(why);
                        continue;
                }
                g_autoptr(json_doc) expect = parse(cases[i].expect);
                g_autofree char *text = json_to_text(value);
                if (!json_equal(value, json_root(expect)))
                        g_error("%s + %s gave %s", cases[i].target, cases[i].patch, text);
        }
}

/* --- splicing
 * ------------------------------------------------------------------------------------------------------------------------- */

static void check_splice(const char *bytes, const char *api_version, uint64_t revision, const char *expect)
{
        g_autoptr(json_doc) doc = parse(bytes);
        g_autoptr(GString) out = g_string_new(NULL);
        struct store_object object = {.kind = &api_virtual_machine_kind,
                                      .name = "a",
                                      .revision = 5,
                                      .bytes = bytes,
                                      .len = strlen(bytes),
                                      .root = json_root(doc)};

        splice_object(&object, api_version, revision, out);
        g_assert_cmpstr(out->str, ==, expect);
}

static void versions_and_revisions_are_rewritten_in_place(void)
{
#define REST                                                                                                                       \
        "\"kind\":\"X\",\"metadata\":{\"annotations\":{\"n\":\"\\\"resourceVersion\\\":\\\"5\\\"\"},\"resourceVersion\":\"5\"},"   \
        "\"s\":1.50}"
#define REST9                                                                                                                      \
        "\"kind\":\"X\",\"metadata\":{\"annotations\":{\"n\":\"\\\"resourceVersion\\\":\\\"5\\\"\"},\"resourceVersion\":\"9\"},"   \
        "\"s\":1.50}"
        check_splice("{\"apiVersion\":\"a/v1\"," REST, NULL, 0, "{\"apiVersion\":\"a/v1\"," REST);
        check_splice("{\"apiVersion\":\"a/v1\"," REST, "b/v2", 0, "{\"apiVersion\":\"b/v2\"," REST);
        check_splice("{\"apiVersion\":\"a/v1\"," REST, NULL, 9, "{\"apiVersion\":\"a/v1\"," REST9);
        check_splice("{\"apiVersion\":\"a/v1\"," REST, "b/v2", 9, "{\"apiVersion\":\"b/v2\"," REST9);
        check_splice("{\"apiVersion\":\"a/v1\"," REST, NULL, 5, "{\"apiVersion\":\"a/v1\"," REST);
        /* another order: read and written anew */
        check_splice("{\"s\":1.50,\"kind\":\"X\",\"metadata\":{\"resourceVersion\":\"5\"},\"apiVersion\":\"a/v1\"}", "b/v2", 9,
                     "{\"apiVersion\":\"b/v2\",\"kind\":\"X\",\"metadata\":{\"resourceVersion\":\"9\"},\"s\":1.50}");
}

/* --- protocol buffers
 * ------------------------------------------------------------------------------------------------------------------ */

/* Writes the wire form: nested pieces are built from the inside. */
static void put_bytes(GString *out, unsigned number, const char *data, size_t len)
{
        g_string_append_c(out, (char)(number << 3 | 2));
        for (; len >= 128; len >>= 7)
                g_string_append_c(out, (char)(len | 128));
        g_assert_cmpuint(len, <, 128);
        g_string_append_c(out, (char)len);
        g_string_append_len(out, data, -1);
}

static void put_piece(GString *out, unsigned number, const GString *piece)
{
        g_string_append_c(out, (char)(number << 3 | 2));
        g_assert_cmpuint(piece->len, <, 128);
        g_string_append_c(out, (char)piece->len);
        g_string_append_len(out, piece->str, (gssize)piece->len);
}

static GString *envelope(const char *api_version, const char *kind, const GString *object)
{
        g_autoptr(GString) type = g_string_new(NULL);
        GString *out = g_string_new_len("k8s\0", 4);

        put_bytes(type, 1, api_version, strlen(api_version));
        put_bytes(type, 2, kind, strlen(kind));
        put_piece(out, 1, type);
        put_piece(out, 2, object);
        return out;
}

static GString *secret_bytes(void)
{
        g_autoptr(GString) metadata = g_string_new(NULL), entry = g_string_new(NULL), object = g_string_new(NULL),
                           label = g_string_new(NULL);

        put_bytes(metadata, 1, "s", 1);
        put_bytes(metadata, 3, "", 0);
        put_bytes(metadata, 8, "", 0); /* an unset time */
        put_bytes(label, 1, "k", 1);
        put_bytes(label, 2, "v", 1);
        put_piece(metadata, 11, label);
        put_bytes(entry, 1, "user", 4);
        put_bytes(entry, 2, "root", 4);
        put_piece(object, 1, metadata);
        put_piece(object, 2, entry);
        put_bytes(object, 3, "Opaque", 6);
        g_string_append_len(object, "\x28\x01", 2);     /* immutable: true */
        g_string_append_len(object, "\xf8\x07\x01", 3); /* field 127: unknown, left out */
        return envelope("v1", "Secret", object);
}

static void a_secret_is_read_from_protocol_buffers(void)
{
        g_autoptr(GString) bytes = secret_bytes();
        g_autoptr(json_doc) doc = NULL;
        g_autofree char *text = NULL;

        g_assert_cmpint(protobuf_parse(bytes->str, bytes->len, &doc), ==, 0);
        text = json_to_text(json_root(doc));
        g_assert_cmpstr(text, ==,
                        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\",\"labels\":{\"k\":\"v\"}},"
                        "\"data\":{\"user\":\"cm9vdA==\"},\"type\":\"Opaque\",\"immutable\":true}");
}

static void cut_or_foreign_protocol_buffers_are_refused(void)
{
        g_autoptr(GString) bytes = secret_bytes(), empty = g_string_new(NULL), pod = envelope("v1", "Pod", empty);
        struct json_doc *doc = NULL;

        g_assert_cmpint(protobuf_parse(pod->str, pod->len, &doc), ==, PROTOBUF_E_KIND);
        g_assert_cmpint(protobuf_parse("{}", 2, &doc), ==, PROTOBUF_E_MALFORMED);
        for (size_t len = 0; len < bytes->len; len++) {
                int r = protobuf_parse(bytes->str, len, &doc);

                g_assert_cmpint(r, !=, 0);
        }
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/api/paths_name_kinds_namespaces_and_objects", paths_name_kinds_namespaces_and_objects);
        g_test_add_func("/api/the_alias_group_can_be_switched_off", the_alias_group_can_be_switched_off);
        g_test_add_func("/api/the_best_acceptable_form_is_chosen", the_best_acceptable_form_is_chosen);
        g_test_add_func("/api/selectors_hold_or_not", selectors_hold_or_not);
        g_test_add_func("/api/an_absent_boolean_field_is_false", an_absent_boolean_field_is_false);
        g_test_add_func("/api/selectors_that_cannot_be_read_are_refused_with_words",
                        selectors_that_cannot_be_read_are_refused_with_words);
        g_test_add_func("/api/the_one_name_of_a_selector_is_known", the_one_name_of_a_selector_is_known);
        g_test_add_func("/api/a_continue_token_reads_back_unchanged_and_only_for_its_list",
                        a_continue_token_reads_back_unchanged_and_only_for_its_list);
        g_test_add_func("/api/strategic_patches_follow_their_table", strategic_patches_follow_their_table);
        g_test_add_func("/api/versions_and_revisions_are_rewritten_in_place", versions_and_revisions_are_rewritten_in_place);
        g_test_add_func("/api/a_secret_is_read_from_protocol_buffers", a_secret_is_read_from_protocol_buffers);
        g_test_add_func("/api/cut_or_foreign_protocol_buffers_are_refused", cut_or_foreign_protocol_buffers_are_refused);
        return g_test_run();
}
