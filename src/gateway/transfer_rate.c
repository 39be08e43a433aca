/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/transfer_rate.h"

#include <assert.h>
#include <glib.h>

#define SECOND_US 1000000u
#define TOLD_US   2000000u
#define WORDS_MAX 32

void transfer_rate_begin(struct transfer_rate *rate, uint64_t now_us, uint64_t bytes)
{
        assert(rate);
        *rate = (struct transfer_rate){.begun_us = MAX(now_us, 1), .begun_bytes = bytes, .told_us = now_us, .told_bytes = bytes};
}

bool transfer_rate_due(const struct transfer_rate *rate, uint64_t now_us)
{
        assert(rate);
        return now_us >= rate->told_us + TOLD_US;
}

static uint64_t divide(uint64_t bytes, uint64_t us)
{
        return (uint64_t)((__uint128_t)bytes * SECOND_US / us);
}

void transfer_rate_look(struct transfer_rate *rate, uint64_t now_us, uint64_t bytes)
{
        assert(rate);
        if (now_us > rate->told_us)
                rate->current = bytes > rate->told_bytes ? divide(bytes - rate->told_bytes, now_us - rate->told_us) : 0;
        if (now_us > rate->begun_us)
                rate->average = bytes > rate->begun_bytes ? divide(bytes - rate->begun_bytes, now_us - rate->begun_us) : 0;
        rate->told_us = now_us;
        rate->told_bytes = bytes;
}

const char *transfer_rate_words(uint64_t bytes_a_second, char *text)
{
        static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
        double amount = (double)bytes_a_second;
        size_t unit = 0;

        assert(text);
        for (; amount >= 1024 && unit + 1 < G_N_ELEMENTS(units); unit++)
                amount /= 1024;
        g_snprintf(text, WORDS_MAX, unit ? "%.1f %s/s" : "%.0f %s/s", amount, units[unit]);
        return text;
}
