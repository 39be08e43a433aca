/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/migration.h"
#include "virt/migration_tls.h"

#include <glib.h>
#include <libvirt/virterror.h>
#include <string.h>

static const char here[] = "<domain><metadata><gabbro:instance xmlns:gabbro='https://gabbro.dev/domain/1' instanceUid='old'>"
                           "<gabbro:interface name='p-1-0' mac='52:54:00:00:00:01'/></gabbro:instance></metadata><devices>"
                           "<disk type='file'><source file='/a/root'/><backingStore/><target dev='vda'/></disk>"
                           "<disk type='file'><source file='/a/seed.iso'/><target dev='sda'/></disk>"
                           "<disk type='file' device='cdrom'><target dev='sdb'/></disk></devices></domain>";

static const struct virt_rename files[] = {{"/a/root", "/b/root"}, {"/a/seed.iso", "/b/seed.iso"}};
static const struct virt_rename nics[] = {{"p-1-0", "p-1-0-1"}};
static const char *const copied[] = {"/a/root"};

static void the_description_names_what_there_is_on_the_other_host(void)
{
        struct virt_migration options = {
                .instance_uid = "new", .files = files, .n_files = 2, .copied = copied, .n_copied = 1, .nics = nics, .n_nics = 1};
        g_autofree char *xml = NULL;
        g_auto(GStrv) targets = NULL;
        struct virt_error error;

        g_assert_cmpint(virt_migration_xml(here, &options, &xml, &targets, &error), ==, 0);
        g_assert_nonnull(strstr(xml, "file=\"/b/root\""));
        g_assert_nonnull(strstr(xml, "file=\"/b/seed.iso\""));
        g_assert_nonnull(strstr(xml, "instanceUid=\"new\""));
        g_assert_nonnull(strstr(xml, "name=\"p-1-0-1\""));
        g_assert_null(strstr(xml, "/a/"));
        g_assert_null(strstr(xml, "backingStore"));
        g_assert_cmpuint(g_strv_length(targets), ==, 1);
        g_assert_cmpstr(targets[0], ==, "vda");
}

static void a_disk_without_a_place_there_is_refused(void)
{
        struct virt_migration options = {.instance_uid = "new", .files = files, .n_files = 1};
        g_autofree char *xml = NULL;
        g_auto(GStrv) targets = NULL;
        struct virt_error error;

        g_assert_cmpint(virt_migration_xml(here, &options, &xml, &targets, &error), ==, VIRT_E_INVALID);
        g_assert_nonnull(strstr(error.words, "/a/seed.iso"));
        g_assert_cmpint(virt_migration_xml("<domain", &options, &xml, &targets, &error), ==, VIRT_E_INVALID);
}

static void the_missing_line_of_qemu_conf_is_named(void)
{
        static const struct {
                const char *text, *fault; /* a part of it; NULL: none */
        } cases[] = {
                {"", "migrate_tls_x509_cert_dir = \"/k\""},
                {"#migrate_tls_x509_cert_dir = \"/k\"\n", "migrate_tls_x509_cert_dir"},
                {"migrate_tls_x509_cert_dir = \"/other\"\n", "migrate_tls_x509_cert_dir"},
                {"migrate_tls_x509_cert_dir=\"/k\"\n", NULL},
                {"  migrate_tls_x509_cert_dir = \"/k\"\nmigrate_tls_x509_verify = 0\n", "migrate_tls_x509_verify = 1"},
                {"default_tls_x509_verify = 0\nmigrate_tls_x509_cert_dir = \"/k\"\n", "migrate_tls_x509_verify = 1"},
                {"default_tls_x509_verify = 0\nmigrate_tls_x509_verify = 1\nmigrate_tls_x509_cert_dir = \"/k\"\n", NULL},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *fault = migration_tls_fault(cases[i].text, "/k");

                g_test_message("%s", cases[i].text);
                g_assert_true((fault == NULL) == (cases[i].fault == NULL));
                g_assert_true(!fault || strstr(fault, cases[i].fault));
        }
}

static void the_address_of_a_host_becomes_libvirts(void)
{
        g_autofree char *v4 = migration_tls_uri("10.0.0.2", "/k"), *v6 = migration_tls_uri("fd00::2", "/k");

        g_assert_cmpstr(v4, ==, "qemu+tls://10.0.0.2/system?pkipath=/k");
        g_assert_cmpstr(v6, ==, "qemu+tls://[fd00::2]/system?pkipath=/k");
}

static void a_connection_that_is_lost_leaves_open_where_the_guest_runs(void)
{
        const struct virt_error lost = {.code = VIR_ERR_INTERNAL_ERROR, .domain = VIR_FROM_RPC};
        const struct virt_error failed = {.code = VIR_ERR_OPERATION_FAILED, .domain = VIR_FROM_QEMU};

        g_assert_true(virt_migration_is_open(&lost));
        g_assert_false(virt_migration_is_open(&failed));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/migration/description", the_description_names_what_there_is_on_the_other_host);
        g_test_add_func("/migration/no-place", a_disk_without_a_place_there_is_refused);
        g_test_add_func("/migration/qemu-conf", the_missing_line_of_qemu_conf_is_named);
        g_test_add_func("/migration/open", a_connection_that_is_lost_leaves_open_where_the_guest_runs);
        g_test_add_func("/migration/uri", the_address_of_a_host_becomes_libvirts);
        return g_test_run();
}
