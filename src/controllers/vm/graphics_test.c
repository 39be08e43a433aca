/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cloud_test.h"

#include "schema/graphics.h"

#include <string.h>

/* Screens that listen for TCP (C23, C70): the Secret is the truth, hosts decide whether it may be. */

#define TCP      "  graphics: {protocol: VNC, listen: TCP}\n"
#define ALLOWED  "{\"virtualization\": {\"graphicsAddress\": \"127.0.0.1\"}}"
#define SECRET   (&api_secret_kind)
#define HAS(...) "{\"graphics\": {\"address\": \"127.0.0.1\", \"port\": 5901, \"version\": \"" __VA_ARGS__ "\"}}"

static const char *secret_name(const struct cloud *cloud, const char *machine)
{
        g_autofree char *name = graphics_secret_name(cloud_text(cloud, VM, machine, "/metadata/uid"));

        return g_intern_string(name);
}

static const char *password_of(const struct cloud *cloud, const char *machine)
{
        return cloud_text(cloud, SECRET, secret_name(cloud, machine), "/data/password");
}

static const char *version_of(const struct cloud *cloud, const char *machine)
{
        g_autofree char *version =
                g_strdup_printf("%" G_GUINT64_FORMAT, cloud_get(cloud, SECRET, secret_name(cloud, machine))->revision);

        return g_intern_string(version);
}

/* Its host says that the domain has this version. */
static void host_has(struct cloud *cloud, const char *machine, const char *version)
{
        g_autofree char *json = g_strdup_printf(HAS("%s"), version);

        cloud_status(cloud, &api_instance_kind, cloud_text(cloud, VM, machine, "/status/instanceName"), json);
        cloud_settle(cloud);
}

static void it_waits_for_a_host_that_allows_it(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", TCP);
        cloud_expect_condition(cloud, VM, "web", "Running", "False NoSuitableNode", "allows no screen to listen for TCP");
        cloud_expect_condition(cloud, VM, "web", "GraphicsReady", "False GraphicsNotAllowed", "no host allows");
        cloud_expect_no_effects(cloud);
        g_assert_null(cloud_instance(cloud, "web"));
        cloud_status(cloud, &api_node_kind, "node-a", ALLOWED);
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_expect_condition(cloud, VM, "web", "GraphicsReady", "False GraphicsWaiting", NULL);
        host_has(cloud, "web", version_of(cloud, "web"));
        cloud_expect_condition(cloud, VM, "web", "GraphicsReady", "True GraphicsReady", "VNC listens on 127.0.0.1:5901");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/graphics/port"), ==, "5901");
        g_assert_cmpstr(cloud_text(cloud, VM, "web", "/status/graphics/secretName"), ==, secret_name(cloud, "web"));
        cloud_expect_no_effects(cloud);
}

static void others_have_neither_secret_nor_condition(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        cloud_machine(cloud, "web", NULL);
        cloud_machine(cloud, "blind", "  graphics: {protocol: None}\n");
        cloud_expect_phase(cloud, VM, "web", "Running");
        cloud_expect_phase(cloud, VM, "blind", "Running");
        g_assert_cmpuint(cloud_count(cloud, SECRET), ==, 0);
        g_assert_cmpstr(cloud_condition(cloud, VM, "web", "GraphicsReady"), ==, "");
        g_assert_null(cloud_instance(cloud, "web")->spec->graphics_port);
}

