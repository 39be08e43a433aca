/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/policy.h"
#include "auth/policy_match.h"
#include "base/limits.h"

#include <assert.h>
#include <string.h>

/* Who is known by these groups without a binding's saying so. */
#define GROUP_AUTHENTICATED "system:authenticated"

struct role {
        char *namespace; /* NULL: a ClusterRole */
        char *name;
        unsigned bindings;    /* that name it */
        struct json_doc *doc; /* NULL: it does not exist */
        GPtrArray *rules;     /* struct match_rule, those it comes to; borrowed from the documents of the roles they stand in */
        GPtrArray *own;       /* struct match_rule, those that stand in it */
        uint64_t visit;       /* of the last decision that looked at it */
        uint64_t gathered;    /* of the last aggregation that took it */
};

struct binding {
        char *namespace; /* NULL: a ClusterRoleBinding */
        char *name;
        struct role *role;
        struct json_doc *doc;
};

/* Everything that one user or group is given. */
struct subject {
        GHashTable *given; /* namespace, "" for the cluster -> array of struct binding */
};

struct auth_policy {
        GHashTable *roles;    /* key -> struct role */
        GHashTable *bindings; /* key -> struct binding */
        GHashTable *users;    /* name -> struct subject */
        GHashTable *groups;
        uint64_t visit; /* grows with every walk */
        bool stale;     /* what aggregated roles come to */
};

/* --- life
 * ---------------------------------------------------------------------------------------------------------------------------- */

static char *key_of(const char *namespace, const char *name)
{
        return g_strconcat(namespace ?: "", "/", name, NULL);
}

static void role_free(void *data)
{
        struct role *role = data;

        g_free(role->namespace);
        g_free(role->name);
        g_ptr_array_unref(role->rules);
        g_ptr_array_unref(role->own);
        json_doc_free(role->doc);
        g_free(role);
}

static void binding_free(void *data)
{
        struct binding *binding = data;

        g_free(binding->namespace);
        g_free(binding->name);
        json_doc_free(binding->doc);
        g_free(binding);
}

static void subject_free(void *data)
{
        struct subject *subject = data;

        g_hash_table_unref(subject->given);
        g_free(subject);
}

static void unref_array(void *data)
{
        g_ptr_array_unref(data);
}

struct auth_policy *auth_policy_new(void)
{
        struct auth_policy *policy = g_new0(struct auth_policy, 1);

        policy->roles = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, role_free);
        policy->bindings = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, binding_free);
        policy->users = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, subject_free);
        policy->groups = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, subject_free);
        return policy;
}

struct auth_policy *auth_policy_free(struct auth_policy *policy)
{
        if (!policy)
                return NULL;
        g_hash_table_unref(policy->users);
        g_hash_table_unref(policy->groups);
        g_hash_table_unref(policy->bindings);
        g_hash_table_unref(policy->roles);
        g_free(policy);
        return NULL;
}

size_t auth_policy_count_bindings(const struct auth_policy *policy)
{
        assert(policy);
        return g_hash_table_size(policy->bindings);
}

/* --- roles
 * --------------------------------------------------------------------------------------------------------------------------- */

static struct role *role_at(struct auth_policy *policy, const char *namespace, const char *name)
{
        char *key = key_of(namespace, name);
        struct role *role = g_hash_table_lookup(policy->roles, key);

        if (role) {
                g_free(key);
                return role;
        }
        role = g_new0(struct role, 1);
        role->namespace = g_strdup(namespace);
        role->name = g_strdup(name);
        role->rules = g_ptr_array_new();
        role->own = g_ptr_array_new_with_free_func(match_rule_free);
        g_hash_table_insert(policy->roles, key, role);
        return role;
}

/* A role that does not exist and that no binding names is forgotten. */
static void role_release(struct auth_policy *policy, struct role *role)
{
        g_autofree char *key = NULL;

        if (role->doc || role->bindings)
                return;
        key = key_of(role->namespace, role->name);
        g_hash_table_remove(policy->roles, key);
}

static const struct json_value *aggregation_of(const struct json_value *object)
{
        const struct json_value *aggregation = json_get(object, "aggregationRule");

        return json_is(aggregation, JSON_OBJECT) ? aggregation : NULL;
}

