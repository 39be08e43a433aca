/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/doctor/doctor.h"

#include "base/clock.h"
#include "controllers/node/node.h"
#include "controllers/object.h"
#include "generated/reasons.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define DELETING_BOUND_US  600000000ull /* a deletion that takes longer is stuck */
#define OPERATION_BOUND_US 900000000ull /* an operation that tells nothing for longer has stalled */
#define SETTLED_US         10000000ull  /* what is younger is being worked on */

struct doctor_report *doctor_report_free(struct doctor_report *report)
{
        if (report) {
                g_ptr_array_unref(report->findings);
                arena_free(report->arena);
                g_free(report);
        }
        return NULL;
}

/* --- words
 * -----------------------------------------------------------------------------------------------------------------------------------------
 */

static const char *subject_of(struct doctor_report *report, const struct cache_object *object)
{
        return object->namespace ? arena_printf(report->arena, "%s/%s/%s", object->kind->plural, object->namespace, object->name)
                                 : arena_printf(report->arena, "%s/%s", object->kind->plural, object->name);
}

static const char *people_of(struct doctor_report *report, const struct cache_object *object)
{
        return object->namespace ? arena_printf(report->arena, "%s/%s/%s", object->kind->kind, object->namespace, object->name)
                                 : arena_printf(report->arena, "%s/%s", object->kind->kind, object->name);
}

static struct doctor_finding *found(struct doctor_report *report, const char *code, const char *severity,
                                    const struct cache_object *object)
{
        struct doctor_finding *finding = arena_new0(report->arena, struct doctor_finding);

        *finding = (struct doctor_finding){
                .code = code,
                .severity = severity,
                .subject = subject_of(report, object),
                .object = people_of(report, object),
                .kind = object->kind,
                .namespace = arena_strdup(report->arena, object->namespace),
                .name = arena_strdup(report->arena, object->name),
                .uid = arena_strdup(report->arena, object->uid),
                .revision = object->revision,
        };
        g_ptr_array_add(report->findings, finding);
        return finding;
}

static void seen(struct doctor_report *report, struct doctor_finding *finding, const char *format, ...) G_GNUC_PRINTF(3, 4);
static void seen(struct doctor_report *report, struct doctor_finding *finding, const char *format, ...)
{
        g_autofree char *words = NULL;
        va_list args;

        if (finding->n_evidence == DOCTOR_EVIDENCE_MAX)
                return;
        va_start(args, format);
        words = g_strdup_vprintf(format, args);
        va_end(args);
        finding->evidence[finding->n_evidence++] = arena_strdup(report->arena, words);
}

static void would(struct doctor_finding *finding, enum doctor_fix action, const char *words, const char *safe)
{
        finding->action = action;
        finding->fix = words;
        finding->safe = safe;
}

static const char *ago(struct doctor_report *report, uint64_t then_us)
{
        char text[32];

        return arena_strdup(report->arena, clock_format_age(report->now_us > then_us ? report->now_us - then_us : 0, text));
}

static bool young(const struct doctor_report *report, const struct cache_object *object)
{
        uint64_t created = object_created_us(object);

        return created + SETTLED_US > report->now_us;
}

/* --- I1: at most one running instance
 * ------------------------------------------------------------------------------------------------------------
 */

static bool is_live(const struct cache_object *instance)
{
        return instance_active(instance) && !object_deleting(instance);
}

static bool migrating(const struct cache_object *machine)
{
        const struct api_virtual_machine *view = machine ? machine->view : NULL;

        return view && view->status && g_strcmp0(view->status->phase, "Migrating") == 0;
}

static void say_instance(struct doctor_report *report, struct doctor_finding *finding, const struct cache_object *object)
{
        const struct api_instance *view = object->view;

        seen(report, finding, "Instance %s on node %s: power %s, epoch %" PRId64 ", says %s", object->name, view->spec->node_name,
             view->spec->power, view->spec->epoch, view->status && view->status->state ? view->status->state : "nothing");
}

