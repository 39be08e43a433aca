/* SPDX-License-Identifier: Apache-2.0 */
#include "api/world_test.h"
#include "generated/api_types.h"

#include <string.h>

#define VMS       "/apis/gabbro.dev/v1/namespaces/default/virtualmachines"
#define ALIAS_VMS "/apis/virtualization.deckhouse.io/v1alpha2/namespaces/default/virtualmachines"
#define SECRETS   "/api/v1/namespaces/default/secrets"
#define MAPS      "/api/v1/namespaces/default/configmaps"

#define SPEC                                                                                                                       \
        "\"spec\":{\"virtualMachineClassName\":\"generic\",\"cpu\":{\"cores\":2},\"memory\":{\"size\":\"1Gi\"},"                   \
        "\"blockDeviceRefs\":[{\"kind\":\"VirtualDisk\",\"name\":\"d\"}]}"
#define VM(NAME, EXTRA)                                                                                                            \
        "{\"apiVersion\":\"gabbro.dev/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"" NAME "\"" EXTRA "}," SPEC "}"
#define MAP(NAME) "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"" NAME "\"},\"data\":{\"a\":\"1\"}}"

static struct world *world;

#define RUN_ROWS(rows) world_run_rows(world, (rows), G_N_ELEMENTS(rows))

/* What is served beside the verbs: media types, the alias group, discovery, core kinds, other facades. */

/* --- media types
 * ----------------------------------------------------------------------------------------------------------------------- */

static void bodies_are_taken_by_their_media_type(void)
{
        static const struct {
                const char *method, *path, *headers, *body;
                int status;
        } cases[] = {
                {"POST", VMS, NULL, VM("a", ""), 201},
                {"POST", MAPS, "Content-Type: application/json; charset=utf-8\r\n", MAP("a"), 201},
                {"POST", MAPS, "Content-Type: application/yaml\r\n", "metadata:\n  name: b\ndata:\n  x: 'y'\n", 201},
                {"POST", MAPS, "Content-Type: application/yaml\r\n", "metadata: [\n", 400},
                {"POST", MAPS, "Content-Type: text/plain\r\n", "x", 415},
                {"POST", MAPS, "Content-Type: application/vnd.kubernetes.protobuf\r\n", "x", 400},
                {"POST", VMS, "Content-Type: application/vnd.kubernetes.protobuf\r\n", "x", 415},
                {"POST", MAPS, "Content-Type: application/merge-patch+json\r\n", "{}", 415},
                {"POST", MAPS, "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", "x", 415},
                {"PATCH", MAPS "/a", "Content-Type: application/strategic-merge-patch+json\r\n", "{\"data\":{\"q\":\"r\"}}", 200},
                {"PATCH", MAPS "/a", "Content-Type: application/strategic-merge-patch+json\r\n", "{\"$patch\":\"x\"}", 400},
                {"PATCH", VMS "/a", "Content-Type: application/strategic-merge-patch+json\r\n", "{}", 415},
                {"PATCH", VMS "/a", "Content-Type: application/apply-patch+yaml\r\n", "{}", 422},
                {"PATCH", VMS "/a", "Content-Type: application/json\r\n", "{}", 415},
                {"PATCH", VMS "/a", "Content-Type: application/merge-patch+json\r\n", "[]", 400},
                {"PATCH", VMS "/a", "Content-Type: application/json-patch+json\r\n",
                 "[{\"op\":\"test\",\"path\":\"/apiVersion\",\"value\":\"gabbro.dev/v1\"},{\"op\":\"replace\",\"path\":\"/spec/cpu/"
                 "cores\",\"value\":4}]",
                 200},
                {"PATCH", ALIAS_VMS "/a", "Content-Type: application/json-patch+json\r\n",
                 "[{\"op\":\"test\",\"path\":\"/apiVersion\",\"value\":\"virtualization.deckhouse.io/v1alpha2\"}]", 200},
                {"PATCH", VMS "/a", "Content-Type: application/json-patch+json\r\n",
                 "[{\"op\":\"test\",\"path\":\"/kind\",\"value\":1}]", 422},
                {"PATCH", VMS "/a", "Content-Type: application/json-patch+json\r\n",
                 "[{\"op\":\"remove\",\"path\":\"/spec/nothing\"}]", 422},
                {"PATCH", VMS "/a", "Content-Type: application/json-patch+json\r\n", "{}", 400},
                {"GET", VMS, "Accept: text/html\r\n", NULL, 406},
                {"GET", VMS, "Accept: application/vnd.kubernetes.protobuf\r\n", NULL, 406},
                {"GET", VMS, "Accept: application/json, */*\r\n", NULL, 200},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(answer) answer =
                        ask_with(world, world->admin, cases[i].method, cases[i].path, cases[i].headers, cases[i].body);

                if (answer->status != cases[i].status)
                        g_error("case %zu: status %d: %s", i, answer->status, answer->body->str);
        }
}