static void take_own(struct role *role)
{
        g_ptr_array_set_size(role->rules, 0);
        g_ptr_array_set_size(role->own, 0);
        for (const struct json_value *rule = json_first(json_get(json_root_const(role->doc), "rules")); rule;
             rule = json_next(rule)) {
                struct match_rule *compiled = match_rule_new(rule);

                g_ptr_array_add(role->own, compiled);
                g_ptr_array_add(role->rules, compiled);
        }
}

void auth_policy_set_role(struct auth_policy *policy, const char *namespace, const char *name, const struct json_value *object)
{
        struct role *role;

        assert(policy && name);
        role = role_at(policy, namespace, name);
        policy->stale |= !namespace;
        /* What came from this role into others goes before the document it is borrowed from. */
        g_ptr_array_set_size(role->rules, 0);
        g_ptr_array_set_size(role->own, 0);
        role->doc = json_doc_free(role->doc);
        if (object) {
                role->doc = json_doc_new();
                json_set_root(role->doc, json_copy(role->doc, object));
                if (namespace || !aggregation_of(object))
                        take_own(role);
        }
        role_release(policy, role);
}

/* The rules that @aggregation chooses, those of chosen roles that aggregate themselves included; each role once. */
static void gather(struct auth_policy *policy, const struct json_value *aggregation, unsigned depth, GPtrArray *rules)
{
        GHashTableIter iter;
        void *value;

        g_hash_table_iter_init(&iter, policy->roles);
        while (depth > 0 && g_hash_table_iter_next(&iter, NULL, &value)) {
                struct role *role = value;
                const struct json_value *root = role->doc ? json_root_const(role->doc) : NULL;

                if (!root || role->namespace || role->gathered == policy->visit ||
                    !match_aggregates(aggregation, json_find(root, "metadata", "labels", NULL)))
                        continue;
                role->gathered = policy->visit;
                if (aggregation_of(root))
                        gather(policy, aggregation_of(root), depth - 1, rules);
                for (guint i = 0; i < role->own->len; i++)
                        g_ptr_array_add(rules, role->own->pdata[i]);
        }
}

static gint compare_rules(gconstpointer a, gconstpointer b)
{
        const struct match_rule *const *one = a, *const *other = b;
        g_autofree char *text = json_to_text((*one)->json), *other_text = json_to_text((*other)->json);

        return strcmp(text, other_text);
}

/* In an order that does not depend on hashes: what is written back must not differ from turn to turn. */
static void gather_sorted(struct auth_policy *policy, const struct json_value *aggregation, GPtrArray *rules)
{
        g_ptr_array_set_size(rules, 0);
        policy->visit++;
        gather(policy, aggregation, LIMIT_ROLE_AGGREGATION, rules);
        g_ptr_array_sort(rules, compare_rules);
}

static void refresh(struct auth_policy *policy)
{
        GHashTableIter iter;
        void *value;

        if (!policy->stale)
                return;
        policy->stale = false;
        g_hash_table_iter_init(&iter, policy->roles);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
                struct role *role = value;
                const struct json_value *aggregation =
                        role->doc && !role->namespace ? aggregation_of(json_root_const(role->doc)) : NULL;

                if (aggregation)
                        gather_sorted(policy, aggregation, role->rules);
        }
}

/* --- bindings
 * ------------------------------------------------------------------------------------------------------------------------ */

/* Where a subject of a binding is indexed, and its name there; NULL: it names nobody. */
static GHashTable *index_of(struct auth_policy *policy, const struct json_value *subject, char **ret_name)
{
        const char *kind = json_find_string(subject, "kind", NULL), *name = json_find_string(subject, "name", NULL);
        const char *namespace = json_find_string(subject, "namespace", NULL);

        if (!kind || !name)
                return NULL;
        if (strcmp(kind, "ServiceAccount") == 0) {
                *ret_name = namespace ? g_strdup_printf("system:serviceaccount:%s:%s", namespace, name) : NULL;
                return namespace ? policy->users : NULL;
        }
        *ret_name = g_strdup(name);
        return strcmp(kind, "Group") == 0 ? policy->groups : policy->users;
}

