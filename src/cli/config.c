/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config.h"
#include "base/file.h"
#include "base/limits.h"

#include <string.h>

#define CONFIG_BYTES (1u << 20)

static const struct json_value *named(const struct json_value *root, const char *list, const char *name, const char *member)
{
        for (const struct json_value *entry = json_first(json_get(root, list)); entry; entry = json_next(entry))
                if (g_strcmp0(json_find_string(entry, "name", NULL), name) == 0)
                        return json_get(entry, member);
        return NULL;
}

/* "<member>-data" in base64, or a file named by "<member>", relative to the kubeconfig. */
static char *material(const struct json_value *entry, const char *member, const char *config_path)
{
        g_autofree char *data_name = g_strconcat(member, "-data", NULL);
        const char *data = json_find_string(entry, data_name, NULL);
        const char *file = json_find_string(entry, member, NULL);
        char *text = NULL;
        size_t len;

        if (data) {
                g_autofree guchar *decoded = g_base64_decode(data, &len);
                return g_strndup((char *)decoded, len);
        }
        if (file) {
                g_autofree char *dir = g_path_get_dirname(config_path);
                g_autofree char *path = g_path_is_absolute(file) ? g_strdup(file) : g_build_filename(dir, file, NULL);
                if (file_read(path, CONFIG_BYTES, &text, &len) < 0)
                        cli_error("cannot read %s", path);
        }
        return text;
}

static int take_context(struct cli *cli, const struct json_value *root, const char *path)
{
        const char *name = cli->option_context ?: json_find_string(root, "current-context", NULL);
        const struct json_value *context = name ? named(root, "contexts", name, "context") : NULL;

        if (!context) {
                cli_error("%s has no context%s%s", path, name ? " " : "", name ?: "");
                return CLI_USAGE;
        }
        const struct json_value *cluster = named(root, "clusters", json_find_string(context, "cluster", NULL), "cluster");
        const struct json_value *user = named(root, "users", json_find_string(context, "user", NULL), "user");
        if (!cli->server)
                cli->server = g_strdup(json_find_string(cluster, "server", NULL));
        cli->ca_pem = material(cluster, "certificate-authority", path);
        cli->insecure = cli->insecure || json_bool(json_get(cluster, "insecure-skip-tls-verify"), false);
        cli->certificate_pem = material(user, "client-certificate", path);
        cli->key_pem = material(user, "client-key", path);
        if (!cli->token)
                cli->token = g_strdup(json_find_string(user, "token", NULL));
        if (!cli->namespace)
                cli->namespace = g_strdup(json_find_string(context, "namespace", NULL));
        return CLI_OK;
}

static char *config_path(const struct cli *cli)
{
        const char *from_environment = g_getenv("KUBECONFIG");

        if (cli->option_kubeconfig)
                return g_strdup(cli->option_kubeconfig);
        if (from_environment && *from_environment) {
                g_auto(GStrv) paths = g_strsplit(from_environment, ":", 2);
                return g_strdup(paths[0]);
        }
        return g_build_filename(g_get_home_dir(), ".kube", "config", NULL);
}

static int load_file(struct cli *cli)
{
        g_autofree char *path = config_path(cli);
        g_autofree char *text = NULL;
        g_autoptr(json_doc) doc = NULL;
        struct json_fault fault = {};
        size_t len;

        int r = file_read(path, CONFIG_BYTES, &text, &len);
        if (r < 0) {
                cli_error("cannot read the kubeconfig %s: %s", path, g_strerror(-r));
                return CLI_UNREACHABLE;
        }
        if (json_parse_yaml(text, len, &doc, &fault)) {
                cli_error("%s line %u: %s", path, fault.line, fault.reason);
                return CLI_USAGE;
        }
        return take_context(cli, json_root(doc), path);
}

int config_load(struct cli *cli)
{
        cli->server = g_strdup(cli->option_server);
        cli->token = g_strdup(cli->option_token);
        cli->namespace = g_strdup(cli->option_namespace);
        cli->insecure = cli->option_insecure;
        if (!cli->server || !cli->token || cli->option_kubeconfig) {
                int code = load_file(cli);
                if (code != CLI_OK)
                        return code;
        }
        if (!cli->server) {
                cli_error("no server is named; use --kubeconfig or --server");
                return CLI_USAGE;
        }
        if (g_str_has_suffix(cli->server, "/"))
                cli->server[strlen(cli->server) - 1] = '\0';
        if (!cli->namespace)
                cli->namespace = g_strdup("default");
        return CLI_OK;
}

void config_clear(struct cli *cli)
{
        char *owned[] = {cli->server,        cli->token,        cli->ca_pem,          cli->certificate_pem,
                         cli->key_pem,       cli->namespace,    cli->option_context,  cli->option_kubeconfig,
                         cli->option_server, cli->option_token, cli->option_namespace};

        for (size_t i = 0; i < G_N_ELEMENTS(owned); i++)
                g_free(owned[i]);
        *cli = (struct cli){};
}
