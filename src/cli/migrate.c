/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

/* Name of the operation that moves @machine now, g_free(); NULL: none does. */
static char *find_under_way(const struct json_value *list, const char *machine)
{
        for (const struct json_value *item = json_first(json_get(list, "items")); item; item = json_next(item)) {
                bool its = g_strcmp0(json_find_string(item, "spec", "virtualMachineName", NULL), machine) == 0;
                const char *phase = json_find_string(item, "status", "phase", NULL);
                bool over = g_strcmp0(phase, "Completed") == 0 || g_strcmp0(phase, "Failed") == 0;

                if (its && !over && g_strcmp0(json_find_string(item, "spec", "type", NULL), "Migrate") == 0)
                        return g_strdup(json_find_string(item, "metadata", "name", NULL));
        }
        return NULL;
}

int cli_change_migration(struct cli *cli, const char *machine, const struct json_value *change)
{
        g_autofree char *collection = cli_path(cli, &api_virtual_machine_operation_kind, NULL), *name = NULL, *text = NULL;
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        struct cli_reply reply = {};
        int code;

        assert(cli && machine && change);
        code = cli_expect(cli, &(struct cli_request){.path = collection}, &reply);
        if (code == CLI_OK)
                name = find_under_way(json_root(reply.doc), machine);
        cli_reply_clear(&reply);
        if (code != CLI_OK)
                return code;
        if (!name) {
                cli_error("no migration of %s is under way", machine);
                return CLI_FAILED;
        }
        json_set_root(doc, root);
        json_set(doc, json_ensure_object(doc, root, "spec"), "migrate", json_copy(doc, change));
        text = json_to_text(root);

        g_autofree char *path = cli_path(cli, &api_virtual_machine_operation_kind, name);
        struct cli_request request = {
                .method = "PATCH", .path = path, .content_type = "application/merge-patch+json", .body = text, .len = strlen(text)};

        code = cli_expect(cli, &request, &reply);
        cli_reply_clear(&reply);
        if (code == CLI_OK)
                cli_say("virtualmachineoperation/%s changed", name);
        return code;
}
