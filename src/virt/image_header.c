/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/image_header.h"

#include "base/limits.h"
#include "base/names.h"
#include "virt/image_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const image_format_names[] = {
        [IMAGE_FORMAT_RAW] = "raw",
        [IMAGE_FORMAT_QCOW2] = "qcow2",
        [IMAGE_FORMAT_ISO] = "iso",
};
ENUM_TABLE(image_format, image_format_names)

int image_refuse(struct image_refusal *reterr, const char *reason, const char *format, ...)
{
        va_list args;

        assert(reterr && reason && format);

        reterr->reason = reason;
        va_start(args, format);
        vsnprintf(reterr->words, sizeof(reterr->words), format, args);
        va_end(args);
        return IMAGE_E_REFUSED;
}

static int judge_plain(const struct image_view *view, struct image_facts *ret_facts, struct image_refusal *reterr)
{
        bool iso = image_iso_is(view);
        int r;

        if (!view->file_size)
                return image_refuse(reterr, "ImageEmpty", "the file is empty");
        if (view->file_size > LIMIT_IMAGE_BYTES)
                return image_refuse(reterr, "ImageTooLarge", "%" PRIu64 " bytes are above the limit of %llu", view->file_size,
                                    LIMIT_IMAGE_BYTES);
        r = iso ? image_iso_judge(view, reterr) : 0;
        if (r)
                return r;
        *ret_facts = (struct image_facts){
                .format = iso ? IMAGE_FORMAT_ISO : IMAGE_FORMAT_RAW,
                .virtual_size_bytes = (view->file_size + 511) & ~511ull,
                .file_size_bytes = view->file_size,
        };
        return 0;
}

int image_header_judge_bytes(const uint8_t *bytes, size_t len, const uint8_t *tail, uint64_t file_size,
                             struct image_facts *ret_facts, struct image_refusal *reterr_refusal)
{
        struct image_view view = {.bytes = bytes, .len = MIN(len, IMAGE_HEADER_READ_MAX), .file_size = file_size};
        int r;

        assert((bytes || !len) && len <= file_size && ret_facts && reterr_refusal);

        if (len >= 8 && !memcmp(bytes, "QFI\xfb", 4))
                return image_qcow2_judge(&view, ret_facts, reterr_refusal);
        r = image_foreign_judge(&view, tail, reterr_refusal);
        return r ? r : judge_plain(&view, ret_facts, reterr_refusal);
}

static int read_at(int fd, uint8_t *buffer, size_t want, uint64_t offset, size_t *ret_len)
{
        size_t done = 0;

        while (done < want) {
                ssize_t n = pread(fd, buffer + done, want - done, (off_t)(offset + done));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                done += (size_t)n;
        }
        *ret_len = done;
        return 0;
}

int image_header_judge(int fd, struct image_facts *ret_facts, struct image_refusal *reterr_refusal)
{
        g_autofree uint8_t *bytes = NULL;
        uint8_t tail[IMAGE_TAIL_BYTES];
        size_t len = 0, tail_len = 0;
        struct stat st;
        int r;

        assert(fd >= 0 && ret_facts && reterr_refusal);

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return image_refuse(reterr_refusal, "ImageFormatUnknown", "not a regular file");
        bytes = g_malloc(IMAGE_HEADER_READ_MAX);
        r = read_at(fd, bytes, MIN((uint64_t)st.st_size, IMAGE_HEADER_READ_MAX), 0, &len);
        if (!r && st.st_size >= IMAGE_TAIL_BYTES)
                r = read_at(fd, tail, IMAGE_TAIL_BYTES, (uint64_t)st.st_size - IMAGE_TAIL_BYTES, &tail_len);
        if (r)
                return r;
        return image_header_judge_bytes(bytes, len, tail_len == IMAGE_TAIL_BYTES ? tail : NULL, MAX((uint64_t)st.st_size, len),
                                        ret_facts, reterr_refusal);
}
