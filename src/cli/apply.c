/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"

/*
 * Three-way: what the last manifest had and this one has not is removed (null in the merge patch); what differs from the live
 * object is set; what others set stays. Lists are replaced whole, as in any merge patch.
 */
static struct json_value *three_way(struct json_doc *doc, const struct json_value *last, const struct json_value *wanted,
                                    const struct json_value *live, unsigned depth)
{
        struct json_value *patch = json_new(doc, JSON_OBJECT);

        if (depth > LIMIT_JSON_DEPTH)
                return patch;
        for (const struct json_value *w = json_first(wanted); w; w = json_next(w)) {
                const struct json_value *l = json_get(live, json_key(w));
                if (json_is(w, JSON_OBJECT) && json_is(l, JSON_OBJECT)) {
                        struct json_value *inner = three_way(doc, json_get(last, json_key(w)), w, l, depth + 1);
                        if (json_length(inner) > 0)
                                json_set(doc, patch, json_key(w), inner);
                } else if (!l || !json_equal(w, l)) {
                        json_set(doc, patch, json_key(w), json_copy(doc, w));
                }
        }
        for (const struct json_value *b = json_first(last); b; b = json_next(b))
                if (!json_get(wanted, json_key(b)) && json_get(live, json_key(b)))
                        json_set(doc, patch, json_key(b), json_new(doc, JSON_NULL));
        return patch;
}

/* The manifest with itself as annotation. */
static void annotate(struct json_doc *doc)
{
        g_autofree char *text = json_to_text(json_root(doc));
        struct json_value *meta = json_ensure_object(doc, json_root(doc), "metadata");

        json_set_string(doc, json_ensure_object(doc, meta, "annotations"), LAST_APPLIED, text);
}

static int patch_object(struct cli *cli, const struct schema_kind *kind, const char *path, struct json_doc *doc,
                        const struct json_value *live)
{
        const struct json_value *annotations = json_find(live, "metadata", "annotations", NULL);
        const char *before = json_string(json_get(annotations, LAST_APPLIED), NULL);
        g_autoptr(json_doc) last = NULL;
        struct cli_reply reply = {};

        if (before && json_parse(before, strlen(before), &last, NULL))
                last = NULL;
        struct json_value *patch = three_way(doc, last ? json_root(last) : NULL, json_root(doc), live, 0);
        json_remove(patch, "apiVersion");
        json_remove(patch, "kind");
        const char *name = json_find_string(json_root(doc), "metadata", "name", NULL);
        if (json_length(patch) == 0) {
                printf("%s/%s unchanged\n", kind->singular, name);
                return CLI_OK;
        }
        g_autofree char *text = json_to_text(patch);
        struct cli_request request = {
                .method = "PATCH", .path = path, .content_type = "application/merge-patch+json", .body = text, .len = strlen(text)};
        int code = cli_expect(cli, &request, &reply);
        if (code == CLI_OK)
                printf("%s/%s configured\n", kind->singular, name);
        cli_reply_clear(&reply);
        return code;
}

static const struct schema_kind *kind_of(const struct json_value *root)
{
        const char *api_version = json_find_string(root, "apiVersion", NULL);
        const char *kind = json_find_string(root, "kind", NULL);

        if (!api_version || !kind) {
                cli_error("the manifest has no apiVersion or no kind");
                return NULL;
        }
        const char *slash = strchr(api_version, '/');
        g_autofree char *group = slash ? g_strndup(api_version, (size_t)(slash - api_version)) : g_strdup("");
        for (size_t i = 0; schema_kinds[i]; i++) {
                const struct schema_kind *k = schema_kinds[i];
                bool alias = k->aliases && g_strv_contains(k->aliases, api_version);
                if (g_str_equal(k->kind, kind) && (alias || g_str_equal(k->group, group)))
                        return k;
        }
        cli_error("there is no kind %s in %s", kind, api_version);
        return NULL;
}

