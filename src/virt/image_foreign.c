/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/image_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/*
 * Files that are not taken as they are: other containers, which name files of their own or hide what a guest would see, and packed
 * ones. Each refusal names the format and its kind, and what to do. Sources: VMware's "Virtual Disk Format 5.0", Microsoft's
 * "Virtual Hard Disk Image Format" and [MS-VHDX], QEMU's docs/interop and block/vdi.c, qed.h, parallels.txt.
 */

#define WORD_MAX      32
#define VMDK_TEXT_MAX (64u << 10)
#define VMDK_SECTOR   512
#define VHD_TYPE_AT   60
#define PACKED_HERE   "xz, gz, bz2 and zstd are unpacked here, others before the upload"

/* What kind of its format a file is: a word or two for the refusal. "" when it does not say. */
typedef void (*kind_fn)(const struct image_view *view, const uint8_t *tail, char *words, size_t size);

struct signature {
        size_t offset;
        const char *bytes;
        size_t len;
        const char *name;
        const char *qemu; /* what qemu-img calls it; NULL: it reads no such files */
        kind_fn kind;
        const char *remedy; /* instead of qemu-img's */
};
#define AT(offset_, bytes_) .offset = (offset_), .bytes = (bytes_), .len = sizeof(bytes_) - 1

static uint64_t little(const struct image_view *view, size_t offset, unsigned width)
{
        uint64_t value = 0;

        if (offset > view->len || view->len - offset < width)
                return 0;
        for (unsigned i = width; i-- > 0;)
                value = value << 8 | view->bytes[offset + i];
        return value;
}

static void copy_word(const char *from, const char *end, char *words, size_t size)
{
        size_t n = 0;

        while (from + n < end && n + 1 < MIN(size, WORD_MAX) && (g_ascii_isalnum(from[n]) || from[n] == '_'))
                n++;
        memcpy(words, from, n);
        words[n] = '\0';
}

/* "createType="twoGbMaxExtentFlat"" among the lines of a descriptor. */
static void vmdk_text_kind(const char *text, size_t len, char *words, size_t size)
{
        static const char key[] = "createType=\"";
        const char *found = g_strstr_len(text, (gssize)MIN(len, VMDK_TEXT_MAX), key);

        words[0] = '\0';
        if (found)
                copy_word(found + sizeof(key) - 1, text + len, words, size);
}

static void vmdk_kind(const struct image_view *view, const uint8_t *tail, char *words, size_t size)
{
        uint64_t at = little(view, 28, 8), sectors = little(view, 36, 8);

        words[0] = '\0';
        if (at == 0 || at > view->len / VMDK_SECTOR || sectors == 0)
                return;
        size_t offset = (size_t)at * VMDK_SECTOR;
        size_t len = MIN(view->len - offset, MIN(sectors, VMDK_TEXT_MAX / VMDK_SECTOR) * VMDK_SECTOR);
        vmdk_text_kind((const char *)view->bytes + offset, len, words, size);
}

static void choose(uint64_t number, const char *const *names, size_t n, char *words, size_t size)
{
        g_strlcpy(words, number < n && names[number] ? names[number] : "", size);
}

static void vhd_type(uint64_t type, char *words, size_t size)
{
        static const char *const types[] = {[2] = "fixed", [3] = "dynamic", [4] = "differencing, it needs its parent"};

        choose(type, types, G_N_ELEMENTS(types), words, size);
}

static void vhd_kind(const struct image_view *view, const uint8_t *tail, char *words, size_t size)
{
        vhd_type(image_be(view, VHD_TYPE_AT, 4), words, size);
}

static void vhd_tail_kind(const struct image_view *view, const uint8_t *tail, char *words, size_t size)
{
        const struct image_view last = {.bytes = tail, .len = IMAGE_TAIL_BYTES, .file_size = IMAGE_TAIL_BYTES};

        vhd_type(image_be(&last, VHD_TYPE_AT, 4), words, size);
}

static void vdi_kind(const struct image_view *view, const uint8_t *tail, char *words, size_t size)
{
        static const char *const types[] = {
                [1] = "dynamic", [2] = "fixed", [3] = "undo", [4] = "differencing, it needs its parent"};

        choose(little(view, 76, 4), types, G_N_ELEMENTS(types), words, size);
}

static void qed_kind(const struct image_view *view, const uint8_t *tail, char *words, size_t size)
{
        g_strlcpy(words, little(view, 16, 8) & 1 ? "with a backing file" : "", size);
}

static void luks_kind(const struct image_view *view, const uint8_t *tail, char *words, size_t size)
{
        g_snprintf(words, size, "version %" PRIu64, image_be(view, 6, 2));
}

#define LUKS_REMEDY  "open it, and send what is in it"
#define LIVE_REMEDY  "it is an installation's archive, not a disk; send the ISO image or a disk that was installed from it"
#define CLOOP_REMEDY "unpack it with extract_compressed_fs"

