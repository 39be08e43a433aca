/* SPDX-License-Identifier: Apache-2.0 */
#include "api/access.h"
#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

struct hook {
        void (*changed)(void *userdata);
        void *userdata;
};

struct access {
        struct api *api;
        struct auth_policy *policy;
        struct store_watch *watch;
        struct loop_source *settle; /* what follows from a change, once for a burst of them */
        GArray *hooks;              /* struct hook */
};

static const struct schema_kind *const role_kinds[] = {&api_role_kind, &api_cluster_role_kind, NULL};
static const struct schema_kind *const binding_kinds[] = {&api_role_binding_kind, &api_cluster_role_binding_kind, NULL};

static bool is_role(const struct schema_kind *kind)
{
        return kind == role_kinds[0] || kind == role_kinds[1];
}

static bool is_binding(const struct schema_kind *kind)
{
        return kind == binding_kinds[0] || kind == binding_kinds[1];
}

static void take(struct access *access, const struct store_object *object, bool gone)
{
        (is_role(object->kind) ? auth_policy_set_role : auth_policy_set_binding)(access->policy, object->namespace, object->name,
                                                                                 gone ? NULL : object->root);
}

static void on_event(const struct store_event *event, void *userdata)
{
        struct access *access = userdata;

        if (!event)
                return;
        if (is_role(event->object->kind) || is_binding(event->object->kind))
                take(access, event->object, event->verb == STORE_DELETE);
        else if (event->verb == STORE_CREATE || (event->verb == STORE_UPDATE && event->object->kind == &api_token_kind))
                return; /* a new credential takes nothing away; what a token is good for never changes, that it was used is often
                           noted */
        loop_defer_set(access->settle, true);
}

/* --- rules of aggregated roles
 * ------------------------------------------------------------------------------------------------------- */

static bool rules_are(const struct json_value *stored, const GPtrArray *rules)
{
        const struct json_value *rule = json_first(stored);

        if (json_length(stored) != rules->len)
                return false;
        for (guint i = 0; i < rules->len; i++, rule = json_next(rule))
                if (!json_equal(rule, rules->pdata[i]))
                        return false;
        return true;
}

/* What the policy goes by is written where people look for it. A conflict means that a newer version comes, and with it this. */
static void write_rules(const char *name, const GPtrArray *rules, void *userdata)
{
        struct access *access = userdata;
        struct store *store = access->api->options.store;
        autostoreobject object = store_get_newest(store, &api_cluster_role_kind, NULL, name);
        struct store_op op = {.verb = STORE_UPDATE, .kind = &api_cluster_role_kind, .name = name, .doc = json_doc_new()};
        struct store_txn txn = {
                .ops = &op, .n_ops = 1, .actor = {.user = "controller/roles", .client = "controller/roles", .verb = "update"}};
        struct json_value *list;

        if (!object || rules_are(json_get(object->root, "rules"), rules)) {
                json_doc_free(op.doc);
                return;
        }
        op.expect_revision = object->revision;
        json_set_root(op.doc, json_copy(op.doc, object->root));
        list = json_set(op.doc, json_root(op.doc), "rules", json_new(op.doc, JSON_ARRAY));
        for (guint i = 0; i < rules->len; i++)
                json_append(list, json_copy(op.doc, rules->pdata[i]));
        (void)store_commit(store, &txn, NULL, NULL, NULL);
}

static void on_settle(struct loop_source *source, void *userdata)
{
        struct access *access = userdata;

        auth_policy_each_aggregated(access->policy, write_rules, access);
        for (guint i = 0; i < access->hooks->len; i++) {
                const struct hook *hook = &g_array_index(access->hooks, struct hook, i);

                hook->changed(hook->userdata);
        }
}

/* --- life
 * ---------------------------------------------------------------------------------------------------------------------------- */

static bool take_first(const struct store_object *object, void *userdata)
{
        take(userdata, object, false);
        return true;
}

struct access *access_new(struct api *api)
{
        static const struct schema_kind *const kinds[] = {&api_role_kind,
                                                          &api_cluster_role_kind,
                                                          &api_role_binding_kind,
                                                          &api_cluster_role_binding_kind,
                                                          &api_token_kind,
                                                          &api_node_identity_kind,
                                                          &api_user_kind,
                                                          &api_password_kind,
                                                          &api_service_account_kind,
                                                          NULL};
        struct access *access = g_new0(struct access, 1);
        struct store *store = api->options.store;

        assert(api);
        access->api = api;
        access->policy = auth_policy_new();
        access->hooks = g_array_new(FALSE, FALSE, sizeof(struct hook));
        for (size_t i = 0; i < 2; i++) {
                store_list(store, role_kinds[i], NULL, NULL, take_first, access);
                store_list(store, binding_kinds[i], NULL, NULL, take_first, access);
        }
        if (loop_defer(api->options.loop, on_settle, access, &access->settle) < 0 ||
            store_watch(store, kinds, store_revision(store), on_event, access, &access->watch) != 0)
                return access_free(access);
        return access;
}

struct access *access_free(struct access *access)
{
        if (!access)
                return NULL;
        store_watch_free(access->watch);
        loop_source_free(access->settle);
        auth_policy_free(access->policy);
        g_array_unref(access->hooks);
        g_free(access);
        return NULL;
}

struct auth_policy *access_policy(struct access *access)
{
        assert(access);
        return access->policy;
}

void access_on_change(struct access *access, void (*changed)(void *userdata), void *userdata)
{
        struct hook hook = {.changed = changed, .userdata = userdata};

        assert(access && changed);
        g_array_append_val(access->hooks, hook);
}

bool access_allows(struct call *call, const struct auth_attributes *attributes)
{
        struct auth_decision decision;

        assert(call && call->identity && attributes);
        auth_authorise(access_policy(call->api->access), call->identity, attributes, &decision);
        return decision.allowed;
}

/* --- what the rest of the program asks
 * ------------------------------------------------------------------------------------------------- */

bool api_may(struct api *api, const struct auth_identity *identity, const struct auth_attributes *attributes)
{
        struct auth_decision decision;

        assert(api && identity && attributes);
        if (!identity_still_valid(&api->identities, identity))
                return false;
        auth_authorise(access_policy(api->access), identity, attributes, &decision);
        return decision.allowed;
}

void api_on_rights_changed(struct api *api, void (*changed)(void *userdata), void *userdata)
{
        assert(api);
        access_on_change(api->access, changed, userdata);
}
