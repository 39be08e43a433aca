/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/core.h"

#include "agent/migration_keys.h"
#include "agent/net/link.h"
#include "agent/reboot.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "generated/api_types.h"
#include "generated/reasons.h"
#include "virt/pools.h"

#include <assert.h>
#include <string.h>

#define INTERVAL_US        60000000ull
#define RETRY_US           5000000ull
#define RESERVED_MIN_BYTES (512ull << 20) /* of memory, for the host itself */
#define RESERVED_SHARE     25             /* or one in so many */
#define ADDRESSES_MAX      16
#define CONDITIONS_MAX     5
#define FIRST_LOOK_US      5000000ull

/* What the node tells of itself: gathered on a pool thread, sent from the loop; at the start, on a change, once a minute. */
struct node_report {
        struct agent *agent;
        struct loop_source *timer;
        struct http_call *call;
        bool gathering, again;
};

struct gathering {
        struct agent *agent;
        struct host *host; /* NULL: libvirt was not reached yet */
        char *libvirt_words;
        bool guests_service, small_stack;
        bool upgraded; /* another QEMU is installed than the facts tell of */
        GPtrArray *pool_names;
        struct arena *arena;
        struct json_doc *body;
};

/* --- facts -----------------------------------------------------------------------------------------------------------------------
 */

static const char *read_line(struct arena *arena, const char *path)
{
        g_autofree char *text = NULL;
        size_t len;

        return file_read(path, 4096, &text, &len) == 0 ? arena_strdup(arena, g_strstrip(text)) : NULL;
}

static const char *os_image(struct arena *arena)
{
        g_autofree char *text = NULL, *name = NULL;
        const char *line;
        size_t len;

        if (file_read("/etc/os-release", 65536, &text, &len) < 0) {
                return NULL;
        }
        line = strstr(text, "PRETTY_NAME=");
        if (!line) {
                return NULL;
        }
        line += strlen("PRETTY_NAME=");
        name = g_strndup(line, strcspn(line, "\n"));
        return arena_strdup(arena, g_strstrip(g_strdelimit(name, "\"'", ' ')));
}

static void add_pair(struct gathering *gathering, struct api_pair *pairs, size_t *n, const char *key, const char *format,
                     uint64_t value)
{
        pairs[(*n)++] =
                (struct api_pair){.key = key, .value = arena_printf(gathering->arena, "%" G_GUINT64_FORMAT "%s", value, format)};
}

static void gather_sizes(struct gathering *gathering, struct api_node_status *status)
{
        const struct host_facts *facts = &gathering->host->facts;
        uint64_t reserved = MAX(RESERVED_MIN_BYTES, facts->memory_bytes / RESERVED_SHARE);
        uint64_t usable = facts->memory_bytes > reserved ? facts->memory_bytes - reserved : 0;

        status->capacity = arena_array(gathering->arena, 2, sizeof(*status->capacity));
        status->allocatable = arena_array(gathering->arena, 2, sizeof(*status->allocatable));
        add_pair(gathering, status->capacity, &status->n_capacity, "cpu", "", facts->cpus);
        add_pair(gathering, status->capacity, &status->n_capacity, "memory", "Ki", facts->memory_bytes / 1024);
        add_pair(gathering, status->allocatable, &status->n_allocatable, "cpu", "", facts->cpus);
        add_pair(gathering, status->allocatable, &status->n_allocatable, "memory", "Ki", usable / 1024);
}

