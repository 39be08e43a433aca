/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/instance_start.h"

/*
 * Memory that the guest of a running domain is asked to give back, and may have again: by its balloon, which only a guest with a
 * driver has, and which it fills as it can. What it holds is told as it is; one that does not listen is asked again, first often,
 * then now and then, and after a while that is told. The domain keeps all of its memory: a guest that needs it, or boots anew,
 * takes it back without asking.
 */

/** instance_balloon() - let the guest of what runs keep what its Instance says; after instance_plug(), which reads what runs. */
void instance_balloon(struct instance_turn *turn);

/** instance_tell_balloon() - status.balloonMib, heldMib and balloonLate: what was noted, else what was told of the same epoch. */
void instance_tell_balloon(const struct instance_turn *turn, struct api_instance_status *status);
