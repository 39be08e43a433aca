/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/spawn.h"

#include "base/error.h"
#include "base/file.h"

#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define WORDS_MAX 4096

/* Daemons live in sbin, which a service's PATH need not name. */
static char *find_program(const char *name)
{
        static const char *const folders[] = {"/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin"};

        if (strchr(name, '/')) {
                return g_strdup(name);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
                g_autofree char *path = g_build_filename(folders[i], name, NULL);

                if (access(path, X_OK) == 0) {
                        return g_steal_pointer(&path);
                }
        }
        return NULL;
}

static int spawn_with_stderr(const char *path, const char *const *argv, int error_fd, pid_t *ret_pid)
{
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        sigset_t none, all;
        int r;

        sigemptyset(&none);
        sigfillset(&all);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
        posix_spawn_file_actions_adddup2(&actions, error_fd, 2);
        posix_spawnattr_init(&attributes);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        r = -posix_spawn(ret_pid, path, &actions, &attributes, (char *const *)argv, environ);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
        return r;
}

static void collect_words(int fd, GString *words)
{
        char buffer[512];
        ssize_t n;

        while ((n = read(fd, buffer, sizeof(buffer))) > 0 || (n < 0 && errno == EINTR)) {
                if (n > 0 && words->len < WORDS_MAX) {
                        g_string_append_len(words, buffer, n);
                }
        }
        g_strchomp(words->str);
        words->len = strlen(words->str);
}

int spawn_wait(const char *const *argv, char **reterr_words)
{
        g_autoptr(GString) words = g_string_new(NULL);
        g_autofree char *path = NULL;
        autofd error_read = -1;
        int pipes[2], status, r;
        pid_t pid;

        assert(argv && argv[0] && reterr_words);
        path = find_program(argv[0]);
        if (!path) {
                *reterr_words = g_strdup_printf("the program %s is not installed", argv[0]);
                return -ENOENT;
        }
        if (pipe2(pipes, O_CLOEXEC) < 0) {
                return -errno;
        }
        error_read = pipes[0];
        r = spawn_with_stderr(path, argv, pipes[1], &pid);
        fd_close(pipes[1]);
        if (r < 0) {
                return r;
        }
        collect_words(error_read, words);
        while (waitpid(pid, &status, 0) < 0) {
                if (errno != EINTR) {
                        return -errno;
                }
        }
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
                return 0;
        }
        *reterr_words = g_strdup_printf("%s failed: %s", argv[0], words->len ? words->str : "without words");
        return -ENOEXEC;
}

static bool has_argument(const char *commandline, size_t len, const char *argument)
{
        for (const char *at = commandline; at < commandline + len; at += strlen(at) + 1) {
                if (g_str_equal(at, argument)) {
                        return true;
                }
        }
        return false;
}

/* The process when its command line has the argument; the pidfd is opened before the look, so that it is of the one looked at. */
static int open_proven(guint64 pid, const char *argument)
{
        g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", (int)pid), *commandline = NULL;
        autofd pidfd = syscall(SYS_pidfd_open, (pid_t)pid, 0);
        size_t len;
        int found;

        if (pidfd < 0 || file_read(path, 65536, &commandline, &len) < 0 || !has_argument(commandline, len, argument)) {
                return -ESRCH;
        }
        found = pidfd;
        pidfd = -1;
        return found;
}

int spawn_find(const char *pid_file, const char *argument)
{
        g_autofree char *text = NULL;
        guint64 pid;
        size_t len;

        assert(pid_file && argument);
        if (file_read(pid_file, 64, &text, &len) < 0 ||
            !g_ascii_string_to_unsigned(g_strstrip(text), 10, 2, G_MAXINT32, &pid, NULL)) {
                return -ESRCH;
        }
        return open_proven(pid, argument);
}

int spawn_search(const char *argument)
{
        g_autoptr(GDir) folder = g_dir_open("/proc", 0, NULL);
        const char *name;
        int ret = -ESRCH;

        assert(argument);
        while (ret < 0 && folder && (name = g_dir_read_name(folder))) {
                guint64 pid;

                if (g_ascii_string_to_unsigned(name, 10, 2, G_MAXINT32, &pid, NULL)) {
                        ret = open_proven(pid, argument);
                }
        }
        return ret;
}

int spawn_signal(int pidfd, int signal)
{
        assert(pidfd >= 0);
        return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

static bool ended_within(int pidfd, uint64_t delay_us)
{
        struct pollfd wait = {.fd = pidfd, .events = POLLIN};
        int r;

        do {
                r = poll(&wait, 1, delay_us / 1000);
        } while (r < 0 && errno == EINTR);
        return r > 0;
}

int spawn_stop(int pidfd, uint64_t grace_us)
{
        int r = spawn_signal(pidfd, SIGTERM);

        if (r < 0 || ended_within(pidfd, grace_us)) {
                return r == -ESRCH ? 0 : r;
        }
        r = spawn_signal(pidfd, SIGKILL);
        if (r < 0) {
                return r == -ESRCH ? 0 : r;
        }
        return ended_within(pidfd, 5000000) ? 0 : -ETIME;
}
