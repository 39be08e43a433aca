/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "loop/loop.h"

#include <systemd/sd-event.h>

/** loop_event() - the sd-event object of @loop; borrowed. */
sd_event *loop_event(struct loop *loop);
