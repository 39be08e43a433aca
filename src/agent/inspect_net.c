/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/inspect.h"

#include "agent/net/bridge.h"
#include "agent/net/dhcp.h"
#include "agent/net/link.h"
#include "agent/net/nft.h"
#include "agent/net/ruleset.h"
#include "base/error.h"
#include "base/file.h"

#include <string.h>

#define RESTORE                                                                                                                    \
        "write all rules and DHCP services of this host anew from its ports, in one transaction; guests keep their connections"
#define TABLES "list table bridge gabbro\nlist table inet gabbro\n"

/* --- what the intents want -------------------------------------------------------------------------------------------------------
 */

static const struct api_port_spec *port_spec(const struct inspect_intent *intent)
{
        return intent->kind == &api_port_kind ? ((const struct api_port *)intent->doc->view)->spec : NULL;
}

/* A Port of the network on this bridge, or NULL. */
static const struct inspect_intent *port_on(struct inspect *inspect, const char *bridge)
{
        for (unsigned i = 0; i < inspect->known->intents->len; i++) {
                const struct inspect_intent *intent = inspect->known->intents->pdata[i];
                const struct api_port_spec *spec = port_spec(intent);

                if (spec && spec->network && g_strcmp0(spec->network->bridge, bridge) == 0) {
                        return intent;
                }
        }
        return NULL;
}

static bool settled(struct inspect *inspect, const struct inspect_intent *intent)
{
        const struct api_port_status *told = inspect_told(inspect, intent);

        return !intent->busy && told && g_strcmp0(told->state, "Ready") == 0;
}

/* The running Instance that has the port, or NULL. */
static const struct inspect_intent *user_of(struct inspect *inspect, const char *port)
{
        for (unsigned i = 0; i < inspect->known->intents->len; i++) {
                const struct inspect_intent *intent = inspect->known->intents->pdata[i];
                const struct api_instance *instance = intent->doc->view;
                const struct api_instance_status *told = intent->kind == &api_instance_kind ? inspect_told(inspect, intent) : NULL;

                for (size_t j = 0; told && g_strcmp0(told->state, "running") == 0 && j < instance->spec->n_ports; j++) {
                        if (g_str_equal(instance->spec->ports[j], port)) {
                                return intent;
                        }
                }
        }
        return NULL;
}

static const char *machine_of(struct inspect *inspect, const struct inspect_intent *port)
{
        const struct api_machine_ref *machine = port_spec(port)->machine;

        return arena_printf(inspect->arena, "VirtualMachine/%s/%s", machine->namespace, machine->name);
}

/* --- interfaces ------------------------------------------------------------------------------------------------------------------
 */

static bool take_link(const struct link_info *info, void *userdata)
{
        g_array_append_val((GArray *)userdata, *info);
        return true;
}

static const struct link_info *link_named(const GArray *links, const char *name)
{
        for (unsigned i = 0; i < links->len; i++) {
                if (g_str_equal(g_array_index(links, struct link_info, i).name, name)) {
                        return &g_array_index(links, struct link_info, i);
                }
        }
        return NULL;
}

/* Taps that a process has open, by what the kernel tells of its descriptors. */
static void take_holders(GHashTable *holders, const char *pid)
{
        g_autofree char *path = g_strdup_printf("/proc/%s/fdinfo", pid);
        g_autoptr(GDir) descriptors = g_dir_open(path, 0, NULL);
        const char *fd;

        while (descriptors && (fd = g_dir_read_name(descriptors))) {
                g_autofree char *file = g_build_filename(path, fd, NULL), *text = NULL;
                const char *tap;
                size_t len;

                if (file_read(file, 65536, &text, &len) == 0 && (tap = strstr(text, "iff:\t"))) {
                        tap += strlen("iff:\t");
                        g_hash_table_insert(holders, g_strndup(tap, strcspn(tap, "\n")),
                                            GINT_TO_POINTER((int)g_ascii_strtoll(pid, NULL, 10)));
                }
        }
}