static bool claims_to_run(const struct cache_object *instance)
{
        static const char *const states[] = {"running", "paused", "creating", "shutdown", "migrating"};
        const struct api_instance *view = instance->view;

        return view->status && view->status->state && strings_hold(states, G_N_ELEMENTS(states), view->status->state);
}

static bool check_instances(const struct cache_object *object, void *userdata)
{
        struct doctor_report *report = userdata;
        const struct api_instance *view = object->view;
        g_autoptr(GPtrArray) all = view->spec && view->spec->machine
                                           ? cache_lookup(report->cache, INDEX_INSTANCE_BY_MACHINE, view->spec->machine->uid)
                                           : NULL;
        size_t live = 0, claims = 0;

        for (guint i = 0; all && i < all->len; i++) {
                live += is_live(all->pdata[i]);
                claims += claims_to_run(all->pdata[i]);
        }
        /* Told once, at the first of them. */
        if (!all || all->len < 2 || all->pdata[0] != object || (live < 2 && claims < 2) ||
            migrating(cache_by_uid(report->cache, view->spec->machine->uid)))
                return true;
        struct doctor_finding *finding = found(report, REASON_TWO_INSTANCES, "Critical", object);
        finding->object =
                arena_printf(report->arena, "VirtualMachine/%s/%s", view->spec->machine->namespace, view->spec->machine->name);
        for (guint i = 0; i < all->len; i++)
                say_instance(report, finding, all->pdata[i]);
        return true;
}

/* --- I2: no disk writable in two machines
 * --------------------------------------------------------------------------------------------------------
 */

static bool writes_to(const struct api_instance *instance, const char *volume)
{
        for (size_t i = 0; i < instance->spec->n_disks; i++)
                if (g_strcmp0(instance->spec->disks[i].volume, volume) == 0 && !instance->spec->disks[i].read_only &&
                    g_strcmp0(instance->spec->disks[i].kind, "Cdrom") != 0)
                        return true;
        return false;
}

static bool check_volume_users(const struct cache_object *object, void *userdata)
{
        struct doctor_report *report = userdata;
        const struct api_volume *volume = object->view;
        g_autoptr(GPtrArray) all = cache_lookup(report->cache, INDEX_INSTANCE_BY_VOLUME, object->name);
        g_autoptr(GPtrArray) writers = g_ptr_array_new();
        const char *machine = NULL;
        bool two = false;

        for (guint i = 0; all && i < all->len; i++) {
                const struct cache_object *user = all->pdata[i];
                const struct api_instance *view = user->view;

                if (!instance_active(user) || !writes_to(view, object->name) || (volume->spec && volume->spec->read_only))
                        continue;
                two = two || (machine && g_strcmp0(machine, view->spec->machine->uid) != 0);
                machine = view->spec->machine->uid;
                g_ptr_array_add(writers, (void *)user);
        }
        if (!two)
                return true;
        struct doctor_finding *finding = found(report, REASON_DISK_IN_TWO_MACHINES, "Critical", object);
        for (guint i = 0; i < writers->len; i++)
                say_instance(report, finding, writers->pdata[i]);
        return true;
}

/* --- what linked disks read from
 * --------------------------------------------------------------------------------------------------------------------------
 */

static bool check_link(const struct cache_object *object, void *userdata)
{
        struct doctor_report *report = userdata;
        const struct api_volume *volume = object->view, *behind;
        const struct api_volume_copied *copied = volume->status ? volume->status->copied : NULL;
        const char *mode = copied && copied->mode ? copied->mode : volume->spec->copy ? volume->spec->copy->mode : NULL;
        const struct cache_object *source;
        struct doctor_finding *finding;

        if (!volume->spec->copy || g_strcmp0(mode, "Linked") != 0 || object_deleting(object) ||
            (volume->status && g_strcmp0(volume->status->state, "Gone") == 0))
                return true;
        source = cache_get(report->cache, &api_volume_kind, NULL, volume->spec->copy->volume);
        behind = source ? source->view : NULL;
        if (source && !object_deleting(source) && g_strcmp0(behind->spec->node_name, volume->spec->node_name) == 0)
                return true;
        finding = found(report, REASON_LINK_BROKEN, "Critical", object);
        seen(report, finding, "it reads what was not written to it from Volume %s", volume->spec->copy->volume);
        if (!source)
                seen(report, finding, "there is no such Volume; its file may still lie in the pool");
        else if (object_deleting(source))
                seen(report, finding, "that Volume is being deleted");
        else
                seen(report, finding, "that Volume lies on node %s, and this one on node %s", behind->spec->node_name,
                     volume->spec->node_name);
        return true;
}

