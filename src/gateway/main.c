/* SPDX-License-Identifier: Apache-2.0 */
#include "admission/quota.h"
#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/names.h"
#include "cache/cache.h"
#include "control/control.h"
#include "controllers/controllers.h"
#include "gateway/bootstrap.h"
#include "gateway/callbacks.h"
#include "gateway/gateway.h"
#include "gateway/ingest.h"
#include "gateway/revoked.h"
#include "store/driver.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define SETTLE_TIME_US    10000000ull /* for the writes that are queued when the gateway ends */
#define POOL_THREADS      2
#define ROOM_INTERVAL_US  5000000u
#define ROOM_BYTES        (4u << 20)
#define DEFAULT_LISTEN    "127.0.0.1:6443"
#define DEFAULT_POOL_NAME "default"
#define DEFAULT_BASE_DIR  "/var/lib/gabbro"
#define POOL_FOLDER       "pools/local"
#define DEFAULT_NETWORK   "default"
#define DEFAULT_CIDR      "10.66.10.0/24"

struct options {
        char *data_dir, *listen, *store, *pool_name, *pool_path, *network_name, *network_cidr, *log_format, *log_level;
        char **advertise, **download_prefixes;
        struct address_prefix *reachable; /* those */
        gboolean compat_api, allow_private_downloads, admin_reset, restored, version;
};

static void options_clear(struct options *options)
{
        g_free(options->data_dir);
        g_free(options->listen);
        g_free(options->store);
        g_free(options->pool_name);
        g_free(options->pool_path);
        g_free(options->network_name);
        g_free(options->network_cidr);
        g_free(options->log_format);
        g_free(options->log_level);
        g_strfreev(options->advertise);
        g_strfreev(options->download_prefixes);
        g_free(options->reachable);
}

static int usage_error(const char *words)
{
        fprintf(stderr, "gabbro-gateway: %s\nTry gabbro-gateway --help.\n", words);
        return -EINVAL;
}

static int check_prefixes(struct options *options)
{
        size_t n = options->download_prefixes ? g_strv_length(options->download_prefixes) : 0;

        options->reachable = g_new0(struct address_prefix, n);
        for (size_t i = 0; i < n; i++)
                if (address_prefix_parse(options->download_prefixes[i], &options->reachable[i]) < 0)
                        return usage_error("--allow-downloads-from wants a range of addresses as 10.0.0.0/8 or 192.0.2.7/32");
        return 0;
}

/* An option goes before its variable, that before what is usual. */
static void take_default(char **option, const char *variable, const char *usual)
{
        if (!*option)
                *option = g_strdup(g_getenv(variable) ?: usual);
}

/* What a new installation begins with. */
static int check_first_objects(struct options *options)
{
        g_autofree char *pool_path = g_build_filename(g_getenv("GABBRO_BASE_DIR") ?: DEFAULT_BASE_DIR, POOL_FOLDER, NULL);
        struct address_prefix range;

        take_default(&options->pool_name, "GABBRO_STORAGE_POOL_NAME", DEFAULT_POOL_NAME);
        take_default(&options->pool_path, "GABBRO_STORAGE_POOL_PATH", pool_path);
        take_default(&options->network_name, "GABBRO_NETWORK_NAME", DEFAULT_NETWORK);
        take_default(&options->network_cidr, "GABBRO_NETWORK_CIDR", DEFAULT_CIDR);
        if (!names_is_label(options->pool_name))
                return usage_error("--pool-name takes a name of small letters, digits and dashes");
        if (options->pool_path[0] != '/')
                return usage_error("--pool-path (or $GABBRO_BASE_DIR) must name an absolute folder");
        if (!names_is_label(options->network_name))
                return usage_error("--network-name takes a name of small letters, digits and dashes");
        if (address_prefix_parse(options->network_cidr, &range) < 0 || range.base.family != 4 || address_prefix_size(&range) < 4)
                return usage_error("--network-cidr takes an IPv4 range of at least /30, as 10.66.10.0/24");
        return 0;
}

