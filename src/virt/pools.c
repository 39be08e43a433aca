/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/pools.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/names.h"
#include "virt/virt_internal.h"
#include "virt/xml.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#define POOL_MODE       0711
#define OWNER_ATTRIBUTE "user.gabbro.pool"
#define LABEL_MAX       63

/* Folders that no pool may be, nor lie in. */
static const char *const system_trees[] = {
        "/bin",  "/boot", "/dev",  "/etc", "/lib", "/lib32",       "/lib64",        "/libx32",  "/lost+found", "/proc",
        "/root", "/run",  "/sbin", "/sys", "/usr", "/var/lib/apt", "/var/lib/dpkg", "/var/log", "/var/run",    "/var/spool",
};

/* Folders that other things share: a pool may lie in them. */
static const char *const shared_folders[] = {
        "/", "/home", "/media", "/mnt", "/opt", "/srv", "/tmp", "/var", "/var/cache", "/var/lib", "/var/lib/libvirt", "/var/tmp",
};

void virt_pool_info_clear(struct virt_pool_info *info)
{
        g_free(info->path);
        g_free(info->filesystem);
        *info = (struct virt_pool_info){};
}

/* --- paths
 * -----------------------------------------------------------------------------------------------------------------------------------------
 */

static int forbid(struct virt_error *reterr, const char *path, const char *words)
{
        return virt_say(reterr, VIRT_E_INVALID, "PoolPathForbidden", "pool path %s: %s", path, words);
}

/* "/a/b": absolute, without empty, "." or ".." components and without a slash at the end. */
static bool is_normal(const char *path)
{
        if (*path != '/')
                return false;
        while (*path == '/') {
                size_t len = strcspn(++path, "/");

                if (!len || (len == 1 && *path == '.') || (len == 2 && !strncmp(path, "..", 2)))
                        return false;
                path += len;
        }
        return true;
}

static bool is_in_tree(const char *path, const char *tree)
{
        size_t len = strlen(tree);

        return !strncmp(path, tree, len) && (path[len] == '/' || !path[len]);
}

static int check_words(const char *path, struct virt_error *reterr)
{
        if (!names_is_plain_text(path, 4096, false) || !is_normal(path))
                return virt_say(reterr, VIRT_E_INVALID, "PoolPathForbidden",
                                "a pool path is absolute, plain text, without \"..\" and without a slash at its end");
        for (size_t i = 0; i < G_N_ELEMENTS(system_trees); i++)
                if (is_in_tree(path, system_trees[i]))
                        return forbid(reterr, path, "the folder belongs to the system");
        for (size_t i = 0; i < G_N_ELEMENTS(shared_folders); i++)
                if (!strcmp(path, shared_folders[i]))
                        return forbid(reterr, path, "choose a folder of its own below it");
        return 0;
}

