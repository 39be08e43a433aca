/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define TABLE_ACCEPT "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

struct get_options {
        char *output, *selector, *field_selector;
        gboolean watch, all_namespaces, no_headers;
};

/* What is printed, over all kinds and names of the command line. */
struct printing {
        const struct get_options *options;
        const struct schema_kind *kind; /* now */
        bool several_kinds;
        struct cli_table *table;
        struct json_doc *columns; /* of the first table of a kind: later ones need not repeat them */
        struct json_doc *list;    /* set: json and yaml of several answers, collected */
        guint shown;
};

static bool is_table_output(const struct get_options *options)
{
        return !options->output || g_str_equal(options->output, "wide");
}

static char *cell_text(const struct json_value *cell)
{
        if (!cell || json_is(cell, JSON_NULL))
                return g_strdup("");
        if (json_is(cell, JSON_STRING))
                return g_strdup(json_string(cell, ""));
        return json_to_text(cell);
}

static bool is_shown(const struct printing *printing, const struct json_value *column)
{
        int64_t priority = 0;

        json_int64(json_get(column, "priority"), &priority);
        return priority == 0 || printing->options->output;
}

static void add_header(struct printing *printing, const struct json_value *columns)
{
        g_autoptr(GPtrArray) row = g_ptr_array_new_with_free_func(g_free);

        if (printing->options->all_namespaces)
                g_ptr_array_add(row, g_strdup("NAMESPACE"));
        for (const struct json_value *column = json_first(columns); column; column = json_next(column))
                if (is_shown(printing, column))
                        g_ptr_array_add(row, g_ascii_strup(json_find_string(column, "name", NULL) ?: "", -1));
        g_ptr_array_add(row, NULL);
        cli_table_add(printing->table, (const char *const *)row->pdata);
}

static void add_row(struct printing *printing, const struct json_value *columns, const struct json_value *table_row)
{
        g_autoptr(GPtrArray) row = g_ptr_array_new_with_free_func(g_free);
        const struct json_value *column = json_first(columns);

        if (printing->options->all_namespaces)
                g_ptr_array_add(row, g_strdup(json_find_string(table_row, "object", "metadata", "namespace", NULL) ?: ""));
        for (const struct json_value *cell = json_first(json_get(table_row, "cells")); cell; cell = json_next(cell)) {
                g_autofree char *text = cell_text(cell);
                bool named = printing->several_kinds && g_strcmp0(json_find_string(column, "format", NULL), "name") == 0;
                if (is_shown(printing, column))
                        g_ptr_array_add(row,
                                        named ? g_strconcat(printing->kind->singular, "/", text, NULL) : g_steal_pointer(&text));
                column = column ? json_next(column) : NULL;
        }
        g_ptr_array_add(row, NULL);
        cli_table_add(printing->table, (const char *const *)row->pdata);
}

static void print_table(struct printing *printing, const struct json_value *root)
{
        const struct json_value *columns = json_get(root, "columnDefinitions");
        const struct json_value *rows = json_get(root, "rows");

        if (json_length(rows) == 0)
                return;
        if (!printing->columns) {
                printing->columns = json_doc_new();
                json_set_root(printing->columns, json_copy(printing->columns, columns));
                if (printing->shown > 0)
                        putchar('\n');
                if (!printing->options->no_headers)
                        add_header(printing, columns);
        }
        for (const struct json_value *row = json_first(rows); row; row = json_next(row)) {
                add_row(printing, json_root(printing->columns), row);
                printing->shown++;
        }
}

/* One object or a list of them in json or yaml. */
static void print_objects(struct printing *printing, const struct json_value *root)
{
        const struct json_value *items = json_get(root, "items");
        bool names = g_str_equal(printing->options->output, "name");

        if (!printing->list && !(names && items)) {
                if (printing->options->watch && g_str_equal(printing->options->output, "yaml"))
                        puts("---");
                cli_print_object(root, printing->options->output);
                return;
        }
        for (const struct json_value *item = items ? json_first(items) : root; item; item = items ? json_next(item) : NULL) {
                if (names)
                        cli_print_object(item, "name");
                else
                        json_append(json_get(json_root(printing->list), "items"), json_copy(printing->list, item));
        }
}

static void print_reply(struct printing *printing, const struct json_value *root)
{
        if (is_table_output(printing->options))
                print_table(printing, root);
        else
                print_objects(printing, root);
}

