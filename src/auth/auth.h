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

/* --- certificate authority: files in a folder, made once -------------------------------------------------------------------------
 */

struct auth_ca;
/** auth_ca_open() - load DIR/ca.crt and DIR/ca.key (0600), made when absent: RSA 3072, ten years. One process at a time: the caller
 *  holds the folder. 0 or -errno: -EPERM (the key can be read by others), -ENOENT (a certificate without its key), -EINVAL. */
int auth_ca_open(const char *dir, const struct clock *clock, struct auth_ca **ret_ca);
/** auth_ca_free() - NULL is accepted. */
struct auth_ca *auth_ca_free(struct auth_ca *ca);
AUTOPTR(auth_ca, auth_ca_free);
/** auth_ca_pem() - the certificate; lives as long as the CA. */
const char *auth_ca_pem(const struct auth_ca *ca);
/** auth_ca_sha256() - of the DER certificate, 64 lower-case hex digits. */
const char *auth_ca_sha256(const struct auth_ca *ca);

struct auth_certificate {
        char *certificate_pem;
        char *key_pem; /* NULL when the key came with a request */
        char *serial;  /* 32 lower-case hex digits */
        uint64_t not_after_us;
};
/** auth_certificate_clear() - free the texts; the key is wiped. */
void auth_certificate_clear(struct auth_certificate *certificate);
/** auth_ca_issue_server() - for the gateway, with a key of its own: @names are host names and IP addresses ("localhost",
 *  "127.0.0.1"), at least one. 0 or -errno: -EINVAL for a name that is neither. */
int auth_ca_issue_server(struct auth_ca *ca, const char *const *names, struct auth_certificate *ret_certificate);
/** auth_ca_sign_node() - design decision 15: subject O=gabbro:nodes CN=gabbro:node:<name> and the names are set here, whatever the
 * request says; its key must be RSA of 2048 to 8192 bits or P-256. @node: at most 52 characters. -EINVAL: not a request, a bad
 * signature, key or name. */
int auth_ca_sign_node(struct auth_ca *ca, const char *csr_pem, const char *node, const char *const *names,
                      struct auth_certificate *ret_certificate);
/** auth_ca_sign_user() - a client certificate for a person: subject O=gabbro:users CN=gabbro:user:<name>, good for nothing but
 * being a client, for @life_us. The rest as auth_ca_sign_node(): the two can never be taken for each other. */
int auth_ca_sign_user(struct auth_ca *ca, const char *csr_pem, const char *user, uint64_t life_us,
                      struct auth_certificate *ret_certificate);
/** auth_request_new() - agent side: an RSA 2048 key and a request for it. */
int auth_request_new(const char *common_name, char **ret_key_pem, char **ret_csr_pem);
/** auth_certificate_expiry() - notAfter of a PEM certificate; 0 or -EINVAL. */
int auth_certificate_expiry(const char *certificate_pem, uint64_t *ret_not_after_us);
/** auth_certificate_life() - notBefore and notAfter. */
int auth_certificate_life(const char *certificate_pem, uint64_t *ret_not_before_us, uint64_t *ret_not_after_us);

/* --- tokens
 * ------------------------------------------------------------------------------------------------------------------------ */

/* Text: "gbt1.<id>.<secret>" (user), "gbj1.<id>.<secret>.<sha256 of the CA>" (join). id: 10, secret: 32 of [a-z2-7]. At rest: Token
 * objects (internal kind) named <id> with spec.hash = hex SHA-256 of the whole secret part salted by the id. */
struct auth_token_text {
        char *text;
        char *id;
        char *hash;
};
/** auth_token_text_clear() - free the members; the text is wiped. */
void auth_token_text_clear(struct auth_token_text *token);
/** auth_token_generate() - a new token; @prefix: "gbt1" or "gbj1", @suffix: the CA's SHA-256 for "gbj1", else NULL. Always 0. */
int auth_token_generate(const struct random_source *random, const char *prefix, const char *suffix,
                        struct auth_token_text *ret_token);
/** auth_token_split() - id and computed hash of a presented token; 0, or -EINVAL when it has not the form. @ret_suffix may be NULL,
 *  and is set to NULL for a user's token. */
int auth_token_split(const char *text, char **ret_id, char **ret_hash, char **ret_suffix);
/** auth_hash_equal() - whether two hashes are the same, compared in constant time; NULL equals nothing. */
bool auth_hash_equal(const char *a, const char *b);

/* --- passwords
 * --------------------------------------------------------------------------------------------------------------------- */

#define AUTH_PASSWORD_MIN 8   /* characters of a new password */
#define AUTH_PASSWORD_MAX 256 /* bytes */

