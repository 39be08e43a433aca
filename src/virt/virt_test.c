/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/census.h"
#include "virt/virt.h"

#include "base/file.h"
#include "base/limits.h"
#include "virt/domains.h"
#include "virt/guest_agent.h"
#include "virt/guest_exec.h"
#include "virt/guest_orders.h"
#include "virt/host_internal.h"
#include "virt/pool_directory.h"
#include "virt/pool_driver.h"
#include "virt/pools.h"
#include "virt/virt_internal.h"

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define UUID_A "6f9619ff-8b86-4011-b42d-00cf4fc964ff"
#define UUID_B "7f9619ff-8b86-4011-b42d-00cf4fc964ff"

/* --- libvirt's own test driver
 * ----------------------------------------------------------------------------------------------------------------- */

static struct virt *open_test(void)
{
        struct virt_options options = {.uri = "test:///default"};
        struct virt_error error = {};
        struct virt *virt = NULL;

        g_assert_cmpint(virt_open(&options, &virt, &error), ==, 0);
        return virt;
}

static char *xml_of(const char *name, const char *uuid, int64_t epoch)
{
        struct virt_disk disk = {.name = "root", .path = "/pool/root.qcow2", .format = VIRT_FORMAT_QCOW2};
        struct virt_domain d = {
                .type = VIRT_TYPE_TEST,
                .name = name,
                .uuid = uuid,
                .owner = {.machine_uid = uuid, .instance_uid = UUID_B, .generation = 1, .epoch = epoch},
                .machine_type = "pc-q35-7.2",
                .vcpus = 1,
                .sockets = 1,
                .cores_per_socket = 1,
                .cpu = {.mode = VIRT_CPU_MAXIMUM},
                .memory_mib = 64,
                .disks = &disk,
                .n_disks = 1,
        };
        struct virt_error error = {};
        char *xml = NULL;

        g_assert_cmpint(virt_domain_complete(&d, &error), ==, 0);
        g_assert_cmpint(virt_domain_to_xml(&d, &xml, &error), ==, 0);
        return xml;
}

static void define(struct virt *virt, const char *name, const char *uuid, int64_t epoch)
{
        g_autofree char *xml = xml_of(name, uuid, epoch);
        struct virt_error error = {};

        g_assert_cmpint(virt_domain_define(virt, xml, &error), ==, 0);
}

static void check_state(struct virt *virt, const char *uuid, enum virt_state state, const char *reason)
{
        struct virt_domain_entry entry = {};
        struct virt_error error = {};

        g_assert_cmpint(virt_domain_get(virt, uuid, &entry, &error), ==, 0);
        g_assert_cmpstr(virt_state_to_text(entry.state), ==, virt_state_to_text(state));
        g_assert_cmpstr(entry.reason, ==, reason);
        g_assert_cmpint(entry.active, ==, entry.id != -1);
        virt_domain_entry_clear(&entry);
}

static void a_domain_lives_and_ends(void)
{
        g_autoptr(virt) virt = open_test();
        struct virt_error error = {};

        define(virt, "life", UUID_A, 1);
        check_state(virt, UUID_A, VIRT_STATE_DEFINED, "");
        g_assert_cmpint(virt_domain_start(virt, UUID_A, true, &error), ==, 0);
        check_state(virt, UUID_A, VIRT_STATE_PAUSED, "Paused");
        g_assert_cmpint(virt_domain_resume(virt, UUID_A, &error), ==, 0);
        check_state(virt, UUID_A, VIRT_STATE_RUNNING, "");
        g_assert_cmpint(virt_domain_start(virt, UUID_A, false, &error), ==, VIRT_E_STATE);
        g_assert_cmpint(virt_domain_suspend(virt, UUID_A, &error), ==, 0);
        g_assert_cmpint(virt_domain_resume(virt, UUID_A, &error), ==, 0);
        g_assert_cmpint(virt_domain_shutdown(virt, UUID_A, VIRT_SHUTDOWN_ACPI, &error), ==, 0);
        check_state(virt, UUID_A, VIRT_STATE_SHUTOFF, "GuestShutdown");
        g_assert_cmpint(virt_domain_shutdown(virt, UUID_A, VIRT_SHUTDOWN_ACPI, &error), ==, VIRT_E_STATE);
        g_assert_cmpint(virt_domain_start(virt, UUID_A, false, &error), ==, 0);
        g_assert_cmpint(virt_domain_destroy(virt, UUID_A, &error), ==, 0);
        check_state(virt, UUID_A, VIRT_STATE_SHUTOFF, "Destroyed");
        g_assert_cmpint(virt_domain_destroy(virt, UUID_A, &error), ==, 0);
        g_assert_cmpint(virt_domain_undefine(virt, UUID_A, &error), ==, 0);
        g_assert_cmpint(virt_domain_undefine(virt, UUID_A, &error), ==, 0);
        g_assert_cmpint(virt_domain_resume(virt, UUID_A, &error), ==, VIRT_E_MISSING);
        g_assert_cmpint(error.code, ==, VIR_ERR_NO_DOMAIN);
        g_assert_cmpint(strlen(error.words), >, 5);
}

static void check_file_user(struct virt *virt, const char *path, const char *expected)
{
        struct virt_error error = {};
        g_autofree char *name = NULL;

        g_assert_cmpint(virt_file_user(virt, path, &name, &error), ==, 0);
        g_assert_cmpstr(name, ==, expected);
}

static void the_user_of_a_file_is_the_domain_that_runs_with_it(void)
{
        g_autoptr(virt) virt = open_test();
        struct virt_error error = {};

        define(virt, "user", UUID_A, 1);
        check_file_user(virt, "/pool/root.qcow2", NULL);
        g_assert_cmpint(virt_domain_start(virt, UUID_A, true, &error), ==, 0);
        check_file_user(virt, "/pool/root.qcow2", "user");
        check_file_user(virt, "/other/root.qcow2", NULL);
        check_file_user(virt, "/pool/root", NULL);
        g_assert_cmpint(virt_domain_destroy(virt, UUID_A, &error), ==, 0);
        check_file_user(virt, "/pool/root.qcow2", NULL);
        g_assert_cmpint(virt_domain_undefine(virt, UUID_A, &error), ==, 0);
}