static void give(GHashTable *index, const char *name, struct binding *binding)
{
        struct subject *subject = g_hash_table_lookup(index, name);
        const char *namespace = binding->namespace ?: "";
        GPtrArray *given;

        if (!subject) {
                subject = g_new0(struct subject, 1);
                subject->given = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, unref_array);
                g_hash_table_insert(index, g_strdup(name), subject);
        }
        given = g_hash_table_lookup(subject->given, namespace);
        if (!given) {
                given = g_ptr_array_new();
                g_hash_table_insert(subject->given, g_strdup(namespace), given);
        }
        if (!g_ptr_array_find(given, binding, NULL))
                g_ptr_array_add(given, binding);
}

static void take_back(GHashTable *index, const char *name, struct binding *binding)
{
        struct subject *subject = g_hash_table_lookup(index, name);
        const char *namespace = binding->namespace ?: "";
        GPtrArray *given = subject ? g_hash_table_lookup(subject->given, namespace) : NULL;

        if (!given)
                return; /* the binding names the subject twice */
        g_ptr_array_remove_fast(given, binding);
        if (given->len == 0)
                g_hash_table_remove(subject->given, namespace);
        if (g_hash_table_size(subject->given) == 0)
                g_hash_table_remove(index, name);
}

static void each_subject(struct auth_policy *policy, struct binding *binding,
                         void (*each)(GHashTable *index, const char *name, struct binding *binding))
{
        const struct json_value *subjects = json_get(json_root_const(binding->doc), "subjects");

        for (const struct json_value *subject = json_first(subjects); subject; subject = json_next(subject)) {
                g_autofree char *name = NULL;
                GHashTable *index = index_of(policy, subject, &name);

                if (index)
                        each(index, name, binding);
        }
}

static void binding_remove(struct auth_policy *policy, const char *key)
{
        struct binding *binding = g_hash_table_lookup(policy->bindings, key);

        if (!binding)
                return;
        each_subject(policy, binding, take_back);
        binding->role->bindings--;
        role_release(policy, binding->role);
        g_hash_table_remove(policy->bindings, key);
}

void auth_policy_set_binding(struct auth_policy *policy, const char *namespace, const char *name, const struct json_value *object)
{
        const char *role = json_find_string(object, "roleRef", "name", NULL),
                   *kind = json_find_string(object, "roleRef", "kind", NULL);
        g_autofree char *key = NULL;
        struct binding *binding;

        assert(policy && name);
        key = key_of(namespace, name);
        binding_remove(policy, key);
        if (!role)
                return;
        binding = g_new0(struct binding, 1);
        binding->namespace = g_strdup(namespace);
        binding->name = g_strdup(name);
        binding->role = role_at(policy, g_strcmp0(kind, "Role") == 0 ? namespace : NULL, role);
        binding->role->bindings++;
        binding->doc = json_doc_new();
        json_set_root(binding->doc, json_copy(binding->doc, object));
        each_subject(policy, binding, give);
        g_hash_table_insert(policy->bindings, g_steal_pointer(&key), binding);
}

/* --- decisions
 * ----------------------------------------------------------------------------------------------------------------------- */

/* A walk over what an identity is given; @each returns true to end it. */
struct walk {
        struct auth_policy *policy;
        const char *subject_kind, *subject; /* where it is */
        bool (*each)(struct walk *walk, const struct binding *binding);
        const struct auth_attributes *attributes;
        struct auth_grant *ret_grant;
        void (*each_rule)(const struct json_value *rule, void *userdata);
        void *userdata;
};

static bool walk_given(struct walk *walk, const struct subject *subject, const char *namespace)
{
        const GPtrArray *given = g_hash_table_lookup(subject->given, namespace);

        for (guint i = 0; given && i < given->len; i++) {
                struct binding *binding = given->pdata[i];

                if (binding->role->visit == walk->policy->visit)
                        continue;
                binding->role->visit = walk->policy->visit;
                if (walk->each(walk, binding))
                        return true;
        }
        return false;
}