static int check_options(struct options *options)
{
        enum log_level level = LOG_LEVEL_INFO;
        int r;

        if (!options->data_dir)
                return usage_error("--data-dir is needed");
        if (options->store && !g_str_equal(options->store, "sqlite"))
                return usage_error("--store knows sqlite");
        if (options->log_level && log_level_parse(options->log_level, &level) < 0)
                return usage_error("--log-level knows debug, info, warning and error");
        if (options->log_format && !g_str_equal(options->log_format, "json") && !g_str_equal(options->log_format, "text"))
                return usage_error("--log-format knows text and json");
        if (!options->listen)
                options->listen = g_strdup(DEFAULT_LISTEN);
        r = check_first_objects(options);
        if (r < 0)
                return r;
        log_setup("gabbro-gateway", level, options->log_format && g_str_equal(options->log_format, "json"));
        return check_prefixes(options);
}

static int parse_options(int argc, char **argv, struct options *options)
{
        const GOptionEntry entries[] = {
                {"data-dir", 0, 0, G_OPTION_ARG_FILENAME, &options->data_dir, "Folder of all state (made with mode 0700)", "DIR"},
                {"listen", 0, 0, G_OPTION_ARG_STRING, &options->listen, "Where to listen (" DEFAULT_LISTEN ")", "ADDR:PORT"},
                {"advertise", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->advertise,
                 "Name or address that clients use; repeat for more. The first one goes into the kubeconfig", "HOST"},
                {"store", 0, 0, G_OPTION_ARG_STRING, &options->store, "Where objects are kept: sqlite", "STORE"},
                {"pool-name", 0, 0, G_OPTION_ARG_STRING, &options->pool_name,
                 "Name of the first storage pool ($GABBRO_STORAGE_POOL_NAME, " DEFAULT_POOL_NAME ")", "NAME"},
                {"pool-path", 0, 0, G_OPTION_ARG_STRING, &options->pool_path,
                 "Folder on the hosts for the first storage pool ($GABBRO_STORAGE_POOL_PATH, " DEFAULT_BASE_DIR "/" POOL_FOLDER
                 "; the first part is "
                 "$GABBRO_BASE_DIR)",
                 "PATH"},
                {"network-name", 0, 0, G_OPTION_ARG_STRING, &options->network_name,
                 "Name of the first network ($GABBRO_NETWORK_NAME, " DEFAULT_NETWORK ")", "NAME"},
                {"network-cidr", 0, 0, G_OPTION_ARG_STRING, &options->network_cidr,
                 "Range of the first network ($GABBRO_NETWORK_CIDR, " DEFAULT_CIDR ")", "PREFIX"},
                {"compat-api", 0, 0, G_OPTION_ARG_NONE, &options->compat_api, "Serve virtualization.deckhouse.io/v1alpha2 too",
                 NULL},
                {"allow-private-downloads", 0, 0, G_OPTION_ARG_NONE, &options->allow_private_downloads,
                 "Let images be fetched from loopback and private addresses, and from this machine", NULL},
                {"allow-downloads-from", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->download_prefixes,
                 "Let images be fetched from these addresses, whatever they are; repeat for more", "PREFIX"},
                {"admin-reset", 0, 0, G_OPTION_ARG_NONE, &options->admin_reset,
                 "Revoke the administrator's tokens, make a new kubeconfig, and end (with the gateway stopped)", NULL},
                {"restored", 0, 0, G_OPTION_ARG_NONE, &options->restored,
                 "The whole data folder came from a backup: end all sessions, tokens and certificates of people, make a new "
                 "kubeconfig, and end (with the gateway stopped)",
                 NULL},
                {"log-level", 0, 0, G_OPTION_ARG_STRING, &options->log_level, "debug, info, warning, error", "LEVEL"},
                {"log-format", 0, 0, G_OPTION_ARG_STRING, &options->log_format, "text or json", "FORMAT"},
                {"version", 0, 0, G_OPTION_ARG_NONE, &options->version, "Print the version and end", NULL},
                {},
        };
        g_autoptr(GOptionContext) context = g_option_context_new("- the API and the controllers of Gabbro");
        g_autoptr(GError) error = NULL;

        g_option_context_add_main_entries(context, entries, NULL);
        if (!g_option_context_parse(context, &argc, &argv, &error))
                return usage_error(error->message);
        if (argc > 1)
                return usage_error("there are words that belong to no option");
        options->admin_reset = options->admin_reset || options->restored;
        return options->version ? 0 : check_options(options);
}

