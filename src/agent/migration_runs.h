/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/migration.h"

#include <stdbool.h>

struct agent;

/*
 * Calls of virt_migrate() under way, each on a thread of its own: they last for minutes, and their Instances are looked at
 * meanwhile. What ended is kept until it is forgotten. libvirt goes on with a move when the agent ends; then nothing of it is known
 * here.
 */
struct migration_runs;

struct migration_runs *migration_runs_new(struct agent *agent);
/** migration_runs_free() - what is under way goes on without us. */
struct migration_runs *migration_runs_free(struct migration_runs *runs);

enum migration_run { MIGRATION_RUN_NONE, MIGRATION_RUN_GOES, MIGRATION_RUN_DONE, MIGRATION_RUN_FAILED };

/** migration_runs_begin() - move the domain of the Instance @name for @operation, unless that is under way. (threads) */
void migration_runs_begin(struct migration_runs *runs, const char *name, const char *operation,
                          const struct virt_migration *options);
/** migration_runs_look() - @reterr: why it failed. (threads) */
enum migration_run migration_runs_look(struct migration_runs *runs, const char *name, const char *operation,
                                       struct virt_error *reterr);
