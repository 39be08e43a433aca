/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/kubeconfig.h"
#include "base/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_BYTES (1u << 20)

char *kubeconfig_path(const struct cli *cli)
{
        const char *from_environment = g_getenv("KUBECONFIG");

        assert(cli);
        if (cli->option_kubeconfig)
                return g_strdup(cli->option_kubeconfig);
        if (from_environment && *from_environment) {
                g_auto(GStrv) paths = g_strsplit(from_environment, ":", -1);
                for (char **path = paths; *path; path++)
                        if (**path && g_file_test(*path, G_FILE_TEST_EXISTS))
                                return g_strdup(*path);
                return g_strdup(paths[0]);
        }
        return g_build_filename(g_get_home_dir(), ".kube", "config", NULL);
}

/* --- one writer at a time
 * -------------------------------------------------------------------------------------------------------- */

static int lock(const char *path)
{
        autofd fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

        if (fd >= 0)
                return CLI_OK;
        if (errno == EEXIST)
                cli_error("%s is there: another program writes the kubeconfig now, or one was killed while it did; remove it then",
                          path);
        else
                cli_error("cannot make %s: %s", path, g_strerror(errno));
        return CLI_FAILED;
}

static int load(const char *path, struct json_doc **ret_doc)
{
        g_autofree char *text = NULL;
        struct json_fault fault = {};
        size_t len;
        int r = file_read(path, CONFIG_BYTES, &text, &len);

        if (r == -ENOENT || (r == 0 && strspn(text, " \t\r\n") == len)) {
                *ret_doc = json_doc_new();
                json_set_root(*ret_doc, json_new(*ret_doc, JSON_OBJECT));
                return CLI_OK;
        }
        if (r < 0) {
                cli_error("cannot read the kubeconfig %s: %s", path, g_strerror(-r));
                return CLI_FAILED;
        }
        r = json_parse_yaml(text, len, ret_doc, &fault);
        explicit_bzero(text, len);
        if (r)
                return cli_usage("%s line %u: %s", path, fault.line, fault.reason);
        if (!json_is(json_root(*ret_doc), JSON_OBJECT)) {
                *ret_doc = json_doc_free(*ret_doc);
                return cli_usage("%s is no kubeconfig", path);
        }
        return CLI_OK;
}

static int store(const char *path, struct json_doc *doc)
{
        GString *text = g_string_new(NULL);
        int r;

        json_write_yaml(json_root(doc), text);
        r = file_write_atomic(path, text->str, text->len, 0600);
        explicit_bzero(text->str, text->len);
        g_string_free(text, TRUE);
        if (r < 0)
                cli_error("cannot write %s: %s", path, g_strerror(-r));
        return r < 0 ? CLI_FAILED : CLI_OK;
}

int kubeconfig_edit(const char *named, int (*edit)(struct json_doc *doc, void *userdata), void *userdata)
{
        char *real = realpath(named, NULL); /* of malloc() */
        g_autofree char *path = g_strdup(real ?: named), *lock_path = g_strconcat(path, ".lock", NULL);
        g_autofree char *dir = g_path_get_dirname(path);
        g_autoptr(json_doc) doc = NULL;
        int code;

        free(real);
        if (file_ensure_dir(dir, 0700) < 0) {
                cli_error("cannot make the folder %s", dir);
                return CLI_FAILED;
        }
        code = lock(lock_path);
        if (code != CLI_OK)
                return code;
        code = load(path, &doc);
        if (code == CLI_OK)
                code = edit(doc, userdata);
        if (code == CLI_OK)
                code = store(path, doc);
        unlink(lock_path);
        return code;
}

/* --- entries
 * --------------------------------------------------------------------------------------------------------------------- */

static struct json_value *find_named(struct json_value *list, const char *name)
{
        for (struct json_value *entry = json_first(list); entry; entry = json_next(entry))
                if (g_strcmp0(json_find_string(entry, "name", NULL), name) == 0)
                        return entry;
        return NULL;
}

/* The content of the entry @name, made when there is none. */
static struct json_value *ensure_named(struct json_doc *doc, const char *list_name, const char *name, const char *member)
{
        struct json_value *list = json_ensure_array(doc, json_root(doc), list_name), *entry = find_named(list, name);

        if (!entry) {
                entry = json_append(list, json_new(doc, JSON_OBJECT));
                json_set_string(doc, entry, "name", name);
        }
        return json_ensure_object(doc, entry, member);
}

static void set_coded(struct json_doc *doc, struct json_value *object, const char *key, const char *text)
{
        g_autofree char *coded = text ? g_base64_encode((const guchar *)text, strlen(text)) : NULL;

        json_set_string(doc, object, key, coded);
}

void kubeconfig_put(struct json_doc *doc, const struct kubeconfig_entry *entry)
{
        struct json_value *root = json_root(doc), *cluster, *user, *context;

        assert(entry && entry->name && entry->cluster && entry->server);
        json_set_string(doc, root, "apiVersion", "v1");
        json_set_string(doc, root, "kind", "Config");
        cluster = ensure_named(doc, "clusters", entry->cluster, "cluster");
        json_set_string(doc, cluster, "server", entry->server);
        json_remove(cluster, "certificate-authority");
        set_coded(doc, cluster, "certificate-authority-data", entry->ca_pem);
        json_remove(cluster, "insecure-skip-tls-verify");
        if (entry->insecure)
                json_set_bool(doc, cluster, "insecure-skip-tls-verify", true);
        user = ensure_named(doc, "users", entry->name, "user");
        json_set_string(doc, user, "token", entry->token);
        set_coded(doc, user, "client-certificate-data", entry->certificate_pem);
        set_coded(doc, user, "client-key-data", entry->key_pem);
        context = ensure_named(doc, "contexts", entry->name, "context");
        json_set_string(doc, context, "cluster", entry->cluster);
        json_set_string(doc, context, "user", entry->name);
        if (!json_get(context, "namespace"))
                json_set_string(doc, context, "namespace", "default");
        json_set_string(doc, root, "current-context", entry->name);
}

struct json_value *kubeconfig_user(struct json_doc *doc, const char *context)
{
        struct json_value *root = json_root(doc), *entry;
        const char *name = context ?: json_find_string(root, "current-context", NULL);

        entry = find_named(json_get(root, "contexts"), name);
        entry = find_named(json_get(root, "users"), json_find_string(entry, "context", "user", NULL));
        return json_get(entry, "user");
}
