/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"
#include "base/clock.h"
#include "cache/cache.h"
#include "control/control.h"
#include "generated/api_types.h"

/*
 * Addresses. Creating the lease ip-A-B-C-D is the lock that keeps an address from being given twice. A VirtualMachineIPAddress
 * holds a lease; when it goes, its project can ask for the address for ten minutes more (D143).
 */

extern const struct controller address_controller; /* VirtualMachineIPAddress */
extern const struct controller lease_controller;   /* VirtualMachineIPAddressLease */

#define ADDRESS_RETENTION_US (600 * 1000000ull)

/** address_lease_name() - "ip-10-66-10-14". */
const char *address_lease_name(struct arena *arena, const char *address);

/**
 * address_take_free() - a random free address of @network's range (D138), its lease made part of the turn
 * @namespace, @holder: the VirtualMachineIPAddress that it is for
 *
 * Return: the address, or NULL when none is free.
 */
const char *address_take_free(struct turn *turn, const struct cache_object *network, const char *namespace, const char *holder);

/**
 * address_create_auto() - a VirtualMachineIPAddress of type Auto for a machine, bound and attached from the start
 * @ret_name: its name; set only on success
 *
 * Return: the address, or NULL when none is free.
 */
const char *address_create_auto(struct turn *turn, const struct cache_object *machine, const struct cache_object *network,
                                const char **ret_name);
