/* SPDX-License-Identifier: Apache-2.0 */
#include "http/tls.h"

#include "base/error.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <string.h>

AUTOPTR(x509_st, X509_free);
AUTOPTR(bio_st, BIO_free_all);

struct http_tls {
        SSL_CTX *ctx;
        bool server, insecure;
        char *ca_pem, *ca_sha256;
        unsigned char pin[32];
};

static const unsigned char tls_alpn[] = "\x08http/1.1";

static int tls_on_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_len, const unsigned char *in, unsigned in_len,
                       void *arg)
{
        unsigned char *out;

        if (SSL_select_next_proto(&out, ret_len, tls_alpn, sizeof(tls_alpn) - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED)
                return SSL_TLSEXT_ERR_NOACK;
        *ret = out;
        return SSL_TLSEXT_ERR_OK;
}

static X509 *tls_read_certificate(BIO *bio)
{
        X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (!certificate)
                ERR_clear_error();
        return certificate;
}

int http_tls_use_key_pair(SSL_CTX *ctx, const char *certificate_pem, const char *key_pem)
{
        assert(ctx && certificate_pem && key_pem);

        g_autoptr(bio_st) chain = BIO_new_mem_buf(certificate_pem, -1);
        g_autoptr(x509_st) leaf = tls_read_certificate(chain);
        if (!leaf || SSL_CTX_use_certificate(ctx, leaf) != 1)
                return -EINVAL;
        for (X509 *next; (next = tls_read_certificate(chain));) {
                if (SSL_CTX_add0_chain_cert(ctx, next) != 1) {
                        X509_free(next);
                        return -EINVAL;
                }
        }
        g_autoptr(bio_st) bio = BIO_new_mem_buf(key_pem, -1);
        EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
        bool ok = key && SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;
        EVP_PKEY_free(key);
        ERR_clear_error();
        return ok ? 0 : -EINVAL;
}

/* A server also sends the CA of a certificate that came without its chain: joining hosts know the CA by its hash only. */
static int tls_add_issuer(SSL_CTX *ctx, X509 *ca)
{
        STACK_OF(X509) *chain = NULL;
        X509 *leaf = SSL_CTX_get0_certificate(ctx);

        SSL_CTX_get0_chain_certs(ctx, &chain);
        if (!leaf || sk_X509_num(chain) > 0 || X509_NAME_cmp(X509_get_issuer_name(leaf), X509_get_subject_name(ca)) != 0)
                return 0;
        return SSL_CTX_add1_chain_cert(ctx, ca) == 1 ? 0 : -EINVAL;
}

static int tls_trust(SSL_CTX *ctx, const char *ca_pem, bool server)
{
        X509_STORE *store = SSL_CTX_get_cert_store(ctx);
        g_autoptr(bio_st) bio = BIO_new_mem_buf(ca_pem, -1);
        int n = 0;

        for (;; n++) {
                g_autoptr(x509_st) ca = tls_read_certificate(bio);
                if (!ca)
                        break;
                if (X509_STORE_add_cert(store, ca) != 1)
                        return -EINVAL;
                if (!server)
                        continue;
                if (SSL_CTX_add_client_CA(ctx, ca) != 1 || tls_add_issuer(ctx, ca) < 0)
                        return -EINVAL;
        }
        return n > 0 ? 0 : -EINVAL;
}

static X509 *tls_find_pinned(X509_STORE_CTX *store, const unsigned char *pin)
{
        STACK_OF(X509) *chain = X509_STORE_CTX_get0_untrusted(store);

        for (int i = 0; i < sk_X509_num(chain); i++) {
                unsigned char digest[32];
                unsigned len = sizeof(digest);
                X509 *candidate = sk_X509_value(chain, i);
                if (X509_digest(candidate, EVP_sha256(), digest, &len) == 1 && CRYPTO_memcmp(digest, pin, sizeof(digest)) == 0)
                        return candidate;
        }
        return NULL;
}

/* Verify with the pinned CA as the only trusted one. */
static int tls_verify_pinned(X509_STORE_CTX *store, const unsigned char *pin)
{
        X509 *pinned = tls_find_pinned(store, pin);

        if (!pinned || X509_check_ca(pinned) == 0) {
                X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
                return 0;
        }
        STACK_OF(X509) *trusted = sk_X509_new_null();
        if (!trusted || sk_X509_push(trusted, pinned) <= 0) {
                sk_X509_free(trusted);
                X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
                return 0;
        }
        X509_STORE_CTX_set0_trusted_stack(store, trusted);
        int ok = X509_verify_cert(store);
        sk_X509_free(trusted);
        return ok == 1;
}

int http_tls_verify(X509_STORE_CTX *store, const unsigned char *pin)
{
        assert(store);

        int ok = pin ? tls_verify_pinned(store, pin) : X509_verify_cert(store) == 1;
        /* A CA of the right name and another key leaves its failed signature first in the queue, where it hides the verdict. */
        if (!ok)
                ERR_clear_error();
        return ok;
}

static int tls_on_verify_pinned(X509_STORE_CTX *store, void *userdata)
{
        return http_tls_verify(store, userdata);
}

int http_tls_parse_pin(const char *ca_sha256, unsigned char *pin)
{
        assert(ca_sha256 && pin);

        if (strlen(ca_sha256) != 64)
                return -EINVAL;
        for (int i = 0; i < 32; i++) {
                int high = g_ascii_xdigit_value(ca_sha256[2 * i]), low = g_ascii_xdigit_value(ca_sha256[2 * i + 1]);
                if (high < 0 || low < 0)
                        return -EINVAL;
                pin[i] = high << 4 | low;
        }
        return 0;
}

static void tls_configure(SSL_CTX *ctx, bool server)
{
        SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
        SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                         SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_num_tickets(ctx, 0);
        SSL_CTX_set_read_ahead(ctx, 1);
        if (server)
                SSL_CTX_set_alpn_select_cb(ctx, tls_on_alpn, NULL);
        else
                SSL_CTX_set_alpn_protos(ctx, tls_alpn, sizeof(tls_alpn) - 1);
        SSL_CTX_set_verify(ctx, server ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
}

static int tls_build(struct http_tls *tls, const char *certificate_pem, const char *key_pem, SSL_CTX **ret_ctx)
{
        SSL_CTX *ctx = SSL_CTX_new(tls->server ? TLS_server_method() : TLS_client_method());
        if (!ctx)
                return -ENOMEM;
        tls_configure(ctx, tls->server);
        int r = certificate_pem ? http_tls_use_key_pair(ctx, certificate_pem, key_pem) : 0;
        if (r == 0 && tls->ca_pem)
                r = tls_trust(ctx, tls->ca_pem, tls->server);
        if (r == 0 && tls->ca_pem && tls->server)
                SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        if (r == 0 && !tls->ca_pem && tls->ca_sha256 && !tls->server) {
                r = http_tls_parse_pin(tls->ca_sha256, tls->pin);
                SSL_CTX_set_cert_verify_callback(ctx, tls_on_verify_pinned, tls->pin);
        }
        if (tls->insecure && !tls->server)
                SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
        ERR_clear_error();
        if (r < 0) {
                SSL_CTX_free(ctx);
                return r;
        }
        *ret_ctx = ctx;
        return 0;
}

int http_tls_new(const struct http_tls_options *options, struct http_tls **ret_tls)
{
        assert(options && ret_tls);
        assert(!options->certificate_pem == !options->key_pem);

        if (options->server && !options->certificate_pem)
                return -EINVAL;
        signal(SIGPIPE, SIG_IGN); /* OpenSSL writes with write(2) */
        g_autoptr(http_tls) tls = g_new0(struct http_tls, 1);
        tls->server = options->server;
        tls->insecure = options->insecure;
        tls->ca_pem = g_strdup(options->ca_pem);
        tls->ca_sha256 = g_strdup(options->ca_sha256);
        int r = tls_build(tls, options->certificate_pem, options->key_pem, &tls->ctx);
        if (r < 0)
                return r;
        *ret_tls = g_steal_pointer(&tls);
        return 0;
}

struct http_tls *http_tls_free(struct http_tls *tls)
{
        if (!tls)
                return NULL;
        SSL_CTX_free(tls->ctx);
        g_free(tls->ca_pem);
        g_free(tls->ca_sha256);
        g_free(tls);
        return NULL;
}

int http_tls_reload(struct http_tls *tls, const char *certificate_pem, const char *key_pem)
{
        assert(tls && certificate_pem && key_pem);

        SSL_CTX *ctx;
        int r = tls_build(tls, certificate_pem, key_pem, &ctx);
        if (r < 0)
                return r;
        SSL_CTX_free(tls->ctx);
        tls->ctx = ctx;
        return 0;
}

static int tls_expect_host(SSL *ssl, const char *host)
{
        unsigned char address[sizeof(struct in6_addr)];

        if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
                return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1 ? 0 : -EINVAL;
        if (SSL_set_tlsext_host_name(ssl, host) != 1 || SSL_set1_host(ssl, host) != 1)
                return -EINVAL;
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        return 0;
}

int http_tls_session(struct http_tls *tls, int fd, const char *host, SSL **ret_ssl)
{
        assert(tls && fd >= 0 && ret_ssl && (tls->server || host));

        SSL *ssl = SSL_new(tls->ctx);
        if (!ssl)
                return -ENOMEM;
        int r = SSL_set_fd(ssl, fd) == 1 ? 0 : -ENOMEM;
        if (r == 0 && !tls->server)
                r = tls_expect_host(ssl, host);
        if (r < 0) {
                SSL_free(ssl);
                return r;
        }
        if (tls->server)
                SSL_set_accept_state(ssl);
        else
                SSL_set_connect_state(ssl);
        *ret_ssl = ssl;
        return 0;
}

static char *tls_name_entry_text(X509_NAME_ENTRY *entry)
{
        unsigned char *utf8 = NULL;
        int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));

        char *text = len > 0 && !memchr(utf8, 0, len) ? g_strndup((const char *)utf8, len) : NULL;
        OPENSSL_free(utf8);
        return text;
}