static bool on_event(const char *type, struct json_value *object, void *userdata)
{
        struct printing *printing = userdata;

        print_reply(printing, object);
        if (is_table_output(printing->options))
                cli_table_print(printing->table);
        fflush(stdout);
        return true;
}

static char *get_path(struct cli *cli, const struct schema_kind *kind, const char *name, const struct get_options *options)
{
        GString *path = g_string_new(NULL);
        g_autofree char *base = cli_path_in(kind, options->all_namespaces ? NULL : cli->namespace, options->watch ? NULL : name);
        g_autofree char *selector = options->selector ? g_uri_escape_string(options->selector, NULL, FALSE) : NULL;
        g_autofree char *named =
                name && options->watch ? g_strdup_printf("metadata.name=%s", name) : g_strdup(options->field_selector);
        g_autofree char *fields = named ? g_uri_escape_string(named, NULL, FALSE) : NULL;

        g_string_append(path, base);
        if (selector)
                g_string_append_printf(path, "?labelSelector=%s", selector);
        if (fields)
                g_string_append_printf(path, "%cfieldSelector=%s", selector ? '&' : '?', fields);
        return g_string_free(path, FALSE);
}

/* @root: what is there already. */
static int follow(struct cli *cli, const char *path, const char *name, const struct json_value *root, struct printing *printing)
{
        bool table = is_table_output(printing->options);
        struct cli_watch watch = {.path = path, .accept = table ? TABLE_ACCEPT : NULL, .each = on_event, .userdata = printing};

        if (name && json_length(json_get(root, table ? "rows" : "items")) == 0) {
                cli_error("%s \"%s\" not found", printing->kind->plural, name);
                return CLI_NOT_FOUND;
        }
        if (table)
                print_table(printing, root);
        for (const struct json_value *i = json_first(json_get(root, "items")); !table && i; i = json_next(i))
                print_objects(printing, i);
        cli_table_print(printing->table);
        watch.resource_version = g_strdup(json_find_string(root, "metadata", "resourceVersion", NULL));
        int code = cli_watch(cli, &watch);
        g_free(watch.resource_version);
        return code;
}

static int get_one(struct cli *cli, const struct schema_kind *kind, const char *name, struct printing *printing)
{
        const struct get_options *options = printing->options;
        g_autofree char *path = get_path(cli, kind, name, options);
        struct cli_request request = {.path = path, .accept = is_table_output(options) ? TABLE_ACCEPT : NULL};
        struct cli_reply reply = {};

        if (printing->kind != kind) {
                cli_table_print(printing->table);
                g_clear_pointer(&printing->table, cli_table_free);
                g_clear_pointer(&printing->columns, json_doc_free);
                printing->table = cli_table_new();
        }
        printing->kind = kind;
        int code = cli_expect(cli, &request, &reply);
        if (code == CLI_OK && options->watch)
                code = follow(cli, path, name, json_root(reply.doc), printing);
        else if (code == CLI_OK)
                print_reply(printing, json_root(reply.doc));
        cli_reply_clear(&reply);
        return code;
}

/* Goes on after an object that is not there. */
static int get_targets(struct cli *cli, const GArray *targets, struct printing *printing)
{
        int code = CLI_OK;

        for (guint i = 0; code != CLI_UNREACHABLE && i < targets->len; i++) {
                const struct cli_target *target = &g_array_index(targets, struct cli_target, i);
                int r = get_one(cli, target->kind, target->name, printing);
                code = code == CLI_OK || r == CLI_UNREACHABLE ? r : code;
        }
        return code;
}

static int get_kinds(struct cli *cli, const GPtrArray *kinds, struct printing *printing)
{
        const struct get_options *options = printing->options;
        bool namespaced = false;
        int code = CLI_OK;

        for (guint i = 0; code == CLI_OK && i < kinds->len; i++) {
                const struct schema_kind *kind = kinds->pdata[i];
                namespaced = namespaced || kind->namespaced;
                code = get_one(cli, kind, NULL, printing);
        }
        if (code == CLI_OK && is_table_output(options) && printing->shown == 0 && !options->watch) {
                const char *what = kinds->len == 1 ? ((const struct schema_kind *)kinds->pdata[0])->plural : "objects";
                bool here = namespaced && !options->all_namespaces;
                cli_note("No %s found%s%s.", what, here ? " in " : "", here ? cli->namespace : "");
        }
        return code;
}

