/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domain_xml.h"

#include <glib.h>
#include <string.h>

#define HOSTILE "\"/><qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>&evil;]]><!--"
#define UUID    "6f9619ff-8b86-d011-b42d-00cf4fc964ff"

/* A machine with its lists, so that each test changes its own. */
struct sample {
        struct virt_domain d;
        struct virt_disk disks[4];
        struct virt_nic nics[2];
        struct virt_cpu_feature features[2];
};

static void sample_init(struct sample *s)
{
        *s = (struct sample){
                .d = {.type = VIRT_TYPE_KVM,
                      .name = "web-6f9619ff",
                      .uuid = UUID,
                      .title = "default/web",
                      .owner = {.machine_uid = UUID,
                                .instance_uid = "0a0a0a0a-8b86-d011-b42d-00cf4fc964ff",
                                .machine_namespace = "default",
                                .machine_name = "web",
                                .generation = 3,
                                .epoch = 2},
                      .machine_type = "pc-q35-7.2",
                      .vcpus = 4,
                      .sockets = 1,
                      .cores_per_socket = 4,
                      .cpu_shares = 820,
                      .cpu = {.model = "Skylake-Client", .vendor = "Intel", .n_features = 2},
                      .memory_mib = 2048,
                      .n_disks = 2,
                      .n_nics = 1},
                .disks = {{.name = "root",
                           .path = "/pool/web-root.qcow2",
                           .format = VIRT_FORMAT_QCOW2,
                           .boot_order = 1,
                           .serial = "root"},
                          {.name = "seed", .path = "/run/gabbro/seed.iso", .bus = VIRT_BUS_SATA, .cdrom = true},
                          {.name = "data", .path = "/pool/web-data.raw"},
                          {.name = "more", .path = "/pool/web-more.qcow2", .format = VIRT_FORMAT_QCOW2, .bus = VIRT_BUS_SCSI}},
                .nics = {{.name = "p-1-0",
                          .mac = "52:54:00:00:00:01",
                          .bridge = "gbr0",
                          .tap = "gbt00000001",
                          .mtu = 1500,
                          .isolated = true},
                         {.name = "p-1-1",
                          .mac = "52:54:00:00:00:02",
                          .bridge = "gbr0",
                          .tap = "gbt00000002",
                          .checksum_off = true}},
                .features = {{.name = "vmx", .policy = "disable"}, {.name = "aes"}},
        };
        s->d.disks = s->disks;
        s->d.nics = s->nics;
        s->d.cpu.features = s->features;
}

static char *to_xml(struct virt_domain *d)
{
        struct virt_error error = {};
        char *xml = NULL;
        int r = virt_domain_complete(d, &error);

        if (!r)
                r = virt_domain_to_xml(d, &xml, &error);
        if (r)
                g_test_message("%s", error.words);
        g_assert_cmpint(r, ==, 0);
        return xml;
}

static void compare_golden(const char *name, const char *text)
{
        g_autofree char *path = g_test_build_filename(G_TEST_DIST, "golden", name, NULL);
        g_autofree char *expected = NULL;

        if (g_getenv("GABBRO_REGENERATE"))
                g_assert_true(g_file_set_contents(path, text, -1, NULL));
        g_assert_true(g_file_get_contents(path, &expected, NULL, NULL));
        g_assert_cmpstr(text, ==, expected);
}

/* --- golden
 * ------------------------------------------------------------------------------------------------------------------------------------
 */

static void a_linux_machine(struct sample *s)
{
        s->d.n_disks = 4;
        s->d.n_nics = 2;
        s->disks[2].read_only = true;
        s->disks[0].limits = (struct virt_disk_limits){.most = {[VIRT_LIMIT_READ_BYTES] = 10 << 20,
                                                                [VIRT_LIMIT_WRITE_BYTES] = 5 << 20,
                                                                [VIRT_LIMIT_READ_OPERATIONS] = 200}};
        s->disks[3].limits.most[VIRT_LIMIT_WRITE_OPERATIONS] = 100;
        s->d.serial_log = "/var/log/libvirt/qemu/web.serial";
}

static void a_windows_machine(struct sample *s)
{
        s->d.windows = true;
        s->d.firmware = VIRT_FIRMWARE_EFI_SECURE;
        s->d.loader = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
        s->d.nvram_template = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd";
        s->disks[1].path = NULL;
}

static void an_emulated_machine(struct sample *s)
{
        s->d.type = VIRT_TYPE_QEMU;
        s->d.cpu = (struct virt_cpu){.mode = VIRT_CPU_MAXIMUM};
        s->d.vcpus = s->d.cores_per_socket = 1;
        s->d.cpu_shares = 0;
        s->d.no_vnc = s->d.no_rng = s->d.no_balloon = true;
        s->disks[0].bus = VIRT_BUS_SATA;
        s->disks[0].limits.most[VIRT_LIMIT_TOTAL_BYTES] = 1 << 20;
        s->disks[0].limits.most[VIRT_LIMIT_TOTAL_OPERATIONS] = 50;
        s->nics[0].model = VIRT_NIC_E1000E;
        s->nics[0].link_down = true;
}

