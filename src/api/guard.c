/* SPDX-License-Identifier: Apache-2.0 */
#include "api/guard.h"
#include "api/access.h"
#include "base/limits.h"
#include "generated/api_types.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define RBAC_GROUP "rbac.authorization.k8s.io"

static void refuse(struct call *call, const char *why, const struct schema_faults *faults)
{
        g_autofree char *resource = target_resource_text(&call->target), *message = NULL;
        const char *name = call->target.name;

        message = g_strdup_printf("%s %s%s%sis forbidden: %s", resource, name ? "\"" : "", name ?: "", name ? "\" " : "", why);
        call_refuse(call, &(struct refusal){.code = 403, .message = message, .faults = faults});
}

/* --- no escalation
 * --------------------------------------------------------------------------------------------------------------------- */

static char *words_of(const struct call *call, const GPtrArray *missing)
{
        GString *words = g_string_new(NULL);

        g_string_append_printf(
                words, "user \"%.128s\" is attempting to grant RBAC permissions not currently held: ", call->identity->user);
        for (guint i = 0; i < MIN(missing->len, LIMIT_FAULTS); i++)
                g_string_append_printf(words, "%s%s", i ? "; " : "", ((const struct auth_missing *)missing->pdata[i])->words);
        if (missing->len > LIMIT_FAULTS)
                g_string_append_printf(words, "; and %u more", missing->len - LIMIT_FAULTS);
        return g_string_free(words, FALSE);
}

/* Everything at once: each line of rights is a cause. */
static void refuse_missing(struct call *call, const GPtrArray *missing, const char *field)
{
        g_autoptr(schema_faults) faults = schema_faults_new();
        g_autofree char *words = words_of(call, missing);

        for (guint i = 0; i < missing->len; i++) {
                const struct auth_missing *entry = missing->pdata[i];
                g_autofree char *place = field ? g_strdup(field) : g_strdup_printf("rules[%zu]", entry->rule);

                schema_faults_add(faults, place, REASON_FORBIDDEN, "Forbidden: you may not %s yourself", entry->words);
        }
        refuse(call, words, faults);
}

static bool has_all(struct call *call, const GPtrArray *rules, const char *namespace, const char *field)
{
        g_autoptr(GPtrArray) missing = auth_policy_missing(access_policy(call->api->access), call->identity, namespace, rules);

        if (missing->len == 0)
                return true;
        refuse_missing(call, missing, field);
        return false;
}

static bool may_on_role(struct call *call, const char *verb, const char *resource, const char *namespace, const char *name)
{
        return access_allows(
                call, &(struct auth_attributes){
                              .verb = verb, .group = RBAC_GROUP, .resource = resource, .namespace = namespace, .name = name});
}

static bool same(const struct json_value *object, const struct json_value *other, const char *const *path)
{
        for (; *path; path++) {
                object = json_get(object, *path);
                other = json_get(other, *path);
        }
        return (!object && !other) || json_equal(object, other);
}

/* Whether a role means the same as before, to itself and to roles that aggregate it. */
static bool means_the_same(const struct store_object *base, const struct json_value *root)
{
        static const char *const rules[] = {"rules", NULL}, *const aggregation[] = {"aggregationRule", NULL};
        static const char *const labels[] = {"metadata", "labels", NULL};

        return base && same(base->root, root, rules) && same(base->root, root, aggregation) && same(base->root, root, labels);
}

/* A role that others extend later is the right to everything. */
static bool may_aggregate(struct call *call)
{
        static const char everything[] = "[{\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"verbs\":[\"*\"]},"
                                         "{\"nonResourceURLs\":[\"*\"],\"verbs\":[\"*\"]}]";
        g_autoptr(GPtrArray) rules = g_ptr_array_new();
        g_autoptr(json_doc) doc = NULL;
        int r = json_parse(everything, sizeof(everything) - 1, &doc, NULL);

        assert(r == 0);
        for (struct json_value *rule = json_first(json_root(doc)); rule; rule = json_next(rule))
                g_ptr_array_add(rules, rule);
        return has_all(call, rules, NULL, "aggregationRule");
}

