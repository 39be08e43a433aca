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

#define KILL_OTHERS "kill:"

struct fault {
        char *place, *action;
        int left; /* times it is passed until it comes to pass */
};

static struct plan {
        struct steps steps; /* first */
        GMutex mutex;
        GPtrArray *faults;
        char *text; /* that the faults were read from */
        const char *file, *fired, *log;
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

/* The process that stands first in a file; 0: the file or the process is gone. */
static pid_t pid_in(const char *path)
{
        g_autofree char *text = NULL;
        long pid = g_file_get_contents(path, &text, NULL, NULL) ? strtol(text, NULL, 10) : 0;

        return pid > 1 && kill((pid_t)pid, 0) == 0 ? (pid_t)pid : 0;
}

/* Each process of the files that @pattern names gets @signal, which may be 0. Return: how many there are. */
static unsigned signal_others(const char *pattern, int signal)
{
        glob_t found = {};
        unsigned n = 0;

        if (glob(pattern, 0, NULL, &found) == 0) {
                for (size_t i = 0; i < found.gl_pathc; i++) {
                        pid_t pid = pid_in(found.gl_pathv[i]);

                        n += pid && kill(pid, signal) == 0;
                }
        }
        globfree(&found);
        return n;
}

/* A fault without a victim has not come to pass. */
static bool has_victim(const char *action)
{
        return !g_str_has_prefix(action, KILL_OTHERS) || signal_others(action + strlen(KILL_OTHERS), 0) > 0;
}

static int act(const char *action)
{
        if (g_str_equal(action, "kill")) {
                (void)kill(getpid(), SIGKILL);
        } else if (g_str_equal(action, "stop")) {
                (void)kill(getpid(), SIGSTOP);
        } else if (g_str_has_prefix(action, KILL_OTHERS)) {
                (void)signal_others(action + strlen(KILL_OTHERS), SIGKILL);
        } else {
                return -(int)strtol(action + strlen("error:"), NULL, 10);
        }
        return 0;
}

static bool is_action(const char *text)
{
        return g_str_equal(text, "kill") || g_str_equal(text, "stop") || (g_str_has_prefix(text, "kill:") && text[5] == '/') ||
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
                fault->left = (int)strtol(number + 1, NULL, 10);
        }
        fault->place = g_strdup(text);
        fault->action = g_strdup(equals + 1);
        g_ptr_array_add(plan.faults, fault);
}

static void free_fault(void *data)
{
        struct fault *fault = data;

        g_free(fault->place);
        g_free(fault->action);
        g_free(fault);
}

static void read_faults(const char *text)
{
        g_auto(GStrv) faults = g_strsplit_set(text, ";\n", -1);

        g_ptr_array_set_size(plan.faults, 0);
        for (char **fault = faults; *fault; fault++) {
                if (**fault) {
                        read_fault(*fault);
                }
        }
}

/* A plan that is written anew counts from the beginning. */
static void look_at_file(void)
{
        g_autofree char *text = NULL;

        if (plan.file && g_file_get_contents(plan.file, &text, NULL, NULL) && g_strcmp0(text, plan.text) != 0) {
                read_faults(text);
                g_free(plan.text);
                plan.text = g_steal_pointer(&text);
        }
}

/* The action that comes to pass at @name now, or NULL. g_free it. */
static char *due(const char *name)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&plan.mutex);
        char *action = NULL;

        look_at_file();
        for (guint i = 0; i < plan.faults->len; i++) {
                struct fault *fault = plan.faults->pdata[i];

                if (g_pattern_match_simple(fault->place, name) && fault->left-- == 1) {
                        action = g_strdup(fault->action);
                }
        }
        return action;
}

static int pass(struct steps *steps, const char *work, const char *step, const char *place)
{
        g_autofree char *name = g_strjoin("/", work, step, place, NULL), *action = NULL;

        note(plan.log, name);
        action = due(name);
        if (!action || !has_victim(action)) {
                return 0;
        }
        note(plan.fired, name);
        return act(action);
}

struct steps *fault_plan(void)
{
        const char *text = g_getenv("GABBRO_FAULT");

        if (!plan.faults) {
                plan.steps.pass = pass;
                plan.file = g_getenv("GABBRO_FAULT_FILE");
                plan.fired = g_getenv("GABBRO_FAULT_FIRED");
                plan.log = g_getenv("GABBRO_FAULT_LOG");
                plan.faults = g_ptr_array_new_with_free_func(free_fault);
                read_faults(text ? text : "");
        }
        return &plan.steps;
}
