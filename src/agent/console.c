/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/core.h"

#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/names.h"
#include "generated/api_types.h"

#include <string.h>

/*
 * Console sessions: the gateway names a nonce, a machine and a channel; the agent finds the domain and its channel itself and never
 * takes a path. Bytes go both ways; who does not keep up stops the other side from being read.
 */
#define READ_BYTES     16384
#define HIGH_WATER     (256u << 10)
#define CLOSE_NORMAL   1000
#define CLOSE_INTERNAL 1011
#define NONCE_MAX      128

struct session {
        struct consoles *owner;
        char *uuid, *path;
        int fd;
        struct http_ws *ws;
        struct loop_source *source;
        GByteArray *input; /* typed, not yet taken by the guest */
        bool ended;        /* the owner is gone or the session is over: nothing but freeing is left */
        bool opening;      /* a job looks for the console */
};

struct consoles {
        struct agent *agent;
        GPtrArray *sessions;
};

static void session_free(void *data)
{
        struct session *session = data;

        loop_source_free(session->source);
        fd_close(session->fd);
        g_byte_array_unref(session->input);
        g_free(session->uuid);
        g_free(session->path);
        g_free(session);
}

static void session_drop(struct session *session)
{
        g_ptr_array_remove_fast(session->owner->sessions, session);
}

static void watch(struct session *session)
{
        unsigned events = http_ws_pending(session->ws) < HIGH_WATER ? LOOP_READ : 0;

        if (session->input->len) {
                events |= LOOP_WRITE;
        }
        (void)loop_fd_set(session->source, events);
        http_ws_pause(session->ws, session->input->len >= HIGH_WATER);
}

static void end(struct session *session, unsigned code, const char *words)
{
        if (!session->ended) {
                session->ended = true;
                session->source = loop_source_free(session->source);
                session->fd = fd_close(session->fd);
                http_ws_close(session->ws, code, words);
        }
}

/* --- the guest's side ------------------------------------------------------------------------------------------------------------
 */

static void write_input(struct session *session)
{
        ssize_t n = write(session->fd, session->input->data, session->input->len);

        if (n > 0) {
                g_byte_array_remove_range(session->input, 0, n);
        } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
                end(session, CLOSE_NORMAL, "the console has ended");
        }
}

static void read_output(struct session *session)
{
        char buffer[READ_BYTES];
        ssize_t n = read(session->fd, buffer, sizeof(buffer));

        if (n > 0) {
                if (http_ws_send(session->ws, true, buffer, n) < 0) {
                        end(session, CLOSE_INTERNAL, "the console's output is not taken");
                }
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
                end(session, CLOSE_NORMAL, "the console has ended");
        }
}

static void on_console(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        struct session *session = userdata;

        if (events & LOOP_WRITE) {
                write_input(session);
        }
        if (!session->ended && (events & (LOOP_READ | LOOP_HANGUP | LOOP_ERROR))) {
                read_output(session);
        }
        if (!session->ended) {
                watch(session);
        }
}

/* --- the user's side -------------------------------------------------------------------------------------------------------------
 */

static void on_message(struct http_ws *ws, bool binary, const char *data, size_t len, void *userdata)
{
        struct session *session = userdata;

        if (session->ended || session->fd < 0) {
                return;
        }
        g_byte_array_append(session->input, (const guint8 *)data, len);
        write_input(session);
        if (!session->ended) {
                watch(session);
        }
}

static void on_drained(struct http_ws *ws, void *userdata)
{
        struct session *session = userdata;

        if (!session->ended && session->source) {
                watch(session);
        }
}

static void on_close(struct http_ws *ws, unsigned code, const char *reason, void *userdata)
{
        struct session *session = userdata;

        log_debug("console session ended", "uuid", session->uuid, "words", reason);
        session->ws = NULL;
        session->ended = true;
        if (session->owner) {
                session_drop(session);
        } else {
                session_free(session);
        }
}

static void on_open(struct http_ws *ws, void *userdata)
{
        struct session *session = userdata;

        if (loop_fd(session->owner->agent->loop, session->fd, LOOP_READ, on_console, session, &session->source) < 0) {
                end(session, CLOSE_INTERNAL, "the console cannot be read");
        }
}

