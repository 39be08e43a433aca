/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "schema/change_way.h"

#include <string.h>

/* How changes of a machine come to it while it runs: the table that the controller reads, without a gateway. */

static const char *const heads[] = {"FIELD", "RESTART", "LIVE", "WHY", NULL};

static char *field_name(const struct change_field *field)
{
        return g_strconcat(g_str_has_prefix(field->path, "metadata.") ? "" : "spec.", field->path, NULL);
}

/* @path as it was typed, with or without "spec."; a row answers for its own path, what it holds, and what it is a part of. */
static bool is_asked(const struct change_field *field, const char *path)
{
        size_t len = path ? strlen(path) : 0;

        return !path || change_field_find(path) == field || (strncmp(field->path, path, len) == 0 && field->path[len] == '.');
}

static struct json_value *field_json(const struct change_field *field, struct json_doc *doc)
{
        struct json_value *object = json_new(doc, JSON_OBJECT);
        g_autofree char *name = field_name(field);

        json_set_string(doc, object, "field", name);
        json_set_string(doc, object, "restart", change_way_words(field->way));
        json_set_string(doc, object, "live", change_way_words(field->live));
        json_set_string(doc, object, "why", field->doc);
        return object;
}

static void print_table(const GPtrArray *fields)
{
        struct cli_table *table = cli_table_new();

        cli_table_add(table, heads);
        for (guint i = 0; i < fields->len; i++) {
                const struct change_field *field = fields->pdata[i];
                g_autofree char *name = field_name(field);

                cli_table_add(table, (const char *const[]){name, change_way_words(field->way), change_way_words(field->live),
                                                           field->doc, NULL});
        }
        cli_table_print(table);
        cli_table_free(table);
}

int cli_explain_change(int argc, char **argv, const char *output)
{
        g_autoptr(GPtrArray) fields = g_ptr_array_new();
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *list = json_new(doc, JSON_ARRAY);
        const char *path = argc > 2 ? argv[2] : NULL;

        if (path && g_str_has_prefix(path, "spec."))
                path += strlen("spec.");
        for (const struct change_field *field = change_fields; field->path; field++)
                if (is_asked(field, path))
                        g_ptr_array_add(fields, (void *)field);
        if (argc > 3 || fields->len == 0)
                return cli_usage("which field? for example gabbro explain change cpu.cores; without one it tells of all");
        for (guint i = 0; output && i < fields->len; i++)
                json_append(list, field_json(fields->pdata[i], doc));
        if (output)
                cli_print_object(fields->len == 1 ? json_first(list) : list, output);
        else
                print_table(fields);
        return CLI_OK;
}
