/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/lastapplied.h"
#include "cli/story.h"
#include "generated/api_types.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void print_age(const char *label, const char *time)
{
        uint64_t then_us = 0;
        char age[32];

        if (time && clock_parse_rfc3339(time, &then_us) == 0) {
                uint64_t now_us = clock_real_us(clock_system());
                printf("%-14s %s ago (%s)\n", label, clock_format_age(now_us > then_us ? now_us - then_us : 0, age), time);
        }
}

static void print_line(const char *label, const char *text)
{
        g_autofree char *clean = cli_clean(text, false);

        printf("%-14s %s\n", label, clean);
}

static void print_map(const char *label, const struct json_value *map)
{
        for (const struct json_value *m = json_first(map); m; m = json_next(m)) {
                if (g_str_equal(json_key(m), LASTAPPLIED))
                        continue;
                g_autofree char *text = g_strdup_printf("%s=%s", json_key(m), json_string(m, ""));
                print_line(label, text);
                label = "";
        }
}

/* A part of the object as indented YAML. */
static void print_part(const char *label, const struct json_value *part)
{
        g_autoptr(GString) text = g_string_new(NULL);

        if (!part || json_length(part) == 0)
                return;
        json_write_yaml(part, text);
        printf("%s\n", label);
        g_auto(GStrv) lines = g_strsplit(g_strchomp(text->str), "\n", -1);
        for (char **line = lines; *line; line++)
                printf("  %s\n", *line);
}

static void print_conditions(const struct json_value *conditions)
{
        if (json_length(conditions) == 0)
                return;
        struct cli_table *table = cli_table_new();
        cli_table_add(table, (const char *const[]){"  TYPE", "STATUS", "REASON", "MESSAGE", NULL});
        for (const struct json_value *c = json_first(conditions); c; c = json_next(c)) {
                g_autofree char *type = g_strdup_printf("  %s", json_find_string(c, "type", NULL) ?: "");
                cli_table_add(table, (const char *const[]){type, json_find_string(c, "status", NULL) ?: "",
                                                           json_find_string(c, "reason", NULL) ?: "",
                                                           json_find_string(c, "message", NULL) ?: "", NULL});
        }
        printf("Conditions\n");
        cli_table_print(table);
        cli_table_free(table);
}

static char *value_text(const struct json_value *value)
{
        const char *text = json_string(value, NULL);

        return text ? g_strdup(text) : value ? json_to_text(value) : g_strdup("");
}

/* What of a machine waits for a restart: what it has, and what it will have. */
static void print_changes(const struct json_value *changes)
{
        struct cli_table *table;

        if (json_length(changes) == 0)
                return;
        table = cli_table_new();
        cli_table_add(table, (const char *const[]){"  FIELD", "NOW", "AFTER A RESTART", NULL});
        for (const struct json_value *c = json_first(changes); c; c = json_next(c)) {
                g_autofree char *path = g_strdup_printf("  spec.%s", json_find_string(c, "path", NULL) ?: "");
                g_autofree char *now = value_text(json_get(c, "currentValue")), *then = value_text(json_get(c, "desiredValue"));

                cli_table_add(table, (const char *const[]){path, now, then, NULL});
        }
        printf("Changes that wait for a restart\n");
        cli_table_print(table);
        cli_table_free(table);
}

static void print_events(struct cli *cli, const struct schema_kind *kind, const struct json_value *object)
{
        const char *namespace = json_find_string(object, "metadata", "namespace", NULL);
        const char *uid = json_find_string(object, "metadata", "uid", NULL);
        g_autofree char *collection = cli_path_in(&api_event_kind, namespace ?: "default", NULL);
        g_autofree char *path = g_strdup_printf("%s?fieldSelector=involvedObject.uid%%3D%s", collection, uid ?: "");
        struct cli_reply reply = {};

        if (cli_call(cli, &(struct cli_request){.path = path}, &reply) == CLI_OK && reply.status == 200 && reply.doc) {
                const struct json_value *items = json_get(json_root(reply.doc), "items");
                struct cli_table *table = cli_table_new();
                if (json_length(items) > 0)
                        printf("Events\n");
                for (const struct json_value *e = json_first(items); e; e = json_next(e)) {
                        g_autofree char *time = g_strdup_printf("  %s", json_find_string(e, "lastTimestamp", NULL) ?: "");
                        cli_table_add(table, (const char *const[]){time, json_find_string(e, "type", NULL) ?: "",
                                                                   json_find_string(e, "reason", NULL) ?: "",
                                                                   json_find_string(e, "message", NULL) ?: "", NULL});
                }
                cli_table_print(table);
                cli_table_free(table);
        }
        cli_reply_clear(&reply);
}

