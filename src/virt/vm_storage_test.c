/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "virt/image_header.h"
#include "virt/image_tool.h"
#include "virt/vm_test.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* Pools and volumes of a real libvirtd. */

static struct image_facts judge(const char *path)
{
        autofd fd = open(path, O_RDONLY | O_CLOEXEC);
        struct image_refusal refusal = {};
        struct image_facts facts = {};

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(image_header_judge(fd, &facts, &refusal), ==, 0);
        return facts;
}

/* C12, C17, C24 to C30: every combination of qcow2 features is accepted on stand-alone volumes. */
static void volumes_are_made_with_every_combination(void)
{
        g_autoptr(virt) virt = open_host();

        ensure_pool(virt);
        for (unsigned bits = 0; bits < 16; bits++) {
                struct virt_volume_options options = {
                        .pool = POOL,
                        .name = "web-main.qcow2",
                        .format = bits & 8 ? VIRT_FORMAT_RAW : VIRT_FORMAT_QCOW2,
                        .capacity_bytes = 10 * GIB,
                        .no_lazy_refcounts = bits & 1,
                        .no_extended_l2 = bits & 2,
                        .no_preallocation = bits & 4,
                };
                struct virt_volume volume = {}, seen = {};
                struct virt_error error = {};
                struct image_facts facts;
                struct stat st;

                succeed(virt_volume_create(virt, &options, &volume, &error), &error);
                g_assert_cmpstr(volume.path, ==, FOLDER "/web-main.qcow2");
                g_assert_cmpint(lstat(volume.path, &st), ==, 0);
                g_assert_cmpuint((uint64_t)st.st_blocks * 512, <, 32 * MIB); /* thin */
                g_assert_cmpuint(st.st_mode & 0777, ==, 0600);
                facts = judge(volume.path);
                g_assert_cmpuint(facts.virtual_size_bytes, ==, 10 * GIB);
                if (options.format == VIRT_FORMAT_QCOW2) {
                        g_assert_cmpint(facts.lazy_refcounts, ==, !options.no_lazy_refcounts);
                        g_assert_cmpint(facts.extended_l2, ==, !options.no_extended_l2);
                        g_assert_cmpuint(facts.cluster_bits, ==, options.no_extended_l2 ? 16 : 17);
                        g_assert_cmpint((uint64_t)st.st_size > 10 * GIB, ==, !options.no_preallocation);
                }
                succeed(virt_volume_get(virt, POOL, "web-main.qcow2", &seen, &error), &error);
                g_assert_cmpint(seen.format, ==, options.format);
                g_assert_cmpuint(seen.capacity_bytes, ==, 10 * GIB);
                g_assert_cmpint(virt_volume_create(virt, &options, &volume, &error), ==, VIRT_E_EXISTS);
                succeed(virt_volume_delete(virt, POOL, "web-main.qcow2", &error), &error);
                g_assert_cmpint(lstat(FOLDER "/web-main.qcow2", &st), ==, -1);
                virt_volume_clear(&volume);
                virt_volume_clear(&seen);
        }
}

static void files_that_libvirt_has_not_seen_are_not_overwritten(void)
{
        struct virt_volume_options options = {
                .pool = POOL, .name = "foreign.qcow2", .format = VIRT_FORMAT_QCOW2, .capacity_bytes = MIB};
        g_autoptr(virt) virt = open_host();
        struct virt_volume volume = {};
        struct virt_error error = {};

        ensure_pool(virt);
        g_assert_true(g_file_set_contents(FOLDER "/foreign.qcow2", "precious", 8, NULL));
        g_assert_cmpint(virt_volume_create(virt, &options, &volume, &error), ==, VIRT_E_EXISTS);
        g_assert_cmpint(unlink(FOLDER "/foreign.qcow2"), ==, 0);
        g_assert_cmpint(symlink("/tmp/gabbro-no-such-target", FOLDER "/foreign.qcow2"), ==, 0);
        g_assert_cmpint(virt_volume_create(virt, &options, &volume, &error), ==, VIRT_E_EXISTS);
        g_assert_false(g_file_test("/tmp/gabbro-no-such-target", G_FILE_TEST_EXISTS));
        g_assert_cmpint(unlink(FOLDER "/foreign.qcow2"), ==, 0);
}

/* What a kill between the copy and libvirt's look leaves is no hindrance for ever. */
static void a_volume_that_libvirt_has_not_seen_is_deleted(void)
{
        g_autoptr(virt) virt = open_host();
        struct virt_error error = {};

        ensure_pool(virt);
        g_assert_true(g_file_set_contents(FOLDER "/unseen.qcow2", "half", 4, NULL));
        succeed(virt_volume_delete(virt, POOL, "unseen.qcow2", &error), &error);
        g_assert_false(g_file_test(FOLDER "/unseen.qcow2", G_FILE_TEST_EXISTS));
        succeed(virt_volume_delete(virt, POOL, "unseen.qcow2", &error), &error);
}