static const struct signature head_signatures[] = {
        {AT(0, "KDMV"), .name = "VMDK", .qemu = "vmdk", .kind = vmdk_kind},
        {AT(0, "COWD"), .name = "VMDK", .qemu = "vmdk"},
        {AT(64, "\x7f\x10\xda\xbe"), .name = "VDI", .qemu = "vdi", .kind = vdi_kind},
        {AT(0, "conectix"), .name = "VHD", .qemu = "vpc", .kind = vhd_kind},
        {AT(0, "vhdxfile"), .name = "VHDX", .qemu = "vhdx"},
        {AT(0, "QED\0"), .name = "QED", .qemu = "qed", .kind = qed_kind},
        {AT(0, "WithoutFreeSpace"), .name = "Parallels", .qemu = "parallels"},
        {AT(0, "WithouFreSpacExt"), .name = "Parallels", .qemu = "parallels"},
        {AT(0, "LUKS\xba\xbe"), .name = "LUKS", .kind = luks_kind, .remedy = LUKS_REMEDY},
        {AT(0, "Bochs Virtual HD Image"), .name = "Bochs", .qemu = "bochs"},
        {AT(0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop"), .name = "cloop", .remedy = CLOOP_REMEDY},
        {AT(0, "OOOM"), .name = "COW", .remedy = "merge it with uml_moo"},
        {AT(0, "MSWIM\0\0\0"), .name = "WIM", .remedy = LIVE_REMEDY},
};

static const struct signature tail_signatures[] = {
        {AT(0, "conectix"), .name = "VHD", .qemu = "vpc", .kind = vhd_tail_kind},
        {AT(0, "koly"), .name = "DMG", .qemu = "dmg"},
};

static const struct signature packed_signatures[] = {
        {AT(0, "\x1f\x8b\x08"), .name = "gzip"},
        {AT(0, "\xfd"
               "7zXZ\0"),
         .name = "xz"},
        {AT(0, "BZh"), .name = "bzip2"},
        {AT(0, "\x28\xb5\x2f\xfd"), .name = "zstd"},
        {AT(0, "\x04\x22\x4d\x18"), .name = "lz4"},
        {AT(0, "LZIP"), .name = "lzip"},
        {AT(0, "PK\x03\x04"), .name = "zip"},
        {AT(0, "7z\xbc\xaf\x27\x1c"), .name = "7z"},
        {AT(0, "Rar!\x1a\x07"), .name = "rar"},
        {AT(0, "MSCF\0\0\0\0"), .name = "cab"},
        {AT(257, "ustar"), .name = "tar"},
};

static const struct signature *find(const struct signature *table, size_t n, const uint8_t *bytes, size_t len)
{
        for (const struct signature *s = table; s < table + n; s++)
                if (s->offset + s->len <= len && memcmp(bytes + s->offset, s->bytes, s->len) == 0)
                        return s;
        return NULL;
}

static int refuse_foreign(const struct signature *s, const struct image_view *view, const uint8_t *tail,
                          struct image_refusal *reterr)
{
        const char *reason = strcmp(s->name, "LUKS") == 0 ? "ImageEncrypted" : "ImageFormatUnknown";
        char kind[64] = "";
        bool told;

        if (s->kind)
                s->kind(view, tail, kind, sizeof(kind));
        told = kind[0];
        if (s->qemu)
                return image_refuse(reterr, reason,
                                    "%s images%s%s%s are not supported; convert it: qemu-img convert -f %s -O qcow2 IN OUT",
                                    s->name, told ? " (" : "", kind, told ? ")" : "", s->qemu);
        return image_refuse(reterr, reason, "%s images%s%s%s are not supported; %s", s->name, told ? " (" : "", kind,
                            told ? ")" : "", s->remedy);
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

static int refuse_descriptor(const struct image_view *view, struct image_refusal *reterr)
{
        char kind[64];

        vmdk_text_kind((const char *)view->bytes, view->len, kind, sizeof(kind));
        return image_refuse(
                reterr, "ImageFormatUnknown",
                "VMDK descriptors%s%s%s are not supported, they name other files; convert it where those are: qemu-img convert "
                "-f vmdk -O qcow2 IN OUT",
                kind[0] ? " (" : "", kind, kind[0] ? ")" : "");
}

/* Text that stands where an image was expected. */
static int refuse_text(const struct image_view *view, struct image_refusal *reterr)
{
        static const struct {
                const char *beginning, *words;
        } texts[] = {
                {"<!doctype html", "the file is a web page, not an image; is its address right?"},
                {"<html", "the file is a web page, not an image; is its address right?"},
                {"<?xml", "the file is an XML document, not an image; of an OVF package the disks are wanted"},
        };
        size_t at = 0;

        while (at < view->len && strchr(" \t\r\n", view->bytes[at]) && view->bytes[at])
                at++;
        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                size_t len = strlen(texts[i].beginning);
                if (view->len - at >= len && !strncasecmp((const char *)view->bytes + at, texts[i].beginning, len))
                        return image_refuse(reterr, "ImageFormatUnknown", "%s", texts[i].words);
        }
        return 0;
}

int image_foreign_judge(const struct image_view *view, const uint8_t *tail, struct image_refusal *reterr)
{
        const struct signature *s;

        assert(view && reterr);
        s = find(head_signatures, G_N_ELEMENTS(head_signatures), view->bytes, view->len);
        if (!s && tail)
                s = find(tail_signatures, G_N_ELEMENTS(tail_signatures), tail, IMAGE_TAIL_BYTES);
        if (s)
                return refuse_foreign(s, view, tail, reterr);
        s = find(packed_signatures, G_N_ELEMENTS(packed_signatures), view->bytes, view->len);
        if (s) {
                image_refuse(reterr, "ImageFormatUnknown", "the file is packed with %s, not a disk image itself; " PACKED_HERE,
                             s->name);
                return IMAGE_E_PACKED;
        }
        if (is_vmdk_descriptor(view))
                return refuse_descriptor(view, reterr);
        return refuse_text(view, reterr);
}
