/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/gc/gc.h"

#include "controllers/cloud_private_test.h"

#include <string.h>

#define CM (&api_config_map_kind)
#define NS (&api_namespace_kind)

/* --- helpers --- */

/* @more: further members of metadata. @owners: names of ConfigMaps in the same namespace, NULL-terminated; their uids are looked
 * up. */
static void map_in(struct cloud *cloud, const char *namespace, const char *name, const char *more, const char *const *owners)
{
        g_autoptr(GString) text = g_string_new(NULL);

        g_string_printf(text, "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: %s, %s ownerReferences: [", name,
                        namespace, more);
        for (; owners && *owners; owners++) {
                autostoreobject owner = store_get_newest(cloud->store, CM, namespace, *owners);

                g_string_append_printf(text, "{apiVersion: v1, kind: ConfigMap, name: %s, uid: %s, blockOwnerDeletion: true}, ",
                                       *owners, owner ? owner->uid : "00000000-0000-0000-0000-000000000000");
        }
        g_string_append(text, "]}}");
        cloud_apply(cloud, text->str);
}

static void map(struct cloud *cloud, const char *name, const char *more, const char *owner)
{
        const char *const owners[] = {owner, NULL};

        map_in(cloud, "default", name, more, owners);
        cloud_settle(cloud);
}

static bool there(const struct cloud *cloud, const char *name)
{
        return cloud_get(cloud, CM, name);
}

static bool deleting(const struct cloud *cloud, const char *name)
{
        return *cloud_text(cloud, CM, name, "/metadata/deletionTimestamp");
}

/* Delete as the API does with a policy: its finalizer is set with the deletion. */
static void delete_with(struct cloud *cloud, const char *name, const char *finalizer)
{
        autostoreobject old = store_get_newest(cloud->store, CM, "default", name);
        struct json_doc *doc = json_doc_new();
        struct json_value *metadata;

        g_assert_nonnull(old);
        json_set_root(doc, json_copy(doc, old->root));
        metadata = json_get(json_root(doc), "metadata");
        json_append(json_ensure_array(doc, metadata, "finalizers"), json_new_string(doc, finalizer));
        json_set_string(doc, metadata, "deletionTimestamp", "2026-01-01T00:00:00Z");
        cloud_commit(cloud, STORE_UPDATE, CM, "default", name, doc);
}

/* --- in the background --- */

static void dependents_go_when_all_owners_are_gone(void)
{
        static const char *const both[] = {"a", "b", NULL};
        g_autoptr(cloud) cloud = cloud_new(NULL);

        map(cloud, "a", "", NULL);
        map(cloud, "b", "", NULL);
        map_in(cloud, "default", "child", "", both);
        map(cloud, "grandchild", "", "child");
        cloud_delete(cloud, CM, "a");
        cloud_settle(cloud);
        g_assert_true(there(cloud, "child"));
        g_assert_cmpstr(cloud_text(cloud, CM, "child", "/metadata/ownerReferences/0/name"), ==, "b");
        g_assert_cmpstr(cloud_text(cloud, CM, "child", "/metadata/ownerReferences/1/name"), ==, "");
        cloud_delete(cloud, CM, "b");
        cloud_settle(cloud);
        g_assert_false(there(cloud, "child"));
        g_assert_false(there(cloud, "grandchild"));
        g_assert_true(cloud_has_event(cloud, "child", "OwnerGone"));
        cloud_expect_no_effects(cloud);
}

static void an_owner_that_is_absent_or_another_collects(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        map(cloud, "absent-owner", "", "nobody");
        g_assert_false(there(cloud, "absent-owner"));
        g_assert_true(cloud_has_event(cloud, "absent-owner", "OwnerGone"));
        map(cloud, "owner", "", NULL);
        cloud_apply(cloud, "{apiVersion: v1, kind: ConfigMap, metadata: {name: wrong-uid, ownerReferences:\n"
                           " [{apiVersion: v1, kind: ConfigMap, name: owner, uid: 00000000-0000-0000-0000-000000000001}]}}");
        cloud_settle(cloud);
        g_assert_false(there(cloud, "wrong-uid"));
        g_assert_true(cloud_has_event(cloud, "wrong-uid", "OwnerIsAnother"));
        cloud_apply(cloud, "{apiVersion: v1, kind: ConfigMap, metadata: {name: foreign, ownerReferences:\n"
                           " [{apiVersion: apps/v1, kind: Deployment, name: x, uid: 00000000-0000-0000-0000-000000000001}]}}");
        cloud_settle(cloud);
        g_assert_true(there(cloud, "foreign")); /* nobody here knows whether its owner is there */
}

