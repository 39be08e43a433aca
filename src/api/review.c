/* SPDX-License-Identifier: Apache-2.0 */
#include "api/review.h"
#include "api/body.h"
#include "api/protobuf.h"
#include "base/limits.h"

#include <assert.h>
#include <string.h>

/* "May I?" (kubectl auth can-i), answered by the authoriser itself. */

#define PREFIX "/apis/authorization.k8s.io/v1/"

static const char *const plurals[] = {"selfsubjectaccessreviews", "selfsubjectrulesreviews", NULL};

const char *review_plural(const char *path)
{
        assert(path);
        for (const char *const *plural = plurals; *plural && g_str_has_prefix(path, PREFIX); plural++)
                if (strcmp(path + strlen(PREFIX), *plural) == 0)
                        return *plural;
        return NULL;
}

static const char *text_or_null(const struct json_value *object, const char *key)
{
        const char *text = json_string(json_get(object, key), NULL);

        return text && *text ? text : NULL;
}

/* The kind that a group and plural mean, also under an alias: authorisation sees the canonical group. */
static const struct schema_kind *kind_of(const char *group, const char *plural)
{
        const struct schema_kind *kind = schema_kind_by_plural(group, plural);

        for (size_t i = 0; !kind && schema_kinds[i]; i++)
                for (const char *const *alias = schema_kinds[i]->aliases; alias && *alias; alias++)
                        if (strcmp(schema_kinds[i]->plural, plural) == 0 && g_str_has_prefix(*alias, group) &&
                            (*alias)[strlen(group)] == '/')
                                kind = schema_kinds[i];
        return kind;
}

static void attributes_of(const struct json_value *spec, struct auth_attributes *ret_attributes)
{
        const struct json_value *resource = json_get(spec, "resourceAttributes"), *path = json_get(spec, "nonResourceAttributes");
        const struct schema_kind *kind;

        if (json_is(path, JSON_OBJECT)) {
                *ret_attributes = (struct auth_attributes){
                        .verb = text_or_null(path, "verb") ?: "*",
                        .path = text_or_null(path, "path") ?: "*",
                        .nodes_only = g_str_has_prefix(text_or_null(path, "path") ?: "", "/agent/"),
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
        kind = kind_of(ret_attributes->group, ret_attributes->resource);
        if (!kind)
                return;
        ret_attributes->group = kind->group;
        ret_attributes->hidden = kind->hidden;
        ret_attributes->internal = kind->internal;
}

static void answer_access(struct call *call, struct json_doc *doc)
{
        struct json_value *root = json_root(doc), *status;
        struct auth_attributes attributes;
        struct auth_decision decision;

        attributes_of(json_get(root, "spec"), &attributes);
        auth_authorise(call->identity, &attributes, &decision);
        status = json_set(doc, root, "status", json_new(doc, JSON_OBJECT));
        json_set_bool(doc, status, "allowed", decision.allowed);
        if (!decision.allowed)
                json_set_string(doc, status, "reason", decision.reason);
}

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

static bool may(const struct call *call, const struct auth_attributes *attributes)
{
        struct auth_decision decision;

        auth_authorise(call->identity, attributes, &decision);
        return decision.allowed;
}

static void answer_rules(struct call *call, struct json_doc *doc)
{
        static const char *const star[] = {"*", NULL}, *const create[] = {"create", NULL}, *const get[] = {"get", NULL};
        static const char *const authorization[] = {"authorization.k8s.io", NULL};
        static const char *const open[] = {"/api",     "/api/*",     "/apis",   "/apis/*",  "/healthz", "/livez",
                                           "/openapi", "/openapi/*", "/readyz", "/version", NULL};
        struct json_value *status = json_set(doc, json_root(doc), "status", json_new(doc, JSON_OBJECT)), *resources, *paths, *rule;

        resources = json_ensure_array(doc, status, "resourceRules");
        paths = json_ensure_array(doc, status, "nonResourceRules");
        if (may(call, &(struct auth_attributes){.verb = "*", .group = "*", .resource = "*"})) {
                rule = add_rule(doc, resources, star);
                add_strings(doc, rule, "apiGroups", star);
                add_strings(doc, rule, "resources", star);
                add_strings(doc, add_rule(doc, paths, star), "nonResourceURLs", star);
        }
        rule = add_rule(doc, resources, create);
        add_strings(doc, rule, "apiGroups", authorization);
        add_strings(doc, rule, "resources", plurals);
        add_strings(doc, add_rule(doc, paths, get), "nonResourceURLs", open);
        json_set_bool(doc, status, "incomplete", false);
}

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
        GString *answer;

        if (!doc)
                return;
        if (!json_is(json_root(doc), JSON_OBJECT)) {
                call_refuse_words(call, 400, "the body of a review must be an object");
                return;
        }
        if (strcmp(call->attributes.resource, plurals[0]) == 0)
                answer_access(call, doc);
        else
                answer_rules(call, doc);
        answer = g_string_new(NULL);
        json_write(json_root(doc), answer);
        call_reply_text(call, 201, answer);
}

static void on_too_large(struct http_request *request, void *userdata)
{
        call_refuse_words(userdata, 413, "the body of the request is too large");
}

void review_begin(struct call *call, const char *plural)
{
        const char *type = http_request_header(call->request, "Content-Type");

        assert(call && plural);
        if (strcmp(http_request_method(call->request), "POST") != 0) {
                call_refuse_words(call, 405, "a review is asked for by POST");
                return;
        }
        if (type && !is_protobuf(call->request) && !g_str_has_prefix(type, "application/json")) {
                call_refuse_words(call, 415, "a review must be JSON");
                return;
        }
        http_request_body_whole(call->request, 64u << 10, on_body, on_too_large);
}