static void a_machine_with_room(struct sample *s)
{
        a_linux_machine(s);
        s->d.max_vcpus = s->d.cores_per_socket = 16;
        s->d.max_memory_mib = 8192;
        s->d.balloon_mib = 1536;
}

static void a_machine_with_what_it_asks_for(struct sample *s)
{
        s->d.spice = s->d.tpm = true;
        s->d.watchdog = VIRT_WATCHDOG_RESET;
        s->d.firmware = VIRT_FIRMWARE_EFI;
        s->d.loader = "/usr/share/OVMF/OVMF_CODE_4M.fd";
        s->d.nvram_template = "/usr/share/OVMF/OVMF_VARS_4M.fd";
}

static void a_legacy_machine(struct sample *s)
{
        s->d.legacy = s->d.no_rng = s->d.no_balloon = true;
        s->disks[0].bus = VIRT_BUS_SATA;
        s->nics[0].model = VIRT_NIC_E1000E;
        s->d.watchdog = VIRT_WATCHDOG_POWEROFF;
}

static const struct {
        const char *name;
        void (*change)(struct sample *s);
} golden[] = {
        {"room", a_machine_with_room},
        {"linux", a_linux_machine},
        {"windows", a_windows_machine},
        {"emulated", an_emulated_machine},
        {"extras", a_machine_with_what_it_asks_for},
        {"legacy", a_legacy_machine},
};

static void machines_are_described_as_in_the_golden_files(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(golden); i++) {
                g_autofree char *file = g_strconcat(golden[i].name, ".xml", NULL), *xml = NULL;
                struct sample s;

                sample_init(&s);
                golden[i].change(&s);
                xml = to_xml(&s.d);
                compare_golden(file, xml);
        }
}

static void what_is_read_back_describes_the_same_machine(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(golden); i++) {
                g_autofree char *xml = NULL, *again = NULL;
                g_autoptr(virt_facts) facts = NULL;
                struct virt_error error = {};
                struct sample s;

                sample_init(&s);
                golden[i].change(&s);
                xml = to_xml(&s.d);
                g_assert_cmpint(virt_facts_from_xml(xml, &facts, &error), ==, 0);
                g_assert_true(facts->own);
                g_assert_cmpint(facts->id, ==, -1);
                again = to_xml(&facts->domain);
                g_assert_cmpstr(again, ==, xml);
        }
}

/* What others add to the limits is seen, so that it can be taken away; the name of a group means nothing. */
static void limits_of_others_are_read_back(void)
{
        static const struct {
                const char *iotune;
                uint64_t read_bytes;
                bool more;
        } cases[] = {
                {"<read_bytes_sec>65536</read_bytes_sec><group_name>drive-virtio-disk0</group_name>", 65536, false},
                {"<read_bytes_sec>65536</read_bytes_sec><read_bytes_sec_max>131072</read_bytes_sec_max>", 65536, true},
                {"<read_bytes_sec>65536</read_bytes_sec><read_bytes_sec_max_length>1</read_bytes_sec_max_length>", 65536, false},
                {"<size_iops_sec>4096</size_iops_sec>", 0, true},
                {"<read_bytes_sec>0</read_bytes_sec><read_bytes_sec_max>0</read_bytes_sec_max>", 0, false},
                {"<read_bytes_sec>-1</read_bytes_sec>", 0, false},
                {"", 0, false},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *xml = g_strdup_printf("<domain><name>x</name><uuid>" UUID "</uuid><devices><disk type='file' "
                                                       "device='disk'><source file='/p/x'/><target dev='vda' bus='virtio'/>"
                                                       "<iotune>%s</iotune></disk></devices></domain>",
                                                       cases[i].iotune);
                g_autoptr(virt_facts) facts = NULL;
                struct virt_error error = {};

                g_assert_cmpint(virt_facts_from_xml(xml, &facts, &error), ==, 0);
                g_assert_cmpuint(facts->domain.n_disks, ==, 1);
                g_assert_cmpuint(facts->domain.disks[0].limits.most[VIRT_LIMIT_READ_BYTES], ==, cases[i].read_bytes);
                g_assert_cmpint(facts->domain.disks[0].limits.more, ==, cases[i].more);
        }
}

/* --- strings of users
 * -------------------------------------------------------------------------------------------------------------------------- */

/* Attack 13: every string of struct virt_domain, and whether it is free text (then it must come back unharmed). */
static const char **string_at(struct sample *s, unsigned index, bool *ret_free)
{
        const char **strings[] = {&s->d.title, &s->d.owner.machine_uid, &s->d.owner.instance_uid, &s->d.owner.machine_namespace,
                                  &s->d.owner.machine_name, &s->disks[0].name, &s->d.smbios.serial, &s->d.smbios.version,
                                  /* grammar of their own from here on */
                                  &s->d.name, &s->d.uuid, &s->d.machine_type, &s->d.emulator, &s->d.cpu.model, &s->d.cpu.vendor,
                                  &s->d.loader, &s->d.serial_log, &s->disks[0].path, &s->disks[0].serial, &s->disks[0].cache,
                                  &s->nics[0].mac, &s->nics[0].bridge, &s->nics[0].tap, &s->features[0].name,
                                  &s->features[0].policy};

        *ret_free = index < 8;
        return index < G_N_ELEMENTS(strings) ? strings[index] : NULL;
}

