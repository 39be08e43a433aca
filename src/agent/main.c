/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent.h"

#include "agent/frozen.h"
#include "agent/join.h"
#include "base/address.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "loop/loop.h"

#include <getopt.h>
#include <glib.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* What is not over after this long is left to the next start: nothing is lost on a kill. */
#define STOP_SECONDS 20
#define CHECKED_FILE "node.crt"

struct options {
        const char *data_dir, *gateway, *token_file, *libvirt_uri, *pool_base, *seed_base, *reboot_command, *graphics_address;
        char *node_name;
        enum agent_virt virt;
        enum log_level level;
        bool json;
};

static const char usage[] =
        "usage: gabbro-agent --data-dir DIR --gateway URL [OPTION...]\n"
        "\n"
        "  --data-dir DIR          folder of the agent: credentials, journal, images, network state\n"
        "  --gateway URL           https://HOST:PORT of the gateway\n"
        "  --join-token-file FILE  join with this token when the host has not joined yet\n"
        "  --node-name NAME        name of the node (default: the host's name)\n"
        "  --libvirt-uri URI       default qemu:///system\n"
        "  --virt-type TYPE        auto (default: KVM when it is proven to work), kvm or qemu\n"
        "  --pool-base DIR         folders of storage pools below it are made when they are missing\n"
        "  --seed-base DIR         first-boot images are made in DIR/gabbro-seeds (default: in the data folder)\n"
        "  --graphics-address ADDR machines may have screens that listen for TCP on this IP address, each with a\n"
        "                          password (default: none may)\n"
        "  --reboot-command FILE   what reboots the host, without arguments (default: reboot)\n"
        "  --log-format FORMAT     text (default) or json\n"
        "  --log-level LEVEL       debug, info (default), warning or error\n"
        "  --version, --help\n";

enum option_id {
        OPTION_DATA_DIR = 256,
        OPTION_GATEWAY,
        OPTION_TOKEN_FILE,
        OPTION_NODE_NAME,
        OPTION_LIBVIRT_URI,
        OPTION_VIRT_TYPE,
        OPTION_POOL_BASE,
        OPTION_SEED_BASE,
        OPTION_GRAPHICS_ADDRESS,
        OPTION_REBOOT_COMMAND,
        OPTION_LOG_FORMAT,
        OPTION_LOG_LEVEL,
        OPTION_VERSION,
        OPTION_HELP,
};

static const struct option long_options[] = {
        {"data-dir", required_argument, NULL, OPTION_DATA_DIR},
        {"gateway", required_argument, NULL, OPTION_GATEWAY},
        {"join-token-file", required_argument, NULL, OPTION_TOKEN_FILE},
        {"node-name", required_argument, NULL, OPTION_NODE_NAME},
        {"libvirt-uri", required_argument, NULL, OPTION_LIBVIRT_URI},
        {"virt-type", required_argument, NULL, OPTION_VIRT_TYPE},
        {"pool-base", required_argument, NULL, OPTION_POOL_BASE},
        {"seed-base", required_argument, NULL, OPTION_SEED_BASE},
        {"graphics-address", required_argument, NULL, OPTION_GRAPHICS_ADDRESS},
        {"reboot-command", required_argument, NULL, OPTION_REBOOT_COMMAND},
        {"log-format", required_argument, NULL, OPTION_LOG_FORMAT},
        {"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
        {"version", no_argument, NULL, OPTION_VERSION},
        {"help", no_argument, NULL, OPTION_HELP},
        {},
};

/* --- options ---------------------------------------------------------------------------------------------------------------------
 */

static bool parse_virt(const char *text, enum agent_virt *ret_virt)
{
        static const char *const names[] = {"auto", "kvm", "qemu"};

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                if (g_str_equal(names[i], text)) {
                        *ret_virt = (enum agent_virt)i;
                        return true;
                }
        }
        fprintf(stderr, "gabbro-agent: --virt-type is auto, kvm or qemu, not %s\n", text);
        return false;
}