/* --- parts
 * ----------------------------------------------------------------------------------------------------------------------------------
 */

struct program {
        struct gateway gateway;
        struct options options;
        struct http_tls *tls;
        struct http_server *server;
        struct cache *cache;
        struct control *control;
        struct loop_source *sigterm, *sigint, *drain, *room;
        bool serving, full; /* full: the disk */
        size_t descriptors; /* that the process may have open */
        const struct gateway_parts *parts;
        int lock_fd;
        uint16_t port;
        bool ended; /* the loop has run its course; it still runs while stop() waits for the store */
};

static int seal(void *userdata, const char *plain, size_t len, char **ret_sealed, size_t *ret_len)
{
        return auth_seal_seal(userdata, plain, len, ret_sealed, ret_len);
}

static int unseal(void *userdata, const char *sealed, size_t len, char **ret_plain, size_t *ret_len)
{
        return auth_seal_unseal(userdata, sealed, len, ret_plain, ret_len);
}

static void on_store_failed(const char *words, void *userdata)
{
        /* What was decided on top of an unknown outcome must not be acted upon: end at once, the next start reads what is durable.
         */
        log_error("the store has failed; ending", "why", words);
        _exit(70);
}

/* Nothing tells when a disk has room again; a write that succeeds does, but there may be none. */
static void on_room_due(struct loop_source *source, void *userdata)
{
        struct program *program = userdata;
        struct statvfs disk;

        if (statvfs(program->gateway.data_dir, &disk) == 0 && (uint64_t)disk.f_bavail * disk.f_frsize >= ROOM_BYTES)
                api_set_ready(program->gateway.api, NULL);
        else
                loop_timer_set(source, ROOM_INTERVAL_US);
}

static void on_store_full(const char *words, void *userdata)
{
        struct program *program = userdata;
        bool was_full = program->full;

        program->full = words;
        if (words && program->cache)
                cache_follow_back(program->cache, program->gateway.store);
        if (words && !was_full)
                log_error("the disk is full: writes are refused, nothing is lost", "why", words);
        if (!words)
                log_info("the disk has room again: writes are taken");
        if (!program->serving)
                return;
        api_set_ready(program->gateway.api, words ? "the disk of the gateway is full: writes are refused" : NULL);
        loop_timer_set(program->room, words ? ROOM_INTERVAL_US : UINT64_MAX);
}

static int say(int r, const char *what)
{
        if (r != 0)
                log_error(what, "error", r < 0 ? g_strerror(-r) : "refused");
        return error_fold(r);
}

static int open_store(struct program *program)
{
        static const char *const outcomes[] = {[STORE_E_NEWER] = "the store was written by a newer version of Gabbro",
                                               [STORE_E_CORRUPT] = "the store is damaged",
                                               [STORE_E_LOCKED] = "another gateway has the store open"};
        struct gateway *gateway = &program->gateway;
        g_autofree char *path = g_build_filename(gateway->data_dir, "store.db", NULL), *words = NULL;
        struct store_options options = {
                .loop = gateway->loop,
                .clock = gateway->clock,
                .seal = seal,
                .unseal = unseal,
                .seal_userdata = gateway->seal,
                .failed = on_store_failed,
                .failed_userdata = gateway,
                .full = on_store_full,
                .full_userdata = program,
                .reterr_words = &words,
        };
        struct driver *driver = NULL;
        int r = driver_sqlite_new(path, &driver, &words);

        if (r == 0 && program->parts && program->parts->wrap_driver)
                driver = program->parts->wrap_driver(driver);
        if (r == 0)
                r = store_open_driver(driver, &options, &gateway->store);

        if (r > 0 && (size_t)r < G_N_ELEMENTS(outcomes)) {
                log_error(outcomes[r], "path", path, "why", words ?: "");
                return -EINVAL;
        }
        if (r != 0)
                log_error("cannot open the store", "path", path, "why", words ?: g_strerror(r < 0 ? -r : EINVAL));
        return error_fold(r);
}

