/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_start.h"

#include "agent/instance_change.h"
#include "agent/instance_graphics.h"
#include "agent/instance_limits.h"
#include "agent/seed.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "virt/boot_sector.h"
#include "virt/pools.h"

#include <stdio.h>
#include <string.h>

#define STEP_DEFINE     "define"
#define LOCKED_AGAIN_US 2000000ull

/* --- seed ------------------------------------------------------------------------------------------------------------------------
 */

const char *instance_seed_path(struct job *job, const struct api_instance *instance)
{
        /* The uid of an intent is checked when it comes; nothing else of the path is from outside. */
        return arena_printf(job->arena, "%s/%s.iso", job->agent->seed_dir, instance->metadata->uid);
}

void instance_remove_seed(struct job *job, const struct api_instance *instance)
{
        const char *path = instance_seed_path(job, instance);

        if (unlink(path) < 0 && errno != ENOENT) {
                log_warning("seed image could not be removed", "path", path, "error", g_strerror(errno));
        }
}

static struct seed_nic describe_nic(struct job *job, const struct api_port_spec *port)
{
        return (struct seed_nic){
                .mac = port->mac,
                .dhcp = true,
                .mtu = port->network->has_mtu && port->network->mtu != 1500 ? port->network->mtu : 0,
        };
}

static int write_seed(struct instance_turn *turn, const struct json_value *answer)
{
        const struct api_instance_seed *wanted = turn->instance->spec->seed;
        const char *encoded = json_find_string(answer, "userData", NULL);
        struct seed_nic *nics = arena_array(turn->job->arena, turn->job->n_ports, sizeof(*nics));
        struct seed seed = {
                .kind = g_strcmp0(wanted->kind, "Sysprep") == 0 ? SEED_SYSPREP : SEED_CLOUD_INIT,
                .instance_id = wanted->instance_id,
                .hostname = wanted->hostname,
                .nics = nics,
                .n_nics = turn->job->n_ports,
        };
        guchar *user_data = encoded ? g_base64_decode(encoded, &seed.user_data_len) : NULL;
        int r;

        for (size_t i = 0; i < turn->job->n_ports; i++) {
                nics[i] = describe_nic(turn->job, turn->job->ports[i].port->spec);
        }
        seed.user_data = user_data ? user_data : (const void *)"";
        r = seed_write(&seed, instance_seed_path(turn->job, turn->instance));
        if (user_data) {
                explicit_bzero(user_data, seed.user_data_len);
                g_free(user_data);
        }
        return r;
}

/* Fetched from the gateway now, kept nowhere but in the image. */
struct api_intent_error *instance_make_seed(struct instance_turn *turn)
{
        g_autofree char *path = g_strconcat("/agent/v1/seed/", turn->instance->metadata->name, NULL), *words = NULL;
        g_autoptr(json_doc) answer = NULL;
        int r;

        if (!turn->instance->spec->seed) {
                return NULL;
        }
        instance_progress(turn, "creating", "seed");
        r = gateway_get(turn->job->agent->gateway, path, &answer, &words);
        if (r < 0) {
                return job_error(turn->job, REASON_SEED_NOT_AVAILABLE, "%s", words ? words : g_strerror(-r));
        }
        r = write_seed(turn, json_root(answer));
        if (!r) {
                r = job_pass(turn->job, "seed", "written");
        }
        if (r < 0) {
                return job_error(turn->job, REASON_SEED_FAILED, "%s", g_strerror(-r));
        }
        return NULL;
}

/* --- what must be there first
 * ----------------------------------------------------------------------------------------------------- */

static bool inputs_ready(struct instance_turn *turn)
{
        struct job *job = turn->job;

        for (size_t i = 0; i < job->n_volumes; i++) {
                if (turn->instance->spec->disks[i].attachment) {
                        continue; /* it comes later when it is not ready now */
                }
                if (!job->volumes[i].empty && (!job->volumes[i].ready || !job->volumes[i].path)) {
                        instance_wait(turn, "volume", NULL);
                        return false;
                }
                if (job->volumes[i].locked) {
                        instance_wait(turn, "volume", job_error(job, REASON_DISK_IN_USE, "%s", job->volumes[i].locked));
                        job->again_us = LOCKED_AGAIN_US;
                        return false;
                }
        }
        for (size_t i = 0; i < job->n_ports; i++) {
                if (!job->ports[i].ready) {
                        instance_wait(turn, "port",
                                      job->ports[i].trouble ? job_error(job, REASON_PORT_FAILED, "interface %zu: %s", i + 1,
                                                                        job->ports[i].trouble)
                                                            : NULL);
                        return false;
                }
        }
        return true;
}

