/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* How fast the bytes of one transfer come: now, and on the average since it began or was gone on with. */
struct transfer_rate {
        uint64_t begun_us, begun_bytes; /* begun_us 0: not begun */
        uint64_t told_us, told_bytes;   /* of the last look */
        uint64_t current, average;      /* bytes a second */
};

/** transfer_rate_begin() - @bytes are there already, and count for nothing. */
void transfer_rate_begin(struct transfer_rate *rate, uint64_t now_us, uint64_t bytes);
/** transfer_rate_due() - whether the last look is so long ago that it should be told anew. */
bool transfer_rate_due(const struct transfer_rate *rate, uint64_t now_us);
/** transfer_rate_look() - @bytes are there now. */
void transfer_rate_look(struct transfer_rate *rate, uint64_t now_us, uint64_t bytes);
/** transfer_rate_words() - for people, "310.4 MiB/s", in @text[32]; returns it. */
const char *transfer_rate_words(uint64_t bytes_a_second, char *text);
