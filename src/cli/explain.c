/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/config.h"
#include "generated/api_types.h"
#include "generated/reasons.h"
#include "schema/capability.h"

#include <stdio.h>
#include <string.h>

/* Why something can or cannot be done: what the object's status says, with the words of the registry and of the matrix. */

/* One answer about one operation. */
struct answer {
        const char *operation;
        const char *verdict; /* Supported, Refused, Depends; NULL: not said */
        const char *code, *message, *since, *remedy, *note;
};

static const struct {
        const struct schema_kind *kind;
        unsigned subject;
        const char *words;
} subjects[] = {
        {&api_storage_pool_kind, CAPABILITY_OF_POOL, "pools"},
        {&api_virtual_disk_kind, CAPABILITY_OF_DISK, "disks"},
        {&api_virtual_machine_kind, CAPABILITY_OF_MACHINE, "machines"},
};

static unsigned subject_of(const struct schema_kind *kind)
{
        for (size_t i = 0; i < G_N_ELEMENTS(subjects); i++)
                if (subjects[i].kind == kind)
                        return subjects[i].subject;
        return 0;
}

/* --- answers --- */

/* What the matrix has to say beyond the registry. */
static const char *note_of(const struct capability_pool *pool, const char *operation, const char *code)
{
        int number = capability_operation_find(operation);
        const struct capability_rule *rule = pool && number >= 0 ? pool->rules[number] : NULL;

        for (; rule; rule++) {
                if (g_strcmp0(rule->code, code) == 0)
                        return rule->note;
                if (!rule->when && !rule->unless)
                        return NULL;
        }
        return NULL;
}

static void add_words(struct answer *answer, const struct capability_pool *pool)
{
        const struct reason *reason = reason_find(answer->code);

        if (!answer->message)
                answer->message = reason ? reason->text : NULL;
        if (!answer->remedy)
                answer->remedy = reason ? reason->doc : NULL;
        if (!answer->since)
                answer->since = pool ? pool->since : NULL;
        answer->note = note_of(pool, answer->operation, answer->code);
}

static bool holds(const struct json_value *list, const char *operation)
{
        for (const struct json_value *item = json_first(list); item; item = json_next(item))
                if (g_strcmp0(json_string(item, NULL), operation) == 0)
                        return true;
        return false;
}

static bool find_group(const struct json_value *groups, const char *verdict, struct answer *answer)
{
        for (const struct json_value *group = json_first(groups); group; group = json_next(group)) {
                if (!holds(json_get(group, "operations"), answer->operation))
                        continue;
                answer->verdict = verdict;
                answer->code = json_find_string(group, "code", NULL);
                answer->message = json_find_string(group, "message", NULL);
                answer->since = json_find_string(group, "since", NULL);
                answer->remedy = json_find_string(group, "remedy", NULL);
                return true;
        }
        return false;
}

/* What the status of an object says. */
static void answer_of_object(const struct json_value *capabilities, struct answer *answer)
{
        const struct capability_pool *pool = capability_pool_find(json_find_string(capabilities, "poolType", NULL));

        if (holds(json_get(capabilities, "supported"), answer->operation))
                answer->verdict = "Supported";
        else if (!find_group(json_get(capabilities, "refused"), "Refused", answer))
                (void)find_group(json_get(capabilities, "depends"), "Depends", answer);
        add_words(answer, pool);
}

/* What the matrix says of a type. */
static void answer_of_type(const struct capability_pool *pool, struct answer *answer)
{
        static const char *const verdicts[] = {
                [CAPABILITY_REFUSED] = "Refused", [CAPABILITY_SUPPORTED] = "Supported", [CAPABILITY_DEPENDS] = "Depends"};
        struct capability_answer found = capability_ask(
                pool, (enum capability_operation)capability_operation_find(answer->operation), (struct capability_facts){0});

        answer->verdict = verdicts[found.verdict];
        answer->code = found.rule->code;
        add_words(answer, pool);
}

/* --- output --- */

static struct json_value *answer_json(const struct answer *answer, struct json_doc *doc)
{
        struct json_value *object = json_new(doc, JSON_OBJECT);
        const struct {
                const char *key, *text;
        } members[] = {{"operation", answer->operation},
                       {"verdict", answer->verdict},
                       {"code", answer->code},
                       {"message", answer->message},
                       {"since", answer->since},
                       {"remedy", answer->remedy},
                       {"note", answer->note}};

        for (size_t i = 0; i < G_N_ELEMENTS(members); i++)
                if (members[i].text)
                        json_set_string(doc, object, members[i].key, members[i].text);
        return object;
}

static void print_long(const char *of, const struct answer *answer)
{
        const struct {
                const char *label, *text;
        } lines[] = {{"Reason", answer->code},
                     {"Message", answer->message},
                     {"Remedy", answer->remedy},
                     {"Note", answer->note},
                     {"Since", answer->since}};

        cli_say("%s: %s: %s", of, answer->operation, answer->verdict);
        for (size_t i = 0; i < G_N_ELEMENTS(lines); i++)
                if (lines[i].text && (answer->code || lines[i].text == answer->note))
                        cli_say("  %-8s %s", lines[i].label, lines[i].text);
}

