/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "generated/api_types.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct delete_options {
        char **files;
        gboolean wait, ignore_not_found, with_disks;
        int timeout_s;
        const char *body;  /* DeleteOptions, or NULL */
        bool *ret_changed; /* when not NULL: a failed precondition is told here, not to the user */
};

static int delete_object(struct cli *cli, const struct schema_kind *kind, const char *name, const struct delete_options *options)
{
        g_autofree char *path = cli_path(cli, kind, name);
        struct cli_reply reply = {};
        struct cli_request request = {
                .method = "DELETE", .path = path, .body = options->body, .len = options->body ? strlen(options->body) : 0};

        int code = cli_call(cli, &request, &reply);
        if (code == CLI_OK && reply.status / 100 != 2) {
                bool absent = reply.status == 404 && options->ignore_not_found;
                const char *words = reply.doc ? json_find_string(json_root(reply.doc), "message", NULL) : NULL;
                bool changed =
                        reply.status == 409 && options->ret_changed && words && g_str_has_prefix(words, "Precondition failed");
                if (changed)
                        *options->ret_changed = true;
                code = absent ? CLI_OK : changed ? CLI_FAILED : cli_tell_status(&reply);
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

/* --- machines and their disks --- */

static GPtrArray *disks_of(const struct json_value *machine)
{
        GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
        const struct json_value *refs = json_find(machine, "spec", "blockDeviceRefs", NULL);

        for (const struct json_value *ref = json_first(refs); ref; ref = json_next(ref))
                if (g_strcmp0(json_find_string(ref, "kind", NULL), api_virtual_disk_kind.kind) == 0)
                        g_ptr_array_add(names, g_strdup(json_find_string(ref, "name", NULL)));
        return names;
}

/* Another machine that has the disk, or NULL; @reply holds what is returned. */
static const char *other_machine(const struct cli_reply *reply, const char *machine)
{
        const struct json_value *list = json_find(json_root(reply->doc), "status", "attachedToVirtualMachines", NULL);

        for (const struct json_value *one = json_first(list); one; one = json_next(one))
                if (g_strcmp0(json_find_string(one, "name", NULL), machine) != 0)
                        return json_find_string(one, "name", NULL);
        return NULL;
}

/* A disk that has another user beside the machine stays. */
static int delete_disk(struct cli *cli, const char *name, const char *machine, const struct delete_options *options)
{
        g_autofree char *path = cli_path(cli, &api_virtual_disk_kind, name);
        struct cli_reply reply = {};
        int code = cli_call(cli, &(struct cli_request){.path = path}, &reply);
        const char *other = code == CLI_OK && reply.status == 200 && reply.doc ? other_machine(&reply, machine) : NULL;

        if (other)
                cli_note("virtualdisk/%s stays: virtualmachine/%s has it", name, other);
        else if (code == CLI_OK && reply.status != 404)
                code = delete_object(cli, &api_virtual_disk_kind, name, options);
        cli_reply_clear(&reply);
        return code;
}

/* A machine that is gone names its disks no more: who runs the command again would not find them. */
static void tell_left_disks(const char *machine, const GPtrArray *disks, guint from)
{
        g_autoptr(GString) words = g_string_new(NULL);

        for (guint i = from; i < disks->len; i++)
                g_string_append_printf(words, " %s", (const char *)disks->pdata[i]);
        if (words->len)
                cli_note("disks of virtualmachine/%s may stay: gabbro delete vd%s --ignore-not-found", machine, words->str);
}

static int delete_machine_with_disks(struct cli *cli, const char *name, const struct delete_options *options)
{
        g_autofree char *path = cli_path(cli, &api_virtual_machine_kind, name);
        g_autoptr(GPtrArray) disks = NULL;
        struct cli_reply reply = {};
        int code = cli_call(cli, &(struct cli_request){.path = path}, &reply);

        if (code == CLI_OK && reply.status == 200 && reply.doc)
                disks = disks_of(json_root(reply.doc));
        cli_reply_clear(&reply);
        if (code == CLI_OK)
                code = delete_object(cli, &api_virtual_machine_kind, name, options);
        if (code == CLI_UNREACHABLE && disks)
                tell_left_disks(name, disks, 0);
        for (guint i = 0; code == CLI_OK && disks && i < disks->len; i++) {
                code = delete_disk(cli, disks->pdata[i], name, options);
                if (code != CLI_OK)
                        tell_left_disks(name, disks, i);
        }
        return code;
}

static int delete_target(struct cli *cli, const struct cli_target *target, const struct delete_options *options)
{
        if (options->with_disks && target->kind == &api_virtual_machine_kind)
                return delete_machine_with_disks(cli, target->name, options);
        return delete_object(cli, target->kind, target->name, options);
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
                {"with-disks", 0, 0, G_OPTION_ARG_NONE, &options.with_disks,
                 "The disks of machines too, but those that others have", NULL},
                {"wait", 0, 0, G_OPTION_ARG_NONE, &options.wait, "Wait until they are gone", NULL},
                {"timeout", 0, 0, G_OPTION_ARG_INT, &options.timeout_s, "How long to wait for each (300)", "SECONDS"},
                {"ignore-not-found", 0, 0, G_OPTION_ARG_NONE, &options.ignore_not_found, "What does not exist is no failure", NULL},
                {},
        };
        int code = cli_parse(cli, "delete", entries,
                             "A machine is shut down first. Its disks stay, unless --with-disks is given.\n\n"
                             "Examples:\n"
                             "  gabbro delete vm web --wait\n"
                             "  gabbro delete vm web --with-disks\n"
                             "  gabbro delete vm/web vd/web-root\n"
                             "  gabbro delete -f machine.yaml --ignore-not-found",
                             &argc, &argv);

        if (code == CLI_OK && options.with_disks && options.files)
                code = cli_usage("--with-disks goes with names; a manifest names its disks itself");
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
                int r = delete_target(cli, target, &options);
                code = r == CLI_UNREACHABLE || code == CLI_OK ? r : code;
        }
        g_strfreev(options.files);
        return code;
}

