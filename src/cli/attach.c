/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

#define KIND (&api_virtual_machine_block_device_attachment_kind)

/* A disk or image that the command line names: "data", "vd/data", "vi/tools", "cvi/tools". */
struct device {
        const struct schema_kind *kind;
        const char *name;
};

static bool parse_device(const char *word, struct device *ret_device)
{
        const char *slash = strchr(word, '/');
        g_autofree char *kind = slash ? g_strndup(word, (size_t)(slash - word)) : NULL;

        ret_device->kind = kind ? cli_kind(kind) : &api_virtual_disk_kind;
        ret_device->name = slash ? slash + 1 : word;
        if (!ret_device->kind)
                return false;
        if (ret_device->kind != &api_virtual_disk_kind && ret_device->kind != &api_virtual_image_kind &&
            ret_device->kind != &api_cluster_virtual_image_kind) {
                cli_error("a %s cannot be attached; a vd, vi or cvi can", ret_device->kind->singular);
                return false;
        }
        if (!*ret_device->name || strchr(ret_device->name, '/')) {
                cli_error("%s names no disk", word);
                return false;
        }
        return true;
}

static char *default_name(const char *machine, const struct device *device)
{
        bool disk = device->kind == &api_virtual_disk_kind;

        return g_strdup_printf("%s-%s%s%s", machine, disk ? "" : device->kind->short_names[0], disk ? "" : "-", device->name);
}

static struct json_doc *manifest(const char *name, const char *machine, const struct device *device)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *spec, *ref;

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", "gabbro.dev/v1");
        json_set_string(doc, root, "kind", KIND->kind);
        json_set_string(doc, json_ensure_object(doc, root, "metadata"), "name", name);
        spec = json_ensure_object(doc, root, "spec");
        json_set_string(doc, spec, "virtualMachineName", machine);
        ref = json_ensure_object(doc, spec, "blockDeviceRef");
        json_set_string(doc, ref, "kind", device->kind->kind);
        json_set_string(doc, ref, "name", device->name);
        return doc;
}

/* An attachment that takes long says why. */
static void tell_state(struct cli *cli, const char *name)
{
        g_autofree char *path = cli_path(cli, KIND, name);
        struct cli_reply reply = {};

        if (cli_call(cli, &(struct cli_request){.path = path}, &reply) == CLI_OK && reply.status == 200 && reply.doc) {
                g_autofree char *state = cli_state(json_root(reply.doc));

                cli_note("%s/%s is %s", KIND->singular, name, state);
        }
        cli_reply_clear(&reply);
}

static int attach_one(struct cli *cli, const char *machine, const char *word, const char *name, uint64_t wait_us)
{
        struct device device;
        g_autofree char *given = NULL, *created = NULL;
        int code;

        if (!parse_device(word, &device))
                return CLI_USAGE;
        given = name ? g_strdup(name) : default_name(machine, &device);
        g_autoptr(json_doc) doc = manifest(given, machine, &device);
        code = cli_create_doc(cli, KIND, doc, &created);
        if (code == CLI_OK && wait_us > 0)
                code = cli_wait_for(cli, KIND, created, "phase=Attached", wait_us, false);
        if (code == CLI_TIMEOUT || code == CLI_FAILED) {
                if (created)
                        tell_state(cli, created);
        }
        if (code == CLI_OK)
                cli_say("%s/%s %s %s (%s/%s)", device.kind->singular, device.name,
                        wait_us > 0 ? "was attached to" : "is being attached to", machine, KIND->singular, created);
        return code;
}

/* --- detach --- */

/* The attachment that gives a device to a machine; NULL: there is none. */
static char *find_attachment(const struct json_value *list, const char *machine, const struct device *device)
{
        for (const struct json_value *item = json_first(json_get(list, "items")); item; item = json_next(item)) {
                const struct json_value *ref = json_find(item, "spec", "blockDeviceRef", NULL);

                if (g_strcmp0(json_find_string(item, "spec", "virtualMachineName", NULL), machine) == 0 &&
                    g_strcmp0(json_find_string(ref, "kind", NULL), device->kind->kind) == 0 &&
                    g_strcmp0(json_find_string(ref, "name", NULL), device->name) == 0)
                        return g_strdup(json_find_string(item, "metadata", "name", NULL));
        }
        return NULL;
}

static int remove_attachment(struct cli *cli, const char *name)
{
        g_autofree char *path = cli_path(cli, KIND, name);
        struct cli_reply reply = {};
        int code = cli_expect(cli, &(struct cli_request){.method = "DELETE", .path = path}, &reply);

        cli_reply_clear(&reply);
        return code;
}

