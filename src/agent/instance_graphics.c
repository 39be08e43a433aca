/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_graphics.h"

#include "base/error.h"
#include "base/log.h"

#include <assert.h>
#include <string.h>

#define AGAIN_US 5000000ull
#define SHOWN    "********"

/* What was told of the domain of this epoch, or NULL. */
static const struct api_instance_graphics_status *told_of(const struct job *job, int64_t epoch)
{
        const struct api_instance_status *told = job->told;

        return told && told->has_epoch && told->epoch == epoch ? told->graphics : NULL;
}

const char *instance_graphics_address(const struct job *job, const struct api_instance_spec *spec)
{
        const struct api_instance_graphics_status *told;

        assert(job && spec);
        if (!spec->graphics_port || g_strcmp0(spec->graphics, "None") == 0) {
                return NULL;
        }
        told = told_of(job, spec->epoch);
        return told && told->address ? told->address : job->agent->graphics_address;
}

struct api_intent_error *instance_graphics_may_start(struct instance_turn *turn)
{
        assert(turn);
        if (!turn->instance->spec->graphics_port || turn->job->agent->graphics_address) {
                return NULL;
        }
        return job_error(turn->job, REASON_GRAPHICS_NOT_ALLOWED,
                         "this host allows no screen to listen for TCP; its operator may set --graphics-address");
}

/* --- the password --- */

static bool take_password(struct instance_turn *turn, const struct json_value *answer)
{
        const char *password = json_find_string(answer, "password", NULL);
        bool fits = !virt_graphics_password_fault(password);

        if (fits) {
                g_strlcpy(turn->password, password, sizeof(turn->password));
                turn->password_version = g_ascii_strtoll(json_find_string(answer, "version", NULL) ?: "0", NULL, 10);
        }
        if (password) {
                explicit_bzero((char *)password, strlen(password));
        }
        return fits;
}

static struct api_intent_error *fetch(struct instance_turn *turn)
{
        g_autofree char *path = g_strconcat("/agent/v1/graphics/", turn->instance->metadata->name, NULL), *words = NULL;
        g_autoptr(json_doc) answer = NULL;
        int r = gateway_get(turn->job->agent->gateway, path, &answer, &words);

        if (r < 0) {
                return job_error(turn->job, REASON_GRAPHICS_PASSWORD_PENDING, "the password of its screen is not to be had: %s",
                                 words ? words : g_strerror(-r));
        }
        if (!take_password(turn, json_root(answer))) {
                return job_error(turn->job, REASON_GRAPHICS_PASSWORD_INVALID, "the password of its screen cannot be used");
        }
        (void)job_pass(turn->job, "graphics", "fetched");
        return NULL;
}

struct api_intent_error *instance_graphics_fetch(struct instance_turn *turn, struct virt_domain *domain)
{
        struct api_intent_error *why;

        assert(turn && domain);
        if (!domain->graphics_address) {
                return NULL;
        }
        why = fetch(turn);
        if (!why) {
                domain->graphics_password = turn->password;
                domain->owner.graphics_version = turn->password_version;
        }
        return why;
}

/* --- XML --- */

char *instance_xml_shown(const struct virt_domain *domain)
{
        struct virt_domain shown;
        struct virt_error ignored = {};
        char *xml = NULL;

        assert(domain);
        shown = *domain;
        shown.graphics_password = domain->graphics_address ? SHOWN : NULL;
        return virt_domain_to_xml(&shown, &xml, &ignored) ? NULL : xml;
}

/* --- a running domain --- */

static int note_version(struct instance_turn *turn, struct virt_error *reterr)
{
        const struct virt_owner *now = &turn->live->domain.owner;
        struct virt_owner owner = instance_owner(turn);

        /* Nothing but the version changes: an order that was carried out stays. */
        owner.generation = now->generation;
        owner.epoch = now->epoch;
        owner.graphics_version = turn->password_version;
        return virt_domain_set_owner(turn->job->agent->virt, turn->uuid, &owner, reterr);
}

/* Set first, then noted: who is killed in between sets it again. */
static struct api_intent_error *follow(struct instance_turn *turn)
{
        struct api_intent_error *why = fetch(turn);
        struct virt_error error = {};
        int r;

        if (why) {
                return why;
        }
        r = virt_graphics_set_password(turn->job->agent->virt, turn->uuid, &turn->live->domain, turn->password, &error);
        if (!r) {
                (void)job_pass(turn->job, "graphics", "set");
                r = note_version(turn, &error);
        }
        if (!r) {
                (void)job_pass(turn->job, "graphics", "noted");
        }
        return r ? job_virt_error(turn->job, REASON_GRAPHICS_PASSWORD_NOT_SET, r, &error) : NULL;
}

static void tell_trouble(struct instance_turn *turn, const struct api_intent_error *why)
{
        const struct api_instance_graphics_status *told = told_of(turn->job, turn->fact.epoch);

        turn->job->again_us = turn->job->again_us ? MIN(turn->job->again_us, AGAIN_US) : AGAIN_US;
        if (!told || !told->error || g_strcmp0(told->error->message, why->message) != 0) {
                log_warning("the password of a screen could not be changed", "domain", turn->entry.name, "reason", why->reason,
                            "error", why->message);
        }
}

void instance_graphics(struct instance_turn *turn)
{
        const struct api_instance_graphics_port *wanted = turn->instance->spec->graphics_port;
        struct api_instance_graphics_status *status;
        int64_t version;

        assert(turn);
        if (!turn->live || !turn->live->domain.graphics_address) {
                return;
        }
        status = arena_new0(turn->job->arena, struct api_instance_graphics_status);
        version = turn->live->domain.owner.graphics_version;
        if (wanted && g_ascii_strtoll(wanted->version, NULL, 10) != version) {
                status->error = follow(turn);
                if (status->error) {
                        tell_trouble(turn, status->error);
                } else {
                        version = turn->password_version;
                        log_info("the password of a screen was changed", "domain", turn->entry.name);
                }
        }
        status->address = arena_strdup(turn->job->arena, turn->live->domain.graphics_address);
        status->port = turn->live->graphics_port;
        status->has_port = status->port > 0;
        status->version = arena_printf(turn->job->arena, "%" G_GINT64_FORMAT, version);
        turn->graphics = status;
}

void instance_tell_graphics(const struct instance_turn *turn, struct api_instance_status *status)
{
        assert(turn && status);
        if (turn->exists && turn->entry.active) {
                status->graphics = (struct api_instance_graphics_status *)(turn->graphics ? turn->graphics
                                                                                          : told_of(turn->job, turn->fact.epoch));
        }
}
