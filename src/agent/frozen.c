/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/frozen.h"

#include "agent/core.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "virt/guest_orders.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_S     5
#define RETRY_US     1000000ull
#define RETRY_LATE   10 /* after so many, ten times as seldom */
#define WAIT_US      1000000ull
#define UNREACHED_US 2000000ull /* libvirt was not reached yet */
#define RETRY_MOST   300        /* a guest that does not answer for so long has been restarted, or never will */

/* One guest. */
struct freeze {
        struct frozen *owner; /* NULL: the agent stops */
        char *uuid;
        struct loop_source *timer, *child;
        int guard_fd; /* our end of its standard input; -1: none */
        unsigned attempts;
        bool working, ended;
        int outcome;
        struct virt_error error;
};

struct frozen {
        struct agent *agent;
        char *dir;
        GHashTable *by_uuid; /* struct freeze */
};

static void freeze_free(struct freeze *freeze)
{
        loop_source_free(freeze->timer);
        loop_source_free(freeze->child);
        fd_close(freeze->guard_fd);
        g_free(freeze->uuid);
        g_free(freeze);
}

static char *mark_of(const struct frozen *frozen, const char *uuid)
{
        return g_build_filename(frozen->dir, uuid, NULL);
}

/* Over: the mark goes, and the guard, which a byte tells that there is nothing to do. */
static void end(struct freeze *freeze)
{
        struct frozen *frozen = freeze->owner;
        g_autofree char *mark = mark_of(frozen, freeze->uuid);

        if (freeze->guard_fd >= 0 && write(freeze->guard_fd, "k", 1) < 0) {
                log_debug("the guard of a freeze has ended before", "uuid", freeze->uuid);
        }
        if (unlink(mark) < 0 && errno != ENOENT) {
                log_warning("the mark of a freeze could not be removed", "path", mark, "error", g_strerror(errno));
        }
        g_hash_table_remove(frozen->by_uuid, freeze->uuid);
        if (freeze->working) {
                freeze->ended = true;
        } else {
                freeze_free(freeze);
        }
}

/* --- thawing ---------------------------------------------------------------------------------------------------------------------
 */

static int thaw_work(void *userdata)
{
        struct freeze *freeze = userdata;

        freeze->outcome = guest_thaw(freeze->owner->agent->virt, freeze->uuid, ANSWER_S, &freeze->error);
        return 0;
}

static void thaw_done(int result, void *userdata)
{
        struct freeze *freeze = userdata;
        bool gone = freeze->outcome == VIRT_E_MISSING;

        freeze->working = false;
        if (freeze->ended || !freeze->owner) {
                freeze_free(freeze);
        } else if (result == 0 && (freeze->outcome == 0 || gone || ++freeze->attempts >= RETRY_MOST)) {
                log_info(freeze->outcome ? "a frozen guest is left to itself" : "guest is thawed", "uuid", freeze->uuid);
                end(freeze);
        } else {
                loop_timer_set(freeze->timer, freeze->attempts < RETRY_LATE ? RETRY_US : 10 * RETRY_US);
        }
}

static void on_timer(struct loop_source *source, void *userdata)
{
        struct freeze *freeze = userdata;
        struct agent *agent = freeze->owner->agent;

        if (freeze->working) {
                return;
        }
        if (!agent->virt) {
                loop_timer_set(source, UNREACHED_US);
                return;
        }
        freeze->working = true;
        lanes_submit(
                agent->lanes,
                &(struct lanes_job){
                        .guest = freeze->uuid, .patience_us = WAIT_US, .work = thaw_work, .done = thaw_done, .userdata = freeze});
}

/* --- the guard -------------------------------------------------------------------------------------------------------------------
 */

static void on_child(struct loop_source *source, pid_t pid, int status, void *userdata)
{
        struct freeze *freeze = userdata;

        freeze->child = loop_source_free(freeze->child);
}

/* In a session of its own: what ends the agent's does not end it. */
static int spawn_guard(const char *uri, const char *uuid, uint64_t seconds, int input, pid_t *ret_pid)
{
        g_autofree char *bound = g_strdup_printf("%" G_GUINT64_FORMAT, seconds);
        const char *const argv[] = {"gabbro-agent", "thaw", uri, uuid, bound, NULL};
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        sigset_t none;
        int r;

        sigemptyset(&none);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
        posix_spawnattr_init(&attributes);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
        posix_spawnattr_setsigmask(&attributes, &none);
        r = -posix_spawn(ret_pid, "/proc/self/exe", &actions, &attributes, (char *const *)argv, environ);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
        return r;
}

