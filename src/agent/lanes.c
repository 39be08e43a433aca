/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/lanes.h"

#include "base/error.h"

#include <assert.h>
#include <glib.h>
#include <stdbool.h>

#define FORGET_US   600000000ull /* what was known of a guest that nothing was asked of for so long */
#define FORGET_FROM 64

/* One guest. */
struct lane {
        char *guest;
        unsigned slow;    /* answers in time that it owes */
        unsigned waiting; /* jobs */
        bool running;
        uint64_t used_us;
};

struct job {
        struct lanes *lanes;
        struct lane *lane; /* NULL: of the host */
        struct lanes_job what;
        bool slow;        /* it counts as one of a guest that lets us wait */
        uint64_t took_us; /* written by the pool's thread */
};

struct lanes {
        struct loop *loop;
        struct loop_pool *pool;
        GHashTable *by_guest; /* struct lane */
        GQueue waiting;       /* struct job, the oldest first */
        unsigned running, slow;
        bool closing;
};

static void lane_free(void *value)
{
        struct lane *lane = value;

        g_free(lane->guest);
        g_free(lane);
}

static gboolean is_forgotten(void *key, void *value, void *userdata)
{
        const struct lane *lane = value;
        const uint64_t *now = userdata;

        return !lane->running && !lane->waiting && (!lane->slow || *now - lane->used_us >= FORGET_US);
}

static struct lane *lane_of(struct lanes *lanes, const char *guest)
{
        struct lane *lane = g_hash_table_lookup(lanes->by_guest, guest);
        uint64_t now = loop_now_us(lanes->loop);

        if (!lane) {
                if (g_hash_table_size(lanes->by_guest) >= FORGET_FROM) {
                        g_hash_table_foreach_remove(lanes->by_guest, is_forgotten, &now);
                }
                lane = g_new0(struct lane, 1);
                lane->guest = g_strdup(guest);
                g_hash_table_insert(lanes->by_guest, lane->guest, lane);
        }
        lane->used_us = now;
        return lane;
}

static bool may_begin(const struct lanes *lanes, const struct job *job)
{
        const struct lane *lane = job->lane;

        return !lane || (!lane->running && (!lane->slow || lanes->slow < LANES_SLOW));
}

static int job_work(void *userdata)
{
        struct job *job = userdata;
        gint64 begun_us = g_get_monotonic_time();
        int r = job->what.work(job->what.userdata);

        job->took_us = (uint64_t)(g_get_monotonic_time() - begun_us);
        return r;
}

static void pump(struct lanes *lanes);

static void job_done(int result, void *userdata)
{
        struct job *job = userdata;
        struct lanes_job what = job->what;
        struct lanes *lanes = job->lanes;
        struct lane *lane = job->lane;

        lanes->running--;
        lanes->slow -= job->slow;
        if (lane) {
                lane->running = false;
                if (job->took_us >= what.patience_us) {
                        lane->slow = LANES_MEMORY;
                } else if (lane->slow && result != -ECANCELED) {
                        lane->slow--;
                }
        }
        g_free(job);
        pump(lanes);
        what.done(result, what.userdata);
}

static void begin(struct lanes *lanes, struct job *job)
{
        lanes->running++;
        if (job->lane) {
                job->lane->waiting--;
                job->lane->running = true;
                job->slow = job->lane->slow;
                lanes->slow += job->slow;
        }
        loop_pool_submit(lanes->pool, job_work, job_done, job);
}

static void pump(struct lanes *lanes)
{
        GList *next;

        for (GList *it = lanes->waiting.head; it && lanes->running < LANES_THREADS && !lanes->closing; it = next) {
                struct job *job = it->data;

                next = it->next;
                if (may_begin(lanes, job)) {
                        g_queue_delete_link(&lanes->waiting, it);
                        begin(lanes, job);
                }
        }
}

void lanes_submit(struct lanes *lanes, const struct lanes_job *what)
{
        struct job *job = g_new0(struct job, 1);

        assert(lanes && what && what->work && what->done && (!what->guest || what->patience_us));

        job->lanes = lanes;
        job->what = *what;
        job->what.guest = NULL; /* borrowed until here */
        if (what->guest) {
                job->lane = lane_of(lanes, what->guest);
                job->lane->waiting++;
        }
        g_queue_push_tail(&lanes->waiting, job);
        pump(lanes);
}

int lanes_new(struct loop *loop, struct lanes **ret_lanes)
{
        g_autoptr(lanes) lanes = g_new0(struct lanes, 1);
        int r;

        assert(loop && ret_lanes);

        lanes->loop = loop;
        lanes->by_guest = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, lane_free);
        r = loop_pool_new(loop, LANES_THREADS, &lanes->pool);
        if (r < 0) {
                return r;
        }
        *ret_lanes = g_steal_pointer(&lanes);
        return 0;
}

struct lanes *lanes_free(struct lanes *lanes)
{
        struct job *job;

        if (!lanes) {
                return NULL;
        }
        lanes->closing = true;
        loop_pool_free(lanes->pool);
        while ((job = g_queue_pop_head(&lanes->waiting))) {
                job->what.done(-ECANCELED, job->what.userdata);
                g_free(job);
        }
        g_hash_table_unref(lanes->by_guest);
        g_free(lanes);
        return NULL;
}
