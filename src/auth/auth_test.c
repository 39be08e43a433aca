/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth.h"
#include "auth/pem.h"
#include "base/file.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>

/* One CA for all tests: its key takes a while to find. */
static char *folder;
static struct auth_ca *ca;

static const char *const node_names[] = {"host-1", "10.0.0.7", "fd00::7", NULL};

/* --- certificates
 * -------------------------------------------------------------------------------------------------------------------- */

static void a_ca_is_made_once_and_found_again(void)
{
        g_autoptr(auth_ca) again = NULL;
        g_autofree char *key_path = g_build_filename(folder, "ca.key", NULL);
        struct stat st;

        g_assert_cmpint(auth_ca_open(folder, clock_system(), &again), ==, 0);
        g_assert_cmpstr(auth_ca_pem(again), ==, auth_ca_pem(ca));
        g_assert_cmpuint(strlen(auth_ca_sha256(ca)), ==, 64);
        g_assert_cmpstr(auth_ca_sha256(again), ==, auth_ca_sha256(ca));
        g_assert_cmpint(stat(key_path, &st), ==, 0);
        g_assert_cmpint(st.st_mode & 0777, ==, 0600);
}

static void a_ca_key_that_others_can_read_is_refused(void)
{
        g_autofree char *key_path = g_build_filename(folder, "ca.key", NULL);
        struct auth_ca *again = NULL;

        g_chmod(key_path, 0640);
        g_assert_cmpint(auth_ca_open(folder, clock_system(), &again), ==, -EPERM);
        g_chmod(key_path, 0600);
}

static void a_certificate_without_its_key_is_a_loss_not_a_new_start(void)
{
        g_autofree char *dir = g_dir_make_tmp("auth-XXXXXX", NULL);
        g_autofree char *path = g_build_filename(dir, "ca.crt", NULL);
        struct auth_ca *other = NULL;

        g_assert_true(g_file_set_contents(path, auth_ca_pem(ca), -1, NULL));
        g_assert_cmpint(auth_ca_open(dir, clock_system(), &other), ==, -ENOENT);
        file_remove_tree(dir);
}

static void a_key_alone_gets_a_certificate_of_the_same_name(void)
{
        g_autofree char *dir = g_dir_make_tmp("auth-XXXXXX", NULL);
        g_autofree char *from = g_build_filename(folder, "ca.key", NULL), *to = g_build_filename(dir, "ca.key", NULL), *text = NULL;
        g_autoptr(auth_ca) other = NULL;
        g_autoptr(X509) a = NULL, b = NULL;

        g_assert_true(g_file_get_contents(from, &text, NULL, NULL));
        g_assert_cmpint(file_write_exclusive(to, text, strlen(text), 0600), ==, 0);
        g_assert_cmpint(auth_ca_open(dir, clock_system(), &other), ==, 0);
        a = pem_read_certificate(auth_ca_pem(ca));
        b = pem_read_certificate(auth_ca_pem(other));
        g_assert_cmpint(X509_NAME_cmp(X509_get_subject_name(a), X509_get_subject_name(b)), ==, 0);
        file_remove_tree(dir);
}

static bool verifies(X509 *certificate, int purpose)
{
        g_autoptr(X509) root = pem_read_certificate(auth_ca_pem(ca));
        X509_STORE *store = X509_STORE_new();
        X509_STORE_CTX *context = X509_STORE_CTX_new();
        bool ok;

        X509_STORE_add_cert(store, root);
        X509_STORE_CTX_init(context, store, certificate, NULL);
        X509_STORE_CTX_set_purpose(context, purpose);
        ok = X509_verify_cert(context) == 1;
        X509_STORE_CTX_free(context);
        X509_STORE_free(store);
        return ok;
}

static void check_profile(X509 *certificate)
{
        g_assert_cmpuint(X509_get_key_usage(certificate), ==, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
        g_assert_cmpuint(X509_get_extended_key_usage(certificate), ==, XKU_SSL_SERVER | XKU_SSL_CLIENT);
        g_assert_false(X509_check_ca(certificate));
        g_assert_true(verifies(certificate, X509_PURPOSE_SSL_SERVER));
        g_assert_true(verifies(certificate, X509_PURPOSE_SSL_CLIENT));
}

static char *subject_text(X509 *certificate, int nid)
{
        char text[256] = "";

        X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), nid, text, sizeof(text));
        return g_strdup(text);
}

