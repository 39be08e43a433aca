/* SPDX-License-Identifier: Apache-2.0 */
#include "base/quantity.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static const struct {
        const char *text;
        int r;
        uint64_t bytes;
        int r_milli;
        uint64_t milli;
} cases[] = {
        {"0", 0, 0, 0, 0},
        {"1", 0, 1, 0, 1000},
        {"+1", 0, 1, 0, 1000},
        {"1.", 0, 1, 0, 1000},
        {".5", 0, 1, 0, 500},
        {"0.5", 0, 1, 0, 500},
        {"500m", 0, 1, 0, 500},
        {"1m", 0, 1, 0, 1},
        {"1u", 0, 1, 0, 1},
        {"1n", 0, 1, 0, 1},
        {"1000000u", 0, 1, 0, 1000},
        {"0.0001", 0, 1, 0, 1},
        {"1Ki", 0, 1024, 0, 1024000},
        {"1.5Ki", 0, 1536, 0, 1536000},
        {"0.1Ki", 0, 103, 0, 102400},
        {"8Gi", 0, 8589934592, 0, 8589934592000},
        {"1.1Gi", 0, 1181116007, 0, 1181116006400},
        {"1k", 0, 1000, 0, 1000000},
        {"20G", 0, 20000000000, 0, 20000000000000},
        {"1e3", 0, 1000, 0, 1000000},
        {"1E3", 0, 1000, 0, 1000000},
        {"1e+3", 0, 1000, 0, 1000000},
        {"1e-3", 0, 1, 0, 1},
        {"12e-1", 0, 2, 0, 1200},
        {"1E", 0, 1000000000000000000, -ERANGE, 0},
        {"1Ei", 0, 1152921504606846976, -ERANGE, 0},
        {"7.999999999999999999Ei", 0, 9223372036854775807, -ERANGE, 0},
        {"8Ei", -ERANGE, 0, -ERANGE, 0},
        {"9223372036854775807", 0, INT64_MAX, -ERANGE, 0},
        {"9223372036854775807.1", -ERANGE, 0, -ERANGE, 0},
        {"9223372036854775808", -ERANGE, 0, -ERANGE, 0},
        {"99999999999999999999999999999999999999999999", -ERANGE, 0, -ERANGE, 0},
        {"99999999999999999999999999999999999999999999e-40", 0, 10000, 0, 10000000},
        {"10000000000000000000000000000000000000000000e-40", 0, 1000, 0, 1000000},
        {"10000000000000000000000000000000000000000001e-40", 0, 1001, 0, 1000001},
        {"0.00000000000000000000000000000000000000000000000000001", 0, 1, 0, 1},
        {"0.00000000000000000000000000000000000000000000000000001Ei", 0, 1, 0, 1},
        {"1.00000000000000000000000000000001Ei", 0, 1152921504606846977, -ERANGE, 0},
        {"0e99999999999", 0, 0, 0, 0},
        {"1e99999999999", -ERANGE, 0, -ERANGE, 0},
        {"1e-99999999999", 0, 1, 0, 1},
        {"", -EINVAL, 0, -EINVAL, 0},
        {"+", -EINVAL, 0, -EINVAL, 0},
        {".", -EINVAL, 0, -EINVAL, 0},
        {"-1", -EINVAL, 0, -EINVAL, 0},
        {"1.2.3", -EINVAL, 0, -EINVAL, 0},
        {"Gi", -EINVAL, 0, -EINVAL, 0},
        {"1 Gi", -EINVAL, 0, -EINVAL, 0},
        {" 1", -EINVAL, 0, -EINVAL, 0},
        {"1Gi ", -EINVAL, 0, -EINVAL, 0},
        {"1gi", -EINVAL, 0, -EINVAL, 0},
        {"1K", -EINVAL, 0, -EINVAL, 0},
        {"1GiB", -EINVAL, 0, -EINVAL, 0},
        {"1e", -EINVAL, 0, -EINVAL, 0},
        {"1e+", -EINVAL, 0, -EINVAL, 0},
        {"1e1.5", -EINVAL, 0, -EINVAL, 0},
        {"1e3Ki", -EINVAL, 0, -EINVAL, 0},
        {"0x10", -EINVAL, 0, -EINVAL, 0},
};

static void quantities_are_read_and_rounded_up(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                uint64_t bytes = 0, milli = 0;
                int r = quantity_parse_bytes(cases[i].text, &bytes);
                int r_milli = quantity_parse_milli(cases[i].text, &milli);

                if (r != cases[i].r || bytes != cases[i].bytes)
                        g_error("\"%s\": %d, %" G_GUINT64_FORMAT " bytes", cases[i].text, r, bytes);
                if (r_milli != cases[i].r_milli || milli != cases[i].milli)
                        g_error("\"%s\": %d, %" G_GUINT64_FORMAT " thousandths", cases[i].text, r_milli, milli);
        }
        g_assert_cmpint(quantity_parse_bytes(NULL, &(uint64_t){0}), ==, -EINVAL);
}

static void many_digits_cost_no_precision(void)
{
        g_autofree char *zeroes = g_strnfill(900, '0');
        g_autofree char *leading = g_strconcat(zeroes, zeroes, zeroes, "12", NULL);
        g_autofree char *fraction = g_strconcat("1.", zeroes, "1", NULL);
        uint64_t bytes = 0;

        g_assert_cmpint(quantity_parse_bytes(leading, &bytes), ==, 0);
        g_assert_cmpuint(bytes, ==, 12);
        g_assert_cmpint(quantity_parse_bytes(fraction, &bytes), ==, 0);
        g_assert_cmpuint(bytes, ==, 2);
}