static char *tls_common_name(X509_NAME *name)
{
        int index = X509_NAME_get_index_by_NID(name, NID_commonName, -1);

        return index < 0 ? NULL : tls_name_entry_text(X509_NAME_get_entry(name, index));
}

static char **tls_organizations(X509_NAME *name)
{
        GPtrArray *list = g_ptr_array_new();

        for (int i = -1; (i = X509_NAME_get_index_by_NID(name, NID_organizationName, i)) >= 0;) {
                char *text = tls_name_entry_text(X509_NAME_get_entry(name, i));
                if (text)
                        g_ptr_array_add(list, text);
        }
        g_ptr_array_add(list, NULL);
        return (char **)g_ptr_array_free(list, FALSE);
}

static char *tls_serial(X509 *certificate)
{
        BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
        char *hex = number ? BN_bn2hex(number) : NULL;
        char *text = hex ? g_ascii_strdown(hex, -1) : NULL;

        OPENSSL_free(hex);
        BN_free(number);
        return text;
}

static char *tls_certificate_pem(X509 *certificate)
{
        g_autoptr(bio_st) bio = BIO_new(BIO_s_mem());
        char *data;

        if (!bio || PEM_write_bio_X509(bio, certificate) != 1)
                return NULL;
        long len = BIO_get_mem_data(bio, &data);
        return g_strndup(data, len);
}

