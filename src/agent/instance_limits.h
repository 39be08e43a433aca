/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/instance_start.h"
#include "virt/domain_xml.h"

/*
 * How fast the disks of an Instance are at most: defined with the domain, changed while it runs, put right when somebody else
 * changed them, told in its status. One job does it all, so that an older order never comes after a newer one.
 */

/** instance_limits() - an intent's limits as libvirt takes them; NULL: none. */
struct virt_disk_limits instance_limits(const struct api_instance_disk_limits *limits);

/** instance_limits_changed() - whether the domain that @told (NULL: nothing) says to run keeps to other limits than the order. */
bool instance_limits_changed(const struct api_instance *instance, const struct api_instance_status *told);

/**
 * instance_put_limits_right() - let every disk of the running domain keep to the limits of @wanted; @found: what runs
 *
 * What was as ordered when it was told last was changed outside, and is told so. A failure is logged and stays a difference.
 * Return: whether anything was tried.
 */
bool instance_put_limits_right(struct instance_turn *turn, const struct virt_domain *wanted, const struct virt_domain *found);

/** instance_note_limits() - the limits of @domain are in force from now on. */
void instance_note_limits(struct instance_turn *turn, const struct virt_domain *domain);

/** instance_tell_limits() - status.disks of a running domain: what was noted, else what was told of the same epoch. */
void instance_tell_limits(const struct instance_turn *turn, struct api_instance_status *status);