static bool parse_log_format(const char *text, bool *ret_json)
{
        *ret_json = g_str_equal(text, "json");
        if (!*ret_json && !g_str_equal(text, "text")) {
                fprintf(stderr, "gabbro-agent: --log-format is text or json, not %s\n", text);
                return false;
        }
        return true;
}

static bool parse_log_level(const char *text, enum log_level *ret_level)
{
        if (log_level_parse(text, ret_level) < 0) {
                fprintf(stderr, "gabbro-agent: --log-level is debug, info, warning or error, not %s\n", text);
                return false;
        }
        return true;
}

static bool parse_address(const char *text, const char **ret_text)
{
        struct address address;

        if (address_parse(text, &address) < 0) {
                fprintf(stderr, "gabbro-agent: --graphics-address is an IP address, not %s\n", text);
                return false;
        }
        *ret_text = text;
        return true;
}

static bool take_option(int id, char *value, struct options *options)
{
        switch (id) {
        case OPTION_DATA_DIR:
                options->data_dir = value;
                return true;
        case OPTION_GATEWAY:
                options->gateway = value;
                return true;
        case OPTION_TOKEN_FILE:
                options->token_file = value;
                return true;
        case OPTION_NODE_NAME:
                g_free(options->node_name);
                options->node_name = g_strdup(value);
                return true;
        case OPTION_LIBVIRT_URI:
                options->libvirt_uri = value;
                return true;
        case OPTION_POOL_BASE:
                options->pool_base = value;
                return true;
        case OPTION_SEED_BASE:
                options->seed_base = value;
                return true;
        case OPTION_GRAPHICS_ADDRESS:
                return parse_address(value, &options->graphics_address);
        case OPTION_REBOOT_COMMAND:
                options->reboot_command = value;
                return true;
        case OPTION_VIRT_TYPE:
                return parse_virt(value, &options->virt);
        case OPTION_LOG_FORMAT:
                return parse_log_format(value, &options->json);
        case OPTION_LOG_LEVEL:
                return parse_log_level(value, &options->level);
        default:
                return false;
        }
}

static bool options_complete(const struct options *options)
{
        if (!options->data_dir || options->data_dir[0] != '/') {
                fprintf(stderr, "gabbro-agent: --data-dir must name an absolute folder\n");
                return false;
        }
        if (!options->gateway || !g_str_has_prefix(options->gateway, "https://")) {
                fprintf(stderr, "gabbro-agent: --gateway must be an https:// address\n");
                return false;
        }
        if (options->pool_base && options->pool_base[0] != '/') {
                fprintf(stderr, "gabbro-agent: --pool-base must name an absolute folder\n");
                return false;
        }
        if (options->seed_base && options->seed_base[0] != '/') {
                fprintf(stderr, "gabbro-agent: --seed-base must name an absolute folder\n");
                return false;
        }
        return true;
}

