/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/file.h"
#include "loop/loop.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

struct pool_job {
        struct pool_job *next;
        int (*work)(void *userdata);
        void (*done)(int result, void *userdata);
        void *userdata;
        int result;
};

struct pool_queue {
        struct pool_job *head, **tail;
};

struct loop_pool {
        struct loop_source *source;
        int event_fd;
        bool delivering; /* loop thread only: a done callback runs */
        bool freed;      /* loop thread only: by a done callback; the memory goes when it is back */
        pthread_mutex_t lock;
        pthread_cond_t wake;
        struct pool_queue waiting, finished; /* guarded by lock */
        bool closing;                        /* guarded by lock */
        unsigned n_threads;
        pthread_t threads[];
};

static void queue_init(struct pool_queue *queue)
{
        queue->head = NULL;
        queue->tail = &queue->head;
}

static void queue_add(struct pool_queue *queue, struct pool_job *job)
{
        job->next = NULL;
        *queue->tail = job;
        queue->tail = &job->next;
}

static struct pool_job *queue_take(struct pool_queue *queue)
{
        struct pool_job *job = queue->head;

        if (!job)
                return NULL;
        queue->head = job->next;
        if (!queue->head)
                queue->tail = &queue->head;
        return job;
}

static void pool_notify(struct loop_pool *pool)
{
        const uint64_t one = 1;

        ssize_t n = write(pool->event_fd, &one, sizeof(one));
        assert(n == sizeof(one));
}

static void *pool_thread(void *userdata)
{
        struct loop_pool *pool = userdata;

        pthread_mutex_lock(&pool->lock);
        while (!pool->closing) {
                struct pool_job *job = queue_take(&pool->waiting);
                if (!job) {
                        pthread_cond_wait(&pool->wake, &pool->lock);
                        continue;
                }
                pthread_mutex_unlock(&pool->lock);
                job->result = job->work(job->userdata);
                pthread_mutex_lock(&pool->lock);
                bool first = !pool->finished.head;
                queue_add(&pool->finished, job);
                if (first)
                        pool_notify(pool);
        }
        pthread_mutex_unlock(&pool->lock);
        return NULL;
}

static struct pool_job *pool_take_finished(struct loop_pool *pool)
{
        pthread_mutex_lock(&pool->lock);
        struct pool_job *job = queue_take(&pool->finished);
        pthread_mutex_unlock(&pool->lock);
        return job;
}

static void pool_deliver(struct loop_pool *pool)
{
        struct pool_job *job;

        while (!pool->freed && (job = pool_take_finished(pool))) {
                job->done(job->result, job->userdata);
                g_free(job);
        }
}

static void pool_on_finished(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        struct loop_pool *pool = userdata;
        uint64_t count;

        if (read(fd, &count, sizeof(count)) < 0)
                return;
        pool->delivering = true;
        pool_deliver(pool);
        pool->delivering = false;
        if (pool->freed)
                g_free(pool);
}

static int pool_start(struct loop_pool *pool, unsigned threads)
{
        sigset_t all, before;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int r = 0;
        while (pool->n_threads < threads && r == 0) {
                r = -pthread_create(&pool->threads[pool->n_threads], NULL, pool_thread, pool);
                if (r == 0)
                        pool->n_threads++;
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return r;
}

int loop_pool_new(struct loop *loop, unsigned threads, struct loop_pool **ret_pool)
{
        assert(loop && threads > 0 && ret_pool);

        g_autoptr(loop_pool) pool = g_malloc0(sizeof(struct loop_pool) + threads * sizeof(pthread_t));
        pthread_mutex_init(&pool->lock, NULL);
        pthread_cond_init(&pool->wake, NULL);
        queue_init(&pool->waiting);
        queue_init(&pool->finished);
        pool->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (pool->event_fd < 0)
                return -errno;
        int r = loop_fd(loop, pool->event_fd, LOOP_READ, pool_on_finished, pool, &pool->source);
        if (r == 0)
                r = pool_start(pool, threads);
        if (r < 0)
                return r;
        *ret_pool = g_steal_pointer(&pool);
        return 0;
}

static void pool_cancel_waiting(struct loop_pool *pool)
{
        struct pool_job *job;

        while ((job = queue_take(&pool->waiting))) {
                job->done(-ECANCELED, job->userdata);
                g_free(job);
        }
}

struct loop_pool *loop_pool_free(struct loop_pool *pool)
{
        if (!pool || pool->freed)
                return NULL;
        pthread_mutex_lock(&pool->lock);
        pool->closing = true;
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
        for (unsigned i = 0; i < pool->n_threads; i++)
                pthread_join(pool->threads[i], NULL);
        pool_deliver(pool);
        pool_cancel_waiting(pool);
        loop_source_free(pool->source);
        fd_close(pool->event_fd);
        pthread_cond_destroy(&pool->wake);
        pthread_mutex_destroy(&pool->lock);
        if (pool->delivering)
                pool->freed = true;
        else
                g_free(pool);
        return NULL;
}

void loop_pool_submit(struct loop_pool *pool, int (*work)(void *userdata), void (*done)(int result, void *userdata), void *userdata)
{
        assert(pool && work && done);

        struct pool_job *job = g_new0(struct pool_job, 1);
        *job = (struct pool_job){.work = work, .done = done, .userdata = userdata};
        pthread_mutex_lock(&pool->lock);
        queue_add(&pool->waiting, job);
        pthread_cond_signal(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
}
