/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/graphics.h"
#include "base/limits.h"
#include "gateway/gateway.h"
#include "generated/api_types.h"

#include <inttypes.h>
#include <string.h>

/*
 * The password of a machine's screen: virtualmachines/graphicspassword, a right of its own. "get" reads it, "create" makes a new
 * one; the Secret is the only place that it is kept in, and the host follows it. The host that an Instance is bound to reads it,
 * too.
 */

static const struct store_object *secret_of(struct gateway *gateway, const char *namespace, const char *machine_uid)
{
        g_autofree char *name = graphics_secret_name(machine_uid);

        return store_get(gateway->store, &api_secret_kind, namespace, name);
}

/* Wiped where it stood: what is left is a document of its own. */
static void set_password(struct json_doc *doc, struct json_value *object, const char *base64)
{
        gsize len = 0;
        guchar *bytes = g_base64_decode(base64, &len);
        char text[GRAPHICS_PASSWORD_CHARACTERS + 1] = "";

        memcpy(text, bytes, MIN(len, sizeof(text) - 1));
        json_set_string(doc, object, "password", text);
        explicit_bzero(text, sizeof(text));
        explicit_bzero(bytes, len);
        g_free(bytes);
}

static void set_version(struct json_doc *doc, struct json_value *object, const struct store_object *secret)
{
        char version[32];

        g_snprintf(version, sizeof(version), "%" PRIu64, secret->revision);
        json_set_string(doc, object, "version", version);
}

static const char *password_of(const struct store_object *secret)
{
        const char *base64 = json_find_string(secret->root, "data", GRAPHICS_PASSWORD_KEY, NULL);

        return graphics_password_fits(base64) ? base64 : NULL;
}

static void answer(struct http_request *request, struct json_value *root)
{
        GString *text = g_string_sized_new(1024); /* at once: growing would leave copies behind */

        json_write(root, text);
        http_reply_header(request, "Cache-Control", "no-store");
        http_reply(request, 200, "application/json", text->str, text->len);
        explicit_bzero(text->str, text->len);
        g_string_free(text, TRUE);
}

/* --- hosts --- */

static void handle_agent(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        struct gateway *gateway = userdata;
        autostoreobject instance = gateway_bound_intent(gateway, request, identity, &api_instance_kind, rest);
        const struct json_value *machine;

        if (!instance)
                return;
        machine = json_find(instance->root, "spec", "machine", NULL);
        bool wanted = json_find(instance->root, "spec", "graphicsPort", NULL) &&
                      !json_find(instance->root, "metadata", "deletionTimestamp", NULL);
        autostoreobject secret = wanted ? secret_of(gateway, json_find_string(machine, "namespace", NULL) ?: "",
                                                    json_find_string(machine, "uid", NULL) ?: "")
                                        : NULL;
        if (!secret || !password_of(secret)) {
                api_reply_status(request, 404, "NotFound", "the screen of the instance has no password", NULL);
                return;
        }
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        set_password(doc, root, password_of(secret));
        set_version(doc, root, secret);
        answer(request, root);
}

/* --- users --- */

static void refuse_without(struct http_request *request)
{
        api_reply_status(request, 409, "Conflict",
                         "the screen of the machine has no password: it listens for TCP only when spec.graphics.listen is TCP",
                         NULL);
}

static struct json_value *describe(struct json_doc *doc, const struct store_object *machine, const struct store_object *secret)
{
        static const char *const places[] = {"protocol", "address", "port", NULL};
        const struct json_value *graphics = json_find(machine->root, "status", "graphics", NULL);
        struct json_value *root = json_new(doc, JSON_OBJECT);
        const char *has = json_find_string(graphics, "passwordVersion", NULL);
        char version[32];

        for (size_t i = 0; places[i]; i++)
                if (json_get(graphics, places[i]))
                        json_set(doc, root, places[i], json_copy(doc, json_get(graphics, places[i])));
        g_snprintf(version, sizeof(version), "%" PRIu64, secret->revision);
        set_password(doc, root, password_of(secret));
        set_version(doc, root, secret);
        json_set_bool(doc, root, "set", g_strcmp0(has, version) == 0); /* on the running machine */
        return root;
}

