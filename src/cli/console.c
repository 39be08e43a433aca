/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "cli/cli.h"
#include "generated/api_types.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define ESCAPE     0x1d /* Ctrl+] */
#define HIGH_WATER (256u << 10)

struct console {
        struct loop *loop;
        struct http_ws *ws;
        struct loop_source *input, *terminate;
        const char *name;
        struct termios before;
        bool raw, open, left;
        char *closing;
};

static void raw_mode(struct console *console, bool raw)
{
        struct termios terminal;

        if (raw == console->raw || !isatty(STDIN_FILENO))
                return;
        if (raw) {
                if (tcgetattr(STDIN_FILENO, &console->before) < 0)
                        return;
                terminal = console->before;
                cfmakeraw(&terminal);
                tcsetattr(STDIN_FILENO, TCSANOW, &terminal);
        } else {
                tcsetattr(STDIN_FILENO, TCSANOW, &console->before);
        }
        console->raw = raw;
}

static void leave(struct console *console)
{
        console->left = true;
        if (console->ws)
                http_ws_close(console->ws, 1000, "the user left");
        else
                loop_exit(console->loop, 0);
}

static void on_input(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        struct console *console = userdata;
        char buffer[4096];
        ssize_t n = read(fd, buffer, sizeof(buffer));

        if (n <= 0) {
                loop_fd_set(source, 0);
                leave(console);
                return;
        }
        const char *escape = memchr(buffer, ESCAPE, (size_t)n);
        size_t len = escape ? (size_t)(escape - buffer) : (size_t)n;
        if (console->ws && len > 0 && http_ws_send(console->ws, true, buffer, len) < 0)
                escape = buffer;
        if (escape)
                leave(console);
        else if (console->ws && http_ws_pending(console->ws) > HIGH_WATER)
                loop_fd_set(source, 0);
}

static void on_drained(struct http_ws *ws, void *userdata)
{
        struct console *console = userdata;

        if (console->input && !console->left)
                loop_fd_set(console->input, LOOP_READ);
}

static void on_open(struct http_ws *ws, void *userdata)
{
        struct console *console = userdata;

        console->open = true;
        fprintf(stderr, "Successfully connected to %s console. The escape sequence is ^]\n", console->name);
        raw_mode(console, true);
        loop_fd(console->loop, STDIN_FILENO, LOOP_READ, on_input, console, &console->input);
}

static void on_message(struct http_ws *ws, bool binary, const char *data, size_t len, void *userdata)
{
        while (len > 0) {
                ssize_t n = write(STDOUT_FILENO, data, len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return;
                data += n;
                len -= (size_t)n;
        }
}

static void on_close(struct http_ws *ws, unsigned code, const char *reason, void *userdata)
{
        struct console *console = userdata;

        console->ws = NULL;
        console->closing = g_strdup(reason && *reason ? reason : "the connection ended");
        loop_exit(console->loop, 0);
}

static void on_signal(struct loop_source *source, void *userdata)
{
        leave(userdata);
}

static int dial(struct cli *cli, struct console *console)
{
        static const struct http_ws_handlers handlers = {
                .on_open = on_open, .on_message = on_message, .on_drained = on_drained, .on_close = on_close};
        struct http_tls_options tls_options = {
                .certificate_pem = cli->certificate_pem, .key_pem = cli->key_pem, .ca_pem = cli->ca_pem};
        g_autoptr(http_tls) tls = NULL;
        g_autofree char *object = cli_path(cli, &api_virtual_machine_kind, console->name);
        g_autofree char *url = g_strconcat(cli->server, object, "/console", NULL);
        g_autofree char *bearer = g_strdup_printf("Authorization: Bearer %s", cli->token ?: "");
        const char *const headers[] = {cli->token ? bearer : NULL, NULL};

        int r = http_tls_new(&tls_options, &tls);
        if (r < 0)
                return r;
        struct http_ws_dial_options options = {
                .loop = console->loop, .tls = tls, .url = url, .headers = headers, .protocol = "binary.console.gabbro.dev"};
        r = http_ws_dial(&options, &handlers, console, &console->ws);
        if (r == 0)
                r = loop_run(console->loop);
        return r;
}

/* A refused handshake has no words of its own: ask for the machine to say what is wrong. */
static int check_machine(struct cli *cli, const char *name)
{
        g_autofree char *path = cli_path(cli, &api_virtual_machine_kind, name);
        struct cli_reply reply = {};
        int code = cli_expect(cli, &(struct cli_request){.path = path}, &reply);

        if (code == CLI_OK) {
                const char *phase = json_find_string(json_root(reply.doc), "status", "phase", NULL);
                if (g_strcmp0(phase, "Running") != 0 && g_strcmp0(phase, "Stopping") != 0 && g_strcmp0(phase, "Migrating") != 0 &&
                    g_strcmp0(phase, "Starting") != 0) {
                        cli_error("machine %s does not run (it is %s); gabbro start %s starts it", name, phase ?: "new", name);
                        code = CLI_FAILED;
                }
        }
        cli_reply_clear(&reply);
        return code;
}

int cli_console(struct cli *cli, int argc, char **argv)
{
        struct console console = {};
        int code = cli_parse(cli, "console", NULL,
                             "Ctrl+] leaves the console; the machine runs on.\n\n"
                             "Examples:\n"
                             "  gabbro console web\n"
                             "  gabbro console web -n shop",
                             &argc, &argv);

        if (code == CLI_OK && argc != 2)
                code = cli_usage("which machine? gabbro console NAME");
        if (code == CLI_OK && cli->insecure && !cli->ca_pem)
                code = cli_usage("the console needs to know the gateway's certificate: --certificate-authority or a kubeconfig");
        if (code == CLI_OK) {
                console.name = cli_machine_name(argv[1]);
                code = console.name ? check_machine(cli, console.name) : CLI_USAGE;
        }
        if (code != CLI_OK)
                return code;
        int r = loop_new(&console.loop);
        if (r == 0)
                r = loop_signal(console.loop, SIGTERM, on_signal, &console, &console.terminate);
        if (r == 0)
                r = dial(cli, &console);
        raw_mode(&console, false);
        if (console.open)
                fprintf(stderr, "\n");
        if (r < 0 || !console.left) {
                cli_error("the console of %s ended: %s", console.name, console.closing ?: g_strerror(-r));
                code = console.open ? CLI_FAILED : CLI_UNREACHABLE;
        }
        loop_source_free(console.input);
        loop_source_free(console.terminate);
        loop_free(console.loop);
        g_free(console.closing);
        return code;
}
