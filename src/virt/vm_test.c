/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Against a real libvirtd and QEMU (TCG), inside tests/lab/host.sh: everything that libvirt's test driver cannot show. The guest is
 * a boot sector, so a machine is up as soon as its BIOS is.
 */
#include "virt/vm_test.h"
#include "base/file.h"
#include "virt/domains.h"
#include "virt/guest_agent.h"
#include "virt/host_facts.h"
#include "virt/image_header.h"
#include "virt/image_tool.h"
#include "virt/live_disks.h"
#include "virt/live_size.h"

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define UUID   "6f9619ff-8b86-4011-b42d-00cf4fc964ff"
#define INTENT "0a0a0a0a-8b86-4011-b42d-00cf4fc964ff"

/*
 * Real mode: enable the ACPI power button, say "UP\r\n" on COM1, then echo what comes in. 'q' or the power button: S5 (the guest
 * shuts itself down); 'r': reset.
 *
 *      cli; cld; xor ax,ax; mov ds,ax
 *      mov dx,0x602; mov ax,0x100; out dx,ax; mov si,msg
 *   1: lodsb; test al,al; jz 2f; mov dx,0x3f8; out dx,al; jmp 1b
 *   2: mov dx,0x600; in ax,dx; test ah,1; jnz off
 *      mov dx,0x3fd; in al,dx; test al,1; jz 2b; mov dx,0x3f8; in al,dx; out dx,al
 *      cmp al,'q'; je off; cmp al,'r'; jne 2b; mov dx,0xcf9; mov al,6; out dx,al; hlt
 * off: mov dx,0x604; mov ax,0x2000; out dx,ax; hlt
 */
static const uint8_t boot_sector[] = {
        0xfa, 0xfc, 0x31, 0xc0, 0x8e, 0xd8, 0xba, 0x02, 0x06, 0xb8, 0x00, 0x01, 0xef, 0xbe, 0x48, 0x7c, 0xac, 0x84, 0xc0,
        0x74, 0x06, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xf5, 0xba, 0x00, 0x06, 0xed, 0xf6, 0xc4, 0x01, 0x75, 0x1c, 0xba, 0xfd,
        0x03, 0xec, 0xa8, 0x01, 0x74, 0xef, 0xba, 0xf8, 0x03, 0xec, 0xee, 0x3c, 0x71, 0x74, 0x0b, 0x3c, 0x72, 0x75, 0xe2,
        0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4, 0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4, 'U',  'P',  '\r', '\n',
};

/* --- the world
 * --------------------------------------------------------------------------------------------------------------------------------------
 */

struct seen {
        GMutex lock;
        GCond changed;
        unsigned count[VIRT_EVENT_COUNT];
};

static void on_event(enum virt_event event, const char *uuid, void *userdata)
{
        struct seen *seen = userdata;

        g_mutex_lock(&seen->lock);
        seen->count[event]++;
        g_cond_signal(&seen->changed);
        g_mutex_unlock(&seen->lock);
}

static void wait_event(struct seen *seen, enum virt_event event, unsigned at_least)
{
        gint64 deadline = g_get_monotonic_time() + 30 * G_TIME_SPAN_SECOND;
        bool in_time = true;

        g_mutex_lock(&seen->lock);
        while (seen->count[event] < at_least && in_time)
                in_time = g_cond_wait_until(&seen->changed, &seen->lock, deadline);
        g_assert_cmpuint(seen->count[event], >=, at_least);
        g_mutex_unlock(&seen->lock);
}

void succeed(int r, const struct virt_error *error)
{
        if (r)
                g_test_message("%d %s: %s", r, error->reason, error->words);
        g_assert_cmpint(r, ==, 0);
}

static struct virt *open_host_with(unsigned keepalive_s)
{
        struct virt_options options = {.uri = URI, .keepalive_interval_s = keepalive_s, .keepalive_count = 2};
        struct virt_error error = {};
        struct virt *virt = NULL;

        succeed(virt_open(&options, &virt, &error), &error);
        return virt;
}

struct virt *open_host(void)
{
        return open_host_with(30); /* a busy machine shall not look dead */
}

void run(const char *program, ...)
{
        g_autoptr(GPtrArray) argv = g_ptr_array_new();
        const char *word = program;
        int status = 0;
        va_list args;

        va_start(args, program);
        for (; word; word = va_arg(args, const char *))
                g_ptr_array_add(argv, (void *)word);
        va_end(args);
        g_ptr_array_add(argv, NULL);
        g_assert_true(g_spawn_sync(NULL, (char **)argv->pdata, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status, NULL));
        g_assert_cmpint(status, ==, 0);
}

void ensure_pool(struct virt *virt)
{
        struct virt_pool_options options = {.name = POOL, .path = FOLDER, .create = true};
        struct virt_error error = {};

        succeed(virt_pool_ensure(virt, &options, &error), &error);
}

