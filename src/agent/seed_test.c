/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/seed.h"

#include "base/file.h"
#include "json/json.h"

#include <archive.h>
#include <archive_entry.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *const addresses[] = {"10.66.0.9/24", NULL};
static const char *const dns[] = {"10.66.0.1", "192.0.2.53", NULL};
static const struct seed_nic nics[] = {
        {.mac = "52:54:00:00:00:01", .dhcp = true, .mtu = 1500},
        {.mac = "52:54:00:00:00:02", .addresses = addresses, .gateway = "10.66.0.1", .dns = dns},
};

static char *temporary_dir(void)
{
        char *dir = g_dir_make_tmp("gabbro-seed-XXXXXX", NULL);

        g_assert_nonnull(dir);
        return dir;
}

/* Name -> content, as libarchive reads the image back. */
static GHashTable *read_image(const char *path)
{
        GHashTable *members = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        struct archive *archive = archive_read_new();
        struct archive_entry *entry;

        archive_read_support_format_iso9660(archive);
        g_assert_cmpint(archive_read_open_filename(archive, path, 4096), ==, ARCHIVE_OK);
        while (archive_read_next_header(archive, &entry) == ARCHIVE_OK) {
                size_t len = archive_entry_size(entry);
                char *text = g_malloc0(len + 1);

                if (archive_entry_filetype(entry) == AE_IFREG) {
                        g_assert_cmpint(archive_read_data(archive, text, len), ==, len);
                        g_hash_table_insert(members, g_strdup(archive_entry_pathname(entry)), text);
                } else {
                        g_free(text);
                }
        }
        archive_read_free(archive);
        return members;
}

/* The volume identifier stands at a fixed place (ECMA-119 §8.4): what blkid and cloud-init look for. */
static char *volume_of(const char *path)
{
        g_autofree char *bytes = NULL;
        size_t len;

        g_assert_cmpint(file_read(path, 16 << 20, &bytes, &len), ==, 0);
        g_assert_cmpuint(len, >, 0x8000 + 72);
        return g_strchomp(g_strndup(bytes + 0x8000 + 40, 32));
}

static void cloud_init_image_reads_back(void)
{
        g_autofree char *dir = temporary_dir(), *path = g_build_filename(dir, "seed.iso", NULL), *volume = NULL;
        const char *user_data = "#cloud-config\nusers: []\n";
        struct seed seed = {.kind = SEED_CLOUD_INIT,
                            .instance_id = "i-1",
                            .hostname = "web-1",
                            .user_data = user_data,
                            .user_data_len = strlen(user_data),
                            .nics = nics,
                            .n_nics = 2};
        g_autoptr(GHashTable) members = NULL;
        struct stat info;

        g_assert_cmpint(seed_write(&seed, path), ==, 0);
        g_assert_cmpint(stat(path, &info), ==, 0);
        g_assert_cmpint(info.st_mode & 07777, ==, 0600);
        volume = volume_of(path);
        g_assert_cmpstr(volume, ==, "cidata");
        members = read_image(path);
        g_assert_cmpuint(g_hash_table_size(members), ==, 3);
        g_assert_cmpstr(g_hash_table_lookup(members, "user-data"), ==, user_data);
        g_assert_cmpstr(g_hash_table_lookup(members, "meta-data"), ==, "instance-id: i-1\nlocal-hostname: web-1\n");
        g_assert_nonnull(strstr(g_hash_table_lookup(members, "network-config"), "52:54:00:00:00:02"));
        /* Written anew over itself, and nothing temporary stays. */
        g_assert_cmpint(seed_write(&seed, path), ==, 0);
        g_assert_cmpint(g_unlink(path), ==, 0);
        g_assert_cmpint(g_rmdir(dir), ==, 0);
}

