/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/domain_xml.h"
#include "virt/virt.h"

/*
 * What is done to the disks of a running domain of ours. A disk is named by its file. Outcomes are those of domains.h: VIRT_E_STATE
 * when the domain does not run (any more), VIRT_E_INVALID when the file is no disk of it.
 */

/**
 * virt_live_disk_grow() - to at least @capacity_bytes, rounded up to 512; the guest is told at once
 *
 * libvirt makes a disk smaller without asking (decision 20): the present size is read first, and one that is larger stays. Return:
 * 0 (also when it is large enough), VIRT_E_NO_SPACE, VIRT_E_FAILED (another job works on the disk).
 */
int virt_live_disk_grow(struct virt *virt, const char *uuid, const char *path, uint64_t capacity_bytes, struct virt_error *reterr);

/**
 * virt_live_disk_limit() - hold the disk that hangs on @target ("vda") to exactly @limits, in the running domain and its definition
 *
 * What others had set beside (bursts) is taken away. Return: 0, VIRT_E_INVALID: no disk of it, or limits that cannot be,
 * VIRT_E_STATE, VIRT_E_FAILED.
 */
int virt_live_disk_limit(struct virt *virt, const char *uuid, const char *target, const struct virt_disk_limits *limits,
                         struct virt_error *reterr);

/**
 * virt_live_freeze() - let the guest agent write out and hold still the guest's file systems; virt_live_thaw() must follow, also
 * after a failure other than VIRT_E_STATE
 *
 * Return: 0, VIRT_E_STATE: no agent answers, VIRT_E_FAILED: the guest refused.
 */
int virt_live_freeze(struct virt *virt, const char *uuid, struct virt_error *reterr);
/** virt_live_thaw() - end it; a domain that is gone or off, or that holds nothing still, is 0. */
int virt_live_thaw(struct virt *virt, const char *uuid, struct virt_error *reterr);

/**
 * virt_live_sees() - whether the domain's QEMU has the same @folder as we
 *
 * libvirt gives each QEMU a mount namespace of its own. A file system that is mounted later comes into it only where the host's
 * mounts are shared (systemd makes them so); else QEMU sees the empty folder below. Return: 0 (also when it cannot be found out),
 * VIRT_E_INVALID (reason PoolMountedLater).
 */
int virt_live_sees(struct virt *virt, const char *uuid, const char *folder, struct virt_error *reterr);

/**
 * virt_live_copy_begin() - from this moment on copy the disk @path, as it is now, into the existing volume @target of the same size
 *
 * What the guest writes meanwhile is not in the copy. One copy for each domain at a time: another one is VIRT_E_STATE.
 */
int virt_live_copy_begin(struct virt *virt, const char *uuid, const char *path, const char *target, enum virt_format format,
                         struct virt_error *reterr);
/**
 * virt_live_copy_follow() - until the copy is complete; @progress as in struct image_convert
 *
 * Return: 0, VIRT_E_CANCELLED, VIRT_E_STATE: the domain ended before it, VIRT_E_NO_SPACE, VIRT_E_FAILED.
 */
int virt_live_copy_follow(struct virt *virt, const char *uuid, bool (*progress)(unsigned permille, void *userdata), void *userdata,
                          struct virt_error *reterr);
/** virt_live_copy_stop() - end the copy into @target, if there is one, and wait until QEMU has let go of the file. */
int virt_live_copy_stop(struct virt *virt, const char *uuid, const char *target, struct virt_error *reterr);
