/* SPDX-License-Identifier: Apache-2.0 */
#include "api/world_test.h"
#include "generated/api_types.h"

#include <stdio.h>
#include <string.h>

/* Quotas of projects at the front door. Requirements D11, D59; attacks 18, 19. */

#define QUOTAS   "/api/v1/namespaces/default/resourcequotas"
#define MACHINES "/apis/gabbro.dev/v1/namespaces/default/virtualmachines"
#define DISKS    "/apis/gabbro.dev/v1/namespaces/default/virtualdisks"
#define SECRETS  "/api/v1/namespaces/default/secrets"

static void put_quota(struct world *world, const char *name, const char *hard)
{
        g_autofree char *body = g_strdup_printf("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"hard\":%s}}", name, hard);
        g_autofree char *path = g_strconcat(QUOTAS "/", name, NULL);
        autostoreobject there = store_get_newest(world->store, &api_resource_quota_kind, "default", name);
        g_autofree char *patch = g_strdup_printf("[{\"op\":\"replace\",\"path\":\"/spec/hard\",\"value\":%s}]", hard);
        g_autoptr(answer) answer =
                there ? ask_with(world, world->admin, "PATCH", path, "Content-Type: application/json-patch+json\r\n", patch)
                      : ask(world, "POST", QUOTAS, body);

        if (answer->status != (there ? 200 : 201))
                g_error("%d %s", answer->status, answer->body->str);
}

static char *machine(const char *name, int cores, const char *fraction, const char *memory)
{
        return g_strdup_printf(
                "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"virtualMachineClassName\":\"host\",\"cpu\":{\"cores\":%d,"
                "\"coreFraction\":\"%s\"},\"memory\":{\"size\":\"%s\"},\"blockDeviceRefs\":[{\"kind\":\"VirtualDisk\","
                "\"name\":\"%s\"}]}}",
                name, cores, fraction, memory, name);
}

static int create(struct world *world, const char *name, int cores, const char *fraction, const char *memory)
{
        g_autofree char *body = machine(name, cores, fraction, memory);
        g_autoptr(answer) answer = ask(world, "POST", MACHINES, body);

        return answer->status;
}

/* The status as its controller leaves it. */
static void expect_used(struct world *world, const char *quota, const char *expect)
{
        g_autofree char *used = NULL, *path = g_strconcat(QUOTAS "/", quota, NULL);

        for (gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC; g_get_monotonic_time() < end;) {
                g_autoptr(answer) answer = ask(world, "GET", path, NULL);

                const struct json_value *value = json_find(answer->root, "status", "used", NULL);

                g_free(used);
                used = json_to_text(value ? value : answer->root);
                if (strcmp(used, expect) == 0)
                        return;
                g_assert_cmpint(loop_run_once(world->loop, 20000), >=, 0);
        }
        g_error("%s: %s, not %s", quota, used, expect);
}

/* D59: a refusal names every resource of every quota that it would exceed. */
static void a_refusal_names_every_exceeded_resource(void)
{
        struct world *world = world_new(NULL);
        g_autofree char *body = machine("b", 8, "50%", "8Gi");

        put_quota(world, "compute", "{\"cores\":10,\"memory\":\"10Gi\",\"cpu\":\"4\"}");
        put_quota(world, "objects", "{\"count/virtualmachines.gabbro.dev\":1}");
        g_assert_cmpint(create(world, "a", 4, "50%", "4Gi"), ==, 201);

        g_autoptr(answer) answer = ask(world, "POST", MACHINES, body);

        g_assert_cmpint(answer->status, ==, 403);
        g_assert_cmpstr(answer_text(answer, "/reason"), ==, "Forbidden");
        g_assert_cmpstr(
                answer_text(answer, "/message"), ==,
                "virtualmachines.gabbro.dev \"b\" is forbidden: exceeded quota: compute, requested: cores=8, used: cores=4, "
                "limited: cores=10; exceeded quota: compute, requested: memory=8Gi, used: memory=4Gi, limited: memory=10Gi; "
                "exceeded quota: compute, requested: cpu=4, used: cpu=2, limited: cpu=4; exceeded quota: objects, requested: "
                "count/virtualmachines.gabbro.dev=1, used: count/virtualmachines.gabbro.dev=1, limited: "
                "count/virtualmachines.gabbro.dev=1");
        g_assert_cmpstr(answer_text(answer, "/details/causes/0/reason"), ==, "QuotaExceeded");
        g_assert_cmpstr(answer_text(answer, "/details/causes/3/field"), ==, "count/virtualmachines.gabbro.dev");
        expect_used(world, "compute", "{\"cores\":\"4\",\"memory\":\"4Gi\",\"cpu\":\"2\"}");
        world_free(world);
}

