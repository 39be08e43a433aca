/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/inspect.h"

#include "base/error.h"
#include "base/file.h"
#include "virt/image_header.h"
#include "virt/pools.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define ENTRIES_MAX      100000
#define PART_REST_US     600000000ull /* a download that has not grown for so long is a rest */
#define LOST_AND_FOUND   "lost+found"
#define JOURNAL_FOLDER   "journal"
#define IMAGES_FOLDER    "images"
#define DIGEST_LEN       64
#define UUID_LEN         36
#define JOURNAL_FILE_MAX 65536

static void say_file(struct inspect *inspect, struct api_host_finding *finding, const char *path, const struct stat *info)
{
        char text[CLOCK_RFC3339_MAX];

        clock_format_rfc3339((uint64_t)info->st_mtim.tv_sec * 1000000, false, text);
        inspect_evidence(inspect, finding, "%s: %s of %jd bytes (%jd on disk), owner %u, changed %s", path,
                         S_ISREG(info->st_mode)   ? "a file"
                         : S_ISLNK(info->st_mode) ? "a symbolic link"
                         : S_ISDIR(info->st_mode) ? "a folder"
                                                  : "a special file",
                         (intmax_t)info->st_size, (intmax_t)info->st_blocks * 512, info->st_uid, text);
}

/* Every entry of a folder; never following. */
static int each_entry(struct inspect *inspect, const char *path,
                      void (*each)(struct inspect *inspect, const char *path, const char *name, const struct stat *info))
{
        g_autoptr(GError) error = NULL;
        g_autoptr(GDir) folder = g_dir_open(path, 0, &error);
        const char *name;

        if (!folder) {
                if (!g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
                        inspect_unlooked(inspect, "%s", error->message);
                }
                return -ENOENT;
        }
        for (unsigned n = 0; (name = g_dir_read_name(folder)); n++) {
                g_autofree char *child = g_build_filename(path, name, NULL);
                struct stat info;

                if (n == ENTRIES_MAX) {
                        inspect_unlooked(inspect, "%s: only the first %u entries", path, n);
                        break;
                }
                if (lstat(child, &info) == 0) {
                        each(inspect, child, name, &info);
                }
        }
        return 0;
}

/* --- pools -----------------------------------------------------------------------------------------------------------------------
 */

static const struct api_volume_pool *pool_of(const struct inspect_intent *intent)
{
        if (intent->kind == &api_volume_kind) {
                return ((const struct api_volume *)intent->doc->view)->spec->pool;
        }
        if (intent->kind == &api_host_task_kind) {
                return ((const struct api_host_task *)intent->doc->view)->spec->pool;
        }
        return NULL;
}

/* The intent of a file, by the folder of its pool and its name. */
static const struct inspect_intent *volume_of(struct inspect *inspect, const char *path, const char *name)
{
        g_autofree char *folder = g_path_get_dirname(path);

        for (unsigned i = 0; i < inspect->known->intents->len; i++) {
                const struct inspect_intent *intent = inspect->known->intents->pdata[i];
                const struct api_volume *volume = intent->doc->view;

                if (intent->kind == &api_volume_kind &&
                    ((g_strcmp0(volume->spec->volume_name, name) == 0 && g_strcmp0(volume->spec->pool->path, folder) == 0) ||
                     g_strcmp0(intent->path, path) == 0)) {
                        return intent;
                }
        }
        return NULL;
}

