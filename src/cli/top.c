/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "generated/api_types.h"

#include <stdio.h>
#include <string.h>

/*
 * What is used now is asked of the hosts when somebody wants to know it, and stored nowhere. Within a second a host gives all who
 * ask the same answer, so that a list costs it one look.
 */

static char *number(const struct json_value *usage, const char *key, const char *unit)
{
        int64_t value;

        return json_int64(json_get(usage, key), &value) ? g_strdup("-") : g_strdup_printf("%" G_GINT64_FORMAT "%s", value, unit);
}

static char *size(const struct json_value *usage, const char *key, const char *unit)
{
        int64_t value;
        g_autofree char *text = NULL;

        if (json_int64(json_get(usage, key), &value) || value < 0)
                return g_strdup("-");
        text = g_format_size_full((guint64)value, G_FORMAT_SIZE_IEC_UNITS);
        for (char *at = text; *at; at++) /* a space that does not break, which not every terminal knows */
                if ((guchar)at[0] == 0xc2 && (guchar)at[1] == 0xa0) {
                        at[0] = ' ';
                        memmove(at + 1, at + 2, strlen(at + 2) + 1);
                }
        return g_strconcat(text, unit, NULL);
}

static void add_machine(struct cli_table *table, const char *namespace, const char *name, const struct json_value *usage)
{
        g_autofree char *cpu = number(usage, "cpuMillicores", "m"), *memory = size(usage, "memoryBytes", ""),
                        *used = size(usage, "memoryUsedBytes", ""), *reads = size(usage, "readBytesPerSecond", "/s"),
                        *writes = size(usage, "writeBytesPerSecond", "/s"), *received = size(usage, "receivedBytesPerSecond", "/s"),
                        *sent = size(usage, "sentBytesPerSecond", "/s");

        cli_table_add(table, (const char *const[]){namespace, name, cpu, memory, used, reads, writes, received, sent, NULL});
}

static void add_node(struct cli_table *table, const char *name, const struct json_value *usage)
{
        g_autofree char *cpu = number(usage, "cpuMillicores", "m"), *cpus = number(usage, "cpus", ""),
                        *memory = size(usage, "memoryBytes", ""), *used = size(usage, "memoryUsedBytes", ""),
                        *machines = number(usage, "domains", "");

        cli_table_add(table, (const char *const[]){name, cpu, cpus, used, memory, machines, NULL});
}

/* A machine that does not run, or has stopped meanwhile, has a line of dashes; what else is wrong is told. */
static int add_one(struct cli *cli, struct cli_table *table, const struct schema_kind *kind, const struct json_value *object)
{
        const char *namespace = json_find_string(object, "metadata", "namespace", NULL);
        const char *name = json_find_string(object, "metadata", "name", NULL);
        g_autofree char *base = cli_path_in(kind, namespace, name), *path = g_strconcat(base, "/usage", NULL);
        struct cli_reply reply = {};
        int code = cli_call(cli, &(struct cli_request){.path = path}, &reply);

        if (code == CLI_OK && reply.status / 100 != 2 && reply.status != 409)
                code = cli_tell_status(&reply);
        if (code == CLI_OK) {
                const struct json_value *usage = reply.status / 100 == 2 && reply.doc ? json_root(reply.doc) : NULL;

                if (kind == &api_node_kind)
                        add_node(table, name, usage);
                else
                        add_machine(table, namespace, name, usage);
        }
        cli_reply_clear(&reply);
        return code;
}

static bool is_wanted(const struct json_value *object, int argc, char **argv)
{
        const char *name = json_find_string(object, "metadata", "name", NULL);

        for (int i = 0; i < argc; i++)
                if (g_strcmp0(name, argv[i]) == 0)
                        return true;
        return argc == 0;
}

static int top(struct cli *cli, const struct schema_kind *kind, bool all, int argc, char **argv)
{
        g_autofree char *path = cli_path_in(kind, all || !kind->namespaced ? NULL : cli->namespace, NULL);
        struct cli_table *table = cli_table_new();
        struct cli_reply reply = {};
        int code = cli_expect(cli, &(struct cli_request){.path = path}, &reply), found = 0;

        if (kind == &api_node_kind)
                cli_table_add(table, (const char *const[]){"NAME", "CPU", "CPUS", "MEMORY USED", "MEMORY", "DOMAINS", NULL});
        else
                cli_table_add(table, (const char *const[]){"NAMESPACE", "NAME", "CPU", "MEMORY", "USED", "READ", "WRITTEN",
                                                           "RECEIVED", "SENT", NULL});
        for (const struct json_value *it = code == CLI_OK ? json_first(json_get(json_root(reply.doc), "items")) : NULL;
             it && code != CLI_UNREACHABLE; it = json_next(it)) {
                int r = is_wanted(it, argc, argv) ? add_one(cli, table, kind, it) : CLI_OK;

                found += is_wanted(it, argc, argv);
                code = r == CLI_OK ? code : r;
        }
        if (found)
                cli_table_print(table);
        if (code == CLI_OK && found < argc) {
                cli_error("not all of these %s are there", kind->plural);
                code = CLI_NOT_FOUND;
        } else if (code == CLI_OK && !found) {
                cli_note("No %s found.", kind->plural);
        }
        cli_table_free(table);
        cli_reply_clear(&reply);
        return code;
}

int cli_top(struct cli *cli, int argc, char **argv)
{
        gboolean all = FALSE;
        const GOptionEntry entries[] = {
                {"all-namespaces", 'A', 0, G_OPTION_ARG_NONE, &all, "vm: of all projects", NULL},
                {},
        };
        int code =
                cli_parse(cli, "top", entries,
                          "CPU in thousandths of a core, rates in a second, all over the last second or some more. USED is what\n"
                          "the guest's balloon driver tells, or what the machine's process has.\n\n"
                          "Examples:\n"
                          "  gabbro top vm\n"
                          "  gabbro top vm web db -n shop\n"
                          "  gabbro top node",
                          &argc, &argv);
        const struct schema_kind *kind;

        if (code == CLI_OK && argc < 2)
                code = cli_usage("of what? gabbro top vm, or gabbro top node");
        if (code != CLI_OK)
                return code;
        kind = cli_kind(argv[1]);
        if (kind && kind != &api_virtual_machine_kind && kind != &api_node_kind)
                return cli_usage("top is of machines (vm) or hosts (node)");
        return kind ? top(cli, kind, all, argc - 2, argv + 2) : CLI_USAGE;
}
