/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/graphics.h"

#include <assert.h>
#include <glib.h>
#include <string.h>

/* Without those that people mix up: 0 and O, 1, l and I. 8 of them are 46 bits. */
static const char letters[] = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

char *graphics_secret_name(const char *machine_uid)
{
        assert(machine_uid);
        return g_strconcat(GRAPHICS_SECRET_PREFIX, machine_uid, NULL);
}

char *graphics_password_make(const struct random_source *random)
{
        guchar password[GRAPHICS_PASSWORD_CHARACTERS];
        char *text;

        assert(random);
        for (size_t i = 0; i < sizeof(password); i++)
                password[i] = (guchar)letters[random_below(random, sizeof(letters) - 1)];
        text = g_base64_encode(password, sizeof(password));
        explicit_bzero(password, sizeof(password));
        return text;
}

bool graphics_password_fits(const char *base64)
{
        gsize len = 0;
        guchar *bytes = base64 ? g_base64_decode(base64, &len) : NULL;
        bool fits = bytes && len >= 1 && len <= GRAPHICS_PASSWORD_CHARACTERS;

        for (gsize i = 0; fits && i < len; i++)
                fits = g_ascii_isgraph((char)bytes[i]);
        if (bytes)
                explicit_bzero(bytes, len);
        g_free(bytes);
        return fits;
}
