/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/core.h"

#include "agent/net/watch.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "generated/api_types.h"

#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

/*
 * What others change on the host is looked for in turn, and at once where the kernel tells of it: rules and bridges by netlink,
 * files of volumes by inotify. Events carry keys, never state.
 */
#define RESYNC_US        30000000ull
#define REPAIR_PAUSE_US  1000000ull /* between two repairs: somebody may work against us */
#define REPAIR_SOON_US   50000ull   /* what belongs together comes together */
#define FOLDER_EVENTS    (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE_SELF | IN_ONLYDIR)
#define FOLDER_BYTES_MAX 16384

struct resync {
        struct agent *agent;
        struct loop_source *timer, *repair_timer;
        struct net_watch *watch;
        struct loop_source *watch_sources[NET_WATCH_FDS];
        int folders_fd;
        struct loop_source *folders_source;
        GHashTable *folders; /* watch descriptor -> path, owned */
        bool repairing;
        uint64_t repaired_us; /* when the last repair was begun */
};

/* --- repairing networks ----------------------------------------------------------------------------------------------------------
 */

struct repair {
        struct resync *resync;
        struct agent *agent;
        bool whole; /* every intent gets a turn afterwards */
        bool repaired;
        char *words;
        int outcome;
};

static int repair_work(void *userdata)
{
        struct repair *repair = userdata;

        repair->outcome = net_engine_repair(repair->agent->net, &repair->repaired, &repair->words);
        return 0;
}

static void repair_done(int result, void *userdata)
{
        struct repair *repair = userdata;
        struct agent *agent = repair->agent;

        if (repair->outcome) {
                log_error("networks could not be repaired", "error",
                          repair->words ? repair->words : g_strerror(-MIN(repair->outcome, 0)));
        } else if (repair->repaired) {
                log_warning("rules were changed from outside and put right");
        }
        if (result != -ECANCELED) {
                repair->resync->repairing = false;
                if (repair->whole) {
                        intents_queue_all(agent->intents);
                        converge_pump(agent);
                }
        }
        g_free(repair->words);
        g_free(repair);
}

static void repair_begin(struct resync *resync, bool whole)
{
        struct agent *agent = resync->agent;
        struct repair *repair;

        if (!agent->net_built || agent->stopping || (resync->repairing && !whole)) {
                return;
        }
        repair = g_new0(struct repair, 1);
        repair->resync = resync;
        repair->agent = agent;
        repair->whole = whole;
        resync->repairing = true;
        resync->repaired_us = loop_now_us(agent->loop);
        loop_pool_submit(agent->jobs, repair_work, repair_done, repair);
}

static void on_repair(struct loop_source *source, void *userdata)
{
        repair_begin(userdata, false);
}

static void on_word(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        struct resync *resync = userdata;
        uint64_t now = loop_now_us(resync->agent->loop), earliest = resync->repaired_us + REPAIR_PAUSE_US;

        if (net_watch_read(resync->watch)) {
                loop_timer_set(resync->repair_timer, MAX(REPAIR_SOON_US, earliest > now ? earliest - now : 0));
        }
}

/* --- files of volumes ------------------------------------------------------------------------------------------------------------
 */

static void volume_changed(struct agent *agent, const char *folder, const char *name)
{
        g_autoptr(GPtrArray) volumes = intents_list(agent->intents, &api_volume_kind);
        g_autofree char *path = g_build_filename(folder, name, NULL);

        for (unsigned i = 0; i < volumes->len; i++) {
                struct intent *volume = volumes->pdata[i];

                if (g_strcmp0(volume->path, path) != 0) {
                        continue;
                }
                if (volume->small) {
                        /* An attempt to grow it that fails has written to it: that must not begin the next one. */
                        intents_nudge(agent->intents, volume);
                } else {
                        /* Its last job may have failed for want of the file. */
                        intents_queue(agent->intents, volume, 0);
                }
        }
}

static void on_folder(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        char buffer[FOLDER_BYTES_MAX] __attribute__((aligned(__alignof__(struct inotify_event))));
        struct resync *resync = userdata;
        ssize_t n = read(fd, buffer, sizeof(buffer));

        for (ssize_t at = 0; at < n;) {
                const struct inotify_event *event = (const struct inotify_event *)(buffer + at);
                const char *folder = g_hash_table_lookup(resync->folders, GINT_TO_POINTER(event->wd));

                if (event->mask & IN_IGNORED) {
                        g_hash_table_remove(resync->folders, GINT_TO_POINTER(event->wd));
                } else if (folder && event->len) {
                        volume_changed(resync->agent, folder, event->name);
                }
                at += (ssize_t)(sizeof(*event) + event->len);
        }
}

void resync_folder(struct resync *resync, const char *path)
{
        g_autofree char *folder = NULL;
        int wd;

        if (!resync || resync->folders_fd < 0 || !path) {
                return;
        }
        folder = g_path_get_dirname(path);
        wd = inotify_add_watch(resync->folders_fd, folder, FOLDER_EVENTS);
        if (wd >= 0 && !g_hash_table_contains(resync->folders, GINT_TO_POINTER(wd))) {
                g_hash_table_insert(resync->folders, GINT_TO_POINTER(wd), g_steal_pointer(&folder));
        }
}

/* --- life ------------------------------------------------------------------------------------------------------------------------
 */

static void on_resync(struct loop_source *source, void *userdata)
{
        loop_timer_set(source, RESYNC_US);
        repair_begin(userdata, true);
}

/* Without word from the kernel the turns remain. */
static void watch_networks(struct resync *resync)
{
        int r = net_watch_open(&resync->watch);

        for (unsigned i = 0; !r && i < NET_WATCH_FDS; i++) {
                r = loop_fd(resync->agent->loop, net_watch_fd(resync->watch, i), LOOP_READ, on_word, resync,
                            &resync->watch_sources[i]);
        }
        if (r < 0) {
                log_warning("changes of rules are only seen in turn", "error", g_strerror(-r));
        }
}

static void watch_folders(struct resync *resync)
{
        int r;

        resync->folders = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        resync->folders_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        r = resync->folders_fd < 0
                    ? -errno
                    : loop_fd(resync->agent->loop, resync->folders_fd, LOOP_READ, on_folder, resync, &resync->folders_source);
        if (r < 0) {
                log_warning("changes of volumes are only seen in turn", "error", g_strerror(-r));
        }
}

int resync_new(struct agent *agent, struct resync **ret_resync)
{
        struct resync *resync = g_new0(struct resync, 1);
        int r;

        assert(agent && ret_resync);
        resync->agent = agent;
        resync->folders_fd = -1;
        r = loop_timer(agent->loop, RESYNC_US, on_resync, resync, &resync->timer);
        if (!r) {
                r = loop_timer(agent->loop, UINT64_MAX, on_repair, resync, &resync->repair_timer);
        }
        if (r < 0) {
                resync_free(resync);
                return r;
        }
        watch_networks(resync);
        watch_folders(resync);
        *ret_resync = resync;
        return 0;
}

struct resync *resync_free(struct resync *resync)
{
        if (!resync) {
                return NULL;
        }
        for (unsigned i = 0; i < NET_WATCH_FDS; i++) {
                loop_source_free(resync->watch_sources[i]);
        }
        loop_source_free(resync->folders_source);
        loop_source_free(resync->repair_timer);
        loop_source_free(resync->timer);
        net_watch_close(resync->watch);
        fd_close(resync->folders_fd);
        g_clear_pointer(&resync->folders, g_hash_table_unref);
        g_free(resync);
        return NULL;
}
