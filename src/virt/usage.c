/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/usage.h"

#include "base/clock.h"
#include "virt/virt_internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define HOST_FIELDS_MAX 64
#define WANTED          (VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_BALLOON | VIR_DOMAIN_STATS_INTERFACE | VIR_DOMAIN_STATS_BLOCK)

struct virt_usage *virt_usage_free(struct virt_usage *usage)
{
        if (usage) {
                g_array_unref(usage->domains);
                g_free(usage);
        }
        return NULL;
}

const struct virt_counters *virt_usage_find(const struct virt_usage *usage, const char *uuid)
{
        for (guint i = 0; usage && i < usage->domains->len; i++) {
                const struct virt_counters *found = &g_array_index(usage->domains, struct virt_counters, i);

                if (g_ascii_strcasecmp(found->uuid, uuid) == 0)
                        return found;
        }
        return NULL;
}

static uint64_t number_of(const virTypedParameter *parameter)
{
        return parameter->type == VIR_TYPED_PARAM_ULLONG ? parameter->value.ul : 0;
}

/* "net.0.rx.bytes" and the like are summed over their numbers. */
static void add_numbered(struct virt_counters *counters, const virTypedParameter *parameter)
{
        const struct {
                const char *group, *ending;
                uint64_t *sum;
        } sums[] = {
                {"net.", ".rx.bytes", &counters->received_bytes}, {"net.", ".tx.bytes", &counters->sent_bytes},
                {"block.", ".rd.bytes", &counters->read_bytes},   {"block.", ".wr.bytes", &counters->write_bytes},
                {"block.", ".rd.reqs", &counters->reads},         {"block.", ".wr.reqs", &counters->writes},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(sums); i++)
                if (g_str_has_prefix(parameter->field, sums[i].group) && g_str_has_suffix(parameter->field, sums[i].ending))
                        *sums[i].sum += number_of(parameter);
}

static void take_domain(const virDomainStatsRecord *record, struct virt_counters *counters)
{
        uint64_t available = 0, unused = 0, rss = 0;

        for (int i = 0; i < record->nparams; i++) {
                const virTypedParameter *parameter = &record->params[i];
                const struct {
                        const char *field;
                        uint64_t *number;
                } fields[] = {{"cpu.time", &counters->cpu_ns},
                              {"balloon.current", &counters->memory_bytes},
                              {"balloon.available", &available},
                              {"balloon.unused", &unused},
                              {"balloon.rss", &rss}};

                for (size_t f = 0; f < G_N_ELEMENTS(fields); f++)
                        if (strcmp(parameter->field, fields[f].field) == 0)
                                *fields[f].number = number_of(parameter);
                add_numbered(counters, parameter);
        }
        counters->memory_bytes *= 1024;
        counters->memory_used_bytes = (available > unused ? available - unused : rss) * 1024;
}

/* What libvirt does not tell of the host stays 0. */
static void take_host_cpu(virConnectPtr connection, struct virt_usage *usage)
{
        static const char *const busy[] = {VIR_NODE_CPU_STATS_USER, VIR_NODE_CPU_STATS_KERNEL, NULL};
        g_autofree virNodeCPUStats *all = g_new0(virNodeCPUStats, HOST_FIELDS_MAX);
        int n = 0;

        if (virNodeGetCPUStats(connection, VIR_NODE_CPU_STATS_ALL_CPUS, NULL, &n, 0) < 0 || n > HOST_FIELDS_MAX ||
            virNodeGetCPUStats(connection, VIR_NODE_CPU_STATS_ALL_CPUS, all, &n, 0) < 0)
                return;
        for (int i = 0; i < n; i++)
                if (g_strv_contains(busy, all[i].field))
                        usage->host.cpu_ns += all[i].value;
}

static void take_host_memory(virConnectPtr connection, struct virt_usage *usage)
{
        static const char *const not_used[] = {VIR_NODE_MEMORY_STATS_FREE, VIR_NODE_MEMORY_STATS_BUFFERS,
                                               VIR_NODE_MEMORY_STATS_CACHED, NULL};
        g_autofree virNodeMemoryStats *all = g_new0(virNodeMemoryStats, HOST_FIELDS_MAX);
        uint64_t total = 0, rest = 0;
        int n = 0;

        if (virNodeGetMemoryStats(connection, VIR_NODE_MEMORY_STATS_ALL_CELLS, NULL, &n, 0) < 0 || n > HOST_FIELDS_MAX ||
            virNodeGetMemoryStats(connection, VIR_NODE_MEMORY_STATS_ALL_CELLS, all, &n, 0) < 0)
                return;
        for (int i = 0; i < n; i++)
                if (strcmp(all[i].field, VIR_NODE_MEMORY_STATS_TOTAL) == 0)
                        total = all[i].value * 1024;
                else if (g_strv_contains(not_used, all[i].field))
                        rest += all[i].value * 1024;
        usage->host.memory_bytes = total;
        usage->host.memory_used_bytes = total > rest ? total - rest : 0;
}

static void take_host(virConnectPtr connection, struct virt_usage *usage)
{
        virNodeInfo info;

        if (virNodeGetInfo(connection, &info) == 0)
                usage->cpus = info.cpus;
        take_host_cpu(connection, usage);
        take_host_memory(connection, usage);
}

int virt_usage_take(struct virt *virt, struct virt_usage **ret_usage, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        struct virt_usage *usage;
        virDomainStatsRecordPtr *records = NULL;
        int n;

        assert(virt && ret_usage && reterr);

        connection = virt_use(virt, VIRT_QUERIES, reterr);
        if (!connection)
                return VIRT_E_UNREACHABLE;
        n = virConnectGetAllDomainStats(connection, WANTED, &records,
                                        VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);
        if (n < 0)
                return virt_fail(reterr, "LibvirtUnreachable");
        usage = g_new0(struct virt_usage, 1);
        usage->at_us = clock_monotonic_us(clock_system());
        usage->domains = g_array_new(FALSE, TRUE, sizeof(struct virt_counters));
        for (int i = 0; i < n; i++) {
                struct virt_counters counters = {};

                if (virDomainGetUUIDString(records[i]->dom, counters.uuid) < 0)
                        continue;
                take_domain(records[i], &counters);
                g_array_append_val(usage->domains, counters);
        }
        virDomainStatsRecordListFree(records);
        take_host(connection, usage);
        *ret_usage = usage;
        return 0;
}