static void hostile_strings_are_kept_or_refused_and_never_become_markup(void)
{
        bool free_text;
        struct sample s;

        for (unsigned i = 0; string_at(&s, i, &free_text); i++) {
                g_autoptr(virt_facts) facts = NULL;
                g_autofree char *xml = NULL;
                struct virt_error error = {};
                struct sample back;
                int r;

                sample_init(&s);
                /* uids are at most 64 bytes */
                *string_at(&s, i, &free_text) = i == 1 || i == 2 ? "\"/><qemu:commandline>&evil;]]><!--" : HOSTILE;
                r = virt_domain_complete(&s.d, &error);
                if (!r)
                        r = virt_domain_to_xml(&s.d, &xml, &error);
                g_assert_cmpint(r, ==, free_text ? 0 : VIRT_E_INVALID);
                if (r) {
                        g_assert_cmpint(strlen(error.words), >, 5);
                        continue;
                }
                g_assert_null(strstr(xml, "<qemu:"));
                g_assert_null(strstr(xml, "<!--"));
                g_assert_cmpint(virt_facts_from_xml(xml, &facts, &error), ==, 0);
                back = (struct sample){.d = facts->domain};
                back.disks[0] = facts->domain.disks[0];
                g_assert_cmpstr(*string_at(&back, i, &free_text), ==, *string_at(&s, i, &free_text));
        }
}

static void text_that_xml_cannot_carry_is_refused(void)
{
        static const char *const texts[] = {"a\x01z",       "line\nbreak",  "\x7f",         "\xc3\x28",
                                            "\xed\xa0\x80", "\xef\xbf\xbf", "\xef\xbf\xbe", "\xc2\x80"};
        bool free_text;

        for (size_t t = 0; t < G_N_ELEMENTS(texts); t++)
                for (unsigned i = 0;; i++) {
                        struct virt_error error = {};
                        const char **string;
                        struct sample s;

                        sample_init(&s);
                        string = string_at(&s, i, &free_text);
                        if (!string)
                                break;
                        *string = texts[t];
                        g_assert_cmpint(virt_domain_complete(&s.d, &error), ==, VIRT_E_INVALID);
                        g_assert_cmpstr(error.reason, ==, "ValidationFailed");
                }
}

static void strings_of_a_megabyte_are_refused(void)
{
        g_autofree char *huge = g_strnfill(1 << 20, 'a');
        bool free_text;

        for (unsigned i = 0;; i++) {
                struct virt_error error = {};
                const char **string;
                struct sample s;

                sample_init(&s);
                string = string_at(&s, i, &free_text);
                if (!string)
                        break;
                *string = huge;
                g_assert_cmpint(virt_domain_complete(&s.d, &error), ==, VIRT_E_INVALID);
        }
}

/* --- refusals
 * ----------------------------------------------------------------------------------------------------------------------------------
 */

static void two_of_one_name(struct sample *s)
{
        s->disks[1].name = "root";
}
static void two_of_one_target(struct sample *s)
{
        memcpy(s->disks[0].target, "vda", 4);
        memcpy(s->disks[1].target, "vda", 4);
}
static void two_of_one_boot_order(struct sample *s)
{
        s->disks[1].boot_order = 1;
}
static void two_of_one_place(struct sample *s)
{
        s->disks[0].pci = (struct virt_pci){.set = true, .bus = 7};
        s->nics[0].pci = (struct virt_pci){.set = true, .bus = 7};
}
static void a_place_off_the_root_ports(struct sample *s)
{
        s->disks[0].pci = (struct virt_pci){.set = true, .bus = 0, .slot = 1};
}
static void a_place_off_the_controller(struct sample *s)
{
        s->disks[1].drive = (struct virt_drive){.set = true, .unit = 6};
}
static void no_type(struct sample *s)
{
        s->d.type = VIRT_TYPE_UNSET;
}
static void no_cores(struct sample *s)
{
        s->d.vcpus = s->d.sockets = 0;
}
static void too_many_cores(struct sample *s)
{
        s->d.vcpus = s->d.cores_per_socket = 249;
}
static void sockets_that_do_not_multiply(struct sample *s)
{
        s->d.sockets = 3;
}
static void no_memory(struct sample *s)
{
        s->d.memory_mib = 0;
}
static void another_chip_set(struct sample *s)
{
        s->d.machine_type = "pc-i440fx-7.2";
}
static void a_cdrom_on_virtio(struct sample *s)
{
        s->disks[1].bus = VIRT_BUS_VIRTIO;
}
static void a_disk_without_a_file(struct sample *s)
{
        s->disks[0].path = NULL;
}
static void a_read_only_sata_disk(struct sample *s)
{
        s->disks[0].bus = VIRT_BUS_SATA;
        s->disks[0].read_only = true;
}
static void a_limited_cdrom(struct sample *s)
{
        s->disks[1].limits.most[VIRT_LIMIT_READ_BYTES] = 1 << 20;
}
static void a_limit_beside_its_total(struct sample *s)
{
        s->disks[0].limits.most[VIRT_LIMIT_TOTAL_OPERATIONS] = s->disks[0].limits.most[VIRT_LIMIT_WRITE_OPERATIONS] = 100;
}
static void a_limit_above_what_qemu_takes(struct sample *s)
{
        s->disks[0].limits.most[VIRT_LIMIT_WRITE_BYTES] = 1000000000000001;
}
static void bursts_of_others(struct sample *s)
{
        s->disks[0].limits.more = true;
}
static void a_relative_path(struct sample *s)
{
        s->disks[0].path = "pool/x";
}
static void a_group_mac(struct sample *s)
{
        s->nics[0].mac = "53:54:00:00:00:01";
}
static void a_tap_of_libvirt(struct sample *s)
{
        s->nics[0].tap = "vnet0";
}
static void efi_without_a_loader(struct sample *s)
{
        s->d.firmware = VIRT_FIRMWARE_EFI;
}
static void a_custom_processor_without_a_model(struct sample *s)
{
        s->d.cpu.model = NULL;
}
static void one_tap_twice(struct sample *s)
{
        s->d.n_nics = 2;
        s->nics[1].tap = s->nics[0].tap;
}

