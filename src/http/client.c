/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "http/exchange.h"

#include <string.h>

/*
 * libcurl's multi interface on the loop. Callbacks of a call run within libcurl, which forbids to add and remove transfers there:
 * what they ask for is put off until libcurl has returned. The done callback runs outside.
 */
struct http_client {
        struct loop *loop;
        struct http_client_settings settings;
        CURLM *multi;
        struct loop_source *timer, *later;
        struct http_call *calls;
        unsigned within; /* libcurl is on the stack */
        bool delivering, freed;
};

static void client_unlink(struct http_client *client, struct http_call *call)
{
        if (call->previous)
                call->previous->next = call->next;
        else
                client->calls = call->next;
        if (call->next)
                call->next->previous = call->previous;
        call->previous = call->next = NULL;
}

static void client_drop(struct http_client *client, struct http_call *call)
{
        if (call->added)
                curl_multi_remove_handle(client->multi, call->easy);
        client_unlink(client, call);
        http_call_free(call);
}

static void client_finish(struct http_client *client, struct http_call *call, CURLcode code)
{
        const char *words = NULL;

        curl_multi_remove_handle(client->multi, call->easy);
        client_unlink(client, call);
        http_call_result(call, code, &words);
        if (!call->cancelled)
                call->done(call, http_call_status(call), call->body->str, call->body->len, words, call->userdata);
        http_call_free(call);
}

static struct http_call *client_take_finished(struct http_client *client, CURLcode *ret_code)
{
        int left;
        struct http_call *call = NULL;

        for (CURLMsg *message; (message = curl_multi_info_read(client->multi, &left));) {
                if (message->msg != CURLMSG_DONE)
                        continue;
                *ret_code = message->data.result;
                curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
                return call;
        }
        return NULL;
}

/* Start and end what was asked for while libcurl was on the stack. */
static void client_catch_up(struct http_client *client)
{
        for (struct http_call *call = client->calls, *next; call; call = next) {
                next = call->next;
                if (call->cancelled) {
                        client_drop(client, call);
                } else if (!call->added) {
                        call->added = true;
                        curl_multi_add_handle(client->multi, call->easy);
                }
        }
}

static void client_deliver(struct http_client *client)
{
        CURLcode code;

        if (client->within || client->delivering)
                return;
        client->delivering = true;
        client_catch_up(client);
        for (struct http_call *call; !client->freed && (call = client_take_finished(client, &code));)
                client_finish(client, call, code);
        client->delivering = false;
        if (client->freed) {
                client->freed = false;
                http_client_free(client);
        }
}

static void client_act(struct http_client *client, curl_socket_t socket, int events)
{
        int running;

        client->within++;
        curl_multi_socket_action(client->multi, socket, events, &running);
        client->within--;
        client_deliver(client);
}

static void client_on_event(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        client_act(userdata, fd,
                   (events & (LOOP_READ | LOOP_HANGUP) ? CURL_CSELECT_IN : 0) | (events & LOOP_WRITE ? CURL_CSELECT_OUT : 0) |
                           (events & LOOP_ERROR ? CURL_CSELECT_ERR : 0));
}

static void client_on_timer(struct loop_source *source, void *userdata)
{
        client_act(userdata, CURL_SOCKET_TIMEOUT, 0);
}

static void client_on_later(struct loop_source *source, void *userdata)
{
        client_deliver(userdata);
}

static int client_on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *assigned)
{
        struct http_client *client = userdata;
        struct loop_source *source = assigned;

        if (what == CURL_POLL_REMOVE) {
                loop_source_free(source);
                curl_multi_assign(client->multi, fd, NULL);
                return 0;
        }
        unsigned events = (what & CURL_POLL_IN ? LOOP_READ : 0) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0);
        if (source)
                return loop_fd_set(source, events) < 0 ? -1 : 0;
        if (loop_fd(client->loop, fd, events, client_on_event, client, &source) < 0)
                return -1;
        curl_multi_assign(client->multi, fd, source);
        return 0;
}

static int client_on_timeout(CURLM *multi, long timeout_ms, void *userdata)
{
        struct http_client *client = userdata;

        return loop_timer_set(client->timer, timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms * 1000) < 0 ? -1 : 0;
}

int http_client_new(const struct http_client_options *options, struct http_client **ret_client)
{
        assert(options && options->loop && ret_client);

        g_autoptr(http_client) client = g_new0(struct http_client, 1);
        client->loop = options->loop;
        http_client_settings_copy(&client->settings, options);
        int r = loop_timer(client->loop, UINT64_MAX, client_on_timer, client, &client->timer);
        if (r == 0)
                r = loop_defer(client->loop, client_on_later, client, &client->later);
        if (r < 0)
                return r;
        client->multi = curl_multi_init();
        if (!client->multi)
                return -ENOMEM;
        curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, client_on_socket);
        curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
        curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, client_on_timeout);
        curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
        *ret_client = g_steal_pointer(&client);
        return 0;
}

struct http_client *http_client_free(struct http_client *client)
{
        if (!client || client->freed)
                return NULL;
        if (client->delivering || client->within) {
                client->freed = true;
                for (struct http_call *call = client->calls; call; call = call->next)
                        call->cancelled = true;
                return NULL;
        }
        while (client->calls)
                client_drop(client, client->calls);
        curl_multi_cleanup(client->multi);
        loop_source_free(client->timer);
        loop_source_free(client->later);
        http_client_settings_clear(&client->settings);
        g_free(client);
        return NULL;
}

int http_call(struct http_client *client, const struct http_call_options *options, http_call_fn done, void *userdata,
              struct http_call **ret_call)
{
        assert(client && options && done);

        struct http_call *call;
        int r = http_call_new(&client->settings, options, userdata, &call);
        if (r < 0)
                return r;
        call->client = client;
        call->done = done;
        call->next = client->calls;
        if (call->next)
                call->next->previous = call;
        client->calls = call;
        loop_defer_set(client->later, true);
        if (ret_call)
                *ret_call = call;
        return 0;
}

struct http_call *http_call_cancel(struct http_call *call)
{
        if (!call || call->cancelled)
                return NULL;
        call->cancelled = true;
        if (!call->client->within && !call->client->delivering)
                client_drop(call->client, call);
        else
                loop_defer_set(call->client->later, true);
        return NULL;
}
