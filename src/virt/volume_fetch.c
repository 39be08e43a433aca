/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/volume_fetch.h"

#include "base/clock.h"
#include "base/error.h"
#include "virt/migration_tls.h"
#include "virt/virt_internal.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES   (256u << 10) /* what libvirt sends at once */
#define AT_A_HOLE     (-3)
#define PAUSE_MOST_US 200000

static void stream_freep(virStreamPtr *stream)
{
        if (*stream)
                virStreamFree(*stream);
}
#define AUTO_STREAM __attribute__((cleanup(stream_freep))) virStreamPtr

static void close_connectionp(virConnectPtr *connection)
{
        if (*connection)
                virConnectClose(*connection);
}
#define AUTO_REMOTE __attribute__((cleanup(close_connectionp))) virConnectPtr

struct fetching {
        const struct virt_fetch *options;
        virStreamPtr stream;
        uint64_t done, total;
        uint64_t came, begun_us; /* without holes, and when this call began */
        struct virt_error *error;
};

static int find(virConnectPtr connection, const struct virt_fetch *fetch, virStorageVolPtr *ret_volume, uint64_t *ret_bytes,
                struct virt_error *reterr)
{
        AUTO_POOL pool = virStoragePoolLookupByName(connection, fetch->pool);
        virStorageVolInfo info;

        if (!pool)
                return virt_fail(reterr, "PoolFailed");
        *ret_volume = virStorageVolLookupByName(pool, fetch->name);
        if (!*ret_volume || virStorageVolGetInfoFlags(*ret_volume, &info, VIR_STORAGE_VOL_GET_PHYSICAL) < 0)
                return virt_fail(reterr, "VolumeFailed");
        *ret_bytes = info.allocation; /* by the flag: how long its file is */
        return 0;
}

static int own_fault(struct fetching *fetching)
{
        int r = -errno;

        (void)virt_say(fetching->error, VIRT_E_FAILED, "VolumeFailed", "the file here: %s", strerrordesc_np(-r));
        return r == -ENOSPC || r == -EDQUOT || r == -EFBIG ? VIRT_E_NO_SPACE : r;
}

static int write_piece(struct fetching *fetching, const char *data, size_t len)
{
        while (len > 0) {
                ssize_t n = pwrite(fetching->options->fd, data, len, (off_t)fetching->done);

                if (n < 0 && errno != EINTR)
                        return own_fault(fetching);
                data += MAX(n, 0);
                len -= (size_t)MAX(n, 0);
                fetching->done += (uint64_t)MAX(n, 0);
                fetching->came += (uint64_t)MAX(n, 0);
        }
        return 0;
}

static int take_hole(struct fetching *fetching)
{
        long long len = 0;

        if (virStreamRecvHole(fetching->stream, &len, 0) < 0 || len < 0)
                return virt_fail(fetching->error, "VolumeFailed");
        fetching->done += (uint64_t)len;
        return ftruncate(fetching->options->fd, (off_t)fetching->done) < 0 ? own_fault(fetching) : 0;
}

/* No faster than it may be: only what came in this call counts, so that nothing is made up for. */
static void keep_pace(const struct fetching *fetching)
{
        uint64_t rate = (uint64_t)fetching->options->bandwidth_mib << 20;
        uint64_t now_us = clock_monotonic_us(clock_system());
        uint64_t due_us = rate ? fetching->begun_us + fetching->came * 1000000 / rate : 0;

        if (due_us > now_us)
                g_usleep(MIN(due_us - now_us, PAUSE_MOST_US));
}

static int take_all(struct fetching *fetching)
{
        g_autofree char *buffer = g_malloc(PIECE_BYTES);
        int r = 0, n = 1;

        while (!r && n != 0) {
                if (fetching->options->progress(fetching->done, fetching->total, fetching->options->userdata))
                        return -ECANCELED;
                keep_pace(fetching);
                n = virStreamRecvFlags(fetching->stream, buffer, PIECE_BYTES, VIR_STREAM_RECV_STOP_AT_HOLE);
                r = n > 0 ? write_piece(fetching, buffer, (size_t)n) : n == AT_A_HOLE ? take_hole(fetching) : 0;
                if (n < 0 && n != AT_A_HOLE)
                        r = virt_fail(fetching->error, "VolumeFailed");
        }
        if (!r && virStreamFinish(fetching->stream) < 0)
                r = virt_fail(fetching->error, "VolumeFailed");
        if (!r && fetching->done != fetching->total)
                r = virt_say(fetching->error, VIRT_E_FAILED, "VolumeFailed", "%llu bytes came of %llu",
                             (unsigned long long)fetching->done, (unsigned long long)fetching->total);
        return r;
}

static int fetch_rest(struct fetching *fetching, virConnectPtr connection, virStorageVolPtr volume)
{
        AUTO_STREAM stream = virStreamNew(connection, 0);
        int r;

        if (!stream || virStorageVolDownload(volume, stream, fetching->done, 0, VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM) < 0)
                return virt_fail(fetching->error, "VolumeFailed");
        fetching->stream = stream;
        r = take_all(fetching);
        if (r)
                (void)virStreamAbort(stream); /* of one that has failed already this says so again */
        return r;
}

int virt_fetch_volume(const struct virt_fetch *fetch, uint64_t *ret_bytes, struct virt_error *reterr)
{
        struct fetching fetching = {.options = fetch, .error = reterr, .begun_us = clock_monotonic_us(clock_system())};
        g_autofree char *uri = NULL;
        AUTO_REMOTE connection = NULL;
        AUTO_VOLUME volume = NULL;
        struct stat here;
        int r;

        assert(fetch && fetch->address && fetch->keys && fetch->pool && fetch->name && fetch->progress && ret_bytes && reterr);

        uri = migration_tls_uri(fetch->address, fetch->keys);
        r = virt_open_at(uri, &connection, reterr);
        if (!r)
                r = find(connection, fetch, &volume, &fetching.total, reterr);
        if (r)
                return r;
        if (fstat(fetch->fd, &here) < 0)
                return own_fault(&fetching);
        if ((uint64_t)here.st_size > fetching.total && ftruncate(fetch->fd, 0) < 0)
                return own_fault(&fetching);
        fetching.done = (uint64_t)here.st_size > fetching.total ? 0 : (uint64_t)here.st_size;
        r = fetching.done < fetching.total ? fetch_rest(&fetching, connection, volume) : 0;
        if (!r && fsync(fetch->fd) < 0)
                r = own_fault(&fetching);
        if (!r)
                *ret_bytes = fetching.total;
        return r;
}