static void the_shortest_exact_form_is_written(void)
{
        static const struct {
                uint64_t number;
                const char *bytes;
                const char *milli;
        } forms[] = {
                {0, "0", "0"},
                {1, "1", "1m"},
                {1000, "1000", "1"},
                {1024, "1Ki", "1024m"},
                {1500, "1500", "1500m"},
                {2000, "2000", "2"},
                {1073741824, "1Gi", "1073741824m"},
                {1610612736, "1536Mi", "1610612736m"},
                {(uint64_t)1 << 60, "1Ei", "1152921504606846976m"},
                {(uint64_t)1 << 63, "8Ei", "9223372036854775808m"},
                {UINT64_MAX, "18446744073709551615", "18446744073709551615m"},
        };
        char text[32];

        for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
                g_assert_cmpstr(quantity_format_bytes(forms[i].number, text), ==, forms[i].bytes);
                g_assert_cmpstr(quantity_format_milli(forms[i].number, text), ==, forms[i].milli);
        }
}

static void what_is_written_reads_back(void)
{
        char text[32];

        for (uint64_t number = 1; number < (uint64_t)1 << 52; number = number * 3 + number % 7) {
                uint64_t bytes = 0, milli = 0;

                g_assert_cmpint(quantity_parse_bytes(quantity_format_bytes(number, text), &bytes), ==, 0);
                g_assert_cmpint(quantity_parse_milli(quantity_format_milli(number, text), &milli), ==, 0);
                g_assert_cmpuint(bytes, ==, number);
                g_assert_cmpuint(milli, ==, number);
        }
}

/* Source: resource.Quantity of Kubernetes: what it writes for each. */
static void quantities_are_written_as_kubernetes_does(void)
{
        static const struct {
                const char *text, *canonical; /* NULL: refused */
        } forms[] = {
                {"0", "0"},
                {"0Gi", "0"},
                {"1", "1"},
                {"+1", "1"},
                {"1.", "1"},
                {"0.5", "500m"},
                {".5", "500m"},
                {"500m", "500m"},
                {"1000m", "1"},
                {"1500m", "1500m"},
                {"1.5", "1500m"},
                {"100", "100"},
                {"1000", "1k"},
                {"1024", "1024"},
                {"1500", "1500"},
                {"1000000", "1M"},
                {"1000k", "1M"},
                {"0.001k", "1"},
                {"20G", "20G"},
                {"1000000000000000000", "1E"},
                {"1E", "1E"},
                {"5P", "5P"},
                {"1u", "1u"},
                {"1000n", "1u"},
                {"0.1n", "1n"},
                {"1Ki", "1Ki"},
                {"1024Ki", "1Mi"},
                {"1024Mi", "1Gi"},
                {"1536Mi", "1536Mi"},
                {"1.5Gi", "1536Mi"},
                {"0.5Gi", "512Mi"},
                {"2048Gi", "2Ti"},
                {"1Ti", "1Ti"},
                {"1024Ti", "1Pi"},
                {"7Ei", "7Ei"},
                {"0.5Ki", "512"},
                {"0.1Ki", "102400m"},
                {"1.1Gi", "1181116006400m"},
                {"1e3", "1e3"},
                {"1E3", "1e3"},
                {"1e+3", "1e3"},
                {"1500e0", "1500"},
                {"1.5e3", "1500"},
                {"12e6", "12e6"},
                {"1e-3", "1e-3"},
                {"12e-1", "1200e-3"},
                {"9223372036854775807", "9223372036854775807"},
                {"8Ei", NULL},
                {"9223372036854775808", NULL},
                {"1e99", NULL},
                {"-1", NULL},
                {"", NULL},
                {"1GiB", NULL},
                {"1 Gi", NULL},
                {"much", NULL},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
                char text[QUANTITY_TEXT_MAX] = "", again[QUANTITY_TEXT_MAX] = "";
                int r = quantity_canonical(forms[i].text, text);
                uint64_t before = 0, after = 0;

                if ((r == 0) != (forms[i].canonical != NULL) || (r == 0 && strcmp(text, forms[i].canonical) != 0))
                        g_error("\"%s\" is \"%s\" (%d), not \"%s\"", forms[i].text, text, r, forms[i].canonical);
                if (r != 0)
                        continue;
                g_assert_cmpint(quantity_canonical(text, again), ==, 0);
                g_assert_cmpstr(again, ==, text);
                g_assert_cmpint(quantity_parse_bytes(forms[i].text, &before), ==, quantity_parse_bytes(text, &after));
                g_assert_cmpuint(before, ==, after);
        }
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/quantity/quantities_are_read_and_rounded_up", quantities_are_read_and_rounded_up);
        g_test_add_func("/quantity/many_digits_cost_no_precision", many_digits_cost_no_precision);
        g_test_add_func("/quantity/the_shortest_exact_form_is_written", the_shortest_exact_form_is_written);
        g_test_add_func("/quantity/quantities_are_written_as_kubernetes_does", quantities_are_written_as_kubernetes_does);
        g_test_add_func("/quantity/what_is_written_reads_back", what_is_written_reads_back);
        return g_test_run();
}
