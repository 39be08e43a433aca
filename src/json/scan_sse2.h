/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <emmintrin.h>

/* Sixteen bytes of text at a time with what every x86-64 has: see scan.h. Bit i of the marks is byte i. */

#define JSON_SCAN_BYTES 16u

static inline unsigned json_scan_special(const char *s)
{
        __m128i text = _mm_loadu_si128((const __m128i *)(const void *)s);
        __m128i quote = _mm_cmpeq_epi8(text, _mm_set1_epi8('"'));
        __m128i backslash = _mm_cmpeq_epi8(text, _mm_set1_epi8('\\'));
        __m128i low = _mm_cmplt_epi8(text, _mm_set1_epi8(0x20)); /* signed: bytes above 0x7f are below it as well */

        return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), low));
}

static inline unsigned json_scan_first(unsigned marks)
{
        return (unsigned)__builtin_ctz(marks);
}
