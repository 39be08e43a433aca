/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "virt/pools.h"
#include "virt/virt_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/*
 * libvirt reads a volume's format and size out of its first bytes, and resizes it by them. Those of a raw volume are the guest's:
 * what is written there must mean nothing to the host.
 */

#define SECTOR 512

static int take_raw(struct virt_volume *volume, struct virt_error *reterr)
{
        struct stat st;

        if (lstat(volume->path, &st) < 0)
                return virt_say(reterr, errno == ENOENT ? VIRT_E_MISSING : VIRT_E_FAILED, "VolumeMissing", "%s: %s", volume->path,
                                strerrordesc_np(errno));
        volume->format = VIRT_FORMAT_RAW;
        if (!S_ISREG(st.st_mode))
                return 0; /* a device has the size that it has */
        volume->capacity_bytes = (uint64_t)st.st_size;
        volume->allocation_bytes = (uint64_t)st.st_blocks * SECTOR;
        return 0;
}

int virt_volume_get_as(struct virt *virt, const char *pool, const char *name, enum virt_format format,
                       struct virt_volume *ret_volume, struct virt_error *reterr)
{
        struct virt_volume volume = {};
        int r = virt_volume_get(virt, pool, name, &volume, reterr);

        if (r)
                return r;
        if (virt_is_test(virt))
                volume.format = format;
        else if (format == VIRT_FORMAT_RAW)
                r = take_raw(&volume, reterr);
        else if (volume.format != format)
                r = virt_say(reterr, VIRT_E_FAILED, "VolumeFailed", "%s is not of format %s, in which it was made", volume.path,
                             virt_format_to_text(format));
        if (r)
                virt_volume_clear(&volume);
        else
                *ret_volume = volume;
        return r;
}

static int grow_raw(const struct virt_volume *volume, uint64_t bytes, struct virt_error *reterr)
{
        autofd fd = open(volume->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return virt_say(reterr, VIRT_E_FAILED, "VolumeFailed", "%s: %s", volume->path, strerrordesc_np(errno));
        if (!S_ISREG(st.st_mode))
                return virt_say(reterr, VIRT_E_INVALID, "ResizeNotSupported", "%s is no file", volume->path);
        if ((uint64_t)st.st_size > bytes)
                return virt_say(reterr, VIRT_E_INVALID, "ImageTooSmall", "the volume has %llu bytes and is not made smaller",
                                (unsigned long long)st.st_size);
        if (ftruncate(fd, (off_t)bytes) < 0 || fsync(fd) < 0)
                return virt_say(reterr, errno == ENOSPC || errno == EFBIG ? VIRT_E_NO_SPACE : VIRT_E_FAILED, "VolumeFailed",
                                "%s: %s", volume->path, strerrordesc_np(errno));
        return 0;
}

int virt_volume_grow_as(struct virt *virt, const char *pool, const char *name, enum virt_format format, uint64_t capacity_bytes,
                        struct virt_error *reterr)
{
        struct virt_volume volume = {};
        int r;

        if (format != VIRT_FORMAT_RAW || virt_is_test(virt))
                return virt_volume_grow(virt, pool, name, capacity_bytes, reterr);
        r = virt_volume_get_as(virt, pool, name, format, &volume, reterr);
        if (!r)
                r = grow_raw(&volume, (capacity_bytes + SECTOR - 1) / SECTOR * SECTOR, reterr);
        virt_volume_clear(&volume);
        return r;
}
