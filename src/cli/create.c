/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "generated/api_types.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define WAIT_US 600000000u

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

/* From a terminal it is not shown. NULL: none came. */
static char *read_password(void)
{
        struct termios before = {}, hidden;
        bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
        char line[1024] = "";

        if (terminal) {
                hidden = before;
                hidden.c_lflag &= ~(tcflag_t)ECHO;
                tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
                fputs("Password of the user in the guest: ", stderr);
        }
        bool came = fgets(line, sizeof(line), stdin) != NULL;
        if (terminal) {
                tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
                fputc('\n', stderr);
        }
        g_strchomp(line);
        char *password = came && *line ? g_strdup(line) : NULL;
        explicit_bzero(line, sizeof(line));
        return password;
}

/* The public keys of a file, one a line. A private key stays where it is. */
static int add_keys(struct json_doc *doc, struct json_value *keys, const char *file)
{
        g_autofree char *text = NULL;
        size_t len;

        int r = file_read(file, 65536, &text, &len);
        if (r < 0) {
                cli_error("cannot read the key %s: %s", file, g_strerror(-r));
                return CLI_FAILED;
        }
        if (strstr(text, "PRIVATE KEY"))
                return cli_usage("%s is a private key and stays here; give the public one, %s.pub", file, file);
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        size_t before = json_length(keys);
        for (char **line = lines; *line; line++) {
                g_strstrip(*line);
                if (**line && **line != '#')
                        json_append(keys, json_new_string(doc, *line));
        }
        if (json_length(keys) == before)
                return cli_usage("%s has no key in it", file);
        return CLI_OK;
}

static int write_user_data(const struct create_options *options, const char *name, char **ret_text)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        int code = CLI_OK;

        json_set_string(doc, root, "hostname", options->hostname ?: name);
        struct json_value *user = json_append(json_ensure_array(doc, root, "users"), json_new(doc, JSON_OBJECT));
        json_set_string(doc, user, "name", options->user ?: "gabbro");
        json_set_string(doc, user, "shell", "/bin/bash");
        json_set_string(doc, user, "sudo", "ALL=(ALL) NOPASSWD:ALL");
        json_set_bool(doc, user, "lock_passwd", !options->password_stdin);
        for (char **file = options->ssh_keys; code == CLI_OK && file && *file; file++)
                code = add_keys(doc, json_ensure_array(doc, user, "ssh_authorized_keys"), *file);
        if (code == CLI_OK && options->password_stdin) {
                g_autofree char *password = read_password();
                if (!password)
                        return cli_usage("--password-stdin: no password came");
                json_set_string(doc, user, "plain_text_passwd", password);
                json_set_bool(doc, root, "ssh_pwauth", true);
        }
        if (code == CLI_OK) {
                GString *config = g_string_new("#cloud-config\n");
                json_write_yaml(root, config);
                *ret_text = g_string_free(config, FALSE);
        }
        return code;
}