static void check_pool_entry(struct inspect *inspect, const char *path, const char *name, const struct stat *info)
{
        const struct virt_census_domain *user = inspect->census ? virt_census_user(inspect->census, path) : NULL;
        struct api_host_finding *finding;

        if (g_str_equal(name, LOST_AND_FOUND) || volume_of(inspect, path, name)) {
                return;
        }
        finding = inspect_found(inspect, REASON_STRAY_VOLUME, user && !user->ours ? "Note" : "Warning", "%s", path);
        say_file(inspect, finding, path, info);
        inspect_evidence(inspect, finding, "no Volume of this node has that name in that pool");
        if (user) {
                inspect_evidence(inspect, finding, "the domain %s (%s) uses it: it stays", user->name,
                                 user->ours ? "of Gabbro" : "not of Gabbro");
        } else if (!inspect->census) {
                inspect_evidence(inspect, finding, "it is not known whether a domain uses it, since libvirt does not answer");
        } else {
                inspect_fix(inspect, finding, "move it to the folder %s of the pool; nothing is deleted", LOST_AND_FOUND);
                finding->undo = arena_printf(inspect->arena, "on the host: mv the file from %s back to its place", LOST_AND_FOUND);
        }
}

static void check_pool(struct inspect *inspect, const struct api_volume_pool *pool, bool busy)
{
        struct virt_pool_info info = {};
        struct virt_error error = {};
        struct api_host_finding *finding;
        int r = inspect->agent->virt ? virt_pool_info(inspect->agent->virt, pool->name, &info, &error) : VIRT_E_UNREACHABLE;

        if (r == VIRT_E_UNREACHABLE) {
                inspect_unlooked(inspect, "pool %s: libvirt does not answer", pool->name);
                return;
        }
        if (!r && g_strcmp0(info.path, pool->path) != 0) {
                finding = inspect_found(inspect, REASON_POOL_LOST, "Critical", "pool/%s", pool->name);
                inspect_evidence(inspect, finding, "libvirt's pool %s lies in %s, ours in %s", pool->name, info.path, pool->path);
        } else if (!r) {
                (void)each_entry(inspect, info.path, check_pool_entry);
        } else if (busy) {
                inspect_later(inspect);
        } else {
                finding = inspect_found(inspect, REASON_POOL_LOST, "Critical", "pool/%s", pool->name);
                inspect_evidence(inspect, finding, "libvirt: %s", error.words);
                inspect_fix(inspect, finding, "define and start the pool %s in %s again", pool->name, pool->path);
        }
        virt_pool_info_clear(&info);
}

static void say_owner(struct inspect *inspect, struct api_host_finding *finding, const struct inspect_intent *intent)
{
        const struct api_object_ref *owner = ((const struct api_volume *)intent->doc->view)->spec->owner;

        finding->uid = arena_strdup(inspect->arena, intent->uid);
        if (owner) {
                finding->object = arena_printf(inspect->arena, "%s/%s/%s", owner->kind, owner->namespace ?: "-", owner->name);
        }
}

/* The path of the Volume that another one was made of; NULL: it is not known here. */
static const char *path_of(struct inspect *inspect, const char *name)
{
        for (unsigned i = 0; i < inspect->known->intents->len; i++) {
                const struct inspect_intent *intent = inspect->known->intents->pdata[i];
                const struct api_volume_status *told = intent->kind == &api_volume_kind && g_strcmp0(intent->name, name) == 0
                                                               ? inspect_told(inspect, intent)
                                                               : NULL;

                if (told) {
                        return told->path;
                }
        }
        return NULL;
}

/* A linked Volume reads from the Volume that it was made of, and no other one from anything. */
static void check_link(struct inspect *inspect, const struct inspect_intent *intent, const struct api_volume_status *told,
                       const char *path)
{
        const struct api_volume_spec *spec = ((const struct api_volume *)intent->doc->view)->spec;
        bool linked = spec->copy && told->copied && g_strcmp0(told->copied->mode, "Linked") == 0;
        const char *wanted = linked ? path_of(inspect, spec->copy->volume) : NULL;
        autofd fd = g_strcmp0(spec->format, "qcow2") == 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
        g_autofree char *name = NULL;
        struct api_host_finding *finding;

        if (fd < 0 || image_header_backing(fd, &name) < 0 || g_strcmp0(name, wanted) == 0) {
                return; /* what cannot be read is told by others */
        }
        if (intent->busy) {
                inspect_later(inspect);
                return;
        }
        finding = inspect_found(inspect, REASON_LINK_BROKEN, "Critical", "%s", path);
        say_owner(inspect, finding, intent);
        inspect_evidence(inspect, finding, "its header says that it reads from %s", name ? name : "no other file");
        if (linked) {
                inspect_evidence(inspect, finding, "it was made of Volume %s, whose file is %s", spec->copy->volume,
                                 wanted ? wanted : "not known on this host");
        } else {
                inspect_evidence(inspect, finding, "Volume %s was made to stand alone", intent->name);
        }
}

