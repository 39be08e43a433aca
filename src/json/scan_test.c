/* SPDX-License-Identifier: Apache-2.0 */

/* Built once for each implementation, named by SCAN_HEADER. */

#include "base/clock.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>

#include SCAN_HEADER

static bool is_special(unsigned char c)
{
        return c == '"' || c == '\\' || c < 0x20 || c >= 0x80;
}

static void check(const char *text)
{
        unsigned first = 0;

        while (first < JSON_SCAN_BYTES && !is_special((unsigned char)text[first]))
                first++;
        if (first == JSON_SCAN_BYTES)
                g_assert_true(!json_scan_special(text));
        else
                g_assert_cmpuint(json_scan_first(json_scan_special(text)), ==, first);
}

static void every_byte_is_judged_at_every_place(void)
{
        for (unsigned place = 0; place < JSON_SCAN_BYTES; place++)
                for (unsigned c = 0; c < 256; c++) {
                        char text[JSON_SCAN_BYTES + 3];

                        memset(text, 'a', sizeof(text));
                        text[place + place % 3] = (char)c;
                        check(text + place % 3);
                }
}

static void the_first_of_many_is_found(void)
{
        static const char pool[] = "abc !#[]^~\177\"\\\n\037\200\377";
        uint64_t state = 5;
        struct random_source random = random_seeded(&state);

        for (int turn = 0; turn < 20000; turn++) {
                char text[JSON_SCAN_BYTES];

                for (unsigned i = 0; i < JSON_SCAN_BYTES; i++)
                        text[i] = pool[random_below(&random, turn % 2 ? 11 : sizeof(pool))];
                check(text);
        }
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/scan/every_byte_is_judged_at_every_place", every_byte_is_judged_at_every_place);
        g_test_add_func("/scan/the_first_of_many_is_found", the_first_of_many_is_found);
        return g_test_run();
}
