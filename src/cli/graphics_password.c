/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "generated/api_types.h"

#include <stdio.h>
#include <string.h>

#define WAIT_US 60000000ull

struct awaited {
        const char *version;
        bool off; /* its screen listens nowhere now: the next start takes the password */
};

static bool on_event(const char *type, struct json_value *object, void *userdata)
{
        const struct json_value *graphics = json_find(object, "status", "graphics", NULL);
        struct awaited *awaited = userdata;

        awaited->off = !graphics || g_str_equal(type, "DELETED");
        return !awaited->off && g_strcmp0(json_find_string(graphics, "passwordVersion", NULL), awaited->version) != 0;
}

/* Until the running machine asks for it. */
static int wait_for(struct cli *cli, const char *machine, const char *version)
{
        g_autofree char *collection = cli_path(cli, &api_virtual_machine_kind, NULL);
        g_autofree char *escaped = g_uri_escape_string(machine, NULL, FALSE);
        g_autofree char *path = g_strdup_printf("%s?fieldSelector=metadata.name%%3D%s", collection, escaped);
        struct awaited awaited = {.version = version};
        struct cli_watch watch = {.path = path, .timeout_us = WAIT_US, .each = on_event, .userdata = &awaited};
        int code = cli_watch(cli, &watch);

        g_free(watch.resource_version);
        if (code == CLI_TIMEOUT) {
                cli_error("the password was made, and the host of virtualmachine/%s has not set it yet: the one before holds there",
                          machine);
                cli_hint("gabbro describe vm %s says why, under GraphicsReady.", machine);
        } else if (code == CLI_OK && awaited.off) {
                cli_note("virtualmachine/%s does not listen now; its next start takes the password", machine);
        }
        return code;
}

static void show(const struct json_value *answer, const char *format)
{
        if (format)
                cli_print_object(answer, format);
        else
                cli_say("%s", json_string(json_get(answer, "password"), ""));
}

static int take(struct cli *cli, const char *machine, bool rotate, const char *format)
{
        g_autofree char *object = cli_path(cli, &api_virtual_machine_kind, machine),
                        *path = g_strconcat(object, "/graphicspassword", NULL);
        struct cli_reply reply = {};
        int code = cli_expect(cli, &(struct cli_request){.method = rotate ? "POST" : NULL, .path = path}, &reply), waited = CLI_OK;

        if (code == CLI_OK && rotate)
                waited = wait_for(cli, machine, json_string(json_get(json_root(reply.doc), "version"), ""));
        if (code == CLI_OK)
                show(json_root(reply.doc), format);
        if (reply.text)
                explicit_bzero(reply.text->str, reply.text->len);
        cli_reply_clear(&reply);
        return code == CLI_OK ? waited : code;
}

int cli_graphics_password(struct cli *cli, int argc, char **argv)
{
        gboolean rotate = FALSE;
        char *format = NULL;
        const GOptionEntry entries[] = {
                {"rotate", 0, 0, G_OPTION_ARG_NONE, &rotate, "Make a new one first; a running machine takes it at once", NULL},
                {"output", 'o', 0, G_OPTION_ARG_STRING, &format, "json or yaml: also where the screen listens", "FORMAT"},
                {},
        };
        int code =
                cli_parse(cli, "graphics-password", entries,
                          "Machines have one when their screen listens for TCP (spec.graphics.listen). It is eight characters, a\n"
                          "second factor and no more; reading it is a right of its own, and noted for audit. Who is connected\n"
                          "stays connected when it changes.\n\n"
                          "Examples:\n"
                          "  gabbro graphics-password web\n"
                          "  gabbro graphics-password web --rotate\n"
                          "  gabbro graphics-password web -o json",
                          &argc, &argv);
        const char *word = argc == 3 && g_str_equal(argv[1], "vm") ? argv[2] : argc == 2 ? argv[1] : NULL;
        const char *machine;

        if (code == CLI_OK && !word)
                code = cli_usage("which machine? gabbro graphics-password NAME");
        if (code == CLI_OK && format && !g_str_equal(format, "json") && !g_str_equal(format, "yaml"))
                code = cli_usage("-o takes json or yaml");
        machine = code == CLI_OK ? cli_machine_name(word) : NULL;
        if (code == CLI_OK && !machine)
                code = CLI_USAGE;
        if (code == CLI_OK)
                code = take(cli, machine, rotate, format);
        g_free(format);
        return code;
}