/* A Volume that says Ready has its file. */
static void check_volume(struct inspect *inspect, const struct inspect_intent *intent)
{
        const struct api_volume *volume = intent->doc->view;
        const struct api_volume_status *told = inspect_told(inspect, intent);
        g_autofree char *path = NULL;
        struct api_host_finding *finding;
        struct stat info;
        bool there;

        if (!told || g_strcmp0(told->state, "Ready") != 0 || virt_is_test(inspect->agent->virt)) {
                return;
        }
        path = told->path ? g_strdup(told->path) : g_build_filename(volume->spec->pool->path, volume->spec->volume_name, NULL);
        there = lstat(path, &info) == 0;
        if (there && S_ISREG(info.st_mode)) {
                check_link(inspect, intent, told, path);
                return;
        }
        if (intent->busy) {
                inspect_later(inspect);
                return;
        }
        finding = inspect_found(inspect, there ? REASON_VOLUME_REPLACED : REASON_VOLUME_MISSING, "Critical", "%s", path);
        say_owner(inspect, finding, intent);
        inspect_evidence(inspect, finding, "the status of Volume %s says Ready at %s", intent->name, path);
        if (there) {
                say_file(inspect, finding, path, &info);
        } else {
                inspect_evidence(inspect, finding, "%s: %s", path, g_strerror(errno));
        }
}

void inspect_pools(struct inspect *inspect)
{
        g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

        for (unsigned i = 0; i < inspect->known->intents->len; i++) {
                const struct inspect_intent *intent = inspect->known->intents->pdata[i];
                const struct api_volume_pool *pool = pool_of(intent);

                if (pool && pool->name && g_hash_table_add(seen, (void *)pool->name)) {
                        check_pool(inspect, pool, intent->busy);
                }
                if (intent->kind == &api_volume_kind && inspect->agent->virt) {
                        check_volume(inspect, intent);
                }
        }
}

/* --- first-boot images -----------------------------------------------------------------------------------------------------------
 */

static bool begins_with_uuid(const char *name, char ret_uuid[UUID_LEN + 1])
{
        g_strlcpy(ret_uuid, name, UUID_LEN + 1);
        return strlen(name) >= UUID_LEN && uuid_valid(ret_uuid);
}

static void say_end_of_file(struct inspect *inspect, struct api_host_finding *finding, bool ours, const char *why)
{
        if (ours) {
                inspect_fix(inspect, finding, "delete the file; %s", why);
        } else {
                inspect_fix(inspect, finding, "move it to %s/%s", inspect->agent->data_dir, LOST_AND_FOUND);
                finding->undo = arena_printf(inspect->arena, "on the host: mv the file from %s/%s back", inspect->agent->data_dir,
                                             LOST_AND_FOUND);
        }
}

static void check_seed(struct inspect *inspect, const char *path, const char *name, const struct stat *info)
{
        const struct virt_census_domain *user = inspect->census ? virt_census_user(inspect->census, path) : NULL;
        char uuid[UUID_LEN + 1];
        bool ours = begins_with_uuid(name, uuid) && S_ISREG(info->st_mode);
        struct api_host_finding *finding;

        if (ours && g_str_equal(name + UUID_LEN, ".iso") && inspect_intent_uid(inspect, &api_instance_kind, uuid)) {
                return;
        }
        finding = inspect_found(inspect, REASON_STRAY_SEED, "Warning", "%s", path);
        say_file(inspect, finding, path, info);
        if (ours) {
                finding->uid = arena_strdup(inspect->arena, uuid);
                inspect_evidence(inspect, finding, "no Instance of this node has the UID %s", uuid);
        }
        if (user) {
                inspect_evidence(inspect, finding, "the domain %s names it", user->name);
        }
        if (!user || !user->active) {
                say_end_of_file(inspect, finding, ours, "first-boot images are made anew whenever they are needed");
        }
}

