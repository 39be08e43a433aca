/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/kvm_proof.h"

#include "base/file.h"
#include "base/names.h"
#include "virt/kvm_guest.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define TURNS         10000000ull
#define GUEST_TIME_US 1000000ull
#define TIMEOUT_US    3000000ull
#define DEATH_TIME_US 500000ull

static const char *const kvm_verdict_names[KVM_VERDICT_COUNT] = {
        [KVM_WORKS] = "works",
        [KVM_ABSENT] = "absent",
        [KVM_BROKEN] = "broken",
        [KVM_HANGS] = "hangs",
};
ENUM_TABLE(kvm_verdict, kvm_verdict_names)

static const char *const stage_words[KVM_STAGE_COUNT] = {
        [KVM_STAGE_NONE] = "there is no proof for this processor architecture",
        [KVM_STAGE_OPEN] = "the device cannot be opened",
        [KVM_STAGE_VERSION] = "the device does not speak KVM's interface",
        [KVM_STAGE_CREATE] = "no virtual machine could be made",
        [KVM_STAGE_REGISTERS] = "the virtual processor refused its registers",
        [KVM_STAGE_RUN] = "the virtual processor stopped",
        [KVM_STAGE_RESULT] = "the virtual processor computed wrong results",
        [KVM_STAGE_DONE] = "done",
};

static uint64_t now_us(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* After fork() of a program with threads: nothing but async-signal-safe calls. */
static void child_main(const char *device, int report_fd)
{
        struct kvm_report report;
        sigset_t none;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        /* A child that cannot be killed shall hold nothing of ours open. */
        if (dup2(report_fd, 3) < 0)
                _exit(1);
        close_range(4, ~0u, 0);
        kvm_guest_run(device, TURNS, &report);
        _exit(write(3, &report, sizeof(report)) == sizeof(report) ? 0 : 1);
}

/* Whether a descriptor became readable before the deadline. */
static bool wait_readable(int fd, uint64_t deadline_us)
{
        for (;;) {
                struct pollfd p = {.fd = fd, .events = POLLIN};
                uint64_t now = now_us();
                int r;

                if (now >= deadline_us)
                        return false;
                r = poll(&p, 1, (int)((deadline_us - now + 999) / 1000));
                if (r > 0)
                        return true;
                if (r < 0 && errno != EINTR)
                        return false;
        }
}

/* Kill and reap; whether the child is gone. */
static bool end_child(pid_t pid)
{
        autofd pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        uint64_t deadline = now_us() + DEATH_TIME_US;

        kill(pid, SIGKILL);
        if (pidfd >= 0)
                wait_readable(pidfd, deadline);
        do {
                pid_t r = waitpid(pid, NULL, WNOHANG);

                if (r == pid || (r < 0 && errno != EINTR))
                        return true;
                if (pidfd < 0)
                        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        } while (now_us() < deadline);
        return false;
}

static void judge(const struct kvm_report *report, const char *device, struct kvm_proof *proof)
{
        proof->elapsed_us = report->elapsed_us;
        if (report->stage == KVM_STAGE_DONE && report->elapsed_us <= GUEST_TIME_US) {
                proof->verdict = KVM_WORKS;
                snprintf(proof->words, sizeof(proof->words), "KVM ran the proof guest in %" PRIu64 " ms",
                         report->elapsed_us / 1000);
        } else if (report->stage == KVM_STAGE_DONE) {
                proof->verdict = KVM_HANGS;
                snprintf(proof->words, sizeof(proof->words), "%s is too slow: 10 million loop turns took %" PRIu64 " ms", device,
                         report->elapsed_us / 1000);
        } else {
                unsigned stage = report->stage < KVM_STAGE_COUNT ? report->stage : KVM_STAGE_NONE;

                proof->verdict = stage <= KVM_STAGE_OPEN ? KVM_ABSENT : KVM_BROKEN;
                if (report->error)
                        snprintf(proof->words, sizeof(proof->words), "%s: %s: %s", device, stage_words[stage],
                                 strerrordesc_np(report->error));
                else if (stage == KVM_STAGE_RUN)
                        snprintf(proof->words, sizeof(proof->words), "%s: %s (exit reason %" PRIu32 ")", device, stage_words[stage],
                                 report->exit_reason);
                else
                        snprintf(proof->words, sizeof(proof->words), "%s: %s", device, stage_words[stage]);
        }
}

static void judge_silence(const char *device, uint64_t elapsed_us, bool in_time, struct kvm_proof *proof)
{
        proof->elapsed_us = elapsed_us;
        proof->verdict = in_time ? KVM_BROKEN : KVM_HANGS;
        if (in_time)
                snprintf(proof->words, sizeof(proof->words), "%s: the proof ended without a result", device);
        else
                snprintf(proof->words, sizeof(proof->words), "%s hangs: the proof guest did not end within %" PRIu64 " ms%s",
                         device, elapsed_us / 1000, proof->abandoned ? ", and its process cannot be killed" : "");
}

void kvm_prove(const char *device, uint64_t timeout_us, struct kvm_proof *ret_proof)
{
        uint64_t begin = now_us(), deadline = begin + (timeout_us ? timeout_us : TIMEOUT_US);
        struct kvm_report report;
        int pipe_fds[2];
        bool in_time, complete;
        pid_t pid;

        assert(ret_proof);

        *ret_proof = (struct kvm_proof){.verdict = KVM_ABSENT};
        device = device ? device : "/dev/kvm";
        if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
                snprintf(ret_proof->words, sizeof(ret_proof->words), "no pipe for the KVM proof: %s", strerrordesc_np(errno));
                return;
        }
        pid = fork();
        if (pid == 0)
                child_main(device, pipe_fds[1]);
        close(pipe_fds[1]);
        if (pid < 0) {
                snprintf(ret_proof->words, sizeof(ret_proof->words), "no process for the KVM proof: %s", strerrordesc_np(errno));
                close(pipe_fds[0]);
                return;
        }
        in_time = wait_readable(pipe_fds[0], deadline);
        complete = in_time && read(pipe_fds[0], &report, sizeof(report)) == sizeof(report);
        close(pipe_fds[0]);
        ret_proof->abandoned = !end_child(pid);
        if (complete)
                judge(&report, device, ret_proof);
        else
                judge_silence(device, now_us() - begin, in_time, ret_proof);
}
