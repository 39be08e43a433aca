/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/clock.h"

#include <stddef.h>

/* What follows from one attempt to tell an event: functions of the answer, the clock and the random source. */

#define CALLBACK_PAUSE_FIRST_US 1000000ull
#define CALLBACK_PAUSE_LEAST_US 100000ull
#define CALLBACK_PAUSE_MOST_US  600000000ull  /* 10 min: of its own accord */
#define CALLBACK_PAUSE_ASKED_US 3600000000ull /* 1 h: when the endpoint asks for it */

struct callback_answer {
        int status;              /* of HTTP; 0: there was no answer */
        const char *retry_after; /* header of that name, or NULL */
};

enum callback_verdict { CALLBACK_DELIVERED, CALLBACK_AGAIN, CALLBACK_DEAD };

/** callback_judge() - what becomes of an event after its @attempts-th attempt, of @most: any 2xx takes it, 410 ends it. */
enum callback_verdict callback_judge(const struct callback_answer *answer, int64_t attempts, int64_t most);

/**
 * callback_pause_us() - until the next attempt
 *
 * After the n-th attempt a random time below 1 s * 2^(n-1), at most 10 min ("full jitter": receivers that come back are not met by
 * all at once). Retry-After (seconds or a date) of a 429 or 503 is honoured up to an hour.
 */
uint64_t callback_pause_us(const struct callback_answer *answer, int64_t attempts, uint64_t now_us,
                           const struct random_source *random);

/** callback_signature() - "t=<now_s>,v1=<HMAC-SHA256 in hex>" of "<now_s>.<body>"; g_free(). */
char *callback_signature(const void *key, size_t key_len, uint64_t now_s, const char *body);