static void an_alias_of_the_group_names_the_same_owner(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "m", NULL);
        cloud_settle(cloud);
        cloud_applyf(cloud,
                     "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, ownerReferences: [{apiVersion:\n"
                     " virtualization.deckhouse.io/v1alpha2, kind: VirtualMachine, name: m, uid: %s}]}}",
                     cloud_get(cloud, VM, "m")->uid);
        cloud_settle(cloud);
        g_assert_true(there(cloud, "c"));
        cloud_delete(cloud, VM, "m");
        cloud_settle(cloud);
        g_assert_false(there(cloud, "c"));
}

/* Attacks 15, 16: a reference across projects keeps nothing, deletes nothing and holds nothing. */
static void a_reference_to_another_project_has_no_power(void)
{
        static const char *const victim[] = {"victim", NULL};
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct cache_object *owner;

        cloud_apply(cloud, "{apiVersion: v1, kind: Namespace, metadata: {name: other}}");
        map(cloud, "victim", "", NULL);
        map(cloud, "child", "", "victim");
        owner = cloud_get(cloud, CM, "victim");
        cloud_applyf(cloud,
                     "{apiVersion: v1, kind: ConfigMap, metadata: {name: kept, namespace: other, finalizers: [x.io/f], "
                     "ownerReferences:\n"
                     " [{apiVersion: v1, kind: ConfigMap, name: victim, uid: %s, blockOwnerDeletion: true}]}}",
                     owner->uid);
        cloud_settle(cloud);
        owner = cache_get(cloud_cache(cloud), CM, "other", "kept");
        g_assert_true(object_deleting(owner)); /* its owner is not where it may be */
        g_assert_true(there(cloud, "victim") && there(cloud, "child"));
        delete_with(cloud, "victim", GC_FINALIZER_FOREGROUND);
        cloud_settle(cloud);
        g_assert_false(there(cloud, "victim"));
        g_assert_false(there(cloud, "child"));
        map_in(cloud, "other", "victim", "", NULL);
        map_in(cloud, "other", "theirs", "", victim);
        map(cloud, "victim", "", NULL);
        delete_with(cloud, "victim", GC_FINALIZER_ORPHAN);
        cloud_settle(cloud);
        g_assert_nonnull(cache_get(cloud_cache(cloud), CM, "other", "theirs"));
        g_assert_cmpuint(object_meta(cache_get(cloud_cache(cloud), CM, "other", "theirs"))->n_owner_references, ==, 1);
}

static void a_project_holds_nothing_of_the_cluster(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_apply(cloud, "{apiVersion: v1, kind: Namespace, metadata: {name: other, finalizers: [foregroundDeletion]}}");
        cloud_settle(cloud);
        cloud_applyf(cloud,
                     "{apiVersion: v1, kind: ConfigMap, metadata: {name: holder, finalizers: [x.io/f], ownerReferences:\n"
                     " [{apiVersion: v1, kind: Namespace, name: other, uid: %s, blockOwnerDeletion: true}]}}",
                     cloud_get(cloud, NS, "other")->uid);
        cloud_settle(cloud);
        g_assert_false(deleting(cloud, "holder"));
        cloud_delete(cloud, NS, "other");
        cloud_advance(cloud, SECOND_US);
        g_assert_null(cloud_get(cloud, NS, "other"));
        g_assert_true(deleting(cloud, "holder")); /* as its dependent it goes */
}

/* --- in the foreground, and as orphans --- */

