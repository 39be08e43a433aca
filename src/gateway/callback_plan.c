/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/callback_plan.h"

#include <assert.h>
#include <glib.h>
#include <string.h>
#include <time.h>

enum callback_verdict callback_judge(const struct callback_answer *answer, int64_t attempts, int64_t most)
{
        assert(answer && attempts > 0);

        if (answer->status >= 200 && answer->status < 300)
                return CALLBACK_DELIVERED;
        return answer->status == 410 || attempts >= most ? CALLBACK_DEAD : CALLBACK_AGAIN;
}

/* RFC 9110 10.2.3: seconds, or a date as RFC 5322 writes it. 0: neither. */
static uint64_t asked_us(const char *text, uint64_t now_us)
{
        size_t digits = strspn(text, "0123456789");
        struct tm parts = {0};

        if (digits > 0 && text[digits] == '\0')
                return digits > 6 ? CALLBACK_PAUSE_ASKED_US : g_ascii_strtoull(text, NULL, 10) * 1000000;
        const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
        time_t then = end && *end == '\0' ? timegm(&parts) : 0;

        return then > 0 && (uint64_t)then * 1000000 > now_us ? (uint64_t)then * 1000000 - now_us : 0;
}

uint64_t callback_pause_us(const struct callback_answer *answer, int64_t attempts, uint64_t now_us,
                           const struct random_source *random)
{
        assert(answer && attempts > 0 && random);

        unsigned doublings = (unsigned)MIN(attempts - 1, 20);
        uint64_t bound_us = MIN(CALLBACK_PAUSE_FIRST_US << doublings, CALLBACK_PAUSE_MOST_US);
        uint64_t chosen_us = random_below(random, bound_us) + 1, pause_us = MAX(chosen_us, CALLBACK_PAUSE_LEAST_US);
        bool asks = (answer->status == 429 || answer->status == 503) && answer->retry_after;

        return asks ? MAX(pause_us, MIN(asked_us(answer->retry_after, now_us), CALLBACK_PAUSE_ASKED_US)) : pause_us;
}

char *callback_signature(const void *key, size_t key_len, uint64_t now_s, const char *body)
{
        assert(key && body);

        g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT ".%s", now_s, body);
        g_autofree char *digest = g_compute_hmac_for_data(G_CHECKSUM_SHA256, key, key_len, (const guchar *)text, strlen(text));

        return g_strdup_printf("t=%" G_GUINT64_FORMAT ",v1=%s", now_s, digest);
}
