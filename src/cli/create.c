/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

struct create_options {
        char *class_name, *memory, *image, *disk_size, *core_fraction, *user, *hostname, *user_data, *pool;
        char **ssh_keys;
        int cores;
        gboolean password_stdin, cluster_image, dry_run, wait;
};

static struct json_doc *new_object(const char *api_version, const char *kind, const char *name)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", api_version);
        json_set_string(doc, root, "kind", kind);
        json_set_string(doc, json_ensure_object(doc, root, "metadata"), "name", name);
        return doc;
}

static char *read_password(void)
{
        g_autofree char *text = NULL;
        size_t len;

        if (cli_read_file("-", &text, &len) != CLI_OK)
                return NULL;
        g_strchomp(text);
        return g_steal_pointer(&text);
}

/* The cloud-config of the options, or the text of --user-data. NULL: none wanted. @*ret_code tells of a failure. */
static char *user_data(const struct create_options *options, const char *name, int *ret_code)
{
        size_t len;
        char *text = NULL;

        *ret_code = CLI_OK;
        if (options->user_data) {
                *ret_code = cli_read_file(options->user_data, &text, &len);
                return text;
        }
        if (!options->ssh_keys && !options->password_stdin && !options->hostname)
                return NULL;
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        json_set_string(doc, root, "hostname", options->hostname ?: name);
        struct json_value *user = json_append(json_ensure_array(doc, root, "users"), json_new(doc, JSON_OBJECT));
        json_set_string(doc, user, "name", options->user ?: "gabbro");
        json_set_string(doc, user, "shell", "/bin/bash");
        json_set_string(doc, user, "sudo", "ALL=(ALL) NOPASSWD:ALL");
        json_set_bool(doc, user, "lock_passwd", !options->password_stdin);
        for (char **file = options->ssh_keys; file && *file; file++) {
                g_autofree char *key = NULL;
                if (file_read(*file, 65536, &key, &len) < 0) {
                        cli_error("cannot read the key %s", *file);
                        *ret_code = CLI_FAILED;
                        return NULL;
                }
                json_append(json_ensure_array(doc, user, "ssh_authorized_keys"), json_new_string(doc, g_strchomp(key)));
        }
        if (options->password_stdin) {
                g_autofree char *password = read_password();
                json_set_string(doc, user, "plain_text_passwd", password ?: "");
                json_set_bool(doc, root, "ssh_pwauth", true);
        }
        GString *config = g_string_new("#cloud-config\n");
        json_write_yaml(root, config);
        return g_string_free(config, FALSE);
}

static struct json_doc *disk_manifest(const struct create_options *options, const char *disk)
{
        struct json_doc *doc = new_object("gabbro.dev/v1", "VirtualDisk", disk);
        struct json_value *spec = json_ensure_object(doc, json_root(doc), "spec");
        struct json_value *claim = json_ensure_object(doc, spec, "persistentVolumeClaim");

        if (options->image) {
                struct json_value *source = json_ensure_object(doc, spec, "dataSource");
                json_set_string(doc, source, "type", "ObjectRef");
                struct json_value *ref = json_ensure_object(doc, source, "objectRef");
                json_set_string(doc, ref, "kind", options->cluster_image ? "ClusterVirtualImage" : "VirtualImage");
                json_set_string(doc, ref, "name", options->image);
        }
        json_set_string(doc, claim, "size", options->disk_size);
        json_set_string(doc, claim, "storageClassName", options->pool);
        return doc;
}

static struct json_doc *secret_manifest(const char *name, const char *text)
{
        struct json_doc *doc = new_object("v1", "Secret", name);
        g_autofree char *encoded = g_base64_encode((const guchar *)text, strlen(text));

        json_set_string(doc, json_root(doc), "type", "provisioning.virtualization.deckhouse.io/cloud-init");
        json_set_string(doc, json_ensure_object(doc, json_root(doc), "data"), "userData", encoded);
        return doc;
}

static struct json_doc *machine_manifest(const struct create_options *options, const char *name, const char *disk,
                                         const char *secret)
{
        struct json_doc *doc = new_object("gabbro.dev/v1", "VirtualMachine", name);
        struct json_value *spec = json_ensure_object(doc, json_root(doc), "spec");
        struct json_value *cpu = json_ensure_object(doc, spec, "cpu");

        json_set_string(doc, spec, "virtualMachineClassName", options->class_name ?: "generic");
        json_set_int(doc, cpu, "cores", options->cores);
        json_set_string(doc, cpu, "coreFraction", options->core_fraction);
        json_set_string(doc, json_ensure_object(doc, spec, "memory"), "size", options->memory ?: "1Gi");
        struct json_value *ref = json_append(json_ensure_array(doc, spec, "blockDeviceRefs"), json_new(doc, JSON_OBJECT));
        json_set_string(doc, ref, "kind", "VirtualDisk");
        json_set_string(doc, ref, "name", disk);
        if (secret) {
                struct json_value *provisioning = json_ensure_object(doc, spec, "provisioning");
                json_set_string(doc, provisioning, "type", "UserDataRef");
                struct json_value *secret_ref = json_ensure_object(doc, provisioning, "userDataRef");
                json_set_string(doc, secret_ref, "kind", "Secret");
                json_set_string(doc, secret_ref, "name", secret);
        }
        return doc;
}

