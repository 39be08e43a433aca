/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/image_tool.h"

#include "base/file.h"
#include "base/limits.h"
#include "virt/virt_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PROGRAM             "/usr/bin/qemu-img"
#define TIMEOUT_US          3600000000ull
#define TICK_MS             100
#define ADDRESS_SPACE_BYTES (4ull << 30)
#define OPEN_FILES          64
#define ERRORS_MAX          2048

struct child {
        pid_t pid;
        int out, err;
        bool out_open, err_open;
        char errors[ERRORS_MAX];
        size_t n_errors;
        char line[128]; /* progress: the text since the last '(' */
        size_t n_line;
        unsigned permille;
};

/* --- the child's side: async-signal-safe calls only
 * ------------------------------------------------------------------------------------- */

static void limit(int resource, uint64_t value)
{
        struct rlimit rl = {.rlim_cur = value, .rlim_max = value};

        (void)setrlimit(resource, &rl); /* cannot fail when lowering; a lower limit that is there already stays */
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

static void child_main(char *const *argv, uint64_t max_bytes, int out, int err)
{
        static char *const environment[] = {(char *)"LC_ALL=C", (char *)"PATH=/usr/bin:/bin", NULL};
        int null = open("/dev/null", O_RDONLY);
        sigset_t none;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
                _exit(126);
        close_range(3, ~0u, 0);
        limit(RLIMIT_FSIZE, max_bytes);
        limit(RLIMIT_AS, ADDRESS_SPACE_BYTES);
        limit(RLIMIT_NOFILE, OPEN_FILES);
        limit(RLIMIT_CORE, 0);
        drop_capabilities();
        execve(PROGRAM, argv, environment);
        _exit(127);
}

/* --- our side
 * --------------------------------------------------------------------------------------------------------------------------------------
 */

static int start(char *const *argv, uint64_t max_bytes, struct child *ret_child, struct virt_error *reterr)
{
        int out[2] = {-1, -1}, err[2] = {-1, -1};
        pid_t pid = -1;

        if (pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0)
                pid = fork();
        if (pid == 0)
                child_main(argv, max_bytes, out[1], err[1]);
        fd_close(out[1]);
        fd_close(err[1]);
        if (pid < 0) {
                fd_close(out[0]);
                fd_close(err[0]);
                return virt_say(reterr, VIRT_E_FAILED, "VolumeFailed", "%s cannot be started: %s", PROGRAM, strerrordesc_np(errno));
        }
        *ret_child = (struct child){.pid = pid, .out = out[0], .err = err[0], .out_open = true, .err_open = true};
        return 0;
}

/* "    (12.34/100%)\r" */
static void read_progress(struct child *child, const char *bytes, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                if (bytes[i] == '(')
                        child->n_line = 0;
                else if (bytes[i] == '/' && child->n_line) {
                        double percent;

                        child->line[child->n_line] = '\0';
                        percent = g_ascii_strtod(child->line, NULL);
                        if (percent >= 0 && percent <= 100)
                                child->permille = (unsigned)(percent * 10);
                        child->n_line = 0;
                } else if (child->n_line + 1 < sizeof(child->line)) {
                        child->line[child->n_line++] = bytes[i];
                }
        }
}

static void read_pipes(struct child *child, const struct pollfd *fds)
{
        char bytes[1024];
        ssize_t n;

        if (fds[0].revents) {
                n = read(child->out, bytes, sizeof(bytes));
                if (n > 0)
                        read_progress(child, bytes, (size_t)n);
                child->out_open = n > 0;
        }
        if (fds[1].revents) {
                n = read(child->err, bytes, sizeof(bytes));
                child->err_open = n > 0;
                for (ssize_t i = 0; i < n && child->n_errors + 1 < sizeof(child->errors); i++)
                        child->errors[child->n_errors++] = bytes[i];
        }
}

static bool is_asked_to_stop(const struct image_convert *options, const struct child *child)
{
        return options->progress && options->progress(child->permille, options->userdata);
}

