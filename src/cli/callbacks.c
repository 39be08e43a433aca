/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "generated/api_types.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct callbacks_options {
        char *output;
        gboolean all, dead;
};

/* A column: its head, and where its cell is. */
struct column {
        const char *head;
        const char *path[4]; /* members; a last one of "*" is the condition of that type */
};

static const struct column callback_columns[] = {
        {"NAME", {"metadata", "name"}},
        {"URL", {"spec", "url"}},
        {"DELIVERING", {"status", "conditions", "*", "status"}},
        {"REASON", {"status", "conditions", "*", "reason"}},
        {"PENDING", {"status", "pending"}},
        {"DEAD", {"status", "dead"}},
        {"DELIVERED", {"status", "delivered"}},
        {"LAST", {"status", "lastDeliveryTime"}},
        {},
};

static const struct column delivery_columns[] = {
        {"CALLBACK", {"spec", "callback", "name"}},
        {"EVENT", {"spec", "event"}},
        {"KIND", {"spec", "object", "kind"}},
        {"OBJECT", {"spec", "object", "name"}},
        {"SEQUENCE", {"spec", "sequence"}},
        {"TIME", {"spec", "time"}},
        {"STATE", {"status", "state"}},
        {"ATTEMPTS", {"status", "attempts"}},
        {"NEXT", {"status", "nextAttemptTime"}},
        {"ERROR", {"status", "lastError"}},
        {},
};

static const struct json_value *condition(const struct json_value *conditions)
{
        for (const struct json_value *c = json_first(conditions); c; c = json_next(c))
                if (g_strcmp0(json_find_string(c, "type", NULL), "Delivering") == 0)
                        return c;
        return NULL;
}

static const char *cell(const struct json_value *object, const struct column *column)
{
        const struct json_value *value = object;

        for (size_t i = 0; i < G_N_ELEMENTS(column->path) && column->path[i]; i++)
                value = strcmp(column->path[i], "*") == 0 ? condition(value) : json_get(value, column->path[i]);
        return value ? json_string(value, json_number_text(value)) ?: "-" : "-";
}

static bool is_shown(const struct json_value *item, const char *callback, bool dead)
{
        return (!callback || g_strcmp0(json_find_string(item, "spec", "callback", "name", NULL), callback) == 0) &&
               (!dead || g_strcmp0(json_find_string(item, "status", "state", NULL), "Dead") == 0);
}

static void print_items(const struct json_value *items, const struct column *columns, const char *callback, bool dead)
{
        struct cli_table *table = cli_table_new();
        g_autoptr(GPtrArray) row = g_ptr_array_new();

        for (const struct json_value *item = json_first(items); item; item = json_next(item)) {
                if (!is_shown(item, callback, dead))
                        continue;
                if (row->len == 0) {
                        for (const struct column *column = columns; column->head; column++)
                                g_ptr_array_add(row, (void *)column->head);
                        g_ptr_array_add(row, NULL);
                        cli_table_add(table, (const char *const *)row->pdata);
                }
                g_ptr_array_set_size(row, 0);
                for (const struct column *column = columns; column->head; column++)
                        g_ptr_array_add(row, (void *)cell(item, column));
                g_ptr_array_add(row, NULL);
                cli_table_add(table, (const char *const *)row->pdata);
        }
        if (row->len == 0)
                cli_note("none");
        cli_table_print(table);
        cli_table_free(table);
}

static int list(struct cli *cli, const struct callbacks_options *options, const struct schema_kind *kind, const char *callback)
{
        g_autofree char *path = cli_path(cli, kind, NULL);
        bool deliveries = kind == &api_callback_delivery_kind;
        struct cli_reply reply = {};
        int code = cli_expect(cli, &(struct cli_request){.path = path}, &reply);

        if (code == CLI_OK && options->output)
                cli_print_object(json_root(reply.doc), options->output);
        else if (code == CLI_OK)
                print_items(json_get(json_root(reply.doc), "items"), deliveries ? delivery_columns : callback_columns, callback,
                            options->dead);
        cli_reply_clear(&reply);
        return code;
}

static int list_deliveries(struct cli *cli, const struct callbacks_options *options, const char *callback)
{
        g_autofree char *path = callback ? cli_path(cli, &api_callback_kind, callback) : NULL;
        struct cli_reply reply = {};
        int code = path ? cli_expect(cli, &(struct cli_request){.path = path}, &reply) : CLI_OK; /* whether there is one */

        cli_reply_clear(&reply);
        return code == CLI_OK ? list(cli, options, &api_callback_delivery_kind, callback) : code;
}

