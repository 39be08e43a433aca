/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_start.h"
#include "base/clock.h"
#include "base/log.h"

#include <sys/statvfs.h>

/* QEMU pauses a guest whose write finds no space; the write is repeated when it is let run. libvirt's word for the pause is lost
 * when libvirtd restarts, so the disks are asked. */
#define SPACE_LOOK_US     2000000ull
#define SPACE_LEAST_BYTES (64ull << 20)
#define SPACE_LEAST_PART  20 /* of a small file system this part is enough */

static bool has_space(const char *path, uint64_t *ret_room)
{
        g_autofree char *folder = path ? g_path_get_dirname(path) : NULL;
        struct statvfs fs;

        if (!folder || statvfs(folder, &fs) < 0) {
                return false;
        }
        *ret_room = (uint64_t)fs.f_bavail * fs.f_frsize;
        return *ret_room >= MIN(SPACE_LEAST_BYTES, (uint64_t)fs.f_blocks * fs.f_frsize / SPACE_LEAST_PART);
}

static const char *disk_name(const struct instance_turn *turn, const struct virt_disk_error *error)
{
        g_autofree char *file = error->path ? g_path_get_basename(error->path) : NULL;

        return arena_printf(turn->job->arena, "%s%s%s%s", error->target, file ? " (" : "", file ? file : "", file ? ")" : "");
}

static void judge(struct instance_turn *turn, const struct virt_disk_error *errors, size_t n)
{
        uint64_t wait_us = space_wait_us(&turn->job->space, clock_monotonic_us(clock_system()));
        struct job *job = turn->job;
        bool told = job->told && job->told->error && g_strcmp0(job->told->error->reason, REASON_POOL_FULL) == 0;

        turn->fact.state = INSTANCE_STUCK;
        turn->fact.cured = wait_us == 0;
        for (size_t i = 0; i < n; i++) {
                g_autofree char *folder = errors[i].path ? g_path_get_dirname(errors[i].path) : NULL;
                uint64_t room = 0;

                if (!errors[i].no_space) {
                        turn->fact.cured = false;
                        turn->trouble = job_error(
                                job, REASON_DISK_FAILED,
                                "disk %s reports I/O errors, the host's log says more; repair it there, then resume or restart "
                                "the machine",
                                disk_name(turn, &errors[i]));
                        return;
                }
                job->full |= !told;
                turn->fact.cured &= has_space(errors[i].path, &room);
                turn->trouble = job_error(job, REASON_POOL_FULL,
                                          "disk %s found no space left on the host (%" G_GUINT64_FORMAT
                                          " MiB are free); make room in %s: the guest stands still and goes on by itself then",
                                          disk_name(turn, &errors[i]), room >> 20, folder ? folder : "its pool");
        }
        job->again_us = MAX(wait_us, SPACE_LOOK_US);
}

int instance_trouble(struct instance_turn *turn, struct virt_error *reterr)
{
        struct virt_disk_error *errors = NULL;
        size_t n = 0;
        int r = virt_domain_disk_errors(turn->job->agent->virt, turn->uuid, &errors, &n, reterr);

        if (!r && n) {
                judge(turn, errors, n);
        }
        virt_disk_errors_free(errors, n);
        return r == VIRT_E_UNREACHABLE ? r : 0;
}
