/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/virt.h"
#include "json/json.h"

#include <glib.h>

/*
 * A command in a guest, by its agent. libvirt closes the channel of an agent that answers with more than 10 MB, so that what the
 * command writes is bounded inside the guest: there it is run by a shell that reads no more than LIMIT_GUEST_EXEC_OUTPUT_BYTES of
 * either stream and kills it when its time is up. Guests without a POSIX shell (Windows) start it as it is; when its time is up
 * their agent is told to kill it.
 */
struct guest_exec {
        const char *const *words; /* NULL-terminated, at least one */
        const void *input;        /* what it reads; NULL: nothing */
        size_t input_len;
        unsigned seconds; /* that it may take */
};

struct guest_exec_result {
        bool exited;
        int exit_code; /* 128 + N when a signal N ended it */
        GByteArray *output, *complaints;
        bool output_cut, complaints_cut; /* there was more */
};
void guest_exec_result_clear(struct guest_exec_result *result);

/* One that was begun. */
struct guest_exec_run {
        int64_t pid;  /* the agent's name for it */
        bool bounded; /* the guest ends it by itself when its time is up */
};

/** guest_exec_start() - begin it. 0, VIRT_E_STATE, VIRT_E_TIMEOUT, VIRT_E_FAILED (the guest
 * says why not), VIRT_E_UNREACHABLE. */
int guest_exec_start(struct virt *virt, const char *uuid, const struct guest_exec *exec, struct guest_exec_run *ret_run,
                     struct virt_error *reterr);
/** guest_exec_look() - what became of it: @ret_result->exited and the rest, or only that it goes on. */
int guest_exec_look(struct virt *virt, const char *uuid, int64_t pid, struct guest_exec_result *ret_result,
                    struct virt_error *reterr);

/** guest_exec_kill() - one that is not bounded, and its children; 0 when the guest was told. */
int guest_exec_kill(struct virt *virt, const char *uuid, int64_t pid, struct virt_error *reterr);

/** guest_exec_kill_command() - as guest_exec_command(), what guest_exec_kill() sends. */
char *guest_exec_kill_command(int64_t pid);
/** guest_exec_command() - the command for the agent; @in_shell as above. g_free(). */
char *guest_exec_command(const struct guest_exec *exec, bool in_shell);
/** guest_exec_result_parse() - from the "return" value; whatever does not fit is refused (VIRT_E_FAILED). */
int guest_exec_result_parse(const struct json_value *reply, struct guest_exec_result *ret_result, struct virt_error *reterr);