/* A bootable raw volume, made as an agent makes one: volume by libvirt, content by qemu-img. */
char *make_disk(struct virt *virt, const char *name)
{
        g_autofree char *source = g_dir_make_tmp("gabbro-XXXXXX", NULL), *file = g_build_filename(source, "boot.raw", NULL);
        struct virt_volume_options options = {.pool = POOL, .name = name, .format = VIRT_FORMAT_QCOW2, .capacity_bytes = 4 * MIB};
        uint8_t sector[512] = {[510] = 0x55, [511] = 0xaa};
        struct image_convert convert = {.source = file, .target_format = VIRT_FORMAT_QCOW2, .target_is_zero = true};
        struct virt_volume volume = {};
        struct virt_error error = {};

        memcpy(sector, boot_sector, sizeof(boot_sector));
        g_assert_true(g_file_set_contents(file, (const char *)sector, sizeof(sector), NULL));
        ensure_pool(virt);
        succeed(virt_volume_create(virt, &options, &volume, &error), &error);
        convert.target = volume.path;
        succeed(image_convert(&convert, &error), &error);
        g_assert_cmpint(file_remove_tree(source), ==, 0);
        return volume.path;
}

struct machine {
        struct virt_domain d;
        struct virt_disk disks[2];
        struct virt_nic nic;
        struct host_facts facts;
        char *path;
};

static void machine_init(struct machine *m, struct virt *virt, const char *name)
{
        g_autofree char *volume = g_strconcat(name, ".qcow2", NULL);
        struct virt_error error = {};

        *m = (struct machine){.path = make_disk(virt, volume)};
        succeed(host_facts_read(virt, VIRT_TYPE_QEMU, &m->facts, &error), &error);
        m->disks[0] =
                (struct virt_disk){.name = "root", .path = m->path, .format = VIRT_FORMAT_QCOW2, .boot_order = 1, .serial = "root"};
        m->disks[1] = (struct virt_disk){.name = "cd", .bus = VIRT_BUS_SATA, .cdrom = true};
        m->nic = (struct virt_nic){
                .name = "p", .mac = "52:54:00:00:00:01", .bridge = "gbr0", .tap = "gbt00000001", .isolated = true};
        m->d = (struct virt_domain){
                .type = VIRT_TYPE_QEMU,
                .name = name,
                .uuid = UUID,
                .owner = {.machine_uid = UUID, .instance_uid = INTENT, .generation = 1, .epoch = 1},
                .machine_type = m->facts.machine_type,
                .vcpus = 1,
                .sockets = 1,
                .cores_per_socket = 1,
                .cpu = m->facts.host_model,
                .cpu_shares = virt_cpu_shares(1, 50, m->facts.cgroup_version),
                .memory_mib = 64,
                .disks = m->disks,
                .n_disks = 2,
                .nics = &m->nic,
                .n_nics = 1,
        };
}

static void define(struct virt *virt, struct machine *m)
{
        struct virt_error error = {};
        g_autofree char *xml = NULL;

        succeed(virt_domain_complete(&m->d, &error), &error);
        succeed(virt_domain_to_xml(&m->d, &xml, &error), &error);
        succeed(virt_domain_define(virt, xml, &error), &error);
}

/* Everything gone: domain, volume, facts. */
static void machine_end(struct machine *m, struct virt *virt)
{
        g_autofree char *volume = g_strconcat(m->d.name, ".qcow2", NULL);
        struct virt_error error = {};
        int r = virt_domain_destroy(virt, UUID, &error);

        if (r != VIRT_E_MISSING)
                succeed(r, &error);
        succeed(virt_domain_undefine(virt, UUID, &error), &error);
        succeed(virt_volume_delete(virt, POOL, volume, &error), &error);
        g_assert_false(g_file_test(m->path, G_FILE_TEST_EXISTS));
        host_facts_clear(&m->facts);
        g_free(m->path);
}

static void check_state(struct virt *virt, enum virt_state state, const char *reason)
{
        struct virt_domain_entry entry = {};
        struct virt_error error = {};

        succeed(virt_domain_get(virt, UUID, &entry, &error), &error);
        g_assert_cmpstr(virt_state_to_text(entry.state), ==, virt_state_to_text(state));
        g_assert_cmpstr(entry.reason, ==, reason);
        virt_domain_entry_clear(&entry);
}

/* Wait for the state through events alone. */
static void wait_state(struct virt *virt, struct seen *seen, enum virt_state state)
{
        for (;;) {
                struct virt_domain_entry entry = {};
                struct virt_error error = {};
                enum virt_state now;
                unsigned so_far;

                g_mutex_lock(&seen->lock);
                so_far = seen->count[VIRT_EVENT_LIFECYCLE];
                g_mutex_unlock(&seen->lock);
                succeed(virt_domain_get(virt, UUID, &entry, &error), &error);
                now = entry.state;
                virt_domain_entry_clear(&entry);
                if (now == state)
                        return;
                wait_event(seen, VIRT_EVENT_LIFECYCLE, so_far + 1);
        }
}

