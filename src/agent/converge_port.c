/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/job.h"

#include "base/error.h"
#include "base/log.h"

/* A deleted port whose machine still runs is looked at again after this time; the end of the machine queues it sooner. */
#define BUSY_AGAIN_US 2000000ull

/* --- the port as the engine takes it
 * ---------------------------------------------------------------------------------------------- */

static struct net_port *unfit(char **reterr_words, const char *field)
{
        *reterr_words = g_strdup_printf("%s cannot be read", field);
        return NULL;
}

static bool take_network(struct net_port *port, const struct api_port_network *network)
{
        port->network.uid = g_strdup(network->uid);
        port->network.bridge = g_strdup(network->bridge);
        port->network.mtu = network->has_mtu ? network->mtu : 1500;
        port->network.dns = g_new0(struct address, network->n_dns);
        for (size_t i = 0; i < network->n_dns; i++) {
                if (address_parse(network->dns[i], &port->network.dns[port->network.n_dns]) < 0) {
                        return false;
                }
                port->network.n_dns++;
        }
        return network->cidr && network->gateway && address_prefix_parse(network->cidr, &port->network.cidr) == 0 &&
               address_parse(network->gateway, &port->network.gateway) == 0;
}

static bool take_rule(struct net_rule *rule, const struct api_port_rule *view)
{
        static const char *const protocols[] = {"Any", "TCP", "UDP", "ICMP"};
        int protocol = view->protocol ? enum_index_of(protocols, G_N_ELEMENTS(protocols), view->protocol) : NET_PROTOCOL_ANY;

        if (protocol < 0 || !view->direction) {
                return false;
        }
        rule->protocol = protocol;
        rule->ingress = g_str_equal(view->direction, "Ingress");
        if (!rule->ingress && !g_str_equal(view->direction, "Egress")) {
                return false;
        }
        rule->ports = g_new0(struct net_range, view->n_ports);
        for (size_t i = 0; i < view->n_ports; i++) {
                const struct api_port_range *range = &view->ports[i];
                int64_t to = range->has_to ? range->to : range->from;

                if (range->from < 1 || range->from > 65535 || to < 1 || to > 65535) {
                        return false;
                }
                rule->ports[rule->n_ports++] = (struct net_range){range->from, to};
        }
        rule->peers = g_new0(struct address_prefix, view->n_peers);
        for (size_t i = 0; i < view->n_peers; i++) {
                if (address_prefix_parse(view->peers[i], &rule->peers[rule->n_peers++]) < 0) {
                        return false;
                }
        }
        return true;
}

static bool take_policy(struct net_port *port, const struct api_port_policy *policy)
{
        port->anti_spoofing = !policy || !policy->has_anti_spoofing || policy->anti_spoofing;
        if (!policy) {
                return true; /* without a policy nothing passes */
        }
        port->rules = g_new0(struct net_rule, policy->n_rules);
        for (size_t i = 0; i < policy->n_rules; i++) {
                if (!take_rule(&port->rules[port->n_rules++], &policy->rules[i])) {
                        return false;
                }
        }
        return true;
}

struct net_port *port_from_view(const struct api_port *view, const char *name, char **reterr_words)
{
        g_autoptr(net_port) port = net_port_new();
        const struct api_port_spec *spec = view->spec;

        assert(name && reterr_words);
        port->name = g_strdup(name);
        if (!spec || !spec->network || !take_network(port, spec->network)) {
                return unfit(reterr_words, "spec.network");
        }
        if (!spec->mac || net_mac_parse(spec->mac, port->mac) < 0) {
                return unfit(reterr_words, "spec.mac");
        }
        port->addresses = g_new0(struct address, spec->n_addresses);
        for (size_t i = 0; i < spec->n_addresses; i++) {
                if (address_parse(spec->addresses[i], &port->addresses[port->n_addresses++]) < 0) {
                        return unfit(reterr_words, "spec.addresses");
                }
        }
        if (!take_policy(port, spec->policy)) {
                return unfit(reterr_words, "spec.policy");
        }
        port->tap = g_strdup(spec->tap_name);
        port->hostname = g_strdup(spec->hostname && *spec->hostname ? spec->hostname : NULL);
        *reterr_words = net_port_fault(port);
        return *reterr_words ? NULL : g_steal_pointer(&port);
}

/* --- converging ------------------------------------------------------------------------------------------------------------------
 */

static const char *reason_of(int outcome)
{
        switch (outcome) {
        case NET_E_INVALID:
                return REASON_VALIDATION_FAILED;
        case NET_E_CONFLICT:
                return REASON_ADDRESS_TAKEN;
        case NET_E_ABSENT:
                return REASON_POLICY_NOT_IN_PLACE;
        case NET_E_FAILED:
                return REASON_POLICY_FAILED;
        default:
                return REASON_PORT_FAILED;
        }
}

static void fail(struct job *job, struct api_port_status *status, int outcome, const char *words)
{
        status->state = "Failed";
        status->error = job_error(job, reason_of(outcome), "%s", words ? words : g_strerror(-MIN(outcome, 0)));
        job->result = JOB_RETRY;
        job_status(job, &api_port_status_type, status);
        log_warning("port could not be put in place", "port", job_key(job).name, "reason", status->error->reason, "error",
                    status->error->message);
}

static void remove_port(struct job *job, struct api_port_status *status)
{
        g_autofree char *words = NULL;
        int r;

        (void)job_pass(job, "remove", "before");
        r = net_engine_remove(job->agent->net, job_key(job).name, &words);
        (void)job_pass(job, "remove", "after");
        if (r == NET_E_BUSY) {
                job->result = JOB_WAIT;
                job->again_us = BUSY_AGAIN_US;
                return;
        }
        if (r) {
                fail(job, status, r, words);
                return;
        }
        status->state = "Gone";
        job->result = JOB_GONE;
        job_status(job, &api_port_status_type, status);
}

void converge_port(struct job *job)
{
        const struct api_port *view = job->doc->view;
        struct api_port_status status = {.observed_generation = job->doc->generation, .has_observed_generation = true};
        const char *name = job_key(job).name;
        g_autofree char *words = NULL, *digest = NULL;
        g_autoptr(net_port) port = NULL;
        int r;

        if (job->doc->deleted) {
                remove_port(job, &status);
                return;
        }
        port = port_from_view(view, name, &words);
        if (!port) {
                fail(job, &status, NET_E_INVALID, words);
                return;
        }
        r = job_pass(job, "put", "before");
        if (!r) {
                r = net_engine_put(job->agent->net, port, &words);
        }
        if (!r) {
                r = job_pass(job, "put", "after");
        }
        if (!r) {
                r = net_engine_verify(job->agent->net, name, &words);
        }
        if (r) {
                fail(job, &status, r, words);
                return;
        }
        digest = net_engine_digest(job->agent->net, name);
        status.state = "Ready";
        status.policy_digest = view->spec->policy && view->spec->policy->digest ? view->spec->policy->digest : digest;
        job->ready = true;
        job_status(job, &api_port_status_type, &status);
}
