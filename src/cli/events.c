/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "generated/api_types.h"

#include <stdio.h>

static void add_event(struct cli_table *table, const struct json_value *event)
{
        const char *kind = json_find_string(event, "involvedObject", "kind", NULL);
        const char *name = json_find_string(event, "involvedObject", "name", NULL);
        g_autofree char *about = g_strdup_printf("%s/%s", kind ?: "", name ?: "");

        cli_table_add(table, (const char *const[]){json_find_string(event, "lastTimestamp", NULL) ?: "",
                                                   json_find_string(event, "type", NULL) ?: "",
                                                   json_find_string(event, "reason", NULL) ?: "", about,
                                                   json_find_string(event, "message", NULL) ?: "", NULL});
}

static int64_t version_of(const struct json_value *event)
{
        const char *version = json_find_string(event, "metadata", "resourceVersion", NULL);

        return version ? g_ascii_strtoll(version, NULL, 10) : 0;
}

/* Within a second in the order in which they were written. */
static int by_time(const void *a, const void *b)
{
        const struct json_value *const *x = a, *const *y = b;
        int order = g_strcmp0(json_find_string(*x, "lastTimestamp", NULL), json_find_string(*y, "lastTimestamp", NULL));
        int64_t first = version_of(*x), second = version_of(*y);

        return order ?: (first > second) - (first < second);
}

static bool on_event(const char *type, struct json_value *object, void *userdata)
{
        if (!g_str_equal(type, "DELETED")) {
                add_event(userdata, object);
                cli_table_print(userdata);
        }
        return true;
}

static void print_list(struct cli_table *table, const struct json_value *items)
{
        g_autoptr(GPtrArray) events = g_ptr_array_new();

        for (const struct json_value *e = json_first(items); e; e = json_next(e))
                g_ptr_array_add(events, (void *)e);
        g_ptr_array_sort(events, by_time);
        cli_table_add(table, (const char *const[]){"TIME", "TYPE", "REASON", "OBJECT", "MESSAGE", NULL});
        for (guint i = 0; i < events->len; i++)
                add_event(table, events->pdata[i]);
        cli_table_print(table);
}

int cli_events(struct cli *cli, int argc, char **argv)
{
        gboolean watch = FALSE, all = FALSE;
        const GOptionEntry entries[] = {
                {"watch", 'w', 0, G_OPTION_ARG_NONE, &watch, "Follow", NULL},
                {"all-namespaces", 'A', 0, G_OPTION_ARG_NONE, &all, "Of all projects", NULL},
                {},
        };
        struct cli_reply reply = {};
        int code = cli_parse(cli, "events", entries,
                             "The events of one object are at the end of gabbro describe KIND NAME.\n\n"
                             "Examples:\n"
                             "  gabbro events\n"
                             "  gabbro events -A -w",
                             &argc, &argv);

        if (code == CLI_OK && argc > 1)
                code = cli_usage("events takes no word; gabbro describe KIND NAME shows the events of one object");
        if (code != CLI_OK)
                return code;
        g_autofree char *path = cli_path_in(&api_event_kind, all ? NULL : cli->namespace, NULL);
        struct cli_table *table = cli_table_new();
        code = cli_expect(cli, &(struct cli_request){.path = path}, &reply);
        const struct json_value *root = code == CLI_OK ? json_root(reply.doc) : NULL;
        if (json_length(json_get(root, "items")) > 0 || (root && watch))
                print_list(table, json_get(root, "items"));
        else if (root)
                cli_note("No events%s%s.", all ? "" : " in ", all ? "" : cli->namespace);
        if (code == CLI_OK && watch) {
                struct cli_watch watching = {.path = path,
                                             .each = on_event,
                                             .userdata = table,
                                             .resource_version =
                                                     g_strdup(json_find_string(root, "metadata", "resourceVersion", NULL))};
                code = cli_watch(cli, &watching);
                g_free(watching.resource_version);
        }
        cli_table_free(table);
        cli_reply_clear(&reply);
        return code;
}
