/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "cli/cli.h"
#include "cli/prompt.h"
#include "generated/api_types.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SLACK_US 90000000ull /* behind the time of a command */

struct guest_options {
        char *user, *output;
        int timeout_s, freeze_s;
        gboolean input, password_stdin, hashed;
};

/* One deed of `gabbro guest`. */
struct deed {
        const char *name;
        int least, most; /* words behind it; -1: any number */
        int (*run)(struct cli *cli, const struct guest_options *options, int argc, char **argv);
};

static char *path_of(const struct cli *cli, const char *machine, const char *subresource)
{
        g_autofree char *object = cli_path(cli, &api_virtual_machine_kind, machine);

        return g_strconcat(object, "/", subresource, NULL);
}

/* --- exec
 * ---------------------------------------------------------------------------------------------------------------------------- */

static int read_input(GByteArray *input)
{
        guint8 piece[4096];
        ssize_t n;

        while ((n = read(STDIN_FILENO, piece, sizeof(piece))) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return cli_usage("standard input cannot be read: %s", g_strerror(errno));
                g_byte_array_append(input, piece, (guint)n);
                if (input->len > LIMIT_GUEST_EXEC_INPUT_BYTES)
                        return cli_usage("a command in a guest reads at most %u KiB", LIMIT_GUEST_EXEC_INPUT_BYTES >> 10);
        }
        return CLI_OK;
}

static int exec_order(const struct guest_options *options, char **words, struct json_doc *doc)
{
        g_autoptr(GByteArray) input = g_byte_array_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *list;
        int code = options->input ? read_input(input) : CLI_OK;

        json_set_root(doc, root);
        list = json_ensure_array(doc, root, "command");
        for (; *words; words++)
                json_append(list, json_new_string(doc, *words));
        json_set_int(doc, root, "timeoutSeconds", options->timeout_s);
        if (input->len) {
                g_autofree char *text = g_base64_encode(input->data, input->len);

                json_set_string(doc, root, "stdin", text);
        }
        return code;
}

