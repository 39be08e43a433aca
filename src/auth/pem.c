/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/pem.h"

#include <assert.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <string.h>

#define PEM_TEXT_MAX (64u << 10)

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BIO, BIO_free_all)

/* An encrypted key is refused instead of asking at the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *userdata)
{
        return -1;
}

static BIO *text_source(const char *text)
{
        size_t len = text ? strlen(text) : 0;

        return len > 0 && len <= PEM_TEXT_MAX ? BIO_new_mem_buf(text, (int)len) : NULL;
}

static char *text_of(BIO *sink)
{
        char *data = NULL;
        long len = BIO_get_mem_data(sink, &data);

        return len > 0 ? g_strndup(data, (gsize)len) : NULL;
}

X509 *pem_read_certificate(const char *text)
{
        g_autoptr(BIO) bio = text_source(text);

        return bio ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;
}

EVP_PKEY *pem_read_key(const char *text)
{
        g_autoptr(BIO) bio = text_source(text);

        return bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
}

X509_REQ *pem_read_request(const char *text)
{
        g_autoptr(BIO) bio = text_source(text);

        return bio ? PEM_read_bio_X509_REQ(bio, NULL, no_passphrase, NULL) : NULL;
}

char *pem_write_certificate(X509 *certificate)
{
        g_autoptr(BIO) bio = BIO_new(BIO_s_mem());

        assert(certificate);
        return bio && PEM_write_bio_X509(bio, certificate) == 1 ? text_of(bio) : NULL;
}

char *pem_write_key(EVP_PKEY *key)
{
        g_autoptr(BIO) bio = BIO_new(BIO_s_mem());

        assert(key);
        return bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1 ? text_of(bio) : NULL;
}

char *pem_write_request(X509_REQ *request)
{
        g_autoptr(BIO) bio = BIO_new(BIO_s_mem());

        assert(request);
        return bio && PEM_write_bio_X509_REQ(bio, request) == 1 ? text_of(bio) : NULL;
}
