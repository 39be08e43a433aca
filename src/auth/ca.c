/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth.h"
#include "auth/pem.h"
#include "base/address.h"
#include "base/file.h"
#include "base/names.h"

#include <assert.h>
#include <errno.h>
#include <openssl/ec.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>

#define CA_KEY_BITS       3072
#define NODE_KEY_BITS_MIN 2048
#define NODE_KEY_BITS_MAX 8192
#define NAMES_MAX         64
#define HOUR_US           3600000000ull
#define DAY_US            (24 * HOUR_US)
#define CA_LIFE_US        (3652 * DAY_US)
#define SERVER_LIFE_US    (365 * DAY_US)
#define NODE_LIFE_US      (90 * DAY_US)
#define BACKDATE_US       HOUR_US /* hosts whose clock is behind accept a fresh certificate */
#define FILE_BYTES_MAX    (64u << 10)

struct auth_ca {
        const struct clock *clock;
        X509 *certificate;
        EVP_PKEY *key;
        char *pem;
        char *sha256;
};

/* What one certificate says; the profile is the same for API, libvirt and QEMU (design decision 15). */
struct profile {
        const char *organization; /* or NULL */
        const char *common_name;
        const char *const *names; /* NULL-terminated */
        uint64_t life_us;
        bool client_only;
};

struct auth_ca *auth_ca_free(struct auth_ca *ca)
{
        if (!ca)
                return NULL;
        X509_free(ca->certificate);
        EVP_PKEY_free(ca->key);
        g_free(ca->pem);
        g_free(ca->sha256);
        g_free(ca);
        return NULL;
}

const char *auth_ca_pem(const struct auth_ca *ca)
{
        assert(ca);
        return ca->pem;
}

const char *auth_ca_sha256(const struct auth_ca *ca)
{
        assert(ca);
        return ca->sha256;
}

void auth_certificate_clear(struct auth_certificate *certificate)
{
        if (!certificate)
                return;
        g_free(certificate->certificate_pem);
        if (certificate->key_pem)
                OPENSSL_cleanse(certificate->key_pem, strlen(certificate->key_pem));
        g_free(certificate->key_pem);
        g_free(certificate->serial);
        *certificate = (struct auth_certificate){};
}

static char *hex_of(const unsigned char *bytes, size_t len)
{
        static const char digits[] = "0123456789abcdef";
        char *text = g_malloc(2 * len + 1);

        for (size_t i = 0; i < len; i++) {
                text[2 * i] = digits[bytes[i] >> 4];
                text[2 * i + 1] = digits[bytes[i] & 15];
        }
        text[2 * len] = 0;
        return text;
}

/* 128 random bits whose first byte is 0x40..0x7f: positive, and of one length in every notation. */
static int set_serial(X509 *certificate, char **ret_text)
{
        unsigned char bytes[16];
        BIGNUM *number;
        bool done;

        if (RAND_bytes(bytes, sizeof(bytes)) != 1)
                return -EIO;
        bytes[0] = 0x40 | (bytes[0] & 0x3f);
        number = BN_bin2bn(bytes, sizeof(bytes), NULL);
        done = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
        BN_free(number);
        if (!done)
                return -ENOMEM;
        if (ret_text)
                *ret_text = hex_of(bytes, sizeof(bytes));
        return 0;
}

static int set_times(X509 *certificate, uint64_t now_us, uint64_t life_us)
{
        time_t begin = (time_t)((now_us - MIN(now_us, BACKDATE_US)) / 1000000), end = (time_t)((now_us + life_us) / 1000000);

        return ASN1_TIME_adj(X509_getm_notBefore(certificate), begin, 0, 0) &&
                               ASN1_TIME_adj(X509_getm_notAfter(certificate), end, 0, 0)
                       ? 0
                       : -ENOMEM;
}

static int name_add(X509_NAME *name, const char *field, const char *text)
{
        return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)text, -1, -1, 0) == 1 ? 0 : -EINVAL;
}

static int add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
        X509V3_CTX context;
        X509_EXTENSION *extension;
        int added;

        X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
        extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
        if (!extension)
                return -EINVAL;
        added = X509_add_ext(certificate, extension, -1);
        X509_EXTENSION_free(extension);
        return added == 1 ? 0 : -ENOMEM;
}