static void bodies_and_objects_have_bounds(void)
{
        g_autofree char *huge = g_strnfill(4u << 20, ' '), *big_value = g_strnfill(1700000, 'x');
        g_autofree char *big = g_strdup_printf("{\"metadata\":{\"name\":\"big\"},\"data\":{\"a\":\"%s\"}}", big_value);
        g_autoptr(answer) body = ask(world, "POST", MAPS, huge), object = ask(world, "POST", MAPS, big);

        g_assert_cmpint(body->status, ==, 413);
        g_assert_cmpstr(answer_text(body, "/reason"), ==, "RequestEntityTooLarge");
        g_assert_true(object->status == 413 || object->status == 422);
}

/* --- the alias group
 * ------------------------------------------------------------------------------------------------------------------- */

#define ALIAS_VM                                                                                                                   \
        "{\"apiVersion\":\"virtualization.deckhouse.io/v1alpha2\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"a\","       \
        "\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":"                                                   \
        "\"{\\\"apiVersion\\\":\\\"virtualization.deckhouse.io/v1alpha2\\\"}\\n\"}}," SPEC "}"

/* D1; design decision 7. */
static void the_alias_shows_the_same_object(void)
{
        g_autoptr(answer) create = ask(world, "POST", ALIAS_VMS, ALIAS_VM), canonical = NULL, alias = NULL, list = NULL,
                          absent = NULL;

        g_assert_cmpint(create->status, ==, 201);
        g_assert_cmpstr(answer_text(create, "/apiVersion"), ==, "virtualization.deckhouse.io/v1alpha2");
        canonical = ask(world, "GET", VMS "/a", NULL);
        alias = ask(world, "GET", ALIAS_VMS "/a", NULL);
        g_assert_cmpstr(answer_text(canonical, "/apiVersion"), ==, "gabbro.dev/v1");
        g_assert_cmpstr(answer_text(alias, "/metadata/uid"), ==, answer_text(canonical, "/metadata/uid"));
        g_assert_cmpstr(answer_text(alias, "/metadata/resourceVersion"), ==, answer_text(canonical, "/metadata/resourceVersion"));
        g_assert_cmpstr(answer_text(canonical, "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"), ==,
                        "{\"apiVersion\":\"virtualization.deckhouse.io/v1alpha2\"}\n");
        list = ask(world, "GET", ALIAS_VMS, NULL);
        g_assert_cmpstr(answer_text(list, "/apiVersion"), ==, "virtualization.deckhouse.io/v1alpha2");
        g_assert_cmpstr(answer_text(list, "/items/0/apiVersion"), ==, "virtualization.deckhouse.io/v1alpha2");
        absent = ask(world, "GET", ALIAS_VMS "/b", NULL);
        g_assert_cmpstr(answer_text(absent, "/details/group"), ==, "virtualization.deckhouse.io");
}

/* --- discovery
 * ------------------------------------------------------------------------------------------------------------------------- */

static const struct json_value *find_resource(const struct answer *answer, const char *name)
{
        for (const struct json_value *entry = json_first(json_get(answer->root, "resources")); entry; entry = json_next(entry))
                if (strcmp(json_find_string(entry, "name", NULL), name) == 0)
                        return entry;
        return NULL;
}