static void gather_info(struct gathering *gathering, struct api_node_status *status)
{
        struct api_node_system_info *info = arena_new0(gathering->arena, struct api_node_system_info);
        const struct host_facts *facts = gathering->host ? &gathering->host->facts : NULL;

        info->machine_id = read_line(gathering->arena, "/etc/machine-id");
        info->boot_id = host_boot_id(gathering->arena);
        info->kernel_version = read_line(gathering->arena, "/proc/sys/kernel/osrelease");
        info->os_image = os_image(gathering->arena);
        info->kubelet_version = GABBRO_VERSION;
        info->kube_proxy_version = GABBRO_VERSION;
        info->operating_system = "linux";
        if (facts) {
                info->architecture = g_strcmp0(facts->architecture, "x86_64") == 0 ? "amd64" : facts->architecture;
                info->container_runtime_version = arena_printf(gathering->arena, "libvirt://%s", facts->libvirt_version);
        }
        status->node_info = info;
}

struct addresses {
        struct arena *arena;
        struct api_node_address *list;
        size_t n;
        GHashTable *ours; /* indexes of our bridges */
};

static bool note_bridge(const struct link_info *info, void *userdata)
{
        struct addresses *addresses = userdata;

        if (g_str_has_prefix(info->alias, "gabbro:") || g_str_equal(info->name, "lo")) {
                g_hash_table_add(addresses->ours, GINT_TO_POINTER(info->index));
        }
        return true;
}

static bool note_address(const struct link_address *address, void *userdata)
{
        struct addresses *addresses = userdata;
        char text[ADDRESS_TEXT_MAX];
        bool link_local =
                address->address.family == 6 && address->address.bytes[0] == 0xfe && (address->address.bytes[1] & 0xc0) == 0x80;

        if (!link_local && !g_hash_table_contains(addresses->ours, GINT_TO_POINTER(address->index)) &&
            addresses->n < ADDRESSES_MAX) {
                address_format(&address->address, text);
                addresses->list[addresses->n++] =
                        (struct api_node_address){.type = "InternalIP", .address = arena_strdup(addresses->arena, text)};
        }
        return true;
}

struct api_node_address *node_addresses(struct arena *arena, size_t *ret_n)
{
        g_autoptr(GHashTable) ours = g_hash_table_new(NULL, NULL);
        struct addresses addresses = {.arena = arena, .ours = ours};
        g_autoptr(link_socket) link = NULL;

        assert(arena && ret_n);
        addresses.list = arena_array(arena, ADDRESSES_MAX + 1, sizeof(*addresses.list));
        addresses.list[addresses.n++] =
                (struct api_node_address){.type = "Hostname", .address = arena_strdup(arena, g_get_host_name())};
        if (link_open(&link) == 0 && link_each(link, note_bridge, &addresses) == 0) {
                /* An incomplete list is better than none. */
                (void)link_each_address(link, note_address, &addresses);
        }
        *ret_n = addresses.n;
        return addresses.list;
}

static void gather_pools(struct gathering *gathering, struct api_node_virtualization *virtualization)
{
        virtualization->pools = arena_array(gathering->arena, gathering->pool_names->len, sizeof(*virtualization->pools));
        for (unsigned i = 0; i < gathering->pool_names->len; i++) {
                struct virt_pool_info info = {};
                struct virt_error error;

                if (virt_pool_info(gathering->agent->virt, gathering->pool_names->pdata[i], &info, &error) == 0) {
                        virtualization->pools[virtualization->n_pools++] = (struct api_node_pool){
                                .name = gathering->pool_names->pdata[i],
                                .capacity_bytes = info.capacity_bytes,
                                .has_capacity_bytes = true,
                                .available_bytes = info.available_bytes,
                                .has_available_bytes = true,
                                .filesystem = arena_strdup(gathering->arena, info.filesystem),
                                .reflink = info.reflink,
                                .has_reflink = info.filesystem != NULL,
                        };
                }
                virt_pool_info_clear(&info);
        }
}

static struct api_node_cpu *gather_cpu(struct gathering *gathering)
{
        struct api_node_cpu *cpu = arena_new0(gathering->arena, struct api_node_cpu);
        const struct host_facts *facts = &gathering->host->facts;

