/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "auth/auth.h"
#include "schema/schema.h"
#include "json/json.h"

/*
 * The compiled policy: roles and bindings as decisions need them. Pure data: whoever owns it tells it of every role and binding as
 * it is now; a decision looks only at what is bound to the user and its groups, for the namespace and for the cluster.
 *
 * A binding may name a role that does not exist (yet): it gives nothing until the role comes.
 */
struct auth_policy;

/** auth_policy_new() - nobody may anything. */
struct auth_policy *auth_policy_new(void);
/** auth_policy_free() - NULL is accepted. */
struct auth_policy *auth_policy_free(struct auth_policy *policy);
AUTOPTR(auth_policy, auth_policy_free);

/** auth_policy_set_role() - a Role (@namespace) or ClusterRole (NULL) as it is now; @object NULL: gone. */
void auth_policy_set_role(struct auth_policy *policy, const char *namespace, const char *name, const struct json_value *object);
/** auth_policy_set_binding() - a RoleBinding (@namespace) or ClusterRoleBinding (NULL) as it is now; @object NULL: gone. */
void auth_policy_set_binding(struct auth_policy *policy, const char *namespace, const char *name, const struct json_value *object);
/** auth_policy_count_bindings() - how many it knows. */
size_t auth_policy_count_bindings(const struct auth_policy *policy);

/* Who is given what by which binding; texts live until the policy changes. */
struct auth_grant {
        const char *binding_namespace; /* NULL: a ClusterRoleBinding */
        const char *binding;
        const char *role_namespace; /* NULL: a ClusterRole */
        const char *role;
        const char *subject_kind; /* "User" or "Group"; service accounts are users */
        const char *subject;
};
/** auth_grant_words() - "RBAC: allowed by RoleBinding ..."; g_free(). */
char *auth_grant_words(const struct auth_grant *grant);

/**
 * auth_policy_allows() - whether a role gives @identity what @attributes say
 *
 * Only what roles give: not what administrators and every authenticated caller have (auth_authorise()). A "*" in the attributes is
 * given by a "*" alone. Hidden kinds are given by a rule that names the resource, or that allows everything.
 */
bool auth_policy_allows(struct auth_policy *policy, const struct auth_identity *identity, const struct auth_attributes *attributes,
                        struct auth_grant *ret_grant);

/** auth_policy_namespaces() - where @identity is given by a RoleBinding what @attributes say, sorted; g_ptr_array_unref(). */
GPtrArray *auth_policy_namespaces(struct auth_policy *policy, const struct auth_identity *identity,
                                  const struct auth_attributes *attributes);

/** auth_policy_each_rule() - every rule that @identity has in @namespace (NULL: in the cluster only), as in the roles. */
void auth_policy_each_rule(struct auth_policy *policy, const struct auth_identity *identity, const char *namespace,
                           void (*each)(const struct json_value *rule, void *userdata), void *userdata);

/** auth_policy_who_can() - every subject that is given what @attributes say. */
void auth_policy_who_can(struct auth_policy *policy, const struct auth_attributes *attributes,
                         void (*each)(const struct auth_grant *grant, void *userdata), void *userdata);

/** auth_policy_role_rules() - the rules of a role, an aggregated one's as they come together, as an array of borrowed values;
 *  NULL when there is no such role. g_ptr_array_unref(). */
GPtrArray *auth_policy_role_rules(struct auth_policy *policy, const char *namespace, const char *name);
/** auth_policy_each_aggregated() - every ClusterRole with an aggregationRule and the rules it comes to. */
void auth_policy_each_aggregated(struct auth_policy *policy, void (*each)(const char *name, const GPtrArray *rules, void *userdata),
                                 void *userdata);
/** auth_policy_aggregates() - the same for one object that is not stored yet; g_ptr_array_unref(). */
GPtrArray *auth_policy_aggregates(struct auth_policy *policy, const struct json_value *cluster_role);

/* One line of rights that somebody lacks. */
struct auth_missing {
        size_t rule; /* index of the rule that wants it */
        char *words; /* "get, list secrets", "update nodes/kvm \"host-1\"" */
};
/**
 * auth_policy_missing() - what of @rules (JSON, as in roles) @identity does not have itself in @namespace (NULL: in the cluster)
 *
 * Return: an array that owns struct auth_missing, empty when nothing is missing. Administrators lack nothing.
 */
GPtrArray *auth_policy_missing(struct auth_policy *policy, const struct auth_identity *identity, const char *namespace,
                               const GPtrArray *rules);

/** auth_kind_of() - the kind that a group (also an alias group) and plural mean, or NULL. */
const struct schema_kind *auth_kind_of(const char *group, const char *plural);
/** auth_attributes_of_kind() - complete attributes whose group and resource came from a caller: the canonical group, and whether
 * the kind is hidden or internal. */
void auth_attributes_of_kind(struct auth_attributes *attributes);
