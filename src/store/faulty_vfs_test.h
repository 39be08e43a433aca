/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

/* A file system for SQLite on which chosen calls fail: registered as the default, it passes everything else on. */
enum faulty_call { FAULTY_WAL_WRITE, FAULTY_WAL_SYNC, FAULTY_DB_WRITE, FAULTY_DB_SYNC, FAULTY_N_CALLS };

void faulty_vfs_register(void);
void faulty_vfs_unregister(void);
/** faulty_vfs_arm() - the @nth @call from now fails, and when @for_good all after it. @nth 0: none does. */
void faulty_vfs_arm(enum faulty_call call, unsigned nth, bool for_good);
/** faulty_vfs_hit() - whether a call has failed since it was armed. */
bool faulty_vfs_hit(void);
