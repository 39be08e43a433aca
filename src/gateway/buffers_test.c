/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "gateway/buffers.h"

#include <glib.h>
#include <string.h>

#define WHOLE (3u << 20)

/* What an upload that goes on at @offset hands over, in pieces of random lengths; every write is waited for. */
static void run(const char *bytes, size_t len, uint64_t offset, GRand *dice)
{
        g_autoptr(GByteArray) out = g_byte_array_new();
        struct buffers buffers;

        buffers_init(&buffers, offset, 1);
        for (size_t at = 0, n; at < len; at += n) {
                n = (size_t)g_rand_int_range(dice, 1, 20000);
                n = MIN(n, len - at);
                buffers_add(&buffers, bytes + at, n);
                if (!buffers_is_ready(&buffers))
                        continue;
                buffers_swap(&buffers, false);
                g_byte_array_append(out, (const guint8 *)buffers.writing, (guint)buffers.writing_len);
                g_assert_cmpuint((offset + out->len) % FILE_PAGE_BYTES, ==, 0);
                g_assert_cmpuint((uintptr_t)buffers.writing % FILE_PAGE_BYTES, ==, 0);
                g_assert_cmpuint(buffers.at, ==, offset + out->len);
                g_assert_cmpuint(buffers.filling_len, <, FILE_PAGE_BYTES);
        }
        buffers_swap(&buffers, true);
        g_byte_array_append(out, (const guint8 *)buffers.writing, (guint)buffers.writing_len);
        g_assert_cmpuint(buffers.filling_len, ==, 0);
        g_assert_cmpmem(out->data, out->len, bytes, len);
        buffers_clear(&buffers);
}

static void bytes_leave_in_order_and_in_whole_pages(void)
{
        static const uint64_t offsets[] = {0, 1, 4095, 4096, 4097, 1000000};
        g_autoptr(GRand) dice = g_rand_new_with_seed(7);
        g_autofree char *bytes = g_malloc(WHOLE);

        for (size_t i = 0; i < WHOLE; i++)
                bytes[i] = (char)g_rand_int(dice);
        for (size_t i = 0; i < G_N_ELEMENTS(offsets); i++) {
                run(bytes, WHOLE, offsets[i], dice);
                run(bytes, 1, offsets[i], dice);
                run(bytes, 4096, offsets[i], dice);
        }
}

/* A write has less than a page when it begins just before the end of one. */
static void less_than_a_page_stays_whole(void)
{
        struct buffers buffers;

        buffers_init(&buffers, 10, 1);
        buffers_add(&buffers, "abc", 3);
        buffers_swap(&buffers, false);
        g_assert_cmpuint(buffers.writing_len, ==, 0);
        buffers_add(&buffers, "d", 1);
        buffers_swap(&buffers, true);
        g_assert_cmpmem(buffers.writing, buffers.writing_len, "abcd", 4);
        g_assert_cmpuint(buffers.at, ==, 14);
        buffers_clear(&buffers);
}

static void many_uploads_have_small_buffers(void)
{
        struct buffers one, many;
        g_autofree char *bytes = g_malloc0(BUFFERS_WRITE_BYTES);

        buffers_init(&one, 0, 1);
        buffers_init(&many, 0, 1000);
        buffers_add(&one, bytes, BUFFERS_WRITE_BYTES);
        buffers_add(&many, bytes, BUFFERS_WRITE_BYTES);
        g_assert_true(buffers_is_ready(&one) && buffers_is_ready(&many));
        g_assert_false(buffers_is_full(&one));
        g_assert_true(buffers_is_full(&many));
        buffers_clear(&one);
        buffers_clear(&many);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/buffers/order", bytes_leave_in_order_and_in_whole_pages);
        g_test_add_func("/buffers/short", less_than_a_page_stays_whole);
        g_test_add_func("/buffers/many", many_uploads_have_small_buffers);
        return g_test_run();
}