static void in_the_foreground_the_owner_goes_last(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        map(cloud, "owner", "", NULL);
        map(cloud, "child", "", "owner");
        map(cloud, "grandchild", "finalizers: [x.io/f],", "child");
        delete_with(cloud, "owner", GC_FINALIZER_FOREGROUND);
        cloud_settle(cloud);
        g_assert_true(deleting(cloud, "owner") && deleting(cloud, "child") && deleting(cloud, "grandchild"));
        cloud_apply(cloud, "{apiVersion: v1, kind: ConfigMap, metadata: {name: grandchild, finalizers: []}}");
        cloud_commit(cloud, STORE_DELETE, CM, "default", "grandchild", NULL);
        cloud_settle(cloud);
        g_assert_false(there(cloud, "child") || there(cloud, "owner"));
        cloud_expect_no_effects(cloud);
}

static void a_dependent_that_does_not_block_is_not_waited_for(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        map(cloud, "owner", "", NULL);
        cloud_applyf(cloud,
                     "{apiVersion: v1, kind: ConfigMap, metadata: {name: slow, finalizers: [x.io/f], ownerReferences:\n"
                     " [{apiVersion: v1, kind: ConfigMap, name: owner, uid: %s}]}}",
                     cloud_get(cloud, CM, "owner")->uid);
        delete_with(cloud, "owner", GC_FINALIZER_FOREGROUND);
        cloud_settle(cloud);
        g_assert_false(there(cloud, "owner"));
        g_assert_true(deleting(cloud, "slow"));
}

static void another_owner_keeps_what_a_waiting_one_would_take(void)
{
        static const char *const both[] = {"goes", "stays", NULL};
        g_autoptr(cloud) cloud = cloud_new(NULL);

        map(cloud, "goes", "", NULL);
        map(cloud, "stays", "", NULL);
        map_in(cloud, "default", "child", "", both);
        cloud_settle(cloud);
        delete_with(cloud, "goes", GC_FINALIZER_FOREGROUND);
        cloud_settle(cloud);
        g_assert_false(there(cloud, "goes"));
        g_assert_true(there(cloud, "child"));
        g_assert_false(deleting(cloud, "child"));
}

static void orphans_stay_however_many_they_are(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        map(cloud, "owner", "", NULL);
        for (unsigned i = 0; i < 250; i++) {
                g_autofree char *name = g_strdup_printf("child-%u", i);

                map(cloud, name, "", "owner");
        }
        delete_with(cloud, "owner", GC_FINALIZER_ORPHAN);
        cloud_settle(cloud);
        g_assert_false(there(cloud, "owner"));
        g_assert_cmpuint(cloud_count(cloud, CM), ==, 250);
        g_assert_cmpstr(cloud_text(cloud, CM, "child-249", "/metadata/ownerReferences"), ==, "");
        g_assert_cmpuint(object_meta(cloud_get(cloud, CM, "child-0"))->n_owner_references, ==, 0);
        cloud_expect_no_effects(cloud);
}

/* --- rings --- */

static void ring(struct cloud *cloud, const char *const *names)
{
        for (size_t i = 0; names[i]; i++)
                map(cloud, names[i], "finalizers: [x.io/hold],", NULL);
        for (size_t i = 0; names[i]; i++) {
                const char *const owner[] = {names[i + 1] ? names[i + 1] : names[0], NULL};

                map_in(cloud, "default", names[i], "finalizers: [],", owner);
        }
        cloud_settle(cloud);
}

static void a_ring_of_owners_stands_and_falls_together(void)
{
        static const char *const names[] = {"a", "b", "c", NULL};
        static const char *const finalizers[] = {GC_FINALIZER_FOREGROUND, NULL};

        for (size_t i = 0; i < G_N_ELEMENTS(finalizers); i++) {
                g_autoptr(cloud) cloud = cloud_new(NULL);
                struct control_stats stats;

                ring(cloud, names);
                g_assert_cmpuint(cloud_count(cloud, CM), ==, 3);
                cloud_expect_no_effects(cloud);
                if (finalizers[i])
                        delete_with(cloud, "b", finalizers[i]);
                else
                        cloud_delete(cloud, CM, "b");
                cloud_settle(cloud);
                g_assert_cmpuint(cloud_count(cloud, CM), ==, 0);
                control_stats(cloud_control(cloud), "gc", &stats);
                g_assert_cmpuint(stats.turns, <, 40);
        }
}