static void only_our_domains_are_listed_and_touched(void)
{
        static const char foreign[] = "6695eb01-f6a4-8304-79aa-97f2502e193f"; /* the test driver's own domain */
        g_autofree char *taken = xml_of("test", UUID_A, 1), *same_uuid = xml_of("other", foreign, 1);
        struct virt_domain_entry *entries = NULL;
        g_autoptr(virt) virt = open_test();
        struct virt_error error = {};
        size_t n = 0;

        define(virt, "b", UUID_B, 1);
        define(virt, "a", UUID_A, 5);
        g_assert_cmpint(virt_domains_list(virt, &entries, &n, &error), ==, 0);
        g_assert_cmpuint(n, ==, 2);
        g_assert_cmpstr(entries[0].uuid, ==, UUID_A);
        g_assert_cmpstr(entries[0].name, ==, "a");
        g_assert_cmpstr(entries[0].machine_uid, ==, UUID_A);
        g_assert_cmpint(entries[0].epoch, ==, 5);
        g_assert_true(entries[0].persistent);
        virt_domains_list_free(entries, n);

        g_assert_cmpint(virt_domain_destroy(virt, foreign, &error), ==, VIRT_E_MISSING);
        g_assert_cmpint(virt_domain_undefine(virt, foreign, &error), ==, 0); /* a missing domain is fine, and nothing was done */
        g_assert_cmpint(virt_domain_define(virt, taken, &error), ==, VIRT_E_EXISTS);
        g_assert_cmpstr(error.reason, ==, "DomainNameTaken");
        g_assert_cmpint(virt_domain_define(virt, same_uuid, &error), ==, VIRT_E_EXISTS);
        g_assert_cmpint(virt_domain_define(virt, "<domain><name>x</name><uuid>" UUID_A "</uuid></domain>", &error), ==,
                        VIRT_E_INVALID);
        g_assert_cmpint(virt_domain_undefine(virt, UUID_A, &error), ==, 0);
        g_assert_cmpint(virt_domain_undefine(virt, UUID_B, &error), ==, 0);
}

static void metadata_changes_without_a_new_definition(void)
{
        struct virt_owner owner = {.machine_uid = UUID_A, .instance_uid = "\"/><evil/>", .generation = 9, .epoch = 8, .order = 3};
        g_autoptr(virt_facts) facts = NULL;
        g_autoptr(virt) virt = open_test();
        struct virt_domain_entry entry = {};
        struct virt_error error = {};

        define(virt, "meta", UUID_A, 1);
        g_assert_cmpint(virt_domain_start(virt, UUID_A, false, &error), ==, 0);
        g_assert_cmpint(virt_domain_set_owner(virt, UUID_A, &owner, &error), ==, 0);
        g_assert_cmpint(virt_domain_get(virt, UUID_A, &entry, &error), ==, 0);
        g_assert_cmpstr(entry.instance_uid, ==, owner.instance_uid);
        g_assert_cmpint(entry.generation, ==, 9);
        g_assert_cmpint(entry.epoch, ==, 8);
        g_assert_cmpint(entry.order, ==, 3);
        virt_domain_entry_clear(&entry);
        g_assert_cmpint(virt_domain_facts(virt, UUID_A, false, &facts, &error), ==, 0);
        g_assert_cmpint(facts->domain.owner.epoch, ==, 8);
        g_assert_cmpint(facts->domain.owner.order, ==, 3);
        for (int resetting = 1; resetting >= -1; resetting--) { /* set, left, taken back */
                owner.resetting = resetting;
                g_assert_cmpint(virt_domain_set_owner(virt, UUID_A, &owner, &error), ==, 0);
                g_assert_cmpint(virt_domain_get(virt, UUID_A, &entry, &error), ==, 0);
                g_assert_cmpint(entry.resetting, ==, resetting >= 0);
                virt_domain_entry_clear(&entry);
        }
        g_assert_cmpuint(facts->domain.n_disks, ==, 1);
        g_assert_cmpstr(facts->domain.disks[0].name, ==, "root"); /* the names of devices stay */
        g_assert_cmpint(virt_domain_destroy(virt, UUID_A, &error), ==, 0);
        g_assert_cmpint(virt_domain_undefine(virt, UUID_A, &error), ==, 0);
}

struct seen {
        GMutex lock;
        GCond changed;
        unsigned count[VIRT_EVENT_COUNT];
        char uuid[37];
};

static void on_event(enum virt_event event, const char *uuid, void *userdata)
{
        struct seen *seen = userdata;

        g_mutex_lock(&seen->lock);
        seen->count[event]++;
        g_strlcpy(seen->uuid, uuid ? uuid : "", sizeof(seen->uuid));
        g_cond_signal(&seen->changed);
        g_mutex_unlock(&seen->lock);
}

static void wait_event(struct seen *seen, enum virt_event event, unsigned at_least)
{
        gint64 deadline = g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND;
        bool in_time = true;

        g_mutex_lock(&seen->lock);
        while (seen->count[event] < at_least && in_time)
                in_time = g_cond_wait_until(&seen->changed, &seen->lock, deadline);
        g_assert_cmpuint(seen->count[event], >=, at_least);
        g_mutex_unlock(&seen->lock);
}

static void events_carry_keys(void)
{
        g_autoptr(virt) virt = open_test();
        struct virt_error error = {};
        struct seen seen = {};

        g_assert_cmpint(virt_events_start(virt, on_event, &seen, &error), ==, 0);
        define(virt, "event", UUID_A, 1);
        wait_event(&seen, VIRT_EVENT_LIFECYCLE, 1);
        g_assert_cmpstr(seen.uuid, ==, UUID_A);
        g_assert_cmpint(virt_domain_start(virt, UUID_A, false, &error), ==, 0);
        g_assert_cmpint(virt_domain_destroy(virt, UUID_A, &error), ==, 0);
        wait_event(&seen, VIRT_EVENT_LIFECYCLE, 3);
        g_assert_cmpint(virt_probe(virt, VIRT_QUERIES, 5000000, &error), ==, VIRT_HEALTHY);
        g_assert_cmpint(virt_reconnect(virt, &error), ==, 0);
        g_assert_cmpint(virt_domain_undefine(virt, UUID_A, &error), ==, 0);
        wait_event(&seen, VIRT_EVENT_LIFECYCLE, 4);
}