struct api_intent_error *instance_grow_volume(struct job *job, const struct job_volume *volume)
{
        struct virt_error error = {};
        int r;

        assert(job && volume);
        if (!volume->grow_bytes) {
                return NULL;
        }
        r = virt_volume_grow(job->agent->virt, volume->pool, volume->file,
                             g_strcmp0(volume->format, "qcow2") == 0 ? VIRT_FORMAT_QCOW2 : VIRT_FORMAT_RAW, volume->grow_bytes,
                             &error);
        /* VIRT_E_INVALID: somebody made it larger still. */
        return r && r != VIRT_E_INVALID ? job_virt_error(job, REASON_VOLUME_FAILED, r, &error) : NULL;
}

static struct api_intent_error *grow_volumes(struct instance_turn *turn)
{
        struct job *job = turn->job;
        struct api_intent_error *why = NULL;

        for (size_t i = 0; i < job->n_volumes && !why; i++) {
                if (instance_takes(&turn->instance->spec->disks[i], &job->volumes[i])) {
                        why = instance_grow_volume(job, &job->volumes[i]);
                }
        }
        return why;
}

/* --- rolling back ----------------------------------------------------------------------------------------------------------------
 */

/* What is told of it: the words of people who ask what is left of a failed start. */
static const char *undone_words(const struct instance_turn *turn, bool started, bool defined)
{
        bool seed = turn->instance->spec->seed != NULL;

        return arena_printf(turn->job->arena, "%s%s%s; its disks and interfaces stay",
                            started   ? "its QEMU was ended"
                            : defined ? ""
                                      : "it stays defined and off",
                            defined ? started ? ", its definition removed" : "its definition was removed" : "",
                            seed ? ", its first-boot image removed" : "");
}

/* In reverse order: stop what was started, undefine what this journal defined, remove the seed. Volumes and ports are intents of
 * their own and stay. Return: what was undone, in words. */
static const char *roll_back(struct instance_turn *turn, const char *step, bool started)
{
        struct journal_key key = job_key(turn->job);
        struct virt *virt = turn->job->agent->virt;
        bool defined = journal_step(turn->job->agent->journal, key.uid, STEP_DEFINE) == JOURNAL_BEGUN;
        struct virt_error error = {};
        int r;

        (void)job_pass(turn->job, "rollback", "begun");
        r = virt_domain_destroy(virt, turn->uuid, &error);
        (void)job_pass(turn->job, "rollback", "destroyed");
        if ((!r || r == VIRT_E_MISSING) && defined) {
                r = virt_domain_undefine(virt, turn->uuid, &error);
        }
        (void)job_pass(turn->job, "rollback", "undefined");
        instance_remove_seed(turn->job, turn->instance);
        (void)job_pass(turn->job, "rollback", "seed-removed");
        if (r && r != VIRT_E_MISSING) {
                log_warning("rolling back did not end; the next turn goes on", "instance", key.name, "step", step, "error",
                            error.words);
                return arena_printf(turn->job->arena, "not all of it could be undone yet (%s)", error.words);
        }
        if (defined) {
                r = journal_undo(turn->job->agent->journal, &key, STEP_DEFINE);
        }
        log_info("rolled back", "instance", key.name, "step", step, "journal", r ? "could not be written" : "undone");
        return undone_words(turn, started, defined);
}

/* @started: its QEMU runs already. */
static bool lose(struct instance_turn *turn, const char *step, bool started, struct api_intent_error *why)
{
        const char *undone = roll_back(turn, step, started);

        instance_fail(turn, step, job_error(turn->job, why->reason, "%s. Undone: %s", why->message, undone));
        return false;
}

/* --- define ----------------------------------------------------------------------------------------------------------------------
 */

static void log_xml(const struct instance_turn *turn, const struct virt_domain *domain, const struct virt_error *error)
{
        /* What is shown names files and devices, never user data or a password. */
        g_autofree char *xml = instance_xml_shown(domain);

        log_error("libvirt refused the domain", "instance", turn->instance->metadata->name, "error", error->words, "xml", xml);
}

/* As libvirt is told, which alone hears a password; the text is gone when this returns. */
static int define_xml(struct instance_turn *turn, const struct virt_domain *domain, const char *xml, struct virt_error *reterr)
{
        int r = virt_domain_define(turn->job->agent->virt, xml, reterr);

        if (r) {
                log_xml(turn, domain, reterr);
        }
        return r;
}

static struct api_intent_error *define(struct instance_turn *turn, struct virt_domain *domain)
{
        struct api_intent_error *why = instance_graphics_fetch(turn, domain);
        struct journal_key key = job_key(turn->job);
        struct virt_error error = {};
        char *xml = NULL;
        int r;