static void a_ring_waits_for_what_hangs_on_it(void)
{
        static const char *const names[] = {"a", "b", NULL};
        g_autoptr(cloud) cloud = cloud_new(NULL);

        ring(cloud, names);
        map(cloud, "hung", "finalizers: [x.io/f],", "b");
        delete_with(cloud, "a", GC_FINALIZER_FOREGROUND);
        cloud_settle(cloud);
        g_assert_cmpuint(cloud_count(cloud, CM), ==, 3);
        cloud_commit(cloud, STORE_DELETE, CM, "default", "hung", NULL);
        cloud_settle(cloud);
        g_assert_cmpuint(cloud_count(cloud, CM), ==, 0);
}

static void an_object_that_owns_itself_can_be_deleted(void)
{
        static const char *const self[] = {"a", NULL};
        g_autoptr(cloud) cloud = cloud_new(NULL);

        ring(cloud, self);
        g_assert_true(there(cloud, "a"));
        delete_with(cloud, "a", GC_FINALIZER_FOREGROUND);
        cloud_settle(cloud);
        g_assert_false(there(cloud, "a"));
}

/* --- machines --- */

static void a_machine_deleted_in_the_foreground_goes_with_all_it_has(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "m", NULL);
        cloud_expect_phase(cloud, VM, "m", "Running");
        g_assert_cmpuint(cloud_count(cloud, VMIP), ==, 1);
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachine, metadata: {name: m,\n"
                           " finalizers: [gabbro.dev/vm-cleanup, foregroundDeletion]}}");
        cloud_delete(cloud, VM, "m");
        cloud_advance(cloud, 5 * SECOND_US);
        g_assert_null(cloud_get(cloud, VM, "m"));
        g_assert_cmpuint(cloud_count(cloud, VMIP), ==, 0);
        g_assert_cmpuint(cloud_count(cloud, &api_instance_kind), ==, 0);
        g_assert_cmpuint(cloud_count(cloud, &api_port_kind), ==, 0);
        g_assert_nonnull(cloud_get(cloud, VD, "m-root"));
}

/* --- many, in any order --- */

#define STORM_OBJECTS 3000

/* Owners in chains, rings and knots; half of the roots are deleted in each of the three ways. What is left is what has an owner
 * that nobody deleted. */
static void storm(uint64_t seed, bool chaos, unsigned n, GString *left)
{
        struct cloud_options options = {.seed = seed, .chaos = chaos, .bare = true};
        g_autoptr(cloud) cloud = cloud_new(&options);
        uint64_t state = 7;
        struct random_source random = random_seeded(&state);
        g_autoptr(GPtrArray) list = NULL;

        for (unsigned i = 0; i < n; i++) {
                g_autofree char *name = g_strdup_printf("o-%u", i);
                char first[16] = "", second[16] = "";
                const char *owners[3] = {NULL};

                if (i % 10 > 0) { /* families of ten below one root */
                        g_snprintf(first, sizeof(first), "o-%u", (unsigned)(i - i % 10 + random_below(&random, i % 10)));
                        g_snprintf(second, sizeof(second), "o-%u", (unsigned)(i - i % 10 + random_below(&random, i % 10)));
                        owners[0] = first;
                        owners[1] = strcmp(first, second) != 0 ? second : NULL;
                }
                map_in(cloud, "default", name, "", owners); /* under chaos it may be seen before its owner is */
        }
        cloud_settle(cloud);
        g_assert_cmpuint(cloud_count(cloud, CM), ==, n);
        for (unsigned i = 0; i < n; i += 10) { /* every fourth root becomes the dependent of its own last grandchild */
                g_autofree char *root = g_strdup_printf("o-%u", i), *last = g_strdup_printf("o-%u", i + 9);
                const char *const owners[] = {last, NULL};

                if (i % 40 == 0)
                        map_in(cloud, "default", root, "", owners);
        }
        cloud_settle(cloud);
        for (unsigned i = 0; i < n; i += 20) {
                g_autofree char *root = g_strdup_printf("o-%u", i);

                if (i % 60 == 0)
                        cloud_delete(cloud, CM, root);
                else
                        delete_with(cloud, root, i % 60 == 20 ? GC_FINALIZER_FOREGROUND : GC_FINALIZER_ORPHAN);
        }
        cloud_advance(cloud, SECOND_US);
        list = cache_list(cloud_cache(cloud), CM, "default");
        for (guint i = 0; i < list->len; i++) {
                const struct cache_object *object = list->pdata[i];

                g_assert_false(object_deleting(object));
                g_string_append_printf(left, "%s %zu\n", object->name, object_meta(object)->n_owner_references);
        }
        if (!chaos)
                cloud_expect_no_effects(cloud);
}