static void an_absent_daemon_is_unreachable(void)
{
        struct virt_options options = {.uri = "qemu+unix:///system?socket=/nowhere/libvirt-sock"};
        struct virt_error error = {};
        struct virt *virt = NULL;

        g_assert_cmpint(virt_open(&options, &virt, &error), ==, VIRT_E_UNREACHABLE);
        g_assert_cmpstr(error.reason, ==, "LibvirtUnreachable");
        g_assert_null(virt);
}

static void words_are_one_clean_line(void)
{
        struct virt_error error;
        g_autofree char *longer = g_strnfill(VIRT_ERROR_WORDS_MAX * 2, 'a');

        virt_words_set(&error, "a\n\n b\x01\x02\xff\xc3\xa4\n");
        g_assert_cmpstr(error.words, ==, "a b \xef\xbf\xbd\xc3\xa4");
        memcpy(longer + VIRT_ERROR_WORDS_MAX - 2, "\xc3\xa4", 2);
        virt_words_set(&error, longer);
        g_assert_cmpuint(strlen(error.words), ==, VIRT_ERROR_WORDS_MAX - 2); /* the character does not fit whole */
}

/* --- pools and volumes
 * ----------------------------------------------------------------------------------------------------------------------------- */

static void pool_paths_of_the_system_are_refused(void)
{
        static const struct {
                const char *path;
                bool create;
                int r;
                const char *reason;
        } rows[] = {
                {"/", false, VIRT_E_INVALID, "PoolPathForbidden"},
                {"", false, VIRT_E_INVALID, "PoolPathForbidden"},
                {"relative/path", false, VIRT_E_INVALID, "PoolPathForbidden"},
                {"/tmp/../etc", false, VIRT_E_INVALID, "PoolPathForbidden"},
                {"/tmp/./x", false, VIRT_E_INVALID, "PoolPathForbidden"},
                {"/tmp//x", false, VIRT_E_INVALID, "PoolPathForbidden"},
                {"/tmp/x/", false, VIRT_E_INVALID, "PoolPathForbidden"},
                {"/tmp/a\nb", false, VIRT_E_INVALID, "PoolPathForbidden"},
                {"/etc", false, VIRT_E_INVALID, "PoolPathForbidden"},
                {"/etc/libvirt", true, VIRT_E_INVALID, "PoolPathForbidden"},
                {"/proc/self", false, VIRT_E_INVALID, "PoolPathForbidden"},
                {"/var", false, VIRT_E_INVALID, "PoolPathForbidden"},
                {"/var/log/x", true, VIRT_E_INVALID, "PoolPathForbidden"},
                {"/tmp", false, VIRT_E_INVALID, "PoolPathForbidden"},
                {"/etcetera-that-is-not-there", false, VIRT_E_MISSING, "PoolPathMissing"},
                {"/no-such-parent/pool", true, VIRT_E_MISSING, "PoolPathMissing"},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                struct virt_error error = {};

                g_assert_cmpint(pool_directory_check_path(rows[i].path, rows[i].create, &error), ==, rows[i].r);
                g_test_message("%s", error.words);
                g_assert_cmpstr(error.reason, ==, rows[i].reason);
        }
}

static void pool_paths_over_links_are_refused(void)
{
        g_autofree char *folder = g_dir_make_tmp("gabbro-XXXXXX", NULL);
        g_autofree char *link = g_build_filename(folder, "link", NULL), *file = g_build_filename(folder, "file", NULL);
        g_autofree char *below = g_build_filename(link, "pool", NULL);
        struct virt_error error = {};

        g_assert_cmpint(symlink("/etc", link), ==, 0);
        g_assert_true(g_file_set_contents(file, "", 0, NULL));
        g_assert_cmpint(pool_directory_check_path(folder, false, &error), ==, 0);
        g_assert_cmpint(pool_directory_check_path(link, false, &error), ==, VIRT_E_INVALID);
        g_assert_cmpint(pool_directory_check_path(below, true, &error), ==, VIRT_E_INVALID);
        g_assert_cmpint(pool_directory_check_path(file, false, &error), ==, VIRT_E_INVALID);
        g_assert_cmpint(file_remove_tree(folder), ==, 0);
}

/* C11, C17, C24, C29 on the test driver, which keeps volumes in memory. */
static void pools_and_volumes_are_made_once(void)
{
        g_autofree char *folder = g_dir_make_tmp("gabbro-XXXXXX", NULL);
        g_autofree char *path = g_build_filename(folder, "pool", NULL), *elsewhere = g_build_filename(folder, "pool2", NULL);
        struct virt_pool_options options = {.name = "local", .path = path};
        struct virt_volume_options disk = {
                .pool = "local", .name = "web-main.qcow2", .format = VIRT_FORMAT_QCOW2, .capacity_bytes = 1000001};
        g_autoptr(virt) virt = open_test();
        struct virt_volume volume = {};
        struct virt_pool_info info = {};
        struct virt_error error = {};

        g_assert_cmpint(virt_pool_ensure(virt, &options, &error), ==, VIRT_E_MISSING);
        g_assert_cmpstr(error.reason, ==, "PoolPathMissing");
        options.create = true;
        g_assert_cmpint(virt_pool_ensure(virt, &options, &error), ==, 0);
        g_assert_cmpint(virt_pool_ensure(virt, &options, &error), ==, 0);
        g_assert_true(g_file_test(path, G_FILE_TEST_IS_DIR));
        options.path = elsewhere;
        g_assert_cmpint(virt_pool_ensure(virt, &options, &error), ==, VIRT_E_EXISTS);
        g_assert_cmpint(virt_pool_info(virt, "local", &info, &error), ==, 0);
        g_assert_cmpstr(info.path, ==, path);
        virt_pool_info_clear(&info);
        g_assert_cmpint(virt_pool_info(virt, "absent", &info, &error), ==, VIRT_E_MISSING);

        g_assert_cmpint(virt_volume_create(virt, &disk, &volume, &error), ==, 0);
        g_assert_true(g_str_has_suffix(volume.path, "/pool/web-main.qcow2"));
        g_assert_cmpuint(volume.capacity_bytes, ==, 1000448);
        virt_volume_clear(&volume);
        g_assert_cmpint(virt_volume_create(virt, &disk, &volume, &error), ==, VIRT_E_EXISTS);
        g_assert_cmpstr(error.reason, ==, "VolumeExists");
        g_assert_cmpint(virt_volume_get(virt, "local", "web-main.qcow2", &volume, &error), ==, 0);
        virt_volume_clear(&volume);
        g_assert_cmpint(virt_volume_grow(virt, "local", "web-main.qcow2", VIRT_FORMAT_QCOW2, 512, &error), ==, VIRT_E_INVALID);
        g_assert_cmpint(virt_volume_delete(virt, "local", "web-main.qcow2", &error), ==, 0);
        g_assert_cmpint(virt_volume_delete(virt, "local", "web-main.qcow2", &error), ==, 0);
        g_assert_cmpint(virt_volume_get(virt, "local", "web-main.qcow2", &volume, &error), ==, VIRT_E_MISSING);
        g_assert_cmpint(virt_pool_remove(virt, "local", &error), ==, 0);
        g_assert_cmpint(virt_pool_remove(virt, "local", &error), ==, 0);
        g_assert_cmpint(file_remove_tree(folder), ==, 0);
}

