/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

/* A file system for SQLite on which chosen calls fail: registered as the default, it passes everything else on. */
enum faulty_call {
        FAULTY_WAL_WRITE,
        FAULTY_WAL_SYNC,
        FAULTY_DB_WRITE,
        FAULTY_DB_SYNC,
        FAULTY_N_CHANGES, /* those that change something */
        FAULTY_WAL_READ = FAULTY_N_CHANGES,
        FAULTY_DB_READ,
        FAULTY_N_CALLS
};

enum faulty_way {
        FAULTY_FAILS, /* an I/O error, nothing is done */
        FAULTY_FULL,  /* of a write: half of it finds room */
        FAULTY_TORN,  /* of a write: half of it is done, and the process ends */
        FAULTY_SHORT, /* of a read: half of what was asked for */
};

#define FAULTY_TORN_EXIT 9

void faulty_vfs_register(void);
void faulty_vfs_unregister(void);
/** faulty_vfs_arm() - the @nth @call from now fails in that @way, and when @for_good all after it. @nth 0: none does. */
void faulty_vfs_arm(enum faulty_call call, enum faulty_way way, unsigned nth, bool for_good);
/** faulty_vfs_hit() - whether a call has failed since it was armed. */
bool faulty_vfs_hit(void);