void inspect_seeds(struct inspect *inspect)
{
        (void)each_entry(inspect, inspect->agent->seed_dir, check_seed);
}

/* --- journal ---------------------------------------------------------------------------------------------------------------------
 */

static void say_steps(struct inspect *inspect, struct api_host_finding *finding, const char *path)
{
        g_autofree char *text = NULL, *steps = NULL;
        g_autoptr(json_doc) doc = NULL;
        size_t len;

        if (file_read(path, JOURNAL_FILE_MAX, &text, &len) < 0 || json_parse(text, len, &doc, NULL)) {
                inspect_evidence(inspect, finding, "it cannot be read");
                return;
        }
        steps = json_get(json_root(doc), "steps") ? json_to_text(json_get(json_root(doc), "steps")) : g_strdup("none");
        inspect_evidence(inspect, finding, "it tells of %s %s, steps %s", json_find_string(json_root(doc), "kind", NULL) ?: "?",
                         json_find_string(json_root(doc), "name", NULL) ?: "?", steps);
}

static void check_journal_entry(struct inspect *inspect, const char *path, const char *name, const struct stat *info)
{
        char uuid[UUID_LEN + 1];
        bool ours = begins_with_uuid(name, uuid) && S_ISREG(info->st_mode) && g_str_has_suffix(name, ".json");
        struct api_host_finding *finding;

        if (ours && inspect_intent_uid(inspect, NULL, uuid)) {
                return;
        }
        finding = inspect_found(inspect, REASON_STRAY_JOURNAL, "Warning", "%s", path);
        say_file(inspect, finding, path, info);
        if (ours) {
                finding->uid = arena_strdup(inspect->arena, uuid);
                inspect_evidence(inspect, finding, "no intent of this node has the UID %s", uuid);
                say_steps(inspect, finding, path);
        }
        /* It is evidence of what went wrong: kept. */
        say_end_of_file(inspect, finding, false, NULL);
}

void inspect_journal(struct inspect *inspect)
{
        g_autofree char *path = g_build_filename(inspect->agent->data_dir, JOURNAL_FOLDER, NULL);

        (void)each_entry(inspect, path, check_journal_entry);
}

/* --- image cache -----------------------------------------------------------------------------------------------------------------
 */

static void check_image(struct inspect *inspect, const char *path, const char *name, const struct stat *info)
{
        size_t hex = strspn(name, "0123456789abcdef");
        bool image = hex == DIGEST_LEN && S_ISREG(info->st_mode), part = image && g_str_equal(name + hex, ".part");
        uint64_t changed_us = (uint64_t)info->st_mtim.tv_sec * 1000000, now = clock_real_us(clock_system());
        struct api_host_finding *finding;

        if ((image && !name[hex]) || (part && (changed_us > now || now - changed_us < PART_REST_US))) {
                return;
        }
        finding = inspect_found(inspect, REASON_STRAY_IMAGE_FILE, "Warning", "%s", path);
        say_file(inspect, finding, path, info);
        inspect_evidence(inspect, finding, part ? "a download that has stopped growing" : "its name is no SHA-256");
        say_end_of_file(inspect, finding, part, "it is fetched anew when it is needed");
}

void inspect_images(struct inspect *inspect)
{
        g_autofree char *path = g_build_filename(inspect->agent->data_dir, IMAGES_FOLDER, NULL);

        (void)each_entry(inspect, path, check_image);
}