/* A57, B11, B13: what the matrix says of a type is what its row does. */
static void every_type_of_the_matrix_has_a_row_and_those_without_a_driver_are_refused_by_it(void)
{
        g_autoptr(virt) virt = open_test();

        for (const struct capability_pool *pool = capability_pools; pool->type; pool++) {
                struct virt_pool_options options = {.name = "other", .type = pool->type, .path = "/no-such-parent/pool"};
                struct virt_error error = {}, refused = {};
                const struct pool_driver *driver = NULL;

                g_assert_cmpint(pool_driver_find(virt, pool->type, CAPABILITY_CREATE, &driver, &error), ==,
                                pool->available ? 0 : VIRT_E_INVALID);
                g_assert_true(!driver == !pool->available);
                g_assert_cmpint(virt_pool_ensure(virt, &options, &refused), ==, pool->available ? VIRT_E_MISSING : VIRT_E_INVALID);
                g_assert_cmpstr(refused.reason, ==, pool->available ? "PoolPathMissing" : pool->rules[CAPABILITY_CREATE][0].code);
                if (pool->available)
                        continue;
                g_assert_nonnull(strstr(refused.words, pool->type));
                g_assert_cmpint(pool_driver_find(virt, pool->type, CAPABILITY_MIGRATE_SHARED, &driver, &error), ==, VIRT_E_INVALID);
                g_assert_cmpstr(error.reason, ==, pool->rules[CAPABILITY_MIGRATE_SHARED][0].code);
        }
        g_assert_null(pool_driver_of_libvirt(virt, "logical"));
        g_assert_nonnull(pool_driver_of_libvirt(virt, "dir"));
}

static void volume_names_that_could_escape_are_refused(void)
{
        static const char *const names[] = {"", ".", "..", "../x", "a/b", ".hidden", "-rf", "a b", "a\nb", "\xc3\xa4"};
        g_autoptr(virt) virt = open_test();

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                struct virt_volume_options options = {.pool = "default-pool", .name = names[i], .capacity_bytes = 512};
                struct virt_volume volume = {};
                struct virt_error error = {};

                g_assert_cmpint(virt_volume_create(virt, &options, &volume, &error), ==, VIRT_E_INVALID);
        }
}

/* --- the guest agent's answers (attack 23)
 * --------------------------------------------------------------------------------------------------- */

static void guest_facts_are_bounded_and_clean(void)
{
        static const char *const replies[] = {"null",       "[]",    "{}",
                                              "{\"id\":5}", "\"x\"", "[1,{\"ip-addresses\":3},{\"ip-addresses\":[1,{}]}]"};
        g_autofree char *huge = g_strnfill(100000, 'h');
        g_autofree char *text = g_strdup_printf("{\"id\":\"debian\",\"name\":\"<b>evil\\n\\u001b[31m\",\"version\":\"%s\"}", huge);
        g_autoptr(json_doc) doc = NULL;
        struct guest_addresses addresses;
        struct guest_os os;

        g_assert_cmpint(json_parse(text, strlen(text), &doc, NULL), ==, 0);
        guest_os_parse(json_root(doc), &os);
        g_assert_cmpstr(os.id, ==, "debian");
        g_assert_cmpstr(os.name, ==, "<b>evil [31m");
        g_assert_cmpuint(strlen(os.version), ==, 256);
        g_assert_cmpstr(os.pretty_name, ==, "");
        guest_os_clear(&os);
        for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
                g_autoptr(json_doc) odd = NULL;

                g_assert_cmpint(json_parse(replies[i], strlen(replies[i]), &odd, NULL), ==, 0);
                guest_os_parse(json_root(odd), &os);
                guest_os_clear(&os);
                guest_addresses_parse(json_root(odd), &addresses);
                g_assert_cmpuint(addresses.n, ==, 0);
        }
}

