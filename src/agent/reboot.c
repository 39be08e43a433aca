/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/reboot.h"

#include "agent/net/spawn.h"
#include "base/file.h"
#include "base/log.h"
#include "virt/census.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FIRST_PROCESS_SECONDS 60 /* no kernel takes longer to start it */
#define AGAIN_US              60000000ull

static unsigned long long first_process_began(void)
{
        g_autofree char *text = NULL;
        unsigned long long ticks = 0;
        const char *rest;
        size_t len;

        /* Field 22, behind a name that may hold anything but ends with the last parenthesis. */
        if (file_read("/proc/1/stat", 4096, &text, &len) < 0 || !(rest = strrchr(text, ')')) ||
            sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &ticks) != 1) {
                return 0;
        }
        return ticks;
}

const char *host_boot_id(struct arena *arena)
{
        g_autofree char *text = NULL;
        unsigned long long ticks = first_process_began();
        size_t len;

        if (file_read("/proc/sys/kernel/random/boot_id", 4096, &text, &len) < 0) {
                return NULL;
        }
        g_strstrip(text);
        return ticks > FIRST_PROCESS_SECONDS * (unsigned long long)sysconf(_SC_CLK_TCK)
                       ? arena_printf(arena, "%s-%llu", text, ticks)
                       : arena_strdup(arena, text);
}

/* Names of what runs, or NULL; @ret_outcome: 0, or why it is not known. */
static const char *running_domains(struct job *job, int *ret_outcome, struct virt_error *error)
{
        g_autoptr(virt_census) census = NULL;
        const char *names = NULL;

        *ret_outcome = virt_census_take(job->agent->virt, &census, error);
        for (size_t i = 0; census && i < census->n; i++) {
                if (census->domains[i].active) {
                        names = arena_printf(job->arena, "%s%s%s", names ? names : "", names ? ", " : "", census->domains[i].name);
                }
        }
        return names;
}

static void fail(struct job *job, struct api_host_task_status *status, struct api_intent_error *error)
{
        status->state = "Failed";
        status->error = error;
        job->ready = true; /* the gateway decides what becomes of it */
        log_warning("the host is not rebooted", "task", job_key(job).name, "reason", error->reason, "error", error->message);
        job_status(job, &api_host_task_status_type, status);
}

void converge_reboot(struct job *job, const struct api_host_task *task)
{
        const char *const argv[] = {job->agent->reboot_command, NULL};
        struct api_host_task_status status = {.observed_generation = job->doc->generation, .has_observed_generation = true};
        const char *boot = host_boot_id(job->arena), *names;
        g_autofree char *words = NULL;
        struct virt_error error = {};
        int r;

        if (!boot || !task->spec->boot_id) {
                fail(job, &status, job_error(job, REASON_REBOOT_FAILED, "the identity of the host's boot is not known"));
                return;
        }
        if (strcmp(boot, task->spec->boot_id) != 0) {
                status.state = "Succeeded";
                job->ready = true;
                job_status(job, &api_host_task_status_type, &status);
                return;
        }
        names = running_domains(job, &r, &error);
        if (r) {
                status.state = "Running";
                status.error = job_virt_error(job, REASON_REBOOT_FAILED, r, &error);
                job->result = JOB_RETRY;
                job_status(job, &api_host_task_status_type, &status);
                return;
        }
        if (names && !task->spec->force) {
                fail(job, &status, job_error(job, REASON_DOMAINS_RUN, "domains run on the host: %s", names));
                return;
        }
        log_info("the host is rebooted", "task", job_key(job).name, "command", argv[0]);
        status.state = "Running";
        job_progress(job, &api_host_task_status_type, &status);
        r = spawn_wait(argv, &words);
        if (r) {
                fail(job, &status,
                     job_error(job, REASON_REBOOT_COMMAND_FAILED, "%s: %s", argv[0], words && *words ? words : g_strerror(-r)));
                return;
        }
        job_status(job, &api_host_task_status_type, &status);
        job->again_us = AGAIN_US; /* it goes down; if not, it is told once more */
}
