/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Clock and randomness are never ambient: they come in through this context, so that tests and the simulator own them.
 * All times are microseconds. Real time counts from 1970-01-01 UTC; monotonic time from an arbitrary point.
 */
struct clock {
        uint64_t (*real_us)(void *userdata);
        uint64_t (*monotonic_us)(void *userdata);
        void *userdata;
};

/** clock_system() - the machine's clock; a static object. */
const struct clock *clock_system(void);

static inline uint64_t clock_real_us(const struct clock *clock)
{
        return clock->real_us(clock->userdata);
}

static inline uint64_t clock_monotonic_us(const struct clock *clock)
{
        return clock->monotonic_us(clock->userdata);
}

/* A source of random bytes. */
struct random_source {
        void (*fill)(void *userdata, void *buffer, size_t len);
        void *userdata;
};

/** random_system() - getrandom(2); aborts when the kernel cannot give randomness; a static object. */
const struct random_source *random_system(void);

/** random_seeded() - a deterministic generator for tests and simulation (not for secrets). @state: 8 bytes owned by the caller. */
struct random_source random_seeded(uint64_t *state);

static inline void random_fill(const struct random_source *random, void *buffer, size_t len)
{
        random->fill(random->userdata, buffer, len);
}

/** random_below() - a uniform number in [0, @bound); @bound > 0. */
uint64_t random_below(const struct random_source *random, uint64_t bound);

#define CLOCK_RFC3339_MAX 32
#define UUID_TEXT_MAX     37

/** clock_format_rfc3339() - "2026-01-02T03:04:05Z", or with six decimals when @micro. @text holds CLOCK_RFC3339_MAX bytes. */
char *clock_format_rfc3339(uint64_t real_us, bool micro, char *text);

/** clock_parse_rfc3339() - 0 and the time in microseconds, or -EINVAL. Accepts any offset and up to nine decimals. */
int clock_parse_rfc3339(const char *text, uint64_t *ret_real_us);

/** clock_format_age() - kubectl's short age: "5s", "4m10s", "3h", "2d4h", "3y12d". @text holds 32 bytes. */
char *clock_format_age(uint64_t age_us, char *text);

/** uuid_generate() - a random (version 4) UUID as text; @text holds UUID_TEXT_MAX bytes. */
char *uuid_generate(const struct random_source *random, char *text);

/** uuid_valid() - whether @text is a lower- or upper-case UUID of 36 characters. */
bool uuid_valid(const char *text);
