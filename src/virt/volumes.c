/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/pools.h"

#include "base/file.h"
#include "base/limits.h"
#include "virt/virt_internal.h"
#include "virt/xml.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define NAME_MAX_BYTES 200
#define SECTOR         512
/* Subclusters of extended L2 entries are a 32nd of a cluster: 128 KiB gives 4 KiB, the guest's page; large volumes get larger ones
 * so that preallocated metadata stays small. */
#define CLUSTER_BYTES       (128u << 10)
#define CLUSTER_BYTES_LARGE (1u << 20)
#define LARGE_BYTES         (128ull << 30)

void virt_volume_clear(struct virt_volume *volume)
{
        g_free(volume->path);
        *volume = (struct virt_volume){};
}

static int find_volume(virConnectPtr connection, const char *pool, const char *name, virStorageVolPtr *ret_volume,
                       struct virt_error *reterr)
{
        AUTO_POOL found = virStoragePoolLookupByName(connection, pool);

        if (!found)
                return virt_fail(reterr, "PoolFailed");
        *ret_volume = virStorageVolLookupByName(found, name);
        return *ret_volume ? 0 : virt_fail(reterr, "VolumeFailed");
}

static int read_format(virStorageVolPtr volume, enum virt_format *ret_format, struct virt_error *reterr)
{
        AUTO_TEXT text = virStorageVolGetXMLDesc(volume, 0);
        AUTO_XML doc = text ? xml_parse(text, LIMIT_DOMAIN_XML_BYTES) : NULL;

        if (!doc)
                return virt_fail(reterr, "VolumeFailed");
        *ret_format =
                xml_attribute_is(xml_find(xml_root(doc), "target/format"), "type", "qcow2") ? VIRT_FORMAT_QCOW2 : VIRT_FORMAT_RAW;
        return 0;
}

static int read_volume(virStorageVolPtr volume, struct virt_volume *ret_volume, struct virt_error *reterr)
{
        AUTO_TEXT path = virStorageVolGetPath(volume);
        enum virt_format format = VIRT_FORMAT_RAW;
        virStorageVolInfo info;
        int r;

        if (!path || virStorageVolGetInfo(volume, &info) < 0)
                return virt_fail(reterr, "VolumeFailed");
        r = read_format(volume, &format, reterr);
        if (r)
                return r;
        *ret_volume = (struct virt_volume){
                .path = g_strdup(path),
                .format = format,
                .capacity_bytes = info.capacity,
                .allocation_bytes = info.allocation,
        };
        return 0;
}

int virt_volume_get(struct virt *virt, const char *pool, const char *name, struct virt_volume *ret_volume,
                    struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_QUERIES, reterr);
        AUTO_VOLUME volume = NULL;
        int r;

        assert(pool && name && ret_volume);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        r = find_volume(connection, pool, name, &volume, reterr);
        return r ? r : read_volume(volume, ret_volume, reterr);
}

/* --- creation
 * ---------------------------------------------------------------------------------------------------------------------------------------
 */

static int check_options(const struct virt_volume_options *options, struct virt_error *reterr)
{
        static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
        size_t len = strlen(options->name);

        if (!len || len > NAME_MAX_BYTES || strspn(options->name, allowed) != len || strchr(".-_", *options->name))
                return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed",
                                "a volume's name has 1 to 200 letters, digits, '.', '_' and '-' and begins with a letter or digit");
        if (!options->capacity_bytes || options->capacity_bytes > LIMIT_IMAGE_BYTES)
                return virt_say(reterr, VIRT_E_INVALID, "ImageTooLarge", "a volume has 1 to %llu bytes", LIMIT_IMAGE_BYTES);
        if (!virt_format_to_text(options->format))
                return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "unknown volume format");
        return 0;
}

static char *volume_xml(const struct virt_volume_options *options, bool nocow)
{
        AUTO_XML doc = xml_new("volume");
        xmlNodePtr root = xml_root(doc), target, features;

        xml_set(root, "type", "file");
        xml_add_text(root, "name", options->name);
        xml_set(xml_add_number(root, "capacity", (options->capacity_bytes + SECTOR - 1) / SECTOR * SECTOR), "unit", "bytes");
        xml_set(xml_add_number(root, "allocation", 0), "unit", "bytes");
        target = xml_add(root, "target", NULL);
        xml_add(target, "format", "type", virt_format_to_text(options->format), NULL);
        xml_add_text(xml_add(target, "permissions", NULL), "mode", "0600");
        if (nocow)
                xml_add(target, "nocow", NULL);
        if (options->format == VIRT_FORMAT_QCOW2) {
                xml_add_text(target, "compat", "1.1");
                if (!options->no_extended_l2)
                        xml_set(xml_add_number(target, "clusterSize",
                                               options->capacity_bytes > LARGE_BYTES ? CLUSTER_BYTES_LARGE : CLUSTER_BYTES),
                                "unit", "B");
                features = xml_add(target, "features", NULL);
                if (!options->no_lazy_refcounts)
                        xml_add(features, "lazy_refcounts", NULL);
                if (!options->no_extended_l2)
                        xml_add(features, "extended_l2", NULL);
        }
        if (options->backing_path) {
                xmlNodePtr behind = xml_add(root, "backingStore", NULL);

                xml_add_text(behind, "path", options->backing_path);
                xml_add(behind, "format", "type", virt_format_to_text(options->backing_format), NULL);
        }
        return xml_to_text(doc);
}

