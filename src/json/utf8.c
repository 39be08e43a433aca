/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json_value.h"

static bool continues(unsigned char c)
{
        return (c & 0xc0) == 0x80;
}

/* Table 3-7 of the Unicode standard: no overlong forms, no surrogates, nothing above U+10FFFF. */
unsigned json_utf8_length(const unsigned char *s)
{
        unsigned char c = s[0];

        if (c < 0x80)
                return 1;
        if (c < 0xc2 || c > 0xf4 || !continues(s[1]))
                return 0;
        if (c < 0xe0)
                return 2;
        if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) || (c == 0xf0 && s[1] < 0x90) || (c == 0xf4 && s[1] > 0x8f))
                return 0;
        if (!continues(s[2]))
                return 0;
        if (c < 0xf0)
                return 3;
        return continues(s[3]) ? 4 : 0;
}