static bool allows_role(struct call *call, const struct store_object *base, const struct json_value *root)
{
        g_autoptr(GPtrArray) rules = g_ptr_array_new();
        const struct target *target = &call->target;

        if (means_the_same(base, root) || may_on_role(call, "escalate", target->kind->plural, target->namespace, target->name))
                return true;
        if (json_get(root, "aggregationRule"))
                return may_aggregate(call);
        for (const struct json_value *rule = json_first(json_get(root, "rules")); rule; rule = json_next(rule))
                g_ptr_array_add(rules, (void *)rule);
        return has_all(call, rules, target->namespace, NULL);
}

static bool allows_binding(struct call *call, const struct store_object *base, const struct json_value *root)
{
        static const char *const subjects[] = {"subjects", NULL}, *const reference[] = {"roleRef", NULL};
        const char *namespace = call->target.namespace, *name = json_find_string(root, "roleRef", "name", NULL);
        bool cluster_role = g_strcmp0(json_find_string(root, "roleRef", "kind", NULL), "Role") != 0;
        const char *resource = cluster_role ? "clusterroles" : "roles";
        g_autoptr(GPtrArray) rules = NULL;

        if ((base && same(base->root, root, subjects) && same(base->root, root, reference)) ||
            may_on_role(call, "bind", resource, namespace, name))
                return true;
        rules = auth_policy_role_rules(access_policy(call->api->access), cluster_role ? NULL : namespace, name);
        if (rules)
                return has_all(call, rules, namespace, "roleRef");
        call_refuse_words(call, 404, "%s." RBAC_GROUP " \"%s\" not found: only who may bind it can bind a role that does not exist",
                          resource, name);
        return false;
}

/* --- operations
 * ------------------------------------------------------------------------------------------------------------------------ */

/* "ForceOff" is asked for as virtualmachineoperations/forceoff, with the machine's name as the name. */
static struct auth_attributes typed_attributes(const struct call *call, const char *lower_type, const char *machine)
{
        return (struct auth_attributes){.verb = "create",
                                        .group = call->target.kind->group,
                                        .resource = call->target.kind->plural,
                                        .subresource = lower_type,
                                        .namespace = call->target.namespace,
                                        .name = machine,
                                        .any_name = !machine};
}

static const char *const *types_of_operations(void)
{
        for (const struct schema_field *field = api_virtual_machine_operation_spec_type.fields; field->name; field++)
                if (strcmp(field->name, "type") == 0)
                        return field->enumeration;
        return NULL;
}

bool guard_may_read_body(struct call *call)
{
        assert(call);
        if (call->target.kind != &api_virtual_machine_operation_kind || call->target.subresource || !call->target.namespace ||
            strcmp(call->attributes.verb, "create") != 0)
                return false;
        for (const char *const *type = types_of_operations(); type && *type; type++) {
                g_autofree char *lower = g_ascii_strdown(*type, -1);
                struct auth_attributes attributes = typed_attributes(call, lower, NULL);

                if (access_allows(call, &attributes))
                        return true;
        }
        return false;
}

/* What an operation does beside what its own right says: a redeploy loses what disks hold, a clone reads machine and disks and
 * makes others. */
static const struct {
        const char *lower_type, *verb;
        const struct schema_kind *kind;
} also[] = {
        {"redeploy", "delete", &api_virtual_disk_kind}, {"clone", "get", &api_virtual_machine_kind},
        {"clone", "get", &api_virtual_disk_kind},       {"clone", "create", &api_virtual_machine_kind},
        {"clone", "create", &api_virtual_disk_kind},
};