/* Opens a folder without following links anywhere. */
static int open_folder(const char *path)
{
        autofd root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

        return root < 0 ? -errno
                        : file_open_beneath(root, *path == '/' && path[1] ? path + 1 : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

/* The folder that holds @path; @ret_name points into @path. */
static int open_parent(const char *path, const char **ret_name)
{
        const char *slash = strrchr(path, '/');
        g_autofree char *parent = slash == path ? g_strdup("/") : g_strndup(path, (size_t)(slash - path));

        *ret_name = slash + 1;
        return open_folder(parent);
}

static int judge_missing(const char *path, bool create, struct virt_error *reterr)
{
        const char *name;
        autofd parent = create ? open_parent(path, &name) : -ENOENT;

        if (parent >= 0)
                return 0;
        return virt_say(reterr, VIRT_E_MISSING, "PoolPathMissing", "pool path %s does not exist%s", path,
                        create ? ", nor does its parent" : "");
}

int virt_pool_path_check(const char *path, bool create, struct virt_error *reterr)
{
        autofd fd = -1;
        int r;

        assert(path && reterr);

        r = check_words(path, reterr);
        if (r)
                return r;
        fd = open_folder(path);
        if (fd >= 0)
                return 0;
        if (fd == -ENOENT)
                return judge_missing(path, create, reterr);
        if (fd == -ELOOP || fd == -EXDEV)
                return forbid(reterr, path, "it leads over a symbolic link");
        if (fd == -ENOTDIR)
                return forbid(reterr, path, "it is not a folder");
        return forbid(reterr, path, strerrordesc_np(-fd));
}

static int make_folder(const char *path, struct virt_error *reterr)
{
        const char *name;
        autofd parent = open_parent(path, &name);

        if (parent < 0)
                return judge_missing(path, true, reterr);
        if (mkdirat(parent, name, POOL_MODE) < 0 && errno != EEXIST)
                return virt_say(reterr, errno == ENOSPC ? VIRT_E_NO_SPACE : VIRT_E_FAILED, "PoolFailed", "cannot make %s: %s", path,
                                strerrordesc_np(errno));
        return virt_pool_path_check(path, false, reterr);
}

/* --- pools
 * -----------------------------------------------------------------------------------------------------------------------------------------
 */

static char *pool_path(virStoragePoolPtr pool, bool *ret_is_dir, struct virt_error *reterr)
{
        AUTO_TEXT text = virStoragePoolGetXMLDesc(pool, 0);
        g_autoptr(arena) arena = arena_new(0);
        AUTO_XML doc = text ? xml_parse(text, LIMIT_DOMAIN_XML_BYTES) : NULL;
        const char *path;

        if (!doc) {
                virt_fail(reterr, "PoolFailed");
                return NULL;
        }
        path = xml_text(xml_find(xml_root(doc), "target/path"), arena);
        *ret_is_dir = xml_attribute_is(xml_root(doc), "type", "dir");
        return g_strdup(path ? path : "");
}

static int find_pool(virConnectPtr connection, const char *name, virStoragePoolPtr *ret_pool, struct virt_error *reterr)
{
        *ret_pool = virStoragePoolLookupByName(connection, name);
        return *ret_pool ? 0 : virt_fail(reterr, "PoolFailed");
}

/* The UUID of a pool that we define says that we did: a pool of the same name and folder that was there before has another. */
static char *own_uuid(const char *name, const char *path)
{
        g_autofree char *text = g_strdup_printf("gabbro:%s:%s", name, path);
        g_autofree char *hex = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);

        return g_strdup_printf("%.8s-%.4s-8%.3s-8%.3s-%.12s", hex, hex + 8, hex + 12, hex + 15, hex + 18);
}

/* --- whose folder it is: an extended attribute of the folder names the pool, and stays with it when libvirt forgets --- */

static int say_foreign(struct virt_error *reterr, const char *path, const char *words, const char *what)
{
        return virt_say(reterr, VIRT_E_EXISTS, "PoolFolderForeign", "the folder %s %s %s; choose an empty one", path, words, what);
}

/* The first entry that a new file system does not bring along; g_free(). */
static char *first_entry(int fd)
{
        autofd copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
        struct dirent *entry;
        char *found = NULL;

        if (!folder)
                return NULL;
        copy = -1;
        while (!found && (entry = readdir(folder)))
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && strcmp(entry->d_name, "lost+found") != 0)
                        found = g_strdup(entry->d_name);
        closedir(folder);
        return found;
}

/* A folder becomes a pool when it is empty or was this pool before. Where a file system takes no attributes only empty ones do. */
static int claim_folder(const struct virt_pool_options *options, bool known, struct virt_error *reterr)
{
        autofd fd = open_folder(options->path);
        char owner[LABEL_MAX + 1] = "";
        g_autofree char *entry = NULL, *quoted = NULL;

        if (fd < 0)
                return forbid(reterr, options->path, strerrordesc_np(-fd));
        if (fgetxattr(fd, OWNER_ATTRIBUTE, owner, sizeof(owner) - 1) > 0) {
                quoted = g_strescape(owner, NULL);
                return strcmp(owner, options->name) == 0 || known
                               ? 0
                               : say_foreign(reterr, options->path, "belongs to the pool", quoted);
        }
        entry = known ? NULL : first_entry(fd);
        if (entry) {
                quoted = g_strescape(entry, NULL);
                return say_foreign(reterr, options->path, "is not empty and holds", quoted);
        }
        (void)fsetxattr(fd, OWNER_ATTRIBUTE, options->name, strlen(options->name), 0); /* not every file system takes it */
        return 0;
}