/* --- I3: no address twice
 * ------------------------------------------------------------------------------------------------------------------------
 */

struct claims {
        struct doctor_report *report;
        GHashTable *by_claim; /* "mac <network> <mac>" -> struct cache_object */
};

static void claim(struct claims *claims, const struct cache_object *port, const char *what, const char *where, const char *value)
{
        char *key = g_strdup_printf("%s %s of %s", what, value, where);
        const struct cache_object *other = g_hash_table_lookup(claims->by_claim, key);

        if (!other) {
                g_hash_table_insert(claims->by_claim, key, (void *)port);
                return;
        }
        struct doctor_finding *finding = found(claims->report, REASON_ADDRESS_TWICE, "Critical", port);
        seen(claims->report, finding, "both %s and %s have the %s", other->name, port->name, key);
        g_free(key);
}

static bool claim_port(const struct cache_object *object, void *userdata)
{
        struct claims *claims = userdata;
        const struct api_port *view = object->view;

        if (!view->spec || !view->spec->network || (view->status && g_strcmp0(view->status->state, "Gone") == 0))
                return true;
        if (object_is_standby(object))
                return true; /* of a machine that moves: the same one twice */
        if (view->spec->mac)
                claim(claims, object, "MAC address", view->spec->network->name, view->spec->mac);
        if (view->spec->tap_name)
                claim(claims, object, "tap name", view->spec->node_name, view->spec->tap_name);
        for (size_t i = 0; i < view->spec->n_addresses; i++)
                claim(claims, object, "IP address", view->spec->network->name, view->spec->addresses[i]);
        return true;
}

static void check_addresses(struct doctor_report *report)
{
        g_autoptr(GHashTable) by_claim = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        struct claims claims = {.report = report, .by_claim = by_claim};

        cache_each(report->cache, &api_port_kind, NULL, claim_port, &claims);
}

/* --- I7: no port without a policy
 * ----------------------------------------------------------------------------------------------------------------
 */

static bool check_policy(const struct cache_object *object, void *userdata)
{
        struct doctor_report *report = userdata;
        const struct api_port *view = object->view;
        const struct api_port_policy *policy = view->spec ? view->spec->policy : NULL;
        bool ready = view->status && g_strcmp0(view->status->state, "Ready") == 0;
        const char *in_place = view->status ? view->status->policy_digest : NULL;

        if (object_deleting(object) || young(report, object))
                return true;
        if (policy && (!ready || !policy->digest || g_strcmp0(policy->digest, in_place) == 0 ||
                       view->status->observed_generation != object_meta(object)->generation))
                return true;
        struct doctor_finding *finding = found(report, REASON_PORT_WITHOUT_POLICY, "Critical", object);
        if (policy)
                seen(report, finding, "the host says that the policy %s is in place; wanted is %s", in_place ?: "(none)",
                     policy->digest);
        else
                seen(report, finding, "spec.policy is missing");
        return true;
}

/* --- intents without owners, nodes or anybody to end them
 * ----------------------------------------------------------------------------------------
 */

struct intent_facts {
        const char *node, *owner_uid, *owner, *state;
};

static struct intent_facts facts_of(const struct cache_object *object, struct arena *arena)
{
        const struct json_value *spec = json_get(cache_root(object), "spec");
        const struct json_value *owner = json_get(spec, "machine") ? json_get(spec, "machine") : json_get(spec, "owner");

