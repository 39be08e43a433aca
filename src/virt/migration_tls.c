/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/migration_tls.h"

#include "base/error.h"
#include "base/file.h"
#include "virt/virt_internal.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* --- the folder --- */

/* The group that QEMU runs as; -1: there is none of the usual ones, and root alone reads the key. */
static gid_t qemu_group(void)
{
        static const char *const names[] = {"libvirt-qemu", "qemu"};
        char buffer[4096];

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                struct group group, *found = NULL;

                if (getgrnam_r(names[i], &group, buffer, sizeof(buffer), &found) == 0 && found)
                        return found->gr_gid;
        }
        return (gid_t)-1;
}

static int put_file(const char *dir, const char *name, const char *text, gid_t group)
{
        g_autofree char *path = g_build_filename(dir, name, NULL);
        int r = file_write_atomic(path, text, strlen(text), 0600);

        if (r < 0 || group == (gid_t)-1)
                return r;
        return chown(path, 0, group) < 0 || chmod(path, 0640) < 0 ? -errno : 0;
}

static int fill_folder(const char *dir, const char *ca_pem, const char *certificate_pem, const char *key_pem)
{
        const struct {
                const char *name, *text;
        } files[] = {
                {MIGRATION_TLS_CA, ca_pem},          {MIGRATION_TLS_CERTIFICATE, certificate_pem},
                {MIGRATION_TLS_KEY, key_pem},        {"client-cert.pem", certificate_pem},
                {"client-key.pem", key_pem},         {"cacert.pem", ca_pem},
                {"clientcert.pem", certificate_pem}, {"clientkey.pem", key_pem},
        };
        gid_t group = qemu_group();
        int r = file_ensure_dir(dir, 0700);

        if (!r && group != (gid_t)-1 && (chown(dir, 0, group) < 0 || chmod(dir, 0750) < 0))
                r = -errno;
        for (size_t i = 0; !r && i < G_N_ELEMENTS(files); i++)
                r = put_file(dir, files[i].name, files[i].text, group);
        return r;
}

int migration_tls_write(const char *dir, const char *ca_pem, const char *certificate_pem, const char *key_pem)
{
        g_autofree char *next = g_strconcat(dir, ".next", NULL);
        int r;

        assert(dir && ca_pem && certificate_pem && key_pem);
        r = file_remove_tree(next);
        if (!r)
                r = fill_folder(next, ca_pem, certificate_pem, key_pem);
        if (r < 0)
                return r;
        if (access(dir, F_OK) < 0)
                return rename(next, dir) < 0 ? -errno : 0;
        if (renameat2(AT_FDCWD, next, AT_FDCWD, dir, RENAME_EXCHANGE) < 0)
                return -errno;
        return file_remove_tree(next);
}

/* --- libvirt --- */

char *migration_tls_uri(const char *address, const char *dir)
{
        bool v6 = strchr(address, ':') != NULL;

        assert(address && dir);
        return g_strdup_printf("qemu+tls://%s%s%s/system?pkipath=%s", v6 ? "[" : "", address, v6 ? "]" : "", dir);
}

/* By a program of libvirt: its library for this cannot live beside the other one in a process. */
int migration_tls_reload(struct virt_error *reterr)
{
        static const char *const argv[] = {"virt-admin", "server-update-tls", "libvirtd", NULL};
        g_autoptr(GError) error = NULL;
        int status = 0;

        assert(reterr);
        if (!g_spawn_sync("/", (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL,
                          NULL, NULL, NULL, NULL, &status, &error))
                return virt_say(reterr, VIRT_E_FAILED, "LibvirtUnreachable", "%s", error->message);
        if (!g_spawn_check_wait_status(status, NULL))
                return virt_say(reterr, VIRT_E_FAILED, "LibvirtUnreachable", "virt-admin server-update-tls libvirtd failed");
        return 0;
}

/* The value of the last line "key = value" of a configuration file, without quotes; NULL: absent. g_free(). */
static char *setting(const char *text, const char *key)
{
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        char *value = NULL;

        for (char **line = lines; *line; line++) {
                const char *at = g_strstrip(*line);

                if (!g_str_has_prefix(at, key))
                        continue;
                at += strlen(key);
                at += strspn(at, " \t");
                if (*at != '=')
                        continue;
                at += 1 + strspn(at + 1, " \t\"");
                g_free(value);
                value = g_strndup(at, strcspn(at, "\""));
                g_strchomp(value);
        }
        return value;
}

char *migration_tls_fault(const char *text, const char *dir)
{
        g_autofree char *folder = setting(text, "migrate_tls_x509_cert_dir");
        g_autofree char *verify = setting(text, "migrate_tls_x509_verify");
        g_autofree char *verify_all = setting(text, "default_tls_x509_verify");

        assert(text && dir);
        if (g_strcmp0(folder, dir) != 0)
                return g_strdup_printf("/etc/libvirt/qemu.conf does not say migrate_tls_x509_cert_dir = \"%s\"", dir);
        if (g_strcmp0(verify ? verify : verify_all, "0") == 0)
                return g_strdup("/etc/libvirt/qemu.conf must say migrate_tls_x509_verify = 1");
        return NULL;
}

int migration_tls_reach(const char *address, const char *dir, struct virt_error *reterr)
{
        g_autofree char *uri = migration_tls_uri(address, dir);

        return virt_reach(uri, reterr);
}
