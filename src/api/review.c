/* SPDX-License-Identifier: Apache-2.0 */
#include "api/review.h"
#include "api/access.h"
#include "api/body.h"
#include "api/protobuf.h"
#include "base/limits.h"

#include <assert.h>
#include <string.h>

#define PREFIX            "/apis/authorization.k8s.io/v1/"
#define NAMESPACES        "namespaces/"
#define NODE_USER         "gabbro:node:"
#define REVIEW_BODY_BYTES (64u << 10)

struct review {
        struct review_kind kind;
        void (*answer)(struct call *call, struct json_doc *doc);
};

static const char *text_or_null(const struct json_value *object, const char *key)
{
        const char *text = json_string(json_get(object, key), NULL);

        return text && *text ? text : NULL;
}

/* --- may somebody do something
 * ------------------------------------------------------------------------------------------------------- */

static bool is_agents_path(const char *path)
{
        return g_str_has_prefix(path, "/agent/");
}

static void attributes_of(const struct json_value *spec, struct auth_attributes *ret_attributes)
{
        const struct json_value *resource = json_get(spec, "resourceAttributes"), *path = json_get(spec, "nonResourceAttributes");

        if (json_is(path, JSON_OBJECT)) {
                *ret_attributes = (struct auth_attributes){
                        .verb = text_or_null(path, "verb") ?: "*",
                        .path = text_or_null(path, "path") ?: "*",
                        .nodes_only = is_agents_path(text_or_null(path, "path") ?: ""),
                };
                return;
        }
        *ret_attributes = (struct auth_attributes){
                .verb = text_or_null(resource, "verb") ?: "*",
                .group = text_or_null(resource, "group") ?: "",
                .resource = text_or_null(resource, "resource") ?: "*",
                .subresource = text_or_null(resource, "subresource"),
                .namespace = text_or_null(resource, "namespace"),
                .name = text_or_null(resource, "name"),
        };
        auth_attributes_of_kind(ret_attributes);
        /* As at the door: what is asked of a namespace is asked in it. */
        if (ret_attributes->name && *ret_attributes->group == 0 && strcmp(ret_attributes->resource, "namespaces") == 0)
                ret_attributes->namespace = ret_attributes->name;
}

static void answer_for(struct call *call, const struct auth_identity *identity, struct json_doc *doc)
{
        struct auth_policy *policy = access_policy(call->api->access);
        struct auth_attributes attributes;
        struct auth_decision decision;
        g_autofree char *why = NULL;
        struct json_value *status;

        attributes_of(json_get(json_root(doc), "spec"), &attributes);
        auth_authorise(policy, identity, &attributes, &decision);
        why = auth_why(policy, identity, &attributes);
        status = json_set(doc, json_root(doc), "status", json_new(doc, JSON_OBJECT));
        json_set_bool(doc, status, "allowed", decision.allowed);
        json_set_string(doc, status, "reason", why);
}

static void answer_self(struct call *call, struct json_doc *doc)
{
        answer_for(call, call->identity, doc);
}

static char **groups_of(const struct json_value *spec)
{
        g_autoptr(GPtrArray) groups = g_ptr_array_new();

        for (const struct json_value *group = json_first(json_get(spec, "groups")); group; group = json_next(group))
                if (json_string(group, NULL))
                        g_ptr_array_add(groups, g_strdup(json_string(group, "")));
        g_ptr_array_add(groups, NULL);
        return (char **)g_ptr_array_free(g_steal_pointer(&groups), FALSE);
}

static void answer_other(struct call *call, struct json_doc *doc)
{
        const struct json_value *spec = json_get(json_root(doc), "spec");
        const char *user = text_or_null(spec, "user");
        g_auto(GStrv) groups = groups_of(spec);
        g_autoptr(auth_identity) identity = auth_identity_new(user && g_str_has_prefix(user, NODE_USER) ? AUTH_NODE : AUTH_USER,
                                                              user ?: "", (const char *const *)groups);

        answer_for(call, identity, doc);
}

