/* SPDX-License-Identifier: Apache-2.0 */
#include "base/names.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { LABEL = 1, SUBDOMAIN = 2, KEY = 4, VALUE = 8 };

/* Which grammars take a text; 'x' × n stands for a run. */
static const struct {
        const char *text;
        unsigned grammars;
} cases[] = {
        {"a", LABEL | SUBDOMAIN | KEY | VALUE},
        {"0", LABEL | SUBDOMAIN | KEY | VALUE},
        {"web-01", LABEL | SUBDOMAIN | KEY | VALUE},
        {"a--b", LABEL | SUBDOMAIN | KEY | VALUE},
        {"a.b", SUBDOMAIN | KEY | VALUE},
        {"example.org", SUBDOMAIN | KEY | VALUE},
        {"A", KEY | VALUE},
        {"a_b", KEY | VALUE},
        {"a..b", KEY | VALUE},
        {"a.-b", KEY | VALUE},
        {"a-.b", KEY | VALUE},
        {"", VALUE},
        {"-a", 0},
        {"a-", 0},
        {".a", 0},
        {"a.", 0},
        {"_a", 0},
        {"a b", 0},
        {"a\n", 0},
        {"ä", 0},
        {"gabbro.dev/node", KEY},
        {"gabbro.dev/Node_1.x", KEY},
        {"Gabbro.dev/node", 0},
        {"/node", 0},
        {"gabbro.dev/", 0},
        {"a/b/c", 0},
        {"a/-b", 0},
};

static void check(const char *text, unsigned grammars)
{
        unsigned taken = (names_is_label(text) ? LABEL : 0) | (names_is_subdomain(text) ? SUBDOMAIN : 0) |
                         (names_is_label_key(text) ? KEY : 0) | (names_is_label_value(text) ? VALUE : 0);

        if (taken != grammars)
                g_error("\"%s\": grammars %#x instead of %#x", text, taken, grammars);
}

static void each_grammar_takes_its_own(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                check(cases[i].text, cases[i].grammars);
        check(NULL, 0);
}

static void lengths_are_bounded(void)
{
        static const struct {
                size_t len;
                unsigned grammars;
        } lengths[] = {{63, LABEL | SUBDOMAIN | KEY | VALUE}, {64, SUBDOMAIN}, {253, SUBDOMAIN}, {254, 0}, {5000, 0}};

        for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
                g_autofree char *text = g_strnfill(lengths[i].len, 'x');
                g_autofree char *key = g_strdup_printf("%s/%s", text, "n");

                check(text, lengths[i].grammars);
                g_assert_true(names_is_label_key(key) == (lengths[i].len <= 253));
        }
}

static void plain_text_has_no_control_characters(void)
{
        g_assert_true(names_is_plain_text("", 0, false));
        g_assert_true(names_is_plain_text("Zoë ✓", 64, false));
        g_assert_false(names_is_plain_text("Zoë", 3, false));
        g_assert_true(names_is_plain_text("Zoë", 4, false));
        g_assert_true(names_is_plain_text("a\n\tb", 64, true));
        g_assert_false(names_is_plain_text("a\nb", 64, false));
        g_assert_false(names_is_plain_text("a\rb", 64, true));
        g_assert_false(names_is_plain_text("a\033[31m", 64, true));
        g_assert_false(names_is_plain_text("a\302\205b", 64, true)); /* U+0085 */
        g_assert_false(names_is_plain_text("a\177b", 64, true));
        g_assert_false(names_is_plain_text("a\377b", 64, true));
        g_assert_false(names_is_plain_text("\355\240\200", 64, true)); /* a surrogate */
        g_assert_false(names_is_plain_text(NULL, 64, true));
}

enum colour { COLOUR_RED, COLOUR_GREEN, COLOUR_COUNT };
static const char *const colour_names[] = {"Red", "Green"};
ENUM_TABLE_DECLARE(colour);
ENUM_TABLE(colour, colour_names)

static void enum_tables_convert_both_ways(void)
{
        enum colour value = COLOUR_COUNT;

        for (int i = 0; i < COLOUR_COUNT; i++) {
                g_assert_cmpint(colour_from_text(colour_to_text((enum colour)i), &value), ==, 0);
                g_assert_cmpint((int)value, ==, i);
        }
        g_assert_null(colour_to_text(COLOUR_COUNT));
        g_assert_cmpint(colour_from_text("red", &value), ==, -EINVAL);
        g_assert_cmpint(colour_from_text("", &value), ==, -EINVAL);
        g_assert_cmpint(colour_from_text(NULL, &value), ==, -EINVAL);
        g_assert_cmpint((int)value, ==, COLOUR_GREEN);
}

static void gaps_in_a_table_match_nothing(void)
{
        static const char *const gappy[] = {"a", NULL, "c"};

        g_assert_cmpint(enum_index_of(gappy, 3, "c"), ==, 2);
        g_assert_cmpint(enum_index_of(gappy, 3, "b"), ==, -EINVAL);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/names/each_grammar_takes_its_own", each_grammar_takes_its_own);
        g_test_add_func("/names/lengths_are_bounded", lengths_are_bounded);
        g_test_add_func("/names/plain_text_has_no_control_characters", plain_text_has_no_control_characters);
        g_test_add_func("/names/enum_tables_convert_both_ways", enum_tables_convert_both_ways);
        g_test_add_func("/names/gaps_in_a_table_match_nothing", gaps_in_a_table_match_nothing);
        return g_test_run();
}