/* The process that has a tap open, or 0. */
static int holder_of(struct inspect *inspect, const char *tap)
{
        g_autoptr(GDir) processes = inspect->holders ? NULL : g_dir_open("/proc", 0, NULL);
        const char *pid;

        if (!inspect->holders) {
                inspect->holders = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        }
        while (processes && (pid = g_dir_read_name(processes))) {
                if (g_ascii_isdigit(*pid)) {
                        take_holders(inspect->holders, pid);
                }
        }
        return GPOINTER_TO_INT(g_hash_table_lookup(inspect->holders, tap));
}

static void stray_tap(struct inspect *inspect, const struct link_info *info, const GArray *links)
{
        struct api_host_finding *finding = inspect_found(inspect, REASON_STRAY_TAP, "Warning", "tap/%s", info->name);
        int pid = holder_of(inspect, info->name);

        inspect_evidence(inspect, finding, "interface %d, %s, %s", info->index, info->kind[0] ? info->kind : "of no kind",
                         info->up ? "up" : "down");
        for (unsigned i = 0; info->master && i < links->len; i++) {
                if (g_array_index(links, struct link_info, i).index == info->master) {
                        inspect_evidence(inspect, finding, "on the bridge %s", g_array_index(links, struct link_info, i).name);
                }
        }
        inspect_evidence(inspect, finding, "no Port of this node has that tap");
        if (pid) {
                inspect_evidence(inspect, finding, "process %d has it open", pid);
                finding->severity = "Critical";
                return;
        }
        inspect_evidence(inspect, finding, "no process has it open");
        inspect_fix(inspect, finding, "delete the interface %s", info->name);
}

static void stray_bridge(struct inspect *inspect, const struct link_info *info)
{
        struct api_host_finding *finding = inspect_found(inspect, REASON_STRAY_BRIDGE, "Warning", "bridge/%s", info->name);

        inspect_evidence(inspect, finding, "interface %d, alias %s, %s", info->index, info->alias, info->up ? "up" : "down");
        inspect_evidence(inspect, finding, "no Port of this node is on it");
        inspect_fix(inspect, finding, "delete the bridge %s, and its DHCP service; %s", info->name, RESTORE);
}

static void check_port_link(struct inspect *inspect, const struct inspect_intent *port, const GArray *links)
{
        const struct api_port_spec *spec = port_spec(port);
        const struct link_info *tap = link_named(links, spec->tap_name), *bridge = link_named(links, spec->network->bridge);
        const struct inspect_intent *user = user_of(inspect, port->name);
        struct api_host_finding *finding;

        if (!tap && !user) {
                return;
        }
        if (tap && bridge && tap->master == bridge->index && tap->isolated) {
                return;
        }
        if (!settled(inspect, port) || (user && user->busy)) {
                inspect_later(inspect);
                return;
        }
        finding = inspect_found(inspect, tap ? REASON_TAP_OPEN : REASON_TAP_MISSING, "Critical", "tap/%s", spec->tap_name);
        finding->object = machine_of(inspect, port);
        finding->uid = arena_strdup(inspect->arena, port->uid);
        if (!tap) {
                inspect_evidence(inspect, finding, "Instance %s says running, and there is no interface %s", user->name,
                                 spec->tap_name);
                return;
        }
        inspect_evidence(inspect, finding, "the interface is %s the bridge %s, and %s",
                         bridge && tap->master == bridge->index ? "on" : "not on", spec->network->bridge,
                         tap->isolated ? "isolated" : "not isolated");
        if (bridge && tap->master == bridge->index) {
                inspect_fix(inspect, finding, "isolate the tap %s", spec->tap_name);
        }
}