static bool has_also(struct call *call, const char *lower_type)
{
        for (size_t i = 0; i < G_N_ELEMENTS(also); i++) {
                struct auth_attributes attributes = {.verb = also[i].verb,
                                                     .group = also[i].kind->group,
                                                     .resource = also[i].kind->plural,
                                                     .namespace = call->target.namespace,
                                                     .name = ""};
                struct auth_decision decision;

                if (strcmp(also[i].lower_type, lower_type) != 0)
                        continue;
                auth_authorise(access_policy(call->api->access), call->identity, &attributes, &decision);
                if (!decision.allowed) {
                        refuse(call, decision.reason, NULL);
                        return false;
                }
        }
        return true;
}

static bool allows_operation(struct call *call, const struct store_object *base, const struct json_value *root)
{
        g_autofree char *lower = g_ascii_strdown(json_find_string(root, "spec", "type", NULL) ?: "", -1);
        const char *machine = json_find_string(root, "spec", "virtualMachineName", NULL);
        struct auth_attributes attributes = typed_attributes(call, NULL, NULL);
        struct auth_decision decision;

        attributes.any_name = false;
        if (!base && !has_also(call, lower))
                return false;
        if (base || access_allows(call, &attributes))
                return true;
        attributes = typed_attributes(call, lower, machine ?: "");
        auth_authorise(access_policy(call->api->access), call->identity, &attributes, &decision);
        if (!decision.allowed)
                refuse(call, decision.reason, NULL);
        return decision.allowed;
}

/* --- images
 * ------------------------------------------------------------------------------------------------------------------------ */

/* An image of a disk is the disk's content in other hands, and so is an image for all of one of a project. */
static bool allows_image(struct call *call, const struct store_object *base, const struct json_value *root)
{
        const struct json_value *reference = json_find(root, "spec", "dataSource", "objectRef", NULL);
        const char *kind = json_find_string(reference, "kind", NULL), *namespace = call->target.namespace;
        bool disk = g_strcmp0(kind, "VirtualDisk") == 0, image = !namespace && g_strcmp0(kind, "VirtualImage") == 0;
        const struct schema_kind *source = disk ? &api_virtual_disk_kind : &api_virtual_image_kind;
        struct auth_attributes attributes = {.verb = "get",
                                             .group = source->group,
                                             .resource = source->plural,
                                             .namespace = namespace ? namespace : json_find_string(reference, "namespace", NULL),
                                             .name = json_find_string(reference, "name", NULL)};
        struct auth_decision decision;

        if (base || !(disk || image) || !attributes.namespace || !attributes.name)
                return true;
        auth_authorise(access_policy(call->api->access), call->identity, &attributes, &decision);
        if (!decision.allowed)
                refuse(call, decision.reason, NULL);
        return decision.allowed;
}

/* --- the table
 * ----------------------------------------------------------------------------------------------------------------------- */

static const struct {
        const struct schema_kind *kind;
        bool (*allows)(struct call *call, const struct store_object *base, const struct json_value *root);
} guards[] = {
        {&api_role_kind, allows_role},
        {&api_cluster_role_kind, allows_role},
        {&api_role_binding_kind, allows_binding},
        {&api_cluster_role_binding_kind, allows_binding},
        {&api_virtual_machine_operation_kind, allows_operation},
        {&api_virtual_image_kind, allows_image},
        {&api_cluster_virtual_image_kind, allows_image},
};

/* What is made by another verb than create (a server-side apply) needs the right to create as well. */
static bool may_create(struct call *call)
{
        struct auth_attributes attributes = call->attributes;
        struct auth_decision decision;

        if (strcmp(attributes.verb, "create") == 0)
                return true;
        attributes.verb = "create";
        auth_authorise(access_policy(call->api->access), call->identity, &attributes, &decision);
        if (!decision.allowed)
                refuse(call, decision.reason, NULL);
        return decision.allowed;
}

bool guard_allows(struct call *call, const struct store_object *base, const struct json_doc *doc)
{
        assert(call && call->target.kind && doc);
        if (!base && !may_create(call))
                return false;
        for (size_t i = 0; i < G_N_ELEMENTS(guards); i++)
                if (guards[i].kind == call->target.kind)
                        return guards[i].allows(call, base, json_root_const(doc));
        return true;
}