static void a_storm_of_owners_ends_and_leaves_the_right_ones(void)
{
        g_autoptr(GString) left = g_string_new(NULL);
        g_auto(GStrv) lines = NULL;

        storm(1, false, STORM_OBJECTS, left);
        lines = g_strsplit(left->str, "\n", -1);
        /* Of six families three have a root that nobody deletes, and one loses its root alone. */
        g_assert_cmpuint(g_strv_length(lines) - 1, ==, STORM_OBJECTS / 60 * (30 + 9));
}

static void any_order_loss_and_doubling_collects_the_same(void)
{
        g_autoptr(GString) calm = g_string_new(NULL);

        storm(1, false, 120, calm);
        for (uint64_t seed = 1; seed <= (g_test_thorough() ? 100 : 8); seed++) {
                g_autoptr(GString) wild = g_string_new(NULL);

                storm(seed, true, 120, wild);
                g_assert_cmpstr(wild->str, ==, calm->str);
        }
}

/* --- namespaces --- */

static void fill_project(struct cloud *cloud, const char *name)
{
        cloud_applyf(cloud, "{apiVersion: v1, kind: Namespace, metadata: {name: %s}}", name);
        if (!cloud_get(cloud, CVI, "tiny"))
                cloud_image(cloud, "tiny");
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: root, namespace: %s},\n"
                     " spec: {dataSource: {type: ObjectRef, objectRef: {kind: ClusterVirtualImage, name: tiny}},\n"
                     "  persistentVolumeClaim: {size: 2Gi}}}\n---\n"
                     "{apiVersion: v1, kind: Secret, metadata: {name: init, namespace: %s}, data: {userData: YQ==},\n"
                     " type: provisioning.virtualization.deckhouse.io/cloud-init}\n---\n"
                     "{apiVersion: gabbro.dev/v1, kind: VirtualMachine, metadata: {name: m, namespace: %s}, spec: {\n"
                     " virtualMachineClassName: generic, cpu: {cores: 1}, memory: {size: 1Gi},\n"
                     " provisioning: {type: UserDataRef, userDataRef: {kind: Secret, name: init}},\n"
                     " blockDeviceRefs: [{kind: VirtualDisk, name: root}]}}",
                     name, name, name);
        cloud_settle(cloud);
}

static void expect_no_content(struct cloud *cloud, const char *namespace)
{
        for (const struct schema_kind *const *kind = schema_kinds; *kind; kind++)
                if ((*kind)->namespaced)
                        g_assert_cmpuint(store_count(cloud->store, *kind, namespace), ==, 0);
        g_assert_cmpuint(cloud_count(cloud, &api_instance_kind), ==, 0);
        g_assert_cmpuint(cloud_count(cloud, &api_volume_kind), ==, 0);
        g_assert_cmpuint(cloud_count(cloud, &api_port_kind), ==, 0);
}