struct http_peer_identity *http_peer_identity_new(SSL *ssl)
{
        assert(ssl);

        X509 *certificate = SSL_get0_peer_certificate(ssl);
        if (!certificate || SSL_get_verify_result(ssl) != X509_V_OK)
                return NULL;
        struct http_peer_identity *identity = g_new0(struct http_peer_identity, 1);
        X509_NAME *name = X509_get_subject_name(certificate);
        identity->certificate_pem = tls_certificate_pem(certificate);
        identity->common_name = tls_common_name(name);
        identity->organizations = tls_organizations(name);
        identity->serial = tls_serial(certificate);
        ERR_clear_error();
        return identity;
}

struct http_peer_identity *http_peer_identity_free(struct http_peer_identity *identity)
{
        if (!identity)
                return NULL;
        g_free(identity->certificate_pem);
        g_free(identity->common_name);
        g_strfreev(identity->organizations);
        g_free(identity->serial);
        g_free(identity);
        return NULL;
}

const char *http_tls_error_words(char *text, size_t size)
{
        assert(text && size > 0);

        unsigned long code = ERR_get_error();
        const char *reason = code ? ERR_reason_error_string(code) : NULL;
        g_strlcpy(text, reason ? reason : "the TLS connection failed", size);
        ERR_clear_error();
        return text;
}