        return (struct intent_facts){
                .node = json_find_string(spec, "nodeName", NULL),
                .owner_uid = json_find_string(owner, "uid", NULL),
                .owner = owner ? arena_printf(arena, "%s/%s", json_find_string(owner, "namespace", NULL) ?: "-",
                                              json_find_string(owner, "name", NULL) ?: "?")
                               : "?",
                .state = json_find_string(cache_root(object), "status", "state", NULL),
        };
}

static bool check_intent(const struct cache_object *object, void *userdata)
{
        struct doctor_report *report = userdata;
        struct intent_facts facts = facts_of(object, report->arena);
        bool orphan = facts.owner_uid && !cache_by_uid(report->cache, facts.owner_uid);
        bool homeless = facts.node && !cache_get(report->cache, &api_node_kind, NULL, facts.node);
        struct doctor_finding *finding;

        if (homeless) {
                finding = found(report, REASON_FINALIZER_UNATTENDED, "Warning", object);
                seen(report, finding, "it is bound to node %s, which does not exist", facts.node);
                return true;
        }
        if (!orphan || young(report, object))
                return true;
        if (!object_deleting(object)) {
                finding = found(report, REASON_OWNER_GONE, "Warning", object);
                seen(report, finding, "no object has the UID %s of its owner %s", facts.owner_uid, facts.owner);
                seen(report, finding, "it is bound to node %s and says %s", facts.node ?: "?", facts.state ?: "nothing");
                /* Bytes whose owner is unknown are for a person to judge. */
                if (object->kind != &api_volume_kind)
                        would(finding, DOCTOR_FIX_DELETE, "delete the intent; its host takes the work down",
                              "its owner is gone, so nobody uses it; disks are other intents and stay");
        } else if (g_strcmp0(facts.state, "Gone") == 0 && object_has_finalizer(object, FINALIZER_AGENT)) {
                finding = found(report, REASON_FINALIZER_UNATTENDED, "Warning", object);
                seen(report, finding, "its host says Gone, and its owner %s that would take the finalizer %s away is gone too",
                     facts.owner, FINALIZER_AGENT);
                would(finding, DOCTOR_FIX_FINALIZER, "take the finalizer away", "its host says that nothing of it is left");
        }
        return true;
}

/* --- deletions
 * -----------------------------------------------------------------------------------------------------------------------------------
 */

static void say_conditions(struct doctor_report *report, struct doctor_finding *finding, const struct json_value *status)
{
        for (const struct json_value *c = json_first(json_get(status, "conditions")); c; c = json_next(c))
                if (g_strcmp0(json_find_string(c, "status", NULL), "False") == 0)
                        seen(report, finding, "condition %s is False: %s", json_find_string(c, "type", NULL) ?: "?",
                             json_find_string(c, "message", NULL) ?: json_find_string(c, "reason", NULL) ?: "");
}

static bool check_deletion(const struct cache_object *object, void *userdata)
{
        struct doctor_report *report = userdata;
        const struct api_object_meta *meta = object_meta(object);
        uint64_t since = time_us(meta->deletion_timestamp);
        const struct json_value *status = json_get(cache_root(object), "status");
        const char *error = json_find_string(status, "error", "message", NULL), *state = json_find_string(status, "state", NULL);

        if (since == 0 || since + DELETING_BOUND_US > report->now_us)
                return true;
        struct doctor_finding *finding = found(report, REASON_STUCK_DELETING, "Warning", object);
        seen(report, finding, "its deletion was asked for %s ago", ago(report, since));
        for (size_t i = 0; i < meta->n_finalizers; i++)
                seen(report, finding, "it waits for the finalizer %s", meta->finalizers[i]);
        if (state)
                seen(report, finding, "its host says %s", state);
        if (error)
                seen(report, finding, "the last failure: %s", error);
        say_conditions(report, finding, status);
        return true;
}

/* --- phases and operations
 * ------------------------------------------------------------------------------------------------------------------------
 */