static void discovery_lists_what_is_served(void)
{
        static const struct row rows[] = {
                {"GET", "/api", NULL, 200, "/versions/0", "v1"},
                {"GET", "/apis", NULL, 200, "/groups/0/name", "gabbro.dev"},
                {"GET", "/apis/gabbro.dev", NULL, 200, "/preferredVersion/version", "v1"},
                {"GET", "/apis/gabbro.dev/v2", NULL, 404, NULL, NULL},
                {"GET", "/apis/nothing", NULL, 404, NULL, NULL},
                {"GET", "/version", NULL, 200, "/major", "1"},
                {"GET", "/openapi/v3", NULL, 200, NULL, NULL},
                {"GET", "/openapi/v3/apis/gabbro.dev/v1", NULL, 200, NULL, NULL},
                {"GET", "/openapi/v3/apis/nothing/v1", NULL, 404, NULL, NULL},
                {"GET", "/openapi/v2", NULL, 200, "/swagger", "2.0"},
        };
        g_autoptr(answer) own = NULL, alias = NULL, host = NULL;

        RUN_ROWS(rows);
        own = ask(world, "GET", "/apis/gabbro.dev/v1", NULL);
        g_assert_cmpstr(json_string(json_at(json_get(find_resource(own, "virtualmachines"), "shortNames"), 0), ""), ==, "vm");
        g_assert_nonnull(find_resource(own, "virtualmachines/status"));
        g_assert_null(find_resource(own, "tokens"));
        g_assert_nonnull(find_resource(own, "nodeidentities"));
        g_assert_null(json_get(find_resource(own, "nodeidentities"), "categories"));
        alias = ask(world, "GET", "/apis/virtualization.deckhouse.io/v1alpha2", NULL);
        g_assert_nonnull(find_resource(alias, "virtualmachines"));
        g_assert_null(json_get(find_resource(alias, "virtualmachines"), "shortNames"));
        g_assert_null(json_get(find_resource(alias, "virtualmachines"), "categories"));
        g_assert_null(find_resource(alias, "storagepools"));
        host = ask(world, "GET", "/apis/host.gabbro.dev/v1", NULL);
        g_assert_cmpuint(json_length(json_get(find_resource(host, "instances"), "verbs")), ==, 3);
}

static void openapi_v2_is_served_as_old_kubectl_needs_it(void)
{
        g_autoptr(answer) answer = ask_with(world, world->admin, "GET", "/openapi/v2",
                                            "Accept: application/com.github.proto-openapi.spec.v2@v1.0+protobuf\r\n", NULL);

        g_assert_cmpint(answer->status, ==, 200);
        g_assert_nonnull(strstr(answer->headers, "Content-Type: application/com.github.proto-openapi.spec.v2.v1.0+protobuf\r\n"));
        g_assert_cmpuint(answer->body->len, >, 1000);
}

static void readiness_tells_its_reason(void)
{
        g_autoptr(answer) before = ask(world, "GET", "/readyz", NULL), during = NULL, live = NULL, after = NULL;

        api_set_ready(world->api, "the store is loading");
        during = ask(world, "GET", "/readyz", NULL);
        live = ask(world, "GET", "/livez", NULL);
        api_set_ready(world->api, NULL);
        after = ask(world, "GET", "/readyz", NULL);
        g_assert_cmpint(before->status, ==, 200);
        g_assert_cmpint(during->status, ==, 503);
        g_assert_nonnull(strstr(during->body->str, "the store is loading"));
        g_assert_cmpint(live->status, ==, 200);
        g_assert_cmpint(after->status, ==, 200);
}

/* --- core kinds
 * ------------------------------------------------------------------------------------------------------------------------ */

static void secrets_are_taken_as_text_and_kept_as_base64(void)
{
        static const struct row rows[] = {
                {"POST", SECRETS, "{\"metadata\":{\"name\":\"s\"},\"stringData\":{\"user\":\"root\"},\"data\":{\"pass\":\"eA==\"}}",
                 201, "/data/user", "cm9vdA=="},
                {"GET", SECRETS "/s", NULL, 200, "/stringData", ""},
                {"GET", SECRETS "/s", NULL, 200, "/type", "Opaque"},
                {"PATCH", SECRETS "/s", "{\"stringData\":{\"user\":\"me\"}}", 200, "/data/user", "bWU="},
                {"POST", SECRETS, "{\"metadata\":{\"name\":\"t\"},\"data\":{\"pass\":\"not base64!\"}}", 422, "/reason", "Invalid"},
        };

        RUN_ROWS(rows);
}