void inspect_links(struct inspect *inspect)
{
        g_autoptr(GArray) links = g_array_new(FALSE, FALSE, sizeof(struct link_info));
        g_autoptr(link_socket) socket = NULL;
        int r = link_open(&socket);

        r = r ? r : link_each(socket, take_link, links);
        if (r < 0) {
                inspect_unlooked(inspect, "interfaces: %s", g_strerror(-r));
                return;
        }
        for (unsigned i = 0; i < links->len; i++) {
                const struct link_info *info = &g_array_index(links, struct link_info, i);

                if (net_tap_valid(info->name) && !inspect_tap(inspect, info->name)) {
                        stray_tap(inspect, info, links);
                } else if (g_str_equal(info->kind, "bridge") && g_str_has_prefix(info->alias, "gabbro:") &&
                           !port_on(inspect, info->name)) {
                        stray_bridge(inspect, info);
                }
        }
        for (unsigned i = 0; i < inspect->known->intents->len && !virt_is_test(inspect->agent->virt); i++) {
                if (port_spec(inspect->known->intents->pdata[i])) {
                        check_port_link(inspect, inspect->known->intents->pdata[i], links);
                }
        }
}

/* --- rules -----------------------------------------------------------------------------------------------------------------------
 */

/* The commands that would make all rules of this host from nothing. */
static char *wanted_rules(struct inspect *inspect)
{
        g_autoptr(GHashTable) networks = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        GString *text = g_string_new(NULL);

        ruleset_base(text);
        for (unsigned i = 0; i < inspect->known->intents->len; i++) {
                const struct inspect_intent *intent = inspect->known->intents->pdata[i];
                g_autofree char *words = NULL;
                g_autoptr(net_port) port = NULL;

                if (!port_spec(intent)) {
                        continue;
                }
                port = port_from_view(intent->doc->view, intent->name, &words);
                if (!port) {
                        continue;
                }
                if (g_hash_table_add(networks, g_strdup(port->network.bridge))) {
                        ruleset_add_network(&port->network, text);
                }
                ruleset_add_port(port, text);
        }
        return g_string_free(text, FALSE);
}

/* A chain of a port that is being worked on; "inet gabbro e_0a0b0c" is of the tap gbt0a0b0c, others are of nobody. */
static bool in_work(struct inspect *inspect, const char *chain)
{
        const char *name = strrchr(chain, ' ') + 1;
        g_autofree char *tap = strchr("dei", name[0]) && name[1] == '_' ? g_strconcat(NET_TAP_PREFIX, name + 2, NULL) : NULL;
        const struct inspect_intent *port = tap ? inspect_tap(inspect, tap) : NULL;

        return port && !settled(inspect, port);
}

static void compare_chain(struct inspect *inspect, const char *chain, int present, int wanted)
{
        struct api_host_finding *finding;

        if (present == wanted) {
                return;
        }
        if (in_work(inspect, chain)) {
                inspect_later(inspect);
                return;
        }
        finding = inspect_found(inspect, wanted < 0 ? REASON_STRAY_RULES : REASON_RULES_MISSING,
                                wanted < 0 ? "Warning" : "Critical", "chain/%s", chain);
        if (present < 0) {
                inspect_evidence(inspect, finding, "nft: there is no chain %s", chain);
        } else if (wanted < 0) {
                inspect_evidence(inspect, finding, "nft: there is a chain %s with %d rules; no Port of this node has it", chain,
                                 present);
        } else {
                inspect_evidence(inspect, finding, "nft: the chain %s holds %d rules, wanted are %d", chain, present, wanted);
        }
        inspect_fix(inspect, finding, "%s", RESTORE);
}

static int rules_in(GHashTable *chains, const char *chain)
{
        return g_hash_table_contains(chains, chain) ? GPOINTER_TO_INT(g_hash_table_lookup(chains, chain)) : -1;
}