static void the_password_is_in_the_secret_alone(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const struct api_instance_graphics_port *port;
        g_autofree char *plain = NULL;
        gsize len = 0;

        cloud_status(cloud, &api_node_kind, "node-a", ALLOWED);
        cloud_machine(cloud, "web", TCP);
        cloud_expect_phase(cloud, VM, "web", "Running");
        port = cloud_instance(cloud, "web")->spec->graphics_port;
        g_assert_nonnull(port);
        g_assert_cmpstr(port->secret, ==, secret_name(cloud, "web"));
        g_assert_cmpstr(port->version, ==, version_of(cloud, "web"));
        g_assert_cmpstr(cloud_text(cloud, SECRET, port->secret, "/metadata/ownerReferences/0/uid"), ==,
                        cloud_text(cloud, VM, "web", "/metadata/uid"));
        g_assert_true(graphics_password_fits(password_of(cloud, "web")));
        plain = (char *)g_base64_decode(password_of(cloud, "web"), &len);
        for (size_t i = 0; controllers_kinds[i]; i++) {
                g_autoptr(GPtrArray) all = cache_list(cloud_cache(cloud), controllers_kinds[i], NULL);

                for (guint k = 0; controllers_kinds[i] != SECRET && k < all->len; k++) {
                        g_autofree char *text = json_to_text(cache_root(all->pdata[k]));

                        g_assert_null(strstr(text, password_of(cloud, "web")));
                        g_assert_null(g_strstr_len(text, -1, plain));
                }
        }
}

static void write_password(struct cloud *cloud, const char *machine, const char *base64)
{
        cloud_applyf(cloud,
                     "{apiVersion: v1, kind: Secret, metadata: {name: %s, ownerReferences: [{apiVersion: gabbro.dev/v1, "
                     "kind: VirtualMachine, name: %s, uid: \"%s\"}]}, type: gabbro.dev/graphics-password, data: {password: %s}}\n",
                     secret_name(cloud, machine), machine, cloud_text(cloud, VM, machine, "/metadata/uid"), base64);
        cloud_settle(cloud);
}

/* What runs follows at once, whoever wrote it; no restart. */
static void a_new_password_reaches_what_runs(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const char *before;
        int64_t epoch;

        cloud_status(cloud, &api_node_kind, "node-a", ALLOWED);
        cloud_machine(cloud, "web", TCP);
        cloud_expect_phase(cloud, VM, "web", "Running");
        before = version_of(cloud, "web");
        epoch = cloud_instance(cloud, "web")->spec->epoch;
        host_has(cloud, "web", before);
        write_password(cloud, "web", "bmV3");
        g_assert_cmpstr(version_of(cloud, "web"), !=, before);
        g_assert_cmpstr(cloud_instance(cloud, "web")->spec->graphics_port->version, ==, version_of(cloud, "web"));
        g_assert_cmpint(cloud_instance(cloud, "web")->spec->epoch, ==, epoch);
        cloud_expect_condition(cloud, VM, "web", "GraphicsReady", "False GraphicsPasswordPending", "the one before holds");
        host_has(cloud, "web", version_of(cloud, "web"));
        cloud_expect_condition(cloud, VM, "web", "GraphicsReady", "True GraphicsReady", NULL);
        cloud_expect_no_effects(cloud);

        /* One that cannot be used changes nothing. */
        before = version_of(cloud, "web");
        write_password(cloud, "web", "dG9vLWxvbmctaXQtaXM=");
        cloud_expect_condition(cloud, VM, "web", "GraphicsReady", "False GraphicsPasswordInvalid", "1 to 8 printable");
        g_assert_cmpstr(cloud_instance(cloud, "web")->spec->graphics_port->version, ==, before);

        /* One that is gone is made anew. */
        cloud_delete(cloud, SECRET, secret_name(cloud, "web"));
        cloud_settle(cloud);
        g_assert_true(graphics_password_fits(password_of(cloud, "web")));
        g_assert_cmpstr(cloud_instance(cloud, "web")->spec->graphics_port->version, ==, version_of(cloud, "web"));
}

