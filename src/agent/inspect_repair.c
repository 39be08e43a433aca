/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/inspect.h"

#include "agent/groups.h"

#include "agent/net/link.h"
#include "base/error.h"
#include "base/file.h"
#include "virt/pools.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LOST_AND_FOUND "lost+found"

/* --- small steps -----------------------------------------------------------------------------------------------------------------
 */

static int failed(char **ret_words, char *words)
{
        g_free(*ret_words);
        *ret_words = words;
        return REPAIR_E_FAILED;
}

static const char *subject_name(const struct api_host_finding *finding)
{
        const char *slash = strchr(finding->subject, '/');

        return slash ? slash + 1 : finding->subject;
}

/* Move a file aside, never over another and never through a link. */
static int move_aside(const char *path, const char *folder, mode_t mode, char **ret_words)
{
        g_autofree char *name = g_path_get_basename(path), *target = g_build_filename(folder, name, NULL);
        int r = file_ensure_dir(folder, mode);
        struct stat info;

        if (!r && (lstat(folder, &info) < 0 || !S_ISDIR(info.st_mode))) {
                r = -ENOTDIR;
        }
        for (unsigned n = 1; !r && renameat2(AT_FDCWD, path, AT_FDCWD, target, RENAME_NOREPLACE) < 0; n++) {
                if (errno != EEXIST || n > 1000) {
                        r = -errno;
                        break;
                }
                g_free(target);
                target = g_strdup_printf("%s/%s.%u", folder, name, n);
        }
        if (r < 0) {
                return failed(ret_words, g_strdup_printf("%s could not be moved to %s: %s", path, folder, g_strerror(-r)));
        }
        *ret_words = g_strdup_printf("moved to %s; to get it back: mv '%s' '%s'", target, target, path);
        return 0;
}

/* --- one function for each kind of repair ----------------------------------------------------------------------------------------
 */

static int repair_domain(struct inspect *inspect, const struct api_host_finding *finding, char **ret_words)
{
        const char *uuid = subject_name(finding);
        struct virt_error error = {};
        int r = virt_domain_destroy(inspect->agent->virt, uuid, &error);

        if (!r) {
                r = virt_domain_undefine(inspect->agent->virt, uuid, &error);
        }
        if (r && r != VIRT_E_MISSING) {
                return failed(ret_words, g_strdup(error.words));
        }
        *ret_words = g_strdup("the domain is gone; the files of its disks were left");
        return 0;
}

/* The loop takes the intent up anew when the task is done. */
static int repair_again(struct inspect *inspect, const struct api_host_finding *finding, char **ret_words)
{
        g_strv_builder_add(inspect->job->requeue, finding->subject);
        *ret_words = g_strdup("taken up anew");
        return 0;
}

static int repair_volume(struct inspect *inspect, const struct api_host_finding *finding, char **ret_words)
{
        g_autofree char *folder = g_path_get_dirname(finding->subject), *aside = g_build_filename(folder, LOST_AND_FOUND, NULL);
        int r = move_aside(finding->subject, aside, 0711, ret_words);

        for (unsigned i = 0; !r && i < inspect->known->intents->len; i++) {
                const struct inspect_intent *intent = inspect->known->intents->pdata[i];
                const struct api_volume *volume = intent->doc->view;
                struct virt_error error = {};

                if (intent->kind == &api_volume_kind && g_strcmp0(volume->spec->pool->path, folder) == 0) {
                        /* libvirt may go on listing it until the next look at the folder. */
                        (void)virt_pool_refresh(inspect->agent->virt, volume->spec->pool->name, NULL, &error);
                        break;
                }
        }
        return r;
}

static int repair_pool(struct inspect *inspect, const struct api_host_finding *finding, char **ret_words)
{
        const char *name = subject_name(finding);

        for (unsigned i = 0; i < inspect->known->intents->len; i++) {
                const struct inspect_intent *intent = inspect->known->intents->pdata[i];
                const struct api_volume_pool *pool =
                        intent->kind == &api_volume_kind      ? ((const struct api_volume *)intent->doc->view)->spec->pool
                        : intent->kind == &api_host_task_kind ? ((const struct api_host_task *)intent->doc->view)->spec->pool
                                                              : NULL;
                struct virt_pool_options options = {
                        .name = name, .type = pool ? pool->type : NULL, .path = pool ? pool->path : NULL};
                struct virt_error error = {};

                if (!pool || g_strcmp0(pool->name, name) != 0) {
                        continue;
                }
                if (virt_pool_ensure(inspect->agent->virt, &options, &error)) {
                        return failed(ret_words, g_strdup(error.words));
                }
                *ret_words = g_strdup("the pool is there again");
                return 0;
        }
        return failed(ret_words, g_strdup("no intent names the pool any more"));
}

/* Files of the agent's own folders: what is ours and can be made anew is deleted, all else moved aside. */
static int repair_file(struct inspect *inspect, const struct api_host_finding *finding, char **ret_words)
{
        g_autofree char *aside = g_build_filename(inspect->agent->data_dir, LOST_AND_FOUND, NULL);

        if (finding->undo) {
                return move_aside(finding->subject, aside, 0700, ret_words);
        }
        if (unlink(finding->subject) < 0 && errno != ENOENT) {
                return failed(ret_words, g_strdup_printf("%s could not be deleted: %s", finding->subject, g_strerror(errno)));
        }
        *ret_words = g_strdup("deleted");
        return 0;
}

