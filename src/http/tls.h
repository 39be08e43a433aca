/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "http/http.h"

#include <openssl/ssl.h>

/** http_tls_session() - a new SSL object on @fd. @host: client only, the name or address that the certificate must carry. */
int http_tls_session(struct http_tls *tls, int fd, const char *host, SSL **ret_ssl);

/** http_tls_parse_pin() - 64 hex digits into 32 bytes. 0 or -EINVAL. */
int http_tls_parse_pin(const char *ca_sha256, unsigned char *pin);

/** http_tls_verify() - verify the chain of a peer (for SSL_CTX_set_cert_verify_callback()); with @pin (32 bytes) trust exactly the
 * CA whose DER has this SHA-256, which the peer sends. 1 or 0; the verdict is left in @store, nothing in OpenSSL's error queue. */
int http_tls_verify(X509_STORE_CTX *store, const unsigned char *pin);

/** http_tls_use_key_pair() - certificate chain and key of PEM texts for @ctx. 0 or -EINVAL. */
int http_tls_use_key_pair(SSL_CTX *ctx, const char *certificate_pem, const char *key_pem);

/* What the peer's verified certificate says. */
struct http_peer_identity {
        char *certificate_pem;
        char *common_name;    /* NULL when the certificate has none, or one with a NUL */
        char **organizations; /* NULL-terminated */
        char *serial;         /* lower-case hex */
};
/** http_peer_identity_new() - of the verified peer, or NULL when it showed no certificate. */
struct http_peer_identity *http_peer_identity_new(SSL *ssl);
struct http_peer_identity *http_peer_identity_free(struct http_peer_identity *identity);

/** http_tls_error_words() - the oldest queued OpenSSL error as words; clears the queue. @text holds @size bytes. */
const char *http_tls_error_words(char *text, size_t size);
