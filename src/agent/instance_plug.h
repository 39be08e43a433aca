/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/instance_start.h"

/* What the files of devices that come to running domains share. */

/** instance_read_live() - read the running domain again into @turn->live. */
int instance_read_live(struct instance_turn *turn, struct virt_error *reterr);

/**
 * instance_plug_nics() - the interfaces of the running domain @turn->live follow the Instance; noted for the status
 * @may_ask: guests that were asked before are asked again
 * @ret_awaits: set when a guest has not let go yet
 *
 * Return: false when libvirt went away.
 */
bool instance_plug_nics(struct instance_turn *turn, bool may_ask, bool *ret_awaits);
