/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "generated/api_types.h"

#include <stdio.h>
#include <string.h>

#define TTL_S     3600
#define TIMEOUT_S 1800

struct asking {
        char *name; /* of a token */
        int ttl_s, timeout_s;
        gboolean force, dry_run, wait, move;
};

/* --- tokens --- */

static int make_token(struct cli *cli, const struct asking *asking)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        struct cli_reply reply = {};

        json_set_string(doc, root, "nodeName", asking->name);
        json_set_int(doc, root, "ttlSeconds", asking->ttl_s);
        g_autofree char *text = json_to_text(root);
        struct cli_request request = {.method = "POST", .path = "/admin/v1/join-tokens", .body = text, .len = strlen(text)};
        int code = cli_expect(cli, &request, &reply);
        if (code == CLI_OK) {
                cli_say("%s", json_find_string(json_root(reply.doc), "token", NULL) ?: "");
                cli_hint("Good once, for %d minutes. Put it into a file on the host (mode 0600), there, as root:\n"
                         "  gabbro-agent --data-dir /var/lib/gabbro --gateway %s --join-token-file FILE",
                         (asking->ttl_s + 59) / 60, cli->server);
        }
        cli_reply_clear(&reply);
        return code;
}

/* --- reboot --- */

/* What would become of one machine that the host holds: a row of the plan of its evacuation. */
static void tell_move(const struct json_value *row, bool force)
{
        const char *namespace = json_find_string(row, "namespace", NULL), *name = json_find_string(row, "name", NULL);
        const char *way = json_find_string(row, "way", NULL) ?: "", *words = json_find_string(row, "message", NULL) ?: "";
        bool suspended = g_strcmp0(json_find_string(row, "phase", NULL), "Pause") == 0;

        if (suspended && !force)
                cli_say("%s/%s is suspended: the reboot is refused, unless --force throws its memory away", namespace, name);
        else if (g_str_equal(way, "Move"))
                cli_say("%s/%s moves to %s and stays there", namespace, name,
                        json_find_string(row, "node", NULL) ?: "another host");
        else if (g_str_equal(way, "Wait"))
                cli_say("%s/%s moves as soon as it can: %s", namespace, name, words);
        else if (g_str_equal(way, "Go"))
                cli_say("%s/%s leaves the host by itself: %s", namespace, name, words);
        else
                cli_say("%s/%s is shut down%s and starts again: %s", namespace, name, suspended ? ", its memory thrown away," : "",
                        words);
}

static int tell_moves(struct cli *cli, const char *node, bool force)
{
        g_autofree char *path = cli_path(cli, &api_node_kind, node), *plan = g_strconcat(path, "/evacuation", NULL);
        struct cli_reply reply = {};
        int code = cli_expect(cli, &(struct cli_request){.path = plan}, &reply);

        for (const struct json_value *row = code == CLI_OK ? json_first(json_get(json_root(reply.doc), "machines")) : NULL; row;
             row = json_next(row))
                tell_move(row, force);
        if (code == CLI_OK)
                cli_say("node/%s is rebooted when they have left or are off; each was looked at as if it left alone", node);
        cli_reply_clear(&reply);
        return code;
}

/* What would happen, machine by machine. */
static int tell_plan(struct cli *cli, const char *node, bool force)
{
        g_autofree char *path = cli_path_in(&api_virtual_machine_kind, NULL, NULL);
        struct cli_reply reply = {};
        unsigned n = 0;
        int code = cli_expect(cli, &(struct cli_request){.path = path}, &reply);

        for (const struct json_value *vm = code == CLI_OK ? json_first(json_get(json_root(reply.doc), "items")) : NULL; vm;
             vm = json_next(vm)) {
                const char *phase = json_find_string(vm, "status", "phase", NULL) ?: "";
                const char *namespace = json_find_string(vm, "metadata", "namespace", NULL);
                const char *name = json_find_string(vm, "metadata", "name", NULL);
                bool suspended = g_str_equal(phase, "Pause");

                if (g_strcmp0(json_find_string(vm, "status", "nodeName", NULL), node) != 0 || g_str_equal(phase, "Stopped"))
                        continue;
                n++;
                if (suspended && !force)
                        cli_say("%s/%s is suspended: the reboot is refused, unless --force throws its memory away", namespace,
                                name);
                else
                        cli_say("%s/%s is shut down%s and starts again", namespace, name,
                                suspended ? ", its memory thrown away," : "");
        }
        if (code == CLI_OK)
                cli_say("node/%s is rebooted when its %u machines are off", node, n);
        cli_reply_clear(&reply);
        return code;
}

