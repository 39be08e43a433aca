/* SPDX-License-Identifier: Apache-2.0 */
#include "store/writer.h"

#include "base/error.h"
#include "base/file.h"
#include "loop/loop.h"

#include <signal.h>
#include <sys/eventfd.h>

/* Without work for this long the driver may compact. */
#define WRITER_IDLE_US 100000
/* Under steady work it compacts all the same, a piece after every group, when this many rows were written since. */
#define WRITER_ROWS_BEHIND 65536u

struct writer {
        struct driver *driver;
        void (*finished_fn)(struct commit *commits, void *userdata);
        void *userdata;
        struct loop_source *wake;
        int wake_fd;
        GThread *thread;

        GMutex mutex; /* guards what follows */
        GCond cond;
        struct commit *queue, **queue_tail;
        struct commit *finished, **finished_tail;
        struct retention retention;
        bool stop;
        bool full;       /* a group found no room: those behind it are not tried, until writer_take_back() */
        bool compacting; /* writer_compact() waits */
        int compact_result;
        uint64_t rows_behind; /* written since compaction had nothing left to do */
        uint64_t groups;
        int failure; /* the first error: nothing is written any more */
};

static void writer_append(struct commit ***tail, struct commit *list)
{
        **tail = list;
        for (; list; list = list->next)
                *tail = &list->next;
}

/* To the loop. Called with the mutex held. */
static void writer_hand_back(struct writer *writer, struct commit *list, int result)
{
        for (struct commit *commit = list; commit; commit = commit->next)
                commit->result = result;
        writer_append(&writer->finished_tail, list);
        /* The counter of an eventfd cannot run over here; it stays readable until the loop has looked. */
        (void)!eventfd_write(writer->wake_fd, 1);
}

/* Persists @list as one group and hands it to the loop. Called and left with the mutex held. */
static void writer_write_group(struct writer *writer, struct commit *list)
{
        g_autoptr(GPtrArray) group = g_ptr_array_new();
        size_t rows = 0;
        int r = writer->failure;

        g_mutex_unlock(&writer->mutex);
        for (struct commit *commit = list; commit; commit = commit->next) {
                g_ptr_array_add(group, commit);
                rows += commit->n_rows;
                if (r == 0)
                        commit_prepare(commit);
        }
        if (r == 0)
                r = writer->driver->ops->persist(writer->driver, (struct commit *const *)group->pdata, group->len);
        g_mutex_lock(&writer->mutex);
        writer->full = r == DRIVER_E_FULL;
        if (!writer->full)
                writer->failure = error_fold(r);
        writer->groups++;
        writer->rows_behind += rows;
        writer_hand_back(writer, list, writer->full ? DRIVER_E_FULL : error_fold(r));
}

/* Called and left with the mutex held. A failure here is reported to the next commit. */
static void writer_settle(struct writer *writer)
{
        int r;

        if (writer->failure || !writer->driver->ops->settle)
                return;
        g_mutex_unlock(&writer->mutex);
        r = writer->driver->ops->settle(writer->driver);
        g_mutex_lock(&writer->mutex);
        writer->failure = error_fold(r);
}

/* One bounded piece. Called and left with the mutex held. */
static void writer_compact_piece(struct writer *writer)
{
        struct retention retention = writer->retention;
        int r;

        g_mutex_unlock(&writer->mutex);
        r = writer->driver->ops->compact(writer->driver, &retention);
        g_mutex_lock(&writer->mutex);
        writer_settle(writer);
        if (r > 0)
                return;
        if (r < 0)
                writer->failure = r;
        writer->rows_behind = 0;
        writer->compact_result = r;
        writer->compacting = false;
        g_cond_broadcast(&writer->cond);
}

static void writer_wait(struct writer *writer)
{
        if (writer->rows_behind == 0 || writer->failure) {
                g_cond_wait(&writer->cond, &writer->mutex);
                return;
        }
        if (g_cond_wait_until(&writer->cond, &writer->mutex, g_get_monotonic_time() + WRITER_IDLE_US))
                return;
        while (!writer->queue && !writer->stop && writer->rows_behind > 0 && !writer->failure)
                writer_compact_piece(writer);
}