static void guest_addresses_are_canonical_and_useful_ones(void)
{
        static const char reply[] =
                "[{\"name\":\"lo\",\"ip-addresses\":[{\"ip-address\":\"127.0.0.1\",\"prefix\":8},{\"ip-address\":\"::1\","
                "\"prefix\":128}]},"
                "{\"name\":\"eth0\",\"hardware-address\":\"52:54:00:AA:bb:01\",\"ip-addresses\":["
                "{\"ip-address\":\"10.0.0.5\",\"prefix\":24},{\"ip-address\":\"fe80::1\",\"prefix\":64},"
                "{\"ip-address\":\"2001:DB8:0::5\",\"prefix\":64},{\"ip-address\":\"169.254.1.1\"},{\"ip-address\":\"<script>\"},"
                "{\"ip-address\":\"10.0.0.6\",\"prefix\":999}]},"
                "{\"name\":\"x\",\"hardware-address\":\"evil\",\"ip-addresses\":[{\"ip-address\":\"10.0.0.7\",\"prefix\":24}]}]";
        g_autoptr(json_doc) doc = NULL;
        struct guest_addresses addresses;

        g_assert_cmpint(json_parse(reply, strlen(reply), &doc, NULL), ==, 0);
        guest_addresses_parse(json_root(doc), &addresses);
        g_assert_cmpuint(addresses.n, ==, 4);
        g_assert_cmpstr(addresses.items[0].text, ==, "10.0.0.5");
        g_assert_cmpstr(addresses.items[0].mac, ==, "52:54:00:aa:bb:01");
        g_assert_cmpuint(addresses.items[0].prefix_length, ==, 24);
        g_assert_cmpstr(addresses.items[1].text, ==, "2001:db8::5");
        g_assert_cmpuint(addresses.items[2].prefix_length, ==, 0);
        g_assert_cmpstr(addresses.items[3].mac, ==, "");
}

static void endless_lists_of_addresses_end(void)
{
        g_autoptr(GString) text = g_string_new("[{\"ip-addresses\":[");
        g_autoptr(json_doc) doc = NULL;
        struct guest_addresses addresses;

        for (unsigned i = 0; i < 5000; i++)
                g_string_append_printf(text, "%s{\"ip-address\":\"10.1.%u.%u\"}", i ? "," : "", i / 250, i % 250 + 1);
        g_string_append(text, "]}]");
        g_assert_cmpint(json_parse(text->str, text->len, &doc, NULL), ==, 0);
        guest_addresses_parse(json_root(doc), &addresses);
        g_assert_cmpuint(addresses.n, ==, GUEST_ADDRESSES_MAX);
}

/* --- the host
 * -----------------------------------------------------------------------------------------------------------------------------------------
 */

static void capabilities_are_read_for_one_type(void)
{
        static const char xml[] =
                "<domainCapabilities><path>/usr/bin/qemu-system-x86_64</path><domain>qemu</domain><machine>pc-q35-7.2</machine>"
                "<vcpu max='288'/><cpu><mode name='host-passthrough' supported='no'/>"
                "<mode name='host-model' supported='yes'><model fallback='forbid'>EPYC</model><vendor>AMD</vendor>"
                "<feature policy='require' name='acpi'/><feature policy='disable' name='vme'/></mode>"
                "<mode name='custom' supported='yes'><model usable='yes' vendor='unknown'>qemu64</model>"
                "<model usable='no' vendor='AMD'>phenom</model></mode></cpu></domainCapabilities>";
        struct host_facts facts = {.arena = arena_new(0)};
        struct virt_error error = {};

        g_assert_cmpint(host_capabilities_parse(xml, &facts, &error), ==, 0);
        g_assert_cmpstr(facts.machine_type, ==, "pc-q35-7.2");
        g_assert_cmpuint(facts.max_vcpus, ==, 288);
        g_assert_false(facts.passthrough);
        g_assert_cmpuint(facts.n_models, ==, 2);
        g_assert_true(facts.models[0].usable);
        g_assert_cmpstr(facts.models[1].name, ==, "phenom");
        g_assert_false(facts.models[1].usable);
        g_assert_cmpstr(facts.host_model.model, ==, "EPYC");
        g_assert_cmpuint(facts.host_model.n_features, ==, 2);
        g_assert_cmpstr(facts.host_model.features[1].policy, ==, "disable");
        g_assert_cmpint(host_capabilities_parse("<x/>", &facts, &error), ==, VIRT_E_FAILED);
        host_facts_clear(&facts);
}

static void the_cpu_controller_is_found(void)
{
        g_assert_cmpuint(host_cgroup_version("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"), ==, 1);
        g_assert_cmpuint(host_cgroup_version("cgroup /x cgroup rw,cpuset 0 0\ncgroup /y cgroup rw,cpu,cpuacct 0 0\n"), ==, 1);
        g_assert_cmpuint(host_cgroup_version("cgroup /x cgroup rw,cpuacct 0 0\n"), ==, 0);
        g_assert_cmpuint(host_cgroup_version("cgroup2 /nowhere cgroup2 rw 0 0\n"), ==, 0);
        g_assert_cmpuint(host_cgroup_version(""), ==, 0);
}

static void firmware_is_chosen_by_its_descriptor(void)
{
        static const char format[] =
                "{\"interface-types\":[\"uefi\"],\"mapping\":{\"device\":\"flash\",\"executable\":{\"filename\":\"%s/code\"},"
                "\"nvram-template\":{\"filename\":\"%s/"
                "vars\"}},\"targets\":[{\"architecture\":\"x86_64\",\"machines\":[\"pc-q35-*\"]}],"
                "\"features\":[%s]}";
        static const char *const features[] = {"\"secure-boot\",\"requires-smm\"",
                                               "\"secure-boot\",\"requires-smm\",\"enrolled-keys\"", ""};
        g_autofree char *folder = g_dir_make_tmp("gabbro-XXXXXX", NULL);
        struct host_facts facts = {.arena = arena_new(0)};
        struct virt_error error = {};
        struct virt_domain d = {};

        host_firmware_read("/nowhere", &facts);
        g_assert_cmpint(virt_firmware_choose(&facts, VIRT_FIRMWARE_EFI, &d, &error), ==, VIRT_E_INVALID);
        g_assert_cmpstr(error.reason, ==, "FirmwareNotAvailable");
        for (size_t i = 0; i < G_N_ELEMENTS(features); i++) {
                g_autofree char *sub = g_strdup_printf("%s/%zu", folder, i), *json = g_strdup_printf(format, sub, sub, features[i]);
                g_autofree char *code = g_build_filename(sub, "code", NULL), *vars = g_build_filename(sub, "vars", NULL);
                g_autofree char *descriptor = g_strdup_printf("%s/%zu.json", folder, i);

                g_assert_cmpint(g_mkdir(sub, 0700), ==, 0);
                g_assert_true(g_file_set_contents(code, "", 0, NULL) && g_file_set_contents(vars, "", 0, NULL));
                g_assert_true(g_file_set_contents(descriptor, json, -1, NULL));
        }
        host_firmware_read(folder, &facts);
        g_assert_cmpint(virt_firmware_choose(&facts, VIRT_FIRMWARE_EFI, &d, &error), ==, 0);
        g_assert_true(g_str_has_suffix(d.loader, "/2/code"));
        g_assert_cmpint(virt_firmware_choose(&facts, VIRT_FIRMWARE_EFI_SECURE, &d, &error), ==, 0);
        g_assert_true(g_str_has_suffix(d.nvram_template, "/1/vars"));
        g_assert_cmpint(virt_firmware_choose(&facts, VIRT_FIRMWARE_BIOS, &d, &error), ==, 0);
        g_assert_null(d.loader);
        host_facts_clear(&facts);
        g_assert_cmpint(file_remove_tree(folder), ==, 0);
}

