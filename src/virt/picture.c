/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/picture.h"

#include "base/limits.h"
#include "virt/virt_internal.h"

#include <assert.h>
#include <png.h>
#include <string.h>

#define PIECE_BYTES 65536
#define SIDE_MAX    16384u

/* A number of the header, and the one white space behind it; 0: none, or too large. */
static unsigned take_number(const guint8 *bytes, gsize len, gsize *at)
{
        unsigned number = 0;

        while (*at < len && g_ascii_isspace(bytes[*at]))
                ++*at;
        while (*at < len && bytes[*at] == '#')
                while (*at < len && bytes[(*at)++] != '\n')
                        ;
        for (; *at < len && g_ascii_isdigit(bytes[*at]) && number <= SIDE_MAX; ++*at)
                number = number * 10 + (unsigned)(bytes[*at] - '0');
        return *at < len && g_ascii_isspace(bytes[*at]) && number <= SIDE_MAX ? number : 0;
}

GByteArray *picture_from_ppm(const guint8 *bytes, gsize len)
{
        png_image image = {.version = PNG_IMAGE_VERSION, .format = PNG_FORMAT_RGB};
        png_alloc_size_t size = 0;
        gsize at = 2;
        GByteArray *png = NULL;

        assert(bytes || !len);

        if (len < 2 || memcmp(bytes, "P6", 2) != 0)
                return NULL;
        image.width = take_number(bytes, len, &at);
        image.height = take_number(bytes, len, &at);
        if (!image.width || !image.height || take_number(bytes, len, &at) != 255)
                return NULL;
        at++;
        if (len - at < (gsize)image.width * image.height * 3)
                return NULL;
        size = PNG_IMAGE_PNG_SIZE_MAX(image);
        png = g_byte_array_sized_new((guint)size);
        g_byte_array_set_size(png, (guint)size);
        if (!png_image_write_to_memory(&image, png->data, &size, 0, bytes + at, 0, NULL)) {
                png_image_free(&image);
                g_byte_array_unref(png);
                return NULL;
        }
        g_byte_array_set_size(png, (guint)size);
        return png;
}

/* Read to its end, or to the bound. */
static int read_stream(virStreamPtr stream, GByteArray *picture, struct virt_error *reterr)
{
        g_autofree char *piece = g_malloc(PIECE_BYTES);
        int n;

        while ((n = virStreamRecv(stream, piece, PIECE_BYTES)) > 0) {
                if (picture->len + (guint)n > LIMIT_SCREENSHOT_BYTES) {
                        virStreamAbort(stream);
                        return virt_say(reterr, VIRT_E_FAILED, "Failed", "the screen of the guest is too large for a picture");
                }
                g_byte_array_append(picture, (const guint8 *)piece, (guint)n);
        }
        return n < 0 || virStreamFinish(stream) < 0 ? virt_fail(reterr, "Failed") : 0;
}

static int take_picture(virConnectPtr connection, virDomainPtr domain, GByteArray *picture, struct virt_error *reterr)
{
        virStreamPtr stream = virStreamNew(connection, 0);
        AUTO_TEXT type = NULL;
        int r;

        if (!stream)
                return virt_fail(reterr, "LibvirtUnreachable");
        type = virDomainScreenshot(domain, stream, 0, 0);
        r = type ? read_stream(stream, picture, reterr) : virt_fail(reterr, "Failed");
        virStreamFree(stream);
        return r;
}

int virt_domain_screenshot(struct virt *virt, const char *uuid, GByteArray **ret_png, struct virt_error *reterr)
{
        static const guint8 png_begins[] = {0x89, 'P', 'N', 'G'};
        AUTO_CONNECTION connection = NULL;
        AUTO_DOMAIN domain = NULL;
        g_autoptr(GByteArray) picture = g_byte_array_new();
        int r;

        assert(virt && uuid && ret_png && reterr);

        r = virt_use_own(virt, VIRT_QUERIES, uuid, &connection, &domain, reterr);
        if (!r)
                r = take_picture(connection, domain, picture, reterr);
        if (r)
                return r;
        if (picture->len > sizeof(png_begins) && memcmp(picture->data, png_begins, sizeof(png_begins)) == 0)
                *ret_png = g_steal_pointer(&picture);
        else
                *ret_png = picture_from_ppm(picture->data, picture->len);
        return *ret_png ? 0 : virt_say(reterr, VIRT_E_FAILED, "Failed", "QEMU gave no picture of the guest's screen");
}
