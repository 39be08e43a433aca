/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth.h"
#include "base/clock.h"
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DATA_DIR "/var/lib/gabbro"

/* The log is read on the gateway's host, whether a gateway runs or not: what is suspected to be forged is not asked of itself. */
struct audit_options {
        char *file, *data_dir, *user, *verb, *resource, *since, *output;
        gboolean refused;
        uint64_t since_us;
};

/* "2026-11-21T10:00:00Z", or how long ago: "90s" "30m" "2h" "7d". */
static bool parse_since(const char *text, uint64_t *ret_us)
{
        static const struct {
                char unit;
                uint64_t us;
        } units[] = {{'s', 1000000ull}, {'m', 60000000ull}, {'h', 3600000000ull}, {'d', 86400000000ull}};
        g_autofree char *digits = g_strndup(text, *text ? strlen(text) - 1 : 0);
        uint64_t now = clock_real_us(clock_system()), n = 0;

        if (clock_parse_rfc3339(text, ret_us) == 0)
                return true;
        if (!g_ascii_string_to_unsigned(digits, 10, 0, 100000000, &n, NULL))
                return false;
        for (size_t i = 0; i < G_N_ELEMENTS(units); i++)
                if (units[i].unit == text[strlen(text) - 1]) {
                        *ret_us = now - MIN(now, n * units[i].us);
                        return true;
                }
        return false;
}

static const char *text_of(const struct json_value *entry, const char *key)
{
        return json_find_string(entry, key, NULL);
}

static bool matches(const struct audit_options *options, const struct json_value *entry)
{
        const char *time = text_of(entry, "time");
        uint64_t time_us = 0;

        if (options->since_us && (!time || clock_parse_rfc3339(time, &time_us) != 0 || time_us < options->since_us))
                return false;
        return (!options->user || g_strcmp0(options->user, text_of(entry, "user")) == 0) &&
               (!options->verb || g_strcmp0(options->verb, text_of(entry, "verb")) == 0) &&
               (!options->resource || g_strcmp0(options->resource, text_of(entry, "resource")) == 0) &&
               (!options->refused || !json_bool(json_get(entry, "allowed"), true));
}

/* "secrets/status default/name", a path, or what the log tells of itself. */
static char *object_of(const struct json_value *entry)
{
        const char *resource = text_of(entry, "resource"), *sub = text_of(entry, "subresource"), *name = text_of(entry, "name");
        const char *namespace = text_of(entry, "namespace"), *event = text_of(entry, "event");

        if (event)
                return g_strdup(event);
        if (!resource)
                return g_strdup(text_of(entry, "path") ?: "-");
        return g_strdup_printf("%s%s%s%s%s%s%s", resource, sub ? "/" : "", sub ?: "", name || namespace ? " " : "", namespace ?: "",
                               namespace && name ? "/" : "", name ?: "");
}

struct listing {
        const struct audit_options *options;
        struct cli_table *table;
        size_t unreadable;
};

static void add_row(struct cli_table *table, const struct json_value *entry)
{
        g_autofree char *object = object_of(entry), *status = NULL;
        int64_t code = 0;

        (void)json_int64(json_get(entry, "status"), &code);
        status = code ? g_strdup_printf("%" PRId64, code) : g_strdup("-");
        cli_table_add(table, (const char *const[]){text_of(entry, "time") ?: "-", text_of(entry, "user") ?: "-",
                                                   text_of(entry, "peer") ?: "-", text_of(entry, "verb") ?: "-", object,
                                                   json_bool(json_get(entry, "allowed"), true) ? "yes" : "no", status, NULL});
}

static bool list_line(const char *line, size_t len, void *userdata)
{
        struct listing *listing = userdata;
        g_autoptr(json_doc) doc = NULL;

        if (json_parse(line, len, &doc, NULL) != 0)
                listing->unreadable++;
        else if (matches(listing->options, json_root(doc)) && listing->options->output)
                cli_say("%s", line);
        else if (matches(listing->options, json_root(doc)))
                add_row(listing->table, json_root(doc));
        return true;
}