static void the_test_host_has_facts(void)
{
        g_autoptr(virt) virt = open_test();
        struct host_facts facts = {};
        struct virt_error error = {};

        g_assert_cmpint(host_facts_read(virt, VIRT_TYPE_TEST, &facts, &error), ==, 0);
        g_assert_cmpuint(facts.cpus, >, 0);
        g_assert_cmpuint(facts.memory_bytes, >, 1 << 20);
        g_assert_cmpstr(facts.machine_type, ==, "pc-q35-7.2");
        g_assert_cmpint(strlen(facts.kernel), >, 2);
        host_facts_clear(&facts);
        g_assert_cmpuint(host_memory_available(), >, 1 << 20);
}

/* C38 */
static void a_diagnosis_names_what_is_missing(void)
{
        struct virt_disk disk = {.name = "root", .path = "/nowhere/disk.qcow2"};
        struct virt_nic nic = {.name = "p", .bridge = "gbnone0"};
        struct virt_domain d = {
                .type = VIRT_TYPE_QEMU, .memory_mib = 1ull << 40, .disks = &disk, .n_disks = 1, .nics = &nic, .n_nics = 1};
        const char *reason = NULL;
        g_autofree char *words = virt_start_diagnosis(&d, NULL, &reason), *none = NULL;

        g_assert_nonnull(strstr(words, "memory left"));
        g_assert_nonnull(strstr(words, "disk /nowhere/disk.qcow2"));
        g_assert_nonnull(strstr(words, "bridge gbnone0 does not exist"));
        g_assert_cmpstr(reason, ==, "VolumeMissing");
        none = virt_start_diagnosis(&(struct virt_domain){.type = VIRT_TYPE_QEMU, .memory_mib = 1}, NULL, &reason);
        g_assert_null(none);
        g_assert_cmpstr(reason, ==, "StartFailed");
}

/* C38: what QEMU and libvirt of Debian 12 say, and what it means; their words count more than what may be. */
static void what_was_said_of_a_failed_start_has_a_reason(void)
{
        static const struct {
                const char *words, *reason;
        } cases[] = {
                {"internal error: process exited while connecting to monitor: qemu-system-x86_64: -device virtio-blk-pci,…: Failed "
                 "to "
                 "get \"write\" lock Is another process using the image [/p/x.qcow2]?",
                 "DiskInUse"},
                {"qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory", "InsufficientMemory"},
                {"the CPU is incompatible with host CPU: Host CPU does not provide required features: avx512f",
                 "CpuModelNotSupported"},
                {"unsupported configuration: guest CPU doesn't match specification: extra features: none", "StartFailed"},
                {"-blockdev …: Could not open backing file: Could not open '/p/base': No such file or directory", "VolumeMissing"},
                {"-blockdev …: Image is not in qcow2 format", "VolumeFailed"},
                {"unable to write to '/var/lib/x': No space left on device", "PoolFull"},
        };
        struct virt_nic nic = {.name = "p", .bridge = "gbnone0"};
        struct virt_domain plain = {.type = VIRT_TYPE_QEMU, .memory_mib = 1}, bridged = plain;

        bridged.nics = &nic;
        bridged.n_nics = 1;
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                const char *reason = NULL;
                g_autofree char *words = virt_start_diagnosis(&plain, cases[i].words, &reason);

                g_assert_cmpstr(reason, ==, cases[i].reason);
                g_assert_null(words);
                words = virt_start_diagnosis(&bridged, cases[i].words, &reason);
                g_assert_cmpstr(reason, ==, strcmp(cases[i].reason, "StartFailed") == 0 ? "BridgeMissing" : cases[i].reason);
        }
}

/* C38: locks of open files name nobody, so the process is found by the file. */
static void whoever_has_a_disk_open_is_named(void)
{
        g_autofree char *path = g_build_filename(g_get_tmp_dir(), "gabbro-held-XXXXXX", NULL), *words = NULL, *process = NULL;
        int fd = g_mkstemp(path), ends[2], status;
        struct virt_disk disk = {.name = "root", .path = path};
        struct virt_domain d = {.type = VIRT_TYPE_QEMU, .memory_mib = 1, .disks = &disk, .n_disks = 1};
        const char *reason = NULL;
        pid_t child;
        char byte;

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(pipe(ends), ==, 0);
        child = fork();
        if (child == 0) {
                close(ends[1]);
                _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1); /* has it open until we end the pipe */
        }
        close(ends[0]);
        words = virt_start_diagnosis(&d, "Failed to get \"write\" lock", &reason);
        process = g_strdup_printf("disk %s is open in process %d (", path, (int)child);
        g_test_message("%s", words);
        g_assert_nonnull(strstr(words, process));
        g_assert_cmpstr(reason, ==, "DiskInUse");
        close(ends[1]);
        g_assert_cmpint(waitpid(child, &status, 0), ==, child);
        g_assert_cmpint(status, ==, 0);
        close(fd);
        unlink(path);
}