static bool walk_subject(struct walk *walk, GHashTable *index, const char *name, const char *namespace)
{
        const struct subject *subject = g_hash_table_lookup(index, name);

        if (!subject)
                return false;
        walk->subject_kind = index == walk->policy->users ? "User" : "Group";
        walk->subject = name;
        return walk_given(walk, subject, "") || (namespace && *namespace && walk_given(walk, subject, namespace));
}

/* Nodes and strangers have no roles. */
static bool walk_identity(struct walk *walk, const struct auth_identity *identity, const char *namespace)
{
        struct auth_policy *policy = walk->policy;

        if (identity->kind != AUTH_USER)
                return false;
        refresh(policy);
        policy->visit++;
        if (walk_subject(walk, policy->users, identity->user, namespace))
                return true;
        for (char **group = identity->groups; group && *group; group++)
                if (walk_subject(walk, policy->groups, *group, namespace))
                        return true;
        return walk_subject(walk, policy->groups, GROUP_AUTHENTICATED, namespace);
}

static bool role_gives(const struct role *role, const struct auth_attributes *attributes)
{
        for (guint i = 0; i < role->rules->len; i++)
                if (match_rule_allows(role->rules->pdata[i], attributes))
                        return true;
        return false;
}

static struct auth_grant grant_of(const struct binding *binding, const char *subject_kind, const char *subject)
{
        return (struct auth_grant){.binding_namespace = binding->namespace,
                                   .binding = binding->name,
                                   .role_namespace = binding->role->namespace,
                                   .role = binding->role->name,
                                   .subject_kind = subject_kind,
                                   .subject = subject};
}

/* Paths are of the cluster: a RoleBinding to a ClusterRole that names some gives none. */
static bool binding_gives(const struct binding *binding, const struct auth_attributes *attributes)
{
        return (attributes->resource || !binding->namespace) && role_gives(binding->role, attributes);
}

static bool decide(struct walk *walk, const struct binding *binding)
{
        if (!binding_gives(binding, walk->attributes))
                return false;
        if (walk->ret_grant)
                *walk->ret_grant = grant_of(binding, walk->subject_kind, walk->subject);
        return true;
}

bool auth_policy_allows(struct auth_policy *policy, const struct auth_identity *identity, const struct auth_attributes *attributes,
                        struct auth_grant *ret_grant)
{
        struct walk walk = {.policy = policy, .each = decide, .attributes = attributes, .ret_grant = ret_grant};

        assert(policy && identity && attributes && attributes->verb);
        return walk_identity(&walk, identity, attributes->resource ? attributes->namespace : NULL);
}

char *auth_grant_words(const struct auth_grant *grant)
{
        assert(grant && grant->binding);
        return g_strdup_printf("RBAC: allowed by %s \"%s%s%s\" of %s \"%s\" to %s \"%s\"",
                               grant->binding_namespace ? "RoleBinding" : "ClusterRoleBinding", grant->binding,
                               grant->binding_namespace ? "/" : "", grant->binding_namespace ?: "",
                               grant->role_namespace ? "Role" : "ClusterRole", grant->role, grant->subject_kind, grant->subject);
}

/* --- lists of rights
 * ------------------------------------------------------------------------------------------------------------------ */

static void add_namespaces(const struct subject *subject, const struct auth_attributes *attributes, GHashTable *found)
{
        GHashTableIter iter;
        void *namespace, *value;

        g_hash_table_iter_init(&iter, subject->given);
        while (g_hash_table_iter_next(&iter, &namespace, &value)) {
                const GPtrArray *given = value;

                for (guint i = 0; i < given->len && *(const char *)namespace; i++)
                        if (binding_gives(given->pdata[i], attributes))
                                g_hash_table_add(found, namespace);
        }
}

