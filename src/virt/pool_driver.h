/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "schema/capability.h"
#include "virt/pools.h"
#include "virt/virt_internal.h"
#include "virt/xml.h"

/*
 * What a type of storage pools does in its own way. pools.c and volumes.c do what is the same for all: connections, turns,
 * libvirt's objects, names, sizes. They come here for the rest. Outcomes are those of virt.h, said in @reterr; nothing here speaks
 * to libvirt or keeps what it is given. One file for each driver, one row for each type (pool_driver.c).
 */
struct pool_driver {
        const char *libvirt_type; /* of the pool that libvirt is told of */

        /* --- the place of a pool --- */

        /** prepare - the place may be a pool and is there; made when the options say so. VIRT_E_INVALID, VIRT_E_MISSING. */
        int (*prepare)(const struct virt_pool_options *options, struct virt_error *reterr);
        /** claim - the place is this pool's from now on. @known: libvirt has the pool already, so what lies there is no stranger's.
         *  VIRT_E_EXISTS: it is somebody else's, and nothing was touched. */
        int (*claim)(const struct virt_pool_options *options, bool known, struct virt_error *reterr);
        /** release - libvirt has forgotten the pool at @path: nobody's again, when nothing lies there. Never fails. */
        void (*release)(const char *path);
        /** measure - what the storage knows better than libvirt: the sizes now, the facts. @info has the path and libvirt's sizes;
         *  what cannot be found out stays. */
        void (*measure)(struct virt_pool_info *info);

        /* --- volumes --- */

        /** check_free - nothing lies under @name of which libvirt knows nothing. VIRT_E_EXISTS. */
        int (*check_free)(const struct virt_pool_info *pool, const char *name, struct virt_error *reterr);
        /** describe - complete libvirt's <volume>, which has name, capacity and allocation 0. Return: flags of the creation. */
        unsigned (*describe)(const struct virt_pool_info *pool, const struct virt_volume_options *options, xmlNodePtr volume);
        /** check_made - what libvirt says it has made is there (C30). */
        int (*check_made)(const struct virt_volume *volume, struct virt_error *reterr);
        /** reflink - bring forth @name, sharing the blocks of @source, durable; libvirt is not told yet. VIRT_E_INVALID (reason
         *  ReflinkNotOnFilesystem): it cannot be, and nothing was done; VIRT_E_EXISTS; nothing is left behind by a failure. */
        int (*reflink)(const struct virt_pool_info *pool, const char *name, const char *source, struct virt_error *reterr);
        /** judge - correct what libvirt read out of the bytes of a volume that was made in @format. */
        int (*judge)(struct virt_volume *volume, enum virt_format format, struct virt_error *reterr);
        /** grow_raw - to @bytes, a multiple of 512, without a look at the content; NULL: libvirt does it. VIRT_E_INVALID: it is
         *  larger. */
        int (*grow_raw)(const struct virt_volume *volume, uint64_t bytes, struct virt_error *reterr);
};

extern const struct pool_driver pool_directory_driver; /* a folder of the host */
extern const struct pool_driver
        pool_memory_driver; /* libvirt's test driver: the folder is there, its volumes are libvirt's alone */

/**
 * pool_driver_find() - the driver of a type, as StoragePool.spec.type names it (NULL: Directory)
 *
 * Return: 0, or VIRT_E_INVALID: there is none, with the reason by which the capability matrix refuses @operation.
 */
int pool_driver_find(struct virt *virt, const char *type, enum capability_operation operation,
                     const struct pool_driver **ret_driver, struct virt_error *reterr);
/** pool_driver_of_libvirt() - the driver of a pool that libvirt calls @libvirt_type; NULL: none, it is not one of ours. */
const struct pool_driver *pool_driver_of_libvirt(struct virt *virt, const char *libvirt_type);

/* A pool that libvirt has, with what its driver needs; AUTO_OPEN_POOL. */
struct open_pool {
        virStoragePoolPtr pool;
        const struct pool_driver *driver; /* NULL: of a type that is not one of ours */
        struct virt_pool_info info;       /* path, and with pool_open() the rest */
};
/** pool_look_up() - by name. VIRT_E_MISSING, VIRT_E_FAILED. */
int pool_look_up(struct virt *virt, virConnectPtr connection, const char *name, struct open_pool *ret_open,
                 struct virt_error *reterr);
/** pool_open() - the same of a pool that is active and has a driver, measured. VIRT_E_STATE (reason PoolNotActive),
 *  VIRT_E_INVALID. */
int pool_open(struct virt *virt, virConnectPtr connection, const char *name, struct open_pool *ret_open, struct virt_error *reterr);

static inline void open_pool_clear(struct open_pool *open)
{
        if (open->pool)
                virStoragePoolFree(open->pool);
        virt_pool_info_clear(&open->info);
        *open = (struct open_pool){};
}
#define AUTO_OPEN_POOL __attribute__((cleanup(open_pool_clear))) struct open_pool