static void names_of_states_and_events_go_both_ways(void)
{
        for (enum virt_state s = 0; s < VIRT_STATE_COUNT; s++) {
                enum virt_state back;

                g_assert_cmpint(virt_state_from_text(virt_state_to_text(s), &back), ==, 0);
                g_assert_cmpint(back, ==, s);
        }
        for (enum virt_event e = 0; e < VIRT_EVENT_COUNT; e++) {
                enum virt_event back;

                g_assert_cmpint(virt_event_from_text(virt_event_to_text(e), &back), ==, 0);
                g_assert_cmpint(back, ==, e);
        }
}

/* --- answers of the guest agent
 * ------------------------------------------------------------------------------------------------------------------------- */

static char *repeated(const char *head, const char *again, unsigned n, const char *tail)
{
        GString *text = g_string_new(head);

        for (unsigned i = 0; i < n; i++)
                g_string_append(text, again);
        g_string_append(text, tail);
        return g_string_free(text, FALSE);
}

/* Attack 23: what a guest says is bounded in length, depth and shape, whatever it says. */
static void hostile_answers_of_guests_are_refused_or_cut(void)
{
        g_autofree char *deep = repeated("{\"return\":", "[", 100000, ""), *wide = repeated("{\"return\":[0", ",0", 300000, "]}");
        g_autofree char *too_long = repeated("{\"return\":{\"id\":\"", "x", 2000000, "\"}}");
        g_autofree char *fits = repeated("{\"return\":{\"id\":\"", "x", 900000, "\"}}");
        const char *const taken[] = {"{\"return\":{}}", "{\"return\":7}", "{\"return\":null}", fits};
        const char *const refused[] = {
                "",   "{}", "[]",    "7", "{\"return\":{}", "{\"error\":{}}", "\xff\xfe", "{\"return\":NaN}", "{\"return\":{}}x",
                deep, wide, too_long};

        for (size_t i = 0; i < G_N_ELEMENTS(taken); i++) {
                g_autoptr(json_doc) reply = NULL;
                struct guest_os os = {};

                g_assert_cmpint(guest_agent_reply_parse(taken[i], &reply, NULL), ==, 0);
                guest_os_parse(json_root(reply), &os);
                g_assert_cmpuint(strlen(os.id), <=, 256);
                guest_os_clear(&os);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
                struct virt_error error = {};
                struct json_doc *reply = NULL;

                g_assert_cmpint(guest_agent_reply_parse(refused[i], &reply, &error), ==, VIRT_E_FAILED);
                g_assert_null(reply);
                g_assert_cmpstr(error.reason, ==, "AgentNotReady");
        }
}

/* A line that never ends is read up to its bound and no byte further: behind that there is nothing here. */
static void an_answer_is_read_no_further_than_its_bound(void)
{
        const size_t size = LIMIT_GUEST_AGENT_REPLY_BYTES + 1, page = 65536, mapped = (size + page - 1) / page * page;
        char *pages = mmap(NULL, mapped + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct virt_error error = {};
        struct json_doc *reply = NULL;

        g_assert_true(pages != MAP_FAILED);
        g_assert_cmpint(mprotect(pages + mapped, page, PROT_NONE), ==, 0);
        memset(pages + mapped - size, ' ', size);
        g_assert_cmpint(guest_agent_reply_parse(pages + mapped - size, &reply, &error), ==, VIRT_E_FAILED);
        munmap(pages, mapped + page);
}

/* D60: what became of a command in a guest, as an honest agent and others tell it. */
static void the_end_of_a_command_is_read_or_refused(void)
{
        g_autofree char *flood = g_malloc0(2 * LIMIT_GUEST_EXEC_OUTPUT_BYTES + 1);
        static const struct {
                const char *reply;
                int outcome;
                bool exited, cut;
                int exit_code;
                const char *output;
        } cases[] = {
                {"{\"exited\":false}", 0, false, false, 0, NULL},
                {"{\"exited\":true,\"exitcode\":0,\"out-data\":\"aGk=\"}", 0, true, false, 0, "hi"},
                {"{\"exited\":true,\"exitcode\":7}", 0, true, false, 7, ""},
                {"{\"exited\":true,\"signal\":9,\"out-truncated\":true}", 0, true, true, 137, ""},
                {"{\"exited\":true,\"exitcode\":-4294967295}", 0, true, false, 1, ""},
                {"{\"exited\":true,\"exitcode\":0,\"out-data\":[7]}", 0, true, false, 0, ""},
                {"{\"exited\":true,\"exitcode\":0,\"out-data\":\"%%%\"}", 0, true, false, 0, ""},
                {"{\"exited\":true}", VIRT_E_FAILED, false, false, 0, NULL},
                {"{\"exited\":true,\"exitcode\":99999999999999999999}", VIRT_E_FAILED, false, false, 0, NULL},
                {"{\"exited\":\"yes\"}", VIRT_E_FAILED, false, false, 0, NULL},
                {"[]", VIRT_E_FAILED, false, false, 0, NULL},
                {"7", VIRT_E_FAILED, false, false, 0, NULL},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) doc = NULL;
                struct guest_exec_result result = {};
                struct virt_error error = {};

                g_assert_cmpint(json_parse(cases[i].reply, strlen(cases[i].reply), &doc, NULL), ==, 0);
                g_assert_cmpint(guest_exec_result_parse(json_root(doc), &result, &error), ==, cases[i].outcome);
                g_assert_true(result.exited == cases[i].exited && result.output_cut == cases[i].cut);
                g_assert_cmpint(result.exit_code, ==, cases[i].exit_code);
                if (cases[i].output)
                        g_assert_cmpmem(result.output->data, result.output->len, cases[i].output, strlen(cases[i].output));
                guest_exec_result_clear(&result);
        }
        memset(flood, 'A', 2 * LIMIT_GUEST_EXEC_OUTPUT_BYTES);
        g_autoptr(json_doc) doc = json_doc_new();
        struct guest_exec_result result = {};
        struct virt_error error = {};

        json_set_root(doc, json_new(doc, JSON_OBJECT));
        json_set_bool(doc, json_root(doc), "exited", true);
        json_set_int(doc, json_root(doc), "exitcode", 0);
        json_set_string(doc, json_root(doc), "err-data", flood);
        g_assert_cmpint(guest_exec_result_parse(json_root(doc), &result, &error), ==, 0);
        g_assert_true(result.complaints_cut && !result.output_cut);
        g_assert_cmpuint(result.complaints->len, ==, LIMIT_GUEST_EXEC_OUTPUT_BYTES);
        guest_exec_result_clear(&result);
}