/* Who and what must be there, and a local review speaks of its own namespace. */
static bool is_whole(struct call *call, const struct review *review, const struct json_value *spec)
{
        const struct json_value *resource = json_get(spec, "resourceAttributes"), *path = json_get(spec, "nonResourceAttributes");
        bool of_other = review->answer == answer_other, of_access = of_other || review->answer == answer_self;
        g_autoptr(schema_faults) faults = schema_faults_new();
        g_autofree char *words = NULL, *message = NULL;

        if (of_access && json_is(resource, JSON_OBJECT) == json_is(path, JSON_OBJECT))
                schema_faults_add(faults, "spec.resourceAttributes", "FieldValueInvalid",
                                  "Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified");
        if (of_other && !text_or_null(spec, "user") && json_length(json_get(spec, "groups")) == 0)
                schema_faults_add(faults, "spec.user", "FieldValueInvalid",
                                  "Invalid value: at least one of user or group must be specified");
        if (review->kind.namespaced && json_is(path, JSON_OBJECT))
                schema_faults_add(faults, "spec.nonResourceAttributes", "FieldValueInvalid",
                                  "Invalid value: disallowed on this kind of request");
        if (review->kind.namespaced && g_strcmp0(text_or_null(resource, "namespace"), call->target.namespace) != 0)
                schema_faults_add(faults, "spec.resourceAttributes.namespace", "FieldValueInvalid",
                                  "Invalid value: must match metadata.namespace");
        if (schema_faults_count(faults) == 0)
                return true;
        words = status_fault_words(faults);
        message = g_strdup_printf("%s.authorization.k8s.io \"\" is invalid: %s", review->kind.kind, words);
        call_refuse(call, &(struct refusal){.code = 422, .message = message, .faults = faults});
        return false;
}

/* --- what may I
 * ------------------------------------------------------------------------------------------------------------------------ */

static struct json_value *add_rule(struct json_doc *doc, struct json_value *rules, const char *const *verbs)
{
        struct json_value *rule = json_append(rules, json_new(doc, JSON_OBJECT)), *list = json_ensure_array(doc, rule, "verbs");

        for (; *verbs; verbs++)
                json_append(list, json_new_string(doc, *verbs));
        return rule;
}

static void add_strings(struct json_doc *doc, struct json_value *rule, const char *key, const char *const *strings)
{
        struct json_value *list = json_ensure_array(doc, rule, key);

        for (; *strings; strings++)
                json_append(list, json_new_string(doc, *strings));
}

struct listing {
        struct json_doc *doc;
        struct json_value *resources, *paths;
};

static void add_role_rule(const struct json_value *rule, void *userdata)
{
        struct listing *listing = userdata;

        json_append(json_length(json_get(rule, "nonResourceURLs")) ? listing->paths : listing->resources,
                    json_copy(listing->doc, rule));
}

static void answer_rules(struct call *call, struct json_doc *doc)
{
        static const char *const star[] = {"*", NULL}, *const create[] = {"create", NULL}, *const get[] = {"get", NULL};
        static const char *const authorization[] = {"authorization.k8s.io", NULL};
        static const char *const reviews[] = {"selfsubjectaccessreviews", "selfsubjectrulesreviews", NULL};
        static const char *const open[] = {"/api",     "/api/*",     "/apis",   "/apis/*",  "/healthz", "/livez",
                                           "/openapi", "/openapi/*", "/readyz", "/version", NULL};
        struct json_value *status = json_set(doc, json_root(doc), "status", json_new(doc, JSON_OBJECT)), *rule;
        const char *namespace = json_find_string(json_root(doc), "spec", "namespace", NULL);
        struct listing listing = {.doc = doc};

        listing.resources = json_ensure_array(doc, status, "resourceRules");
        listing.paths = json_ensure_array(doc, status, "nonResourceRules");
        if (auth_is_administrator(call->identity)) {
                rule = add_rule(doc, listing.resources, star);
                add_strings(doc, rule, "apiGroups", star);
                add_strings(doc, rule, "resources", star);
                add_strings(doc, add_rule(doc, listing.paths, star), "nonResourceURLs", star);
        }
        rule = add_rule(doc, listing.resources, create);
        add_strings(doc, rule, "apiGroups", authorization);
        add_strings(doc, rule, "resources", reviews);
        add_strings(doc, add_rule(doc, listing.paths, get), "nonResourceURLs", open);
        auth_policy_each_rule(access_policy(call->api->access), call->identity, namespace, add_role_rule, &listing);
        json_set_bool(doc, status, "incomplete", false);
}

