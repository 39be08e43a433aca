/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/instance_start.h"

/*
 * A screen that listens for TCP: only where the operator of this host has set an address, and never without the password of the
 * machine's Secret. The value is fetched when it is needed, goes to libvirt and is overwritten here; which version of the Secret
 * the domain has is said by its metadata, so that an agent that was killed in between goes on.
 */

/** instance_graphics_address() - where the screen of an Instance listens, or NULL: on a socket. Also where this host does not allow
 * it any more and what runs has it still. */
const char *instance_graphics_address(const struct job *job, const struct api_instance_spec *spec);

/** instance_graphics_may_start() - NULL, or why an Instance whose screen wants a port cannot start here. */
struct api_intent_error *instance_graphics_may_start(struct instance_turn *turn);

/** instance_graphics_fetch() - the password into @turn, and @domain ready to be written; NULL, or why not. Nothing to do for a
 * socket. */
struct api_intent_error *instance_graphics_fetch(struct instance_turn *turn, struct virt_domain *domain);

/** instance_graphics() - a running domain asks for the password of the Secret's newest version; after instance_plug(). */
void instance_graphics(struct instance_turn *turn);

/** instance_tell_graphics() - where it listens, in the status. */
void instance_tell_graphics(const struct instance_turn *turn, struct api_instance_status *status);

/** instance_xml_shown() - @domain as libvirt is told, for a log: with stars in the place of its password; g_free(), or NULL. */
char *instance_xml_shown(const struct virt_domain *domain);