static bool check_machine(const struct cache_object *object, void *userdata)
{
        struct doctor_report *report = userdata;
        const struct api_virtual_machine *view = object->view;
        const char *phase = view->status ? view->status->phase : NULL;
        g_autoptr(GPtrArray) all = cache_lookup(report->cache, INDEX_INSTANCE_BY_MACHINE, object->uid);
        bool says_running = g_strcmp0(phase, "Running") == 0, says_stopped = g_strcmp0(phase, "Stopped") == 0, runs = false;

        if (object_deleting(object) || young(report, object) || (!says_running && !says_stopped))
                return true;
        for (guint i = 0; all && i < all->len; i++) {
                const struct api_instance *instance = ((const struct cache_object *)all->pdata[i])->view;

                runs = runs || (instance->status && g_strcmp0(instance->status->state, "running") == 0);
        }
        if (runs == says_running)
                return true;
        struct doctor_finding *finding = found(report, REASON_PHASE_DISAGREES, "Critical", object);
        seen(report, finding, "status.phase is %s", phase);
        for (guint i = 0; all && i < all->len; i++)
                say_instance(report, finding, all->pdata[i]);
        if (!all || all->len == 0)
                seen(report, finding, "it has no Instance");
        return true;
}

static uint64_t last_word_us(const struct cache_object *object)
{
        uint64_t last = object_created_us(object);
        const struct json_value *conditions = json_find(cache_root(object), "status", "conditions", NULL);

        for (const struct json_value *c = json_first(conditions); c; c = json_next(c)) {
                const char *time = json_find_string(c, "lastTransitionTime", NULL);

                if (time)
                        last = MAX(last, time_us(time));
        }
        return last;
}

static bool check_operation(const struct cache_object *object, void *userdata)
{
        static const char *const ended[] = {"Completed", "Failed", "Superseded", "Terminating"};
        struct doctor_report *report = userdata;
        const struct api_virtual_machine_operation *view = object->view;
        const char *phase = view->status ? view->status->phase : NULL;
        uint64_t last = last_word_us(object);

        if ((phase && strings_hold(ended, G_N_ELEMENTS(ended), phase)) || last + OPERATION_BOUND_US > report->now_us)
                return true;
        struct doctor_finding *finding = found(report, REASON_OPERATION_STALLED, "Warning", object);
        seen(report, finding, "its phase is %s, and nothing was told of it for %s", phase ?: "not set", ago(report, last));
        seen(report, finding, "its machine is %s", view->spec ? view->spec->virtual_machine_name : "?");
        say_conditions(report, finding, json_get(cache_root(object), "status"));
        return true;
}

/* --- leases
 * --------------------------------------------------------------------------------------------------------------------------------------
 */

static bool check_node_lease(const struct cache_object *object, void *userdata)
{
        struct doctor_report *report = userdata;

        if (cache_get(report->cache, &api_node_kind, NULL, object->name) || young(report, object))
                return true;
        struct doctor_finding *finding = found(report, REASON_LEASE_UNBOUND, "Warning", object);
        seen(report, finding, "there is no node %s", object->name);
        would(finding, DOCTOR_FIX_DELETE, "delete the lease", "a node that joins gets a new one");
        return true;
}

static bool check_address_lease(const struct cache_object *object, void *userdata)
{
        struct doctor_report *report = userdata;
        const struct api_virtual_machine_ip_address_lease *view = object->view;
        const struct api_namespaced_ref *ref = view->spec ? view->spec->virtual_machine_ip_address_ref : NULL;
        bool released = view->status && g_strcmp0(view->status->phase, "Released") == 0;
        uint64_t since = view->status ? time_us(view->status->released_at) : 0;

        if (object_deleting(object) || young(report, object))
                return true;
        /* A released one stays for its project a while; its controller removes it. */
        if (released
                    ? since + 2 * DELETING_BOUND_US > report->now_us
                    : ref && ref->name && cache_get(report->cache, &api_virtual_machine_ip_address_kind, ref->namespace, ref->name))
                return true;
        struct doctor_finding *finding = found(report, REASON_LEASE_UNBOUND, "Warning", object);
        if (released)
                seen(report, finding, "it was released %s ago and is still there", ago(report, since));
        else
                seen(report, finding, "it is held by %s/%s, which does not exist", ref && ref->namespace ? ref->namespace : "-",
                     ref && ref->name ? ref->name : "nobody");
        would(finding, DOCTOR_FIX_DELETE, "delete the lease; its address can then be given to another machine",
              "no VirtualMachineIPAddress holds it");
        return true;
}