static int exists(struct virt_error *reterr, const char *name, const char *pool)
{
        return virt_say(reterr, VIRT_E_EXISTS, "VolumeExists", "the pool %s has a volume or file %s already", pool, name);
}

/* libvirt knows only what its last refresh saw, and follows a dangling link: look ourselves too (C29). */
static int check_free(struct virt *virt, virStoragePoolPtr pool, const char *pool_name, const char *name, char **ret_path,
                      bool *ret_nocow, struct virt_error *reterr)
{
        AUTO_VOLUME known = virStorageVolLookupByName(pool, name);
        struct virt_pool_info info = {};
        g_autofree char *path = NULL;
        struct stat st;
        int r;

        if (known)
                return exists(reterr, name, pool_name);
        if (!virt_error_is(VIR_ERR_NO_STORAGE_VOL))
                return virt_fail(reterr, "VolumeFailed");
        r = virt_pool_info(virt, pool_name, &info, reterr);
        if (r || virt_is_test(virt)) {
                virt_pool_info_clear(&info);
                return r;
        }
        path = g_build_filename(info.path, name, NULL);
        *ret_nocow = g_strcmp0(info.filesystem, "btrfs") == 0;
        virt_pool_info_clear(&info);
        if (lstat(path, &st) == 0)
                return exists(reterr, name, pool_name);
        if (ret_path)
                *ret_path = g_strdup(path);
        return errno == ENOENT ? 0 : virt_say(reterr, VIRT_E_FAILED, "PoolFailed", "%s: %s", path, strerrordesc_np(errno));
}

/* C30: what libvirt says must be there. */
static int verify(virStoragePoolPtr pool, virStorageVolPtr volume, bool is_test, struct virt_volume *ret_volume,
                  struct virt_error *reterr)
{
        struct virt_volume made = {};
        struct stat st;
        int r;

        if (virStoragePoolRefresh(pool, 0) < 0)
                return virt_fail(reterr, "PoolFailed");
        r = read_volume(volume, &made, reterr);
        if (r)
                return r;
        if (!is_test && (lstat(made.path, &st) < 0 || !S_ISREG(st.st_mode))) {
                r = virt_say(reterr, VIRT_E_FAILED, "VolumeMissing", "libvirt made %s, but there is no such file", made.path);
                virt_volume_clear(&made);
                return r;
        }
        *ret_volume = made;
        return 0;
}

GMutexLocker *virt_storage_turn(void)
{
        static GMutex mutex;

        return g_mutex_locker_new(&mutex);
}

int virt_volume_create(struct virt *virt, const struct virt_volume_options *options, struct virt_volume *ret_volume,
                       struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_JOBS, reterr);
        g_autoptr(GMutexLocker) turn G_GNUC_UNUSED = NULL;
        g_autofree char *xml = NULL;
        AUTO_VOLUME volume = NULL;
        AUTO_POOL pool = NULL;
        unsigned flags = 0;
        bool nocow = false;
        int r;

        assert(options && options->pool && options->name && ret_volume);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        r = check_options(options, reterr);
        if (r)
                return r;
        pool = virStoragePoolLookupByName(connection, options->pool);
        if (!pool)
                return virt_fail(reterr, "PoolFailed");
        r = check_free(virt, pool, options->pool, options->name, NULL, &nocow, reterr);
        if (r)
                return r;
        if (options->format == VIRT_FORMAT_QCOW2 && !options->no_preallocation && !options->backing_path && !virt_is_test(virt))
                flags |= VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA;
        xml = volume_xml(options, nocow);
        turn = virt_storage_turn();
        volume = virStorageVolCreateXML(pool, xml, flags);
        if (!volume) {
                r = virt_fail(reterr, "VolumeFailed");
                return r == VIRT_E_STATE ? VIRT_E_FAILED : r;
        }
        r = verify(pool, volume, virt_is_test(virt), ret_volume, reterr);
        if (r)
                (void)virStorageVolDelete(volume, 0); /* the first failure is the one to tell */
        return r;
}

