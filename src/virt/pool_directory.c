/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/pool_directory.h"

#include "base/file.h"
#include "base/names.h"
#include "virt/pool_driver.h"

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
#define SECTOR          512
/* Subclusters of extended L2 entries are a 32nd of a cluster: 128 KiB gives 4 KiB, the guest's page; large volumes get larger ones
 * so that preallocated metadata stays small. */
#define CLUSTER_BYTES       (128u << 10)
#define CLUSTER_BYTES_LARGE (1u << 20)
#define LARGE_BYTES         (128ull << 30)

/* Folders that no pool may be, nor lie in. */
static const char *const system_trees[] = {
        "/bin",  "/boot", "/dev",  "/etc", "/lib", "/lib32",       "/lib64",        "/libx32",  "/lost+found", "/proc",
        "/root", "/run",  "/sbin", "/sys", "/usr", "/var/lib/apt", "/var/lib/dpkg", "/var/log", "/var/run",    "/var/spool",
};

/* Folders that other things share: a pool may lie in them. */
static const char *const shared_folders[] = {
        "/", "/home", "/media", "/mnt", "/opt", "/srv", "/tmp", "/var", "/var/cache", "/var/lib", "/var/lib/libvirt", "/var/tmp",
};

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

int pool_directory_check_path(const char *path, bool create, struct virt_error *reterr)
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
        return pool_directory_check_path(path, false, reterr);
}

