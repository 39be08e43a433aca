/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/bootstrap.h"
#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "controllers/controllers.h"
#include "generated/api_types.h"

#include <string.h>
#include <unistd.h>

#define ADMIN_USER  "gabbro:admin"
#define ADMIN_GROUP "gabbro:administrators"

/* --- waiting for durable writes: there is no one else on the loop yet
 * -------------------------------------------------------------------- */

struct waiting {
        int pending, result;
};

static void on_done(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct waiting *waiting = userdata;

        waiting->pending--;
        if (result < 0)
                waiting->result = result;
}

static int wait_all(struct gateway *gateway, struct waiting *waiting)
{
        while (waiting->pending > 0) {
                int r = loop_run_once(gateway->loop, UINT64_MAX);
                if (r < 0)
                        return r;
        }
        return waiting->result;
}

/* --- objects of a new installation ----------------------------------------------------------------------------------------------
 */

static int create_objects(struct gateway *gateway, const struct controllers_defaults *defaults, char **reterr_words)
{
        int r = controllers_bootstrap(gateway->store, gateway->clock, gateway->random, defaults);

        if (r)
                *reterr_words = g_strdup("cannot write the first objects");
        else if ((r = api_make_roles(gateway->api)) != 0)
                *reterr_words = g_strdup("cannot write the built-in roles");
        return error_fold(r);
}

/* --- the administrator
 * ------------------------------------------------------------------------------------------------------------------------ */

struct token_list {
        GPtrArray *names;
};

static bool add_admin_token(const struct store_object *object, void *userdata)
{
        struct token_list *list = userdata;

        if (g_strcmp0(json_find_string(object->root, "spec", "type", NULL), "Admin") == 0)
                g_ptr_array_add(list->names, g_strdup(object->name));
        return true;
}

static GPtrArray *admin_tokens(struct gateway *gateway)
{
        struct token_list list = {.names = g_ptr_array_new_with_free_func(g_free)};

        store_list(gateway->store, &api_token_kind, NULL, NULL, add_admin_token, &list);
        return list.names;
}

static void named_list(struct json_doc *doc, struct json_value *root, const char *list, const char *member,
                       struct json_value *content)
{
        struct json_value *entry = json_append(json_ensure_array(doc, root, list), json_new(doc, JSON_OBJECT));

        json_set_string(doc, entry, "name", g_str_equal(member, "user") ? "admin" : "gabbro");
        json_set(doc, entry, member, content);
}

static char *kubeconfig_text(struct gateway *gateway, const char *token)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        const char *pem = auth_ca_pem(gateway->ca);
        g_autofree char *ca = g_base64_encode((const guchar *)pem, strlen(pem));

        json_set_string(doc, root, "apiVersion", "v1");
        json_set_string(doc, root, "kind", "Config");
        struct json_value *cluster = json_new(doc, JSON_OBJECT);
        json_set_string(doc, cluster, "server", gateway->url);
        json_set_string(doc, cluster, "certificate-authority-data", ca);
        named_list(doc, root, "clusters", "cluster", cluster);
        struct json_value *user = json_new(doc, JSON_OBJECT);
        json_set_string(doc, user, "token", token);
        named_list(doc, root, "users", "user", user);
        struct json_value *context = json_new(doc, JSON_OBJECT);
        json_set_string(doc, context, "cluster", "gabbro");
        json_set_string(doc, context, "user", "admin");
        json_set_string(doc, context, "namespace", "default");
        named_list(doc, root, "contexts", "context", context);
        json_set_string(doc, root, "current-context", "gabbro");
        GString *text = g_string_new(NULL);
        json_write_yaml(root, text);
        return g_string_free(text, FALSE);
}

static struct json_doc *admin_document(const struct auth_token_text *token)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", "gabbro.dev/v1");
        json_set_string(doc, root, "kind", "Token");
        json_ensure_object(doc, root, "metadata");
        struct json_value *spec = json_ensure_object(doc, root, "spec");
        json_set_string(doc, spec, "type", "Admin");
        json_set_string(doc, spec, "hash", token->hash);
        json_set_string(doc, spec, "user", ADMIN_USER);
        struct json_value *groups = json_ensure_array(doc, spec, "groups");
        json_append(groups, json_new_string(doc, ADMIN_GROUP));
        return doc;
}

/* Former tokens go, as many as fit into a transaction with @room others; the rest is left in @former. */
static size_t revoke_some(GPtrArray *former, struct store_op *ops, size_t room)
{
        size_t n = 0;

        for (; n < room && n < former->len; n++)
                ops[n] = (struct store_op){
                        .verb = STORE_DELETE, .kind = &api_token_kind, .name = former->pdata[former->len - 1 - n]};
        return n;
}

/* All former tokens go and the new one comes; it comes with the last of them, so that a kill in between leaves none that is not
 * known to anybody. */
static int replace_admin_token(struct gateway *gateway, const struct auth_token_text *token)
{
        g_autoptr(GPtrArray) former = admin_tokens(gateway);
        struct objects_target target = {.kind = &api_token_kind, .name = token->id, .actor = "gateway/bootstrap"};
        g_autofree struct store_op *ops = g_new0(struct store_op, LIMIT_STORE_TXN_OPS);
        bool last = false;

        while (!last) {
                struct waiting waiting = {.pending = 1};
                size_t n = revoke_some(former, ops, LIMIT_STORE_TXN_OPS - 1), revoked = n;

                last = n == former->len;
                if (last) {
                        ops[n] = (struct store_op){
                                .verb = STORE_CREATE, .kind = target.kind, .name = target.name, .doc = admin_document(token)};
                        objects_stamp(gateway, &target, ops[n++].doc);
                }
                struct store_txn txn = {
                        .ops = ops, .n_ops = n, .actor = {.user = target.actor, .client = target.actor, .verb = "create"}};
                int r = store_commit(gateway->store, &txn, on_done, &waiting, NULL);
                r = r ? error_fold(r) : wait_all(gateway, &waiting);
                if (r < 0)
                        return r;
                g_ptr_array_set_size(former, (int)(former->len - revoked));
        }
        return 0;
}

int bootstrap_admin_reset(struct gateway *gateway, char **reterr_words)
{
        g_autofree char *path = g_build_filename(gateway->data_dir, "admin.kubeconfig", NULL);
        struct auth_token_text token = {};

        int r = auth_token_generate(gateway->random, "gbt1", NULL, &token);
        if (r == 0)
                r = replace_admin_token(gateway, &token);
        if (r == 0) {
                g_autofree char *text = kubeconfig_text(gateway, token.text);
                /* Whole or not at all: one that is there is taken for good by the next start. */
                r = file_write_atomic(path, text, strlen(text), 0600);
                explicit_bzero(text, strlen(text));
        }
        auth_token_text_clear(&token);
        if (r < 0)
                *reterr_words = g_strdup_printf("cannot make %s: %s", path, g_strerror(-r));
        return r;
}

int bootstrap_run(struct gateway *gateway, const struct controllers_defaults *defaults, char **reterr_words)
{
        g_autofree char *path = g_build_filename(gateway->data_dir, "admin.kubeconfig", NULL);
        g_autoptr(GPtrArray) tokens = admin_tokens(gateway);

        int r = create_objects(gateway, defaults, reterr_words);
        if (r < 0)
                return r;
        if (tokens->len > 0 && access(path, F_OK) == 0)
                return 0;
        return bootstrap_admin_reset(gateway, reterr_words);
}
