/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define US_PER_S  1000000ull
#define S_PER_DAY 86400ll

static uint64_t clock_read(clockid_t id)
{
        struct timespec now;

        if (clock_gettime(id, &now) < 0)
                g_error("clock_gettime: %s", g_strerror(errno));
        return (uint64_t)now.tv_sec * US_PER_S + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t system_real_us(void *userdata)
{
        return clock_read(CLOCK_REALTIME);
}

static uint64_t system_monotonic_us(void *userdata)
{
        return clock_read(CLOCK_MONOTONIC);
}

const struct clock *clock_system(void)
{
        static const struct clock clock = {.real_us = system_real_us, .monotonic_us = system_monotonic_us};

        return &clock;
}

/* Proleptic Gregorian calendar in 400-year eras that begin on 1 March (H. Hinnant, "chrono-compatible low-level date algorithms").
 */
static void civil_from_days(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day)
{
        int64_t era, year_of_era, day_of_era, day_of_year, month;

        days += 719468;
        era = days / 146097;
        day_of_era = days % 146097;
        year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
        day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        month = (5 * day_of_year + 2) / 153;
        *ret_day = (unsigned)(day_of_year - (153 * month + 2) / 5 + 1);
        *ret_month = (unsigned)(month < 10 ? month + 3 : month - 9);
        *ret_year = year_of_era + era * 400 + (*ret_month <= 2);
}

static int64_t days_from_civil(int64_t year, unsigned month, unsigned day)
{
        int64_t era, year_of_era, day_of_year;

        year -= month <= 2;
        era = (year >= 0 ? year : year - 399) / 400;
        year_of_era = year - era * 400;
        day_of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
        return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

char *clock_format_rfc3339(uint64_t real_us, bool micro, char *text)
{
        uint64_t seconds = real_us / US_PER_S;
        unsigned rest = (unsigned)(seconds % S_PER_DAY);
        unsigned month, day;
        int64_t year;
        int n;

        assert(text);
        civil_from_days((int64_t)(seconds / S_PER_DAY), &year, &month, &day);
        n = snprintf(text, CLOCK_RFC3339_MAX, "%04" PRId64 "-%02u-%02uT%02u:%02u:%02u", year, month % 13, day % 32, rest / 3600,
                     rest / 60 % 60, rest % 60);
        if (micro)
                n += snprintf(text + n, CLOCK_RFC3339_MAX - (size_t)n, ".%06u", (unsigned)(real_us % US_PER_S));
        assert(n < CLOCK_RFC3339_MAX - 1);
        text[n] = 'Z';
        text[n + 1] = 0;
        return text;
}

/* Exactly @n digits at *@cursor; -1 when there are fewer. */
static int take_digits(const char **cursor, int n)
{
        int number = 0;

        for (int i = 0; i < n; i++, (*cursor)++) {
                if (!g_ascii_isdigit(**cursor))
                        return -1;
                number = number * 10 + (**cursor - '0');
        }
        return number;
}

static bool take_char(const char **cursor, char c)
{
        if (**cursor != c)
                return false;
        (*cursor)++;
        return true;
}

static int take_fraction_us(const char **cursor, uint64_t *ret_us)
{
        uint64_t us = 0;
        int digits = 0;

        if (!take_char(cursor, '.')) {
                *ret_us = 0;
                return 0;
        }
        for (; g_ascii_isdigit(**cursor); (*cursor)++, digits++)
                if (digits < 6)
                        us = us * 10 + (uint64_t)(**cursor - '0');
        if (digits < 1 || digits > 9)
                return -EINVAL;
        for (; digits < 6; digits++)
                us *= 10;
        *ret_us = us;
        return 0;
}

static int take_offset_s(const char **cursor, int64_t *ret_offset)
{
        int hours, minutes;
        bool minus;

        if (take_char(cursor, 'Z') || take_char(cursor, 'z')) {
                *ret_offset = 0;
                return 0;
        }
        minus = **cursor == '-';
        if (!minus && **cursor != '+')
                return -EINVAL;
        (*cursor)++;
        hours = take_digits(cursor, 2);
        if (hours < 0 || hours > 23 || !take_char(cursor, ':'))
                return -EINVAL;
        minutes = take_digits(cursor, 2);
        if (minutes < 0 || minutes > 59)
                return -EINVAL;
        *ret_offset = (minus ? -1 : 1) * (hours * 3600ll + minutes * 60);
        return 0;
}

static int take_date_days(const char **cursor, int64_t *ret_days)
{
        int64_t check_year;
        unsigned check_month, check_day;
        int year, month, day;

        year = take_digits(cursor, 4);
        if (year < 1 || !take_char(cursor, '-'))
                return -EINVAL;
        month = take_digits(cursor, 2);
        if (month < 1 || month > 12 || !take_char(cursor, '-'))
                return -EINVAL;
        day = take_digits(cursor, 2);
        if (day < 1 || day > 31)
                return -EINVAL;
        *ret_days = days_from_civil(year, (unsigned)month, (unsigned)day);
        if (*ret_days < -1)
                return -EINVAL;
        if (*ret_days < 0)
                return 0;
        civil_from_days(*ret_days, &check_year, &check_month, &check_day);
        return check_month == (unsigned)month && check_day == (unsigned)day ? 0 : -EINVAL;
}

int clock_parse_rfc3339(const char *text, uint64_t *ret_real_us)
{
        int hour, minute, second, r;
        int64_t days, offset, seconds;
        uint64_t us;

        assert(ret_real_us);
        if (!text)
                return -EINVAL;
        r = take_date_days(&text, &days);
        if (r < 0)
                return r;
        if (!take_char(&text, 'T') && !take_char(&text, 't'))
                return -EINVAL;
        hour = take_digits(&text, 2);
        if (hour < 0 || hour > 23 || !take_char(&text, ':'))
                return -EINVAL;
        minute = take_digits(&text, 2);
        if (minute < 0 || minute > 59 || !take_char(&text, ':'))
                return -EINVAL;
        second = take_digits(&text, 2);
        if (second < 0 || second > 59)
                return -EINVAL;
        if (take_fraction_us(&text, &us) < 0 || take_offset_s(&text, &offset) < 0 || *text)
                return -EINVAL;
        seconds = days * S_PER_DAY + hour * 3600 + minute * 60 + second - offset;
        if (seconds < 0)
                return -EINVAL;
        *ret_real_us = (uint64_t)seconds * US_PER_S + us;
        return 0;
}

static char *format_pair(char *text, uint64_t large, char large_unit, uint64_t small, char small_unit)
{
        if (small)
                snprintf(text, 32, "%" PRIu64 "%c%" PRIu64 "%c", large, large_unit, small, small_unit);
        else
                snprintf(text, 32, "%" PRIu64 "%c", large, large_unit);
        return text;
}

/* The steps of k8s.io/apimachinery duration.HumanDuration. */
char *clock_format_age(uint64_t age_us, char *text)
{
        uint64_t seconds = age_us / US_PER_S, minutes = seconds / 60, hours = minutes / 60, days = hours / 24;

        assert(text);
        if (seconds < 120)
                return format_pair(text, seconds, 's', 0, 0);
        if (minutes < 10)
                return format_pair(text, minutes, 'm', seconds % 60, 's');
        if (minutes < 180)
                return format_pair(text, minutes, 'm', 0, 0);
        if (hours < 8)
                return format_pair(text, hours, 'h', minutes % 60, 'm');
        if (hours < 48)
                return format_pair(text, hours, 'h', 0, 0);
        if (days < 8)
                return format_pair(text, days, 'd', hours % 24, 'h');
        if (days < 365 * 2)
                return format_pair(text, days, 'd', 0, 0);
        if (days < 365 * 8)
                return format_pair(text, days / 365, 'y', days % 365, 'd');
        return format_pair(text, days / 365, 'y', 0, 0);
}
