/* SPDX-License-Identifier: Apache-2.0 */
#include "store/faulty_vfs_test.h"

#include <assert.h>
#include <glib.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

/* Calls come from the writer thread and the loop thread, never at once: whoever arms has no commit on its way. */
static struct {
        sqlite3_vfs vfs, *inner;
        enum faulty_call call;
        enum faulty_way way;
        unsigned left;
        bool for_good, hit;
} faulty;

struct faulty_file {
        sqlite3_file base; /* first */
        bool wal;
        sqlite3_file inner[]; /* as large as the inner file system says */
};

static sqlite3_file *inner_of(sqlite3_file *file)
{
        return ((struct faulty_file *)file)->inner;
}

static bool faulty_fails(sqlite3_file *file, enum faulty_call wal_call, enum faulty_call db_call)
{
        enum faulty_call call = ((struct faulty_file *)file)->wal ? wal_call : db_call;

        if (call != faulty.call || faulty.left == 0)
                return false;
        if (faulty.left > 1) {
                faulty.left--;
                return false;
        }
        faulty.hit = true;
        if (!faulty.for_good)
                faulty.left = 0;
        return true;
}

static int faulty_close(sqlite3_file *file)
{
        return inner_of(file)->pMethods->xClose(inner_of(file));
}

static int faulty_read(sqlite3_file *file, void *data, int n, sqlite3_int64 offset)
{
        int r;

        if (!faulty_fails(file, FAULTY_WAL_READ, FAULTY_DB_READ))
                return inner_of(file)->pMethods->xRead(inner_of(file), data, n, offset);
        if (faulty.way != FAULTY_SHORT)
                return SQLITE_IOERR_READ;
        r = inner_of(file)->pMethods->xRead(inner_of(file), data, n / 2, offset);
        memset((char *)data + n / 2, 0, (size_t)(n - n / 2));
        return r == SQLITE_OK ? SQLITE_IOERR_SHORT_READ : r;
}

static int faulty_write(sqlite3_file *file, const void *data, int n, sqlite3_int64 offset)
{
        if (faulty_fails(file, FAULTY_WAL_WRITE, FAULTY_DB_WRITE)) {
                if (faulty.way == FAULTY_FAILS)
                        return SQLITE_IOERR_WRITE;
                (void)inner_of(file)->pMethods->xWrite(inner_of(file), data, n / 2, offset);
                if (faulty.way == FAULTY_TORN)
                        _exit(FAULTY_TORN_EXIT);
                return SQLITE_FULL;
        }
        return inner_of(file)->pMethods->xWrite(inner_of(file), data, n, offset);
}

static int faulty_truncate(sqlite3_file *file, sqlite3_int64 size)
{
        return inner_of(file)->pMethods->xTruncate(inner_of(file), size);
}

static int faulty_sync(sqlite3_file *file, int flags)
{
        if (faulty_fails(file, FAULTY_WAL_SYNC, FAULTY_DB_SYNC))
                return SQLITE_IOERR_FSYNC;
        return inner_of(file)->pMethods->xSync(inner_of(file), flags);
}

static int faulty_size(sqlite3_file *file, sqlite3_int64 *size)
{
        return inner_of(file)->pMethods->xFileSize(inner_of(file), size);
}

static int faulty_lock(sqlite3_file *file, int level)
{
        return inner_of(file)->pMethods->xLock(inner_of(file), level);
}

static int faulty_unlock(sqlite3_file *file, int level)
{
        return inner_of(file)->pMethods->xUnlock(inner_of(file), level);
}

static int faulty_reserved(sqlite3_file *file, int *result)
{
        return inner_of(file)->pMethods->xCheckReservedLock(inner_of(file), result);
}

static int faulty_control(sqlite3_file *file, int op, void *argument)
{
        return inner_of(file)->pMethods->xFileControl(inner_of(file), op, argument);
}

static int faulty_sector(sqlite3_file *file)
{
        return inner_of(file)->pMethods->xSectorSize(inner_of(file));
}

static int faulty_traits(sqlite3_file *file)
{
        return inner_of(file)->pMethods->xDeviceCharacteristics(inner_of(file));
}

static int faulty_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **memory)
{
        return inner_of(file)->pMethods->xShmMap(inner_of(file), region, size, extend, memory);
}

static int faulty_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
        return inner_of(file)->pMethods->xShmLock(inner_of(file), offset, n, flags);
}

static void faulty_shm_barrier(sqlite3_file *file)
{
        inner_of(file)->pMethods->xShmBarrier(inner_of(file));
}

static int faulty_shm_unmap(sqlite3_file *file, int delete)
{
        return inner_of(file)->pMethods->xShmUnmap(inner_of(file), delete);
}

static int faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
        static const sqlite3_io_methods methods = {
                .iVersion = 2,
                .xClose = faulty_close,
                .xRead = faulty_read,
                .xWrite = faulty_write,
                .xTruncate = faulty_truncate,
                .xSync = faulty_sync,
                .xFileSize = faulty_size,
                .xLock = faulty_lock,
                .xUnlock = faulty_unlock,
                .xCheckReservedLock = faulty_reserved,
                .xFileControl = faulty_control,
                .xSectorSize = faulty_sector,
                .xDeviceCharacteristics = faulty_traits,
                .xShmMap = faulty_shm_map,
                .xShmLock = faulty_shm_lock,
                .xShmBarrier = faulty_shm_barrier,
                .xShmUnmap = faulty_shm_unmap,
        };
        struct faulty_file *faulty_file = (struct faulty_file *)file;
        int r;

        memset(faulty_file, 0, sizeof(*faulty_file));
        faulty_file->wal = flags & SQLITE_OPEN_WAL;
        r = faulty.inner->xOpen(faulty.inner, name, faulty_file->inner, flags, ret_flags);
        if (faulty_file->inner->pMethods)
                file->pMethods = &methods;
        return r;
}

void faulty_vfs_register(void)
{
        assert(!faulty.inner);
        faulty.inner = sqlite3_vfs_find(NULL);
        faulty.vfs = *faulty.inner;
        faulty.vfs.zName = "faulty";
        faulty.vfs.szOsFile = (int)sizeof(struct faulty_file) + faulty.inner->szOsFile;
        faulty.vfs.xOpen = faulty_open;
        faulty.vfs.pNext = NULL;
        g_assert_cmpint(sqlite3_vfs_register(&faulty.vfs, 1), ==, SQLITE_OK);
}

void faulty_vfs_unregister(void)
{
        sqlite3_vfs_unregister(&faulty.vfs);
        sqlite3_vfs_register(faulty.inner, 1);
        faulty.inner = NULL;
}

void faulty_vfs_arm(enum faulty_call call, enum faulty_way way, unsigned nth, bool for_good)
{
        faulty.call = call;
        faulty.way = way;
        faulty.left = nth;
        faulty.for_good = for_good;
        faulty.hit = false;
}

bool faulty_vfs_hit(void)
{
        return faulty.hit;
}