/* Until the console said @text. */
static void expect(int fd, const char *text)
{
        gint64 deadline = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;
        g_autoptr(GString) all = g_string_new(NULL);

        while (!strstr(all->str, text)) {
                struct pollfd p = {.fd = fd, .events = POLLIN};
                char bytes[256];
                ssize_t n;

                g_assert_cmpint(g_get_monotonic_time(), <, deadline);
                if (poll(&p, 1, 1000) <= 0)
                        continue;
                n = read(fd, bytes, sizeof(bytes));
                if (n <= 0)
                        g_test_message("the console said: %s", all->str);
                g_assert_cmpint(n, >, 0);
                g_string_append_len(all, bytes, n);
        }
}

static void say(int fd, const char *text)
{
        g_assert_cmpint(fd_write_all(fd, text, strlen(text)), ==, 0);
}

static void expect_end(int fd)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char bytes[256];

        do
                g_assert_cmpint(poll(&p, 1, 30000), ==, 1);
        while (read(fd, bytes, sizeof(bytes)) > 0);
}

/* --- machines
 * ----------------------------------------------------------------------------------------------------------------------------------------
 */

/* A raw volume of which a guest says that it is something else. */
static void check_raw_stays_raw(struct virt *virt, const char *path, uint64_t bytes)
{
        struct virt_volume volume = {};
        struct virt_error error = {};

        succeed(virt_pool_refresh(virt, POOL, NULL, &error), &error);
        succeed(virt_volume_get_as(virt, POOL, "guest.raw", VIRT_FORMAT_RAW, &volume, &error), &error);
        g_assert_cmpstr(volume.path, ==, path);
        g_assert_cmpint(volume.format, ==, VIRT_FORMAT_RAW);
        g_assert_cmpuint(volume.capacity_bytes, ==, bytes);
        virt_volume_clear(&volume);
}

/* A machine that has it sees its bytes, and QEMU is told what it is. */
static void check_raw_runs(struct virt *virt, const char *path)
{
        g_autoptr(virt_facts) facts = NULL;
        struct virt_error error = {};
        bool found = false;
        struct machine m;

        machine_init(&m, virt, "poly");
        m.disks[1] = (struct virt_disk){.name = "data", .path = (char *)path, .format = VIRT_FORMAT_RAW, .serial = "data"};
        define(virt, &m);
        succeed(virt_domain_start(virt, UUID, true, &error), &error);
        succeed(virt_domain_facts(virt, UUID, true, &facts, &error), &error);
        for (size_t i = 0; i < facts->domain.n_disks; i++) {
                const struct virt_disk *disk = &facts->domain.disks[i];

                found |= g_strcmp0(disk->path, path) == 0 && disk->format == VIRT_FORMAT_RAW;
        }
        g_assert_true(found);
        machine_end(&m, virt);
}

#define HEAD_BYTES 160

static void put(uint8_t *bytes, size_t offset, uint64_t value, unsigned width)
{
        for (; width--; value >>= 8)
                bytes[offset + width] = (uint8_t)value;
}

/* A qcow2 header that names a file of the host, as its backing file or for its data. */
static void hostile_head(uint8_t *bytes, bool data_file)
{
        memset(bytes, 0, HEAD_BYTES);
        memcpy(bytes, "QFI\xfb", 4);
        put(bytes, 4, 3, 4);
        put(bytes, 20, 16, 4);
        put(bytes, 24, 1ull << 40, 8);
        put(bytes, 96, 4, 4);
        put(bytes, 100, 104, 4);
        put(bytes, data_file ? 72 : 8, data_file ? 4 : 128, 8);
        put(bytes, data_file ? 104 : 16, data_file ? 0x444154410000000b : 11, data_file ? 8 : 4);
        memcpy(bytes + (data_file ? 112 : 128), "/etc/shadow", 11);
}

/* Attack 4: what a guest writes to the beginning of its raw disk is data to the host, when it is looked at, grown, started,
 * deleted. */
