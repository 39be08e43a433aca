/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <assert.h>
#include <stdio.h>

struct delete_options {
        char **files;
        gboolean wait, ignore_not_found;
        int timeout_s;
};

static int delete_object(struct cli *cli, const struct schema_kind *kind, const char *name, const struct delete_options *options)
{
        g_autofree char *path = cli_path(cli, kind, name);
        struct cli_reply reply = {};
        struct cli_request request = {.method = "DELETE", .path = path};

        int code = cli_call(cli, &request, &reply);
        if (code == CLI_OK && reply.status / 100 != 2) {
                bool absent = reply.status == 404 && options->ignore_not_found;
                code = absent ? CLI_OK : cli_tell_status(&reply);
        } else if (code == CLI_OK) {
                /* The object with a time of deletion: its finalizers keep it until all that belongs to it is gone. */
                bool stays = reply.doc && json_find(json_root(reply.doc), "metadata", "deletionTimestamp", NULL);
                cli_say("%s/%s %s", kind->singular, name, stays ? "is being deleted" : "deleted");
                if (stays && options->wait)
                        code = cli_wait_for(cli, kind, name, "delete", (uint64_t)options->timeout_s * 1000000, false);
                if (stays && options->wait && code == CLI_OK)
                        cli_say("%s/%s is gone", kind->singular, name);
        }
        cli_reply_clear(&reply);
        return code;
}

/* What a manifest names, in the namespace that it says. */
static int delete_doc(struct cli *cli, const struct json_value *manifest, const struct delete_options *options)
{
        const struct schema_kind *kind = cli_kind_of(manifest);
        const char *name = json_find_string(manifest, "metadata", "name", NULL);
        const char *namespace = json_find_string(manifest, "metadata", "namespace", NULL);
        char *before = cli->namespace;

        if (!kind)
                return CLI_FAILED;
        if (!name || !*name) {
                cli_error("a manifest of kind %s has no metadata.name", kind->kind);
                return CLI_FAILED;
        }
        if (namespace && *namespace)
                cli->namespace = (char *)namespace;
        int code = delete_object(cli, kind, name, options);
        cli->namespace = before;
        return code;
}

static int delete_manifests(struct cli *cli, char **more, const struct delete_options *options)
{
        g_autoptr(GPtrArray) docs = NULL;

        int code = cli_manifests(options->files, more, &docs);
        for (guint i = 0; docs && i < docs->len && code != CLI_UNREACHABLE; i++) {
                int r = delete_doc(cli, json_root(docs->pdata[i]), options);
                code = r == CLI_UNREACHABLE || code == CLI_OK ? r : code;
        }
        return code;
}

int cli_delete(struct cli *cli, int argc, char **argv)
{
        struct delete_options options = {.timeout_s = 300};
        g_autoptr(GArray) targets = NULL;
        const GOptionEntry entries[] = {
                {"filename", 'f', 0, G_OPTION_ARG_FILENAME_ARRAY, &options.files,
                 "Delete what a manifest or a folder of them names", "FILE"},
                {"wait", 0, 0, G_OPTION_ARG_NONE, &options.wait, "Wait until they are gone", NULL},
                {"timeout", 0, 0, G_OPTION_ARG_INT, &options.timeout_s, "How long to wait for each (300)", "SECONDS"},
                {"ignore-not-found", 0, 0, G_OPTION_ARG_NONE, &options.ignore_not_found, "What does not exist is no failure", NULL},
                {},
        };
        int code = cli_parse(cli, "delete", entries,
                             "A machine is shut down first. Its disks stay.\n\n"
                             "Examples:\n"
                             "  gabbro delete vm web --wait\n"
                             "  gabbro delete vm/web vd/web-root\n"
                             "  gabbro delete -f machine.yaml --ignore-not-found",
                             &argc, &argv);

        if (code == CLI_OK && options.timeout_s < 0)
                code = cli_usage("--timeout takes seconds");
        if (code == CLI_OK && options.files) {
                code = delete_manifests(cli, argv + 1, &options);
        } else if (code == CLI_OK) {
                targets = cli_targets(argc, argv, "delete");
                code = targets ? CLI_OK : CLI_USAGE;
        }
        for (guint i = 0; targets && i < targets->len && code != CLI_UNREACHABLE; i++) {
                const struct cli_target *target = &g_array_index(targets, struct cli_target, i);
                int r = delete_object(cli, target->kind, target->name, &options);
                code = r == CLI_UNREACHABLE || code == CLI_OK ? r : code;
        }
        g_strfreev(options.files);
        return code;
}