/** auth_password_fault() - why @password cannot become that of @user, in words, or NULL. */
const char *auth_password_fault(const char *password, const char *user);
#define AUTH_SALT_BYTES 16
/** auth_password_hash() - yescrypt with random bytes as its salt, as crypt(5) writes it; some 20 ms and 16 MiB: not on the loop,
 * and from any thread. 0 or -errno. */
int auth_password_hash(const char *password, const char salt[AUTH_SALT_BYTES], char **ret_hash);
/** auth_password_is() - whether @hash was made of @password; as slow. @hash NULL (nobody has one): false, after the same time. */
bool auth_password_is(const char *password, const char *hash);
/** auth_text_wipe() - overwrite and free a secret text; NULL is accepted. */
void auth_text_wipe(char *text);

/* --- sealing
 * ----------------------------------------------------------------------------------------------------------------------- */

struct auth_seal; /* AES-256-GCM with a key file kept outside the database (32 bytes, 0600, made once) */
/** auth_seal_open() - load the key, or make it when absent. 0 or -errno: -EPERM (can be read by others), -EINVAL (no key). */
int auth_seal_open(const char *key_path, const struct random_source *random, struct auth_seal **ret_seal);
/** auth_seal_free() - the key is wiped. */
struct auth_seal *auth_seal_free(struct auth_seal *seal);
AUTOPTR(auth_seal, auth_seal_free);
/** auth_seal_seal() - a versioned form with a random nonce, 32 bytes longer than @plain; g_free(). 0 or -errno. */
int auth_seal_seal(struct auth_seal *seal, const char *plain, size_t len, char **ret_sealed, size_t *ret_len);
/** auth_seal_unseal() - the plain text, NUL-terminated beyond @ret_len; g_free(). 0, or -EBADMSG when anything was changed. */
int auth_seal_unseal(struct auth_seal *seal, const char *sealed, size_t len, char **ret_plain, size_t *ret_len);

#define AUTH_MAC_BYTES 32
/** auth_seal_mac() - HMAC-SHA256 of @data under a key of its own for @purpose, derived from the sealing key. */
void auth_seal_mac(const struct auth_seal *seal, const char *purpose, const void *data, size_t len,
                   unsigned char ret_mac[AUTH_MAC_BYTES]);

/* --- identity and decision
 * --------------------------------------------------------------------------------------------------------- */

enum auth_kind_of_identity { AUTH_ANONYMOUS, AUTH_USER, AUTH_NODE, AUTH_CONTROLLER };

struct auth_identity {
        enum auth_kind_of_identity kind;
        char *user;     /* "gabbro:admin", "gabbro:node:host-1" */
        char **groups;  /* NULL-terminated: "gabbro:administrators", "gabbro:nodes" */
        char *node;     /* AUTH_NODE: the node's name */
        char *token_id; /* name of the Token behind it; or NULL */
};
/** auth_identity_new() - copies; @groups NULL-terminated, or NULL for none. */
struct auth_identity *auth_identity_new(enum auth_kind_of_identity kind, const char *user, const char *const *groups);
/** auth_identity_copy() - the same in memory of its own. */
struct auth_identity *auth_identity_copy(const struct auth_identity *identity);
/** auth_identity_free() - NULL is accepted. */
struct auth_identity *auth_identity_free(struct auth_identity *identity);
AUTOPTR(auth_identity, auth_identity_free);
/** auth_identity_in_group() - whether the identity is a member of @group. */
bool auth_identity_in_group(const struct auth_identity *identity, const char *group);
/** auth_identity_equal() - whether both are the same user with the same groups. */
bool auth_identity_equal(const struct auth_identity *a, const struct auth_identity *b);

struct auth_attributes {
        const char *verb; /* get list watch create update patch delete deletecollection; or an HTTP verb for paths */
        const char *group;
        const char *resource;    /* plural; NULL: a path request */
        const char *subresource; /* or NULL */
        const char *namespace;
        const char *name;
        const char *path; /* non-resource requests */
        bool any_name;    /* asks whether it is allowed for some name, whichever */
        bool hidden;      /* the kind is hidden (intents) */
        bool internal;    /* the kind is never served */
        bool nodes_only;  /* the path belongs to the agents' surface */
        bool own;         /* the path is about nothing but the caller's own credentials */
};

struct auth_policy; /* auth/policy.h */

/* A decision and its words ("user \"x\" cannot delete resource ..."). */
struct auth_decision {
        bool allowed;
        char reason[512]; /* of a refusal */
};
/**
 * auth_authorise() - may @identity do this
 * @policy: what roles and bindings give; NULL: nothing
 *
 * Administrators may everything but write intents; nodes have no resource verb at all, only the paths marked nodes_only; every
 * authenticated user may read discovery, version, OpenAPI and health, ask what is allowed and mind his own credentials. Beyond that
 * a user may what its roles give. Nobody reads internal kinds, nobody but controllers writes intents. Whoever writes users gives
 * them groups, and with those every right: only administrators do, whatever roles say.
 */
