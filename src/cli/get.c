/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#define TABLE_ACCEPT "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

struct get_options {
        char *output, *selector, *field_selector;
        gboolean watch, all_namespaces, no_headers;
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

static void add_row(struct cli_table *table, const struct json_value *root, const struct json_value *cells, const char *namespace,
                    bool wide)
{
        g_autoptr(GPtrArray) row = g_ptr_array_new_with_free_func(g_free);
        const struct json_value *column = json_first(json_get(root, "columnDefinitions"));

        if (namespace)
                g_ptr_array_add(row, g_strdup(namespace));
        for (const struct json_value *cell = json_first(cells); cell; cell = json_next(cell)) {
                int64_t priority = 0;
                json_int64(json_get(column, "priority"), &priority);
                if (wide || priority == 0)
                        g_ptr_array_add(row, cell_text(cell));
                column = column ? json_next(column) : NULL;
        }
        g_ptr_array_add(row, NULL);
        cli_table_add(table, (const char *const *)row->pdata);
}

static void add_header(struct cli_table *table, const struct json_value *root, bool namespaces, bool wide)
{
        g_autoptr(GPtrArray) row = g_ptr_array_new_with_free_func(g_free);

        if (namespaces)
                g_ptr_array_add(row, g_strdup("NAMESPACE"));
        for (const struct json_value *column = json_first(json_get(root, "columnDefinitions")); column;
             column = json_next(column)) {
                int64_t priority = 0;
                json_int64(json_get(column, "priority"), &priority);
                if (wide || priority == 0)
                        g_ptr_array_add(row, g_ascii_strup(json_find_string(column, "name", NULL) ?: "", -1));
        }
        g_ptr_array_add(row, NULL);
        cli_table_add(table, (const char *const *)row->pdata);
}

struct printing {
        const struct get_options *options;
        bool header;
        struct json_doc *columns; /* of the first table of a watch: later ones need not repeat them */
};

static void print_table(struct printing *printing, const struct json_value *root)
{
        bool wide = printing->options->output != NULL;
        struct cli_table *table = cli_table_new();

        if (json_length(json_get(root, "columnDefinitions")) > 0 && !printing->columns) {
                printing->columns = json_doc_new();
                json_set_root(printing->columns, json_copy(printing->columns, root));
        }
        const struct json_value *columns = printing->columns ? json_root(printing->columns) : root;
        if (printing->header)
                add_header(table, columns, printing->options->all_namespaces, wide);
        printing->header = false;
        for (const struct json_value *row = json_first(json_get(root, "rows")); row; row = json_next(row)) {
                const char *namespace = json_find_string(row, "object", "metadata", "namespace", NULL);
                add_row(table, columns, json_get(row, "cells"), printing->options->all_namespaces ? namespace ?: "" : NULL, wide);
        }
        cli_table_print(table);
        cli_table_free(table);
}

static void print_reply(struct printing *printing, const struct json_value *root)
{
        if (json_get(root, "columnDefinitions")) {
                print_table(printing, root);
                return;
        }
        const struct json_value *items = json_get(root, "items");
        if (items && g_str_equal(printing->options->output, "name")) {
                for (const struct json_value *item = json_first(items); item; item = json_next(item))
                        cli_print_object(item, "name");
                return;
        }
        cli_print_object(root, printing->options->output);
}

static bool on_event(const char *type, struct json_value *object, void *userdata)
{
        struct printing *printing = userdata;

        if (!g_str_equal(type, "BOOKMARK"))
                print_reply(printing, object);
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

static int get_one(struct cli *cli, const struct schema_kind *kind, const char *name, struct printing *printing)
{
        const struct get_options *options = printing->options;
        g_autofree char *path = get_path(cli, kind, name, options);
        const char *accept = is_table_output(options) ? TABLE_ACCEPT : NULL;
        struct cli_request request = {.path = path, .accept = accept};
        struct cli_reply reply = {};

        int code = cli_expect(cli, &request, &reply);
        if (code != CLI_OK || !reply.doc) {
                cli_reply_clear(&reply);
                return code;
        }
        const struct json_value *root = json_root(reply.doc);
        bool empty = is_table_output(options) && json_length(json_get(root, "rows")) == 0;
        if (empty && !options->watch)
                cli_note("No %s found%s%s.", kind->plural, kind->namespaced && !options->all_namespaces ? " in " : "",
                         kind->namespaced && !options->all_namespaces ? cli->namespace : "");
        else
                print_reply(printing, root);
        fflush(stdout);
        while (options->watch && code == CLI_OK) {
                code = cli_watch(cli, path, accept, json_find_string(root, "metadata", "resourceVersion", NULL), 0, on_event,
                                 printing);
        }
        cli_reply_clear(&reply);
        return code;
}

/* "vm,vd", "all" and other categories: the kinds behind a word. Empty after telling that there is none. */
static GPtrArray *kinds_of(const char *words)
{
        GPtrArray *kinds = g_ptr_array_new();
        g_auto(GStrv) parts = g_strsplit(words, ",", 64);

        for (char **part = parts; *part; part++) {
                guint before = kinds->len;
                for (size_t i = 0; schema_kinds[i]; i++)
                        if (!schema_kinds[i]->hidden && !schema_kinds[i]->internal &&
                            g_strv_contains(schema_kinds[i]->categories, *part))
                                g_ptr_array_add(kinds, (void *)schema_kinds[i]);
                const struct schema_kind *kind = kinds->len == before ? cli_kind(*part) : NULL;
                if (kind)
                        g_ptr_array_add(kinds, (void *)kind);
                else if (kinds->len == before) {
                        g_ptr_array_set_size(kinds, 0);
                        return kinds;
                }
        }
        return kinds;
}

static int get_kinds(struct cli *cli, const GPtrArray *kinds, char **names, struct printing *printing)
{
        int code = CLI_OK;

        for (guint i = 0; code == CLI_OK && i < kinds->len; i++) {
                printing->header = !printing->options->no_headers;
                g_clear_pointer(&printing->columns, json_doc_free);
                if (i > 0 && is_table_output(printing->options))
                        putchar('\n');
                if (!*names)
                        code = get_one(cli, kinds->pdata[i], NULL, printing);
                for (char **name = names; code == CLI_OK && *name; name++)
                        code = get_one(cli, kinds->pdata[i], *name, printing);
        }
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
        struct printing printing = {.options = &options};
        int code = cli_parse(cli, "get", entries, NULL, &argc, &argv);

        static const char *const formats[] = {"wide", "json", "yaml", "name", NULL};
        if (code == CLI_OK && (argc < 2 || (options.output && !g_strv_contains(formats, options.output)))) {
                cli_error(argc < 2 ? "which kind? for example gabbro get vm" : "-o knows wide, json, yaml and name");
                code = CLI_USAGE;
        }
        g_autoptr(GPtrArray) kinds = code == CLI_OK ? kinds_of(argv[1]) : g_ptr_array_new();
        if (code == CLI_OK && kinds->len == 0)
                code = CLI_USAGE;
        if (code == CLI_OK && options.watch && kinds->len > 1) {
                cli_error("-w follows one kind at a time");
                code = CLI_USAGE;
        }
        if (code == CLI_OK)
                code = get_kinds(cli, kinds, argv + 2, &printing);
        json_doc_free(printing.columns);
        g_free(options.output);
        g_free(options.selector);
        g_free(options.field_selector);
        return code;
}