static void impossible_machines_are_refused_with_words(void)
{
        static void (*const changes[])(struct sample * s) = {
                two_of_one_name,
                two_of_one_target,
                two_of_one_boot_order,
                two_of_one_place,
                a_place_off_the_root_ports,
                a_place_off_the_controller,
                no_type,
                no_cores,
                too_many_cores,
                sockets_that_do_not_multiply,
                no_memory,
                another_chip_set,
                a_cdrom_on_virtio,
                a_disk_without_a_file,
                a_read_only_sata_disk,
                a_limited_cdrom,
                a_limit_beside_its_total,
                a_limit_above_what_qemu_takes,
                bursts_of_others,
                a_relative_path,
                a_group_mac,
                a_tap_of_libvirt,
                efi_without_a_loader,
                a_custom_processor_without_a_model,
                one_tap_twice,
        };

        for (size_t i = 0; i < G_N_ELEMENTS(changes); i++) {
                struct virt_error error = {};
                struct sample s;

                sample_init(&s);
                changes[i](&s);
                g_assert_cmpint(virt_domain_complete(&s.d, &error), ==, VIRT_E_INVALID);
                g_test_message("%s", error.words);
                g_assert_cmpstr(error.reason, ==, "ValidationFailed");
        }
}

static void an_unfinished_machine_has_no_description(void)
{
        struct virt_error error = {};
        char *xml = NULL;
        struct sample s;

        sample_init(&s);
        g_assert_cmpint(virt_domain_to_xml(&s.d, &xml, &error), ==, VIRT_E_INVALID);
        g_assert_null(xml);
}

/* --- the record (decision 3)
 * ----------------------------------------------------------------------------------------------------------------- */

static struct json_value *record_of(struct virt_domain *d, struct json_doc *doc)
{
        struct virt_error error = {};

        g_assert_cmpint(virt_domain_complete(d, &error), ==, 0);
        return virt_hardware_record(d, doc);
}

static void the_record_is_as_in_the_golden_file(void)
{
        g_autoptr(json_doc) doc = json_doc_new();
        g_autoptr(GString) text = g_string_new(NULL);
        struct sample s;

        sample_init(&s);
        a_linux_machine(&s);
        json_write_pretty(record_of(&s.d, doc), text);
        g_string_append_c(text, '\n');
        compare_golden("hardware.json", text->str);
}

static void a_machine_with_its_record_is_the_same_machine(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(golden); i++) {
                g_autoptr(json_doc) doc = json_doc_new();
                g_autoptr(arena) arena = arena_new(0);
                g_autofree char *first = NULL, *second = NULL;
                struct virt_error error = {};
                struct json_value *record;
                struct sample a, b;

                sample_init(&a);
                golden[i].change(&a);
                record = record_of(&a.d, doc);
                first = to_xml(&a.d);
                sample_init(&b);
                golden[i].change(&b);
                b.d.machine_type = "pc-q35-9.9"; /* a newer QEMU */
                b.d.cpu = (struct virt_cpu){.mode = VIRT_CPU_HOST_MODEL};
                g_assert_cmpint(virt_hardware_apply(&b.d, record, VIRT_PART_ALL, arena, &error), ==, 0);
                second = to_xml(&b.d);
                g_assert_cmpstr(second, ==, first);
        }
}

