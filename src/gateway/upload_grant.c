/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/upload_grant.h"
#include "base/limits.h"
#include "gateway/ingest.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#define PURPOSE     "gabbro upload token 1"
#define PREFIX      "gbu1."
#define TOKEN_BYTES (16u << 10)

void upload_grant_clear(struct upload_grant *grant)
{
        assert(grant);
        g_free(grant->namespace);
        g_free(grant->name);
        g_free(grant->uid);
        auth_identity_free(grant->identity);
        *grant = (struct upload_grant){};
}

void upload_grant_new_id(const struct random_source *random, struct upload_grant *grant)
{
        unsigned char id[(UPLOAD_ID_MAX - 1) / 2];

        assert(random && grant);
        random_fill(random, id, sizeof(id));
        for (size_t i = 0; i < sizeof(id); i++)
                g_snprintf(grant->id + 2 * i, 3, "%02x", id[i]);
}

static bool is_hex(const char *text, size_t len)
{
        return text && strlen(text) == len && strspn(text, "0123456789abcdef") == len;
}

bool upload_grant_id_is_valid(const char *text)
{
        return is_hex(text, UPLOAD_ID_MAX - 1);
}

void upload_grant_write(const struct upload_grant *grant, struct json_doc *doc, struct json_value *object)
{
        assert(grant && grant->kind && grant->identity && doc && object);

        json_set_string(doc, object, "id", grant->id);
        json_set_string(doc, object, "kind", grant->kind->kind);
        json_set_string(doc, object, "namespace", grant->namespace);
        json_set_string(doc, object, "name", grant->name);
        json_set_string(doc, object, "uid", grant->uid);
        json_set_string(doc, object, "user", grant->identity->user);
        json_set_string(doc, object, "credential", grant->identity->token_id);
        struct json_value *groups = json_ensure_array(doc, object, "groups");
        for (char **group = grant->identity->groups; group && *group; group++)
                json_append(groups, json_new_string(doc, *group));
        json_set_int(doc, object, "size", (int64_t)grant->size_bytes);
        json_set_string(doc, object, "sha256", grant->sha256[0] ? grant->sha256 : NULL);
        json_set_int(doc, object, "expires", (int64_t)grant->expires_us);
}

static const struct schema_kind *kind_of(const char *name)
{
        for (size_t i = 0; ingest_kinds[i]; i++)
                if (g_strcmp0(name, ingest_kinds[i]->kind) == 0)
                        return ingest_kinds[i];
        return NULL;
}

static struct auth_identity *identity_of(const struct json_value *object)
{
        g_autoptr(GStrvBuilder) groups = g_strv_builder_new();
        const char *user = json_find_string(object, "user", NULL);

        for (const struct json_value *group = json_first(json_get(object, "groups")); group; group = json_next(group))
                if (json_string(group, NULL))
                        g_strv_builder_add(groups, json_string(group, ""));
        g_auto(GStrv) list = g_strv_builder_end(groups);
        struct auth_identity *identity = user ? auth_identity_new(AUTH_USER, user, (const char *const *)list) : NULL;
        if (identity)
                identity->token_id = g_strdup(json_find_string(object, "credential", NULL));
        return identity;
}

int upload_grant_read(const struct json_value *object, struct upload_grant *ret_grant)
{
        struct upload_grant grant = {.kind = kind_of(json_find_string(object, "kind", NULL))};
        const char *id = json_find_string(object, "id", NULL), *sha256 = json_find_string(object, "sha256", NULL);
        int64_t size = 0, expires = 0;

        assert(ret_grant);
        grant.namespace = g_strdup(json_find_string(object, "namespace", NULL));
        grant.name = g_strdup(json_find_string(object, "name", NULL));
        grant.uid = g_strdup(json_find_string(object, "uid", NULL));
        grant.identity = identity_of(object);
        if (!grant.kind || !grant.name || !grant.uid || !grant.identity || !upload_grant_id_is_valid(id) ||
            grant.kind->namespaced != (grant.namespace != NULL) || (sha256 && !is_hex(sha256, 64)) ||
            json_int64(json_get(object, "size"), &size) != 0 || size <= 0 ||
            json_int64(json_get(object, "expires"), &expires) != 0 || expires <= 0) {
                upload_grant_clear(&grant);
                return -EINVAL;
        }
        g_strlcpy(grant.id, id, sizeof(grant.id));
        g_strlcpy(grant.sha256, sha256 ?: "", sizeof(grant.sha256));
        grant.size_bytes = (uint64_t)size;
        grant.expires_us = (uint64_t)expires;
        *ret_grant = grant;
        return 0;
}

/* --- tokens
 * ------------------------------------------------------------------------------------------------------------------------ */

static void append_base64url(GString *out, const void *bytes, size_t len)
{
        g_autofree char *text = g_base64_encode(bytes, len);

        for (const char *c = text; *c && *c != '='; c++)
                g_string_append_c(out, *c == '+' ? '-' : *c == '/' ? '_' : *c);
}

/* NULL when @text is no base64url without padding. */
static guchar *decode_base64url(const char *text, size_t len, gsize *ret_len)
{
        g_autoptr(GString) plain = g_string_sized_new(len + 4);

        for (size_t i = 0; i < len; i++) {
                if (!g_ascii_isalnum(text[i]) && text[i] != '-' && text[i] != '_')
                        return NULL;
                g_string_append_c(plain, text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i]);
        }
        while (plain->len % 4 != 0)
                g_string_append_c(plain, '=');
        return g_base64_decode(plain->str, ret_len);
}

char *upload_grant_seal(const struct upload_grant *grant, const struct auth_seal *seal)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        GString *token = g_string_new(PREFIX);
        unsigned char mac[AUTH_MAC_BYTES];

        assert(grant && seal);
        upload_grant_write(grant, doc, root);
        g_autofree char *text = json_to_text(root);
        append_base64url(token, text, strlen(text));
        auth_seal_mac(seal, PURPOSE, token->str, token->len, mac);
        g_string_append_c(token, '.');
        append_base64url(token, mac, sizeof(mac));
        return g_string_free(token, FALSE);
}

int upload_grant_unseal(const char *token, const struct auth_seal *seal, struct upload_grant *ret_grant)
{
        unsigned char mac[AUTH_MAC_BYTES];
        gsize n = 0, n_shown = 0;

        assert(token && seal && ret_grant);
        const char *dot = strlen(token) <= TOKEN_BYTES && g_str_has_prefix(token, PREFIX) ? strrchr(token, '.') : NULL;
        if (!dot || dot < token + strlen(PREFIX))
                return -EBADMSG;
        g_autofree guchar *shown = decode_base64url(dot + 1, strlen(dot + 1), &n_shown);
        auth_seal_mac(seal, PURPOSE, token, (size_t)(dot - token), mac);
        if (!shown || n_shown != sizeof(mac) || CRYPTO_memcmp(shown, mac, sizeof(mac)) != 0)
                return -EBADMSG;
        const char *begin = token + strlen(PREFIX);
        g_autofree guchar *text = decode_base64url(begin, (size_t)(dot - begin), &n);
        g_autoptr(json_doc) doc = NULL;
        if (!text || json_parse((const char *)text, n, &doc, NULL) != 0 || upload_grant_read(json_root(doc), ret_grant) < 0)
                return -EBADMSG;
        return 0;
}