/* --- all
 * -------------------------------------------------------------------------------------------------------------------------------------
 */

const char *doctor_node_silent(const struct cache *cache, const struct cache_object *node, uint64_t now_us, struct arena *arena)
{
        const struct cache_object *object = cache_get(cache, &api_lease_kind, NODE_LEASE_NAMESPACE, node->name);
        const struct api_lease *lease = object ? object->view : NULL;
        uint64_t renewed = lease && lease->spec ? time_us(lease->spec->renew_time) : 0;
        char text[CLOCK_RFC3339_MAX];

        assert(arena);

        if (renewed == 0)
                return arena_printf(arena, "node %s: its agent has never renewed a lease", node->name);
        if (renewed + NODE_LEASE_SECONDS * 1000000ull > now_us)
                return NULL;
        return arena_printf(arena, "node %s: its agent has not answered since %s", node->name,
                            clock_format_rfc3339(renewed, false, text));
}

struct doctor_report *doctor_look(const struct cache *cache, uint64_t now_us)
{
        static const struct schema_kind *const intents[] = {&api_instance_kind, &api_volume_kind, &api_port_kind,
                                                            &api_host_task_kind};
        static const struct schema_kind *const deletable[] = {
                &api_namespace_kind,
                &api_storage_pool_kind,
                &api_network_kind,
                &api_virtual_machine_kind,
                &api_virtual_disk_kind,
                &api_virtual_image_kind,
                &api_cluster_virtual_image_kind,
                &api_virtual_machine_class_kind,
                &api_virtual_machine_ip_address_kind,
                &api_instance_kind,
                &api_volume_kind,
                &api_port_kind,
                &api_host_task_kind,
        };
        struct doctor_report *report = g_new0(struct doctor_report, 1);

        assert(cache);

        *report = (struct doctor_report){.arena = arena_new(0), .findings = g_ptr_array_new(), .cache = cache, .now_us = now_us};
        cache_each(cache, &api_instance_kind, NULL, check_instances, report);
        cache_each(cache, &api_volume_kind, NULL, check_volume_users, report);
        cache_each(cache, &api_volume_kind, NULL, check_link, report);
        check_addresses(report);
        cache_each(cache, &api_port_kind, NULL, check_policy, report);
        cache_each(cache, &api_virtual_machine_kind, NULL, check_machine, report);
        for (size_t i = 0; i < G_N_ELEMENTS(intents); i++)
                cache_each(cache, intents[i], NULL, check_intent, report);
        for (size_t i = 0; i < G_N_ELEMENTS(deletable); i++)
                cache_each(cache, deletable[i], NULL, check_deletion, report);
        cache_each(cache, &api_virtual_machine_operation_kind, NULL, check_operation, report);
        cache_each(cache, &api_lease_kind, NODE_LEASE_NAMESPACE, check_node_lease, report);
        cache_each(cache, &api_virtual_machine_ip_address_lease_kind, NULL, check_address_lease, report);
        return report;
}

const struct doctor_finding *doctor_find(const struct doctor_report *report, const char *code, const char *subject)
{
        assert(report && code && subject);

        for (guint i = 0; i < report->findings->len; i++) {
                const struct doctor_finding *finding = report->findings->pdata[i];

                if (strcmp(finding->code, code) == 0 && strcmp(finding->subject, subject) == 0)
                        return finding;
        }
        return NULL;
}