static int start_quota(struct gateway *gateway)
{
        const struct quota_options options = {.loop = gateway->loop, .store = gateway->store, .clock = gateway->clock};

        return say(quota_new(&options, &gateway->quota), "cannot count what projects use");
}

static int open_files(struct program *program)
{
        struct gateway *gateway = &program->gateway;
        g_autofree char *pki = g_build_filename(gateway->data_dir, "pki", NULL);
        g_autofree char *seal_path = g_build_filename(gateway->data_dir, "keys", "seal.key", NULL);
        g_autofree char *keys = g_build_filename(gateway->data_dir, "keys", NULL);
        g_autofree char *audit_path = g_build_filename(gateway->data_dir, "audit.log", NULL);

        int r = say(file_ensure_dir(gateway->data_dir, 0700), "cannot make the data folder");
        if (r == 0)
                r = say(file_ensure_dir(keys, 0700), "cannot make the key folder");
        if (r == 0)
                r = say(auth_ca_open(pki, gateway->clock, &gateway->ca), "cannot open the certificate authority");
        if (r == 0)
                r = say(auth_seal_open(seal_path, gateway->random, &gateway->seal), "cannot open the sealing key");
        if (r == 0)
                r = say(auth_audit_open(audit_path, gateway->clock, &gateway->audit), "cannot open the audit log");
        if (r == 0 && auth_audit_fault(gateway->audit)) {
                g_autofree char *words = g_strdup_printf("the audit log %s: %s", audit_path, auth_audit_fault(gateway->audit));

                log_error(words);
        }
        if (r == 0)
                r = say(blobs_new(gateway->data_dir, &gateway->blobs), "cannot open the image folder");
        return r ?: open_store(program);
}

/* Host part of "host:port" or "[v6]:port". */
static char *host_of(const char *listen)
{
        const char *colon = strrchr(listen, ':');
        g_autofree char *host = g_strndup(listen, colon ? (size_t)(colon - listen) : strlen(listen));
        size_t len = strlen(host);

        if (len > 2 && host[0] == '[' && host[len - 1] == ']')
                return g_strndup(host + 1, len - 2);
        return g_steal_pointer(&host);
}

static char **certificate_names(const struct options *options)
{
        g_autoptr(GStrvBuilder) names = g_strv_builder_new();
        g_autofree char *host = host_of(options->listen);

        for (char **name = options->advertise; name && *name; name++)
                g_strv_builder_add(names, *name);
        if (!g_str_equal(host, "0.0.0.0") && !g_str_equal(host, "::"))
                g_strv_builder_add(names, host);
        g_strv_builder_add(names, "localhost");
        g_strv_builder_add(names, "127.0.0.1");
        g_strv_builder_add(names, g_get_host_name());
        return g_strv_builder_end(names);
}

static int make_tls(struct program *program)
{
        struct gateway *gateway = &program->gateway;
        gateway->names = certificate_names(&program->options);
        struct auth_certificate certificate = {};
        int r = say(auth_ca_issue_server(gateway->ca, (const char *const *)gateway->names, &certificate),
                    "cannot issue the server's certificate");

        if (r < 0)
                return r;
        g_autofree char *chain = g_strconcat(certificate.certificate_pem, auth_ca_pem(gateway->ca), NULL);
        struct http_tls_options tls = {
                .certificate_pem = chain,
                .key_pem = certificate.key_pem,
                .ca_pem = auth_ca_pem(gateway->ca),
                .server = true,
        };
        r = say(http_tls_new(&tls, &program->tls), "cannot set up TLS");
        auth_certificate_clear(&certificate);
        return r;
}

static void on_calm(void *userdata)
{
        malloc_trim(0);
}

