/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/instance_start.h"
#include "virt/domain_xml.h"

/*
 * How large a running domain is: it grows as its Instance says (processors, memory) and weighs as it says (share of each
 * processor), its status tells what it has. What QEMU refuses is told with its words and not tried again until something else is
 * wanted. Every step looks at what is there first, so that an agent that was killed in between goes on or finds it done.
 */

enum instance_growth {
        INSTANCE_AS_IT_WAS, /* nothing was to be done */
        INSTANCE_CHANGED,
        INSTANCE_REFUSED, /* told in the status; something of it may have been done */
        INSTANCE_LATER,   /* libvirt cannot be reached, or the domain ended meanwhile */
};

/** instance_change_due() - whether the domain that @told (NULL: nothing) says to run has another size than the order. */
bool instance_change_due(const struct api_instance *instance, const struct api_instance_status *told);

/** instance_grow() - let the running domain be of the size of @wanted; @found: what runs. */
enum instance_growth instance_grow(struct instance_turn *turn, const struct virt_domain *wanted, const struct virt_domain *found);

/** instance_note_size() - @domain is what runs from now on. */
void instance_note_size(struct instance_turn *turn, const struct virt_domain *domain);

/** instance_tell_size() - status.cores, memoryMib... of a running domain: what was noted, else what was told of the same epoch. */
void instance_tell_size(const struct instance_turn *turn, struct api_instance_status *status);