/* I9: no value of a secret in the audit log, also not in refusals. */
static void the_audit_names_secrets_and_never_their_values(void)
{
        g_autofree char *path = g_build_filename(world->dir, "audit.log", NULL), *text = NULL;
        g_autoptr(answer) create = ask(world, "POST", SECRETS "?fieldManager=kubectl",
                                       "{\"metadata\":{\"name\":\"s\"},\"stringData\":{\"user\":\"hunter2hunter2\"}}");
        g_autoptr(answer) refused = ask(world, "POST", SECRETS, "{\"metadata\":{\"name\":\"t\"},\"data\":{\"pass\":\"hunter2!\"}}");
        g_autoptr(answer) read = ask(world, "GET", SECRETS "/s", NULL);

        g_assert_cmpint(create->status, ==, 201);
        g_assert_cmpint(refused->status, ==, 422);
        g_assert_cmpint(read->status, ==, 200);
        g_assert_null(strstr(refused->body->str, "hunter2"));
        auth_audit_flush(world->audit);
        g_assert_cmpint(auth_audit_verify(path, NULL), ==, 0);
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        g_assert_null(strstr(text, "hunter2"));
        g_assert_nonnull(strstr(
                text, "\"verb\":\"create\",\"group\":\"\",\"resource\":\"secrets\",\"namespace\":\"default\",\"name\":\"s\""));
        g_assert_nonnull(strstr(text, "\"verb\":\"get\",\"group\":\"\",\"resource\":\"secrets\""));
        g_assert_nonnull(strstr(text, "\"status\":422"));
}

static void a_namespace_in_deletion_takes_nothing_new(void)
{
        static const struct row rows[] = {
                {"POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"team\"}}", 201, "/status/phase", "Active"},
                {"POST", "/api/v1/namespaces/team/configmaps", MAP("a"), 201, NULL, NULL},
                {"DELETE", "/api/v1/namespaces/team", NULL, 200, "/status/phase", "Terminating"},
                {"POST", "/api/v1/namespaces/team/configmaps", MAP("b"), 403, "/details/causes/0/reason", "NamespaceTerminating"},
                {"PATCH", "/api/v1/namespaces/team/configmaps/a", "{\"data\":{\"b\":\"c\"}}", 200, NULL, NULL},
                {"DELETE", "/api/v1/namespaces/team/configmaps/a", NULL, 200, NULL, NULL},
                {"PATCH", "/api/v1/namespaces/team", "{\"metadata\":{\"finalizers\":null}}", 200, NULL, NULL},
                {"GET", "/api/v1/namespaces/team", NULL, 200, "/status/phase", "Terminating"},
        };

        RUN_ROWS(rows);
}

static void taints_and_cordon_are_strategic_patches(void)
{
#define STRATEGIC "Content-Type: application/strategic-merge-patch+json\r\n"
        g_autoptr(answer) create = ask(world, "POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"n\"}}");
        g_autoptr(answer) cordon =
                ask_with(world, world->admin, "PATCH", "/api/v1/nodes/n", STRATEGIC, "{\"spec\":{\"unschedulable\":true}}");
        g_autoptr(answer) taint = ask_with(world, world->admin, "PATCH", "/api/v1/nodes/n", STRATEGIC,
                                           "{\"spec\":{\"taints\":[{\"key\":\"a\",\"effect\":\"NoSchedule\"}]}}");
        g_autoptr(answer) uncordon =
                ask_with(world, world->admin, "PATCH", "/api/v1/nodes/n", STRATEGIC, "{\"spec\":{\"unschedulable\":null}}");

        g_assert_cmpint(create->status, ==, 201);
        g_assert_true(json_bool(json_find(cordon->root, "spec", "unschedulable", NULL), false));
        g_assert_cmpstr(answer_text(taint, "/spec/taints/0/key"), ==, "a");
        g_assert_null(json_find(uncordon->root, "spec", "unschedulable", NULL));
        g_assert_cmpstr(answer_text(uncordon, "/spec/taints/0/key"), ==, "a");
}

/* --- other facades
 * --------------------------------------------------------------------------------------------------------------------- */

static void answer_route(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        g_autofree char *text = g_strdup_printf("%s %s %s", (const char *)userdata, identity->user, rest);

        http_reply(request, 200, "text/plain", text, strlen(text));
}

static void answer_subresource(struct http_request *request, const struct auth_identity *identity,
                               const struct store_object *object, void *userdata)
{
        api_reply_object(request, 200, object);
}

