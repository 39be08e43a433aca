/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "generated/api_types.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES (1u << 20)

struct image_options {
        char *name, *sha256;
        gboolean cluster, no_checksum;
};

static const struct schema_kind *image_kind(const struct image_options *options)
{
        return options->cluster ? &api_cluster_virtual_image_kind : &api_virtual_image_kind;
}

static struct json_doc *manifest(const struct image_options *options, const char *type)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", "gabbro.dev/v1");
        json_set_string(doc, root, "kind", image_kind(options)->kind);
        json_set_string(doc, json_ensure_object(doc, root, "metadata"), "name", options->name);
        struct json_value *spec = json_ensure_object(doc, root, "spec");
        if (!options->cluster)
                json_set_string(doc, spec, "storage", "ContainerRegistry");
        json_set_string(doc, json_ensure_object(doc, spec, "dataSource"), "type", type);
        return doc;
}

/* Hex SHA-256 of the file, g_free(); NULL when it cannot be read. */
static char *hash_file(int fd, uint64_t size)
{
        struct cli_bar bar = {.what = "hashing  ", .total = size};
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        g_autofree char *buffer = g_malloc(READ_BYTES);
        unsigned char raw[EVP_MAX_MD_SIZE];
        unsigned n_raw = 0;
        uint64_t done = 0;
        ssize_t n = 0;

        EVP_DigestInit_ex(context, EVP_sha256(), NULL);
        while ((n = read(fd, buffer, READ_BYTES)) > 0) {
                EVP_DigestUpdate(context, buffer, (size_t)n);
                done += (uint64_t)n;
                if (cli_is_terminal(STDERR_FILENO))
                        cli_bar_show(&bar, done);
        }
        cli_bar_end(&bar);
        EVP_DigestFinal_ex(context, raw, &n_raw);
        EVP_MD_CTX_free(context);
        if (n < 0 || lseek(fd, 0, SEEK_SET) < 0)
                return NULL;
        GString *text = g_string_new(NULL);
        for (unsigned i = 0; i < n_raw; i++)
                g_string_append_printf(text, "%02x", raw[i]);
        return g_string_free(text, FALSE);
}

static void on_sent(struct http_call *call, uint64_t sent, void *userdata)
{
        cli_bar_show(userdata, sent);
}

static int send_file(struct cli *cli, const struct image_options *options, int fd, uint64_t size)
{
        g_autofree char *object = cli_path(cli, image_kind(options), options->name);
        g_autofree char *hash = options->sha256 ? g_strdup(options->sha256) : options->no_checksum ? NULL : hash_file(fd, size);
        g_autofree char *path = hash ? g_strdup_printf("%s/upload?sha256=%s", object, hash) : g_strdup_printf("%s/upload", object);
        struct cli_bar bar = {.what = "uploading", .total = size};
        struct cli_reply reply = {};
        struct cli_request request = {
                .method = "PUT",
                .path = path,
                .content_type = "application/octet-stream",
                .body_fd = fd,
                .upload = true,
                .len = size,
                .on_sent = on_sent,
                .userdata = &bar,
        };

        int code = cli_call(cli, &request, &reply);
        cli_bar_end(&bar);
        if (code == CLI_OK && reply.status / 100 != 2)
                code = cli_tell_status(&reply);
        cli_reply_clear(&reply);
        return code;
}

static int upload(struct cli *cli, const struct image_options *options, const char *file)
{
        g_autoptr(json_doc) doc = manifest(options, "Upload");
        struct stat about;
        int fd = open(file, O_RDONLY | O_CLOEXEC);

        if (fd < 0 || fstat(fd, &about) < 0 || !S_ISREG(about.st_mode)) {
                cli_error("cannot read %s as a file", file);
                if (fd >= 0)
                        close(fd);
                return CLI_FAILED;
        }
        int code = cli_apply_doc(cli, doc);
        if (code == CLI_OK)
                code = send_file(cli, options, fd, (uint64_t)about.st_size);
        close(fd);
        if (code == CLI_OK)
                code = cli_wait_for(cli, image_kind(options), options->name, "phase=Ready", 600000000, true);
        if (code == CLI_OK)
                printf("%s/%s is ready\n", image_kind(options)->singular, options->name);
        return code;
}

static int import(struct cli *cli, const struct image_options *options, const char *url)
{
        g_autoptr(json_doc) doc = manifest(options, "HTTP");
        struct json_value *source = json_find(json_root(doc), "spec", "dataSource", NULL);
        struct json_value *http = json_ensure_object(doc, source, "http");

        json_set_string(doc, http, "url", url);
        if (options->sha256)
                json_set_string(doc, json_ensure_object(doc, http, "checksum"), "sha256", options->sha256);
        int code = cli_apply_doc(cli, doc);
        if (code == CLI_OK)
                code = cli_wait_for(cli, image_kind(options), options->name, "phase=Ready", 3600000000ull, false);
        if (code == CLI_OK)
                printf("%s/%s is ready\n", image_kind(options)->singular, options->name);
        return code;
}

/* The file's or URL's last part without extensions, as a name. */
static char *name_of(const char *source)
{
        g_autofree char *base = g_path_get_basename(source);
        GString *name = g_string_new(NULL);

        for (const char *c = base; *c && *c != '.' && *c != '?'; c++)
                if (g_ascii_isalnum(*c) || (*c == '-' && name->len > 0))
                        g_string_append_c(name, g_ascii_tolower(*c));
        return g_string_free(name, FALSE);
}

int cli_image(struct cli *cli, int argc, char **argv)
{
        struct image_options options = {};
        const GOptionEntry entries[] = {
                {"name", 0, 0, G_OPTION_ARG_STRING, &options.name, "Name of the image (that of the file)", "NAME"},
                {"cluster", 0, 0, G_OPTION_ARG_NONE, &options.cluster, "For all projects (ClusterVirtualImage)", NULL},
                {"sha256", 0, 0, G_OPTION_ARG_STRING, &options.sha256, "What the bytes must hash to (upload: computed here)",
                 "HEX"},
                {"no-checksum", 0, 0, G_OPTION_ARG_NONE, &options.no_checksum, "Upload without hashing the file first", NULL},
                {},
        };
        int code = cli_parse(cli, "image", entries, NULL, &argc, &argv);

        if (code == CLI_OK && (argc != 3 || (!g_str_equal(argv[1], "upload") && !g_str_equal(argv[1], "import")))) {
                cli_error("gabbro image upload FILE, or gabbro image import URL");
                code = CLI_USAGE;
        }
        if (code != CLI_OK)
                return code;
        if (!options.name)
                options.name = name_of(argv[2]);
        return g_str_equal(argv[1], "upload") ? upload(cli, &options, argv[2]) : import(cli, &options, argv[2]);
}
