/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/domain_xml.h"
#include "virt/virt.h"

/* Pools and the volumes in them, all made through libvirt so that it knows them. What a type does in its own way is in its driver:
 * pool_driver.h. */

struct virt_pool_info {
        char *path; /* as libvirt says; g_free() or virt_pool_info_clear() */
        uint64_t capacity_bytes, allocation_bytes, available_bytes;
        char *filesystem; /* of a folder: "ext4", "xfs", "btrfs", …, else its number in hexadecimal digits; NULL: not known */
        bool reflink;     /* of a folder: its file system shares blocks between files, tried */
};
void virt_pool_info_clear(struct virt_pool_info *info);

struct virt_pool_options {
        const char *name;
        const char *type; /* as StoragePool.spec.type; NULL: Directory */
        const char *path; /* absolute and normalised, without symbolic links in any component */
        bool create;      /* make a missing folder (only the last component, mode 0711, root's), else PoolPathMissing */
};

/**
 * virt_pool_ensure() - the pool exists with this path, is active and starts with libvirt (C11, C17)
 *
 * A folder that libvirt does not know as a pool yet must be empty or have been this pool before, as an attribute of the folder
 * tells: else VIRT_E_EXISTS, reason PoolFolderForeign, and nothing is touched.
 * VIRT_E_INVALID: the path may be no pool (PoolPathForbidden), or the type has no driver (the capability matrix's reason).
 * VIRT_E_MISSING (PoolPathMissing). VIRT_E_EXISTS (reason PoolFailed): the name is a pool of another path or type, or the path is
 * another pool's.
 */
int virt_pool_ensure(struct virt *virt, const struct virt_pool_options *options, struct virt_error *reterr);

/** virt_pool_refresh() - look at the folder again; @ret_info may be NULL. */
int virt_pool_refresh(struct virt *virt, const char *pool, struct virt_pool_info *ret_info, struct virt_error *reterr);
int virt_pool_info(struct virt *virt, const char *pool, struct virt_pool_info *ret_info, struct virt_error *reterr);
/** virt_pool_remove() - stop and undefine what virt_pool_ensure() defined; the folder and its files stay, and so does a pool that
 * was there before us. Nothing to do is 0. */
int virt_pool_remove(struct virt *virt, const char *pool, struct virt_error *reterr);

struct virt_volume_options {
        const char *pool;
        const char *name; /* file name; no '/', no leading '.' or '-' */
        enum virt_format format;
        uint64_t capacity_bytes;                                  /* rounded up to 512 */
        bool no_lazy_refcounts, no_extended_l2, no_preallocation; /* qcow2: all three are on unless said */
        const char *backing_path; /* qcow2: reads what was not written from there; never preallocated. NULL: stands alone */
        enum virt_format backing_format;
};

struct virt_volume {
        char *path; /* as libvirt says */
        enum virt_format format;
        uint64_t capacity_bytes, allocation_bytes;
};
void virt_volume_clear(struct virt_volume *volume);

/**
 * virt_volume_create() - a thin volume (allocation 0), its path asked from libvirt, the pool refreshed, the file seen (C12,
 * C25-C30)
 *
 * Facts of libvirt 9.0 with QEMU 7.2: lazy_refcounts, extended_l2, every cluster size and metadata preallocation go together in all
 * combinations on a stand-alone volume (compat 1.1); with a backing store preallocation is refused (decision 20). nocow is accepted
 * everywhere and does something on btrfs only, so it is asked for there. A preallocated file has the capacity as its length and is
 * sparse: clusters of 128 KiB (subclusters of 4 KiB) cost about 0.15 MiB of metadata a GiB, so volumes above 128 GiB get clusters
 * of 1 MiB. libvirt refuses a file that exists but follows a dangling link: what is in the folder is looked at without following.
 *
 * VIRT_E_EXISTS: a volume or file of this name is there already (reason VolumeExists). VIRT_E_NO_SPACE. Nothing is left behind on
 * failure.
 */
int virt_volume_create(struct virt *virt, const struct virt_volume_options *options, struct virt_volume *ret_volume,
                       struct virt_error *reterr);

/**
 * virt_volume_reflink() - a volume that shares its blocks with the file @source until one of the two is written, durable
 *
 * Return: 0, VIRT_E_INVALID (reason ReflinkNotOnFilesystem): the file system cannot, or @source lies on another one; nothing was
 * done. Else as virt_volume_create().
 */
int virt_volume_reflink(struct virt *virt, const char *pool, const char *name, const char *source, struct virt_volume *ret_volume,
                        struct virt_error *reterr);

/** virt_volume_get() - VIRT_E_MISSING when pool or volume is unknown. Format and size are what libvirt reads out of the bytes: for
 * volumes that a guest has written to see virt_volume_get_as(). */
int virt_volume_get(struct virt *virt, const char *pool, const char *name, struct virt_volume *ret_volume,
                    struct virt_error *reterr);

/** virt_volume_get_as() - of a volume that was made in @format: a raw one is raw, and as large as its file, whatever a guest has
 * written into it; a file of another format that is none any more is VIRT_E_FAILED. */
int virt_volume_get_as(struct virt *virt, const char *pool, const char *name, enum virt_format format,
                       struct virt_volume *ret_volume, struct virt_error *reterr);

/** virt_volume_delete() - a missing pool or volume is 0. The caller makes sure that no domain uses it (libvirt does not: decision
 * 20). */
int virt_volume_delete(struct virt *virt, const char *pool, const char *name, struct virt_error *reterr);

/** virt_volume_grow() - a volume that was made in @format to at least @capacity_bytes; smaller than now is VIRT_E_INVALID, equal is
 * 0. Nothing reads the bytes of a raw one. Not for a volume in use. */
int virt_volume_grow(struct virt *virt, const char *pool, const char *name, enum virt_format format, uint64_t capacity_bytes,
                     struct virt_error *reterr);
