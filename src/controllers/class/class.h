/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "admission/sizing.h"
#include "cache/cache.h"
#include "control/control.h"
#include "generated/api_types.h"

#include <glib.h>

extern const struct controller class_controller; /* VirtualMachineClass */
