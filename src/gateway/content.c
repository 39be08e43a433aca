/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/names.h"
#include "gateway/blobs.h"
#include "gateway/gateway.h"
#include "generated/api_types.h"

#include <fcntl.h>
#include <string.h>

/* --- seeds: user data of one Instance, resolved now, for the node that it is bound to
 * ------------------------------------------------- */

/* Base64 of the user data of a machine, from its spec or its Secret; NULL when there is none (any more). */
static char *seed_content(struct gateway *gateway, const struct store_object *vm, bool sysprep)
{
        const struct json_value *provisioning = json_find(vm->root, "spec", "provisioning", NULL);
        const char *type = json_find_string(provisioning, "type", NULL);

        if (g_strcmp0(type, "UserData") == 0) {
                const char *text = json_find_string(provisioning, "userData", NULL);
                return text ? g_base64_encode((const guchar *)text, strlen(text)) : NULL;
        }
        const char *name = json_find_string(provisioning, sysprep ? "sysprepRef" : "userDataRef", "name", NULL);
        autostoreobject secret = name ? store_get(gateway->store, &api_secret_kind, vm->namespace, name) : NULL;
        if (!secret)
                return NULL;
        static const char *const cloud_init_keys[] = {"userData", "userdata", NULL};
        static const char *const sysprep_keys[] = {"unattend.xml", "autounattend.xml", NULL};
        const char *const *keys = sysprep ? sysprep_keys : cloud_init_keys;
        for (size_t i = 0; keys[i]; i++) {
                const char *value = json_find_string(secret->root, "data", keys[i], NULL);
                if (value)
                        return g_strdup(value);
        }
        return NULL;
}

static void handle_seed(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        struct gateway *gateway = userdata;
        autostoreobject instance = gateway_bound_intent(gateway, request, identity, &api_instance_kind, rest);

        if (!instance)
                return;
        const struct json_value *machine = json_find(instance->root, "spec", "machine", NULL);
        const struct json_value *seed = json_find(instance->root, "spec", "seed", NULL);
        autostoreobject vm =
                store_get(gateway->store, &api_virtual_machine_kind, json_find_string(machine, "namespace", NULL) ?: "",
                          json_find_string(machine, "name", NULL) ?: "");
        bool sysprep = g_strcmp0(json_find_string(seed, "kind", NULL), "Sysprep") == 0;
        bool deleted = json_find(instance->root, "metadata", "deletionTimestamp", NULL) != NULL;
        bool same = vm && g_strcmp0(vm->uid, json_find_string(machine, "uid", NULL)) == 0;
        g_autofree char *content = seed && same && !deleted ? seed_content(gateway, vm, sysprep) : NULL;
        if (!content) {
                api_reply_status(request, 404, "NotFound", "the instance has no seed", NULL);
                return;
        }
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        json_set_string(doc, root, "kind", sysprep ? "Sysprep" : "CloudInit");
        json_set_string(doc, root, "userData", content);
        struct json_value *meta = json_ensure_object(doc, root, "metaData");
        json_set_string(doc, meta, "instance-id", json_find_string(seed, "instanceId", NULL));
        json_set_string(doc, meta, "local-hostname", json_find_string(seed, "hostname", NULL));
        json_set_string(doc, root, "digest", json_find_string(seed, "digest", NULL));
        http_reply_header(request, "Cache-Control", "no-store");
        gateway_reply_json(request, 200, root);
}

/* --- blobs: bytes of an image that one of the caller's volumes is made from
 * ------------------------------------------------------------ */

struct blob_query {
        const char *node;
        const char *digest;
        bool found;
};

static bool names_blob(const struct store_object *volume, void *userdata)
{
        struct blob_query *query = userdata;

        if (g_strcmp0(json_find_string(volume->root, "spec", "nodeName", NULL), query->node) == 0 &&
            g_strcmp0(json_find_string(volume->root, "spec", "source", "digest", NULL), query->digest) == 0)
                query->found = true;
        return !query->found;
}

static void handle_blob(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        struct gateway *gateway = userdata;
        struct blob_query query = {.node = identity->node, .digest = rest};

        store_list(gateway->store, &api_volume_kind, NULL, NULL, names_blob, &query);
        int fd = query.found ? blobs_open(gateway->blobs, rest) : -ENOENT;
        if (fd < 0) {
                api_reply_status(request, 404, "NotFound", "no volume of this node is made from this image", NULL);
                return;
        }
        http_reply_file(request, "application/octet-stream", fd);
}

void content_init(struct gateway *gateway)
{
        const struct api_route routes[] = {
                {.method = "GET", .prefix = "/agent/v1/seed/", .nodes_only = true, .handle = handle_seed, .userdata = gateway},
                {.method = "GET", .prefix = "/agent/v1/blobs/", .nodes_only = true, .handle = handle_blob, .userdata = gateway},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(routes); i++)
                api_add_route(gateway->api, &routes[i]);
}