static void a_namespace_ends_machines_first_and_says_what_is_left(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        fill_project(cloud, "p");
        g_assert_cmpuint(cloud_count(cloud, &api_instance_kind), ==, 1);
        cloud_hold(cloud, &api_instance_kind);
        cloud_delete(cloud, NS, "p");
        cloud_advance(cloud, 2 * SECOND_US);
        g_assert_cmpstr(cloud_phase(cloud, NS, "p"), ==, "Terminating");
        cloud_expect_condition(cloud, NS, "p", "NamespaceContentRemaining", "True SomeResourcesRemain",
                               "virtualmachines.gabbro.dev: 1");
        cloud_expect_condition(cloud, NS, "p", "NamespaceContentRemaining", "True SomeResourcesRemain", "secrets: 1");
        cloud_expect_condition(cloud, NS, "p", "NamespaceFinalizersRemaining", "True SomeFinalizersRemain",
                               "gabbro.dev/vm-cleanup on 1");
        g_assert_false(object_deleting(cache_get(cloud_cache(cloud), VD, "p", "root"))); /* its machine is not gone */
        cloud_hold(cloud, NULL);
        cloud_advance(cloud, 10 * SECOND_US);
        g_assert_null(cloud_get(cloud, NS, "p"));
        expect_no_content(cloud, "p");
        cloud_expect_no_effects(cloud);
}

static void a_foreign_finalizer_is_told_and_waited_for(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_apply(cloud, "{apiVersion: v1, kind: Namespace, metadata: {name: p}}");
        cloud_settle(cloud);
        map_in(cloud, "p", "held", "finalizers: [x.io/f],", NULL);
        for (unsigned i = 0; i < 250; i++) {
                g_autofree char *name = g_strdup_printf("c-%u", i);

                map_in(cloud, "p", name, "", NULL);
        }
        cloud_delete(cloud, NS, "p");
        cloud_advance(cloud, 2 * SECOND_US);
        cloud_expect_condition(cloud, NS, "p", "NamespaceContentRemaining", "True SomeResourcesRemain", "configmaps: 1");
        cloud_expect_condition(cloud, NS, "p", "NamespaceFinalizersRemaining", "True SomeFinalizersRemain", "x.io/f on 1");
        cloud_commit(cloud, STORE_DELETE, CM, "p", "held", NULL);
        cloud_advance(cloud, SECOND_US);
        g_assert_null(cloud_get(cloud, NS, "p"));
        expect_no_content(cloud, "p");
}

/* I4: what was accepted before the namespace closed, and is published after it was found empty, does not outlive it. */
static void what_was_on_its_way_goes_with_the_namespace(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        struct json_doc *doc = NULL;
        static const char event[] = "{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"name\":\"late\",\"namespace\":\"p\","
                                    "\"uid\":\"u\"},\"involvedObject\":{\"namespace\":\"p\"}}";
        struct store_op op = {.verb = STORE_CREATE, .kind = &api_event_kind, .namespace = "p", .name = "late"};
        struct store_txn txn = {.ops = &op, .n_ops = 1};

        cloud_apply(cloud, "{apiVersion: v1, kind: Namespace, metadata: {name: p}}");
        cloud_settle(cloud);
        map_in(cloud, "p", "held", "finalizers: [x.io/f],", NULL);
        cloud_delete(cloud, NS, "p");
        cloud_settle(cloud);
        cloud_commit(cloud, STORE_DELETE, CM, "p", "held", NULL);
        cloud_settle(cloud);
        cloud->now_us += SECOND_US;
        g_assert_cmpint(json_parse(event, strlen(event), &doc, NULL), ==, 0);
        op.doc = doc;
        g_assert_cmpint(store_commit(cloud->store, &txn, NULL, NULL, NULL), ==, 0);
        while (control_step(cloud->control))
                ;
        cloud_advance(cloud, SECOND_US);
        g_assert_null(cloud_get(cloud, NS, "p"));
        expect_no_content(cloud, "p");
}