static void a_full_pool_is_told_and_nothing_is_left(void)
{
        struct virt_pool_options pool = {.name = "small", .path = "/var/lib/libvirt/images/small", .create = true};
        struct virt_volume_options options = {
                .pool = "small", .name = "big.qcow2", .format = VIRT_FORMAT_QCOW2, .capacity_bytes = 1024 * GIB};
        g_autoptr(virt) virt = open_host();
        struct virt_volume volume = {};
        struct virt_pool_info info = {};
        struct virt_error error = {};

        g_assert_cmpint(g_mkdir(pool.path, 0711), ==, 0);
        g_assert_cmpint(mount("tmpfs", pool.path, "tmpfs", 0, "size=1m"), ==, 0);
        succeed(virt_pool_ensure(virt, &pool, &error), &error);
        succeed(virt_pool_info(virt, "small", &info, &error), &error);
        g_assert_cmpuint(info.capacity_bytes, ==, MIB);
        g_assert_cmpstr(info.path, ==, pool.path);
        virt_pool_info_clear(&info);
        g_assert_cmpint(virt_volume_create(virt, &options, &volume, &error), ==, VIRT_E_NO_SPACE);
        g_assert_cmpstr(error.reason, ==, "PoolFull");
        g_assert_false(g_file_test("/var/lib/libvirt/images/small/big.qcow2", G_FILE_TEST_EXISTS));
        g_assert_cmpint(virt_volume_get(virt, "small", "big.qcow2", &volume, &error), ==, VIRT_E_MISSING);
        succeed(virt_pool_remove(virt, "small", &error), &error);
        g_assert_cmpint(umount(pool.path), ==, 0);
}

static void a_folder_is_one_pool_only(void)
{
        struct virt_pool_options other = {.name = "other", .path = FOLDER};
        g_autoptr(virt) virt = open_host();
        struct virt_error error = {};

        ensure_pool(virt);
        g_assert_cmpint(virt_pool_ensure(virt, &other, &error), ==, VIRT_E_EXISTS);
        other = (struct virt_pool_options){.name = POOL, .path = "/var/lib/libvirt/images/else", .create = true};
        g_assert_cmpint(virt_pool_ensure(virt, &other, &error), ==, VIRT_E_EXISTS);
        succeed(virt_pool_refresh(virt, POOL, NULL, &error), &error);
}

/* E28, E29 */
static void a_clone_grows_and_never_shrinks(void)
{
        g_autoptr(virt) virt = open_host();
        struct virt_volume volume = {};
        struct virt_error error = {};
        g_autofree char *path = make_disk(virt, "clone.qcow2");

        succeed(virt_volume_grow(virt, POOL, "clone.qcow2", VIRT_FORMAT_QCOW2, 64 * MIB + 1, &error), &error);
        succeed(virt_volume_get(virt, POOL, "clone.qcow2", &volume, &error), &error);
        g_assert_cmpuint(volume.capacity_bytes, ==, 64 * MIB + 512);
        virt_volume_clear(&volume);
        g_assert_cmpint(virt_volume_grow(virt, POOL, "clone.qcow2", VIRT_FORMAT_QCOW2, 4 * MIB, &error), ==, VIRT_E_INVALID);
        run("qemu-img", "check", "-q", "-f", "qcow2", path, NULL);
        succeed(virt_volume_delete(virt, POOL, "clone.qcow2", &error), &error);
}

void write_at(const char *path, uint64_t offset, const void *bytes, size_t len)
{
        autofd fd = open(path, O_WRONLY | O_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(pwrite(fd, bytes, len, (off_t)offset), ==, len);
}

/* The other way round: what was made as qcow2 and is none any more is not opened as anything. */
static void a_qcow2_volume_that_is_none_any_more_is_refused(void)
{
        g_autoptr(virt) virt = open_host();
        struct virt_volume volume = {};
        struct virt_error error = {};
        g_autofree char *path = make_disk(virt, "lost.qcow2");

        write_at(path, 0, "\0\0\0\0", 4);
        succeed(virt_pool_refresh(virt, POOL, NULL, &error), &error);
        g_assert_cmpint(virt_volume_get_as(virt, POOL, "lost.qcow2", VIRT_FORMAT_QCOW2, &volume, &error), ==, VIRT_E_FAILED);
        g_assert_nonnull(strstr(error.words, "qcow2"));
        succeed(virt_volume_delete(virt, POOL, "lost.qcow2", &error), &error);
}

void vm_storage_tests(void)
{
        g_test_add_func("/vm/volumes_are_made_with_every_combination", volumes_are_made_with_every_combination);
        g_test_add_func("/vm/files_that_libvirt_has_not_seen_are_not_overwritten",
                        files_that_libvirt_has_not_seen_are_not_overwritten);
        g_test_add_func("/vm/a_volume_that_libvirt_has_not_seen_is_deleted", a_volume_that_libvirt_has_not_seen_is_deleted);
        g_test_add_func("/vm/a_full_pool_is_told_and_nothing_is_left", a_full_pool_is_told_and_nothing_is_left);
        g_test_add_func("/vm/a_folder_is_one_pool_only", a_folder_is_one_pool_only);
        g_test_add_func("/vm/a_clone_grows_and_never_shrinks", a_clone_grows_and_never_shrinks);
        g_test_add_func("/vm/a_qcow2_volume_that_is_none_any_more_is_refused", a_qcow2_volume_that_is_none_any_more_is_refused);
}