static int emit(struct cli *cli, const struct create_options *options, struct json_doc *doc)
{
        if (!options->dry_run)
                return cli_apply_doc(cli, doc);
        printf("---\n");
        cli_print_object(json_root(doc), "yaml");
        return CLI_OK;
}

static int create_machine(struct cli *cli, const struct create_options *options, const char *name)
{
        g_autofree char *disk = g_strdup_printf("%s-root", name);
        g_autofree char *secret = g_strdup_printf("%s-cloud-init", name);
        int code;
        g_autofree char *text = user_data(options, name, &code);

        if (code == CLI_OK && text) {
                g_autoptr(json_doc) doc = secret_manifest(secret, text);
                code = emit(cli, options, doc);
        }
        if (code == CLI_OK) {
                g_autoptr(json_doc) doc = disk_manifest(options, disk);
                code = emit(cli, options, doc);
        }
        if (code == CLI_OK) {
                g_autoptr(json_doc) doc = machine_manifest(options, name, disk, text ? secret : NULL);
                code = emit(cli, options, doc);
        }
        if (code == CLI_OK && options->wait && !options->dry_run)
                code = cli_wait_for(cli, cli_kind("vm"), name, "phase=Running", 600000000, false);
        return code;
}

int cli_create(struct cli *cli, int argc, char **argv)
{
        struct create_options options = {.cores = 1};
        const GOptionEntry entries[] = {
                {"class", 0, 0, G_OPTION_ARG_STRING, &options.class_name, "Class of the machine (generic)", "NAME"},
                {"cores", 0, 0, G_OPTION_ARG_INT, &options.cores, "Virtual cores (1)", "N"},
                {"core-fraction", 0, 0, G_OPTION_ARG_STRING, &options.core_fraction, "Guaranteed share of each core (100%)",
                 "PERCENT"},
                {"memory", 0, 0, G_OPTION_ARG_STRING, &options.memory, "Memory (1Gi)", "SIZE"},
                {"image", 0, 0, G_OPTION_ARG_STRING, &options.image, "Image that the disk is made from; an empty disk without it",
                 "NAME"},
                {"cluster-image", 0, 0, G_OPTION_ARG_NONE, &options.cluster_image, "The image is a ClusterVirtualImage", NULL},
                {"disk-size", 0, 0, G_OPTION_ARG_STRING, &options.disk_size, "Size of the disk (that of the image)", "SIZE"},
                {"pool", 0, 0, G_OPTION_ARG_STRING, &options.pool, "Storage pool of the disk (the default one)", "NAME"},
                {"hostname", 0, 0, G_OPTION_ARG_STRING, &options.hostname, "Host name in the guest (the machine's name)", "NAME"},
                {"user", 0, 0, G_OPTION_ARG_STRING, &options.user, "User made in the guest (gabbro)", "NAME"},
                {"ssh-key", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options.ssh_keys, "Public key of the user; repeat for more",
                 "FILE"},
                {"password-stdin", 0, 0, G_OPTION_ARG_NONE, &options.password_stdin, "Read the user's password from standard input",
                 NULL},
                {"user-data", 0, 0, G_OPTION_ARG_FILENAME, &options.user_data,
                 "cloud-init text of your own, instead of the options above", "FILE"},
                {"dry-run", 0, 0, G_OPTION_ARG_NONE, &options.dry_run, "Print the manifests and do nothing", NULL},
                {"wait", 0, 0, G_OPTION_ARG_NONE, &options.wait, "Wait until it runs", NULL},
                {},
        };
        int code = cli_parse(cli, "create", entries, NULL, &argc, &argv);

        if (code == CLI_OK && (argc != 3 || !g_str_equal(argv[1], "vm"))) {
                cli_error("gabbro create vm NAME");
                code = CLI_USAGE;
        }
        if (code == CLI_OK && !options.image && !options.disk_size) {
                cli_error("name an image (--image) or a size for an empty disk (--disk-size)");
                code = CLI_USAGE;
        }
        return code == CLI_OK ? create_machine(cli, &options, argv[2]) : code;
}
