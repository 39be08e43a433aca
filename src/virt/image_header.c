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
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAIL_BYTES           512
#define ISO_SECTOR           2048u
#define ISO_FIRST_DESCRIPTOR (16 * ISO_SECTOR)
#define ISO_DESCRIPTORS_MAX  32
#define ISO_TOLERANCE_BYTES  (300u * ISO_SECTOR) /* run-out blocks that copies of discs lack */

static const char *const image_format_names[] = {
        [IMAGE_FORMAT_RAW] = "raw",
        [IMAGE_FORMAT_QCOW2] = "qcow2",
        [IMAGE_FORMAT_ISO] = "iso",
};
ENUM_TABLE(image_format, image_format_names)

/* Files that are refused by what stands at a fixed place; order does not matter. */
struct signature {
        size_t offset;
        const char *bytes;
        size_t len;
        int outcome;
        const char *reason;
        const char *what;
};
#define FOREIGN(offset_, bytes_, what_)                                                                                            \
        {                                                                                                                          \
                offset_, bytes_, sizeof(bytes_) - 1, IMAGE_E_REFUSED, "ImageFormatUnknown", what_                                  \
        }
#define PACKED(offset_, bytes_, what_)                                                                                             \
        {                                                                                                                          \
                offset_, bytes_, sizeof(bytes_) - 1, IMAGE_E_PACKED, "ImageFormatUnknown", what_                                   \
        }

