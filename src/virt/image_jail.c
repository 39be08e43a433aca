/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/image_jail.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ADDRESS_SPACE_BYTES (4ull << 30)
#define OPEN_FILES          64

/* Of Landlock's version 1: everything; later ones add what older headers do not name. */
#define ACCESS_V1       ((1ull << 13) - 1)
#define ACCESS_TRUNCATE (1ull << 14) /* since version 3 */
#define ABI_TRUNCATE    3
#define ACCESS_PROGRAMS (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

static void limit(int resource, uint64_t value)
{
        struct rlimit rl = {.rlim_cur = value, .rlim_max = value};

        (void)setrlimit(resource, &rl); /* cannot fail when lowering; a lower limit that is there already stays */
}

/* An own, empty network. An agent that is not root gets it with a name space of users, in which it owns what it owned. */
static void leave_network(void)
{
        if (unshare(CLONE_NEWNET) < 0)
                (void)unshare(CLONE_NEWUSER | CLONE_NEWNET);
}

static void drop_capabilities(void)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};

        /* Both fail without harm for an agent that has no capabilities. */
        (void)prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED);
        (void)syscall(SYS_capset, &header, none);
        (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void allow(int ruleset, int fd, uint64_t access)
{
        const struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};

        (void)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

static void allow_path(int ruleset, const char *path, uint64_t access)
{
        int fd = open(path, O_PATH | O_CLOEXEC);

        if (fd < 0)
                return;
        allow(ruleset, fd, access);
        close(fd);
}

static void leave_files(const struct image_jail *jail)
{
        static const char *const programs[] = {"/usr", "/bin", "/lib", "/lib64"};
        static const char *const files[] = {"/etc/ld.so.cache", "/dev/urandom"};
        long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
        uint64_t truncate = abi >= ABI_TRUNCATE ? ACCESS_TRUNCATE : 0;
        struct landlock_ruleset_attr attributes = {.handled_access_fs = ACCESS_V1 | truncate};

        if (abi < 1)
                return;
        int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0);
        if (ruleset < 0)
                return;
        for (size_t i = 0; i < sizeof(programs) / sizeof(*programs); i++)
                allow_path(ruleset, programs[i], ACCESS_PROGRAMS);
        for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
                allow_path(ruleset, files[i], LANDLOCK_ACCESS_FS_READ_FILE);
        allow_path(ruleset, "/dev/null", LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE); /* QEMU tries locks on it */
        if (jail->source_fd >= 0)
                allow(ruleset, jail->source_fd, LANDLOCK_ACCESS_FS_READ_FILE);
        for (size_t i = 0; i < jail->n_backings; i++)
                allow(ruleset, jail->backing_fds[i], LANDLOCK_ACCESS_FS_READ_FILE);
        if (jail->target_fd >= 0)
                allow(ruleset, jail->target_fd, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | truncate);
        (void)syscall(SYS_landlock_restrict_self, ruleset, 0);
        close(ruleset);
}

void image_jail_enter(const struct image_jail *jail)
{
        limit(RLIMIT_FSIZE, jail->max_bytes);
        limit(RLIMIT_AS, ADDRESS_SPACE_BYTES);
        limit(RLIMIT_CPU, jail->cpu_s);
        limit(RLIMIT_NOFILE, OPEN_FILES);
        limit(RLIMIT_CORE, 0);
        leave_network();
        drop_capabilities();
        leave_files(jail);
}