static void compare_chains(struct inspect *inspect, GHashTable *wanted, GHashTable *present)
{
        GHashTableIter iter;
        void *key;

        g_hash_table_iter_init(&iter, present);
        while (g_hash_table_iter_next(&iter, &key, NULL)) {
                compare_chain(inspect, key, rules_in(present, key), rules_in(wanted, key));
        }
        g_hash_table_iter_init(&iter, wanted);
        while (g_hash_table_iter_next(&iter, &key, NULL)) {
                if (!g_hash_table_contains(present, key)) {
                        compare_chain(inspect, key, -1, rules_in(wanted, key));
                }
        }
}

/* Elements of sets that speak of a tap which no Port has. */
static void stray_elements(struct inspect *inspect, const char *listing)
{
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

        for (const char *at = strstr(listing, "\"" NET_TAP_PREFIX); at; at = strstr(at + 1, "\"" NET_TAP_PREFIX)) {
                size_t len = strcspn(at + 1, "\"");
                g_autofree char *tap = g_strndup(at + 1, len);

                if (net_tap_valid(tap) && !inspect_tap(inspect, tap) && g_hash_table_add(seen, g_strdup(tap))) {
                        struct api_host_finding *finding =
                                inspect_found(inspect, REASON_STRAY_RULES, "Warning", "elements/%s", tap);

                        inspect_evidence(inspect, finding,
                                         "nft: sets of Gabbro's tables name the tap %s; no Port of this node has it", tap);
                        inspect_fix(inspect, finding, "%s", RESTORE);
                }
        }
}

static unsigned occurrences(const char *text, const char *word)
{
        unsigned n = 0;

        for (text = strstr(text, word); text; text = strstr(text + 1, word)) {
                n++;
        }
        return n;
}

/* I7: what stands is what the Port says now. */
static void check_port_rules(struct inspect *inspect, const struct inspect_intent *intent, struct nft *nft, const char *listing)
{
        g_autofree char *words = NULL, *digest = NULL, *members = NULL;
        g_autoptr(net_port) port = port_from_view(intent->doc->view, intent->name, &words);
        g_autoptr(GString) elements = g_string_new(NULL);
        struct api_host_finding *finding;

        if (!port || !settled(inspect, intent)) {
                return;
        }
        ruleset_query_elements(port, elements);
        members = nft_list(nft, elements->str);
        digest = ruleset_digest(port);
        if (members && occurrences(listing, digest) == 3) {
                return;
        }
        finding = inspect_found(inspect, REASON_RULES_MISSING, "Critical", "tap/%s", port->tap);
        finding->object = machine_of(inspect, intent);
        finding->uid = arena_strdup(inspect->arena, intent->uid);
        inspect_evidence(inspect, finding, "the status of Port %s says Ready", intent->name);
        if (!members) {
                inspect_evidence(inspect, finding, "nft: not all elements for the tap %s are in the sets", port->tap);
        } else {
                inspect_evidence(inspect, finding, "nft: %u of 3 chains carry the digest %.16s… of its policy",
                                 occurrences(listing, digest), digest);
        }
        inspect_fix(inspect, finding, "%s", RESTORE);
}

void inspect_rules(struct inspect *inspect)
{
        g_autoptr(nft) nft = nft_new();
        g_autofree char *listing = nft ? nft_list(nft, TABLES) : NULL, *text = NULL;
        g_autoptr(GHashTable) wanted = NULL, present = NULL;

        if (!nft) {
                inspect_unlooked(inspect, "rules: nftables cannot be used");
                return;
        }
        text = wanted_rules(inspect);
        wanted = ruleset_chains(text);
        present = ruleset_chains(listing ? listing : "");
        compare_chains(inspect, wanted, present);
        stray_elements(inspect, listing ? listing : "");
        for (unsigned i = 0; listing && i < inspect->known->intents->len; i++) {
                if (port_spec(inspect->known->intents->pdata[i])) {
                        check_port_rules(inspect, inspect->known->intents->pdata[i], nft, listing);
                }
        }
}