static void attack_4_a_raw_volume_stays_raw_whatever_its_guest_writes(void)
{
        uint8_t backing[HEAD_BYTES], data_file[HEAD_BYTES];
        static const char descriptor[] =
                "# Disk DescriptorFile\nversion=1\ncreateType=\"monolithicFlat\"\nRW 1 FLAT \"/etc/shadow\" 0\n";
        const struct {
                const void *bytes;
                size_t len;
        } heads[] = {{"LUKS\xba\xbe\0\1", 8},
                     {descriptor, sizeof(descriptor)},
                     {data_file, sizeof(data_file)},
                     {backing, sizeof(backing)}};
        struct virt_volume_options options = {
                .pool = POOL, .name = "guest.raw", .format = VIRT_FORMAT_RAW, .capacity_bytes = 4 * MIB};
        g_autoptr(virt) virt = open_host();
        struct virt_volume volume = {};
        struct virt_error error = {};
        uint64_t bytes = 4 * MIB;

        hostile_head(backing, false);
        hostile_head(data_file, true);
        ensure_pool(virt);
        for (size_t i = 0; i < G_N_ELEMENTS(heads); i++) {
                g_autofree char *other G_GNUC_UNUSED = make_disk(virt, "other.qcow2");
                uint8_t seen[HEAD_BYTES];

                if (i == 0)
                        succeed(virt_volume_create(virt, &options, &volume, &error), &error);
                write_at(volume.path, 0, heads[i].bytes, heads[i].len);
                check_raw_stays_raw(virt, volume.path, bytes);
                bytes += MIB;
                succeed(virt_volume_grow(virt, POOL, "guest.raw", VIRT_FORMAT_RAW, bytes, &error), &error);
                check_raw_stays_raw(virt, volume.path, bytes);
                g_assert_cmpint(virt_volume_grow(virt, POOL, "guest.raw", VIRT_FORMAT_RAW, MIB, &error), ==, VIRT_E_INVALID);
                autofd fd = open(volume.path, O_RDONLY | O_CLOEXEC);
                g_assert_cmpint(pread(fd, seen, heads[i].len, 0), ==, heads[i].len);
                g_assert_cmpmem(seen, heads[i].len, heads[i].bytes, heads[i].len);
                succeed(virt_volume_delete(virt, POOL, "other.qcow2", &error), &error);
        }
        check_raw_runs(virt, volume.path);
        succeed(virt_volume_delete(virt, POOL, "guest.raw", &error), &error);
        g_assert_false(g_file_test(volume.path, G_FILE_TEST_EXISTS));
        virt_volume_clear(&volume);
}

static char *record_text(const struct virt_domain *d)
{
        g_autoptr(json_doc) doc = json_doc_new();

        return json_to_text(virt_hardware_record(d, doc));
}

/* libvirt sorts disks by bus; the sample has them in that order already, SATA last in its list but first in libvirt's. */
static void check_record(struct virt *virt, bool live, const struct virt_domain *d)
{
        g_autoptr(virt_facts) facts = NULL;
        g_autoptr(json_doc) ours = json_doc_new(), theirs = json_doc_new();
        struct json_value *record = virt_hardware_record(d, ours), *found;
        struct virt_error error = {};

        succeed(virt_domain_facts(virt, UUID, live, &facts, &error), &error);
        g_assert_true(facts->own);
        facts->domain.profile = d->profile; /* only the agent knows it */
        found = virt_hardware_record(&facts->domain, theirs);
        if (live) { /* a running domain tells the processor that QEMU made */
                json_remove(record, "cpu");
                json_remove(found, "cpu");
        }
        for (size_t i = 0; i < json_length(json_get(record, "disks")); i++) {
                const struct json_value *disk = json_at(json_get(record, "disks"), i);
                bool same = false;

                for (const struct json_value *it = json_first(json_get(found, "disks")); it; it = json_next(it))
                        same |= json_equal(disk, it);
                g_assert_true(same);
        }
        json_remove(record, "disks");
        json_remove(found, "disks");
        if (!json_equal(record, found)) {
                g_autofree char *a = json_to_text(record), *b = json_to_text(found);

                g_assert_cmpstr(b, ==, a);
        }
}