/* The cloud-config of the options, or the text of --user-data; NULL: none wanted. */
static int make_user_data(const struct create_options *options, const char *name, char **ret_text)
{
        bool asked = options->ssh_keys || options->password_stdin || options->hostname || options->user;
        size_t len;

        *ret_text = NULL;
        if (options->user_data && asked)
                return cli_usage("--user-data says all: it goes with none of --ssh-key, --password-stdin, --hostname and --user");
        if (options->user_data)
                return cli_read_file(options->user_data, ret_text, &len);
        return asked ? write_user_data(options, name, ret_text) : CLI_OK;
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

        json_set_string(doc, spec, "virtualMachineClassName", options->class_name);
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

/* --- on the gateway
 * ---------------------------------------------------------------------------------------------------------------------- */

static int look(struct cli *cli, const struct schema_kind *kind, const char *name, bool *ret_exists)
{
        g_autofree char *path = cli_path(cli, kind, name);
        struct cli_reply reply = {};

        int code = cli_call(cli, &(struct cli_request){.path = path}, &reply);
        *ret_exists = code == CLI_OK && reply.status == 200;
        if (code == CLI_OK && reply.status != 200 && reply.status != 404)
                code = cli_tell_status(&reply);
        cli_reply_clear(&reply);
        return code;
}

/* A machine of that name must not be there; the image must be, in the project or for all. */
static int look_around(struct cli *cli, struct create_options *options, const char *name)
{
        bool exists = false;

        int code = look(cli, &api_virtual_machine_kind, name, &exists);
        if (code == CLI_OK && exists) {
                cli_error("there is a virtualmachine/%s already; change it with gabbro apply, or choose another name", name);
                return CLI_FAILED;
        }
        if (code != CLI_OK || !options->image)
                return code;
        exists = false;
        if (!options->cluster_image)
                code = look(cli, &api_virtual_image_kind, options->image, &exists);
        if (code == CLI_OK && !exists) {
                code = look(cli, &api_cluster_virtual_image_kind, options->image, &exists);
                options->cluster_image = exists;
        }
        if (code == CLI_OK && !exists) {
                cli_error("there is no image %s; gabbro get vi,cvi lists them, gabbro image --help tells how to bring one",
                          options->image);
                return CLI_NOT_FOUND;
        }
        return code;
}

static void print_manifests(const struct cli *cli, const GPtrArray *docs)
{
        for (guint i = 0; i < docs->len; i++) {
                struct json_doc *doc = docs->pdata[i];
                if (cli->option_namespace)
                        json_set_string(doc, json_get(json_root(doc), "metadata"), "namespace", cli->option_namespace);
                printf("---\n");
                cli_print_object(json_root(doc), "yaml");
        }
}

static int create_machine(struct cli *cli, const struct create_options *options, const char *name)
{
        g_autoptr(GPtrArray) docs = cli_docs_new();
        g_autofree char *disk = g_strdup_printf("%s-root", name);
        g_autofree char *secret = g_strdup_printf("%s-cloud-init", name);
        g_autofree char *text = NULL;

        int code = make_user_data(options, name, &text);
        if (code != CLI_OK)
                return code;
        if (text)
                g_ptr_array_add(docs, secret_manifest(secret, text));
        g_ptr_array_add(docs, disk_manifest(options, disk));
        g_ptr_array_add(docs, machine_manifest(options, name, disk, text ? secret : NULL));
        if (options->dry_run) {
                print_manifests(cli, docs);
                return CLI_OK;
        }
        code = cli_apply_docs(cli, docs, false);
        if (code == CLI_OK && options->wait)
                code = cli_wait_for(cli, &api_virtual_machine_kind, name, "phase=Running", WAIT_US, false);
        else if (code == CLI_OK)
                cli_hint("gabbro wait vm %s --for phase=Running waits until it runs; gabbro console %s is its console.", name,
                         name);
        return code;
}

static void options_clear(struct create_options *options)
{
        char *texts[] = {options->class_name, options->memory,   options->image,     options->disk_size, options->core_fraction,
                         options->user,       options->hostname, options->user_data, options->pool};

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
                g_free(texts[i]);
        g_strfreev(options->ssh_keys);
}

int cli_create(struct cli *cli, int argc, char **argv)
{
        struct create_options options = {.cores = 1};
        const GOptionEntry entries[] = {
                {"class", 0, 0, G_OPTION_ARG_STRING, &options.class_name, "Class of the machine (the default one)", "NAME"},
                {"cores", 0, 0, G_OPTION_ARG_INT, &options.cores, "Virtual cores (1)", "N"},
                {"core-fraction", 0, 0, G_OPTION_ARG_STRING, &options.core_fraction, "Guaranteed share of each core (100%)",
                 "PERCENT"},
                {"memory", 0, 0, G_OPTION_ARG_STRING, &options.memory, "Memory (1Gi)", "SIZE"},
                {"image", 0, 0, G_OPTION_ARG_STRING, &options.image,
                 "Image that the disk is made from, of the project or else for all; an empty disk without it", "NAME"},
                {"cluster-image", 0, 0, G_OPTION_ARG_NONE, &options.cluster_image, "The image is one for all (ClusterVirtualImage)",
                 NULL},
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
        int code = cli_options(cli, "create", entries,
                               "Makes VirtualDisk NAME-root, VirtualMachine NAME and, for what the guest shall be told, Secret\n"
                               "NAME-cloud-init.\n\n"
                               "Examples:\n"
                               "  gabbro create vm web --image debian-12 --memory 2Gi --ssh-key ~/.ssh/id_ed25519.pub --wait\n"
                               "  gabbro create vm web --image debian-12 --cluster-image --dry-run > web.yaml",
                               &argc, &argv);

        if (code == CLI_OK && (argc != 3 || !g_str_equal(argv[1], "vm")))
                code = cli_usage("what? gabbro create vm NAME; anything else is made from a manifest: gabbro apply -f FILE");
        if (code == CLI_OK && !options.image && !options.disk_size)
                code = cli_usage("name an image (--image; gabbro get vi,cvi lists them) or a size for an empty disk (--disk-size)");
        if (code == CLI_OK && !options.dry_run)
                code = config_load(cli);
        if (code == CLI_OK && !options.dry_run)
                code = look_around(cli, &options, argv[2]);
        if (code == CLI_OK)
                code = create_machine(cli, &options, argv[2]);
        options_clear(&options);
        return code;
}
