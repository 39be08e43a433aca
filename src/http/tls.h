/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "http/http.h"

#include <openssl/ssl.h>

/** http_tls_session() - a new SSL object on @fd. @host: client only, the name or address that the certificate must carry. */
int http_tls_session(struct http_tls *tls, int fd, const char *host, SSL **ret_ssl);

/** http_tls_pin() - make @ctx accept exactly the chains that end in the CA whose DER has this SHA-256 (64 hex digits). @pin: 32
 * bytes of memory that outlives @ctx; filled here. 0 or -EINVAL. */
int http_tls_pin(SSL_CTX *ctx, const char *ca_sha256, unsigned char *pin);

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