static void a_server_certificate_carries_the_names_given(void)
{
        static const char *const names[] = {"localhost", "127.0.0.1", "::1", "gabbro.example.org", NULL};
        struct auth_certificate certificate;
        g_autoptr(X509) x509 = NULL;
        g_autoptr(EVP_PKEY) key = NULL;

        g_assert_cmpint(auth_ca_issue_server(ca, names, &certificate), ==, 0);
        x509 = pem_read_certificate(certificate.certificate_pem);
        key = pem_read_key(certificate.key_pem);
        check_profile(x509);
        g_assert_cmpint(X509_check_private_key(x509, key), ==, 1);
        g_assert_cmpint(X509_check_host(x509, "gabbro.example.org", 0, 0, NULL), ==, 1);
        g_assert_cmpint(X509_check_host(x509, "other.example.org", 0, 0, NULL), ==, 0);
        g_assert_cmpint(X509_check_ip_asc(x509, "127.0.0.1", 0), ==, 1);
        g_assert_cmpint(X509_check_ip_asc(x509, "::1", 0), ==, 1);
        g_assert_cmpuint(strlen(certificate.serial), ==, 32);
        auth_certificate_clear(&certificate);
}

static void names_that_are_neither_host_nor_address_are_refused(void)
{
        static const char *const bad[] = {"", "a b", "DNS:x,IP:1.2.3.4", "*.example.org", "host\nname", "-x", "10.0.0.0/8"};
        static const char *const none[] = {NULL};
        struct auth_certificate certificate;

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                const char *names[] = {bad[i], NULL};

                g_assert_cmpint(auth_ca_issue_server(ca, names, &certificate), ==, -EINVAL);
        }
        g_assert_cmpint(auth_ca_issue_server(ca, none, &certificate), ==, -EINVAL);
}

static void a_node_gets_the_subject_we_set_whatever_it_asks(void)
{
        g_autofree char *key_pem = NULL, *csr = NULL, *cn = NULL, *o = NULL;
        struct auth_certificate certificate;
        g_autoptr(X509) x509 = NULL;
        uint64_t expiry = 0;

        g_assert_cmpint(auth_request_new("gabbro:administrator", &key_pem, &csr), ==, 0);
        g_assert_cmpint(auth_ca_sign_node(ca, csr, "host-1", node_names, &certificate), ==, 0);
        g_assert_null(certificate.key_pem);
        x509 = pem_read_certificate(certificate.certificate_pem);
        check_profile(x509);
        cn = subject_text(x509, NID_commonName);
        o = subject_text(x509, NID_organizationName);
        g_assert_cmpstr(cn, ==, "gabbro:node:host-1");
        g_assert_cmpstr(o, ==, "gabbro:nodes");
        g_assert_cmpint(X509_check_host(x509, "host-1", 0, 0, NULL), ==, 1);
        g_assert_cmpint(X509_check_host(x509, "gabbro:administrator", 0, 0, NULL), ==, 0);
        g_assert_cmpint(X509_check_ip_asc(x509, "fd00::7", 0), ==, 1);
        g_assert_cmpint(auth_certificate_expiry(certificate.certificate_pem, &expiry), ==, 0);
        g_assert_cmpuint(expiry, ==, certificate.not_after_us);
        g_assert_cmpuint(expiry, >, clock_real_us(clock_system()) + 80ull * 86400 * 1000000);
        auth_certificate_clear(&certificate);
}

static char *request_with_key(EVP_PKEY *key, bool break_it)
{
        g_autoptr(X509_REQ) request = X509_REQ_new();
        g_autoptr(EVP_PKEY) other = NULL;

        X509_REQ_set_pubkey(request, key);
        X509_REQ_sign(request, key, EVP_sha256());
        if (break_it) {
                other = EVP_EC_gen("P-256");
                X509_REQ_set_pubkey(request, other); /* signed by a key that it does not carry */
        }
        return pem_write_request(request);
}

static void requests_with_weak_or_foreign_keys_are_refused(void)
{
        struct {
                EVP_PKEY *key;
                bool break_it;
                int expect;
        } cases[] = {
                {EVP_EC_gen("P-256"), false, 0},       {EVP_EC_gen("P-256"), true, -EINVAL},
                {EVP_EC_gen("P-384"), false, -EINVAL}, {EVP_EC_gen("secp256k1"), false, -EINVAL},
                {EVP_RSA_gen(1024), false, -EINVAL},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *csr = request_with_key(cases[i].key, cases[i].break_it);
                struct auth_certificate certificate = {};

                g_assert_cmpint(auth_ca_sign_node(ca, csr, "host-1", node_names, &certificate), ==, cases[i].expect);
                auth_certificate_clear(&certificate);
                EVP_PKEY_free(cases[i].key);
        }
}

