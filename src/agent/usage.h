/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/usage.h"
#include "json/json.h"

#include <stdbool.h>

/*
 * How fast machines and their host use what they have: the difference of two looks at all of them, at least a second apart. Whoever
 * asks within a second of another gets the same answer, so that any number of users costs one call of libvirt a second. Threads
 * share it.
 */
struct usage;

struct usage *usage_new(void);
struct usage *usage_free(struct usage *usage);

/** usage_look() - 0, VIRT_E_*; @ret_again_us: 0 when rates can be told, else look again after this. */
int usage_look(struct usage *usage, struct virt *virt, uint64_t *ret_again_us, struct virt_error *reterr);
/** usage_tell() - rates of a domain, or of the host (@uuid NULL), as members of @object; false: it does not run. */
bool usage_tell(struct usage *usage, const char *uuid, struct json_doc *doc, struct json_value *object);

/** usage_rates() - the same of two looks; @before NULL: it ran not yet. @window_us > 0. */
void usage_rates(const struct virt_counters *before, const struct virt_counters *now, uint64_t window_us, struct json_doc *doc,
                 struct json_value *object);
