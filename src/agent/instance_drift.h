/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/instance_start.h"

/* What others do to our domains beside us: seen, told in the status, put right where a guest cannot notice it. */

/** instance_outside() - tell of it with the next status, and log it. */
void instance_outside(struct instance_turn *turn, const char *reason, const char *format, ...) G_GNUC_PRINTF(3, 4);

/** instance_is_held() - a paused domain whose guest did run in this epoch: the pause is not of our start. */
bool instance_is_held(const struct instance_turn *turn);

/** instance_started_outside() - a domain that was off in this epoch runs although it shall be off. */
bool instance_started_outside(const struct instance_turn *turn);

/**
 * instance_see_definition() - of a domain that is otherwise as it shall be: a removed definition is made again, a changed one put
 * right, differences of what runs are noted
 *
 * Return: true: report; false: it failed and a status was set.
 */
bool instance_see_definition(struct instance_turn *turn);
