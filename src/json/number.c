/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json_value.h"

#include <assert.h>
#include <errno.h>
#include <math.h>

const char *json_number_end(const char *s)
{
        if (*s == '-')
                s++;
        if (!g_ascii_isdigit(*s))
                return NULL;
        if (*s == '0')
                s++;
        else
                while (g_ascii_isdigit(*s))
                        s++;
        if (*s == '.') {
                if (!g_ascii_isdigit(*++s))
                        return NULL;
                while (g_ascii_isdigit(*s))
                        s++;
        }
        if (*s != 'e' && *s != 'E')
                return s;
        s++;
        if (*s == '+' || *s == '-')
                s++;
        if (!g_ascii_isdigit(*s))
                return NULL;
        while (g_ascii_isdigit(*s))
                s++;
        return s;
}

/* The digits between the first and the last that is not zero, a dot possibly among them, and the exponent of the last one. */
struct decimal {
        bool minus;
        const char *first, *last; /* inclusive; NULL: zero */
        int64_t exponent;
};

#define EXPONENT_MAX 1000000000000ll

static int64_t read_exponent(const char *s)
{
        int64_t number = 0;
        bool minus = *s == '-';

        if (*s == '-' || *s == '+')
                s++;
        for (; *s; s++)
                number = MIN(number * 10 + (*s - '0'), EXPONENT_MAX);
        return minus ? -number : number;
}

/* -ERANGE when the exponent is so large that it was not read exactly. */
static int decimal_read(const char *s, struct decimal *ret)
{
        struct decimal decimal = {0};
        const char *dot = NULL, *end;

        decimal.minus = *s == '-';
        if (decimal.minus)
                s++;
        for (; *s && *s != 'e' && *s != 'E'; s++) {
                if (*s == '.')
                        dot = s;
                else if (*s != '0')
                        decimal.last = s;
                if (!decimal.first)
                        decimal.first = decimal.last;
        }
        end = s;
        decimal.exponent = *s ? read_exponent(s + 1) : 0;
        if (decimal.exponent >= EXPONENT_MAX || decimal.exponent <= -EXPONENT_MAX)
                return -ERANGE;
        if (decimal.first) {
                dot = dot ? dot : end;
                decimal.exponent += decimal.last < dot ? dot - decimal.last - 1 : dot - decimal.last;
        }
        *ret = decimal;
        return 0;
}

static const char *next_digit(const char *s)
{
        return s[1] == '.' ? s + 2 : s + 1;
}

bool json_number_equal(const char *a, const char *b)
{
        struct decimal x, y;
        const char *s, *t;

        if (decimal_read(a, &x) < 0 || decimal_read(b, &y) < 0)
                return strcmp(a, b) == 0;
        if (!x.first || !y.first)
                return !x.first && !y.first;
        if (x.minus != y.minus || x.exponent != y.exponent)
                return false;
        for (s = x.first, t = y.first; s < x.last && t < y.last && *s == *t;) {
                s = next_digit(s);
                t = next_digit(t);
        }
        return s == x.last && t == y.last && *s == *t;
}

int json_int64(const struct json_value *value, int64_t *ret_number)
{
        struct decimal decimal;
        int64_t number = 0;

        assert(ret_number);
        if (!json_is(value, JSON_NUMBER))
                return -EINVAL;
        if (decimal_read(value->text, &decimal) < 0)
                return -ERANGE;
        if (!decimal.first) {
                *ret_number = 0;
                return 0;
        }
        if (decimal.exponent < 0)
                return -EINVAL;
        /* towards the negative side, which is the longer one */
        for (const char *s = decimal.first; s <= decimal.last; s = next_digit(s))
                if (__builtin_mul_overflow(number, 10, &number) || __builtin_sub_overflow(number, *s - '0', &number))
                        return -ERANGE;
        for (; decimal.exponent > 0; decimal.exponent--)
                if (__builtin_mul_overflow(number, 10, &number))
                        return -ERANGE;
        if (!decimal.minus && __builtin_sub_overflow(0, number, &number))
                return -ERANGE;
        *ret_number = number;
        return 0;
}

int json_double(const struct json_value *value, double *ret_number)
{
        double number;

        assert(ret_number);
        if (!json_is(value, JSON_NUMBER))
                return -EINVAL;
        number = g_ascii_strtod(value->text, NULL);
        if (isinf(number))
                return -ERANGE;
        *ret_number = number;
        return 0;
}