static int start_server(struct program *program)
{
        struct gateway *gateway = &program->gateway;
        struct http_limits limits = *http_limits_default();
        http_limits_within(&limits, program->descriptors);
        if (limits.connections < http_limits_default()->connections / 2) {
                g_autofree char *descriptors = g_strdup_printf("%zu", program->descriptors);
                g_autofree char *connections = g_strdup_printf("%zu", limits.connections);
                log_warning("few descriptors are allowed, so fewer connections are: raise LimitNOFILE", "descriptors", descriptors,
                            "connections", connections);
        }
        struct http_server_options server = {.loop = gateway->loop,
                                             .tls = program->tls,
                                             .on_request = api_handle,
                                             .on_calm = on_calm,
                                             .userdata = gateway->api,
                                             .server_name = "gabbro",
                                             .limits = &limits};
        int r = say(http_server_new(&server, &program->server), "cannot set up the server");

        if (r == 0) {
                api_add_metrics(gateway->api, api_metrics_http, program->server);
                r = http_server_listen(program->server, program->options.listen, &program->port);
                if (r < 0)
                        log_error("cannot listen", "address", program->options.listen, "error", g_strerror(-r));
        }
        if (r < 0)
                return r;
        char **names = gateway->names;
        const char *format = strchr(names[0], ':') ? "https://[%s]:%u" : "https://%s:%u";
        g_autofree char *printed = NULL;
        if (g_str_equal(format, "https://[%s]:%u"))
                printed = g_strdup_printf("https://[%s]:%u", names[0], program->port);
        else
                printed = g_strdup_printf("https://%s:%u", names[0], program->port);
        gateway->url = g_steal_pointer(&printed);
        return 0;
}

static int start_control(struct program *program)
{
        struct gateway *gateway = &program->gateway;

        program->cache = cache_new(controllers_kinds);
        controllers_define_indexes(program->cache);
        gateway->cache = program->cache;
        int r = say(cache_follow_store(program->cache, gateway->store), "cannot follow the store");
        if (r < 0)
                return r;
        struct control_options options = {
                .loop = gateway->loop,
                .store = gateway->store,
                .cache = program->cache,
                .clock = gateway->clock,
                .random = gateway->random,
                .controllers = controllers_all,
        };
        return say(control_new(&options, &program->control), "cannot start the controllers");
}

static int start_api(struct program *program)
{
        struct gateway *gateway = &program->gateway;
        struct api_options options = {
                .loop = gateway->loop,
                .store = gateway->store,
                .clock = gateway->clock,
                .random = gateway->random,
                .audit = gateway->audit,
                .seal = gateway->seal,
                .ca = gateway->ca,
                .compat_api = program->options.compat_api,
                .version = GABBRO_VERSION,
                .commit = "",
        };
        int r = say(api_new(&options, &gateway->api), "cannot set up the API");

        if (r < 0)
                return r;
        api_set_ready(gateway->api, "starting");
        r = say(manifests_init(gateway), "cannot follow the nodes' identities");
        if (r < 0)
                return r;
        join_init(gateway);
        migration_certificates_init(gateway);
        reports_init(gateway);
        content_init(gateway);
        graphics_init(gateway);
        streams_init(gateway);
        guest_calls_init(gateway);
        readings_init(gateway);
        answers_init(gateway);
        eviction_init(gateway);
        evacuation_plan_init(gateway);
        host_api_init(gateway);
        callback_orders_init(gateway);
        uploads_init(gateway);
        doctor_init(gateway);
        return say(resumable_init(gateway), "cannot read the uploads that are not complete");
}

/* --- life
 * -------------------------------------------------------------------------------------------------------------------------------------
 */

static void on_drained(struct loop_source *source, void *userdata)
{
        struct program *program = userdata;

        program->ended = true;
}

static void on_signal(struct loop_source *source, void *userdata)
{
        struct program *program = userdata;

        log_info("stopping");
        program->serving = false;
        api_set_ready(program->gateway.api, "stopping");
        http_server_drain(program->server);
        if (!program->drain)
                loop_timer(program->gateway.loop, 300000, on_drained, program, &program->drain);
}