static void handle_read(struct http_request *request, const struct auth_identity *identity, const struct store_object *object,
                        void *userdata)
{
        struct gateway *gateway = userdata;
        autostoreobject secret = secret_of(gateway, object->namespace, object->uid);

        if (!secret) {
                refuse_without(request);
                return;
        }
        if (!password_of(secret)) {
                api_reply_status(request, 409, "Conflict",
                                 "the Secret of the screen holds no password of 1 to 8 printable characters; make a new one", NULL);
                return;
        }
        g_autoptr(json_doc) doc = json_doc_new();
        answer(request, describe(doc, object, secret));
}

struct rotation {
        struct gateway *gateway;
        struct slot *slot;
        const struct store_object *machine;
        char *user;
};

static void rotation_free(void *userdata)
{
        struct rotation *rotation = userdata;

        store_object_unref(rotation->machine);
        g_free(rotation->user);
        g_free(rotation);
}

static enum objects_edit replace(struct json_doc *doc, struct json_value *root, void *userdata)
{
        const struct rotation *rotation = userdata;
        char *password = graphics_password_make(rotation->gateway->random);

        json_set_string(doc, json_ensure_object(doc, root, "data"), GRAPHICS_PASSWORD_KEY, password);
        explicit_bzero(password, strlen(password));
        g_free(password);
        return OBJECTS_CHANGED;
}

static void on_written(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct rotation *rotation = userdata;
        struct http_request *request = rotation->slot->request;

        if (request && result < 0) {
                gateway_reply_lost(request, result);
        } else if (request && n_objects > 0) {
                g_autoptr(json_doc) doc = json_doc_new();

                answer(request, describe(doc, rotation->machine, objects[0]));
        }
        slot_finish(rotation->slot);
        rotation_free(rotation);
}

static void on_body(struct http_request *request, const char *body, size_t len, void *userdata)
{
        struct rotation *rotation = slot_take(userdata);
        g_autofree char *name = graphics_secret_name(rotation->machine->uid);
        const struct objects_target target = {
                .kind = &api_secret_kind, .namespace = rotation->machine->namespace, .name = name, .actor = rotation->user};
        int r = objects_edit(rotation->gateway, &target, replace, rotation, on_written, rotation);

        if (r == 0)
                return;
        if (r == OBJECTS_E_NOT_FOUND && rotation->slot->request) {
                refuse_without(rotation->slot->request);
                slot_finish(rotation->slot);
        } else {
                slot_answer_outcome(rotation->slot, r);
        }
        rotation_free(rotation);
}

static void handle_rotate(struct http_request *request, const struct auth_identity *identity, const struct store_object *object,
                          void *userdata)
{
        struct rotation *rotation = g_new0(struct rotation, 1);

        rotation->gateway = userdata;
        rotation->machine = store_object_ref(object);
        rotation->user = g_strdup(identity->user);
        rotation->slot = slot_new(request, rotation, rotation_free);
        http_request_body_whole(request, LIMIT_HTTP_BODY_BYTES, on_body, NULL);
}

void graphics_init(struct gateway *gateway)
{
        const struct api_route agent = {
                .method = "GET", .prefix = "/agent/v1/graphics/", .nodes_only = true, .handle = handle_agent, .userdata = gateway};
        const struct {
                const char *method, *verb;
                void (*handle)(struct http_request *request, const struct auth_identity *identity,
                               const struct store_object *object, void *userdata);
        } deeds[] = {{"GET", "get", handle_read}, {"POST", "create", handle_rotate}};

        for (size_t i = 0; i < G_N_ELEMENTS(deeds); i++)
                api_add_subresource(gateway->api, &(struct api_subresource){.kind = &api_virtual_machine_kind,
                                                                            .name = "graphicspassword",
                                                                            .method = deeds[i].method,
                                                                            .verb = deeds[i].verb,
                                                                            .handle = deeds[i].handle,
                                                                            .userdata = gateway});
        api_add_route(gateway->api, &agent);
}