/* An empty folder is nobody's again. */
static void release_folder(const char *path)
{
        autofd fd = open_folder(path);
        g_autofree char *entry = fd >= 0 ? first_entry(fd) : NULL;

        if (fd >= 0 && !entry)
                (void)fremovexattr(fd, OWNER_ATTRIBUTE); /* of a folder that never had one as well */
}

static int define_pool(virConnectPtr connection, const struct virt_pool_options *options, virStoragePoolPtr *ret_pool,
                       struct virt_error *reterr)
{
        AUTO_POOL taken = virStoragePoolLookupByTargetPath(connection, options->path);
        g_autofree char *text = NULL, *uuid = own_uuid(options->name, options->path);
        AUTO_XML doc = NULL;

        if (taken)
                return virt_say(reterr, VIRT_E_EXISTS, "PoolFailed", "the folder %s is the pool %s already", options->path,
                                virStoragePoolGetName(taken));
        doc = xml_new("pool");
        xml_set(xml_root(doc), "type", "dir");
        xml_add_text(xml_root(doc), "name", options->name);
        xml_add_text(xml_root(doc), "uuid", uuid);
        xml_add_text(xml_add(xml_root(doc), "target", NULL), "path", options->path);
        text = xml_to_text(doc);
        *ret_pool = virStoragePoolDefineXML(connection, text, 0);
        return *ret_pool ? 0 : virt_fail(reterr, "PoolFailed");
}

static int check_same(virStoragePoolPtr pool, const struct virt_pool_options *options, struct virt_error *reterr)
{
        bool is_dir = false;
        g_autofree char *path = pool_path(pool, &is_dir, reterr);

        if (!path)
                return VIRT_E_FAILED;
        if (!is_dir || strcmp(path, options->path))
                return virt_say(reterr, VIRT_E_EXISTS, "PoolFailed", "libvirt has a pool %s that is another one, at %s",
                                options->name, path);
        return 0;
}

int virt_pool_ensure(struct virt *virt, const struct virt_pool_options *options, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_JOBS, reterr);
        g_autoptr(GMutexLocker) turn = NULL;
        AUTO_POOL pool = NULL;
        int r, active;

        assert(options && options->name && options->path);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        if (!names_is_label(options->name))
                return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "the pool's name is not a label");
        r = virt_pool_path_check(options->path, options->create, reterr);
        if (!r && options->create)
                r = make_folder(options->path, reterr);
        if (r)
                return r;
        r = find_pool(connection, options->name, &pool, reterr);
        if (r == VIRT_E_MISSING) {
                /* Several volumes may miss it at once. */
                turn = virt_storage_turn();
                r = find_pool(connection, options->name, &pool, reterr);
                if (r == VIRT_E_MISSING) {
                        r = claim_folder(options, virt_is_test(virt), reterr);
                        if (!r)
                                r = define_pool(connection, options, &pool, reterr);
                }
        } else if (!r) {
                r = claim_folder(options, true, reterr);
        }
        if (!r)
                r = check_same(pool, options, reterr);
        if (r)
                return r;
        active = virStoragePoolIsActive(pool);
        if (active < 0 || (!active && virStoragePoolCreate(pool, 0) < 0) || virStoragePoolSetAutostart(pool, 1) < 0)
                return virt_fail(reterr, "PoolFailed");
        return 0;
}

/* Blocks are shared when two new files without names can be; an empty one is refused as well where it cannot be done. */
static bool try_reflink(const char *path)
{
        autofd from = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), to = -1;

        if (from < 0)
                return false;
        to = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        return to >= 0 && ioctl(to, FICLONE, from) == 0;
}

static void look_at_filesystem(struct virt_pool_info *info)
{
        static const struct {
                long magic;
                const char *name;
        } known[] = {
                {EXT4_SUPER_MAGIC, "ext4"}, {XFS_SUPER_MAGIC, "xfs"},           {BTRFS_SUPER_MAGIC, "btrfs"},
                {TMPFS_MAGIC, "tmpfs"},     {OVERLAYFS_SUPER_MAGIC, "overlay"}, {NFS_SUPER_MAGIC, "nfs"},
                {FUSE_SUPER_MAGIC, "fuse"}, {F2FS_SUPER_MAGIC, "f2fs"},
        };
        struct statfs fs;

        if (statfs(info->path, &fs) < 0)
                return;
        for (size_t i = 0; i < G_N_ELEMENTS(known) && !info->filesystem; i++)
                if (known[i].magic == (long)fs.f_type)
                        info->filesystem = g_strdup(known[i].name);
        if (!info->filesystem)
                info->filesystem = g_strdup_printf("%lx", (unsigned long)fs.f_type);
        info->reflink = try_reflink(info->path);
}

