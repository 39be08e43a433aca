/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "loop/loop_internal.h"

#include <signal.h>

/* Timers within a millisecond of each other share a wake-up. */
#define SOURCE_TIMER_ACCURACY_US 1000

struct loop_source *loop_source_new(struct loop *loop, void *userdata)
{
        struct loop_source *source = g_new0(struct loop_source, 1);

        source->loop = loop;
        source->userdata = userdata;
        source->fd = -1;
        return source;
}

struct loop_source *loop_source_free(struct loop_source *source)
{
        if (!source || source->freed)
                return NULL;
        if (source->inner)
                source->inner = sd_event_source_disable_unref(source->inner);
        loop_io_forget(source);
        if (source->dispatched)
                source->freed = true;
        else
                g_free(source);
        return NULL;
}

void loop_source_begin(struct loop_source *source)
{
        assert(!source->dispatched);
        source->dispatched = true;
}

void loop_source_end(struct loop_source *source)
{
        source->dispatched = false;
        if (source->freed)
                g_free(source);
}

static int source_on_time(sd_event_source *inner, uint64_t time_us, void *userdata)
{
        struct loop_source *source = userdata;

        loop_source_begin(source);
        source->on_event(source, source->userdata);
        loop_source_end(source);
        return 0;
}

int loop_timer(struct loop *loop, uint64_t delay_us, loop_fn fn, void *userdata, struct loop_source **ret_source)
{
        assert(loop && fn && ret_source);

        g_autoptr(loop_source) source = loop_source_new(loop, userdata);
        source->on_event = fn;
        int r = sd_event_add_time(loop->event, &source->inner, CLOCK_MONOTONIC, UINT64_MAX, SOURCE_TIMER_ACCURACY_US,
                                  source_on_time, source);
        if (r >= 0)
                r = loop_timer_set(source, delay_us);
        if (r < 0)
                return r;
        *ret_source = g_steal_pointer(&source);
        return 0;
}

int loop_timer_set(struct loop_source *source, uint64_t delay_us)
{
        assert(source && source->inner);

        if (delay_us == UINT64_MAX)
                return sd_event_source_set_enabled(source->inner, SD_EVENT_OFF);
        uint64_t now_us;
        int r = sd_event_now(sd_event_source_get_event(source->inner), CLOCK_MONOTONIC, &now_us);
        if (r < 0)
                return r;
        r = sd_event_source_set_time(source->inner, now_us > UINT64_MAX - 1 - delay_us ? UINT64_MAX - 1 : now_us + delay_us);
        return r < 0 ? r : sd_event_source_set_enabled(source->inner, SD_EVENT_ONESHOT);
}

static int source_on_defer(sd_event_source *inner, void *userdata)
{
        return source_on_time(inner, 0, userdata);
}

int loop_defer(struct loop *loop, loop_fn fn, void *userdata, struct loop_source **ret_source)
{
        assert(loop && fn && ret_source);

        g_autoptr(loop_source) source = loop_source_new(loop, userdata);
        source->on_event = fn;
        int r = sd_event_add_defer(loop->event, &source->inner, source_on_defer, source);
        if (r < 0)
                return r;
        *ret_source = g_steal_pointer(&source);
        return 0;
}

int loop_defer_set(struct loop_source *source, bool armed)
{
        assert(source && source->inner);

        int enabled;
        int r = sd_event_source_get_enabled(source->inner, &enabled);
        if (r < 0 || (enabled != SD_EVENT_OFF) == armed)
                return r < 0 ? r : 0;
        if (!armed)
                return sd_event_source_set_enabled(source->inner, SD_EVENT_OFF);
        /* sd-event keeps the age of a deferred source over its dispatch, and the oldest goes first: one that arms itself again
         * would keep everybody else waiting. A new inner source stands at the end of the queue. */
        sd_event_source *fresh = NULL;
        r = sd_event_add_defer(sd_event_source_get_event(source->inner), &fresh, source_on_defer, source);
        if (r < 0)
                return r;
        sd_event_source_disable_unref(source->inner);
        source->inner = fresh;
        return 0;
}

static int source_on_signal(sd_event_source *inner, const struct signalfd_siginfo *info, void *userdata)
{
        return source_on_time(inner, 0, userdata);
}

int loop_signal(struct loop *loop, int signal, loop_fn fn, void *userdata, struct loop_source **ret_source)
{
        assert(loop && signal > 0 && fn && ret_source);

        g_autoptr(loop_source) source = loop_source_new(loop, userdata);
        source->on_event = fn;
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, signal);
        int r = -pthread_sigmask(SIG_BLOCK, &set, NULL);
        if (r >= 0)
                r = sd_event_add_signal(loop->event, &source->inner, signal, source_on_signal, source);
        if (r < 0)
                return r;
        *ret_source = g_steal_pointer(&source);
        return 0;
}