static gint compare_texts(gconstpointer a, gconstpointer b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *auth_policy_namespaces(struct auth_policy *policy, const struct auth_identity *identity,
                                  const struct auth_attributes *attributes)
{
        g_autoptr(GHashTable) found = g_hash_table_new(g_str_hash, g_str_equal);
        GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
        const struct subject *subject;
        GHashTableIter iter;
        void *name;

        assert(policy && identity && attributes);
        refresh(policy);
        subject = identity->kind == AUTH_USER ? g_hash_table_lookup(policy->users, identity->user) : NULL;
        if (subject)
                add_namespaces(subject, attributes, found);
        for (char **group = identity->kind == AUTH_USER ? identity->groups : NULL; group && *group; group++) {
                subject = g_hash_table_lookup(policy->groups, *group);
                if (subject)
                        add_namespaces(subject, attributes, found);
        }
        g_hash_table_iter_init(&iter, found);
        while (g_hash_table_iter_next(&iter, &name, NULL))
                g_ptr_array_add(names, g_strdup(name));
        g_ptr_array_sort(names, compare_texts);
        return names;
}

static bool tell_rules(struct walk *walk, const struct binding *binding)
{
        for (guint i = 0; i < binding->role->rules->len; i++) {
                const struct match_rule *rule = binding->role->rules->pdata[i];

                if (!rule->paths || !binding->namespace)
                        walk->each_rule(rule->json, walk->userdata);
        }
        return false;
}

void auth_policy_each_rule(struct auth_policy *policy, const struct auth_identity *identity, const char *namespace,
                           void (*each)(const struct json_value *rule, void *userdata), void *userdata)
{
        struct walk walk = {.policy = policy, .each = tell_rules, .each_rule = each, .userdata = userdata};

        assert(policy && identity && each);
        walk_identity(&walk, identity, namespace);
}

static void who_can(GHashTable *index, const char *kind, const struct auth_attributes *attributes,
                    void (*each)(const struct auth_grant *grant, void *userdata), void *userdata)
{
        const char *const places[] = {"", attributes->namespace, NULL};
        GHashTableIter iter;
        void *name, *value;

        g_hash_table_iter_init(&iter, index);
        while (g_hash_table_iter_next(&iter, &name, &value)) {
                const struct subject *subject = value;

                for (const char *const *place = places; *place; place++) {
                        const GPtrArray *given = g_hash_table_lookup(subject->given, *place);

                        for (guint i = 0; given && i < given->len; i++) {
                                struct auth_grant grant = grant_of(given->pdata[i], kind, name);

                                if (binding_gives(given->pdata[i], attributes))
                                        each(&grant, userdata);
                        }
                }
        }
}

void auth_policy_who_can(struct auth_policy *policy, const struct auth_attributes *attributes,
                         void (*each)(const struct auth_grant *grant, void *userdata), void *userdata)
{
        assert(policy && attributes && each);
        refresh(policy);
        who_can(policy->users, "User", attributes, each, userdata);
        who_can(policy->groups, "Group", attributes, each, userdata);
}

/* Rules as they stand in documents. */
static GPtrArray *documents_of(const GPtrArray *rules)
{
        GPtrArray *documents = g_ptr_array_sized_new(rules->len);

        for (guint i = 0; i < rules->len; i++)
                g_ptr_array_add(documents, (void *)((const struct match_rule *)rules->pdata[i])->json);
        return documents;
}

GPtrArray *auth_policy_role_rules(struct auth_policy *policy, const char *namespace, const char *name)
{
        g_autofree char *key = NULL;
        const struct role *role;

        assert(policy && name);
        refresh(policy);
        key = key_of(namespace, name);
        role = g_hash_table_lookup(policy->roles, key);
        return role && role->doc ? documents_of(role->rules) : NULL;
}

void auth_policy_each_aggregated(struct auth_policy *policy, void (*each)(const char *name, const GPtrArray *rules, void *userdata),
                                 void *userdata)
{
        GHashTableIter iter;
        void *value;

        assert(policy && each);
        refresh(policy);
        g_hash_table_iter_init(&iter, policy->roles);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
                const struct role *role = value;
                g_autoptr(GPtrArray) rules = NULL;

                if (!role->doc || role->namespace || !aggregation_of(json_root_const(role->doc)))
                        continue;
                rules = documents_of(role->rules);
                each(role->name, rules, userdata);
        }
}

GPtrArray *auth_policy_aggregates(struct auth_policy *policy, const struct json_value *cluster_role)
{
        g_autoptr(GPtrArray) rules = g_ptr_array_new();

        assert(policy && aggregation_of(cluster_role));
        gather_sorted(policy, aggregation_of(cluster_role), rules);
        return documents_of(rules);
}