/* New defaults are for new machines. */
static void a_record_of_before_keeps_the_defaults_of_before(void)
{
        g_autoptr(json_doc) doc = json_doc_new();
        g_autoptr(arena) arena = arena_new(0);
        g_autofree char *xml = NULL;
        struct virt_error error = {};
        struct json_value *record;
        struct sample a, b;

        sample_init(&a);
        a_windows_machine(&a);
        record = record_of(&a.d, doc);
        json_remove(record, "profile"); /* as agents wrote it before there was another one */
        sample_init(&b);
        a_windows_machine(&b);
        g_assert_cmpint(virt_hardware_apply(&b.d, record, VIRT_PART_ALL, arena, &error), ==, 0);
        g_assert_cmpuint(b.d.profile, ==, 1);
        xml = to_xml(&b.d);
        compare_golden("windows-profile-1.xml", xml);
        json_set_int(doc, record, "profile", VIRT_PROFILE_NEWEST + 1); /* of a newer agent */
        g_assert_cmpint(virt_hardware_apply(&b.d, record, VIRT_PART_ALL, arena, &error), ==, VIRT_E_INVALID);
}

static void what_is_asked_for_anew_is_not_taken_from_the_record(void)
{
        static const struct {
                unsigned parts;
                const char *model;
                enum virt_firmware firmware;
                bool nvram_new;
                enum virt_bus bus;
        } cases[] = {
                {VIRT_PART_ALL, "Skylake-Client", VIRT_FIRMWARE_EFI_SECURE, false, VIRT_BUS_VIRTIO},
                {VIRT_PART_ALL & ~VIRT_PART_CPU, "EPYC", VIRT_FIRMWARE_EFI_SECURE, false, VIRT_BUS_VIRTIO},
                {VIRT_PART_ALL & ~VIRT_PART_FIRMWARE, "Skylake-Client", VIRT_FIRMWARE_EFI, true, VIRT_BUS_VIRTIO},
                {VIRT_PART_ALL & ~VIRT_PART_BUSES, "Skylake-Client", VIRT_FIRMWARE_EFI_SECURE, false, VIRT_BUS_SCSI},
                {0, "EPYC", VIRT_FIRMWARE_EFI, true, VIRT_BUS_SCSI},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) doc = json_doc_new();
                g_autoptr(arena) arena = arena_new(0);
                struct virt_error error = {};
                struct json_value *record;
                struct sample a, b;

                sample_init(&a);
                a_windows_machine(&a);
                record = record_of(&a.d, doc);
                sample_init(&b);
                b.d.firmware = VIRT_FIRMWARE_EFI;
                b.d.loader = b.d.nvram_template = "/other.fd";
                b.d.cpu = (struct virt_cpu){.mode = VIRT_CPU_CUSTOM, .model = "EPYC"};
                b.disks[0].bus = VIRT_BUS_SCSI;
                g_assert_cmpint(virt_hardware_apply(&b.d, record, cases[i].parts, arena, &error), ==, 0);
                g_assert_cmpstr(b.d.cpu.model, ==, cases[i].model);
                g_assert_cmpint(b.d.firmware, ==, cases[i].firmware);
                g_assert_cmpint(b.d.nvram_new, ==, cases[i].nvram_new);
                g_assert_cmpint(b.disks[0].bus, ==, cases[i].bus);
                g_assert_cmpint(virt_domain_complete(&b.d, &error), ==, 0);
        }
}

static void devices_keep_their_places_when_others_come_and_go(void)
{
        g_autoptr(json_doc) doc = json_doc_new();
        g_autoptr(arena) arena = arena_new(0);
        struct virt_error error = {};
        struct virt_pci data, nic;
        struct json_value *record;
        struct sample a, b;

        sample_init(&a);
        a.d.n_disks = 3;
        record = record_of(&a.d, doc);
        data = a.disks[2].pci;
        nic = a.nics[0].pci;

        sample_init(&b); /* without root, with a new disk in front */
        b.disks[0].name = "new";
        b.disks[1] = b.disks[2];
        b.d.n_disks = 2;
        b.nics[0].name = "p-2-0"; /* another intent, the same MAC */
        g_assert_cmpint(virt_hardware_apply(&b.d, record, VIRT_PART_ALL, arena, &error), ==, 0);
        g_assert_cmpint(virt_domain_complete(&b.d, &error), ==, 0);
        g_assert_cmpstr(b.disks[1].target, ==, "vdb");
        g_assert_cmpint(b.disks[1].pci.bus, ==, data.bus);
        g_assert_cmpint(b.nics[0].pci.bus, ==, nic.bus);
        g_assert_cmpstr(b.disks[0].target, ==, "vda");
        g_assert_cmpint(b.disks[0].pci.bus, ==, a.disks[0].pci.bus); /* the place that became free */
        g_assert_cmpuint(b.d.root_ports, ==, a.d.root_ports);
}