/* --- retry and drop
 * -------------------------------------------------------------------------------------------------------------------- */

static int decide_one(struct cli *cli, const char *verb, const char *name)
{
        g_autofree char *object = cli_path(cli, &api_callback_kind, name);
        g_autofree char *path = g_strconcat(object, "/", verb, NULL);
        struct cli_request request = {.method = "POST", .path = path, .body = "{}", .len = 2};
        struct cli_reply reply = {};
        int64_t n = 0;
        int code = cli_expect(cli, &request, &reply);

        if (code == CLI_OK) {
                (void)json_int64(json_get(json_root(reply.doc), "deliveries"), &n);
                cli_say("callback/%s: %" G_GINT64_FORMAT " %s", name, n, strcmp(verb, "drop") == 0 ? "dropped" : "tried again");
        }
        cli_reply_clear(&reply);
        return code;
}

static int decide_all(struct cli *cli, const char *verb)
{
        g_autofree char *path = cli_path(cli, &api_callback_kind, NULL);
        struct cli_reply reply = {};
        int code = cli_expect(cli, &(struct cli_request){.path = path}, &reply);
        const struct json_value *items = code == CLI_OK ? json_get(json_root(reply.doc), "items") : NULL;

        for (const struct json_value *item = json_first(items); item; item = json_next(item)) {
                int one = decide_one(cli, verb, json_find_string(item, "metadata", "name", NULL));

                code = MAX(code, one);
        }
        cli_reply_clear(&reply);
        return code;
}

static int decide(struct cli *cli, const struct callbacks_options *options, int argc, char **argv)
{
        int worst = CLI_OK;

        if (options->all == (argc > 2))
                return cli_usage("which one? gabbro callbacks %s NAME, or --all", argv[1]);
        if (options->all)
                return decide_all(cli, argv[1]);
        for (int i = 2; i < argc; i++) {
                int one = decide_one(cli, argv[1], argv[i]);

                worst = MAX(worst, one);
        }
        return worst;
}

/* --- the verb
 * -------------------------------------------------------------------------------------------------------------------------- */

static int check(const struct callbacks_options *options, int argc, char **argv)
{
        static const char *const words[] = {"list", "deliveries", "retry", "drop", NULL};
        const char *word = argc > 1 ? argv[1] : "list";

        if (!g_strv_contains(words, word))
                return cli_usage("gabbro callbacks list|deliveries [NAME]|retry NAME|drop NAME");
        if ((strcmp(word, "list") == 0 && argc > 2) || (strcmp(word, "deliveries") == 0 && argc > 3))
                return cli_usage("too many words");
        if (options->output && !g_str_equal(options->output, "json") && !g_str_equal(options->output, "yaml"))
                return cli_usage("-o knows json and yaml");
        return CLI_OK;
}

int cli_callbacks(struct cli *cli, int argc, char **argv)
{
        struct callbacks_options options = {};
        const GOptionEntry entries[] = {
                {"all", 0, 0, G_OPTION_ARG_NONE, &options.all, "retry, drop: of all callbacks of the project", NULL},
                {"dead", 0, 0, G_OPTION_ARG_NONE, &options.dead, "deliveries: only those that were given up", NULL},
                {"output", 'o', 0, G_OPTION_ARG_STRING, &options.output, "list, deliveries: json or yaml", "FORMAT"},
                {},
        };
        int code =
                cli_parse(cli, "callbacks", entries,
                          "Callbacks tell an HTTP endpoint what became of images. What an endpoint does not take is tried again\n"
                          "with growing pauses, then given up: it is dead until it is retried or dropped.\n\n"
                          "Examples:\n"
                          "  gabbro callbacks\n"
                          "  gabbro callbacks deliveries --dead\n"
                          "  gabbro callbacks retry my-hook",
                          &argc, &argv);

        if (code == CLI_OK)
                code = check(&options, argc, argv);
        if (code == CLI_OK && (argc < 2 || strcmp(argv[1], "list") == 0))
                code = list(cli, &options, &api_callback_kind, NULL);
        else if (code == CLI_OK && strcmp(argv[1], "deliveries") == 0)
                code = list_deliveries(cli, &options, argc > 2 ? argv[2] : NULL);
        else if (code == CLI_OK)
                code = decide(cli, &options, argc, argv);
        g_free(options.output);
        return code;
}