static void it_goes_with_the_port_and_with_the_machine(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);
        const char *name;

        cloud_status(cloud, &api_node_kind, "node-a", ALLOWED);
        cloud_machine(cloud, "web", TCP);
        cloud_expect_phase(cloud, VM, "web", "Running");
        name = secret_name(cloud, "web");
        host_has(cloud, "web", version_of(cloud, "web"));
        cloud_machine(cloud, "web", "  graphics: {protocol: VNC}\n");
        cloud_expect_condition(cloud, VM, "web", "AwaitingRestartToApplyConfiguration", "True ChangesPendingRestart", NULL);
        g_assert_nonnull(cloud_get(cloud, SECRET, name)); /* what runs asks for it */
        cloud_apply(cloud, "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: r}, spec: {type: Restart, "
                           "virtualMachineName: web}}\n");
        cloud_settle(cloud);
        cloud_expect_phase(cloud, VM, "web", "Running");
        g_assert_null(cloud_instance(cloud, "web")->spec->graphics_port);
        g_assert_null(cloud_get(cloud, SECRET, name));
        g_assert_cmpstr(cloud_condition(cloud, VM, "web", "GraphicsReady"), ==, "");

        cloud_machine(cloud, "db", TCP);
        cloud_expect_phase(cloud, VM, "db", "Running");
        g_assert_cmpuint(cloud_count(cloud, SECRET), ==, 1);
        cloud_delete(cloud, VM, "db");
        cloud_settle(cloud);
        g_assert_cmpuint(cloud_count(cloud, SECRET), ==, 0);
}

/* A host that takes machines while they run, as its agent says. */
static void take_moves(struct cloud *cloud, const char *node, const char *address)
{
        g_autofree char *json = g_strdup_printf(
                "{\"conditions\": [{\"type\": \"Ready\", \"status\": \"True\", \"reason\": \"AgentRunning\", \"message\": "
                "\"works\"},"
                "{\"type\": \"MigrationReady\", \"status\": \"True\", \"reason\": \"MigrationReady\", \"message\": \"can\"}],"
                "\"virtualization\": {\"migrationAddress\": \"%s\"}}",
                address);

        cloud_status(cloud, &api_node_kind, node, json);
        cloud_settle(cloud);
}

static void try_to_move(struct cloud *cloud, const char *operation)
{
        cloud_applyf(cloud,
                     "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: %s},\n"
                     " spec: {type: Migrate, virtualMachineName: web, migrate: {mode: DryRun, nodeName: node-b}}}\n",
                     operation);
        cloud_settle(cloud);
}

/* What runs listens: the host that it goes to must allow that, whatever the machine wants by now. */
static void it_moves_to_hosts_that_allow_it(void)
{
        g_autoptr(cloud) cloud = cloud_new(NULL);

        take_moves(cloud, "node-a", "10.0.0.1");
        cloud_status(cloud, &api_node_kind, "node-a", ALLOWED);
        cloud_machine(cloud, "web", TCP);
        cloud_expect_phase(cloud, VM, "web", "Running");
        host_has(cloud, "web", version_of(cloud, "web"));
        cloud_add_node(cloud, "node-b", 16, 64);
        take_moves(cloud, "node-b", "10.0.0.2");
        cloud_machine(cloud, "web", "  graphics: {protocol: VNC}\n"); /* from the next start on */
        cloud_settle(cloud);

        try_to_move(cloud, "no");
        cloud_expect_phase(cloud, VMOP, "no", "Failed");
        cloud_expect_condition(cloud, VMOP, "no", "Completed", "False NoSuitableNode", "node-b allows no screen to listen for TCP");
        cloud_status(cloud, &api_node_kind, "node-b", "{\"virtualization\": {\"graphicsAddress\": \"10.0.0.2\"}}");
        try_to_move(cloud, "yes");
        cloud_expect_phase(cloud, VMOP, "yes", "Completed");
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/graphics/C23_allowed", it_waits_for_a_host_that_allows_it);
        g_test_add_func("/graphics/C69_others", others_have_neither_secret_nor_condition);
        g_test_add_func("/graphics/C70_alone", the_password_is_in_the_secret_alone);
        g_test_add_func("/graphics/C70_new", a_new_password_reaches_what_runs);
        g_test_add_func("/graphics/C70_gone", it_goes_with_the_port_and_with_the_machine);
        g_test_add_func("/graphics/D145_moves", it_moves_to_hosts_that_allow_it);
        return g_test_run();
}