/* --- DHCP ------------------------------------------------------------------------------------------------------------------------
 */

/* The bridge that a dnsmasq of ours serves, or NULL. */
static char *served_bridge(const char *dir, const struct inspect_process *process)
{
        g_autofree char *prefix = g_strdup_printf("--conf-file=%s/", dir);

        for (char **argument = process->arguments; *argument; argument++) {
                if (g_str_has_prefix(*argument, prefix) && g_str_has_suffix(*argument, "/dnsmasq.conf")) {
                        size_t len = strlen(*argument) - strlen(prefix) - strlen("/dnsmasq.conf");

                        return g_strndup(*argument + strlen(prefix), len);
                }
        }
        return NULL;
}

static void check_hosts(struct inspect *inspect, const char *dir, const char *bridge)
{
        g_autofree char *path = g_build_filename(dir, bridge, "hosts", NULL);
        g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
        const char *name;

        while (folder && (name = g_dir_read_name(folder))) {
                if (net_tap_valid(name) && !inspect_tap(inspect, name)) {
                        struct api_host_finding *finding =
                                inspect_found(inspect, REASON_STRAY_DHCP, "Warning", "%s/%s", path, name);

                        inspect_evidence(inspect, finding, "DHCP answers for the tap %s; no Port of this node has it", name);
                        inspect_fix(inspect, finding, "%s", RESTORE);
                }
        }
}

static void missing_dhcp(struct inspect *inspect, const struct inspect_intent *port)
{
        const struct api_port_spec *spec = port_spec(port);
        struct api_host_finding *finding;

        if (!settled(inspect, port)) {
                inspect_later(inspect);
                return;
        }
        finding = inspect_found(inspect, REASON_DHCP_MISSING, "Warning", "dhcp/%s", spec->network->bridge);
        finding->object = arena_printf(inspect->arena, "Network/%s", spec->network->name);
        inspect_evidence(inspect, finding, "no dnsmasq runs for the bridge %s", spec->network->bridge);
        inspect_fix(inspect, finding, "%s", RESTORE);
}

void inspect_dhcp(struct inspect *inspect)
{
        g_autofree char *dir = g_build_filename(inspect->agent->data_dir, "net", NULL);
        g_autoptr(GHashTable) served = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(GPtrArray) processes = inspect_processes("dnsmasq");

        for (unsigned i = 0; i < processes->len; i++) {
                const struct inspect_process *process = processes->pdata[i];
                char *bridge = served_bridge(dir, process);
                struct api_host_finding *finding;

                if (!bridge) {
                        continue;
                }
                if (!port_on(inspect, bridge)) {
                        finding = inspect_found(inspect, REASON_STRAY_DHCP, "Warning", "dhcp/%s", bridge);
                        inspect_evidence(inspect, finding, "process %d is dnsmasq for the bridge %s", process->pid, bridge);
                        inspect_evidence(inspect, finding, "no Port of this node is on it");
                        inspect_fix(inspect, finding, "end the process %d; %s", process->pid, RESTORE);
                }
                g_hash_table_add(served, bridge);
        }
        for (unsigned i = 0; i < inspect->known->intents->len; i++) {
                const struct api_port_spec *spec = port_spec(inspect->known->intents->pdata[i]);

                if (!spec || !spec->network || g_hash_table_contains(served, spec->network->bridge)) {
                        continue;
                }
                g_hash_table_add(served, g_strdup(spec->network->bridge));
                missing_dhcp(inspect, inspect->known->intents->pdata[i]);
        }
        for (unsigned i = 0; i < inspect->known->intents->len; i++) {
                const struct api_port_spec *spec = port_spec(inspect->known->intents->pdata[i]);

                if (spec && spec->network && g_hash_table_remove(served, spec->network->bridge)) {
                        check_hosts(inspect, dir, spec->network->bridge);
                }
        }
}