static void a_command_without_a_shell_is_ended_by_the_agent(void)
{
        g_autofree char *text = guest_exec_kill_command(4711);

        g_assert_cmpstr(text, ==,
                        "{\"execute\":\"guest-exec\",\"arguments\":{\"arg\":[\"/F\",\"/T\",\"/PID\",\"4711\"],"
                        "\"path\":\"taskkill.exe\",\"capture-output\":true}}");
}

/* Attack 23: lists without end, names with markup and escapes, values of other kinds. */
static void what_a_guest_tells_is_plain_and_bounded(void)
{
        g_autofree char *many = repeated("[{\"user\":\"a\"}", ",{\"user\":\"\\u001b[31m<b>\\u202eroot\"}", 3000, "]");
        g_autofree char *addresses = repeated("[{\"name\":\"eth0\",\"ip-addresses\":[{\"ip-address\":\"::1\"}",
                                              ",{\"ip-address\":\"10.0.0.1\\n\"}", 3000, "]}]");
        const char *const texts[] = {many, addresses, "{\"version\":[1],\"host-name\":7}",
                                     "[[],7,null,{\"mountpoint\":\"/\",\"total-bytes\":-1}]"};
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_doc *docs[G_N_ELEMENTS(texts)];
        const struct json_value *told;
        g_autofree char *text = NULL;

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
                g_assert_cmpint(json_parse(texts[i], strlen(texts[i]), &docs[i], NULL), ==, 0);
        told = guest_replies_tell(&(struct guest_replies){.users = json_root(docs[0]),
                                                          .interfaces = json_root(docs[1]),
                                                          .info = json_root(docs[2]),
                                                          .host_name = json_root(docs[2]),
                                                          .os = json_root(docs[0]),
                                                          .filesystems = json_root(docs[3])},
                                  doc);
        g_assert_cmpuint(json_length(json_get(told, "users")), ==, GUEST_LIST_MAX);
        g_assert_cmpuint(json_length(json_get(json_first(json_get(told, "interfaces")), "addresses")), ==, GUEST_LIST_MAX);
        text = json_to_text(told);
        g_assert_null(strstr(text, "\\u001b"));
        g_assert_null(strstr(text, "\u202e"));
        g_assert_null(strstr(text, "\\n"));
        g_assert_null(json_get(told, "agentVersion"));
        g_assert_null(json_get(told, "hostName"));
        g_assert_null(strstr(text, "totalBytes"));
        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
                json_doc_free(docs[i]);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/domains/a_domain_lives_and_ends", a_domain_lives_and_ends);
        g_test_add_func("/guest/D60_the_end_of_a_command_is_read_or_refused", the_end_of_a_command_is_read_or_refused);
        g_test_add_func("/virt/guest-exec-kill", a_command_without_a_shell_is_ended_by_the_agent);
        g_test_add_func("/guest/what_a_guest_tells_is_plain_and_bounded", what_a_guest_tells_is_plain_and_bounded);
        g_test_add_func("/virt/the_user_of_a_file_is_the_domain_that_runs_with_it",
                        the_user_of_a_file_is_the_domain_that_runs_with_it);
        g_test_add_func("/domains/only_our_domains_are_listed_and_touched", only_our_domains_are_listed_and_touched);
        g_test_add_func("/domains/metadata_changes_without_a_new_definition", metadata_changes_without_a_new_definition);
        g_test_add_func("/domains/a_diagnosis_names_what_is_missing", a_diagnosis_names_what_is_missing);
        g_test_add_func("/virt/C38_what_was_said_of_a_failed_start_has_a_reason", what_was_said_of_a_failed_start_has_a_reason);
        g_test_add_func("/virt/C38_whoever_has_a_disk_open_is_named", whoever_has_a_disk_open_is_named);
        g_test_add_func("/domains/names_of_states_and_events_go_both_ways", names_of_states_and_events_go_both_ways);
        g_test_add_func("/connection/events_carry_keys", events_carry_keys);
        g_test_add_func("/connection/an_absent_daemon_is_unreachable", an_absent_daemon_is_unreachable);
        g_test_add_func("/connection/words_are_one_clean_line", words_are_one_clean_line);
        g_test_add_func("/pools/pool_paths_of_the_system_are_refused", pool_paths_of_the_system_are_refused);
        g_test_add_func("/pools/pool_paths_over_links_are_refused", pool_paths_over_links_are_refused);
        g_test_add_func("/pools/pools_and_volumes_are_made_once", pools_and_volumes_are_made_once);
        g_test_add_func("/pools/every_type_of_the_matrix_has_a_row",
                        every_type_of_the_matrix_has_a_row_and_those_without_a_driver_are_refused_by_it);
        g_test_add_func("/pools/volume_names_that_could_escape_are_refused", volume_names_that_could_escape_are_refused);
        g_test_add_func("/guest/guest_facts_are_bounded_and_clean", guest_facts_are_bounded_and_clean);
        g_test_add_func("/guest/guest_addresses_are_canonical_and_useful_ones", guest_addresses_are_canonical_and_useful_ones);
        g_test_add_func("/guest/endless_lists_of_addresses_end", endless_lists_of_addresses_end);
        g_test_add_func("/guest/hostile_answers_of_guests_are_refused_or_cut", hostile_answers_of_guests_are_refused_or_cut);
        g_test_add_func("/guest/an_answer_is_read_no_further_than_its_bound", an_answer_is_read_no_further_than_its_bound);
        g_test_add_func("/host/capabilities_are_read_for_one_type", capabilities_are_read_for_one_type);
        g_test_add_func("/host/the_cpu_controller_is_found", the_cpu_controller_is_found);
        g_test_add_func("/host/firmware_is_chosen_by_its_descriptor", firmware_is_chosen_by_its_descriptor);
        g_test_add_func("/host/the_test_host_has_facts", the_test_host_has_facts);
        return g_test_run();
}