/* --- undefine --- */

#define UNDEFINE_TRIES 5

static void append_preconditions(GString *body, const struct json_value *machine)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);

        json_set_root(doc, root);
        struct json_value *preconditions = json_ensure_object(doc, root, "preconditions");
        json_set_string(doc, preconditions, "uid", json_find_string(machine, "metadata", "uid", NULL));
        json_set_string(doc, preconditions, "resourceVersion", json_find_string(machine, "metadata", "resourceVersion", NULL));
        json_write(root, body);
}

/* Only one that is off, as it was seen; when it has changed since, it is looked at again. */
static int undefine_seen(struct cli *cli, const char *name, struct delete_options *options)
{
        g_autofree char *path = cli_path(cli, &api_virtual_machine_kind, name);
        g_autoptr(GString) body = g_string_new(NULL);
        g_autoptr(GPtrArray) disks = NULL;
        struct cli_reply reply = {};
        int code = cli_expect(cli, &(struct cli_request){.path = path}, &reply);

        if (code != CLI_OK) {
                cli_reply_clear(&reply);
                return code;
        }
        const struct json_value *machine = json_root(reply.doc);
        const char *phase = json_find_string(machine, "status", "phase", NULL);
        if (g_strcmp0(phase, "Stopped") == 0) {
                append_preconditions(body, machine);
                disks = disks_of(machine);
                options->body = body->str;
                code = delete_object(cli, &api_virtual_machine_kind, name, options);
        } else {
                cli_error("virtualmachine/%s is %s; stop it first: gabbro stop %s --wait", name, phase ?: "not looked at yet",
                          name);
                code = CLI_FAILED;
        }
        for (guint i = 0; code == CLI_OK && i < disks->len; i++)
                cli_note("virtualdisk/%s stays", (const char *)disks->pdata[i]);
        cli_reply_clear(&reply);
        return code;
}

static int undefine_one(struct cli *cli, const char *word, struct delete_options *options)
{
        const char *name = cli_machine_name(word);
        bool changed = true;
        int code = CLI_USAGE;

        options->ret_changed = &changed;
        for (unsigned i = 0; name && changed && i < UNDEFINE_TRIES; i++) {
                changed = false;
                code = undefine_seen(cli, name, options);
        }
        if (name && changed)
                cli_error("virtualmachine/%s changes all the time; try again", name);
        return code;
}

int cli_undefine(struct cli *cli, int argc, char **argv)
{
        struct delete_options options = {.timeout_s = 300};
        const GOptionEntry entries[] = {
                {"wait", 0, 0, G_OPTION_ARG_NONE, &options.wait, "Wait until they are gone", NULL},
                {"timeout", 0, 0, G_OPTION_ARG_INT, &options.timeout_s, "How long to wait for each (300)", "SECONDS"},
                {},
        };
        int code = cli_parse(cli, "undefine", entries,
                             "Deletes machines that are off, and no disk. One that runs is refused; delete shuts it down first.\n\n"
                             "Examples:\n"
                             "  gabbro undefine web --wait",
                             &argc, &argv);

        if (code == CLI_OK && argc < 2)
                code = cli_usage("which machine? gabbro undefine NAME");
        if (code == CLI_OK && options.timeout_s < 0)
                code = cli_usage("--timeout takes seconds");
        for (int i = 1, r; i < argc && code != CLI_USAGE && code != CLI_UNREACHABLE; i++) {
                r = undefine_one(cli, argv[i], &options);
                code = code == CLI_OK || r == CLI_UNREACHABLE ? r : code;
        }
        return code;
}