static void *writer_run(void *userdata)
{
        struct writer *writer = userdata;

        g_mutex_lock(&writer->mutex);
        for (;;) {
                struct commit *list = writer->queue;

                if (list) {
                        writer->queue = NULL;
                        writer->queue_tail = &writer->queue;
                        /* What was accepted behind a commit that is not to be must not be either. */
                        if (writer->full)
                                writer_hand_back(writer, list, DRIVER_E_FULL);
                        else
                                writer_write_group(writer, list);
                        writer_settle(writer);
                        if (writer->rows_behind > WRITER_ROWS_BEHIND && !writer->failure)
                                writer_compact_piece(writer);
                } else if (writer->compacting) {
                        writer_compact_piece(writer);
                } else if (writer->stop) {
                        break;
                } else {
                        writer_wait(writer);
                }
        }
        g_mutex_unlock(&writer->mutex);
        return NULL;
}

static void writer_drain(struct writer *writer)
{
        struct commit *list;

        g_mutex_lock(&writer->mutex);
        list = g_steal_pointer(&writer->finished);
        writer->finished_tail = &writer->finished;
        g_mutex_unlock(&writer->mutex);
        if (list)
                writer->finished_fn(list, writer->userdata);
}

static void writer_woken(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        eventfd_t count;

        (void)!eventfd_read(fd, &count);
        writer_drain(userdata);
}

int writer_new(struct driver *driver, struct loop *loop, void (*finished)(struct commit *commits, void *userdata), void *userdata,
               struct writer **ret_writer)
{
        g_autoptr(writer) writer = g_new0(struct writer, 1);
        g_autoptr(GError) error = NULL;
        sigset_t all, before;
        int r;

        assert(driver && loop && finished);
        writer->driver = driver;
        writer->finished_fn = finished;
        writer->userdata = userdata;
        writer->queue_tail = &writer->queue;
        writer->finished_tail = &writer->finished;
        g_mutex_init(&writer->mutex);
        g_cond_init(&writer->cond);
        writer->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (writer->wake_fd < 0)
                return -errno;
        r = loop_fd(loop, writer->wake_fd, LOOP_READ, writer_woken, writer, &writer->wake);
        if (r < 0)
                return r;
        /* Signals are the loop's: the thread inherits a mask that blocks them all. */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        writer->thread = g_thread_try_new("store-writer", writer_run, writer, &error);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (!writer->thread)
                return -EAGAIN;
        *ret_writer = g_steal_pointer(&writer);
        return 0;
}

struct writer *writer_free(struct writer *writer)
{
        if (!writer)
                return NULL;
        if (writer->thread) {
                g_mutex_lock(&writer->mutex);
                writer->stop = true;
                g_cond_broadcast(&writer->cond);
                g_mutex_unlock(&writer->mutex);
                g_thread_join(writer->thread);
                writer_drain(writer);
        }
        loop_source_free(writer->wake);
        fd_close(writer->wake_fd);
        g_mutex_clear(&writer->mutex);
        g_cond_clear(&writer->cond);
        g_free(writer);
        return NULL;
}

void writer_submit(struct writer *writer, struct commit *commits, const struct retention *retention)
{
        bool idle;

        g_mutex_lock(&writer->mutex);
        idle = !writer->queue;
        writer_append(&writer->queue_tail, commits);
        writer->retention = *retention;
        if (idle)
                g_cond_broadcast(&writer->cond);
        g_mutex_unlock(&writer->mutex);
}

struct commit *writer_take_back(struct writer *writer)
{
        struct commit *list;

        g_mutex_lock(&writer->mutex);
        assert(writer->full);
        writer_append(&writer->finished_tail, g_steal_pointer(&writer->queue));
        writer->queue_tail = &writer->queue;
        list = g_steal_pointer(&writer->finished);
        writer->finished_tail = &writer->finished;
        writer->full = false;
        g_mutex_unlock(&writer->mutex);
        return list;
}

uint64_t writer_groups(const struct writer *writer)
{
        struct writer *self = (struct writer *)writer;
        uint64_t groups;

        g_mutex_lock(&self->mutex);
        groups = self->groups;
        g_mutex_unlock(&self->mutex);
        return groups;
}

int writer_compact(struct writer *writer, const struct retention *retention)
{
        int r;

        g_mutex_lock(&writer->mutex);
        writer->retention = *retention;
        writer->compacting = true;
        g_cond_broadcast(&writer->cond);
        while (writer->compacting)
                g_cond_wait(&writer->cond, &writer->mutex);
        r = writer->compact_result;
        g_mutex_unlock(&writer->mutex);
        return r;
}
