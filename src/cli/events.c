/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "generated/api_types.h"

#include <stdio.h>

static void print_event(const struct json_value *event)
{
        const char *words[] = {json_find_string(event, "lastTimestamp", NULL),
                               json_find_string(event, "type", NULL),
                               json_find_string(event, "reason", NULL),
                               json_find_string(event, "involvedObject", "kind", NULL),
                               json_find_string(event, "involvedObject", "name", NULL),
                               json_find_string(event, "message", NULL)};
        g_autofree char *about = g_strdup_printf("%s/%s", words[3] ?: "", words[4] ?: "");

        printf("%-20.19s %-8s %-28s %-36s %s\n", words[0] ?: "", words[1] ?: "", words[2] ?: "", about, words[5] ?: "");
}

static int by_time(const void *a, const void *b)
{
        const struct json_value *const *x = a, *const *y = b;

        return g_strcmp0(json_find_string(*x, "lastTimestamp", NULL), json_find_string(*y, "lastTimestamp", NULL));
}

static bool on_event(const char *type, struct json_value *object, void *userdata)
{
        if (g_str_equal(type, "ADDED") || g_str_equal(type, "MODIFIED"))
                print_event(object);
        fflush(stdout);
        return true;
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
        int code = cli_parse(cli, "events", entries, NULL, &argc, &argv);

        if (code != CLI_OK)
                return code;
        g_autofree char *path = cli_path_in(&api_event_kind, all ? NULL : cli->namespace, NULL);
        code = cli_expect(cli, &(struct cli_request){.path = path}, &reply);
        const struct json_value *root = code == CLI_OK && reply.doc ? json_root(reply.doc) : NULL;
        g_autoptr(GPtrArray) events = g_ptr_array_new();
        for (const struct json_value *e = json_first(json_get(root, "items")); e; e = json_next(e))
                g_ptr_array_add(events, (void *)e);
        g_ptr_array_sort(events, by_time);
        for (guint i = 0; i < events->len; i++)
                print_event(events->pdata[i]);
        fflush(stdout);
        while (code == CLI_OK && watch)
                code = cli_watch(cli, path, NULL, json_find_string(root, "metadata", "resourceVersion", NULL), 0, on_event, NULL);
        cli_reply_clear(&reply);
        return code;
}