static int check_options(int argc, char **argv, const struct get_options *options)
{
        static const char *const formats[] = {"wide", "json", "yaml", "name", NULL};
        bool named = argc > 2 || cli_is_slashed(argv[1]);

        if (argc < 2)
                return cli_usage("which kind? for example gabbro get vm; gabbro get --help lists the kinds");
        if (options->output && !g_strv_contains(formats, options->output))
                return cli_usage("-o knows wide, json, yaml and name");
        if (named && options->all_namespaces)
                return cli_usage("a name is looked for in one namespace (-n), not in all (-A)");
        if (named && (options->selector || options->field_selector))
                return cli_usage("either names or selectors");
        if (options->watch && (argc > 3 || (cli_is_slashed(argv[1]) && argc > 2)))
                return cli_usage("-w follows one object, or one kind");
        return CLI_OK;
}

static int run(struct cli *cli, int argc, char **argv, struct printing *printing)
{
        bool named = argc > 2 || cli_is_slashed(argv[1]);
        g_autoptr(GPtrArray) kinds = named ? g_ptr_array_new() : cli_kinds(argv[1]);
        g_autoptr(GArray) targets = named ? cli_targets(argc, argv, "get") : NULL;
        const char *output = printing->options->output;

        if (named ? !targets : kinds->len == 0)
                return CLI_USAGE;
        if (printing->options->watch && kinds->len > 1)
                return cli_usage("-w follows one object, or one kind");
        printing->several_kinds = kinds->len > 1;
        for (guint i = 1; named && i < targets->len; i++)
                if (g_array_index(targets, struct cli_target, i).kind != g_array_index(targets, struct cli_target, 0).kind)
                        printing->several_kinds = true;
        if ((kinds->len > 1 || (named && targets->len > 1)) && (g_strcmp0(output, "json") == 0 || g_strcmp0(output, "yaml") == 0)) {
                printing->list = json_doc_new();
                struct json_value *list = json_new(printing->list, JSON_OBJECT);
                json_set_root(printing->list, list);
                json_set_string(printing->list, list, "apiVersion", "v1");
                json_set_string(printing->list, list, "kind", "List");
                json_ensure_array(printing->list, list, "items");
        }
        int code = named ? get_targets(cli, targets, printing) : get_kinds(cli, kinds, printing);
        cli_table_print(printing->table);
        if (printing->list)
                cli_print_object(json_root(printing->list), output);
        fflush(stdout);
        return code;
}

int cli_get(struct cli *cli, int argc, char **argv)
{
        struct get_options options = {};
        const GOptionEntry entries[] = {
                {"output", 'o', 0, G_OPTION_ARG_STRING, &options.output, "wide, json, yaml or name", "FORMAT"},
                {"watch", 'w', 0, G_OPTION_ARG_NONE, &options.watch, "Follow changes", NULL},
                {"all-namespaces", 'A', 0, G_OPTION_ARG_NONE, &options.all_namespaces, "In all projects", NULL},
                {"selector", 'l', 0, G_OPTION_ARG_STRING, &options.selector, "Only objects with these labels", "SELECTOR"},
                {"field-selector", 0, 0, G_OPTION_ARG_STRING, &options.field_selector, "Only objects with these fields",
                 "SELECTOR"},
                {"no-headers", 0, 0, G_OPTION_ARG_NONE, &options.no_headers, "No header line", NULL},
                {},
        };
        struct printing printing = {.options = &options, .table = cli_table_new()};
        g_autofree char *kinds = cli_kinds_help();
        g_autofree char *help = g_strconcat("Examples:\n"
                                            "  gabbro get vm -o wide\n"
                                            "  gabbro get vm,vd -A -l app=web\n"
                                            "  gabbro get vm/web -o yaml\n\n",
                                            kinds, NULL);
        int code = cli_parse(cli, "get", entries, help, &argc, &argv);

        if (code == CLI_OK)
                code = check_options(argc, argv, &options);
        if (code == CLI_OK)
                code = run(cli, argc, argv, &printing);
        json_doc_free(printing.columns);
        json_doc_free(printing.list);
        cli_table_free(printing.table);
        g_free(options.output);
        g_free(options.selector);
        g_free(options.field_selector);
        return code;
}
