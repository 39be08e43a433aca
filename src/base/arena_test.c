/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include "base/auto.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static bool is_zero(const unsigned char *bytes, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (bytes[i])
                        return false;
        return true;
}

static void memory_is_zeroed_and_aligned_at_every_size(void)
{
        g_autoptr(arena) arena = arena_new(0);

        for (size_t size = 0; size < 3000; size += 7) {
                unsigned char *memory = arena_alloc(arena, size);

                g_assert_cmpuint((uintptr_t)memory % 16, ==, 0);
                g_assert_true(is_zero(memory, size));
                memset(memory, 0xff, size);
        }
}

static void text_and_memory_never_overlap(void)
{
        g_autoptr(arena) arena = arena_new(64);
        char *texts[500];
        uint64_t *numbers[500];

        for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
                texts[i] = arena_printf(arena, "text %u of %s", i,
                                        i % 50 ? "few" : "a good many letters that need a block for themselves");
                numbers[i] = arena_array(arena, 1 + i % 9, sizeof(uint64_t));
                for (unsigned k = 0; k < 1 + i % 9; k++)
                        numbers[i][k] = i;
        }
        for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autofree char *begin = g_strdup_printf("text %u of ", i);

                g_assert_true(g_str_has_prefix(texts[i], begin));
                for (unsigned k = 0; k < 1 + i % 9; k++)
                        g_assert_cmpuint(numbers[i][k], ==, i);
        }
}

static void large_requests_leave_the_current_block_in_use(void)
{
        g_autoptr(arena) arena = arena_new(1024);
        size_t before;

        arena_alloc(arena, 16);
        memset(arena_alloc(arena, 1 << 20), 1, 1 << 20);
        memset(arena_text(arena, 1 << 20), 1, (1 << 20) + 1);
        before = arena_bytes(arena);
        g_assert_cmpuint(before, >, 2 << 20);
        arena_alloc(arena, 256);
        arena_text(arena, 256);
        g_assert_cmpuint(arena_bytes(arena), ==, before);
}

static void copies_end_with_a_nul(void)
{
        g_autoptr(arena) arena = arena_new(0);

        g_assert_cmpstr(arena_strndup(arena, "abcdef", 3), ==, "abc");
        g_assert_cmpstr(arena_strndup(arena, NULL, 0), ==, "");
        g_assert_cmpstr(arena_strdup(arena, "abc"), ==, "abc");
        g_assert_null(arena_strdup(arena, NULL));
        g_assert_cmpint(memcmp(arena_strndup(arena, "a\0b", 3), "a\0b", 4), ==, 0);
}

static void nothing_is_freed_twice(void)
{
        g_assert_null(arena_free(NULL));
        g_assert_null(arena_free(arena_new(0)));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/arena/memory_is_zeroed_and_aligned_at_every_size", memory_is_zeroed_and_aligned_at_every_size);
        g_test_add_func("/arena/text_and_memory_never_overlap", text_and_memory_never_overlap);
        g_test_add_func("/arena/large_requests_leave_the_current_block_in_use", large_requests_leave_the_current_block_in_use);
        g_test_add_func("/arena/copies_end_with_a_nul", copies_end_with_a_nul);
        g_test_add_func("/arena/nothing_is_freed_twice", nothing_is_freed_twice);
        return g_test_run();
}
