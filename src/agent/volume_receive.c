/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/volume_receive.h"

#include "agent/migration_keys.h"
#include "agent/volume_digest.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "virt/pools.h"
#include "virt/volume_fetch.h"

#include <fcntl.h>
#include <string.h>

#define TELL_US 500000ull

bool volume_is_received(const struct intent *intent)
{
        const struct api_volume *view = intent->kind == &api_volume_kind ? intent->doc->view : NULL;

        return view && view->spec && view->spec->receive;
}

struct receiving {
        struct job *job;
        uint64_t told_us;
};

static bool on_progress(uint64_t done, uint64_t total, void *userdata)
{
        struct receiving *receiving = userdata;
        uint64_t now_us = clock_monotonic_us(clock_system());
        struct api_volume_status status = {
                .observed_generation = receiving->job->doc->generation,
                .has_observed_generation = true,
                .state = "Creating",
                .progress_percent = total ? (int64_t)((__uint128_t)done * 100 / total) : 0,
                .has_progress_percent = true,
                .received_bytes = (int64_t)done,
                .has_received_bytes = true,
                .total_bytes = (int64_t)total,
                .has_total_bytes = true,
        };

        if (now_us - receiving->told_us >= TELL_US) {
                if (receiving->told_us == 0) {
                        (void)job_pass(receiving->job, "receive", "begun");
                }
                receiving->told_us = now_us;
                job_progress(receiving->job, &api_volume_status_type, &status);
        }
        return job_is_cancelled(receiving->job);
}

/* -1 with @ret_why. */
static int open_file(struct job *job, const struct api_volume_spec *spec, bool again, struct api_intent_error **ret_why)
{
        g_autofree char *path = g_build_filename(spec->pool->path, spec->volume_name, NULL);
        int fd = open(path, O_RDWR | O_CREAT | (again ? 0 : O_EXCL) | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0 && errno == EEXIST) {
                *ret_why = job_error(job, REASON_VOLUME_EXISTS, "the file %s exists and was not made for this intent", path);
        } else if (fd < 0) {
                *ret_why = job_error(job, REASON_VOLUME_FAILED, "%s: %s", path, g_strerror(errno));
        }
        return fd;
}

/* Another host that does not answer is no trouble with the own libvirt. */
static struct api_intent_error *fetch_error(struct job *job, const struct api_volume_spec *spec, int r,
                                            const struct virt_error *error)
{
        if (r == VIRT_E_NO_SPACE) {
                job->full = true;
                return job_virt_error(job, REASON_POOL_FULL, r, error);
        }
        return job_error(job, REASON_RECEIVE_INTERRUPTED, "the disk does not come from host %s now: %s", spec->receive->node,
                         *error->words ? error->words : g_strerror(-MIN(r, 0)));
}

static const char *read_again(struct job *job, int fd, uint64_t bytes, struct api_intent_error **ret_why)
{
        uint64_t read = 0;
        const char *digest;

        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* what the disk holds counts */
        digest = volume_digest(job, fd, &read, NULL, NULL);
        if (digest && read == bytes) {
                return digest;
        }
        if (digest || errno != ECANCELED) {
                *ret_why = job_error(job, REASON_VOLUME_FAILED, "what has come cannot be read to its end");
        }
        return NULL;
}

const char *volume_receive(struct job *job, const struct api_volume_spec *spec, bool again, struct api_intent_error **ret_why)
{
        const struct api_volume_receive *from = spec->receive;
        g_autofree char *keys = migration_keys_dir(job->agent);
        struct receiving receiving = {.job = job};
        struct virt_fetch fetch = {
                .address = from->address,
                .keys = keys,
                .pool = from->pool,
                .name = from->volume_name,
                .bandwidth_mib = from->has_bandwidth_mib_per_second ? (unsigned)from->bandwidth_mib_per_second : 0,
                .progress = on_progress,
                .userdata = &receiving,
        };
        struct virt_pool_info info = {};
        struct virt_error error = {};
        const char *digest = NULL;
        uint64_t bytes = 0;
        autofd fd = -1;
        int r;

        assert(job && spec && ret_why);
        *ret_why = NULL;
        fd = open_file(job, spec, again, ret_why);
        if (fd < 0) {
                return NULL;
        }
        fetch.fd = fd;
        r = virt_fetch_volume(&fetch, &bytes, &error);
        if (r && r != -ECANCELED) {
                *ret_why = fetch_error(job, spec, r, &error);
        }
        if (r) {
                return NULL;
        }
        (void)job_pass(job, "receive", "fetched");
        digest = read_again(job, fd, bytes, ret_why);
        if (!digest) {
                return NULL;
        }
        r = virt_pool_refresh(job->agent->virt, spec->pool->name, &info, &error);
        virt_pool_info_clear(&info);
        if (r) {
                *ret_why = job_virt_error(job, REASON_POOL_FAILED, r, &error);
                return NULL;
        }
        log_info("a disk has come from another host", "volume", job_key(job).name, "from", from->node, "digest", digest);
        return digest;
}