static void malformed_records_are_refused(void)
{
        static const char *const records[] = {
                "{}",
                "{\"version\":0}",
                "{\"version\":\"1\"}",
                "{\"version\":2}",
                "[]",
                "{\"version\":1,\"rootPorts\":-1}",
                "{\"version\":1,\"rootPorts\":129}",
                "{\"version\":1,\"firmware\":\"x\"}",
                "{\"version\":1,\"cpu\":{}}",
                "{\"version\":1,\"cpu\":{\"mode\":\"custom\",\"features\":[1]}}",
                "{\"version\":1,\"devices\":{\"usb\":\"1:0\"}}",
                "{\"version\":1,\"devices\":{\"usb\":\"01:00.0 \"}}",
                "{\"version\":1,\"disks\":[{\"name\":\"root\"}]}",
                "{\"version\":1,\"disks\":[{\"name\":\"root\",\"bus\":\"sata\",\"target\":\"sda\",\"address\":\"0:0:256\"}]}",
                "{\"version\":1,\"disks\":[{\"name\":\"root\",\"bus\":\"virtio\",\"target\":\"vdaaaaaaa\"}]}",
                "{\"version\":1,\"interfaces\":[{\"mac\":\"52:54:00:00:00:01\",\"address\":\"x\",\"model\":\"virtio\"}]}",
        };

        for (size_t i = 0; i < G_N_ELEMENTS(records); i++) {
                g_autoptr(arena) arena = arena_new(0);
                g_autoptr(json_doc) doc = NULL;
                struct virt_error error = {};
                struct sample s;

                g_assert_cmpint(json_parse(records[i], strlen(records[i]), &doc, NULL), ==, 0);
                sample_init(&s);
                g_assert_cmpint(virt_hardware_apply(&s.d, json_root(doc), VIRT_PART_ALL, arena, &error), ==, VIRT_E_INVALID);
                g_test_message("%s", error.words);
        }
}

/* --- reading
 * ---------------------------------------------------------------------------------------------------------------------------------------
 */

static void foreign_and_hostile_descriptions_are_read_safely(void)
{
        static const struct {
                const char *xml;
                int r;
                bool own;
        } rows[] = {
                {"", VIRT_E_INVALID, false},
                {"<domain", VIRT_E_INVALID, false},
                {"<network/>", VIRT_E_INVALID, false},
                {"<domain/>", VIRT_E_INVALID, false},
                {"<!DOCTYPE domain [<!ENTITY a \"b\">]><domain><name>&a;</name><uuid>u</uuid></domain>", VIRT_E_INVALID, false},
                {"<!DOCTYPE domain SYSTEM \"file:///etc/passwd\"><domain><name>a</name><uuid>u</uuid></domain>", VIRT_E_INVALID,
                 false},
                {"<domain><name>a</name><uuid>u</uuid></domain>", 0, false},
                {"<domain type='xen' id='x'><name>a</name><uuid>u</uuid><vcpu>-1</vcpu><memory unit='parsec'>1</memory>"
                 "<metadata><instance machineUid='m' instanceUid='i'/></metadata>"
                 "<devices><disk type='network'/><disk/><interface type='user'/><controller index='999999999999999999999'/>"
                 "</devices></domain>",
                 0, false},
                {"<domain><name>a</name><uuid>u</uuid><metadata><g:instance xmlns:g='https://gabbro.dev/domain/1' machineUid='m' "
                 "instanceUid='i' epoch='7'/></metadata></domain>",
                 0, true},
                {"<domain><name>a</name><uuid>u</uuid><metadata><g:instance xmlns:g='https://gabbro.dev/domain/2' machineUid='m' "
                 "instanceUid='i'/></metadata></domain>",
                 0, false},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autoptr(virt_facts) facts = NULL;
                struct virt_error error = {};

                g_assert_cmpint(virt_facts_from_xml(rows[i].xml, &facts, &error), ==, rows[i].r);
                if (facts)
                        g_assert_cmpint(facts->own, ==, rows[i].own);
        }
}

static void names_and_weights_follow_their_rules(void)
{
        static const struct {
                unsigned cores, percent, version, shares;
        } rows[] = {{1, 100, 1, 1024}, {2, 20, 1, 409},     {1, 1, 1, 10}, {248, 100, 1, 253952}, {1, 100, 2, 40},
                    {1, 1, 2, 1},      {248, 100, 2, 9920}, {4, 50, 0, 0}, {0, 100, 1, 0}};
        g_autofree char *name = virt_domain_name("a-name-of-more-than-forty-characters-which-is-cut", UUID);

        g_assert_cmpstr(name, ==, "a-name-of-more-than-forty-characters-whi-6f9619ff");
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
                g_assert_cmpuint(virt_cpu_shares(rows[i].cores, rows[i].percent, rows[i].version), ==, rows[i].shares);
}

/* --- disks that come to a running domain (A48) --- */

