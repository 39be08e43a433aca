/* SPDX-License-Identifier: Apache-2.0 */
#include "fault.h"

#include <fcntl.h>
#include <glib.h>
#include <glob.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fault {
        char *place, *action;
        gint left; /* times it is passed until it comes to pass */
};

static struct plan {
        struct steps steps; /* first */
        GPtrArray *faults;
        const char *fired, *log;
} plan;

static void note(const char *path, const char *text)
{
        g_autofree char *line = g_strconcat(text, "\n", NULL);
        int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

        if (path && (fd < 0 || write(fd, line, strlen(line)) < 0)) {
                perror(path);
                _exit(99);
        }
        if (fd >= 0) {
                close(fd);
        }
}

static void kill_file(const char *path)
{
        g_autofree char *text = NULL;
        long pid;

        /* Gone meanwhile: then so is its process. */
        if (!g_file_get_contents(path, &text, NULL, NULL)) {
                return;
        }
        pid = strtol(text, NULL, 10);
        if (pid > 1) {
                (void)kill((pid_t)pid, SIGKILL);
        }
}

static void kill_others(const char *pattern)
{
        glob_t found = {};

        if (glob(pattern, 0, NULL, &found) == 0) {
                for (size_t i = 0; i < found.gl_pathc; i++) {
                        kill_file(found.gl_pathv[i]);
                }
        }
        globfree(&found);
}

static int act(const char *action)
{
        if (g_str_equal(action, "kill")) {
                (void)kill(getpid(), SIGKILL);
        } else if (g_str_has_prefix(action, "kill:")) {
                kill_others(action + strlen("kill:"));
        } else {
                return -(int)strtol(action + strlen("error:"), NULL, 10);
        }
        return 0;
}

static int pass(struct steps *steps, const char *work, const char *step, const char *place)
{
        g_autofree char *name = g_strjoin("/", work, step, place, NULL);
        int r = 0;

        note(plan.log, name);
        for (guint i = 0; i < plan.faults->len; i++) {
                struct fault *fault = plan.faults->pdata[i];

                if (g_str_equal(fault->place, name) && g_atomic_int_add(&fault->left, -1) == 1) {
                        note(plan.fired, name);
                        r = act(fault->action);
                }
        }
        return r;
}

static bool is_action(const char *text)
{
        return g_str_equal(text, "kill") || (g_str_has_prefix(text, "kill:") && text[5] == '/') ||
               (g_str_has_prefix(text, "error:") && strtol(text + 6, NULL, 10) > 0);
}

static void read_fault(char *text)
{
        char *equals = strchr(text, '='), *number = strchr(text, '#');
        struct fault *fault = g_new0(struct fault, 1);

        if (!equals || !is_action(equals + 1)) {
                fprintf(stderr, "GABBRO_FAULT: %s cannot be read\n", text);
                _exit(99);
        }
        *equals = '\0';
        fault->left = 1;
        if (number && number < equals) {
                *number = '\0';
                fault->left = (gint)strtol(number + 1, NULL, 10);
        }
        fault->place = g_strdup(text);
        fault->action = g_strdup(equals + 1);
        g_ptr_array_add(plan.faults, fault);
}

struct steps *fault_plan(void)
{
        const char *text = g_getenv("GABBRO_FAULT");
        g_auto(GStrv) faults = g_strsplit(text ? text : "", ";", -1);

        if (plan.faults) {
                return &plan.steps;
        }
        plan.steps.pass = pass;
        plan.fired = g_getenv("GABBRO_FAULT_FIRED");
        plan.log = g_getenv("GABBRO_FAULT_LOG");
        plan.faults = g_ptr_array_new();
        for (char **fault = faults; *fault; fault++) {
                if (**fault) {
                        read_fault(*fault);
                }
        }
        return &plan.steps;
}