static void sysprep_image_holds_the_answer_file_under_both_names(void)
{
        g_autofree char *dir = temporary_dir(), *path = g_build_filename(dir, "seed.iso", NULL);
        struct seed seed = {.kind = SEED_SYSPREP, .user_data = "<unattend/>", .user_data_len = 11};
        g_autoptr(GHashTable) members = NULL;

        g_assert_cmpint(seed_write(&seed, path), ==, 0);
        members = read_image(path);
        g_assert_cmpuint(g_hash_table_size(members), ==, 2);
        g_assert_cmpstr(g_hash_table_lookup(members, "autounattend.xml"), ==, "<unattend/>");
        g_assert_cmpstr(g_hash_table_lookup(members, "unattend.xml"), ==, "<unattend/>");
        g_assert_cmpint(g_unlink(path), ==, 0);
        g_assert_cmpint(g_rmdir(dir), ==, 0);
}

/* Attacks 9 and 38: the names of the members are ours, and no text leaves its field. */
static void texts_cannot_smuggle_lines(void)
{
        static const char *const evil[] = {
                "x\nlocal-hostname: other", "x: y", "- x", "# x", "'", "\"", "x\\n", "{a: b}", "&a", "yes", "x\r\ny: z"};

        for (size_t i = 0; i < G_N_ELEMENTS(evil); i++) {
                struct seed_nic nic = {.mac = evil[i], .dhcp = true};
                struct seed seed = {
                        .kind = SEED_CLOUD_INIT, .instance_id = evil[i], .hostname = evil[i], .nics = &nic, .n_nics = 1};
                g_autofree char *meta = seed_meta_data(&seed), *network = seed_network_config(&seed);
                g_autoptr(json_doc) meta_doc = NULL, network_doc = NULL;

                g_assert_cmpint(json_parse_yaml(meta, strlen(meta), &meta_doc, NULL), ==, 0);
                g_assert_cmpuint(json_length(json_root(meta_doc)), ==, 2);
                g_assert_cmpstr(json_find_string(json_root(meta_doc), "instance-id", NULL), ==, evil[i]);
                g_assert_cmpstr(json_find_string(json_root(meta_doc), "local-hostname", NULL), ==, evil[i]);
                g_assert_cmpint(json_parse_yaml(network, strlen(network), &network_doc, NULL), ==, 0);
                g_assert_cmpstr(json_find_string(json_root(network_doc), "ethernets", "nic0", "match", "macaddress", NULL), ==,
                                evil[i]);
        }
}

static void network_config_is_version_2_by_mac(void)
{
        struct seed seed = {.nics = nics, .n_nics = 2};
        g_autofree char *text = seed_network_config(&seed);
        g_autoptr(json_doc) doc = NULL;
        g_autofree char *json = NULL;

        g_assert_cmpint(json_parse_yaml(text, strlen(text), &doc, NULL), ==, 0);
        json = json_to_text(json_root(doc));
        g_assert_cmpstr(
                json, ==,
                "{\"version\":2,\"ethernets\":{"
                "\"nic0\":{\"match\":{\"macaddress\":\"52:54:00:00:00:01\"},\"dhcp4\":true,\"mtu\":1500},"
                "\"nic1\":{\"match\":{\"macaddress\":\"52:54:00:00:00:02\"},\"dhcp4\":false,\"addresses\":[\"10.66.0.9/24\"],"
                "\"gateway4\":\"10.66.0.1\",\"nameservers\":{\"addresses\":[\"10.66.0.1\",\"192.0.2.53\"]}}}}");
}

static void failure_leaves_nothing(void)
{
        struct seed seed = {.kind = SEED_SYSPREP, .user_data = "x", .user_data_len = 1};

        g_assert_cmpint(seed_write(&seed, "/nonexistent/seed.iso"), <, 0);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/seed/E30_cloud_init_image_reads_back", cloud_init_image_reads_back);
        g_test_add_func("/seed/sysprep_image_holds_the_answer_file_under_both_names",
                        sysprep_image_holds_the_answer_file_under_both_names);
        g_test_add_func("/seed/texts_cannot_smuggle_lines", texts_cannot_smuggle_lines);
        g_test_add_func("/seed/network_config_is_version_2_by_mac", network_config_is_version_2_by_mac);
        g_test_add_func("/seed/failure_leaves_nothing", failure_leaves_nothing);
        return g_test_run();
}
