/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domains.h"
#include "virt/graphics.h"
#include "virt/migration.h"

#include <glib.h>
#include <string.h>

/* A screen that listens for TCP: never without a password, which is in no text but libvirt's (C23, C69 to C72). */

#define UUID "6d3ba3a6-8fd1-4f53-9d4c-6d2f1a1f7a10"

static struct virt_domain machine(const char *address, const char *password, bool spice)
{
        struct virt_domain d = {
                .type = VIRT_TYPE_QEMU,
                .name = "web-6d3ba3a6",
                .uuid = UUID,
                .owner = {.machine_uid = UUID, .instance_uid = "2", .generation = 1, .epoch = 1, .graphics_version = 42},
                .machine_type = "pc-q35-7.2",
                .vcpus = 1,
                .sockets = 1,
                .cores_per_socket = 1,
                .cpu = {.mode = VIRT_CPU_MAXIMUM},
                .memory_mib = 64,
                .spice = spice,
                .graphics_address = address,
                .graphics_password = password,
        };
        struct virt_error error = {};

        g_assert_cmpint(virt_domain_complete(&d, &error), ==, 0); /* places need no password */
        return d;
}

static void a_port_is_described_with_its_password_and_version(void)
{
        static const char *const addresses[] = {"127.0.0.1", "0.0.0.0", "fd00::7"};

        for (size_t i = 0; i < 2 * G_N_ELEMENTS(addresses); i++) {
                const char *address = addresses[i / 2];
                struct virt_domain d = machine(address, "aB3%<&'\"", i % 2);
                g_autofree char *listen = g_strdup_printf("<listen type=\"address\" address=\"%s\"/>", address);
                g_autoptr(virt_facts) facts = NULL;
                struct virt_error error = {};
                g_autofree char *xml = NULL;

                g_assert_cmpint(virt_domain_to_xml(&d, &xml, &error), ==, 0);
                g_assert_nonnull(strstr(xml, listen));
                g_assert_nonnull(strstr(xml, "autoport=\"yes\""));
                g_assert_nonnull(strstr(xml, "passwd=\"aB3%&lt;&amp;'&quot;\"")); /* text, never markup */
                g_assert_nonnull(strstr(xml, "graphicsVersion=\"42\""));
                g_assert_null(strstr(xml, "type=\"socket\""));
                g_assert_cmpint(virt_facts_from_xml(xml, &facts, &error), ==, 0);
                g_assert_cmpstr(facts->domain.graphics_address, ==, address);
                g_assert_cmpint(facts->domain.owner.graphics_version, ==, 42);
                g_assert_true(facts->domain.spice == (i % 2));
                g_assert_null(facts->domain.graphics_password);
        }
}

static void a_socket_has_neither(void)
{
        struct virt_domain d = machine(NULL, "secret", false);
        struct virt_error error = {};
        g_autofree char *xml = NULL;

        g_assert_cmpint(virt_domain_to_xml(&d, &xml, &error), ==, 0);
        g_assert_nonnull(strstr(xml, "<listen type=\"socket\"/>"));
        g_assert_null(strstr(xml, "passwd"));
        g_assert_null(strstr(xml, "secret"));
}

static void a_port_without_a_good_password_or_address_is_never_described(void)
{
        static const struct {
                const char *address, *password;
        } cases[] = {{"127.0.0.1", NULL},   {"127.0.0.1", ""},         {"127.0.0.1", "ninechars"},
                     {"127.0.0.1", "a b"},  {"127.0.0.1", "tab\tbed"}, {"127.0.0.1", "\xc3\xa4h"},
                     {"", "good"},          {"localhost", "good"},     {"127.0.0.1:5900", "good"},
                     {"010.0.0.1", "good"}, {"fe80::1%eth0", "good"}};

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct virt_domain d = machine(cases[i].address, cases[i].password, false);
                struct virt_error error = {};
                char *xml = NULL;

                g_assert_cmpint(virt_domain_to_xml(&d, &xml, &error), ==, VIRT_E_INVALID);
                g_assert_null(xml);
                g_assert_true(g_str_has_prefix(error.words, "graphics: "));
                if (cases[i].password && *cases[i].password)
                        g_assert_null(strstr(error.words, cases[i].password));
                g_assert_cmpint(virt_graphics_to_xml(&d, &xml, &error), ==, VIRT_E_INVALID);
        }
}

