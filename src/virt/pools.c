/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/pools.h"

#include "base/limits.h"
#include "base/names.h"
#include "virt/pool_driver.h"

#include <assert.h>
#include <string.h>

void virt_pool_info_clear(struct virt_pool_info *info)
{
        g_free(info->path);
        g_free(info->filesystem);
        *info = (struct virt_pool_info){};
}

GMutexLocker *virt_storage_turn(void)
{
        static GMutex mutex;

        return g_mutex_locker_new(&mutex);
}

/* --- what libvirt has ------------------------------------------------------------------------------------------------------------
 */

int pool_look_up(struct virt *virt, virConnectPtr connection, const char *name, struct open_pool *ret_open,
                 struct virt_error *reterr)
{
        AUTO_POOL pool = virStoragePoolLookupByName(connection, name);
        AUTO_TEXT text = pool ? virStoragePoolGetXMLDesc(pool, 0) : NULL;
        g_autoptr(arena) arena = arena_new(0);
        AUTO_XML doc = text ? xml_parse(text, LIMIT_DOMAIN_XML_BYTES) : NULL;
        const char *path;

        if (!pool || !doc)
                return virt_fail(reterr, "PoolFailed");
        path = xml_text(xml_find(xml_root(doc), "target/path"), arena);
        *ret_open = (struct open_pool){
                .pool = g_steal_pointer(&pool),
                .driver = pool_driver_of_libvirt(virt, xml_attribute(xml_root(doc), "type", arena) ?: ""),
                .info = {.path = g_strdup(path ? path : "")},
        };
        return 0;
}

static int measure(struct open_pool *open, struct virt_error *reterr)
{
        virStoragePoolInfo info;

        if (virStoragePoolGetInfo(open->pool, &info) < 0)
                return virt_fail(reterr, "PoolFailed");
        if (info.state == VIR_STORAGE_POOL_INACTIVE)
                return virt_say(reterr, VIRT_E_STATE, "PoolNotActive", "the pool %s is not active",
                                virStoragePoolGetName(open->pool));
        open->info.capacity_bytes = info.capacity;
        open->info.allocation_bytes = info.allocation;
        open->info.available_bytes = info.available;
        if (open->driver)
                open->driver->measure(&open->info);
        return 0;
}

int pool_open(struct virt *virt, virConnectPtr connection, const char *name, struct open_pool *ret_open, struct virt_error *reterr)
{
        AUTO_OPEN_POOL open = {};
        int r = pool_look_up(virt, connection, name, &open, reterr);

        if (!r && !open.driver)
                r = virt_say(reterr, VIRT_E_INVALID, "PoolFailed", "libvirt's pool %s is of a type that is none of ours", name);
        if (!r)
                r = measure(&open, reterr);
        if (r)
                return r;
        *ret_open = open;
        open = (struct open_pool){};
        return 0;
}

/* The UUID of a pool that we define says that we did: a pool of the same name and folder that was there before has another. */
static char *own_uuid(const char *name, const char *path)
{
        g_autofree char *text = g_strdup_printf("gabbro:%s:%s", name, path);
        g_autofree char *hex = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);

        return g_strdup_printf("%.8s-%.4s-8%.3s-8%.3s-%.12s", hex, hex + 8, hex + 12, hex + 15, hex + 18);
}

/* --- a pool comes ----------------------------------------------------------------------------------------------------------------
 */

static int define_pool(virConnectPtr connection, const struct pool_driver *driver, const struct virt_pool_options *options,
                       struct virt_error *reterr)
{
        AUTO_POOL taken = virStoragePoolLookupByTargetPath(connection, options->path), pool = NULL;
        g_autofree char *text = NULL, *uuid = own_uuid(options->name, options->path);
        AUTO_XML doc = NULL;

        if (taken)
                return virt_say(reterr, VIRT_E_EXISTS, "PoolFailed", "the folder %s is the pool %s already", options->path,
                                virStoragePoolGetName(taken));
        doc = xml_new("pool");
        xml_set(xml_root(doc), "type", driver->libvirt_type);
        xml_add_text(xml_root(doc), "name", options->name);
        xml_add_text(xml_root(doc), "uuid", uuid);
        xml_add_text(xml_add(xml_root(doc), "target", NULL), "path", options->path);
        text = xml_to_text(doc);
        pool = virStoragePoolDefineXML(connection, text, 0);
        return pool ? 0 : virt_fail(reterr, "PoolFailed");
}