static void text_that_is_no_request_is_refused(void)
{
        static const char *const bad[] = {NULL, "", "hello",
                                          "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"};
        g_autofree char *key_pem = NULL, *csr = NULL, *long_name = g_strnfill(60, 'a');
        struct auth_certificate certificate;

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                g_assert_cmpint(auth_ca_sign_node(ca, bad[i], "host-1", node_names, &certificate), ==, -EINVAL);
        g_assert_cmpint(auth_request_new("x", &key_pem, &csr), ==, 0);
        g_assert_cmpint(auth_ca_sign_node(ca, csr, "Host/1", node_names, &certificate), ==, -EINVAL);
        g_assert_cmpint(auth_ca_sign_node(ca, csr, long_name, node_names, &certificate), ==, -EINVAL);
}

/* --- tokens
 * -------------------------------------------------------------------------------------------------------------------------- */

static void a_token_is_split_into_what_was_generated(void)
{
        uint64_t state = 1;
        struct random_source random = random_seeded(&state);
        struct auth_token_text token;
        g_autofree char *id = NULL, *hash = NULL, *suffix = NULL;

        auth_token_generate(&random, "gbj1", auth_ca_sha256(ca), &token);
        g_assert_cmpint(auth_token_split(token.text, &id, &hash, &suffix), ==, 0);
        g_assert_cmpstr(id, ==, token.id);
        g_assert_true(auth_hash_equal(hash, token.hash));
        g_assert_cmpstr(suffix, ==, auth_ca_sha256(ca));
        g_assert_null(strstr(token.hash, token.text));
        auth_token_text_clear(&token);
}

static void only_the_grammar_of_tokens_is_taken(void)
{
#define ID     "abcdefgh23"
#define SECRET "abcdefghijklmnopqrstuvwxyz234567"
#define SHA    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
        static const struct {
                const char *text;
                int expect;
        } cases[] = {
                {"gbt1." ID "." SECRET, 0},
                {"gbj1." ID "." SECRET "." SHA, 0},
                {"gbj1." ID "." SECRET, -EINVAL},
                {"gbt1." ID "." SECRET "." SHA, -EINVAL},
                {"gbj1." ID "." SECRET "." SHA ".", -EINVAL},
                {"gbt2." ID "." SECRET, -EINVAL},
                {"gbt1." ID "." SECRET " ", -EINVAL},
                {" gbt1." ID "." SECRET, -EINVAL},
                {"gbt1.ABCDEFGH23." SECRET, -EINVAL},
                {"gbt1." ID "0." SECRET, -EINVAL},
                {"gbt1../../etc/x." SECRET, -EINVAL},
                {"", -EINVAL},
                {NULL, -EINVAL},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *id = NULL, *hash = NULL, *suffix = NULL;

                g_assert_cmpint(auth_token_split(cases[i].text, &id, &hash, &suffix), ==, cases[i].expect);
        }
}

static void hashes_are_salted_by_the_id(void)
{
        g_autofree char *id = NULL, *a = NULL, *id2 = NULL, *b = NULL;

        g_assert_cmpint(auth_token_split("gbt1." ID "." SECRET, &id, &a, NULL), ==, 0);
        g_assert_cmpint(auth_token_split("gbt1.aaaaaaaaaa." SECRET, &id2, &b, NULL), ==, 0);
        g_assert_false(auth_hash_equal(a, b));
        g_assert_true(auth_hash_equal(a, a));
        g_assert_false(auth_hash_equal(a, NULL));
        g_assert_false(auth_hash_equal(NULL, NULL));
        g_assert_false(auth_hash_equal(a, "abc"));
}

/* --- sealing
 * ------------------------------------------------------------------------------------------------------------------------- */

static void every_changed_byte_of_a_sealed_text_is_noticed(void)
{
        g_autofree char *path = g_build_filename(folder, "seal.key", NULL), *sealed = NULL, *again = NULL;
        g_autoptr(auth_seal) seal = NULL;
        static const char plain[] = "user: root\0pass: s3cret";
        size_t len, again_len;

        g_assert_cmpint(auth_seal_open(path, random_system(), &seal), ==, 0);
        g_assert_cmpint(auth_seal_seal(seal, plain, sizeof(plain), &sealed, &len), ==, 0);
        g_assert_null(memmem(sealed, len, "s3cret", 6));
        g_assert_cmpint(auth_seal_unseal(seal, sealed, len, &again, &again_len), ==, 0);
        g_assert_cmpmem(again, again_len, plain, sizeof(plain));
        for (size_t i = 0; i < len; i++) {
                char *out = NULL;
                size_t out_len;

                sealed[i] ^= 1;
                g_assert_cmpint(auth_seal_unseal(seal, sealed, len, &out, &out_len), ==, -EBADMSG);
                sealed[i] ^= 1;
                g_assert_cmpint(auth_seal_unseal(seal, sealed, i, &out, &out_len), ==, -EBADMSG);
        }
}

