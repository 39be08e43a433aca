/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/names.h"
#include "cli/cli.h"
#include "cli/upload.h"
#include "generated/api_types.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES     (1u << 20)
#define BUNDLE_BYTES   (1u << 20)
#define NAME_CHARS     63
#define UPLOAD_WAIT_US 600000000u
#define IMPORT_WAIT_US 3600000000ull

/* Images, and disks that begin with the content of a file of their own. */
struct image_options {
        const char *verb;
        bool is_disk;
        char *name, *sha256, *ca_bundle;
        char *size, *pool; /* of a disk */
        gboolean cluster, no_checksum, resume;
};

static const struct schema_kind *image_kind(const struct image_options *options)
{
        if (options->is_disk)
                return &api_virtual_disk_kind;
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
        if (image_kind(options) == &api_virtual_image_kind)
                json_set_string(doc, spec, "storage", "ContainerRegistry");
        if (options->size)
                json_set_string(doc, json_ensure_object(doc, spec, "persistentVolumeClaim"), "size", options->size);
        if (options->pool)
                json_set_string(doc, json_ensure_object(doc, spec, "persistentVolumeClaim"), "storageClassName", options->pool);
        json_set_string(doc, json_ensure_object(doc, spec, "dataSource"), "type", type);
        return doc;
}