static int sync_folder(const char *path)
{
        g_autofree char *folder = g_path_get_dirname(path);
        autofd fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* btrfs shares blocks only between files that are both written in place, or both not; that can be set on an empty file alone. */
static void write_as(int from, int to)
{
        int flags = 0, own = 0;

        if (ioctl(from, FS_IOC_GETFLAGS, &flags) == 0 && flags & FS_NOCOW_FL && ioctl(to, FS_IOC_GETFLAGS, &own) == 0) {
                own |= FS_NOCOW_FL;
                (void)ioctl(to, FS_IOC_SETFLAGS, &own); /* then sharing fails, and says so */
        }
}

/* 0, or -errno; what was made is durable or gone again. */
static int share_blocks(int from, const char *path)
{
        autofd to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        int r;

        if (to < 0)
                return -errno;
        write_as(from, to);
        r = ioctl(to, FICLONE, from) < 0 || fsync(to) < 0 ? -errno : sync_folder(path);
        if (r < 0)
                (void)unlink(path);
        return r;
}

static int reflink_file(const char *source, const char *path, struct virt_error *reterr)
{
        static const int cannot[] = {EOPNOTSUPP, EXDEV, EINVAL, ENOTTY, ENOSYS};
        autofd from = open(source, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        int r = from < 0 ? -errno : share_blocks(from, path);

        for (size_t i = 0; i < G_N_ELEMENTS(cannot); i++)
                if (r == -cannot[i])
                        return virt_say(reterr, VIRT_E_INVALID, "ReflinkNotOnFilesystem",
                                        "the file system of %s cannot share blocks with %s: %s", path, source, strerrordesc_np(-r));
        if (r < 0)
                return virt_say(reterr, r == -ENOSPC ? VIRT_E_NO_SPACE : VIRT_E_FAILED, "VolumeFailed", "%s: %s", path,
                                strerrordesc_np(-r));
        return 0;
}

int virt_volume_reflink(struct virt *virt, const char *pool, const char *name, const char *source, struct virt_volume *ret_volume,
                        struct virt_error *reterr)
{
        struct virt_volume_options options = {.pool = pool, .name = name, .format = VIRT_FORMAT_RAW, .capacity_bytes = 1};
        AUTO_CONNECTION connection = virt_use(virt, VIRT_JOBS, reterr);
        g_autoptr(GMutexLocker) turn G_GNUC_UNUSED = NULL;
        g_autofree char *path = NULL;
        AUTO_VOLUME volume = NULL;
        AUTO_POOL found = NULL;
        bool nocow;
        int r;

        assert(pool && name && source && ret_volume);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        r = check_options(&options, reterr);
        if (r)
                return r;
        found = virStoragePoolLookupByName(connection, pool);
        if (!found)
                return virt_fail(reterr, "PoolFailed");
        r = check_free(virt, found, pool, name, &path, &nocow, reterr);
        if (!r)
                r = path ? reflink_file(source, path, reterr)
                         : virt_say(reterr, VIRT_E_INVALID, "ReflinkNotOnFilesystem", "this pool has no files");
        if (r)
                return r;
        turn = virt_storage_turn();
        if (virStoragePoolRefresh(found, 0) < 0)
                r = virt_fail(reterr, "PoolFailed");
        if (!r)
                r = find_volume(connection, pool, name, &volume, reterr);
        if (!r)
                r = read_volume(volume, ret_volume, reterr);
        if (r)
                (void)unlink(path); /* the first failure is the one to tell */
        return r;
}

int virt_volume_delete(struct virt *virt, const char *pool, const char *name, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_JOBS, reterr);
        g_autoptr(GMutexLocker) turn G_GNUC_UNUSED = NULL;
        AUTO_VOLUME volume = NULL;
        int r;

        assert(pool && name);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        turn = virt_storage_turn();
        r = find_volume(connection, pool, name, &volume, reterr);
        if (!r && virStorageVolDelete(volume, 0) < 0)
                r = virt_fail(reterr, "VolumeFailed");
        return r == VIRT_E_MISSING ? 0 : r;
}

int virt_volume_grow(struct virt *virt, const char *pool, const char *name, uint64_t capacity_bytes, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_JOBS, reterr);
        uint64_t wanted = (capacity_bytes + SECTOR - 1) / SECTOR * SECTOR;
        g_autoptr(GMutexLocker) turn G_GNUC_UNUSED = NULL;
        AUTO_VOLUME volume = NULL;
        virStorageVolInfo info;
        int r;

        assert(pool && name);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        if (capacity_bytes > LIMIT_IMAGE_BYTES)
                return virt_say(reterr, VIRT_E_INVALID, "ImageTooLarge", "a volume has at most %llu bytes", LIMIT_IMAGE_BYTES);
        turn = virt_storage_turn();
        r = find_volume(connection, pool, name, &volume, reterr);
        if (r)
                return r;
        if (virStorageVolGetInfo(volume, &info) < 0)
                return virt_fail(reterr, "VolumeFailed");
        if (wanted < info.capacity)
                return virt_say(reterr, VIRT_E_INVALID, "ImageTooSmall", "the volume has %llu bytes and is not made smaller",
                                info.capacity);
        if (wanted == info.capacity)
                return 0;
        return virStorageVolResize(volume, wanted, 0) < 0 ? virt_fail(reterr, "VolumeFailed") : 0;
}