static int prepare(const struct virt_pool_options *options, struct virt_error *reterr)
{
        int r = pool_directory_check_path(options->path, options->create, reterr);

        return r || !options->create ? r : make_folder(options->path, reterr);
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
static void measure_space(struct virt_pool_info *info)
{
        struct statvfs fs;

        if (statvfs(info->path, &fs) < 0 || !fs.f_blocks)
                return;
        info->capacity_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
        info->available_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
        info->allocation_bytes = info->capacity_bytes - (uint64_t)fs.f_bfree * fs.f_frsize;
}

static void measure(struct virt_pool_info *info)
{
        measure_space(info);
        look_at_filesystem(info);
}

/* --- volumes
 * ---------------------------------------------------------------------------------------------------------------------------------------
 */

static int exists(struct virt_error *reterr, const char *path)
{
        return virt_say(reterr, VIRT_E_EXISTS, "VolumeExists", "there is a file %s already", path);
}

/* libvirt knows only what its last refresh saw, and follows a dangling link: look ourselves too (C29). */
static int check_free(const struct virt_pool_info *pool, const char *name, struct virt_error *reterr)
{
        g_autofree char *path = g_build_filename(pool->path, name, NULL);
        struct stat st;

        if (lstat(path, &st) == 0)
                return exists(reterr, path);
        return errno == ENOENT ? 0 : virt_say(reterr, VIRT_E_FAILED, "PoolFailed", "%s: %s", path, strerrordesc_np(errno));
}

static void describe_qcow2(const struct virt_volume_options *options, xmlNodePtr target)
{
        xmlNodePtr features;

        xml_add_text(target, "compat", "1.1");
        if (!options->no_extended_l2)
                xml_set(xml_add_number(target, "clusterSize",
                                       options->capacity_bytes > LARGE_BYTES ? CLUSTER_BYTES_LARGE : CLUSTER_BYTES),
                        "unit", "B");
        features = xml_add(target, "features", NULL);
        if (!options->no_lazy_refcounts)
                xml_add(features, "lazy_refcounts", NULL);
        if (!options->no_extended_l2)
                xml_add(features, "extended_l2", NULL);
}

static unsigned describe(const struct virt_pool_info *pool, const struct virt_volume_options *options, xmlNodePtr volume)
{
        bool qcow2 = options->format == VIRT_FORMAT_QCOW2;
        xmlNodePtr target;

        xml_set(volume, "type", "file");
        target = xml_add(volume, "target", NULL);
        xml_add(target, "format", "type", virt_format_to_text(options->format), NULL);
        xml_add_text(xml_add(target, "permissions", NULL), "mode", "0600");
        if (g_strcmp0(pool->filesystem, "btrfs") == 0)
                xml_add(target, "nocow", NULL);
        if (qcow2)
                describe_qcow2(options, target);
        if (options->backing_path) {
                xmlNodePtr behind = xml_add(volume, "backingStore", NULL);

                xml_add_text(behind, "path", options->backing_path);
                xml_add(behind, "format", "type", virt_format_to_text(options->backing_format), NULL);
        }
        return qcow2 && !options->no_preallocation && !options->backing_path ? VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA : 0;
}

static int check_made(const struct virt_volume *volume, struct virt_error *reterr)
{
        struct stat st;

        if (lstat(volume->path, &st) == 0 && S_ISREG(st.st_mode))
                return 0;
        return virt_say(reterr, VIRT_E_FAILED, "VolumeMissing", "libvirt made %s, but there is no such file", volume->path);
}

static int sync_folder(const char *path)
{
        g_autofree char *folder = g_path_get_dirname(path);
        autofd fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* btrfs shares blocks only between files that are both written in place, or both not; that can be set on an empty file alone. */
static void write_as(int from, int to)
{
        int flags = 0, own = 0;

        if (ioctl(from, FS_IOC_GETFLAGS, &flags) == 0 && flags & FS_NOCOW_FL && ioctl(to, FS_IOC_GETFLAGS, &own) == 0) {
                own |= FS_NOCOW_FL;
                (void)ioctl(to, FS_IOC_SETFLAGS, &own); /* then sharing fails, and says so */
        }
}

/* 0, or -errno; what was made is durable or gone again. */
static int share_blocks(int from, const char *path)
{
        autofd to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        int r;

        if (to < 0)
                return -errno;
        write_as(from, to);
        r = ioctl(to, FICLONE, from) < 0 || fsync(to) < 0 ? -errno : sync_folder(path);
        if (r < 0)
                (void)unlink(path);
        return r;
}

static int reflink(const struct virt_pool_info *pool, const char *name, const char *source, struct virt_error *reterr)
{
        static const int cannot[] = {EOPNOTSUPP, EXDEV, EINVAL, ENOTTY, ENOSYS};
        g_autofree char *path = g_build_filename(pool->path, name, NULL);
        autofd from = open(source, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        int r = from < 0 ? -errno : share_blocks(from, path);

        for (size_t i = 0; i < G_N_ELEMENTS(cannot); i++)
                if (r == -cannot[i])
                        return virt_say(reterr, VIRT_E_INVALID, "ReflinkNotOnFilesystem",
                                        "the file system of %s cannot share blocks with %s: %s", path, source, strerrordesc_np(-r));
        if (r == -EEXIST)
                return exists(reterr, path);
        if (r < 0)
                return virt_say(reterr, r == -ENOSPC ? VIRT_E_NO_SPACE : VIRT_E_FAILED, "VolumeFailed", "%s: %s", path,
                                strerrordesc_np(-r));
        return 0;
}

/*
 * libvirt reads a volume's format and size out of its first bytes, and resizes it by them. Those of a raw volume are the guest's:
 * what is written there must mean nothing to the host.
 */
static int take_raw(struct virt_volume *volume, struct virt_error *reterr)
{
        struct stat st;

        if (lstat(volume->path, &st) < 0)
                return virt_say(reterr, errno == ENOENT ? VIRT_E_MISSING : VIRT_E_FAILED, "VolumeMissing", "%s: %s", volume->path,
                                strerrordesc_np(errno));
        volume->format = VIRT_FORMAT_RAW;
        if (!S_ISREG(st.st_mode))
                return 0; /* a device has the size that it has */
        volume->capacity_bytes = (uint64_t)st.st_size;
        volume->allocation_bytes = (uint64_t)st.st_blocks * SECTOR;
        return 0;
}

static int judge(struct virt_volume *volume, enum virt_format format, struct virt_error *reterr)
{
        if (format == VIRT_FORMAT_RAW)
                return take_raw(volume, reterr);
        if (volume->format != format)
                return virt_say(reterr, VIRT_E_FAILED, "VolumeFailed", "%s is not of format %s, in which it was made", volume->path,
                                virt_format_to_text(format));
        return 0;
}

static int grow_raw(const struct virt_volume *volume, uint64_t bytes, struct virt_error *reterr)
{
        autofd fd = open(volume->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return virt_say(reterr, VIRT_E_FAILED, "VolumeFailed", "%s: %s", volume->path, strerrordesc_np(errno));
        if (!S_ISREG(st.st_mode))
                return virt_say(reterr, VIRT_E_INVALID, "ResizeNotSupported", "%s is no file", volume->path);
        if ((uint64_t)st.st_size > bytes)
                return virt_say(reterr, VIRT_E_INVALID, "ImageTooSmall", "the volume has %llu bytes and is not made smaller",
                                (unsigned long long)st.st_size);
        if (ftruncate(fd, (off_t)bytes) < 0 || fsync(fd) < 0)
                return virt_say(reterr, errno == ENOSPC || errno == EFBIG ? VIRT_E_NO_SPACE : VIRT_E_FAILED, "VolumeFailed",
                                "%s: %s", volume->path, strerrordesc_np(errno));
        return 0;
}

const struct pool_driver pool_directory_driver = {
        .libvirt_type = "dir",
        .prepare = prepare,
        .claim = claim_folder,
        .release = release_folder,
        .measure = measure,
        .check_free = check_free,
        .describe = describe,
        .check_made = check_made,
        .reflink = reflink,
        .judge = judge,
        .grow_raw = grow_raw,
};

/* --- libvirt's test driver -------------------------------------------------------------------------------------------------------
 */

static int memory_claim(const struct virt_pool_options *options, bool known, struct virt_error *reterr)
{
        (void)known; /* what lies in the folder is never a volume */
        return claim_folder(options, true, reterr);
}

static int memory_check_free(const struct virt_pool_info *pool, const char *name, struct virt_error *reterr)
{
        (void)pool, (void)name, (void)reterr;
        return 0;
}

static unsigned memory_describe(const struct virt_pool_info *pool, const struct virt_volume_options *options, xmlNodePtr volume)
{
        (void)describe(pool, options, volume);
        return 0; /* there is nothing to allocate */
}

static int memory_check_made(const struct virt_volume *volume, struct virt_error *reterr)
{
        (void)volume, (void)reterr;
        return 0;
}

static int memory_reflink(const struct virt_pool_info *pool, const char *name, const char *source, struct virt_error *reterr)
{
        (void)pool, (void)name, (void)source;
        return virt_say(reterr, VIRT_E_INVALID, "ReflinkNotOnFilesystem", "this pool has no files");
}

static int memory_judge(struct virt_volume *volume, enum virt_format format, struct virt_error *reterr)
{
        (void)reterr;
        volume->format = format;
        return 0;
}

const struct pool_driver pool_memory_driver = {
        .libvirt_type = "dir",
        .prepare = prepare,
        .claim = memory_claim,
        .release = release_folder,
        .measure = measure,
        .check_free = memory_check_free,
        .describe = memory_describe,
        .check_made = memory_check_made,
        .reflink = memory_reflink,
        .judge = memory_judge,
};
