/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "virt/picture.h"
#include "virt/usage.h"

#include <png.h>
#include <string.h>

#define DOMAIN_OF_THE_TEST_DRIVER "6695eb01-f6a4-8304-79aa-97f2502e193f"

/* --- pictures
 * --------------------------------------------------------------------------------------------------------------------------- */

static void a_picture_keeps_its_size_and_colours(void)
{
        static const guint8 ppm[] = "P6\n# of a screen\n2 1\n255\n\x01\x02\x03\xff\x80\x00";
        g_autoptr(GByteArray) png = picture_from_ppm(ppm, sizeof(ppm) - 1);
        png_image image = {.version = PNG_IMAGE_VERSION};
        guint8 pixels[6];

        g_assert_nonnull(png);
        g_assert_true(png_image_begin_read_from_memory(&image, png->data, png->len));
        g_assert_cmpuint(image.width, ==, 2);
        g_assert_cmpuint(image.height, ==, 1);
        image.format = PNG_FORMAT_RGB;
        g_assert_true(png_image_finish_read(&image, NULL, pixels, 0, NULL));
        g_assert_cmpmem(pixels, 6, "\x01\x02\x03\xff\x80\x00", 6);
}

/* The screen is the guest's: sizes that do not fit their bytes, or anything, are no picture. */
static void what_is_no_picture_is_refused(void)
{
        static const char *const texts[] = {"",
                                            "P",
                                            "P6",
                                            "P6 1",
                                            "P6 1 1 255",
                                            "P6 1 1 255\n",
                                            "P6 1 1 255\nab",
                                            "P6 2 1 255\nabcde",
                                            "P6 1 1 65535\nabcdef",
                                            "P5 1 1 255\nabc",
                                            "P6 0 1 255\nabc",
                                            "P6 -1 1 255\nabc",
                                            "P6 16385 1 255\nabc",
                                            "P6 4294967297 1 255\nabc",
                                            "P6 16384 16384 255\nabc",
                                            "P6 # 1 1 255 abc",
                                            "P6 #"};

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
                g_assert_null(picture_from_ppm((const guint8 *)texts[i], strlen(texts[i])));
}

/* --- usage
 * ------------------------------------------------------------------------------------------------------------------------------ */

static void all_domains_are_counted_in_one_look(void)
{
        g_autoptr(virt) virt = NULL;
        g_autoptr(virt_usage) usage = NULL;
        const struct virt_counters *found;
        struct virt_error error = {};

        g_assert_cmpint(virt_open(&(struct virt_options){.uri = "test:///default"}, &virt, &error), ==, 0);
        g_assert_cmpint(virt_usage_take(virt, &usage, &error), ==, 0);
        g_assert_cmpuint(usage->at_us, >, 0);
        g_assert_cmpuint(usage->cpus, >, 0);
        found = virt_usage_find(usage, DOMAIN_OF_THE_TEST_DRIVER);
        g_assert_nonnull(found);
        g_assert_null(virt_usage_find(usage, "00000000-0000-0000-0000-000000000000"));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/picture/a_picture_keeps_its_size_and_colours", a_picture_keeps_its_size_and_colours);
        g_test_add_func("/picture/what_is_no_picture_is_refused", what_is_no_picture_is_refused);
        g_test_add_func("/usage/all_domains_are_counted_in_one_look", all_domains_are_counted_in_one_look);
        return g_test_run();
}
