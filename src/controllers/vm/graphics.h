/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "controllers/vm/context.h"

/*
 * A screen that listens for TCP asks for a password: that of a Secret of the machine's own, which this makes, and which is the
 * truth. Whoever changes it changes the password; intents carry its version alone.
 */

/** vm_look_at_graphics() - make the Secret, or remove it; condition GraphicsReady of machines with such a screen. */
void vm_look_at_graphics(struct vm_context *vm);
/** vm_graphics_port() - of an Instance that starts now; NULL: its screen has a socket. */
struct api_instance_graphics_port *vm_graphics_port(struct vm_context *vm);
/** vm_renew_graphics() - @spec of a running Instance names the newest password; true: that changed it. */
bool vm_renew_graphics(struct vm_context *vm, struct api_instance_spec *spec);
/** vm_tell_graphics() - status.graphics. */
void vm_tell_graphics(struct vm_context *vm, bool runs);
/** vm_graphics_related() - the machine that @secret is the password of is looked at again. */
void vm_graphics_related(const struct cache *cache, const struct cache_object *secret, struct workqueue *queue);