static void print_answers(const char *of, const GArray *answers, const char *output)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *list = json_new(doc, JSON_ARRAY);
        struct cli_table *table;

        for (guint i = 0; output && i < answers->len; i++)
                json_append(list, answer_json(&g_array_index(answers, struct answer, i), doc));
        if (output) {
                cli_print_object(answers->len == 1 ? json_first(list) : list, output);
                return;
        }
        if (answers->len == 1) {
                print_long(of, &g_array_index(answers, struct answer, 0));
                return;
        }
        table = cli_table_new();
        cli_table_add(table, (const char *const[]){"OPERATION", "VERDICT", "REASON", "MESSAGE", NULL});
        for (guint i = 0; i < answers->len; i++) {
                const struct answer *answer = &g_array_index(answers, struct answer, i);

                cli_table_add(table, (const char *const[]){answer->operation, answer->verdict, answer->code ?: "",
                                                           answer->code ? answer->message : answer->note ?: "", NULL});
        }
        cli_table_print(table);
        cli_table_free(table);
}

/* --- asking --- */

/* About one operation, or all of @subject. */
static int tell(const char *of, unsigned subject, const struct capability_pool *pool, const struct json_value *capabilities,
                const char *operation, const char *output)
{
        g_autoptr(GArray) answers = g_array_new(FALSE, FALSE, sizeof(struct answer));

        for (int i = 0; i < CAPABILITY_OPERATIONS; i++) {
                struct answer answer = {.operation = capability_operations[i].name};

                if (!(capability_operations[i].mask & subject) || (operation && !g_str_equal(operation, answer.operation)))
                        continue;
                if (pool)
                        answer_of_type(pool, &answer);
                else
                        answer_of_object(capabilities, &answer);
                if (answer.verdict)
                        g_array_append_val(answers, answer);
        }
        if (answers->len == 0) {
                cli_error("%s does not say anything about %s yet", of, operation ?: "what can be done with it");
                return CLI_FAILED;
        }
        print_answers(of, answers, output);
        return CLI_OK;
}

static int check_operation(const char *operation, unsigned subject)
{
        int number = capability_operation_find(operation);
        g_autoptr(GString) all = g_string_new(NULL);

        if (!operation || (number >= 0 && (capability_operations[number].mask & subject)))
                return CLI_OK;
        for (int i = 0; i < CAPABILITY_OPERATIONS; i++)
                if (capability_operations[i].mask & subject)
                        g_string_append_printf(all, "%s%s", all->len > 0 ? ", " : "", capability_operations[i].name);
        for (size_t i = 0; number >= 0 && i < G_N_ELEMENTS(subjects); i++)
                if (capability_operations[number].mask & subjects[i].subject && subjects[i].subject != CAPABILITY_OF_POOL)
                        return cli_usage("%s is asked of %s, and of pools", operation, subjects[i].words);
        return cli_usage("there is no operation %s; there are %s", operation, all->str);
}

static int ask_object(struct cli *cli, char *word, const char *operation, const char *output)
{
        char *words[] = {(char *)"explain", word, NULL};
        g_autoptr(GArray) targets = cli_targets(2, words, "explain capability");
        const struct cli_target *target = targets ? &g_array_index(targets, struct cli_target, 0) : NULL;
        unsigned subject = target ? subject_of(target->kind) : 0;
        struct cli_reply reply = {};

        if (!target)
                return CLI_USAGE;
        if (!subject)
                return cli_usage("capabilities are those of pools, disks and machines: sp/NAME, vd/NAME, vm/NAME");
        int code = check_operation(operation, subject);
        if (code == CLI_OK)
                code = config_load(cli);
        if (code != CLI_OK)
                return code;
        g_autofree char *path = cli_path(cli, target->kind, target->name);
        g_autofree char *of = g_strdup_printf("%s/%s", target->kind->singular, target->name);
        code = cli_expect(cli, &(struct cli_request){.path = path}, &reply);
        if (code == CLI_OK)
                code = tell(of, subject, NULL, json_find(json_root(reply.doc), "status", "capabilities", NULL), operation, output);
        cli_reply_clear(&reply);
        return code;
}

int cli_explain(struct cli *cli, int argc, char **argv)
{
        g_autofree char *output = NULL;
        const GOptionEntry entries[] = {{"output", 'o', 0, G_OPTION_ARG_STRING, &output, "json or yaml", "FORMAT"}, {}};
        int code = cli_options(cli, "explain", entries,
                               "What can be done with a pool, a disk or a machine, and why the rest cannot. A type of pools\n"
                               "(Directory, LVM, NFS, RBD...) is asked without a gateway. And how a change of a field of a\n"
                               "machine comes to it while it runs, by its disruptions.applyMode.\n"
                               "\n"
                               "Examples:\n"
                               "  gabbro explain capability vd/root\n"
                               "  gabbro explain capability vd/root resize\n"
                               "  gabbro explain capability sp/default cloneReflink -o json\n"
                               "  gabbro explain capability RBD snapshotExternal\n"
                               "  gabbro explain change\n"
                               "  gabbro explain change cpu.cores",
                               &argc, &argv);

        if (code != CLI_OK)
                return code;
        if (argc < 2 || (!g_str_equal(argv[1], "change") && (argc < 3 || argc > 4 || !g_str_equal(argv[1], "capability"))))
                return cli_usage("what? for example gabbro explain capability vd/root resize, or gabbro explain change cpu.cores");
        if (output && !g_str_equal(output, "json") && !g_str_equal(output, "yaml"))
                return cli_usage("there is no output format %s; there are json and yaml", output);
        if (g_str_equal(argv[1], "change"))
                return cli_explain_change(argc, argv, output);

        const struct capability_pool *pool = capability_pool_find(argv[2]);
        if (!pool)
                return ask_object(cli, argv[2], argv[3], output);
        code = check_operation(argv[3], CAPABILITY_OF_POOL);
        return code == CLI_OK ? tell(pool->type, CAPABILITY_OF_POOL, pool, NULL, argv[3], output) : code;
}
