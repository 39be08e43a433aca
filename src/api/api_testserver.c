/* SPDX-License-Identifier: Apache-2.0 */
#include "admission/quota.h"
#include "api/api.h"
#include "base/file.h"
#include "generated/api_types.h"
#include "loop/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/*
 * The front door alone, for tests from outside: TLS, a store, the namespace default and an administrator.
 * usage: api_testserver DIR [memory|sqlite]. Prints the path of the kubeconfig when it listens; ends with SIGTERM.
 */

struct world {
        struct loop *loop;
        struct store *store;
        struct quota *quota;
        struct auth_ca *ca;
        struct auth_audit *audit;
        struct auth_seal *seal;
        struct http_tls *tls;
        struct http_server *server;
        struct api *api;
};

static void check(int r, const char *what)
{
        if (r)
                g_error("%s: %s", what, r < 0 ? g_strerror(-r) : "refused");
}

static void create(struct world *world, const struct schema_kind *kind, const char *namespace, const char *name, const char *text)
{
        struct store_op op = {.verb = STORE_CREATE, .kind = kind, .namespace = namespace, .name = name};
        struct store_txn txn = {.ops = &op, .n_ops = 1, .actor = {.user = "test"}};
        int r;

        check(json_parse(text, strlen(text), &op.doc, NULL), name);
        r = store_commit(world->store, &txn, NULL, NULL, NULL);
        if (r != STORE_E_EXISTS)
                check(r, name);
}

static void create_first_objects(struct world *world, const struct auth_token_text *token)
{
        g_autofree char *text =
                g_strdup_printf("{\"apiVersion\":\"gabbro.dev/v1\",\"kind\":\"Token\",\"metadata\":{\"name\":\"%s\","
                                "\"uid\":\"u1\"},\"spec\":{\"type\":\"Admin\",\"hash\":\"%s\",\"user\":\"gabbro:admin\"}}",
                                token->id, token->hash);

        create(world, &api_token_kind, NULL, token->id, text);
        create(world, &api_namespace_kind, NULL, "default",
               "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"default\",\"uid\":\"u2\","
               "\"creationTimestamp\":"
               "\"2026-01-01T00:00:00Z\"},\"status\":{\"phase\":\"Active\"}}");
}

static void write_kubeconfig(const char *path, const struct world *world, uint16_t port, const char *token)
{
        g_autofree char *ca = g_base64_encode((const guchar *)auth_ca_pem(world->ca), strlen(auth_ca_pem(world->ca)));
        g_autofree char *text =
                g_strdup_printf("apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- name: test\n  cluster:\n"
                                "    server: https://127.0.0.1:%u\n    certificate-authority-data: %s\ncontexts:\n- name: test\n"
                                "  context: {cluster: test, user: admin, namespace: default}\nusers:\n- name: admin\n"
                                "  user: {token: %s}\n",
                                port, ca, token);

        check(file_write_atomic(path, text, strlen(text), 0600), path);
}

static void open_store(struct world *world, const char *dir, const char *driver)
{
        struct store_options options = {.loop = world->loop, .clock = clock_system()};
        g_autofree char *path = g_build_filename(dir, "store.db", NULL);

        if (strcmp(driver, "sqlite") == 0)
                check(store_open_sqlite(path, &options, &world->store), path);
        else
                check(store_open_memory(&options, &world->store), "memory");
        check(quota_new(&(struct quota_options){.loop = world->loop, .store = world->store, .clock = clock_system()},
                        &world->quota),
              "quota");
}

static void open_door(struct world *world, const char *dir)
{
        static const char *const names[] = {"127.0.0.1", "localhost", NULL};
        g_autofree char *audit_path = g_build_filename(dir, "audit.log", NULL),
                        *seal_path = g_build_filename(dir, "seal.key", NULL);
        struct auth_certificate certificate;

        check(auth_ca_open(dir, clock_system(), &world->ca), dir);
        check(auth_ca_issue_server(world->ca, names, &certificate), "certificate");
        check(auth_seal_open(seal_path, random_system(), &world->seal), seal_path);
        check(auth_audit_open(audit_path, clock_system(), &world->audit), audit_path);
        check(http_tls_new(&(struct http_tls_options){.server = true,
                                                      .certificate_pem = certificate.certificate_pem,
                                                      .key_pem = certificate.key_pem,
                                                      .ca_pem = auth_ca_pem(world->ca)},
                           &world->tls),
              "tls");
        auth_certificate_clear(&certificate);
        check(api_new(&(struct api_options){.loop = world->loop,
                                            .store = world->store,
                                            .clock = clock_system(),
                                            .random = random_system(),
                                            .audit = world->audit,
                                            .seal = world->seal,
                                            .ca = world->ca,
                                            .compat_api = true,
                                            .version = GABBRO_VERSION},
                      &world->api),
              "api");
        check(http_server_new(
                      &(struct http_server_options){
                              .loop = world->loop, .tls = world->tls, .on_request = api_handle, .userdata = world->api},
                      &world->server),
              "server");
}

static void on_signal(struct loop_source *source, void *userdata)
{
        struct world *world = userdata;

        loop_exit(world->loop, 0);
}

int main(int argc, char **argv)
{
        g_autofree char *kubeconfig = argc > 1 ? g_build_filename(argv[1], "admin.kubeconfig", NULL) : NULL;
        struct loop_source *term = NULL, *interrupt = NULL;
        struct auth_token_text token;
        struct world world = {};
        uint16_t port = 0;
        int r;

        if (argc < 2)
                return 2;
        check(loop_new(&world.loop), "loop");
        check(loop_signal(world.loop, SIGTERM, on_signal, &world, &term), "signal");
        check(loop_signal(world.loop, SIGINT, on_signal, &world, &interrupt), "signal");
        open_store(&world, argv[1], argc > 2 ? argv[2] : "memory");
        open_door(&world, argv[1]);
        auth_token_generate(random_system(), "gbt1", NULL, &token);
        create_first_objects(&world, &token);
        check(api_make_roles(world.api), "roles");
        check(http_server_listen(world.server, "127.0.0.1:0", &port), "listen");
        write_kubeconfig(kubeconfig, &world, port, token.text);
        auth_token_text_clear(&token);
        printf("%s\n", kubeconfig);
        fflush(stdout);
        r = loop_run(world.loop);
        loop_source_free(term);
        loop_source_free(interrupt);
        http_server_free(world.server);
        api_free(world.api);
        quota_free(world.quota);
        store_close(world.store);
        http_tls_free(world.tls);
        auth_audit_free(world.audit);
        auth_seal_free(world.seal);
        auth_ca_free(world.ca);
        loop_free(world.loop);
        return r < 0 ? 1 : r;
}
