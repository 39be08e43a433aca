/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The tiny guest's reader of cloud-init seeds (NoCloud): host name, users, keys, passwords, write_files, runcmd, network. What it
 * does not know it names on the console and goes on. Everything but the network is done once for an instance-id.
 */

#include "base/file.h"
#include "json/json.h"

#include <crypt.h>
#include <dirent.h>
#include <fcntl.h>
#include <glib.h>
#include <grp.h>
#include <pwd.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SEED_DIR      "/run/seed"
#define STATE_DIR     "/var/lib/gabbro"
#define FINAL_SCRIPT  "/run/gabbro-tiny-final"
#define SEED_FILE_MAX (1u << 20)

extern char **environ;

struct seed {
        struct json_doc *meta, *user, *network;
        char *user_text;
        const char *instance_id;
};

static void say(const char *format, ...) G_GNUC_PRINTF(1, 2);
static void say(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        g_autofree char *words = g_strdup_vprintf(format, args);
        va_end(args);
        fprintf(stderr, "seed: %s\n", words);
}

static int run(const char *const *argv)
{
        pid_t pid;
        int status;

        int r = posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ);
        if (r)
                return -r;
        if (waitpid(pid, &status, 0) < 0)
                return -errno;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static struct json_doc *read_yaml(const char *name)
{
        g_autofree char *path = g_build_filename(SEED_DIR, name, NULL);
        g_autofree char *text = NULL;
        struct json_doc *doc = NULL;
        struct json_fault fault = {};
        size_t len;

        if (file_read(path, SEED_FILE_MAX, &text, &len) < 0)
                return NULL;
        if (json_parse_yaml(text, len, &doc, &fault)) {
                say("%s line %u: %s", name, fault.line, fault.reason);
                return NULL;
        }
        return doc;
}