static void namespaces_end_alike_in_any_order_of_events(void)
{
        for (uint64_t seed = 1; seed <= (g_test_thorough() ? 100 : 8); seed++) {
                struct cloud_options options = {.seed = seed, .chaos = true};
                g_autoptr(cloud) cloud = cloud_new(&options);

                fill_project(cloud, "p");
                fill_project(cloud, "q");
                cloud_delete(cloud, NS, "p");
                cloud_advance(cloud, 20 * SECOND_US);
                g_assert_null(cloud_get(cloud, NS, "p"));
                g_assert_nonnull(cache_get(cloud_cache(cloud), VM, "q", "m"));
                cloud_delete(cloud, NS, "q");
                cloud_advance(cloud, 20 * SECOND_US);
                g_assert_null(cloud_get(cloud, NS, "q"));
                expect_no_content(cloud, "p");
                expect_no_content(cloud, "q");
        }
}

/* A kind that is served and left out would never be anybody's dependent, nor owner. */
static void every_kind_that_is_served_is_looked_at(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        for (const struct schema_kind *const *kind = schema_kinds; *kind; kind++)
                if (!(*kind)->internal && *kind != &api_event_kind && !cache_holds(cloud_cache(cloud), *kind))
                        g_error("%s is not in controllers_kinds", (*kind)->kind);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/gc/D15_dependents_go_when_all_owners_are_gone", dependents_go_when_all_owners_are_gone);
        g_test_add_func("/gc/an_owner_that_is_absent_or_another_collects", an_owner_that_is_absent_or_another_collects);
        g_test_add_func("/gc/an_alias_of_the_group_names_the_same_owner", an_alias_of_the_group_names_the_same_owner);
        g_test_add_func("/gc/attack_15_16_a_reference_to_another_project_has_no_power",
                        a_reference_to_another_project_has_no_power);
        g_test_add_func("/gc/attack_16_a_project_holds_nothing_of_the_cluster", a_project_holds_nothing_of_the_cluster);
        g_test_add_func("/gc/D17_in_the_foreground_the_owner_goes_last", in_the_foreground_the_owner_goes_last);
        g_test_add_func("/gc/a_dependent_that_does_not_block_is_not_waited_for", a_dependent_that_does_not_block_is_not_waited_for);
        g_test_add_func("/gc/another_owner_keeps_what_a_waiting_one_would_take", another_owner_keeps_what_a_waiting_one_would_take);
        g_test_add_func("/gc/D17_orphans_stay_however_many_they_are", orphans_stay_however_many_they_are);
        g_test_add_func("/gc/a_ring_of_owners_stands_and_falls_together", a_ring_of_owners_stands_and_falls_together);
        g_test_add_func("/gc/a_ring_waits_for_what_hangs_on_it", a_ring_waits_for_what_hangs_on_it);
        g_test_add_func("/gc/an_object_that_owns_itself_can_be_deleted", an_object_that_owns_itself_can_be_deleted);
        g_test_add_func("/gc/a_machine_deleted_in_the_foreground_goes_with_all_it_has",
                        a_machine_deleted_in_the_foreground_goes_with_all_it_has);
        g_test_add_func("/gc/A4_a_storm_of_owners_ends_and_leaves_the_right_ones",
                        a_storm_of_owners_ends_and_leaves_the_right_ones);
        g_test_add_func("/gc/A4_any_order_loss_and_doubling_collects_the_same", any_order_loss_and_doubling_collects_the_same);
        g_test_add_func("/namespace/a_namespace_ends_machines_first_and_says_what_is_left",
                        a_namespace_ends_machines_first_and_says_what_is_left);
        g_test_add_func("/namespace/a_foreign_finalizer_is_told_and_waited_for", a_foreign_finalizer_is_told_and_waited_for);
        g_test_add_func("/namespace/I4_what_was_on_its_way_goes_with_the_namespace", what_was_on_its_way_goes_with_the_namespace);
        g_test_add_func("/namespace/A4_namespaces_end_alike_in_any_order_of_events", namespaces_end_alike_in_any_order_of_events);
        g_test_add_func("/gc/every_kind_that_is_served_is_looked_at", every_kind_that_is_served_is_looked_at);
        return g_test_run();
}