static void a_sealed_text_opens_after_a_restart_and_only_with_its_key(void)
{
        g_autofree char *path = g_build_filename(folder, "seal2.key", NULL),
                        *other_path = g_build_filename(folder, "seal3.key", NULL);
        g_autofree char *sealed = NULL, *twice = NULL, *plain = NULL;
        g_autoptr(auth_seal) a = NULL, b = NULL, other = NULL;
        size_t len, twice_len, plain_len;
        char *none = NULL;

        g_assert_cmpint(auth_seal_open(path, random_system(), &a), ==, 0);
        g_assert_cmpint(auth_seal_open(path, random_system(), &b), ==, 0);
        g_assert_cmpint(auth_seal_open(other_path, random_system(), &other), ==, 0);
        g_assert_cmpint(auth_seal_seal(a, "x", 1, &sealed, &len), ==, 0);
        g_assert_cmpint(auth_seal_seal(a, "x", 1, &twice, &twice_len), ==, 0);
        g_assert_cmpmem(sealed, 4, twice, 4);
        g_assert_cmpint(memcmp(sealed, twice, len), !=, 0);
        g_assert_cmpint(auth_seal_unseal(b, sealed, len, &plain, &plain_len), ==, 0);
        g_assert_cmpstr(plain, ==, "x");
        g_assert_cmpint(auth_seal_unseal(other, sealed, len, &none, &plain_len), ==, -EBADMSG);
}

