/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/loop.h"

#include "base/error.h"
#include "base/file.h"
#include "loop/loop_internal.h"

#include <sys/eventfd.h>

struct loop_posted {
        struct loop_posted *next;
        void (*fn)(void *userdata);
        void *userdata;
};

static struct loop_posted *loop_take_posted(struct loop *loop)
{
        pthread_mutex_lock(&loop->post_lock);
        struct loop_posted *list = loop->post_head;
        loop->post_head = NULL;
        loop->post_tail = &loop->post_head;
        pthread_mutex_unlock(&loop->post_lock);
        return list;
}

static void loop_on_post(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        struct loop *loop = userdata;
        uint64_t count;

        if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
                return;
        for (struct loop_posted *item = loop_take_posted(loop), *next; item; item = next) {
                next = item->next;
                item->fn(item->userdata);
                g_free(item);
        }
}

int loop_new(struct loop **ret_loop)
{
        assert(ret_loop);

        g_autoptr(loop) loop = g_new0(struct loop, 1);
        loop->post_fd = loop->io_fd = -1;
        loop->post_tail = &loop->post_head;
        pthread_mutex_init(&loop->post_lock, NULL);
        int r = sd_event_new(&loop->event);
        if (r < 0)
                return r;
        r = loop_io_init(loop);
        if (r < 0)
                return r;
        loop->post_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (loop->post_fd < 0)
                return -errno;
        r = loop_fd(loop, loop->post_fd, LOOP_READ, loop_on_post, loop, &loop->post_source);
        if (r < 0)
                return r;
        *ret_loop = g_steal_pointer(&loop);
        return 0;
}

struct loop *loop_free(struct loop *loop)
{
        if (!loop)
                return NULL;
        loop_source_free(loop->post_source);
        fd_close(loop->post_fd);
        loop_io_clear(loop);
        for (struct loop_posted *item = loop->post_head, *next; item; item = next) {
                next = item->next;
                g_free(item);
        }
        pthread_mutex_destroy(&loop->post_lock);
        sd_event_unref(loop->event);
        g_free(loop);
        return NULL;
}

int loop_run(struct loop *loop)
{
        assert(loop);
        return sd_event_loop(loop->event);
}

void loop_exit(struct loop *loop, int code)
{
        assert(loop);
        sd_event_exit(loop->event, code);
}

int loop_run_once(struct loop *loop, uint64_t timeout_us)
{
        assert(loop);
        return sd_event_run(loop->event, timeout_us);
}

uint64_t loop_now_us(struct loop *loop)
{
        assert(loop);

        uint64_t now_us = 0;
        sd_event_now(loop->event, CLOCK_MONOTONIC, &now_us);
        return now_us;
}

void loop_post(struct loop *loop, void (*fn)(void *userdata), void *userdata)
{
        assert(loop && fn);

        struct loop_posted *item = g_new(struct loop_posted, 1);
        *item = (struct loop_posted){.fn = fn, .userdata = userdata};
        pthread_mutex_lock(&loop->post_lock);
        bool first = !loop->post_head;
        *loop->post_tail = item;
        loop->post_tail = &item->next;
        pthread_mutex_unlock(&loop->post_lock);
        if (!first)
                return;
        /* An eventfd of value 0 or 1 can always take one more: this write cannot fail or block. */
        const uint64_t one = 1;
        ssize_t n = write(loop->post_fd, &one, sizeof(one));
        assert(n == sizeof(one));
}