/* The collection's path as the manifest addresses it: a manifest of the alias group goes to the alias group. */
static char *collection_path(struct cli *cli, const struct schema_kind *kind, const struct json_value *root)
{
        const char *api_version = json_find_string(root, "apiVersion", NULL);
        const char *namespace = json_find_string(root, "metadata", "namespace", NULL);

        if (!kind->namespaced)
                return g_strdup_printf("/%s/%s/%s", strchr(api_version, '/') ? "apis" : "api", api_version, kind->plural);
        return g_strdup_printf("/%s/%s/namespaces/%s/%s", strchr(api_version, '/') ? "apis" : "api", api_version,
                               namespace ?: cli->namespace, kind->plural);
}

int cli_apply_doc(struct cli *cli, struct json_doc *doc)
{
        const struct schema_kind *kind = kind_of(json_root(doc));
        const char *name = json_find_string(json_root(doc), "metadata", "name", NULL);
        struct cli_reply reply = {};

        if (!kind)
                return CLI_FAILED;
        if (!name) {
                cli_error("the manifest has no metadata.name");
                return CLI_FAILED;
        }
        annotate(doc);
        g_autofree char *collection = collection_path(cli, kind, json_root(doc));
        g_autofree char *escaped = g_uri_escape_string(name, NULL, FALSE);
        g_autofree char *path = g_strconcat(collection, "/", escaped, NULL);
        for (unsigned attempt = 0;; attempt++) {
                int code = cli_call(cli, &(struct cli_request){.path = path}, &reply);
                if (code != CLI_OK)
                        return code;
                if (reply.status == 200 && reply.doc) {
                        code = patch_object(cli, kind, path, doc, json_root(reply.doc));
                        cli_reply_clear(&reply);
                        return code;
                }
                if (reply.status != 404) {
                        code = cli_tell_status(&reply);
                        cli_reply_clear(&reply);
                        return code;
                }
                cli_reply_clear(&reply);
                g_autofree char *text = json_to_text(json_root(doc));
                struct cli_request create = {.method = "POST", .path = collection, .body = text, .len = strlen(text)};
                code = cli_call(cli, &create, &reply);
                if (code != CLI_OK)
                        return code;
                if (reply.status == 409 && attempt == 0) { /* somebody was faster: patch theirs */
                        cli_reply_clear(&reply);
                        continue;
                }
                if (reply.status / 100 == 2)
                        printf("%s/%s created\n", kind->singular, name);
                else
                        code = cli_tell_status(&reply);
                cli_reply_clear(&reply);
                return code;
        }
}

struct applying {
        struct cli *cli;
        int code;
        int (*each)(struct cli *cli, struct json_doc *doc);
};

static int apply_items(struct applying *applying, struct json_doc *doc)
{
        if (g_strcmp0(json_find_string(json_root(doc), "kind", NULL), "List") != 0)
                return applying->each(applying->cli, doc);
        int code = CLI_OK;
        for (const struct json_value *item = json_first(json_get(json_root(doc), "items")); item; item = json_next(item)) {
                g_autoptr(json_doc) one = json_doc_new();
                json_set_root(one, json_copy(one, item));
                int r = applying->each(applying->cli, one);
                code = code == CLI_OK ? r : code;
        }
        return code;
}

static int on_document(struct json_doc *doc, void *userdata)
{
        struct applying *applying = userdata;
        int code = apply_items(applying, doc);

        if (applying->code == CLI_OK)
                applying->code = code;
        return 0;
}

static int each_manifest(struct cli *cli, char **files, int (*each)(struct cli *cli, struct json_doc *doc))
{
        struct applying applying = {.cli = cli, .each = each};

        for (char **file = files; *file; file++) {
                g_autofree char *text = NULL;
                struct json_fault fault = {};
                size_t len;
                int code = cli_read_file(*file, &text, &len);
                if (code != CLI_OK)
                        return code;
                if (json_parse_yaml_stream(text, len, on_document, &applying, &fault)) {
                        cli_error("%s line %u: %s", *file, fault.line, fault.reason);
                        return CLI_FAILED;
                }
        }
        return applying.code;
}