static int post_guard(struct freeze *freeze, uint64_t seconds)
{
        struct agent *agent = freeze->owner->agent;
        int pair[2], r;
        pid_t pid;

        if (pipe2(pair, O_CLOEXEC) < 0) {
                return -errno;
        }
        freeze->guard_fd = pair[1];
        r = spawn_guard(agent->libvirt_uri, freeze->uuid, seconds, pair[0], &pid);
        fd_close(pair[0]);
        return r < 0 ? r : error_fold(loop_child(agent->loop, pid, on_child, freeze, &freeze->child));
}

static bool guard_is_relieved(int timeout_ms)
{
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        char byte;

        return poll(&input, 1, timeout_ms) > 0 && read(STDIN_FILENO, &byte, 1) == 1;
}

int frozen_guard_main(int argc, char **argv)
{
        struct virt_error error = {};
        struct virt *virt = NULL;
        unsigned attempts = 0;
        int seconds, r;

        if (argc != 5 || !uuid_valid(argv[3]) || (seconds = (int)g_ascii_strtoll(argv[4], NULL, 10)) < 0) {
                return 2;
        }
        signal(SIGTERM, SIG_IGN);
        signal(SIGINT, SIG_IGN);
        if (guard_is_relieved(seconds * 1000)) {
                return 0;
        }
        do {
                r = virt ? 0 : virt_open(&(struct virt_options){.uri = argv[2]}, &virt, &error);
                r = r ? r : guest_thaw(virt, argv[3], ANSWER_S, &error);
                if (r && guard_is_relieved(1000)) {
                        return 0;
                }
        } while (r && r != VIRT_E_MISSING && ++attempts < RETRY_MOST);
        return r ? 1 : 0;
}

/* --- life ------------------------------------------------------------------------------------------------------------------------
 */

static int add(struct frozen *frozen, const char *uuid, uint64_t due_us, struct freeze **ret_freeze)
{
        struct freeze *freeze = g_new0(struct freeze, 1);
        int r;

        freeze->owner = frozen;
        freeze->uuid = g_strdup(uuid);
        freeze->guard_fd = -1;
        r = loop_timer(frozen->agent->loop, due_us, on_timer, freeze, &freeze->timer);
        if (r < 0) {
                freeze_free(freeze);
                return r;
        }
        g_hash_table_insert(frozen->by_uuid, freeze->uuid, freeze);
        *ret_freeze = freeze;
        return 0;
}

int frozen_begin(struct frozen *frozen, const char *uuid, uint64_t seconds)
{
        g_autofree char *mark = mark_of(frozen, uuid);
        struct freeze *freeze;
        int r;

        if (frozen_has(frozen, uuid)) {
                return -EALREADY;
        }
        r = add(frozen, uuid, seconds * 1000000, &freeze);
        if (r < 0) {
                return r;
        }
        r = file_write_atomic(mark, "", 0, 0600);
        if (!r) {
                r = post_guard(freeze, seconds);
        }
        if (r < 0) {
                end(freeze);
        }
        return r;
}

void frozen_end(struct frozen *frozen, const char *uuid)
{
        struct freeze *freeze = g_hash_table_lookup(frozen->by_uuid, uuid);

        if (freeze) {
                end(freeze);
        }
}

void frozen_thaw_soon(struct frozen *frozen, const char *uuid)
{
        struct freeze *freeze = g_hash_table_lookup(frozen->by_uuid, uuid);

        if (freeze && !freeze->working) {
                loop_timer_set(freeze->timer, 0);
        }
}

bool frozen_has(const struct frozen *frozen, const char *uuid)
{
        return g_hash_table_contains(frozen->by_uuid, uuid);
}

int frozen_new(struct agent *agent, struct frozen **ret_frozen)
{
        struct frozen *frozen = g_new0(struct frozen, 1);
        g_autoptr(GDir) folder = NULL;
        const char *name;
        int r;

        frozen->agent = agent;
        frozen->dir = g_build_filename(agent->data_dir, "frozen", NULL);
        frozen->by_uuid = g_hash_table_new(g_str_hash, g_str_equal);
        r = file_ensure_dir(frozen->dir, 0700);
        folder = g_dir_open(frozen->dir, 0, NULL);
        while (r >= 0 && folder && (name = g_dir_read_name(folder))) {
                struct freeze *freeze;

                if (uuid_valid(name)) {
                        log_warning("a guest was frozen when the agent ended; it is thawed now", "uuid", name);
                        r = add(frozen, name, 0, &freeze);
                }
        }
        if (r < 0) {
                frozen_free(frozen);
                return r;
        }
        *ret_frozen = frozen;
        return 0;
}

struct frozen *frozen_free(struct frozen *frozen)
{
        GHashTableIter iter;
        void *value;

        if (!frozen) {
                return NULL;
        }
        g_hash_table_iter_init(&iter, frozen->by_uuid);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
                freeze_free(value);
        }
        g_hash_table_unref(frozen->by_uuid);
        g_free(frozen->dir);
        g_free(frozen);
        return NULL;
}
