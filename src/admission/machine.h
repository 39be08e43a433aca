/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "admission/admission.h"

/* VirtualMachine and VirtualMachineClass. */

/** machine_default() - class, cores, share and memory that project and class give; for a new one, what follows from its system.
 * Source: vm-api 2.5. */
void machine_default(const struct admission *admission, struct json_doc *doc);
/** machine_check() - the class's sizing policies, the name of its address. Source: vm-api 2.6, 3.5. */
void machine_check(const struct admission *admission, const struct json_value *object, struct schema_faults *faults);
/** machine_warn() - what its system (osId) wants more of. */
void machine_warn(const struct admission *admission, const struct json_value *object, struct schema_faults *warnings);
/** class_check() - one class at most is the default; its own defaults keep its policies. Source: vm-api 3.4. */
void class_check(const struct admission *admission, const struct json_value *object, struct schema_faults *faults);