static void a_seal_key_of_wrong_size_or_mode_is_refused(void)
{
        g_autofree char *path = g_build_filename(folder, "seal4.key", NULL);
        struct auth_seal *seal = NULL;

        g_assert_true(g_file_set_contents_full(path, "short", 5, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
        g_assert_cmpint(auth_seal_open(path, random_system(), &seal), ==, -EINVAL);
        g_chmod(path, 0644);
        g_assert_cmpint(auth_seal_open(path, random_system(), &seal), ==, -EPERM);
}

/* --- decisions
 * ----------------------------------------------------------------------------------------------------------------------- */

static const char *const admins[] = {"gabbro:administrators", NULL};
static const char *const nodes[] = {"gabbro:nodes", NULL};

static void the_authoriser_follows_its_table(void)
{
        g_autoptr(auth_identity) admin = auth_identity_new(AUTH_USER, "gabbro:admin", admins);
        g_autoptr(auth_identity) user = auth_identity_new(AUTH_USER, "someone", NULL);
        g_autoptr(auth_identity) node = auth_identity_new(AUTH_NODE, "gabbro:node:host-1", nodes);
        g_autoptr(auth_identity) false_node = auth_identity_new(AUTH_NODE, "gabbro:node:host-1", admins);
        g_autoptr(auth_identity) stranger = auth_identity_new(AUTH_ANONYMOUS, "gabbro:anonymous", NULL);
        g_autoptr(auth_identity) controller = auth_identity_new(AUTH_CONTROLLER, "controller/vm", NULL);
#define VM(VERB)      .verb = VERB, .group = "gabbro.dev", .resource = "virtualmachines", .namespace = "default"
#define INTENT(VERB)  .verb = VERB, .group = "host.gabbro.dev", .resource = "instances", .hidden = true
#define REVIEW        .verb = "create", .group = "authorization.k8s.io", .resource = "selfsubjectaccessreviews"
#define PATH(VERB, P) .verb = VERB, .path = P
        struct {
                const struct auth_identity *who;
                struct auth_attributes what;
                bool allowed;
        } cases[] = {
                {admin, {VM("create")}, true},
                {admin, {VM("deletecollection")}, true},
                {admin, {INTENT("get")}, true},
                {admin, {INTENT("list")}, true},
                {admin, {INTENT("watch")}, true},
                {admin, {INTENT("create")}, false},
                {admin, {INTENT("update")}, false},
                {admin, {INTENT("patch"), .subresource = "status"}, false},
                {admin, {INTENT("delete")}, false},
                {admin, {INTENT("deletecollection")}, false},
                {admin, {.verb = "patch", .group = "gabbro.dev", .resource = "nodeidentities", .hidden = true}, true},
                {admin, {.verb = "get", .group = "gabbro.dev", .resource = "tokens", .hidden = true, .internal = true}, false},
                {admin, {PATH("get", "/metrics")}, true},
                {admin, {PATH("post", "/api/host/1")}, true},
                {admin, {PATH("get", "/agent/v1/manifest"), .nodes_only = true}, false},
                {controller, {INTENT("create")}, true},
                {user, {VM("get")}, false},
                {user, {REVIEW}, true},
                {user, {PATH("get", "/api")}, true},
                {user, {PATH("get", "/apis/gabbro.dev/v1")}, true},
                {user, {PATH("get", "/openapi/v2")}, true},
                {user, {PATH("get", "/livez")}, true},
                {user, {PATH("post", "/apis/gabbro.dev/v1")}, false},
                {user, {PATH("get", "/apiserver")}, false},
                {user, {PATH("get", "/metrics")}, false},
                {node, {VM("get")}, false},
                {node, {INTENT("get")}, false},
                {node, {REVIEW}, false},
                {node, {PATH("get", "/api")}, false},
                {node, {PATH("get", "/metrics")}, false},
                {node, {PATH("get", "/agent/v1/manifest"), .nodes_only = true}, true},
                {false_node, {VM("get")}, false},
                {stranger, {VM("get")}, false},
                {stranger, {REVIEW}, false},
                {stranger, {PATH("get", "/version")}, false},
                {stranger, {PATH("get", "/agent/v1/manifest"), .nodes_only = true}, false},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct auth_decision decision;

                auth_authorise(NULL, cases[i].who, &cases[i].what, &decision);
                if (decision.allowed != cases[i].allowed)
                        g_error("case %zu: %s", i, decision.reason);
                g_assert_cmpint(decision.reason[0] == 0, ==, decision.allowed);
        }
}

static void a_refusal_says_who_what_and_where(void)
{
        g_autoptr(auth_identity) user = auth_identity_new(AUTH_USER, "someone", NULL);
        struct auth_attributes what = {VM("delete"), .subresource = "status"};
        g_autofree char *flood = g_strnfill(4000, 'x');
        struct auth_decision decision;

        auth_authorise(NULL, user, &what, &decision);
        g_assert_cmpstr(
                decision.reason, ==,
                "User \"someone\" cannot delete resource \"virtualmachines/status\" in API group \"gabbro.dev\" in the namespace "
                "\"default\"");
        what = (struct auth_attributes){PATH("get", flood)};
        auth_authorise(NULL, user, &what, &decision);
        g_assert_false(decision.allowed);
        g_assert_cmpuint(strlen(decision.reason), <, 200);
}

/* --- audit
 * --------------------------------------------------------------------------------------------------------------------------- */

static void record(struct auth_audit *audit, const char *verb, const char *resource, bool allowed)
{
        g_autoptr(auth_identity) admin = auth_identity_new(AUTH_USER, "gabbro:admin", admins);
        struct auth_attributes what = {
                .verb = verb, .group = "gabbro.dev", .resource = resource, .namespace = "default", .name = "x\"y\n"};

        auth_audit_record(audit, &(struct auth_audit_entry){.identity = admin,
                                                            .attributes = &what,
                                                            .peer = "127.0.0.1:4000",
                                                            .request_id = "request-1",
                                                            .allowed = allowed,
                                                            .status = allowed ? 200 : 403});
}

static uint64_t verified_lines(const char *path)
{
        uint64_t lines = 0;

        g_assert_cmpint(auth_audit_verify(path, &lines), ==, 0);
        return lines;
}

static char *audit_path(const char *name)
{
        return g_build_filename(folder, name, NULL);
}

static void writes_refusals_and_secrets_are_recorded_reads_are_counted(void)
{
        g_autofree char *path = audit_path("audit1.log"), *text = NULL;
        g_autoptr(auth_identity) node = auth_identity_new(AUTH_NODE, "gabbro:node:host-1", nodes);
        struct auth_audit *audit = NULL;
        struct auth_audit_stats stats;

        g_assert_cmpint(auth_audit_open(path, clock_system(), &audit), ==, 0);
        record(audit, "create", "virtualmachines", true);
        record(audit, "get", "virtualmachines", true);
        record(audit, "list", "virtualmachines", false);
        record(audit, "get", "secrets", true);
        auth_audit_record(audit, &(struct auth_audit_entry){.identity = node,
                                                            .attributes = &(struct auth_attributes){PATH("put", "/agent/v1/lease"),
                                                                                                    .nodes_only = true},
                                                            .allowed = true});
        auth_audit_record(audit, &(struct auth_audit_entry){.identity = node,
                                                            .attributes = &(struct auth_attributes){PATH("post", "/agent/v1/renew"),
                                                                                                    .nodes_only = true},
                                                            .allowed = true});
        auth_audit_flush(audit);
        auth_audit_stats(audit, &stats);
        g_assert_cmpuint(stats.lines, ==, 4);
        g_assert_cmpuint(stats.counted, ==, 2);
        g_assert_cmpuint(verified_lines(path), ==, 4);
        auth_audit_free(audit);
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        g_assert_nonnull(strstr(text, "\"requestId\":\"request-1\""));
        g_assert_nonnull(strstr(text, "\"name\":\"x\\\"y\\n\""));
}

static void the_chain_goes_on_after_a_restart(void)
{
        g_autofree char *path = audit_path("audit2.log");

        for (unsigned i = 1; i <= 3; i++) {
                struct auth_audit *audit = NULL;

                g_assert_cmpint(auth_audit_open(path, clock_system(), &audit), ==, 0);
                record(audit, "create", "virtualmachines", true);
                record(audit, "delete", "virtualmachines", true);
                auth_audit_free(audit);
                g_assert_cmpuint(verified_lines(path), ==, 2 * i);
        }
}

static void a_torn_last_line_is_cut_off_and_told(void)
{
        g_autofree char *path = audit_path("audit3.log"), *text = NULL;
        struct auth_audit *audit = NULL;
        FILE *file;

        g_assert_cmpint(auth_audit_open(path, clock_system(), &audit), ==, 0);
        record(audit, "create", "virtualmachines", true);
        auth_audit_free(audit);
        file = fopen(path, "ae");
        fputs("{\"previous\":\"0000", file);
        fclose(file);
        g_assert_cmpint(auth_audit_verify(path, NULL), ==, 2);
        g_assert_cmpint(auth_audit_open(path, clock_system(), &audit), ==, 0);
        auth_audit_free(audit);
        g_assert_cmpuint(verified_lines(path), ==, 2);
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        g_assert_nonnull(strstr(text, "torn"));
}

/* Attack 37: deletion, reorder and the change of one byte. */
static void attack_37_any_change_of_the_file_breaks_the_chain(void)
{
        g_autofree char *path = audit_path("audit4.log"), *bad = audit_path("audit4.bad"), *text = NULL, *without_second = NULL,
                        *swapped = NULL;
        g_auto(GStrv) lines = NULL;
        struct auth_audit *audit = NULL;

        g_assert_cmpint(auth_audit_open(path, clock_system(), &audit), ==, 0);
        for (unsigned i = 0; i < 4; i++)
                record(audit, "create", "virtualmachines", true);
        auth_audit_free(audit);
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        lines = g_strsplit(text, "\n", 0);
        without_second = g_strdup_printf("%s\n%s\n%s\n", lines[0], lines[2], lines[3]);
        g_file_set_contents(bad, without_second, -1, NULL);
        g_assert_cmpint(auth_audit_verify(bad, NULL), ==, 2);
        swapped = g_strdup_printf("%s\n%s\n%s\n%s\n", lines[0], lines[2], lines[1], lines[3]);
        g_file_set_contents(bad, swapped, -1, NULL);
        g_assert_cmpint(auth_audit_verify(bad, NULL), ==, 2);
        for (size_t i = 0, line = 1, len = strlen(text); i < len; i += 7) {
                line = 1;
                for (size_t j = 0; j < i; j++)
                        line += text[j] == '\n';
                text[i] ^= 1;
                g_file_set_contents(bad, text, (gssize)len, NULL);
                g_assert_cmpint(auth_audit_verify(bad, NULL), ==, line);
                text[i] ^= 1;
        }
        g_file_set_contents(bad, "{}\n", -1, NULL);
        g_assert_cmpint(auth_audit_open(bad, clock_system(), &audit), ==, -EBADMSG);
}

/* Attack 37: whole lines are gone from the end, where the chain alone has nothing to say. */
static void attack_37_lines_cut_off_the_end_are_noticed(void)
{
        for (unsigned left = 0; left < 5; left++) {
                g_autofree char *name = g_strdup_printf("audit-cut-%u.log", left), *path = audit_path(name), *text = NULL;
                g_autofree char *words = g_strdup_printf("lines were cut off the end: 5 were written, %u are there", left);
                struct auth_audit *audit = NULL;
                size_t keep = 0;

                g_assert_cmpint(auth_audit_open(path, clock_system(), &audit), ==, 0);
                g_assert_null(auth_audit_fault(audit));
                for (unsigned i = 0; i < 5; i++)
                        record(audit, "create", "virtualmachines", true);
                auth_audit_free(audit);
                g_assert_cmpuint(verified_lines(path), ==, 5);
                g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
                for (unsigned i = 0; i < left; i++)
                        keep = (size_t)(strchr(text + keep, '\n') + 1 - text);
                g_assert_cmpint(truncate(path, (off_t)keep), ==, 0);
                g_assert_cmpint(auth_audit_verify(path, NULL), ==, (int)left + 1);
                g_assert_cmpint(auth_audit_open(path, clock_system(), &audit), ==, 0);
                g_assert_cmpstr(auth_audit_fault(audit), ==, words);
                auth_audit_free(audit);
                g_free(text);
                g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
                g_assert_nonnull(strstr(text, words));
                g_assert_cmpuint(verified_lines(path), ==, left + 1);
                /* The line that tells of it cannot go unnoticed either, and all is well when nothing more happens. */
                g_assert_cmpint(auth_audit_open(path, clock_system(), &audit), ==, 0);
                g_assert_null(auth_audit_fault(audit));
                auth_audit_free(audit);
                g_assert_cmpint(truncate(path, (off_t)keep), ==, 0);
                g_assert_cmpint(auth_audit_verify(path, NULL), ==, (int)left + 1);
        }
}

/* Lines of a chain of its own in place of those that were written. */
static void attack_37_another_chain_of_the_same_length_is_noticed(void)
{
        g_autofree char *path = audit_path("audit-own.log"), *other = audit_path("audit-other.log"), *text = NULL;
        g_autofree char *checkpoint = g_strconcat(path, ".checkpoint", NULL);
        struct auth_audit *audit = NULL;

        for (unsigned i = 0; i < 2; i++) {
                g_assert_cmpint(auth_audit_open(i ? other : path, clock_system(), &audit), ==, 0);
                record(audit, i ? "delete" : "create", "virtualmachines", true);
                auth_audit_free(audit);
        }
        g_assert_true(g_file_get_contents(other, &text, NULL, NULL));
        g_assert_true(g_file_set_contents(path, text, -1, NULL));
        g_assert_cmpint(auth_audit_verify(path, NULL), ==, 1);
        g_assert_cmpint(auth_audit_open(path, clock_system(), &audit), ==, 0);
        g_assert_cmpstr(auth_audit_fault(audit), ==, "line 1 is not the one that was written");
        auth_audit_free(audit);
        g_assert_cmpint(unlink(checkpoint), ==, 0);
        g_assert_cmpint(auth_audit_open(path, clock_system(), &audit), ==, 0);
        g_assert_cmpstr(auth_audit_fault(audit), ==, "there is no checkpoint: lines may have been cut off the end");
        auth_audit_free(audit);
        g_assert_true(g_file_set_contents(checkpoint, "{\"lines\":1}", -1, NULL));
        g_assert_cmpint(auth_audit_verify(path, NULL), ==, -EBADMSG);
        g_assert_cmpint(auth_audit_open(path, clock_system(), &audit), ==, 0);
        g_assert_nonnull(strstr(auth_audit_fault(audit), "cannot be read"));
        auth_audit_free(audit);
        g_assert_cmpuint(verified_lines(path), ==, 4);
}

static void a_flood_of_strangers_is_counted_not_written(void)
{
        g_autofree char *path = audit_path("audit5.log"), *text = NULL;
        g_autoptr(auth_identity) stranger = auth_identity_new(AUTH_ANONYMOUS, "gabbro:anonymous", NULL);
        struct auth_attributes what = {VM("get")};
        struct auth_audit *audit = NULL;
        struct auth_audit_stats stats;

        g_assert_cmpint(auth_audit_open(path, clock_system(), &audit), ==, 0);
        for (unsigned i = 0; i < 5000; i++)
                auth_audit_record(audit, &(struct auth_audit_entry){.identity = stranger, .attributes = &what, .status = 401});
        record(audit, "create", "virtualmachines", true);
        auth_audit_stats(audit, &stats);
        g_assert_cmpuint(stats.lines, <, 1000);
        g_assert_cmpuint(stats.lines + stats.omitted, ==, 5001);
        auth_audit_free(audit);
        g_assert_cmpuint(verified_lines(path), ==, stats.lines);
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        g_assert_nonnull(strstr(text, "\"omitted\":"));
}

/* --- passwords
 * --------------------------------------------------------------------------------------------------------------------- */

static void a_password_is_known_by_its_hash_alone(void)
{
        static const char salt[2][AUTH_SALT_BYTES] = {"one salt", "another salt"};
        g_autofree char *one = NULL, *two = NULL;

        g_assert_cmpint(auth_password_hash("correct horse", salt[0], &one), ==, 0);
        g_assert_cmpint(auth_password_hash("correct horse", salt[1], &two), ==, 0);
        g_assert_true(g_str_has_prefix(one, "$y$"));
        g_assert_cmpstr(one, !=, two);
        g_assert_null(strstr(one, "horse"));
        g_assert_true(auth_password_is("correct horse", one));
        g_assert_true(auth_password_is("correct horse", two));
        g_assert_false(auth_password_is("correct horsf", one));
        g_assert_false(auth_password_is("", one));
        g_assert_false(auth_password_is("nobody", NULL));
        g_assert_false(auth_password_is("correct horse", "*0"));
        g_assert_false(auth_password_is("correct horse", "correct horse"));
}

static void a_certificate_of_a_person_is_a_clients_and_no_nodes(void)
{
        g_autofree char *key = NULL, *csr = NULL;
        struct auth_certificate certificate;

        g_assert_cmpint(auth_request_new("whatever it says", &key, &csr), ==, 0);
        g_assert_cmpint(auth_ca_sign_user(ca, csr, "rose", 3600000000, &certificate), ==, 0);
        g_assert_cmpint(strlen(certificate.serial), ==, 32);
        g_assert_cmpuint(certificate.not_after_us, <=, clock_real_us(clock_system()) + 3601000000);
        auth_certificate_clear(&certificate);
        g_assert_cmpint(auth_ca_sign_user(ca, "no request", "rose", 3600000000, &certificate), ==, -EINVAL);
        g_assert_cmpint(auth_ca_sign_user(ca, csr, "no name", 3600000000, &certificate), ==, -EINVAL);
}

int main(int argc, char **argv)
{
        int r;

        g_test_init(&argc, &argv, NULL);
        folder = g_dir_make_tmp("auth-XXXXXX", NULL);
        r = auth_ca_open(folder, clock_system(), &ca);
        g_assert_cmpint(r, ==, 0);
        g_test_add_func("/auth/a_ca_is_made_once_and_found_again", a_ca_is_made_once_and_found_again);
        g_test_add_func("/auth/a_ca_key_that_others_can_read_is_refused", a_ca_key_that_others_can_read_is_refused);
        g_test_add_func("/auth/a_certificate_without_its_key_is_a_loss_not_a_new_start",
                        a_certificate_without_its_key_is_a_loss_not_a_new_start);
        g_test_add_func("/auth/a_key_alone_gets_a_certificate_of_the_same_name", a_key_alone_gets_a_certificate_of_the_same_name);
        g_test_add_func("/auth/a_server_certificate_carries_the_names_given", a_server_certificate_carries_the_names_given);
        g_test_add_func("/auth/names_that_are_neither_host_nor_address_are_refused",
                        names_that_are_neither_host_nor_address_are_refused);
        g_test_add_func("/auth/a_node_gets_the_subject_we_set_whatever_it_asks", a_node_gets_the_subject_we_set_whatever_it_asks);
        g_test_add_func("/auth/requests_with_weak_or_foreign_keys_are_refused", requests_with_weak_or_foreign_keys_are_refused);
        g_test_add_func("/auth/text_that_is_no_request_is_refused", text_that_is_no_request_is_refused);
        g_test_add_func("/auth/a_token_is_split_into_what_was_generated", a_token_is_split_into_what_was_generated);
        g_test_add_func("/auth/only_the_grammar_of_tokens_is_taken", only_the_grammar_of_tokens_is_taken);
        g_test_add_func("/auth/hashes_are_salted_by_the_id", hashes_are_salted_by_the_id);
        g_test_add_func("/auth/every_changed_byte_of_a_sealed_text_is_noticed", every_changed_byte_of_a_sealed_text_is_noticed);
        g_test_add_func("/auth/a_sealed_text_opens_after_a_restart_and_only_with_its_key",
                        a_sealed_text_opens_after_a_restart_and_only_with_its_key);
        g_test_add_func("/auth/a_seal_key_of_wrong_size_or_mode_is_refused", a_seal_key_of_wrong_size_or_mode_is_refused);
        g_test_add_func("/auth/the_authoriser_follows_its_table", the_authoriser_follows_its_table);
        g_test_add_func("/auth/a_refusal_says_who_what_and_where", a_refusal_says_who_what_and_where);
        g_test_add_func("/auth/writes_refusals_and_secrets_are_recorded_reads_are_counted",
                        writes_refusals_and_secrets_are_recorded_reads_are_counted);
        g_test_add_func("/auth/the_chain_goes_on_after_a_restart", the_chain_goes_on_after_a_restart);
        g_test_add_func("/auth/a_torn_last_line_is_cut_off_and_told", a_torn_last_line_is_cut_off_and_told);
        g_test_add_func("/auth/attack_37_any_change_of_the_file_breaks_the_chain",
                        attack_37_any_change_of_the_file_breaks_the_chain);
        g_test_add_func("/auth/attack_37_lines_cut_off_the_end_are_noticed", attack_37_lines_cut_off_the_end_are_noticed);
        g_test_add_func("/auth/attack_37_another_chain_of_the_same_length_is_noticed",
                        attack_37_another_chain_of_the_same_length_is_noticed);
        g_test_add_func("/auth/a_flood_of_strangers_is_counted_not_written", a_flood_of_strangers_is_counted_not_written);
        g_test_add_func("/auth/a_password_is_known_by_its_hash_alone", a_password_is_known_by_its_hash_alone);
        g_test_add_func("/auth/a_certificate_of_a_person_is_a_clients_and_no_nodes",
                        a_certificate_of_a_person_is_a_clients_and_no_nodes);
        r = g_test_run();
        auth_ca_free(ca);
        file_remove_tree(folder);
        g_free(folder);
        return r;
}