static int tell(const char *path, const struct auth_audit_report *report, bool wanted)
{
        if (report->unfinished)
                cli_note("The last line has no end yet: the gateway writes it now, or a power cut took the rest.");
        if (!report->checkpoint && report->lines)
                cli_note("There is no checkpoint beside %s: lines may have been cut off the end.", path);
        if (report->broken) {
                cli_error("%s: line %" PRIu64 ": %s. What stands before it is as it was written", path, report->broken,
                          report->words);
                return CLI_FAILED;
        }
        if (wanted)
                cli_say("%" PRIu64 " lines, the chain is whole; the checkpoint vouches for %" PRIu64, report->lines,
                        report->checkpoint);
        return CLI_OK;
}

static int walk(const struct audit_options *options, bool verify)
{
        g_autofree char *path =
                options->file ? g_strdup(options->file) : g_build_filename(options->data_dir ?: DATA_DIR, "audit.log", NULL);
        struct listing listing = {.options = options, .table = cli_table_new()};
        struct auth_audit_report report = {};
        int r;

        if (!options->output && !verify)
                cli_table_add(listing.table,
                              (const char *const[]){"TIME", "USER", "FROM", "VERB", "WHAT", "ALLOWED", "STATUS", NULL});
        r = auth_audit_read(path, verify ? NULL : list_line, &listing, &report);
        cli_table_print(listing.table);
        cli_table_free(listing.table);
        if (r < 0) {
                cli_error("cannot read %s or its checkpoint: %s; it stands in the --data-dir of the gateway, on its host", path,
                          r == -EBADMSG ? "the checkpoint is none" : g_strerror(-r));
                return CLI_NOT_FOUND;
        }
        if (listing.unreadable)
                cli_note("%zu lines are no JSON and were left out.", listing.unreadable);
        return tell(path, &report, verify);
}

static int check(struct audit_options *options, int argc, char **argv)
{
        const char *what = argc > 1 ? argv[1] : "";

        if (argc != 2 || (!g_str_equal(what, "list") && !g_str_equal(what, "verify")))
                return cli_usage("what? gabbro audit list or gabbro audit verify");
        if (options->output && !g_str_equal(options->output, "json"))
                return cli_usage("-o knows json: the lines as they stand in the log");
        if (options->since && !parse_since(options->since, &options->since_us))
                return cli_usage("--since takes a time (2026-11-21T10:00:00Z) or how long ago (90s, 30m, 2h, 7d)");
        return CLI_OK;
}

int cli_audit(struct cli *cli, int argc, char **argv)
{
        struct audit_options options = {};
        const GOptionEntry entries[] = {
                {"data-dir", 0, 0, G_OPTION_ARG_FILENAME, &options.data_dir, "Folder of the gateway (" DATA_DIR ")", "DIR"},
                {"file", 0, 0, G_OPTION_ARG_FILENAME, &options.file, "The log itself, for one that was copied away", "FILE"},
                {"user", 0, 0, G_OPTION_ARG_STRING, &options.user, "list: only what this user did", "USER"},
                {"verb", 0, 0, G_OPTION_ARG_STRING, &options.verb, "list: only this verb, for example delete", "VERB"},
                {"resource", 0, 0, G_OPTION_ARG_STRING, &options.resource, "list: only this resource, for example secrets",
                 "PLURAL"},
                {"since", 0, 0, G_OPTION_ARG_STRING, &options.since, "list: only from then on: a time, or 90s, 30m, 2h, 7d",
                 "TIME"},
                {"refused", 0, 0, G_OPTION_ARG_NONE, &options.refused, "list: only what was refused", NULL},
                {"output", 'o', 0, G_OPTION_ARG_STRING, &options.output, "list: json, a line each", "FORMAT"},
                {},
        };
        int code = cli_options(
                cli, "audit", entries,
                "Reads the log on the gateway's own host, as root, whether the gateway runs or not. Both walk along the\n"
                "whole chain and end with code 1 when a line was changed, removed, moved or cut off, and name the first.\n\n"
                "Examples:\n"
                "  gabbro audit verify\n"
                "  gabbro audit list --user rose --since 7d\n"
                "  gabbro audit list --refused --resource secrets -o json",
                &argc, &argv);

        if (code == CLI_OK)
                code = check(&options, argc, argv);
        if (code == CLI_OK)
                code = walk(&options, g_str_equal(argv[1], "verify"));
        char *owned[] = {options.file,     options.data_dir, options.user,  options.verb,
                         options.resource, options.since,    options.output};
        for (size_t i = 0; i < G_N_ELEMENTS(owned); i++)
                g_free(owned[i]);
        return code;
}
