/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "base/clock.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Who is calling, and may they. Certificates (own CA), tokens (hashed at rest), sealing of secrets, the authoriser and the audit
 * call. Every verb passes auth_authorise() and auth_audit(), also the administrator's.
 */

/* --- certificate authority: files in a folder, made once ------------------------------------------------------------------------- */

struct auth_ca;
/** auth_ca_open() - load DIR/ca.crt and DIR/ca.key (0600), made when both are absent: RSA 3072, ten years. */
int auth_ca_open(const char *dir, const struct clock *clock, struct auth_ca **ret_ca);
struct auth_ca *auth_ca_free(struct auth_ca *ca);
AUTOPTR(auth_ca, auth_ca_free);
const char *auth_ca_pem(const struct auth_ca *ca);
const char *auth_ca_sha256(const struct auth_ca *ca); /* of the DER certificate, 64 hex digits */

struct auth_certificate {
        char *certificate_pem;
        char *key_pem;      /* NULL when the key came with a request */
        char *serial;       /* lower-case hex */
        uint64_t not_after_us;
};
void auth_certificate_clear(struct auth_certificate *certificate);
/** auth_ca_issue_server() - for the gateway: names are host names and IP addresses ("localhost", "127.0.0.1"). */
int auth_ca_issue_server(struct auth_ca *ca, const char *const *names, struct auth_certificate *ret_certificate);
/** auth_ca_sign_node() - design decision 15: subject O=gabbro:nodes CN=gabbro:node:<name> and the names are set here, whatever the request
 *  says; its key must be RSA >= 2048 or P-256. -EINVAL: not a request, or a bad signature or key. */
int auth_ca_sign_node(struct auth_ca *ca, const char *csr_pem, const char *node, const char *const *names,
                      struct auth_certificate *ret_certificate);
/** auth_request_new() - agent side: an RSA 2048 key and a request for it. */
int auth_request_new(const char *common_name, char **ret_key_pem, char **ret_csr_pem);
int auth_certificate_expiry(const char *certificate_pem, uint64_t *ret_not_after_us);

/* --- tokens ------------------------------------------------------------------------------------------------------------------------ */

/* Text: "gbt1.<id>.<secret>" (user), "gbj1.<id>.<secret>.<sha256 of the CA>" (join). id: 10, secret: 32 of [a-z2-7]. At rest: Token
 * objects (internal kind) named <id> with spec.hash = hex SHA-256 of the whole secret part salted by the id. */
struct auth_token_text { char *text; char *id; char *hash; };
void auth_token_text_clear(struct auth_token_text *token);
int auth_token_generate(const struct random_source *random, const char *prefix, const char *suffix, struct auth_token_text *ret_token);
/** auth_token_split() - id and computed hash of a presented token; -EINVAL when it has not the form. */
int auth_token_split(const char *text, char **ret_id, char **ret_hash, char **ret_suffix);
bool auth_hash_equal(const char *a, const char *b); /* in constant time */

/* --- sealing ----------------------------------------------------------------------------------------------------------------------- */

struct auth_seal; /* AES-256-GCM with a key file kept outside the database (0600, made once) */
int auth_seal_open(const char *key_path, const struct random_source *random, struct auth_seal **ret_seal);
struct auth_seal *auth_seal_free(struct auth_seal *seal);
int auth_seal_seal(struct auth_seal *seal, const char *plain, size_t len, char **ret_sealed, size_t *ret_len);
int auth_seal_unseal(struct auth_seal *seal, const char *sealed, size_t len, char **ret_plain, size_t *ret_len);

/* --- identity and decision --------------------------------------------------------------------------------------------------------- */

enum auth_kind_of_identity { AUTH_ANONYMOUS, AUTH_USER, AUTH_NODE, AUTH_CONTROLLER };

struct auth_identity {
        enum auth_kind_of_identity kind;
        char *user;     /* "gabbro:admin", "gabbro:node:host-1" */
        char **groups;  /* NULL-terminated: "gabbro:administrators", "gabbro:nodes" */
        char *node;     /* AUTH_NODE: the node's name */
        char *token_id; /* or NULL */
};
struct auth_identity *auth_identity_free(struct auth_identity *identity);
AUTOPTR(auth_identity, auth_identity_free);
bool auth_identity_in_group(const struct auth_identity *identity, const char *group);

struct auth_attributes {
        const char *verb;        /* get list watch create update patch delete deletecollection; or an HTTP verb for paths */
        const char *group;
        const char *resource;    /* plural; NULL: a path request */
        const char *subresource; /* or NULL */
        const char *namespace;
        const char *name;
        const char *path;        /* non-resource requests */
        bool hidden;             /* the kind is hidden (intents) */
};

/* A decision and its words ("user \"x\" cannot delete resource ..."). This issue: administrators may everything but write intents;
 * nodes nothing here (their surface is the agent facade); authenticated users discovery and health. Rules arrive with roles. */
struct auth_decision { bool allowed; char reason[256]; };
void auth_authorise(const struct auth_identity *identity, const struct auth_attributes *attributes, struct auth_decision *ret_decision);

/* --- audit -------------------------------------------------------------------------------------------------------------------------- */

struct auth_audit; /* append-only JSON lines, hash-chained: every line carries the SHA-256 of the line before */
int auth_audit_open(const char *path, const struct clock *clock, struct auth_audit **ret_audit);
struct auth_audit *auth_audit_free(struct auth_audit *audit);
/** auth_audit() - one line for one request: who, from where, what, decision, HTTP status. Never a body. Reads (get, list, watch) of
 *  kinds other than Secret are only counted. */
void auth_audit_record(struct auth_audit *audit, const struct auth_identity *identity, const struct auth_attributes *attributes,
                       const char *peer, const char *request_id, bool allowed, int status);
/** auth_audit_verify() - 0, or the number of the first line that breaks the chain. */
int auth_audit_verify(const char *path, uint64_t *ret_lines);
