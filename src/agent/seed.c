/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/seed.h"

#include "base/error.h"
#include "base/file.h"
#include "json/json.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct member {
        const char *name;
        const void *data;
        size_t len;
};

#define MEMBERS_MAX 4

static char *yaml_text(struct json_doc *doc, const struct json_value *root, const char *head)
{
        GString *text = g_string_new(head);

        json_write_yaml(root, text);
        return g_string_free(text, FALSE);
}

char *seed_meta_data(const struct seed *seed)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);

        json_set_string(doc, root, "instance-id", seed->instance_id);
        json_set_string(doc, root, "local-hostname", seed->hostname);
        return yaml_text(doc, root, "");
}

static void set_list(struct json_doc *doc, struct json_value *object, const char *key, const char *const *words)
{
        struct json_value *list = json_ensure_array(doc, object, key);

        for (; *words; words++) {
                json_append(list, json_new_string(doc, *words));
        }
}

static void describe_nic(struct json_doc *doc, struct json_value *ethernets, const struct seed_nic *nic, size_t index)
{
        g_autofree char *id = g_strdup_printf("nic%zu", index);
        struct json_value *ethernet = json_ensure_object(doc, ethernets, id);

        json_set_string(doc, json_ensure_object(doc, ethernet, "match"), "macaddress", nic->mac);
        json_set_bool(doc, ethernet, "dhcp4", nic->dhcp);
        if (nic->addresses && nic->addresses[0]) {
                set_list(doc, ethernet, "addresses", nic->addresses);
        }
        if (nic->gateway) {
                json_set_string(doc, ethernet, "gateway4", nic->gateway);
        }
        if (nic->dns && nic->dns[0]) {
                set_list(doc, json_ensure_object(doc, ethernet, "nameservers"), "addresses", nic->dns);
        }
        if (nic->mtu) {
                json_set_int(doc, ethernet, "mtu", nic->mtu);
        }
}

char *seed_network_config(const struct seed *seed)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *ethernets;

        json_set_int(doc, root, "version", 2);
        ethernets = json_ensure_object(doc, root, "ethernets");
        for (size_t i = 0; i < seed->n_nics; i++) {
                describe_nic(doc, ethernets, &seed->nics[i], i);
        }
        return yaml_text(doc, root, "");
}

/* --- the image -------------------------------------------------------------------------------------------------------------------
 */

static int add_member(struct archive *archive, const struct member *member)
{
        struct archive_entry *entry = archive_entry_new();
        int r;

        archive_entry_set_pathname(entry, member->name);
        archive_entry_set_size(entry, member->len);
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_perm(entry, 0400);
        archive_entry_set_mtime(entry, 0, 0);
        r = archive_write_header(archive, entry);
        if (r == ARCHIVE_OK && member->len && archive_write_data(archive, member->data, member->len) != (la_ssize_t)member->len) {
                r = ARCHIVE_FATAL;
        }
        archive_entry_free(entry);
        return r == ARCHIVE_OK ? 0 : -EIO;
}

static int write_image(int fd, const char *volume, const struct member *members, size_t n)
{
        struct archive *archive = archive_write_new();
        g_autofree char *options = g_strdup_printf("volume-id=%s,joliet,rockridge=useful", volume);
        int r = 0;

        if (archive_write_set_format_iso9660(archive) != ARCHIVE_OK || archive_write_set_options(archive, options) != ARCHIVE_OK ||
            archive_write_open_fd(archive, fd) != ARCHIVE_OK) {
                r = -EIO;
        }
        for (size_t i = 0; !r && i < n; i++) {
                r = add_member(archive, &members[i]);
        }
        if (archive_write_close(archive) != ARCHIVE_OK && !r) {
                r = -EIO;
        }
        archive_write_free(archive);
        return r;
}

/* libarchive writes the volume's name in capitals, as ECMA-119 §8.4.5 has it; guests look for it as NoCloud spells it. */
static int name_volume(int fd, const char *volume)
{
        const off_t primary_descriptor = 16 * 2048, volume_identifier = 40;
        size_t len = strlen(volume);

        return pwrite(fd, volume, len, primary_descriptor + volume_identifier) == (ssize_t)len ? 0 : -EIO;
}

static int write_file(const char *path, const char *volume, const struct member *members, size_t n)
{
        g_autofree char *temporary = g_strconcat(path, ".new", NULL), *folder = g_path_get_dirname(path);
        autofd fd = -1, dirfd = -1;
        int r;

        if (unlink(temporary) < 0 && errno != ENOENT) {
                return -errno;
        }
        dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (dirfd < 0 || fd < 0) {
                return -errno;
        }
        r = write_image(fd, volume, members, n);
        if (!r) {
                r = name_volume(fd, volume);
        }
        if (!r && (fsync(fd) < 0 || rename(temporary, path) < 0 || fsync(dirfd) < 0)) {
                r = -errno;
        }
        if (r < 0) {
                (void)unlink(temporary); /* it holds user data; the failure that counts is the first */
        }
        return r;
}

int seed_write(const struct seed *seed, const char *path)
{
        g_autofree char *meta = NULL, *network = NULL;
        struct member members[MEMBERS_MAX];
        size_t n = 0;

        assert(seed && path && (seed->user_data || !seed->user_data_len));
        if (seed->kind == SEED_SYSPREP) {
                members[n++] = (struct member){"autounattend.xml", seed->user_data, seed->user_data_len};
                members[n++] = (struct member){"unattend.xml", seed->user_data, seed->user_data_len};
                return write_file(path, "sysprep", members, n);
        }
        assert(seed->instance_id);
        meta = seed_meta_data(seed);
        members[n++] = (struct member){"meta-data", meta, strlen(meta)};
        members[n++] = (struct member){"user-data", seed->user_data, seed->user_data_len};
        if (seed->n_nics) {
                network = seed_network_config(seed);
                members[n++] = (struct member){"network-config", network, strlen(network)};
        }
        return write_file(path, "cidata", members, n);
}
