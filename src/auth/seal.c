/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth.h"
#include "base/file.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <sys/stat.h>

/*
 * Sealed form: "GS", version 1, key id (one byte, 0), 12 bytes nonce, ciphertext, 16 bytes tag. The first four bytes are
 * authenticated with the text. Nonces are random: with 2^32 seals under one key a repetition has a chance below 2^-32.
 */
#define KEY_LEN    32
#define HEADER_LEN 4
#define NONCE_LEN  12
#define TAG_LEN    16
#define OVERHEAD   (HEADER_LEN + NONCE_LEN + TAG_LEN)
#define PLAIN_MAX  (64u << 20)

G_DEFINE_AUTOPTR_CLEANUP_FUNC(EVP_CIPHER_CTX, EVP_CIPHER_CTX_free)

static const unsigned char header[HEADER_LEN] = {'G', 'S', 1, 0};

struct auth_seal {
        unsigned char key[KEY_LEN];
        const struct random_source *random;
};

struct auth_seal *auth_seal_free(struct auth_seal *seal)
{
        if (!seal)
                return NULL;
        OPENSSL_cleanse(seal->key, sizeof(seal->key));
        g_free(seal);
        return NULL;
}

static int load_key(const char *path, unsigned char *key)
{
        g_autofree char *text = NULL;
        size_t len = 0;
        struct stat st;
        int r = file_read(path, KEY_LEN, &text, &len);

        if (r < 0)
                return r;
        if (len == KEY_LEN)
                memcpy(key, text, KEY_LEN);
        OPENSSL_cleanse(text, len);
        if (stat(path, &st) < 0)
                return -errno;
        if (st.st_mode & 077)
                return -EPERM;
        return len == KEY_LEN ? 0 : -EINVAL;
}

/* The file appears whole or not at all: half a key would lock every secret away at the next start. */
static int make_key(const char *path, const struct random_source *random)
{
        unsigned char key[KEY_LEN];
        int r;

        random_fill(random, key, sizeof(key));
        r = file_write_atomic(path, key, sizeof(key), 0600);
        OPENSSL_cleanse(key, sizeof(key));
        return r;
}

int auth_seal_open(const char *key_path, const struct random_source *random, struct auth_seal **ret_seal)
{
        g_autoptr(auth_seal) seal = NULL;
        int r = 0;

        assert(key_path && random && ret_seal);
        seal = g_new0(struct auth_seal, 1);
        seal->random = random;
        if (!g_file_test(key_path, G_FILE_TEST_EXISTS))
                r = make_key(key_path, random);
        r = r ?: load_key(key_path, seal->key);
        if (r < 0)
                return r;
        *ret_seal = g_steal_pointer(&seal);
        return 0;
}

int auth_seal_seal(struct auth_seal *seal, const char *plain, size_t len, char **ret_sealed, size_t *ret_len)
{
        g_autoptr(EVP_CIPHER_CTX) context = EVP_CIPHER_CTX_new();
        g_autofree unsigned char *out = NULL;
        unsigned char *nonce, *text, *tag;
        int n = 0;

        assert(seal && (plain || !len) && ret_sealed && ret_len);
        if (!context)
                return -ENOMEM;
        if (len > PLAIN_MAX)
                return -EFBIG;
        out = g_malloc(len + OVERHEAD);
        nonce = out + HEADER_LEN;
        text = nonce + NONCE_LEN;
        tag = text + len;
        memcpy(out, header, HEADER_LEN);
        random_fill(seal->random, nonce, NONCE_LEN);
        if (EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, seal->key, nonce) != 1 ||
            EVP_EncryptUpdate(context, NULL, &n, header, HEADER_LEN) != 1 ||
            EVP_EncryptUpdate(context, text, &n, (const unsigned char *)plain, (int)len) != 1 ||
            EVP_EncryptFinal_ex(context, tag, &n) != 1 || EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG_LEN, tag) != 1)
                return -EIO;
        *ret_sealed = (char *)g_steal_pointer(&out);
        *ret_len = len + OVERHEAD;
        return 0;
}

int auth_seal_unseal(struct auth_seal *seal, const char *sealed, size_t len, char **ret_plain, size_t *ret_len)
{
        g_autoptr(EVP_CIPHER_CTX) context = EVP_CIPHER_CTX_new();
        const unsigned char *in = (const unsigned char *)sealed;
        size_t plain_len;
        g_autofree char *plain = NULL;
        int n = 0;

        assert(seal && (sealed || !len) && ret_plain && ret_len);
        if (!context)
                return -ENOMEM;
        if (len < OVERHEAD || len > (size_t)PLAIN_MAX + OVERHEAD || memcmp(in, header, HEADER_LEN) != 0)
                return -EBADMSG;
        plain_len = len - OVERHEAD;
        plain = g_malloc(plain_len + 1);
        if (EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, seal->key, in + HEADER_LEN) != 1 ||
            EVP_DecryptUpdate(context, NULL, &n, header, HEADER_LEN) != 1 ||
            EVP_DecryptUpdate(context, (unsigned char *)plain, &n, in + HEADER_LEN + NONCE_LEN, (int)plain_len) != 1 ||
            EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_LEN, (void *)(in + len - TAG_LEN)) != 1 ||
            EVP_DecryptFinal_ex(context, (unsigned char *)plain + plain_len, &n) != 1) {
                OPENSSL_cleanse(plain, plain_len);
                return -EBADMSG;
        }
        plain[plain_len] = 0;
        *ret_plain = g_steal_pointer(&plain);
        *ret_len = plain_len;
        return 0;
}

void auth_seal_mac(const struct auth_seal *seal, const char *purpose, const void *data, size_t len,
                   unsigned char ret_mac[AUTH_MAC_BYTES])
{
        unsigned char key[AUTH_MAC_BYTES];
        unsigned n = 0;

        assert(seal && purpose && (data || !len) && ret_mac);
        if (!HMAC(EVP_sha256(), seal->key, KEY_LEN, (const unsigned char *)purpose, strlen(purpose), key, &n) ||
            !HMAC(EVP_sha256(), key, sizeof(key), data, len, ret_mac, &n))
                g_error("out of memory");
        OPENSSL_cleanse(key, sizeof(key));
}