/* C14, C15, C39, C40, decision 3, decision 5 */
static void a_machine_lives_through_all_its_states(void)
{
        g_autoptr(virt_facts) facts = NULL;
        g_autoptr(virt) virt = open_host();
        struct virt_error error = {};
        struct seen seen = {};
        g_autofree char *isolated = NULL;
        struct machine m;
        int fd = -1, second = -1;

        machine_init(&m, virt, "life");
        succeed(virt_events_start(virt, on_event, &seen, &error), &error);
        define(virt, &m);
        check_state(virt, VIRT_STATE_DEFINED, "");
        check_record(virt, false, &m.d);
        g_assert_cmpint(virt_console_open(virt, UUID, false, &fd, &error), ==, VIRT_E_STATE);

        succeed(virt_domain_start(virt, UUID, true, &error), &error);
        check_state(virt, VIRT_STATE_PAUSED, "Paused");
        check_record(virt, true, &m.d);
        g_assert_cmpint(virt_domain_start(virt, UUID, true, &error), ==, VIRT_E_STATE);
        succeed(virt_domain_facts(virt, UUID, true, &facts, &error), &error);
        g_assert_nonnull(facts->vnc_socket);
        g_assert_nonnull(facts->console_pty);
        g_assert_cmpint(facts->id, >, 0);
        g_assert_true(g_file_get_contents("/sys/class/net/gbt00000001/brport/isolated", &isolated, NULL, NULL));
        g_assert_cmpstr(isolated, ==, "1\n");

        succeed(virt_console_open(virt, UUID, false, &fd, &error), &error);
        g_assert_cmpint(virt_console_open(virt, UUID, false, &second, &error), ==, VIRT_E_STATE);
        succeed(virt_domain_resume(virt, UUID, &error), &error);
        check_state(virt, VIRT_STATE_RUNNING, "");
        expect(fd, "UP");
        say(fd, "hello");
        expect(fd, "hello");
        g_assert_cmpint(guest_agent_ping(virt, UUID, 1, &error), ==, VIRT_E_STATE);

        succeed(virt_domain_suspend(virt, UUID, &error), &error);
        check_state(virt, VIRT_STATE_PAUSED, "Paused");
        succeed(virt_domain_resume(virt, UUID, &error), &error);
        say(fd, "r");
        wait_event(&seen, VIRT_EVENT_REBOOT, 1);
        expect(fd, "UP");
        succeed(virt_domain_reset(virt, UUID, &error), &error);
        expect(fd, "UP");
        g_assert_cmpint(virt_domain_shutdown(virt, UUID, VIRT_SHUTDOWN_AGENT, &error), !=, 0);
        succeed(virt_domain_shutdown(virt, UUID, VIRT_SHUTDOWN_EITHER, &error), &error);
        wait_state(virt, &seen, VIRT_STATE_SHUTOFF);
        check_state(virt, VIRT_STATE_SHUTOFF, "GuestShutdown");
        expect_end(fd);
        fd_close(fd);
        g_assert_cmpint(virt_domain_shutdown(virt, UUID, VIRT_SHUTDOWN_ACPI, &error), ==, VIRT_E_STATE);
        machine_end(&m, virt);
}

static void a_console_can_be_taken_over(void)
{
        g_autoptr(virt) virt = open_host();
        struct virt_error error = {};
        struct machine m;
        int first = -1, second = -1;

        machine_init(&m, virt, "console");
        define(virt, &m);
        succeed(virt_domain_start(virt, UUID, true, &error), &error);
        succeed(virt_console_open(virt, UUID, false, &first, &error), &error);
        succeed(virt_console_open(virt, UUID, true, &second, &error), &error);
        expect_end(first);
        fd_close(first);
        succeed(virt_domain_resume(virt, UUID, &error), &error);
        expect(second, "UP");
        fd_close(second); /* closing ends the session: the console is free again */
        for (int r = VIRT_E_STATE; r == VIRT_E_STATE;)
                r = virt_console_open(virt, UUID, false, &first, &error);
        say(first, "again");
        expect(first, "again");
        succeed(virt_domain_destroy(virt, UUID, &error), &error);
        check_state(virt, VIRT_STATE_SHUTOFF, "Destroyed");
        expect_end(first);
        fd_close(first);
        machine_end(&m, virt);
}

/* Decision 3: what a later intent carries makes the very same machine. */
static void a_machine_defined_from_its_record_is_the_same(void)
{
        g_autoptr(arena) arena = arena_new(0);
        g_autoptr(json_doc) doc = NULL;
        g_autoptr(virt) virt = open_host();
        g_autofree char *before = NULL, *after = NULL;
        struct virt_error error = {};
        struct machine m, n;

        machine_init(&m, virt, "record");
        define(virt, &m);
        before = record_text(&m.d);
        g_assert_cmpint(json_parse(before, strlen(before), &doc, NULL), ==, 0);
        succeed(virt_volume_delete(virt, POOL, "record.qcow2", &error), &error);

        machine_init(&n, virt, "record");
        n.d.cpu = (struct virt_cpu){.mode = VIRT_CPU_MAXIMUM};
        n.d.machine_type = "pc-q35-6.2";
        n.d.owner.epoch = 2;
        succeed(virt_hardware_apply(&n.d, json_root(doc), VIRT_PART_ALL, arena, &error), &error);
        define(virt, &n);
        check_record(virt, false, &m.d);
        after = record_text(&n.d);
        g_assert_cmpstr(after, ==, before);
        g_assert_cmpint(virt_domain_start(virt, UUID, true, &error), ==, 0);
        host_facts_clear(&m.facts);
        g_free(m.path);
        machine_end(&n, virt);
}

static void efi_variables_go_with_the_machine(void)
{
        g_autoptr(virt_facts) facts = NULL;
        g_autoptr(virt) virt = open_host();
        struct virt_error error = {};
        struct machine m;

        machine_init(&m, virt, "efi");
        if (!m.facts.efi_secure) {
                g_test_skip("no EFI firmware with Secure Boot is installed");
        } else {
                succeed(virt_firmware_choose(&m.facts, VIRT_FIRMWARE_EFI_SECURE, &m.d, &error), &error);
                define(virt, &m);
                succeed(virt_domain_start(virt, UUID, true, &error), &error);
                succeed(virt_domain_facts(virt, UUID, false, &facts, &error), &error);
                g_assert_true(facts->nvram && g_file_test(facts->nvram, G_FILE_TEST_EXISTS));
                g_assert_cmpint(facts->domain.firmware, ==, VIRT_FIRMWARE_EFI_SECURE);
        }
        machine_end(&m, virt);
        if (facts)
                g_assert_false(g_file_test(facts->nvram, G_FILE_TEST_EXISTS));
}