/* Before anybody is served: what was revoked after the moment that the store is of. */
static int remember_revoked(struct program *program)
{
        g_autofree char *count = NULL;
        size_t again = 0;
        int r = say(revoked_init(&program->gateway, &again), "cannot read what was revoked");

        count = g_strdup_printf("%zu", again);
        if (r == 0 && again)
                log_warning("the store did not know of revocations, which were made again: it is older than they are",
                            "revocations", count);
        return r;
}

/* The administrator's work that ends by itself: a new kubeconfig, and perhaps the end of all that there is. */
static int reset(struct program *program, char **reterr_words)
{
        size_t n = 0;
        int r = program->options.restored ? say(revoked_end_all(&program->gateway, &n), "cannot end the credentials") : 0;

        if (r == 0 && program->options.restored)
                printf("%zu credentials ended\n", n);
        return r ?: bootstrap_admin_reset(&program->gateway, reterr_words);
}

static const struct gateway_times usual_times = {.download_us = LIMIT_DOWNLOAD_US,
                                                 .download_stall_us = LIMIT_DOWNLOAD_STALL_US,
                                                 .download_pause_us = 1000000,
                                                 .unpack_us = LIMIT_UNPACK_US};

static int start(struct program *program)
{
        struct gateway *gateway = &program->gateway;
        g_autofree char *words = NULL;

        gateway->clock = clock_system();
        gateway->random = random_system();
        gateway->data_dir = g_canonicalize_filename(program->options.data_dir, NULL);
        gateway->times = program->parts && program->parts->times ? program->parts->times : &usual_times;
        gateway->reach = (struct reach){
                .private = program->options.allow_private_downloads,
                .prefixes = program->options.reachable,
                .n_prefixes = program->options.download_prefixes ? g_strv_length(program->options.download_prefixes) : 0,
        };
        int r = say(loop_new(&gateway->loop), "cannot make the event loop");
        if (r == 0)
                r = say(loop_pool_new(gateway->loop, POOL_THREADS, &gateway->pool), "cannot start threads");
        if (r == 0)
                r = open_files(program);
        if (r == 0)
                r = remember_revoked(program);
        if (r == 0)
                r = start_quota(gateway);
        if (r == 0)
                r = make_tls(program);
        if (r == 0)
                r = start_api(program);
        if (r == 0)
                r = start_server(program);
        if (r == 0 && program->options.admin_reset)
                r = reset(program, &words);
        else if (r == 0)
                r = bootstrap_run(gateway,
                                  &(struct controllers_defaults){.pool_name = program->options.pool_name,
                                                                 .pool_path = program->options.pool_path,
                                                                 .network_name = program->options.network_name,
                                                                 .network_cidr = program->options.network_cidr},
                                  &words);
        if (words)
                log_error(words);
        if (r == 0 && !program->options.admin_reset)
                r = start_control(program);
        if (r == 0 && !program->options.admin_reset)
                r = say(imports_init(gateway), "cannot start the image service");
        if (r == 0 && !program->options.admin_reset)
                r = say(library_init(gateway), "cannot follow the image library");
        if (r == 0 && !program->options.admin_reset)
                r = say(callbacks_init(gateway), "cannot tell callbacks");
        if (r == 0 && !program->options.admin_reset)
                r = say(resumable_start(gateway), "cannot go on with uploads");
        if (r == 0 && !program->options.admin_reset)
                uploads_start(gateway);
        return r;
}

/* What was accepted becomes durable, and the callbacks of those writes run while all that they touch is still there. */
static void settle(struct gateway *gateway)
{
        uint64_t end_us = clock_monotonic_us(gateway->clock) + SETTLE_TIME_US;
        struct store_stats stats = {};

        if (!gateway->store)
                return;
        for (store_stats(gateway->store, &stats); stats.queued > 0; store_stats(gateway->store, &stats)) {
                if (clock_monotonic_us(gateway->clock) >= end_us || loop_run_once(gateway->loop, 100000) < 0) {
                        /* None of these was answered, and the next start reads what is durable. */
                        log_error("the store did not finish its writes in time");
                        _exit(70);
                }
        }
}

