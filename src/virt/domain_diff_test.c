/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domains.h"

#include <glib.h>

/* A machine with its lists, twice: one is what was ordered, the other is changed by each case. */
struct pair {
        struct virt_domain wanted, found;
        struct virt_disk wanted_disks[2], found_disks[3];
        struct virt_nic wanted_nics[1], found_nics[2];
};

static void pair_init(struct pair *pair)
{
        struct virt_domain domain = {.type = VIRT_TYPE_KVM,
                                     .name = "web-6f9619ff",
                                     .machine_type = "pc-q35-7.2",
                                     .cpu = {.mode = VIRT_CPU_CUSTOM, .model = "qemu64"},
                                     .vcpus = 2,
                                     .memory_mib = 2048,
                                     .n_disks = 2,
                                     .n_nics = 1};
        struct virt_disk root = {.name = "root", .path = "/p/root.qcow2", .format = VIRT_FORMAT_QCOW2, .target = "vda"};
        struct virt_disk seed = {.name = "seed", .path = "/s/seed.iso", .bus = VIRT_BUS_SATA, .cdrom = true, .target = "sda"};
        struct virt_nic nic = {.name = "p-1", .mac = "52:54:00:00:00:01", .bridge = "gbr0", .tap = "gbt1", .isolated = true};

        *pair = (struct pair){.wanted = domain,
                              .found = domain,
                              .wanted_disks = {root, seed},
                              .found_disks = {root, seed},
                              .wanted_nics = {nic},
                              .found_nics = {nic}};
        pair->wanted.disks = pair->wanted_disks;
        pair->wanted.nics = pair->wanted_nics;
        pair->found.disks = pair->found_disks;
        pair->found.nics = pair->found_nics;
}

static void assert_differs(const struct pair *pair, bool live, const char *expected)
{
        g_autofree char *words = virt_domain_differences(&pair->wanted, &pair->found, live);

        g_assert_cmpstr(words, ==, expected);
}

static void the_same_has_no_words(void)
{
        struct pair pair;

        pair_init(&pair);
        /* What libvirt chooses and what a guest never sees does not count. */
        pair.found_disks[0].cache = "none";
        pair.found_disks[0].pci = (struct virt_pci){.set = true, .bus = 4};
        pair.found_nics[0].mac = "52:54:00:00:00:01";
        assert_differs(&pair, false, NULL);
        assert_differs(&pair, true, NULL);
}

static void each_difference_is_named(void)
{
        struct pair pair;

        pair_init(&pair);
        pair.found.memory_mib = 4096;
        assert_differs(&pair, true, "memory is 4096 MiB instead of 2048 MiB");
        pair_init(&pair);
        pair.found.balloon_mib = 512; /* of what runs: what its guest holds */
        assert_differs(&pair, true, NULL);
        assert_differs(&pair, false, "the memory that the guest keeps is 512 MiB instead of 2048 MiB");
        pair_init(&pair);
        pair.found.vcpus = 8;
        assert_differs(&pair, false, "the number of cores is 8 instead of 2");
        pair_init(&pair);
        pair.found.cpu.model = "Skylake-Client";
        assert_differs(&pair, false, "the processor model is Skylake-Client instead of qemu64");
        assert_differs(&pair, true, NULL); /* what runs names it as QEMU was told */
        pair_init(&pair);
        pair.found_disks[0].path = "/etc/shadow";
        assert_differs(&pair, true, "disk vda (root) is /etc/shadow instead of /p/root.qcow2");
        pair_init(&pair);
        pair.found_disks[0].format = VIRT_FORMAT_RAW;
        assert_differs(&pair, true, "disk vda (root) is read as raw instead of qcow2");
        pair_init(&pair);
        pair.wanted_disks[0].limits.most[VIRT_LIMIT_READ_BYTES] = 65536;
        pair.wanted_disks[0].limits.most[VIRT_LIMIT_WRITE_OPERATIONS] = 20;
        assert_differs(&pair, true,
                       "disk vda (root) is limited to (not limited) instead of (read_bytes_sec 65536, write_iops_sec 20)");
        pair.found_disks[0].limits = pair.wanted_disks[0].limits;
        assert_differs(&pair, false, NULL);
        pair.found_disks[0].limits.more = true;
        assert_differs(&pair, false,
                       "disk vda (root) is limited to (read_bytes_sec 65536, write_iops_sec 20, bursts) instead of "
                       "(read_bytes_sec 65536, write_iops_sec 20)");
        pair_init(&pair);
        pair.found.n_disks = 1;
        assert_differs(&pair, true, "disk sda (seed) is not there");
        pair_init(&pair);
        pair.found_nics[0].link_down = true;
        assert_differs(&pair, true, "the link of interface 52:54:00:00:00:01 is down");
        pair_init(&pair);
        pair.found_nics[0].bridge = "br0";
        assert_differs(&pair, true, "the bridge of interface 52:54:00:00:00:01 is br0 instead of gbr0");
}

static void what_was_added_is_named(void)
{
        struct pair pair;

        pair_init(&pair);
        pair.found_disks[2] = (struct virt_disk){.name = "x", .path = "/dev/shm/x", .target = "vdx"};
        pair.found_nics[1] = (struct virt_nic){.name = "y", .mac = "52:54:00:00:00:99"};
        pair.found.n_disks = 3;
        pair.found.n_nics = 2;
        assert_differs(&pair, true, "disk vdx (/dev/shm/x) was added; interface 52:54:00:00:00:99 was added");
}

static void many_differences_are_cut(void)
{
        struct pair pair;
        g_autofree char *words = NULL;

        pair_init(&pair);
        pair.found.n_disks = pair.found.n_nics = 0;
        pair.found.memory_mib = pair.found.vcpus = 1;
        pair.found.name = "other";
        pair.found.machine_type = "pc-q35-6.0";
        words = virt_domain_differences(&pair.wanted, &pair.found, false);
        g_assert_true(g_str_has_suffix(words, "; and 2 more"));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/domain_diff/the_same_has_no_words", the_same_has_no_words);
        g_test_add_func("/domain_diff/each_difference_is_named", each_difference_is_named);
        g_test_add_func("/domain_diff/what_was_added_is_named", what_was_added_is_named);
        g_test_add_func("/domain_diff/many_differences_are_cut", many_differences_are_cut);
        return g_test_run();
}