/* libvirt's numbers of a folder are those of its last refresh, which opens every file in it; the file system knows them now. */
static void measure(struct virt_pool_info *info)
{
        struct statvfs fs;

        if (statvfs(info->path, &fs) < 0 || !fs.f_blocks)
                return;
        info->capacity_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
        info->available_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
        info->allocation_bytes = info->capacity_bytes - (uint64_t)fs.f_bfree * fs.f_frsize;
}

static int read_info(virStoragePoolPtr pool, struct virt_pool_info *ret_info, struct virt_error *reterr)
{
        virStoragePoolInfo info;
        bool is_dir;
        char *path;

        if (virStoragePoolGetInfo(pool, &info) < 0)
                return virt_fail(reterr, "PoolFailed");
        if (info.state == VIR_STORAGE_POOL_INACTIVE)
                return virt_say(reterr, VIRT_E_STATE, "PoolNotActive", "the pool %s is not active", virStoragePoolGetName(pool));
        path = pool_path(pool, &is_dir, reterr);
        if (!path)
                return VIRT_E_FAILED;
        *ret_info = (struct virt_pool_info){
                .path = path,
                .capacity_bytes = info.capacity,
                .allocation_bytes = info.allocation,
                .available_bytes = info.available,
        };
        if (is_dir) {
                measure(ret_info);
                look_at_filesystem(ret_info);
        }
        return 0;
}

int virt_pool_refresh(struct virt *virt, const char *pool, struct virt_pool_info *ret_info, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_JOBS, reterr);
        g_autoptr(GMutexLocker) turn G_GNUC_UNUSED = NULL;
        AUTO_POOL found = NULL;
        int r;

        assert(pool);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        turn = virt_storage_turn();
        r = find_pool(connection, pool, &found, reterr);
        if (!r && virStoragePoolRefresh(found, 0) < 0)
                r = virt_fail(reterr, "PoolFailed");
        return r || !ret_info ? r : read_info(found, ret_info, reterr);
}

int virt_pool_info(struct virt *virt, const char *pool, struct virt_pool_info *ret_info, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_QUERIES, reterr);
        AUTO_POOL found = NULL;
        int r;

        assert(pool && ret_info);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        r = find_pool(connection, pool, &found, reterr);
        return r ? r : read_info(found, ret_info, reterr);
}

int virt_pool_remove(struct virt *virt, const char *pool, struct virt_error *reterr)
{
        AUTO_CONNECTION connection = virt_use(virt, VIRT_JOBS, reterr);
        g_autoptr(GMutexLocker) turn G_GNUC_UNUSED = NULL;
        g_autofree char *path = NULL, *uuid = NULL;
        char found_uuid[VIR_UUID_STRING_BUFLEN] = "";
        AUTO_POOL found = NULL;
        bool is_dir;
        int r;

        assert(pool);

        if (!connection)
                return VIRT_E_UNREACHABLE;
        turn = virt_storage_turn();
        r = find_pool(connection, pool, &found, reterr);
        if (r)
                return r == VIRT_E_MISSING ? 0 : r;
        path = pool_path(found, &is_dir, reterr);
        if (!path)
                return VIRT_E_FAILED;
        uuid = own_uuid(pool, path);
        if (virStoragePoolGetUUIDString(found, found_uuid) < 0 || strcmp(uuid, found_uuid) != 0)
                return 0;
        if (virStoragePoolIsActive(found) == 1 && virStoragePoolDestroy(found) < 0)
                return virt_fail(reterr, "PoolFailed");
        if (virStoragePoolIsPersistent(found) == 1 && virStoragePoolUndefine(found) < 0)
                return virt_fail(reterr, "PoolFailed");
        release_folder(path);
        return 0;
}