static void routes_and_subresources_run_behind_the_same_door(void)
{
        const struct {
                const char *token, *method, *path;
                int status;
                const char *body;
        } cases[] = {
                {world->admin, "GET", "/tool/v1/x/y", 200, "tree gabbro:admin x/y"},
                {world->admin, "POST", "/tool/v1/exact", 200, "exact gabbro:admin "},
                {world->admin, "GET", "/tool/v1/exact", 200, "tree gabbro:admin exact"},
                {world->user, "GET", "/tool/v1/x", 403, NULL},
                {NULL, "GET", "/tool/v1/x", 401, NULL},
                {NULL, "POST", "/agent/v1/join", 200, "join gabbro:anonymous "},
                {world->admin, "GET", "/agent/v1/manifest", 403, NULL},
                {NULL, "GET", "/agent/v1/manifest", 401, NULL},
                {world->admin, "POST", VMS "/a/poke", 200, NULL},
                {world->admin, "POST", VMS "/absent/poke", 404, NULL},
                {world->admin, "GET", VMS "/a/poke", 404, NULL},
                {world->user, "POST", VMS "/a/poke", 403, NULL},
        };
        g_autoptr(answer) create = ask(world, "POST", VMS, VM("a", "")), discovery = NULL, alias = NULL;

        g_assert_cmpint(create->status, ==, 201);
        api_add_route(world->api, &(struct api_route){.prefix = "/tool/v1/", .handle = answer_route, .userdata = "tree"});
        api_add_route(
                world->api,
                &(struct api_route){.method = "POST", .prefix = "/tool/v1/exact", .handle = answer_route, .userdata = "exact"});
        api_add_route(world->api, &(struct api_route){.method = "POST",
                                                      .prefix = "/agent/v1/join",
                                                      .anonymous = true,
                                                      .handle = answer_route,
                                                      .userdata = "join"});
        api_add_route(world->api,
                      &(struct api_route){.prefix = "/agent/v1/", .nodes_only = true, .handle = answer_route, .userdata = "agent"});
        api_add_subresource(world->api, &(struct api_subresource){.kind = &api_virtual_machine_kind,
                                                                  .name = "poke",
                                                                  .method = "POST",
                                                                  .verb = "create",
                                                                  .handle = answer_subresource});
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(answer) answer = ask_with(world, cases[i].token, cases[i].method, cases[i].path, NULL, NULL);

                if (answer->status != cases[i].status)
                        g_error("case %zu: status %d: %s", i, answer->status, answer->body->str);
                if (cases[i].body)
                        g_assert_cmpstr(answer->body->str, ==, cases[i].body);
        }
        discovery = ask(world, "GET", "/apis/gabbro.dev/v1", NULL);
        g_assert_nonnull(find_resource(discovery, "virtualmachines/poke"));
        alias = ask(world, "POST", ALIAS_VMS "/a/poke", NULL);
        g_assert_cmpstr(answer_text(alias, "/apiVersion"), ==, "virtualization.deckhouse.io/v1alpha2");
}

static void answer_reading(struct http_request *request, const char *namespace, const char *name, void *userdata)
{
        g_autofree char *text = g_strdup_printf("%s %s %s", (const char *)userdata, namespace ? namespace : "-", name ? name : "-");

        http_reply(request, 200, "text/plain", text, strlen(text));
}

