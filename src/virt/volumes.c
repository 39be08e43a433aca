/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/pools.h"

#include "base/limits.h"
#include "virt/pool_driver.h"

#include <assert.h>
#include <string.h>

#define NAME_MAX_BYTES 200
#define SECTOR         512

static uint64_t whole_sectors(uint64_t bytes)
{
        return (bytes + SECTOR - 1) / SECTOR * SECTOR;
}

void virt_volume_clear(struct virt_volume *volume)
{
        g_free(volume->path);
        *volume = (struct virt_volume){};
}

static int find_in(virStoragePoolPtr pool, const char *name, virStorageVolPtr *ret_volume, struct virt_error *reterr)
{
        *ret_volume = virStorageVolLookupByName(pool, name);
        return *ret_volume ? 0 : virt_fail(reterr, "VolumeFailed");
}

static int find_volume(virConnectPtr connection, const char *pool, const char *name, virStorageVolPtr *ret_volume,
                       struct virt_error *reterr)
{
        AUTO_POOL found = virStoragePoolLookupByName(connection, pool);

        return found ? find_in(found, name, ret_volume, reterr) : virt_fail(reterr, "PoolFailed");
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

int virt_volume_get_as(struct virt *virt, const char *pool, const char *name, enum virt_format format,
                       struct virt_volume *ret_volume, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_QUERIES, reterr);
        struct virt_volume read = {};
        AUTO_OPEN_POOL open = {};
        AUTO_VOLUME volume = NULL;
        int r;

        assert(pool && name && ret_volume);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        r = pool_look_up(virt, connection, pool, &open, reterr);
        if (!r)
                r = find_in(open.pool, name, &volume, reterr);
        if (!r)
                r = read_volume(volume, &read, reterr);
        if (!r && open.driver)
                r = open.driver->judge(&read, format, reterr);
        if (r)
                virt_volume_clear(&read);
        else
                *ret_volume = read;
        return r;
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

static char *volume_xml(const struct open_pool *open, const struct virt_volume_options *options, unsigned *ret_flags)
{
        AUTO_XML doc = xml_new("volume");
        xmlNodePtr root = xml_root(doc);

        xml_add_text(root, "name", options->name);
        xml_set(xml_add_number(root, "capacity", whole_sectors(options->capacity_bytes)), "unit", "bytes");
        xml_set(xml_add_number(root, "allocation", 0), "unit", "bytes");
        *ret_flags = open->driver->describe(&open->info, options, root);
        return xml_to_text(doc);
}

/* libvirt knows only what its last refresh saw: the driver looks too (C29). */
static int check_free(const struct open_pool *open, const char *name, struct virt_error *reterr)
{
        AUTO_VOLUME known = virStorageVolLookupByName(open->pool, name);

        if (known)
                return virt_say(reterr, VIRT_E_EXISTS, "VolumeExists", "the pool %s has a volume %s already",
                                virStoragePoolGetName(open->pool), name);
        if (!virt_error_is(VIR_ERR_NO_STORAGE_VOL))
                return virt_fail(reterr, "VolumeFailed");
        return open->driver->check_free(&open->info, name, reterr);
}

/* C30: what libvirt says must be there. */
static int verify(const struct open_pool *open, virStorageVolPtr volume, struct virt_volume *ret_volume, struct virt_error *reterr)
{
        struct virt_volume made = {};
        int r;

        if (virStoragePoolRefresh(open->pool, 0) < 0)
                return virt_fail(reterr, "PoolFailed");
        r = read_volume(volume, &made, reterr);
        if (!r)
                r = open->driver->check_made(&made, reterr);
        if (r)
                virt_volume_clear(&made);
        else
                *ret_volume = made;
        return r;
}

int virt_volume_create(struct virt *virt, const struct virt_volume_options *options, struct virt_volume *ret_volume,
                       struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_JOBS, reterr);
        g_autoptr(GMutexLocker) turn G_GNUC_UNUSED = NULL;
        g_autofree char *xml = NULL;
        AUTO_OPEN_POOL open = {};
        AUTO_VOLUME volume = NULL;
        unsigned flags;
        int r;

        assert(options && options->pool && options->name && ret_volume);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        r = check_options(options, reterr);
        if (!r)
                r = pool_open(virt, connection, options->pool, &open, reterr);
        if (!r)
                r = check_free(&open, options->name, reterr);
        if (r)
                return r;
        xml = volume_xml(&open, options, &flags);
        turn = virt_storage_turn();
        volume = virStorageVolCreateXML(open.pool, xml, flags);
        if (!volume) {
                r = virt_fail(reterr, "VolumeFailed");
                return r == VIRT_E_STATE ? VIRT_E_FAILED : r;
        }
        r = verify(&open, volume, ret_volume, reterr);
        if (r)
                (void)virStorageVolDelete(volume, 0); /* the first failure is the one to tell */
        return r;
}

/* --- sharing blocks, deleting, growing
 * --------------------------------------------------------------------------------------------------------------------------------------
 */