static const struct http_ws_handlers handlers = {
        .on_open = on_open, .on_message = on_message, .on_drained = on_drained, .on_close = on_close};

/* --- beginning -------------------------------------------------------------------------------------------------------------------
 */

struct opening {
        struct agent *agent;
        struct session *session;
        struct virt_error error;
        int outcome, fd;
};

static int open_work(void *userdata)
{
        struct opening *opening = userdata;

        opening->outcome = virt_console_open(opening->agent->virt, opening->session->uuid, true, &opening->fd, &opening->error);
        return 0;
}

static void open_done(int result, void *userdata)
{
        struct opening *opening = userdata;
        struct session *session = opening->session;
        struct agent *agent = opening->agent;

        session->opening = false;
        if (result == 0 && !opening->outcome && !session->ended) {
                session->fd = opening->fd;
                if (gateway_dial(agent->gateway, session->path, &handlers, session, &session->ws) < 0) {
                        log_warning("console stream could not be dialled", "uuid", session->uuid);
                        session_drop(session);
                }
        } else if (session->ended) {
                if (result == 0 && !opening->outcome) {
                        fd_close(opening->fd);
                }
                session_free(session);
        } else {
                log_warning("console could not be opened", "uuid", session->uuid, "error", opening->error.words);
                session_drop(session);
        }
        g_free(opening);
}

static const struct intent *find_machine(struct agent *agent, const char *machine_uid)
{
        g_autoptr(GPtrArray) instances = intents_list(agent->intents, &api_instance_kind);

        for (unsigned i = 0; i < instances->len; i++) {
                const struct intent *instance = instances->pdata[i];
                const struct api_instance *view = instance->doc->view;

                if (view->spec->machine && g_strcmp0(view->spec->machine->uid, machine_uid) == 0) {
                        return instance;
                }
        }
        return NULL;
}

static bool nonce_valid(const char *nonce)
{
        size_t len = strspn(nonce, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");

        return len > 0 && len <= NONCE_MAX && !nonce[len];
}

void consoles_open(struct consoles *consoles, const char *nonce, const char *machine_uid, const char *channel)
{
        struct agent *agent = consoles->agent;
        const struct intent *instance = find_machine(agent, machine_uid);
        const char *uuid = instance && instance->status ? json_find_string(json_root(instance->status), "domainUuid", NULL) : NULL;
        struct opening *opening;
        struct session *session;

        if (!uuid || !agent->virt || !nonce_valid(nonce) || !g_str_equal(channel, "serial") ||
            consoles->sessions->len >= LIMIT_CONSOLE_SESSIONS) {
                log_warning("console was asked for and cannot be given", "machine", machine_uid, "channel", channel);
                return;
        }
        session = g_new0(struct session, 1);
        session->owner = consoles;
        session->uuid = g_strdup(uuid);
        session->path = g_strconcat("/agent/v1/streams/", nonce, NULL);
        session->fd = -1;
        session->input = g_byte_array_new();
        session->opening = true;
        g_ptr_array_add(consoles->sessions, session);
        opening = g_new0(struct opening, 1);
        *opening = (struct opening){.agent = agent, .session = session, .fd = -1};
        loop_pool_submit(agent->queries, open_work, open_done, opening);
}

struct consoles *consoles_new(struct agent *agent)
{
        struct consoles *consoles = g_new0(struct consoles, 1);

        consoles->agent = agent;
        consoles->sessions = g_ptr_array_new_with_free_func(session_free);
        return consoles;
}

struct consoles *consoles_free(struct consoles *consoles)
{
        if (!consoles) {
                return NULL;
        }
        for (unsigned i = consoles->sessions->len; i > 0; i--) {
                struct session *session = consoles->sessions->pdata[i - 1];

                /* What is under way frees the session when it ends. */
                if (session->opening) {
                        session->ended = true;
                        g_ptr_array_steal_index_fast(consoles->sessions, i - 1);
                } else if (session->ws) {
                        end(session, CLOSE_NORMAL, "the agent stops");
                        session->owner = NULL;
                        g_ptr_array_steal_index_fast(consoles->sessions, i - 1);
                }
        }
        g_ptr_array_unref(consoles->sessions);
        g_free(consoles);
        return NULL;
}
