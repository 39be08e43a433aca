/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static void system_fill(void *userdata, void *buffer, size_t len)
{
        unsigned char *cursor = buffer;

        while (len > 0) {
                ssize_t n = getrandom(cursor, len, 0);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        g_error("getrandom: %s", g_strerror(errno));
                cursor += n;
                len -= (size_t)n;
        }
}

const struct random_source *random_system(void)
{
        static const struct random_source source = {.fill = system_fill};

        return &source;
}

/* splitmix64 (S. Vigna, public domain): one word of state, every seed is a good one. */
static uint64_t seeded_next(uint64_t *state)
{
        uint64_t z = *state += 0x9e3779b97f4a7c15ull;

        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ z >> 27) * 0x94d049bb133111ebull;
        return z ^ z >> 31;
}

static void seeded_fill(void *userdata, void *buffer, size_t len)
{
        unsigned char *cursor = buffer;

        for (size_t take; len > 0; cursor += take, len -= take) {
                uint64_t word = GUINT64_TO_LE(seeded_next(userdata));

                take = MIN(len, sizeof(word));
                memcpy(cursor, &word, take);
        }
}

struct random_source random_seeded(uint64_t *state)
{
        assert(state);
        return (struct random_source){.fill = seeded_fill, .userdata = state};
}

uint64_t random_below(const struct random_source *random, uint64_t bound)
{
        uint64_t word, refused;

        assert(random);
        assert(bound > 0);
        refused = -bound % bound; /* 2^64 mod bound: the short last stretch would favour small numbers */
        do {
                random_fill(random, &word, sizeof(word));
        } while (word < refused);
        return word % bound;
}

char *uuid_generate(const struct random_source *random, char *text)
{
        static const char hex[] = "0123456789abcdef";
        unsigned char bytes[16];
        char *out = text;

        assert(random);
        assert(text);
        random_fill(random, bytes, sizeof(bytes));
        bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40);
        bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
        for (size_t i = 0; i < sizeof(bytes); i++) {
                if (i == 4 || i == 6 || i == 8 || i == 10)
                        *out++ = '-';
                *out++ = hex[bytes[i] >> 4];
                *out++ = hex[bytes[i] & 15];
        }
        *out = 0;
        return text;
}

bool uuid_valid(const char *text)
{
        if (!text)
                return false;
        for (int i = 0; i < UUID_TEXT_MAX - 1; i++) {
                bool dash = i == 8 || i == 13 || i == 18 || i == 23;

                if (dash ? text[i] != '-' : !g_ascii_isxdigit(text[i]))
                        return false;
        }
        return text[UUID_TEXT_MAX - 1] == 0;
}