/* C37, C38, C74 */
static void a_failed_start_has_words_and_a_diagnosis(void)
{
        g_autoptr(virt) virt = open_host();
        g_autofree char *diagnosis = NULL;
        struct virt_error error = {};
        const char *reason = NULL;
        struct machine m;

        machine_init(&m, virt, "broken");
        m.nic.bridge = "gbnone0";
        define(virt, &m);
        g_assert_cmpint(virt_domain_start(virt, UUID, true, &error), ==, VIRT_E_FAILED);
        g_test_message("%s", error.words);
        g_assert_cmpstr(error.reason, ==, "StartFailed");
        g_assert_cmpint(error.code, !=, 0);
        diagnosis = virt_start_diagnosis(&m.d, error.words, &reason);
        g_assert_cmpstr(reason, ==, "BridgeMissing");
        g_assert_cmpstr(diagnosis, ==, "bridge gbnone0 does not exist");
        check_state(virt, VIRT_STATE_SHUTOFF, "Failed");
        machine_end(&m, virt);
}

static void cpu_weights_change_while_it_runs(void)
{
        g_autoptr(virt_facts) facts = NULL;
        g_autoptr(virt) virt = open_host();
        struct virt_error error = {};
        struct machine m;

        machine_init(&m, virt, "weight");
        if (!m.facts.cgroup_version) {
                g_test_skip("there is no cpu controller");
        } else {
                define(virt, &m);
                succeed(virt_domain_start(virt, UUID, true, &error), &error);
                succeed(virt_domain_set_cpu_shares(virt, UUID, virt_cpu_shares(1, 20, m.facts.cgroup_version), &error), &error);
                succeed(virt_domain_facts(virt, UUID, true, &facts, &error), &error);
                g_assert_cmpuint(facts->domain.cpu_shares, ==, virt_cpu_shares(1, 20, m.facts.cgroup_version));
        }
        machine_end(&m, virt);
}

static void check_size(struct virt *virt, unsigned vcpus, uint64_t memory_mib)
{
        for (int live = 0; live < 2; live++) {
                g_autoptr(virt_facts) facts = NULL;
                struct virt_error error = {};

                succeed(virt_domain_facts(virt, UUID, live, &facts, &error), &error);
                g_assert_cmpuint(facts->domain.vcpus, ==, vcpus);
                g_assert_cmpuint(facts->domain.memory_mib, ==, memory_mib);
                g_assert_cmpuint(virt_domain_most_vcpus(&facts->domain), ==, 4);
                g_assert_cmpuint(facts->domain.max_memory_mib, ==, 1024);
        }
}

static void check_balloon(struct virt *virt, bool live, uint64_t expected_mib)
{
        g_autoptr(virt_facts) facts = NULL;
        struct virt_error error = {};

        succeed(virt_domain_facts(virt, UUID, live, &facts, &error), &error);
        g_assert_cmpuint(facts->domain.balloon_mib, ==, expected_mib);
}

/* In what runs and what is defined alike; said twice it is done once, and less takes nothing away. */
static void a_machine_grows_while_it_runs(void)
{
        g_autoptr(virt) virt = open_host();
        struct virt_error error = {};
        struct machine m;

        machine_init(&m, virt, "growing");
        m.d.max_vcpus = m.d.cores_per_socket = 4;
        m.d.max_memory_mib = 1024;
        define(virt, &m);
        g_assert_cmpint(virt_live_vcpus(virt, UUID, 2, &error), ==, VIRT_E_STATE);
        g_assert_cmpint(virt_live_memory(virt, UUID, 256, &error), ==, VIRT_E_STATE);
        succeed(virt_domain_start(virt, UUID, false, &error), &error);
        check_size(virt, 1, 64);
        for (int i = 0; i < 2; i++) {
                succeed(virt_live_vcpus(virt, UUID, 3, &error), &error);
                succeed(virt_live_memory(virt, UUID, 192, &error), &error);
                check_size(virt, 3, 192);
        }
        succeed(virt_live_vcpus(virt, UUID, 2, &error), &error);
        succeed(virt_live_memory(virt, UUID, 64, &error), &error);
        check_size(virt, 3, 192);
        g_assert_cmpint(virt_live_vcpus(virt, UUID, 5, &error), ==, VIRT_E_INVALID);
        g_assert_cmpint(virt_live_memory(virt, UUID, 2048, &error), ==, VIRT_E_INVALID);
        check_size(virt, 3, 192);
        /* Nobody is there to listen: what is held stays, and the definition says what was asked. */
        succeed(virt_live_balloon(virt, UUID, 128, &error), &error);
        check_balloon(virt, true, 0);
        check_balloon(virt, false, 128);
        succeed(virt_live_balloon(virt, UUID, 192, &error), &error);
        check_balloon(virt, false, 0);
        g_assert_cmpint(virt_live_balloon(virt, UUID, 2048, &error), ==, VIRT_E_INVALID);
        /* What was said last is what a definition anew says, too. */
        m.d.vcpus = 3;
        m.d.memory_mib = 192;
        define(virt, &m);
        check_size(virt, 3, 192);
        machine_end(&m, virt);
}

