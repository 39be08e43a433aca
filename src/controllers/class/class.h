/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cache/cache.h"
#include "control/control.h"
#include "generated/api_types.h"

#include <glib.h>

extern const struct controller class_controller; /* VirtualMachineClass */

/* A size that a class is asked about. */
struct sizing {
        int64_t cores;
        unsigned fraction_percent;
        uint64_t memory_bytes;
};

/**
 * sizing_matches() - whether a class allows a size
 * @words: gets every violation, joined by "; "
 *
 * A class without policies allows every size. Source: vm-api 3.5 (the first policy whose core range holds the cores is asked).
 */
bool sizing_matches(const struct api_virtual_machine_class_spec *class, const struct sizing *sizing, GString *words);
