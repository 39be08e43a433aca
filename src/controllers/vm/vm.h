/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control.h"

/*
 * VirtualMachine: from its spec and what hosts say to one Instance with its Ports and Volumes, and its status (decision 2). A turn
 * looks at everything the machine needs (each a condition with words), decides about its power by run policy, operations and what
 * the host says, and, to start, chooses a node and commits Instance, Ports and Volumes in one transaction: the host orders its own
 * work.
 */
extern const struct controller vm_controller;