/* D59: what a dry run says is what would happen, and it uses nothing. */
static void a_dry_run_is_judged_and_uses_nothing(void)
{
        struct world *world = world_new(NULL);
        g_autofree char *fits = machine("a", 2, "100%", "1Gi"), *large = machine("a", 3, "100%", "1Gi");

        put_quota(world, "compute", "{\"cores\":2}");
        for (unsigned i = 0; i < 3; i++) {
                g_autoptr(answer) good = ask(world, "POST", MACHINES "?dryRun=All", fits);
                g_autoptr(answer) bad = ask(world, "POST", MACHINES "?dryRun=All", large);

                g_assert_cmpint(good->status, ==, 201);
                g_assert_cmpint(bad->status, ==, 403);
        }
        g_assert_cmpint(create(world, "a", 2, "100%", "1Gi"), ==, 201);

        g_autoptr(answer) raise = ask(world, "PATCH", MACHINES "/a?dryRun=All", "{\"spec\":{\"cpu\":{\"cores\":3}}}");

        g_assert_cmpint(raise->status, ==, 403);
        world_free(world);
}

/* D59, attack 18: updates that raise are judged like creates; those that lower or leave are not. */
static void only_what_raises_is_judged(void)
{
        struct world *world = world_new(NULL);

        put_quota(world, "q", "{\"cores\":4,\"memory\":\"4Gi\",\"requests.cpu\":\"2\"}");
        g_assert_cmpint(create(world, "a", 4, "50%", "4Gi"), ==, 201);

        const struct row rows[] = {
                {"PATCH", MACHINES "/a", "{\"spec\":{\"cpu\":{\"cores\":5}}}", 403, "/details/causes/0/field", "cores"},
                {"PATCH", MACHINES "/a", "{\"spec\":{\"memory\":{\"size\":\"4097Mi\"}}}", 403, "/details/causes/0/field", "memory"},
                {"PATCH", MACHINES "/a", "{\"spec\":{\"cpu\":{\"coreFraction\":\"51%\"}}}", 403, "/details/causes/0/field",
                 "requests.cpu"},
                {"PATCH", MACHINES "/a", "{\"spec\":{\"cpu\":{\"coreFraction\":null}}}", 403, "/details/causes/0/field",
                 "requests.cpu"},
                /* lowered below what is used: what is there stays, and may be edited and lowered */
                {"PATCH", QUOTAS "/q", "{\"spec\":{\"hard\":{\"cores\":1}}}", 200, NULL, NULL},
                {"PATCH", MACHINES "/a", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", 200, NULL, NULL},
                {"PATCH", MACHINES "/a", "{\"spec\":{\"cpu\":{\"cores\":3}}}", 200, NULL, NULL},
                {"PATCH", MACHINES "/a", "{\"spec\":{\"cpu\":{\"cores\":4}}}", 403, "/details/causes/0/field", "cores"},
                {"DELETE", MACHINES "/a", NULL, 200, NULL, NULL},
        };
        world_run_rows(world, rows, G_N_ELEMENTS(rows));
        expect_used(world, "q", "{\"cores\":\"0\",\"memory\":\"0\",\"requests.cpu\":\"0\"}");
        world_free(world);
}

/* What counts until it is gone: an object that finalizers hold still counts; in the write that lets it go it does not. */
static void use_is_given_back_when_the_object_is_gone(void)
{
        struct world *world = world_new(NULL);

        put_quota(world, "q", "{\"secrets\":1}");

        const struct row rows[] = {
                {"POST", SECRETS, "{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"example.com/x\"]}}", 201, NULL, NULL},
                {"POST", SECRETS, "{\"metadata\":{\"name\":\"b\"}}", 403, "/details/causes/0/field", "secrets"},
                {"DELETE", SECRETS "/a", NULL, 200, NULL, NULL},
                {"POST", SECRETS, "{\"metadata\":{\"name\":\"b\"}}", 403, NULL, NULL},
                {"PATCH", SECRETS "/a", "{\"metadata\":{\"finalizers\":null}}", 200, NULL, NULL},
                {"POST", SECRETS, "{\"metadata\":{\"name\":\"b\"}}", 201, NULL, NULL},
        };
        world_run_rows(world, rows, G_N_ELEMENTS(rows));
        world_free(world);
}

/* A quota that comes later counts what is there already; other projects are not touched. */
static void a_late_quota_counts_what_is_there(void)
{
        struct world *world = world_new(NULL);

        const struct row rows[] = {
                {"POST", DISKS, "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"persistentVolumeClaim\":{\"size\":\"3Gi\"}}}", 201,
                 NULL, NULL},
                {"POST", DISKS,
                 "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"persistentVolumeClaim\":{\"size\":\"2Gi\",\"storageClassName\":"
                 "\"fast\"}}}",
                 201, NULL, NULL},
                {"POST", QUOTAS,
                 "{\"metadata\":{\"name\":\"q\"},\"spec\":{\"hard\":{\"storage\":\"6Gi\",\"disks\":\"3\","
                 "\"fast.storageclass.storage.k8s.io/requests.storage\":\"2Gi\"}}}",
                 201, NULL, NULL},
                {"POST", DISKS, "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"persistentVolumeClaim\":{\"size\":\"2Gi\"}}}", 403,
                 "/details/causes/0/field", "storage"},
                {"PATCH", DISKS "/a", "{\"spec\":{\"persistentVolumeClaim\":{\"size\":\"5Gi\"}}}", 403, NULL, NULL},
                {"PATCH", DISKS "/b", "{\"spec\":{\"persistentVolumeClaim\":{\"size\":\"3Gi\"}}}", 403, "/details/causes/0/field",
                 "fast.storageclass.storage.k8s.io/requests.storage"},
                {"POST", DISKS, "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"persistentVolumeClaim\":{\"size\":\"1Gi\"}}}", 201,
                 NULL, NULL},
                {"POST", DISKS, "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"persistentVolumeClaim\":{\"size\":\"1\"}}}", 403,
                 "/details/causes/1/field", "disks"},
                {"POST", "/apis/gabbro.dev/v1/namespaces/other/virtualdisks",
                 "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"persistentVolumeClaim\":{\"size\":\"9Gi\"}}}", 201, NULL, NULL},
                {"DELETE", QUOTAS "/q", NULL, 200, NULL, NULL},
                {"POST", DISKS, "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"persistentVolumeClaim\":{\"size\":\"9Gi\"}}}", 201,
                 NULL, NULL},
        };
        world_run_rows(world, rows, G_N_ELEMENTS(rows));
        world_free(world);
}

#define TOGETHER 64

/* Attack 18: of many at once as many pass as there is room for, and not one more. */
static void of_64_at_once_exactly_10_pass(void)
{
        struct world *world = world_new(NULL);
        struct answer *answers[TOGETHER];
        char *bodies[TOGETHER];
        unsigned made = 0, refused = 0;

        put_quota(world, "q", "{\"count/virtualmachines.gabbro.dev\":10,\"cores\":20}");
        for (unsigned i = 0; i < TOGETHER; i++) {
                g_autofree char *name = g_strdup_printf("m-%u", i);

                bodies[i] = machine(name, 2, "100%", "1Gi");
        }
        ask_together(world, "POST", MACHINES, (const char *const *)bodies, TOGETHER, answers);
        for (unsigned i = 0; i < TOGETHER; i++) {
                made += answers[i]->status == 201;
                refused += answers[i]->status == 403;
                answer_free(answers[i]);
                g_free(bodies[i]);
        }
        g_assert_cmpuint(made, ==, 10);
        g_assert_cmpuint(refused, ==, TOGETHER - 10);
        g_assert_cmpuint(store_count(world->store, &api_virtual_machine_kind, "default"), ==, 10);
        expect_used(world, "q", "{\"count/virtualmachines.gabbro.dev\":\"10\",\"cores\":\"20\"}");
        world_free(world);
}

/* D11: names that nothing is counted under are refused; the right ones are taken, as numbers and as text. */
static void names_are_known_or_refused(void)
{
        struct world *world = world_new(NULL);

        const struct row rows[] = {
                {"POST", QUOTAS, "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"hard\":{\"machines\":5,\"count/secrets\":\"2\"}}}",
                 201, NULL, NULL},
                {"POST", QUOTAS,
                 "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"hard\":{\"count/virtualmachines.virtualization.deckhouse.io\":5}}}",
                 201, NULL, NULL},
                {"POST", QUOTAS, "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"hard\":{\"machine\":5}}}", 422,
                 "/details/causes/0/field", "spec.hard[machine]"},
                {"POST", QUOTAS, "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"hard\":{\"count/nodes\":5}}}", 422, NULL, NULL},
                {"POST", QUOTAS, "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"hard\":{\"count/tokens.gabbro.dev\":5}}}", 422, NULL,
                 NULL},
                {"POST", QUOTAS, "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"hard\":{\"cores\":\"1500m\"}}}", 422, NULL, NULL},
                {"POST", QUOTAS, "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"hard\":{\"memory\":\"-1\"}}}", 422, NULL, NULL},
                {"POST", QUOTAS,
                 "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"hard\":{\"memory\":\"1Gi\"},\"scopes\":[\"Terminating\"]}}", 422, NULL,
                 NULL},
        };
        world_run_rows(world, rows, G_N_ELEMENTS(rows));
        world_free(world);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/quota/every-reason", a_refusal_names_every_exceeded_resource);
        g_test_add_func("/quota/dry-run", a_dry_run_is_judged_and_uses_nothing);
        g_test_add_func("/quota/raises", only_what_raises_is_judged);
        g_test_add_func("/quota/given-back", use_is_given_back_when_the_object_is_gone);
        g_test_add_func("/quota/late", a_late_quota_counts_what_is_there);
        g_test_add_func("/quota/race", of_64_at_once_exactly_10_pass);
        g_test_add_func("/quota/names", names_are_known_or_refused);
        return g_test_run();
}