/* Of a Secret only how long each value is. */
static void print_data(const struct schema_kind *kind, const struct json_value *data)
{
        if (!g_str_equal(kind->kind, "Secret")) {
                print_part("Data", data);
                return;
        }
        if (json_length(data) > 0)
                printf("Data\n");
        for (const struct json_value *d = json_first(data); d; d = json_next(d)) {
                size_t len = 0;
                guchar *plain = g_base64_decode(json_string(d, ""), &len);
                printf("  %s: %zu bytes\n", json_key(d), len);
                g_free(plain);
        }
}

static void print_description(struct cli *cli, const struct schema_kind *kind, const struct json_value *object)
{
        const struct json_value *meta = json_get(object, "metadata");
        g_autoptr(json_doc) doc = json_doc_new();

        print_line("Name", json_find_string(meta, "name", NULL));
        if (kind->namespaced)
                print_line("Namespace", json_find_string(meta, "namespace", NULL));
        printf("%-14s %s %s\n", "Kind", json_find_string(object, "apiVersion", NULL) ?: "", kind->kind);
        print_map("Labels", json_get(meta, "labels"));
        print_map("Annotations", json_get(meta, "annotations"));
        print_age("Created", json_find_string(meta, "creationTimestamp", NULL));
        print_age("Deletion", json_find_string(meta, "deletionTimestamp", NULL));
        print_part("Spec", json_get(object, "spec"));
        print_data(kind, json_get(object, "data"));
        const struct json_value *status = json_get(object, "status");
        if (status) {
                struct json_value *rest = json_copy(doc, status);
                json_remove(rest, "conditions");
                json_remove(rest, "restartAwaitingChanges");
                print_part("Status", rest);
                print_conditions(json_get(status, "conditions"));
                print_changes(json_get(status, "restartAwaitingChanges"));
        }
        if (kind == &api_virtual_machine_kind)
                story_tell(cli, object);
        else
                print_events(cli, kind, object);
}

static int describe_all(struct cli *cli, const struct schema_kind *kind)
{
        g_autofree char *path = cli_path(cli, kind, NULL);
        struct cli_reply reply = {};

        int code = cli_expect(cli, &(struct cli_request){.path = path}, &reply);
        const struct json_value *items = code == CLI_OK ? json_get(json_root(reply.doc), "items") : NULL;
        for (const struct json_value *item = json_first(items); item; item = json_next(item)) {
                if (item != json_first(items))
                        putchar('\n');
                print_description(cli, kind, item);
        }
        if (code == CLI_OK && json_length(items) == 0)
                cli_note("No %s found%s%s.", kind->plural, kind->namespaced ? " in " : "", kind->namespaced ? cli->namespace : "");
        cli_reply_clear(&reply);
        return code;
}

static int describe_one(struct cli *cli, const struct cli_target *target, bool first)
{
        g_autofree char *path = cli_path(cli, target->kind, target->name);
        struct cli_reply reply = {};

        int code = cli_expect(cli, &(struct cli_request){.path = path}, &reply);
        if (code == CLI_OK && !first)
                putchar('\n');
        if (code == CLI_OK)
                print_description(cli, target->kind, json_root(reply.doc));
        cli_reply_clear(&reply);
        return code;
}

int cli_describe(struct cli *cli, int argc, char **argv)
{
        int code = cli_parse(cli, "describe", NULL,
                             "Examples:\n"
                             "  gabbro describe vm web\n"
                             "  gabbro describe vm/web vd/web-root\n"
                             "  gabbro describe node",
                             &argc, &argv);

        if (code != CLI_OK)
                return code;
        if (argc == 2 && !cli_is_slashed(argv[1])) {
                const struct schema_kind *kind = cli_kind(argv[1]);
                return kind ? describe_all(cli, kind) : CLI_USAGE;
        }
        g_autoptr(GArray) targets = cli_targets(argc, argv, "describe");
        if (!targets)
                return CLI_USAGE;
        for (guint i = 0; i < targets->len && code != CLI_UNREACHABLE; i++) {
                int r = describe_one(cli, &g_array_index(targets, struct cli_target, i), i == 0);
                code = code == CLI_OK || r == CLI_UNREACHABLE ? r : code;
        }
        return code;
}
