/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "store/order.h"

#include <string.h>

static const char *text_key(const void *item)
{
        return item;
}

static void assert_sorted(struct order *order, size_t length)
{
        struct order_place place = order_seek(order, NULL, false);
        const char *before = "", *text;
        size_t n = 0;

        while ((text = order_next(order, &place))) {
                g_assert_cmpstr(before, <, text);
                before = text;
                n++;
        }
        g_assert_cmpuint(n, ==, length);
        g_assert_cmpuint(order_length(order), ==, length);
}

static void test_items_are_walked_in_key_order_however_they_came(void)
{
        uint64_t state = 7;
        struct random_source random = random_seeded(&state);
        g_autoptr(order) order = order_new(text_key);
        g_autoptr(GHashTable) model = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

        for (int i = 0; i < 6000; i++) {
                g_autofree char *key = g_strdup_printf("k%04u", (unsigned)random_below(&random, 3000));
                char *known = NULL;

                if (g_hash_table_lookup_extended(model, key, (void **)&known, NULL) && random_below(&random, 2)) {
                        g_assert_true(order_take(order, key) == known);
                        g_assert_null(order_take(order, key));
                        g_hash_table_remove(model, key);
                } else if (known) {
                        g_assert_true(order_put(order, known) == known);
                } else {
                        known = g_steal_pointer(&key);
                        g_assert_null(order_put(order, known));
                        g_hash_table_add(model, known);
                }
                if (i % 500 == 0)
                        assert_sorted(order, g_hash_table_size(model));
        }
        assert_sorted(order, g_hash_table_size(model));
}

static void test_seeking_finds_the_key_or_the_one_behind_it(void)
{
        g_autoptr(order) order = order_new(text_key);
        g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);

        for (int i = 0; i < 1000; i++) {
                g_ptr_array_add(texts, g_strdup_printf("k%05d", i * 2));
                order_put(order, texts->pdata[i]);
        }
        for (int i = 0; i < 2000; i++) {
                g_autofree char *key = g_strdup_printf("k%05d", i);
                struct order_place at = order_seek(order, key, false), behind = order_seek(order, key, true);
                int first = (i + 1) / 2, second = i / 2 + 1;

                g_assert_cmpuint(order_distance(order, order_seek(order, NULL, false), at), ==, first);
                g_assert_cmpuint(order_distance(order, at, behind), ==, i % 2 == 0);
                g_assert_true(order_next(order, &at) == (first < 1000 ? texts->pdata[first] : NULL));
                g_assert_true(order_next(order, &behind) == (second < 1000 ? texts->pdata[second] : NULL));
        }
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/order/items_are_walked_in_key_order_however_they_came",
                        test_items_are_walked_in_key_order_however_they_came);
        g_test_add_func("/order/seeking_finds_the_key_or_the_one_behind_it", test_seeking_finds_the_key_or_the_one_behind_it);
        return g_test_run();
}
