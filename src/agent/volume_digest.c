/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/volume_digest.h"

#include "base/file.h"
#include "base/log.h"

#include <assert.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

#define READ_BYTES      (1u << 20)
#define SOURCE_AGAIN_US 1000000ull

const char *volume_digest(struct job *job, int fd, uint64_t *ret_bytes, void (*progress)(uint64_t done, void *userdata),
                          void *userdata)
{
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        g_autofree char *buffer = g_malloc(READ_BYTES);
        unsigned char raw[EVP_MAX_MD_SIZE];
        char text[2 * EVP_MAX_MD_SIZE + 1];
        const char *digest = NULL;
        unsigned n_raw = 0;
        uint64_t done = 0;
        ssize_t n = 1;
        bool ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL);

        assert(job && fd >= 0 && ret_bytes);
        errno = EIO;
        while (ok && n > 0) {
                if (job_is_cancelled(job)) {
                        errno = ECANCELED;
                        ok = false;
                        break;
                }
                n = pread(fd, buffer, READ_BYTES, (off_t)done);
                ok = n >= 0 && EVP_DigestUpdate(context, buffer, (size_t)n);
                done += (uint64_t)MAX(n, 0);
                if (progress) {
                        progress(done, userdata);
                }
        }
        if (ok && EVP_DigestFinal_ex(context, raw, &n_raw)) {
                for (unsigned i = 0; i < n_raw; i++) {
                        g_snprintf(text + 2 * i, 3, "%02x", raw[i]);
                }
                digest = arena_strdup(job->arena, text);
                *ret_bytes = done;
        }
        EVP_MD_CTX_free(context);
        return digest;
}

/* --- the task --------------------------------------------------------------------------------------------------------------------
 */

struct digesting {
        struct job *job;
        uint64_t size;
        unsigned percent;
};

static struct api_host_task_status new_status(const struct job *job, const char *state)
{
        return (struct api_host_task_status){
                .observed_generation = job->doc->generation, .has_observed_generation = true, .state = state};
}

static void on_read(uint64_t done, void *userdata)
{
        struct digesting *digesting = userdata;
        unsigned percent = (unsigned)((__uint128_t)MIN(done, digesting->size) * 100 / MAX(digesting->size, 1));
        struct api_host_task_status status;

        if (percent == digesting->percent) {
                return;
        }
        digesting->percent = percent;
        status = new_status(digesting->job, "Running");
        status.step = "reads the disk";
        status.progress_percent = percent;
        status.has_progress_percent = true;
        job_progress(digesting->job, &api_host_task_status_type, &status);
}

/* @state Pending or Running: it goes on by itself; Failed: it cannot. */
static void hold_up(struct job *job, const char *state, const char *words)
{
        struct api_host_task_status status = new_status(job, state);
        bool waits = g_strcmp0(state, "Pending") == 0;

        status.error = job_error(job, REASON_VIRTUAL_DISK_NOT_READY, "%s", words);
        job->result = waits ? JOB_WAIT : JOB_RETRY;
        job->again_us = waits ? SOURCE_AGAIN_US : 0;
        job_status(job, &api_host_task_status_type, &status);
}

void converge_digest(struct job *job, const struct api_host_task *task)
{
        struct api_host_task_status status = new_status(job, "Succeeded");
        const struct job_source *source = job->source;
        struct digesting digesting = {.job = job};
        uint64_t bytes = 0;
        autofd fd = -1;
        struct stat info;

        assert(job && task);
        if (!source || !source->ready || !source->path) {
                hold_up(job, "Pending", "the disk is not ready on this host");
                return;
        }
        if (source->linked) {
                hold_up(job, "Failed", "the disk reads from another one");
                return;
        }
        fd = open(source->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, &info) < 0) {
                hold_up(job, "Running", arena_printf(job->arena, "%s cannot be read: %s", source->path, g_strerror(errno)));
                return;
        }
        digesting.size = (uint64_t)info.st_size;
        status.digest = volume_digest(job, fd, &bytes, on_read, &digesting);
        if (!status.digest && errno == ECANCELED) {
                job->result = JOB_RETRY; /* what is to be done instead is known already */
                return;
        }
        if (!status.digest) {
                hold_up(job, "Running", arena_printf(job->arena, "%s cannot be read to its end", source->path));
                return;
        }
        (void)job_pass(job, "digest", "read");
        status.progress_percent = 100;
        status.has_progress_percent = true;
        job->ready = true;
        job_status(job, &api_host_task_status_type, &status);
        log_info("the disk of a machine that moves was read", "task", task->metadata->name, "digest", status.digest);
}
