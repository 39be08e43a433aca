/* SPDX-License-Identifier: Apache-2.0 */
#include "api/world_test.h"
#include "generated/api_types.h"

#include <string.h>

/* Nodes over mutual TLS: a second server on the same front door, and blocking calls from a thread. */

static struct world *world;
static struct auth_ca *ca;
static struct http_tls *tls;
static struct http_server *server;
static uint16_t port;

struct fetch {
        const struct http_client_options *client;
        char *url, *error;
        int status;
        gint done;
};

static gpointer fetch_thread(gpointer data)
{
        struct fetch *fetch = data;
        GString *body = NULL;

        (void)http_fetch(fetch->client, &(struct http_call_options){.url = fetch->url, .timeout_us = 10000000}, NULL,
                         &fetch->status, &body, &fetch->error);
        if (body)
                g_string_free(body, TRUE);
        g_atomic_int_set(&fetch->done, 1);
        return NULL;
}

/* The HTTP status of a GET with a client certificate, or 0 when there was no answer. */
static int status_with(const struct auth_certificate *certificate, const char *key, const char *path)
{
        struct http_client_options client = {
                .ca_pem = auth_ca_pem(ca), .certificate_pem = certificate->certificate_pem, .key_pem = key, .user_agent = "test"};
        struct fetch fetch = {.client = &client, .url = g_strdup_printf("https://127.0.0.1:%u%s", port, path)};
        GThread *thread = g_thread_new("fetch", fetch_thread, &fetch);

        while (!g_atomic_int_get(&fetch.done))
                g_assert_cmpint(loop_run_once(world->loop, 5000), >=, 0);
        g_thread_join(thread);
        g_free(fetch.url);
        g_free(fetch.error);
        return fetch.status;
}

static void put_identity(const char *serial, const char *previous, bool disabled)
{
        g_autofree char *json = g_strdup_printf(
                "{\"apiVersion\":\"gabbro.dev/v1\",\"kind\":\"NodeIdentity\",\"metadata\":{\"name\":\"host-1\",\"uid\":\"u\"},"
                "\"spec\":{\"serial\":\"%s\",\"previousSerial\":\"%s\",\"notAfter\":\"2126-01-01T00:00:00Z\",\"disabled\":%s}}",
                serial, previous, disabled ? "true" : "false");

        world_put(world, &api_node_identity_kind, NULL, "host-1", json);
}

static void answer_node(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        g_assert_cmpint(identity->kind, ==, AUTH_NODE);
        g_assert_cmpstr(identity->node, ==, "host-1");
        http_reply(request, 200, "text/plain", "ok", 2);
}

/* Decision 15, attacks 27 and 28: a host reaches its own surface and nothing else, and only while its identity stands. */
static void a_node_is_its_certificate_and_its_identity(void)
{
        static const char *const names[] = {"host-1", NULL};
        static const char own[] = "/agent/v1/manifest", vms[] = "/apis/gabbro.dev/v1/virtualmachines";
        g_autofree char *key = NULL, *csr = NULL;
        struct auth_certificate certificate;

        api_add_route(world->api, &(struct api_route){.prefix = "/agent/v1/", .nodes_only = true, .handle = answer_node});
        g_assert_cmpint(auth_request_new("host-1", &key, &csr), ==, 0);
        g_assert_cmpint(auth_ca_sign_node(ca, csr, "host-1", names, &certificate), ==, 0);
        g_assert_cmpint(status_with(&certificate, key, own), ==, 401); /* signed, but no identity */
        put_identity(certificate.serial, "", false);
        g_assert_cmpint(status_with(&certificate, key, own), ==, 200);
        g_assert_cmpint(status_with(&certificate, key, vms), ==, 403);
        g_assert_cmpint(status_with(&certificate, key, "/metrics"), ==, 403);
        g_assert_cmpint(status_with(&certificate, key, "/api"), ==, 403);
        put_identity("00", "", false);
        g_assert_cmpint(status_with(&certificate, key, own), ==, 401); /* another certificate was issued since */
        put_identity("00", certificate.serial, false);
        g_assert_cmpint(status_with(&certificate, key, own), ==, 200); /* the one before it is good until the next renewal */
        put_identity(certificate.serial, "", true);
        g_assert_cmpint(status_with(&certificate, key, own), ==, 401); /* disabled */
        auth_certificate_clear(&certificate);
}

static void put_user_certificate(const char *serial, const char *user)
{
        g_autofree char *json = g_strdup_printf(
                "{\"apiVersion\":\"gabbro.dev/v1\",\"kind\":\"Token\",\"metadata\":{\"name\":\"%s\",\"uid\":\"c\"},\"spec\":{"
                "\"type\":\"Certificate\",\"user\":\"%s\",\"ownerUid\":\"uid-%s\",\"expires\":\"2126-01-01T00:00:00Z\"}}",
                serial, user, user);

        world_put(world, &api_token_kind, NULL, serial, json);
}

