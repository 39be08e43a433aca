/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control.h"

/*
 * Garbage: an object all of whose owners are gone is deleted (in the background, as Kubernetes calls it), and a namespace that is
 * being deleted takes its content with it. An owner of a kind that no controller looks at counts as there.
 */
extern const struct controller gc_address_controller;   /* VirtualMachineIPAddress */
extern const struct controller gc_operation_controller; /* VirtualMachineOperation */
extern const struct controller gc_disk_controller;      /* VirtualDisk */
extern const struct controller gc_task_controller;      /* HostTask of the doctor: ten minutes after it was made */
extern const struct controller namespace_controller;    /* Namespace */
