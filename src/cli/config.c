/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config.h"
#include "base/file.h"
#include "base/limits.h"
#include "cli/kubeconfig.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define CONFIG_BYTES (1u << 20)

static const struct json_value *named(const struct json_value *root, const char *list, const char *name, const char *member)
{
        for (const struct json_value *entry = json_first(json_get(root, list)); name && entry; entry = json_next(entry))
                if (g_strcmp0(json_find_string(entry, "name", NULL), name) == 0)
                        return json_get(entry, member);
        return NULL;
}

/* "<member>-data" in base64, or a file named by "<member>", relative to the kubeconfig. */
static int material(const struct json_value *entry, const char *member, const char *config_path, char **text)
{
        g_autofree char *data_name = g_strconcat(member, "-data", NULL);
        const char *data = json_find_string(entry, data_name, NULL);
        const char *file = json_find_string(entry, member, NULL);
        size_t len;

        if (data) {
                g_autofree guchar *decoded = g_base64_decode(data, &len);
                *text = g_strndup((char *)decoded, len);
        } else if (file) {
                g_autofree char *dir = g_path_get_dirname(config_path);
                g_autofree char *path = g_path_is_absolute(file) ? g_strdup(file) : g_build_filename(dir, file, NULL);
                int r = file_read(path, CONFIG_BYTES, text, &len);
                if (r < 0) {
                        cli_error("cannot read %s, the %s of %s: %s", path, member, config_path, g_strerror(-r));
                        return CLI_UNREACHABLE;
                }
        }
        return CLI_OK;
}

static int tell_contexts(const struct json_value *root, const char *path, const char *name)
{
        g_autoptr(GString) known = g_string_new(NULL);

        for (const struct json_value *c = json_first(json_get(root, "contexts")); c; c = json_next(c))
                g_string_append_printf(known, "%s%s", known->len > 0 ? ", " : "", json_find_string(c, "name", NULL) ?: "");
        if (!name)
                return cli_usage("%s names no current context; choose one with --context%s%s", path, known->len > 0 ? ": " : "",
                                 known->str);
        return cli_usage("%s has no context %s%s%s", path, name, known->len > 0 ? "; it has " : "", known->str);
}

static int take_context(struct cli *cli, const struct json_value *root, const char *path)
{
        const char *name = cli->option_context ?: json_find_string(root, "current-context", NULL);
        const struct json_value *context = named(root, "contexts", name && *name ? name : NULL, "context");

        if (!context)
                return tell_contexts(root, path, name && *name ? name : NULL);
        const struct json_value *cluster = named(root, "clusters", json_find_string(context, "cluster", NULL), "cluster");
        const struct json_value *user = named(root, "users", json_find_string(context, "user", NULL), "user");
        if (!cli->server)
                cli->server = g_strdup(json_find_string(cluster, "server", NULL));
        int code = cli->ca_pem ? CLI_OK : material(cluster, "certificate-authority", path, &cli->ca_pem);
        cli->insecure = cli->insecure || json_bool(json_get(cluster, "insecure-skip-tls-verify"), false);
        if (code == CLI_OK)
                code = material(user, "client-certificate", path, &cli->certificate_pem);
        if (code == CLI_OK)
                code = material(user, "client-key", path, &cli->key_pem);
        if (!cli->token)
                cli->token = g_strdup(json_find_string(user, "token", NULL));
        if (!cli->namespace)
                cli->namespace = g_strdup(json_find_string(context, "namespace", NULL));
        return code;
}

static int load_file(struct cli *cli)
{
        g_autofree char *path = kubeconfig_path(cli);
        g_autofree char *text = NULL;
        g_autoptr(json_doc) doc = NULL;
        struct json_fault fault = {};
        size_t len;

        int r = file_read(path, CONFIG_BYTES, &text, &len);
        if (r == -ENOENT) {
                cli_error("there is no kubeconfig %s; the gateway writes one to admin.kubeconfig in its --data-dir: name it with "
                          "--kubeconfig FILE or in the variable KUBECONFIG",
                          path);
                return CLI_UNREACHABLE;
        }
        if (r < 0) {
                cli_error("cannot read the kubeconfig %s: %s", path, g_strerror(-r));
                return CLI_UNREACHABLE;
        }
        if (json_parse_yaml(text, len, &doc, &fault))
                return cli_usage("%s line %u: %s", path, fault.line, fault.reason);
        return take_context(cli, json_root(doc), path);
}

int config_load(struct cli *cli)
{
        assert(cli && !cli->server);

        cli->server = g_strdup(cli->option_server);
        cli->token = g_strdup(cli->option_token);
        cli->namespace = g_strdup(cli->option_namespace);
        cli->insecure = cli->option_insecure;
        if (cli->option_ca) {
                size_t len;
                int r = file_read(cli->option_ca, CONFIG_BYTES, &cli->ca_pem, &len);
                if (r < 0)
                        return cli_usage("cannot read %s: %s", cli->option_ca, g_strerror(-r));
        }
        if (!cli->server || !cli->token || cli->option_kubeconfig || cli->option_context) {
                int code = load_file(cli);
                if (code != CLI_OK)
                        return code;
        }
        if (!cli->server)
                return cli_usage("no server is named; use --kubeconfig or --server");
        if (!g_str_has_prefix(cli->server, "https://"))
                return cli_usage("the server %s must begin with https://", cli->server);
        if (g_str_has_suffix(cli->server, "/"))
                cli->server[strlen(cli->server) - 1] = '\0';
        if (!cli->namespace || !*cli->namespace) {
                g_free(cli->namespace);
                cli->namespace = g_strdup("default");
        }
        return CLI_OK;
}

void config_clear(struct cli *cli)
{
        assert(cli);

        char *owned[] = {cli->server,         cli->token,
                         cli->ca_pem,         cli->certificate_pem,
                         cli->key_pem,        cli->namespace,
                         cli->option_context, cli->option_kubeconfig,
                         cli->option_server,  cli->option_token,
                         cli->option_ca,      cli->option_namespace,
                         cli->request_id,     cli->option_request_id};

        for (size_t i = 0; i < G_N_ELEMENTS(owned); i++)
                g_free(owned[i]);
        http_kept_free(cli->kept);
        *cli = (struct cli){};
}