/* -1: go on; else the program's exit status. */
static int parse_options(int argc, char **argv, struct options *options)
{
        int id;

        while ((id = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
                if (id == OPTION_HELP) {
                        fputs(usage, stdout);
                        return 0;
                }
                if (id == OPTION_VERSION) {
                        puts("gabbro-agent " GABBRO_VERSION);
                        return 0;
                }
                if (!take_option(id, optarg, options)) {
                        return 2;
                }
        }
        if (optind < argc) {
                fprintf(stderr, "gabbro-agent: %s is no option\n", argv[optind]);
                return 2;
        }
        return options_complete(options) ? -1 : 2;
}

/* The short name of the host as a DNS label. */
static char *host_name(void)
{
        g_autofree char *name = g_ascii_strdown(g_get_host_name(), -1);

        name[strcspn(name, ".")] = '\0';
        for (char *at = name; *at; at++) {
                if (!g_ascii_isalnum(*at)) {
                        *at = '-';
                }
        }
        return g_steal_pointer(&name);
}

/* --- running ---------------------------------------------------------------------------------------------------------------------
 */

static int join_if_needed(const struct options *options)
{
        struct join_options join = {.gateway_url = options->gateway,
                                    .data_dir = options->data_dir,
                                    .token_file = options->token_file,
                                    .node_name = options->node_name};
        g_autofree char *certificate = g_build_filename(options->data_dir, CHECKED_FILE, NULL), *words = NULL;
        int r;

        if (access(certificate, R_OK) == 0) {
                return 0;
        }
        if (!options->token_file) {
                log_error("this host has not joined yet: give --join-token-file with a token of the gateway");
                return -ENOENT;
        }
        r = join_gateway(&join, &words);
        if (r < 0) {
                log_error("joining failed", "gateway", options->gateway, "error", words ? words : g_strerror(-r));
                return r;
        }
        log_info("joined", "gateway", options->gateway, "node", options->node_name);
        return 0;
}

static void on_stop(struct loop_source *source, void *userdata)
{
        log_info("stopping; guests go on");
        loop_exit(userdata, 0);
}

static int run(const struct options *options, struct steps *steps)
{
        struct agent_options agent_options = {
                .data_dir = options->data_dir,
                .gateway_url = options->gateway,
                .libvirt_uri = options->libvirt_uri,
                .pool_base = options->pool_base,
                .seed_base = options->seed_base,
                .reboot_command = options->reboot_command,
                .graphics_address = options->graphics_address,
                .virt = options->virt,
                .steps = steps,
        };
        g_autoptr(loop_source) terminate = NULL, interrupt = NULL;
        g_autoptr(loop) loop = NULL;
        struct agent *agent = NULL;
        g_autofree char *words = NULL;
        int r;

        r = loop_new(&loop);
        if (!r) {
                r = loop_signal(loop, SIGTERM, on_stop, loop, &terminate);
        }
        if (!r) {
                r = loop_signal(loop, SIGINT, on_stop, loop, &interrupt);
        }
        if (!r) {
                agent_options.loop = loop;
                r = agent_new(&agent_options, &agent, &words);
        }
        if (r < 0) {
                log_error("the agent cannot start", "error", words ? words : g_strerror(-r));
                return r;
        }
        log_info("the agent runs", "version", GABBRO_VERSION, "gateway", options->gateway);
        sd_notify(0, "READY=1");
        r = loop_run(loop);
        sd_notify(0, "STOPPING=1");
        alarm(STOP_SECONDS);
        agent_free(agent);
        return r;
}

int agent_main(int argc, char **argv, struct steps *steps)
{
        struct options options = {.libvirt_uri = "qemu:///system", .level = LOG_LEVEL_INFO};
        int r;

        if (argc > 1 && strcmp(argv[1], "thaw") == 0) {
                return frozen_guard_main(argc, argv);
        }
        r = parse_options(argc, argv, &options);
        if (r >= 0) {
                return r;
        }
        if (!options.node_name) {
                options.node_name = host_name();
        }
        /* Threads come and go with libvirt's calls: two heaps are enough, and what is idle is small. */
        mallopt(M_ARENA_MAX, 2);
        log_setup("gabbro-agent", options.level, options.json);
        signal(SIGPIPE, SIG_IGN);
        mallopt(M_ARENA_MAX, 2); /* a dozen threads that mostly wait: arenas of their own would only cost memory */
        umask(022);
        r = file_ensure_dir(options.data_dir, 0711);
        if (r < 0) {
                log_error("the data folder cannot be made", "path", options.data_dir, "error", g_strerror(-r));
        }
        if (!r) {
                r = join_if_needed(&options);
        }
        if (!r) {
                r = run(&options, steps);
        }
        g_free(options.node_name);
        return r < 0 ? 1 : 0;
}