/* The subject alternative names, taken as data: nothing of them is parsed as configuration. */
static int add_names(X509 *certificate, const char *const *names)
{
        GENERAL_NAMES *list = GENERAL_NAMES_new();
        int r = list ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && names[i]; i++) {
                struct address address;
                bool is_address = address_parse(names[i], &address) == 0;
                GENERAL_NAME *entry = NULL;

                if (i >= NAMES_MAX || (!is_address && !names_is_subdomain(names[i])))
                        r = -EINVAL;
                else
                        entry = a2i_GENERAL_NAME(NULL, NULL, NULL, is_address ? GEN_IPADD : GEN_DNS, names[i], 0);
                if (r == 0 && (!entry || !sk_GENERAL_NAME_push(list, entry))) {
                        GENERAL_NAME_free(entry);
                        r = -ENOMEM;
                }
        }
        if (r == 0 && sk_GENERAL_NAME_num(list) > 0 && X509_add1_ext_i2d(certificate, NID_subject_alt_name, list, 0, 0) != 1)
                r = -ENOMEM;
        GENERAL_NAMES_free(list);
        return r;
}

static uint64_t time_of(const ASN1_TIME *time)
{
        ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
        int days = 0, seconds = 0;
        bool done = epoch && ASN1_TIME_diff(&days, &seconds, epoch, time) == 1 && days >= 0 && seconds >= 0;

        ASN1_TIME_free(epoch);
        return done ? ((uint64_t)days * 86400 + (uint64_t)seconds) * 1000000 : 0;
}

static int fill_leaf(struct auth_ca *ca, X509 *certificate, EVP_PKEY *key, const struct profile *profile, char **ret_serial)
{
        X509_NAME *subject = X509_get_subject_name(certificate);
        int r = X509_set_version(certificate, X509_VERSION_3) == 1 && X509_set_pubkey(certificate, key) == 1 &&
                                X509_set_issuer_name(certificate, X509_get_subject_name(ca->certificate)) == 1
                        ? 0
                        : -ENOMEM;

        r = r ?: set_serial(certificate, ret_serial);
        r = r ?: set_times(certificate, clock_real_us(ca->clock), profile->life_us);
        r = r ?: (profile->organization ? name_add(subject, "O", profile->organization) : 0);
        r = r ?: name_add(subject, "CN", profile->common_name);
        r = r ?: add_extension(certificate, ca->certificate, NID_basic_constraints, "critical,CA:FALSE");
        r = r ?: add_extension(certificate, ca->certificate, NID_key_usage, "critical,digitalSignature,keyEncipherment");
        r = r
                    ?: add_extension(certificate, ca->certificate, NID_ext_key_usage,
                                     profile->client_only ? "clientAuth" : "serverAuth,clientAuth");
        r = r ?: add_extension(certificate, ca->certificate, NID_subject_key_identifier, "hash");
        r = r ?: add_extension(certificate, ca->certificate, NID_authority_key_identifier, "keyid:always");
        r = r ?: add_names(certificate, profile->names);
        return r ?: (X509_sign(certificate, ca->key, EVP_sha256()) > 0 ? 0 : -EIO);
}

static int issue(struct auth_ca *ca, EVP_PKEY *key, const struct profile *profile, struct auth_certificate *ret_certificate)
{
        g_autoptr(X509) certificate = X509_new();
        g_autofree char *serial = NULL;
        char *pem;
        int r;

        if (!certificate)
                return -ENOMEM;
        r = fill_leaf(ca, certificate, key, profile, &serial);
        if (r < 0)
                return r;
        pem = pem_write_certificate(certificate);
        if (!pem)
                return -ENOMEM;
        *ret_certificate = (struct auth_certificate){
                .certificate_pem = pem,
                .serial = g_steal_pointer(&serial),
                .not_after_us = time_of(X509_get0_notAfter(certificate)),
        };
        return 0;
}

int auth_ca_issue_server(struct auth_ca *ca, const char *const *names, struct auth_certificate *ret_certificate)
{
        g_autoptr(EVP_PKEY) key = NULL;
        int r;

        assert(ca && names && ret_certificate);
        if (!names[0])
                return -EINVAL;
        /* Strangers can have this key used as often as they connect: one that signs fast (RSA takes twenty times as long). */
        key = EVP_EC_gen(SN_X9_62_prime256v1);
        if (!key)
                return -EIO;
        r = issue(ca, key,
                  &(struct profile){.organization = "gabbro:gateways",
                                    .common_name = "gabbro:gateway",
                                    .names = names,
                                    .life_us = SERVER_LIFE_US},
                  ret_certificate);
        if (r < 0)
                return r;
        ret_certificate->key_pem = pem_write_key(key);
        if (ret_certificate->key_pem)
                return 0;
        auth_certificate_clear(ret_certificate);
        return -ENOMEM;
}