static int repair_journal(struct inspect *inspect, const struct api_host_finding *finding, char **ret_words)
{
        int r = repair_file(inspect, finding, ret_words);

        if (!r && finding->uid) {
                r = journal_drop(inspect->agent->journal, finding->uid, G_MAXINT64);
        }
        return r < 0 ? failed(ret_words, g_strdup_printf("the journal keeps it: %s", g_strerror(-r))) : r;
}

static int repair_tap(struct inspect *inspect, const struct api_host_finding *finding, char **ret_words)
{
        bool remove = g_str_equal(finding->code, REASON_STRAY_TAP);
        g_autoptr(link_socket) socket = NULL;
        struct link_info info;
        int r = link_open(&socket);

        r = r ? r : link_get(socket, subject_name(finding), &info);
        if (!r) {
                r = remove ? link_delete(socket, info.index) : link_set_isolated(socket, info.index, true);
        }
        if (r < 0) {
                return failed(ret_words, g_strdup(g_strerror(-r)));
        }
        *ret_words = g_strdup(remove ? "deleted" : "isolated");
        return 0;
}

static int repair_net(struct inspect *inspect, const struct api_host_finding *finding, char **ret_words)
{
        g_autofree char *words = NULL;
        int r = net_engine_restore(inspect->agent->net, &words);

        if (r) {
                return failed(ret_words, words ? g_steal_pointer(&words) : g_strdup(g_strerror(-MIN(r, 0))));
        }
        *ret_words = g_strdup("rules, bridges and DHCP services were written anew");
        return 0;
}

/* A control group with a process in it cannot be removed: the kernel looks once more. */
static int repair_cgroup(struct inspect *inspect, const struct api_host_finding *finding, char **ret_words)
{
        int r = groups_remove_folder(finding->subject, GROUPS_DEPTH);

        if (r < 0 && r != -ENOENT) {
                return failed(ret_words, g_strdup(g_strerror(-r)));
        }
        *ret_words = g_strdup("removed");
        return 0;
}

/* --- the table -------------------------------------------------------------------------------------------------------------------
 */

#define SAFE_AGAIN   "the agent does only what the intent says, as it would at its next turn by itself"
#define SAFE_RESTORE "the rules are made of the ports that the store has; what is allowed stays allowed, without a gap"
#define SAFE_ASIDE   "nothing is deleted; the file is only moved"

static const struct {
        const char *code;
        int (*repair)(struct inspect *inspect, const struct api_host_finding *finding, char **ret_words);
        const char *safe;
} repairs[] = {
        {REASON_STRAY_DOMAIN, repair_domain,
         "neither the agent nor the store has an Instance for it, so nothing will ever stop it; its disks are not touched"},
        {REASON_DOMAIN_MISSING, repair_again, SAFE_AGAIN},
        {REASON_DOMAIN_DISAGREES, repair_again, SAFE_AGAIN},
        {REASON_STRAY_VOLUME, repair_volume, "no domain and no Volume names it; nothing is deleted"},
        {REASON_POOL_LOST, repair_pool, "files in its folder are not touched"},
        {REASON_STRAY_SEED, repair_file, "no Instance needs it, and no running domain has it"},
        {REASON_STRAY_IMAGE_FILE, repair_file, "whatever is needed of the cache is fetched again"},
        {REASON_STRAY_JOURNAL, repair_journal, SAFE_ASIDE},
        {REASON_STRAY_TAP, repair_tap, "no process has it open, so no guest is behind it"},
        {REASON_TAP_OPEN, repair_tap, "guests reach each other through the host, by their policies"},
        {REASON_STRAY_RULES, repair_net, SAFE_RESTORE},
        {REASON_RULES_MISSING, repair_net, SAFE_RESTORE},
        {REASON_STRAY_BRIDGE, repair_net, SAFE_RESTORE},
        {REASON_STRAY_DHCP, repair_net, SAFE_RESTORE},
        {REASON_DHCP_MISSING, repair_net, SAFE_RESTORE},
        {REASON_STRAY_CGROUP, repair_cgroup, "the kernel removes only groups without a process"},
};

const char *repair_safe(const char *code)
{
        for (size_t i = 0; code && i < G_N_ELEMENTS(repairs); i++) {
                if (g_str_equal(repairs[i].code, code)) {
                        return repairs[i].safe;
                }
        }
        return NULL;
}

int repair_finding(struct inspect *inspect, const struct api_host_finding *finding, char **ret_words)
{
        assert(inspect && finding && finding->fix && ret_words);
        for (size_t i = 0; i < G_N_ELEMENTS(repairs); i++) {
                if (g_str_equal(repairs[i].code, finding->code)) {
                        return repairs[i].repair(inspect, finding, ret_words);
                }
        }
        *ret_words = g_strdup("nothing is known that would put it right");
        return REPAIR_E_REFUSED;
}