/* Mount the first block device that carries a NoCloud seed. */
static bool mount_seed(void)
{
        DIR *dir = opendir("/sys/block");
        bool found = false;

        if (!dir)
                return false;
        mkdir(SEED_DIR, 0700);
        for (struct dirent *entry; !found && (entry = readdir(dir));) {
                if (entry->d_name[0] == '.')
                        continue;
                g_autofree char *device = g_build_filename("/dev", entry->d_name, NULL);
                if (mount(device, SEED_DIR, "iso9660", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
                        continue;
                found = access(SEED_DIR "/meta-data", R_OK) == 0;
                if (!found)
                        umount(SEED_DIR);
        }
        closedir(dir);
        return found;
}

static bool first_time(const char *instance_id)
{
        g_autofree char *before = NULL;
        size_t len;

        if (file_read(STATE_DIR "/instance-id", 4096, &before, &len) == 0 && g_str_equal(before, instance_id))
                return false;
        file_ensure_dir(STATE_DIR, 0700);
        return true;
}

static void set_hostname(const struct seed *seed)
{
        const struct json_value *user = seed->user ? json_root(seed->user) : NULL;
        const char *name = json_find_string(user, "hostname", NULL);

        if (!name)
                name = seed->meta ? json_find_string(json_root(seed->meta), "local-hostname", NULL) : NULL;
        if (!name)
                return;
        g_autofree char *line = g_strdup_printf("%s\n", name);
        g_autofree char *hosts = g_strdup_printf("127.0.0.1 localhost\n127.0.1.1 %s\n", name);
        file_write_atomic("/etc/hostname", line, strlen(line), 0644);
        file_write_atomic("/etc/hosts", hosts, strlen(hosts), 0644);
}

static void apply_hostname(void)
{
        g_autofree char *name = NULL;
        size_t len;

        if (file_read("/etc/hostname", 256, &name, &len) < 0)
                return;
        g_strchomp(name);
        sethostname(name, strlen(name));
}

/* Replace or append the line of @user in a colon-separated file. */
static void set_account_line(const char *path, const char *user, const char *line, mode_t mode)
{
        g_autofree char *text = NULL;
        g_autoptr(GString) result = g_string_new(NULL);
        g_autofree char *prefix = g_strdup_printf("%s:", user);
        size_t len;

        if (file_read(path, SEED_FILE_MAX, &text, &len) == 0) {
                g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
                for (char **l = lines; *l; l++)
                        if (**l && !g_str_has_prefix(*l, prefix))
                                g_string_append_printf(result, "%s\n", *l);
        }
        g_string_append_printf(result, "%s\n", line);
        if (file_write_atomic(path, result->str, result->len, mode) < 0)
                say("cannot write %s", path);
}

static void set_password(const char *user, const char *hash)
{
        g_autofree char *line = g_strdup_printf("%s:%s:19000:0:99999:7:::", user, hash);

        set_account_line("/etc/shadow", user, line, 0600);
}

static void set_plain_password(const char *user, const char *password)
{
        char salt[CRYPT_GENSALT_OUTPUT_SIZE];
        struct crypt_data data = {};

        if (!crypt_gensalt_rn("$6$", 5000, NULL, 0, salt, sizeof(salt)))
                return;
        const char *hash = crypt_r(password, salt, &data);
        if (hash && hash[0] == '$')
                set_password(user, hash);
}

static bool plain_field(const char *text)
{
        return text && *text && !strpbrk(text, ":\n\r");
}

static void write_owned(const char *path, const char *text, mode_t mode, uid_t uid, gid_t gid)
{
        if (file_write_atomic(path, text, strlen(text), mode) < 0 || chown(path, uid, gid) < 0)
                say("cannot write %s", path);
}

static void add_keys(const char *user, const struct json_value *keys)
{
        const struct passwd *account = getpwnam(user);
        g_autoptr(GString) text = g_string_new(NULL);

        if (!account || json_length(keys) == 0)
                return;
        for (const struct json_value *key = json_first(keys); key; key = json_next(key)) {
                const char *line = json_string(key, NULL);
                if (line && !strpbrk(line, "\n\r"))
                        g_string_append_printf(text, "%s\n", line);
        }
        uid_t uid = account->pw_uid;
        gid_t gid = account->pw_gid;
        g_autofree char *dir = g_build_filename(account->pw_dir, ".ssh", NULL);
        g_autofree char *path = g_build_filename(dir, "authorized_keys", NULL);
        file_ensure_dir(dir, 0700);
        if (chown(dir, uid, gid) < 0)
                say("cannot own %s", dir);
        write_owned(path, text->str, 0600, uid, gid);
}

static void add_user(const struct json_value *user, unsigned index)
{
        const char *name = json_is(user, JSON_STRING) ? json_string(user, NULL) : json_find_string(user, "name", NULL);

        if (!plain_field(name) || g_str_equal(name, "default"))
                return;
        if (!getpwnam(name)) {
                const char *shell = json_find_string(user, "shell", NULL);
                const char *gecos = json_find_string(user, "gecos", NULL);
                unsigned id = 1000 + index;
                if (!plain_field(shell) || access(shell, X_OK) < 0)
                        shell = "/bin/sh";
                g_autofree char *home = g_strdup_printf("/home/%s", name);
                g_autofree char *line =
                        g_strdup_printf("%s:x:%u:%u:%s:%s:%s", name, id, id, plain_field(gecos) ? gecos : "", home, shell);
                g_autofree char *group = g_strdup_printf("%s:x:%u:", name, id);
                set_account_line("/etc/group", name, group, 0644);
                set_account_line("/etc/passwd", name, line, 0644);
                set_password(name, "!");
                file_ensure_dir(home, 0755);
                if (chown(home, id, id) < 0)
                        say("cannot own %s", home);
        }
        const char *hash = json_find_string(user, "passwd", NULL);
        if (!hash)
                hash = json_find_string(user, "hashed_passwd", NULL);
        const char *plain = json_find_string(user, "plain_text_passwd", NULL);
        bool locked = json_bool(json_get(user, "lock_passwd"), !plain);
        if (!locked && plain_field(hash))
                set_password(name, hash);
        else if (!locked && plain)
                set_plain_password(name, plain);
        add_keys(name, json_get(user, "ssh_authorized_keys"));
        if (json_get(user, "sudo"))
                say("user %s: there is no sudo in this guest", name);
}

static void set_passwords(const struct json_value *config)
{
        const struct json_value *users = json_find(config, "chpasswd", "users", NULL);

        for (const struct json_value *user = json_first(users); user; user = json_next(user)) {
                const char *name = json_find_string(user, "name", NULL);
                const char *password = json_find_string(user, "password", NULL);
                if (plain_field(name) && password)
                        set_plain_password(name, password);
        }
        const char *root = json_find_string(config, "password", NULL);
        if (root)
                set_plain_password("root", root);
}

static void write_one_file(const struct json_value *file)
{
        const char *path = json_find_string(file, "path", NULL);
        const char *content = json_find_string(file, "content", NULL);
        const char *encoding = json_find_string(file, "encoding", NULL);
        const char *permissions = json_find_string(file, "permissions", NULL);
        g_autofree char *decoded = NULL;

        if (!path || path[0] != '/')
                return;
        size_t len = content ? strlen(content) : 0;
        if (encoding && (g_str_equal(encoding, "b64") || g_str_equal(encoding, "base64"))) {
                decoded = (char *)g_base64_decode(content ?: "", &len);
                content = decoded;
        } else if (encoding && !g_str_equal(encoding, "text/plain")) {
                say("write_files %s: encoding %s is not known", path, encoding);
                return;
        }
        mode_t mode = permissions ? (mode_t)strtoul(permissions, NULL, 8) & 07777 : 0644;
        g_autofree char *dir = g_path_get_dirname(path);
        file_ensure_dir(dir, 0755);
        int flags = json_bool(json_get(file, "append"), false) ? O_APPEND : O_TRUNC;
        autofd fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, mode);
        if (fd < 0 || fd_write_all(fd, content ?: "", len) < 0 || fchmod(fd, mode) < 0)
                say("write_files: cannot write %s", path);
        const char *owner = json_find_string(file, "owner", NULL);
        if (fd >= 0 && owner) {
                g_auto(GStrv) parts = g_strsplit(owner, ":", 2);
                const struct passwd *account = getpwnam(parts[0]);
                const struct group *group = parts[1] ? getgrnam(parts[1]) : NULL;
                if (!account || fchown(fd, account->pw_uid, group ? group->gr_gid : account->pw_gid) < 0)
                        say("write_files %s: cannot give it to %s", path, owner);
        }
}

static void append_command(GString *script, const struct json_value *command)
{
        if (json_is(command, JSON_STRING)) {
                g_string_append_printf(script, "%s\n", json_string(command, ""));
                return;
        }
        for (const struct json_value *word = json_first(command); word; word = json_next(word)) {
                g_autofree char *text = json_is(word, JSON_STRING) ? g_strdup(json_string(word, "")) : json_to_text(word);
                g_autofree char *quoted = g_shell_quote(text);
                g_string_append_printf(script, "%s ", quoted);
        }
        g_string_append_c(script, '\n');
}

static void write_final(const struct seed *seed, const struct json_value *config)
{
        g_autoptr(GString) script = g_string_new("#!/bin/sh\nexport PATH=/bin:/sbin:/usr/bin:/usr/sbin\n");

        if (seed->user_text && g_str_has_prefix(seed->user_text, "#!")) {
                file_write_atomic(FINAL_SCRIPT, seed->user_text, strlen(seed->user_text), 0700);
                return;
        }
        for (const struct json_value *command = json_first(json_get(config, "runcmd")); command; command = json_next(command))
                append_command(script, command);
        const char *message = json_find_string(config, "final_message", NULL);
        if (message) {
                g_autofree char *quoted = g_shell_quote(message);
                g_string_append_printf(script,
                                       "UPTIME=$(cut -d' ' -f1 /proc/uptime); printf '%%s\\n' %s | sed \"s/\\$UPTIME/$UPTIME/g\"\n",
                                       quoted);
        }
        file_write_atomic(FINAL_SCRIPT, script->str, script->len, 0700);
}

static void name_unknown(const struct json_value *config)
{
        static const char *const known[] = {
                "hostname",     "users",       "ssh_authorized_keys", "ssh_pwauth", "chpasswd",         "password", "runcmd",
                "bootcmd",      "write_files", "final_message",       "fqdn",       "manage_etc_hosts", "growpart", "resize_rootfs",
                "disable_root", NULL};

        for (const struct json_value *value = json_first(config); value; value = json_next(value)) {
                if (!g_strv_contains(known, json_key(value)))
                        say("%s is not done by this guest%s", json_key(value),
                            g_str_equal(json_key(value), "run_cmd") ? " (runcmd is meant?)" : "");
        }
}

static void configure_instance(const struct seed *seed)
{
        const struct json_value *config = seed->user && json_is(json_root(seed->user), JSON_OBJECT) ? json_root(seed->user) : NULL;
        unsigned index = 0;

        set_hostname(seed);
        name_unknown(config);
        for (const struct json_value *user = json_first(json_get(config, "users")); user; user = json_next(user))
                add_user(user, index++);
        add_keys("root", json_get(config, "ssh_authorized_keys"));
        set_passwords(config);
        for (const struct json_value *file = json_first(json_get(config, "write_files")); file; file = json_next(file))
                write_one_file(file);
        bool passwords = json_bool(json_get(config, "ssh_pwauth"), false);
        file_write_atomic(STATE_DIR "/ssh-passwords", passwords ? "1" : "0", 1, 0600);
        for (const struct json_value *command = json_first(json_get(config, "bootcmd")); command; command = json_next(command)) {
                g_autoptr(GString) line = g_string_new(NULL);
                append_command(line, command);
                RUN("sh", "-c", line->str);
        }
        write_final(seed, config);
        if (seed->instance_id)
                file_write_atomic(STATE_DIR "/instance-id", seed->instance_id, strlen(seed->instance_id), 0600);
}

static void apply_ssh_options(void)
{
        g_autofree char *text = NULL;
        size_t len;
        bool passwords = file_read(STATE_DIR "/ssh-passwords", 16, &text, &len) == 0 && text[0] == '1';

        /* dropbear: -s refuses passwords; -B would allow blank ones and is never used. */
        const char *options = passwords ? "-I 0" : "-s";
        file_write_atomic("/run/dropbear.options", options, strlen(options), 0600);
}

/* --- network
 * ---------------------------------------------------------------------------------------------------------------------- */

static const struct json_value *ethernet_of(const struct json_value *network, const char *mac)
{
        if (json_get(network, "network"))
                network = json_get(network, "network");
        for (const struct json_value *e = json_first(json_get(network, "ethernets")); e; e = json_next(e)) {
                const char *match = json_find_string(e, "match", "macaddress", NULL);
                if (match && g_ascii_strcasecmp(match, mac) == 0)
                        return e;
        }
        return NULL;
}

static void static_interface(const char *name, const struct json_value *config)
{
        for (const struct json_value *a = json_first(json_get(config, "addresses")); a; a = json_next(a))
                if (json_string(a, NULL))
                        RUN("ip", "addr", "add", json_string(a, NULL), "dev", name);
        const char *gateway = json_find_string(config, "gateway4", NULL);
        if (gateway)
                RUN("ip", "route", "replace", "default", "via", gateway, "dev", name);
        for (const struct json_value *route = json_first(json_get(config, "routes")); route; route = json_next(route)) {
                const char *to = json_find_string(route, "to", NULL);
                const char *via = json_find_string(route, "via", NULL);
                if (to && via)
                        RUN("ip", "route", "replace", to, "via", via, "dev", name);
        }
        g_autoptr(GString) resolv = g_string_new(NULL);
        for (const struct json_value *s = json_first(json_find(config, "nameservers", "addresses", NULL)); s; s = json_next(s))
                g_string_append_printf(resolv, "nameserver %s\n", json_string(s, ""));
        if (resolv->len > 0)
                file_write_atomic("/etc/resolv.conf", resolv->str, resolv->len, 0644);
}

static void bring_up(const char *name, const struct json_value *network)
{
        char hostname[65] = "";
        g_autofree char *mac_path = g_build_filename("/sys/class/net", name, "address", NULL);
        g_autofree char *mac = NULL;
        size_t len;

        if (file_read(mac_path, SEED_FILE_MAX, &mac, &len) < 0)
                return;
        g_strchomp(mac);
        const struct json_value *config = ethernet_of(network, mac);
        RUN("ip", "link", "set", name, "up");
        if (config && json_length(json_get(config, "addresses")) > 0)
                static_interface(name, config);
        if (config && !json_bool(json_get(config, "dhcp4"), false))
                return;
        gethostname(hostname, sizeof(hostname) - 1);
        g_autofree char *option = g_strdup_printf("hostname:%s", hostname);
        RUN("udhcpc", "-i", name, "-s", "/etc/udhcpc.script", "-x", option, "-t", "10", "-T", "1", "-b", "-S");
}

static void configure_network(const struct json_value *network)
{
        DIR *dir = opendir("/sys/class/net");

        if (!dir)
                return;
        for (struct dirent *entry; (entry = readdir(dir));)
                if (g_str_has_prefix(entry->d_name, "eth"))
                        bring_up(entry->d_name, network);
        closedir(dir);
}

int main(void)
{
        struct seed seed = {};
        size_t len;
        bool found = mount_seed();

        if (found) {
                seed.meta = read_yaml("meta-data");
                seed.network = read_yaml("network-config");
                file_read(SEED_DIR "/user-data", SEED_FILE_MAX, &seed.user_text, &len);
                if (seed.user_text && g_str_has_prefix(seed.user_text, "#cloud-config"))
                        seed.user = read_yaml("user-data");
                umount(SEED_DIR);
                seed.instance_id = seed.meta ? json_find_string(json_root(seed.meta), "instance-id", NULL) : NULL;
                if (first_time(seed.instance_id ?: ""))
                        configure_instance(&seed);
        } else {
                say("no seed found");
        }
        apply_hostname();
        apply_ssh_options();
        configure_network(seed.network ? json_root(seed.network) : NULL);
        return 0;
}