static int detach_one(struct cli *cli, const char *machine, const char *word, const char *unused, uint64_t wait_us)
{
        g_autofree char *collection = cli_path(cli, KIND, NULL), *name = NULL;
        struct cli_reply reply = {};
        struct device device;
        int code;

        if (!parse_device(word, &device))
                return CLI_USAGE;
        code = cli_expect(cli, &(struct cli_request){.path = collection}, &reply);
        if (code == CLI_OK)
                name = find_attachment(json_root(reply.doc), machine, &device);
        cli_reply_clear(&reply);
        if (code != CLI_OK)
                return code;
        if (!name) {
                cli_error("%s/%s is not attached to %s; what its own specification lists leaves it by a change of the machine",
                          device.kind->singular, device.name, machine);
                return CLI_NOT_FOUND;
        }
        code = remove_attachment(cli, name);
        if (code == CLI_OK && wait_us > 0)
                code = cli_wait_for(cli, KIND, name, "delete", wait_us, false);
        if (code == CLI_TIMEOUT)
                tell_state(cli, name);
        if (code == CLI_OK)
                cli_say("%s/%s %s %s", device.kind->singular, device.name,
                        wait_us > 0 ? "was detached from" : "is being detached from", machine);
        return code;
}

/* --- both --- */

/* gabbro VERB MACHINE DISK... */
struct verb {
        const char *name, *help, *wait, *usage;
        bool names; /* takes --name */
        int (*one)(struct cli *cli, const char *machine, const char *word, const char *name, uint64_t wait_us);
};

static int run(struct cli *cli, const struct verb *verb, int argc, char **argv)
{
        gboolean wait = FALSE;
        int timeout_s = 120;
        g_autofree char *name = NULL;
        const GOptionEntry entries[] = {
                {"name", 0, 0, G_OPTION_ARG_STRING, &name, "Name of the attachment (MACHINE-DISK)", "NAME"},
                {"wait", 0, 0, G_OPTION_ARG_NONE, &wait, verb->wait, NULL},
                {"timeout", 0, 0, G_OPTION_ARG_INT, &timeout_s, "How long to wait for each (120)", "SECONDS"},
                {},
        };
        const char *machine;
        int code = cli_parse(cli, verb->name, verb->names ? entries : entries + 1, verb->help, &argc, &argv);

        if (code != CLI_OK)
                return code;
        if (argc < 3)
                return cli_usage("%s", verb->usage);
        if (name && argc > 3)
                return cli_usage("--name names one attachment, and there are %d disks", argc - 2);
        if (wait && timeout_s <= 0)
                return cli_usage("--timeout takes seconds");
        machine = cli_machine_name(argv[1]);
        if (!machine)
                return CLI_USAGE;
        for (int i = 2, r; i < argc && code != CLI_USAGE && code != CLI_UNREACHABLE; i++) {
                r = verb->one(cli, machine, argv[i], name, wait ? (uint64_t)timeout_s * 1000000 : 0);
                code = code == CLI_OK || r == CLI_UNREACHABLE ? r : code;
        }
        return code;
}

int cli_attach(struct cli *cli, int argc, char **argv)
{
        static const struct verb attach = {
                .name = "attach",
                .help = "Attaches disks, and images read-only (ISO images as CD-ROMs), to a machine that runs. For one that is\n"
                        "off, or does not exist yet, they wait and come at its next start. The guest sees them at once and keeps\n"
                        "them across restarts, until gabbro detach.\n\nExamples:\n"
                        "  gabbro attach web data --wait\n"
                        "  gabbro attach web vi/tools cvi/drivers",
                .wait = "Wait until the machine has it",
                .usage = "what to which machine? gabbro attach MACHINE DISK",
                .names = true,
                .one = attach_one,
        };

        return run(cli, &attach, argc, argv);
}

int cli_detach(struct cli *cli, int argc, char **argv)
{
        static const struct verb detach = {
                .name = "detach",
                .help = "Unmount it in the guest first. A guest that sleeps or still starts does not answer: it is asked again, "
                        "and\n"
                        "gabbro describe vmbda NAME tells so. The disk itself stays, for this machine or another.\n\nExamples:\n"
                        "  gabbro detach web data --wait\n"
                        "  gabbro detach web cvi/drivers",
                .wait = "Wait until the guest has let it go",
                .usage = "what from which machine? gabbro detach MACHINE DISK",
                .one = detach_one,
        };

        return run(cli, &detach, argc, argv);
}
