/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "auth/auth.h"
#include "schema/schema.h"
#include "json/json.h"

/*
 * The leave to make one upload: for one object, by one user, of one size, within a short time. As a token it goes through the hands
 * of clients, "gbu1.<what is granted>.<HMAC-SHA256 of it>" in base64url; in the record of the upload it tells whose that is. A
 * token names the upload that it makes, so that it makes no second one.
 */
#define UPLOAD_ID_MAX 33

struct upload_grant {
        char id[UPLOAD_ID_MAX]; /* of the upload: 32 hex digits that nobody guesses */
        const struct schema_kind *kind;
        char *namespace, *name, *uid; /* of the object; @namespace NULL: cluster scope */
        struct auth_identity *identity;
        uint64_t size_bytes;
        char sha256[65]; /* what the bytes must hash to; "": not told */
        uint64_t expires_us;
};
void upload_grant_clear(struct upload_grant *grant);
/** upload_grant_new_id() - an id that nobody guesses. */
void upload_grant_new_id(const struct random_source *random, struct upload_grant *grant);
/** upload_grant_id_is_valid() - whether @text has the form of an id: it is also a file's name. */
bool upload_grant_id_is_valid(const char *text);

/** upload_grant_write() - as members of @object. */
void upload_grant_write(const struct upload_grant *grant, struct json_doc *doc, struct json_value *object);
/** upload_grant_read() - 0, or -EINVAL when something is missing or of the wrong form. */
int upload_grant_read(const struct json_value *object, struct upload_grant *ret_grant);

/** upload_grant_seal() - the token; g_free(). */
char *upload_grant_seal(const struct upload_grant *grant, const struct auth_seal *seal);
/** upload_grant_unseal() - 0, or -EBADMSG: not made by this gateway. Its time is for the caller to look at. */
int upload_grant_unseal(const char *token, const struct auth_seal *seal, struct upload_grant *ret_grant);