static void a_disk_that_comes_takes_a_free_place_and_keeps_its_own(void)
{
        struct sample s;
        struct virt_error error = {};
        struct virt_disk disk = {.name = "vd-hot", .path = "/pool/hot.qcow2", .format = VIRT_FORMAT_QCOW2};
        struct virt_disk again, taken;
        g_autofree char *xml = NULL;

        sample_init(&s);
        g_assert_cmpint(virt_domain_complete(&s.d, &error), ==, 0);
        g_assert_cmpint(virt_disk_place(&s.d, &disk, &error), ==, 0);
        g_assert_cmpstr(disk.target, ==, "vdb");
        g_assert_true(disk.pci.set);
        g_assert_cmpuint(disk.pci.bus, <=, s.d.root_ports);
        for (size_t i = 0; i < s.d.n_disks; i++)
                g_assert_false(s.disks[i].pci.set && s.disks[i].pci.bus == disk.pci.bus);
        again = disk;
        g_assert_cmpint(virt_disk_place(&s.d, &again, &error), ==, 0);
        g_assert_cmpmem(&again.pci, sizeof(again.pci), &disk.pci, sizeof(disk.pci));
        g_assert_cmpint(virt_disk_to_xml(&disk, &xml, &error), ==, 0);
        g_assert_true(g_str_has_prefix(xml, "<disk type=\"file\" device=\"disk\">"));
        g_assert_nonnull(strstr(xml, "<target dev=\"vdb\" bus=\"virtio\"/>"));
        taken = disk;
        taken.pci = s.disks[0].pci;
        memcpy(taken.target, s.disks[0].target, sizeof(taken.target));
        g_assert_cmpint(virt_disk_place(&s.d, &taken, &error), ==, 0);
        g_assert_cmpuint(taken.pci.bus, ==, disk.pci.bus);
        g_assert_cmpstr(taken.target, ==, "vdb");
}

static void a_running_domain_takes_what_it_has_slots_for(void)
{
        struct sample s;
        struct virt_error error = {};
        struct virt_disk disks[16] = {};
        unsigned came = 0;

        sample_init(&s);
        g_assert_cmpint(virt_domain_complete(&s.d, &error), ==, 0);
        memcpy(disks, s.disks, s.d.n_disks * sizeof(*disks));
        s.d.disks = disks;
        while (s.d.n_disks < G_N_ELEMENTS(disks)) {
                static const char *const names[] = {"h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9"};
                struct virt_disk disk = {.name = names[came], .path = "/pool/hot.raw"};

                if (virt_disk_place(&s.d, &disk, &error))
                        break;
                disks[s.d.n_disks++] = disk;
                came++;
        }
        g_assert_cmpuint(came, ==, 4);
        g_assert_cmpstr(error.reason, ==, "NoFreeSlot");
        /* The next start makes room, and moves nobody. */
        came = s.d.root_ports;
        g_assert_cmpint(virt_domain_complete(&s.d, &error), ==, 0);
        g_assert_cmpuint(s.d.root_ports, ==, came + 4);
}

static void the_first_CD_drive_brings_its_controller(void)
{
        struct sample s;
        struct virt_error error = {};
        struct virt_disk drive = {
                .name = "vi-disc", .path = "/pool/disc.iso", .bus = VIRT_BUS_SCSI, .cdrom = true, .read_only = true};
        struct virt_disk disks[16] = {};
        g_autofree char *xml = NULL;
        struct virt_pci pci = {};

        sample_init(&s);
        g_assert_cmpint(virt_domain_complete(&s.d, &error), ==, 0);
        g_assert_false(s.d.scsi_pci.set);
        g_assert_cmpint(virt_disk_place(&s.d, &drive, &error), ==, VIRT_E_INVALID);
        g_assert_cmpint(virt_scsi_place(&s.d, &pci, &error), ==, 0);
        g_assert_cmpuint(pci.bus, <=, s.d.root_ports);
        for (size_t i = 0; i < s.d.n_disks; i++)
                g_assert_false(s.disks[i].pci.set && s.disks[i].pci.bus == pci.bus);
        xml = virt_scsi_to_xml(&pci);
        g_assert_true(g_str_has_prefix(xml, "<controller type=\"scsi\" index=\"0\" model=\"virtio-scsi\">"));
        s.d.scsi_pci = pci;
        g_assert_cmpint(virt_disk_place(&s.d, &drive, &error), ==, 0);
        g_assert_cmpstr(drive.target, ==, "sdb");
        /* None is left when disks have taken them all. */
        s.d.scsi_pci = (struct virt_pci){};
        memcpy(disks, s.disks, s.d.n_disks * sizeof(*disks));
        s.d.disks = disks;
        for (char name[] = "h0"; s.d.n_disks < G_N_ELEMENTS(disks); name[1]++) {
                struct virt_disk disk = {.name = g_intern_string(name), .path = "/pool/hot.raw"};

                if (virt_disk_place(&s.d, &disk, &error))
                        break;
                disks[s.d.n_disks++] = disk;
        }
        g_assert_cmpint(virt_scsi_place(&s.d, &pci, &error), ==, VIRT_E_INVALID);
        g_assert_cmpstr(error.reason, ==, "NoFreeSlot");
}