/* The file's SHA-256 in hex, g_free(); NULL when it cannot be read. */
static char *hash_file(int fd, uint64_t size)
{
        struct cli_bar bar = {.what = "hashing  "};
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
                        cli_bar_show(&bar, done, size);
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

/* A disk is ready once a machine has called for it: until then its content waits in the library. */
static void tell_ready(const struct image_options *options)
{
        cli_say(options->is_disk ? "%s/%s has its content" : "%s/%s is ready", image_kind(options)->singular, options->name);
        if (options->is_disk)
                cli_hint("It is made where the first machine that uses it is started.");
}

/* --- upload
 * --------------------------------------------------------------------------------------------------------------------------------
 */

static int send_file(struct cli *cli, const struct image_options *options, int fd, uint64_t size, const char *hash)
{
        g_autofree char *object = cli_path(cli, image_kind(options), options->name);
        struct upload_file file = {.object = object, .sha256 = hash, .fd = fd, .size = size, .resume = options->resume};

        return upload_send(cli, &file);
}

/* Whether the library has the content of the object: *ret_digest (g_free) is set then. */
static int look_for_content(struct cli *cli, const struct image_options *options, char **ret_digest)
{
        g_autofree char *path = cli_path(cli, image_kind(options), options->name);
        struct cli_reply reply = {};

        int code = cli_call(cli, &(struct cli_request){.path = path}, &reply);
        if (code == CLI_OK && reply.status == 200 && reply.doc)
                *ret_digest = g_strdup(json_find_string(json_root(reply.doc), "status", "ingest", "digest", NULL));
        else if (code == CLI_OK && reply.status != 404)
                code = cli_tell_status(&reply);
        cli_reply_clear(&reply);
        return code;
}

/* The digest to send along; NULL with @*ret_code CLI_OK: none. */
static char *choose_digest(const struct image_options *options, const char *file, int fd, uint64_t size, int *ret_code)
{
        *ret_code = CLI_OK;
        if (options->no_checksum)
                return g_strdup(options->sha256);
        g_autofree char *hash = hash_file(fd, size);
        if (!hash) {
                cli_error("cannot read %s", file);
                *ret_code = CLI_FAILED;
        } else if (options->sha256 && g_ascii_strcasecmp(hash, options->sha256) != 0) {
                cli_error("the SHA-256 of %s is %s, not %s: it is not the file that was expected; nothing was sent", file, hash,
                          options->sha256);
                *ret_code = CLI_FAILED;
        }
        return *ret_code == CLI_OK ? g_steal_pointer(&hash) : NULL;
}

static int upload_open(struct cli *cli, const struct image_options *options, const char *file, int fd, uint64_t size)
{
        const char *singular = image_kind(options)->singular;
        g_autofree char *present = NULL;
        int code = look_for_content(cli, options, &present);
        g_autofree char *hash = code == CLI_OK ? choose_digest(options, file, fd, size, &code) : NULL;

        if (code != CLI_OK)
                return code;
        if (present && g_strcmp0(present, hash) == 0) {
                cli_say("%s/%s has this content already", singular, options->name);
                return CLI_OK;
        }
        if (present) {
                cli_error("%s/%s has other content already; delete it first (gabbro delete %s %s) or choose another --name",
                          singular, options->name, singular, options->name);
                return CLI_FAILED;
        }
        g_autoptr(json_doc) doc = manifest(options, "Upload");
        code = cli_apply_doc(cli, doc);
        if (code == CLI_OK)
                code = send_file(cli, options, fd, size, hash);
        /* Not for the phase: of an earlier attempt it may still be Failed. */
        if (code == CLI_OK && !options->is_disk)
                code = cli_wait_for(cli, image_kind(options), options->name, "condition=Ready", UPLOAD_WAIT_US, true);
        if (code == CLI_OK)
                tell_ready(options);
        return code;
}

static int upload(struct cli *cli, const struct image_options *options, const char *file)
{
        struct stat about = {};
        autofd fd = open(file, O_RDONLY | O_CLOEXEC);

        if (fd < 0 || fstat(fd, &about) < 0) {
                cli_error("cannot read %s: %s", file, g_strerror(errno));
                return CLI_FAILED;
        }
        if (!S_ISREG(about.st_mode)) {
                cli_error("%s is no file", file);
                return CLI_FAILED;
        }
        if (about.st_size == 0) {
                cli_error("%s is empty", file);
                return CLI_FAILED;
        }
        return upload_open(cli, options, file, fd, (uint64_t)about.st_size);
}

/* --- import
 * --------------------------------------------------------------------------------------------------------------------------------
 */

static int set_bundle(struct json_doc *doc, struct json_value *http, const char *path)
{
        g_autofree char *pem = NULL, *base64 = NULL;
        size_t len = 0;
        int r = file_read(path, BUNDLE_BYTES, &pem, &len);

        if (r < 0)
                return cli_usage("%s: %s", path, g_strerror(-r));
        base64 = g_base64_encode((const guchar *)pem, len);
        json_set_string(doc, http, "caBundle", base64);
        return CLI_OK;
}

/* Until it is ready, or failed. */
static int wait_for_image(struct cli *cli, const struct image_options *options, const char *again)
{
        int code = cli_wait_for(cli, image_kind(options), options->name, "phase=Ready", IMPORT_WAIT_US, false);

        if (code == CLI_OK)
                cli_say("%s/%s is ready", image_kind(options)->singular, options->name);
        else if (code == CLI_FAILED)
                cli_hint("To try again: gabbro delete %s %s, then %s once more.", image_kind(options)->singular, options->name,
                         again);
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
        int code = options->ca_bundle ? set_bundle(doc, http, options->ca_bundle) : CLI_OK;
        if (code == CLI_OK)
                code = cli_apply_doc(cli, doc);
        return code == CLI_OK ? wait_for_image(cli, options, "import") : code;
}

/* --- from a disk
 * --------------------------------------------------------------------------------------------------------------------------------
 */

static int from_disk(struct cli *cli, const struct image_options *options, const char *disk)
{
        g_autoptr(json_doc) doc = manifest(options, "ObjectRef");
        struct json_value *source = json_find(json_root(doc), "spec", "dataSource", NULL);
        struct json_value *reference = json_ensure_object(doc, source, "objectRef");

        json_set_string(doc, reference, "kind", api_virtual_disk_kind.kind);
        json_set_string(doc, reference, "name", disk);
        if (options->cluster)
                json_set_string(doc, reference, "namespace", cli->namespace);
        int code = cli_apply_doc(cli, doc);
        return code == CLI_OK ? wait_for_image(cli, options, "make it") : code;
}

/* The file's or URL's last part, without what tells its format, as a name: "Debian_12.qcow2.xz" is debian-12. */
static char *name_of(const char *source)
{
        static const char *const endings[] = {".qcow2", ".raw", ".img", ".iso", ".xz", ".gz", ".bz2", ".zst", NULL};
        g_autofree char *whole = g_strndup(source, strcspn(source, "?#"));
        g_autofree char *base = g_path_get_basename(whole);
        g_autofree char *lower = g_ascii_strdown(base, -1);
        GString *name = g_string_new(NULL);

        for (size_t i = 0; endings[i]; i++)
                if (g_str_has_suffix(lower, endings[i])) {
                        lower[strlen(lower) - strlen(endings[i])] = '\0';
                        i = (size_t)-1; /* once more from the first: packed images have two */
                }
        for (const char *c = lower; *c && name->len < NAME_CHARS; c++) {
                if (g_ascii_isalnum(*c))
                        g_string_append_c(name, *c);
                else if (name->len > 0 && name->str[name->len - 1] != '-')
                        g_string_append_c(name, '-');
        }
        while (name->len > 0 && name->str[name->len - 1] == '-')
                g_string_truncate(name, name->len - 1);
        return g_string_free(name, FALSE);
}

static const struct {
        const char *verb;
        int (*run)(struct cli *cli, const struct image_options *options, const char *source);
} ways[] = {{"upload", upload}, {"import", import}, {"from-disk", from_disk}};

static size_t find_way(const char *verb)
{
        size_t i = 0;

        while (i < G_N_ELEMENTS(ways) && !g_str_equal(ways[i].verb, verb))
                i++;
        return i;
}

static int check(const struct image_options *options, int argc, char **argv)
{
        bool upload_wanted = argc > 1 && g_str_equal(argv[1], "upload"), import_wanted = argc > 1 && g_str_equal(argv[1], "import");

        if (options->is_disk && (argc != 3 || !upload_wanted))
                return cli_usage("what? gabbro disk upload FILE");
        if (argc != 3 || find_way(argv[1]) == G_N_ELEMENTS(ways))
                return cli_usage("what? gabbro image upload FILE, gabbro image import URL, or gabbro image from-disk DISK");
        if (g_str_equal(argv[1], "from-disk") && !names_is_subdomain(argv[2]))
                return cli_usage("%s is no name of a disk; gabbro get vd lists them", argv[2]);
        if (g_str_equal(argv[1], "from-disk") && (options->sha256 || options->ca_bundle))
                return cli_usage("--sha256 and --ca-bundle are for files from elsewhere");
        if (options->sha256 && (strlen(options->sha256) != 64 || strspn(options->sha256, "0123456789abcdefABCDEF") != 64))
                return cli_usage("--sha256 takes 64 hexadecimal digits");
        if (import_wanted && !g_str_has_prefix(argv[2], "http://") && !g_str_has_prefix(argv[2], "https://"))
                return cli_usage("%s is no http or https address%s", argv[2],
                                 g_file_test(argv[2], G_FILE_TEST_EXISTS) ? "; a file is sent by gabbro image upload" : "");
        if (upload_wanted && strstr(argv[2], "://"))
                return cli_usage("%s is an address; %s", argv[2],
                                 options->is_disk ? "gabbro image import fetches it, and a disk can be made of the image"
                                                  : "it is fetched by gabbro image import");
        return CLI_OK;
}

/* Parse, check, do. */
static int run(struct cli *cli, struct image_options *options, const GOptionEntry *entries, const char *help, int argc, char **argv)
{
        int code = cli_parse(cli, options->verb, entries, help, &argc, &argv);

        if (code == CLI_OK)
                code = check(options, argc, argv);
        if (code == CLI_OK && !options->name)
                options->name = name_of(argv[2]);
        if (code == CLI_OK && !*options->name)
                code = cli_usage("no name can be made of %s; choose one with --name", argv[2]);
        if (code == CLI_OK)
                code = ways[find_way(argv[1])].run(cli, options, argv[2]);
        g_free(options->name);
        g_free(options->sha256);
        g_free(options->ca_bundle);
        g_free(options->size);
        g_free(options->pool);
        return code;
}

#define UPLOAD_OPTIONS(options)                                                                                                    \
        {"sha256", 0, 0, G_OPTION_ARG_STRING, &(options).sha256, "What the bytes must hash to (upload: computed here)", "HEX"},    \
                {"no-checksum", 0, 0, G_OPTION_ARG_NONE, &(options).no_checksum, "Upload without hashing the file first", NULL},   \
        {                                                                                                                          \
                "resume", 0, 0, G_OPTION_ARG_NONE, &(options).resume,                                                              \
                        "With --no-checksum: go on with an upload that broke off, trusting that it was of the same file", NULL     \
        }

int cli_image(struct cli *cli, int argc, char **argv)
{
        struct image_options options = {.verb = "image"};
        const GOptionEntry entries[] = {
                {"name", 0, 0, G_OPTION_ARG_STRING, &options.name, "Name of the image (that of the file or disk)", "NAME"},
                {"cluster", 0, 0, G_OPTION_ARG_NONE, &options.cluster, "For all projects (ClusterVirtualImage)", NULL},
                {"ca-bundle", 0, 0, G_OPTION_ARG_FILENAME, &options.ca_bundle,
                 "import: certificates in PEM that the server's is judged by", "FILE"},
                UPLOAD_OPTIONS(options),
                {},
        };

        return run(cli, &options, entries,
                   "Images are qcow2, raw or ISO, also packed with xz, gzip, bzip2 or zstd. upload sends a file from here;\n"
                   "import lets the gateway fetch it. An upload that breaks off goes on by itself, or when the command is "
                   "run again.\n"
                   "from-disk makes one of a disk as it is now, also while a machine runs with it; it is only read.\n\n"
                   "Examples:\n"
                   "  gabbro image upload debian-12.qcow2 --cluster\n"
                   "  gabbro image import https://example.org/debian-12.qcow2 --sha256 HEX\n"
                   "  gabbro image from-disk web-root --name web-golden",
                   argc, argv);
}

int cli_disk(struct cli *cli, int argc, char **argv)
{
        struct image_options options = {.verb = "disk", .is_disk = true};
        const GOptionEntry entries[] = {
                {"name", 0, 0, G_OPTION_ARG_STRING, &options.name, "Name of the disk (that of the file)", "NAME"},
                {"size", 0, 0, G_OPTION_ARG_STRING, &options.size, "What a guest sees, at least the file's own (that)", "SIZE"},
                {"pool", 0, 0, G_OPTION_ARG_STRING, &options.pool, "Where it is to lie (the default pool)", "POOL"},
                UPLOAD_OPTIONS(options),
                {},
        };

        return run(
                cli, &options, entries,
                "upload makes a disk that begins with the content of a file from here: qcow2 or raw, also packed with xz, gzip,\n"
                "bzip2 or zstd. One that breaks off goes on by itself, or when the command is run again. For many disks of one\n"
                "file use gabbro image upload: it is kept once.\n\n"
                "Examples:\n"
                "  gabbro disk upload old-server.qcow2\n"
                "  gabbro disk upload data.raw.zst --name data --size 200Gi --pool fast",
                argc, argv);
}
