/* SPDX-License-Identifier: Apache-2.0 */
#include "api/credentials.h"
#include "generated/api_types.h"

#include <string.h>

#define VERSION "authentication.k8s.io/v1"

/* --- who am I
 * -------------------------------------------------------------------------------------------------------------------- */

static void set_identity(struct json_doc *doc, struct json_value *to, const char *name_key, const struct auth_identity *identity)
{
        struct json_value *groups;

        json_set_string(doc, to, name_key, identity->user);
        groups = json_ensure_array(doc, to, "groups");
        for (char **group = identity->groups; group && *group; group++)
                json_append(groups, json_new_string(doc, *group));
}

static void run_whoami(struct call *call, const char *rest)
{
        const char *id = call->identity->token_id;
        autostoreobject token = id ? store_get(call->api->options.store, &api_token_kind, NULL, id) : NULL;
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *shown;

        json_set_root(doc, root);
        set_identity(doc, root, "user", call->identity);
        if (token) {
                shown = json_ensure_object(doc, root, "token");
                json_set_string(doc, shown, "id", id);
                json_set_string(doc, shown, "type", json_find_string(token->root, "spec", "type", NULL));
                json_set_string(doc, shown, "expires", json_find_string(token->root, "spec", "expires", NULL));
        }
        credentials_reply(call, 200, doc);
}

static struct json_doc *review_document(const char *kind)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);

        json_set_root(doc, root);
        json_set_string(doc, root, "kind", kind);
        json_set_string(doc, root, "apiVersion", VERSION);
        json_ensure_object(doc, root, "metadata");
        return doc;
}

static void on_self(struct call *call, const struct json_value *asked)
{
        g_autoptr(json_doc) doc = review_document("SelfSubjectReview");
        struct json_value *status = json_ensure_object(doc, json_root(doc), "status");

        set_identity(doc, json_ensure_object(doc, status, "userInfo"), "username", call->identity);
        credentials_reply(call, 201, doc);
}

static void run_self(struct call *call, const char *rest)
{
        credentials_take_body(call, on_self);
}

/* --- who is that
 * ------------------------------------------------------------------------------------------------------------------ */

static void on_review(struct call *call, const struct json_value *asked)
{
        g_autoptr(auth_identity) identity =
                identity_of_token(&call->api->identities, json_find_string(asked, "spec", "token", NULL));
        g_autoptr(json_doc) doc = review_document("TokenReview");
        struct json_value *status = json_ensure_object(doc, json_root(doc), "status");

        json_ensure_object(doc, json_root(doc), "spec"); /* the token is not told again */
        json_set_bool(doc, status, "authenticated", identity);
        if (identity)
                set_identity(doc, json_ensure_object(doc, status, "user"), "username", identity);
        credentials_reply(call, 201, doc);
}

static void run_review(struct call *call, const char *rest)
{
        credentials_take_body(call, on_review);
}

void tokenreview_routes(struct api *api)
{
        static const char group[] = "authentication.k8s.io";
        const struct api_route routes[] = {
                {.method = "GET", .prefix = "/auth/v1/whoami", .own = true, .run = run_whoami},
                {.method = "POST",
                 .prefix = "/apis/" VERSION "/selfsubjectreviews",
                 .group = group,
                 .resource = "selfsubjectreviews",
                 .run = run_self},
                {.method = "POST",
                 .prefix = "/apis/" VERSION "/tokenreviews",
                 .group = group,
                 .resource = "tokenreviews",
                 .run = run_review},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(routes); i++)
                api_add_route(api, &routes[i]);
}
