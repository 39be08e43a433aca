/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control.h"

/*
 * Garbage. One controller over all kinds looks at who owns whom, as Kubernetes does:
 *
 * - an object all of whose owners are gone is deleted; one that still has an owner only loses the references to those that went;
 * - an owner that is deleted in the foreground (finalizer foregroundDeletion) stays until the dependents that block it are gone,
 *   which are deleted meanwhile; owners in a ring that wait for nobody but each other go together;
 * - an owner that is deleted as an orphan-maker (finalizer orphan) takes its name out of its dependents before it goes.
 *
 * An owner is looked for where the reference may lead: in the dependent's own namespace, or at the cluster's scope. What a project
 * writes therefore neither keeps nor removes an object of another project, and never holds one of the cluster. An owner of a kind
 * that is not served here counts as there. Events are nobody's dependents.
 */
extern const struct controller gc_controller;
extern const struct controller gc_task_controller;   /* HostTask of the doctor: ten minutes after it was made */
extern const struct controller namespace_controller; /* Namespace: takes its content along, machines first */

#define GC_FINALIZER_FOREGROUND "foregroundDeletion"
#define GC_FINALIZER_ORPHAN     "orphan"

/** gc_index_owners() - the keys of INDEX_DEPENDENTS: uids of the owners. */
void gc_index_owners(const struct cache_object *object, struct cache_index_keys *keys);
