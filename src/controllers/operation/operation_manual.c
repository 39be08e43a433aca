/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/operation/operation.h"

#include <assert.h>

/* The page of the reference manual on operations, made of the tables that decide. */

static const char *const verdict_words[] = {
        [OPERATION_REFUSED] = "no", [OPERATION_ALLOWED] = "yes", [OPERATION_WITH_FORCE] = "by force"};

static void add_heads(GString *page, const char *first)
{
        g_string_append_printf(page, "| %s |", first);
        for (size_t i = 0; i < operation_n_rules; i++)
                g_string_append_printf(page, " %s |", power_order_to_text(operation_rules[i].order));
        g_string_append(page, "\n|---|");
        for (size_t i = 0; i < operation_n_rules; i++)
                g_string_append(page, "---|");
        g_string_append_c(page, '\n');
}

static void add_phases(GString *page)
{
        add_heads(page, "The machine is");
        for (unsigned phase = 0; phase < VM_PHASES; phase++) {
                g_string_append_printf(page, "| %s |", vm_phase_to_text(phase));
                for (size_t i = 0; i < operation_n_rules; i++)
                        g_string_append_printf(page, " %s |", verdict_words[operation_rules[i].cells[phase].verdict]);
                g_string_append_c(page, '\n');
        }
        g_string_append(page, "| Pending, reason BackOff |");
        for (size_t i = 0; i < operation_n_rules; i++)
                g_string_append_printf(page, " %s |",
                                       operation_rules[i].hurries ? "yes"
                                                                  : verdict_words[operation_rules[i].cells[VM_PENDING].verdict]);
        g_string_append(page, "\n\nWhy not:\n\n| Operation | The machine is | |\n|---|---|---|\n");
        for (size_t i = 0; i < operation_n_rules; i++)
                for (unsigned phase = 0; phase < VM_PHASES; phase++)
                        if (operation_rules[i].cells[phase].words)
                                g_string_append_printf(page, "| %s | %s | %s |\n", power_order_to_text(operation_rules[i].order),
                                                       vm_phase_to_text(phase), operation_rules[i].cells[phase].words);
}

static void add_policies(GString *page)
{
        add_heads(page, "Run policy");
        for (unsigned policy = 0; policy < RUN_POLICIES; policy++) {
                g_string_append_printf(page, "| %s |", run_policy_to_text(policy));
                for (size_t i = 0; i < operation_n_rules; i++)
                        g_string_append_printf(page, " %s |", operation_rules[i].policies & (1u << policy) ? "yes" : "no");
                g_string_append_c(page, '\n');
        }
        g_string_append(page, "\n| Operation | Done when |\n|---|---|\n");
        for (size_t i = 0; i < operation_n_rules; i++)
                g_string_append_printf(page, "| %s | %s |\n", power_order_to_text(operation_rules[i].order),
                                       operation_rules[i].done_when);
}

static void add_supersession(GString *page)
{
        static const struct {
                enum power_order order;
                bool force;
        } kinds[] = {{ORDER_START},     {ORDER_STOP},    {ORDER_STOP, true}, {ORDER_RESTART}, {ORDER_RESTART, true},
                     {ORDER_FORCE_OFF}, {ORDER_SUSPEND}, {ORDER_RESUME},     {ORDER_RESET},   {ORDER_REDEPLOY},
                     {ORDER_CLONE},     {ORDER_MIGRATE}, {ORDER_EVICT}};

        g_string_append(page, "| Unfinished | ended by |\n|---|---|\n");
        for (size_t older = 0; older < G_N_ELEMENTS(kinds); older++) {
                const char *comma = "";

                g_string_append_printf(page, "| %s%s | ", power_order_to_text(kinds[older].order),
                                       kinds[older].force ? " by force" : "");
                for (size_t newer = 0; newer < G_N_ELEMENTS(kinds); newer++) {
                        if (!operation_supersedes(kinds[newer].order, kinds[newer].force, kinds[older].order, kinds[older].force))
                                continue;
                        g_string_append_printf(page, "%s%s%s", comma, power_order_to_text(kinds[newer].order),
                                               kinds[newer].force ? " by force" : "");
                        comma = ", ";
                }
                g_string_append(page, *comma ? " |\n" : "nothing |\n");
        }
}

static void add_states(GString *page)
{
        g_string_append(
                page, "| Power | State of the domain | Phase | Phase, while a newer start is wanted | |\n|---|---|---|---|---|\n");
        for (size_t i = 0; i < vm_n_phase_rows; i++)
                g_string_append_printf(
                        page, "| %s | %s | %s | %s | %s |\n", vm_phase_rows[i].power_on ? "On" : "Off",
                        vm_phase_rows[i].state == VM_STATE_NONE ? "not told yet" : vm_state_to_text(vm_phase_rows[i].state),
                        vm_phase_to_text(vm_phase_rows[i].current), vm_phase_to_text(vm_phase_rows[i].older), vm_phase_rows[i].doc);
        g_string_append(page, "\n| Phase | may be followed by |\n|---|---|\n");
        for (unsigned from = 0; from < VM_PHASES; from++) {
                const char *comma = "";

                g_string_append_printf(page, "| %s | ", vm_phase_to_text(from));
                for (unsigned to = 0; to < VM_PHASES; to++) {
                        if (from == to || !vm_phase_may_follow(from, to))
                                continue;
                        g_string_append_printf(page, "%s%s", comma, vm_phase_to_text(to));
                        comma = ", ";
                }
                g_string_append(page, *comma ? " |\n" : "nothing |\n");
        }
}

void operation_manual(GString *page)
{
        static const struct {
                const char *head;
                void (*add)(GString *page);
        } parts[] = {
                {"## When an operation is allowed\n\nAn operation that is not allowed fails at once with these words.\n\n",
                 add_phases},
                {"## Run policies\n\n", add_policies},
                {"## One at a time\n\nA machine has one unfinished operation. A newer one fails (`NotReadyToBeExecuted`), or ends "
                 "the older (`Superseded`):\n\n",
                 add_supersession},
                {"## Phases\n\n", add_states},
        };

        assert(page);
        g_string_append(page, "# Operations\n\nMade by the build of the tables that decide.\n");
        for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
                g_string_append_printf(page, "\n%s", parts[i].head);
                parts[i].add(page);
        }
}
