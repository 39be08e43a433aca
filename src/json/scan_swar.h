/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <stdint.h>
#include <string.h>

/* Eight bytes of text at a time in a general register: see scan.h. Marks are the high bits of the bytes. */

#define JSON_SCAN_BYTES 8u

static inline uint64_t json_scan_special(const char *s)
{
        const uint64_t ones = 0x0101010101010101ull;
        uint64_t word, quote, backslash;

        memcpy(&word, s, sizeof(word));
        word = GUINT64_FROM_LE(word);
        quote = word ^ ones * '"';
        backslash = word ^ ones * '\\';
        /* a borrow can mark bytes above one that is meant, never below */
        return (((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | ((word - ones * 0x20) & ~word) | word) &
               ones * 0x80;
}

static inline unsigned json_scan_first(uint64_t marks)
{
        return (unsigned)__builtin_ctzll(marks) >> 3;
}