static void the_element_of_a_change_is_that_of_the_whole(void)
{
        struct virt_domain d = machine("127.0.0.1", "abcdefgh", false);
        struct virt_error error = {};
        char *xml = NULL;

        g_assert_cmpint(virt_graphics_to_xml(&d, &xml, &error), ==, 0);
        g_strstrip(xml);
        g_assert_true(g_str_has_prefix(xml, "<graphics type=\"vnc\" autoport=\"yes\" listen=\"127.0.0.1\" passwd=\"abcdefgh\">"));
        g_assert_true(g_str_has_suffix(xml, "</graphics>"));
        virt_xml_wipe(xml);
        virt_xml_wipe(NULL);
}

static void a_socket_that_became_a_port_is_a_difference(void)
{
        struct virt_domain wanted = machine(NULL, NULL, false), found = machine("127.0.0.1", "abcdefgh", false);
        struct virt_domain elsewhere = machine("127.0.0.2", "ijklmnop", false);
        g_autofree char *words = virt_domain_differences(&wanted, &found, false), *none = NULL;

        g_assert_cmpstr(words, ==, "the screen is reached by VNC on a port instead of VNC");
        none = virt_domain_differences(&elsewhere, &found, false); /* what the operator changed comes with a restart */
        g_assert_null(none);
}

/* --- the description that goes to another host --- */

#define MOVED(graphics) "<domain><devices>" graphics "</devices></domain>"

static int move(const char *xml, const char *address, char **ret_xml, struct virt_error *reterr)
{
        struct virt_migration options = {.instance_uid = "new", .graphics_address = address};
        g_auto(GStrv) targets = NULL;

        return virt_migration_xml(xml, &options, ret_xml, &targets, reterr);
}

static void a_port_moves_to_the_address_of_the_other_host_with_its_password(void)
{
        static const char port[] = MOVED("<graphics type='vnc' port='5900' autoport='yes' listen='10.0.0.1' passwd='abcdefgh'>"
                                         "<listen type='address' address='10.0.0.1'/></graphics>");
        static const char open[] = MOVED("<graphics type='vnc' port='5900' autoport='yes' listen='10.0.0.1'>"
                                         "<listen type='address' address='10.0.0.1'/></graphics>");
        static const char socket[] = MOVED("<graphics type='vnc'><listen type='socket' socket='/s'/></graphics>");
        g_autofree char *xml = NULL, *same = NULL;
        struct virt_error error = {};
        char *none = NULL;

        g_assert_cmpint(move(port, "10.0.0.2", &xml, &error), ==, 0);
        g_assert_null(strstr(xml, "10.0.0.1"));
        g_assert_nonnull(strstr(xml, "listen=\"10.0.0.2\""));
        g_assert_nonnull(strstr(xml, "address=\"10.0.0.2\""));
        g_assert_nonnull(strstr(xml, "passwd=\"abcdefgh\""));
        g_assert_cmpint(move(port, NULL, &none, &error), ==, VIRT_E_INVALID);
        g_assert_null(strstr(error.words, "abcdefgh"));
        g_assert_cmpint(move(port, "", &none, &error), ==, VIRT_E_INVALID);
        g_assert_cmpint(move(port, "host-2", &none, &error), ==, VIRT_E_INVALID);
        g_assert_cmpint(move(open, "10.0.0.2", &none, &error), ==, VIRT_E_INVALID);
        g_assert_cmpint(move(socket, NULL, &same, &error), ==, 0);
        g_assert_nonnull(strstr(same, "type=\"socket\""));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/graphics/port", a_port_is_described_with_its_password_and_version);
        g_test_add_func("/graphics/socket", a_socket_has_neither);
        g_test_add_func("/graphics/refused", a_port_without_a_good_password_or_address_is_never_described);
        g_test_add_func("/graphics/element", the_element_of_a_change_is_that_of_the_whole);
        g_test_add_func("/graphics/difference", a_socket_that_became_a_port_is_a_difference);
        g_test_add_func("/graphics/migration", a_port_moves_to_the_address_of_the_other_host_with_its_password);
        return g_test_run();
}