/* First what makes writes by itself, then the answers that wait for one, then what the callbacks of the last writes touch. */
static void stop(struct program *program)
{
        struct gateway *gateway = &program->gateway;

        loop_source_free(program->drain);
        loop_source_free(program->room);
        loop_source_free(program->sigterm);
        loop_source_free(program->sigint);
        imports_free(gateway->imports);
        callbacks_stop(gateway->callbacks);
        library_free(gateway->library);
        http_server_free(program->server);
        control_free(program->control);
        cache_free(program->cache); /* it tells the controllers of every write */
        revoked_settle(gateway->revoked);
        resumable_stop(gateway->resumable);
        uploads_stop(gateway->uploads);
        loop_pool_free(gateway->pool);
        quota_free(gateway->quota);
        settle(gateway);
        callbacks_free(gateway->callbacks);
        uploads_free(gateway->uploads);
        resumable_free(gateway->resumable);
        streams_free(gateway->streams);
        guest_calls_free(gateway->guest_calls);
        manifests_free(gateway->manifests);
        api_free(gateway->api);
        revoked_free(gateway->revoked);
        store_close(gateway->store);
        blobs_free(gateway->blobs);
        auth_audit_free(gateway->audit);
        auth_seal_free(gateway->seal);
        auth_ca_free(gateway->migration_ca);
        auth_ca_free(gateway->ca);
        http_tls_free(program->tls);
        loop_free(gateway->loop);
        g_strfreev(gateway->names);
        g_free(gateway->url);
        g_free(gateway->data_dir);
        options_clear(&program->options);
}

static int run(struct program *program)
{
        struct gateway *gateway = &program->gateway;

        int r = say(loop_signal(gateway->loop, SIGTERM, on_signal, program, &program->sigterm), "cannot take signals");
        if (r == 0)
                r = say(loop_signal(gateway->loop, SIGINT, on_signal, program, &program->sigint), "cannot take signals");
        if (r == 0)
                r = say(loop_timer(gateway->loop, UINT64_MAX, on_room_due, program, &program->room), "cannot set a timer");
        if (r < 0)
                return r;
        program->serving = true;
        malloc_trim(0); /* of what loading left behind */
        api_set_ready(gateway->api, NULL);
        g_autofree char *kubeconfig = g_build_filename(gateway->data_dir, "admin.kubeconfig", NULL);
        log_info("serving", "url", gateway->url, "kubeconfig", kubeconfig, "version", GABBRO_VERSION);
        while (r >= 0 && !program->ended)
                r = loop_run_once(gateway->loop, UINT64_MAX);
        return r;
}

/* As many descriptors as all connections need, if that is allowed, else as many as are. Return: how many it became. */
static size_t raise_descriptors(void)
{
        struct rlimit files = {}, wanted = {.rlim_cur = 2 * LIMIT_HTTP_CONNECTIONS, .rlim_max = 2 * LIMIT_HTTP_CONNECTIONS};

        if (getrlimit(RLIMIT_NOFILE, &files) < 0)
                return wanted.rlim_cur;
        if (files.rlim_max < wanted.rlim_max && setrlimit(RLIMIT_NOFILE, &wanted) == 0)
                return wanted.rlim_cur;
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) < 0)
                (void)getrlimit(RLIMIT_NOFILE, &files); /* then what there was */
        return files.rlim_cur;
}

int gateway_main(int argc, char **argv, const struct gateway_parts *parts)
{
        struct program program = {.lock_fd = -1, .parts = parts};

        signal(SIGPIPE, SIG_IGN);
        mallopt(M_ARENA_MAX, 2);
        umask(077);
        program.descriptors = raise_descriptors();
        int r = parse_options(argc, argv, &program.options);
        if (program.options.version) {
                printf("gabbro-gateway %s\n", GABBRO_VERSION);
                options_clear(&program.options);
                return 0;
        }
        if (r < 0) {
                options_clear(&program.options);
                return 2;
        }
        r = start(&program);
        if (r == 0 && program.options.admin_reset)
                printf("a new administrator kubeconfig is in %s/admin.kubeconfig\n", program.gateway.data_dir);
        else if (r == 0)
                r = run(&program);
        stop(&program);
        return r < 0 ? 1 : 0;
}