/* --- the table
 * ----------------------------------------------------------------------------------------------------------------------- */

static const struct review reviews[] = {
        {{"localsubjectaccessreviews", "LocalSubjectAccessReview", true}, answer_other},
        {{"selfsubjectaccessreviews", "SelfSubjectAccessReview", false}, answer_self},
        {{"selfsubjectrulesreviews", "SelfSubjectRulesReview", false}, answer_rules},
        {{"subjectaccessreviews", "SubjectAccessReview", false}, answer_other},
};

const struct review_kind *review_kinds(void)
{
        static struct review_kind kinds[G_N_ELEMENTS(reviews) + 1];

        for (size_t i = 0; i < G_N_ELEMENTS(reviews); i++)
                kinds[i] = reviews[i].kind;
        return kinds;
}

const char *review_plural(const struct review *review)
{
        assert(review);
        return review->kind.plural;
}

static const struct review *find(const char *plural, bool namespaced)
{
        for (size_t i = 0; i < G_N_ELEMENTS(reviews); i++)
                if (reviews[i].kind.namespaced == namespaced && strcmp(reviews[i].kind.plural, plural) == 0)
                        return &reviews[i];
        return NULL;
}

const struct review *review_find(const char *path, char **ret_namespace)
{
        const struct review *review;
        const char *slash;

        assert(path && ret_namespace);
        if (!g_str_has_prefix(path, PREFIX))
                return NULL;
        path += strlen(PREFIX);
        if (!g_str_has_prefix(path, NAMESPACES))
                return find(path, false);
        path += strlen(NAMESPACES);
        slash = strchr(path, '/');
        review = slash && slash > path ? find(slash + 1, true) : NULL;
        if (review)
                *ret_namespace = g_strndup(path, (gsize)(slash - path));
        return review;
}

/* --- the request
 * --------------------------------------------------------------------------------------------------------------------- */

static bool is_protobuf(const struct http_request *request)
{
        const char *type = http_request_header(request, "Content-Type");

        return type && g_str_has_prefix(type, PROTOBUF_MEDIA_TYPE);
}

static void on_body(struct http_request *request, const char *text, size_t len, void *userdata)
{
        struct call *call = userdata;
        g_autoptr(json_doc) doc =
                is_protobuf(request) ? body_parse_protobuf(call, text, len) : body_parse(call, BODY_JSON, text, len);
        const struct review *review = find(call->attributes.resource, call->target.namespace != NULL);
        GString *answer;

        assert(review);
        if (!doc)
                return;
        if (!json_is(json_root(doc), JSON_OBJECT)) {
                call_refuse_words(call, 400, "the body of a review must be an object");
                return;
        }
        if (!is_whole(call, review, json_get(json_root(doc), "spec")))
                return;
        review->answer(call, doc);
        answer = g_string_new(NULL);
        json_write(json_root(doc), answer);
        call_reply_text(call, 201, answer);
}

static void on_too_large(struct http_request *request, void *userdata)
{
        call_refuse_words(userdata, 413, "the body of the request is too large");
}

void review_begin(struct call *call, const struct review *review)
{
        const char *type = http_request_header(call->request, "Content-Type");

        assert(call && review);
        if (strcmp(http_request_method(call->request), "POST") != 0) {
                call_refuse_words(call, 405, "a review is asked for by POST");
                return;
        }
        if (type && !is_protobuf(call->request) && !g_str_has_prefix(type, "application/json")) {
                call_refuse_words(call, 415, "a review must be JSON");
                return;
        }
        http_request_body_whole(call->request, REVIEW_BODY_BYTES, on_body, on_too_large);
}
