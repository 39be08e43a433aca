/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "gateway/unpack.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define ENOUGH (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count(const void *data, size_t len, void *userdata)
{
        uint64_t *made = userdata;

        assert(len > 0);
        *made += len;
        return *made > ENOUGH ? -EFBIG : 0; /* nobody has the time for more */
}

/* Whatever a packed file says, it ends: unpacked, refused with words, or by the one who takes what comes out. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static int fd = -1;
        uint64_t made = 0;
        struct unpack_job job = {.packing = unpack_packing(data, size), .packed_bytes = size, .sink = count, .userdata = &made};
        struct blob_fault fault = {};

        if (fd < 0)
                fd = memfd_create("packed", MFD_CLOEXEC);
        if (job.packing == UNPACK_PLAIN)
                return 0;
        job.fd = fd;
        assert(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
        int r = unpack_run(&job, &fault);
        assert(r == 0 || r == 1 || r == -EFBIG);
        assert(r != 1 || (fault.reason && fault.message[0] && memchr(fault.message, 0, sizeof(fault.message))));
        return 0;
}