static struct json_doc *manifest(const char *node, const struct asking *asking)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *spec;
        g_autofree char *prefix = g_strdup_printf("reboot-%.40s-", node);

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", "gabbro.dev/v1");
        json_set_string(doc, root, "kind", "NodeOperation");
        json_set_string(doc, json_ensure_object(doc, root, "metadata"), "generateName", prefix);
        spec = json_ensure_object(doc, root, "spec");
        json_set_string(doc, spec, "type", "Reboot");
        json_set_string(doc, spec, "nodeName", node);
        if (asking->force)
                json_set_bool(doc, spec, "force", true);
        if (asking->move)
                json_set_string(doc, spec, "machines", "Move");
        return doc;
}

static int reboot(struct cli *cli, const char *node, const struct asking *asking)
{
        g_autofree char *path = cli_path(cli, &api_node_kind, node), *name = NULL;
        g_autoptr(json_doc) doc = manifest(node, asking);
        struct cli_reply reply = {};
        int code = cli_expect(cli, &(struct cli_request){.path = path}, &reply);

        cli_reply_clear(&reply);
        if (code == CLI_OK && asking->dry_run)
                return asking->move ? tell_moves(cli, node, asking->force) : tell_plan(cli, node, asking->force);
        if (code == CLI_OK)
                code = cli_create_doc(cli, &api_node_operation_kind, doc, &name);
        if (code == CLI_OK && asking->wait)
                code = cli_wait_for(cli, &api_node_operation_kind, name, "phase=Completed", (uint64_t)asking->timeout_s * 1000000,
                                    true);
        if (code == CLI_OK)
                cli_say("node/%s %s (nodeoperation/%s)", node, asking->wait ? "was rebooted" : "is being rebooted", name);
        return code;
}

int cli_node(struct cli *cli, int argc, char **argv)
{
        struct asking asking = {.ttl_s = TTL_S, .timeout_s = TIMEOUT_S};
        const GOptionEntry entries[] = {
                {"name", 0, 0, G_OPTION_ARG_STRING, &asking.name,
                 "join-token: only for a host of this name; needed to join again under a known name", "NAME"},
                {"ttl", 0, 0, G_OPTION_ARG_INT, &asking.ttl_s, "join-token: how long the token is good (3600)", "SECONDS"},
                {"dry-run", 0, 0, G_OPTION_ARG_NONE, &asking.dry_run, "reboot: tell what would happen to which machine", NULL},
                {"force", 0, 0, G_OPTION_ARG_NONE, &asking.force, "reboot: also with suspended machines, and foreign domains",
                 NULL},
                {"move", 0, 0, G_OPTION_ARG_NONE, &asking.move,
                 "reboot: move the machines that can be moved to other hosts before, where they stay", NULL},
                {"wait", 0, 0, G_OPTION_ARG_NONE, &asking.wait, "reboot: wait until its machines run again", NULL},
                {"timeout", 0, 0, G_OPTION_ARG_INT, &asking.timeout_s, "reboot: how long to wait (1800)", "SECONDS"},
                {},
        };
        int code = cli_parse(
                cli, "node", entries,
                "join-token makes the token with which a host joins. It is good once; give it to the host in a file.\n"
                "reboot shuts down the machines of a host, reboots it and starts those again that ran. With --move those\n"
                "that can be moved leave before, one after the other, and stay away. Deleting the NodeOperation calls it\n"
                "off while machines still move or are being shut down.\n\n"
                "Examples:\n"
                "  gabbro node join-token > token\n"
                "  gabbro-agent --data-dir DIR --gateway URL --join-token-file token\n"
                "  gabbro node reboot rack-7 --dry-run\n"
                "  gabbro node reboot rack-7 --wait\n"
                "  gabbro node reboot rack-7 --move --dry-run\n"
                "  gabbro node reboot rack-7 --move --wait --timeout 7200",
                &argc, &argv);
        bool token = argc == 2 && g_str_equal(argv[1], "join-token"), boots = argc == 3 && g_str_equal(argv[1], "reboot");

        if (code == CLI_OK && !token && !boots)
                code = cli_usage("what? gabbro node join-token, or gabbro node reboot NAME; gabbro get node lists the hosts");
        if (code == CLI_OK && asking.ttl_s <= 0)
                code = cli_usage("--ttl takes seconds, at least 1");
        if (code == CLI_OK && asking.timeout_s <= 0)
                code = cli_usage("--timeout takes seconds, at least 1");
        if (code == CLI_OK)
                code = token ? make_token(cli, &asking) : reboot(cli, argv[2], &asking);
        g_free(asking.name);
        return code;
}
