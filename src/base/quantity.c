/* SPDX-License-Identifier: Apache-2.0 */
#include "base/quantity.h"

#include <assert.h>
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef unsigned __int128 wide;

/*
 * A quantity taken apart: digits × 10^exponent × 2^shift. 27 digits are kept: with a result below 2^63 what lies beyond them
 * can only decide whether a rest is zero, and that is what @more remembers.
 */
struct decimal {
        wide digits;
        int n_digits;
        int exponent;
        int shift;
        bool more;
};

#define DIGITS_MAX   27
#define EXPONENT_MAX 1000
#define NANO         1000000000u

static const struct {
        const char *text;
        int exponent;
        int shift;
} suffixes[] = {
        {"", 0, 0},   {"Ki", 0, 10}, {"Mi", 0, 20}, {"Gi", 0, 30}, {"Ti", 0, 40}, {"Pi", 0, 50}, {"Ei", 0, 60}, {"n", -9, 0},
        {"u", -6, 0}, {"m", -3, 0},  {"k", 3, 0},   {"M", 6, 0},   {"G", 9, 0},   {"T", 12, 0},  {"P", 15, 0},  {"E", 18, 0},
};

static void take_digit(struct decimal *decimal, int digit, bool fraction)
{
        if (decimal->n_digits < DIGITS_MAX) {
                decimal->digits = decimal->digits * 10 + (unsigned)digit;
                decimal->n_digits += decimal->digits > 0;
                decimal->exponent -= fraction;
                return;
        }
        decimal->more |= digit > 0;
        decimal->exponent += !fraction;
}

static int take_number(const char **cursor, struct decimal *decimal)
{
        bool fraction = false, any = false;

        for (;; (*cursor)++) {
                if (g_ascii_isdigit(**cursor)) {
                        any = true;
                        take_digit(decimal, **cursor - '0', fraction);
                } else if (**cursor == '.' && !fraction) {
                        fraction = true;
                } else {
                        break;
                }
                if (decimal->exponent > EXPONENT_MAX || decimal->exponent < -EXPONENT_MAX)
                        return -ERANGE;
        }
        return any ? 0 : -EINVAL;
}

static int take_exponent(const char *text, struct decimal *decimal)
{
        bool minus = *text == '-';
        int number = 0;

        if (minus || *text == '+')
                text++;
        if (!*text)
                return -EINVAL;
        for (; *text; text++) {
                if (!g_ascii_isdigit(*text))
                        return -EINVAL;
                number = MIN(number * 10 + (*text - '0'), EXPONENT_MAX);
        }
        decimal->exponent += minus ? -number : number;
        return 0;
}

static int take_suffix(const char *text, struct decimal *decimal)
{
        for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
                if (strcmp(suffixes[i].text, text) != 0)
                        continue;
                decimal->exponent += suffixes[i].exponent;
                decimal->shift = suffixes[i].shift;
                return 0;
        }
        if (*text == 'e' || *text == 'E')
                return take_exponent(text + 1, decimal);
        return -EINVAL;
}

/* Multiply by @factor @times; false on overflow. */
static bool scale(wide *number, unsigned factor, int times)
{
        for (; times > 0; times--)
                if (__builtin_mul_overflow(*number, (wide)factor, number))
                        return false;
        return true;
}

/* The value rounded up. 10^-k is 2^-k × 5^-k, whose power of two is first cancelled against the shift. */
static int decimal_wide(const struct decimal *decimal, wide *ret_number)
{
        int fives = decimal->exponent < 0 ? -decimal->exponent : 0;
        int twos = decimal->shift - fives;
        wide number = decimal->digits, divisor = 1, result;

        if (!number) {
                *ret_number = 0;
                return 0;
        }
        if (decimal->exponent > 0 && !scale(&number, 10, decimal->exponent))
                return -ERANGE;
        if (twos > 0 && !scale(&number, 2, twos))
                return -ERANGE;
        if (!scale(&divisor, 5, fives) || !scale(&divisor, 2, -twos)) {
                *ret_number = 1;
                return 0;
        }
        result = number / divisor + (number % divisor || decimal->more);
        *ret_number = result;
        return 0;
}