int cli_apply(struct cli *cli, int argc, char **argv)
{
        g_auto(GStrv) files = NULL;
        const GOptionEntry entries[] = {
                {"filename", 'f', 0, G_OPTION_ARG_FILENAME_ARRAY, &files, "Manifest in YAML or JSON; - for standard input", "FILE"},
                {},
        };
        int code = cli_parse(cli, "apply", entries, NULL, &argc, &argv);

        if (code == CLI_OK && (!files || argc > 1)) {
                cli_error("which manifest? gabbro apply -f FILE");
                code = CLI_USAGE;
        }
        return code == CLI_OK ? each_manifest(cli, files, cli_apply_doc) : code;
}

/* --- delete
 * ----------------------------------------------------------------------------------------------------------------------------------
 */

struct delete_options {
        char **files;
        gboolean wait, ignore_not_found;
        int timeout_s;
};
static struct delete_options delete_options; /* of this run of the program */

static int delete_object(struct cli *cli, const struct schema_kind *kind, const char *name)
{
        g_autofree char *path = cli_path(cli, kind, name);
        struct cli_reply reply = {};
        struct cli_request request = {.method = "DELETE", .path = path};

        int code = cli_call(cli, &request, &reply);
        if (code == CLI_OK && reply.status == 404 && delete_options.ignore_not_found)
                code = CLI_OK;
        else if (code == CLI_OK && reply.status / 100 != 2)
                code = cli_tell_status(&reply);
        else if (code == CLI_OK) {
                printf("%s/%s %s\n", kind->singular, name, delete_options.wait ? "is being deleted" : "deleted");
                fflush(stdout);
                if (delete_options.wait)
                        code = cli_wait_for(cli, kind, name, "delete", (uint64_t)delete_options.timeout_s * 1000000, true);
                if (delete_options.wait && code == CLI_OK)
                        printf("%s/%s is gone\n", kind->singular, name);
        }
        cli_reply_clear(&reply);
        return code;
}

static int delete_doc(struct cli *cli, struct json_doc *doc)
{
        const struct schema_kind *kind = kind_of(json_root(doc));
        const char *name = json_find_string(json_root(doc), "metadata", "name", NULL);

        return kind && name ? delete_object(cli, kind, name) : CLI_FAILED;
}

int cli_delete(struct cli *cli, int argc, char **argv)
{
        const GOptionEntry entries[] = {
                {"filename", 'f', 0, G_OPTION_ARG_FILENAME_ARRAY, &delete_options.files, "Delete what a manifest describes",
                 "FILE"},
                {"wait", 0, 0, G_OPTION_ARG_NONE, &delete_options.wait, "Wait until they are gone", NULL},
                {"timeout", 0, 0, G_OPTION_ARG_INT, &delete_options.timeout_s, "How long to wait for each (300)", "SECONDS"},
                {"ignore-not-found", 0, 0, G_OPTION_ARG_NONE, &delete_options.ignore_not_found, "What does not exist is no failure",
                 NULL},
                {},
        };

        delete_options.timeout_s = 300;
        int code = cli_parse(cli, "delete", entries, NULL, &argc, &argv);
        if (code == CLI_OK && delete_options.files)
                return each_manifest(cli, delete_options.files, delete_doc);
        if (code == CLI_OK && argc < 3) {
                cli_error("what? for example gabbro delete vm NAME");
                code = CLI_USAGE;
        }
        const struct schema_kind *kind = code == CLI_OK ? cli_kind(argv[1]) : NULL;
        if (code == CLI_OK && !kind)
                code = CLI_USAGE;
        for (int i = 2; code == CLI_OK && i < argc; i++)
                code = delete_object(cli, kind, argv[i]);
        return code;
}
