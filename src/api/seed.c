/* SPDX-License-Identifier: Apache-2.0 */
#include "api/call.h"
#include "api/object.h"
#include "auth/roles.h"
#include "base/limits.h"

#include <assert.h>
#include <string.h>

/* Built-in roles: made, and made again as they shall be, unless an annotation says to leave them. */

static const char *const members[] = {"aggregationRule", "rules", "subjects", "roleRef", NULL};

static bool is_left_alone(const struct store_object *object)
{
        return g_strcmp0(json_find_string(object->root, "metadata", "annotations", ANNOTATION_KEEP_ROLE, NULL), "false") == 0 ||
               object_is_deleting(object->root);
}

/* Labels and annotations that somebody added stay. */
static bool mend_pairs(struct json_doc *doc, const char *member, const struct json_value *wanted)
{
        struct json_value *pairs = json_ensure_object(doc, json_get(json_root(doc), "metadata"), member);
        bool changed = false;

        for (const struct json_value *pair = json_first(wanted); pair; pair = json_next(pair)) {
                if (g_strcmp0(json_find_string(pairs, json_key(pair), NULL), json_string(pair, "")) == 0)
                        continue;
                json_set_string(doc, pairs, json_key(pair), json_string(pair, ""));
                changed = true;
        }
        return changed;
}

/* The rules of an aggregated role are the gateway's; all else is as it shall be. */
static bool mend(struct json_doc *doc, const struct json_value *wanted)
{
        bool changed = mend_pairs(doc, "labels", json_find(wanted, "metadata", "labels", NULL));

        changed |= mend_pairs(doc, "annotations", json_find(wanted, "metadata", "annotations", NULL));
        for (const char *const *member = members; *member; member++) {
                const struct json_value *value = json_get(wanted, *member);

                if ((strcmp(*member, "rules") == 0 && json_get(wanted, "aggregationRule")) ||
                    (!value && !json_get(json_root(doc), *member)) || json_equal(json_get(json_root(doc), *member), value))
                        continue;
                if (value)
                        json_set(doc, json_root(doc), *member, json_copy(doc, value));
                else
                        json_remove(json_root(doc), *member);
                changed = true;
        }
        return changed;
}

/* The operation that makes @built_in what it shall be; false when it is. */
static bool operation_for(struct api *api, struct auth_built_in *built_in, struct store_op *ret_op)
{
        const struct object_source source = {.clock = api->options.clock, .random = api->options.random};
        autostoreobject there = store_get_newest(api->options.store, built_in->kind, NULL, built_in->name);
        g_autoptr(json_doc) doc = json_doc_new();

        *ret_op = (struct store_op){.verb = STORE_CREATE, .kind = built_in->kind, .name = built_in->name};
        json_set_root(doc, json_copy(doc, there ? there->root : json_root_const(built_in->doc)));
        if (there) {
                if (is_left_alone(there) || !mend(doc, json_root_const(built_in->doc)))
                        return false;
                ret_op->verb = STORE_UPDATE;
                ret_op->expect_revision = there->revision;
        } else {
                object_begin(built_in->kind, &source, doc, NULL);
        }
        ret_op->doc = g_steal_pointer(&doc);
        return true;
}

int api_make_roles(struct api *api)
{
        g_autoptr(GPtrArray) built_in = auth_built_in_roles();
        g_autofree struct store_op *ops = g_new0(struct store_op, built_in->len);
        struct store_txn txn = {.ops = ops, .actor = {.user = "gateway/bootstrap", .client = "gateway/bootstrap"}};

        assert(api && built_in->len <= LIMIT_STORE_TXN_OPS);
        for (guint i = 0; i < built_in->len; i++)
                txn.n_ops += operation_for(api, built_in->pdata[i], &ops[txn.n_ops]);
        return txn.n_ops ? store_commit(api->options.store, &txn, NULL, NULL, NULL) : 0;
}
