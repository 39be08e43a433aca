/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "gateway/resumable.h"
#include "gateway/tus.h"
#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

/*
 * What agents send of disks that images are made of: uploads in pieces like any other, but that a HostTask stands in the place of
 * the token and of the secret address. The node that the task is bound to, and no other, may make one upload for the image that the
 * task works for, ask how far it is, and go on with it. The file is judged as every file that comes from outside.
 */

#define PREFIX "/agent/v1/exports/"

struct shipment {
        struct resumable *resumable;
        const struct store_object *task, *image; /* image NULL: it is gone, or another one */
        char *mark;                              /* of an upload of this very task, in its record */
};

static void shipment_clear(struct shipment *shipment)
{
        store_object_unref(shipment->task);
        store_object_unref(shipment->image);
        g_free(shipment->mark);
}

static const struct schema_kind *kind_of(const char *name)
{
        return g_strcmp0(name, api_cluster_virtual_image_kind.kind) == 0 ? &api_cluster_virtual_image_kind
               : g_strcmp0(name, api_virtual_image_kind.kind) == 0       ? &api_virtual_image_kind
                                                                         : NULL;
}

/* The image that the task works for. */
static const struct store_object *find_image(const struct gateway *gateway, const struct store_object *task)
{
        const struct json_value *owner = json_find(task->root, "spec", "owner", NULL);
        const struct schema_kind *kind = kind_of(json_find_string(owner, "kind", NULL));
        const char *name = json_find_string(owner, "name", NULL);
        autostoreobject image =
                kind && name ? store_get_newest(gateway->store, kind, json_find_string(owner, "namespace", NULL), name) : NULL;

        if (!image || g_strcmp0(image->uid, json_find_string(owner, "uid", NULL)) != 0)
                return NULL;
        return g_steal_pointer(&image);
}

static const char *why_not(const struct shipment *shipment)
{
        const struct json_value *source = shipment->image ? json_find(shipment->image->root, "spec", "dataSource", NULL) : NULL;

        if (g_strcmp0(json_find_string(shipment->task->root, "spec", "type", NULL), "ExportVolume") != 0)
                return "the task sends nothing";
        if (json_find(shipment->task->root, "metadata", "deletionTimestamp", NULL) || !shipment->image ||
            json_find(shipment->image->root, "metadata", "deletionTimestamp", NULL))
                return "nobody wants it any more";
        if (g_strcmp0(json_find_string(source, "objectRef", "kind", NULL), "VirtualDisk") != 0)
                return "the image is not made of a disk";
        return NULL;
}

static struct half *find_half(const struct shipment *shipment)
{
        struct half *half = g_hash_table_lookup(shipment->resumable->by_object, shipment->image->uid);

        return half && g_strcmp0(half->metadata, shipment->mark) == 0 ? half : NULL;
}

static void begin(const struct shipment *shipment, struct http_request *request, const struct auth_identity *identity)
{
        struct gateway *gateway = shipment->resumable->gateway;
        const char *sha256 = http_request_query(request, "sha256");
        struct upload_grant grant = {.kind = shipment->image->kind};

        if (tus_parse_number(http_request_header(request, "Upload-Length"), &grant.size_bytes) < 0 || grant.size_bytes == 0 ||
            !sha256 || strlen(sha256) != 64 || strspn(sha256, "0123456789abcdef") != 64) {
                api_reply_status(request, 400, "BadRequest", "Upload-Length and sha256 are needed", NULL);
                return;
        }
        if (grant.size_bytes > LIMIT_IMAGE_BYTES) {
                api_reply_status(request, 413, "RequestEntityTooLarge", "the file is larger than any image may be", NULL);
                return;
        }
        upload_grant_new_id(gateway->random, &grant);
        g_strlcpy(grant.sha256, sha256, sizeof(grant.sha256));
        grant.namespace = g_strdup(shipment->image->namespace);
        grant.name = g_strdup(shipment->image->name);
        grant.uid = g_strdup(shipment->image->uid);
        grant.identity = auth_identity_copy(identity);
        grant.expires_us = clock_real_us(gateway->clock) + LIMIT_UPLOAD_TOKEN_US;
        half_begin(shipment->resumable, request, &grant, shipment->mark);
        upload_grant_clear(&grant);
}

/* How it ended, or that it was not begun. */
static void answer_without(const struct shipment *shipment, struct http_request *request)
{
        const struct json_value *ingest = json_find(shipment->image->root, "status", "ingest", NULL);
        const char *words = json_find_string(ingest, "error", "message", NULL);

        if (json_get(ingest, "digest")) {
                http_reply_header(request, "Upload-Complete", "?1");
                http_reply(request, 200, NULL, NULL, 0);
        } else if (words) {
                api_reply_status(request, 422, "Invalid", words, NULL);
        } else {
                api_reply_status(request, 404, "NotFound", "it was not begun", NULL);
        }
}

static void serve(const struct shipment *shipment, struct http_request *request, const struct auth_identity *identity)
{
        const char *method = http_request_method(request), *refusal = why_not(shipment);
        struct half *half = refusal ? NULL : find_half(shipment);
        bool over = !refusal && (json_find(shipment->image->root, "status", "ingest", "digest", NULL) ||
                                 json_find(shipment->image->root, "status", "ingest", "error", NULL));

        if (refusal)
                api_reply_status(request, 409, "Conflict", refusal, NULL);
        else if (half)
                half_enter(half, request, strcmp(method, "GET") == 0 ? "HEAD" : method);
        else if (!over && strcmp(method, "POST") == 0)
                begin(shipment, request, identity);
        else
                answer_without(shipment, request);
}

static void handle(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        struct resumable *resumable = userdata;
        struct shipment shipment = {.resumable = resumable,
                                    .task = gateway_bound_intent(resumable->gateway, request, identity, &api_host_task_kind, rest)};

        if (!shipment.task)
                return;
        shipment.image = find_image(resumable->gateway, shipment.task);
        shipment.mark = g_strconcat("task ", shipment.task->uid, NULL);
        serve(&shipment, request, identity);
        shipment_clear(&shipment);
}

void half_exports_init(struct resumable *resumable)
{
        static const char *const methods[] = {"GET", "POST", "PATCH"};

        assert(resumable);
        for (size_t i = 0; i < G_N_ELEMENTS(methods); i++) {
                const struct api_route route = {
                        .method = methods[i], .prefix = PREFIX, .nodes_only = true, .handle = handle, .userdata = resumable};

                api_add_route(resumable->gateway->api, &route);
        }
}