static bool key_is_acceptable(EVP_PKEY *key)
{
        char curve[32] = "";
        size_t len = 0;

        if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA)
                return EVP_PKEY_get_bits(key) >= NODE_KEY_BITS_MIN && EVP_PKEY_get_bits(key) <= NODE_KEY_BITS_MAX;
        return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC && EVP_PKEY_get_group_name(key, curve, sizeof(curve), &len) == 1 &&
               g_str_equal(curve, SN_X9_62_prime256v1);
}

/* @profile's common name is the prefix of @name. */
static int sign_request(struct auth_ca *ca, const char *csr_pem, const char *name, const struct profile *profile,
                        struct auth_certificate *ret_certificate)
{
        g_autofree char *common_name = NULL;
        g_autoptr(X509_REQ) request = NULL;
        struct profile whole = *profile;
        EVP_PKEY *key;

        request = pem_read_request(csr_pem);
        key = request ? X509_REQ_get0_pubkey(request) : NULL;
        /* The key's size comes first: checking a signature of a monstrous key is the attacker's work for us. */
        if (!key || !names_is_subdomain(name) || !key_is_acceptable(key) || X509_REQ_verify(request, key) != 1)
                return -EINVAL;
        common_name = g_strconcat(profile->common_name, name, NULL);
        whole.common_name = common_name;
        return issue(ca, key, &whole, ret_certificate);
}

int auth_ca_sign_node(struct auth_ca *ca, const char *csr_pem, const char *node, const char *const *names,
                      struct auth_certificate *ret_certificate)
{
        assert(ca && node && names && ret_certificate);
        return sign_request(
                ca, csr_pem, node,
                &(struct profile){
                        .organization = "gabbro:nodes", .common_name = "gabbro:node:", .names = names, .life_us = NODE_LIFE_US},
                ret_certificate);
}

int auth_ca_sign_user(struct auth_ca *ca, const char *csr_pem, const char *user, uint64_t life_us,
                      struct auth_certificate *ret_certificate)
{
        static const char *const no_names[] = {NULL};

        assert(ca && user && life_us && ret_certificate);
        return sign_request(ca, csr_pem, user,
                            &(struct profile){.organization = "gabbro:users",
                                              .common_name = "gabbro:user:",
                                              .names = no_names,
                                              .life_us = life_us,
                                              .client_only = true},
                            ret_certificate);
}

int auth_certificate_life(const char *certificate_pem, uint64_t *ret_not_before_us, uint64_t *ret_not_after_us)
{
        g_autoptr(X509) certificate = pem_read_certificate(certificate_pem);

        assert(ret_not_before_us && ret_not_after_us);
        if (!certificate)
                return -EINVAL;
        *ret_not_before_us = time_of(X509_get0_notBefore(certificate));
        *ret_not_after_us = time_of(X509_get0_notAfter(certificate));
        return 0;
}

int auth_certificate_expiry(const char *certificate_pem, uint64_t *ret_not_after_us)
{
        uint64_t not_before_us;

        return auth_certificate_life(certificate_pem, &not_before_us, ret_not_after_us);
}

int auth_request_new(const char *common_name, char **ret_key_pem, char **ret_csr_pem)
{
        g_autoptr(X509_REQ) request = X509_REQ_new();
        g_autoptr(EVP_PKEY) key = NULL;
        g_autofree char *key_pem = NULL;
        char *csr_pem;

        assert(common_name && ret_key_pem && ret_csr_pem);
        key = EVP_RSA_gen(NODE_KEY_BITS_MIN);
        if (!request || !key)
                return -ENOMEM;
        if (name_add(X509_REQ_get_subject_name(request), "CN", common_name) < 0)
                return -EINVAL;
        if (X509_REQ_set_pubkey(request, key) != 1 || X509_REQ_sign(request, key, EVP_sha256()) <= 0)
                return -EIO;
        key_pem = pem_write_key(key);
        csr_pem = key_pem ? pem_write_request(request) : NULL;
        if (!csr_pem)
                return -ENOMEM;
        *ret_key_pem = g_steal_pointer(&key_pem);
        *ret_csr_pem = csr_pem;
        return 0;
}

/* --- opening
 * ----------------------------------------------------------------------------------------------------------------------- */

/* The name carries bits of the key's digest: two installations are never confused, and a certificate made again for the same key
 * still verifies what the first one signed. */
static char *ca_name(X509 *certificate)
{
        unsigned char digest[EVP_MAX_MD_SIZE];
        g_autofree char *hex = NULL;
        unsigned len = 0;

        if (X509_pubkey_digest(certificate, EVP_sha256(), digest, &len) != 1)
                return NULL;
        hex = hex_of(digest, len);
        return g_strdup_printf("gabbro CA %.12s", hex);
}