        cpu->vendor = facts->host_model.vendor;
        cpu->model = facts->host_model.model;
        cpu->hypervisor_models = arena_array(gathering->arena, facts->n_models, sizeof(*cpu->hypervisor_models));
        cpu->other_models = arena_array(gathering->arena, facts->n_models, sizeof(*cpu->other_models));
        for (size_t i = 0; i < facts->n_models; i++) {
                const struct host_cpu_model *model = &facts->models[i];

                if (model->usable) {
                        cpu->hypervisor_models[cpu->n_hypervisor_models++] = model->name;
                } else {
                        cpu->other_models[cpu->n_other_models++] = (struct api_node_cpu_model){
                                .name = model->name, .missing = model->missing.names, .n_missing = model->missing.n};
                }
        }
        cpu->features = facts->cpu_features.names;
        cpu->n_features = facts->cpu_features.n;
        cpu->passthrough = facts->passthrough;
        cpu->has_passthrough = true;
        return cpu;
}

static void gather_virtualization(struct gathering *gathering, struct api_node_status *status)
{
        struct api_node_virtualization *virtualization = arena_new0(gathering->arena, struct api_node_virtualization);
        const struct host_facts *facts = &gathering->host->facts;

        virtualization->type = gathering->host->type == VIRT_TYPE_KVM ? "kvm" : "qemu";
        virtualization->type_reason = gathering->host->type_words;
        virtualization->libvirt_version = facts->libvirt_version;
        virtualization->qemu_version = facts->qemu_version;
        virtualization->agent_version = GABBRO_VERSION;
        virtualization->protocol = GATEWAY_PROTOCOL;
        virtualization->has_protocol = true;
        virtualization->firmwares = arena_array(gathering->arena, 3, sizeof(*virtualization->firmwares));
        virtualization->firmwares[virtualization->n_firmwares++] = "BIOS";
        if (facts->efi) {
                virtualization->firmwares[virtualization->n_firmwares++] = "EFI";
        }
        if (facts->efi_secure) {
                virtualization->firmwares[virtualization->n_firmwares++] = "EFIWithSecureBoot";
        }
        virtualization->migration_address = migration_keys_address(gathering->arena);
        virtualization->graphics_address = gathering->agent->graphics_address;
        virtualization->tpm = facts->tpm;
        virtualization->spice = facts->spice;
        virtualization->has_tpm = virtualization->has_spice = true;
        gather_pools(gathering, virtualization);
        virtualization->cpu = gather_cpu(gathering);
        status->virtualization = virtualization;
}

/* --- conditions ------------------------------------------------------------------------------------------------------------------
 */

static struct api_node_condition ready_condition(const struct gathering *gathering, const char *now)
{
        struct api_node_condition ready = {
                .type = "Ready", .status = "False", .last_heartbeat_time = now, .last_transition_time = now};

        if (gathering->libvirt_words || !gathering->host) {
                ready.reason = REASON_LIBVIRT_UNREACHABLE;
                ready.message = gathering->libvirt_words ? gathering->libvirt_words : "the agent looks at the host";
        } else if (gathering->guests_service) {
                ready.reason = REASON_LIBVIRT_GUESTS_ENABLED;
                ready.message = "the service libvirt-guests is enabled and would start and stop machines on its own; disable it";
        } else {
                ready.status = "True";
                ready.reason = REASON_AGENT_RUNNING;
                ready.message = gathering->small_stack
                                        ? "the agent works and libvirt answers; a guest can end libvirtd, whose threads have a "
                                          "stack of less than 1 GiB"
                                        : "the agent works and libvirt answers";
        }
        return ready;
}

/* D26: what a class promises as a share of a core is nothing where nobody weighs. */
static struct api_node_condition weights_condition(const struct gathering *gathering, const char *now)
{
        struct api_node_condition weights = {.type = "CPUWeights", .last_heartbeat_time = now, .last_transition_time = now};
        unsigned version = host_weights(gathering->host);

