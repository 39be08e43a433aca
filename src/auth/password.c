/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth.h"

#include <assert.h>
#include <crypt.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#define PREFIX "$y$" /* yescrypt, crypt(5) */
#define COST   5

/* Of no password that anybody has; it costs what every other costs. */
static const char nobodys[] = PREFIX "j9T$V7qMYJaNbVKOeh4PhtqPk/$i.5sUlcLRtJA3bLfULxnRNSBczWrQkjvK1GlbEOwwnD";

void auth_text_wipe(char *text)
{
        if (!text)
                return;
        OPENSSL_cleanse(text, strlen(text));
        g_free(text);
}

const char *auth_password_fault(const char *password, const char *user)
{
        assert(password && user);
        if (strlen(password) > AUTH_PASSWORD_MAX)
                return "a password has at most " G_STRINGIFY(AUTH_PASSWORD_MAX) " bytes";
        if (!g_utf8_validate(password, -1, NULL))
                return "a password must be UTF-8";
        if (g_utf8_strlen(password, -1) < AUTH_PASSWORD_MIN)
                return "a password has at least " G_STRINGIFY(AUTH_PASSWORD_MIN) " characters";
        if (g_ascii_strcasecmp(password, user) == 0)
                return "a password is not the user's name";
        return NULL;
}

/* crypt_r() with its 32 KiB of state, which held the password, wiped. NULL when it refuses @setting. */
static char *crypted(const char *password, const char *setting)
{
        struct crypt_data *data = g_new0(struct crypt_data, 1);
        const char *output = crypt_r(password, setting, data);
        char *hash = output && output[0] != '*' ? g_strdup(output) : NULL;

        OPENSSL_cleanse(data, sizeof(*data));
        g_free(data);
        return hash;
}

int auth_password_hash(const char *password, const char salt[AUTH_SALT_BYTES], char **ret_hash)
{
        char setting[CRYPT_GENSALT_OUTPUT_SIZE];

        assert(password && salt && ret_hash);
        if (!crypt_gensalt_rn(PREFIX, COST, salt, AUTH_SALT_BYTES, setting, sizeof(setting)))
                return -errno;
        *ret_hash = crypted(password, setting);
        return *ret_hash ? 0 : -EINVAL;
}

bool auth_password_is(const char *password, const char *hash)
{
        char *made;
        bool same;

        assert(password);
        made = crypted(password, hash ?: nobodys);
        same = auth_hash_equal(made, hash);
        auth_text_wipe(made);
        return same;
}