        if (why) {
                return why;
        }
        r = virt_domain_to_xml(domain, &xml, &error);
        if (r) {
                return job_virt_error(turn->job, REASON_VALIDATION_FAILED, r, &error);
        }
        instance_progress(turn, "creating", "define");
        if (!turn->exists) {
                r = journal_begin(turn->job->agent->journal, &key, STEP_DEFINE);
                if (r < 0) {
                        virt_xml_wipe(xml);
                        return job_error(turn->job, REASON_DEFINE_FAILED, "the journal cannot be written: %s", g_strerror(-r));
                }
        }
        r = define_xml(turn, domain, xml, &error);
        virt_xml_wipe(xml);
        if (r) {
                return job_virt_error(turn->job, r == VIRT_E_EXISTS ? REASON_DOMAIN_NAME_TAKEN : REASON_DEFINE_FAILED, r, &error);
        }
        r = job_pass(turn->job, STEP_DEFINE, "defined");
        return r ? job_error(turn->job, REASON_DEFINE_FAILED, "%s", g_strerror(-r)) : NULL;
}

struct api_intent_error *instance_define(struct instance_turn *turn)
{
        const struct api_instance *instance = turn->instance;
        const char *seed = instance->spec->seed ? instance_seed_path(turn->job, instance) : NULL;
        struct journal_key key = job_key(turn->job);
        struct api_intent_error *why;
        struct virt_domain domain;
        struct virt_error error = {};
        int r;

        assert(turn);
        r = instance_domain(turn->job, instance, seed, instance->spec->epoch, &domain, &error);
        if (r) {
                return job_virt_error(turn->job, error.reason ? error.reason : REASON_VALIDATION_FAILED, r, &error);
        }
        why = define(turn, &domain);
        if (why) {
                return why;
        }
        r = journal_done(turn->job->agent->journal, &key, STEP_DEFINE);
        return r < 0 ? job_error(turn->job, REASON_DEFINE_FAILED, "the journal cannot be written: %s", g_strerror(-r)) : NULL;
}

/* --- start -----------------------------------------------------------------------------------------------------------------------
 */

/* D32: after the volumes are complete, before anybody writes to them. EFI goes on by itself. */
static void choose_boot(const struct instance_turn *turn, struct virt_domain *domain)
{
        const struct virt_disk *disk = domain->firmware == VIRT_FIRMWARE_BIOS ? boot_sector_fall_through(domain) : NULL;

        if (disk) {
                log_info("the first disk has no boot loader; another one boots", "machine", turn->instance->spec->machine->name,
                         "namespace", turn->instance->spec->machine->namespace, "disk", disk->name);
        }
}

static struct api_intent_error *start_paused(struct instance_turn *turn, const struct virt_domain *domain)
{
        g_autofree char *diagnosis = NULL;
        struct virt_error error = {};
        const char *reason = REASON_START_FAILED;
        int r;

        instance_progress(turn, "creating", "start");
        r = domain->nvram_new ? virt_domain_start_anew(turn->job->agent->virt, turn->uuid, &error)
                              : virt_domain_start(turn->job->agent->virt, turn->uuid, true, &error);
        if (!r) {
                r = job_pass(turn->job, "start", "paused");
                return r ? job_error(turn->job, REASON_START_FAILED, "%s", g_strerror(-r)) : NULL;
        }
        if (r == VIRT_E_UNREACHABLE) {
                return job_virt_error(turn->job, REASON_START_FAILED, r, &error);
        }
        if (domain->cpu_shares && strstr(error.words, "CPU tuning is not available")) {
                log_warning("libvirt cannot weigh processors on this host: machines start without their shares");
                g_atomic_int_set(&turn->job->host->weights_refused, 1);
        }
        /* C38: what of the host may be the cause. */
        diagnosis = virt_start_diagnosis(domain, error.words, &reason);
        log_xml(turn, domain, &error);
        return job_error(turn->job, reason, diagnosis ? "%s (%s)" : "%s%s", error.words, diagnosis ? diagnosis : "");
}

/* An interface that comes to the domain of this epoch, or leaves it: its link is down until its own policy was seen. */
static bool is_moving(const struct instance_turn *turn, size_t port)
{
        const char *name = turn->instance->spec->ports[port];
        const struct api_instance_status *told = turn->job->told;

        if (instance_port_leaves(turn->instance->spec, name)) {
                return true;
        }
        if (!told || told->epoch != turn->wish.epoch || turn->fact.epoch != turn->wish.epoch) {
                return false;
        }
        for (size_t i = 0; i < told->n_interfaces; i++) {
                if (g_strcmp0(told->interfaces[i].name, name) == 0) {
                        return g_strcmp0(told->interfaces[i].state, "Attached") != 0;
                }
        }
        return told->n_interfaces > 0;
}