static void check_limits(struct virt *virt, const struct virt_disk_limits *expected)
{
        for (int live = 0; live < 2; live++) {
                g_autoptr(virt_facts) facts = NULL;
                g_autofree char *words = NULL;
                struct virt_error error = {};

                succeed(virt_domain_facts(virt, UUID, live, &facts, &error), &error);
                words = virt_disk_limits_words(&facts->domain.disks[0].limits);
                g_test_message("%s: %s", live ? "live" : "next", words);
                g_assert_true(virt_disk_limits_equal(&facts->domain.disks[0].limits, expected));
        }
}

/* Set, exchanged for others that exclude them, rid of what somebody added, and taken away, each time in what runs and what is
 * defined. */
static void limits_of_disks_change_while_it_runs(void)
{
        struct virt_disk_limits first = {.most = {[VIRT_LIMIT_READ_BYTES] = 1 << 20, [VIRT_LIMIT_WRITE_OPERATIONS] = 50}};
        struct virt_disk_limits second = {.most = {[VIRT_LIMIT_TOTAL_BYTES] = 65536, [VIRT_LIMIT_TOTAL_OPERATIONS] = 10}},
                                none = {};
        g_autoptr(virt) virt = open_host();
        struct virt_error error = {};
        struct machine m;

        machine_init(&m, virt, "limits");
        m.disks[0].limits = first;
        define(virt, &m);
        g_assert_cmpint(virt_live_disk_limit(virt, UUID, "vda", &second, &error), ==, VIRT_E_STATE);
        succeed(virt_domain_start(virt, UUID, true, &error), &error);
        check_limits(virt, &first);
        succeed(virt_live_disk_limit(virt, UUID, "vda", &second, &error), &error);
        check_limits(virt, &second);
        succeed(virt_live_disk_limit(virt, UUID, "vda", &first, &error), &error);
        run("virsh", "-q", "blkdeviotune", UUID, "vda", "--read-bytes-sec", "2000000", "--read-bytes-sec-max", "9000000",
            "--read-bytes-sec-max-length", "3", "--size-iops-sec", "4096", "--live", "--config", NULL);
        succeed(virt_live_disk_limit(virt, UUID, "vda", &first, &error), &error);
        check_limits(virt, &first);
        g_assert_cmpint(virt_live_disk_limit(virt, UUID, "vdx", &first, &error), ==, VIRT_E_INVALID);
        succeed(virt_live_disk_limit(virt, UUID, "vda", &none, &error), &error);
        check_limits(virt, &none);
        machine_end(&m, virt);
}

/* --- libvirtd goes away
 * ------------------------------------------------------------------------------------------------------------------------------ */

static pid_t daemon_pid(void)
{
        g_autofree char *text = NULL;

        g_assert_true(g_file_get_contents("/run/libvirtd.pid", &text, NULL, NULL));
        return (pid_t)strtol(text, NULL, 10);
}

static void start_daemon(void)
{
        run("libvirtd", "-d", "-p", "/run/libvirtd.pid", NULL);
}

/* Decision 13 */
static void a_machine_survives_the_death_of_libvirtd(void)
{
        g_autoptr(virt) virt = open_host();
        struct virt_domain_entry entry = {};
        struct virt_error error = {};
        struct seen seen = {};
        struct machine m;
        pid_t pid;

        machine_init(&m, virt, "survivor");
        define(virt, &m);
        succeed(virt_domain_start(virt, UUID, false, &error), &error);
        succeed(virt_events_start(virt, on_event, &seen, &error), &error);
        pid = daemon_pid();
        g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
        wait_event(&seen, VIRT_EVENT_DISCONNECTED, VIRT_ROLE_COUNT);
        g_assert_cmpint(virt_domain_get(virt, UUID, &entry, &error), ==, VIRT_E_UNREACHABLE);
        g_assert_cmpint(virt_reconnect(virt, &error), ==, VIRT_E_UNREACHABLE);
        start_daemon();
        for (int r = VIRT_E_UNREACHABLE; r;)
                r = virt_reconnect(virt, &error);
        check_state(virt, VIRT_STATE_RUNNING, "");
        /* Not destroyed at once: libvirt tells no event of a domain that ends while it still takes up its monitor again. */
        succeed(virt_domain_suspend(virt, UUID, &error), &error);
        wait_event(&seen, VIRT_EVENT_LIFECYCLE, 1); /* subscribed again */
        machine_end(&m, virt);
}