static int decimal_round_up(const struct decimal *decimal, uint64_t *ret_number)
{
        wide number;
        int r = decimal_wide(decimal, &number);

        if (r < 0)
                return r;
        if (number > INT64_MAX)
                return -ERANGE;
        *ret_number = (uint64_t)number;
        return 0;
}

/* Number and suffix; @ret_suffix points to where that begins in @text, or is NULL. */
static int take_decimal(const char *text, struct decimal *decimal, const char **ret_suffix)
{
        int r;

        if (!text)
                return -EINVAL;
        if (*text == '+')
                text++;
        r = take_number(&text, decimal);
        if (r < 0)
                return r;
        if (ret_suffix)
                *ret_suffix = text;
        return take_suffix(text, decimal);
}

static int quantity_parse(const char *text, int unit_exponent, uint64_t *ret_number)
{
        struct decimal decimal = {0};
        int r = take_decimal(text, &decimal, NULL);

        if (r < 0)
                return r;
        decimal.exponent += unit_exponent;
        return decimal_round_up(&decimal, ret_number);
}

int quantity_parse_bytes(const char *text, uint64_t *ret_bytes)
{
        assert(ret_bytes);
        return quantity_parse(text, 0, ret_bytes);
}

int quantity_parse_milli(const char *text, uint64_t *ret_milli)
{
        assert(ret_milli);
        return quantity_parse(text, 3, ret_milli);
}

char *quantity_format_bytes(uint64_t bytes, char *text)
{
        static const char *const units[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
        size_t unit = 0;

        assert(text);
        for (; bytes && bytes % 1024 == 0; bytes /= 1024)
                unit++;
        snprintf(text, 32, "%" PRIu64 "%s", bytes, units[unit]);
        return text;
}

char *quantity_format_milli(uint64_t milli, char *text)
{
        assert(text);
        if (milli % 1000)
                snprintf(text, 32, "%" PRIu64 "m", milli);
        else
                snprintf(text, 32, "%" PRIu64, milli / 1000);
        return text;
}

/* --- the canonical form
 * ----------------------------------------------------------------------------------------------------------------------- */

static const char *const decimal_suffixes[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};

static void write_wide(wide number, char *text)
{
        char digits[40];
        size_t n = 0;

        do {
                digits[n++] = (char)('0' + (int)(number % 10));
                number /= 10;
        } while (number > 0);
        while (n > 0)
                *text++ = digits[--n];
        *text = '\0';
}

/* Thousands, thousandths ...: as few digits as possible, none behind a point. */
static void write_decimal(wide nano, bool exponent, char *out)
{
        char number[40];
        int power = -9;

        for (; nano && nano % 1000 == 0; nano /= 1000)
                power += 3;
        if (!nano)
                power = 0;
        write_wide(nano, number);
        if (exponent && power)
                snprintf(out, QUANTITY_TEXT_MAX, "%se%d", number, power);
        else if (!exponent && power <= 18)
                snprintf(out, QUANTITY_TEXT_MAX, "%s%s", number, decimal_suffixes[(power + 9) / 3]);
        else
                snprintf(out, QUANTITY_TEXT_MAX, "%s", number);
}

int quantity_canonical(const char *text, char *out)
{
        struct decimal decimal = {0};
        const char *suffix;
        uint64_t whole, rest;
        wide nano;
        bool exponent;
        int r;

        assert(out);
        r = take_decimal(text, &decimal, &suffix);
        if (r < 0)
                return r;
        r = decimal_round_up(&decimal, &whole);
        if (r < 0)
                return r;
        decimal.exponent += 9;
        r = decimal_wide(&decimal, &nano);
        if (r < 0)
                return r;
        exponent = (*suffix == 'e' || *suffix == 'E') && suffix[1] && suffix[1] != 'i';
        rest = (uint64_t)(nano % NANO);
        if (decimal.shift && rest == 0 && whole >= 1024)
                quantity_format_bytes(whole, out);
        else
                write_decimal(nano, exponent, out);
        return 0;
}