        weights.status = version ? "True" : "False";
        weights.reason = version ? REASON_CPU_WEIGHTS_KEPT : REASON_CPU_WEIGHTS_UNAVAILABLE;
        weights.message =
                version ? arena_printf(gathering->arena, "machines get their shares of busy cores, by control groups of version %u",
                                       version)
                : gathering->host->facts.cgroup_version
                        ? "libvirt refused a weight: the cpu controller is not handed on to its control groups; machines run "
                          "without shares of their cores"
                        : "no cpu controller of control groups is mounted; machines run without shares of their cores";
        return weights;
}

/* What becomes of its machines when it is lost: told before it is. */
static struct api_node_condition restart_condition(const char *now)
{
        return (struct api_node_condition){
                .type = "AutomaticRestart",
                .status = "False",
                .reason = REASON_NO_FENCING,
                .message =
                        "when this host is lost, its machines are not started elsewhere by themselves: nothing can prove yet that "
                        "a host which does not answer is off, and two copies would write to the same disks",
                .last_heartbeat_time = now,
                .last_transition_time = now,
        };
}

static void gather_conditions(struct gathering *gathering, struct api_node_status *status)
{
        struct api_node_condition *list = arena_array(gathering->arena, CONDITIONS_MAX, sizeof(*list));
        char now[CLOCK_RFC3339_MAX];
        const char *time = arena_strdup(gathering->arena, clock_format_rfc3339(clock_real_us(clock_system()), false, now));

        list[status->n_conditions++] = ready_condition(gathering, time);
        list[status->n_conditions++] = restart_condition(time);
        if (gathering->host) {
                bool proven = gathering->host->kvm_proven;

                list[status->n_conditions++] = (struct api_node_condition){
                        .type = "KvmProven",
                        .status = proven ? "True" : "False",
                        .reason = proven ? REASON_KVM_PROVEN : REASON_NO_KVM,
                        .message = gathering->host->type_words,
                        .last_heartbeat_time = time,
                        .last_transition_time = time,
                };
        }
        if (gathering->host && !virt_is_test(gathering->agent->virt)) {
                list[status->n_conditions++] = weights_condition(gathering, time);
        }
        if (gathering->host && !virt_is_test(gathering->agent->virt)) {
                struct api_node_condition *ready = &list[status->n_conditions++];

                *ready = (struct api_node_condition){
                        .type = "MigrationReady", .last_heartbeat_time = time, .last_transition_time = time};
                migration_keys_say(gathering->agent, gathering->arena, ready);
        }
        assert(status->n_conditions <= CONDITIONS_MAX);
        status->conditions = list;
}

/* A package that is upgraded under a running agent. */
static bool is_upgraded(struct gathering *gathering)
{
        const char *now = host_qemu_version(gathering->agent->virt, gathering->arena);

        return now && strcmp(now, gathering->host->facts.qemu_version) != 0;
}

static int gather_work(void *userdata)
{
        struct gathering *gathering = userdata;
        struct api_node_status status = {};
        struct json_value *body;

        gather_info(gathering, &status);
        status.addresses = node_addresses(gathering->arena, &status.n_addresses);
        gather_conditions(gathering, &status);
        if (gathering->host) {
                gather_sizes(gathering, &status);
                gather_virtualization(gathering, &status);
                gathering->upgraded = is_upgraded(gathering);
        }
        gathering->body = json_doc_new();
        body = schema_encode(&api_node_status_type, &status, gathering->body);
        json_set_root(gathering->body, body);
        if (gathering->host) {
                struct json_value *labels = json_ensure_object(gathering->body, body, "labels");

                json_set_string(gathering->body, labels, "kubernetes.io/arch", status.node_info->architecture);
                json_set_string(gathering->body, labels, "kubernetes.io/os", "linux");
        }
        return 0;
}

/* --- on the loop -----------------------------------------------------------------------------------------------------------------
 */

