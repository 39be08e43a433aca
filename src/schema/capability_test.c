/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/capability.h"

#include "generated/reasons.h"

#include <glib.h>
#include <string.h>

/* B11: the matrix is data, whole, and every "no" of it has a reason that says what to do instead (B13). */
static void every_type_answers_every_operation(void)
{
        for (const struct capability_pool *pool = capability_pools; pool->type; pool++) {
                g_assert_true(capability_pool_find(pool->type) == pool);
                g_assert_true(pool->doc && pool->since && pool->lock && pool->facts[0]);
                for (int i = 0; i < CAPABILITY_OPERATIONS; i++) {
                        struct capability_answer answer = capability_ask(pool, i, (struct capability_facts){0});

                        g_assert_nonnull(answer.rule);
                        g_assert_cmpint(capability_operation_find(capability_operations[i].name), ==, i);
                        for (const struct capability_rule *rule = pool->rules[i];; rule++) {
                                if (rule->code)
                                        g_assert_true(*reason_find(rule->code)->doc);
                                if (!rule->when && !rule->unless)
                                        break;
                        }
                }
        }
        g_assert_null(capability_operations[CAPABILITY_OPERATIONS].name);
        g_assert_null(capability_pool_find("ext4"));
        g_assert_null(capability_pool_find(NULL));
        g_assert_cmpint(capability_operation_find("fly"), ==, -1);
}

/* The types of the requirements (B2-B8): one is there, the others say so. */
static void types_that_cannot_be_made_yet_support_nothing(void)
{
        static const char *const types[] = {"LVM", "LVMThin", "NFS", "ISCSI", "GlusterFS", "RBD", "DRBD"};
        const struct capability_facts all = {~0u, ~0u}, none = {~0u, 0};

        g_assert_true(capability_pool_find("Directory")->available);
        for (size_t t = 0; t < G_N_ELEMENTS(types); t++) {
                const struct capability_pool *pool = capability_pool_find(types[t]);

                g_assert_false(pool->available);
                for (int i = 0; i < CAPABILITY_OPERATIONS; i++) {
                        g_assert_cmpint(capability_ask(pool, i, all).verdict, ==, CAPABILITY_REFUSED);
                        g_assert_cmpint(capability_ask(pool, i, none).verdict, ==, CAPABILITY_REFUSED);
                }
        }
}

static const struct {
        const char *type, *operation;
        unsigned known, set;
        enum capability_verdict verdict;
        const char *code;
} asked[] = {
        {"Directory", "create", 0, 0, CAPABILITY_SUPPORTED, NULL},
        {"Directory", "delete", 0, 0, CAPABILITY_DEPENDS, REASON_DISK_IN_USE},
        {"Directory", "delete", CAPABILITY_RUNNING, 0, CAPABILITY_SUPPORTED, NULL},
        {"Directory", "delete", CAPABILITY_RUNNING, CAPABILITY_RUNNING, CAPABILITY_REFUSED, REASON_DISK_IN_USE},
        {"Directory", "shrink", ~0u, ~0u, CAPABILITY_REFUSED, REASON_SHRINK_NOT_OFFERED},
        {"Directory", "cloneReflink", CAPABILITY_REFLINK, 0, CAPABILITY_REFUSED, REASON_REFLINK_NOT_ON_FILESYSTEM},
        {"Directory", "snapshotInternal", ~0u, CAPABILITY_EFI, CAPABILITY_REFUSED, REASON_INTERNAL_SNAPSHOT_WITH_EFI},
        {"Directory", "snapshotInternal", ~0u, CAPABILITY_EFI | CAPABILITY_RAW, CAPABILITY_REFUSED,
         REASON_INTERNAL_SNAPSHOT_NEEDS_QCOW2},
        {"Directory", "migrateShared", 0, 0, CAPABILITY_REFUSED, REASON_POOL_IS_LOCAL},
        /* A57, B24 */
        {"RBD", "snapshotInternal", 0, 0, CAPABILITY_REFUSED, REASON_MACHINE_SNAPSHOT_NOT_ON_RBD},
        {"RBD", "snapshotExternal", ~0u, 0, CAPABILITY_REFUSED, REASON_MACHINE_SNAPSHOT_NOT_ON_RBD},
        {"RBD", "revert", ~0u, ~0u, CAPABILITY_REFUSED, REASON_MACHINE_SNAPSHOT_NOT_ON_RBD},
        {"LVM", "create", 0, 0, CAPABILITY_REFUSED, REASON_POOL_TYPE_NOT_YET},
        {"ISCSI", "resize", 0, 0, CAPABILITY_REFUSED, REASON_VOLUMES_MADE_ON_TARGET},
};

static void the_first_rule_that_holds_answers(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(asked); i++) {
                const struct capability_pool *pool = capability_pool_find(asked[i].type);
                int operation = capability_operation_find(asked[i].operation);
                struct capability_answer answer;

                g_assert_cmpint(operation, >=, 0);
                answer = capability_ask(pool, operation, (struct capability_facts){asked[i].known, asked[i].set});
                g_assert_cmpint(answer.verdict, ==, asked[i].verdict);
                g_assert_cmpstr(answer.rule->code, ==, asked[i].code);
        }
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/capability/every_type_answers_every_operation", every_type_answers_every_operation);
        g_test_add_func("/capability/types_that_cannot_be_made_yet_support_nothing", types_that_cannot_be_made_yet_support_nothing);
        g_test_add_func("/capability/the_first_rule_that_holds_answers", the_first_rule_that_holds_answers);
        return g_test_run();
}
