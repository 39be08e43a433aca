/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/image_tool.h"

#include "base/file.h"
#include "base/limits.h"
#include "virt/image_jail.h"
#include "virt/virt_internal.h"
#include "json/json.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define PROGRAM    "/usr/bin/qemu-img"
#define TIMEOUT_US 3600000000ull
#define TICK_MS    100
#define ERRORS_MAX 2048

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

#define SOURCE_FD  3
#define TARGET_FD  4
#define BACKING_FD 5 /* and those behind it */
#define FILES_MAX  (2 + IMAGE_JAIL_BACKINGS)

/* All files at places of their own, whatever they were before; they are not closed by execve(). Return: the first free one, or -1.
 */
static int place_files(struct image_jail *jail)
{
        int *files[FILES_MAX] = {&jail->source_fd, &jail->target_fd};
        int n = 2;

        for (size_t i = 0; i < jail->n_backings; i++)
                files[n++] = &jail->backing_fds[i];
        for (int i = 0; i < n; i++) {
                *files[i] = fcntl(*files[i], F_DUPFD, SOURCE_FD + FILES_MAX);
                if (*files[i] < 0)
                        return -1;
        }
        for (int i = 0; i < n; i++) {
                if (dup2(*files[i], SOURCE_FD + i) < 0)
                        return -1;
                *files[i] = SOURCE_FD + i;
        }
        return SOURCE_FD + n;
}

static void child_main(char *const *argv, const struct image_jail *wanted, int out, int err)
{
        static char *const environment[] = {(char *)"LC_ALL=C", (char *)"PATH=/usr/bin:/bin", NULL};
        struct image_jail jail = *wanted;
        int null = open("/dev/null", O_RDONLY), end;
        sigset_t none;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
                _exit(126);
        end = place_files(&jail);
        if (end < 0)
                _exit(126);
        close_range((unsigned)end, ~0u, 0);
        image_jail_enter(&jail);
        execve(PROGRAM, argv, environment);
        _exit(127);
}

/* --- our side
 * --------------------------------------------------------------------------------------------------------------------------------------
 */

static int start(char *const *argv, const struct image_jail *jail, struct child *ret_child, struct virt_error *reterr)
{
        int out[2] = {-1, -1}, err[2] = {-1, -1};
        pid_t pid = -1;

        if (pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0)
                pid = fork();
        if (pid == 0)
                child_main(argv, jail, out[1], err[1]);
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
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
                return virt_say(reterr, VIRT_E_TIMEOUT, "TaskTimedOut", "the copy took more than its share of the processor");
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
static int make_durable(int fd, const char *path, struct virt_error *reterr)
{
        if (fsync(fd) < 0)
                return virt_say(reterr, errno == ENOSPC ? VIRT_E_NO_SPACE : VIRT_E_FAILED, "VolumeFailed", "%s: %s", path,
                                strerrordesc_np(errno));
        return 0;
}

/* Opened once: what was judged is what is read, whatever happens to the name (a link at its end is none of ours). */
static int open_file(const char *path, int flags, struct virt_error *reterr, int *ret_fd)
{
        if (*path != '/')
                return virt_say(reterr, VIRT_E_INVALID, "ValidationFailed", "%s is not an absolute path", path);
        *ret_fd = open(path, flags | O_CLOEXEC | (g_str_has_prefix(path, "/dev/") ? 0 : O_NOFOLLOW));
        if (*ret_fd < 0)
                return virt_say(reterr, errno == ENOENT ? VIRT_E_MISSING : VIRT_E_FAILED, "VolumeMissing", "%s: %s", path,
                                strerrordesc_np(errno));
        return 0;
}

static void describe(struct json_doc *doc, struct json_value *node, enum virt_format format, int fd)
{
        struct json_value *file = json_ensure_object(doc, node, "file");
        char path[32];

        g_snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        json_set_string(doc, node, "driver", virt_format_to_text(format));
        json_set_string(doc, file, "driver", "file");
        json_set_string(doc, file, "filename", path);
}

/* The source and all behind it, as QEMU takes them: no name in a header counts. NULL: it stands alone. g_free(). */
static char *describe_chain(const struct image_convert *options)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *node = root;

        if (options->n_backings == 0)
                return NULL;
        describe(doc, node, options->source_format, SOURCE_FD);
        for (size_t i = 0; i < options->n_backings; i++) {
                node = json_ensure_object(doc, node, "backing");
                describe(doc, node, options->backings[i].format, BACKING_FD + (int)i);
        }
        if (options->backings[options->n_backings - 1].format == VIRT_FORMAT_QCOW2)
                json_set(doc, node, "backing", json_new(doc, JSON_NULL));
        g_autofree char *text = json_to_text(root);
        return g_strconcat("json:", text, NULL);
}

static int open_backings(const struct image_convert *options, struct image_jail *jail, struct virt_error *reterr)
{
        int r = 0;

        assert(options->n_backings <= IMAGE_JAIL_BACKINGS);
        for (size_t i = 0; r == 0 && i < options->n_backings; i++) {
                r = open_file(options->backings[i].path, O_RDONLY, reterr, &jail->backing_fds[i]);
                jail->n_backings += r == 0;
        }
        return r;
}

int image_convert(const struct image_convert *options, struct virt_error *reterr)
{
        uint64_t timeout_us = options->timeout_us ? options->timeout_us : TIMEOUT_US;
        struct image_jail jail = {
                .max_bytes = options->max_bytes ? options->max_bytes : LIMIT_IMAGE_BYTES + LIMIT_IMAGE_BYTES / 32,
                .cpu_s = 2 * (timeout_us / 1000000 + 1), /* it has threads */
        };
        g_autofree char *chain = describe_chain(options);
        autofd source_fd = -1, target_fd = -1;
        struct child child;
        const char *argv[20];
        size_t n = 0;
        int r = 0;

        assert(options && (options->source || options->source_fd > 0) && options->target && reterr);

        if (options->source)
                r = open_file(options->source, O_RDONLY, reterr, &source_fd);
        if (!r)
                r = open_file(options->target, O_RDWR, reterr, &target_fd);
        if (r)
                return r;
        jail.source_fd = options->source ? source_fd : options->source_fd;
        jail.target_fd = target_fd;
        r = open_backings(options, &jail, reterr);
        argv[n++] = "qemu-img";
        argv[n++] = "convert";
        argv[n++] = "-p";
        argv[n++] = "-n";
        if (options->target_is_zero)
                argv[n++] = "--target-is-zero";
        argv[n++] = "-t";
        argv[n++] = "writeback"; /* the default ignores flushes */
        if (!chain) {
                argv[n++] = "-f";
                argv[n++] = virt_format_to_text(options->source_format);
        }
        argv[n++] = "-O";
        argv[n++] = virt_format_to_text(options->target_format);
        argv[n++] = "--";
        argv[n++] = chain ? chain : "/proc/self/fd/" G_STRINGIFY(SOURCE_FD);
        argv[n++] = "/proc/self/fd/" G_STRINGIFY(TARGET_FD);
        argv[n] = NULL;
        if (!r)
                r = start((char *const *)argv, &jail, &child, reterr);
        for (size_t i = 0; i < jail.n_backings; i++)
                fd_close(jail.backing_fds[i]);
        if (r)
                return r;
        r = finish(options, &child, follow(options, &child, reterr), reterr);
        return r ? r : make_durable(target_fd, options->target, reterr);
}
