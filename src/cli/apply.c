/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/lastapplied.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define ATTEMPTS 100
#define PAUSE_US 30000

/*
 * Several objects are first sent with dryRun, so that a fault in the last one is told before the first one is made. What only the
 * real order can satisfy (an object in a namespace that comes with it) does not count there.
 */
enum apply_mode { APPLY_CHECK, APPLY_DRY_RUN, APPLY_NOW };

struct applied {
        struct json_doc *doc;
        const struct schema_kind *kind;
        const char *name;
        char *collection, *path;
};

static void applied_free(void *item)
{
        struct applied *applied = item;

        g_free(applied->collection);
        g_free(applied->path);
        g_free(applied);
}

static const char *query(enum apply_mode mode)
{
        return mode == APPLY_NOW ? "?fieldValidation=Strict" : "?fieldValidation=Strict&dryRun=All";
}

static void say_done(const struct applied *applied, enum apply_mode mode, const char *what)
{
        if (mode != APPLY_CHECK)
                cli_say("%s/%s %s%s", applied->kind->singular, applied->name, what, mode == APPLY_DRY_RUN ? " (dry run)" : "");
}

/* Tell an error status; of a check only faults of the object itself. */
static int say_refused(const struct cli_reply *reply, enum apply_mode mode)
{
        if (mode == APPLY_CHECK && reply->status != 400 && reply->status != 422)
                return CLI_OK;
        return cli_tell_status(reply);
}

static int patch_object(struct cli *cli, const struct applied *applied, const struct json_value *live, enum apply_mode mode)
{
        struct json_value *patch = lastapplied_patch(applied->doc, live);
        const char *before = json_find_string(live, "metadata", "resourceVersion", NULL);
        struct cli_reply reply = {};

        if (json_length(patch) == 0) {
                say_done(applied, mode, "unchanged");
                return CLI_OK;
        }
        g_autofree char *text = json_to_text(patch);
        g_autofree char *path = g_strconcat(applied->path, query(mode), NULL);
        struct cli_request request = {
                .method = "PATCH", .path = path, .content_type = "application/merge-patch+json", .body = text, .len = strlen(text)};
        int code = cli_call(cli, &request, &reply);
        if (code == CLI_OK && reply.status / 100 == 2) {
                /* A list that differs only by defaults is sent, and found to be the same. */
                const char *after = json_find_string(reply.doc ? json_root(reply.doc) : NULL, "metadata", "resourceVersion", NULL);
                bool same = mode == APPLY_NOW && g_strcmp0(before, after) == 0;
                say_done(applied, mode, same ? "unchanged" : "configured");
        } else if (code == CLI_OK) {
                code = say_refused(&reply, mode);
        }
        cli_reply_clear(&reply);
        return code;
}

static int create_object(struct cli *cli, const struct applied *applied, enum apply_mode mode, bool *ret_exists)
{
        g_autofree char *text = json_to_text(json_root(applied->doc));
        g_autofree char *path = g_strconcat(applied->collection, query(mode), NULL);
        struct cli_request request = {.method = "POST", .path = path, .body = text, .len = strlen(text)};
        struct cli_reply reply = {};

        int code = cli_call(cli, &request, &reply);
        *ret_exists = code == CLI_OK && reply.status == 409;
        if (code == CLI_OK && reply.status / 100 == 2)
                say_done(applied, mode, "created");
        else if (code == CLI_OK && !*ret_exists)
                code = say_refused(&reply, mode);
        cli_reply_clear(&reply);
        return code;
}

static int apply_once(struct cli *cli, const struct applied *applied, enum apply_mode mode, bool *ret_again)
{
        struct cli_reply reply = {};

        *ret_again = false;
        int code = cli_call(cli, &(struct cli_request){.path = applied->path}, &reply);
        if (code == CLI_OK && reply.status == 200 && reply.doc)
                code = patch_object(cli, applied, json_root(reply.doc), mode);
        else if (code == CLI_OK && reply.status == 404)
                code = create_object(cli, applied, mode, ret_again);
        else if (code == CLI_OK)
                code = say_refused(&reply, mode);
        cli_reply_clear(&reply);
        return code;
}

static int apply_object(struct cli *cli, const struct applied *applied, enum apply_mode mode)
{
        bool again = true;
        int code = CLI_OK;

        /* Somebody was faster: patch theirs. It can be read a moment after it is known to be there. */
        for (unsigned attempt = 0; again && attempt < ATTEMPTS; attempt++) {
                if (attempt > 0)
                        g_usleep(PAUSE_US);
                code = apply_once(cli, applied, mode, &again);
        }
        if (!again)
                return code;
        cli_error("%s/%s comes and goes while it is applied; try again", applied->kind->singular, applied->name);
        return CLI_FAILED;
}