static unsigned count_threads(void)
{
        g_autoptr(GDir) folder = g_dir_open("/proc/self/task", 0, NULL);
        unsigned n = 0;

        while (folder && g_dir_read_name(folder))
                n++;
        return n;
}

static void a_hung_libvirtd_is_noticed_and_left(void)
{
        g_autoptr(virt) virt = open_host_with(1);
        struct virt_domain_entry *entries = NULL;
        struct virt_error error = {};
        struct seen seen = {};
        pid_t pid = daemon_pid();
        unsigned threads;
        gint64 begin;
        size_t n;

        succeed(virt_events_start(virt, on_event, &seen, &error), &error);
        g_assert_cmpint(virt_probe(virt, VIRT_JOBS, 5000000, &error), ==, VIRT_HEALTHY);
        g_assert_cmpint(kill(pid, SIGSTOP), ==, 0);
        begin = g_get_monotonic_time();
        g_assert_cmpint(virt_probe(virt, VIRT_JOBS, 200000, &error), ==, VIRT_HUNG);
        g_assert_cmpint(g_get_monotonic_time() - begin, <, 2 * G_TIME_SPAN_SECOND);
        g_assert_cmpint(virt_domain_undefine(virt, UUID, &error), ==, VIRT_E_UNREACHABLE);
        /* A call that waits comes back by keepalive. */
        g_assert_cmpint(virt_domains_list(virt, &entries, &n, &error), ==, VIRT_E_UNREACHABLE);
        wait_event(&seen, VIRT_EVENT_DISCONNECTED, 1);
        /* Who opens a connection now waits once; the next ones are told at once, and no threads gather. */
        g_assert_cmpint(virt_reconnect(virt, &error), ==, VIRT_E_UNREACHABLE);
        threads = count_threads();
        begin = g_get_monotonic_time();
        for (unsigned i = 0; i < 20; i++)
                g_assert_cmpint(virt_reconnect(virt, &error), ==, VIRT_E_UNREACHABLE);
        g_assert_cmpint(g_get_monotonic_time() - begin, <, 2 * G_TIME_SPAN_SECOND);
        g_assert_cmpuint(count_threads(), <=, threads);
        g_assert_cmpint(kill(pid, SIGCONT), ==, 0);
        begin = g_get_monotonic_time();
        while (virt_reconnect(virt, &error)) {
                g_assert_cmpint(g_get_monotonic_time() - begin, <, 20 * G_TIME_SPAN_SECOND);
                g_usleep(10000);
        }
        g_assert_cmpint(virt_probe(virt, VIRT_JOBS, 5000000, &error), ==, VIRT_HEALTHY);
        succeed(virt_domains_list(virt, &entries, &n, &error), &error);
        g_assert_cmpuint(n, ==, 0);
        virt_domains_list_free(entries, n);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        if (!g_getenv("GABBRO_LAB")) {
                g_printerr("run it by tests/lab/host.sh\n");
                return 77;
        }
        run("ip", "link", "add", "gbr0", "type", "bridge", NULL);
        run("ip", "link", "set", "gbr0", "up", NULL);
        vm_storage_tests();
        g_test_add_func("/vm/attack_4_a_raw_volume_stays_raw_whatever_its_guest_writes",
                        attack_4_a_raw_volume_stays_raw_whatever_its_guest_writes);
        g_test_add_func("/vm/a_machine_lives_through_all_its_states", a_machine_lives_through_all_its_states);
        g_test_add_func("/vm/a_console_can_be_taken_over", a_console_can_be_taken_over);
        g_test_add_func("/vm/a_machine_defined_from_its_record_is_the_same", a_machine_defined_from_its_record_is_the_same);
        g_test_add_func("/vm/efi_variables_go_with_the_machine", efi_variables_go_with_the_machine);
        g_test_add_func("/vm/a_failed_start_has_words_and_a_diagnosis", a_failed_start_has_words_and_a_diagnosis);
        g_test_add_func("/vm/cpu_weights_change_while_it_runs", cpu_weights_change_while_it_runs);
        g_test_add_func("/vm/a_machine_grows_while_it_runs", a_machine_grows_while_it_runs);
        g_test_add_func("/vm/limits_of_disks_change_while_it_runs", limits_of_disks_change_while_it_runs);
        g_test_add_func("/vm/a_machine_survives_the_death_of_libvirtd", a_machine_survives_the_death_of_libvirtd);
        g_test_add_func("/vm/a_hung_libvirtd_is_noticed_and_left", a_hung_libvirtd_is_noticed_and_left);
        return g_test_run();
}