static const struct signature head_signatures[] = {
        FOREIGN(0, "KDMV", "VMDK"),
        FOREIGN(0, "COWD", "VMDK"),
        FOREIGN(64, "\x7f\x10\xda\xbe", "VDI"),
        FOREIGN(0, "conectix", "VHD"),
        FOREIGN(0, "vhdxfile", "VHDX"),
        FOREIGN(0, "QED\0", "QED"),
        FOREIGN(0, "WithoutFreeSpace", "Parallels"),
        FOREIGN(0, "WithouFreSpacExt", "Parallels"),
        {0, "LUKS\xba\xbe", 6, IMAGE_E_REFUSED, "ImageEncrypted", "LUKS"},
        FOREIGN(0, "Bochs Virtual HD Image", "Bochs"),
        FOREIGN(0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop", "cloop"),
        FOREIGN(0, "OOOM", "COW"),
        FOREIGN(0, "MSWIM\0\0\0", "WIM"),
        PACKED(0, "\x1f\x8b\x08", "gzip"),
        PACKED(0,
               "\xfd"
               "7zXZ\0",
               "xz"),
        PACKED(0, "BZh", "bzip2"),
        PACKED(0, "\x28\xb5\x2f\xfd", "zstd"),
        PACKED(0, "\x04\x22\x4d\x18", "lz4"),
        PACKED(0, "PK\x03\x04", "zip"),
        PACKED(0, "7z\xbc\xaf\x27\x1c", "7z"),
        PACKED(257, "ustar", "tar"),
};

static const struct signature tail_signatures[] = {
        FOREIGN(0, "conectix", "VHD"),
        FOREIGN(0, "koly", "DMG"),
};

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

static int refuse_signature(const struct signature *table, size_t n, const uint8_t *bytes, size_t len, struct image_refusal *reterr)
{
        for (const struct signature *s = table; s < table + n; s++) {
                if (s->offset + s->len > len || memcmp(bytes + s->offset, s->bytes, s->len))
                        continue;
                if (s->outcome == IMAGE_E_PACKED)
                        image_refuse(reterr, s->reason, "the file is packed with %s, not a disk image itself", s->what);
                else
                        image_refuse(reterr, s->reason, "%s images are not supported; convert the image to qcow2 or raw", s->what);
                return s->outcome;
        }
        return 0;
}

/* A VMDK descriptor is text: comment lines and blank lines, then "version=1", "=2" or "=3" (QEMU's vmdk_probe()). */
static bool is_vmdk_descriptor(const struct image_view *view)
{
        const char *p = (const char *)view->bytes, *end = p + view->len;

        while (p < end) {
                const char *line_end = memchr(p, '\n', (size_t)(end - p));
                const char *word = p;

                while (word < end && *word == ' ')
                        word++;
                if (word < end && *p != '#' && *word != '\n' && *word != '\r')
                        return end - p >= 9 && !memcmp(p, "version=", 8) && p[8] >= '1' && p[8] <= '3';
                if (!line_end)
                        return false;
                p = line_end + 1;
        }
        return false;
}

/* What a download brings when its address is that of a page about the image. */
static bool is_web_page(const struct image_view *view)
{
        static const char *const beginnings[] = {"<!doctype html", "<html"};
        size_t at = 0;

        while (at < view->len && strchr(" \t\r\n", view->bytes[at]) && view->bytes[at])
                at++;
        for (size_t i = 0; i < sizeof(beginnings) / sizeof(*beginnings); i++) {
                size_t len = strlen(beginnings[i]);
                if (view->len - at >= len && !strncasecmp((const char *)view->bytes + at, beginnings[i], len))
                        return true;
        }
        return false;
}

static bool is_iso(const struct image_view *view)
{
        const uint8_t *id = view->bytes + ISO_FIRST_DESCRIPTOR + 1;

        return view->len >= ISO_FIRST_DESCRIPTOR + ISO_SECTOR && (!memcmp(id, "CD001", 5) || !memcmp(id, "BEA01", 5));
}

/* The size that the primary volume descriptor tells (ECMA-119 8.4.8), or 0: no such descriptor among the first. */
static uint64_t iso_told_bytes(const struct image_view *view)
{
        for (unsigned i = 0; i < ISO_DESCRIPTORS_MAX; i++) {
                size_t offset = ISO_FIRST_DESCRIPTOR + (size_t)i * ISO_SECTOR;

                if (offset + ISO_SECTOR > view->len || memcmp(view->bytes + offset + 1, "CD001", 5))
                        return 0;
                if (view->bytes[offset] == 1) /* both-endian fields: the big-endian half */
                        return image_be(view, offset + 84, 4) * image_be(view, offset + 130, 2);
        }
        return 0;
}

static int judge_plain(const struct image_view *view, struct image_facts *ret_facts, struct image_refusal *reterr)
{
        uint64_t size = (view->file_size + 511) & ~511ull;
        bool iso = is_iso(view);
        uint64_t told = iso ? iso_told_bytes(view) : 0;

        if (!view->file_size)
                return image_refuse(reterr, "ImageEmpty", "the file is empty");
        if (view->file_size > LIMIT_IMAGE_BYTES)
                return image_refuse(reterr, "ImageTooLarge", "%" PRIu64 " bytes are above the limit of %llu", view->file_size,
                                    LIMIT_IMAGE_BYTES);
        if (told > view->file_size + ISO_TOLERANCE_BYTES)
                return image_refuse(reterr, "ImageHeaderInvalid",
                                    "the ISO image tells %" PRIu64 " bytes but has %" PRIu64 "; is it cut short?", told,
                                    view->file_size);
        *ret_facts = (struct image_facts){
                .format = iso ? IMAGE_FORMAT_ISO : IMAGE_FORMAT_RAW,
                .virtual_size_bytes = size,
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
        r = refuse_signature(head_signatures, G_N_ELEMENTS(head_signatures), bytes, view.len, reterr_refusal);
        if (!r && tail)
                r = refuse_signature(tail_signatures, G_N_ELEMENTS(tail_signatures), tail, TAIL_BYTES, reterr_refusal);
        if (!r && is_vmdk_descriptor(&view))
                r = image_refuse(reterr_refusal, "ImageFormatUnknown",
                                 "VMDK descriptors are not supported; convert the image to qcow2 or raw");
        if (!r && is_web_page(&view))
                r = image_refuse(reterr_refusal, "ImageFormatUnknown",
                                 "the file is a web page, not an image; is its address right?");
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
        uint8_t tail[TAIL_BYTES];
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
        if (!r && st.st_size >= TAIL_BYTES)
                r = read_at(fd, tail, TAIL_BYTES, (uint64_t)st.st_size - TAIL_BYTES, &tail_len);
        if (r)
                return r;
        return image_header_judge_bytes(bytes, len, tail_len == TAIL_BYTES ? tail : NULL, MAX((uint64_t)st.st_size, len), ret_facts,
                                        reterr_refusal);
}