static void on_answer(struct http_call *call, int http_status, const char *body, size_t len, const char *error, void *userdata)
{
        struct node_report *report = userdata;

        report->call = NULL;
        if (http_status != 200) {
                loop_timer_set(report->timer, RETRY_US);
                return;
        }
        loop_timer_set(report->timer, report->again ? 0 : INTERVAL_US);
        report->again = false;
}

static void gather_done(int result, void *userdata)
{
        struct gathering *gathering = userdata;
        struct node_report *report = gathering->agent->node;

        if (report) {
                report->gathering = false;
        }
        if (report && result == 0 &&
            gateway_call(gathering->agent->gateway, "PUT", "/agent/v1/node", json_root(gathering->body), on_answer, report,
                         &report->call) < 0) {
                loop_timer_set(report->timer, RETRY_US);
        }
        if (report && gathering->upgraded) {
                host_look(gathering->agent);
        }
        json_doc_free(gathering->body);
        g_ptr_array_unref(gathering->pool_names);
        host_unref(gathering->host);
        g_free(gathering->libvirt_words);
        arena_free(gathering->arena);
        g_free(gathering);
}

static void note_pool(GHashTable *seen, GPtrArray *names, const struct api_volume_pool *pool)
{
        if (pool && pool->name && g_hash_table_add(seen, (char *)pool->name)) {
                g_ptr_array_add(names, g_strdup(pool->name));
        }
}

static GPtrArray *known_pools(struct agent *agent)
{
        GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
        g_autoptr(GPtrArray) all = intents_list(agent->intents, NULL);

        for (unsigned i = 0; i < all->len; i++) {
                const struct intent *intent = all->pdata[i];

                if (intent->kind == &api_volume_kind) {
                        note_pool(seen, names, ((const struct api_volume *)intent->doc->view)->spec->pool);
                } else if (intent->kind == &api_host_task_kind) {
                        note_pool(seen, names, ((const struct api_host_task *)intent->doc->view)->spec->pool);
                }
        }
        return names;
}

static void on_timer(struct loop_source *source, void *userdata)
{
        struct node_report *report = userdata;
        struct agent *agent = report->agent;
        struct gathering *gathering;

        if (report->gathering || report->call) {
                report->again = true;
                return;
        }
        /* An agent that begins knows nothing yet: what was told before it ended counts until it has looked. */
        if (!agent->host && !agent->libvirt_words && loop_now_us(agent->loop) < agent->begun_us + FIRST_LOOK_US) {
                loop_timer_set(report->timer, agent->begun_us + FIRST_LOOK_US - loop_now_us(agent->loop));
                return;
        }
        report->gathering = true;
        gathering = g_new0(struct gathering, 1);
        gathering->agent = agent;
        gathering->host = agent->host ? host_ref(agent->host) : NULL;
        gathering->libvirt_words = g_strdup(agent->libvirt_words);
        gathering->guests_service = agent->guests_service;
        gathering->small_stack = agent->small_stack;
        gathering->pool_names = known_pools(agent);
        gathering->arena = arena_new(0);
        loop_pool_submit(agent->queries, gather_work, gather_done, gathering);
}

int node_report_new(struct agent *agent, struct node_report **ret_report)
{
        struct node_report *report = g_new0(struct node_report, 1);
        int r;

        report->agent = agent;
        r = loop_timer(agent->loop, 0, on_timer, report, &report->timer);
        if (r < 0) {
                node_report_free(report);
                return r;
        }
        *ret_report = report;
        return 0;
}

struct node_report *node_report_free(struct node_report *report)
{
        if (report) {
                http_call_cancel(report->call);
                loop_source_free(report->timer);
                g_free(report);
        }
        return NULL;
}

void node_report_soon(struct node_report *report)
{
        if (!report) {
                return;
        }
        if (report->gathering || report->call) {
                /* The answer to the one under way sets the timer: what is wanted meanwhile must not be lost by that. */
                report->again = true;
        } else {
                loop_timer_set(report->timer, 0);
        }
}