/* Also one that came into the pool without libvirt: as a copy that shares blocks does, until libvirt has looked. */
static int delete_in(virStoragePoolPtr pool, const char *name, struct virt_error *reterr)
{
        AUTO_VOLUME volume = NULL;
        int r = find_in(pool, name, &volume, reterr);

        if (r == VIRT_E_MISSING) {
                if (virStoragePoolRefresh(pool, 0) < 0)
                        return virt_fail(reterr, "PoolFailed");
                r = find_in(pool, name, &volume, reterr);
        }
        if (!r && virStorageVolDelete(volume, 0) < 0)
                r = virt_fail(reterr, "VolumeFailed");
        return r == VIRT_E_MISSING ? 0 : r;
}

int virt_volume_reflink(struct virt *virt, const char *pool, const char *name, const char *source, struct virt_volume *ret_volume,
                        struct virt_error *reterr)
{
        struct virt_volume_options options = {.pool = pool, .name = name, .format = VIRT_FORMAT_RAW, .capacity_bytes = 1};
        AUTO_CONNECTION connection = virt_use(virt, VIRT_JOBS, reterr);
        g_autoptr(GMutexLocker) turn G_GNUC_UNUSED = NULL;
        struct virt_error ignored;
        AUTO_OPEN_POOL open = {};
        AUTO_VOLUME volume = NULL;
        int r;

        assert(pool && name && source && ret_volume);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        r = check_options(&options, reterr);
        if (!r)
                r = pool_open(virt, connection, pool, &open, reterr);
        if (!r)
                r = check_free(&open, name, reterr);
        if (!r)
                r = open.driver->reflink(&open.info, name, source, reterr);
        if (r)
                return r;
        turn = virt_storage_turn();
        if (virStoragePoolRefresh(open.pool, 0) < 0)
                r = virt_fail(reterr, "PoolFailed");
        if (!r)
                r = find_in(open.pool, name, &volume, reterr);
        if (!r)
                r = read_volume(volume, ret_volume, reterr);
        if (r)
                (void)delete_in(open.pool, name, &ignored); /* the first failure is the one to tell */
        return r;
}

int virt_volume_delete(struct virt *virt, const char *pool, const char *name, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_JOBS, reterr);
        g_autoptr(GMutexLocker) turn G_GNUC_UNUSED = NULL;
        AUTO_POOL found = NULL;
        int r;

        assert(pool && name);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        turn = virt_storage_turn();
        found = virStoragePoolLookupByName(connection, pool);
        r = found ? delete_in(found, name, reterr) : virt_fail(reterr, "PoolFailed");
        return r == VIRT_E_MISSING ? 0 : r;
}

/* What libvirt reads out of the bytes is right: they are not a guest's. */
static int grow_by_libvirt(virStorageVolPtr volume, uint64_t wanted, struct virt_error *reterr)
{
        virStorageVolInfo info;

        if (virStorageVolGetInfo(volume, &info) < 0)
                return virt_fail(reterr, "VolumeFailed");
        if (wanted < info.capacity)
                return virt_say(reterr, VIRT_E_INVALID, "ImageTooSmall", "the volume has %llu bytes and is not made smaller",
                                info.capacity);
        if (wanted == info.capacity)
                return 0;
        return virStorageVolResize(volume, wanted, 0) < 0 ? virt_fail(reterr, "VolumeFailed") : 0;
}

static int grow_raw(const struct open_pool *open, virStorageVolPtr volume, uint64_t wanted, struct virt_error *reterr)
{
        struct virt_volume read = {};
        int r = read_volume(volume, &read, reterr);

        if (!r)
                r = open->driver->judge(&read, VIRT_FORMAT_RAW, reterr);
        if (!r)
                r = open->driver->grow_raw(&read, wanted, reterr);
        virt_volume_clear(&read);
        return r;
}

int virt_volume_grow(struct virt *virt, const char *pool, const char *name, enum virt_format format, uint64_t capacity_bytes,
                     struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_JOBS, reterr);
        g_autoptr(GMutexLocker) turn G_GNUC_UNUSED = NULL;
        uint64_t wanted = whole_sectors(capacity_bytes);
        AUTO_OPEN_POOL open = {};
        AUTO_VOLUME volume = NULL;
        int r;

        assert(pool && name);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        if (capacity_bytes > LIMIT_IMAGE_BYTES)
                return virt_say(reterr, VIRT_E_INVALID, "ImageTooLarge", "a volume has at most %llu bytes", LIMIT_IMAGE_BYTES);
        turn = virt_storage_turn();
        r = pool_look_up(virt, connection, pool, &open, reterr);
        if (!r)
                r = find_in(open.pool, name, &volume, reterr);
        if (r)
                return r;
        if (format == VIRT_FORMAT_RAW && open.driver && open.driver->grow_raw)
                return grow_raw(&open, volume, wanted, reterr);
        return grow_by_libvirt(volume, wanted, reterr);
}
