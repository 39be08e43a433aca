/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/limits.h"
#include "cli/cli.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

int cli_read_file(const char *path, char **ret_text, size_t *ret_len)
{
        assert(path && ret_text && ret_len);

        g_autoptr(GString) text = NULL;
        char buffer[65536];
        ssize_t n = 0;
        int r = 0;

        if (!g_str_equal(path, "-")) {
                r = file_read(path, LIMIT_JSON_BYTES, ret_text, ret_len);
        } else {
                text = g_string_new(NULL);
                while (text->len <= LIMIT_JSON_BYTES && (n = read(STDIN_FILENO, buffer, sizeof(buffer))) > 0)
                        g_string_append_len(text, buffer, n);
                r = n < 0 ? -errno : text->len > LIMIT_JSON_BYTES ? -EFBIG : 0;
        }
        if (r < 0) {
                cli_error("cannot read %s: %s", text ? "standard input" : path,
                          r == -EFBIG ? "it is larger than 3 MiB" : g_strerror(-r));
                return CLI_FAILED;
        }
        if (text) {
                *ret_len = text->len;
                *ret_text = g_string_free(g_steal_pointer(&text), FALSE);
        }
        return CLI_OK;
}

/* --- documents
 * ----------------------------------------------------------------------------------------------------------------------------- */

static void free_doc(void *item)
{
        json_doc_free(item);
}

GPtrArray *cli_docs_new(void)
{
        return g_ptr_array_new_with_free_func(free_doc);
}

static void take(GPtrArray *docs, const struct json_value *root)
{
        struct json_doc *doc = json_doc_new();

        json_set_root(doc, json_copy(doc, root));
        g_ptr_array_add(docs, doc);
}

/* A List, or a VirtualMachineList as `get -o yaml` prints it, is its items; the items of the latter may leave out what they are. */
static int on_document(struct json_doc *doc, void *userdata)
{
        g_autoptr(json_doc) owned G_GNUC_UNUSED = doc;
        GPtrArray *docs = userdata;
        struct json_value *root = json_root(doc);
        struct json_value *items = json_get(root, "items");
        const char *kind = json_find_string(root, "kind", NULL);

        if (!kind || !g_str_has_suffix(kind, "List") || !json_is(items, JSON_ARRAY)) {
                take(docs, root);
                return 0;
        }
        for (struct json_value *item = json_first(items); item; item = json_next(item)) {
                g_autofree char *own = g_strndup(kind, strlen(kind) - strlen("List"));
                if (*own && json_is(item, JSON_OBJECT) && !json_get(item, "kind")) {
                        json_set_string(doc, item, "apiVersion", json_find_string(root, "apiVersion", NULL));
                        json_set_string(doc, item, "kind", own);
                }
                take(docs, item);
        }
        return 0;
}

static int read_file(const char *path, GPtrArray *docs)
{
        g_autofree char *text = NULL;
        struct json_fault fault = {};
        size_t len;

        int code = cli_read_file(path, &text, &len);
        if (code != CLI_OK)
                return code;
        if (json_parse_yaml_stream(text, len, on_document, docs, &fault)) {
                cli_error("%s line %u: %s", g_str_equal(path, "-") ? "standard input" : path, fault.line, fault.reason);
                return CLI_FAILED;
        }
        return CLI_OK;
}

static int by_name(const void *a, const void *b)
{
        return g_strcmp0(*(char *const *)a, *(char *const *)b);
}

/* The manifests of a folder in the order of their names; not those of folders in it. */
static int read_folder(const char *path, GPtrArray *docs)
{
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GError) error = NULL;
        GDir *dir = g_dir_open(path, 0, &error);
        const char *name;
        int code = CLI_OK;

        if (!dir) {
                cli_error("%s", error->message);
                return CLI_FAILED;
        }
        while ((name = g_dir_read_name(dir)))
                if (g_str_has_suffix(name, ".yaml") || g_str_has_suffix(name, ".yml") || g_str_has_suffix(name, ".json"))
                        g_ptr_array_add(names, g_build_filename(path, name, NULL));
        g_dir_close(dir);
        g_ptr_array_sort(names, by_name);
        for (guint i = 0; code == CLI_OK && i < names->len; i++)
                code = read_file(names->pdata[i], docs);
        return code;
}

int cli_manifests(char **files, char **more, GPtrArray **ret_docs)
{
        assert(ret_docs);

        g_autoptr(GPtrArray) docs = cli_docs_new();
        char **lists[] = {files, more};
        int code = CLI_OK;

        for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
                for (char **file = lists[i]; code == CLI_OK && file && *file; file++)
                        code = g_file_test(*file, G_FILE_TEST_IS_DIR) ? read_folder(*file, docs) : read_file(*file, docs);
        if (code == CLI_OK && docs->len == 0) {
                cli_error("there is no manifest in what was given");
                code = CLI_FAILED;
        }
        if (code == CLI_OK)
                *ret_docs = g_steal_pointer(&docs);
        return code;
}

const struct schema_kind *cli_kind_of(const struct json_value *manifest)
{
        const char *api_version = json_find_string(manifest, "apiVersion", NULL);
        const char *word = json_find_string(manifest, "kind", NULL);

        if (!api_version || !word) {
                cli_error("a manifest has no %s%s%s", api_version ? "" : "apiVersion", api_version || word ? "" : " and no ",
                          word ? "" : "kind");
                return NULL;
        }
        const char *slash = strchr(api_version, '/');
        g_autofree char *group = slash ? g_strndup(api_version, (size_t)(slash - api_version)) : g_strdup("");
        for (size_t i = 0; schema_kinds[i]; i++) {
                const struct schema_kind *kind = schema_kinds[i];
                bool alias = kind->aliases && g_strv_contains(kind->aliases, api_version);
                bool own = g_str_equal(kind->group, group) && g_str_equal(kind->version, slash ? slash + 1 : api_version);
                if (!kind->internal && g_str_equal(kind->kind, word) && (alias || own))
                        return kind;
        }
        const struct schema_kind *other = NULL;
        for (size_t i = 0; schema_kinds[i] && !other; i++)
                if (!schema_kinds[i]->internal && g_str_equal(schema_kinds[i]->kind, word))
                        other = schema_kinds[i];
        if (other)
                cli_error("%s is no kind of %s; write apiVersion: %s%s%s", word, api_version, other->group,
                          *other->group ? "/" : "", other->version);
        else
                cli_error("there is no kind %s in %s; gabbro get --help lists the kinds", word, api_version);
        return NULL;
}
