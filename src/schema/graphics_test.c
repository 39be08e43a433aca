/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/graphics.h"

#include <glib.h>
#include <string.h>

static void passwords_have_eight_characters_and_are_new_each_time(void)
{
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

        for (unsigned i = 0; i < 1000; i++) {
                char *base64 = graphics_password_make(random_system());
                gsize len = 0;
                g_autofree guchar *bytes = g_base64_decode(base64, &len);

                g_assert_cmpuint(len, ==, 8);
                for (gsize k = 0; k < len; k++)
                        g_assert_true(g_ascii_isalnum((char)bytes[k]) && !strchr("0O1lI", bytes[k]));
                g_assert_true(graphics_password_fits(base64));
                g_assert_true(g_hash_table_add(seen, base64));
        }
}

static void what_a_person_writes_into_the_secret_is_looked_at(void)
{
        static const struct {
                const char *text;
                bool fits;
        } cases[] = {{"a", true},    {"12345678", true},   {"a!$<&>\"'", true}, {"", false},
                     {"a b", false}, {"123456789", false}, {"line\n", false},   {"\xc3\xa4", false}};

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *base64 = g_base64_encode((const guchar *)cases[i].text, strlen(cases[i].text));

                g_assert_true(graphics_password_fits(base64) == cases[i].fits);
        }
        g_assert_false(graphics_password_fits(NULL));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/graphics/C70_made", passwords_have_eight_characters_and_are_new_each_time);
        g_test_add_func("/graphics/C70_written", what_a_person_writes_into_the_secret_is_looked_at);
        return g_test_run();
}