static void write_all(int fd, const char *bytes, size_t len)
{
        while (len > 0) {
                ssize_t n = write(fd, bytes, len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return;
                bytes += n;
                len -= (size_t)n;
        }
}

/* What a guest writes goes into files and pipes as it is; a terminal does not obey guests. */
static void show_stream(int fd, const struct json_value *body, const char *key)
{
        gsize len = 0;
        g_autofree guchar *bytes = g_base64_decode(json_string(json_get(body, key), ""), &len);

        if (cli_is_terminal(fd)) {
                g_autoptr(GString) text = g_string_new_len((const char *)bytes, (gssize)len);
                g_autofree char *clean = NULL;

                g_string_replace(text, "\t", "        ", 0);
                clean = cli_clean(text->str, true);

                write_all(fd, clean, strlen(clean));
        } else {
                write_all(fd, (const char *)bytes, len);
        }
}

static int show_exec(const struct json_value *body, const char *machine, int timeout_s)
{
        bool cut = json_bool(json_get(body, "stdoutTruncated"), false) || json_bool(json_get(body, "stderrTruncated"), false);
        int64_t exit_code = CLI_FAILED;

        show_stream(STDOUT_FILENO, body, "stdout");
        show_stream(STDERR_FILENO, body, "stderr");
        if (cut)
                cli_error("the command wrote more than %u KiB, which ended it; write to a file in the guest instead",
                          LIMIT_GUEST_EXEC_OUTPUT_BYTES >> 10);
        if (json_bool(json_get(body, "timedOut"), false)) {
                cli_error("the command in %s was ended after %d seconds; --timeout gives it more", machine, timeout_s);
                return CLI_TIMEOUT;
        }
        (void)json_int64(json_get(body, "exitCode"), &exit_code); /* an answer without one is no success */
        return (int)(exit_code & 0xff);
}

static int run_exec(struct cli *cli, const struct guest_options *options, int argc, char **argv)
{
        const char *machine = cli_machine_name(argv[0]);
        g_autofree char *path = machine ? path_of(cli, machine, "exec") : NULL, *text = NULL;
        g_autoptr(json_doc) doc = json_doc_new();
        struct cli_reply reply = {};
        int code;

        argv++;
        if (*argv && g_str_equal(*argv, "--"))
                argv++;
        if (machine && !*argv)
                return cli_usage("which command? gabbro guest exec %s -- COMMAND [WORD...]", machine);
        if (!machine || options->timeout_s < 1 || options->timeout_s > LIMIT_GUEST_EXEC_S)
                return machine ? cli_usage("--timeout takes 1 to %d seconds", LIMIT_GUEST_EXEC_S) : CLI_USAGE;
        code = exec_order(options, argv, doc);
        if (code != CLI_OK)
                return code;
        text = json_to_text(json_root(doc));
        code = cli_expect(cli,
                          &(struct cli_request){.method = "POST",
                                                .path = path,
                                                .body = text,
                                                .len = strlen(text),
                                                .once = true,
                                                .stall_us = (uint64_t)options->timeout_s * 1000000 + SLACK_US},
                          &reply);
        if (code == CLI_OK)
                code = show_exec(json_root(reply.doc), machine, options->timeout_s);
        cli_reply_clear(&reply);
        return code;
}

/* --- password
 * ------------------------------------------------------------------------------------------------------------------------ */

static int send_password(struct cli *cli, const struct guest_options *options, const char *path, const char *user,
                         const char *password)
{
        /* Of its full size at once, and wiped: a document could not be. */
        GString *body = g_string_sized_new(6 * (strlen(password) + strlen(user)) + 128);
        struct cli_reply reply = {};
        int code;

        g_string_append(body, "{\"user\":");
        json_write_string(user, strlen(user), body);
        g_string_append_printf(body, ",\"hashed\":%s,\"password\":", options->hashed ? "true" : "false");
        json_write_string(password, strlen(password), body);
        g_string_append_c(body, '}');
        code = cli_expect(cli,
                          &(struct cli_request){.method = "POST", .path = path, .body = body->str, .len = body->len, .once = true},
                          &reply);
        explicit_bzero(body->str, body->len);
        g_string_free(body, TRUE);
        cli_reply_clear(&reply);
        return code;
}

static int run_password(struct cli *cli, const struct guest_options *options, int argc, char **argv)
{
        const char *machine = cli_machine_name(argv[0]), *user = options->user ?: "root";
        g_autofree char *path = machine ? path_of(cli, machine, "guestpassword") : NULL;
        g_autofree char *prompt = g_strdup_printf("New password of %s in %s", user, machine ?: "");
        char *password = NULL;
        int code = machine ? prompt_new_password(prompt, options->password_stdin, &password) : CLI_USAGE;

        if (code == CLI_OK)
                code = send_password(cli, options, path, user, password);
        if (code == CLI_OK)
                cli_say("password of %s in virtualmachine/%s was set", user, machine);
        prompt_wipe(password);
        return code;
}

/* --- info
 * ---------------------------------------------------------------------------------------------------------------------------- */

static const char *text_of(const struct json_value *object, const char *key)
{
        return json_string(json_get(object, key), "");
}

static char *size_of(const struct json_value *object, const char *key)
{
        int64_t bytes;

        return json_int64(json_get(object, key), &bytes) ? g_strdup("")
                                                         : g_format_size_full((guint64)bytes, G_FORMAT_SIZE_IEC_UNITS);
}

static void show_filesystems(const struct json_value *list)
{
        struct cli_table *table = cli_table_new();

        if (json_length(list))
                cli_table_add(table, (const char *const[]){"\nMOUNTED ON", "TYPE", "SIZE", "USED", "DEVICE", NULL});
        for (const struct json_value *it = json_first(list); it; it = json_next(it)) {
                g_autofree char *size = size_of(it, "totalBytes"), *used = size_of(it, "usedBytes");

                cli_table_add(table, (const char *const[]){text_of(it, "mountPoint"), text_of(it, "type"), size, used,
                                                           text_of(it, "device"), NULL});
        }
        cli_table_print(table);
        cli_table_free(table);
}

static void show_interfaces(const struct json_value *list)
{
        struct cli_table *table = cli_table_new();

        if (json_length(list))
                cli_table_add(table, (const char *const[]){"INTERFACE", "MAC", "ADDRESSES", NULL});
        for (const struct json_value *it = json_first(list); it; it = json_next(it)) {
                g_autofree char *addresses = cli_joined(json_get(it, "addresses"));

                cli_table_add(table, (const char *const[]){text_of(it, "name"), text_of(it, "macAddress"), addresses, NULL});
        }
        cli_table_print(table);
        cli_table_free(table);
}

static void show_info(const struct json_value *body)
{
        const struct json_value *os = json_get(body, "os"), *users = json_get(body, "users");
        const struct {
                const char *name, *text;
        } lines[] = {{"Host name", text_of(body, "hostName")},
                     {"System", *text_of(os, "prettyName") ? text_of(os, "prettyName") : text_of(os, "name")},
                     {"Kernel", text_of(os, "kernelRelease")},
                     {"Machine", text_of(os, "machine")},
                     {"Time zone", text_of(body, "timezone")},
                     {"Agent", text_of(body, "agentVersion")}};

        for (size_t i = 0; i < G_N_ELEMENTS(lines); i++)
                if (*lines[i].text)
                        cli_say("%-12s %s", lines[i].name, lines[i].text);
        for (const struct json_value *it = json_first(users); it; it = json_next(it))
                cli_say("%-12s %s", it == json_first(users) ? "Users" : "", text_of(it, "name"));
        fflush(stdout);
        show_interfaces(json_get(body, "interfaces"));
        show_filesystems(json_get(body, "filesystems"));
}

static int run_info(struct cli *cli, const struct guest_options *options, int argc, char **argv)
{
        const char *machine = cli_machine_name(argv[0]), *format = options->output;
        g_autofree char *path = machine ? path_of(cli, machine, "guestinfo") : NULL;
        struct cli_reply reply = {};
        int code;

        if (format && !g_str_equal(format, "json") && !g_str_equal(format, "yaml"))
                return cli_usage("-o takes json or yaml");
        code = machine ? cli_expect(cli, &(struct cli_request){.path = path}, &reply) : CLI_USAGE;
        if (code == CLI_OK && format)
                cli_print_object(json_root(reply.doc), format);
        else if (code == CLI_OK)
                show_info(json_root(reply.doc));
        cli_reply_clear(&reply);
        return code;
}

/* --- freeze, thaw
 * ------------------------------------------------------------------------------------------------------------------------ */

static int run_freeze(struct cli *cli, const struct guest_options *options, int argc, char **argv)
{
        const char *machine = cli_machine_name(argv[0]);
        g_autofree char *path = machine ? path_of(cli, machine, "freeze") : NULL;
        g_autofree char *body = g_strdup_printf("{\"seconds\":%d}", options->freeze_s);
        struct cli_reply reply = {};
        int64_t n = 0;
        int code = CLI_USAGE;

        if (machine)
                code = cli_expect(
                        cli, &(struct cli_request){.method = "POST", .path = path, .body = body, .len = strlen(body), .once = true},
                        &reply);
        if (code == CLI_OK && json_int64(json_get(json_root(reply.doc), "filesystems"), &n) == 0)
                cli_say("%" G_GINT64_FORMAT " file systems of virtualmachine/%s are frozen for %d seconds at most", n, machine,
                        options->freeze_s);
        cli_reply_clear(&reply);
        return code;
}

static int run_thaw(struct cli *cli, const struct guest_options *options, int argc, char **argv)
{
        const char *machine = cli_machine_name(argv[0]);
        g_autofree char *path = machine ? path_of(cli, machine, "thaw") : NULL;
        struct cli_reply reply = {};
        int code = machine ? cli_expect(cli, &(struct cli_request){.method = "POST", .path = path}, &reply) : CLI_USAGE;

        if (code == CLI_OK)
                cli_say("virtualmachine/%s is thawed", machine);
        cli_reply_clear(&reply);
        return code;
}

/* --- the verb
 * ------------------------------------------------------------------------------------------------------------------------ */

static const struct deed deeds[] = {
        {"exec", 1, -1, run_exec},        {"freeze", 1, 1, run_freeze}, {"info", 1, 1, run_info},
        {"password", 1, 1, run_password}, {"thaw", 1, 1, run_thaw},
};

int cli_guest(struct cli *cli, int argc, char **argv)
{
        struct guest_options options = {.timeout_s = 30, .freeze_s = 10};
        const GOptionEntry entries[] = {
                {"timeout", 0, 0, G_OPTION_ARG_INT, &options.timeout_s, "exec: how long it may take (30)", "SECONDS"},
                {"stdin", 'i', 0, G_OPTION_ARG_NONE, &options.input, "exec: it reads this command's standard input", NULL},
                {"user", 'u', 0, G_OPTION_ARG_STRING, &options.user, "password: whose (root)", "USER"},
                {"password-stdin", 0, 0, G_OPTION_ARG_NONE, &options.password_stdin, "password: read it from standard input", NULL},
                {"hashed", 0, 0, G_OPTION_ARG_NONE, &options.hashed, "password: what is given is its hash, as in /etc/shadow",
                 NULL},
                {"seconds", 0, 0, G_OPTION_ARG_INT, &options.freeze_s, "freeze: how long at most (10)", "SECONDS"},
                {"output", 'o', 0, G_OPTION_ARG_STRING, &options.output, "info: json or yaml", "FORMAT"},
                {},
        };
        int code =
                cli_parse(cli, "guest", entries,
                          "exec runs a command as the guest's administrator, passes its exit code on, and ends it when its time "
                          "is up or it\nhas written 256 KiB. It is no shell: sh -c 'COMMAND | COMMAND' makes one. All of them ask "
                          "the guest agent, and each\nis a right of its own.\n\n"
                          "Examples:\n"
                          "  gabbro guest info web\n"
                          "  gabbro guest exec web -- df -h\n"
                          "  gabbro guest exec web --timeout 300 -- sh -c 'apt-get update && apt-get -y upgrade'\n"
                          "  gabbro guest exec web -i -- tee /etc/motd <motd\n"
                          "  gabbro guest freeze web --seconds 20\n"
                          "  gabbro guest thaw web\n"
                          "  gabbro guest password web --user admin",
                          &argc, &argv);

        if (code != CLI_OK)
                return code;
        for (size_t i = 0; argc > 1 && i < G_N_ELEMENTS(deeds); i++) {
                if (!g_str_equal(deeds[i].name, argv[1]))
                        continue;
                if (argc - 2 < deeds[i].least || (deeds[i].most >= 0 && argc - 2 > deeds[i].most))
                        return cli_usage("gabbro guest %s MACHINE; gabbro guest --help tells more", argv[1]);
                return deeds[i].run(cli, &options, argc - 2, argv + 2);
        }
        return cli_usage("gabbro guest exec, info, password, freeze or thaw? gabbro guest --help tells more");
}