/* The collection as the manifest addresses it: a manifest of the alias group goes to the alias group. */
static char *collection_path(const struct schema_kind *kind, const char *api_version, const char *namespace)
{
        const char *root = strchr(api_version, '/') ? "apis" : "api";

        if (!kind->namespaced)
                return g_strdup_printf("/%s/%s/%s", root, api_version, kind->plural);
        g_autofree char *escaped = g_uri_escape_string(namespace, NULL, FALSE);
        return g_strdup_printf("/%s/%s/namespaces/%s/%s", root, api_version, escaped, kind->plural);
}

static struct applied *prepare(struct cli *cli, struct json_doc *doc)
{
        const struct json_value *root = json_root(doc);
        const struct schema_kind *kind = cli_kind_of(root);
        const char *namespace = json_find_string(root, "metadata", "namespace", NULL);
        const char *name = json_find_string(root, "metadata", "name", NULL);

        if (!kind)
                return NULL;
        if (!name || !*name) {
                cli_error("a manifest of kind %s has no metadata.name", kind->kind);
                return NULL;
        }
        if (kind->namespaced && namespace && cli->option_namespace && !g_str_equal(namespace, cli->option_namespace)) {
                cli_error("%s/%s says namespace %s, the command line says %s", kind->singular, name, namespace,
                          cli->option_namespace);
                return NULL;
        }
        struct applied *applied = g_new0(struct applied, 1);
        applied->doc = doc;
        applied->kind = kind;
        applied->name = name;
        applied->collection = collection_path(kind, json_find_string(root, "apiVersion", NULL),
                                              namespace && *namespace ? namespace : cli->namespace);
        g_autofree char *escaped = g_uri_escape_string(name, NULL, FALSE);
        applied->path = g_strconcat(applied->collection, "/", escaped, NULL);
        lastapplied_set(doc, !kind->namespaced ? NULL : namespace && *namespace ? namespace : cli->namespace);
        return applied;
}

/* Goes on after a refusal, not after a lost connection. */
static int apply_all(struct cli *cli, const GPtrArray *all, enum apply_mode mode)
{
        int code = CLI_OK;

        for (guint i = 0; i < all->len && code != CLI_UNREACHABLE; i++) {
                int r = apply_object(cli, all->pdata[i], mode);
                code = r == CLI_UNREACHABLE || code == CLI_OK ? r : code;
        }
        return code;
}

int cli_apply_docs(struct cli *cli, const GPtrArray *docs, bool dry_run)
{
        assert(cli && docs);

        g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(applied_free);
        bool sound = true;

        for (guint i = 0; i < docs->len; i++) {
                struct applied *applied = prepare(cli, docs->pdata[i]);
                if (applied)
                        g_ptr_array_add(all, applied);
                sound = sound && applied;
        }
        int code = !sound ? CLI_FAILED : CLI_OK;
        if (code == CLI_OK && all->len > 1 && !dry_run)
                code = apply_all(cli, all, APPLY_CHECK);
        if (code == CLI_OK)
                return apply_all(cli, all, dry_run ? APPLY_DRY_RUN : APPLY_NOW);
        if (docs->len > 1 && code == CLI_FAILED)
                cli_note("Nothing was changed.");
        return code;
}

int cli_apply_doc(struct cli *cli, struct json_doc *doc)
{
        g_autoptr(GPtrArray) docs = g_ptr_array_new();

        g_ptr_array_add(docs, doc);
        return cli_apply_docs(cli, docs, false);
}

int cli_apply(struct cli *cli, int argc, char **argv)
{
        g_auto(GStrv) files = NULL;
        gboolean dry_run = FALSE;
        g_autoptr(GPtrArray) docs = NULL;
        const GOptionEntry entries[] = {
                {"filename", 'f', 0, G_OPTION_ARG_FILENAME_ARRAY, &files,
                 "Manifest in YAML or JSON, or a folder of them; - for standard input", "FILE"},
                {"dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "Let the gateway check all and change nothing", NULL},
                {},
        };
        int code = cli_parse(cli, "apply", entries,
                             "Fields that an earlier apply set and the manifest no longer has are removed; what others set stays.\n"
                             "Several objects are checked together before the first one is made. What gabbro get -o yaml printed\n"
                             "can be changed and applied.\n\n"
                             "Examples:\n"
                             "  gabbro apply -f machine.yaml\n"
                             "  gabbro apply -f manifests/\n"
                             "  gabbro create vm web --image tiny --cluster-image --dry-run | gabbro apply -f -",
                             &argc, &argv);

        if (code == CLI_OK && !files)
                code = cli_usage("which manifest? gabbro apply -f FILE");
        if (code == CLI_OK)
                code = cli_manifests(files, argv + 1, &docs);
        return code == CLI_OK ? cli_apply_docs(cli, docs, dry_run) : code;
}