/* metrics.k8s.io and the like: in discovery, of their own right, never written. */
static void readings_are_got_and_listed_and_nothing_else(void)
{
#define MEASURED "/apis/metrics.k8s.io/v1beta1"
        const struct {
                const char *token;
                const char *method, *path;
                int status;
                const char *body;
        } cases[] = {
                {world->admin, "GET", MEASURED "/nodes", 200, "nodes - -"},
                {world->admin, "GET", MEASURED "/nodes/a", 200, "nodes - a"},
                {world->admin, "GET", MEASURED "/pods", 200, "pods - -"},
                {world->admin, "GET", MEASURED "/namespaces/default/pods", 200, "pods default -"},
                {world->admin, "GET", MEASURED "/namespaces/default/pods/b", 200, "pods default b"},
                {world->admin, "GET", MEASURED "/pods/b", 404, NULL},
                {world->admin, "GET", MEASURED "/namespaces/default/nodes", 404, NULL},
                {world->admin, "GET", MEASURED "/nodes/a/more", 404, NULL},
                {world->admin, "GET", MEASURED "/nodes/", 404, NULL},
                {world->admin, "GET", MEASURED "/machines", 404, NULL},
                {world->admin, "GET", "/apis/metrics.k8s.io/v1/nodes", 404, NULL},
                {world->admin, "GET", MEASURED "/nodes?watch=true", 405, NULL},
                {world->admin, "POST", MEASURED "/nodes", 405, NULL},
                {world->admin, "DELETE", MEASURED "/nodes/a", 405, NULL},
                {world->user, "GET", MEASURED "/nodes", 403, NULL},
                {NULL, "GET", MEASURED "/nodes", 401, NULL},
        };
        g_autoptr(answer) groups = NULL, discovery = NULL;

        api_add_reading(world->api, &(struct api_reading){.group = "metrics.k8s.io",
                                                          .version = "v1beta1",
                                                          .plural = "nodes",
                                                          .kind = "NodeMetrics",
                                                          .handle = answer_reading,
                                                          .userdata = "nodes"});
        api_add_reading(world->api, &(struct api_reading){.group = "metrics.k8s.io",
                                                          .version = "v1beta1",
                                                          .plural = "pods",
                                                          .kind = "PodMetrics",
                                                          .namespaced = true,
                                                          .handle = answer_reading,
                                                          .userdata = "pods"});
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(answer) answer = ask_with(world, cases[i].token, cases[i].method, cases[i].path, NULL, NULL);

                if (answer->status != cases[i].status)
                        g_error("case %zu: status %d: %s", i, answer->status, answer->body->str);
                if (cases[i].body)
                        g_assert_cmpstr(answer->body->str, ==, cases[i].body);
        }
        groups = ask(world, "GET", "/apis", NULL);
        g_assert_nonnull(strstr(groups->body->str, "\"metrics.k8s.io/v1beta1\""));
        discovery = ask(world, "GET", MEASURED, NULL);
        g_assert_cmpstr(json_find_string(find_resource(discovery, "pods"), "kind", NULL), ==, "PodMetrics");
        g_assert_true(json_bool(json_get(find_resource(discovery, "pods"), "namespaced"), false));
        g_assert_false(json_bool(json_get(find_resource(discovery, "nodes"), "namespaced"), true));
        g_assert_cmpuint(json_length(json_get(find_resource(discovery, "nodes"), "verbs")), ==, 2);
#undef MEASURED
}

static void write_extra(GString *out, void *userdata)
{
        g_string_append(out, "extra_metric 1\n");
}

static void metrics_count_verbs_kinds_and_codes(void)
{
        g_autoptr(answer) miss = ask(world, "GET", VMS "/a", NULL), metrics = NULL;

        g_assert_cmpint(miss->status, ==, 404);
        api_add_metrics(world->api, write_extra, NULL);
        api_add_metrics(world->api, api_metrics_http, world->server);
        metrics = ask(world, "GET", "/metrics", NULL);
        g_assert_nonnull(strstr(metrics->body->str,
                                "gabbro_api_requests_total{verb=\"get\",resource=\"virtualmachines\",code=\"404\"} 1\n"));
        g_assert_nonnull(strstr(metrics->body->str, "gabbro_api_request_duration_seconds_bucket{verb=\"get\",le=\"+Inf\"}"));
        g_assert_nonnull(strstr(metrics->body->str, "\ngabbro_store_objects "));
        g_assert_nonnull(strstr(metrics->body->str, "\nextra_metric 1\n"));
        g_assert_nonnull(strstr(metrics->body->str, "\ngabbro_http_connections 1\n"));
}

static void a_request_id_is_kept_or_made(void)
{
        g_autoptr(answer) own = ask_with(world, world->admin, "GET", "/version", "X-Request-Id: abc-1.2_3\r\n", NULL);
        g_autoptr(answer) bad = ask_with(world, world->admin, "GET", "/version", "X-Request-Id: a b<c>\r\n", NULL);

        g_assert_nonnull(strcasestr(own->headers, "X-Request-Id: abc-1.2_3\r\n"));
        g_assert_null(strstr(bad->headers, "a b<c>"));
        g_assert_nonnull(strcasestr(bad->headers, "X-Request-Id: "));
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
        ADD(bodies_are_taken_by_their_media_type);
        ADD(bodies_and_objects_have_bounds);
        ADD(the_alias_shows_the_same_object);
        ADD(discovery_lists_what_is_served);
        ADD(readings_are_got_and_listed_and_nothing_else);
        ADD(openapi_v2_is_served_as_old_kubectl_needs_it);
        ADD(readiness_tells_its_reason);
        ADD(secrets_are_taken_as_text_and_kept_as_base64);
        ADD(the_audit_names_secrets_and_never_their_values);
        ADD(a_namespace_in_deletion_takes_nothing_new);
        ADD(taints_and_cordon_are_strategic_patches);
        ADD(routes_and_subresources_run_behind_the_same_door);
        ADD(metrics_count_verbs_kinds_and_codes);
        ADD(a_request_id_is_kept_or_made);
        return g_test_run();
}
