/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlite_private.h"

#include "base/error.h"
#include "base/file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/*
 * The write-ahead log before SQLite reads it. SQLite takes the first frame whose checksum is wrong for the end of the log: right
 * after a power cut in the middle of a commit, but a damaged sector would silently take acknowledged commits along. Every commit is
 * synced before the next one is written. So where a whole commit stands behind one that is not, the latter was durable once, and
 * the file was damaged since. Format: https://www.sqlite.org/fileformat2.html#walformat
 */
#define WAL_HEADER_BYTES 32u
#define WAL_FRAME_BYTES  24u
#define WAL_MAGIC        0x377f0682u /* | 1: checksums read big-endian words */

struct wal {
        const unsigned char *bytes;
        size_t len, frame_len, n_frames;
        bool big_endian;
};

static uint32_t wal_word(const unsigned char *p)
{
        return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void wal_sum(const struct wal *wal, const unsigned char *p, size_t len, uint32_t sum[2])
{
        for (const unsigned char *end = p + len; p < end; p += 8) {
                uint32_t words[2];

                memcpy(words, p, sizeof(words));
                sum[0] += (wal->big_endian ? GUINT32_FROM_BE(words[0]) : GUINT32_FROM_LE(words[0])) + sum[1];
                sum[1] += (wal->big_endian ? GUINT32_FROM_BE(words[1]) : GUINT32_FROM_LE(words[1])) + sum[0];
        }
}

static const unsigned char *wal_frame(const struct wal *wal, size_t i)
{
        return wal->bytes + WAL_HEADER_BYTES + i * wal->frame_len;
}

/* Of this generation of the log; frames of former ones may stand behind. */
static bool wal_frame_is_ours(const struct wal *wal, size_t i)
{
        return memcmp(wal_frame(wal, i) + 8, wal->bytes + 16, 8) == 0;
}

static bool wal_frame_commits(const struct wal *wal, size_t i)
{
        return wal_word(wal_frame(wal, i) + 4) != 0;
}

/* Whether the frame fits the checksum that stands in the one before it. */
static bool wal_frame_is_whole(const struct wal *wal, size_t i)
{
        const unsigned char *frame = wal_frame(wal, i), *before = i == 0 ? wal->bytes + 24 : wal_frame(wal, i - 1) + 16;
        uint32_t sum[2] = {wal_word(before), wal_word(before + 4)};

        if (!wal_frame_is_ours(wal, i))
                return false;
        wal_sum(wal, frame, 8, sum);
        wal_sum(wal, frame + WAL_FRAME_BYTES, wal->frame_len - WAL_FRAME_BYTES, sum);
        return sum[0] == wal_word(frame + 16) && sum[1] == wal_word(frame + 20);
}

static bool wal_header_is_whole(struct wal *wal)
{
        uint32_t magic = wal_word(wal->bytes), sum[2] = {0, 0}, page = wal_word(wal->bytes + 8);

        if ((magic & ~1u) != WAL_MAGIC || page < 512 || page > 65536 || (page & (page - 1)))
                return false;
        wal->big_endian = magic & 1;
        wal_sum(wal, wal->bytes, 24, sum);
        wal->frame_len = WAL_FRAME_BYTES + page;
        wal->n_frames = (wal->len - WAL_HEADER_BYTES) / wal->frame_len;
        return sum[0] == wal_word(wal->bytes + 24) && sum[1] == wal_word(wal->bytes + 28);
}

/* The frame at which the log breaks off although a later commit stands behind it, or n_frames. */
static size_t wal_find_damage(const struct wal *wal)
{
        size_t broken = 0;
        bool ended = false; /* a commit that is not whole ended here, as far as its header can be believed */

        while (broken < wal->n_frames && wal_frame_is_whole(wal, broken))
                broken++;
        for (size_t i = broken; i < wal->n_frames; i++) {
                bool whole = i > broken && wal_frame_is_whole(wal, i);

                if (whole && wal_frame_commits(wal, i) && ended)
                        return broken;
                if (whole || i == broken)
                        ended |= wal_frame_commits(wal, i);
        }
        return wal->n_frames;
}

static int wal_check(struct sqlite_driver *sqlite, struct wal *wal)
{
        size_t broken;

        if (wal->len <= WAL_HEADER_BYTES + WAL_FRAME_BYTES)
                return 0;
        if (!wal_header_is_whole(wal))
                return sqlite_damaged(sqlite, "the header of its write-ahead log is damaged");
        broken = wal_find_damage(wal);
        if (broken == wal->n_frames)
                return 0;
        g_free(sqlite->words);
        sqlite->words = g_strdup_printf("%s-wal: frame %zu of %zu is damaged, and acknowledged writes stand behind it",
                                        sqlite->path, broken + 1, wal->n_frames);
        return STORE_E_CORRUPT;
}

int sqlite_check_wal(struct sqlite_driver *sqlite)
{
        g_autofree char *path = g_strconcat(sqlite->path, "-wal", NULL);
        autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        struct wal wal = {0};
        struct stat st;
        void *bytes;
        int r;

        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_size == 0)
                return 0;
        bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
        if (bytes == MAP_FAILED)
                return -errno;
        wal.bytes = bytes;
        wal.len = (size_t)st.st_size;
        r = wal_check(sqlite, &wal);
        (void)munmap(bytes, (size_t)st.st_size);
        return r;
}