static int make_certificate(struct auth_ca *ca)
{
        g_autofree char *common_name = NULL;
        X509_NAME *name;
        int r;

        ca->certificate = X509_new();
        if (!ca->certificate || X509_set_version(ca->certificate, X509_VERSION_3) != 1 ||
            X509_set_pubkey(ca->certificate, ca->key) != 1)
                return -ENOMEM;
        common_name = ca_name(ca->certificate);
        if (!common_name)
                return -ENOMEM;
        name = X509_get_subject_name(ca->certificate);
        r = set_serial(ca->certificate, NULL);
        r = r ?: set_times(ca->certificate, clock_real_us(ca->clock), CA_LIFE_US);
        r = r ?: name_add(name, "CN", common_name);
        r = r ?: (X509_set_issuer_name(ca->certificate, name) == 1 ? 0 : -ENOMEM);
        r = r ?: add_extension(ca->certificate, ca->certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
        r = r ?: add_extension(ca->certificate, ca->certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
        r = r ?: add_extension(ca->certificate, ca->certificate, NID_subject_key_identifier, "hash");
        return r ?: (X509_sign(ca->certificate, ca->key, EVP_sha256()) > 0 ? 0 : -EIO);
}

static int load_key(struct auth_ca *ca, const char *path)
{
        g_autofree char *pem = NULL;
        struct stat st;
        size_t len;
        int r = file_read(path, FILE_BYTES_MAX, &pem, &len);

        if (r < 0)
                return r;
        ca->key = pem_read_key(pem);
        OPENSSL_cleanse(pem, len);
        if (stat(path, &st) < 0)
                return -errno;
        if (st.st_mode & 077)
                return -EPERM;
        return ca->key ? 0 : -EINVAL;
}

static int make_key(struct auth_ca *ca, const char *path)
{
        g_autofree char *pem = NULL;
        int r;

        ca->key = EVP_RSA_gen(CA_KEY_BITS);
        pem = ca->key ? pem_write_key(ca->key) : NULL;
        if (!pem)
                return -ENOMEM;
        r = file_write_atomic(path, pem, strlen(pem), 0600);
        OPENSSL_cleanse(pem, strlen(pem));
        return r;
}

static int load_certificate(struct auth_ca *ca, const char *path)
{
        g_autofree char *pem = NULL;
        size_t len;
        int r = file_read(path, FILE_BYTES_MAX, &pem, &len);

        if (r < 0)
                return r;
        ca->certificate = pem_read_certificate(pem);
        return ca->certificate && X509_check_private_key(ca->certificate, ca->key) == 1 ? 0 : -EINVAL;
}

static int write_certificate(struct auth_ca *ca, const char *path)
{
        g_autofree char *pem = NULL;
        int r = make_certificate(ca);

        if (r < 0)
                return r;
        pem = pem_write_certificate(ca->certificate);
        return pem ? file_write_atomic(path, pem, strlen(pem), 0644) : -ENOMEM;
}

/* The key comes first; a kill between the two files leaves a key, to which the next start makes the certificate. A certificate
 * without its key is a loss that a person must see. */
static int open_files(struct auth_ca *ca, const char *certificate_path, const char *key_path)
{
        bool have_certificate = g_file_test(certificate_path, G_FILE_TEST_EXISTS);
        bool have_key = g_file_test(key_path, G_FILE_TEST_EXISTS);
        int r = have_key || have_certificate ? load_key(ca, key_path) : make_key(ca, key_path);

        return r ?: (have_certificate ? load_certificate(ca, certificate_path) : write_certificate(ca, certificate_path));
}

static int describe(struct auth_ca *ca)
{
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned len = 0;

        ca->pem = pem_write_certificate(ca->certificate);
        if (!ca->pem || X509_digest(ca->certificate, EVP_sha256(), digest, &len) != 1)
                return -ENOMEM;
        ca->sha256 = hex_of(digest, len);
        return 0;
}

int auth_ca_open(const char *dir, const struct clock *clock, struct auth_ca **ret_ca)
{
        g_autofree char *certificate_path = NULL, *key_path = NULL;
        g_autoptr(auth_ca) ca = NULL;
        int r;

        assert(dir && clock && ret_ca);
        certificate_path = g_build_filename(dir, "ca.crt", NULL);
        key_path = g_build_filename(dir, "ca.key", NULL);
        ca = g_new0(struct auth_ca, 1);
        ca->clock = clock;
        r = file_ensure_dir(dir, 0700);
        r = r ?: open_files(ca, certificate_path, key_path);
        r = r ?: describe(ca);
        if (r < 0)
                return r;
        *ret_ca = g_steal_pointer(&ca);
        return 0;
}