void auth_authorise(struct auth_policy *policy, const struct auth_identity *identity, const struct auth_attributes *attributes,
                    struct auth_decision *ret_decision);
/** auth_why() - why something is allowed: "RBAC: allowed by ...", a sentence on what every such caller may, or the reason of a
 * refusal; g_free(). */
char *auth_why(struct auth_policy *policy, const struct auth_identity *identity, const struct auth_attributes *attributes);
/** auth_is_administrator() - a member of the group whose members may everything. */
bool auth_is_administrator(const struct auth_identity *identity);

/* --- audit
 * -------------------------------------------------------------------------------------------------------------------------- */

/*
 * Append-only JSON lines, hash-chained: each begins with "previous", the digest of the line before (64 zeros in the first), and
 * ends with "digest", the SHA-256 of the line without that member. A thread of its own writes them, so that a slow disk never holds
 * the loop; it syncs at most once a second. When AUDIT_BUFFER_BYTES wait, or refusals of unknown callers exceed their rate, lines
 * are left out, and the next line says how many ("omitted"). After each sync PATH.checkpoint says how many lines there are and the
 * digest of the last: without it the chain would not show that lines are gone from its end.
 */
struct auth_audit;
/** auth_audit_open() - open or create (0600) and go on with the chain of the last line; a torn last line (power cut) is cut off,
 * and a line says so; so does one when the file holds less than its checkpoint says. 0 or -errno: -EBADMSG when the last line's
 * digest is wrong. */
int auth_audit_open(const char *path, const struct clock *clock, struct auth_audit **ret_audit);
/** auth_audit_fault() - what the checkpoint told of the file at opening, in words, or NULL when all was there; borrowed. */
const char *auth_audit_fault(const struct auth_audit *audit);
/** auth_audit_free() - write and sync what waits, then close. */
struct auth_audit *auth_audit_free(struct auth_audit *audit);
AUTOPTR(auth_audit, auth_audit_free);
/* What one line tells. Texts are borrowed. */
struct auth_audit_entry {
        const struct auth_identity *identity;
        const struct auth_attributes *attributes;
        const char *peer; /* "127.0.0.1:40000" */
        const char *request_id;
        bool allowed;
        bool dry_run; /* nothing was to be written */
        int status;   /* HTTP; 0: not known, the request was handed to another facade */
};
/** auth_audit_record() - one line for one request: who, from where, what, decision, HTTP status. Never a body. Allowed reads (get,
 *  list, watch) of kinds other than Secret and of paths, and reports of agents, are only counted. */
void auth_audit_record(struct auth_audit *audit, const struct auth_audit_entry *entry);
/** auth_audit_flush() - wait until all lines recorded so far are written (not synced), or writing fails. */
void auth_audit_flush(struct auth_audit *audit);

struct auth_audit_stats {
        uint64_t lines;   /* recorded since opening */
        uint64_t counted; /* reads and reports that made no line */
        uint64_t omitted; /* lines left out */
        uint64_t errors;  /* failed writes; the lines wait and are tried again */
};
/** auth_audit_stats() - for /metrics. */
void auth_audit_stats(struct auth_audit *audit, struct auth_audit_stats *ret_stats);

/* What a walk along the whole log found. */
struct auth_audit_report {
        uint64_t lines;      /* whole lines in the file */
        uint64_t broken;     /* the first line that breaks the chain or, against the checkpoint, is missing; 0: none */
        const char *words;   /* what is wrong with it, or NULL */
        uint64_t checkpoint; /* lines that the checkpoint vouches for; 0: there is none */
        bool unfinished;     /* the last line has no end yet: a gateway that runs writes it, or one was cut off by a power cut */
};
/**
 * auth_audit_read() - walk along the log and judge it
 * @each: gets every line without its newline, also broken ones, or NULL; false skips the rest, which is judged nevertheless
 *
 * Return: 0 and the report, or -errno when a file cannot be read (-EBADMSG: the checkpoint is none).
 */
int auth_audit_read(const char *path, bool (*each)(const char *line, size_t len, void *userdata), void *userdata,
                    struct auth_audit_report *ret_report);
/** auth_audit_verify() - 0 (then @ret_lines, when not NULL, holds how many lines), the number of the first line that is broken,
 *  missing or unfinished, or -errno as auth_audit_read(). */
int auth_audit_verify(const char *path, uint64_t *ret_lines);