static void drop_token(const char *name)
{
        struct store_op op = {.verb = STORE_DELETE, .kind = &api_token_kind, .name = name};
        struct store_txn txn = {.ops = &op, .n_ops = 1, .actor = {.user = "test"}};

        g_assert_cmpint(store_commit(world->store, &txn, NULL, NULL, NULL), ==, 0);
        world_run(world);
}

/* A person's certificate opens what the person may, until it is revoked; never what is the hosts' alone. */
static void a_person_is_his_certificate_until_it_is_revoked(void)
{
        static const char own[] = "/agent/v1/manifest", who[] = "/auth/v1/whoami";
        g_autofree char *key = NULL, *csr = NULL;
        struct auth_certificate certificate;

        world_put_user(world, "rose", "[]");
        g_assert_cmpint(auth_request_new("gabbro:node:host-1", &key, &csr), ==, 0);
        g_assert_cmpint(auth_ca_sign_user(ca, csr, "rose", 3600000000, &certificate), ==, 0);
        g_assert_cmpint(status_with(&certificate, key, who), ==, 401); /* signed, but not known here */
        put_user_certificate(certificate.serial, "rose");
        g_assert_cmpint(status_with(&certificate, key, who), ==, 200);
        g_assert_cmpint(status_with(&certificate, key, "/apis/gabbro.dev/v1/users"), ==, 403);
        g_assert_cmpint(status_with(&certificate, key, own), ==, 403);
        put_identity(certificate.serial, "", false); /* even if a host had that serial */
        g_assert_cmpint(status_with(&certificate, key, own), ==, 403);
        drop_token(certificate.serial);
        g_assert_cmpint(status_with(&certificate, key, who), ==, 401);
        put_user_certificate(certificate.serial, "someone"); /* the name is that of the certificate alone */
        g_assert_cmpint(status_with(&certificate, key, who), ==, 401);
        drop_token(certificate.serial);
        auth_certificate_clear(&certificate);
}

static void a_node_is_no_person_whatever_is_stored(void)
{
        static const char *const names[] = {"host-1", NULL};
        g_autofree char *key = NULL, *csr = NULL;
        struct auth_certificate certificate;

        world_put_user(world, "host-1", "[\"gabbro:administrators\"]");
        g_assert_cmpint(auth_request_new("host-1", &key, &csr), ==, 0);
        g_assert_cmpint(auth_ca_sign_node(ca, csr, "host-1", names, &certificate), ==, 0);
        put_user_certificate(certificate.serial, "host-1");
        g_assert_cmpint(status_with(&certificate, key, "/apis/gabbro.dev/v1/users"), ==, 401);
        put_identity(certificate.serial, "", false);
        g_assert_cmpint(status_with(&certificate, key, "/apis/gabbro.dev/v1/users"), ==, 403);
        g_assert_cmpint(status_with(&certificate, key, "/auth/v1/whoami"), ==, 403);
        auth_certificate_clear(&certificate);
}

static void the_gateways_own_certificate_is_nobodys_credential(void)
{
        static const char *const names[] = {"127.0.0.1", NULL};
        struct auth_certificate certificate;

        g_assert_cmpint(auth_ca_issue_server(ca, names, &certificate), ==, 0);
        g_assert_cmpint(status_with(&certificate, certificate.key_pem, "/version"), ==, 401);
        auth_certificate_clear(&certificate);
}

static void open_tls(void)
{
        static const char *const names[] = {"127.0.0.1", NULL};
        struct auth_certificate certificate;

        g_assert_cmpint(auth_ca_open(world->dir, clock_system(), &ca), ==, 0);
        g_assert_cmpint(auth_ca_issue_server(ca, names, &certificate), ==, 0);
        g_assert_cmpint(http_tls_new(&(struct http_tls_options){.server = true,
                                                                .certificate_pem = certificate.certificate_pem,
                                                                .key_pem = certificate.key_pem,
                                                                .ca_pem = auth_ca_pem(ca)},
                                     &tls),
                        ==, 0);
        auth_certificate_clear(&certificate);
        g_assert_cmpint(http_server_new(
                                &(struct http_server_options){
                                        .loop = world->loop, .tls = tls, .on_request = api_handle, .userdata = world->api},
                                &server),
                        ==, 0);
        g_assert_cmpint(http_server_listen(server, "127.0.0.1:0", &port), ==, 0);
}

int main(int argc, char **argv)
{
        int r;

        g_test_init(&argc, &argv, NULL);
        world = world_new(NULL);
        open_tls();
        g_test_add_func("/api/a_node_is_its_certificate_and_its_identity", a_node_is_its_certificate_and_its_identity);
        g_test_add_func("/api/the_gateways_own_certificate_is_nobodys_credential",
                        the_gateways_own_certificate_is_nobodys_credential);
        g_test_add_func("/api/a_person_is_his_certificate_until_it_is_revoked", a_person_is_his_certificate_until_it_is_revoked);
        g_test_add_func("/api/a_node_is_no_person_whatever_is_stored", a_node_is_no_person_whatever_is_stored);
        r = g_test_run();
        http_server_free(server);
        http_tls_free(tls);
        auth_ca_free(ca);
        world_free(world);
        return r;
}
