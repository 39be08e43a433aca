/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"
#include "generated/api_types.h"

/**
 * firmware_wants_tpm() - whether the machine has a TPM
 * @hardware: its record, or NULL before its first start
 *
 * Windows with Secure Boot has one when nothing is said, but not where it was defined before that was so.
 */
bool firmware_wants_tpm(const struct api_virtual_machine_spec *machine, const struct json_value *hardware);

/** firmware_words() - which firmware or device that @machine needs the node lacks, in @arena; NULL: none. */
const char *firmware_words(const struct api_virtual_machine_spec *machine, const struct json_value *hardware,
                           const struct api_node *node, struct arena *arena);
