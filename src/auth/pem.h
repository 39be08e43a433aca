/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(EVP_PKEY, EVP_PKEY_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509, X509_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509_REQ, X509_REQ_free)

/* PEM text (RFC 7468) from and to OpenSSL's objects. Text in: NULL when it is not what is asked for; an encrypted key is never
 * asked for at a terminal. Text out: g_free(), NULL when memory is short. */

/** pem_read_certificate() - the first certificate of @text. */
X509 *pem_read_certificate(const char *text);
/** pem_read_key() - an unencrypted private key. */
EVP_PKEY *pem_read_key(const char *text);
/** pem_read_request() - a certificate signing request. */
X509_REQ *pem_read_request(const char *text);

/** pem_write_certificate() - one certificate as text. */
char *pem_write_certificate(X509 *certificate);
/** pem_write_key() - PKCS #8, unencrypted. */
char *pem_write_key(EVP_PKEY *key);
/** pem_write_request() - a certificate signing request as text. */
char *pem_write_request(X509_REQ *request);