struct api_intent_error *instance_see_policy(struct instance_turn *turn)
{
        struct job *job = turn->job;

        /* The test driver makes no taps, and no guest that could send. */
        for (size_t i = 0; i < job->n_ports && !virt_is_test(job->agent->virt); i++) {
                g_autofree char *words = NULL;
                int r;

                if (is_moving(turn, i)) {
                        continue;
                }
                r = net_engine_attached(job->agent->net, job->ports[i].port->metadata->name, &words);

                if (!r) {
                        r = job_pass(job, "start", "policy-seen");
                }
                if (r) {
                        return job_error(job, REASON_POLICY_NOT_IN_PLACE, "%s", words ? words : g_strerror(-MIN(r, 0)));
                }
        }
        return NULL;
}

struct virt_owner instance_owner(const struct instance_turn *turn)
{
        const struct api_machine_ref *machine = turn->instance->spec->machine;
        struct journal_key key = job_key(turn->job);

        return (struct virt_owner){
                .machine_uid = machine->uid,
                .instance_uid = key.uid,
                .machine_namespace = machine->namespace,
                .machine_name = machine->name,
                .generation = key.generation,
                .epoch = turn->wish.epoch,
        };
}

bool instance_let_run(struct instance_turn *turn)
{
        const struct api_machine_ref *machine = turn->instance->spec->machine;
        const struct api_instance_status *told = turn->job->told;
        struct journal_key key = job_key(turn->job);
        struct virt_owner owner = instance_owner(turn);
        char now[CLOCK_RFC3339_MAX];
        struct api_intent_error *why;
        struct virt_error error = {};
        int r;

        if (turn->fact.epoch < turn->wish.epoch) {
                instance_progress(turn, "creating", "policy");
        }
        why = instance_see_policy(turn);
        if (why) {
                return lose(turn, "policy", true, why);
        }
        /* From here on the epoch is spent: whatever happens, the guest may have run. */
        r = virt_domain_set_owner(turn->job->agent->virt, turn->uuid, &owner, &error);
        if (r) {
                return lose(turn, "epoch", true, job_virt_error(turn->job, REASON_START_FAILED, r, &error));
        }
        (void)job_pass(turn->job, "start", "epoch-spent");
        r = virt_domain_resume(turn->job->agent->virt, turn->uuid, &error);
        if (r) {
                instance_fail(turn, "resume", job_virt_error(turn->job, REASON_START_FAILED, r, &error));
                return false;
        }
        turn->qemu = host_qemu_version(turn->job->agent->virt, turn->job->arena);
        if (!told || !told->started_at || told->epoch != turn->wish.epoch) {
                turn->started_at = arena_strdup(turn->job->arena, clock_format_rfc3339(clock_real_us(clock_system()), false, now));
        }
        (void)job_pass(turn->job, "start", "resumed");
        r = journal_done(turn->job->agent->journal, &key, STEP_DEFINE);
        log_info("guest runs", "machine", machine->name, "namespace", machine->namespace, "epoch", turn->epoch_text, "journal",
                 r ? "could not be written" : "written");
        return true;
}

bool instance_start(struct instance_turn *turn)
{
        const struct api_instance *instance = turn->instance;
        const char *seed = instance->spec->seed ? instance_seed_path(turn->job, instance) : NULL;
        struct api_intent_error *why;
        struct virt_domain domain;
        struct virt_error error = {};
        int r;

        if (!inputs_ready(turn)) {
                return false;
        }
        /* Validated before anything is made. */
        instance_progress(turn, "creating", "validate");
        why = instance_graphics_may_start(turn);
        if (why) {
                instance_fail(turn, "validate", why);
                return false;
        }
        r = instance_domain(turn->job, instance, seed, MAX(turn->fact.epoch, 0), &domain, &error);
        if (r) {
                instance_fail(turn, "validate",
                              job_virt_error(turn->job, error.reason ? error.reason : REASON_VALIDATION_FAILED, r, &error));
                return false;
        }
        why = grow_volumes(turn);
        if (why) {
                instance_fail(turn, "volume", why);
                return false;
        }
        why = instance_make_seed(turn);
        if (why) {
                return lose(turn, "seed", false, why);
        }
        choose_boot(turn, &domain);
        why = define(turn, &domain);
        if (why) {
                return lose(turn, "define", false, why);
        }
        why = start_paused(turn, &domain);
        if (why) {
                return lose(turn, "start", false, why);
        }
        instance_note_limits(turn, &domain);
        instance_note_size(turn, &domain);
        return instance_let_run(turn);
}
