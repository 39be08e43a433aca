/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "generated/api_types.h"

#include <glib.h>

/* A size that a class is asked about. */
struct sizing {
        int64_t cores;
        unsigned fraction_percent;
        uint64_t memory_bytes;
};

/* What a violation is of, as a field of a machine. */
#define SIZING_CORES    "spec.cpu.cores"
#define SIZING_FRACTION "spec.cpu.coreFraction"
#define SIZING_MEMORY   "spec.memory.size"

typedef void (*sizing_fn)(const char *field, const char *words, void *userdata);

/**
 * sizing_check() - whether a class allows a size; @told is called with every violation
 *
 * A class without policies allows every size. Source: vm-api 3.5 (the first policy whose core range holds the cores is asked).
 */
bool sizing_check(const struct api_virtual_machine_class_spec *class, const struct sizing *sizing, sizing_fn told, void *userdata);
/** sizing_matches() - the same; @words gets every violation, joined by "; ". */
bool sizing_matches(const struct api_virtual_machine_class_spec *class, const struct sizing *sizing, GString *words);
/** sizing_default_fraction() - the share of each core ("20%" or "20") that a machine gets that names none; NULL: the whole core. */
const char *sizing_default_fraction(const struct api_virtual_machine_class_spec *class, int64_t cores);