static int check_same(const struct open_pool *open, const struct pool_driver *driver, const struct virt_pool_options *options,
                      struct virt_error *reterr)
{
        if (open->driver == driver && strcmp(open->info.path, options->path) == 0)
                return 0;
        return virt_say(reterr, VIRT_E_EXISTS, "PoolFailed", "libvirt has a pool %s that is another one, at %s", options->name,
                        open->info.path);
}

/* Looked up, or claimed and defined; several volumes may miss it at once. */
static int find_or_define(struct virt *virt, virConnectPtr connection, const struct pool_driver *driver,
                          const struct virt_pool_options *options, struct open_pool *ret_open, struct virt_error *reterr)
{
        g_autoptr(GMutexLocker) turn = NULL;
        int r = pool_look_up(virt, connection, options->name, ret_open, reterr);

        if (r == VIRT_E_MISSING) {
                turn = virt_storage_turn();
                r = pool_look_up(virt, connection, options->name, ret_open, reterr);
        }
        if (!r) {
                r = check_same(ret_open, driver, options, reterr);
                return r ? r : driver->claim(options, true, reterr);
        }
        if (r != VIRT_E_MISSING)
                return r;
        r = driver->claim(options, false, reterr);
        if (!r)
                r = define_pool(connection, driver, options, reterr);
        return r ? r : pool_look_up(virt, connection, options->name, ret_open, reterr);
}

int virt_pool_ensure(struct virt *virt, const struct virt_pool_options *options, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_JOBS, reterr);
        const struct pool_driver *driver;
        AUTO_OPEN_POOL open = {};
        int r, active;

        assert(options && options->name && options->path);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        if (!names_is_label(options->name))
                return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "the pool's name is not a label");
        r = pool_driver_find(virt, options->type, CAPABILITY_CREATE, &driver, reterr);
        if (!r)
                r = driver->prepare(options, reterr);
        if (!r)
                r = find_or_define(virt, connection, driver, options, &open, reterr);
        if (r)
                return r;
        active = virStoragePoolIsActive(open.pool);
        if (active < 0 || (!active && virStoragePoolCreate(open.pool, 0) < 0) || virStoragePoolSetAutostart(open.pool, 1) < 0)
                return virt_fail(reterr, "PoolFailed");
        return 0;
}

/* --- a pool lives and goes -------------------------------------------------------------------------------------------------------
 */

static int read_info(struct open_pool *open, struct virt_pool_info *ret_info, struct virt_error *reterr)
{
        int r = measure(open, reterr);

        if (r)
                return r;
        *ret_info = open->info;
        open->info = (struct virt_pool_info){};
        return 0;
}

int virt_pool_refresh(struct virt *virt, const char *pool, struct virt_pool_info *ret_info, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_JOBS, reterr);
        g_autoptr(GMutexLocker) turn G_GNUC_UNUSED = NULL;
        AUTO_OPEN_POOL open = {};
        int r;

        assert(pool);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        turn = virt_storage_turn();
        r = pool_look_up(virt, connection, pool, &open, reterr);
        if (!r && virStoragePoolRefresh(open.pool, 0) < 0)
                r = virt_fail(reterr, "PoolFailed");
        return r || !ret_info ? r : read_info(&open, ret_info, reterr);
}

int virt_pool_info(struct virt *virt, const char *pool, struct virt_pool_info *ret_info, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_QUERIES, reterr);
        AUTO_OPEN_POOL open = {};
        int r;

        assert(pool && ret_info);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        r = pool_look_up(virt, connection, pool, &open, reterr);
        return r ? r : read_info(&open, ret_info, reterr);
}

int virt_pool_remove(struct virt *virt, const char *pool, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_JOBS, reterr);
        g_autoptr(GMutexLocker) turn G_GNUC_UNUSED = NULL;
        char found_uuid[VIR_UUID_STRING_BUFLEN] = "";
        g_autofree char *uuid = NULL;
        AUTO_OPEN_POOL open = {};
        int r;

        assert(pool);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        turn = virt_storage_turn();
        r = pool_look_up(virt, connection, pool, &open, reterr);
        if (r)
                return r == VIRT_E_MISSING ? 0 : r;
        uuid = own_uuid(pool, open.info.path);
        if (virStoragePoolGetUUIDString(open.pool, found_uuid) < 0 || strcmp(uuid, found_uuid) != 0)
                return 0;
        if (virStoragePoolIsActive(open.pool) == 1 && virStoragePoolDestroy(open.pool) < 0)
                return virt_fail(reterr, "PoolFailed");
        if (virStoragePoolIsPersistent(open.pool) == 1 && virStoragePoolUndefine(open.pool) < 0)
                return virt_fail(reterr, "PoolFailed");
        if (open.driver)
                open.driver->release(open.info.path);
        return 0;
}
