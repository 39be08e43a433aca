/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/instance_start.h"

/**
 * instance_moves() - the turn of an Instance that goes to another host or comes from one: nothing of it is started, stopped or
 * changed otherwise until that has come to an end
 *
 * Return: true: a status was set; false: it stays, or it shall end, and takes its ordinary turn.
 */
bool instance_moves(struct instance_turn *turn);

/** instance_forget_variables() - libvirt leaves the variables of EFI on the host that a machine has left, or did not come to;
 * without a domain there they are nobody's any more. */
void instance_forget_variables(const struct instance_turn *turn);
