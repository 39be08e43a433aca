/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gateway.h"

#include "base/error.h"
#include "base/limits.h"
#include "base/log.h"

/*
 * Hosts that move machines between them show each other certificates of an authority of its own: whoever holds one may speak to
 * another host's libvirt and send memory to its QEMU, which a user's or a gateway's certificate must never be good for.
 */

#define FOLDER     "pki/hosts"
#define BODY_BYTES (64u << 10)

struct request_of {
        struct gateway *gateway;
        struct slot *slot;
        char *node, *csr;
        char **names;
        struct auth_certificate certificate;
};

static void free_request(void *userdata)
{
        struct request_of *asked = userdata;

        auth_certificate_clear(&asked->certificate);
        g_strfreev(asked->names);
        g_free(asked->csr);
        g_free(asked->node);
        g_free(asked);
}

/* Making the authority takes long the first time, and two hosts may be the first. */
static int open_authority(struct gateway *gateway)
{
        static GMutex lock;
        g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&lock);
        g_autofree char *folder = g_build_filename(gateway->data_dir, FOLDER, NULL);

        return gateway->migration_ca ? 0 : auth_ca_open(folder, gateway->clock, &gateway->migration_ca);
}

static int sign_work(void *userdata)
{
        struct request_of *asked = userdata;
        int r = open_authority(asked->gateway);

        if (r < 0)
                return r;
        return error_fold(auth_ca_sign_node(asked->gateway->migration_ca, asked->csr, asked->node,
                                            (const char *const *)asked->names, &asked->certificate));
}

static void sign_done(int result, void *userdata)
{
        struct request_of *asked = userdata;
        struct http_request *request = asked->slot->request;

        if (request && result == -EINVAL) {
                api_reply_status(request, 422, "Invalid", "the certificate request is not valid", NULL);
        } else if (request && result < 0) {
                api_reply_status(request, 500, "InternalError", "the certificate could not be made", NULL);
        } else if (request) {
                g_autoptr(json_doc) doc = json_doc_new();
                struct json_value *root = json_new(doc, JSON_OBJECT);

                json_set_string(doc, root, "certificate", asked->certificate.certificate_pem);
                json_set_string(doc, root, "ca", auth_ca_pem(asked->gateway->migration_ca));
                gateway_reply_json(request, 200, root);
        }
        if (result < 0)
                log_warning("no certificate for migrations was made", "node", asked->node, "error", g_strerror(-result));
        else
                log_info("certificate for migrations issued", "node", asked->node, "serial", asked->certificate.serial);
        slot_finish(asked->slot);
        free_request(asked);
}

static void on_body(struct http_request *request, const char *body, size_t len, void *userdata)
{
        struct request_of *asked = slot_take(userdata);
        g_autoptr(json_doc) doc = gateway_body_json(request, body, len);
        const char *csr = doc ? json_find_string(json_root(doc), "csr", NULL) : NULL;

        if (doc && !csr)
                api_reply_status(request, 422, "Invalid", "csr is missing", NULL);
        if (!csr) {
                slot_finish(asked->slot);
                free_request(asked);
                return;
        }
        asked->csr = g_strdup(csr);
        asked->names = join_certificate_names(asked->gateway, asked->node, json_get(json_root(doc), "addresses"));
        loop_pool_submit(asked->gateway->pool, sign_work, sign_done, asked);
}

static void handle(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        struct request_of *asked = g_new0(struct request_of, 1);

        asked->gateway = userdata;
        asked->node = g_strdup(identity->node);
        asked->slot = slot_new(request, asked, free_request);
        http_request_body_whole(request, BODY_BYTES, on_body, NULL);
}

void migration_certificates_init(struct gateway *gateway)
{
        const struct api_route route = {.method = "POST",
                                        .prefix = "/agent/v1/migration-certificate",
                                        .nodes_only = true,
                                        .handle = handle,
                                        .userdata = gateway};

        api_add_route(gateway->api, &route);
}
