/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"
#include "base/names.h"
#include "base/quantity.h"

#include <assert.h>
#include <glib.h>
#include <string.h>

/* Small texts: addresses, prefixes, quantities, names. What is taken is written as it was meant, and read back as the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_address(const char *text)
{
        struct address address, again;
        char out[ADDRESS_TEXT_MAX];

        if (address_parse(text, &address) < 0)
                return;
        assert(address.family == 4 || address.family == 6);
        assert(strlen(address_format(&address, out)) < ADDRESS_TEXT_MAX);
        assert(address_parse(out, &again) == 0 && address_compare(&address, &again) == 0);
        (void)address_is_public(&address);
        if (address_offset(&address, 257, &again) == 0)
                assert(address_compare(&address, &again) < 0);
}

static void read_prefix(const char *text)
{
        struct address_prefix prefix, again;
        struct address last;
        char out[ADDRESS_PREFIX_TEXT_MAX];

        if (address_prefix_parse(text, &prefix) < 0)
                return;
        assert(address_prefix_contains(&prefix, &prefix.base) && prefix.length <= (prefix.base.family == 4 ? 32 : 128));
        assert(address_prefix_parse(address_prefix_format(&prefix, out), &again) == 0);
        assert(again.length == prefix.length && address_compare(&again.base, &prefix.base) == 0);
        uint64_t n = address_prefix_size(&prefix);
        if (address_offset(&prefix.base, n - 1, &last) == 0)
                assert(address_prefix_contains(&prefix, &last));
        if (n < UINT64_MAX && address_offset(&prefix.base, n, &last) == 0)
                assert(!address_prefix_contains(&prefix, &last));
}

static void read_quantity(const char *text)
{
        uint64_t bytes, milli, again;
        char out[32];

        int r = quantity_parse_bytes(text, &bytes), s = quantity_parse_milli(text, &milli);
        assert(r == 0 || r == -EINVAL || r == -ERANGE);
        assert(s == 0 || s == -EINVAL || s == -ERANGE);
        assert((r == -EINVAL) == (s == -EINVAL));
        if (r == 0)
                assert(quantity_parse_bytes(quantity_format_bytes(bytes, out), &again) == 0 && again == bytes);
        if (s == 0)
                assert(quantity_parse_milli(quantity_format_milli(milli, out), &again) == 0 && again == milli);
        if (r == 0 && s == 0)
                assert(bytes == milli / 1000 + (milli % 1000 > 0));
}

static void read_name(const char *text)
{
        size_t len = strlen(text);

        if (names_is_label(text))
                assert(len <= 63 && names_is_subdomain(text) && names_is_label_value(text) && !strpbrk(text, "./\n \"'\\"));
        if (names_is_subdomain(text))
                assert(len <= 253 && names_is_plain_text(text, 253, false) && !strpbrk(text, "/\n \"'\\"));
        if (names_is_label_key(text))
                assert(len <= 253 + 1 + 63 && !strpbrk(text, "\n \"'\\"));
        if (names_is_label_value(text))
                assert(len <= 63);
        if (names_is_plain_text(text, 40, false))
                assert(len <= 40 && !strpbrk(text, "\n\r\t") && g_utf8_validate(text, -1, NULL));
        if (mac_valid(text))
                assert(len == 17);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static void (*const readers[])(const char *text) = {read_address, read_prefix, read_quantity, read_name};

        if (size == 0)
                return 0;
        g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
        readers[data[0] % G_N_ELEMENTS(readers)](text);
        return 0;
}