/* Until both pipes are closed, which is the child's end, or somebody has enough. */
static int follow(const struct image_convert *options, struct child *child, struct virt_error *reterr)
{
        gint64 deadline = g_get_monotonic_time() + (gint64)(options->timeout_us ? options->timeout_us : TIMEOUT_US);

        while (child->out_open || child->err_open) {
                struct pollfd fds[] = {
                        {.fd = child->out_open ? child->out : -1, .events = POLLIN},
                        {.fd = child->err_open ? child->err : -1, .events = POLLIN},
                };

                if (poll(fds, G_N_ELEMENTS(fds), TICK_MS) > 0)
                        read_pipes(child, fds);
                if (is_asked_to_stop(options, child))
                        return virt_say(reterr, VIRT_E_CANCELLED, "Superseded", "the copy was cancelled");
                if (g_get_monotonic_time() >= deadline)
                        return virt_say(reterr, VIRT_E_TIMEOUT, "TaskTimedOut", "the copy did not end in time");
        }
        return 0;
}

static int judge_end(const struct child *child, int status, struct virt_error *reterr)
{
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
        if (WIFEXITED(status) && WEXITSTATUS(status) >= 126)
                return virt_say(reterr, VIRT_E_FAILED, "VolumeFailed", "%s cannot be run", PROGRAM);
        if (strstr(child->errors, "No space left on device") || strstr(child->errors, "quota exceeded"))
                return virt_say(reterr, VIRT_E_NO_SPACE, "PoolFull", "%s", child->errors);
        if ((WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ) || strstr(child->errors, "File too large"))
                return virt_say(reterr, VIRT_E_FAILED, "ImageTooLarge", "the copy grew above its limit");
        if (WIFSIGNALED(status))
                return virt_say(reterr, VIRT_E_FAILED, "VolumeFailed", "qemu-img died of signal %d", WTERMSIG(status));
        return virt_say(reterr, VIRT_E_FAILED, "VolumeFailed", "%s",
                        *child->errors ? child->errors : "qemu-img failed without a word");
}

static int finish(const struct image_convert *options, struct child *child, int r, struct virt_error *reterr)
{
        int status = 0;

        if (r)
                kill(child->pid, SIGKILL);
        while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
                ;
        fd_close(child->out);
        fd_close(child->err);
        if (r)
                return r;
        r = judge_end(child, status, reterr);
        if (!r && options->progress)
                (void)options->progress(1000, options->userdata); /* it is done: too late to cancel */
        return r;
}

/* qemu-img wrote through the page cache; what is reported as done shall survive a power cut. */
static int make_durable(const char *path, struct virt_error *reterr)
{
        autofd fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0 || fsync(fd) < 0)
                return virt_say(reterr, errno == ENOSPC ? VIRT_E_NO_SPACE : VIRT_E_FAILED, "VolumeFailed", "%s: %s", path,
                                strerrordesc_np(errno));
        return 0;
}

static int check_paths(const struct image_convert *options, struct virt_error *reterr)
{
        const char *paths[] = {options->source, options->target};

        for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
                if (*paths[i] != '/') /* else "nbd:…" and "json:…" would be read as such */
                        return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "%s is not an absolute path", paths[i]);
                if (access(paths[i], F_OK) < 0)
                        return virt_say(reterr, VIRT_E_MISSING, "VolumeMissing", "%s: %s", paths[i], strerrordesc_np(errno));
        }
        return 0;
}

int image_convert(const struct image_convert *options, struct virt_error *reterr)
{
        uint64_t max_bytes = options->max_bytes ? options->max_bytes : LIMIT_IMAGE_BYTES + LIMIT_IMAGE_BYTES / 32;
        struct child child;
        const char *argv[20];
        size_t n = 0;
        int r;

        assert(options && options->source && options->target && reterr);

        r = check_paths(options, reterr);
        if (r)
                return r;
        argv[n++] = "qemu-img";
        argv[n++] = "convert";
        argv[n++] = "-p";
        argv[n++] = "-n";
        if (options->target_is_zero)
                argv[n++] = "--target-is-zero";
        argv[n++] = "-t";
        argv[n++] = "writeback"; /* the default ignores flushes */
        argv[n++] = "-f";
        argv[n++] = virt_format_to_text(options->source_format);
        argv[n++] = "-O";
        argv[n++] = virt_format_to_text(options->target_format);
        argv[n++] = "--";
        argv[n++] = options->source;
        argv[n++] = options->target;
        argv[n] = NULL;
        r = start((char *const *)argv, max_bytes, &child, reterr);
        if (r)
                return r;
        r = finish(options, &child, follow(options, &child, reterr), reterr);
        return r ? r : make_durable(options->target, reterr);
}