/* A50: with its link down, until its rules were seen. */
static void an_interface_that_comes_takes_a_free_place(void)
{
        struct sample s;
        struct virt_error error = {};
        struct virt_nic nic;
        g_autofree char *down = NULL, *up = NULL;

        sample_init(&s);
        g_assert_cmpint(virt_domain_complete(&s.d, &error), ==, 0);
        nic = s.nics[0];
        nic.name = "p-1-7";
        nic.mac = "52:54:00:00:00:77";
        nic.tap = "gbt00000077";
        nic.link_down = true;
        g_assert_cmpint(virt_nic_place(&s.d, &nic, &error), ==, 0);
        g_assert_cmpuint(nic.pci.bus, <=, s.d.root_ports);
        for (size_t i = 0; i < s.d.n_nics; i++)
                g_assert_cmpuint(s.nics[i].pci.bus, !=, nic.pci.bus);
        g_assert_cmpint(virt_nic_to_xml(&nic, &down, &error), ==, 0);
        g_assert_nonnull(strstr(down, "<link state=\"down\"/>"));
        nic.link_down = false;
        g_assert_cmpint(virt_nic_to_xml(&nic, &up, &error), ==, 0);
        g_assert_null(strstr(up, "<link"));
        nic.pci = (struct virt_pci){.set = true, .bus = (uint8_t)(s.d.root_ports + 1)};
        g_assert_cmpint(virt_nic_place(&s.d, &nic, &error), ==, 0);
        g_assert_cmpuint(nic.pci.bus, <=, s.d.root_ports);
}

static void what_cannot_come_is_refused_with_words(void)
{
        struct sample s;
        struct virt_error error = {};
        struct virt_disk cd = {.name = "cvi-iso", .path = "/pool/a.iso", .bus = VIRT_BUS_SCSI, .cdrom = true};
        struct virt_disk sata = {.name = "vd-old", .path = "/pool/a.raw", .bus = VIRT_BUS_SATA};
        char *xml = NULL;

        sample_init(&s);
        g_assert_cmpint(virt_domain_complete(&s.d, &error), ==, 0);
        g_assert_cmpint(virt_disk_to_xml(&cd, &xml, &error), ==, VIRT_E_INVALID);
        g_assert_cmpint(virt_disk_place(&s.d, &cd, &error), ==, VIRT_E_INVALID);
        g_assert_nonnull(strstr(error.words, "no controller for CD drives"));
        g_assert_cmpint(virt_disk_place(&s.d, &sata, &error), ==, VIRT_E_INVALID);
        g_assert_nonnull(strstr(error.words, "paravirtualization"));
        sample_init(&s);
        s.d.n_disks = 4;
        g_assert_cmpint(virt_domain_complete(&s.d, &error), ==, 0);
        g_assert_cmpint(virt_disk_place(&s.d, &cd, &error), ==, 0);
        g_assert_true(cd.drive.set && cd.drive.target != s.disks[3].drive.target);
        g_assert_null(xml);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/domain/machines_are_described_as_in_the_golden_files", machines_are_described_as_in_the_golden_files);
        g_test_add_func("/domain/what_is_read_back_describes_the_same_machine", what_is_read_back_describes_the_same_machine);
        g_test_add_func("/domain/limits_of_others_are_read_back", limits_of_others_are_read_back);
        g_test_add_func("/domain/hostile_strings_are_kept_or_refused_and_never_become_markup",
                        hostile_strings_are_kept_or_refused_and_never_become_markup);
        g_test_add_func("/domain/text_that_xml_cannot_carry_is_refused", text_that_xml_cannot_carry_is_refused);
        g_test_add_func("/domain/strings_of_a_megabyte_are_refused", strings_of_a_megabyte_are_refused);
        g_test_add_func("/domain/impossible_machines_are_refused_with_words", impossible_machines_are_refused_with_words);
        g_test_add_func("/domain/an_unfinished_machine_has_no_description", an_unfinished_machine_has_no_description);
        g_test_add_func("/hardware/the_record_is_as_in_the_golden_file", the_record_is_as_in_the_golden_file);
        g_test_add_func("/hardware/a_machine_with_its_record_is_the_same_machine", a_machine_with_its_record_is_the_same_machine);
        g_test_add_func("/hardware/a_record_of_before_keeps_the_defaults_of_before",
                        a_record_of_before_keeps_the_defaults_of_before);
        g_test_add_func("/hardware/what_is_asked_for_anew_is_not_taken_from_the_record",
                        what_is_asked_for_anew_is_not_taken_from_the_record);
        g_test_add_func("/hardware/devices_keep_their_places_when_others_come_and_go",
                        devices_keep_their_places_when_others_come_and_go);
        g_test_add_func("/hardware/malformed_records_are_refused", malformed_records_are_refused);
        g_test_add_func("/facts/foreign_and_hostile_descriptions_are_read_safely",
                        foreign_and_hostile_descriptions_are_read_safely);
        g_test_add_func("/domain/names_and_weights_follow_their_rules", names_and_weights_follow_their_rules);
        g_test_add_func("/plug/A48_places", a_disk_that_comes_takes_a_free_place_and_keeps_its_own);
        g_test_add_func("/plug/A48_slots", a_running_domain_takes_what_it_has_slots_for);
        g_test_add_func("/plug/first-drive", the_first_CD_drive_brings_its_controller);
        g_test_add_func("/plug/A50_places", an_interface_that_comes_takes_a_free_place);
        g_test_add_func("/plug/A48_refused", what_cannot_come_is_refused_with_words);
        return g_test_run();
}
