/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/graphics.h"

#include "generated/reasons.h"
#include "schema/graphics.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static bool wants_port(const struct vm_context *vm)
{
        const struct api_machine_graphics *graphics = vm->spec->graphics;

        return graphics && g_strcmp0(graphics->listen, "TCP") == 0 && g_strcmp0(graphics->protocol, "None") != 0;
}

/* What runs listens for TCP, whatever the machine wants by now. */
static bool has_port(const struct vm_context *vm)
{
        return vm->view && vm->view->spec->graphics_port && instance_active(vm->instance);
}

static const char *secret_name(struct vm_context *vm)
{
        g_autofree char *name = graphics_secret_name(vm->object->uid);

        return arena_strdup(vm->arena, name);
}

static const struct cache_object *find_secret(struct vm_context *vm)
{
        return cache_get(vm->cache, &api_secret_kind, vm->object->namespace, secret_name(vm));
}

static bool is_ours(const struct vm_context *vm, const struct cache_object *secret)
{
        const struct api_object_meta *meta = object_meta(secret);

        for (size_t i = 0; i < meta->n_owner_references; i++)
                if (g_strcmp0(meta->owner_references[i].uid, vm->object->uid) == 0)
                        return true;
        return false;
}

static const char *version_of(struct vm_context *vm, const struct cache_object *secret)
{
        return arena_printf(vm->arena, "%" PRIu64, secret->revision);
}

/* --- the Secret --- */

static void make_secret(struct vm_context *vm)
{
        g_autofree char *password = graphics_password_make(turn_random(vm->turn));
        struct api_pair data = {GRAPHICS_PASSWORD_KEY, password};
        struct api_owner_reference owner = {.api_version = "gabbro.dev/v1",
                                            .kind = "VirtualMachine",
                                            .name = vm->object->name,
                                            .uid = vm->object->uid,
                                            .controller = true,
                                            .has_controller = true};
        struct api_object_meta meta = {
                .name = secret_name(vm), .namespace = vm->object->namespace, .owner_references = &owner, .n_owner_references = 1};
        struct api_secret secret = {.metadata = &meta, .type = GRAPHICS_SECRET_TYPE, .data = &data, .n_data = 1};

        turn_create(vm->turn, &api_secret_kind, &secret);
        explicit_bzero(password, strlen(password));
}

static void trouble(struct vm_context *vm, const char *reason, const char *words)
{
        vm->graphics_reason = reason;
        vm->graphics_words = words;
        if (wants_port(vm))
                vm_block(vm, reason, words);
}

void vm_look_at_graphics(struct vm_context *vm)
{
        const struct cache_object *secret;
        const struct api_secret *view;

        assert(vm);
        secret = find_secret(vm);
        if (!wants_port(vm) && !has_port(vm)) {
                if (secret && !object_deleting(secret) && is_ours(vm, secret))
                        turn_delete(vm->turn, secret);
                return;
        }
        if (!secret && turn_refusal(vm->turn)) {
                trouble(vm, REASON_QUOTA_EXCEEDED, turn_refusal(vm->turn));
                return;
        }
        if (!secret || object_deleting(secret)) {
                if (!secret && !vm->facts.deleting)
                        make_secret(vm);
                trouble(vm, REASON_GRAPHICS_PASSWORD_PENDING, "the password of its screen is being made");
                return;
        }
        view = secret->view;
        vm->graphics_secret = secret;
        if (!graphics_password_fits(pairs_get(view->data, view->n_data, GRAPHICS_PASSWORD_KEY))) {
                vm->graphics_secret = NULL;
                trouble(vm, REASON_GRAPHICS_PASSWORD_INVALID,
                        arena_printf(vm->arena, "Secret %s has no password of 1 to %d printable characters without blanks",
                                     secret->name, GRAPHICS_PASSWORD_CHARACTERS));
        }
}

/* --- the Instance --- */

struct api_instance_graphics_port *vm_graphics_port(struct vm_context *vm)
{
        struct api_instance_graphics_port *port;

        assert(vm);
        if (!wants_port(vm) || !vm->graphics_secret)
                return NULL;
        turn_depends(vm->turn, vm->graphics_secret);
        port = arena_new0(vm->arena, struct api_instance_graphics_port);
        port->secret = vm->graphics_secret->name;
        port->version = version_of(vm, vm->graphics_secret);
        return port;
}

bool vm_renew_graphics(struct vm_context *vm, struct api_instance_spec *spec)
{
        struct api_instance_graphics_port *port;

        assert(vm && spec);
        if (!has_port(vm) || !vm->graphics_secret ||
            g_strcmp0(spec->graphics_port->version, version_of(vm, vm->graphics_secret)) == 0)
                return false;
        port = arena_new0(vm->arena, struct api_instance_graphics_port);
        port->secret = vm->graphics_secret->name;
        port->version = version_of(vm, vm->graphics_secret);
        spec->graphics_port = port;
        return true;
}

/* --- the status --- */

static void say(struct vm_context *vm, bool good, const char *reason, const char *words)
{
        conditions_say(&vm->conditions, "GraphicsReady", good ? "True" : "False", reason, "%s", words);
}

static bool allows(const struct cache_object *object, void *userdata)
{
        const struct api_node *node = object->view;
        bool *any = userdata;

        *any |= node->status && node->status->virtualization && node->status->virtualization->graphics_address;
        return !*any;
}

static void say_waiting(struct vm_context *vm, bool runs)
{
        bool any = false;

        cache_each(vm->cache, &api_node_kind, NULL, allows, &any);
        if (!any)
                say(vm, false, REASON_GRAPHICS_NOT_ALLOWED, "no host allows screens of machines to listen for TCP");
        else
                say(vm, false, REASON_GRAPHICS_WAITING,
                    runs ? "it listens after a restart of the machine" : "it listens as soon as the machine runs");
}

static void say_listening(struct vm_context *vm, const struct api_instance_graphics_status *host)
{
        const char *colon = strchr(host->address, ':') ? "[" : "";

        if (host->error)
                say(vm, false, host->error->reason, host->error->message);
        else if (vm->graphics_secret && g_strcmp0(host->version, version_of(vm, vm->graphics_secret)) != 0)
                say(vm, false, REASON_GRAPHICS_PASSWORD_PENDING,
                    arena_printf(vm->arena, "host %s has not heard of the new password yet; the one before holds", vm->node));
        else
                say(vm, true, REASON_GRAPHICS_READY,
                    arena_printf(
                            vm->arena, "%s listens on %s%s%s:%" PRId64 " and asks for a password (gabbro graphics-password %s)",
                            vm->status.graphics->protocol, colon, host->address, *colon ? "]" : "", host->port, vm->object->name));
}

void vm_tell_graphics(struct vm_context *vm, bool runs)
{
        const struct api_instance_status *status = vm->view && !vm->made ? vm->view->status : NULL;
        const struct api_instance_graphics_status *host = NULL;

        assert(vm);
        if (runs && !vm->started && vm->current && vm->view->spec->graphics_port && status && status->has_epoch &&
            status->epoch == vm->view->spec->epoch)
                host = status->graphics;
        vm->status.graphics = NULL;
        if (host) {
                vm->status.graphics = arena_new0(vm->arena, struct api_machine_graphics_status);
                *vm->status.graphics = (struct api_machine_graphics_status){
                        .protocol = vm->view->spec->graphics ? vm->view->spec->graphics : "VNC",
                        .address = host->address,
                        .port = host->port,
                        .has_port = host->has_port,
                        .secret_name = secret_name(vm),
                        .password_version = host->version,
                };
        }
        if (!wants_port(vm) && !host)
                condition_remove(&vm->conditions, "GraphicsReady");
        else if (vm_say_lost(vm, "GraphicsReady"))
                return;
        else if (vm->graphics_reason)
                say(vm, false, vm->graphics_reason, vm->graphics_words);
        else if (host)
                say_listening(vm, host);
        else
                say_waiting(vm, runs);
}

void vm_graphics_related(const struct cache *cache, const struct cache_object *secret, struct workqueue *queue)
{
        const struct cache_object *machine = NULL;

        assert(cache && secret && queue);
        if (g_str_has_prefix(secret->name, GRAPHICS_SECRET_PREFIX))
                machine = cache_by_uid(cache, secret->name + strlen(GRAPHICS_SECRET_PREFIX));
        if (machine && machine->kind == &api_virtual_machine_kind && g_strcmp0(machine->namespace, secret->namespace) == 0)
                controller_enqueue(queue, machine->namespace, machine->name);
}
